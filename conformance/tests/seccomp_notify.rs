//! SCMP_ACT_NOTIFY: who gets the listener, with what, and what happens when nobody answers.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "seccomp_notify/sys.rs"]
mod agent_sys;

use agent_sys::Asked;
use oxrun_conformance::harness::{
    Config, Granted, Runtime, Sandbox, User, conditional, oxrun_only, run, test,
};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::{Value, json};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// What an agent does with a call.
#[derive(Clone, Copy)]
enum Answer {
    /// The kernel carries it out.
    Continue,
    /// It fails.
    Errno(i32),
    /// None ever comes.
    Silence,
    /// The kernel carries it out, and the agent goes away.
    Leave,
}

/// What came over one connection.
struct Told {
    state: Value,
    fds: usize,
    /// The calls that were asked about.
    asked: Vec<Asked>,
}

/// An agent in a thread of this process.
struct Agent {
    path: PathBuf,
    thread: JoinHandle<Result<Vec<Told>, String>>,
    /// Each call as it is asked about.
    asked: Receiver<Asked>,
}

impl Agent {
    /// Listens in the sandbox for `connections`, one after the other, and answers.
    fn new(s: &Sandbox, connections: usize, answer: fn(i64) -> Answer) -> Check<Agent> {
        let path = s.dir().join("agent.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let (sender, asked) = channel();
        let thread = std::thread::spawn(move || {
            let serve = |told: &mut Vec<Told>| -> Result<(), String> {
                let (told_now, fd) = receive(&listener)?;
                told.push(told_now);
                let asked = &mut told.last_mut().unwrap().asked;
                attend(&fd, answer, |call| {
                    asked.push(call);
                    let _ = sender.send(call);
                })
                .map_err(|e| format!("the agent: {e}"))
            };
            let mut told = Vec::new();
            for _ in 0..connections {
                serve(&mut told)?;
            }
            Ok(told)
        });
        Ok(Agent { path, thread, asked })
    }

    /// Waits until it has been asked about something.
    fn is_asked(&self) -> Check<Asked> {
        self.asked.recv_timeout(LIMIT).map_err(|e| Failed::from(format!("the agent is not asked: {e}")))
    }

    /// Waits for its end. Before Linux 6.11 it learns of the end of a process when that is reaped.
    fn finish(self) -> Check<Vec<Told>> {
        self.thread.join().unwrap().map_err(Failed::from)
    }
}

/// One message, up to the end of the connection.
fn receive(listener: &UnixListener) -> Result<(Told, OwnedFd), String> {
    let text = |e: std::io::Error| e.to_string();
    if !sys::readable(listener.as_fd(), LIMIT).map_err(text)? {
        return Err("nobody connects to the agent".to_owned());
    }
    let (mut stream, _): (UnixStream, _) = listener.accept().map_err(text)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(text)?;
    let (mut bytes, mut fds) = sys::receive(stream.as_fd()).map_err(text)?;
    stream.read_to_end(&mut bytes).map_err(|e| format!("the connection is not closed: {e}"))?;
    let state = serde_json::from_slice(&bytes)
        .map_err(|e| format!("{e} in {:?}", String::from_utf8_lossy(&bytes)))?;
    let count = fds.len();
    let fd = fds.pop().ok_or("no descriptor came")?;
    Ok((Told { state, fds: count, asked: Vec::new() }, fd))
}

/// Answers until nobody is left who could ask.
fn attend(listener: &OwnedFd, answer: fn(i64) -> Answer, mut note: impl FnMut(Asked)) -> std::io::Result<()> {
    while let Some(asked) = agent_sys::next(listener)? {
        let decided = answer(asked.call);
        match decided {
            Answer::Continue | Answer::Leave => agent_sys::answer(listener, asked, None)?,
            Answer::Errno(errno) => agent_sys::answer(listener, asked, Some(errno))?,
            Answer::Silence => {}
        }
        note(asked);
        if matches!(decided, Answer::Leave) {
            return Ok(());
        }
    }
    Ok(())
}

/// A config with these calls left to the agent of the sandbox.
fn asking(s: &Sandbox, calls: &[&str], args: &[&str]) -> Config {
    Config::new(args).set("/linux/seccomp", profile(s, calls))
}

fn profile(s: &Sandbox, calls: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": s.dir().join("agent.sock"),
        "listenerMetadata": "some \"data\"",
        "syscalls": [{ "names": calls, "action": "SCMP_ACT_NOTIFY" }],
    })
}

