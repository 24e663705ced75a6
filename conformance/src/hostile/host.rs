//! T12 to T14: the host's mounts and its /proc. What the runtime does with them must neither change them nor depend on
//! what others have made of them.

use super::Control;
use super::canary::Canary;
use super::{Attack, Outcome, RUNC, attack, untouched};
use crate::harness::{Bundle, Config, Host, Sandbox};
use crate::{Check, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const REPORT: &[&str] = &["/bin/probe", "report"];
const SYSCTL: &str = "kernel.msgmax";

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        attack(
            "T12",
            "no mount namespace, with hooks: the host's mounts and their propagation",
            propagation,
            untouched,
            Control::Bad("slave"),
        ),
        attack(
            "T13",
            "a neighbour mounts a file of the host over what is written in /proc",
            covered,
            untouched,
            RUNC,
        ),
        attack(
            "T13",
            "the image has a volume mounted over what is written in /proc",
            |s, _| led(s),
            untouched,
            Control::Bad("by-path"),
        ),
        attack("T14", "the host has no /proc", without_proc, whole, RUNC),
    ]
}

/// Makes every mount a peer of another one, as on a host, for a while.
struct Shared;

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = sys::propagation(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE);
    }
}

fn propagation(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    sys::propagation(Path::new("/"), libc::MS_REC | libc::MS_SHARED)?;
    let _shared = Shared;
    let hook = json!({ "path": sandbox.probe(), "args": ["probe", "exit", "0"] });
    let data = sandbox.make_dir("data")?;
    let config = Config::new(REPORT)
        .without_namespace("mount")
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .mount("bind", &data, "/data", &["rbind", "rshared"])
        .push("/hooks/prestart", hook.clone())
        .push("/hooks/createRuntime", hook.clone())
        .push("/hooks/poststop", hook);
    let bundle = sandbox.bundle(&config)?;
    let before = Host::mounts()?;
    let mut outcome = Outcome::of(sandbox.runtime().run(bundle.path(), "victim")?)?;
    let after = Host::mounts()?;
    let other = |all: &[String], line: &&String| !all.contains(line);
    outcome.host.extend(after.iter().filter(|line| other(&before, line)).map(|line| format!("new: {line}")));
    outcome.host.extend(before.iter().filter(|line| other(&after, line)).map(|line| format!("lost: {line}")));
    Ok(outcome)
}

fn written(config: Config) -> Config {
    config.set("/linux/sysctl", json!({ SYSCTL: "7777" })).args(REPORT)
}

fn file_of(bundle: &Bundle) -> String {
    format!("{}/proc/sys/{}", bundle.rootfs().display(), SYSCTL.replace('.', "/"))
}

/// Somebody in the mount namespace of the container, here a hook, covers the file of the sysctl with one of the host.
fn covered(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    let config = written(Config::new(REPORT));
    let hook = sandbox.dir().join("hook");
    let bundle = sandbox.bundle(&config.push("/hooks/createRuntime", json!({ "path": hook })))?;
    sandbox.make_script(
        "hook",
        &format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin; set -e; state=$(cat); pid=${{state#*\\\"pid\\\":}}; \
             pid=${{pid# }}; pid=${{pid%%[!0-9]*}}; exec nsenter --mount=/proc/$pid/ns/mnt \
             --ipc=/proc/$pid/ns/ipc mount --bind {} {}",
            canary.path().join("secret").display(),
            file_of(&bundle),
        ),
    )?;
    Outcome::of(sandbox.runtime().run(bundle.path(), "victim")?)
}

/// A link of the image leads a volume over the directory of the sysctl; the volume has a file of its name.
fn led(sandbox: &Sandbox) -> Check<Outcome> {
    let volume = sandbox.make_dir("volume")?;
    let file = volume.join("msgmax");
    fs::write(&file, "of the volume\n")?;
    let config = written(Config::new(REPORT)).mount("bind", &volume, "/data", &["bind"]);
    let bundle = sandbox.bundle(&config)?;
    symlink("/proc/sys/kernel", bundle.rootfs().join("data"))?;
    let mut outcome = Outcome::of(sandbox.runtime().run(bundle.path(), "victim")?)?;
    match fs::read_to_string(&file)?.as_str() {
        "of the volume\n" => {}
        text => outcome.host.push(format!("{} is {text:?}", file.display())),
    }
    Ok(outcome)
}

/// It ran, with the capabilities that it was to have.
fn whole(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if let Some(refusal) = &outcome.refusal {
        return Err(format!("refused: {}", refusal.stderr.trim_end()));
    }
    // CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE.
    match outcome.seen()?["capabilities"]["effective"].as_str() {
        Some("0000000020000420") => Ok(()),
        set => Err(format!("the effective set is {set:?}")),
    }
}

fn without_proc(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let bundle = sandbox.bundle(&Config::new(REPORT))?;
    let root = sandbox.runtime().root();
    let script = sandbox.make_script("without-proc", "set -e; umount --lazy /proc; exec \"$@\"")?;
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(script).arg(sandbox.runtime().program());
    command.arg("--root").arg(root).args(["run", "--bundle"]).arg(bundle.path()).arg("victim");
    command.stdin(std::process::Stdio::null()).current_dir(sandbox.dir());
    Outcome::of(sandbox.runtime().finish(command)?)
}
