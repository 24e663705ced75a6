//! Calls that are overtaken: by a deletion while they create, by the end of the container that they look at or enter.
//! What must hold: nobody takes away what another one made, and each call says what it met.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "races/call.rs"]
#[allow(dead_code, reason = "other programs use the rest")]
mod call;

use call::Call;
use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::json;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A creation that strace stops when one of its calls has been made.
struct Stopped {
    call: Call,
    pid: i32,
}

impl Stopped {
    /// `calls` are those that count, and the `number`-th of them is the one.
    fn at(s: &mut Sandbox, bundle: &Bundle, calls: &str, number: usize) -> Check<Self> {
        let (trace, log) = (format!("trace={calls}"), s.dir().join("strace.log"));
        let _ = fs::remove_file(&log);
        let inject = format!("inject={calls}:signal=SIGSTOP:when={number}");
        let out = log.to_string_lossy().into_owned();
        s.runtime_mut().wrap(&["strace", "-qq", "-o", &out, "-e", &trace, "-e", &inject]);
        let command = s.runtime().command();
        s.runtime_mut().wrap(&[]);
        let path = bundle.path().to_string_lossy();
        let mut call = Call::begin(s, "stopped", command, &["create", "--bundle", &path, "c1"])?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        call.until("it is stopped", |_| said().contains("--- stopped by SIGSTOP ---"))?;
        let tracer = call.pid();
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"))?;
        let pid = children.split_whitespace().next().ok_or("it is gone")?.parse()?;
        Ok(Self { call, pid })
    }

    /// Lets it go on; its exit code and what it said.
    fn go_on(self) -> Check<(i32, String)> {
        sys::kill(self.pid, libc::SIGCONT)?;
        self.call.end()
    }
}

/// The container is there, created, and can be started.
fn is_whole(s: &Sandbox) -> Check {
    s.runtime().has_status("c1", "created")?;
    s.runtime().start("c1")?.success()?;
    s.runtime().has_status("c1", "running")
}

/// Deletes it, waits for its process and looks whether anything is left.
fn delete(s: &Sandbox) -> Check {
    let pid = s.runtime().pid("c1")?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    s.runtime().wait_for(pid)?;
    Ok(())
}

fn needs_strace() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join("strace").exists());
    (!found).then(|| "strace is not installed".to_owned())
}

/// The first directory that create makes is the container's, as the state root is there; it is not locked yet.
fn begun(s: &mut Sandbox, bundle: &Bundle) -> Check<Stopped> {
    fs::create_dir_all(s.runtime().root())?;
    let stopped = Stopped::at(s, bundle, "?mkdir,?mkdirat", 1)?;
    let made = s.runtime().root().join("c1");
    let there = fs::read_dir(&made).is_ok_and(|entries| entries.count() == 0);
    check!(there, "{} is not there, or not empty", made.display());
    Ok(stopped)
}

fn a_creation_whose_directory_was_taken_away_begins_again() -> Check {
    let mut s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    let first = begun(&mut s, &bundle)?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    let (code, said) = first.go_on()?;
    check_eq!(code, 0, "{said}");
    is_whole(&s)?;
    delete(&s)?;
    before.assert_same()
}

fn a_creation_that_was_taken_away_spares_the_next_container_of_the_id() -> Check {
    let mut s = sandbox()?;
    let (bundle, next) = (s.bundle(&Config::new(SLEEP))?, s.bundle(&Config::new(SLEEP))?);
    let before = s.leaks()?;
    let first = begun(&mut s, &bundle)?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    s.runtime().create(next.path(), "c1")?.success()?;
    let (code, said) = first.go_on()?;
    check!(code == 1 && said.contains("already exists"), "exit code {code}: {said}");
    is_whole(&s)?;
    delete(&s)?;
    before.assert_same()
}

/// It removes its directory, and nothing that bears the name afterwards.
fn a_creation_that_fails_spares_the_next_container_of_the_id() -> Check {
    let mut s = sandbox()?;
    let hook = s.make_script("hook", "cat >/dev/null; exit 3")?;
    let fails = Config::new(SLEEP).push("/hooks/createRuntime", json!({ "path": hook.to_string_lossy() }));
    let (bundle, next) = (s.bundle(&fails)?, s.bundle(&Config::new(SLEEP))?);
    let before = s.leaks()?;
    // Those of the cgroups come first, and how many they are is the host's.
    let cgroups = Host::cgroup_roots()?.len();
    let gone = s.runtime().root().join("c1");
    let mut stopped = None;
    // Where there is no unlink(2), files are removed by the same call, those of the directory before it.
    for number in cgroups..=2 * cgroups + 16 {
        let first = Stopped::at(&mut s, &bundle, "?rmdir,?unlinkat", number)?;
        if !gone.exists() {
            stopped = Some(first);
            break;
        }
        check_eq!(first.go_on()?.0, 1);
    }
    let first = stopped.ok_or("its directory did not go")?;
    s.runtime().create(next.path(), "c1")?.success()?;
    let (code, said) = first.go_on()?;
    check!(code == 1 && said.contains("hook"), "exit code {code}: {said}");
    is_whole(&s)?;
    delete(&s)?;
    before.assert_same()
}

