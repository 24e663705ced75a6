//! Killing who is in a container's cgroups, and removing them.
//!
//! What must hold: only directories that were made for the container are removed; a process is signalled through a
//! pidfd that was opened while it was seen in the cgroup; nothing waits but for an event of the kernel, where it has
//! one. v1 has none for freezing and for a cgroup that becomes empty: there, and only there, it is asked again, for a
//! bounded time. What stays after all is told with who is in it.

use super::freezer::{self, Held};
use super::live;
use super::tree::{self, Cgroup};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::CgroupDir;
use crate::sys;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to go.
const DEATH: Duration = Duration::from_secs(10);
/// How often it is looked what a killed process waits for, in milliseconds.
const GLANCE: i32 = 500;
/// How long v1 may take to hold everybody who is to be killed: each of them has to run once.
const HOLD: Duration = Duration::from_secs(10);
/// How long a v1 cgroup may be busy with nobody in it.
const EMPTY: Duration = Duration::from_secs(1);
/// How many processes are held by a pidfd at once.
const BATCH: usize = 64;

/// The pids in the container's cgroup and in those below it, as this process sees them, in order.
pub(crate) fn members(dirs: &[CgroupDir]) -> Result<Vec<u32>> {
    let dir = dirs.iter().find(|d| d.controllers.is_none()).or(dirs.first());
    dir.map_or(Ok(Vec::new()), |d| members_of(&d.dir()))
}

/// The same of one cgroup.
pub(crate) fn members_of(dir: &Path) -> Result<Vec<u32>> {
    tree::members(dir).map_err(|e| Error::io(format!("read({}/cgroup.procs)", dir.display()), &e))
}

/// Sends a signal to every process of a container's cgroups and of those below them. SIGKILL reaches also who is made
/// meanwhile.
pub(crate) fn signal_all(dirs: &[CgroupDir], signal: i32) -> Result<()> {
    let v2 = dirs.iter().find(|d| d.controllers.is_none());
    if signal != libc::SIGKILL {
        return v2.or(dirs.first()).map_or(Ok(()), |dir| signal_tree(&dir.dir(), signal).map(drop));
    }
    match v2 {
        Some(dir) => {
            kill(&dir.dir())?;
            freezer::release_killed(dirs);
            Ok(())
        }
        None => kill_v1(dirs),
    }
}

/// v1 kills one by one, and who is not yet killed may make others: all are held meanwhile. Those that are just being
/// made are missed, and held when they are asked for again.
fn kill_v1(dirs: &[CgroupDir]) -> Result<()> {
    let Some(end) = Instant::now().checked_add(HOLD) else { return Ok(()) };
    let held = Held::new(dirs);
    loop {
        let all = held.as_ref().is_some_and(Held::everybody);
        let mut found = 0;
        for dir in dirs {
            found += signal_tree(&dir.dir(), libc::SIGKILL)?;
        }
        if all || found == 0 {
            return Ok(());
        }
        if Instant::now() >= end {
            let left: BTreeSet<u32> =
                dirs.iter().flat_map(|d| tree::members(&d.dir()).unwrap_or_default()).collect();
            let left: Vec<u32> = left.into_iter().collect();
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("cannot kill every process of the container within {} s", HOLD.as_secs()),
            )
            .hint(format!("still there: {}", who(&left).join(", "))));
        }
        sys::poll(&mut [], Some(1)).map_err(|e| Error::io("poll", &e))?;
    }
}

/// Kills who is in a cgroup and below it: at once where the v2 tree can, else one by one.
fn kill(dir: &Path) -> Result<()> {
    match live::write(&dir.join("cgroup.kill"), "1") {
        Ok(()) => Ok(()),
        Err(_) => signal_tree(dir, libc::SIGKILL).map(drop),
    }
}

/// How many processes got the signal.
fn signal_tree(dir: &Path, signal: i32) -> Result<usize> {
    let mut reached = 0;
    let mut failed = None;
    let all = tree::each(dir, |cgroup| {
        let pids = cgroup.processes()?;
        let mut rest = pids.as_slice();
        while !rest.is_empty() {
            let done = signal_some(cgroup, rest, signal, &mut failed)?;
            reached += done.reached;
            rest = rest.get(done.tried..).unwrap_or_default();
        }
        Ok(())
    });
    match (failed, all) {
        (Some((call, e)), _) => Err(Error::io(call, &e)),
        (None, Err(e)) => Err(Error::io(format!("read({}/cgroup.procs)", dir.display()), &e)),
        (None, Ok(())) => Ok(reached),
    }
}

