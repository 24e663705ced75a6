//! Runs one call of the runtime and follows every task that it makes: which calls each of them makes, and what becomes
//! of it if one of these fails. When the runtime has ended, its tasks are let go; a container lives on.

use super::name;
use super::sys::{self, Stop};
use crate::{Check, Failed};
use oxrun_init::fault;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long a call of the runtime may take with a fault: nothing in it waits longer for a process that is gone.
const LIMIT: Duration = Duration::from_secs(60);

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The kernel does nothing and answers this.
    Errno(i32),
    /// The task is killed.
    Kill,
    /// The process that is called this is killed while the task is about to make the call: [`MAIN`], [`JOIN`] or
    /// [`INIT`].
    KillOther(&'static str),
}

/// Which call: the `nth`, from 0, of those of this name that a task makes as part of the runtime. How many other calls
/// are made before it may differ from run to run: a fault hits the call that was chosen, or none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// `oxrun`, or what a task is to it: its `thread`, the process that enters what exists (`join`), the container's
    /// (`init`), a `hook` before it is that, or init's `child`, which becomes one. The second of a kind has a number.
    pub(super) task: String,
    pub(super) name: String,
    pub(super) nth: usize,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) place: Place,
    /// The step of the plan, from 1, that init said it was in; 0 if this is none of its steps.
    pub(super) step: u32,
    /// How many calls of any task were seen before it.
    pub(super) order: usize,
}

/// The task that the caller has started.
pub(super) const MAIN: &str = "oxrun";
/// The process that enters what exists, and clones the container's.
pub(super) const JOIN: &str = "join";
/// What becomes a hook on the host.
const HOOK: &str = "hook";
/// The container's process, until it is its program.
pub(super) const INIT: &str = "init";

/// What was seen.
#[derive(Debug)]
pub(super) struct Trace {
    /// The calls of each task as part of the runtime, one task after the other.
    pub(super) calls: Vec<Vec<Call>>,
    /// The call that was hit.
    pub(super) hit: Option<String>,
    /// Nobody was there who could be killed.
    pub(super) absent: bool,
    /// The runtime's exit code; 128 and the signal if it was killed.
    pub(super) code: i32,
    /// It did not end in time.
    pub(super) hung: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Every task but the first.
    pub(super) others: Vec<OwnedFd>,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started or followed.
pub(super) fn run(command: Command, scratch: &Path, fault: Option<(&Place, Fault)>) -> Check<Trace> {
    // The end of the thread lets all tasks go.
    std::thread::scope(|scope| {
        scope
            .spawn(|| follow(command, scratch, fault))
            .join()
            .unwrap_or_else(|_| Err(Failed::from("panicked")))
    })
}

fn follow(mut command: Command, scratch: &Path, fault: Option<(&Place, Fault)>) -> Check<Trace> {
    let (out, err) = (scratch.join("followed.out"), scratch.join("followed.err"));
    command.stdout(File::create(&out)?).stderr(File::create(&err)?);
    sys::be_followed(&mut command);
    let main = command.spawn()?.id().cast_signed();
    drop(command);
    let tasks = Mutex::new(vec![main]);
    let hung = AtomicBool::new(false);
    let (done, finished) = channel::<()>();
    let (follower, code) = std::thread::scope(|scope| {
        let (tasks, hung) = (&tasks, &hung);
        scope.spawn(move || {
            if finished.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                hung.store(true, Ordering::Relaxed);
                for task in tasks.lock().map(|list| list.clone()).unwrap_or_default() {
                    let _ = crate::sys::kill(task, libc::SIGKILL);
                }
            }
        });
        let mut follower = Follower {
            fault,
            hit: None,
            absent: false,
            known: HashMap::new(),
            labels: Vec::new(),
            calls: Vec::new(),
            others: Vec::new(),
        };
        let code = follower.until_the_end_of(main, tasks);
        drop(done);
        // Whoever was just made has the stop before it that only a follower takes away.
        for task in tasks.lock().map(|list| list.clone()).unwrap_or_default().into_iter().skip(1) {
            let _ = crate::sys::kill(task, libc::SIGCONT);
        }
        (follower, code)
    });
    let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Trace {
        calls: follower.calls,
        hit: follower.hit,
        absent: follower.absent,
        code: code?,
        hung: hung.load(Ordering::Relaxed),
        stdout: read(&out)?,
        stderr: read(&err)?,
        others: follower.others,
    })
}

