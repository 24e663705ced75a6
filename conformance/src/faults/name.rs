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

/// Calls whose first argument is a descriptor that says what they are about.
const DESCRIPTORS: [&str; 15] = [
    "fchdir",
    "fchmod",
    "fchown",
    "fstat",
    "ftruncate",
    "getdents64",
    "inotify_add_watch",
    "lseek",
    "pread64",
    "pwrite64",
    "read",
    "recvmsg",
    "sendmsg",
    "write",
    "writev",
];

/// Calls with a number that says what they do.
const NUMBERS: [(&str, usize); 6] =
    [("fcntl", 1), ("flock", 1), ("ioctl", 1), ("keyctl", 0), ("prctl", 0), ("prlimit64", 1)];

/// The name of a call that a task is about to make.
pub(super) fn of(task: i32, number: u64, args: &[u64; 6]) -> String {
    let name = NAMES.get(&number).copied().unwrap_or("?");
    if let Some(number) = NUMBERS.iter().find(|(n, _)| *n == name).and_then(|(_, at)| args.get(*at)) {
        return format!("{name} {number}");
    }
    let argument = TEXTS.iter().find(|(text, _)| *text == name).and_then(|(_, at)| args.get(*at));
    let text = argument.and_then(|address| sys::text_at(task, *address)).unwrap_or_default();
    if argument == Some(&0) {
        return format!("{name} NULL");
    }
    // Without a path these are about the descriptor.
    let bare = text.is_empty() && matches!(name, "execveat" | "newfstatat" | "statx");
    let text = if bare || DESCRIPTORS.contains(&name) { file(task, args[0]) } else { text };
    match text.rsplit('/').next().map(short).filter(|last| !last.is_empty()) {
        Some(last) => format!("{name} {last}"),
        None => name.to_owned(),
    }
}

/// What a descriptor of a task stands for, without the number of a pipe or socket; empty if there is none.
fn file(task: i32, fd: u64) -> String {
    let link = std::fs::read_link(format!("/proc/{task}/fd/{}", fd as u32 as i32)).unwrap_or_default();
    let text = link.to_string_lossy();
    let text = text.strip_suffix(" (deleted)").unwrap_or(&text);
    match text.split_once(":[") {
        Some(("anon_inode", kind)) => kind.trim_end_matches(']').to_owned(),
        Some((kind, _)) if !kind.contains('/') => kind.to_owned(),
        _ => text.to_owned(),
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
    // A filter in the state root, whose number is that of its place.
    if let Some(("seccomp", _)) = last.split_once('@') {
        return "seccomp@".to_owned();
    }
    last.to_owned()
}
