//! Calls whose failure the runtime survives with the same result, and why that is right.

/// Every error.
const ANY: &[&str] = &[];
const EINTR: &[&str] = &["EINTR"];

pub(super) const AGAIN: &str = "it is made again";
/// What happens to the process that enters what exists, at the begin of a step.
pub(super) const KILL_OF_JOIN: &str = "SIGKILL of join";
const HINT: &str = "std asks for the size of a file to reserve memory, and does without";

const ONE_BY_ONE: &str = "the processes are killed one by one";
const FROZEN: &str = "who stands still in a freezer of v1 shows when its end is waited for";
const SIGNALS: &str = "which signals are ignored: without the list each is reset";
const TEMPLATE: &str = "the template is made anew from the config";
const FILTER: &str = "a filter that cannot be read from the state root is compiled from the profile";
const HOME: &str = "who has no entry in /etc/passwd has the home directory /";
const PID: &str = "the pid is that of the state; whether it is alive was asked before";
const BEFORE: &str = "a value to go back to, should a later one be refused";

/// What leads to another way, for ENOSYS alone: task, call, reason.
pub(super) const FALLBACKS: [(&str, &str, &str); 1] =
    [("init", "keyctl 1", "a kernel without keyrings has none to join")];

/// Task, call, errors, reason. A row without what the call is about stands for all of its name.
const ROWS: &[(&str, &str, &[&str], &str)] = &[
    ("oxrun", "close", ANY, "the descriptor is closed"),
    ("oxrun", "recvmsg", EINTR, AGAIN),
    ("init", "close", ANY, "the descriptor is closed"),
    ("init", "recvmsg", EINTR, AGAIN),
    ("init", "read", EINTR, AGAIN),
    ("init", "read status", ANY, SIGNALS),
    ("init", "openat status", ANY, SIGNALS),
    ("oxrun", "waitid", ANY, "who has ended is reaped by who gets the runtime's children"),
    ("init", "openat2", &["EAGAIN", "EINTR"], AGAIN),
    ("init", "openat2 passwd", ANY, HOME),
    ("init", "read passwd", ANY, HOME),
    ("init", "sched_setaffinity", ANY, "the cpuset cgroup bounds it anyway"),
    ("oxrun", "openat", EINTR, AGAIN),
    ("oxrun", "read", EINTR, AGAIN),
    ("oxrun", "pread64", EINTR, AGAIN),
    ("oxrun", "write", EINTR, AGAIN),
    ("oxrun", "sendmsg", EINTR, AGAIN),
    ("oxrun", "ftruncate", EINTR, AGAIN),
    ("oxrun", "poll", EINTR, AGAIN),
    ("oxrun", "waitid", EINTR, AGAIN),
    ("oxrun", "wait4", EINTR, AGAIN),
    ("init", "ppoll", EINTR, AGAIN),
    ("init", "waitid", EINTR, AGAIN),
    ("oxrun", "prctl 15", ANY, "a thread goes without its name"),
    (
        "oxrun",
        "prctl 27",
        ANY,
        "capabilities are asked for one by one where it is not known that they are as usual",
    ),
    (
        "oxrun",
        "prlimit64 7",
        ANY,
        "the C library asks how many descriptors there may be when it spawns, and takes a default",
    ),
    ("oxrun", "openat seccomp@", ANY, FILTER),
    ("oxrun", "statx seccomp@", ANY, FILTER),
    ("oxrun", "read seccomp@", ANY, FILTER),
    ("oxrun", "lseek", ANY, HINT),
    ("oxrun", "statx cgroup.procs", ANY, HINT),
    ("oxrun", "statx exec", ANY, HINT),
    ("oxrun", "statx fault", ANY, HINT),
    ("oxrun", "statx freezer.state", ANY, HINT),
    ("oxrun", "statx passwd", ANY, HINT),
    ("oxrun", "statx state.json", ANY, HINT),
    ("oxrun", "statx state", ANY, "it is made again where the directory is there already"),
    ("oxrun", "statx NULL", ANY, "std asks whether the kernel has statx, and makes do with stat"),
    (
        "oxrun",
        "seccomp",
        ANY,
        "only EINVAL says that a flag is not known; loading the filter tells of the rest",
    ),
    ("oxrun", "write exec", ANY, TEMPLATE),
    ("oxrun", "fcntl 1", ANY, "whether a standard stream is open: anything but EBADF means that it is"),
    ("oxrun", "ioctl 21505", ANY, "whether stderr is a terminal: if that cannot be told, it gets no colours"),
    ("oxrun", "getrandom", ANY, "std seeds its tables from elsewhere"),
    ("oxrun", "flock 8", ANY, "the lock goes with its descriptor"),
    ("oxrun", "flock", EINTR, AGAIN),
    ("oxrun", "openat passwd", ANY, "a list then has the number of the user"),
    ("oxrun", "openat exec", ANY, TEMPLATE),
    ("oxrun", "read exec", ANY, TEMPLATE),
    ("oxrun", "read signalfd", &["EAGAIN", "EINTR"], "as long as a signal waits there it is asked for again"),
    ("oxrun", "unlink start", ANY, "nobody reads it any more; the directory is removed with what is in it"),
];

