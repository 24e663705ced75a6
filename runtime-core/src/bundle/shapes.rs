//! Documents that are shaped otherwise than any that is meant: each is answered, none panics, and what is
//! refused is refused at the place that was changed or at one that leads to it.

use super::Bundle;
use crate::facts::{CgroupFacts, HostFacts, V1Hierarchy, V2Tree};
use crate::plan::{CreateOptions, plan};
use serde_json::{Value, json};

/// A document with a little of everything.
pub(super) fn full() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": true, "consoleSize": {"height": 1, "width": 2}, "cwd": "/", "env": ["A=b"],
            "args": ["sh"], "user": {"uid": 1, "gid": 2, "umask": 3, "additionalGids": [4]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_KILL"], "ambient": ["CAP_KILL"]}, "oomScoreAdj": 5,
            "apparmorProfile": "", "selinuxLabel": "",
            "execCPUAffinity": {"initial": "0", "final": "0-1"},
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "h", "domainname": "d",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]},
            {"destination": "/tmp", "type": "tmpfs", "options": ["size=1", "mode=0"]},
            {"destination": "/x", "type": "bind", "source": "/x", "options": ["rbind", "rprivate"]},
        ],
        "hooks": {"createRuntime": [{"path": "/h", "args": ["h"], "env": ["A=b"], "timeout": 1}]},
        "annotations": {"a": "b"},
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/n"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}],
            "gidMappings": [{"containerID": 0, "hostID": 1, "size": 2}],
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, "fileMode": 3, "uid": 4}],
            "sysctl": {"net.ipv4.ip_forward": "1"}, "cgroupsPath": "/c",
            "resources": {
                "memory": {"limit": 1u64 << 30, "swap": 1u64 << 31}, "cpu": {"shares": 2, "quota": 3000, "cpus": "0"},
                "pids": {"limit": 3}, "devices": [{"allow": true, "type": "c", "major": 1, "access": "rwm"}],
                "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 1, "minor": 2, "rate": 3}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 1}], "network": {"classID": 1},
            },
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}],
            },
            "maskedPaths": ["/m"], "readonlyPaths": ["/r"], "rootfsPropagation": "rslave",
            "personality": {"domain": "LINUX"},
        },
    })
}

/// Every pointer into a document.
pub(super) fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                pointers(value, &format!("{at}/{}", super::escape(key)), out);
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                pointers(value, &format!("{at}/{i}"), out);
            }
        }
        _ => {}
    }
}

pub(super) fn shapes() -> [Value; 12] {
    [
        json!(null),
        json!(7),
        json!(-1),
        json!(u64::MAX),
        json!(1.5),
        json!(true),
        json!(""),
        json!("x/../\u{0}"),
        json!([]),
        json!([[1], null]),
        json!({}),
        json!({ "x": { "y~/": [] } }),
    ]
}

#[test]
fn no_shape_of_a_document_panics_and_each_refusal_names_its_place() {
    for facts in [facts(true), facts(false)] {
        every_shape(&facts);
    }
}

/// A host with cgroup v2 or v1 alone.
fn facts(v2: bool) -> HostFacts {
    let own = || "/".to_owned();
    let mount = "/sys/fs/cgroup".into();
    let tree = V2Tree { mount, own: own(), controllers: Vec::new(), delegated: None };
    let one = |name: &str| V1Hierarchy {
        controllers: vec![name.to_owned()],
        mount: format!("/sys/fs/cgroup/{name}").into(),
        own: own(),
    };
    let v1 = ["memory", "cpu", "cpuset", "pids", "devices", "blkio", "hugetlb", "net_cls"];
    let cgroup = match v2 {
        true => CgroupFacts { v1: Vec::new(), v2: Some(tree) },
        false => CgroupFacts { v1: v1.map(one).to_vec(), v2: None },
    };
    let recorded = HostFacts::record().expect("facts");
    HostFacts { euid: 0, egid: 0, in_user_namespace: false, bounding: u64::MAX, cgroup, ..recorded }
}

fn every_shape(facts: &HostFacts) {
    let whole = Bundle::from_json(full().to_string().as_bytes()).expect("the document itself loads");
    plan("c", &whole, facts, &CreateOptions::default()).expect("the document itself is planned");
    let mut places = Vec::new();
    pointers(&full(), "", &mut places);
    assert!(places.len() > 120, "{}", places.len());
    let (mut loaded, mut refused, mut planned) = (0, 0, 0);
    for place in &places {
        for shape in shapes() {
            let mut document = full();
            if let Some(spot) = document.pointer_mut(place) {
                *spot = shape.clone();
            }
            let text = serde_json::to_vec_pretty(&document).expect("text");
            let bundle = match Bundle::from_json(&text) {
                Ok(bundle) => bundle,
                Err(e) => {
                    refused += 1;
                    let field = e.field().unwrap_or("/");
                    let near = field == "/" || field.starts_with(place.as_str()) || place.starts_with(field);
                    assert!(near, "{place} = {shape}: {e} at {field}");
                    assert!(!e.to_string().contains('\n'), "{e}");
                    continue;
                }
            };
            loaded += 1;
            match plan("c", &bundle, facts, &CreateOptions::default()) {
                Ok(plan) => {
                    planned += 1;
                    assert!(plan.steps.iter().all(|s| s.field.starts_with(['/', '('])), "{plan}");
                    crate::plan::script::encode(&plan).expect("a script");
                }
                Err(e) => assert!(e.field().is_some(), "{place} = {shape}: {e} names no field"),
            }
        }
    }
    assert!(refused > 1000 && loaded > 200 && planned > 200, "{refused} {loaded} {planned}");
}
