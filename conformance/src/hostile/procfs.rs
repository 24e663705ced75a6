//! T2: `/proc` or `/sys` of the image is not an ordinary directory. What is mounted through a link is not where the
//! runtime looks for it: labels and sysctls then go to files of the image (CVE-2019-19921, CVE-2023-27561).

use super::canary::Canary;
use super::{Attack, Control, Outcome, Run, attack};
use crate::harness::{Bundle, Config, Sandbox};
use crate::{Check, sys};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const REPORT: &[&str] = &["/bin/probe", "report"];
const WORDS: &str = "must be mounted on ordinary directory";
const MASKED: &str = "/proc/timer_list";
const READONLY: &str = "/proc/sys";
/// Containers that are made while something swaps.
const RUNS: usize = 40;
/// As many more as it takes until one was not refused.
const MOST: usize = 300;

pub(super) fn attacks() -> Vec<Attack> {
    let t2 = |variant, run: Run| attack("T2", variant, run, refused, Control::Bad("ordinary"));
    vec![
        t2("/proc is an absolute symlink to the host", |s, c| planted(s, "proc", c.path())),
        t2("/proc is a relative symlink to the host", |s, _| planted(s, "proc", Path::new("../../canary"))),
        t2("/proc is a symlink into the image", |s, _| planted(s, "proc", Path::new("etc"))),
        t2("/proc is a symlink to nothing", |s, _| planted(s, "proc", Path::new("nothing"))),
        t2("/sys is an absolute symlink to the host", |s, c| planted(s, "sys", c.path())),
        t2("/sys is a symlink into the image", |s, _| planted(s, "sys", Path::new("etc"))),
        t2("/proc is a file", |s, _| planted(s, "proc", Path::new(""))),
        t2("/proc is a symlink, its options are long", |s, _| {
            // More than fsconfig(2) takes: it goes another way.
            let long = format!("gid={}", "0".repeat(300));
            planted_with(
                s,
                &Config::new(REPORT).set("/mounts/0/options", vec![long]),
                "proc",
                Path::new("etc"),
            )
        }),
        attack(
            "T2",
            "/proc is exchanged for a symlink",
            |s, _| race(s, &race_config(s)?),
            in_place,
            Control::Bad("unmask"),
        ),
        attack(
            "T2",
            "/proc is a bind and exchanged for a symlink",
            bound,
            in_place_or_away,
            Control::Bad("unmask"),
        ),
    ]
}

/// Refused in the words that engines know, and the host as it was.
fn refused(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if !outcome.refused_cleanly()? {
        return Err("the container was run".to_owned());
    }
    match &outcome.refusal {
        Some(refusal) if refusal.stderr.contains(WORDS) => Ok(()),
        refusal => Err(format!("refused in other words: {refusal:?}")),
    }
}

/// Refused, or what the payload has at `/proc` is a procfs, whose files are masked and read-only as they were to be.
fn in_place(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let report = outcome.seen()?;
    let mounts = report["mounts"].as_array().ok_or("the payload has no /proc")?;
    let places: Vec<_> =
        mounts.iter().filter(|m| m["type"] == "proc" && m["root"] == "/").map(|m| &m["target"]).collect();
    if places != ["/proc"] {
        return Err(format!("procfs is mounted on {places:?}"));
    }
    for (path, good) in [(MASKED, "char"), (READONLY, "dir")] {
        let stat = &report["stat"][path];
        if stat["type"] != good || (path == READONLY && stat["readonly"] != true) {
            return Err(format!("{path} is open: {stat}"));
        }
    }
    Ok(())
}

/// The same of a bind, which goes where a link of the image leads: what lies at `/proc` then is the image's.
fn in_place_or_away(outcome: &Outcome) -> Result<(), String> {
    match &outcome.report {
        Some(report) if report["mounts"].is_null() => outcome.spared(),
        _ => in_place(outcome),
    }
}

