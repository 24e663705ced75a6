//! What `create` does and does not do (runtime.md, Create and Lifecycle; config.md, Specification version).

use super::super::broken::Broken;
use super::super::case::{Case, Scene, fails};
use super::{absent, must, stop};
use crate::harness::Host;
use crate::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;

const CREATE: &str = "runtime.md, Create";
const LIFE: &str = "runtime.md, Lifecycle";
const ERRORS: &str = "runtime.md, Errors";
const VERSION: &str = "config.md, Specification version";
const BUNDLE: &str = "bundle.md, Filesystem bundle";

/// What a config is changed to after `create`, and what the program reports all the same.
const LATER: [(&str, &str, &str, &str); 5] = [
    ("hostname", "/hostname", "\"later\"", "/hostname"),
    ("env", "/process/env", "[\"PATH=/later\"]", "/env"),
    ("cwd", "/process/cwd", "\"/tmp\"", "/cwd"),
    ("umask", "/process/user/umask", "7", "/umask"),
    ("oomScoreAdj", "/process/oomScoreAdj", "700", "/oom_score_adj"),
];

/// The config is rewritten between `create` and `start`.
fn later(scene: &Scene, pointer: &str, value: &str, seen: &str) -> Check {
    let rt = scene.s.runtime();
    let bundle = scene.bundle_with(&["/bin/probe", "report", "--out", "/tmp/out"])?;
    let report = |id: &str, edit: bool| -> Check<Value> {
        rt.create(bundle.path(), id)?.success()?;
        if edit {
            let file = bundle.path().join("config.json");
            let config = crate::harness::Config::parse(&fs::read_to_string(&file)?)?;
            fs::write(&file, config.set(pointer, serde_json::from_str::<Value>(value)?).text())?;
        }
        rt.start(id)?.success()?;
        // With a program so short the pid may be gone already.
        if let Ok(pid) = rt.pid(id) {
            rt.wait_for(pid)?;
        }
        rt.delete(id)?.success()?;
        let out = bundle.rootfs().join("tmp/out");
        let report: Value = serde_json::from_str(&fs::read_to_string(&out)?)?;
        fs::remove_file(out)?;
        Ok(report)
    };
    let (first, second) = (report("c1", false)?, report("c2", true)?);
    check!(second.pointer(seen).is_some(), "the report has no {seen}");
    check_eq!(second.pointer(seen), first.pointer(seen), "{seen}");
    Ok(())
}

/// A file tells that the program has run; after `create` it is not there.
fn waits(scene: &Scene) -> Check {
    let bundle = scene.bundle_with(&["/bin/probe", "write", "/tmp/mark", "x"])?;
    let rt = scene.s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    check_eq!(rt.state("c1")?["status"], "created");
    stop(rt, "c1", pid)?;
    check!(!bundle.rootfs().join("tmp/mark").exists(), "the program has run");
    Ok(())
}

/// A namespace of this kind has been made for a container that is not started.
fn own_namespace(scene: &Scene, file: &str) -> Check {
    let rt = scene.s.runtime();
    rt.create(scene.bundle_with(&["/bin/probe", "sleep"])?.path(), "c1")?.success()?;
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{file}"));
    check!(of(&rt.pid("c1")?.to_string())? != of("self")?, "the process is in the host's namespace");
    Ok(())
}

