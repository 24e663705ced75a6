//! The talk with init: messages, which are numbers of steps, and its end.
//!
//! What must hold: no wait is unbounded, and each also watches the process: a process that was stopped or that
//! ended while its clone holds the socket open says nothing any more.

use super::{Host, page, report};
use crate::error::{Error, ErrorKind, Lane, Result};
use crate::plan::action::Action;
use crate::plan::{Plan, Step};
use crate::sys::{self, ExitStatus};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How long init may take from one message to the next, in milliseconds. Only something that stopped it, or a
/// filesystem that does not answer, takes that long.
pub(crate) const PATIENCE: i32 = 120_000;

/// How long a killed init may take to end, in milliseconds.
pub(super) const DEATH: i32 = 10_000;

/// How long init may be silent before it is looked at, in milliseconds.
const GLANCE: i32 = 3000;

/// How long the clone is waited for before its pid is asked for, in milliseconds.
const HASTE: i32 = 1000;

/// Waits as poll(2) does for what a process does that is not yet its program; all 0 if nothing came in `patience`
/// milliseconds. The kernel has no event for a process that somebody stops: when nothing came for a while, it is looked
/// whether it stands still.
///
/// # Errors
/// [`ErrorKind::Timeout`] if it was stopped.
pub(crate) fn poll_watched(
    fds: &mut [(BorrowedFd<'_>, i16)],
    patience: Option<i32>,
    pid: u32,
) -> Result<Vec<i16>> {
    let mut left = patience;
    loop {
        let slice = left.map_or(GLANCE, |left| left.min(GLANCE));
        let events = sys::poll(fds, Some(slice)).map_err(|e| Error::io("poll(init)", &e))?;
        if events.iter().any(|e| *e != 0) {
            return Ok(events);
        }
        if sys::is_stopped(pid) {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("container init (pid {pid}) was stopped before it became its program"),
            )
            .hint("somebody sent it SIGSTOP, which a process of its pid namespace may do"));
        }
        left = left.map(|left| left - slice);
        if left.is_some_and(|left| left <= 0) {
            return Ok(events);
        }
    }
}

/// How long to wait for init, in milliseconds. A hook that it runs may take as long as the config lets it.
pub(crate) fn patience(plan: &Plan) -> Option<i32> {
    let hook = |s: &Step| s.lane == Lane::Init && matches!(s.action, Action::Hook(_));
    let created = |s: &&Step| !matches!(s.action, Action::Created);
    let hooks = plan.steps.iter().take_while(created).any(hook);
    (!hooks && !plan.patient).then_some(PATIENCE)
}

/// What init says: which step it is at, the pid of a clone, and a descriptor.
pub(super) struct Message {
    step: u32,
    pid: u32,
    fd: Option<OwnedFd>,
}