fn of_two_deletions_by_force_both_succeed() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let pid = s.runtime().pid("c1")?;
    let lock = File::open(s.runtime().root().join("c1"))?;
    lock.lock()?;
    let mut both = [Call::delete(&s, "first")?, Call::delete(&s, "second")?];
    for call in &mut both {
        call.until_locked_out()?;
    }
    lock.unlock()?;
    drop(lock);
    for call in both {
        let (code, said) = call.end()?;
        check_eq!(code, 0, "{said}");
    }
    s.runtime().wait_for(pid)?;
    Ok(())
}

/// A container whose first process ends and cannot be gone yet: it has closed everything, and waits for a further process
/// that has ended and that nobody has reaped.
struct Ending {
    s: Sandbox,
    init: i32,
    further: i32,
}

impl Ending {
    fn new(started: bool) -> Check<Self> {
        let s = sandbox()?;
        let bundle = s.bundle(&Config::new(SLEEP))?;
        let rt = s.runtime();
        rt.create(bundle.path(), "c1")?.success()?;
        if started {
            rt.start("c1")?.success()?;
        }
        let init = rt.pid("c1")?;
        let file: PathBuf = s.dir().join("further");
        let name = file.to_string_lossy().into_owned();
        rt.call(&["exec", "--detach", "--pid-file", &name, "c1", "/bin/probe", "sleep"])?.success()?;
        let further = fs::read_to_string(&file)?.trim().parse()?;
        rt.kill("c1", "KILL")?.success()?;
        rt.wait_for_end(further)?;
        let ending = Self { s, init, further };
        let process = sys::pidfd(init)?;
        check!(!sys::readable(process.as_fd(), std::time::Duration::ZERO)?, "it is gone already");
        // It dies before those that it waits for; that it has closed its files is before that.
        let open = fs::read_dir(format!("/proc/{init}/fd"))?.count();
        check_eq!(open, 0, "open descriptors of an ending process");
        Ok(ending)
    }

    /// Lets it be gone, and removes it.
    fn finish(self) -> Check {
        sys::reap(self.further)?;
        self.s.runtime().wait_for(self.init)?;
        self.s.runtime().has_status("c1", "stopped")?;
        self.s.runtime().delete("c1")?.success()?;
        Ok(())
    }
}

fn a_created_container_that_ends_is_stopped_and_never_ran() -> Check {
    let ending = Ending::new(false)?;
    let rt = ending.s.runtime();
    rt.has_status("c1", "stopped")?;
    rt.start("c1")?.refused("cannot start a container that has stopped")?;
    ending.finish()
}

/// What `list` says that it is doing.
fn listed(s: &Sandbox) -> Check<String> {
    let list = s.runtime().call(&["list", "--format", "json"])?.success()?.json()?;
    Ok(list[0]["status"].as_str().unwrap_or_default().to_owned())
}

/// `start` takes the fifo away after it has written to it: in between a program may have come to its end.
fn a_program_that_ends_while_start_goes_on_runs_until_it_is_gone() -> Check {
    let ending = Ending::new(true)?;
    let rt = ending.s.runtime();
    check!(Command::new("mkfifo").arg(rt.root().join("c1/start")).status()?.success(), "mkfifo");
    rt.has_status("c1", "running")?;
    check_eq!(listed(&ending.s)?, "running");
    ending.finish()?;
    let ending = Ending::new(false)?;
    check_eq!(listed(&ending.s)?, "stopped", "what was never started");
    ending.finish()
}

fn a_further_process_of_a_container_that_ends_is_refused_as_of_a_stopped_one() -> Check {
    let ending = Ending::new(true)?;
    let rt = ending.s.runtime();
    let refused = rt.exec("c1", &["/bin/probe", "echo", "here"])?.exits(255)?;
    check!(refused.says("exec failed: cannot exec in a stopped container"), "{refused}");
    check!(refused.says("it stopped meanwhile: "), "{refused}");
    ending.finish()
}

fn main() -> ExitCode {
    let ours = |name, body| oxrun_only(name, "others answer otherwise", body);
    let traced = |name, body: fn() -> Check| conditional(name, needs_strace, body);
    run(vec![
        traced(
            "a_creation_whose_directory_was_taken_away_begins_again",
            a_creation_whose_directory_was_taken_away_begins_again,
        ),
        traced(
            "a_creation_that_was_taken_away_spares_the_next_container_of_the_id",
            a_creation_that_was_taken_away_spares_the_next_container_of_the_id,
        ),
        traced(
            "a_creation_that_fails_spares_the_next_container_of_the_id",
            a_creation_that_fails_spares_the_next_container_of_the_id,
        ),
        ours("of_two_deletions_by_force_both_succeed", of_two_deletions_by_force_both_succeed),
        ours(
            "a_created_container_that_ends_is_stopped_and_never_ran",
            a_created_container_that_ends_is_stopped_and_never_ran,
        ),
        ours(
            "a_program_that_ends_while_start_goes_on_runs_until_it_is_gone",
            a_program_that_ends_while_start_goes_on_runs_until_it_is_gone,
        ),
        ours(
            "a_further_process_of_a_container_that_ends_is_refused_as_of_a_stopped_one",
            a_further_process_of_a_container_that_ends_is_refused_as_of_a_stopped_one,
        ),
    ])
}
