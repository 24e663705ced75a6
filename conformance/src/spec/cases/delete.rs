//! What `delete` takes away, and what it leaves (runtime.md, Delete).

use super::super::broken::Broken;
use super::super::case::{Case, Scene};
use super::{absent, must, stop};
use crate::harness::Host;
use crate::{Check, check, check_eq};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

const PLACE: &str = "runtime.md, Delete";

/// Runs the container and deletes it.
fn through(scene: &Scene) -> Check {
    let pid = scene.sleeper()?;
    stop(scene.s.runtime(), "c1", pid)?;
    scene.s.runtime().delete("c1")?.success().map(drop)
}

fn cgroups(scene: &Scene) -> Check {
    let pid = scene.sleeper()?;
    check!(!Host::cgroups(scene.s.cgroup_prefix())?.is_empty(), "there was no cgroup");
    stop(scene.s.runtime(), "c1", pid)?;
    scene.s.runtime().delete("c1")?.success()?;
    let left = Host::cgroups(scene.s.cgroup_prefix())?;
    check!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// A cgroup that somebody else has made above the container's stays, in every hierarchy.
fn cgroup_of_others(scene: &Scene) -> Check {
    let name = format!("{}own", scene.s.cgroup_prefix());
    let mut made: Vec<PathBuf> = Vec::new();
    for root in Host::cgroup_roots()? {
        // A link to a hierarchy with several controllers leads to the same place.
        if fs::create_dir(root.join(&name)).is_ok() {
            made.push(root.join(&name));
        }
    }
    let config =
        scene.config().args(&["/bin/probe", "sleep"]).set("/linux/cgroupsPath", format!("/{name}/c1"));
    let rt = scene.s.runtime();
    let pid = rt.start_ready(scene.bundle_of(&config)?.path(), "c1")?;
    stop(rt, "c1", pid)?;
    rt.delete("c1")?.success()?;
    let gone: Vec<&PathBuf> = made.iter().filter(|path| !path.exists()).collect();
    let left: Vec<PathBuf> = made.iter().map(|path| path.join("c1")).filter(|path| path.exists()).collect();
    for path in made.iter().filter(|path| path.exists()) {
        let _ = fs::remove_dir(path.join("c1"));
        fs::remove_dir(path)?;
    }
    check!(gone.is_empty(), "deleted: {gone:?}");
    check!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    vec![
        must(PLACE, "delete/cgroup", "`delete` takes the container's cgroup away")
            .noticing(Broken::Skips("delete"))
            .body(cgroups),
        must(PLACE, "delete/cgroup-of-others", "a cgroup that the container was only put into stays")
            .noticing(Broken::Skips("delete"))
            .body(cgroup_of_others),
        must(PLACE, "delete/id", "the id of a deleted container may be used again")
            .noticing(Broken::Skips("delete"))
            .body(|scene| {
                through(scene)?;
                absent(scene.s, "c1")?;
                scene.sleeper().map(drop)
            }),
        must(PLACE, "delete/bundle", "the bundle stays: it was not made by `create`")
            .noticing(Broken::Skips("delete"))
            .body(|scene| {
                through(scene)?;
                let bundle = scene.s.dir().join("bundle-0");
                check!(bundle.join("config.json").exists(), "config.json is gone");
                check!(bundle.join("rootfs/bin/probe").exists(), "the root filesystem is gone");
                Ok(())
            }),
        must(PLACE, "delete/source", "what was mounted from the host stays")
            .with("/mounts/-", json!({ "type": "bind", "source": "{dir}/kept", "destination": "/kept", "options": ["bind"] }))
            .noticing(Broken::Skips("delete"))
            .prepare(|s, _| {
                let kept = s.make_dir("kept")?;
                Ok(fs::write(kept.join("file"), "x")?)
            })
            .body(|scene| {
                through(scene)?;
                check_eq!(fs::read_to_string(scene.s.dir().join("kept/file"))?, "x");
                Ok(())
            }),
    ]
}
