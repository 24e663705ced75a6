//! T19: a root that is moved over the host's, as `--no-pivot` asks for, leaves the host's mounts in the namespace. Where a
//! whole procfs is among them, anybody inside may mount another one, without masks, in a user namespace of their own.

use super::canary::Canary;
use super::{Attack, Control, Outcome, Run, attack};
use crate::harness::{Bundle, Config, Sandbox};
use crate::{Check, sys};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{chown, symlink};

const USER: u32 = 1000;

pub(super) fn attacks() -> Vec<Attack> {
    let t19 = |variant, run: Run| attack("T19", variant, run, denied, Control::Bad("reveal"));
    vec![
        t19("a procfs without masks beside a root that was moved", alone),
        t19("the same with procfs in other places of the host", elsewhere),
        t19("the same with a mount table of the attacker's over that of the process", forged),
    ]
}

fn denied(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    match outcome.seen()?["procfs"].as_i64() {
        Some(errno) if errno == i64::from(libc::EPERM) => Ok(()),
        Some(errno) => Err(format!("the kernel answered {errno}, which says nothing of masks")),
        None => Err("the payload has a procfs without masks".to_owned()),
    }
}

fn alone(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    mount(sandbox, &sandbox.bundle(&config(sandbox)?)?)
}

/// Where the container's own is going to be, and under a name that the mount table writes otherwise.
fn elsewhere(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let bundle = sandbox.bundle(&config(sandbox)?)?;
    let places = [bundle.rootfs().join("proc"), sandbox.make_dir("a \\ b")?];
    for place in &places {
        sys::mount("proc".as_ref(), place, "proc", 0)?;
    }
    let outcome = mount(sandbox, &bundle);
    for place in &places {
        sys::unmount(place)?;
    }
    outcome
}

/// A link of the image leads a volume over the directory of the first process in `/proc`, and the volume brings a
/// table of mounts in which every mount is the root, and none is a procfs.
fn forged(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let volume = sandbox.make_dir("volume")?;
    let bundle = sandbox.bundle(&config(sandbox)?.mount("bind", &volume, "/data", &["bind"]))?;
    let root = bundle.rootfs();
    let line = |id: u32| format!("{id} 1 0:1 / {} rw - tmpfs tmpfs rw\n", root.display());
    fs::write(volume.join("mountinfo"), (1..50_000).map(line).collect::<String>())?;
    symlink("/proc/1", root.join("data"))?;
    mount(sandbox, &bundle)
}

fn config(sandbox: &Sandbox) -> Check<Config> {
    let out = sandbox.make_dir("out")?;
    chown(&out, Some(USER), Some(USER))?;
    let config = Config::new(&["/bin/probe", "fresh-procfs", "/etc", "/tmp/report.json"]);
    let config = config.set("/process/user", json!({ "uid": USER, "gid": USER }));
    Ok(config.mount("bind", &out, "/tmp", &["bind", "rw"]))
}

fn mount(sandbox: &Sandbox, bundle: &Bundle) -> Check<Outcome> {
    let path = bundle.path().as_os_str();
    let words: [&OsStr; 5] =
        ["run".as_ref(), "--no-pivot".as_ref(), "--bundle".as_ref(), path, "victim".as_ref()];
    let output = sandbox.runtime().call(&words)?;
    if output.code != 0 {
        return Ok(Outcome::refused(output.code, output.stderr));
    }
    let report = serde_json::from_slice(&fs::read(sandbox.dir().join("out/report.json"))?)?;
    Ok(Outcome { report: Some(report), ..Outcome::default() })
}
