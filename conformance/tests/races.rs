//! Calls that meet: whatever the order, a container is there whole or gone whole, and no call waits
//! for another one without an end.
//!
//! What meets what, and where it is tried; `interleaved` gives all commands at random and looks for an order that explains
//! the answers:
//!
//! | what meets | shown by |
//! | --- | --- |
//! | a program of a millisecond and its exit, at exec | `exec_storm`, `soak::further_processes_add_nothing_up` |
//! | the same at start | `interleaved` (every fifth container), `soak::containers_add_nothing_up` |
//! | exec and the exit of the first process | `overtaken::a_further_process_of_a_container_that_ends_...`, `interleaved` |
//! | 32 times 1,000 execs in one container | `exec_storm` with `OXRUN_STORM=1000` |
//! | kill, start, delete, also of a created one | `interleaved`, `overtaken::a_created_container_that_ends_...`, here |
//! | delete and processes that multiply | `ending::delete_ends_a_fork_bomb`, `ending::kill_all_ends_a_fork_bomb_at_once` |
//! | delete and what is frozen, also below | `pause::delete_force_removes_a_paused_container_...`, `ending` |
//! | two creations of one id | `overtaken::a_creation_that_was_taken_away_...`, `interleaved` |
//! | delete and list, two deletions | `interleaved`, `overtaken::of_two_deletions_by_force_both_succeed` |
//! | pause and exec, update while paused | `interleaved`, `update::created_and_paused_containers_are_updated_...` |
//! | output and the set-up of its terminal | `terminal::a_foreground_run_clears_onlcr_before_the_program_starts` |
//! | a caller with busy threads | `embedding::a_busy_daemon_makes_containers_without_a_hang_and_stays_as_it_was` |
//! | rmdir of a cgroup and the exit of who is in it | `ending`, `soak` |
//! | the end of memory next door | `oom_next_door` |
//! | a creator that is killed | here, and at every call and step `oxrun-conformance faults` |
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "races/call.rs"]
mod call;

use call::{Call, LIMIT};
use oxrun_conformance::harness::{Bundle, Config, Host, Leaks, Sandbox, conditional, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A hook that says that it runs and goes on only when it is told.
struct Gate {
    reached: File,
    path: PathBuf,
    entry: Value,
}

impl Gate {
    fn new(s: &Sandbox) -> Check<Self> {
        let (reached, path) = (s.dir().join("reached"), s.dir().join("go"));
        let made = Command::new("mkfifo").args([&reached, &path]).status()?;
        check!(made.success(), "mkfifo failed");
        let body = format!("cat >/dev/null; echo x >{}; read x <{}", reached.display(), path.display());
        let script = s.make_script("gate", &body)?;
        // Both ends, so that neither open waits.
        let reached = File::options().read(true).write(true).open(reached)?;
        let entry = json!({ "path": script.to_string_lossy() });
        Ok(Self { reached, path, entry })
    }

    fn wait(&mut self) -> Check {
        check!(sys::readable(self.reached.as_fd(), LIMIT)?, "the hook did not run");
        self.reached.read_exact(&mut [0; 2])?;
        Ok(())
    }

    /// Lets the hook go on; what is written stays until it reads.
    fn open(&self) -> Check<File> {
        let mut end = File::options().read(true).write(true).open(&self.path)?;
        end.write_all(b"x\n")?;
        Ok(end)
    }
}

/// Waits for the end of every process that was not there before, and reaps what is a child.
fn settle(s: &Sandbox, before: &BTreeSet<i32>) -> Check {
    for pid in Host::children()?.difference(before) {
        s.runtime().wait_for(*pid)?;
    }
    Ok(())
}

/// `delete --force` succeeds, and then there is nothing any more.
fn gone_after_delete(s: &Sandbox, children: &BTreeSet<i32>, before: &Leaks) -> Check {
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    settle(s, children)?;
    before.assert_same()
}

/// The container is there, created, and can be started and deleted.
fn is_whole(s: &Sandbox) -> Check {
    let rt = s.runtime();
    rt.has_status("c1", "created")?;
    let pid = rt.pid("c1")?;
    check!(Host::processes_in(s.cgroup_prefix())?.contains(&pid), "init is not in the container's cgroup");
    rt.start("c1")?.success()?;
    rt.has_status("c1", "running")
}

fn delete_while_a_hook_of_create_runs(kind: &str) -> Check {
    let s = sandbox()?;
    let mut gate = Gate::new(&s)?;
    let config = Config::new(SLEEP).push(&format!("/hooks/{kind}"), gate.entry.clone());
    let bundle = s.bundle(&config)?;
    let (before, children) = (s.leaks()?, Host::children()?);
    let create = Call::create(&s, &bundle)?;
    gate.wait()?;
    let mut delete = Call::delete(&s, "delete")?;
    // Either it waits for the creator, or it has ended the creation already.
    let _ = delete.until_locked_out();
    let end = gate.open()?;
    let created = create.finish()? == 0;
    check_eq!(delete.finish()?, 0, "exit code of delete");
    drop(end);
    let there = s.runtime().call(&["state", "c1"])?.code == 0;
    check!(created || !there, "there is a container that create did not report");
    if there {
        is_whole(&s)?;
    }
    gone_after_delete(&s, &children, &before)
}

fn a_delete_during_a_prestart_hook_leaves_all_or_nothing() -> Check {
    delete_while_a_hook_of_create_runs("prestart")
}

fn a_delete_during_a_create_runtime_hook_leaves_all_or_nothing() -> Check {
    delete_while_a_hook_of_create_runs("createRuntime")
}

fn a_delete_that_comes_late_spares_the_next_container_of_the_id() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let (before, children) = (s.leaks()?, Host::children()?);
    s.runtime().create(bundle.path(), "c1")?.success()?;
    // The test holds the lock until both deletions wait for it.
    let lock = File::open(s.runtime().root().join("c1"))?;
    lock.lock()?;
    let mut first = Call::delete(&s, "first")?;
    first.until_locked_out()?;
    let mut late = Call::delete(&s, "late")?;
    late.until_locked_out()?;
    sys::kill(late.pid(), libc::SIGSTOP)?;
    late.until("it is stopped", |pid| Host::process_state(pid) == Some('T'))?;
    lock.unlock()?;
    drop(lock);
    check_eq!(first.finish()?, 0, "exit code of the first delete");
    // In a cgroup of its own: the late one must not even get so far as to find the old one gone.
    let next = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(next.path(), "c1")?.success()?;
    sys::kill(late.pid(), libc::SIGCONT)?;
    late.finish()?;
    is_whole(&s)?;
    gone_after_delete(&s, &children, &before)
}

