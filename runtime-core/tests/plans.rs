//! Plans of configs that real engines wrote, made for recorded hosts: a plan depends on nothing else, so it is the
//! same on every machine. Some plans are kept as text beside this file, all of them keep the order that the
//! kernel and the specification need.
//!
//! `OXRUN_REGENERATE=1 cargo test -p oxrun-core --test plans` writes the texts anew;
//! `OXRUN_RECORD_FACTS=FILE cargo test -p oxrun-core --test plans -- --ignored` records a host, with
//! OXRUN_RECORD_SYSTEMD its systemd too.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "plans/order.rs"]
mod order;

use order::{Is, ORDER, SINGLE, faults};
use oxrun_core::plan::action::Action;
use oxrun_core::plan::{self, script};
use oxrun_core::{Bundle, CgroupManager, CreateOptions, HostFacts, Lane, Plan};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Documents whose plans are kept line by line.
const SHOWN: [&str; 7] = [
    "containerd16-opts",
    "containerd21-userns",
    "cri21-container",
    "docker20-limits",
    "docker28-vol",
    "podman43-hooks",
    "podman43-rootless-run",
];

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(path)
}

fn facts(name: &str) -> HostFacts {
    serde_json::from_str(&fs::read_to_string(own(&format!("{name}.facts.json"))).unwrap()).unwrap()
}

/// All configs by name, in order.
fn documents() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/data/corpus");
    let mut documents = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(".config.json") {
            documents.push((name.to_owned(), fs::read(entry.path()).unwrap()));
        }
    }
    documents.sort();
    assert_eq!(documents.len(), 48, "configs");
    documents
}

