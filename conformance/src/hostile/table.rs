//! T15: whatever the configuration, or the runtime itself, looks for in an image, the image may have something else
//! there: every destination meets every attack. Where the image writes to the host, where an open waits for a writer,
//! where a refusal does not say what is wrong, the cell fails.

use super::canary::Canary;
use super::devices::{create_and_start, is_masked};
use super::{Attack, Control, Outcome, attack};
use crate::harness::{Bundle, Config, Sandbox};
use crate::sys::{self, Inherited};
use crate::{Check, check};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// More steps up than any scratch directory is deep.
const UP: &str = "../../../../../../../../../../../..";
const REPORT: &[&str] = &["/bin/probe", "report"];
/// The descriptor of the host's tree that the caller leaks.
const LEAKED: i32 = 17;
/// Containers that are made while something swaps.
const RUNS: usize = 4;

/// What an ordinary image has in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Null,
    Link,
}

/// Why a path of the image is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// A mount of the default configuration; those above it are left out, so that it is the image's.
    Mount,
    /// The image's own `/dev`: devices and links are made there.
    Devices,
    /// The same in a user namespace: devices of the host are bound there.
    BoundDevices,
    /// The terminal is put there.
    Terminal,
    /// A hierarchy of cgroups is mounted, or linked, there.
    Hierarchy,
    /// A bind of a directory, of a file, one further below, and one into a volume.
    Bind,
    BindFile,
    BindBelow,
    BindVolume,
    Tmpfs,
    /// What a tmpfs covers is copied into it.
    CopyUp,
    /// A device of the configuration.
    Device,
    Cwd,
    ExecCwd,
    /// Looked up for the user.
    User,
    ExecUser,
    Masked,
    ReadOnly,
}

/// A place in the image.
#[derive(Clone, Copy, Debug)]
struct Site {
    path: &'static str,
    kind: Kind,
    lead: Lead,
}

/// What the image does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    Absolute,
    Relative,
    Missing,
    Magic,
    Fifo,
    Zero,
    Other,
    Swap,
}

const TRICKS: [(Trick, &str); 8] = [
    (Trick::Absolute, "is a link to the host"),
    (Trick::Relative, "is a link to the host by .."),
    (Trick::Missing, "is a link to what the host does not have"),
    (Trick::Magic, "is a link to a descriptor of the caller"),
    (Trick::Fifo, "is a FIFO"),
    (Trick::Zero, "is a device"),
    (Trick::Other, "is of another kind"),
    (Trick::Swap, "is exchanged for a link all the time"),
];

const fn site(path: &'static str, kind: Kind, lead: Lead) -> Site {
    Site { path, kind, lead }
}