/// A task that is followed.
#[derive(Clone, Copy, Debug)]
struct Task {
    index: usize,
    /// How many programs it has been: 0 is the runtime, 1 init, then that of the user.
    programs: usize,
    /// Its next stop is the end of a call that was taken away.
    pending: Option<i32>,
    /// Where its fault page is, as soon as it has one.
    page: Option<u64>,
}

impl Task {
    /// The step that the fault page tells of.
    fn step(&mut self, pid: i32) -> u32 {
        let find = || {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
            // A file of the state directory, or for a further process one without a name.
            let named = |line: &&str| {
                let name = line.trim_end_matches(" (deleted)");
                name.ends_with("/fault") || name.ends_with("/memfd:oxrun-fault")
            };
            let line = maps.lines().find(named)?;
            u64::from_str_radix(line.split('-').next()?, 16).ok()
        };
        if self.programs == 1 && self.page.is_none() {
            self.page = find();
        }
        let at = std::mem::offset_of!(fault::Page, step) as u64;
        self.page.and_then(|page| sys::number_at(pid, page + at)).unwrap_or(0)
    }
}

struct Follower<'a> {
    fault: Option<(&'a Place, Fault)>,
    hit: Option<String>,
    absent: bool,
    known: HashMap<i32, Task>,
    /// What the tasks are called, in the order of `calls`.
    labels: Vec<String>,
    calls: Vec<Vec<Call>>,
    others: Vec<OwnedFd>,
}

