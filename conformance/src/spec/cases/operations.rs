//! Which operation is possible when, and what it does (runtime.md, Operations).

use super::super::broken::{Broken, to};
use super::super::case::{Case, Scene, fails, status};
use super::state::bring;
use super::{absent, must, stop};
use crate::harness::{Output, Sandbox};
use crate::{Check, check, check_eq};

const PLACE: &str = "runtime.md, Operations";
const ID: &str = "c1";

/// Operation, status, whether it is possible there.
const TABLE: [(&str, &str, bool); 19] = [
    ("state", "none", false),
    ("state", "created", true),
    ("state", "running", true),
    ("state", "stopped", true),
    ("create", "created", false),
    ("create", "running", false),
    ("create", "stopped", false),
    ("start", "none", false),
    ("start", "created", true),
    ("start", "running", false),
    ("start", "stopped", false),
    ("kill", "none", false),
    ("kill", "created", true),
    ("kill", "running", true),
    ("kill", "stopped", false),
    ("delete", "none", false),
    ("delete", "created", false),
    ("delete", "running", false),
    ("delete", "stopped", true),
];

/// Names and numbers of the signals that are sent.
const SIGNALS: [(&str, i32); 9] = [
    ("TERM", libc::SIGTERM),
    ("INT", libc::SIGINT),
    ("HUP", libc::SIGHUP),
    ("QUIT", libc::SIGQUIT),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("ALRM", libc::SIGALRM),
    ("WINCH", libc::SIGWINCH),
    ("CONT", libc::SIGCONT),
];

fn call(scene: &Scene, operation: &str) -> Check<Output> {
    let rt = scene.s.runtime();
    match operation {
        "create" => rt.create(scene.bundle_with(&["/bin/probe", "sleep"])?.path(), ID),
        "kill" => rt.kill(ID, "KILL"),
        other => rt.call(&[other, ID]),
    }
}

fn possible(scene: &Scene, operation: &str, at: &str) -> Check {
    let pid = bring(scene, at)?;
    let output = call(scene, operation)?.success()?;
    match operation {
        "state" => check_eq!(output.json()?["status"], at),
        "start" => status(scene.s, ID, "running")?,
        "kill" => {
            scene.s.runtime().wait_for(pid)?;
            status(scene.s, ID, "stopped")?;
        }
        _ => absent(scene.s, ID)?,
    }
    Ok(())
}

/// The operation is an error and changes nothing: status and process are what they were.
fn impossible(scene: &Scene, operation: &str, at: &str) -> Check {
    let pid = bring(scene, at)?;
    fails(&call(scene, operation)?)?;
    if at == "none" {
        return absent(scene.s, ID);
    }
    status(scene.s, ID, at)?;
    if at != "stopped" {
        check_eq!(scene.s.runtime().pid(ID)?, pid, "the process");
        let state = crate::harness::Host::process_state(pid);
        check!(state.is_some_and(|state| state != 'Z'), "process {pid} has ended");
    }
    Ok(())
}

fn table() -> impl Iterator<Item = Case> {
    TABLE.into_iter().map(|(operation, at, able)| {
        let name = format!("operations/{operation}/{at}");
        let container = match at {
            "none" => "an id that no container has".to_owned(),
            _ => format!("a container that is {at}"),
        };
        if able {
            let broken = match operation {
                "state" => Broken::Answers("state", vec![to("/status", "creating")]),
                other => Broken::Skips(other),
            };
            let rule = format!("`{operation}` works for {container}");
            return must(PLACE, &name, &rule)
                .noticing(broken)
                .body(move |scene| possible(scene, operation, at));
        }
        let rule = format!("`{operation}` for {container} is an error without effect");
        must(PLACE, &name, &rule)
            .noticing(Broken::Agrees(operation))
            .body(move |scene| impossible(scene, operation, at))
    })
}