/// The plan of a document. Where systemd was recorded it makes the cgroup, whose path then has another form; whom
/// nobody has given a part of the tree chooses none.
fn plan(document: &[u8], facts: &HostFacts) -> oxrun_core::Result<Plan> {
    let systemd = facts.systemd.is_some();
    let cgroup_manager = if systemd { CgroupManager::Systemd } else { CgroupManager::default() };
    let options = CreateOptions { cgroup_manager, ..CreateOptions::default() };
    let mut value: Value = serde_json::from_slice(document).unwrap();
    let path = value.pointer("/linux/cgroupsPath").and_then(Value::as_str);
    if systemd && path.is_some_and(|p| !p.contains(':')) {
        value["linux"]["cgroupsPath"] = ":oxrun:c1".into();
    }
    if !systemd && facts.in_user_namespace {
        value["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    }
    plan::plan("c1", &Bundle::from_json(value.to_string().as_bytes()).unwrap(), facts, &options)
}

/// The text that is kept for a host: one line for each document, then some plans.
fn text(facts: &HostFacts) -> String {
    let (mut lines, mut plans) = (String::new(), String::new());
    for (name, document) in documents() {
        match plan(&document, facts) {
            Ok(plan) => {
                let (steps, warnings) = (plan.steps.len(), plan.warnings().len());
                writeln!(lines, "{name}: steps {steps}, warnings {warnings}").unwrap();
                if SHOWN.contains(&name.as_str()) {
                    writeln!(plans, "\n{name}\n{plan}").unwrap();
                }
            }
            Err(error) => writeln!(lines, "{name}: {error}").unwrap(),
        }
    }
    // Ids of sixty-four digits make no line clearer.
    (lines + &plans).replace(&"0".repeat(60), "0~")
}

/// Compares with the kept text and shows the first line that differs.
fn compare(name: &str) {
    let (file, now) = (own(&format!("{name}.txt")), text(&facts(name)));
    if std::env::var_os("OXRUN_REGENERATE").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let differs = now.lines().zip(kept.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| now.lines().count().min(kept.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_owned();
    assert!(now == kept, "{name}, line {}\n  now:  {}\n  kept: {}", at + 1, line(&now), line(&kept));
}

/// Every document, on one host.
fn every_plan_is_in_order(name: &str) {
    let facts = facts(name);
    let mut planned = 0;
    for (document, bytes) in documents() {
        let Ok(plan) = plan(&bytes, &facts) else { continue };
        planned += 1;
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(faults(&value, &plan), Vec::<String>::new(), "{document} on {name}:\n{plan}");
        let script = script::encode(&plan).unwrap();
        assert_eq!(script, script::encode(&plan).unwrap(), "the script of {document}");
        let mut stored: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        stored.config = plan.config.clone();
        assert!(stored == plan, "the stored plan of {document}");
    }
    // Inside a user namespace without a part of the tree nobody sets limits.
    let expected = if facts.in_user_namespace && facts.systemd.is_none() { 17 } else { 48 };
    assert_eq!(planned, expected, "configs that have a plan on {name}");
}

macro_rules! hosts {
    ($($host:ident: $kept:ident, $order:ident);* $(;)?) => {
        $(
            #[test]
            #[cfg_attr(not(target_arch = "x86_64"), ignore = "the filters of the plans that are kept begin with x86_64")]
            fn $kept() {
                compare(&stringify!($host).replace('_', "-"));
            }

            #[test]
            fn $order() {
                every_plan_is_in_order(&stringify!($host).replace('_', "-"));
            }
        )*
    };
}

hosts! {
    hybrid: plans_for_a_hybrid_host_are_as_kept, plans_for_a_hybrid_host_are_in_order;
    v1: plans_for_version_1_are_as_kept, plans_for_version_1_are_in_order;
    v2: plans_for_version_2_are_as_kept, plans_for_version_2_are_in_order;
    v2_systemd: plans_for_systemd_are_as_kept, plans_for_systemd_are_in_order;
    user_systemd: plans_for_a_users_systemd_are_as_kept, plans_for_a_users_systemd_are_in_order;
    userns: plans_inside_a_user_namespace_are_as_kept, plans_inside_a_user_namespace_are_in_order;
}

/// Changes a plan for the worse and returns the faults that are found.
fn spoiled(name: &str, spoil: impl FnOnce(&mut Plan)) -> Vec<String> {
    let (_, bytes) = documents().into_iter().find(|(known, _)| known == name).unwrap();
    let mut plan = plan(&bytes, &facts("hybrid")).unwrap();
    spoil(&mut plan);
    faults(&serde_json::from_slice(&bytes).unwrap(), &plan)
}

fn position(plan: &Plan, is: Is) -> usize {
    plan.steps.iter().position(|step| is(&step.action)).unwrap()
}

/// Moves the first step of a kind to a place before the first of another.
fn move_before(plan: &mut Plan, what: Is, before: Is) {
    let step = plan.steps.remove(position(plan, what));
    let at = position(plan, before);
    plan.steps.insert(at, step);
}

#[test]
fn each_pair_in_the_wrong_order_is_found() {
    // The reverse of each rule, in a document that has both kinds.
    for (before, is_before, after, is_after) in ORDER {
        let has = |name: &str| {
            let (_, bytes) = documents().into_iter().find(|(known, _)| known == name).unwrap();
            let plan = plan(&bytes, &facts("hybrid")).unwrap();
            [is_before, is_after].iter().all(|is| plan.steps.iter().any(|step| is(&step.action)))
        };
        let candidates = ["docker20-limits", "cri21-container", "podman43-share-2"];
        let name =
            candidates.into_iter().find(|name| has(name)).unwrap_or_else(|| panic!("{before} {after}"));
        let found = spoiled(name, |plan| move_before(plan, is_after, is_before));
        let expected =
            |fault: &String| fault.contains(&format!("is {before}, after")) && fault.contains(after);
        assert!(found.iter().any(expected), "{after} before {before} in {name}: {found:?}");
    }
}

#[test]
fn a_step_without_an_origin_is_found() {
    for field in ["", "()", "/mounts/99", "words"] {
        let found = spoiled("docker20-limits", |plan| plan.steps[3].field = field.to_owned());
        assert_eq!(found, [format!("step 4 comes from {field:?}")]);
    }
}

#[test]
fn a_step_left_out_is_found() {
    for (name, is) in SINGLE {
        let found = spoiled("docker20-limits", |plan| drop(plan.steps.remove(position(plan, is))));
        assert!(found.contains(&format!("0 steps are {name}")), "{name}: {found:?}");
    }
}

#[test]
fn a_namespace_joined_beside_a_new_user_namespace_is_in_order() {
    // The first of two clones enters the cgroup, while the host's are still in sight.
    let (_, bytes) = documents().into_iter().find(|(known, _)| known == "containerd21-userns").unwrap();
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    for entry in document["linux"]["namespaces"].as_array_mut().unwrap() {
        if entry["type"] == "ipc" {
            entry["path"] = "/proc/4242/ns/ipc".into();
        }
    }
    let planned = plan(document.to_string().as_bytes(), &facts("v2")).unwrap();
    assert_eq!(faults(&document, &planned), Vec::<String>::new());
    let (clone, join): (Is, Is) =
        (|a| matches!(a, Action::Clone { .. }), |a| matches!(a, Action::SetNs { .. }));
    assert_eq!(planned.steps.iter().filter(|step| clone(&step.action)).count(), 2);
    assert!(position(&planned, clone) < position(&planned, join));
}

#[test]
fn a_joined_namespace_that_nobody_is_born_into_is_found() {
    let found = spoiled("podman43-share-2", |plan| {
        let clone: Is = |a| matches!(a, Action::Clone { .. });
        drop(plan.steps.remove(position(plan, clone)));
    });
    assert!(found.contains(&"no clone follows a joined namespace".to_owned()), "{found:?}");
}

#[test]
fn what_follows_the_filter_is_found() {
    let filter: Is = |a| matches!(a, Action::Seccomp(_));
    let umask: Is = |a| matches!(a, Action::Umask { .. });
    let after = |plan: &mut Plan, what: Is| {
        let step = plan.steps.remove(position(plan, what));
        let at = position(plan, filter) + 1;
        plan.steps.insert(at, step);
    };
    assert_eq!(spoiled("docker20-limits", |plan| after(plan, umask)).len(), 1);
    // With noNewPrivileges not even the capabilities.
    let caps: Is = |a| matches!(a, Action::Caps { .. });
    assert_eq!(spoiled("cri21-container", |plan| after(plan, caps)).len(), 1);
    assert!(spoiled("docker20-limits", |plan| after(plan, caps)).is_empty());
}

#[test]
fn every_step_of_init_is_after_the_spawn() {
    for (name, bytes) in documents() {
        let plan = plan(&bytes, &facts("hybrid")).unwrap();
        let spawn = position(&plan, |a| matches!(a, Action::Spawn { .. }));
        let early = plan.steps[..spawn].iter().find(|step| step.lane != Lane::Host);
        assert!(early.is_none(), "{name}: {early:?}");
    }
}

#[test]
#[ignore = "writes the facts of this host to the file OXRUN_RECORD_FACTS"]
fn record_the_facts_of_this_host() {
    let file = std::env::var_os("OXRUN_RECORD_FACTS").expect("OXRUN_RECORD_FACTS is not set");
    let mut facts = HostFacts::record().unwrap();
    if std::env::var_os("OXRUN_RECORD_SYSTEMD").is_some() {
        facts = facts.with_systemd().unwrap();
    }
    fs::write(file, serde_json::to_string_pretty(&facts).unwrap() + "\n").unwrap();
}
