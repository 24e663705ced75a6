//! Letting a created container's program begin.
//!
//! What must hold: init is told once, and its fifo is gone afterwards; success means that the program was executed and
//! outlived that; who waits for it holds no lock.

use super::{Container, Status};
use crate::cgroup::freezer;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{Asks, loaded};
use crate::launch;
use crate::launch::agent::{self, Connection, Loaded};
use crate::plan::Plan;
use crate::state::Fifo;
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};

/// Why a program that was to begin at once did not: its container was not created, or not started.
#[doc(hidden)]
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "of the two that there are each is told in words of its own")]
pub enum Unbegun {
    Created(Error),
    Started(Error),
}

impl Container {
    /// Whether its program was executed, or at least called for. One that ends at once does so while `start` still goes on:
    /// it is running until it has ended, as it is for whoever comes after.
    pub(super) fn has_begun(&self) -> Result<bool> {
        Ok(matches!(launch::started(&self.dir.fault()?, &self.state), launch::Started::Executing { .. }))
    }

    /// Starts the program of a created container. Comes back when it runs.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is not created, or paused; [`ErrorKind::Exec`] if the program cannot be executed.
    pub fn start(&self) -> Result<()> {
        // Neither a program that takes long to load nor a hook may keep others from deleting the container; nor an
        // agent: a container that cannot be started has no need of it.
        let agent = match &self.state.agent {
            Some(agent) if self.status()? == Status::Created => Some(Connection::open(agent)?),
            _ => None,
        };
        let asked = agent.is_some();
        let (fifo, pidfd) = self.locked(|| self.begin())?;
        if let Some(agent) = agent {
            self.hand_over(agent, pidfd).inspect_err(|_| {
                let _ = sys::pidfd_signal(pidfd, libc::SIGKILL);
            })?;
        }
        self.executed(&fifo, pidfd, asked.then_some(agent::ANSWER))?;
        self.run_hooks("poststart", "running", self.state.pid)
    }

    /// Whether its program begins without being started, and nobody has asked yet whether it has
    /// ([`crate::Runtime::create_to_start`]).
    #[doc(hidden)]
    #[must_use]
    pub fn begins_at_once(&self) -> bool {
        self.begun.lock().is_ok_and(|begun| begun.is_some())
    }

    /// Waits until a program that begins at once has done so, or its process has ended. To be asked before that is waited
    /// for. Nothing is left to say of any other, nor if it was asked before.
    ///
    /// # Errors
    /// As [`crate::Runtime::create`] and [`Container::start`].
    #[doc(hidden)]
    pub fn began(&self, plan: &Plan) -> std::result::Result<(), Unbegun> {
        let Some((control, fault)) = self.begun.lock().ok().and_then(|mut begun| begun.take()) else {
            return Ok(());
        };
        let Some(pidfd) = &self.pidfd else { return Ok(()) };
        let over = |patience| self.over(&control, pidfd, patience).map_err(Unbegun::Started);
        let page = || launch::page(&fault).map_err(Unbegun::Started);
        let by_itself = sys::exited_by_itself(pidfd);
        if !by_itself && !over(launch::patience(plan))? {
            if launch::is_unfinished(plan, &page()?) {
                return Err(Unbegun::Created(launch::silent()));
            }
            over(None)?;
        }
        let page = page()?;
        if launch::is_unfinished(plan, &page) {
            return Err(Unbegun::Created(launch::unfinished(plan, &page, pidfd)));
        }
        match launch::started(&page, &self.state) {
            // Nothing more is told of who has ended by itself.
            launch::Started::Executing { .. } if by_itself => Ok(()),
            _ => self.outcome(&page, pidfd, Asks::Late).map_err(Unbegun::Started),
        }
    }

