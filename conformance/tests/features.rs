//! `features` claims what can be asked for, and everything it claims can be: each name is walked, a container
//! started with it, and its effect seen where there is one to be seen.
#![allow(missing_docs)]

#[path = "features/options.rs"]
mod options;

use libtest_mimic::Trial;
use options::{a_remount_has_its_effect, every_mount_option_has_its_effect};
use oxrun_conformance::harness::{Config, Sandbox, conditional, not_oxrun, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::io::Read as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode};

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

fn every_hook_is_run() -> Check {
    let s = sandbox()?;
    for name in list(&features(&s)?, "/hooks")? {
        // The one that runs inside leaves its note there.
        let inside = name == "startContainer";
        let note = s.dir().join(format!("note-{name}"));
        let script = s.make_script(&name, &format!("echo ran > {}", note.display()))?;
        let path = if inside { "/bin/probe".into() } else { script };
        let config = Config::new(&["/bin/probe", "report", "--stat", "/tmp/note"])
            .mount("tmpfs", Path::new("tmpfs"), "/tmp", &[])
            .push(
                &format!("/hooks/{name}"),
                json!({ "path": path, "args": ["probe", "write", "/tmp/note", "ran"], "env": ["PATH=/bin:/usr/bin"] }),
            );
        let bundle = s.bundle(&config)?;
        let output = s.runtime().run(bundle.path(), "c1")?.success()?;
        check_eq!(output.stderr, "", "stderr with {name}");
        let seen = if inside { output.json()?["stat"]["/tmp/note"]["type"] == "file" } else { note.exists() };
        check!(seen, "{name} was not run");
    }
    Ok(())
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

/// A profile with one rule.
fn profile(rule: &Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

/// Runs a container under a profile whose agent is told of the filter and never asked.
fn with_agent(s: &Sandbox, mut profile: Value, name: &str, failed: &mut Vec<String>) -> Check {
    let path = s.dir().join("agent.sock");
    let agent = UnixListener::bind(&path)?;
    profile["listenerPath"] = json!(path);
    profile["syscalls"] = json!([{ "names": ["swapon"], "action": "SCMP_ACT_NOTIFY" }]);
    let told = std::thread::spawn(move || agent.accept().and_then(|(mut peer, _)| peer.read(&mut [0; 8192])));
    runs(s, name, &Config::new(REPORT).set("/linux/seccomp", profile), failed)?;
    // Without this a runtime that never connects would leave the thread waiting.
    drop(UnixStream::connect(&path));
    check!(
        told.join().is_ok_and(|read| read.is_ok_and(|length| length > 0)),
        "{name}: the agent was told nothing"
    );
    std::fs::remove_file(path)?;
    Ok(())
}

fn every_seccomp_action_has_its_effect() -> Check {
    let s = sandbox()?;
    let killed = 128 + libc::SIGSYS;
    for action in list(&features(&s)?, "/linux/seccomp/actions")? {
        if action == "SCMP_ACT_NOTIFY" {
            let mut failed = Vec::new();
            with_agent(&s, profile(&Value::Null), &action, &mut failed)?;
            none(&failed)?;
            continue;
        }
        let config = Config::new(&["/bin/probe", "report", "--call", "sync"])
            .set("/linux/seccomp", profile(&json!({ "names": ["sync"], "action": action })));
        let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?;
        let expected = match action.as_str() {
            "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => json!("ok"),
            "SCMP_ACT_ERRNO" => json!(libc::EPERM),
            "SCMP_ACT_TRACE" => json!(libc::ENOSYS),
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_PROCESS" | "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_TRAP" => {
                check_eq!(output.code, killed, "{action}: {output}");
                continue;
            }
            _ => return Err(format!("nobody knows what {action} does").into()),
        };
        check_eq!(output.success()?.json()?["call"]["sync"], expected, "{action}");
    }
    Ok(())
}

fn every_seccomp_operator_has_its_effect() -> Check {
    let s = sandbox()?;
    // Address families: AF_NETLINK is 16, AF_VSOCK 40.
    for op in list(&features(&s)?, "/linux/seccomp/operators")? {
        let (value, two, met) = match op.as_str() {
            "SCMP_CMP_NE" | "SCMP_CMP_GT" => (16, 0, "socket vsock"),
            "SCMP_CMP_EQ" | "SCMP_CMP_GE" => (40, 0, "socket vsock"),
            "SCMP_CMP_LT" => (40, 0, "socket audit"),
            "SCMP_CMP_LE" => (16, 0, "socket audit"),
            "SCMP_CMP_MASKED_EQ" => (8, 8, "socket vsock"),
            _ => return Err(format!("nobody knows what {op} does").into()),
        };
        let args = json!([{ "index": 0, "value": value, "valueTwo": two, "op": op }]);
        let rule = json!({ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args });
        let config =
            Config::new(&["/bin/probe", "report", "--call", "socket vsock", "--call", "socket audit"]);
        let seen = s.report(&config.set("/linux/seccomp", profile(&rule)))?;
        for call in ["socket vsock", "socket audit"] {
            check_eq!(seen["call"][call] == 77, call == met, "{op}, {call}: {}", seen["call"]);
        }
    }
    Ok(())
}

fn every_architecture_and_flag_of_a_filter_can_be_used() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    let names = |key: &str| list(&features, &format!("/linux/seccomp/{key}"));
    let rule = json!({ "names": ["sync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 });
    let (known, supported) = (names("knownFlags")?, names("supportedFlags")?);
    check!(supported.iter().all(|flag| known.contains(flag)), "{supported:?} of {known:?}");
    let mut failed = Vec::new();
    let words = names("archs")?.into_iter().map(|arch| ("architectures", arch));
    for (key, word) in words.chain(supported.into_iter().map(|flag| ("flags", flag))) {
        let mut profile = profile(&rule);
        profile[key] = json!([word]);
        if word.ends_with("_RECV") {
            with_agent(&s, profile, &word, &mut failed)?;
            continue;
        }
        let config = Config::new(&["/bin/probe", "report", "--call", "sync"]).set("/linux/seccomp", profile);
        let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?;
        // Whatever else is asked for, the rule holds for the program.
        if output.code != 0 || !output.stderr.is_empty() || output.json()?["call"]["sync"] != 77 {
            failed.push(format!("{word}: {output}"));
        }
    }
    none(&failed)
}

fn every_capability_can_be_given() -> Check {
    let s = sandbox()?;
    let names = list(&features(&s)?, "/linux/capabilities")?;
    let last: usize = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    check!(names.len() > last, "the kernel knows {last}, claimed are {}", names.len());
    let status = std::fs::read_to_string("/proc/self/status")?;
    let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap_or_default();
    let own = u64::from_str_radix(own, 16)?;
    for (number, name) in names.iter().enumerate() {
        let config = Config::new(REPORT).set("/process/capabilities", json!({ "bounding": [name] }));
        let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
        let given = own >> number & 1;
        // What the caller has not is a warning.
        check_eq!(output.stderr.lines().count() as u64, 1 - given, "lines on stderr\n{output}");
        let expected = format!("{:016x}", given << number);
        check_eq!(output.json()?["capabilities"]["bounding"], expected, "{name}");
    }
    Ok(())
}

fn every_label_is_taken_where_its_module_is_on() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    let on = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    for (claim, field, label, on, refusal) in [
        (
            "/linux/apparmor/enabled",
            "/process/apparmorProfile",
            "unconfined",
            on("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            "apparmor: config provided but apparmor not supported",
        ),
        (
            "/linux/selinux/enabled",
            "/process/selinuxLabel",
            "system_u:system_r:container_t:s0",
            Path::new("/sys/fs/selinux/enforce").exists(),
            "selinux label is specified in config, but selinux is disabled or not supported",
        ),
    ] {
        check_eq!(features.pointer(claim), Some(&Value::Bool(true)), "{claim}");
        let config = Config::new(&["/bin/probe", "cat", "/proc/self/attr/current"]).set(field, label);
        let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?;
        match on {
            true => {
                check!(output.clone().success()?.stdout.contains(label), "{output}");
                let config = config.set(field, "oxrun-nobodys-label");
                s.runtime().run(s.bundle(&config)?.path(), "c1")?.exits(1)?;
            }
            false => drop(output.refused(refusal)?),
        }
    }
    Ok(())
}

fn every_memory_policy_has_its_effect() -> Check {
    let s = sandbox()?;
    let features = features(&s)?;
    if features.pointer("/linux/memoryPolicy").is_none() {
        return Ok(());
    }
    let modes =
        ["DEFAULT", "PREFERRED", "BIND", "INTERLEAVE", "LOCAL", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE"];
    let flags = [("STATIC_NODES", 15), ("RELATIVE_NODES", 14), ("NUMA_BALANCING", 13)];
    let mut asked = Vec::new();
    for mode in list(&features, "/linux/memoryPolicy/modes")? {
        let number = modes.iter().position(|name| mode == format!("MPOL_{name}"));
        let number = number.ok_or_else(|| Failed::from(format!("nobody knows what {mode} does")))?;
        let policy = match number {
            0 | 4 => json!({ "mode": mode }),
            _ => json!({ "mode": mode, "nodes": "0" }),
        };
        asked.push((mode, policy, number));
    }
    for flag in list(&features, "/linux/memoryPolicy/flags")? {
        let bit = flags.iter().find(|(name, _)| flag == format!("MPOL_F_{name}"));
        let (_, bit) = bit.ok_or_else(|| Failed::from(format!("nobody knows what {flag} does")))?;
        let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] });
        asked.push((flag, policy, 2 | 1 << bit));
    }
    for (name, policy, number) in asked {
        let output = s
            .runtime()
            .run(s.bundle(&Config::new(REPORT).set("/linux/memoryPolicy", policy))?.path(), "c1")?;
        // The kernel may be older than the mode, or have one node alone; it is ours to have asked it.
        match output.code {
            0 => check_eq!(output.json()?["memory_policy"]["mode"], number, "{name}"),
            _ => check!(output.says("set_mempolicy"), "{name}: {output}"),
        }
    }
    Ok(())
}

fn id_mapped_mounts_work_if_they_are_claimed() -> Check {
    let s = sandbox()?;
    let claimed = features(&s)?["linux"]["mountExtensions"]["idmap"]["enabled"] == true;
    let source = s.make_dir("source")?;
    std::fs::write(source.join("file"), "x")?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mount = json!({ "type": "bind", "source": source, "destination": "/tmp", "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map });
    let config = Config::new(&["/bin/probe", "report", "--stat", "/tmp/file"]);
    let bundle = s.bundle(&config.push("/mounts", mount))?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    check_eq!(output.code == 0, claimed, "claimed: {claimed}\n{output}");
    if claimed {
        check_eq!(output.json()?["stat"]["/tmp/file"]["uid"], 100_000, "the owner");
    }
    Ok(())
}

/// The kernel has them, but the filesystem of the scratch directory may not: tmpfs since Linux 6.3, overlay never.
fn without_mapped_scratch() -> Option<String> {
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(std::env::temp_dir()).output().ok()?;
    let kind = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    let old = (numbers.next()?, numbers.next()?) < (6, 3);
    (kind == "overlayfs" || (kind == "tmpfs" && old))
        .then(|| format!("{kind} of Linux {} has no id-mapped mounts", release.trim()))
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
        every_seccomp_action_has_its_effect,
        every_seccomp_operator_has_its_effect,
        every_architecture_and_flag_of_a_filter_can_be_used,
        a_remount_has_its_effect,
    ];
    tests.extend([
        oxrun_only(
            "every_mount_option_has_its_effect",
            "others warn of some",
            every_mount_option_has_its_effect,
        ),
        oxrun_only(
            "every_capability_can_be_given",
            "others word their warning otherwise",
            every_capability_can_be_given,
        ),
        oxrun_only(
            "every_label_is_taken_where_its_module_is_on",
            "others claim what the host has",
            every_label_is_taken_where_its_module_is_on,
        ),
        oxrun_only(
            "the_document_has_what_the_specification_requires",
            "others leave optional parts out",
            the_document_has_what_the_specification_requires,
        ),
        oxrun_only(
            "every_memory_policy_has_its_effect",
            "others word the kernel's refusal otherwise",
            every_memory_policy_has_its_effect,
        ),
        conditional(
            "id_mapped_mounts_work_if_they_are_claimed",
            || not_oxrun("others may lack the fsuid for it").or_else(without_mapped_scratch),
            id_mapped_mounts_work_if_they_are_claimed,
        ),
        oxrun_only("what_is_not_claimed_is_refused", "others ignore it", what_is_not_claimed_is_refused),
    ]);
    run(tests)
}
