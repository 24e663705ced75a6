//! The command line without containers: names, help, version, logs, the state root, what is refused and how.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Output, Sandbox, conditional, not_oxrun, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const COMMANDS: &[&str] = &[
    "create", "run", "start", "state", "kill", "delete", "exec", "list", "ps", "pause", "resume", "update",
    "events", "spec", "features", "explain", "check", "try",
];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A call of a program in the sandbox's directory, without a state root.
fn call(s: &Sandbox, program: &Path, args: &[&str]) -> Check<Output> {
    let mut command = Command::new(program);
    command.args(args).current_dir(s.dir()).stdin(Stdio::null());
    s.runtime().finish(command)
}

/// The same of the runtime.
fn plain(s: &Sandbox, args: &[&str]) -> Check<Output> {
    call(s, s.runtime().program(), args)
}

/// The one line of a stream.
fn line<'a>(output: &'a Output, text: &'a str) -> Check<&'a str> {
    let line = text.strip_suffix('\n').filter(|line| !line.contains('\n'));
    Ok(line.ok_or_else(|| format!("{output}\n  not one line: {text:?}"))?)
}

/// What a program of this name says of itself.
fn speaks_as(s: &Sandbox, program: &Path, name: &str) -> Check {
    let version = call(s, program, &["--version"])?.success()?;
    let lines: Vec<&str> = version.stdout.lines().collect();
    check_eq!(lines.len(), 3, "lines of {version}");
    let number = lines[0].strip_prefix(&format!("{name} version ")).unwrap_or_default();
    check_eq!(number.split('.').filter(|n| n.parse::<u32>().is_ok()).count(), 3, "first line of {version}");
    check!(lines[1].starts_with("commit: "), "second line of {version}");
    check_eq!(lines[2], "spec: 1.3.0", "third line");
    let help = call(s, program, &["-h"])?.success()?.stdout;
    let second = format!("   {name} - Open Container Initiative runtime");
    check_eq!(help.lines().take(2).collect::<Vec<_>>(), ["NAME:", &second], "help");
    let help = call(s, program, &["state", "-h"])?.success()?.stdout;
    check!(help.lines().nth(1).is_some_and(|l| l.contains(&format!("{name} state"))), "{help}");
    let bundle = s.bundle(&Config::new(&["/nonexistent"]))?;
    let path = bundle.path().to_string_lossy();
    for command in ["run", "create"] {
        let words = ["--root", "state", command, "--bundle", &path, "c1"];
        let text = format!("{name} {command} failed: unable to start container process: ");
        call(s, program, &words)?.refused(&text)?;
    }
    let place = s.make_dir(&format!("spec-{name}"))?;
    call(s, program, &["spec", "--bundle", &place.to_string_lossy()])?.success()?;
    let spec: Value = serde_json::from_str(&fs::read_to_string(place.join("config.json"))?)?;
    check_eq!(spec["hostname"], name, "host name of the template");
    let terminal = s.bundle(&Config::new(&["/bin/probe"]).set("/process/terminal", true))?;
    let words = ["--root", "state", "create", "--bundle", &terminal.path().to_string_lossy(), "c1"];
    let text = format!("cannot allocate tty if {name} will detach without setting console socket");
    call(s, program, &words)?.refused(&text)?;
    Ok(())
}

fn it_speaks_of_itself_by_the_name_it_is_called_by() -> Check {
    let s = sandbox()?;
    let own = s.runtime().program();
    speaks_as(&s, own, "oxrun")?;
    let link = s.dir().join("runc");
    symlink(own, &link)?;
    speaks_as(&s, &link, "runc")?;
    fs::remove_file(&link)?;
    fs::remove_dir_all(s.dir().join("spec-runc"))?;
    fs::copy(own, &link)?;
    speaks_as(&s, &link, "runc")
}

fn every_command_has_its_help() -> Check {
    let s = sandbox()?;
    for command in COMMANDS {
        for words in [[command, "-h"], [command, "--help"], ["help", command], ["h", command]] {
            let help = plain(&s, &words)?.success()?;
            check_eq!(help.stderr, "", "stderr of {help}");
            let lines: Vec<&str> = help.stdout.lines().take(2).collect();
            check_eq!(lines[0], "NAME:", "first line of {help}");
            check!(lines[1].starts_with(&format!("   oxrun {command} - ")), "second line of {help}");
        }
    }
    let all = plain(&s, &["--help"])?.success()?.stdout;
    for words in [&[][..], &["help"], &["-h"]] {
        check_eq!(plain(&s, words)?.success()?.stdout, all, "help of {words:?}");
    }
    for command in COMMANDS {
        check!(all.contains(&format!("\n   {command} ")), "{command} is not in the list");
    }
    Ok(())
}

