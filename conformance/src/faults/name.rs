//! What a call is called in tables: its name, and what it is about where that tells calls of one name apart.

use super::sys;
use oxrun_core::seccomp::Arch;
use std::collections::HashMap;
use std::sync::LazyLock;

static NAMES: LazyLock<HashMap<u64, &'static str>> =
    LazyLock::new(|| Arch::X86_64.calls().map(|(name, number)| (u64::from(number), name)).collect());

/// Calls with a text that says what they are about, and which argument that is.
const TEXTS: [(&str, usize); 20] = [
    ("access", 0),
    ("execve", 0),
    ("execveat", 1),
    ("faccessat2", 1),
    ("fsconfig", 2),
    ("fsopen", 0),
    ("memfd_create", 0),
    ("mkdir", 0),
    ("mkdirat", 1),
    ("mknodat", 1),
    ("move_mount", 3),
    ("newfstatat", 1),
    ("open_tree", 1),
    ("openat", 1),
    ("openat2", 1),
    ("readlink", 0),
    ("rename", 0),
    ("rmdir", 0),
    ("statx", 1),
    ("unlink", 0),
];

/// Calls with a number that says what they do.
const NUMBERS: [(&str, usize); 5] = [("fcntl", 1), ("flock", 1), ("ioctl", 1), ("keyctl", 0), ("prctl", 0)];

/// The name of a call that a task is about to make.
pub(super) fn of(task: i32, number: u64, args: &[u64; 6]) -> String {
    let name = NAMES.get(&number).copied().unwrap_or("?");
    if let Some(number) = NUMBERS.iter().find(|(n, _)| *n == name).and_then(|(_, at)| args.get(*at)) {
        return format!("{name} {number}");
    }
    let argument = TEXTS.iter().find(|(text, _)| *text == name).and_then(|(_, at)| args.get(*at));
    let text = argument.and_then(|address| sys::text_at(task, *address)).unwrap_or_default();
    match text.rsplit('/').next().map(short).filter(|last| !last.is_empty()) {
        Some(last) => format!("{name} {last}"),
        None => name.to_owned(),
    }
}

/// The last part of a path, the same in every run: numbers are `N`.
fn short(last: &str) -> String {
    if last.starts_with("oxrun-test-") {
        return "CGROUP".to_owned();
    }
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return "N".to_owned();
    }
    last.to_owned()
}
