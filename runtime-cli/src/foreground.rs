//! A container in the foreground: signals go in, output comes out, its exit code becomes ours.
//!
//! What must hold: no signal is lost between create and the loop (they are blocked before and read from a
//! signalfd); orphans of the container that come to us are reaped; the container's own process is reaped
//! only through its pidfd, so that its status is never taken by the wrong hand.

use crate::args;
use crate::cmd::create::{started, write_pid_file};
use crate::cmd::{Ctx, Failure};
use crate::console::{Pump, Raw};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use oxrun_core::{Container, ExitStatus};
use std::os::fd::AsFd;

/// Signals and their descriptor, from before the container exists.
pub(crate) struct Session {
    signals: SignalFd,
}

impl Session {
    /// Blocks what will be forwarded, and becomes the reaper of orphans.
    pub(crate) fn begin(subreaper: bool) -> Result<Session, Failure> {
        let failure = |call: &str, e: nix::Error| {
            Failure::plain(format!("{call}: {}", oxrun_core::errno_text(e as i32)))
        };
        let mut set = SigSet::all();
        // Faults of our own must stay faults.
        for signal in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGFPE,
        ] {
            set.remove(signal);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)
            .map_err(|e| failure("sigprocmask", e))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).map_err(|e| failure("signalfd", e))?;
        if subreaper {
            nix::sys::prctl::set_child_subreaper(true)
                .map_err(|e| failure("prctl(PR_SET_CHILD_SUBREAPER)", e))?;
        }
        Ok(Session { signals })
    }

    /// Starts the container, stays until its process ends, removes it.
    pub(crate) fn run(
        self,
        ctx: &Ctx<'_>,
        mut container: Container,
        a: &args::Create,
        keep: bool,
    ) -> Result<u8, Failure> {
        let mut pump = container.take_console().map(Pump::new);
        if let Some(pump) = &pump {
            self.copy_size(pump);
        }
        let raw = pump.as_ref().map(|_| Raw::begin());
        let begun = container
            .start()
            .map_err(|e| started(ctx, &e))
            .and_then(|()| write_pid_file(&container, a));
        if let Err(e) = begun {
            drop(raw);
            let _ = container.delete(true);
            return Err(e);
        }
        let status = self.attend(&container, pump.as_mut());
        drop(raw);
        let status = status?;
        if !keep {
            for warning in container.delete(true)? {
                ctx.log.warning(&warning);
            }
        }
        Ok(match status {
            ExitStatus::Exited(code) => code as u8,
            ExitStatus::Signaled(signal) => (128 + signal) as u8,
            ExitStatus::Unknown => 255,
        })
    }

    /// The loop: until the process has ended and its output is passed on.
    fn attend(
        &self,
        container: &Container,
        mut pump: Option<&mut Pump>,
    ) -> Result<ExitStatus, Failure> {
        let Some(pidfd) = container.pidfd() else {
            return Ok(ExitStatus::Unknown);
        };
        let stdin = std::io::stdin();
        loop {
            let mut fds = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(pidfd, PollFlags::POLLIN),
            ];
            let (mut wants, mut open) = (false, false);
            if let Some(pump) = pump.as_deref().filter(|p| p.is_open()) {
                open = true;
                let mut events = PollFlags::POLLIN;
                events.set(PollFlags::POLLOUT, pump.has_pending());
                fds.push(PollFd::new(pump.master().as_fd(), events));
                wants = pump.wants_input();
                if wants {
                    fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
                }
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => {
                    return Err(Failure::plain(format!(
                        "poll: {}",
                        oxrun_core::errno_text(e as i32)
                    )));
                }
            }
            let ready: Vec<bool> = fds.iter().map(|f| f.any().unwrap_or(false)).collect();
            drop(fds);
            let is = |n: usize| ready.get(n).copied().unwrap_or(false);
            if let Some(pump) = pump.as_deref_mut() {
                if open && is(2) {
                    pump.flush();
                    pump.output();
                }
                if wants && is(3) {
                    pump.input();
                }
            }
            if is(0) {
                self.signals_arrived(container, pump.as_deref());
            }
            if is(1) {
                if let Some(pump) = pump {
                    pump.output();
                }
                return container.wait().map_err(Failure::from);
            }
        }
    }

    fn signals_arrived(&self, container: &Container, pump: Option<&Pump>) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => reap_orphans(container),
                Ok(Signal::SIGWINCH) => {
                    if let Some(pump) = pump {
                        self.copy_size(pump);
                    }
                }
                Ok(Signal::SIGURG | Signal::SIGPIPE) => {}
                // A process that has just ended needs no signal.
                _ => drop(container.kill(info.ssi_signo as i32, false)),
            }
        }
    }

    fn copy_size(&self, pump: &Pump) {
        oxrun_core::copy_window_size(std::io::stdin().as_fd(), pump.master().as_fd());
    }
}

/// Reaps every child but the container's process.
fn reap_orphans(container: &Container) {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, peek) {
        let pid = match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => pid,
            _ => return,
        };
        if pid.as_raw() as u32 == container.started_pid() {
            return;
        }
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    }
}
