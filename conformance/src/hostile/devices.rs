//! Attacks through `/dev` of the image. T1: `/dev` is a symlink to the host; device nodes and links
//! must not be made there. T6: `/dev` is the image's own directory and its `null` is not the null
//! device; a mask made from it would show what the attacker chose, or nothing would be masked.

use super::canary::Canary;
use super::{Attack, Control, Outcome, RUNC, Run, attack, untouched};
use crate::Check;
use crate::harness::{Bundle, Config, Sandbox};
use crate::sys;
use serde_json::{Value, json};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MASKED_FILE: &str = "/etc/masked";
const MASKED_DIRECTORY: &str = "/etc/masked.d";
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

pub(super) fn attacks() -> Vec<Attack> {
    let t1 = |variant, run: Run| attack("T1", variant, run, untouched, RUNC);
    let t6 = |variant, run: Run| attack("T6", variant, run, masked, RUNC);
    vec![
        t1("/dev is an absolute symlink to the host", |s, c| symlinked_dev(s, c.path())),
        t1("/dev is a relative symlink to the host", |s, _| symlinked_dev(s, Path::new("../../canary"))),
        t6("null is a symlink", |s, _| own_dev(s, &|dev| Ok(symlink("/tmp/attacker", dev.join("null"))?))),
        // runc 1.1.5 refuses this one.
        Attack { control: Control::Bad("unmask"), ..t6("null is deleted", |s, _| own_dev(s, &|_| Ok(()))) },
        t6("null is the zero device", |s, _| own_dev(s, &|dev| node(dev, &["c", "1", "5"]))),
        t6("null is a FIFO", |s, _| own_dev(s, &|dev| node(dev, &["p"]))),
        t6("console is a symlink into /proc/sys", |s, _| hostile_console(s)),
        attack(
            "T6",
            "a device's path in a user namespace is a file of the host",
            foreign_node,
            only_null,
            RUNC,
        ),
    ]
}

/// T6: refused, or every masked path is the null device or an empty read-only directory, and
/// nothing was mounted where the console symlink leads.
fn masked(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let report = outcome.seen()?;
    for path in [MASKED_FILE, MASKED_DIRECTORY] {
        let stat = &report["stat"][path];
        if !is_masked(stat) {
            return Err(format!("{path} is not masked: {stat}"));
        }
    }
    let mounts = report["mounts"].as_array().ok_or("no mounts in the report")?;
    if let Some(mount) = mounts.iter().find(|mount| mount["target"] == HOSTNAME) {
        return Err(format!("the console was mounted on {HOSTNAME}: {mount}"));
    }
    Ok(())
}

/// Whether it is the null device or an empty read-only directory.
pub(super) fn is_masked(stat: &Value) -> bool {
    let null = stat["type"] == "char" && stat["rdev"] == "1:3";
    null || stat["type"] == "dir" && stat["entries"] == 0 && stat["readonly"] == true
}

fn symlinked_dev(sandbox: &Sandbox, target: &Path) -> Check<Outcome> {
    let mut config = Config::new(&["/bin/probe", "report", "--stat", "/dev"]);
    for mount in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        config = config.without_mount(mount);
    }
    let config = config.set("/root/readonly", false);
    let bundle = sandbox.bundle(&config)?;
    let dev = bundle.rootfs().join("dev");
    fs::remove_dir(&dev)?;
    symlink(target, &dev)?;
    Outcome::of(sandbox.runtime().run(bundle.path(), "victim")?)
}

fn node(dev: &Path, kind: &[&str]) -> Check {
    let status = Command::new("mknod").arg(dev.join("null")).args(kind).status()?;
    crate::check!(status.success(), "mknod failed");
    Ok(())
}

/// A null device with a name that on the host is a file. In a user namespace nodes cannot be made, and what is
/// bound instead must be the device.
fn foreign_node(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    let path = canary.path().join("secret");
    let path = path.to_string_lossy();
    let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let config = Config::new(&["/bin/probe", "report", "--stat", &path])
        .namespace("user", None)
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps)
        .push("/linux/devices", json!({ "path": path, "type": "c", "major": 1, "minor": 3 }));
    Outcome::of(sandbox.runtime().run(sandbox.bundle(&config)?.path(), "victim")?)
}

fn only_null(outcome: &Outcome) -> Result<(), String> {
    untouched(outcome)?;
    let stats = outcome.report.iter().filter_map(|report| report["stat"].as_object()).flatten();
    match stats.into_iter().find(|(_, stat)| stat["type"] != "char" || stat["rdev"] != "1:3") {
        Some((path, stat)) => Err(format!("the container has {path} of the host: {stat}")),
        None => Ok(()),
    }
}