fn cgroup(scene: &Scene) -> Check {
    let rt = scene.s.runtime();
    rt.create(scene.bundle_with(&["/bin/probe", "sleep"])?.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    check!(text.contains(scene.s.cgroup_prefix()), "{text}");
    Ok(())
}

/// The root filesystem is what the process has as its root.
fn root(scene: &Scene) -> Check {
    let rt = scene.s.runtime();
    let bundle = scene.bundle_with(&["/bin/probe", "sleep"])?;
    fs::write(bundle.rootfs().join("etc/mark"), "x")?;
    rt.create(bundle.path(), "c1")?.success()?;
    check!(fs::exists(format!("/proc/{}/root/etc/mark", rt.pid("c1")?))?, "another root");
    Ok(())
}

/// What cannot be made leaves an id that can be used.
fn again(scene: &Scene) -> Check {
    let rt = scene.s.runtime();
    let bad = scene.config().set("/root/path", "not-there");
    fails(&rt.create(scene.bundle_of(&bad)?.path(), "c1")?)?;
    absent(scene.s, "c1")?;
    rt.create(scene.bundle_with(&["/bin/probe", "sleep"])?.path(), "c1")?.success().map(drop)
}

/// What fails after a part of it is done leaves no cgroup.
fn nothing_left(scene: &Scene) -> Check {
    let rt = scene.s.runtime();
    let bad = scene.config().set("/process/cwd", "/").mount(
        "tmpfs",
        std::path::Path::new("tmpfs"),
        "/late",
        &["no-such-option=1"],
    );
    fails(&rt.create(scene.bundle_of(&bad)?.path(), "c1")?)?;
    check_eq!(Host::cgroups(scene.s.cgroup_prefix())?.len(), 0, "cgroups left");
    absent(scene.s, "c1")
}

fn bad_ids() -> impl Iterator<Item = Case> {
    [("empty", ""), ("slash", "a/b"), ("parent", ".."), ("absolute", "/tmp/c1")].into_iter().map(
        |(name, id)| {
            must(
                CREATE,
                &format!("create/id/{name}"),
                "an id that is not valid is an error, and nothing is created",
            )
            .noticing(Broken::Agrees("create"))
            .body(move |scene| fails(&scene.s.runtime().create(scene.bundle()?.path(), id)?))
        },
    )
}

fn calls() -> Vec<Case> {
    vec![
        must(CREATE, "create/without-id", "`create` without an id is an error")
            .noticing(Broken::Agrees("create"))
            .body(|scene| {
                let bundle = scene.bundle()?;
                let path = bundle.path().to_string_lossy().into_owned();
                fails(&scene.s.runtime().call(&["create", "--bundle", &path])?)
            }),
        must(CREATE, "create/without-bundle", "`create` without a bundle is an error")
            .noticing(Broken::Agrees("create"))
            .body(|scene| fails(&scene.s.runtime().call(&["create", "c1"])?)),
        must(BUNDLE, "create/bundle/no-config", "a bundle without config.json is an error")
            .noticing(Broken::Agrees("create"))
            .body(|scene| {
                let bundle = scene.bundle()?;
                fs::remove_file(bundle.path().join("config.json"))?;
                fails(&scene.s.runtime().create(bundle.path(), "c1")?)
            }),
        must(BUNDLE, "create/bundle/other-name", "a config of another name than config.json is none")
            .noticing(Broken::Agrees("create"))
            .body(|scene| {
                let bundle = scene.bundle()?;
                fs::rename(bundle.path().join("config.json"), bundle.path().join("Config.json"))?;
                fails(&scene.s.runtime().create(bundle.path(), "c1")?)
            }),
        must(BUNDLE, "create/bundle/missing", "a bundle that is not there is an error")
            .noticing(Broken::Agrees("create"))
            .body(|scene| fails(&scene.s.runtime().create(&scene.s.dir().join("none"), "c1")?)),
        must(CREATE, "create/id/after-error", "an id whose container could not be made is free")
            .body(again)
            .noticing(Broken::Declines("create")),
        must(ERRORS, "create/error/no-cgroup", "a failed `create` leaves no cgroup")
            .noticing(Broken::Agrees("create"))
            .body(nothing_left),
    ]
}

/// Bundles, ids, and what is made when.
pub(super) fn cases() -> Vec<Case> {
    let mut all = calls();
    all.extend(bad_ids());
    all.push(
        must(CREATE, "create/program-waits", "the program is not run before `start`")
            .with("/root/readonly", false)
            .noticing(Broken::Eager)
            .body(waits),
    );
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("mount", "mnt")]
    {
        let rule = format!("`create` makes what the config asks for: here the {kind} namespace");
        let case = must(CREATE, &format!("create/makes/{kind}-namespace"), &rule);
        let kept: Vec<Value> = ["pid", "network", "ipc", "uts", "mount"]
            .into_iter()
            .filter(|k| *k != kind)
            .map(|k| json!({ "type": k }))
            .collect();
        let broken = match kind {
            // What the default config has needs these.
            "uts" | "mount" => Broken::Skips("create"),
            _ => Broken::Reads(vec![("/linux/namespaces".to_owned(), Some(kept.into()))]),
        };
        all.push(case.noticing(broken).body(move |scene| own_namespace(scene, file)));
    }
    all.push(
        must(CREATE, "create/makes/cgroup", "`create` places the process in the container's cgroup")
            .with("/linux/cgroupsPath", "/oxrun-test-unset")
            .noticing(Broken::Reads(vec![super::super::broken::to("/linux/cgroupsPath", "/oxrun-elsewhere")]))
            .body(cgroup),
    );
    all.push(
        must(CREATE, "create/makes/root", "`create` gives the process its root filesystem")
            .noticing(Broken::Skips("create"))
            .body(root),
    );
    for (name, pointer, value, seen) in LATER {
        let rule = "a change of config.json after `create` has no effect on the container";
        all.push(
            must(LIFE, &format!("create/later-edit/{name}"), rule)
                .with("/root/readonly", false)
                .noticing(Broken::Rereads)
                .body(move |scene| later(scene, pointer, value, seen)),
        );
    }
    for version in ["1.0.0", "1.0.2", "1.1.0", "1.2.0", "1.2.1", "1.3.0"] {
        let rule = "a config of a released version of the specification is taken";
        all.push(
            must(VERSION, &format!("version/{version}"), rule)
                .with("/ociVersion", version)
                .noticing(Broken::Declines("run")),
        );
    }
    for (name, version) in [("word", "invalid"), ("two-numbers", "1.0"), ("empty", "")] {
        let rule = "`ociVersion` is a semantic version; anything else is an error";
        all.push(must(VERSION, &format!("version/not-semantic/{name}"), rule).fault("/ociVersion", version));
    }
    all.push(
        must(VERSION, "version/missing", "a config without `ociVersion` is an error").lacking("/ociVersion"),
    );
    all
}
