//! The document that `state` prints (runtime.md, State).

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Scene, lacks};
use super::{must, stop};
use crate::harness::Host;
use crate::{Check, check, check_eq};
use serde_json::{Value, json};

const PLACE: &str = "runtime.md, State";
const ID: &str = "c1";

/// Brings the container where it is asked about: created, running or stopped. Returns its pid then.
pub(super) fn bring(scene: &Scene, to: &str) -> Check<i32> {
    let rt = scene.s.runtime();
    match to {
        "none" => Ok(0),
        "created" => {
            rt.create(scene.bundle_with(&["/bin/probe", "sleep"])?.path(), ID)?.success()?;
            rt.pid(ID)
        }
        "running" => scene.sleeper(),
        _ => {
            let pid = scene.sleeper()?;
            stop(rt, ID, pid)?;
            Ok(pid)
        }
    }
}

fn semantic(version: &Value) -> bool {
    let parts: Vec<&str> = version.as_str().unwrap_or_default().splitn(3, '.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.starts_with(|c: char| c.is_ascii_digit()))
}

fn judge(scene: &Scene, status: &str, key: &str, pid: i32) -> Check {
    let state = scene.s.runtime().state(ID)?;
    let value = state.get(key).ok_or_else(|| lacks(key, &state))?;
    match key {
        "ociVersion" => check!(semantic(value), "not a version: {value}"),
        "id" => check_eq!(value, ID),
        "status" => check_eq!(value, status),
        "bundle" => check_eq!(*value, json!(scene.s.dir().join("bundle-0").to_string_lossy())),
        "annotations" => check_eq!(*value, json!({ "org.example.key": "a value", "org.example.empty": "" })),
        _ => {
            check_eq!(*value, pid);
            let inside = Host::processes_in(scene.s.cgroup_prefix())?;
            check!(inside.contains(&pid), "the container has the processes {inside:?}, and not {pid}");
        }
    }
    Ok(())
}

/// Each property in each status.
pub(super) fn cases() -> Vec<Case> {
    let rules = [
        ("ociVersion", "names the version of the specification as a semantic version", json!("one")),
        ("id", "holds the id that create was given", json!("other")),
        ("status", "holds where in its life the container is", json!("creating")),
        ("pid", "holds the process's id as the host sees it", json!(1)),
        ("bundle", "holds the absolute path of the bundle", json!("bundle-0")),
        ("annotations", "holds the annotations of the config", Value::Null),
    ];
    let mut all = Vec::new();
    for status in ["created", "running", "stopped"] {
        for (key, rule, wrong) in rules.clone() {
            // A stopped container has no process.
            if (key, status) == ("pid", "stopped") {
                continue;
            }
            let pointer = format!("/{key}");
            let wrong = if wrong.is_null() { gone(&pointer) } else { to(&pointer, wrong) };
            all.push(
                must(PLACE, &format!("state/{status}/{key}"), &format!("`{key}` {rule}; here: {status}"))
                    .with("/annotations", json!({ "org.example.key": "a value", "org.example.empty": "" }))
                    .noticing(Broken::Answers("state", vec![wrong]))
                    .body(move |scene| {
                        let pid = bring(scene, status)?;
                        judge(scene, status, key, pid)
                    }),
            );
        }
    }
    all
}
