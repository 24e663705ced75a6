//! A container in the foreground: signals go in, output comes out, its exit code becomes ours.
//!
//! What must hold: no signal is lost between create and the loop (they are blocked before and read from a
//! signalfd); orphans of the container that come to us are reaped; the container's own process is reaped
//! only through its pidfd, so that its status is never taken by the wrong hand.

use crate::args;
use crate::cmd::create::{failed, hand_over, pid_file, started};
use crate::cmd::{Ctx, Failure};
use crate::console::{Pump, Raw};
use crate::notify::Proxy;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use oxrun_core::{Container, Exec, ExitStatus, Plan, Unbegun};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

/// What is attended in the foreground.
trait Attended {
    fn pid(&self) -> u32;
    fn pidfd(&self) -> Option<BorrowedFd<'_>>;
    /// Passes a signal on. A process that has just ended needs none.
    fn signal(&self, signal: i32);
    fn wait(&self) -> oxrun_core::Result<ExitStatus>;
}

impl Attended for Container {
    fn pid(&self) -> u32 {
        self.started_pid()
    }
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Container::pidfd(self)
    }
    fn signal(&self, signal: i32) {
        let _ = self.kill(signal, false);
    }
    fn wait(&self) -> oxrun_core::Result<ExitStatus> {
        Container::wait(self)
    }
}

impl Attended for Exec {
    fn pid(&self) -> u32 {
        Exec::pid(self)
    }
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(Exec::pidfd(self))
    }
    fn signal(&self, signal: i32) {
        let _ = self.kill(signal);
    }
    fn wait(&self) -> oxrun_core::Result<ExitStatus> {
        Exec::wait(self)
    }
}

/// How long a program that begins at once may take to begin before it is looked after, in milliseconds.
const BEGINNING: u8 = 250;

/// The failure of a program that was to begin at once.
fn unbegun(ctx: &Ctx<'_>, e: &Unbegun) -> Failure {
    match e {
        Unbegun::Created(e) => failed(ctx, "run", e),
        Unbegun::Started(e) => started(ctx, e),
    }
}

/// The exit code that stands for how a process ended.
fn code(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Exited(code) => code as u8,
        ExitStatus::Signaled(signal) => (128 + signal) as u8,
        ExitStatus::Unknown => 255,
    }
}

fn failure(call: &str, e: nix::Error) -> Failure {
    Failure::plain(format!("{call}: {}", oxrun_core::errno_text(e as i32)))
}

/// Signals and their descriptor, from before the container exists.
pub(crate) struct Session {
    signals: SignalFd,
}

