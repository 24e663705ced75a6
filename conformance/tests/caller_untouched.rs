//! The library leaves the process that calls it as it was: every fact of it that a library could change is
//! compared before and after each operation, also one that fails, and the whole lifecycle with what it left.
//! The control changes each fact once and must be told.
//!
//! The test program is also the process that calls: with a first argument of its own it becomes one.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "caller_untouched/again.rs"]
mod again;
#[path = "caller_untouched/process.rs"]
mod process;
#[path = "caller_untouched/sys.rs"]
mod sys;

use again::again;
use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::{Bundle, CreateOptions, ExitStatus, Runtime, Stdio};
use process::{Facts, descriptors, differences, facts};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
/// How long a thread of the library that has done its work may take to be gone. There is no event for that:
/// who has waited for a thread may still see it in /proc.
const GONE: Duration = Duration::from_secs(20);

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A second thread, with a signal mask of its own, that waits until it is dropped.
struct Other(Option<Sender<()>>, Option<JoinHandle<()>>);

impl Other {
    fn begin() -> Check<Other> {
        let (end, wait): (Sender<()>, Receiver<()>) = channel();
        let (ready, begun) = channel();
        let thread = std::thread::spawn(move || {
            let _ = sys::block(libc::SIGUSR1);
            let _ = ready.send(());
            let _ = wait.recv();
        });
        begun.recv()?;
        Ok(Other(Some(end), Some(thread)))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.take());
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

/// What changed since `before`, once it has come to rest. Whatever `ignored` accepts may change.
fn changed(before: &Facts, ignored: impl Fn(&str) -> bool) -> Check<Vec<String>> {
    let end = Instant::now() + GONE;
    loop {
        let mut found = differences(before, &facts()?);
        found.retain(|line| !ignored(line));
        if found.is_empty() || Instant::now() > end {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Does something, and compares the process with what it was before.
fn step<T, E>(name: &str, what: impl FnOnce() -> Result<T, E>) -> Check<T>
where
    E: Into<Failed>,
{
    let (before, open) = (facts()?, descriptors()?);
    let done = what().map_err(Into::into)?;
    // Making and ending processes is what it is there for.
    let found = changed(&before, |line| line.starts_with("children"))?;
    check!(found.is_empty(), "{name} changed its caller: {}", found.join("; "));
    let after = descriptors()?;
    for (number, was) in &open {
        // What it made itself it may also close.
        let now = after.get(number).map_or("closed", String::as_str);
        check!(
            now == was || was.contains("oxrun") || was.contains("pidfd"),
            "{name}: {number}: {was} became {now}"
        );
    }
    Ok(done)
}

/// The whole lifecycle twice, and two containers that cannot be created. `dir` has the bundles.
fn lifecycle(dir: &Path, root: &Path) -> Check {
    let other = Other::begin()?;
    let mine = sys::ended_child()?;
    let kept = File::open("/proc/self/stat")?;
    let runtime = Runtime::new(root);
    let options = CreateOptions::default();
    let (first, mut open_then) = (facts()?, None);
    for round in 0..2 {
        for name in ["plain", "users"] {
            let bundle = step("opening a bundle", || Bundle::open(dir.join(name)))?;
            let plan = step("planning", || runtime.plan("c1", &bundle, &options))?;
            let container = step("create", || runtime.create(&plan, Stdio::null()))?;
            step("start", || container.start())?;
            let process =
                json!({ "args": ["/bin/probe", "exit", "4"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
            let process = Bundle::process_from_json(process.to_string().as_bytes())?;
            let status = step("exec", || -> Result<ExitStatus, oxrun_core::Error> {
                let plan = runtime.plan_exec(&container, &process, &options)?;
                let exec = container.exec(&plan, Stdio::null())?;
                exec.start()?;
                exec.wait()
            })?;
            check_eq!(status, ExitStatus::Exited(4));
            step("state", || container.status())?;
            step("events", || container.watch().map(drop))?;
            step("pause", || container.pause())?;
            step("resume", || container.resume())?;
            step("kill", || container.kill(libc::SIGKILL, false))?;
            step("wait", || container.wait())?;
            step("delete", || container.delete(false))?;
        }
        for name in ["program", "mount"] {
            let bundle = Bundle::open(dir.join(name))?;
            let plan = runtime.plan("c1", &bundle, &options)?;
            step("create that fails", || match runtime.create(&plan, Stdio::null()) {
                Ok(container) => Err(format!("{name}: {} was created", container.id())),
                Err(_) => Ok(()),
            })?;
        }
        let found = changed(&first, |_| false)?;
        check!(found.is_empty(), "the lifecycle changed its caller: {}", found.join("; "));
        // The first round leaves the library's copy of init, for all that follow.
        let open = descriptors()?;
        check_eq!(open, *open_then.get_or_insert_with(|| open.clone()), "descriptors after round {round}");
    }
    check_eq!(sys::wait(mine)?, 7 << 8, "the child that was the caller's own");
    drop((other, kept));
    Ok(())
}

/// A change of the calling process.
type Change = fn() -> std::io::Result<()>;

/// Each with the beginning of the fact that must be told.
const CHANGES: &[(&str, Change, &str)] = &[
    ("cwd", || std::env::set_current_dir("/proc"), "cwd"),
    ("umask", || sys::set_umask(0o70), "Umask of thread"),
    ("environment", sys::set_variable, "environment"),
    ("limit", sys::lower_limit, "limits"),
    ("disposition", || sys::ignore(libc::SIGUSR2), "disposition of signal 12"),
    ("mask", || sys::block(libc::SIGUSR2), "SigBlk of thread"),
    ("descriptor", || File::open("/proc/self/stat").map(std::mem::forget), "descriptor"),
    ("closed", || sys::close(0), "descriptor 0"),
    ("thread", || std::thread::Builder::new().spawn(std::thread::park).map(drop), "Threads of thread"),
    ("bounding", || sys::prctl(libc::PR_CAPBSET_DROP, 25), "CapBnd of thread"),
    ("no_new_privs", || sys::prctl_set(libc::PR_SET_NO_NEW_PRIVS), "NoNewPrivs of thread"),
    ("subreaper", || sys::prctl_set(libc::PR_SET_CHILD_SUBREAPER), "subreaper"),
    ("dumpable", || sys::prctl(libc::PR_SET_DUMPABLE, 0), "dumpable"),
    ("securebits", || sys::prctl(libc::PR_SET_SECUREBITS, 4), "securebits"),
    ("slack", || sys::prctl(libc::PR_SET_TIMERSLACK, 77), "timer slack"),
    ("death", || sys::prctl(libc::PR_SET_PDEATHSIG, 12), "parent death signal"),
    ("huge", || sys::prctl_set(libc::PR_SET_THP_DISABLE), "no huge pages"),
    ("uts", || sys::unshare(libc::CLONE_NEWUTS), "namespace uts of thread"),
    ("cgroup", || sys::unshare(libc::CLONE_NEWCGROUP), "namespace cgroup of thread"),
    ("personality", || sys::personality(0x004_0000), "personality"),
    ("nice", sys::nicer, "nice of thread"),
    ("keyring", sys::new_keyring, "session keyring"),
    ("oom", || fs::write("/proc/self/oom_score_adj", "500"), "oom_score_adj"),
    ("alarm", || sys::alarm(10_000), "alarm"),
    ("io", sys::idle_io, "I/O priority"),
    ("name", || fs::write("/proc/self/comm", "other"), "Name of thread"),
    ("child", || sys::ended_child().map(drop), "children of thread"),
];

/// Makes the change called `name`, or none, and says what is different.
fn change(name: &str) -> Check {
    let everything = || Ok::<_, Failed>(facts()?.into_iter().chain(descriptors()?).collect::<Facts>());
    let before = everything()?;
    if let Some((_, change, _)) = CHANGES.iter().find(|(known, ..)| *known == name) {
        change()?;
    }
    for line in differences(&before, &everything()?) {
        println!("{line}");
    }
    Ok(())
}

fn no_operation_changes_the_process_that_calls_it() -> Check {
    let s = sandbox()?;
    let hook = s.make_script("hook", "exit 0")?;
    let config = Config::new(SLEEP)
        .push("/hooks/createRuntime", json!({ "path": hook, "env": ["PATH=/usr/bin:/bin"] }))
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    let map = || json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let users = config
        .clone()
        .namespace("user", None)
        .set("/linux/uidMappings", map())
        .set("/linux/gidMappings", map());
    let program = config.clone().set("/process/args/0", "/bin/nothing");
    let mount =
        config.clone().push("/mounts", json!({ "destination": "/x", "type": "nothing", "source": "x" }));
    for (name, config) in [("plain", config), ("users", users), ("program", program), ("mount", mount)] {
        std::os::unix::fs::symlink(s.bundle(&config)?.path(), s.dir().join(name))?;
    }
    let root = s.runtime().root();
    again(&s, &["--lifecycle".as_ref(), s.dir().as_ref(), root.as_ref()]).map(drop)
}

fn a_change_of_anything_is_noticed() -> Check {
    let s = sandbox()?;
    let told = again(&s, &["--change".as_ref(), "nothing".as_ref()])?;
    check_eq!(told, "", "without a change");
    for (name, _, expected) in CHANGES {
        let told = again(&s, &["--change".as_ref(), name.as_ref()])?;
        check!(told.lines().any(|line| line.starts_with(expected)), "{name}: told is {told:?}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let words: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let done = match words.as_slice() {
        [_, first, dir, root] if *first == "--lifecycle" => lifecycle(dir.as_ref(), root.as_ref()),
        [_, first, name] if *first == "--change" => change(&name.to_string_lossy()),
        _ => {
            macro_rules! tests {
                ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), "the library is oxrun's", $name)),*] };
            }
            return run(tests![
                no_operation_changes_the_process_that_calls_it,
                a_change_of_anything_is_noticed,
            ]);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