fn an_unknown_command_or_flag_is_named() -> Check {
    let s = sandbox()?;
    for words in [&["foo"][..], &["foo", "-h"], &["help", "foo"], &["mounts", "add", "c1", "f"], &["info"]] {
        let output = plain(&s, words)?.exits(3)?;
        let name = words.iter().find(|word| **word != "help").unwrap();
        check!(output.says(&format!("No help topic for '{name}'")), "{output}");
        check_eq!(output.stdout, "", "stdout of {output}");
    }
    for words in [
        &["--nope", "state", "x"][..],
        &["state", "--nope", "x"],
        &["kill", "--regex", "x"],
        &["create", "--config", "x", "c1"],
        &["exec", "--config", "x", "c1"],
    ] {
        let flag = words.iter().find(|word| word.starts_with("--")).unwrap();
        plain(&s, words)?.refused(&format!("flag provided but not defined: -{}", flag.trim_matches('-')))?;
    }
    // Engines look for an option by leaving its value out.
    plain(&s, &["create", "--bundle"])?.refused("flag needs an argument: -bundle")?;
    plain(&s, &["state"])?.refused("\"state\" requires exactly 1 argument(s)")?;
    plain(&s, &["exec"])?.refused("\"exec\" requires a minimum of 1 argument(s)")?;
    Ok(())
}

/// Engines take a `checkpoint --help` that succeeds for support, and look for a value that is missing.
fn checkpoint_and_restore_are_refused_in_one_sentence() -> Check {
    let s = sandbox()?;
    let sentence = "checkpoint and restore are not supported: this runtime cannot drive CRIU";
    for words in [
        &["checkpoint", "--help"][..],
        &["help", "checkpoint"],
        &["checkpoint", "c1"],
        &["checkpoint", "--image-path", "D", "--work-path", "W", "--leave-running", "--leave-running", "c1"],
        &["checkpoint", "--file-locks", "--pre-dump", "--parent-path", "p", "c1"],
        &["restore", "--help"],
        &["restore", "--lsm-mount-context"],
        &["restore", "-no-subreaper", "--bundle", "B", "--detach", "--image-path", "I", "c1"],
    ] {
        let output = plain(&s, words)?.refused(sentence)?;
        line(&output, &output.stderr)?;
        check_eq!(output.stdout, "", "stdout of {output}");
        check!(!output.says("flag needs an argument"), "{output}\n  means that the option is there");
    }
    Ok(())
}

/// Every option of the two that callers know, with a value where it takes one.
const CRIU: &[(&str, &[&str])] = &[
    (
        "checkpoint",
        &[
            "--image-path D",
            "--work-path D",
            "--parent-path D",
            "--leave-running",
            "--tcp-established",
            "--tcp-skip-in-flight",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--link-remap",
            "--lazy-pages",
            "--auto-dedup",
            "--status-fd 3",
            "--page-server 127.0.0.1:27",
            "--pre-dump",
            "--manage-cgroups-mode soft",
            "--empty-ns network",
        ],
    ),
    (
        "restore",
        &[
            "--bundle D",
            "-b D",
            "--console-socket S",
            "--pid-file F",
            "--detach",
            "-d",
            "--no-subreaper",
            "--no-pivot",
            "--image-path D",
            "--work-path D",
            "--tcp-established",
            "--tcp-skip-in-flight",
            "--tcp-close",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--link-remap",
            "--lazy-pages",
            "--auto-dedup",
            "--manage-cgroups-mode full",
            "--empty-ns network",
            "--lsm-profile apparmor:p",
            "--lsm-mount-context c",
        ],
    ),
];

fn options_of_checkpoint_and_restore_are_refused_with_them() -> Check {
    let s = sandbox()?;
    for (command, options) in CRIU {
        for option in *options {
            let words: Vec<&str> = [*command].into_iter().chain(option.split(' ')).chain(["c1"]).collect();
            plain(&s, &words)?.refused("checkpoint and restore are not supported")?;
        }
    }
    Ok(())
}

