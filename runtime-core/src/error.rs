//! One error for everything: what failed, in which step, for which field of the config, in which
//! system call, and what to do about it. Text is made once, here and where the error arises; nothing
//! is logged.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of failure it is. More kinds may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The config cannot be carried out as it is written.
    InvalidConfig,
    /// The container's id has characters it may not have.
    InvalidId,
    /// There is a container of this id already.
    AlreadyExists,
    /// There is no container of this id.
    NotFound,
    /// The container is in a state in which this cannot be done.
    WrongState,
    /// This runtime or this kernel cannot do it.
    Unsupported,
    /// A right is missing.
    Permission,
    /// A system call failed.
    Syscall,
    /// A hook failed.
    Hook,
    /// The program could not be executed.
    Exec,
    /// The container's process was killed while it was set up.
    Killed,
    /// Something took longer than it may.
    Timeout,
    /// A defect of this library.
    Internal,
}

/// Who carries out a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Lane {
    /// The calling process.
    Host,
    /// Init before it clones: outside, entering what exists.
    Join,
    /// A thread of the calling process inside the container's mount namespace, with the caller's rights.
    Mntns,
    /// The container's process.
    Init,
}

impl Lane {
    /// Whether init waits for it.
    pub(crate) fn is_outside(self) -> bool {
        matches!(self, Lane::Host | Lane::Mntns)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Lane::Host => "host",
            Lane::Join => "join",
            Lane::Mntns => "mntns",
            Lane::Init => "init",
        })
    }
}

/// The step of the plan in which something failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepRef {
    /// From 1.
    pub number: u32,
    /// How many steps the plan has.
    pub total: u32,
    /// Who carried it out.
    pub lane: Lane,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    field: Option<String>,
    step: Option<StepRef>,
    syscall: Option<String>,
    errno: Option<i32>,
    hint: Option<String>,
    fs_log: Option<String>,
}

/// A failure of any operation of this library.
///
/// `Display` is one line with the errno in lower case as Go prints it, without prefix; the accessors
/// give the parts.
///
/// # Examples
/// ```
/// use oxrun_core::{Bundle, ErrorKind};
/// let config = br#"{ "ociVersion": "1.2.0", "mounts": [{ "type": "proc" }] }"#;
/// let Err(error) = Bundle::from_json(config) else { panic!("a mount without a destination") };
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// assert_eq!(error.field(), Some("/mounts/0"));
/// assert_eq!(error.errno(), None); // no system call failed
/// println!("{error}");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

/// What operations of this library return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure in plain words.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            field: None,
            step: None,
            syscall: None,
            errno: None,
            hint: None,
            fs_log: None,
        }))
    }

    /// A config that cannot be carried out.
    pub(crate) fn config(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidConfig, message).at(field)
    }

    /// A failed system call, as `name(arguments)`.
    pub(crate) fn syscall(call: impl Into<String>, errno: i32) -> Self {
        let call = call.into();
        let mut e = Error::new(ErrorKind::Syscall, format!("{call}: {}", errno_text(errno)));
        e.0.syscall = Some(call);
        e.0.errno = Some(errno);
        if errno == libc::EPERM || errno == libc::EACCES {
            e.0.kind = ErrorKind::Permission;
        }
        e
    }

    /// A failed call of the standard library, with what it was about.
    pub(crate) fn io(what: impl fmt::Display, e: &std::io::Error) -> Self {
        match e.raw_os_error() {
            Some(errno) => Error::syscall(what.to_string(), errno),
            None => Error::new(ErrorKind::Syscall, format!("{what}: {e}")),
        }
    }

    /// Names the field of the config (a JSON pointer).
    #[must_use]
    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Names the field unless it is known better.
    #[must_use]
    pub(crate) fn or_at(mut self, field: &str) -> Self {
        self.0.field.get_or_insert_with(|| field.to_owned());
        self
    }

    /// Names the step.
    #[must_use]
    pub(crate) fn in_step(mut self, step: StepRef) -> Self {
        self.0.step.get_or_insert(step);
        self
    }

    /// Sets the kind.
    #[must_use]
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Replaces the message, keeping the parts.
    #[must_use]
    pub(crate) fn saying(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Puts words before the message.
    #[must_use]
    pub(crate) fn context(mut self, words: impl fmt::Display) -> Self {
        self.0.message = format!("{words}: {}", self.0.message);
        self
    }

    /// Adds what can be done about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the words of the kernel on a failed mount.
    #[must_use]
    pub(crate) fn with_fs_log(mut self, log: impl Into<String>) -> Self {
        self.0.fs_log = Some(log.into());
        self
    }

    /// Adds the call and its errno.
    #[must_use]
    pub(crate) fn with_call(mut self, call: impl Into<String>, errno: i32) -> Self {
        self.0.syscall = Some(call.into());
        self.0.errno = (errno != 0).then_some(errno);
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The JSON pointer of the config's field that asked for what failed, or words in parentheses where
    /// no field did.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }
    /// The step of the plan.
    #[must_use]
    pub fn step(&self) -> Option<StepRef> {
        self.0.step
    }
    /// The lane of the step.
    #[must_use]
    pub fn lane(&self) -> Option<Lane> {
        self.0.step.map(|s| s.lane)
    }
    /// The system call with its arguments.
    #[must_use]
    pub fn syscall_text(&self) -> Option<&str> {
        self.0.syscall.as_deref()
    }
    /// The errno.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }
    /// What can be done about it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    /// What the kernel said through the fsopen() descriptor.
    #[must_use]
    pub fn fs_log(&self) -> Option<&str> {
        self.0.fs_log.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

/// The text of an errno, in lower case: engines match it so.
#[must_use]
pub fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_texts_are_those_that_engines_match() {
        assert_eq!(errno_text(libc::ENOENT), "no such file or directory");
        assert_eq!(errno_text(libc::EACCES), "permission denied");
        assert_eq!(errno_text(libc::EPERM), "operation not permitted");
        assert_eq!(errno_text(libc::ENOTDIR), "not a directory");
    }
}
