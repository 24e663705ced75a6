//! Attacks through links of the image that lead to a directory that is not there. T1 and T8: a
//! component is missing before `..`, so that whoever makes the missing one and then goes on name by
//! name climbs out of the root. T9: a container of the same volume swaps a directory for a link
//! while the targets of mounts are made in it.

use super::canary::Canary;
use super::{Attack, Control, Outcome, RUNC, Run, untouched};
use crate::harness::{Bundle, Config, Sandbox};
use crate::{Check, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// More steps up than any scratch directory is deep.
const UP: &str = "../../../../../../../../../../../../";
const REPORT: &[&str] = &["/bin/probe", "report"];
/// Containers that are made while something swaps below them.
const RUNS: usize = 25;

/// Where the link lies, and what of the configuration leads through it.
#[derive(Clone, Copy)]
enum Site {
    Dev,
    Bind,
    Device,
    Cwd,
    MaskedParent,
}

pub(super) fn attacks() -> Vec<Attack> {
    let attack =
        |name, variant, run: Run| super::attack(name, variant, run, untouched, Control::Bad("climb"));
    let t9 = |variant, run: Run| super::attack("T9", variant, run, untouched, Control::Bad("follow"));
    vec![
        attack("T1", "/dev is a dangling link over .., relative", |s, c| dangling(s, c, Site::Dev, "nope/")),
        attack("T1", "/dev is a dangling link over .., absolute", |s, c| dangling(s, c, Site::Dev, "/nope/")),
        attack("T8", "a bind's destination is a dangling link over .., relative", |s, c| {
            dangling(s, c, Site::Bind, "nope/")
        }),
        attack("T8", "a bind's destination is a dangling link over .., absolute", |s, c| {
            dangling(s, c, Site::Bind, "/nope/")
        }),
        attack("T8", "a device's directory is a dangling link over .., relative", |s, c| {
            dangling(s, c, Site::Device, "./nope/")
        }),
        attack("T8", "a device's directory is a dangling link over .., absolute", |s, c| {
            dangling(s, c, Site::Device, "/nope/x/")
        }),
        attack("T8", "cwd is a dangling link over .., relative", |s, c| dangling(s, c, Site::Cwd, "nope/")),
        attack("T8", "cwd is a dangling link over .., absolute", |s, c| dangling(s, c, Site::Cwd, "/nope/")),
        attack("T8", "a masked path lies behind a dangling link over .., relative", |s, c| {
            dangling(s, c, Site::MaskedParent, "nope/")
        }),
        attack("T8", "a masked path lies behind a dangling link over .., absolute", |s, c| {
            dangling(s, c, Site::MaskedParent, "/nope/")
        }),
        super::attack("T8", "a remount leads to a filesystem of the host", remount, untouched, RUNC),
        t9("a directory of the volume is exchanged for a link", |s, c| race(s, c, exchange)),
        t9("a directory of the volume is removed and a link is made", |s, c| race(s, c, replace)),
    ]
}

/// Runs a container whose link leads over a missing directory and `..` to the canary tree.
fn dangling(sandbox: &Sandbox, canary: &Canary, site: Site, start: &str) -> Check<Outcome> {
    let tree = canary.path();
    let outside = format!("{start}{UP}{}", tree.strip_prefix("/")?.display());
    let source = sandbox.make_dir("source")?;
    let config = Config::new(REPORT).set("/root/readonly", false);
    let (link, target, config) = match site {
        Site::Dev => {
            let config = ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]
                .into_iter()
                .fold(config, Config::without_mount);
            ("dev", outside + "/new", config)
        }
        Site::Bind => ("data", outside + "/new", config.mount("bind", &source, "/data", &["bind"])),
        Site::Device => {
            let device = json!({
                "path": "/devices/new", "type": "c", "major": 1, "minor": 3, "uid": 1000,
            });
            ("devices", outside, config.push("/linux/devices", device))
        }
        Site::Cwd => (
            "work",
            outside + "/new",
            config.set("/process/cwd", "/work").set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
        ),
        Site::MaskedParent => ("masked", outside, config.push("/linux/maskedPaths", "/masked/secret")),
    };
    let bundle = sandbox.bundle(&config)?;
    let place = bundle.rootfs().join(link);
    // Only /dev is there already.
    let _ = fs::remove_dir(&place);
    symlink(target, place)?;
    Outcome::of(sandbox.runtime().run(bundle.path(), "victim")?)
}

