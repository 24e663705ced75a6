//! Hooks: when they are called, where, with what, and what comes of one that fails (config.md, POSIX-platform
//! Hooks; runtime.md, Lifecycle).

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Change, Scene, fails, lacks};
use super::{absent, must, stop};
use crate::harness::Bundle;
use crate::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const PLACE: &str = "config.md, POSIX-platform Hooks";
const LIFE: &str = "runtime.md, Lifecycle";
const ID: &str = "c1";

/// Kind, the operation that calls it, the status that it is told.
const KINDS: [(&str, &str, &str); 6] = [
    ("prestart", "create", "creating"),
    ("createRuntime", "create", "creating"),
    ("createContainer", "create", "creating"),
    ("startContainer", "start", "created"),
    ("poststart", "start", "running"),
    ("poststop", "delete", "stopped"),
];

/// A hook of a kind that runs the probe. `{out}` in a word is the directory that hooks write into.
fn hook(kind: &str, words: &[&str]) -> Value {
    let (path, out) =
        if kind == "startContainer" { ("/bin/probe", "/out") } else { ("{dir}/probe", "{dir}/out") };
    let args: Vec<String> = ["probe"].iter().chain(words).map(|word| word.replace("{out}", out)).collect();
    json!({ "path": path, "args": args })
}

/// A case about hooks of one kind.
fn case(place: &'static str, kind: &str, name: &str, rule: &str, hooks: Vec<Value>) -> Case {
    let out =
        json!({ "type": "bind", "source": "{dir}/out", "destination": "/out", "options": ["bind", "rw"] });
    must(place, &format!("hooks/{kind}/{name}"), rule)
        .base(crate::harness::Config::new(&["/bin/probe", "sleep"]).push("/mounts", out))
        .with(&format!("/hooks/{kind}"), hooks)
        .prepare(|s, _| s.make_dir("out").map(drop))
}

/// What a hook has written under this name.
fn written(scene: &Scene, name: &str) -> Option<String> {
    fs::read_to_string(out(scene).join(name)).ok()
}

fn out(scene: &Scene) -> PathBuf {
    scene.s.dir().join("out")
}

/// What the hook that writes `told` was given, after the operation that calls it.
fn told(scene: &Scene, operation: &str) -> Check<(Value, i32)> {
    let (bundle, rt) = (scene.bundle()?, scene.s.runtime());
    let pid = create(scene, &bundle)?;
    if operation != "create" {
        rt.start(ID)?.success()?;
    }
    if operation == "delete" {
        stop(rt, ID, pid)?;
        rt.delete(ID)?.success()?;
    }
    let text = written(scene, "told").ok_or_else(|| Failed::from("the hook was not called"))?;
    Ok((serde_json::from_str(&text)?, pid))
}

fn create(scene: &Scene, bundle: &Bundle) -> Check<i32> {
    scene.s.runtime().create(bundle.path(), ID)?.success()?;
    scene.s.runtime().pid(ID)
}

/// The hook is called by its operation and by none before.
fn stage(scene: &Scene, operation: &str) -> Check {
    let rt = scene.s.runtime();
    let pid = create(scene, &scene.bundle()?)?;
    let seen = |at: &str| {
        let due = ["create", "start", "delete"].iter().position(|name| *name == at)
            >= ["create", "start", "delete"].iter().position(|name| *name == operation);
        check_eq!(written(scene, "log").is_some(), due, "called after {at}");
        Ok(())
    };
    seen("create")?;
    rt.start(ID)?.success()?;
    seen("start")?;
    stop(rt, ID, pid)?;
    rt.delete(ID)?.success()?;
    seen("delete")?;
    check_eq!(written(scene, "log").as_deref(), Some("1\n"), "how often it was called");
    Ok(())
}

/// Runs a whole life and compares what hooks have logged.
fn logged(scene: &Scene, wanted: &str) -> Check {
    let rt = scene.s.runtime();
    let pid = create(scene, &scene.bundle()?)?;
    rt.start(ID)?.success()?;
    stop(rt, ID, pid)?;
    rt.delete(ID)?.success()?;
    check_eq!(written(scene, "log").unwrap_or_default(), wanted);
    Ok(())
}