fn go_on(_: i64) -> Answer {
    Answer::Continue
}

fn the_agent_gets_the_state_and_the_listener() -> Check {
    for no_new_privileges in [true, false] {
        let s = sandbox()?;
        let rt = s.runtime();
        let agent = Agent::new(&s, 1, go_on)?;
        let config = asking(&s, &["execve"], &["/bin/probe", "exit", "0"])
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/annotations", json!({ "org.example": "x" }));
        let bundle = s.bundle(&config)?;
        rt.create(bundle.path(), "c1")?.success()?;
        let pid = rt.pid("c1")?;
        rt.start("c1")?.success()?;
        rt.wait_for(pid)?;
        let told = agent.finish()?;
        let [Told { state, fds, asked }] = told.as_slice() else {
            return Err(Failed::from("there was more than one connection"));
        };
        check_eq!(*fds, 1);
        check_eq!(state["fds"], json!(["seccompFd"]));
        check_eq!(state["pid"], pid);
        check_eq!(state["metadata"], "some \"data\"");
        check!(state["ociVersion"].is_string(), "{state}");
        check_eq!(state["state"]["id"], "c1");
        check_eq!(state["state"]["pid"], pid);
        check_eq!(state["state"]["status"], "created");
        check_eq!(state["state"]["bundle"], json!(bundle.path()));
        check_eq!(state["state"]["annotations"], json!({ "org.example": "x" }));
        check!(state["state"]["ociVersion"].is_string(), "{state}");
        let asked: Vec<_> = asked.iter().map(|a| (a.pid, a.call)).collect();
        check_eq!(asked, [(pid, libc::SYS_execve)], "no_new_privileges is {no_new_privileges}");
    }
    Ok(())
}

fn everything_but_write_may_be_the_agents() -> Check {
    let calls = [
        "accept4",
        "capset",
        "clone3",
        "close",
        "close_range",
        "dup3",
        "execve",
        "exit",
        "exit_group",
        "fcntl",
        "futex",
        "getcwd",
        "getrusage",
        "mmap",
        "munmap",
        "open",
        "openat",
        "pidfd_getfd",
        "pipe2",
        "ppoll",
        "prctl",
        "read",
        "recvmsg",
        "seccomp",
        "sendmsg",
        "writev",
    ];
    for no_new_privileges in [true, false] {
        let s = sandbox()?;
        let agent = Agent::new(&s, 1, go_on)?;
        let config = asking(&s, &calls, &["/bin/probe", "cat", "/etc/group"])
            .set("/process/noNewPrivileges", no_new_privileges);
        let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
        check!(output.stdout.contains("tty:x:5:"), "{output}");
        let told = agent.finish()?;
        let asked: Vec<i64> = told[0].asked.iter().map(|a| a.call).collect();
        // The only calls of the runtime under the filter that may be the agent's.
        let first: &[i64] = match no_new_privileges {
            true => &[libc::SYS_execve],
            false => &[libc::SYS_capset, libc::SYS_execve],
        };
        check!(asked.starts_with(first), "{asked:?}");
        check!(asked.contains(&libc::SYS_read) && asked.contains(&libc::SYS_exit_group), "{asked:?}");
    }
    Ok(())
}

fn chmod(call: i64) -> Answer {
    match call {
        libc::SYS_execve => Answer::Continue,
        _ => Answer::Errno(libc::EDOM),
    }
}

