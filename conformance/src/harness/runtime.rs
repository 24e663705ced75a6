//! The runtime under test, called as engines call it. Output goes to files, never to pipes: the
//! container inherits it, and a reader waiting for the end of a pipe would wait for the container.
//! Every call is bounded; a runtime that hangs is killed and the test fails.

use super::output::Output;
use crate::{Check, Failed, check_eq, locate, sys};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A runtime with a state root of its own.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    directory: PathBuf,
    wrapper: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    known: RefCell<BTreeSet<String>>,
    calls: Cell<u32>,
    limit: Duration,
}

impl Runtime {
    /// The path of the runtime that the tests are about: `OXRUN_RUNTIME`, else oxrun, built.
    ///
    /// # Errors
    /// If there is none.
    pub fn under_test() -> Check<PathBuf> {
        static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let find = || match std::env::var("OXRUN_RUNTIME") {
            Ok(name) if !name.is_empty() => locate::program(&name),
            _ => locate::build("oxrun", "oxrun"),
        };
        let found = FOUND.get_or_init(|| find().map_err(|error| error.to_string()));
        found.clone().map_err(|error| Failed::from(format!("no runtime to test: {error}")))
    }

    pub(super) fn new(program: &Path, directory: &Path) -> Self {
        Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            wrapper: Vec::new(),
            environment: Vec::new(),
            known: RefCell::default(),
            calls: Cell::new(0),
            limit: LIMIT,
        }
    }

    /// Calls the runtime through another program, for example `sh -c '... exec "$@"' sh`.
    pub fn wrap(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(OsString::from).collect();
    }

    /// Sets a variable in the runtime's environment.
    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.environment.push((name.into(), value.as_ref().to_owned()));
    }

    /// Sets how long one call may take.
    pub fn limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// The program's path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Whether the runtime is oxrun.
    #[must_use]
    pub fn is_oxrun(&self) -> bool {
        is_oxrun(&self.program)
    }

    /// The runtime with its `--root`, ready for a command.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut words = self.wrapper.iter().cloned().chain([self.program.clone().into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("--root").arg(self.root());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Calls the runtime and waits for it.
    ///
    /// # Errors
    /// If it cannot be started or does not end in time; its own failure is no error here.
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Check<Output> {
        let mut command = self.command();
        command.args(args);
        self.note(args);
        self.finish(command)
    }

    /// Runs a command made by [`Runtime::command`] to its end.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn finish(&self, command: Command) -> Check<Output> {
        self.finish_into(command, None)
    }

    /// As [`Runtime::finish`], with standard output going elsewhere.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn finish_into(&self, mut command: Command, stdout: Option<Stdio>) -> Check<Output> {
        let number = self.calls.replace(self.calls.get() + 1);
        let stdout_file = self.directory.join(format!("call-{number}.out"));
        let stderr_file = self.directory.join(format!("call-{number}.err"));
        let file = File::create(&stdout_file)?;
        command.stdout(stdout.unwrap_or_else(|| file.into())).stderr(File::create(&stderr_file)?);
        let call = describe(&command);
        let mut child = command.spawn()?;
        // Closes our copies of the files.
        drop(command);
        let status = wait(&mut child, self.limit);
        let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (stdout, stderr) = (read(&stdout_file)?, read(&stderr_file)?);
        let Some(status) = status? else {
            return Err(Failed::from(format!(
                "{call}\n  did not end in {:?} and was killed\n  stderr: {}",
                self.limit,
                stderr.trim_end()
            )));
        };
        Ok(Output { code: code(status), stdout, stderr, call, stdout_file })
    }

    /// `create`.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn create(&self, bundle: &Path, id: &str) -> Check<Output> {
        self.call(&[OsStr::new("create"), "--bundle".as_ref(), bundle.as_ref(), id.as_ref()])
    }

    /// `run` in the foreground.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn run(&self, bundle: &Path, id: &str) -> Check<Output> {
        self.call(&[OsStr::new("run"), "--bundle".as_ref(), bundle.as_ref(), id.as_ref()])
    }

    /// `start`.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn start(&self, id: &str) -> Check<Output> {
        self.call(&["start", id])
    }

    /// `kill`.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn kill(&self, id: &str, signal: &str) -> Check<Output> {
        self.call(&["kill", id, signal])
    }

    /// `delete`.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn delete(&self, id: &str) -> Check<Output> {
        self.call(&["delete", id])
    }

    /// `exec` in the foreground.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn exec(&self, id: &str, args: &[&str]) -> Check<Output> {
        self.call(&[&["exec", id], args].concat())
    }

    /// `state`, which must succeed, as JSON.
    ///
    /// # Errors
    /// If it fails or prints no JSON.
    pub fn state(&self, id: &str) -> Check<Value> {
        self.call(&["state", id])?.success()?.json()
    }

    /// The pid of a container's first process.
    ///
    /// # Errors
    /// As [`Runtime::state`], or if there is none.
    pub fn pid(&self, id: &str) -> Check<i32> {
        let state = self.state(id)?;
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.filter(|pid| *pid > 0)
            .ok_or_else(|| Failed::from(format!("the state of {id} has no pid: {state}")))
    }

    /// Fails unless the container has this status.
    ///
    /// # Errors
    /// Status found and expected.
    pub fn has_status(&self, id: &str, status: &str) -> Check {
        check_eq!(self.state(id)?["status"], status, "status of {id}");
        Ok(())
    }

    /// Waits until a process has ended, and reaps it if it is a child. Returns its code if so.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn wait_for(&self, pid: i32) -> Check<Option<i32>> {
        self.wait_for_end(pid)?;
        Ok(sys::reap(pid).ok().flatten().map(|(_, code)| code))
    }

    /// Waits until a process has ended and leaves it as it is: a zombie, if it is a child.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn wait_for_end(&self, pid: i32) -> Check {
        match sys::pidfd(pid) {
            Ok(fd) if sys::readable(fd.as_fd(), self.limit)? => Ok(()),
            Ok(_) => Err(Failed::from(format!("process {pid} did not end in {:?}", self.limit))),
            // Gone already. Older kernels say EINVAL while somebody still knows the pid.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates and starts a container, and returns when its program has printed a line.
    ///
    /// # Errors
    /// If the runtime fails or the program stays silent.
    pub fn start_ready(&self, bundle: &Path, id: &str) -> Check<i32> {
        let (reader, writer) = std::io::pipe()?;
        let mut command = self.command();
        command.arg("create").arg("--bundle").arg(bundle).arg(id);
        self.note(&["create", id]);
        self.finish_into(command, Some(writer.into()))?.success()?;
        self.start(id)?.success()?;
        if !sys::readable(reader.as_fd(), self.limit)? {
            return Err(Failed::from(format!("the program of {id} printed nothing")));
        }
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line)?;
        if line.is_empty() {
            return Err(Failed::from(format!("the program of {id} ended at once")));
        }
        self.pid(id)
    }

    /// Starts a foreground command (`run`, `exec`) and waits for the first line of its output.
    ///
    /// # Errors
    /// If it cannot be started, or ends or stays silent instead.
    pub fn foreground<S: AsRef<OsStr>>(&self, args: &[S]) -> Check<Foreground> {
        let mut command = self.command();
        command.args(args);
        self.note(args);
        let number = self.calls.replace(self.calls.get() + 1);
        let errors = self.directory.join(format!("call-{number}.err"));
        command.stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let call = describe(&command);
        let mut child = command.spawn()?;
        let Some(pipe) = child.stdout.take() else {
            return Err(Failed::from("no pipe for stdout"));
        };
        let mut running =
            Foreground { child, output: BufReader::new(pipe), line: String::new(), limit: self.limit };
        let spoke = sys::readable(running.output.get_ref().as_fd(), self.limit)?;
        let length = if spoke { running.output.read_line(&mut running.line)? } else { 0 };
        if length == 0 {
            let errors = fs::read_to_string(errors)?;
            return Err(Failed::from(format!("{call}\n  said nothing\n  stderr: {errors}")));
        }
        Ok(running)
    }

    /// Remembers the id of a container that a call may make, so that it is deleted at the end.
    fn note<S: AsRef<OsStr>>(&self, args: &[S]) {
        let words: Vec<_> = args.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        if words.first().is_some_and(|word| word == "create" || word == "run")
            && let Some(id) = words.last()
        {
            self.known.borrow_mut().insert(id.clone().into_owned());
        }
    }

    /// Deletes every container that may exist.
    pub(super) fn delete_all(&self) -> Vec<String> {
        let known = std::mem::take(&mut *self.known.borrow_mut());
        let mut problems = Vec::new();
        for id in known {
            // An id that is no plain name was refused, there is nothing to delete.
            if id.is_empty() || id.contains('/') || id.starts_with('.') || !self.root().join(&id).is_dir() {
                continue;
            }
            match self.call(&["delete", "--force", &id]) {
                Ok(output) if output.code == 0 => {}
                Ok(output) => problems.push(output.to_string()),
                Err(failed) => problems.push(failed.message().unwrap_or_default().to_owned()),
            }
        }
        problems
    }
}

