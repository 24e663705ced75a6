//! Further processes of a container.
//!
//! What must hold: what is said of one that fails is its own fault or its container's, whichever it was: a container
//! that ends takes along who joins it, and then the call that met it says nothing.

use crate::error::{Error, ErrorKind, Result};
use crate::launch;
use crate::launch::agent::Connection;
use crate::sys::{self, ExitStatus};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

/// Who asks how a program was loaded, by the page faults that there may be between the last note of init and the end of
/// loading: a process that was killed after more was killed as its program.
#[derive(Clone, Copy)]
pub(crate) enum Asks {
    /// In the moment of the execve, in which hardly anything else kills.
    AtOnce,
    /// Any time later. Only execve itself has touched a page, and it ends with SIGSEGV what it cannot load
    /// (`bprm_execve` of Linux 5.8 and later).
    Late,
}

impl Asks {
    fn blames_loading(self, signal: i32, faults: u64) -> bool {
        match self {
            Asks::AtOnce => signal != libc::SIGSYS && faults <= 12,
            Asks::Late => signal == libc::SIGSEGV && faults <= 1,
        }
    }
}

pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::WrongState, "cannot exec in a stopped container")
}

/// Why a further process could not be made: if the container's process ends, that is why, whichever call met it, and
/// also if the program was killed on its way. What the kernel says of the program is so all the same.
pub(crate) fn overtaken(pid: u32, e: Error) -> Error {
    let killed = e.kind() == ErrorKind::Exec && e.errno().is_none();
    let met = killed || matches!(e.kind(), ErrorKind::Syscall | ErrorKind::Killed);
    if !met || !sys::is_ending(pid) {
        return e;
    }
    let why = e.hint_text().map_or_else(String::new, |hint| format!(" ({hint})"));
    stopped().hint(format!("it stopped meanwhile: {e}{why}"))
}

/// The kernel closes descriptors before it has loaded the program. One that it cannot load it then kills:
/// a broken ELF, a stack or address space limit. There is no event for the end of loading, so what the
/// kernel notes at its very end is looked for, in a loop bounded by time. A process that is dead by then
/// was killed while it was loaded if it has touched no more pages since than loading does, or if its filter
/// lets it `never` be executed: any other SIGSYS is the program's own.
pub(crate) fn loaded(
    pid: u32,
    pidfd: &OwnedFd,
    faults: u64,
    asks: Asks,
    never: bool,
    unloadable: impl Fn(i32) -> Error,
) -> Result<()> {
    let exits_within =
        |millis| sys::poll_exit(pidfd.as_fd(), Some(millis)).map_err(|e| Error::io("poll", &e));
    for _ in 0..1000 {
        // A child that has ended by itself was loaded; that is told with less than /proc takes.
        if sys::exited_by_itself(pidfd) {
            return Ok(());
        }
        // In this order: what is read of a process that turns out to be dead is final.
        let loading = sys::loading(pid).map_err(|e| Error::io(format!("read(/proc/{pid}/stat)"), &e))?;
        match loading {
            sys::Loading::Underway if exits_within(0)? => {}
            sys::Loading::Underway => {
                exits_within(1)?;
            }
            sys::Loading::Killed { signal, faults: then }
                if never || (faults != 0 && asks.blames_loading(signal, then.saturating_sub(faults))) =>
            {
                return Err(unloadable(signal));
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// A further process of a container. Dropping the handle of a started one does nothing to it.
#[derive(Debug)]
pub struct Exec {
    pub(crate) joined: launch::Joined,
    /// The agent that gets the listener of its filter, and the container's state for it.
    pub(crate) agent: Mutex<Option<(Connection, String)>>,
    pub(crate) program: String,
    /// The pid of the container's process.
    pub(crate) container: u32,
}

impl Exec {
    /// Executes the program.
    ///
    /// # Errors
    /// [`ErrorKind::Exec`] if it cannot be executed.
    pub fn start(&self) -> Result<()> {
        let agent = self.agent.lock().map_or(None, |mut agent| agent.take());
        let done = match self.joined.start(agent) {
            Ok(launch::Started::Executing { faults }) => {
                let denied = self.joined.denied();
                loaded(
                    self.joined.pid,
                    &self.joined.pidfd,
                    faults,
                    Asks::AtOnce,
                    denied.is_some(),
                    |signal| launch::unloadable(&self.program, signal, denied),
                )
            }
            Ok(launch::Started::Failed(e)) => Err(e),
            Err(e) => {
                let _ = sys::pidfd_signal(&self.joined.pidfd, libc::SIGKILL);
                Err(e)
            }
        };
        done.map_err(|e| {
            // It is about to end, and nobody else will wait for it.
            let _ = sys::poll_exit(self.joined.pidfd.as_fd(), Some(1000));
            sys::reap(&self.joined.pidfd);
            overtaken(self.container, e)
        })
    }

    /// Its pid, as the caller sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.joined.pid
    }
    /// A pidfd, for poll and friends.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.joined.pidfd.as_fd()
    }
    /// Takes the controlling side of its terminal. There is one once.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.joined.console.take()
    }
    /// Sends it a signal.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it has ended.
    pub fn kill(&self, signal: i32) -> Result<()> {
        sys::pidfd_signal(&self.joined.pidfd, signal).map_err(|e| match e.raw_os_error() {
            Some(libc::ESRCH) => Error::new(ErrorKind::WrongState, "os: process already finished"),
            _ => Error::io(format!("pidfd_send_signal({}, {signal})", self.joined.pid), &e),
        })
    }
    /// Waits for its end, and reaps it if it is a child of the caller.
    ///
    /// # Errors
    /// If waiting fails.
    pub fn wait(&self) -> Result<ExitStatus> {
        sys::wait(&self.joined.pidfd).map_err(|e| Error::io("waitid", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_process_that_was_killed_with_its_container_does_not_blame_its_program() {
        let killed = || launch::unloadable("/bin/x", libc::SIGKILL, None);
        let missing = || Error::new(ErrorKind::Exec, "exec /bin/x").with_call("execve", libc::ENOENT);
        let mut ended = std::process::Command::new("true").spawn().expect("a process");
        sys::poll_exit(sys::pidfd_open(ended.id()).expect("its pidfd").as_fd(), None).expect("its end");
        assert_eq!(overtaken(ended.id(), killed()).kind(), ErrorKind::WrongState);
        assert_eq!(overtaken(ended.id(), missing()).kind(), ErrorKind::Exec);
        assert_eq!(overtaken(std::process::id(), killed()).kind(), ErrorKind::Exec);
        ended.wait().expect("its status");
        assert_eq!(overtaken(ended.id(), killed()).kind(), ErrorKind::WrongState);
    }
}