fn the_program_gets_the_agents_answer() -> Check {
    let s = sandbox()?;
    let agent = Agent::new(&s, 1, chmod)?;
    let config = asking(&s, &["chmod", "fchmodat", "fchmodat2"], &["/bin/probe", "chmod", "/tmp", "700"]);
    let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.exits(125)?;
    check!(output.stderr.contains("Numerical argument out of domain"), "{output}");
    check_eq!(agent.finish()?[0].asked.len(), 1);
    Ok(())
}

fn the_agent_can_refuse_the_program() -> Check {
    let s = sandbox()?;
    let agent = Agent::new(&s, 1, |_| Answer::Errno(libc::EACCES))?;
    let bundle = s.bundle(&asking(&s, &["execve"], &["/bin/probe", "exit", "0"]))?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    check!(output.code != 0 && output.stderr.contains("permission denied"), "{output}");
    check_eq!(agent.finish()?.len(), 1);
    Ok(())
}

fn each_further_process_has_a_listener_of_its_own() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    // The first process lives until the agent has seen all: each connection has its turn.
    let calls = &["execve", "read", "close", "fcntl", "openat"];
    let bundle = s.bundle(&asking(&s, calls, &["/bin/probe", "sleep"]))?;
    rt.create(bundle.path(), "c1")?.success()?;
    for detached in [false, true] {
        let agent = Agent::new(&s, 1, go_on)?;
        let file = s.dir().join("pid");
        let mut words = vec!["exec", "--pid-file", file.to_str().unwrap()];
        words.extend(detached.then_some("--detach"));
        words.extend(["c1", "/bin/probe", "exit", "3"]);
        let output = rt.call(&words)?;
        check_eq!(output.code, if detached { 0 } else { 3 }, "{output}");
        let pid: i32 = std::fs::read_to_string(&file)?.trim().parse()?;
        rt.wait_for(pid)?;
        let told = agent.finish()?;
        let state = &told[0].state;
        check_eq!(state["pid"], pid);
        check_eq!(state["metadata"], "some \"data\"");
        check_eq!(state["state"]["pid"], rt.pid("c1")?);
        check_eq!(state["state"]["status"], "created");
        check_eq!((told[0].asked[0].pid, told[0].asked[0].call), (pid, libc::SYS_execve));
    }
    Ok(())
}

fn a_process_of_another_user_namespace_is_reached() -> Check {
    let s = sandbox()?;
    let agent = Agent::new(&s, 1, go_on)?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let config = asking(&s, &["execve"], &["/bin/probe", "exit", "4"])
        .namespace("user", None)
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/process/noNewPrivileges", false)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.exits(4)?;
    check_eq!(agent.finish()?[0].asked.len(), 1);
    Ok(())
}

fn each_hook_inside_has_a_listener_of_its_own() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let agent = Agent::new(&s, 3, go_on)?;
    let hook = |code: &str| json!({ "path": "/bin/probe", "args": ["probe", "exit", code] });
    // What it takes to run a hook is nothing that a profile has to allow.
    let machinery = ["clone", "clone3", "fork", "memfd_create", "vfork", "wait4", "waitid"];
    let config = asking(&s, &["execve"], &["/bin/probe", "exit", "0"])
        .push("/linux/seccomp/syscalls", json!({ "names": machinery, "action": "SCMP_ACT_ERRNO" }))
        .set("/hooks/startContainer", json!([hook("0"), hook("0")]));
    rt.create(s.bundle(&config)?.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    rt.wait_for(pid)?;
    let told = agent.finish()?;
    let pids: Vec<i64> = told.iter().filter_map(|told| told.state["pid"].as_i64()).collect();
    check_eq!(pids.len(), 3);
    check!(pids[0] != pids[1] && pids[0] != i64::from(pid) && pids[1] != i64::from(pid), "{pids:?}");
    check_eq!(pids[2], i64::from(pid));
    for (told, pid) in told.iter().zip(pids) {
        let asked: Vec<_> = told.asked.iter().map(|a| (i64::from(a.pid), a.call)).collect();
        check_eq!(asked, [(pid, libc::SYS_execve)]);
        check_eq!(told.state["state"]["status"], "created");
    }
    Ok(())
}

