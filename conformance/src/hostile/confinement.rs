//! T13 for AppArmor: the profile is written to a file of procfs, and who can cover that file keeps the program from being
//! confined (CVE-2019-16884, CVE-2025-52881). The label is read by the host, in a procfs that nobody covers.

use super::canary::Canary;
use super::{Attack, Control, LONG, Outcome, RUNC, attack};
use crate::harness::{Bundle, Config, Profile, Sandbox};
use crate::{Check, Failed, check, sys};
use serde_json::json;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::Path;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
/// Where a process looks for the file that takes the profile of what it is going to execute.
const FILES: [&str; 2] = ["attr/apparmor/exec", "attr/exec"];

pub(super) fn attacks() -> Vec<Attack> {
    let needs_profile = |attack: Attack| Attack { needs: Profile::missing, machine: true, ..attack };
    vec![
        needs_profile(attack(
            "T13",
            "a neighbour mounts a file of /proc over that which takes the profile",
            covered,
            labelled,
            RUNC,
        )),
        needs_profile(attack(
            "T13",
            "the image has a volume mounted over that which takes the profile",
            led,
            labelled,
            Control::Bad("unlabelled"),
        )),
        needs_profile(attack(
            "T13",
            "the container has a volume over that which takes the profile of exec",
            entered,
            labelled,
            Control::Bad("unlabelled"),
        )),
    ]
}

/// Refused, or confined.
fn labelled(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let report = outcome.seen()?;
    if report["label"] != report["expected"] {
        return Err(format!("the label is {}, not {}", report["label"], report["expected"]));
    }
    Ok(())
}

/// What came of a program that tells when it runs: its label, or why it was refused.
fn outcome(started: Check<i32>, profile: &Profile) -> Check<Outcome> {
    match started {
        Ok(pid) => {
            let label = fs::read_to_string(format!("/proc/{pid}/attr/current"))?;
            let report = json!({ "label": label.trim_end(), "expected": profile.label() });
            Ok(Outcome { report: Some(report), ..Outcome::default() })
        }
        Err(failed) => {
            let message = failed.message().unwrap_or_default().to_owned();
            let late = ["did not end in", "printed nothing"].iter().any(|words| message.contains(words));
            if late { Err(failed) } else { Ok(Outcome::refused(1, message)) }
        }
    }
}

/// Somebody in the mount namespace of the container, here a hook, covers the file with another one of procfs, which
/// takes whatever is written.
fn covered(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let profile = Profile::load(sandbox)?;
    let config = Config::new(SLEEP).set("/process/apparmorProfile", profile.name());
    let hook = sandbox.dir().join("hook");
    let bundle = sandbox.bundle(&config.push("/hooks/createRuntime", json!({ "path": hook })))?;
    let proc = bundle.rootfs().join("proc");
    sandbox.make_script(
        "hook",
        &format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin; set -e; state=$(cat); pid=${{state#*\\\"pid\\\":}}; \
             pid=${{pid# }}; pid=${{pid%%[!0-9]*}}\n\
             for dir in {0}/1 {0}/1/task/1; do for file in {1}; do\n\
             nsenter --mount=/proc/$pid/ns/mnt mount --bind {0}/1/sched $dir/$file\ndone; done",
            proc.display(),
            FILES.join(" "),
        ),
    )?;
    outcome(sandbox.runtime().start_ready(bundle.path(), "victim"), &profile)
}

/// A bundle of an image that leads a volume over its /proc; the volume has files where a process looks for its own.
fn misled(sandbox: &Sandbox, config: Config) -> Check<Bundle> {
    let volume = sandbox.make_dir("volume")?;
    for process in ["self", "thread-self", "1"] {
        for file in FILES.map(|file| volume.join(process).join(file)) {
            fs::create_dir_all(file.parent().unwrap_or(&volume))?;
            fs::write(file, "")?;
        }
    }
    // Nothing else is looked for there.
    let config = config.remove("/linux/maskedPaths").remove("/linux/readonlyPaths").mount(
        "bind",
        &volume,
        "/data",
        &["bind"],
    );
    let bundle = sandbox.bundle(&config)?;
    symlink(Path::new("/proc"), bundle.rootfs().join("data"))?;
    Ok(bundle)
}

fn led(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let profile = Profile::load(sandbox)?;
    let bundle = misled(sandbox, Config::new(SLEEP).set("/process/apparmorProfile", profile.name()))?;
    outcome(sandbox.runtime().start_ready(bundle.path(), "victim"), &profile)
}

fn entered(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let profile = Profile::load(sandbox)?;
    let bundle = misled(sandbox, Config::new(SLEEP))?;
    let runtime = sandbox.runtime();
    runtime.start_ready(bundle.path(), "victim")?;
    let file = sandbox.dir().join("pid");
    let mut command = runtime.command();
    command.args(["exec", "--detach", "--apparmor", profile.name(), "--pid-file"]).arg(&file);
    command.arg("victim").args(SLEEP);
    let (reader, writer) = std::io::pipe()?;
    let output = runtime.finish_into(command, Some(writer.into()))?;
    if output.code != 0 {
        return Ok(Outcome::refused(output.code, output.stderr));
    }
    check!(sys::readable(reader.as_fd(), LONG)?, "the program of exec printed nothing");
    let text = fs::read_to_string(&file)?;
    let pid = text.trim().parse().map_err(|_| Failed::from(format!("{text:?} is no pid")))?;
    let found = outcome(Ok(pid), &profile);
    // It is ours to reap, or the container does not end.
    sys::kill(pid, libc::SIGKILL)?;
    runtime.wait_for(pid)?;
    found
}