impl Follower<'_> {
    /// Follows until the first task has ended; its exit code.
    fn until_the_end_of(&mut self, main: i32, tasks: &Mutex<Vec<i32>>) -> Check<i32> {
        // The stops of tasks whose maker has not reported them yet.
        let mut early: Vec<i32> = Vec::new();
        loop {
            let Some((task, stop)) = sys::next()? else {
                return Err(Failed::from("the runtime is gone, and nobody said so"));
            };
            match stop {
                Stop::Ended(code) if task == main => return Ok(code),
                Stop::Ended(_) => drop(self.known.remove(&task)),
                _ if task == main && !self.known.contains_key(&main) => {
                    sys::follow_all(main)?;
                    self.add(main, 0, MAIN);
                    sys::go_on(main, 0);
                }
                _ if task != 0 && !self.known.contains_key(&task) => early.push(task),
                Stop::Made(made, waits) => {
                    if let Ok(mut list) = tasks.lock() {
                        list.push(made);
                    }
                    self.others.extend(crate::sys::pidfd(made).ok());
                    let maker = self.known.get(&task).copied();
                    let kind = maker.map_or("child", |maker| self.kind(maker, made, waits));
                    self.add(made, maker.map_or(0, |maker| maker.programs), kind);
                    if let Some(at) = early.iter().position(|e| *e == made) {
                        early.swap_remove(at);
                        sys::go_on(made, 0);
                    }
                    sys::go_on(task, 0);
                }
                _ => self.step(task, stop)?,
            }
        }
    }

    fn add(&mut self, task: i32, programs: usize, kind: &str) {
        self.known.insert(task, Task { index: self.calls.len(), programs, pending: None, page: None });
        self.calls.push(Vec::new());
        let same = self.labels.iter().filter(|label| label.split(' ').next() == Some(kind)).count();
        self.labels.push(if same == 0 { kind.to_owned() } else { format!("{kind} {}", same + 1) });
    }

    /// What a new task is to the runtime. Whoever makes tasks makes them one after the other, so that each has the
    /// same name in every run.
    fn kind(&self, maker: Task, made: i32, waits: bool) -> &'static str {
        let status = fs::read_to_string(format!("/proc/{made}/status")).unwrap_or_default();
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse::<i32>().ok());
        let pids = |status: &str| {
            status.lines().find_map(|line| Some(line.strip_prefix("NSpid:")?.split_whitespace().count()))
        };
        let own = fs::read_to_string("/proc/self/status").unwrap_or_default();
        match self.labels.get(maker.index).map_or("", String::as_str) {
            _ if group.is_some_and(|group| group != made) => "thread",
            // Whoever comes after it is made for a hook.
            MAIN if self.labels.iter().any(|label| label == JOIN || label == INIT) => HOOK,
            // Who has a pid namespace of its own is the container's already.
            MAIN if pids(&status) > pids(&own) => INIT,
            MAIN => JOIN,
            JOIN => INIT,
            // It was only on the way to the container's.
            INIT if !waits => INIT,
            _ => "child",
        }
    }

    /// The process that is this, if it is there. Where one more stands between, that is a `join` from the time at which
    /// the container's is there.
    fn process(&self, name: &str) -> Option<i32> {
        let last = format!("{INIT} 2");
        let between = self.labels.contains(&last);
        let names = match name {
            INIT if between => [last.as_str(), ""],
            JOIN if between => [JOIN, INIT],
            name => [name, ""],
        };
        let of = |name: &str| {
            let is = |task: &Task| self.labels.get(task.index).is_some_and(|label| label == name);
            self.known.iter().find(|(_, task)| is(task)).map(|(pid, _)| *pid)
        };
        of(names[0]).or_else(|| of(names[1]))
    }

    fn step(&mut self, pid: i32, stop: Stop) -> Check {
        let order = self.calls.iter().map(Vec::len).sum();
        let aim = match self.fault {
            Some((_, Fault::KillOther(name))) => self.process(name),
            _ => None,
        };
        let Some(task) = self.known.get_mut(&pid) else { return Ok(()) };
        let mut signal = 0;
        match stop {
            // A hook is no program of ours.
            Stop::Executed if self.labels[task.index].starts_with(HOOK) => task.programs = 2,
            Stop::Executed => task.programs += 1,
            Stop::Enter(number, args) if task.index == 0 || task.programs < 2 => {
                let calls = &mut self.calls[task.index];
                let name = name::of(pid, number, &args);
                let nth = calls.iter().filter(|call| call.place.name == name).count();
                let here = Place { task: self.labels[task.index].clone(), name: name.clone(), nth };
                calls.push(Call { place: here.clone(), step: task.step(pid), order });
                match self.fault.filter(|(place, _)| **place == here).map(|(_, fault)| fault) {
                    None => {}
                    Some(Fault::Kill) => {
                        self.hit = Some(name);
                        crate::sys::kill(pid, libc::SIGKILL)?;
                    }
                    Some(Fault::KillOther(_)) => {
                        self.hit = Some(name);
                        match aim {
                            Some(other) => crate::sys::kill(other, libc::SIGKILL)?,
                            None => self.absent = true,
                        }
                    }
                    Some(Fault::Errno(errno)) => {
                        self.hit = Some(name);
                        if number != libc::SYS_close.cast_unsigned() {
                            sys::take_away(pid)?;
                        }
                        task.pending = Some(errno);
                    }
                }
            }
            Stop::Leave => {
                if let Some(errno) = task.pending.take() {
                    sys::answer(pid, errno)?;
                }
            }
            // A new task's first stop is no signal that anybody sent.
            Stop::Signal(number) if number != libc::SIGSTOP => signal = number,
            _ => {}
        }
        sys::go_on(pid, signal);
        Ok(())
    }
}

/// What /proc says of a task.
fn what_it_does(task: &OwnedFd) -> String {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let info = read(format!("/proc/self/fdinfo/{}", task.as_raw_fd()));
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap_or_default().trim();
    let status = read(format!("/proc/{pid}/status"));
    let wanted = ["Name:", "State:", "PPid:", "TracerPid:", "SigPnd:", "ShdPnd:"];
    let status: Vec<&str> =
        status.lines().filter(|line| wanted.iter().any(|w| line.starts_with(w))).collect();
    let call = read(format!("/proc/{pid}/syscall"));
    format!("{pid}: {}, call {}", status.join(", "), call.trim())
}

/// Waits until the tasks have ended.
///
/// # Errors
/// If they do not.
pub(super) fn all_gone(tasks: &[OwnedFd]) -> Check {
    for task in tasks {
        if !crate::sys::readable(task.as_fd(), Duration::from_secs(60))? {
            return Err(Failed::from(format!("a task of the runtime lives on: {}", what_it_does(task))));
        }
    }
    Ok(())
}