/// Whether the caller, or the machine, has no descriptor left.
fn is_short(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Of a batch of pids: how many were looked at, and how many got the signal.
struct Signalled {
    tried: usize,
    reached: usize,
}

/// Between the list and the open a pid may have gone to somebody else: it must still be in the cgroup after its
/// pidfd is open. Reading the list again for all of them together keeps a thousand processes from being listed a
/// thousand times. A process that may have few descriptors takes as many at once as it can.
fn signal_some(
    cgroup: &Cgroup,
    pids: &[u32],
    signal: i32,
    failed: &mut Option<(String, std::io::Error)>,
) -> std::io::Result<Signalled> {
    let mut done = Signalled { tried: 0, reached: 0 };
    let mut held = Vec::new();
    for pid in pids.iter().take(BATCH) {
        match sys::pidfd_open(*pid) {
            Ok(pidfd) => held.push((*pid, pidfd)),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
            // Those behind it are for the next batch.
            Err(e) if is_short(&e) && !held.is_empty() => break,
            Err(e) => *failed = failed.take().or(Some((format!("pidfd_open({pid})"), e))),
        }
        done.tried += 1;
    }
    // Reading the list takes a descriptor, too: whoever is let go for it begins the next batch.
    let there: BTreeSet<u32> = loop {
        match cgroup.processes() {
            Err(e) if is_short(&e) && held.len() > 1 => {
                let last = held.pop().and_then(|(last, _)| pids.iter().position(|pid| *pid == last));
                done.tried = last.unwrap_or(done.tried);
            }
            there => break there?.into_iter().collect(),
        }
    };
    for (pid, pidfd) in held.iter().filter(|(pid, _)| there.contains(pid)) {
        match sys::pidfd_signal(pidfd, signal) {
            Ok(()) => done.reached += 1,
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
            Err(e) => *failed = failed.take().or(Some((format!("pidfd_send_signal({pid}, {signal})"), e))),
        }
    }
    Ok(done)
}

/// Removes cgroups with everything below them. Who is still in one is killed and waited for. The first failure is
/// told, after all were tried.
pub(crate) fn remove(made: &[PathBuf]) -> Result<()> {
    let mut patience = Patience { end: None, nobody: None };
    let mut first = Ok(());
    // The v2 tree is the last one and tells when it is empty; mostly the others then are, too.
    for dir in made.iter().rev() {
        let removed = remove_one(dir, made, &mut patience);
        first = first.and(removed);
    }
    first
}

fn remove_one(dir: &Path, all: &[PathBuf], patience: &mut Patience) -> Result<()> {
    loop {
        let mut removed = tree::gone(std::fs::remove_dir(dir));
        if removed.is_err() {
            removed = tree::gone(tree::remove_below(dir)).and_then(|()| tree::gone(std::fs::remove_dir(dir)));
        }
        let Err(e) = removed else { return Ok(()) };
        if e.raw_os_error() != Some(libc::EBUSY) {
            return Err(still_used(dir, &e));
        }
        all.iter().try_for_each(|dir| kill(dir))?;
        // Whichever of them is the freezer's: a process that stands still there does not leave the others.
        all.iter().for_each(|dir| freezer::release(dir));
        if !patience.wait(dir)? {
            return Err(still_used(dir, &e));
        }
    }
}

/// How long cgroups are waited for, all together.
struct Patience {
    /// Until when somebody may be in one.
    end: Option<Instant>,
    /// Until when one may be busy with nobody in it.
    nobody: Option<Instant>,
}

impl Patience {
    /// Waits for a cgroup to become empty, or for one of its processes to end. Not any more if it took too long.
    fn wait(&mut self, dir: &Path) -> Result<bool> {
        let now = Instant::now();
        let left = self.end.get_or_insert(now + DEATH).saturating_duration_since(now);
        if left.is_zero() {
            return Ok(false);
        }
        let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        let poll = |fds: &mut [_], millis| sys::poll(fds, Some(millis)).map_err(|e| Error::io("poll", &e));
        if let Ok(cgroup) = Cgroup::open(dir) {
            // Reading is what makes the poll wait for a change.
            if let Ok(mut events) = cgroup.file(c"cgroup.events")
                && std::io::read_to_string(&mut events).is_ok_and(|t| t.contains("populated 1"))
            {
                poll(&mut [(events.as_fd(), libc::POLLPRI)], millis)?;
                return Ok(true);
            }
        }
        let members = members_of(dir)?;
        if let Some(pidfd) = members.first().and_then(|pid| sys::pidfd_open(*pid).ok())
            && members_of(dir)?.contains(members.first().unwrap_or(&0))
            && !sys::poll_exit(pidfd.as_fd(), Some(0)).unwrap_or(true)
        {
            poll(&mut [(pidfd.as_fd(), libc::POLLIN)], millis)?;
            return Ok(true);
        }
        // Who has ended is about to leave, and there is no event for that.
        let going = now < *self.nobody.get_or_insert(now + EMPTY);
        if going {
            poll(&mut [], 1)?;
        }
        Ok(going)
    }
}

/// Waits until a killed process is gone; whether it is, in time. `pid` is its pid, `dirs` the container's cgroups. A
/// further process that has ended, and that its parent outside has not reaped, keeps the first of its pid namespace from
/// being told as gone: that one is dead all the same if it waits for nothing else and nobody is alive.
pub(crate) fn is_gone(pidfd: &OwnedFd, pid: u32, dirs: &[CgroupDir]) -> std::io::Result<bool> {
    let end = Instant::now().checked_add(DEATH);
    while end.is_some_and(|end| Instant::now() < end) {
        if sys::poll_exit(pidfd.as_fd(), Some(GLANCE))? {
            return Ok(true);
        }
        // The pid is its own as long as it is not told as gone.
        let over = !dirs.is_empty() && sys::reaps_its_namespace(pid);
        if over && members(dirs).is_ok_and(|alive| alive.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who is in a cgroup and below it.
pub(crate) fn describe(dir: &Path) -> Vec<String> {
    who(&tree::members(dir).unwrap_or_default())
}

/// Processes, with their state and what in the kernel each waits for.
pub(crate) fn who(pids: &[u32]) -> Vec<String> {
    let one = |pid: &u32| {
        let stat = sys::read_record(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|r| r.chars().next()).unwrap_or('?');
        let wchan = sys::read_record(format!("/proc/{pid}/wchan")).unwrap_or_default();
        format!("{pid} (state {state}, wchan {wchan})")
    };
    pids.iter().map(one).collect()
}

fn still_used(dir: &Path, e: &std::io::Error) -> Error {
    let who = describe(dir);
    let error = Error::io(format!("rmdir({})", dir.display()), e);
    if who.is_empty() { error } else { error.hint(format!("still in it: {}", who.join(", "))) }
}
