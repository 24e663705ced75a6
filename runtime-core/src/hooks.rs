//! Hooks that run on the host, in the caller's namespaces, and the errors of all hooks.
//!
//! What must hold: the state is readable on stdin and a hook that does not read it cannot hurt the caller
//! (a memfd, no pipe: no SIGPIPE, nothing blocks); what a hook prints becomes part of the error; a hook past
//! its time is killed through its pidfd.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::HookAction;
use crate::sys;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

/// Most of a hook's output that is kept, in bytes.
const OUTPUT: u64 = 4096;

/// Runs a hook with a state document on its stdin.
pub(crate) fn run(hook: &HookAction, state: &str) -> Result<()> {
    let io = |what: &str, e: &std::io::Error| failed(hook, &Error::io(what, e).to_string());
    let file = || sys::memfd(c"oxrun-hook", 0).map(File::from);
    let mut stdin = file().map_err(|e| io("memfd_create", &e))?;
    stdin
        .write_all(state.as_bytes())
        .and_then(|()| stdin.seek(SeekFrom::Start(0)).map(drop))
        .map_err(|e| io("write", &e))?;
    let mut output = file().map_err(|e| io("memfd_create", &e))?;
    let out = || output.try_clone().map(Stdio::from).map_err(|e| io("dup", &e));
    let mut command = Command::new(&hook.path);
    command.env_clear().stdin(stdin).stdout(out()?).stderr(out()?);
    if let Some((first, rest)) = hook.args.split_first() {
        command.arg0(first).args(rest);
    }
    for entry in hook.env.iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(name, value);
    }
    let mut child = command.spawn().map_err(|e| not_executed(hook, e.raw_os_error().unwrap_or(0)))?;
    if let Some(seconds) = hook.timeout {
        let late = match in_time(&child, seconds) {
            Ok(true) => None,
            Ok(false) => Some(ended(hook, &End::Late(seconds), b"")),
            Err((call, e)) => Some(io(call, &e)),
        };
        if let Some(error) = late {
            // Not reaped yet, so that the pid is its own.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    }
    let status = child.wait().map_err(|e| io("wait", &e))?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let _ = output.seek(SeekFrom::Start(0));
    let _ = output.take(OUTPUT).read_to_end(&mut text);
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (_, Some(signal)) => End::Signaled(signal, status.core_dumped()),
        _ => End::Unknown,
    };
    Err(ended(hook, &end, &text))
}

/// Whether a hook ends in so many seconds; the call that failed.
fn in_time(child: &Child, seconds: u64) -> std::result::Result<bool, (&'static str, std::io::Error)> {
    let pidfd = sys::pidfd_open(child.id()).map_err(|e| ("pidfd_open", e))?;
    let millis = i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX);
    sys::poll_exit(pidfd.as_fd(), Some(millis)).map_err(|e| ("poll", e))
}

/// How a hook ended that did not succeed.
pub(crate) enum End {
    /// With an exit status.
    Exited(i32),
    /// By a signal, perhaps with a core.
    Signaled(i32, bool),
    /// It was killed after so many seconds.
    Late(u64),
    /// Nobody knows.
    Unknown,
}

/// The error of a hook that ended without success.
pub(crate) fn ended(hook: &HookAction, end: &End, output: &[u8]) -> Error {
    let said = String::from_utf8_lossy(output);
    let said = said.trim().replace('\n', "; ");
    let colon = if said.is_empty() { "" } else { ": " };
    let how = match end {
        End::Exited(code) => format!("exit status {code}"),
        End::Signaled(signal, core) => {
            let core = if *core { " (core dumped)" } else { "" };
            format!("signal: {}{core}", signal_name(*signal))
        }
        End::Late(seconds) => {
            let text = format!("hook ran past specified timeout of {seconds}.0s{colon}{said}");
            return failed(hook, &text).of_kind(ErrorKind::Timeout);
        }
        End::Unknown => "unknown status".to_owned(),
    };
    failed(hook, &format!("{how}{colon}{said}"))
}

/// The error of a hook whose file could not be executed.
pub(crate) fn not_executed(hook: &HookAction, errno: i32) -> Error {
    let path = hook.path.display();
    let text = format!("fork/exec {path}: {}", crate::error::errno_text(errno));
    failed(hook, &text)
        .with_call(format!("execve({:?})", hook.path), errno)
        .at(format!("{}/path", field(hook)))
}

/// A signal in words.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        libc::SIGXCPU => "cpu time limit exceeded",
        libc::SIGXFSZ => "file size limit exceeded",
        libc::SIGSYS => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

fn field(hook: &HookAction) -> String {
    format!("/hooks/{}/{}", hook.name, hook.index)
}

/// The error of a hook, with runc's words in front.
pub(crate) fn failed(hook: &HookAction, text: &str) -> Error {
    let message = format!("error running {} hook #{}: {text}", hook.name, hook.index);
    Error::new(ErrorKind::Hook, message).at(field(hook))
}
