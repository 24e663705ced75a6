//! Configs that cannot work: each is answered with the pointer of its field, the cause and the words that
//! callers of runc match, and nothing is left behind.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::diagnosis::{CASES, Case, ask};
use oxrun_conformance::harness::{Config, Sandbox, not_oxrun, oxrun_only, row, run};
use oxrun_conformance::{Check, check};
use serde_json::json;
use std::process::ExitCode;

fn answered(case: &Case) -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    ask(&s, case, &["--log-level", "warning"])?.is_good(case)
}

fn trial(case: &'static Case) -> Trial {
    let reason =
        move || not_oxrun("others do not name the field").or_else(|| (case.missing)().map(str::to_owned));
    row(case.name, reason, move || answered(case))
}

/// Without a capability that the set-up needs, the capability is named.
fn a_missing_capability_is_named() -> Check {
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    s.runtime_mut().wrap(&["setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod"]);
    let log = s.dir().join("log.json");
    let bundle = s.bundle(&Config::new(&["/bin/probe", "report"]))?;
    let before = s.leaks()?;
    let mut command = s.runtime().command();
    command.arg("--log").arg(&log).args(["--log-format", "json", "run", "--bundle"]);
    command.arg(bundle.path()).arg("c1");
    s.runtime().finish(command)?.exits(1)?;
    let text = std::fs::read_to_string(log)?;
    check!(text.contains("mknodat needs CAP_MKNOD"), "{text}");
    before.assert_same()
}

/// A flag that a user namespace may not take from a mount of its creator's is named.
fn a_locked_flag_of_a_mount_is_named() -> Check {
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let source = s.make_dir("source")?;
    let mount = format!("mount -t tmpfs -o nosuid none {} && exec \"$@\"", source.display());
    s.runtime_mut().wrap(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let config = Config::new(&["/bin/probe", "report"])
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .mount("bind", &source, "/tmp", &["bind", "suid"]);
    let bundle = s.bundle(&config)?;
    let log = s.dir().join("log.json");
    let mut command = s.runtime().command();
    command.arg("--log").arg(&log).args(["--log-format", "json", "run", "--bundle"]);
    command.arg(bundle.path()).arg("c1");
    s.runtime().finish(command)?.exits(1)?;
    let text = std::fs::read_to_string(log)?;
    for part in ["operation not permitted", "\"field\":\"/mounts/7/options\"", "nosuid"] {
        check!(text.contains(part), "{text}\n  expected: {part}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut tests: Vec<Trial> = CASES.iter().map(trial).collect();
    tests.push(oxrun_only(
        "a_missing_capability_is_named",
        "others name the call at most",
        a_missing_capability_is_named,
    ));
    tests.push(oxrun_only(
        "a_locked_flag_of_a_mount_is_named",
        "others print the flags in octal",
        a_locked_flag_of_a_mount_is_named,
    ));
    run(tests)
}