const SITES: [Site; 55] = [
    site("/dev", Kind::Dir, Lead::Mount),
    site("/dev/pts", Kind::Dir, Lead::Mount),
    site("/dev/shm", Kind::Dir, Lead::Mount),
    site("/dev/mqueue", Kind::Dir, Lead::Mount),
    site("/proc", Kind::Dir, Lead::Mount),
    site("/sys", Kind::Dir, Lead::Mount),
    site("/sys/fs/cgroup", Kind::Dir, Lead::Mount),
    site("/sys/fs/cgroup/cpu", Kind::Dir, Lead::Hierarchy),
    site("/sys/fs/cgroup/cpuacct", Kind::Link, Lead::Hierarchy),
    site("/sys/fs/cgroup/memory", Kind::Dir, Lead::Hierarchy),
    site("/sys/fs/cgroup/systemd", Kind::Dir, Lead::Hierarchy),
    site("/sys/fs/cgroup/unified", Kind::Dir, Lead::Hierarchy),
    site("/dev", Kind::Dir, Lead::Devices),
    site("/dev/ptmx", Kind::Link, Lead::Devices),
    site("/dev/fd", Kind::Link, Lead::Devices),
    site("/dev/core", Kind::Link, Lead::Devices),
    site("/dev/stdin", Kind::Link, Lead::Devices),
    site("/dev/stdout", Kind::Link, Lead::Devices),
    site("/dev/stderr", Kind::Link, Lead::Devices),
    site("/dev/null", Kind::Null, Lead::Devices),
    site("/dev/null", Kind::File, Lead::BoundDevices),
    site("/dev/console", Kind::File, Lead::Terminal),
    site("/data", Kind::Dir, Lead::Bind),
    site("/etc/hosts", Kind::File, Lead::BindFile),
    site("/deep", Kind::Dir, Lead::BindBelow),
    site("/volume/x", Kind::Dir, Lead::BindVolume),
    site("/scratch", Kind::Dir, Lead::Tmpfs),
    site("/copy", Kind::Dir, Lead::CopyUp),
    site("/copy/entry", Kind::File, Lead::CopyUp),
    site("/devices", Kind::Dir, Lead::Device),
    site("/devices/node", Kind::Null, Lead::Device),
    site("/work", Kind::Dir, Lead::Cwd),
    site("/work", Kind::Dir, Lead::ExecCwd),
    site("/etc/passwd", Kind::File, Lead::User),
    site("/etc/passwd", Kind::File, Lead::ExecUser),
    site("/etc/group", Kind::File, Lead::ExecUser),
    site("/etc/masked", Kind::File, Lead::Masked),
    site("/etc/masked.d", Kind::Dir, Lead::Masked),
    site("/proc/acpi", Kind::Dir, Lead::Masked),
    site("/proc/asound", Kind::Dir, Lead::Masked),
    site("/proc/kcore", Kind::File, Lead::Masked),
    site("/proc/keys", Kind::File, Lead::Masked),
    site("/proc/latency_stats", Kind::File, Lead::Masked),
    site("/proc/timer_list", Kind::File, Lead::Masked),
    site("/proc/timer_stats", Kind::File, Lead::Masked),
    site("/proc/sched_debug", Kind::File, Lead::Masked),
    site("/proc/scsi", Kind::Dir, Lead::Masked),
    site("/sys/firmware", Kind::Dir, Lead::Masked),
    site("/etc/read-only", Kind::File, Lead::ReadOnly),
    site("/etc/read-only.d", Kind::Dir, Lead::ReadOnly),
    site("/proc/bus", Kind::Dir, Lead::ReadOnly),
    site("/proc/fs", Kind::Dir, Lead::ReadOnly),
    site("/proc/irq", Kind::Dir, Lead::ReadOnly),
    site("/proc/sys", Kind::Dir, Lead::ReadOnly),
    site("/proc/sysrq-trigger", Kind::File, Lead::ReadOnly),
];

pub(super) fn attacks() -> Vec<Attack> {
    let cell = |site: Site, (trick, words): (Trick, &str)| {
        let variant = format!("{} ({}) {words}", site.path, site.lead.words());
        let run = move |s: &Sandbox, c: &Canary| strike(s, c, site, trick);
        let place = site.place(Path::new("")).to_string_lossy().into_owned();
        Attack { place: Some(place), ..attack("T15", variant, run, held, Control::Bad("trust")) }
    };
    SITES.iter().flat_map(|site| TRICKS.iter().map(move |trick| cell(*site, *trick))).collect()
}

impl Lead {
    fn words(self) -> &'static str {
        match self {
            Lead::Mount => "a mount",
            Lead::Devices => "the image's devices",
            Lead::BoundDevices => "devices in a user namespace",
            Lead::Terminal => "the terminal",
            Lead::Hierarchy => "a hierarchy of cgroups",
            Lead::Bind => "a bind",
            Lead::BindFile => "a bind of a file",
            Lead::BindBelow => "above a bind",
            Lead::BindVolume => "a bind into a volume",
            Lead::Tmpfs => "a tmpfs",
            Lead::CopyUp => "copied up",
            Lead::Device => "a device of the config",
            Lead::Cwd => "cwd",
            Lead::ExecCwd => "cwd of exec",
            Lead::User => "the user",
            Lead::ExecUser => "the user of exec",
            Lead::Masked => "masked",
            Lead::ReadOnly => "read-only",
        }
    }

    fn joins(self) -> bool {
        matches!(self, Lead::ExecCwd | Lead::ExecUser)
    }
}

impl Site {
    /// Where it lies on the host, in the sandbox of this directory.
    fn place(&self, sandbox: &Path) -> PathBuf {
        let path = self.path.trim_start_matches('/');
        match self.lead {
            Lead::BindVolume => sandbox.join(path),
            _ => sandbox.join("bundle-0/rootfs").join(path),
        }
    }