fn a_poststart_hook_may_delete_the_container() -> Check {
    let s = sandbox()?;
    let body = format!(
        "cat >/dev/null; exec {} --root {} delete --force c1",
        s.runtime().program().display(),
        s.runtime().root().display()
    );
    let hook = s.make_script("hook", &body)?;
    let config = Config::new(SLEEP).push("/hooks/poststart", json!({ "path": hook.to_string_lossy() }));
    let bundle = s.bundle(&config)?;
    let (before, children) = (s.leaks()?, Host::children()?);
    s.runtime().create(bundle.path(), "c1")?.success()?;
    Call::new(&s, "start", &["start", "c1"])?.finish()?;
    s.runtime().call(&["state", "c1"])?.refused("container does not exist")?;
    settle(&s, &children)?;
    before.assert_same()
}

fn delete_force_does_not_wait_for_a_start_whose_init_is_stopped() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let (before, children) = (s.leaks()?, Host::children()?);
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let pid = s.runtime().pid("c1")?;
    sys::kill(pid, libc::SIGSTOP)?;
    let mut start = Call::new(&s, "start", &["start", "c1"])?;
    start.until("start waits for init", |pid| {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let number = call.split(' ').next().and_then(|word| word.parse().ok());
        number.is_some_and(|n: i64| [POLL, libc::SYS_ppoll].contains(&n))
    })?;
    check_eq!(Call::delete(&s, "delete")?.finish()?, 0, "exit code of delete");
    start.finish()?;
    settle(&s, &children)?;
    before.assert_same()
}

#[cfg(target_arch = "x86_64")]
const POLL: i64 = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
const POLL: i64 = libc::SYS_ppoll;

fn what_a_creator_killed_during_a_hook_made_is_removed() -> Check {
    for kind in ["prestart", "createRuntime"] {
        let s = sandbox()?;
        let mut gate = Gate::new(&s)?;
        let config = Config::new(SLEEP).push(&format!("/hooks/{kind}"), gate.entry.clone());
        let bundle = s.bundle(&config)?;
        let (before, children) = (s.leaks()?, Host::children()?);
        let create = Call::create(&s, &bundle)?;
        gate.wait()?;
        check!(!Host::cgroups(s.cgroup_prefix())?.is_empty(), "there is no cgroup yet");
        create.kill()?;
        // The hook itself is the host's.
        let end = gate.open()?;
        gone_after_delete(&s, &children, &before)?;
        drop(end);
    }
    Ok(())
}

/// The calls into the kernel by which something appears, is written down, or is waited for.
const CALLS: [&str; 9] = [
    "?mkdir,?mkdirat",
    "?openat",
    "?write",
    "?clone,?clone3",
    "?mknod,?mknodat",
    "?rename,?renameat,?renameat2",
    "?sendmsg,?recvmsg",
    "?poll,?ppoll",
    "?flock",
];

