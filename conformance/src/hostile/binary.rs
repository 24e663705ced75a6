//! T5: what runs inside is never the runtime's own file (CVE-2019-5736). An image makes the runtime execute
//! itself inside, a container that can see it holds its `/proc/PID/exe`, and writes there when it has ended.

use super::canary::Canary;
use super::{Attack, Control, Judge, Outcome, Run, attack, ended};
use crate::harness::{Config, Sandbox};
use crate::{Check, check, sys};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

pub(super) fn attacks() -> Vec<Attack> {
    let t5 = |variant, run: Run, judge: Judge| attack("T5", variant, run, judge, Control::Bad("exe"));
    vec![
        t5("the first process is not the installed file", created, another_file),
        t5("the program is a script for /proc/self/exe", script, not_written),
        t5("exec of a link to /proc/self/exe", link, not_written),
    ]
}

/// The runtime's own files: what is called, and its copy that a bad one executes.
fn own_files(sandbox: &Sandbox) -> Vec<String> {
    let paths = [sandbox.runtime().program().to_owned(), sandbox.dir().join("copy")];
    let of = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some(format!("{}:{}", meta.dev(), meta.ino()))
    };
    paths.iter().filter_map(|path| of(path)).collect()
}

fn created(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let bundle = sandbox.bundle(&Config::new(&["/bin/probe", "report"]))?;
    let runtime = sandbox.runtime();
    runtime.create(bundle.path(), "victim")?.success()?;
    let path = format!("/proc/{}/exe", runtime.pid("victim")?);
    let (meta, name) = (fs::metadata(&path)?, fs::read_link(&path)?);
    let mut outcome = Outcome::default();
    if own_files(sandbox).contains(&format!("{}:{}", meta.dev(), meta.ino())) {
        outcome.host.push(format!("{} is what runs inside", name.display()));
    }
    Ok(outcome)
}

fn another_file(outcome: &Outcome) -> Result<(), String> {
    match outcome.host.first() {
        Some(what) => Err(what.clone()),
        None => Ok(()),
    }
}

/// Nothing of the runtime could be held, or it could not be written.
fn not_written(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    let seen = outcome.seen()?;
    match &seen["write"] {
        write if write == "ok" => Err(format!("{} was written to from inside", seen["path"])),
        _ => Ok(()),
    }
}

/// A container that waits for another process, with all that it takes to hold that one's executable.
fn watcher(sandbox: &Sandbox) -> Check<i32> {
    sandbox.make_dir("out")?;
    let config = Config::new(&["/bin/probe", "hold-exe", "/tmp/report.json"])
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"])
        .mount("bind", &sandbox.dir().join("out"), "/tmp", &["bind", "rw"]);
    let bundle = sandbox.bundle(&config)?;
    symlink("/proc/self/exe", bundle.rootfs().join("bin/sh"))?;
    sandbox.runtime().start_ready(bundle.path(), "watcher")
}

fn link(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let watcher = watcher(sandbox)?;
    let (child, stdin) = call(sandbox, &["exec", "watcher", "/bin/sh"])?;
    held(sandbox, watcher, child, stdin)
}

fn script(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let watcher = watcher(sandbox)?;
    let pids = format!("/proc/{watcher}/ns/pid");
    let config = Config::new(&["/bin/evil"]).namespace("pid", Some(&pids));
    let bundle = sandbox.bundle(&config)?;
    let evil = bundle.rootfs().join("bin/evil");
    fs::write(&evil, "#!/proc/self/exe\n")?;
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755))?;
    let path = bundle.path().to_string_lossy();
    let (child, stdin) = call(sandbox, &["run", "--bundle", path.as_ref(), "victim"])?;
    held(sandbox, watcher, child, stdin)
}

/// Calls the runtime with a stdin that says nothing and does not end: whoever reads there, stays.
fn call(sandbox: &Sandbox, words: &[&str]) -> Check<(Child, UnixStream)> {
    sandbox.executable(sandbox.runtime().program(), "copy")?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = sandbox.runtime().command();
    command.args(words).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((command.spawn()?, ours))
}

/// Waits until the watcher has held something, or there is nothing more to hold.
fn held(sandbox: &Sandbox, watcher: i32, mut child: Child, stdin: UnixStream) -> Check<Outcome> {
    let before = state_of(sandbox.runtime().program())?;
    if !ended(watcher)? {
        sys::kill(watcher, libc::SIGTERM)?;
        check!(ended(watcher)?, "the watcher does not end");
    }
    drop(stdin);
    // A victim that lives in the watcher's pid namespace has ended with it, and may have been reaped.
    let _ = child.wait();
    let report = serde_json::from_slice(&fs::read(sandbox.dir().join("out/report.json"))?)?;
    let mut outcome = Outcome { report: Some(report), ..Outcome::default() };
    if state_of(sandbox.runtime().program())? != before {
        outcome.host.push(format!("{} changed", sandbox.runtime().program().display()));
    }
    Ok(outcome)
}

fn state_of(path: &Path) -> Check<(u64, u64, i64, i64, Vec<u8>)> {
    let meta = fs::metadata(path)?;
    Ok((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), fs::read(path)?))
}
