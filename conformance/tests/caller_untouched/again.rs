//! The test program run once more, as the program that embeds the library.

use oxrun_conformance::harness::Sandbox;
use oxrun_conformance::{Check, check};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

/// How long it may take for all that it does.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs this program in the sandbox's directory, within the time, and returns what it said on stdout. What it
/// said on stderr is the failure if it failed.
pub(crate) fn again(s: &Sandbox, args: &[&OsStr]) -> Check<String> {
    let (out, err) = (s.dir().join("again.out"), s.dir().join("again.err"));
    let mut child = Command::new(std::env::current_exe()?)
        .args(args)
        .current_dir(s.dir())
        .stdin(std::process::Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()?;
    let pidfd = oxrun_conformance::sys::pidfd(child.id().cast_signed())?;
    let ended = oxrun_conformance::sys::readable(pidfd.as_fd(), LIMIT)?;
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    check!(ended, "the program did not end in {LIMIT:?}");
    check!(status.success(), "the program: {status}: {}", fs::read_to_string(err)?);
    Ok(fs::read_to_string(out)?)
}