/// A volume lands on a tmpfs of the container by a link of the image, and the remount of that tmpfs on the volume.
fn remount(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let host = sandbox.make_dir("host")?;
    sys::mount(Path::new("host"), &host, "tmpfs", 0)?;
    fs::create_dir(host.join("volume"))?;
    let tmpfs = Path::new("tmpfs");
    let config = Config::new(REPORT)
        .set("/root/readonly", false)
        .mount("tmpfs", tmpfs, "/scratch", &["size=1m"])
        .mount("bind", &host.join("volume"), "/volume", &["bind"])
        .mount("tmpfs", tmpfs, "/scratch", &["remount", "size=64k"]);
    let bundle = sandbox.bundle(&config)?;
    symlink("scratch", bundle.rootfs().join("volume"))?;
    let options = || -> Check<String> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let line = table.lines().find(|line| line.contains(&format!(" {} ", host.display())));
        Ok(line.ok_or("the filesystem is not mounted")?.to_owned())
    };
    let before = options()?;
    let result = sandbox.runtime().run(bundle.path(), "victim").and_then(Outcome::of);
    let after = options();
    sys::unmount(&host)?;
    let mut outcome = result?;
    let after = after?;
    if before != after {
        outcome.host.push(format!("{before} became {after}"));
    }
    Ok(outcome)
}

/// The volume of T9: `x` is a directory, `link` leads to the canary tree.
struct Volume {
    x: PathBuf,
    link: PathBuf,
    tree: PathBuf,
}

/// Swaps the two names, there and back. Now and then the directory is emptied, so that there is
/// something to be made again.
fn exchange(volume: &Volume, round: u32) {
    for _ in 0..2 {
        // The names are there: nobody else takes them away.
        let _ = sys::exchange(&volume.x, &volume.link);
    }
    if round.is_multiple_of(64) {
        let entries = fs::read_dir(&volume.x).into_iter().flatten().flatten();
        for entry in entries {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Takes the directory away for a link, and the link for a directory.
fn replace(volume: &Volume, _round: u32) {
    // Does not follow a link.
    let _ = fs::remove_dir_all(&volume.x);
    let _ = symlink(&volume.tree, &volume.x);
    let _ = fs::remove_file(&volume.x);
    let _ = fs::create_dir(&volume.x);
}

/// Makes containers with binds below `x` of a volume in which another thread swaps. The outcome is
/// the last container's, or the first that ended badly.
fn race(sandbox: &Sandbox, canary: &Canary, swap: fn(&Volume, u32)) -> Check<Outcome> {
    let directory = sandbox.make_dir("volume")?;
    let volume = Volume {
        x: sandbox.make_dir("volume/x")?,
        link: directory.join("link"),
        tree: canary.path().to_owned(),
    };
    symlink(&volume.tree, &volume.link)?;
    let source = sandbox.make_dir("source")?;
    let mut config = Config::new(REPORT).mount("bind", &directory, "/volume", &["rbind"]);
    for number in 0..12 {
        let target = format!("/volume/x/{number}/below");
        config = config.mount("bind", &source, &target, &["bind"]);
    }
    let bundle = sandbox.bundle(&config)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rounds = 0u32..;
            while let (false, Some(round)) = (over.load(Ordering::Relaxed), rounds.next()) {
                swap(&volume, round);
            }
        });
        let result = turns(sandbox, &bundle);
        over.store(true, Ordering::Relaxed);
        result
    })
}

fn turns(sandbox: &Sandbox, bundle: &Bundle) -> Check<Outcome> {
    let mut last = Outcome::default();
    for turn in 0..RUNS {
        last = Outcome::of(sandbox.runtime().run(bundle.path(), &format!("victim-{turn}"))?)?;
        if untouched(&last).is_err() {
            break;
        }
    }
    Ok(last)
}
