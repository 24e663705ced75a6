//! A daemon listens on a private socket below the scratch directory and knows both wrappers. It is
//! killed by its own handle when the value goes out of scope, and with its pid namespace anyway.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::calls::Side;
use super::engine::{Kit, PATH, environment, socket};
use super::{Job, image, sys, text};

/// How long a daemon may take until it answers.
const READY: Duration = Duration::from_secs(60);

/// An engine with the image loaded; its daemon is running, if it has one.
pub(super) struct Daemon {
    pub(super) kit: &'static dyn Kit,
    child: Option<Child>,
    scratch: PathBuf,
}

impl Daemon {
    /// Starts the engine and waits until it answers.
    pub(super) fn start(job: &Job) -> Result<Self, String> {
        let scratch = &job.scratch;
        let tar = image::make(scratch)?;
        let mut daemon = Self { kit: job.engine.kit(), child: None, scratch: scratch.clone() };
        if let Some(command) = daemon.kit.daemon(scratch)? {
            daemon.spawn(command)?;
            daemon.wait_ready()?;
        }
        for args in daemon.kit.load(scratch, &tar)? {
            daemon.client_output(&args)?;
        }
        Ok(daemon)
    }

    fn spawn(&mut self, mut command: Command) -> Result<(), String> {
        let log = self.log();
        let out = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        environment(&mut command, &self.scratch);
        // Some look for a runtime called runc.
        let path = format!("{}:{PATH}", self.scratch.join("bin").display());
        let child = command
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
        self.child = Some(child);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.scratch.join("daemon.log")
    }

    /// The engine's client, ready for its arguments.
    pub(super) fn client(&self, side: Side) -> Command {
        let mut command = self.kit.client(&self.scratch, side);
        environment(&mut command, &self.scratch);
        command
    }

    /// The socket accepts, and the client gets an answer through it. A daemon gives no event for
    /// that; its end is one, and ends the waiting.
    fn wait_ready(&mut self) -> Result<(), String> {
        let pid = self.child.as_ref().map_or(0, Child::id);
        let ended = sys::pidfd(pid).map_err(|e| format!("pidfd_open: {e}"))?;
        let until = Instant::now() + READY;
        loop {
            let accepts = UnixStream::connect(socket(&self.scratch)).is_ok();
            if accepts && self.client_output(&["version".into()]).is_ok() {
                return Ok(());
            }
            let pause = Duration::from_millis(50);
            let gone = sys::poll(&[ended.as_fd()], pause).map_err(|e| format!("poll: {e}"))?[0];
            if gone || Instant::now() > until {
                let what = if gone { "ended" } else { "does not answer" };
                return Err(format!("the daemon {what}:\n{}", text::tail(&self.log())));
            }
        }
    }

    fn client_output(&self, args: &[String]) -> Result<(), String> {
        let mut client = self.client(Side::Reference);
        let done = client
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{}: {e}", client.get_program().to_string_lossy()))?;
        if done.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&done.stderr);
        Err(format!("{}: {}", args.join(" "), text.trim()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The namespace ends right afterwards, so an error changes nothing.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
