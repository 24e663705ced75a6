//! A container that exists: its status, and what can be done with it.
//!
//! ```text
//!            start            exits
//!  created ---------> running -----> stopped --delete--> gone
//!     |  exits or kill                  ^
//!     +---------------------------------+
//!
//!  created, running <--pause, resume--> paused
//! ```
//!
//! The status is derived, never stored: no process is stopped; a cgroup that was frozen is paused; a process
//! that still holds the start fifo is created; any other is running.

mod start;

#[doc(hidden)]
pub use start::Unbegun;

use crate::cgroup::stats::{self, Stats};
use crate::cgroup::watch::Watch;
use crate::cgroup::{end, freezer, systemd};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{Exec, overtaken, stopped};
use crate::hooks;
use crate::launch::agent::Connection;
use crate::launch::{self, Launched, Stdio};
use crate::plan::Plan;
use crate::plan::action::CgroupDir;
use crate::state::{Fifo, State, StateDir};
use crate::sys::{self, ExitStatus};
use crate::template::Template;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

/// What a container is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Status {
    /// Set up, waiting for start.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen, those of a program or the one that waits for start.
    Paused,
    /// Its process is gone.
    Stopped,
}

impl Status {
    /// The word of the specification, and `paused`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn not_running() -> Error {
    Error::new(ErrorKind::WrongState, "container not running")
}

/// A container. Dropping the handle does nothing to it.
///
/// # Examples
/// A further process with a command line of its own, in a container that exists:
/// ```no_run
/// # fn main() -> Result<(), oxrun_core::Error> {
/// use oxrun_core::{CreateOptions, ExitStatus, Runtime, Stdio};
/// let runtime = Runtime::new("/run/acme");
/// let web = runtime.open("web")?;
/// let mut process = runtime.process_of(&web)?;
/// process.set_args(Some(vec!["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()]));
/// let plan = runtime.plan_exec(&web, &process, &CreateOptions::default())?;
/// let exec = web.exec(&plan, Stdio::null())?;
/// exec.start()?;
/// assert_eq!(exec.wait()?, ExitStatus::Exited(3));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Container {
    dir: StateDir,
    state: State,
    /// The process, if this handle's process made it or it was alive when it was opened.
    pidfd: Option<OwnedFd>,
    console: Option<OwnedFd>,
    /// Apart: it is large, and a handle is moved about.
    template: OnceLock<Box<Template>>,
    /// Of one whose program begins at once: what is closed when it has, and its page.
    begun: Mutex<Option<(OwnedFd, File)>>,
    /// Whether its end was waited for.
    waited: AtomicBool,
}

impl Container {
    pub(crate) fn created(dir: StateDir, l: Launched) -> Container {
        // The handle does not keep others away.
        dir.unlock();
        Container {
            dir,
            state: l.state,
            pidfd: Some(l.pidfd),
            console: l.console,
            template: OnceLock::new(),
            begun: Mutex::new(l.begun),
            waited: AtomicBool::new(false),
        }
    }

    /// Opens a container that exists. One whose program begins at once does not before it has: until then its process is
    /// nowhere where others could join it.
    pub(crate) fn open(dir: StateDir) -> Result<Container> {
        let container = Container::open_unfinished(dir)?;
        if container.is_there()? { Ok(container) } else { Err(container.dir.unfinished()) }
    }

    /// Whether it is there for others.
    pub(crate) fn is_there(&self) -> Result<bool> {
        Ok(!self.state.at_once || self.pidfd.is_none() || self.has_begun()?)
    }