impl Host<'_> {
    /// Receives the message of step `number`. The process that cloned and its clone speak on one
    /// socket, and the clone may be the faster one: what comes early is kept.
    fn message(&mut self, number: u32) -> Result<Message> {
        if let Some(at) = self.early.iter().position(|m| m.step == number) {
            return Ok(self.early.swap_remove(at));
        }
        loop {
            self.wait_for_message()?;
            let Some(control) = &self.control else {
                return Err(self.died());
            };
            let mut buf = [0u8; 8];
            let (n, fd) = sys::receive(control, &mut buf).map_err(|e| Error::io("recvmsg", &e))?;
            let [a, b, c, d, pid @ ..] = buf;
            let message =
                Message { step: u32::from_le_bytes([a, b, c, d]), pid: u32::from_le_bytes(pid), fd };
            if n != buf.len() {
                return Err(self.died());
            }
            if message.step == number {
                return Ok(message);
            }
            if self.early.len() > self.plan.steps.len() {
                return Err(Error::new(ErrorKind::Internal, "init says too much"));
            }
            self.early.push(message);
        }
    }

    /// Waits until there is something to receive. A process that was stopped, or one that ended while its
    /// clone holds the socket open, says nothing any more.
    fn wait_for_message(&mut self) -> Result<()> {
        if let (Some(control), true) = (&self.control, self.aside.1.is_some()) {
            // The end of the process that clones is none of the clone's.
            let said = sys::poll(&mut [(control.as_fd(), libc::POLLIN)], Some(HASTE));
            if said.map_err(|e| Error::io("poll(control)", &e))?.iter().any(|e| *e != 0) {
                return Ok(());
            }
            self.collect()?;
        }
        let Some(control) = &self.control else {
            return Err(Error::new(ErrorKind::Internal, "init was not spawned"));
        };
        let Some((pid, pidfd)) = &self.process else {
            return Ok(());
        };
        let io = |e| Error::io("poll(control)", &e);
        let mut fds = [(control.as_fd(), libc::POLLIN), (pidfd.as_fd(), libc::POLLIN)];
        let ready = poll_watched(&mut fds, patience(self.plan), *pid)?;
        let said = |ready: &[i16]| ready.first().is_some_and(|e| *e != 0);
        if said(&ready) {
            return Ok(());
        }
        // It may have spoken and ended in between.
        if sys::poll(&mut [(control.as_fd(), libc::POLLIN)], Some(0)).map_err(io).is_ok_and(|r| said(&r)) {
            return Ok(());
        }
        if ready.get(1).is_some_and(|e| *e != 0) {
            return Err(self.ended());
        }
        Err(silent())
    }

    /// The error of a process that ended without a word.
    fn ended(&self) -> Error {
        let status = self.process.as_ref().and_then(|p| sys::wait(&p.1).ok());
        self.failure(status.unwrap_or(ExitStatus::Unknown))
    }

    /// Waits until init has reached the barrier before step `number`.
    pub(super) fn reached(&mut self, number: u32) -> Result<()> {
        let fd = self.message(number)?.fd;
        self.collect()?;
        self.reap_outside();
        if fd.is_some() {
            self.console = fd;
        }
        Ok(())
    }

    /// Waits for the clone. The process that cloned is done, and reaped when its clone has gone on for a while.
    pub(super) fn cloned(&mut self, number: u32) -> Result<()> {
        // Nothing is done before the clone itself has something to say.
        self.aside.1 = self.aside.0.take();
        if self.aside.1.is_some() {
            return Ok(());
        }
        let Message { pid, fd, .. } = self.message(number)?;
        let Some(pidfd) = fd else {
            return Err(Error::new(ErrorKind::Internal, "init sent no pidfd"));
        };
        self.is_clone(pid, pidfd);
        Ok(())
    }

    fn is_clone(&mut self, pid: u32, pidfd: OwnedFd) {
        self.reap_outside();
        self.outside = self.process.replace((pid, pidfd)).map(|(_, old)| old);
    }

    /// Takes the clone's pid from where it was told aside.
    fn collect(&mut self) -> Result<()> {
        let (Some(aside), Some((pid, _))) = (&self.aside.1, &self.process) else { return Ok(()) };
        let said = poll_watched(&mut [(aside.as_fd(), libc::POLLIN)], Some(PATIENCE), *pid)?;
        if said.iter().all(|e| *e == 0) {
            return Err(silent());
        }
        match clone_told(aside)? {
            Some((pid, pidfd)) => {
                self.aside.1 = None;
                self.is_clone(pid, pidfd);
                Ok(())
            }
            None => Err(self.untold()),
        }
    }

    /// The clone's pid was not told: the process that cloned has exited with the errno of its last call.
    fn untold(&mut self) -> Error {
        let status = self.process.as_ref().map(|(_, old)| sys::wait_within(old, DEATH));
        match status {
            Some(Ok(ExitStatus::Exited(errno @ 1..=133))) => {
                Error::syscall("sendmsg(the pid of the container's process)", errno)
            }
            _ => self.died(),
        }
    }

    /// The same if it was told: whoever ends the container's process ends the clone if there is one.
    pub(super) fn collect_now(&mut self) {
        let Some(aside) = self.aside.1.take() else { return };
        let said = sys::poll(&mut [(aside.as_fd(), libc::POLLIN)], Some(0));
        if said.is_ok_and(|said| said.iter().any(|e| *e != 0))
            && let Ok(Some((pid, pidfd))) = clone_told(&aside)
        {
            self.is_clone(pid, pidfd);
        }
    }

    /// Reaps the process that cloned, which has nothing left to do but to end.
    pub(super) fn reap_outside(&mut self) {
        if let Some(old) = self.outside.take()
            && !sys::reap(&old)
        {
            // One that was stopped is left to whoever reaps after us.
            let _ = sys::wait_within(&old, PATIENCE);
        }
    }

    /// Lets init go on.
    pub(super) fn go(&mut self) -> Result<()> {
        let source = self.source.take();
        let fds: Vec<BorrowedFd<'_>> = source.iter().map(AsFd::as_fd).collect();
        let sent = match &self.control {
            Some(control) => sys::send(control, &[0; 4], &fds),
            None => Ok(()),
        };
        sent.map_err(|e| match e.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => self.died(),
            _ => Error::io("sendmsg to the container's init", &e),
        })
    }

    /// Init is gone: says why, and reaps it.
    pub(super) fn died(&mut self) -> Error {
        self.collect_now();
        self.control = None;
        let status = match self.process.take() {
            Some((_, pidfd)) => {
                // It hung up, so it is dying or dead; if it is neither it has no business any more.
                if !exits_soon(&pidfd) {
                    let _ = sys::pidfd_signal(&pidfd, libc::SIGKILL);
                }
                sys::wait_within(&pidfd, DEATH).unwrap_or(ExitStatus::Unknown)
            }
            None => ExitStatus::Unknown,
        };
        self.failure(status)
    }

    /// Why init ended, as far as it has said so.
    fn failure(&self, status: ExitStatus) -> Error {
        match page(&self.fault) {
            Ok(page) => report::failure(self.plan, &page, status),
            Err(e) => e,
        }
    }
}

/// The pid and the pidfd that the process that clones has told of its clone; none if it ended before.
fn clone_told(aside: &OwnedFd) -> Result<Option<(u32, OwnedFd)>> {
    let mut buf = [0u8; 8];
    match sys::receive(aside, &mut buf).map_err(|e| Error::io("recvmsg", &e))? {
        (8, Some(pidfd)) => {
            let [_, _, _, _, pid @ ..] = buf;
            Ok(Some((u32::from_le_bytes(pid), pidfd)))
        }
        // The kernel leaves out a descriptor for which there is no room.
        (8, None) => Err(Error::syscall("recvmsg(pidfd)", libc::EMFILE)),
        _ => Ok(None),
    }
}

pub(crate) fn silent() -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("container init said nothing for {} s; it may have been stopped", PATIENCE / 1000),
    )
}

/// Gives a process that closed its socket the moment it needs to exit by itself.
fn exits_soon(pidfd: &OwnedFd) -> bool {
    sys::poll_exit(pidfd.as_fd(), Some(1000)).unwrap_or(false)
}
