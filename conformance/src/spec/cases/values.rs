//! Properties that nobody knows, annotations, and values that are none (config.md, Annotations, Extensibility,
//! Valid values).

use super::super::broken::Broken;
use super::super::case::Case;
use super::super::seen::is;
use super::must;
use crate::check;
use serde_json::{Value, json};
use std::fs;

const EXTENSIBILITY: &str = "config.md, Extensibility";
const ANNOTATIONS: &str = "config.md, Annotations";
const VALUES: &str = "config.md, Valid values";

/// Objects that get a property of their own.
const OBJECTS: [&str; 12] = [
    "",
    "/root",
    "/process",
    "/process/user",
    "/process/capabilities",
    "/process/rlimits/0",
    "/mounts/0",
    "/linux",
    "/linux/namespaces/0",
    "/linux/resources",
    "/linux/resources/devices/0",
    "/hooks",
];

/// Places with a value of another type than they take.
fn wrong() -> Vec<(&'static str, Value)> {
    vec![
        ("/ociVersion", json!(1)),
        ("/root", json!("rootfs")),
        ("/root/path", json!(5)),
        ("/root/readonly", json!("yes")),
        ("/process", json!([])),
        ("/process/args", json!("/bin/probe")),
        ("/process/args/1", json!(5)),
        ("/process/env", json!({ "A": "b" })),
        ("/process/env/0", json!(5)),
        ("/process/cwd", json!(5)),
        ("/process/terminal", json!("no")),
        ("/process/user", json!("root")),
        ("/process/user/umask", json!("022")),
        ("/process/user/additionalGids", json!("5")),
        ("/process/capabilities", json!(["CAP_KILL"])),
        ("/process/capabilities/bounding", json!("CAP_KILL")),
        ("/process/rlimits", json!({})),
        ("/process/noNewPrivileges", json!(1)),
        ("/process/oomScoreAdj", json!("5")),
        ("/hostname", json!(5)),
        ("/domainname", json!(["x"])),
        ("/mounts", json!({})),
        ("/mounts/0/destination", json!(5)),
        ("/mounts/0/options", json!("ro")),
        ("/hooks", json!([])),
        ("/hooks/prestart", json!({})),
        ("/annotations", json!(["x"])),
        ("/linux", json!([])),
        ("/linux/namespaces", json!({})),
        ("/linux/namespaces/0/type", json!(5)),
        ("/linux/uidMappings", json!({})),
        ("/linux/devices", json!({})),
        ("/linux/resources", json!([])),
        ("/linux/resources/devices", json!({})),
        ("/linux/resources/memory", json!([])),
        ("/linux/seccomp", json!([])),
        ("/linux/rootfsPropagation", json!(5)),
        ("/linux/maskedPaths", json!({})),
        ("/linux/sysctl", json!([])),
        ("/linux/personality", json!("LINUX")),
        ("/linux/timeOffsets", json!([])),
    ]
}

fn unknown() -> impl Iterator<Item = Case> {
    OBJECTS.into_iter().map(|object| {
        let name = if object.is_empty() { "/top" } else { object };
        let at = format!("{object}/org.example.unheardOf");
        must(EXTENSIBILITY, &format!("unknown{name}"), "a property that the runtime does not know is ignored")
            .with(&at, json!({ "a": [1, "b", null] }))
            .with("/hostname", "as-ever")
            .sees(is("/hostname", "as-ever"))
            .noticing(Broken::Declines("run"))
    })
}

fn annotations() -> Vec<Case> {
    let case = |name: &str, rule: &str| must(ANNOTATIONS, &format!("annotations/{name}"), rule);
    vec![
        case("unknown", "an annotation that the runtime does not know is no error")
            .with("/annotations", json!({ "org.example.unheard-of": "x" }))
            .noticing(Broken::Declines("run")),
        case("reserved", "an annotation of the specification is no error")
            .with("/annotations", json!({ "org.opencontainers.image.stopSignal": "SIGTERM" }))
            .noticing(Broken::Declines("run")),
        case("value-number", "values are texts").fault("/annotations", json!({ "org.example.key": 5 })),
        case("value-object", "values are texts").fault("/annotations", json!({ "org.example.key": {} })),
        case("key-empty", "a key is not empty").fault("/annotations", json!({ "": "x" })),
    ]
}

fn types() -> impl Iterator<Item = Case> {
    wrong().into_iter().map(|(pointer, value)| {
        let rule =
            format!("a value of another type than the property has is an error: {value} for {pointer}");
        must(VALUES, &format!("type{pointer}"), &rule).fault(pointer, value)
    })
}

fn texts() -> impl Iterator<Item = Case> {
    [
        ("empty", ""),
        ("no-json", "ociVersion: 1.0.0\n"),
        ("cut-off", "{ \"ociVersion\": \"1.0.0\", "),
        ("list", "[]"),
    ]
    .into_iter()
    .map(|(name, text)| {
        must(VALUES, &format!("text/{name}"), "a config is one object in JSON")
            .noticing(Broken::Agrees("create"))
            .body(move |scene| {
                let bundle = scene.bundle()?;
                fs::write(bundle.path().join("config.json"), text)?;
                let output = scene.s.runtime().create(bundle.path(), "c1")?;
                super::super::case::fails(&output)?;
                check!(!scene.s.runtime().root().join("c1").exists(), "a state directory is left");
                Ok(())
            })
    })
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = unknown().collect();
    all.extend(annotations());
    all.extend(types());
    all.extend(texts());
    all
}
