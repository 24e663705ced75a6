//! T11 for a caller without rights, which has a part of the cgroup hierarchies for itself: its containers get no more of
//! it than the config says. What root keeps anybody from by its ids, only a mount that is read-only keeps from here
//! (CVE-2023-25809).

use super::canary::Canary;
use super::hierarchy::{KINDS, none_made};
use super::{Attack, Caller, Control, Outcome, WRITABLE, attack};
use crate::harness::{Bundle, Config, Delegated, Host, Sandbox, User};
use crate::{Check, Failed};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const REPORT: &[&str] = &["/bin/probe", "report"];

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = Vec::new();
    for (name, target, kind, options) in KINDS {
        for own in [false, true] {
            let namespace = if own { "its own" } else { "the host's" };
            all.push(Attack {
                caller: Caller::Delegated,
                needs: User::without_helpers,
                machine: true,
                ..attack(
                    "T11",
                    format!("mkdir in {name}, with {namespace} cgroup namespace, without root"),
                    move |s: &Sandbox, _: &Canary| make(s, target, kind, options, own),
                    none_made,
                    WRITABLE,
                )
            });
        }
    }
    for (name, run, control) in [
        ("exec --cgroup leads above the container's, without root", above as super::Run, "enter"),
        ("an annotation leads above the container's cgroup, without root", annotated, "elsewhere"),
    ] {
        all.push(Attack {
            caller: Caller::Delegated,
            needs: alone,
            machine: true,
            ..attack("T11", name, run, in_its_own, Control::Bad(control))
        });
    }
    all
}

/// Where v1 is, too, a container of such a caller has no cgroup of its own to leave.
fn alone() -> Option<String> {
    let other = || (!Host::is_pure_v2()).then(|| "there is no cgroup v2 alone".to_owned());
    User::without_helpers().or_else(other)
}

fn bundle(sandbox: &Sandbox, config: &Config) -> Check<Bundle> {
    let bundle = sandbox.bundle(config)?;
    fs::create_dir_all(bundle.rootfs().join("sys/fs/cgroup"))?;
    User::own(bundle.path())?;
    Ok(bundle)
}

/// Tries to make a cgroup wherever the caller could make one.
fn make(sandbox: &Sandbox, target: &str, kind: &str, options: &[&str], own: bool) -> Check<Outcome> {
    let above = Delegated::above(sandbox);
    let base = Path::new("/sys/fs/cgroup");
    let mut words: Vec<String> = REPORT.iter().map(|word| (*word).to_owned()).collect();
    for root in Host::cgroup_roots()? {
        let Ok(rest) = root.strip_prefix(base) else { continue };
        for below in ["", "user", "user/job", "user/job/victim", "user/victim"] {
            let place =
                if below.is_empty() { base.join(rest) } else { base.join(rest).join(&above).join(below) };
            words.extend(["--change".to_owned(), format!("{}/made:mkdir", place.display())]);
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let source = Path::new(if kind == "bind" { target } else { kind });
    let mut config = User::config(&words, &User::ranges())
        .without_mount("/sys/fs/cgroup")
        .mount(kind, source, target, options);
    if own {
        config = config.namespace("cgroup", None);
    }
    Outcome::of(sandbox.runtime().run(bundle(sandbox, &config)?.path(), "victim")?)
}

fn config(args: &[&str]) -> Config {
    User::config(args, &User::ranges()).without_mount("/sys/fs/cgroup")
}

/// Adds to a report what it is compared with.
fn beside(outcome: &mut Outcome, asked: &Value, cgroup: &Value) {
    if let Some(Value::Object(report)) = &mut outcome.report {
        report.insert("asked".to_owned(), asked.clone());
        report.insert("expected".to_owned(), cgroup.clone());
    }
}

/// Refused, or in the container's cgroup.
fn in_its_own(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let report = outcome.seen()?;
    let (found, expected) = (&report["cgroup"], &report["expected"]);
    if found != expected {
        return Err(format!("{}: in {found}, not in {expected}", report["asked"]));
    }
    Ok(())
}

fn above(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let runtime = sandbox.runtime();
    let pid = runtime.start_ready(bundle(sandbox, &config(&["/bin/probe", "sleep"]))?.path(), "victim")?;
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let cgroup = json!(lines.lines().collect::<Vec<_>>());
    let mut last = Err(Failed::from("nothing was tried"));
    for path in ["..", "x/../..", "/../job"] {
        let mut outcome =
            Outcome::of(runtime.call(&[&["exec", "--cgroup", path, "victim"], REPORT].concat())?)?;
        beside(&mut outcome, &json!(path), &cgroup);
        let bad = in_its_own(&outcome).is_err();
        last = Ok(outcome);
        if bad {
            break;
        }
    }
    last
}

fn annotated(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let run = |config: &Config| -> Check<Outcome> {
        Outcome::of(sandbox.runtime().run(bundle(sandbox, config)?.path(), "victim")?)
    };
    // The caller's own words decide where its container is; what the annotations say does not.
    let without = config(REPORT);
    let expected = run(&without.clone().set("/annotations", json!({})))?.seen()?["cgroup"].clone();
    let annotations = json!({
        "run.oci.delegate-cgroup": "../..",
        "run.oci.systemd.subgroup": "../..",
        "org.systemd.property.Slice": "'..'",
    });
    let mut outcome = run(&without.set("/annotations", annotations.clone()))?;
    beside(&mut outcome, &annotations, &expected);
    Ok(outcome)
}