/// Calls `create` again and again; each time the creator is killed one such call later. `after` is
/// called each time, with the moment for messages.
fn killed_at_every_call(s: &mut Sandbox, bundle: &Bundle, after: impl Fn(&Sandbox, &str) -> Check) -> Check {
    let mut killed = 0;
    for calls in CALLS {
        for number in 1.. {
            let trace = format!("trace={calls}");
            let inject = format!("inject={calls}:signal=SIGKILL:when={number}");
            let words = ["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            s.runtime_mut().wrap(&words);
            let code = s.runtime().create(bundle.path(), "c1").map(|output| output.code);
            s.runtime_mut().wrap(&[]);
            let code = code?;
            after(s, &format!("creator killed at {calls} number {number}"))?;
            if code != 128 + libc::SIGKILL {
                break;
            }
            killed += 1;
        }
    }
    // Sixteen where there is one hierarchy of cgroups.
    check!(killed >= 12, "only {killed} creators could be killed");
    Ok(())
}

fn what_a_creator_killed_at_any_moment_made_is_removed() -> Check {
    let mut s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let (before, children) = (s.leaks()?, Host::children()?);
    killed_at_every_call(&mut s, &bundle, |s, moment| {
        gone_after_delete(s, &children, &before).map_err(|failed| {
            let text = failed.message().unwrap_or_default();
            format!("{moment}: {text}").into()
        })
    })
}

/// A process of the host in a cgroup that a container asks for.
struct Tenant {
    child: Child,
    cgroup: PathBuf,
}

impl Tenant {
    fn new(s: &Sandbox, root: &Path, name: &str) -> Check<Self> {
        let cgroup = root.join(name);
        fs::create_dir(&cgroup)?;
        let mut command = Command::new(s.probe());
        command.arg("sleep").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).spawn()?;
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string())?;
        Ok(Self { child, cgroup })
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir(&self.cgroup);
    }
}

fn what_a_killed_creator_found_is_spared() -> Check {
    let mut s = sandbox()?;
    let root = Host::cgroup_roots()?.pop_last().ok_or("there is no cgroup")?;
    let name = format!("{}tenant", s.cgroup_prefix());
    let tenant = Tenant::new(&s, &root, &name)?;
    let config = Config::new(SLEEP).set("/linux/cgroupsPath", format!("/{name}"));
    let bundle = s.bundle(&config)?;
    killed_at_every_call(&mut s, &bundle, |s, moment| {
        s.runtime().call(&["delete", "--force", "c1"])?;
        check!(
            Host::process_state(tenant.pid()).is_some_and(|state| state != 'Z'),
            "{moment}: delete killed a process that was in the cgroup before"
        );
        check!(tenant.cgroup.is_dir(), "{moment}: its cgroup is gone");
        Ok(())
    })
}

fn a_directory_that_is_no_containers_is_not_deleted() -> Check {
    let s = sandbox()?;
    let foreign = s.runtime().root().join("foreign");
    fs::create_dir_all(foreign.join("below"))?;
    for name in ["file", "below/file"] {
        fs::write(foreign.join(name), "mine\n")?;
    }
    s.runtime().call(&["delete", "--force", "foreign"])?;
    s.runtime().call(&["delete", "foreign"])?;
    for name in ["file", "below/file"] {
        let text = fs::read_to_string(foreign.join(name));
        check!(text.as_deref().is_ok_and(|text| text == "mine\n"), "{name} is {text:?}");
    }
    Ok(fs::remove_dir_all(foreign)?)
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        a_delete_during_a_prestart_hook_leaves_all_or_nothing,
        a_delete_during_a_create_runtime_hook_leaves_all_or_nothing,
        a_delete_that_comes_late_spares_the_next_container_of_the_id,
        a_poststart_hook_may_delete_the_container,
        delete_force_does_not_wait_for_a_start_whose_init_is_stopped,
        what_a_creator_killed_during_a_hook_made_is_removed,
        a_directory_that_is_no_containers_is_not_deleted,
    ];
    /// The program by which a creator is killed at a given call.
    fn needs_strace() -> Option<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|directory| directory.join("strace").exists());
        (!found).then(|| "strace is not installed".to_owned())
    }
    tests.extend([
        conditional(
            "what_a_creator_killed_at_any_moment_made_is_removed",
            needs_strace,
            what_a_creator_killed_at_any_moment_made_is_removed,
        ),
        conditional(
            "what_a_killed_creator_found_is_spared",
            needs_strace,
            what_a_killed_creator_found_is_spared,
        ),
    ]);
    run(tests)
}
