//! `features` claims what can be asked for, and everything it claims can be: each name is walked, and a
//! container started with it.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn features(s: &Sandbox) -> Check<Value> {
    let output = s.runtime().call(&["features"])?.success()?;
    check_eq!(output.stderr, "", "stderr of features");
    output.json()
}

/// The strings of a list.
fn list(features: &Value, pointer: &str) -> Check<Vec<String>> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    let list = list.ok_or_else(|| Failed::from(format!("no list at {pointer} in {features:#}")))?;
    let names = list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    check_eq!(names.len(), list.len(), "strings at {pointer}");
    Ok(names)
}

/// Runs a container, which must succeed without a word; all failures are told at once.
fn runs(s: &Sandbox, name: &str, config: &Config, failed: &mut Vec<String>) -> Check {
    let bundle = s.bundle(config)?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    if output.code != 0 || !output.stderr.is_empty() {
        failed.push(format!("{name}: {output}"));
    }
    Ok(())
}

fn none(failed: &[String]) -> Check {
    check!(failed.is_empty(), "claimed, and does not work:\n{}", failed.join("\n"));
    Ok(())
}

fn the_document_has_what_the_specification_requires() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    let flag = |pointer: &str| features.pointer(pointer).is_some_and(Value::is_boolean);
    for pointer in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser",
        "/linux/cgroup/rdma",
        "/linux/seccomp/enabled",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
    ] {
        check!(flag(pointer), "no {pointer} in {features:#}");
    }
    check_eq!(features["ociVersionMin"], "1.0.0");
    check_eq!(features["ociVersionMax"], "1.3.0");
    check!(features["annotations"].is_object(), "{features:#}");
    check!(!list(&features, "/potentiallyUnsafeConfigAnnotations")?.is_empty(), "{features:#}");
    let options = list(&features, "/mountOptions")?;
    check!(options.iter().any(|o| o == "rro"), "engines look for rro: {options:?}");
    check!(!options.iter().any(|o| o.contains("idmap") || o.contains('=')), "{options:?}");
    Ok(())
}

fn every_mount_option_can_be_used() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let mut failed = Vec::new();
    for option in list(&features(&s)?, "/mountOptions")? {
        let config = Config::new(REPORT);
        let config = match option.as_str() {
            "bind" | "rbind" => config.mount("none", &source, "/tmp", &[&option]),
            // What is there already.
            "remount" => config.mount("tmpfs", Path::new("tmpfs"), "/dev/shm", &[&option]),
            // What holds for a tree is given to one.
            name if name.starts_with('r') && !["ro", "rw", "relatime", "remount"].contains(&name) => {
                config.mount("bind", &source, "/tmp", &["rbind", &option])
            }
            _ => config.mount("tmpfs", Path::new("tmpfs"), "/tmp", &[&option]),
        };
        runs(&s, &option, &config, &mut failed)?;
    }
    none(&failed)
}

fn every_hook_is_run() -> Check {
    let s = sandbox()?;
    let mut failed = Vec::new();
    for name in list(&features(&s)?, "/hooks")? {
        let inside = name == "startContainer";
        let note = s.dir().join(format!("note-{name}"));
        let script = s.make_script(&name, &format!("echo ran > {}", note.display()))?;
        let path = if inside { "/bin/probe".into() } else { script };
        let args = if inside { json!(["probe", "exit", "0"]) } else { json!(["hook"]) };
        let config = Config::new(REPORT).push(
            &format!("/hooks/{name}"),
            json!({ "path": path, "args": args, "env": ["PATH=/bin:/usr/bin"] }),
        );
        runs(&s, &name, &config, &mut failed)?;
        check!(inside || note.exists(), "{name} was not run");
    }
    none(&failed)
}

fn every_namespace_can_be_made() -> Check {
    let s = sandbox()?;
    let claimed = list(&features(&s)?, "/linux/namespaces")?;
    let mut failed = Vec::new();
    for kind in &claimed {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        let config = Config::new(REPORT).namespace(kind, None);
        let config = match kind.as_str() {
            "user" => config.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map),
            _ => config,
        };
        let bundle = s.bundle(&config)?;
        if kind == "user" {
            for path in ["", "dev", "proc", "sys", "tmp"] {
                std::os::unix::fs::chown(bundle.rootfs().join(path), Some(100_000), Some(100_000))?;
            }
        }
        let output = s.runtime().run(bundle.path(), "c1")?;
        if output.code != 0 || !output.stderr.is_empty() {
            failed.push(format!("{kind}: {output}"));
            continue;
        }
        // In the probe's report a namespace is that of the container, not ours.
        let file = match kind.as_str() {
            "network" => "net",
            "mount" => "mnt",
            other => other,
        };
        let ours = std::fs::read_link(format!("/proc/self/ns/{file}"))?;
        let inside = output.json()?["namespaces"][file].clone();
        check!(inside.is_string() && inside != ours.to_string_lossy().as_ref(), "{kind}: {inside}");
    }
    none(&failed)?;
    check!(claimed.len() >= 6, "{claimed:?}");
    Ok(())
}

/// A profile with one rule on a call that the program does not make.
fn profile(rule: &Value) -> Value {
    let syscalls = if rule.is_null() { json!([]) } else { json!([rule]) };
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls })
}

