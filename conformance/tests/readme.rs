//! The README shows terminal output as it really is: its console blocks are run and compared.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Sandbox, conditional, run};
use oxrun_conformance::{Check, check, check_eq};
use std::process::{Command, ExitCode};

const README: &str = include_str!("../../README.md");

/// The commands of all console blocks, in order, each with the output shown below it.
fn shown() -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), String::new())),
                None => {
                    let (_, output) = steps.last_mut().unwrap();
                    output.push_str(line);
                    output.push('\n');
                }
            },
            (false, _) => {}
        }
    }
    steps
}

/// What differs from machine to machine: the kernel, and where the bundle lies.
fn plain(output: &str, dir: &str) -> String {
    // `script` without input types an end of file, which the terminal echoes.
    let output =
        output.replace('\r', "").replace("^@", "").replace("^D\u{8}\u{8}", "").replace(dir, "/srv/web");
    let mut lines: Vec<String> = output.lines().map(|l| l.trim_end().to_owned()).collect();
    for line in &mut lines {
        if let Some((head, tail)) = line.split_once(" steps on linux ") {
            let layout = tail.split_once(", ").map_or("", |t| t.1);
            *line = format!("{head} steps on linux KERNEL, {layout}");
        }
        // Columns are padded to the longest sentence, which may be a path.
        *line = line.split("  ").filter(|p| !p.is_empty()).map(str::trim).collect::<Vec<_>>().join("  ");
    }
    lines.join("\n")
}

fn the_readme_shows_what_is_really_printed() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let web = s.make_dir("web")?;
    let bin = s.make_dir("bin")?;
    std::os::unix::fs::symlink(s.runtime().program(), bin.join("oxrun"))?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let steps = shown();
    check!(steps.len() >= 5, "the README shows only {} commands", steps.len());
    for (command, expected) in steps {
        // On a terminal, as the README's reader sees it.
        let mut words = Command::new("script");
        words.args(["-qec", &command, "/dev/null"]).current_dir(&web).env("PATH", &path);
        let output = s.runtime().finish(words)?;
        let dir = web.to_string_lossy();
        check_eq!(plain(&output.stdout, &dir), plain(&expected, "/srv/web"), "{command}");
    }
    Ok(())
}

/// The blocks were recorded on a hybrid host with nine hierarchies.
fn other_host() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let v1 = text.lines().filter(|l| !l.starts_with("0::")).count();
    let same = v1 == 9 && text.lines().any(|l| l.starts_with("0::"));
    (!same).then(|| format!("the README was recorded with 9 hierarchies and v2, this host has {v1}"))
}

fn main() -> ExitCode {
    run(vec![conditional(
        "the_readme_shows_what_is_really_printed",
        other_host,
        the_readme_shows_what_is_really_printed,
    )])
}