/// A runtime command in the foreground, with its container running.
#[derive(Debug)]
pub struct Foreground {
    child: Child,
    output: BufReader<ChildStdout>,
    line: String,
    limit: Duration,
}

impl Foreground {
    /// The first line that it printed.
    #[must_use]
    pub fn first_line(&self) -> &str {
        self.line.trim_end()
    }

    /// The pid of the runtime.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the next line of its output; none at its end.
    ///
    /// # Errors
    /// If it stays silent.
    pub fn next_line(&mut self) -> Check<Option<String>> {
        let buffered = !self.output.buffer().is_empty();
        if !buffered && !sys::readable(self.output.get_ref().as_fd(), self.limit)? {
            return Err(Failed::from(format!("said nothing for {:?}", self.limit)));
        }
        let mut line = String::new();
        let length = self.output.read_line(&mut line)?;
        Ok((length > 0).then(|| line.trim_end().to_owned()))
    }

    /// Waits for the end. Returns the exit code and the rest of the output.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn finish(mut self) -> Check<(i32, String)> {
        let Some(status) = wait(&mut self.child, self.limit)? else {
            return Err(Failed::from(format!("did not end in {:?} and was killed", self.limit)));
        };
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        Ok((code(status), rest))
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for a child; kills it and returns `None` when the time is over.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Check<Option<ExitStatus>> {
    let fd = sys::pidfd(child.id().cast_signed())?;
    if sys::readable(fd.as_fd(), limit)? {
        return Ok(Some(child.wait()?));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The name of a runtime: the first word of its `--version`.
pub(crate) fn first_version_line(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

pub(super) fn is_oxrun(program: &Path) -> bool {
    static KNOWN: OnceLock<(PathBuf, bool)> = OnceLock::new();
    let (path, answer) =
        KNOWN.get_or_init(|| (program.to_owned(), first_version_line(program).starts_with("oxrun")));
    if path == program { *answer } else { first_version_line(program).starts_with("oxrun") }
}
