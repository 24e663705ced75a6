//! Calls of the runtime that go on while the test looks.

use oxrun_conformance::harness::{Bundle, Sandbox};
use oxrun_conformance::{Check, check, sys};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far longer than anything here takes; the end of a runtime that hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A call of the runtime that is not waited for.
pub(crate) struct Call {
    child: Child,
    errors: PathBuf,
}

impl Call {
    pub(crate) fn new(s: &Sandbox, name: &str, words: &[&str]) -> Check<Self> {
        Self::begin(s, name, s.runtime().command(), words)
    }

    /// The same with a command made by [`Runtime::command`](oxrun_conformance::harness::Runtime::command).
    pub(crate) fn begin(s: &Sandbox, name: &str, mut command: Command, words: &[&str]) -> Check<Self> {
        let errors = s.dir().join(format!("{name}.stderr"));
        command.args(words);
        command.stdout(Stdio::null()).stderr(File::create(&errors)?);
        let child = command.spawn()?;
        Ok(Self { child, errors })
    }

    pub(crate) fn create(s: &Sandbox, bundle: &Bundle) -> Check<Self> {
        let path = bundle.path().to_string_lossy();
        Self::new(s, "create", &["create", "--bundle", &path, "c1"])
    }

    pub(crate) fn delete(s: &Sandbox, name: &str) -> Check<Self> {
        Self::new(s, name, &["delete", "--force", "c1"])
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Returns when `condition` holds. There is no event for it: the call's end is one, and the
    /// condition is looked at between two short waits for that.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(i32) -> bool) -> Check {
        let end = Instant::now() + LIMIT;
        let process = sys::pidfd(self.pid())?;
        while !condition(self.pid()) {
            check!(Instant::now() < end, "never happened: {what}");
            let ended = sys::readable(process.as_fd(), Duration::from_millis(1))?;
            check!(!ended, "ended before this: {what}\n  {}", self.said()?);
        }
        Ok(())
    }

    /// Waits until the call waits for the lock of another one.
    pub(crate) fn until_locked_out(&mut self) -> Check {
        self.until("the call waits for a lock", |pid| {
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            locks.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.get(1) == Some(&"->") && words.get(5) == Some(&pid.to_string().as_str())
            })
        })
    }

    pub(crate) fn said(&self) -> Check<String> {
        Ok(fs::read_to_string(&self.errors)?.trim_end().to_owned())
    }

    /// The exit code.
    pub(crate) fn finish(self) -> Check<i32> {
        self.end().map(|(code, _)| code)
    }

    /// The exit code and what was said.
    pub(crate) fn end(mut self) -> Check<(i32, String)> {
        let process = sys::pidfd(self.pid())?;
        let ended = sys::readable(process.as_fd(), LIMIT)?;
        check!(ended, "did not end\n  stderr: {}", self.said()?);
        Ok((self.child.wait()?.code().unwrap_or(-1), self.said()?))
    }

    /// Ends the call with SIGKILL.
    pub(crate) fn kill(mut self) -> Check {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
