//! Where a container's cgroup is, and whose: planned for a caller with rights and without, from facts alone.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_core::plan::action::Action;
use oxrun_core::plan::{self, Plan};
use oxrun_core::{Bundle, CreateOptions, ErrorKind, HostFacts, V1Hierarchy};
use serde_json::{Value, json};
use std::path::Path;

/// A host with cgroup v2 alone.
fn v2(own: &str) -> HostFacts {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/v2.facts.json");
    let mut facts: HostFacts = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    facts.cgroup.v2.as_mut().unwrap().own = own.to_owned();
    facts
}

/// The same for a user who was given this part of the tree.
fn user(own: &str, delegated: Option<&str>) -> HostFacts {
    let mut facts = v2(own);
    (facts.euid, facts.egid) = (1000, 1000);
    facts.cgroup.v2.as_mut().unwrap().delegated = delegated.map(str::to_owned);
    facts
}

fn config(facts: &HostFacts, path: Option<&str>, resources: &Value) -> Value {
    let mut document = json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["true"]},
        "linux": {"namespaces": [{"type": "mount"}], "resources": resources},
    });
    if let Some(path) = path {
        document["linux"]["cgroupsPath"] = json!(path);
    }
    if facts.euid != 0 {
        let map = json!([{"containerID": 0, "hostID": facts.euid, "size": 1}]);
        document["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        document["linux"]["uidMappings"] = map.clone();
        document["linux"]["gidMappings"] = map;
    }
    document
}

fn planned(document: &Value, facts: &HostFacts) -> oxrun_core::Result<Plan> {
    let bundle = Bundle::from_json(document.to_string().as_bytes()).unwrap();
    plan::plan("c1", &bundle, facts, &CreateOptions::default())
}

/// The path of the cgroup, "none" without one.
fn place(facts: &HostFacts, path: Option<&str>, resources: &Value) -> String {
    let plan = planned(&config(facts, path, resources), facts).unwrap();
    match plan.cgroups.as_slice() {
        [] => "none".to_owned(),
        [one] => one.path.display().to_string(),
        several => several.iter().map(|d| d.path.display().to_string()).collect::<Vec<_>>().join(" "),
    }
}

fn limits() -> Value {
    json!({"pids": {"limit": 5}, "devices": [{"allow": false, "access": "rwm"}]})
}

#[test]
fn on_v2_what_is_relative_begins_beside_the_callers_cgroup() {
    for (own, path, expected) in [
        ("/", None, "c1"),
        ("/", Some("a/b"), "a/b"),
        ("/system.slice/engine.service", None, "system.slice/c1"),
        ("/system.slice/engine.service", Some("a/b"), "system.slice/a/b"),
        ("/system.slice/engine.service", Some("../../../a"), "system.slice/a"),
        ("/system.slice/engine.service", Some("/a/b"), "a/b"),
        ("/system.slice/engine.service", Some("/../a/./b"), "a/b"),
    ] {
        assert_eq!(place(&v2(own), path, &limits()), expected, "{path:?} of a caller in {own}");
    }
}

#[test]
fn on_v1_what_is_relative_begins_at_the_callers_cgroup() {
    let mut facts = v2("/user");
    facts.cgroup.v2 = None;
    facts.cgroup.v1 = ["pids", "devices"]
        .map(|name| V1Hierarchy {
            controllers: vec![name.to_owned()],
            mount: format!("/sys/fs/cgroup/{name}").into(),
            own: "/engine".to_owned(),
        })
        .to_vec();
    assert_eq!(place(&facts, None, &limits()), "engine/c1 engine/c1");
    assert_eq!(place(&facts, Some("a"), &limits()), "engine/a engine/a");
}

#[test]
fn a_user_has_cgroups_below_what_was_delegated() {
    for (own, path, expected) in [
        ("/u/job", None, "u/c1"),
        ("/u/a/job", None, "u/a/c1"),
        ("/u/job", Some("pod/c1"), "u/pod/c1"),
        ("/u/job", Some("/u/pod/c1"), "u/pod/c1"),
        // Above is somebody else.
        ("/u", None, "u/c1"),
        ("/u", Some("../x"), "u/x"),
    ] {
        let facts = user(own, Some("/u"));
        assert_eq!(place(&facts, path, &limits()), expected, "{path:?} of a caller in {own}");
    }
}