/// A refusal as text on standard error: one record with the word that other suites look for.
fn an_error_is_one_line_of_text() -> Check {
    let s = sandbox()?;
    let output = s.runtime().call(&["state", "nope"])?.refused("container does not exist")?;
    let text = line(&output, &output.stderr)?;
    let (time, rest) = text.split_once("\" level=error msg=\"").ok_or("no level=error")?;
    check_eq!(time.strip_prefix("time=\"").map(str::len), Some("2026-01-02T03:04:05Z".len()), "{text}");
    check!(rest.starts_with("container does not exist"), "{text}");
    check_eq!(output.stdout, "", "stdout");
    Ok(())
}

/// Whether a text is one JSON record with the keys that engines decode, in runc's order.
fn record(text: &str, level: &str, message: &str) -> Check {
    let record: Value = serde_json::from_str(text)?;
    check_eq!(record["level"], level, "{text}");
    check!(record["msg"].as_str().unwrap_or_default().contains(message), "{text}");
    let time = record["time"].as_str().unwrap_or_default();
    let digits: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    check_eq!(digits, "0000-00-00T00:00:00Z", "{text}");
    check!(text.starts_with(&format!("{{\"level\":\"{level}\",\"msg\":\"")), "{text}");
    Ok(())
}

fn an_error_is_one_record_in_the_log_and_one_line_beside_it() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let bare = rt.call(&["--log-format", "json", "state", "nope"])?.exits(1)?;
    record(line(&bare, &bare.stderr)?, "error", "container does not exist")?;
    // The path is relative to the caller's directory, and the file is shared by all calls.
    for (number, words) in [
        (1, ["--log", "log.json", "--log-format", "json", "state", "nope"]),
        (2, ["--log=log.json", "--log-format=json", "--debug=false", "--debug=false", "kill", "nope"]),
        (3, ["--log-format=json", "--log", "log.json", "--debug=0", "delete", "nope"]),
    ] {
        let output = rt.call(&words)?.exits(1)?;
        check_eq!(line(&output, &output.stderr)?, "container does not exist: nope", "the bare message");
        let log = fs::read_to_string(s.dir().join("log.json"))?;
        check_eq!(log.lines().count(), number, "records after {output}");
        record(log.lines().last().unwrap_or_default(), "error", "container does not exist")?;
    }
    let mode = fs::metadata(s.dir().join("log.json"))?.permissions().mode();
    check_eq!(mode & 0o777, 0o644, "mode of the log");
    // A success leaves no record, and none is made.
    rt.call(&["--log", "quiet", "delete", "--force", "nope"])?.success()?;
    check_eq!(fs::read_to_string(s.dir().join("quiet"))?, "", "the log of a success");
    rt.call(&["--log-format", "xml", "state", "nope"])?.refused("invalid log-format: xml")?;
    rt.call(&["--log-level", "loud", "state", "nope"])?.refused("invalid log-level: loud")?;
    Ok(())
}

/// Nobody would read what is told in a log that is not there.
fn a_log_that_cannot_be_opened_is_an_error() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let text = "open /no/such/log: no such file or directory";
    let output = rt.call(&["--log", "/no/such/log", "list"])?.refused(text)?;
    check_eq!(output.stdout, "", "stdout of {output}");
    check!(line(&output, &output.stderr)?.contains("level=error"), "{output}");
    let words = ["--log", "/no/such/log", "--log-format", "json", "state", "nope"];
    let output = rt.call(&words)?.exits(1)?;
    record(line(&output, &output.stderr)?, "error", text)?;
    let output = rt.call(&["--log", "/no/such/log", "--version"])?.success()?;
    check_eq!(output.stderr, "", "stderr of {output}");
    Ok(())
}