fn a_hook_inside_that_its_agent_refuses_ends_the_container() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let agent = Agent::new(&s, 1, |_| Answer::Errno(libc::EDOM))?;
    let config = asking(&s, &["execve"], SLEEP)
        .set("/hooks/startContainer", json!([{ "path": "/bin/probe", "args": ["probe", "exit", "0"] }]));
    rt.create(s.bundle(&config)?.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    let output = rt.start("c1")?.refused("error running startContainer hook #0")?;
    check!(output.says("numerical argument out of domain"), "{output}");
    rt.wait_for(pid)?;
    check_eq!(agent.finish()?.len(), 1);
    rt.has_status("c1", "stopped")
}

fn a_caller_without_rights_has_its_agent_too() -> Check {
    let mut s = sandbox()?;
    s.call_as_user("")?;
    let _granted = Granted::new(&s)?;
    let rt = s.runtime();
    let config = User::config(SLEEP, &User::ranges())
        // An id of the range: the process of the container is not the user's.
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/linux/seccomp", profile(&s, &["execve"]));
    let hook = json!({ "path": "/bin/probe", "args": ["probe", "exit", "0"] });
    let bundle = s.bundle(&config.set("/hooks/startContainer", json!([hook])))?;
    User::own(bundle.path())?;
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    // Each connection has its turn, and the program's is not over when the next one comes.
    let agent = Agent::new(&s, 3, |_| Answer::Leave)?;
    std::fs::set_permissions(&agent.path, std::fs::Permissions::from_mode(0o666))?;
    rt.start("c1")?.success()?;
    rt.call(&["exec", "c1", "/bin/probe", "exit", "3"])?.exits(3)?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    let told = agent.finish()?;
    let calls = told.iter().map(|told| told.asked.iter().map(|a| a.call).collect::<Vec<_>>());
    check!(calls.clone().all(|calls| calls == [libc::SYS_execve]), "{:?}", calls.collect::<Vec<_>>());
    check_eq!(told[1].state["pid"], pid);
    check!(told[0].state["pid"] != pid && told[2].state["pid"] != pid, "hook, program, further process");
    Ok(())
}

fn a_container_without_its_agent_can_be_started_later() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let bundle = s.bundle(&asking(&s, &["execve"], &["/bin/probe", "exit", "0"]))?;
    rt.create(bundle.path(), "c1")?.success()?;
    let output = rt.start("c1")?;
    check!(output.code != 0 && output.says("failed to connect with seccomp agent"), "{output}");
    check!(output.says("no such file or directory"), "{output}");
    rt.has_status("c1", "created")?;
    let agent = Agent::new(&s, 1, go_on)?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    rt.wait_for(pid)?;
    agent.finish().map(drop)
}

fn nothing_is_run_without_its_agent() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let before = s.leaks()?;
    let output = rt.run(s.bundle(&asking(&s, &["execve"], SLEEP))?.path(), "c1")?;
    check!(output.code != 0 && output.says("failed to connect with seccomp agent"), "{output}");
    before.assert_same()?;
    let agent = Agent::new(&s, 1, go_on)?;
    let pid = s.sleeper("c2", &asking(&s, &["execve"], SLEEP))?;
    std::fs::remove_file(&agent.path)?;
    let output = rt.exec("c2", &["/bin/probe", "exit", "0"])?.exits(255)?;
    check!(output.says("failed to connect with seccomp agent"), "{output}");
    check_eq!(rt.call(&["ps", "--format", "json", "c2"])?.success()?.json()?.as_array().unwrap().len(), 1);
    rt.call(&["delete", "--force", "c2"])?.success()?;
    rt.wait_for(pid)?;
    agent.finish().map(drop)
}

fn leave(call: i64) -> Answer {
    match call {
        libc::SYS_execve => Answer::Leave,
        _ => Answer::Continue,
    }
}