    /// A configuration that leads there.
    fn config(&self, s: &Sandbox) -> Check<Config> {
        let without = |config: Config, names: &[&str]| {
            names.iter().fold(config, |config: Config, name| config.without_mount(name))
        };
        let base = Config::new(REPORT).set("/root/readonly", false);
        let source = s.make_dir("source")?;
        Ok(match self.lead {
            Lead::Mount if self.path.starts_with("/dev/") => base.without_mount("/dev"),
            Lead::Mount if self.path.starts_with("/sys/") => base.without_mount("/sys"),
            Lead::Mount | Lead::User => base,
            Lead::Devices if self.path == "/dev/ptmx" => base.without_mount("/dev"),
            Lead::Devices => without(base, &["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]),
            Lead::BoundDevices => {
                let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
                without(base, &["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"])
                    .namespace("user", None)
                    .set("/linux/uidMappings", maps.clone())
                    .set("/linux/gidMappings", maps)
            }
            Lead::Terminal => {
                let out = s.make_dir("out")?;
                base.without_mount("/dev")
                    .args(&["/bin/probe", "report", "--out", "/tmp/report.json"])
                    .mount("bind", &out, "/tmp", &["bind", "rw"])
                    .set("/process/terminal", true)
            }
            Lead::Hierarchy => base.without_mount("/sys"),
            Lead::Bind => base.mount("bind", &source, self.path, &["bind"]),
            Lead::BindFile => base.mount("bind", &s.make_file("hosts", "")?, self.path, &["bind"]),
            Lead::BindBelow => base.mount("bind", &source, "/deep/below/it", &["bind"]),
            Lead::BindVolume => base.mount("bind", &s.make_dir("volume")?, "/volume", &["rbind"]).mount(
                "bind",
                &source,
                "/volume/x/below",
                &["bind"],
            ),
            Lead::Tmpfs => base.mount("tmpfs", Path::new("tmpfs"), self.path, &["size=64k"]),
            Lead::CopyUp => base.mount("tmpfs", Path::new("tmpfs"), "/copy", &["tmpcopyup", "size=64k"]),
            Lead::Device => {
                let node = json!({ "path": "/devices/node", "type": "c", "major": 1, "minor": 3, "uid": 7 });
                base.push("/linux/devices", node)
            }
            Lead::Cwd => base.set("/process/cwd", self.path),
            Lead::ExecCwd | Lead::ExecUser => base.args(&["/bin/probe", "sleep"]),
            Lead::Masked | Lead::ReadOnly => {
                let list =
                    if self.lead == Lead::Masked { "/linux/maskedPaths" } else { "/linux/readonlyPaths" };
                let words = [REPORT, &["--stat", self.path]].concat();
                let config = without(base.args(&words), &["/proc", "/sys", "/sys/fs/cgroup"]);
                if config.get(list).as_array().is_some_and(|l| l.iter().any(|p| *p == self.path)) {
                    config
                } else {
                    config.push(list, self.path)
                }
            }
        })
    }

    /// What a refusal may name: the path, or the field.
    fn names(&self, config: &Config) -> Vec<String> {
        let mount = |path: &str| config.mount_index(path).map(|i| format!("/mounts/{i}"));
        let field = match self.lead {
            Lead::BindBelow => mount("/deep/below/it"),
            Lead::BindVolume => mount("/volume/x/below"),
            Lead::CopyUp => mount("/copy"),
            Lead::Hierarchy => mount("/sys/fs/cgroup"),
            Lead::Device => Some("/linux/devices/0".to_owned()),
            Lead::Cwd | Lead::ExecCwd => Some("/process/cwd".to_owned()),
            Lead::Terminal => Some("/process/terminal".to_owned()),
            _ => mount(self.path),
        };
        field.into_iter().chain([self.path.to_owned()]).collect()
    }
}

/// Nothing of the host was touched; the container ran, with what is to be masked masked, or was refused, in time and with
/// the name of what is wrong.
fn held(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        let said = outcome.refusal.as_ref().map_or("", |refusal| &refusal.stderr);
        return match outcome.names.iter().any(|name| said.contains(name)) {
            true => Ok(()),
            false => Err(format!("the refusal names none of {:?}: {}", outcome.names, said.trim_end())),
        };
    }
    let report = outcome.seen()?;
    let Some(path) = &outcome.masked else {
        return Ok(());
    };
    match &report["stat"][path] {
        stat if stat["type"].is_null() || stat["type"] == "link" || is_masked(stat) => Ok(()),
        stat => Err(format!("{path} is not masked: {stat}")),
    }
}

fn strike(s: &Sandbox, canary: &Canary, site: Site, trick: Trick) -> Check<Outcome> {
    let config = site.config(s)?;
    let bundle = s.bundle(&config)?;
    let place = site.place(s.dir());
    check!(site.lead == Lead::BindVolume || place.starts_with(bundle.rootfs()), "it is another bundle");
    if site.lead.joins() {
        // It does it to itself.
        s.runtime().start_ready(bundle.path(), "victim")?;
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    remove(&place)?;
    let target = match site.kind {
        Kind::Dir => canary.path().to_owned(),
        Kind::File | Kind::Null | Kind::Link => canary.path().join("secret"),
    };
    let _leaked = (trick == Trick::Magic).then(|| Inherited::open(&target, LEAKED)).transpose()?;
    plant(&place, site.kind, trick, &target)?;
    let masked = (site.lead == Lead::Masked && trick != Trick::Swap).then(|| site.path.to_owned());
    let complete = |done: Check<Outcome>| {
        let outcome = Outcome::in_time(done)?;
        Ok(Outcome { names: site.names(&config), masked: masked.clone(), ..outcome })
    };
    match trick {
        Trick::Swap => swapped(&place, |turn| complete(call(s, &bundle, site, &format!("victim-{turn}")))),
        _ => complete(call(s, &bundle, site, "victim")),
    }
}

fn remove(place: &Path) -> Check {
    match fs::symlink_metadata(place) {
        Ok(meta) if meta.is_dir() => Ok(fs::remove_dir_all(place)?),
        Ok(_) => Ok(fs::remove_file(place)?),
        Err(_) => Ok(()),
    }
}

fn node(place: &Path, kind: &[&str]) -> Check {
    check!(Command::new("mknod").arg(place).args(kind).status()?.success(), "mknod failed");
    Ok(())
}

fn ordinary(place: &Path, kind: Kind) -> Check {
    match kind {
        Kind::Dir => Ok(fs::create_dir(place)?),
        Kind::File => Ok(fs::write(place, "")?),
        Kind::Null => node(place, &["c", "1", "3"]),
        Kind::Link => Ok(symlink("/proc/self/fd", place)?),
    }
}

fn plant(place: &Path, kind: Kind, trick: Trick, target: &Path) -> Check {
    match trick {
        Trick::Absolute => symlink(target, place)?,
        Trick::Relative => symlink(format!("{UP}{}", target.display()), place)?,
        Trick::Missing => symlink(target.with_file_name("new"), place)?,
        Trick::Magic => symlink(format!("/proc/self/fd/{LEAKED}"), place)?,
        Trick::Fifo => node(place, &["p"])?,
        Trick::Zero => node(place, &["c", "1", "5"])?,
        Trick::Other if kind == Kind::Dir => fs::write(place, "")?,
        Trick::Other => fs::create_dir(place)?,
        Trick::Swap => {
            ordinary(place, kind)?;
            symlink(target, other(place))?;
        }
    }
    Ok(())
}

/// What a place is exchanged for.
fn other(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".other");
    name.into()
}

/// Makes a container, or a further process in the one that is there.
fn call(s: &Sandbox, bundle: &Bundle, site: Site, id: &str) -> Check<Outcome> {
    let runtime = s.runtime();
    match site.lead {
        Lead::Terminal => {
            let socket = s.dir().join(format!("{id}.sock"));
            let listener = UnixListener::bind(&socket)?;
            create_and_start(s, bundle, id, Some((&listener, &socket)))
        }
        Lead::ExecCwd => {
            Outcome::of(runtime.call(&[&["exec", "--cwd", site.path, "victim"], REPORT].concat())?)
        }
        Lead::ExecUser => {
            Outcome::of(runtime.call(&[&["exec", "--user", "1000:1000", "victim"], REPORT].concat())?)
        }
        _ => Outcome::of(runtime.run(bundle.path(), id)?),
    }
}

/// The same several times, while a place of the image is exchanged for a link to the host and back. The outcome is that of
/// the last, or of the first that ended badly.
fn swapped(place: &Path, turn: impl Fn(usize) -> Check<Outcome>) -> Check<Outcome> {
    let other = other(place);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // No two moments are of one length.
            for round in 0u32.. {
                // What the runtime removed is not there to be exchanged.
                let _ = sys::exchange(place, &other);
                (0..round.wrapping_mul(7919) % 2048).for_each(|_| std::hint::spin_loop());
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let turns = || {
            let mut last = Outcome::default();
            for number in 0..RUNS {
                last = turn(number)?;
                if held(&last).is_err() {
                    break;
                }
            }
            Ok(last)
        };
        let result = turns();
        over.store(true, Ordering::Relaxed);
        result
    })
}