/// Operation, call, errors, reason: what only these may do without.
const ROWS_OF: &[(&str, &str, &[&str], &str)] = &[
    ("delete", "rmdir", ANY, "it is removed again, after what is below it"),
    ("run", "rmdir", ANY, "it is removed again, after what is below it"),
    ("delete --force", "rmdir", ANY, "it is removed again, after what is below it"),
    ("delete --force", "openat cgroup.kill", ANY, ONE_BY_ONE),
    ("delete --force", "write", ANY, ONE_BY_ONE),
    (
        "delete --force",
        "waitid",
        ANY,
        "the container is no child of who deletes it: there is nothing to reap",
    ),
    ("delete --force", "openat CGROUP", ANY, FROZEN),
    ("delete --force", "openat freezer.state", ANY, FROZEN),
    ("delete --force", "getdents64", ANY, FROZEN),
    ("delete --force", "read freezer.state", ANY, FROZEN),
    ("delete --force", "read cgroup.procs", ANY, FROZEN),
    ("kill", "openat CGROUP", ANY, FROZEN),
    ("kill", "openat freezer.state", ANY, FROZEN),
    ("kill", "getdents64", ANY, FROZEN),
    ("kill", "read freezer.state", ANY, FROZEN),
    ("kill", "read cgroup.procs", ANY, FROZEN),
    ("state", "poll", ANY, PID),
    ("list", "read passwd", ANY, "a list then has the number of the user"),
    ("update", "openat pids.max", ANY, BEFORE),
    ("update", "read pids.max", ANY, BEFORE),
    ("update", "openat cpu.shares", ANY, BEFORE),
    ("update", "read cpu.shares", ANY, BEFORE),
];

/// Whether a container may differ at this place of its report, because this call failed: without /etc/passwd nobody
/// knows a home directory.
pub(super) fn may_change(call: &str, at: &str) -> bool {
    at.starts_with("/env/") && matches!(call, "openat2 passwd" | "read passwd")
}

/// Answers that no kernel gives, and that std ends the process for: `close` of an open descriptor may be interrupted
/// and no more (it then is closed), `getrandom` with GRND_INSECURE exists or does not.
pub(super) fn is_impossible(call: &str, errno: &str) -> bool {
    match call {
        "close" => !matches!(errno, "EINTR" | "SIGKILL"),
        "getrandom" => matches!(errno, "EAGAIN" | "ENOMEM"),
        // These have no error, or none for arguments that are right.
        // PR_SET_DUMPABLE takes 0 and 1 always.
        "prctl 4" | "umask" | "uname" | "getpid" | "gettid" | "geteuid" | "getegid" | "getrusage"
        | "rt_sigaction" | "rt_sigprocmask" => errno != "SIGKILL",
        _ => false,
    }
}

/// Which program a task carries out.
pub(super) fn program(task: &str) -> &'static str {
    if ["oxrun", "thread", "hook"].iter().any(|kind| task.starts_with(kind)) { "oxrun" } else { "init" }
}

/// Why the failure of a call of an operation may be ignored.
pub(super) fn why(operation: &str, task: &str, call: &str, errno: &str) -> Option<&'static str> {
    if errno == KILL_OF_JOIN {
        return Some("it has cloned by then, and is done");
    }
    if let Some(row) = FALLBACKS.iter().find(|row| (row.0, row.1) == (task, call) && errno == "ENOSYS") {
        return Some(row.2);
    }
    let plain = call.split(' ').next().unwrap_or(call);
    let fits = |name: &str, errnos: &[&str]| {
        (name == call || name == plain) && (errnos.is_empty() || errnos.contains(&errno))
    };
    // However a container is run, the command is the same.
    let command = if operation.starts_with("run") { "run" } else { operation };
    let special = ROWS_OF.iter().find(|(o, name, errnos, _)| *o == command && fits(name, errnos));
    let general = || ROWS.iter().find(|(t, name, errnos, _)| *t == task && fits(name, errnos));
    special.or_else(general).map(|row| row.3)
}
