//! Resource limits of the process: each kind is set, for the first process and for further ones.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, conditional, run, test};
use oxrun_conformance::{Check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn report(config: &Config) -> Check<Value> {
    sandbox()?.report(config)
}

fn every_kind_of_resource_limit_is_set() -> Check {
    // Soft and hard values below what any host has.
    let limits = [
        ("RLIMIT_AS", 4_u64 << 30, 5_u64 << 30),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_CPU", 1000, 2000),
        ("RLIMIT_DATA", 1 << 30, 2 << 30),
        ("RLIMIT_FSIZE", 1 << 30, 2 << 30),
        ("RLIMIT_LOCKS", 100, 200),
        ("RLIMIT_MEMLOCK", 4096, 8192),
        ("RLIMIT_MSGQUEUE", 4096, 8192),
        ("RLIMIT_NICE", 0, 0),
        ("RLIMIT_NOFILE", 500, 600),
        ("RLIMIT_NPROC", 1000, 2000),
        ("RLIMIT_RSS", 1 << 30, 2 << 30),
        ("RLIMIT_RTPRIO", 0, 0),
        ("RLIMIT_RTTIME", 1000, 2000),
        ("RLIMIT_SIGPENDING", 100, 200),
        ("RLIMIT_STACK", 4 << 20, 8 << 20),
    ];
    let list: Vec<Value> =
        limits.iter().map(|(kind, soft, hard)| json!({ "type": kind, "soft": soft, "hard": hard })).collect();
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT).set("/process/rlimits", list.clone()))?;
    let process = json!({ "args": REPORT, "cwd": "/", "rlimits": list });
    let process = s.make_file("process.json", &process.to_string())?;
    let of_document = s.runtime().call(&["exec", "--process", &process.to_string_lossy(), "c1"])?;
    let of_first = s.runtime().exec("c1", REPORT)?;
    let first = report(&Config::new(REPORT).set("/process/rlimits", list))?;
    for seen in [first, of_first.success()?.json()?, of_document.success()?.json()?] {
        for (kind, soft, hard) in limits {
            check_eq!(seen["rlimits"][kind], json!([soft, hard]), "{kind}");
        }
    }
    Ok(())
}

fn limits_above_the_callers_are_set_by_who_may() -> Check {
    let limits = [("RLIMIT_NICE", 5, 10), ("RLIMIT_RTPRIO", 3, 7)];
    let list = limits.map(|(kind, soft, hard)| json!({ "type": kind, "soft": soft, "hard": hard }));
    let seen = report(&Config::new(REPORT).set("/process/rlimits", json!(list)))?;
    for (kind, soft, hard) in limits {
        check_eq!(seen["rlimits"][kind], json!([soft, hard]), "{kind}");
    }
    Ok(())
}

fn refuses_limits(list: Value, name: &str) -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT).set("/process/rlimits", list))?;
    s.runtime().create(bundle.path(), "c1")?.refused(name)?;
    Ok(())
}

fn an_unknown_resource_limit_is_refused() -> Check {
    refuses_limits(json!([{ "type": "RLIMIT_NOPE", "soft": 9, "hard": 9 }]), "RLIMIT_NOPE")
}

fn a_repeated_resource_limit_is_refused() -> Check {
    let entry = json!({ "type": "RLIMIT_CPU", "soft": 9, "hard": 9 });
    refuses_limits(json!([entry, entry]), "RLIMIT_CPU")
}

/// Why no limit can be raised.
fn no_right_to_raise() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap_or_default();
    let set = u64::from_str_radix(line, 16).unwrap_or_default();
    (set & 1 << 24 == 0).then(|| "root lacks CAP_SYS_RESOURCE".to_owned())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        every_kind_of_resource_limit_is_set,
        an_unknown_resource_limit_is_refused,
        a_repeated_resource_limit_is_refused,
    ];
    tests.push(conditional(
        "limits_above_the_callers_are_set_by_who_may",
        no_right_to_raise,
        limits_above_the_callers_are_set_by_who_may,
    ));
    run(tests)
}