impl Session {
    /// Blocks what will be forwarded, and becomes the reaper of orphans.
    pub(crate) fn begin(subreaper: bool) -> Result<Session, Failure> {
        let mut set = SigSet::all();
        // Faults of our own must stay faults.
        for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE] {
            set.remove(signal);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None).map_err(|e| failure("sigprocmask", e))?;
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
        plan: &Plan,
        mut container: Container,
        a: &args::Create,
        keep: bool,
    ) -> Result<u8, Failure> {
        let mut pump = container.take_console().map(Pump::new);
        if let Some(pump) = &pump {
            self.copy_size(pump);
        }
        let raw = pump.as_ref().map(|_| Raw::begin());
        // Whoever only waits for the end need not be woken at the beginning.
        let created = Cell::new(true);
        let began = || {
            container.began(plan).map_err(|e| {
                created.set(!matches!(e, Unbegun::Created(_)));
                unbegun(ctx, &e)
            })
        };
        let later = a.pid_file.is_none() && container.begins_at_once();
        let start = || match container.begins_at_once() {
            _ if later => Ok(()),
            true => began(),
            false => container.start().map_err(|e| started(ctx, &e)),
        };
        let begun = hand_over(None, None, a.pidfd_socket.as_deref(), container.pidfd())
            .and_then(|()| Proxy::open(ctx, container.id()))
            .and_then(|proxy| start().map(|()| proxy))
            .and_then(|proxy| pid_file(a.pid_file.as_deref(), container.started_pid()).map(|()| proxy));
        let status =
            begun.and_then(|proxy| self.attend(&container, pump.as_mut(), proxy, later.then_some(&began)));
        drop(raw);
        let status = match status {
            Ok(status) => status,
            // Nobody would attend to it any more. What is reported is the failure that matters.
            Err(e) => {
                let _ = if created.get() { container.delete(true).map(drop) } else { container.discard() };
                return Err(e);
            }
        };
        if !keep {
            for warning in container.delete(true)? {
                ctx.log.warning(&warning);
            }
        }
        Ok(code(status))
    }

    /// Starts a further process and stays until it ends.
    pub(crate) fn run_exec(self, mut exec: Exec, a: &args::Exec) -> Result<u8, Failure> {
        let mut pump = exec.take_console().map(Pump::new);
        if let Some(pump) = &pump {
            self.copy_size(pump);
        }
        let raw = pump.as_ref().map(|_| Raw::begin());
        let begun = hand_over(None, None, a.pidfd_socket.as_deref(), Some(exec.pidfd()))
            .and_then(|()| exec.start().map_err(|e| crate::cmd::exec::failed(&e)))
            .and_then(|()| pid_file(a.pid_file.as_deref(), exec.pid()));
        if let Err(e) = begun {
            drop(raw);
            let _ = exec.kill(nix::libc::SIGKILL);
            return Err(e);
        }
        let status = self.attend(&exec, pump.as_mut(), None, None);
        drop(raw);
        // Nobody would attend to it any more.
        let status = status.inspect_err(|_| drop(exec.kill(nix::libc::SIGKILL)))?;
        Ok(code(status))
    }

    /// The loop: until the process has ended and its output is passed on. Whether it `began` is asked when it has ended,
    /// should long have begun, or gets a signal, which would be lost on who is to become its program.
    fn attend(
        &self,
        container: &dyn Attended,
        mut pump: Option<&mut Pump>,
        mut proxy: Option<Proxy>,
        mut began: Option<&dyn Fn() -> Result<(), Failure>>,
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
            // At the end: the places of the others are known.
            fds.extend(proxy.as_ref().map(|proxy| PollFd::new(proxy.as_fd(), PollFlags::POLLIN)));
            let patience = if began.is_some() { BEGINNING.into() } else { PollTimeout::NONE };
            let nothing = match poll(&mut fds, patience) {
                Ok(count) => count == 0,
                Err(nix::Error::EINTR) => false,
                Err(e) => return Err(failure("poll", e)),
            };
            let ready: Vec<bool> = fds.iter().map(|f| f.any().unwrap_or(false)).collect();
            drop(fds);
            let is = |n: usize| ready.get(n).copied().unwrap_or(false);
            if let Some(began) = began.take_if(|_| nothing || is(0) || is(1)) {
                began()?;
            }
            if let Some(pump) = pump.as_deref_mut() {
                if open && is(2) {
                    pump.flush();
                    pump.output();
                }
                if wants && is(3) {
                    pump.input();
                }
            }
            // Whoever watches us watches the container.
            if proxy.as_ref().is_some_and(|proxy| is(ready.len() - 1) && proxy.relay(std::process::id())) {
                proxy = None;
            }
            // Who has ended needs no signal any more.
            if is(0) && !is(1) {
                self.signals_arrived(container, pump.as_deref())?;
            }
            if is(1) {
                if let Some(pump) = pump {
                    pump.output();
                }
                return container.wait().map_err(Failure::from);
            }
        }
    }

    fn signals_arrived(&self, container: &dyn Attended, pump: Option<&Pump>) -> Result<(), Failure> {
        loop {
            let info = match self.signals.read_signal() {
                Ok(Some(info)) => info,
                Ok(None) | Err(nix::Error::EINTR) => return Ok(()),
                // It would be ready again at once, for ever.
                Err(e) => return Err(failure("read(signalfd)", e)),
            };
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => reap_orphans(container),
                Ok(Signal::SIGWINCH) => {
                    if let Some(pump) = pump {
                        self.copy_size(pump);
                    }
                }
                Ok(Signal::SIGURG) => {}
                // Of a reader of ours that is gone.
                Ok(Signal::SIGPIPE) if info.ssi_pid == std::process::id() => {}
                // A process that has just ended needs no signal.
                _ => container.signal(info.ssi_signo as i32),
            }
        }
    }

    fn copy_size(&self, pump: &Pump) {
        oxrun_core::copy_window_size(std::io::stdin().as_fd(), pump.master().as_fd());
    }
}

/// Reaps every child but the container's process.
fn reap_orphans(container: &dyn Attended) {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, peek) {
        let pid = match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => pid,
            _ => return,
        };
        if pid.as_raw() as u32 == container.pid() {
            return;
        }
        if waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG).is_err() {
            return;
        }
    }
}
