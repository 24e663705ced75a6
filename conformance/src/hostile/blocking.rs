//! T17: who is to read, write, answer or end does not. The call comes back in time, says what it waited for, and nothing
//! of it is left.

use super::{Attack, Control, LIMIT, Outcome, Run, attack};
use crate::harness::{Bundle, Config, Sandbox};
use crate::{Check, check, sys};
use serde_json::json;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

const REPORT: &[&str] = &["/bin/probe", "report"];
/// How often somebody joins a container that stops newcomers.
const RUNS: usize = 3;

pub(super) fn attacks() -> Vec<Attack> {
    let t17 = |variant, run: Run, how| attack("T17", variant, run, prompt, Control::Bad(how));
    vec![
        t17("the agent of the filter is not there", |s, _| agent(s, false), "hang"),
        t17("the agent of the filter closes at once", |s, _| agent(s, true), "hang"),
        t17("nobody listens at the console's socket", |s, _| console(s, false), "hang"),
        t17("the console's receiver closes at once", |s, _| console(s, true), "hang"),
        t17("a hook does not read a state that fills every pipe", |s, _| hook(s, &["exit", "0"]), "litter"),
        t17("a hook outlives its time", |s, _| hook(s, &["sleep"]), "hang"),
        t17("the container stops whoever joins it", |s, _| stopped(s), "hang-exec"),
        t17("the source of a bind is a FIFO", |s, _| source(s), "litter"),
        t17("the program is a FIFO", |s, _| program(s, "/bin/fifo"), "hang"),
        t17("the program's interpreter is a FIFO", |s, _| program(s, "/bin/script"), "hang"),
    ]
}

/// In time, with nothing left, and in words if it was refused.
fn prompt(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    outcome.refused_cleanly().map(drop)
}

/// Compares what is on the host before and after a container of this id was made, or not, and deleted.
fn without_trace(s: &Sandbox, deed: impl FnOnce() -> Check<Outcome>) -> Check<Outcome> {
    let before = s.leaks()?;
    let mut outcome = Outcome::in_time(deed())?;
    if s.runtime().root().join("victim").exists() {
        s.runtime().call(&["delete", "--force", "victim"])?;
    }
    while let Ok(Some(_)) = sys::reap(-1) {}
    if let Err(left) = before.assert_same() {
        outcome.host.push(left.message().unwrap_or_default().to_owned());
    }
    Ok(outcome)
}

fn ended(code: i32, stderr: String) -> Outcome {
    match code {
        0 => Outcome::default(),
        code => Outcome::refused(code, stderr),
    }
}

fn run(s: &Sandbox, bundle: &Bundle) -> Check<Outcome> {
    without_trace(s, || {
        let output = s.runtime().run(bundle.path(), "victim")?;
        Ok(ended(output.code, output.stderr))
    })
}

/// Somebody who accepts one connection and goes.
fn receiver(listener: &UnixListener) {
    if sys::readable(listener.as_fd(), LIMIT).unwrap_or(false) {
        drop(listener.accept());
    }
}

fn agent(s: &Sandbox, there: bool) -> Check<Outcome> {
    let socket = s.dir().join("agent.sock");
    let listener = UnixListener::bind(&socket)?;
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let bundle = s.bundle(&Config::new(REPORT).set("/linux/seccomp", filter))?;
    std::thread::scope(|scope| {
        if there {
            scope.spawn(move || receiver(&listener));
        } else {
            drop(listener);
        }
        run(s, &bundle)
    })
}

fn console(s: &Sandbox, there: bool) -> Check<Outcome> {
    let socket = s.dir().join("console.sock");
    let listener = UnixListener::bind(&socket)?;
    let bundle = s.bundle(&Config::new(REPORT).set("/process/terminal", true))?;
    std::thread::scope(|scope| {
        if there {
            scope.spawn(move || receiver(&listener));
        } else {
            drop(listener);
        }
        let path = bundle.path().to_string_lossy();
        let socket_path = socket.to_string_lossy();
        let words = ["create", "--bundle", path.as_ref(), "--console-socket", socket_path.as_ref(), "victim"];
        without_trace(s, || {
            let output = s.runtime().call(&words)?;
            Ok(ended(output.code, output.stderr))
        })
    })
}

fn hook(s: &Sandbox, words: &[&str]) -> Check<Outcome> {
    let args: Vec<&str> = ["probe"].iter().chain(words).copied().collect();
    let hook = json!({ "path": s.probe(), "args": args, "timeout": 1 });
    let config = Config::new(REPORT)
        .set("/annotations", json!({ "org.example.long": "x".repeat(1 << 20) }))
        .push("/hooks/createRuntime", hook);
    run(s, &s.bundle(&config)?)
}

/// Root of the container may send signals to every process that enters its pid namespace.
fn stopped(s: &Sandbox) -> Check<Outcome> {
    let config = Config::new(&["/bin/probe", "stop-others"]).capabilities(&["CAP_KILL"]);
    s.runtime().start_ready(s.bundle(&config)?.path(), "stopper")?;
    let mut last = Outcome::default();
    for _ in 0..RUNS {
        last = without_trace(s, || {
            let output = s.runtime().call(&["exec", "--detach", "stopper", "/bin/probe", "exit", "0"])?;
            let outcome = ended(output.code, output.stderr);
            // One that got so far as to be its program is stopped now: that is the container's own affair.
            kill_stopped(s)?;
            Ok(outcome)
        })?;
        if prompt(&last).is_err() {
            break;
        }
    }
    Ok(last)
}

fn kill_stopped(s: &Sandbox) -> Check {
    let pid = s.runtime().pid("stopper")?;
    for other in crate::harness::Host::processes_in(s.cgroup_prefix())? {
        if other != pid {
            let gone = sys::pidfd(other);
            let _ = sys::kill(other, libc::SIGKILL);
            if let Ok(gone) = gone {
                check!(sys::readable(gone.as_fd(), LIMIT)?, "a killed process does not end");
            }
        }
    }
    Ok(())
}

fn fifo(path: &Path) -> Check {
    check!(Command::new("mkfifo").arg(path).status()?.success(), "mkfifo failed");
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn source(s: &Sandbox) -> Check<Outcome> {
    let source = s.dir().join("fifo");
    fifo(&source)?;
    run(s, &s.bundle(&Config::new(REPORT).mount("bind", &source, "/etc/fifo", &["bind"]))?)
}

fn program(s: &Sandbox, name: &str) -> Check<Outcome> {
    let bundle = s.bundle(&Config::new(&[name]))?;
    fifo(&bundle.rootfs().join("bin/fifo"))?;
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/bin/fifo\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    run(s, &bundle)
}
