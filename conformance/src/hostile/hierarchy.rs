//! T11: a container stays in its cgroup and does not change those of the host: neither by a path with `..`, nor by
//! making directories where it sees them.

use super::canary::Canary;
use super::{Attack, Control, Outcome, WRITABLE, attack};
use crate::Check;
use crate::harness::{Config, Host, Sandbox};
use serde_json::{Value, json};
use std::path::Path;

const REPORT: &[&str] = &["/bin/probe", "report"];
/// How the hierarchies come into the container.
pub(super) const KINDS: [(&str, &str, &str, &[&str]); 3] = [
    ("a mount of type cgroup", "/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
    (
        "a bind of /sys/fs/cgroup",
        "/sys/fs/cgroup",
        "bind",
        &["rbind", "nosuid", "noexec", "nodev", "rro", "ro"],
    ),
    ("a bind of /sys", "/sys", "bind", &["rbind", "nosuid", "noexec", "nodev", "rro", "ro"]),
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![attack(
        "T11",
        "an annotation leads above the container's cgroup",
        annotated,
        own,
        Control::Bad("elsewhere"),
    )];
    for (name, target, kind, options) in KINDS {
        for own in [false, true] {
            let namespace = if own { "its own" } else { "the host's" };
            all.push(attack(
                "T11",
                format!("mkdir in {name}, with {namespace} cgroup namespace"),
                move |s: &Sandbox, _: &Canary| make(s, target, kind, options, own),
                none_made,
                WRITABLE,
            ));
        }
    }
    all
}

/// Words that other runtimes know for a cgroup below the container's, where its processes go.
fn annotated(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let config = Config::new(REPORT).set(
        "/annotations",
        json!({
            "run.oci.delegate-cgroup": "../..",
            "run.oci.systemd.subgroup": "../..",
            "org.systemd.property.Slice": "'..'",
        }),
    );
    Outcome::of(sandbox.runtime().run(sandbox.bundle(&config)?.path(), "victim")?)
}

/// Refused, or in the container's cgroup in every hierarchy.
pub(super) fn own(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let report = outcome.seen()?;
    let lines = report["cgroup"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match lines.into_iter().find(|line| !line.contains("/oxrun-test-")) {
        Some(line) => Err(format!("exec {}: in the cgroup {line}", report["asked"])),
        None => Ok(()),
    }
}

/// Tries to make a cgroup in each hierarchy that it can see, in its own and in the one that it sees as the top.
fn make(sandbox: &Sandbox, target: &str, kind: &str, options: &[&str], own: bool) -> Check<Outcome> {
    let prefix = sandbox.cgroup_prefix().to_owned();
    let name = format!("{prefix}made");
    let base = Path::new("/sys/fs/cgroup");
    let mut words: Vec<String> = REPORT.iter().map(|word| (*word).to_owned()).collect();
    for root in Host::cgroup_roots()? {
        let Ok(rest) = root.strip_prefix(base) else { continue };
        for below in ["", &format!("{prefix}0")] {
            let path = base.join(rest).join(below).join(&name);
            words.extend(["--change".to_owned(), format!("{}:mkdir", path.display())]);
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut config = Config::new(&words).without_mount("/sys/fs/cgroup");
    if target == "/sys" {
        config = config.without_mount("/sys");
    }
    config = config.mount(kind, Path::new(if kind == "bind" { target } else { kind }), target, options);
    if own {
        config = config.namespace("cgroup", None);
    }
    Outcome::of(sandbox.runtime().run(sandbox.bundle(&config)?.path(), "victim")?)
}

pub(super) fn none_made(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let tried = outcome.seen()?["change"].as_object().ok_or("nothing was tried")?;
    match tried.iter().find(|(_, answer)| *answer == "ok") {
        Some((path, _)) => Err(format!("the container made {path}")),
        None => Ok(()),
    }
}
