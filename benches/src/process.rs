//! Runs one command of a runtime and measures it. What must hold: each run is bounded; what is still
//! alive then is killed by pidfd; CPU time is that of the command and of all it reaped, plus that of
//! orphans which came to us, the container's init apart, which is counted on its own.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, sys};

/// What a command of a runtime may take before it is killed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The container's init, which outlives `create`.
pub(crate) struct Init {
    /// Its pid, as the runtime wrote it.
    pub(crate) pid: i32,
    pidfd: OwnedFd,
    /// All its CPU time, once it was reaped.
    pub(crate) total: Option<Duration>,
}

impl Init {
    /// Reads the pid file. The process is a child of the command that has just ended, so ours.
    pub(crate) fn from_pid_file(path: &Path) -> Result<Init> {
        let text = fs::read_to_string(path).map_err(|e| format!("pid file: {e}"))?;
        let pid = text.trim().parse().map_err(|e| format!("pid file: {e}"))?;
        let pidfd = sys::pidfd_open(pid).map_err(|e| format!("init {pid}: {e}"))?;
        Ok(Init { pid, pidfd, total: None })
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        match self.total {
            Some(total) => Ok(total),
            None => Ok(sys::cpu_of(self.pid)?),
        }
    }

    /// Reaps it. A cgroup is empty a moment before its last process can be reaped, so a runtime may
    /// be ahead; it is given one second.
    pub(crate) fn reap_soon(&mut self) -> Result<()> {
        if self.total.is_none() {
            sys::poll(&[&self.pidfd], Duration::from_secs(1))?;
            self.reap();
        }
        Ok(())
    }

    fn reap(&mut self) {
        if self.total.is_none() {
            self.total = sys::reap(self.pid).map(|reaped| reaped.cpu);
        }
    }
}

/// What a command did.
pub(crate) struct Outcome {
    /// From before the spawn until it was reaped.
    pub(crate) wall: Duration,
    /// CPU time without that of `init`.
    pub(crate) cpu: Duration,
    /// The exit status, if it was not killed.
    pub(crate) code: Option<i32>,
    /// None for success, else what went wrong.
    pub(crate) fault: Option<String>,
}

/// Runs commands with stderr in a file.
pub(crate) struct Runner {
    stderr: PathBuf,
}

impl Runner {
    /// Keeps the messages of commands in `scratch`.
    pub(crate) fn new(scratch: &Path) -> Runner {
        Runner { stderr: scratch.join("stderr") }
    }

    /// Runs `command` to its end, reaping `init` meanwhile if it ends.
    pub(crate) fn run(&self, command: &mut Command, mut init: Option<&mut Init>) -> Result<Outcome> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&self.stderr)?);
        let start = Instant::now();
        let child = command.spawn().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
        let pid = i32::try_from(child.id())?;
        let pidfd = sys::pidfd_open(pid)?;
        let mut late = false;
        let ended = loop {
            if let Some(ended) = sys::reap(pid) {
                break ended;
            }
            let left = TIMEOUT.saturating_sub(start.elapsed());
            let interrupted = sys::interrupted();
            if (left.is_zero() || interrupted) && !late {
                late = true;
                sys::kill(&pidfd)?;
            }
            let left = if late { TIMEOUT } else { left };
            let mut fds = vec![&pidfd];
            fds.extend(init.iter().filter(|i| i.total.is_none()).map(|i| &i.pidfd));
            match sys::poll(&fds, left) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
                Ok(ready) => {
                    if let (Some(true), Some(init)) = (ready.get(1), init.as_mut()) {
                        init.reap();
                    }
                }
            }
        };
        let wall = start.elapsed();
        let mut cpu = ended.cpu;
        if let Some(init) = init.as_mut() {
            init.reap();
        }
        while let Some(orphan) = sys::reap(-1) {
            match init.as_mut() {
                Some(init) if init.pid == orphan.pid => init.total = Some(orphan.cpu),
                _ => cpu += orphan.cpu,
            }
        }
        let fault = if late {
            Some(format!("killed after {} s", wall.as_secs()))
        } else if ended.status != 0 {
            Some(self.explain(ended.status))
        } else {
            None
        };
        let code = (!late && libc::WIFEXITED(ended.status)).then(|| libc::WEXITSTATUS(ended.status));
        Ok(Outcome { wall, cpu, code, fault })
    }

    /// Runs `command`, which must succeed, and returns what it printed.
    pub(crate) fn output(&self, command: &mut Command) -> Result<String> {
        let path = self.stderr.with_file_name("stdout");
        // `run` sends what a command prints nowhere.
        let mut printing = Command::new("/bin/sh");
        printing.args(["-c", "exec \"$@\" >\"$0\""]).arg(&path).arg(command.get_program());
        printing.args(command.get_args()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if let Some(dir) = command.get_current_dir() {
            printing.current_dir(dir);
        }
        match self.run(&mut printing, None)?.fault {
            Some(fault) => Err(fault.into()),
            None => Ok(fs::read_to_string(path)?),
        }
    }

    fn explain(&self, status: i32) -> String {
        let text = fs::read(&self.stderr).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or("no message");
        let line: String = line.chars().take(160).collect();
        if libc::WIFEXITED(status) {
            format!("exit {}: {line}", libc::WEXITSTATUS(status))
        } else {
            format!("signal {}: {line}", libc::WTERMSIG(status))
        }
    }
}