/// Some engines read the log as one record: warnings are in it only if they are asked for.
fn warnings_are_in_a_log_only_if_asked_for() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/nonexistent"]).set("/linux/unheardOf", 1))?;
    let path = bundle.path().to_string_lossy();
    let run = |options: &[&str]| s.runtime().call(&[options, &["run", "--bundle", &path, "c1"]].concat());
    let both = run(&[])?.exits(1)?;
    check_eq!(both.stderr.lines().count(), 2, "lines of {both}");
    check!(both.stderr.lines().next().is_some_and(|l| l.contains("level=warning")), "{both}");
    let log = |name: &str| fs::read_to_string(s.dir().join(name));
    run(&["--log", "default", "--log-format", "json"])?.exits(1)?;
    check_eq!(log("default")?.lines().count(), 1, "records at the default level");
    run(&["--log", "more", "--log-format", "json", "--log-level", "warning"])?.exits(1)?;
    let levels: Vec<Value> = log("more")?.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    check_eq!(levels.iter().map(|l| &l["level"]).collect::<Vec<_>>(), ["warning", "error"], "levels");
    let less = run(&["--log-level=error"])?.exits(1)?;
    check_eq!(less.stderr.lines().count(), 1, "lines of {less}");
    Ok(())
}

fn debug_records_are_on_stderr_or_in_the_log() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "0"]))?;
    let path = bundle.path().to_string_lossy();
    let output = s.runtime().call(&["--debug", "run", "--bundle", &path, "c1"])?.success()?;
    check!(output.stderr.contains("level=debug"), "{output}");
    let words = ["--debug", "--log", "log", "--log-format", "json", "run", "--bundle", &path, "c1"];
    let output = s.runtime().call(&words)?.success()?;
    check_eq!(output.stderr, "", "stderr of {output}");
    let log = fs::read_to_string(s.dir().join("log"))?;
    record(log.lines().next().unwrap_or_default(), "debug", "")?;
    Ok(())
}

/// Targets of crun's that are no files are standard error.
fn a_log_may_be_named_as_crun_does() -> Check {
    let s = sandbox()?;
    for target in ["--log=journald:c1", "--log=syslog:c1", "--log=/dev/stderr"] {
        let output = s.runtime().call(&[target, "--log-level=warning", "state", "nope"])?;
        line(&output, &output.stderr)?;
        output.refused("level=error")?;
    }
    s.runtime().call(&["--log", "file:there", "state", "nope"])?.exits(1)?;
    check!(s.dir().join("there").exists(), "file:there is no file");
    Ok(())
}

fn an_option_without_effect_is_told() -> Check {
    let s = sandbox()?;
    let output = s.runtime().call(&["--criu", "/usr/sbin/criu", "delete", "-f", "c1"])?.success()?;
    check!(output.says("--criu is ignored"), "{output}");
    Ok(())
}

fn the_state_root_is_relative_to_the_caller_and_never_the_slash() -> Check {
    let s = sandbox()?;
    s.make_dir("here/c1")?;
    let output = plain(&s, &["--root", "here", "list"])?.success()?;
    check!(output.says("load container c1"), "{output}\n  does not look into the directory");
    check_eq!(line(&output, &output.stderr)?.contains("level=warning"), true, "{output}");
    // The last one wins.
    plain(&s, &["--root=nowhere", "--root=here", "list"])?.success()?;
    let missing = plain(&s, &["--root", "nowhere", "list"])?.refused("no such file or directory")?;
    line(&missing, &missing.stderr)?;
    for root in ["/", "//", "/tmp/.."] {
        plain(&s, &["--root", root, "state", "c1"])?
            .refused("Option --root argument should not be set to /")?;
    }
    // The usual one may be missing.
    let output = plain(&s, &["list", "--format", "json"])?.success()?;
    check!(output.stdout == "null\n" || output.stdout.starts_with('['), "{output}");
    Ok(())
}

/// `nobody`, whom every Debian knows.
const USER: u32 = 65534;