fn without_id() -> impl Iterator<Item = Case> {
    ["state", "start", "kill", "delete"].into_iter().map(|operation| {
        let rule = format!("`{operation}` without an id is an error");
        must(PLACE, &format!("operations/{operation}/without-id"), &rule)
            .noticing(Broken::Agrees(operation))
            .body(move |scene| fails(&scene.s.runtime().call(&[operation])?))
    })
}

fn signals() -> impl Iterator<Item = Case> {
    SIGNALS.into_iter().map(|(name, number)| {
        must(PLACE, &format!("operations/kill/sends/{name}"), "`kill` sends the signal that it is given")
            .with("/root/readonly", false)
            .noticing(Broken::Skips("kill"))
            .body(move |scene| {
                let rt = scene.s.runtime();
                let bundle = scene.bundle_with(&["/bin/probe", "catch", "/tmp/signal"])?;
                let pid = rt.start_ready(bundle.path(), ID)?;
                rt.kill(ID, name)?.success()?;
                rt.wait_for(pid)?;
                let caught = std::fs::read_to_string(bundle.rootfs().join("tmp/signal"))?;
                check_eq!(caught, number.to_string());
                Ok(())
            })
    })
}

/// Two containers at once: what is done to one does nothing to the other.
fn apart(s: &Scene, operation: &str) -> Check {
    let rt = s.s.runtime();
    let pid = s.sleeper()?;
    let other = rt.start_ready(s.bundle_with(&["/bin/probe", "sleep"])?.path(), "c2")?;
    stop(rt, "c2", other)?;
    if operation == "delete" {
        rt.delete("c2")?.success()?;
    }
    status(s.s, ID, "running")?;
    check_eq!(rt.pid(ID)?, pid);
    Ok(())
}

fn start_runs_the_program(scene: &Scene) -> Check {
    let bundle = scene.bundle_with(&["/bin/probe", "write", "/tmp/mark", "x"])?;
    let rt = scene.s.runtime();
    rt.create(bundle.path(), ID)?.success()?;
    let pid = rt.pid(ID)?;
    rt.start(ID)?.success()?;
    rt.wait_for(pid)?;
    check!(bundle.rootfs().join("tmp/mark").exists(), "the program has not run");
    Ok(())
}

fn no_program(scene: &Scene) -> Check {
    let bundle = scene.bundle()?;
    let rt = scene.s.runtime();
    let created = rt.create(bundle.path(), ID)?;
    // Who needs a program to make a container says so earlier.
    if created.code == 0 { fails(&rt.start(ID)?) } else { fails(&created) }
}

fn remains(s: &Sandbox, scene: &Scene) -> Check {
    let pid = scene.sleeper()?;
    let state = s.runtime().state(ID)?;
    fails(&s.runtime().start(ID)?)?;
    check_eq!(s.runtime().state(ID)?["pid"], state["pid"]);
    check_eq!(s.runtime().pid(ID)?, pid);
    Ok(())
}

/// The operations.
pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = table().chain(without_id()).chain(signals()).collect();
    all.push(
        must(PLACE, "operations/start/runs-program", "`start` runs the program of the config")
            .with("/root/readonly", false)
            .noticing(Broken::Skips("start"))
            .body(start_runs_the_program),
    );
    all.push(
        must(
            PLACE,
            "operations/start/without-process",
            "without a program there is nothing to start: an error",
        )
        .without("/process")
        .body(no_program),
    );
    all.push(
        must(PLACE, "operations/start/twice", "a second `start` is an error and leaves the program alone")
            .noticing(Broken::Agrees("start"))
            .body(|scene| remains(scene.s, scene)),
    );
    for operation in ["kill", "delete"] {
        let rule = format!("`{operation}` concerns the container that it names and no other");
        let case = must("runtime.md, Scope of a container", &format!("operations/{operation}/one"), &rule);
        all.push(case.noticing(Broken::Skips(operation)).body(move |scene| apart(scene, operation)));
    }
    all
}