    /// The same of one that is not yet there for others.
    pub(crate) fn open_unfinished(dir: StateDir) -> Result<Container> {
        let state = dir.read()?;
        let pidfd = state.process()?;
        let (begun, waited) = (Mutex::new(None), AtomicBool::new(false));
        Ok(Container { dir, state, pidfd, console: None, template: OnceLock::new(), begun, waited })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.state.id
    }
    /// The bundle's directory.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.state.bundle
    }
    /// The root filesystem on the host.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.state.rootfs
    }
    /// When it was created, RFC 3339.
    #[must_use]
    pub fn created_at(&self) -> &str {
        &self.state.created
    }
    /// The annotations of its config.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.state.annotations
    }
    /// The uid that created it.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.state.owner
    }
    /// The pid of its process, as its creator saw it; 0 once it is gone.
    #[must_use]
    pub fn pid(&self) -> u32 {
        // What cannot be told is told by `status`.
        if self.alive().unwrap_or(true) { self.state.pid } else { 0 }
    }
    /// The pid that its process has or had.
    #[must_use]
    pub fn started_pid(&self) -> u32 {
        self.state.pid
    }
    /// A pidfd of its process, for poll and friends.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
    /// Takes the controlling side of its terminal. There is one once, after create.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    fn alive(&self) -> Result<bool> {
        let Some(pidfd) = &self.pidfd else { return Ok(false) };
        let exited = sys::poll_exit(pidfd.as_fd(), Some(0));
        exited.map(|exited| !exited).map_err(|e| Error::io(format!("poll(pidfd of {})", self.state.pid), &e))
    }

    /// What it is doing now.
    ///
    /// # Errors
    /// If the state directory cannot be read.
    pub fn status(&self) -> Result<Status> {
        if self.alive()? { self.status_alive() } else { Ok(Status::Stopped) }
    }

    /// The same of one whose process was alive a moment ago.
    fn status_alive(&self) -> Result<Status> {
        if freezer::is_frozen(&self.state.cgroups)? {
            return Ok(Status::Paused);
        }
        Ok(match self.dir.fifo()? {
            Fifo::Held(_) => Status::Created,
            // If it never was started, init closes what it has before it is gone.
            Fifo::Left if sys::is_ending(self.state.pid) && !self.has_begun()? => Status::Stopped,
            // It went with the whole directory: the container was deleted meanwhile.
            Fifo::Gone if !self.alive()? => Status::Stopped,
            Fifo::Left | Fifo::Gone => Status::Running,
        })
    }

    fn run_hooks(&self, name: &str, status: &str, pid: u32) -> Result<()> {
        for hook in self.state.hooks.iter().filter(|h| h.name == name) {
            if let Err(e) = hooks::run(hook, &self.state.document(status, pid)) {
                // A failed poststart ends the container (runtime-spec, runtime.md, lifecycle 9).
                if let (Some(pidfd), "poststart") = (&self.pidfd, name) {
                    let _ = sys::pidfd_signal(pidfd, libc::SIGKILL);
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// Sets up a further process in the container, as `plan` ([`crate::Runtime::plan_exec`]) says. Its program runs after
    /// [`Exec::start`]; dropped before that, it ends.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if the container is stopped; why a step failed.
    pub fn exec(&self, plan: &Plan, stdio: Stdio) -> Result<Exec> {
        if self.begins_at_once() {
            return Err(not_running());
        }
        let (Some(init), true) = (&self.pidfd, self.alive()?) else {
            return Err(stopped());
        };
        let program = plan.steps.iter().find_map(|s| match &s.action {
            crate::plan::action::Action::Lookup { name, .. } => Some(name.clone()),
            _ => None,
        });
        // Before anything is made.
        let agent = match plan.agent() {
            Some(agent) => {
                let status = self.status()?.to_string();
                Some((Connection::open(agent)?, self.state.document(&status, self.state.pid)))
            }
            None => None,
        };
        let container = self.state.pid;
        let joined = launch::join(plan, init.as_fd(), container, stdio)
            .map_err(|e| overtaken(container, self.of_nobody(e)))?;
        Ok(Exec { joined, agent: agent.into(), program: program.unwrap_or_default(), container })
    }

    /// The error of a caller without rights who may not join a process that has become another user: until that is its
    /// program, it is traced by nobody, and shows its namespaces to nobody (ptrace(2), access mode checking).
    fn of_nobody(&self, e: Error) -> Error {
        let denied =
            e.errno() == Some(libc::EPERM) && e.syscall_text().is_some_and(|c| c.starts_with("setns("));
        if !denied || sys::effective_user() == 0 || !matches!(self.status(), Ok(Status::Created)) {
            return e;
        }
        let text = "cannot exec in a container that waits for start: its process has become another user, and nobody \
                    without rights may join it before it is its program";
        e.saying(text).of_kind(ErrorKind::Permission).hint("start it first")
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// What further processes are made from.
    pub(crate) fn template(&self) -> Result<&Template> {
        if let Some(template) = self.template.get() {
            return Ok(template);
        }
        let template = Template::of(&self.dir).map_err(|e| overtaken(self.state.pid, e))?;
        Ok(self.template.get_or_init(|| Box::new(template)))
    }

    /// Sends a signal to the process, or with `all` to every process of the container's cgroup.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is stopped and `all` is not given.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        // Without a pid namespace of its own the death of the process takes nobody along.
        let everybody = all || (signal == libc::SIGKILL && !self.state.own_pids);
        let alive = self.alive()?;
        if !alive && !all {
            return Err(not_running());
        }
        if everybody && !self.state.cgroups.is_empty() {
            return end::signal_all(&self.state.cgroups, signal);
        }
        let Some(pidfd) = self.pidfd.as_ref().filter(|_| alive) else {
            return Ok(());
        };
        sys::pidfd_signal(pidfd, signal).map_err(|e| match e.raw_os_error() {
            Some(libc::ESRCH) => not_running(),
            _ => Error::io(format!("pidfd_send_signal({}, {signal})", self.state.pid), &e),
        })?;
        if signal == libc::SIGKILL {
            freezer::release_killed(&self.state.cgroups);
        }
        Ok(())
    }

    /// Freezes every process of the container. Comes back when all stand still; if they do not in time, they
    /// go on.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is neither created nor running; [`ErrorKind::Timeout`].
    pub fn pause(&self) -> Result<()> {
        self.locked(|| match self.status()? {
            Status::Created | Status::Running => freezer::freeze(&self.state.cgroups),
            Status::Paused | Status::Stopped => Err(not_running()),
        })
    }

    /// Lets the processes of a paused container go on: it is again what it was before.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is not paused.
    pub fn resume(&self) -> Result<()> {
        self.locked(|| match self.status()? {
            Status::Paused => freezer::thaw(&self.state.cgroups),
            _ => Err(Error::new(ErrorKind::WrongState, "container not paused")),
        })
    }

    /// Does something with the cgroups of a container that is not stopped.
    pub(crate) fn while_alive(&self, what: impl FnOnce(&[CgroupDir]) -> Result<()>) -> Result<()> {
        self.locked(|| match self.alive()? {
            true => what(&self.state.cgroups),
            false => Err(not_running()),
        })
    }

    /// Does something while nobody else changes the container.
    fn locked<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<T> {
        self.dir.lock()?;
        let done = what();
        self.dir.unlock();
        done
    }

    /// The pids of all its processes, as the caller sees them, in order. None if it is stopped.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it has no cgroup of its own, by which they could be told.
    pub fn processes(&self) -> Result<Vec<u32>> {
        if self.state.cgroups.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "cannot tell the container's processes: it has no cgroup of its own",
            ));
        }
        end::members(&self.state.cgroups)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it has no cgroup of its own, in which that is counted.
    pub fn stats(&self) -> Result<Stats> {
        stats::read(&self.state.cgroups)
    }

    /// Watches what happens in it from now on.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is stopped; why the kernel would not tell.
    pub fn watch(&self) -> Result<Watch> {
        let (Some(pidfd), true) = (&self.pidfd, self.alive()?) else {
            return Err(Error::new(
                ErrorKind::WrongState,
                format!("container with id {} is not running", self.state.id),
            ));
        };
        let pidfd = pidfd.try_clone().map_err(|e| Error::io("dup", &e))?;
        Watch::begin(pidfd, &self.state.cgroups)
    }

    /// Waits for the process to end. Reaps it if it is a child of the caller.
    ///
    /// # Errors
    /// If waiting fails.
    pub fn wait(&self) -> Result<ExitStatus> {
        let Some(pidfd) = &self.pidfd else { return Ok(ExitStatus::Unknown) };
        let status = sys::wait(pidfd).map_err(|e| Error::io("waitid", &e))?;
        self.waited.store(true, Ordering::Relaxed);
        Ok(status)
    }

    /// Removes the container. A created one is killed; a running one only with `force`. A failing poststop hook
    /// is a warning: the others run, and the texts are returned.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it runs and `force` is not given; what could not be removed.
    pub fn delete(self, force: bool) -> Result<Vec<String>> {
        self.end_and_remove(force)?;
        let mut warnings = Vec::new();
        for hook in self.state.hooks.iter().filter(|h| h.name == "poststop") {
            if let Err(e) = hooks::run(hook, &self.state.document("stopped", 0)) {
                warnings.push(e.to_string());
            }
        }
        Ok(warnings)
    }

    /// Removes what is there of a container whose creation failed: no hook is told of it.
    ///
    /// # Errors
    /// What could not be removed.
    #[doc(hidden)]
    pub fn discard(self) -> Result<()> {
        self.end_and_remove(true)
    }

    fn end_and_remove(&self, force: bool) -> Result<()> {
        self.dir.lock()?;
        let alive = self.alive()?;
        let status = if alive { self.status_alive()? } else { Status::Stopped };
        match status {
            Status::Running | Status::Paused if !force => {
                return Err(Error::new(
                    ErrorKind::WrongState,
                    format!("cannot delete container {} that is not stopped: {status}", self.state.id),
                ));
            }
            Status::Created | Status::Running | Status::Paused => self.end()?,
            // Init may still be ending.
            Status::Stopped if alive => self.end()?,
            Status::Stopped => {}
        }
        if !self.state.own_pids || status != Status::Stopped {
            end::signal_all(&self.state.cgroups, libc::SIGKILL)?;
        }
        if let Some(unit) = &self.state.unit {
            systemd::stop(unit)?;
        }
        end::remove(&self.state.made)?;
        self.dir.remove()?;
        // Who made it and did not wait for it would keep a zombie.
        if let Some(pidfd) = self.pidfd.as_ref().filter(|_| !self.waited.load(Ordering::Relaxed)) {
            sys::reap(pidfd);
        }
        Ok(())
    }

    /// Kills the process and waits until it is gone.
    fn end(&self) -> Result<()> {
        let Some(pidfd) = &self.pidfd else {
            return Ok(());
        };
        match sys::pidfd_signal(pidfd, libc::SIGKILL) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                return Err(Error::io(format!("pidfd_send_signal({}, SIGKILL)", self.state.pid), &e));
            }
            _ => {}
        }
        freezer::release_killed(&self.state.cgroups);
        match end::is_gone(pidfd, self.state.pid, &self.state.cgroups) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(
                ErrorKind::Timeout,
                format!("container init (pid {}) still running after SIGKILL", self.state.pid),
            )
            .hint(format!("still there: {}", end::who(&[self.state.pid]).join(", ")))),
            Err(e) => Err(Error::io("poll(pidfd)", &e)),
        }
    }
}