fn every_part_of_a_seccomp_profile_can_be_used() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    let names = |key: &str| list(&features, &format!("/linux/seccomp/{key}"));
    let mut failed = Vec::new();
    let mut with = |name: &str, profile: Value| {
        runs(&s, name, &Config::new(REPORT).set("/linux/seccomp", profile), &mut failed)
    };
    // An agent has to be there for the one that asks it: its own tests start one.
    for action in names("actions")?.iter().filter(|a| *a != "SCMP_ACT_NOTIFY") {
        with(action, profile(&json!({ "names": ["swapon"], "action": action })))?;
    }
    for op in names("operators")? {
        let args = json!([{ "index": 0, "value": 1, "valueTwo": 1, "op": op }]);
        with(&op, profile(&json!({ "names": ["swapon"], "action": "SCMP_ACT_ERRNO", "args": args })))?;
    }
    let rule = json!({ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" });
    for arch in names("archs")? {
        let mut profile = profile(&rule);
        profile["architectures"] = json!([arch]);
        with(&arch, profile)?;
    }
    let (known, supported) = (names("knownFlags")?, names("supportedFlags")?);
    check!(supported.iter().all(|flag| known.contains(flag)), "{supported:?} of {known:?}");
    for flag in supported.iter().filter(|f| !f.ends_with("_RECV")) {
        let mut profile = profile(&rule);
        profile["flags"] = json!([flag]);
        with(flag, profile)?;
    }
    none(&failed)
}

fn every_capability_is_one_of_the_kernel() -> Check {
    let s = sandbox()?;
    let names = list(&features(&s)?, "/linux/capabilities")?;
    let last: usize = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    check!(names.len() > last, "the kernel knows {last}, claimed are {}", names.len());
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let bundle = s.bundle(&Config::new(REPORT).set("/process/capabilities", json!({ "bounding": all })))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check!(!output.stderr.contains("unknown capability"), "{output}");
    Ok(())
}

fn every_mode_of_a_memory_policy_can_be_used() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    if features.pointer("/linux/memoryPolicy").is_none() {
        return Ok(());
    }
    let mut failed = Vec::new();
    for mode in list(&features, "/linux/memoryPolicy/modes")? {
        let policy = match mode.as_str() {
            "MPOL_DEFAULT" | "MPOL_LOCAL" => json!({ "mode": mode }),
            _ => json!({ "mode": mode, "nodes": "0" }),
        };
        let bundle = s.bundle(&Config::new(REPORT).set("/linux/memoryPolicy", policy))?;
        let output = s.runtime().run(bundle.path(), "c1")?;
        // The kernel may be older than the mode; it is ours to have asked it.
        if output.code != 0 && !output.says("set_mempolicy") {
            failed.push(format!("{mode}: {output}"));
        }
    }
    none(&failed)
}

fn id_mapped_mounts_work_if_they_are_claimed() -> Check {
    let s = sandbox()?;
    let claimed = features(&s)?["linux"]["mountExtensions"]["idmap"]["enabled"] == true;
    let source = s.make_dir("source")?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mount = json!({ "type": "bind", "source": source, "destination": "/tmp", "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map });
    let bundle = s.bundle(&Config::new(REPORT).push("/mounts", mount))?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    check_eq!(output.code == 0, claimed, "claimed: {claimed}\n{output}");
    Ok(())
}

fn what_is_not_claimed_is_refused() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    let mut cases =
        vec![("/linux/netDevices/enabled", "/linux/netDevices", json!({ "eth7": { "name": "eth0" } }))];
    for (key, value) in [
        ("closID", json!("x")),
        ("schemata", json!(["L3:0=f"])),
        ("l3CacheSchema", json!("L3:0=f")),
        ("memBwSchema", json!("MB:0=50")),
        ("enableMonitoring", json!(true)),
    ] {
        cases.push(("/linux/intelRdt/enabled", "/linux/intelRdt", json!({ key: value })));
    }
    for (pointer, field, value) in cases {
        if features.pointer(pointer) == Some(&Value::Bool(false)) {
            let bundle = s.bundle(&Config::new(REPORT).set(field, value))?;
            s.runtime().run(bundle.path(), "c1")?.refused(field)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests: Vec<Trial> = tests![
        every_hook_is_run,
        every_namespace_can_be_made,
        every_part_of_a_seccomp_profile_can_be_used,
        every_capability_is_one_of_the_kernel,
    ];
    tests.extend([
        oxrun_only("every_mount_option_can_be_used", "others warn of some", every_mount_option_can_be_used),
        oxrun_only(
            "the_document_has_what_the_specification_requires",
            "others leave optional parts out",
            the_document_has_what_the_specification_requires,
        ),
        oxrun_only(
            "every_mode_of_a_memory_policy_can_be_used",
            "others word the kernel's refusal otherwise",
            every_mode_of_a_memory_policy_can_be_used,
        ),
        oxrun_only(
            "id_mapped_mounts_work_if_they_are_claimed",
            "others may lack the fsuid for it",
            id_mapped_mounts_work_if_they_are_claimed,
        ),
        oxrun_only("what_is_not_claimed_is_refused", "others ignore it", what_is_not_claimed_is_refused),
    ]);
    run(tests)
}