/// The first hook fails: what comes of it depends on the operation.
fn failure(scene: &Scene, kind: &str, operation: &str) -> Check {
    let rt = scene.s.runtime();
    let bundle = scene.bundle()?;
    let created = rt.create(bundle.path(), ID)?;
    if operation == "create" {
        fails(&created)?;
        check!(written(scene, "log").is_none(), "the next hook was called");
        return absent(scene.s, ID);
    }
    created.success()?;
    let pid = rt.pid(ID)?;
    let started = rt.start(ID)?;
    if operation == "start" {
        fails(&started)?;
        rt.wait_for(pid)?;
        check!(written(scene, "log").is_none(), "the next hook was called");
        check!(kind != "startContainer" || written(scene, "program").is_none(), "the program was run");
        return Ok(());
    }
    started.success()?;
    stop(rt, ID, pid)?;
    rt.delete(ID)?.success()?;
    absent(scene.s, ID)?;
    check_eq!(written(scene, "log").as_deref(), Some("2\n"), "the next hook");
    Ok(())
}

/// The mount namespace that the hook ran in is the runtime's or the container's.
fn namespace(scene: &Scene, kind: &str, operation: &str) -> Check {
    let (given, pid) = told(scene, operation)?;
    let found = given["namespaces"]["mnt"].as_str().ok_or_else(|| lacks("mount namespace", &given))?;
    let of = |who: String| fs::read_link(format!("/proc/{who}/ns/mnt"));
    match kind {
        "createContainer" | "startContainer" => {
            check_eq!(PathBuf::from(found), of(pid.to_string())?, "namespace of the container");
        }
        _ => check_eq!(PathBuf::from(found), of("self".to_owned())?, "namespace of the runtime"),
    }
    Ok(())
}

fn of_kind(kind: &'static str, operation: &'static str, status: &'static str) -> Vec<Case> {
    let list = format!("/hooks/{kind}");
    let first = format!("/hooks/{kind}/0");
    let teller = || hook(kind, &["hook", "{out}/told"]);
    let log = |text: &str| hook(kind, &["append", "{out}/log", text]);
    let at = |key: &str| format!("{first}/{key}");
    let mut args = teller();
    args["args"].as_array_mut().into_iter().for_each(|list| list[0] = "another-name".into());
    let mut env = teller();
    env["env"] = json!(["HOOK_A=b c", "HOOK_EMPTY="]);
    let reverse = match kind {
        "prestart" => Broken::Reverses("/hooks/prestart"),
        "createRuntime" => Broken::Reverses("/hooks/createRuntime"),
        "createContainer" => Broken::Reverses("/hooks/createContainer"),
        "startContainer" => Broken::Reverses("/hooks/startContainer"),
        "poststart" => Broken::Reverses("/hooks/poststart"),
        _ => Broken::Reverses("/hooks/poststop"),
    };
    let mut all = vec![
        case(
            PLACE,
            kind,
            "called",
            &format!("{kind} hooks are called once, by `{operation}`"),
            vec![log("1")],
        )
        .body(move |scene| stage(scene, operation)),
        case(
            PLACE,
            kind,
            "order",
            "hooks are called in the order of the list",
            vec![log("1"), log("2"), log("3")],
        )
        .noticing(reverse)
        .body(move |scene| logged(scene, "1\n2\n3\n")),
        case(PLACE, kind, "args", "a hook gets its `args`, the first as its name", vec![args])
            .noticing(Broken::Reads(vec![to(&at("args/0"), "probe")]))
            .body(move |scene| {
                check_eq!(told(scene, operation)?.0["argv"][0], "another-name");
                Ok(())
            }),
        case(PLACE, kind, "env", "a hook has its `env`", vec![env])
            .noticing(Broken::Reads(vec![gone(&at("env"))]))
            .body(move |scene| {
                let given = told(scene, operation)?.0;
                let env = given["env"].as_array().cloned().unwrap_or_default();
                check!(env.contains(&"HOOK_A=b c".into()) && env.contains(&"HOOK_EMPTY=".into()), "{env:?}");
                Ok(())
            }),
        case(
            PLACE,
            kind,
            "path-relative",
            "the path of a hook is absolute; another is an error",
            vec![log("1")],
        )
        .fault(&at("path"), "bin/probe"),
        case(PLACE, kind, "path-absent", "a hook has a path", vec![log("1")]).lacking(&at("path")),
        case(PLACE, kind, "timeout-zero", "a timeout is above 0; another is an error", vec![log("1")])
            .fault(&at("timeout"), 0),
        case(PLACE, kind, "timeout-negative", "a timeout is above 0; another is an error", vec![log("1")])
            .fault(&at("timeout"), -1),
        case(LIFE, kind, "failure", failing(operation), vec![hook(kind, &["exit", "1"]), log("2")])
            .noticing(Broken::Reads(vec![to(&at("args/2"), "0")]))
            .body(move |scene| failure(scene, kind, operation)),
        case(PLACE, kind, "namespace", &runs_in(kind), vec![teller()])
            .body(move |scene| namespace(scene, kind, operation)),
    ];
    if operation == "delete" {
        // One that is not called fails nothing; the next one is what can be missing.
        all.retain(|case| !case.name.ends_with("/failure"));
        let hooks = vec![hook(kind, &["exit", "1"]), log("2")];
        all.push(
            case(LIFE, kind, "failure", failing(operation), hooks)
                .noticing(Broken::Reads(vec![gone(&format!("{list}/1"))]))
                .body(move |scene| failure(scene, kind, operation)),
        );
    }
    let mut slow = hook(kind, &["sleep"]);
    slow["timeout"] = 1.into();
    all.push(
        case(
            PLACE,
            kind,
            "timeout",
            "a hook that takes longer than its timeout has failed",
            vec![slow, log("2")],
        )
        .noticing(Broken::Reads(vec![gone(&at("timeout"))]))
        .body(move |scene| failure(scene, kind, operation)),
    );
    all.extend(states(kind, operation, status));
    all
}