/// Puts a link, or with no target a file, in the place of a directory of the image.
fn planted(sandbox: &Sandbox, name: &str, target: &Path) -> Check<Outcome> {
    planted_with(sandbox, &Config::new(REPORT), name, target)
}

fn planted_with(sandbox: &Sandbox, config: &Config, name: &str, target: &Path) -> Check<Outcome> {
    let bundle = sandbox.bundle(config)?;
    let place = bundle.rootfs().join(name);
    fs::remove_dir(&place)?;
    match target.as_os_str().is_empty() {
        true => fs::write(&place, "")?,
        false => symlink(target, &place)?,
    }
    Outcome::of(sandbox.runtime().run(bundle.path(), "victim")?)
}

fn race_config(sandbox: &Sandbox) -> Check<Config> {
    let out = sandbox.make_dir("out")?;
    let words = ["/bin/probe", "report", "--out", "/tmp/report.json", "--stat", MASKED, "--stat", READONLY];
    Ok(Config::new(&words).mount("bind", &out, "/tmp", &["bind", "rw"]))
}

/// As engines without rights mount it for a container with the host's pids.
fn bound(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let proc = json!({ "type": "bind", "source": "/proc", "destination": "/proc", "options": ["bind"] });
    race(sandbox, &race_config(sandbox)?.without_namespace("pid").set("/mounts/0", proc))
}

/// Another container of the same image exchanges `/proc` and a link while a container is created. When it is
/// started everything is in its place again.
fn race(sandbox: &Sandbox, config: &Config) -> Check<Outcome> {
    let bundle = sandbox.bundle(config)?;
    let mut last = Outcome::default();
    let mut ran = false;
    for turn in 0..MOST {
        // What is refused shows nothing of masks: some have to run.
        if turn >= RUNS && ran {
            break;
        }
        last = exchanged(sandbox, &bundle, &format!("victim-{turn}"))?;
        ran |= last.report.is_some();
        if in_place(&last).is_err() {
            break;
        }
    }
    Ok(last)
}

fn spin(turns: u32) {
    (0..turns).for_each(|_| std::hint::spin_loop());
}

fn exchanged(sandbox: &Sandbox, bundle: &Bundle, id: &str) -> Check<Outcome> {
    let (proc, link) = (bundle.rootfs().join("proc"), bundle.rootfs().join("link"));
    let _ = fs::remove_file(&link);
    symlink("etc", &link)?;
    let over = AtomicBool::new(false);
    let created = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Away for a moment, in place for a longer one: where it is nearly never in place everything is
            // refused. No two moments are of one length.
            for round in 0u32.. {
                let _ = sys::exchange(&proc, &link);
                spin(round % 64 * 16);
                let _ = sys::exchange(&proc, &link);
                spin(round.wrapping_mul(7919) % 4096);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let created = sandbox.runtime().create(bundle.path(), id);
        over.store(true, Ordering::Relaxed);
        created
    })?;
    if proc.is_symlink() {
        sys::exchange(&proc, &link)?;
    }
    if created.code != 0 {
        return Ok(Outcome::refused(created.code, created.stderr));
    }
    // A bad runtime may leave a container that is dead already.
    let Ok(pid) = sandbox.runtime().pid(id) else {
        return Ok(Outcome::refused(created.code, created.stderr));
    };
    sandbox.runtime().start(id)?.success()?;
    sandbox.runtime().wait_for(pid)?;
    match fs::read_to_string(sandbox.dir().join("out/report.json")) {
        Ok(text) => Ok(Outcome { report: Some(serde_json::from_str(&text)?), ..Outcome::default() }),
        // One whose root a bad runtime has spoiled.
        Err(e) if e.kind() == ErrorKind::NotFound && !sandbox.runtime().is_oxrun() => {
            Ok(Outcome::refused(created.code, created.stderr))
        }
        Err(e) => Err(e.into()),
    }
}
