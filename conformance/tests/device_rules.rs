//! Rules for devices, by what open(2) says inside: whether a node may be opened depends on the last rule that
//! matches it, on v1 and on v2.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, run, test};
use oxrun_conformance::{Check, check_eq};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Numbers for local use (the kernel's devices.txt): the cgroup is asked first, and nothing is behind them.
const NODES: [(&str, &str, &str); 3] = [("c7", "c", "240 7"), ("c8", "c", "240 8"), ("b7", "b", "240 7")];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn nodes(rootfs: &Path) -> Check {
    for (name, kind, numbers) in NODES {
        let mut command = Command::new("mknod");
        command.arg(rootfs.join("etc").join(name)).arg(kind).args(numbers.split(' '));
        check_eq!(command.status()?.code(), Some(0), "mknod {name}");
    }
    Ok(())
}

fn rule(allow: bool, kind: &str, numbers: (i64, i64), access: &str) -> Value {
    json!({ "allow": allow, "type": kind, "major": numbers.0, "minor": numbers.1, "access": access })
}

/// Rules after "nothing is allowed", and which nodes can be opened then, as `NAME:MODES`.
fn cases() -> Vec<(&'static str, Vec<Value>, &'static str)> {
    let seven = (240, 7);
    let any = (240, -1);
    vec![
        ("nothing is allowed", vec![], ""),
        ("reading alone", vec![rule(true, "c", seven, "r")], "c7:r"),
        ("writing alone", vec![rule(true, "c", seven, "w")], "c7:w"),
        ("both", vec![rule(true, "c", seven, "rw")], "c7:r c7:w c7:rw"),
        (
            "both in two rules",
            vec![rule(true, "c", seven, "r"), rule(true, "c", seven, "w")],
            "c7:r c7:w c7:rw",
        ),
        ("making is not opening", vec![rule(true, "c", seven, "m")], ""),
        ("every minor number", vec![rule(true, "c", any, "r")], "c7:r c8:r"),
        ("every major number", vec![rule(true, "c", (-1, 7), "r")], "c7:r"),
        ("a block device is no character device", vec![rule(true, "b", seven, "r")], "b7:r"),
        ("both kinds", vec![rule(true, "a", seven, "r")], "c7:r b7:r"),
        (
            "everything",
            vec![json!({ "allow": true, "access": "rwm" })],
            "c7:r c7:w c7:rw c8:r c8:w c8:rw b7:r b7:w b7:rw",
        ),
        (
            "everything but one",
            vec![json!({ "allow": true, "access": "rwm" }), rule(false, "c", seven, "rwm")],
            "c8:r c8:w c8:rw b7:r b7:w b7:rw",
        ),
        (
            "everything but writing to one",
            vec![json!({ "allow": true, "access": "rwm" }), rule(false, "c", seven, "w")],
            "c7:r c8:r c8:w c8:rw b7:r b7:w b7:rw",
        ),
        (
            "what was allowed is denied",
            vec![rule(true, "c", seven, "rw"), rule(false, "c", seven, "w")],
            "c7:r",
        ),
        (
            "what was denied is allowed",
            vec![rule(false, "c", seven, "r"), rule(true, "c", seven, "r")],
            "c7:r",
        ),
        ("nothing again", vec![rule(true, "c", seven, "rw"), json!({ "allow": false, "access": "rwm" })], ""),
    ]
}

fn the_last_rule_that_matches_a_node_decides() -> Check {
    for (what, rules, allowed) in cases() {
        let s = sandbox()?;
        let mut all = vec![json!({ "allow": false, "access": "rwm" })];
        all.extend(rules);
        let mut args = vec!["/bin/probe".to_owned(), "report".to_owned()];
        let mut asked = Vec::new();
        for (name, _, _) in NODES {
            for mode in ["r", "w", "rw"] {
                asked.push(format!("{name}:{mode}"));
                args.extend(["--open".to_owned(), format!("/etc/{name}:{mode}")]);
            }
        }
        let config = Config::new(&args.iter().map(String::as_str).collect::<Vec<_>>())
            .set("/linux/resources/devices", all)
            .capabilities(&["CAP_DAC_OVERRIDE"]);
        let bundle = s.bundle(&config)?;
        nodes(&bundle.rootfs())?;
        let report = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
        let opened = |word: &&String| report["open"][format!("/etc/{word}")] != libc::EPERM;
        let found: Vec<&str> = asked.iter().filter(opened).map(String::as_str).collect();
        check_eq!(found.join(" "), allowed, "{what}: what may be opened");
    }
    Ok(())
}

fn a_further_process_is_bound_by_them_too() -> Check {
    let s = sandbox()?;
    let rules = json!([{ "allow": false, "access": "rwm" }, rule(true, "c", (240, 7), "r")]);
    let config = Config::new(&["/bin/probe", "sleep"])
        .set("/linux/resources/devices", rules)
        .capabilities(&["CAP_DAC_OVERRIDE"]);
    let bundle = s.bundle(&config)?;
    nodes(&bundle.rootfs())?;
    s.runtime().start_ready(bundle.path(), "c1")?;
    let args = ["/bin/probe", "report", "--open", "/etc/c7:r", "--open", "/etc/c7:w", "--open", "/etc/c8:r"];
    let seen = s.runtime().exec("c1", &args)?.success()?.json()?;
    // No such device: the cgroup had nothing against it.
    check_eq!(seen["open"]["/etc/c7:r"], libc::ENXIO);
    check_eq!(seen["open"]["/etc/c7:w"], libc::EPERM);
    check_eq!(seen["open"]["/etc/c8:r"], libc::EPERM);
    Ok(())
}

fn the_devices_of_every_container_are_open() -> Check {
    let s = sandbox()?;
    let mut args = vec!["/bin/probe", "report"];
    let words = ["null", "zero", "full", "random", "urandom"].map(|name| format!("/dev/{name}:rw"));
    for word in &words {
        args.extend(["--open", word]);
    }
    let report = s.report(&Config::new(&args))?;
    for word in &words {
        check_eq!(report["open"][word.as_str()], "ok", "{word}");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        the_last_rule_that_matches_a_node_decides,
        a_further_process_is_bound_by_them_too,
        the_devices_of_every_container_are_open,
    ])
}
