//! A further process of a container that exists.
//!
//! What must hold: it is born where the container's processes are. The one cgroup that it may take instead of the
//! container's own is that of the container's first process, and only if the container's own takes nobody.

use super::agent::{ANSWER, Connection, Loaded};
use super::talk::PATIENCE;
use super::talk::poll_watched;
use super::{Host, Place, Started, Stdio, Streams, page, preserved, report};
use crate::bundle::Warning;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::Action;
use crate::plan::{Plan, script};
use crate::sys;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A further process of a container: set up, its program not yet executed.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) console: Option<OwnedFd>,
    control: OwnedFd,
    fault: File,
    total: u32,
    rootfs: PathBuf,
    denied: Option<Warning>,
}

/// Sets up a further process in the container of `init`. If the handle is dropped before it is started, it ends.
/// `pid` is the pid of `init`.
pub(crate) fn join(plan: &Plan, init: BorrowedFd<'_>, pid: u32, stdio: Stdio) -> Result<Joined> {
    preserved(plan)?;
    let streams = Streams::open(stdio)?;
    match attempt(plan, (init, pid), &streams) {
        Err(e) if is_of_cgroup(plan, &e) => match elsewhere(plan, init, pid)? {
            Some(plan) => attempt(&plan, (init, pid), &streams),
            None => Err(e),
        },
        done => done,
    }
}

/// Whether the container's v2 cgroup is gone, or takes no process because it has controllers below it.
fn is_of_cgroup(plan: &Plan, e: &Error) -> bool {
    let failed = e.step().and_then(|s| plan.steps.get((s.number as usize).checked_sub(1)?));
    match failed.map(|s| &s.action) {
        Some(Action::OpenCgroup { .. }) => e.errno() == Some(libc::ENOENT),
        Some(Action::Clone { .. }) => matches!(e.errno(), Some(libc::EBUSY | libc::ENODEV)),
        _ => false,
    }
}

/// The plan with the v2 cgroup that the container's process has moved to, if the plan allows it.
fn elsewhere(plan: &Plan, init: BorrowedFd<'_>, pid: u32) -> Result<Option<Plan>> {
    let text = sys::read_file(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let Some(path) = text.lines().find_map(|l| l.strip_prefix("0::/")) else {
        return Ok(None);
    };
    // The pid was still its own when that was read; and not what lies outside of the caller's own view.
    if sys::poll_exit(init, Some(0)).unwrap_or(true) || path.starts_with("..") {
        return Ok(None);
    }
    let mut plan = plan.clone();
    let patient = plan.patient;
    for step in &mut plan.steps {
        if let Action::OpenCgroup { dir, or_init: Some(tree) } = &mut step.action {
            let own = std::mem::replace(dir, tree.join(path));
            return match still(&own, dir).filter(|_| !patient) {
                Some(frozen) => Err(Error::new(
                    ErrorKind::WrongState,
                    format!(
                        "cannot exec: the container has frozen {}, where its process is",
                        frozen.display()
                    ),
                )
                .hint("--ignore-paused waits until it lets it go on")),
                None => Ok(Some(plan)),
            };
        }
    }
    Ok(None)
}

/// The first cgroup that is frozen on the way from the container's own, which is another matter, down to `dir`.
fn still<'a>(own: &Path, dir: &'a Path) -> Option<&'a Path> {
    let below = dir.ancestors().take_while(|dir| *dir != own && dir.starts_with(own));
    let frozen = |dir: &&Path| sys::read_file(dir.join("cgroup.freeze")).is_ok_and(|t| t.trim() == "1");
    below.filter(frozen).last()
}

/// Tries once to set up a further process.
fn attempt(plan: &Plan, (init, pid): (BorrowedFd<'_>, u32), streams: &Streams) -> Result<Joined> {
    let script = script::encode(plan)?;
    let fault = sys::memfd(c"oxrun-fault", 0).map_err(|e| Error::io("memfd_create", &e))?;
    let mut fault = std::fs::File::from(fault);
    let page = [0; oxrun_init::fault::SIZE];
    fault.write_all(&page).map_err(|e| Error::io("write(fault)", &e))?;
    let host = Host::new(plan, Place::In(init, pid), fault).carry_out(&script, streams)?;
    match (host.process, host.control) {
        (Some((pid, pidfd)), Some(control)) => Ok(Joined {
            pid,
            pidfd,
            console: host.console,
            control,
            fault: host.fault,
            total: plan.steps.len() as u32,
            rootfs: plan.rootfs.clone(),
            denied: plan.denies_execve.clone(),
        }),
        _ => Err(Error::new(ErrorKind::Internal, "the plan has no step `ready`")),
    }
}

impl Joined {
    /// What its filter answers to execve, if it does not let it pass.
    pub(crate) fn denied(&self) -> Option<&Warning> {
        self.denied.as_ref()
    }

    /// Lets the program be executed, and gives the listener of its filter to the agent, with the container's state; what
    /// the fault page says then.
    pub(crate) fn start(&self, agent: Option<(Connection, String)>) -> Result<Started> {
        let go = |fds: &[BorrowedFd<'_>]| {
            match sys::send(&self.control, &[0; 4], fds) {
                // It has ended: the fault page says why.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => Ok(()),
                sent => sent.map_err(|e| Error::io("sendmsg(go)", &e)),
            }
        };
        let wait = |patience| {
            let mut fds = [(self.control.as_fd(), libc::POLLIN), (self.pidfd.as_fd(), libc::POLLIN)];
            poll_watched(&mut fds, patience, self.pid)
        };
        if let Some((agent, state)) = agent {
            let (line, end) = sys::socketpair().map_err(|e| Error::io("socketpair", &e))?;
            go(&[end.as_fd()])?;
            drop(end);
            if let Some(loaded) = Loaded::wait(line, (self.pid, &self.pidfd), Some(PATIENCE))? {
                agent.give(loaded, &state)?;
            }
            if wait(Some(ANSWER))?.iter().all(|r| *r == 0) {
                return Ok(Started::Executing { faults: 0 });
            }
        } else {
            go(&[])?;
            wait(None)?;
        }
        // The end of the socket: the execve, or the end of the process.
        let mut buf = [0u8; 8];
        sys::receive(&self.control, &mut buf).map_err(|e| Error::io("recvmsg", &e))?;
        Ok(report::started(&page(&self.fault)?, self.total, &self.rootfs, self.denied(), |_| None))
    }
}