fn without_its_agent_a_call_is_not_implemented() -> Check {
    let s = sandbox()?;
    let agent = Agent::new(&s, 1, leave)?;
    let calls = ["execve", "chmod", "fchmodat", "fchmodat2"];
    let config = asking(&s, &calls, &["/bin/probe", "chmod", "/tmp", "700"]);
    let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.exits(125)?;
    check!(output.stderr.contains("Function not implemented"), "{output}");
    agent.finish().map(drop)
}

/// Begins a call that does not end by itself.
fn begin(rt: &Runtime, words: &[&str]) -> Check<Child> {
    let mut command = rt.command();
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn()?)
}

fn ends(mut child: Child) -> Check<Option<i32>> {
    let fd = sys::pidfd(child.id().cast_signed())?;
    if sys::readable(fd.as_fd(), LIMIT)? {
        return Ok(child.wait()?.code());
    }
    child.kill()?;
    child.wait()?;
    Err(Failed::from("it does not end"))
}

fn a_container_that_its_agent_forgets_can_be_killed() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let agent = Agent::new(&s, 2, |_| Answer::Silence)?;
    let bundle = s.bundle(&asking(&s, &["execve"], SLEEP))?;
    rt.create(bundle.path(), "c1")?.success()?;
    // A further process first: its end is not the end of the container.
    let exec = begin(rt, &["exec", "c1", "/bin/probe", "exit", "0"])?;
    sys::kill(agent.is_asked()?.pid, libc::SIGKILL)?;
    check!(ends(exec)?.is_some_and(|code| code != 0), "exec claims to have worked");
    let start = begin(rt, &["start", "c1"])?;
    let pid = rt.pid("c1")?;
    check_eq!(agent.is_asked()?.pid, pid);
    rt.kill("c1", "KILL")?.success()?;
    check!(ends(start)?.is_some_and(|code| code != 0), "start claims to have worked");
    rt.wait_for(pid)?;
    rt.delete("c1")?.success()?;
    agent.finish().map(drop)
}

fn start_does_not_wait_for_ever_for_an_agent() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let agent = Agent::new(&s, 2, |_| Answer::Silence)?;
    let bundle = s.bundle(&asking(&s, &["execve"], SLEEP))?;
    rt.create(bundle.path(), "c1")?.success()?;
    rt.call(&["exec", "--detach", "c1", "/bin/probe", "exit", "0"])?.success()?;
    let pid = agent.is_asked()?.pid;
    sys::kill(pid, libc::SIGKILL)?;
    rt.wait_for(pid)?;
    rt.start("c1")?.success()?;
    rt.has_status("c1", "running")?;
    let pid = rt.pid("c1")?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    agent.finish().map(drop)
}

fn an_agent_that_does_not_read_holds_nobody_up() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let agent = UnixListener::bind(s.dir().join("agent.sock"))?;
    // More than a socket takes.
    let config = asking(&s, &["execve", "exit_group"], SLEEP)
        .set("/linux/seccomp/listenerMetadata", "x".repeat(1 << 20));
    for (id, killed) in [("c1", true), ("c2", false)] {
        rt.create(s.bundle(&config)?.path(), id)?.success()?;
        let pid = rt.pid(id)?;
        let start = begin(rt, &["start", id])?;
        check!(sys::readable(agent.as_fd(), LIMIT)?, "nobody connects");
        let (stream, _) = agent.accept()?;
        check!(sys::readable(stream.as_fd(), LIMIT)?, "nothing comes");
        if killed {
            sys::kill(start.id().cast_signed(), libc::SIGKILL)?;
        }
        check!(ends(start)? != Some(0), "start claims to have worked");
        // Neither the program nor an init that waits for ever.
        rt.wait_for(pid)?;
        rt.delete(id)?.success()?;
    }
    Ok(())
}

fn a_rule_that_asks_nobody_needs_no_agent() -> Check {
    let s = sandbox()?;
    let config = asking(&s, &["execve"], &["/bin/probe", "exit", "5"])
        .set("/linux/seccomp/syscalls/0/names/0", "swapon")
        .set("/linux/seccomp/syscalls/0/action", "SCMP_ACT_ERRNO");
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.exits(5)?;
    Ok(())
}