    /// Lets init go on; once.
    fn begin(&self) -> Result<(OwnedFd, &OwnedFd)> {
        let wrong = |text: &str| Err(Error::new(ErrorKind::WrongState, text));
        let ended = |text: &str| self.broke_down().map_or_else(|| wrong(text), Err);
        let (Some(pidfd), true) = (&self.pidfd, self.alive()?) else {
            return ended("cannot start a container that has stopped");
        };
        if freezer::is_frozen(&self.state.cgroups)? {
            return wrong("cannot start a container in the paused state");
        }
        let fifo = match self.dir.fifo()? {
            Fifo::Held(fifo) => fifo,
            Fifo::Left if sys::is_ending(self.state.pid) => {
                return ended("cannot start a container that has stopped");
            }
            Fifo::Left | Fifo::Gone => return ended("cannot start an already running container"),
        };
        self.dir.begin(&fifo).map_err(|e| {
            // It has ended since it was seen alive.
            let ended = if e.errno() == Some(libc::EPIPE) { self.broke_down() } else { None };
            ended.unwrap_or(e)
        })?;
        Ok((fifo, pidfd))
    }

    /// Why init, which nobody has told to start, ended by itself.
    fn broke_down(&self) -> Option<Error> {
        let waited = self.dir.path.join("start").exists();
        match launch::started(&self.dir.fault().ok()?, &self.state) {
            launch::Started::Failed(e) if waited && e.kind() != ErrorKind::Killed => Some(e),
            _ => None,
        }
    }

    /// Gives the agent the listener of each startContainer hook's filter, and of the program's. One connection is for one
    /// state: `first` is for the first of them.
    fn hand_over(&self, first: Connection, pidfd: &OwnedFd) -> Result<()> {
        let state = self.state.document("created", self.state.pid);
        let mut first = Some(first);
        while let Some(line) = self.dir.listener()? {
            // A hook takes the time that it takes.
            let patience = first.is_some().then_some(launch::PATIENCE);
            let Some(loaded) = Loaded::wait(line, (self.state.pid, pidfd), patience)? else { break };
            let agent = match (first.take(), &self.state.agent) {
                (None, Some(agent)) => Connection::open(agent)?,
                (Some(first), _) => first,
                (None, None) => break,
            };
            let hook = loaded.hook;
            agent.give(loaded, &state)?;
            if !hook {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the execve: it closes init's end of the fifo. That is not yet success: a broken ELF or a limit
    /// kills after the point of no return. If it takes longer than `patience`, in milliseconds, nobody waits for it.
    fn executed(&self, fifo: &OwnedFd, pidfd: &OwnedFd, patience: Option<i32>) -> Result<()> {
        match self.over(fifo, pidfd, patience)? {
            true => self.outcome(&self.dir.fault()?, pidfd, Asks::AtOnce),
            false => Ok(()),
        }
    }

    /// Waits until the other end of `fd` is closed, or the process has ended; at most `patience` milliseconds.
    fn over(&self, fd: &OwnedFd, pidfd: &OwnedFd, patience: Option<i32>) -> Result<bool> {
        let gone = libc::POLLERR | libc::POLLHUP;
        loop {
            let mut fds = [(fd.as_fd(), 0), (pidfd.as_fd(), libc::POLLIN)];
            let events = launch::poll_watched(&mut fds, patience, self.state.pid)?;
            if events.iter().all(|e| *e == 0) {
                return Ok(false);
            }
            let closed = events.first().is_some_and(|e| e & gone != 0);
            let exited = events.get(1).is_some_and(|e| *e != 0);
            if exited || closed {
                return Ok(true);
            }
        }
    }

    /// What became of a program that was called for, by init's page.
    fn outcome(&self, page: &[u8], pidfd: &OwnedFd, asks: Asks) -> Result<()> {
        match launch::started(page, &self.state) {
            launch::Started::Failed(e) => Err(e),
            launch::Started::Executing { faults } => {
                let denied = self.state.denies_execve.as_ref();
                loaded(self.state.pid, pidfd, faults, asks, denied.is_some(), |signal| {
                    launch::unloadable(&self.state.program, signal, denied)
                })
            }
        }
    }
}