fn a_user_without_root_has_its_state_in_its_runtime_directory() -> Check {
    let s = sandbox()?;
    let program = s.dir().join("oxrun");
    fs::copy(s.runtime().program(), &program)?;
    let home: PathBuf = s.make_dir("run/user")?;
    chown(&home, Some(USER), Some(USER))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
    let call = |directory: &str, args: &[&str]| {
        let id = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(&program).args(args);
        command.current_dir("/").env("XDG_RUNTIME_DIR", directory).stdin(Stdio::null());
        s.runtime().finish(command)
    };
    // It fails, but behind the making of the directory.
    let rootless = Config::parse(&fs::read_to_string(bundle.path().join("config.json"))?)?
        .namespace("user", None)
        .set("/linux/uidMappings", serde_json::json!([{ "containerID": 0, "hostID": USER, "size": 1 }]))
        .set("/linux/gidMappings", serde_json::json!([{ "containerID": 0, "hostID": USER, "size": 1 }]))
        .set("/linux/resources", serde_json::json!({}))
        .remove("/linux/cgroupsPath")
        .set("/root/path", "/nonexistent");
    bundle.write(rootless.text())?;
    let path = bundle.path().to_string_lossy();
    call(&home.to_string_lossy(), &["create", "--bundle", &path, "c1"])?.refused("/nonexistent")?;
    let mode = fs::metadata(home.join("oxrun"))?.permissions().mode();
    check_eq!(mode & 0o7777, 0o1700, "mode of the state root: the sticky bit keeps it from being cleaned up");
    fs::create_dir(home.join("oxrun/half"))?;
    chown(home.join("oxrun/half"), Some(USER), Some(USER))?;
    let output = call(&home.to_string_lossy(), &["list"])?.success()?;
    check!(output.says("load container half"), "{output}");
    // Empty is unset; what there is in root's directory is not for this user.
    let output = call("", &["list"])?;
    check!(!output.says("load container half"), "{output}");
    Ok(())
}

fn spec_writes_a_template_once() -> Check {
    let s = sandbox()?;
    let output = plain(&s, &["spec"])?.success()?;
    check_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output");
    plain(&s, &["spec"])?.refused("File config.json exists. Remove it first")?;
    let written: Value = serde_json::from_str(&fs::read_to_string(s.dir().join("config.json"))?)?;
    check_eq!(written["process"]["terminal"], true);
    check_eq!(written["process"]["args"], serde_json::json!(["sh"]));
    for (flag, name) in [("--bundle", "one"), ("-b", "two")] {
        let place = s.make_dir(name)?;
        plain(&s, &["spec", flag, name, "--rootless"])?.success()?;
        let written: Value = serde_json::from_str(&fs::read_to_string(place.join("config.json"))?)?;
        let kinds: Vec<&Value> =
            written["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        check!(kinds.contains(&&"user".into()) && !kinds.contains(&&"network".into()), "{kinds:?}");
        check_eq!(written["linux"]["uidMappings"][0]["size"], 1, "--rootless maps one id");
    }
    plain(&s, &["spec", "--bundle", "nowhere"])?.refused("no such file or directory")?;
    Ok(())
}

/// Engines read both streams together.
fn features_are_json_and_nothing_else() -> Check {
    let s = sandbox()?;
    let output = plain(&s, &["features"])?.success()?;
    check_eq!(output.stderr, "", "stderr");
    check_eq!(output.json()?["ociVersionMax"], "1.3.0", "version");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($make:expr, $($name:ident),* $(,)?) => { vec![$($make(stringify!($name), $name)),*] };
    }
    let own = |name: &str, body: fn() -> Check| oxrun_only(name, "oxrun's own words", body);
    let mut tests = tests![test, an_error_is_one_line_of_text, features_are_json_and_nothing_else];
    tests.extend(tests![
        own,
        it_speaks_of_itself_by_the_name_it_is_called_by,
        every_command_has_its_help,
        an_unknown_command_or_flag_is_named,
        checkpoint_and_restore_are_refused_in_one_sentence,
        options_of_checkpoint_and_restore_are_refused_with_them,
        an_error_is_one_record_in_the_log_and_one_line_beside_it,
        a_log_that_cannot_be_opened_is_an_error,
        warnings_are_in_a_log_only_if_asked_for,
        debug_records_are_on_stderr_or_in_the_log,
        a_log_may_be_named_as_crun_does,
        an_option_without_effect_is_told,
        the_state_root_is_relative_to_the_caller_and_never_the_slash,
        spec_writes_a_template_once,
    ]);
    let setpriv = || match Command::new("setpriv").arg("--version").output() {
        Ok(_) => not_oxrun("each runtime has its own name for the directory"),
        Err(_) => Some("setpriv is not installed".to_owned()),
    };
    tests.push(conditional(
        "a_user_without_root_has_its_state_in_its_runtime_directory",
        setpriv,
        a_user_without_root_has_its_state_in_its_runtime_directory,
    ));
    run(tests)
}