fn every_flag_goes_with_an_agent() -> Check {
    let s = sandbox()?;
    let features = s.runtime().call(&["features"])?.success()?.json()?;
    let seccomp = &features["linux"]["seccomp"];
    check!(seccomp["actions"].as_array().unwrap().contains(&json!("SCMP_ACT_NOTIFY")), "{seccomp}");
    let flags = seccomp["supportedFlags"].as_array().unwrap();
    check!(flags.contains(&json!("SECCOMP_FILTER_FLAG_TSYNC")), "{seccomp}");
    for (number, flags) in flags.iter().map(|f| json!([f])).chain([json!(flags)]).enumerate() {
        let agent = Agent::new(&s, 1, go_on)?;
        let config = asking(&s, &["execve"], &["/bin/probe", "exit", "6"]).set("/linux/seccomp/flags", flags);
        s.runtime().run(s.bundle(&config)?.path(), &format!("c{number}"))?.exits(6)?;
        agent.finish()?;
    }
    Ok(())
}

fn wrong_profiles_are_refused_in_a_sentence() -> Check {
    let s = sandbox()?;
    let right = || asking(&s, &["execve"], SLEEP);
    for (config, text) in [
        (
            right().push("/linux/seccomp/syscalls/0/names", "write"),
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            right().set("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY"),
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (right().remove("/linux/seccomp/listenerPath"), "seccomp listenerPath is not set"),
        (
            right()
                .remove("/linux/seccomp/listenerPath")
                .set("/linux/seccomp/syscalls/0/action", "SCMP_ACT_LOG"),
            "seccomp listenerMetadata is set, but listenerPath is not",
        ),
        (
            right().push("/linux/seccomp/syscalls", json!({ "names": ["write"], "action": "SCMP_ACT_KILL" })),
            "SCMP_ACT_NOTIFY needs the write syscall: this rule answers with a kill to write",
        ),
    ] {
        s.runtime().run(s.bundle(&config)?.path(), "c1")?.refused(text)?;
    }
    Ok(())
}

fn a_pids_limit_without_room_for_who_hands_over_the_listener_is_told() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let before = s.leaks()?;
    let line = UnixListener::bind(s.dir().join("agent.sock"))?;
    let config = asking(&s, &["mkdir"], &["/bin/probe", "exit", "0"]).set("/linux/resources/pids/limit", 1);
    let output = rt.run(s.bundle(&config)?.path(), "c1")?.refused("resource temporarily unavailable")?;
    check!(output.says("listener") && output.says("/linux/resources/pids/limit"), "{output}");
    drop(line);
    before.assert_same()
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($kind:expr; $($name:ident),* $(,)?) => { vec![$($kind(stringify!($name), $name)),*] };
    }
    let own = |name, body| oxrun_only(name, "runc gives the listener to the agent in create", body);
    let mut tests = tests![test;
        everything_but_write_may_be_the_agents,
        the_program_gets_the_agents_answer,
        the_agent_can_refuse_the_program,
        a_process_of_another_user_namespace_is_reached,
        without_its_agent_a_call_is_not_implemented,
        a_rule_that_asks_nobody_needs_no_agent,
    ];
    tests.extend(tests![own;
        the_agent_gets_the_state_and_the_listener,
        each_further_process_has_a_listener_of_its_own,
        each_hook_inside_has_a_listener_of_its_own,
        a_hook_inside_that_its_agent_refuses_ends_the_container,
        a_container_without_its_agent_can_be_started_later,
        nothing_is_run_without_its_agent,
        a_container_that_its_agent_forgets_can_be_killed,
        start_does_not_wait_for_ever_for_an_agent,
        an_agent_that_does_not_read_holds_nobody_up,
        every_flag_goes_with_an_agent,
        wrong_profiles_are_refused_in_a_sentence,
        a_pids_limit_without_room_for_who_hands_over_the_listener_is_told,
    ]);
    tests.push(conditional(
        "a_caller_without_rights_has_its_agent_too",
        User::without_helpers,
        a_caller_without_rights_has_its_agent_too,
    ));
    run(tests)
}