/// The configuration of T6: `/dev` is a bind of `dev`, `/tmp` takes the report.
fn config(sandbox: &Sandbox, dev: &Path) -> Check<Config> {
    let out = sandbox.make_dir("out")?;
    fs::write(out.join("attacker"), "chosen by the attacker\n")?;
    let mut config = Config::new(&[
        "/bin/probe",
        "report",
        "--out",
        "/tmp/report.json",
        "--stat",
        MASKED_FILE,
        "--stat",
        MASKED_DIRECTORY,
        "--stat",
        HOSTNAME,
    ]);
    for mount in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        config = config.without_mount(mount);
    }
    Ok(config
        .mount("bind", dev, "/dev", &["rbind", "rw"])
        .mount("bind", &out, "/tmp", &["rbind", "rw"])
        .set("/linux/maskedPaths", json!([MASKED_FILE, MASKED_DIRECTORY])))
}

fn own_dev(sandbox: &Sandbox, plant: &dyn Fn(&Path) -> Check) -> Check<Outcome> {
    let dev = sandbox.make_dir("dev")?;
    plant(&dev)?;
    let bundle = secret(sandbox, &config(sandbox, &dev)?)?;
    create_and_start(sandbox, &bundle, "victim", None)
}

fn hostile_console(sandbox: &Sandbox) -> Check<Outcome> {
    let dev = sandbox.make_dir("dev")?;
    sandbox.make_dir("dev/pts")?;
    let status = Command::new("mknod").arg(dev.join("null")).args(["c", "1", "3"]).status()?;
    crate::check!(status.success(), "mknod failed");
    // The image brings what a runtime would make in a /dev of its own.
    symlink("pts/ptmx", dev.join("ptmx"))?;
    symlink(HOSTNAME, dev.join("console"))?;
    let options = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let config = config(sandbox, &dev)?
        .mount("devpts", Path::new("devpts"), "/dev/pts", options)
        .set("/process/terminal", true);
    let socket = sandbox.dir().join("console.sock");
    let listener = UnixListener::bind(&socket)?;
    create_and_start(sandbox, &secret(sandbox, &config)?, "victim", Some((&listener, &socket)))
}

/// A bundle with what is to be masked.
fn secret(sandbox: &Sandbox, config: &Config) -> Check<Bundle> {
    let bundle = sandbox.bundle(config)?;
    fs::write(bundle.rootfs().join("etc/masked"), "secret\n")?;
    fs::create_dir(bundle.rootfs().join("etc/masked.d"))?;
    fs::write(bundle.rootfs().join("etc/masked.d/file"), "secret\n")?;
    Ok(bundle)
}

/// Creates, starts and waits; the report is read from the file that the payload wrote.
pub(super) fn create_and_start(
    sandbox: &Sandbox,
    bundle: &Bundle,
    id: &str,
    console: Option<(&UnixListener, &Path)>,
) -> Check<Outcome> {
    let runtime = sandbox.runtime();
    let mut words = vec!["create".into(), "--bundle".into(), bundle.path().to_string_lossy()];
    if let Some((_, socket)) = console {
        words.extend(["--console-socket".into(), socket.to_string_lossy()]);
    }
    words.push(id.into());
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let output = runtime.call(&words)?;
    if output.code != 0 {
        return Ok(Outcome::refused(output.code, output.stderr));
    }
    // Kept open until the payload has ended: a hangup would end it.
    let _master: Option<OwnedFd> = match console {
        Some((listener, _)) => Some(master(listener)?),
        None => None,
    };
    let pid = runtime.pid(id)?;
    let output = runtime.start(id)?;
    if output.code != 0 {
        return Ok(Outcome::refused(output.code, output.stderr));
    }
    runtime.wait_for(pid)?;
    let text = fs::read_to_string(sandbox.dir().join("out/report.json")).ok();
    let report: Option<Value> = text.as_deref().map(serde_json::from_str).transpose()?;
    Ok(Outcome { report, ..Outcome::default() })
}

fn master(listener: &UnixListener) -> Check<OwnedFd> {
    crate::check!(sys::readable(listener.as_fd(), Duration::from_secs(20))?, "no console came");
    let (stream, _) = listener.accept()?;
    let (_, fds) = sys::receive(stream.as_fd())?;
    fds.into_iter().next().ok_or_else(|| "the console message has no descriptor".into())
}
