//! What every test with real containers needs. A test owns one [`Sandbox`]; when that goes, so do
//! its containers, mounts, cgroups and files, and whatever the runtime itself should have removed
//! makes the test fail. Tests run one after the other: a leak then has exactly one culprit.

mod apparmor;
mod config;
mod field;
mod host;
mod leaks;
mod not_yet;
mod output;
mod runtime;
mod sandbox;
mod user;

pub use apparmor::Profile;
pub use config::Config;
pub use host::Host;
pub use leaks::Leaks;
pub use output::Output;
pub(crate) use runtime::first_version_line;
pub use runtime::{Foreground, Runtime};
pub use sandbox::{Bundle, Sandbox};
pub use user::{Delegated, Granted, User};

use crate::{Check, Failed, sys};
use libtest_mimic::{Arguments, Completion, Trial};
use std::process::ExitCode;

/// A test that needs root.
pub fn test(name: &str, body: impl FnOnce() -> Check + Send + 'static) -> Trial {
    let missing = not_yet::reason(name);
    let reason = move || missing.filter(|_| Runtime::under_test().is_ok_and(|r| runtime::is_oxrun(&r)));
    conditional(name, reason, body)
}

/// A test of something that only oxrun promises; `why` says how other runtimes differ.
pub fn oxrun_only(name: &str, why: &'static str, body: fn() -> Check) -> Trial {
    conditional(name, move || not_oxrun(why), body)
}

/// The reason to ignore a test of something that only oxrun promises; `why` says how other runtimes differ.
#[must_use]
pub fn not_oxrun(why: &str) -> Option<String> {
    match Runtime::under_test() {
        Ok(path) if !runtime::is_oxrun(&path) => Some(format!("not oxrun: {why}")),
        // Without a runtime the test itself says so.
        Ok(_) | Err(_) => None,
    }
}

/// A test that is ignored while `reason` gives one, and when the caller is not root.
pub fn conditional(
    name: &str,
    reason: impl FnOnce() -> Option<String> + Send + 'static,
    body: impl FnOnce() -> Check + Send + 'static,
) -> Trial {
    row(name, reason, body)
}

/// The same of one row of a table, which the body has with it.
pub fn row(
    name: &str,
    reason: impl FnOnce() -> Option<String> + Send + 'static,
    body: impl FnOnce() -> Check + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        if !sys::is_root() {
            return Ok(Completion::ignored_with("needs root"));
        }
        if let Some(reason) = reason() {
            return Ok(Completion::ignored_with(reason));
        }
        guarded(body).map(|()| Completion::Completed)
    })
}

/// Separates the calling process from the host; to be called before it has a second thread.
///
/// # Errors
/// What the kernel answers; the caller must be root.
pub fn isolate() -> Check {
    Ok(host::isolate()?)
}

/// Runs `body` and adds to its result what its sandboxes left behind.
///
/// # Errors
/// Those of the body, or a list of what was left behind.
pub fn guarded<T>(body: impl FnOnce() -> Check<T>) -> Check<T> {
    drop(leaks::take());
    let result = body();
    let left = leaks::take();
    if left.is_empty() {
        return result;
    }
    let left = format!("left behind:\n  {}", left.join("\n  "));
    Err(match result {
        Ok(_) => Failed::from(left),
        Err(failed) => Failed::from(format!("{}\n{left}", failed.message().unwrap_or_default())),
    })
}

/// Forgets what sandboxes have left behind, where that is not the question.
pub(crate) fn forget_leaks() {
    drop(leaks::take());
}

/// Runs the tests as the command line asks and returns the exit code of the test program.
pub fn run(tests: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if sys::is_root()
        && let Err(error) = host::isolate()
    {
        eprintln!("cannot isolate the tests from the host: {error}");
        return ExitCode::FAILURE;
    }
    libtest_mimic::run(&arguments, tests).exit_code()
}
