//! Documents that are legal and that the specification's model refuses, misreads or loses something of: each is
//! read right. One test for each of its defects.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use oxrun_core::plan;
use oxrun_core::plan::action::{Action, DeviceNode, Namespace};
use oxrun_core::{Bundle, CreateOptions, HostFacts, Plan, Status, Warning};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn facts(name: &str) -> HostFacts {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/plans/{name}.facts.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A small container with something put at pointers.
fn document(changes: &[(&str, Value)]) -> Value {
    let mut document = json!({
        "ociVersion": "1.3.0",
        "process": { "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } },
        "root": { "path": "rootfs" },
        "linux": { "namespaces": [{ "type": "mount" }] },
    });
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    document
}

fn read(changes: &[(&str, Value)]) -> Bundle {
    Bundle::from_json(document(changes).to_string().as_bytes()).unwrap()
}

fn planned_on(host: &str, changes: &[(&str, Value)]) -> Plan {
    plan::plan("c1", &read(changes), &facts(host), &CreateOptions::default()).unwrap()
}

fn planned(changes: &[(&str, Value)]) -> Plan {
    planned_on("v2", changes)
}

/// What one form of steps has.
fn found<T>(plan: &Plan, of: impl Fn(&Action) -> Option<T>) -> Vec<T> {
    plan.steps.iter().filter_map(|step| of(&step.action)).collect()
}

/// The writes to a file of a cgroup.
fn writes(plan: &Plan, file: &str) -> Vec<String> {
    found(plan, |action| match action {
        Action::CgroupWrite { file: f, value } if f.ends_with(file) => Some(value.clone()),
        _ => None,
    })
}

fn fields(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(|warning| warning.field.as_str()).collect()
}

#[test]
fn an_unknown_capability_is_a_warning_and_the_others_count() {
    let names = json!(["CAP_KILL", "CAP_OF_THE_FUTURE", "CAP_CHOWN"]);
    let plan = planned(&[("/process/capabilities", json!({ "bounding": names, "ambient": ["NO_CAP"] }))]);
    assert_eq!(
        fields(plan.warnings()),
        ["/process/capabilities/ambient/0", "/process/capabilities/bounding/1"]
    );
    let kept = found(&plan, |a| match a {
        Action::Bounding { keep, .. } => Some(*keep),
        _ => None,
    });
    assert_eq!(kept, [1 << 5 | 1 << 0]);
}

#[test]
fn flags_of_a_scheduler_have_the_names_of_the_specification() {
    for (name, bit) in [
        ("SCHED_FLAG_RESET_ON_FORK", 0x01),
        ("SCHED_FLAG_RECLAIM", 0x02),
        ("SCHED_FLAG_DL_OVERRUN", 0x04),
        ("SCHED_FLAG_KEEP_POLICY", 0x08),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
    ] {
        let plan = planned(&[("/process/scheduler", json!({ "policy": "SCHED_BATCH", "flags": [name] }))]);
        let flags = found(&plan, |a| match a {
            Action::Scheduler(s) => Some(s.flags),
            _ => None,
        });
        assert_eq!(flags, [bit], "{name}");
    }
}

#[test]
fn no_limit_of_processes_is_not_a_limit_of_none() {
    for host in ["v1", "v2"] {
        for absent in [json!({}), json!({ "limit": null }), Value::Null] {
            let plan = planned_on(host, &[("/linux/resources", json!({ "pids": absent }))]);
            assert!(writes(&plan, "pids.max").is_empty(), "{host}: {absent}");
        }
        let plan = planned_on(host, &[("/linux/resources", json!({ "pids": { "limit": 0 } }))]);
        assert_eq!(writes(&plan, "pids.max"), ["1"], "{host}");
    }
}

#[test]
fn a_limit_of_huge_pages_may_have_64_bits() {
    for (limit, expected) in [
        (i64::MAX as u64, "9223372036854775807"),
        // The kernel counts no more than this, whatever it is told.
        (i64::MAX as u64 + 1, "9223372036854775807"),
        (u64::MAX, "9223372036854775807"),
    ] {
        let huge = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": limit }] });
        for (host, file) in [("v1", "hugetlb.2MB.limit_in_bytes"), ("v2", "hugetlb.2MB.max")] {
            assert_eq!(writes(&planned_on(host, &[("/linux/resources", huge.clone())]), file), [expected]);
        }
    }
}

#[test]
fn a_device_rule_without_a_type_is_for_all() {
    let rules = |rule: Value| {
        let plan = planned(&[("/linux/resources", json!({ "devices": [rule] }))]);
        let rules = found(&plan, |a| match a {
            Action::DevicesV2 { rules, .. } => Some(rules.clone()),
            _ => None,
        });
        rules.concat()
    };
    let all = rules(json!({ "allow": false, "type": "a", "access": "rwm" }));
    assert!(!all.is_empty());
    for absent in [json!(""), Value::Null] {
        assert_eq!(rules(json!({ "allow": false, "type": absent, "access": "rwm" })), all, "{absent}");
    }
    assert_eq!(rules(json!({ "allow": false, "access": "rwm" })), all);
    // No access named is every kind of access.
    assert_eq!(rules(json!({ "allow": false })), all);
}

#[test]
fn a_process_without_a_user_is_roots() {
    for user in [Value::Null, json!({}), json!({ "uid": 0 }), json!({ "gid": 0 })] {
        let plan = planned(&[("/process/user", user.clone())]);
        let ids = found(&plan, |a| match a {
            Action::Identity { uid, gid, .. } => Some((*uid, *gid)),
            _ => None,
        });
        assert_eq!(ids, [(0, 0)], "{user}");
    }
}

#[test]
fn lists_of_processors_may_have_blanks() {
    for (list, expected) in [("0-1, 3", "0-1,3"), (" 0 ,2", "0,2"), ("0,,1,", "0,1"), ("7", "7")] {
        let affinity = json!({ "initial": list, "final": list });
        let bundle = read(&[("/process/execCPUAffinity", affinity)]);
        let process = bundle.spec().process().as_ref().unwrap();
        let affinity = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!(affinity.initial().as_deref(), Some(expected), "{list:?}");
        assert_eq!(affinity.cpu_affinity_final().as_deref(), Some(expected), "{list:?}");
    }
    let bundle = read(&[("/process/execCPUAffinity", json!({ "initial": "" }))]);
    let process = bundle.spec().process().as_ref().unwrap();
    assert_eq!(process.exec_cpu_affinity().as_ref().unwrap().initial(), &None);
}

#[test]
fn a_network_device_may_keep_its_name() {
    for device in [json!({}), json!({ "name": null })] {
        let bundle = read(&[("/linux/netDevices", json!({ "eth0": device }))]);
        assert!(bundle.warnings().is_empty(), "{device}: {:?}", bundle.warnings());
        let devices = bundle.spec().linux().as_ref().unwrap().net_devices().clone().unwrap();
        assert_eq!(devices["eth0"].name(), &None, "{device}");
    }
}

#[test]
fn a_paused_container_has_a_status_of_its_own() {
    assert_eq!(Status::Paused.to_string(), "paused");
}

#[test]
fn the_bytes_of_a_document_are_kept() {
    let text = b"{ \"ociVersion\": \"1.3.0\",\n\t\"linux\": {\"of-the-future\": [1, 2.50, null]}, \"linux.x\":1e3 }\n";
    let bundle = Bundle::from_json(text).unwrap();
    assert_eq!(bundle.raw(), text);
}

#[test]
fn unknown_keys_are_warnings_that_name_the_key_that_was_meant() {
    let bundle = read(&[
        ("/procces", json!(1)),
        ("/linux/namespacez", json!([])),
        ("/process/execCpuAffinity", json!({})),
        ("/linux/resources", json!({ "blockIO": { "throttleReadBPSDevise": [] }, "cpu": { "share": 1 } })),
        ("/linux/quite-another", json!({ "below": 1 })),
    ]);
    let mut told: Vec<(&str, bool)> =
        bundle.warnings().iter().map(|w| (w.field.as_str(), w.message.contains("did you mean"))).collect();
    let expected = [
        ("/linux/namespacez", true),
        ("/linux/quite-another", false),
        ("/linux/resources/blockIO/throttleReadBPSDevise", true),
        ("/linux/resources/cpu/share", true),
        ("/procces", true),
        ("/process/execCpuAffinity", true),
    ];
    told.sort_unstable();
    assert_eq!(told, expected);
    let warning = bundle.warnings().iter().find(|w| w.field.ends_with("Devise")).unwrap();
    assert!(warning.message.contains("`throttleReadBpsDevice`"), "{}", warning.message);
}

#[test]
fn a_number_with_a_fraction_is_refused_where_it_stands() {
    for (number, field) in [(json!(5e8), "/process/oomScoreAdj"), (json!(1.5), "/process/oomScoreAdj")] {
        let text = document(&[("/process/oomScoreAdj", number)]).to_string();
        assert_eq!(Bundle::from_json(text.as_bytes()).unwrap_err().field(), Some(field));
    }
}

#[test]
fn what_is_absent_in_the_features_is_not_there() {
    fn nulls(value: &Value, at: &str, out: &mut Vec<String>) {
        match value {
            Value::Null => out.push(at.to_owned()),
            Value::Array(list) => list.iter().for_each(|v| nulls(v, at, out)),
            Value::Object(map) => map.iter().for_each(|(k, v)| nulls(v, &format!("{at}/{k}"), out)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    nulls(&oxrun_core::features::features().unwrap(), "", &mut found);
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_the_model_keeps_without_an_order_is_planned_in_one() {
    let many = |prefix: &str, value: Value| -> Value {
        (0..30)
            .map(|n| (format!("{prefix}{}", n * 7 % 30), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let changes = [
        ("/annotations", many("key.", json!("x"))),
        ("/linux/namespaces", json!([{ "type": "mount" }, { "type": "ipc" }, { "type": "network" }])),
        ("/linux/sysctl", many("net.ipv4.conf.if", json!("1"))),
        (
            "/linux/resources",
            json!({ "unified": many("memory.x", json!("1")), "rdma": many("mlx", json!({ "hcaHandles": 1 })) }),
        ),
    ];
    let first = planned(&changes);
    for _ in 0..20 {
        // Each reading has a hash of its own.
        assert!(planned(&changes) == first, "another plan of the same document");
    }
    let keys = found(&first, |a| match a {
        Action::Sysctl { key, .. } => Some(key.clone()),
        _ => None,
    });
    assert!(keys.len() == 30 && keys.is_sorted(), "{keys:?}");
}

#[test]
fn what_concerns_other_systems_is_ignored() {
    let changes = [
        ("/freebsd", json!({ "jail": { "parent": "x" }, "devices": [{ "path": "null" }] })),
        ("/vm", json!({ "hwConfig": { "deviceTree": "x", "vcpus": 1 } })),
        ("/windows", json!({ "layerFolders": 7 })),
        ("/solaris", json!({ "anet": {} })),
        ("/zos", json!({ "namespaces": [{ "type": "nope" }] })),
    ];
    let plan = planned(&changes);
    assert!(plan.warnings().is_empty(), "{:?}", plan.warnings());
    assert!(plan.steps == planned(&[]).steps);
}

#[test]
fn an_empty_path_of_a_namespace_is_none() {
    for path in [json!(""), Value::Null] {
        let list = json!([{ "type": "mount" }, { "type": "ipc", "path": path }]);
        let plan = planned(&[("/linux/namespaces", list)]);
        let made = found(&plan, |a| match a {
            Action::Clone { new, .. } => Some(new.contains(&Namespace::Ipc)),
            _ => None,
        });
        assert_eq!(made, [true], "{path}");
    }
}

#[test]
fn a_fifo_needs_no_numbers() {
    for device in
        [json!({ "path": "/f", "type": "p" }), json!({ "path": "/f", "type": "p", "major": 0, "minor": 0 })]
    {
        let plan = planned(&[("/linux/devices", json!([device]))]);
        let made: Vec<DeviceNode> = found(&plan, |a| match a {
            Action::Device(d) if d.path == Path::new("/f") => Some(d.clone()),
            _ => None,
        });
        assert_eq!(
            made.iter().map(|d| (d.kind, d.major, d.minor, d.mode)).collect::<Vec<_>>(),
            [('p', 0, 0, 0o666)]
        );
    }
}

/// What no version of the specification knows stays an error.
#[test]
fn words_that_are_none_are_refused_where_they_stand() {
    for (pointer, value, field) in [
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_NOPE", "soft": 1, "hard": 1 }]),
            "/process/rlimits/0/type",
        ),
        ("/linux/namespaces", json!([{ "type": "nope" }]), "/linux/namespaces/0/type"),
        ("/linux/devices", json!([{ "path": "/x", "type": "z" }]), "/linux/devices/0/type"),
        ("/linux/personality", json!({ "domain": "LINUX64" }), "/linux/personality/domain"),
    ] {
        let error = Bundle::from_json(document(&[(pointer, value)]).to_string().as_bytes()).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
    }
}
