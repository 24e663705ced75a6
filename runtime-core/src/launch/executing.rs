//! The error of a program that is not found or cannot be executed.
//!
//! What must hold: the message stays word for word as callers of runc know it; the reason is looked for
//! after the failure and is a hint.

use super::report::strings;
use crate::bundle::Warning;
use crate::check::program::{self, Who, Why};
use crate::check::view::View;
use crate::error::{Error, ErrorKind, errno_text};
use crate::plan::Plan;
use crate::plan::action::Action;
use oxrun_init::fault::{Detail, Record};
use std::path::{Path, PathBuf};

/// The program was not found, or may not be executed.
pub(super) fn lookup(plan: &Plan, name: &str, candidates: &[PathBuf], r: &Record<'_>) -> Error {
    let exec =
        |text: String| Error::new(ErrorKind::Exec, format!("exec: {name:?}: {text}")).at("/process/args/0");
    let e = if !name.contains('/') {
        exec("executable file not found in $PATH".to_owned())
    } else if r.detail == Detail::NotExecutable {
        exec("permission denied".to_owned())
    } else {
        exec(format!("stat {name}: {}", errno_text(r.errno)))
    };
    // What a container that is there has mounted by now its config does not say.
    if !plan.steps.iter().any(|s| matches!(s.action, Action::Root { .. })) {
        return e;
    }
    let Ok(view) = View::of(plan) else { return e };
    let who = Who::of(plan);
    // The reason is that of the first candidate that is there.
    let why = candidates.iter().find_map(|path| match program::reach(&view, &who, &on_root(plan, path)) {
        Err(Why::Denied(why)) => Some(why),
        _ => None,
    });
    match why {
        Some(why) => e.hint(why),
        None if candidates.is_empty() && !name.is_empty() => {
            e.hint("PATH of the process is empty: give the path of the program, or PATH in /process/env")
        }
        None => e,
    }
}

/// A path as it is seen from the container's root: a relative one begins at the working directory.
fn on_root(plan: &Plan, path: &Path) -> PathBuf {
    let cwd = plan.steps.iter().find_map(|s| match &s.action {
        Action::Cwd { path, .. } => Some(path.as_path()),
        _ => None,
    });
    cwd.unwrap_or(Path::new("/")).join(path)
}

/// The last execve failed.
pub(super) fn executing(r: &Record<'_>) -> Error {
    let path = strings(r).into_iter().next().map(|s| s.1).unwrap_or_default();
    let e =
        Error::new(ErrorKind::Exec, format!("exec {path}: {}", errno_text(r.errno))).at("/process/args/0");
    match r.errno {
        libc::ENOENT => e.hint("the file exists: its interpreter (#! or ELF) does not"),
        libc::ENOEXEC => e.hint("neither an ELF file for this machine nor a script with #!"),
        libc::E2BIG => e.hint("the arguments and the environment are larger than the kernel takes"),
        libc::ETXTBSY => e.hint("somebody has the file open for writing"),
        _ => e,
    }
}

/// The last execve failed in a container of this root. `denied` is what its filter answers to execve.
pub(super) fn failed(rootfs: &Path, denied: Option<&Warning>, r: &Record<'_>) -> Error {
    let e = executing(r);
    match (r.errno, denied) {
        (libc::ENOENT | libc::ENOEXEC | libc::EACCES, None) => {}
        (_, Some(denied)) => return e.at(denied.field.clone()).hint(denied.message.clone()),
        _ => return e,
    }
    let Some((_, path)) = strings(r).into_iter().next() else { return e };
    // Of the root filesystem only: what is mounted over it is gone by now.
    let Ok(view) = View::bare(rootfs) else { return e };
    match program::executable(&view, &Who::root(), Path::new(&path)) {
        Err(Why::Unloadable(why) | Why::Denied(why)) => e.hint(why),
        _ => e,
    }
}