fn failing(operation: &str) -> &'static str {
    match operation {
        "create" => "a hook of `create` that fails ends it: an error, and no container",
        "start" => "a hook of `start` that fails ends it: an error, and the container is stopped",
        _ => "a hook after the end that fails changes nothing, the next ones are called",
    }
}

fn runs_in(kind: &str) -> String {
    let whose = if ["createContainer", "startContainer"].contains(&kind) { "container" } else { "runtime" };
    format!("{kind} hooks run in the namespaces of the {whose}")
}

/// What the state on standard input says.
fn states(kind: &'static str, operation: &'static str, status: &'static str) -> Vec<Case> {
    let mut keys = vec![
        ("ociVersion", gone("/ociVersion")),
        ("id", to("/id", "other")),
        ("status", to("/status", "none")),
        ("bundle", to("/bundle", "/none")),
        ("annotations", gone("/annotations")),
    ];
    if !["createContainer", "startContainer", "poststop"].contains(&kind) {
        keys.push(("pid", to("/pid", 1)));
    }
    let one = |(key, wrong): (&'static str, Change)| {
        let broken = match kind {
            "startContainer" => Broken::Reads(vec![gone(&format!("/hooks/{kind}"))]),
            _ => Broken::Tells(vec![wrong]),
        };
        let rule = format!("a hook is told the container's state on standard input, with its {key}");
        case(PLACE, kind, &format!("state/{key}"), &rule, vec![hook(kind, &["hook", "{out}/told"])])
            .with("/annotations", json!({ "org.example.key": "a value" }))
            .noticing(broken)
            .body(move |scene| {
                let (given, pid) = told(scene, operation)?;
                let state = &given["state"];
                let value = state.get(key).ok_or_else(|| lacks(key, state))?;
                match key {
                    "ociVersion" => check!(value.as_str().is_some_and(|v| v.starts_with("1.")), "{value}"),
                    "id" => check_eq!(value, ID),
                    "status" => check_eq!(value, status),
                    "bundle" => check_eq!(*value, json!(scene.s.dir().join("bundle-0").to_string_lossy())),
                    "annotations" => check_eq!(*value, json!({ "org.example.key": "a value" })),
                    _ => check_eq!(*value, pid),
                }
                Ok(())
            })
    };
    keys.into_iter().map(one).collect()
}

/// Kinds that follow each other.
fn sequence() -> impl Iterator<Item = Case> {
    KINDS.windows(2).map(|pair| {
        let (first, second) = (pair[0].0, pair[1].0);
        let rule = format!("{first} hooks are called before {second} hooks");
        let log = |kind| vec![hook(kind, &["append", "{out}/log", kind])];
        let wanted = format!("{first}\n{second}\n");
        case(LIFE, second, &format!("after-{first}"), &rule, log(second))
            .with(&format!("/hooks/{first}"), log(first))
            .body(move |scene| logged(scene, &wanted))
    })
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let each = KINDS.into_iter().flat_map(|(kind, operation, status)| of_kind(kind, operation, status));
    each.chain(sequence()).collect()
}