#[test]
fn a_user_has_no_cgroup_elsewhere_and_hears_of_it_with_a_path_or_limits() {
    for (delegated, path) in [
        (Some("/u"), "/elsewhere"),
        (Some("/u"), "/u"),
        (Some("/u"), "/user/c1"),
        (None, "/u/c1"),
        (None, "c1"),
    ] {
        let facts = user("/u/job", delegated);
        for resources in [json!({}), limits()] {
            let error = planned(&config(&facts, Some(path), &resources), &facts).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permission, "{path}");
            assert_eq!(error.field(), Some("/linux/cgroupsPath"), "{path}");
            let hint = error.hint_text().unwrap();
            let told = hint == "cgroups below /u are delegated to this user";
            assert_eq!(told, delegated.is_some(), "{path}: {hint}");
        }
    }
    let facts = user("/u/job", None);
    let nothing = json!({"devices": [{"allow": false}], "cpu": {"shares": 0}, "memory": {"limit": 0}});
    assert_eq!(place(&facts, None, &nothing), "none");
    let error = planned(&config(&facts, None, &limits()), &facts).unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Permission, Some("/linux/resources")));
}

#[test]
fn v1_hierarchies_are_nobodys_but_roots() {
    let mut facts = user("/u/job", Some("/u"));
    facts.cgroup.v1 = vec![V1Hierarchy {
        controllers: vec!["pids".to_owned()],
        mount: "/sys/fs/cgroup/pids".into(),
        own: "/u/job".to_owned(),
    }];
    assert_eq!(place(&facts, None, &json!({})), "none");
}

#[test]
fn device_rules_are_roots() {
    let has = |facts: &HostFacts| {
        let plan = planned(&config(facts, None, &limits()), facts).unwrap();
        plan.steps.iter().any(|s| matches!(s.action, Action::DevicesV2 { .. }))
    };
    assert!(has(&v2("/")));
    assert!(!has(&user("/u/job", Some("/u"))));
}

/// Whom the cgroup is given to.
fn owner(change: impl FnOnce(&mut Value)) -> Option<u32> {
    let facts = v2("/");
    let mut document = config(&facts, None, &json!({}));
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 100}, {"containerID": 200, "hostID": 9000, "size": 1}]);
    document["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "cgroup"}, {"type": "user"}]);
    document["linux"]["uidMappings"] = map.clone();
    document["linux"]["gidMappings"] = map;
    document["mounts"] = json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}]);
    change(&mut document);
    let plan = planned(&document, &facts).unwrap();
    let given = plan.steps.iter().filter_map(|s| match &s.action {
        Action::CgroupOwner { dir, uid } => {
            assert_eq!((dir.as_path(), s.field.as_str()), (Path::new("/sys/fs/cgroup/c1"), "/mounts/0"));
            Some(*uid)
        }
        _ => None,
    });
    let given: Vec<u32> = given.collect();
    for uid in &given {
        assert!(plan.to_string().contains(&format!("give it to uid {uid}")), "{plan}");
    }
    assert!(given.len() < 2, "{given:?}");
    given.first().copied()
}

#[test]
fn a_cgroup_that_only_the_container_sees_is_its_users() {
    assert_eq!(owner(|_| {}), Some(5000));
    assert_eq!(owner(|d| d["process"]["user"]["uid"] = json!(99)), Some(5099));
    assert_eq!(owner(|d| d["process"]["user"]["uid"] = json!(200)), Some(9000));
    assert_eq!(owner(|d| d["mounts"][0]["type"] = json!("cgroup2")), Some(5000));
    assert_eq!(owner(|d| d["mounts"][0]["destination"] = json!("/sys//fs/./cgroup/")), Some(5000));
}

#[test]
fn a_cgroup_that_others_see_stays_the_callers() {
    assert_eq!(owner(|d| d["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}])), None);
    assert_eq!(owner(|d| d["mounts"][0]["options"] = json!(["ro"])), None);
    assert_eq!(owner(|d| d["mounts"][0]["destination"] = json!("/mnt")), None);
    assert_eq!(owner(|d| d["mounts"] = json!([])), None);
    // Nobody outside has this id.
    assert_eq!(owner(|d| d["process"]["user"]["uid"] = json!(150)), None);
    // Root's it is already.
    let plain = |d: &mut Value| {
        d["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "cgroup"}]);
        let linux = d["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    };
    assert_eq!(owner(plain), None);
    let uid = |d: &mut Value| {
        plain(d);
        d["process"]["user"]["uid"] = json!(1000);
    };
    assert_eq!(owner(uid), Some(1000));
}
