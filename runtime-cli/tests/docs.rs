//! The manual page and the completions in `docs` are those of the table of commands and flags, and work.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn every_file_is_that_of_the_table() {
    for (name, text) in oxrun_cli::docs::files() {
        let kept = std::fs::read_to_string(docs().join(name)).unwrap();
        for (now, kept) in text.lines().zip(kept.lines()) {
            assert_eq!(now, kept, "{name}; `cargo run --package oxrun --example docs` writes it anew");
        }
        assert_eq!(text.len(), kept.len(), "{name}");
    }
}

#[test]
fn every_command_and_flag_that_helps_show_is_in_every_file() {
    let entries = oxrun_cli::docs::entries();
    assert!(entries.len() > 100, "{}", entries.len());
    for (name, text) in oxrun_cli::docs::files() {
        let plain = text.replace("\\-", "-").replace("\\fB", " ").replace("\\fR", " ");
        let words: Vec<&str> = plain
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .map(|w| w.trim_matches('-'))
            .collect();
        for entry in entries.iter().filter(|entry| !entry.refused) {
            let word = entry.flag.unwrap_or(entry.command);
            assert!(words.contains(&word) || entry.hidden, "{name}: {word} is missing");
        }
        for gone in ["checkpoint", "image-path", "kernel-memory", "criu"] {
            assert!(!words.contains(&gone), "{name}: {gone} is refused or hidden");
        }
    }
}

/// What bash offers at the end of a line.
fn offered(words: &[&str]) -> Vec<String> {
    let script = docs().join("completions/oxrun.bash");
    let ask = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _oxrun; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").arg("-c").arg(ask).arg(script).args(words).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_offers_what_fits() {
    let is = |words: &[&str], expected: &[&str]| assert_eq!(offered(words), expected, "{words:?}");
    is(&["oxrun", "st"], &["start", "state"]);
    is(&["oxrun", "--root", "/r", "fea"], &["features"]);
    is(&["oxrun", "--log-f"], &["--log-format"]);
    is(&["oxrun", "--log-format", "j"], &["json"]);
    is(&["oxrun", "--log-format", "=", "t"], &["text"]);
    is(&["oxrun", "--log-format", "="], &["text", "json"]);
    is(&["oxrun", "list", "-f", ""], &["table", "json"]);
    is(&["oxrun", "kill", "c1", "TER"], &["TERM"]);
    is(&["oxrun", "kill", "c1", "--al"], &["--all"]);
    is(&["oxrun", "update", "--memory-"], &["--memory-reservation", "--memory-swap"]);
    is(&["oxrun", "create", "--bundle", "/no-such-directory/x"], &[]);
    is(&["oxrun", "checkp"], &[]);
    // Behind the id nothing is an option of ours.
    is(&["oxrun", "exec", "c1", "--ti"], &[]);
    is(&["oxrun", "exec", "--ign"], &["--ignore-paused"]);
    assert!(offered(&["oxrun", "spec", "--bundle", "/us"]).contains(&"/usr".to_owned()));
    assert!(offered(&["oxrun", ""]).contains(&"help".to_owned()));
}

#[test]
fn bash_offers_the_containers_of_the_state_root() {
    // In place of the program: the name is taken from the line.
    let name = format!("oxrun-list-{}", std::process::id());
    let program = std::env::temp_dir().join(name);
    std::fs::write(&program, "#!/bin/sh\necho \"one$2 $3 $4\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let path = program.to_str().unwrap();
    let found = [offered(&[path, "--root", "/r", "start", "one"]), offered(&[path, "create", ""])];
    std::fs::remove_file(&program).unwrap();
    assert_eq!(found, [vec!["one/r".to_owned()], vec![]]);
}
