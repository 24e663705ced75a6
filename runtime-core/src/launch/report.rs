//! From the fault page to an error: which step, which field, which call, and runc's words for it.

mod share;

use super::{Started, executing, mounting, triage};
use crate::bundle::Warning;
use crate::error::{Error, ErrorKind, errno_text};
use crate::hooks::{self, End};
use crate::plan::Plan;
use crate::plan::action::{Action, HookAction, Lsm, Namespace};
use crate::seccomp::FLAG_WAIT_KILLABLE_RECV;
use crate::sys::ExitStatus;
use oxrun_init::fault::{self, Detail, Phase, Record, ended as how_ended};
use std::borrow::Cow;
use std::path::Path;

/// The error of an init that ended before it could say anything.
fn unborn(plan: &Plan, status: ExitStatus) -> Error {
    let spawn = plan.steps.iter().position(|s| matches!(s.action, Action::Spawn { .. }));
    let step = plan.step_ref(spawn.map_or(0, |at| at as u32 + 1));
    match status {
        ExitStatus::Signaled(libc::SIGKILL) => ended(plan, step, status).in_step(step),
        // Its own exit statuses are higher.
        ExitStatus::Exited(errno @ 1..=133) => {
            Error::syscall("execveat(\"oxrun-init\")", errno).in_step(step)
        }
        _ => {
            let text = format!("container init ended before its first step: {}", how(status));
            Error::new(ErrorKind::Killed, text)
        }
    }
}

/// The error of a creator that could not clone the container's process, which is step `number`.
pub(super) fn not_cloned(plan: &Plan, number: u32, e: &std::io::Error) -> Error {
    let record = Record {
        phase: Phase::Failed as u32,
        step: number,
        detail: Detail::None,
        errno: e.raw_os_error().unwrap_or(libc::EINVAL),
        nr: libc::SYS_clone3 as u64,
        args: [0; 6],
        faults: 0,
        text: b"",
        strings: b"",
    };
    failed(plan, &record)
}

/// The step that init is at, or was at last; 0 before the first.
pub(super) fn step_of(page: &[u8]) -> u32 {
    fault::read(page).map_or(0, |record| record.step)
}

/// The error of an init that ended before the container was created.
pub(super) fn failure(plan: &Plan, page: &[u8], status: ExitStatus) -> Error {
    let Some(record) = fault::read(page).filter(|r| r.phase != Phase::Unborn as u32) else {
        return unborn(plan, status);
    };
    if record.phase != Phase::Failed as u32 {
        let step = plan.step_ref(record.step);
        return ended(plan, step, status)
            .or_at(field(plan, &record))
            .in_step(step)
            .with_call(call(&record), 0);
    }
    failed(plan, &record)
}

/// The field of the step that a record is of.
fn field<'a>(plan: &'a Plan, record: &Record<'_>) -> &'a str {
    plan.steps.get((record.step as usize).saturating_sub(1)).map_or("", |s| s.field.as_str())
}

/// The error of a step that failed.
fn failed(plan: &Plan, record: &Record<'_>) -> Error {
    let mut error = match plan.steps.get((record.step as usize).saturating_sub(1)) {
        Some(s) => explain(plan, &s.action, &s.field, record),
        None => plain("init", record),
    };
    if record.errno != 0 {
        error = error.with_call(call(record), record.errno);
    }
    if record.errno == libc::EPERM
        && error.hint_text().is_none()
        && let Some(hint) = triage::hint(plan, &call(record))
    {
        error = error.hint(hint);
    }
    error.or_at(field(plan, record)).in_step(plan.step_ref(record.step))
}

/// Init was ended during a step: by the kernel, for the memory limit, or by somebody.
fn ended(plan: &Plan, step: crate::error::StepRef, status: ExitStatus) -> Error {
    let during = format!("during step {} of {}: {}", step.number, step.total, how(status));
    let limit = plan.steps.iter().find_map(|s| match &s.action {
        Action::CgroupWrite { file, value } if crate::cgroup::live::ran_out(file) => Some((&s.field, value)),
        _ => None,
    });
    match limit {
        Some((field, value)) => Error::new(
            ErrorKind::Killed,
            format!("container init was OOM-killed (memory limit too low?) {during}"),
        )
        .at(field.clone())
        .hint(format!("the memory limit of {value} bytes is less than what the set-up needs")),
        None => ended_by_others(plan, &during),
    }
}

/// The same without a limit in the plan: it may be that of a cgroup above, or, of a container that exists, its own.
fn ended_by_others(plan: &Plan, during: &str) -> Error {
    let new = plan.steps.iter().any(|s| matches!(s.action, Action::Created));
    let entered = plan.steps.iter().find_map(|s| match &s.action {
        Action::OpenCgroup { dir, .. } => Some(dir.as_path()),
        _ => None,
    });
    match crate::cgroup::live::oom_kills(&plan.cgroups, entered) {
        0 => Error::new(ErrorKind::Killed, format!("container init was ended {during}"))
            .hint("somebody's SIGKILL, or the host ran out of memory"),
        // Nobody was in its cgroup before.
        _ if new => Error::new(ErrorKind::Killed, format!("container init was OOM-killed {during}"))
            .hint("a memory limit above its cgroup, or the host's memory, was exhausted"),
        n => Error::new(ErrorKind::Killed, format!("container init was ended {during}")).hint(format!(
            "somebody's SIGKILL, or its memory was exhausted: of the container's processes {n} were OOM-killed so far"
        )),
    }
}

fn how(status: ExitStatus) -> String {
    // What init could not do, where it has nothing yet, or no more, to write that to (`boot` and `join` in the init).
    let call = match status {
        ExitStatus::Exited(254) => "recvmsg of its descriptors",
        ExitStatus::Exited(253) => "mmap of the page for faults",
        ExitStatus::Exited(252) => "mmap of its script",
        ExitStatus::Exited(251) => "dup3 of a standard stream",
        ExitStatus::Exited(250) => "sendmsg of who comes after it",
        _ => "",
    };
    match status {
        ExitStatus::Exited(code) if !call.is_empty() => format!("exit status {code}: {call} failed"),
        ExitStatus::Exited(code) => format!("exit status {code}"),
        ExitStatus::Signaled(signal) => format!("killed by signal {signal}"),
        ExitStatus::Unknown => "its exit status is lost".to_owned(),
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A failure without a special wording.
pub(super) fn plain(what: &str, r: &Record<'_>) -> Error {
    let message = match (r.detail, r.errno) {
        (Detail::BadScript, _) => format!("{what}: init did not understand its script: {}", text(r.text)),
        (Detail::HostGone, _) => format!("{what}: the creating process went away"),
        (Detail::NotProc, _) => {
            format!("{what}: {:?} cannot be mounted because it is not of type proc", text(r.text))
        }
        (Detail::Text | Detail::DeviceMismatch | Detail::BadNull, 0) => {
            format!("{what}: {}", text(r.text))
        }
        (_, errno) => format!("{what}: {}: {}", call(r), errno_text(errno)),
    };
    let kind = match r.detail {
        Detail::BadScript => ErrorKind::Internal,
        Detail::HostGone => ErrorKind::Killed,
        _ if r.errno == libc::EPERM || r.errno == libc::EACCES => ErrorKind::Permission,
        _ => ErrorKind::Syscall,
    };
    Error::new(kind, message)
}

/// The wording of each step, with what callers match inside.
fn explain(plan: &Plan, action: &Action, field: &str, r: &Record<'_>) -> Error {
    match action {
        Action::Mount(m) => mounting::filesystem(m, field, r),
        Action::Bind(b) => mounting::bind(b, field, r),
        Action::Remount { destination, .. } => mounting::remount(destination, r),
        Action::Lookup { name, candidates } => executing::lookup(plan, name, candidates, r),
        Action::Exec { .. } => executing::executing(r),
        Action::Cwd { .. } | Action::Identity { .. } if path_of_cwd(action, r).is_some() => cwd(action, r),
        Action::SetNs { path, .. } if r.detail == Detail::HostMounts => {
            let text = format!(
                "{} is the mount namespace of the host, whose root a container cannot change",
                path.display()
            );
            Error::config(field, text).hint("leave the path out for a mount namespace of the container's own")
        }
        Action::SetNs { kind, path } => joining(*kind, path, r),
        Action::Rlimit { .. } | Action::OomScoreAdj { .. } | Action::Sysctl { .. } => value(action, r),
        Action::Device(d) if r.detail == Detail::DeviceMismatch => plain("", r).saying(format!(
            "error creating device {}: there is something else that is not {} {}:{}",
            d.path.display(),
            d.kind,
            d.major,
            d.minor,
        )),
        Action::Hook(h) => hook(h, r),
        Action::ProgramLabel { lsm, label } => program_label(*lsm, label, r),
        Action::Console { .. } if r.detail == Detail::DeviceMismatch => plain("", r).saying(
            "error setting up the terminal: /dev/console of the image is neither a file nor a device",
        ),
        Action::Affinity { .. }
        | Action::Scheduler(_)
        | Action::IoPriority { .. }
        | Action::MemoryPolicy { .. } => share::explain(action, plain("", r), r.errno),
        Action::Seccomp(program) => seccomp(program.flags, r),
        // Only the cgroup says so: one with controllers below it takes no process.
        Action::Clone { .. } if r.errno == libc::EBUSY => plain("error adding pid of init to cgroups", r),
        Action::Clone { .. } if r.errno == libc::EAGAIN => {
            plain("unable to create the container's process", r)
                .hint("pids.limit of the container or RLIMIT_NPROC of its user has no room for it")
        }
        _ => plain(&task(action), r),
    }
}

/// What a step was to do, for messages that say no more than that and the errno.
fn task(action: &Action) -> Cow<'static, str> {
    let text = match action {
        Action::Device(d) => return format!("error creating device {}", d.path.display()).into(),
        Action::SetAttr { destination, .. } => {
            return format!("error changing the mount on {}", destination.display()).into();
        }
        Action::Symlink { path, .. } => return format!("error creating link {}", path.display()).into(),
        Action::Mask { path, .. } => {
            return format!("can't mask path {:?}", path.display().to_string()).into();
        }
        Action::Readonly { path } => {
            return format!("can't make {:?} read-only", path.display().to_string()).into();
        }
        Action::Root { path, .. } => return format!("error preparing rootfs {}", path.display()).into(),
        Action::Pivot { .. } | Action::LeaveMounts | Action::EnterRoot => {
            "error jailing process inside rootfs"
        }
        Action::JoinTasks { .. }
        | Action::OpenTasks { .. }
        | Action::JoinOpened
        | Action::OpenCgroup { .. } => "error adding pid of init to cgroups",
        Action::Hostname { .. } => "sethostname",
        Action::Console { .. } => "error setting up the terminal",
        Action::Bounding { .. } | Action::Caps { .. } | Action::Ambient { .. } => "unable to apply caps",
        Action::Personality { .. } => "error setting the personality",
        Action::Clone { .. } => "unable to create the container's process",
        _ => "error during container init",
    };
    text.into()
}

/// A working directory that cannot be entered.
fn cwd(action: &Action, r: &Record<'_>) -> Error {
    let (path, errno) = (path_of_cwd(action, r).unwrap_or_default(), errno_text(r.errno));
    plain("", r).saying(match action {
        // What is not there is made, which a file in its way does not let.
        Action::Cwd { create: true, .. } if r.errno == libc::ENOTDIR || call(r).starts_with("mkdirat") => {
            format!("error during container init: mkdir {path}: {errno}")
        }
        _ => format!("chdir to cwd ({path:?}) set in config.json failed: {errno}"),
    })
}

/// A value that the kernel does not take.
fn value(action: &Action, r: &Record<'_>) -> Error {
    let errno = errno_text(r.errno);
    let (text, matching, hint) = match action {
        Action::Rlimit { name, resource, .. } => (
            format!("error setting rlimit type {resource} ({name}): {errno}"),
            libc::EPERM,
            "raising a hard limit needs CAP_SYS_RESOURCE",
        ),
        Action::OomScoreAdj { value } => (
            format!("failed to set oom_score_adj to {value}: {errno}"),
            libc::EACCES,
            "a value below the caller's needs CAP_SYS_RESOURCE",
        ),
        Action::Sysctl { key, .. } => {
            let verb = if call(r).starts_with("write") { "write" } else { "open" };
            (
                format!("error during container init: {verb} /proc/sys/{key}: {errno}"),
                libc::ENOENT,
                "no such sysctl in this kernel or namespace",
            )
        }
        _ => return plain(&task(action), r),
    };
    let e = plain("", r).saying(text);
    if r.errno == matching { e.hint(hint) } else { e }
}

/// A filter that the kernel does not take. Callers know the words of the second one.
fn seccomp(flags: u32, r: &Record<'_>) -> Error {
    let e = plain("unable to init seccomp", r);
    match r.errno {
        libc::EBUSY => e.hint("the calling process is itself under a filter that asks an agent"),
        libc::EINVAL if flags & FLAG_WAIT_KILLABLE_RECV != 0 => {
            e.saying("error adding WaitKill flag to seccomp filter: SetWaitKill requires linux 5.19 or newer")
        }
        _ => e,
    }
}

/// A label that the security module does not take. Engines look for the path in backquotes.
fn program_label(lsm: Lsm, label: &str, r: &Record<'_>) -> Error {
    let errno = errno_text(r.errno);
    let e = plain("", r);
    match lsm {
        Lsm::AppArmor => {
            let e = e.saying(format!(
                "unable to apply apparmor profile: apparmor failed to apply profile: write \
                 `/proc/self/attr/apparmor/exec`: {errno}"
            ));
            match r.errno {
                libc::ENOENT => e.hint(format!("no profile {label:?} is loaded")),
                _ => e,
            }
        }
        Lsm::SeLinux => {
            let e = e.saying(format!("can't set process label: write `/proc/self/attr/exec`: {errno}"));
            match r.errno {
                libc::EINVAL => e.hint(format!("the policy has no label {label:?}")),
                _ => e,
            }
        }
    }
}

fn joining(kind: Namespace, path: &Path, r: &Record<'_>) -> Error {
    let entering = call(r).starts_with("setns");
    let (path_text, errno) = (path.display(), errno_text(r.errno));
    let e = plain("", r).saying(if entering {
        format!("unable to join the {} namespace: namespace path: setns {path_text}: {errno}", kind.name())
    } else {
        format!("unable to create new parent process: namespace path: lstat {path_text}: {errno}")
    });
    match r.errno {
        libc::EINVAL if entering => e.hint(format!("{path_text} is no {} namespace", kind.name())),
        libc::ENOENT if !entering => e.hint(format!("no {} namespace has this path", kind.name())),
        _ => e,
    }
}

fn path_of_cwd(action: &Action, r: &Record<'_>) -> Option<String> {
    match action {
        Action::Cwd { path, .. } => Some(path.display().to_string()),
        // The second try, as the user.
        Action::Identity { .. } if ["openat2(", "chdir("].iter().any(|c| call(r).starts_with(c)) => {
            strings(r).into_iter().next().map(|s| s.1)
        }
        _ => None,
    }
}

/// The failure of a hook that init ran.
fn hook(h: &HookAction, r: &Record<'_>) -> Error {
    let number = |at: usize| {
        let bytes = r.text.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    match r.detail {
        Detail::Hook => {
            let status = number(4) as i32;
            let end = match number(0) {
                how_ended::TIMEOUT => End::Late(h.timeout.unwrap_or(0)),
                how_ended::EXITED => End::Exited(status),
                how_ended::KILLED => End::Signaled(status, false),
                how_ended::DUMPED => End::Signaled(status, true),
                _ => End::Unknown,
            };
            hooks::ended(h, &end, r.text.get(8..).unwrap_or(b""))
        }
        Detail::BadScript | Detail::HostGone => plain("error running a hook", r),
        Detail::Text => hooks::failed(h, &format!("{}: {}", text(r.text), errno_text(r.errno))),
        _ if call(r).starts_with("execve") => hooks::not_executed(h, r.errno),
        _ => hooks::failed(h, &format!("{}: {}", call(r), errno_text(r.errno))),
    }
}

/// How far a container came that was told to start: another process than the one that created it asks.
pub(super) fn started<'a>(
    page: &[u8],
    total: u32,
    rootfs: &Path,
    denied: Option<&Warning>,
    start_hook: impl Fn(u32) -> Option<&'a HookAction>,
) -> Started {
    let Some(record) = fault::read(page) else {
        return Started::Executing { faults: 0 };
    };
    let step = crate::error::StepRef { number: record.step, total, lane: crate::error::Lane::Init };
    if record.phase == Phase::Exec as u32 {
        return Started::Executing { faults: record.faults };
    }
    if record.phase != Phase::Failed as u32 {
        let text = format!(
            "container init was killed during step {} of {}, before its program",
            step.number, step.total
        );
        return Started::Failed(Error::new(ErrorKind::Killed, text).in_step(step));
    }
    if let Some(h) = start_hook(record.step) {
        let mut e = hook(h, &record);
        if record.errno != 0 {
            e = e.with_call(call(&record), record.errno);
        }
        return Started::Failed(e.in_step(step));
    }
    let e = match call(&record) {
        call if call.starts_with("execve") => executing::failed(rootfs, denied, &record),
        // The only process that is made once the container is created, but for those of hooks.
        call if call.starts_with("clone3") && record.errno == libc::EAGAIN => plain(
            "unable to start the thread that hands the filter's listener to its agent",
            &record,
        )
        .at("/linux/resources/pids/limit")
        .hint("with SCMP_ACT_NOTIFY pids.limit and RLIMIT_NPROC need room for one task beside the program"),
        _ => plain("error during container init", &record),
    };
    Started::Failed(e.in_step(step).with_call(call(&record), record.errno))
}

/// The string arguments with their positions.
pub(super) fn strings(r: &Record<'_>) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut rest = r.strings;
    while let Some((&index, tail)) = rest.split_first() {
        let end = tail.iter().position(|b| *b == 0).unwrap_or(tail.len());
        out.push((usize::from(index), text(tail.get(..end).unwrap_or(b""))));
        rest = tail.get(end + 1..).unwrap_or(b"");
    }
    out
}

/// The call as `name(arguments)`: strings in quotes, descriptors and numbers as they are, flags in hex,
/// pointers to structures left out.
pub(super) fn call(r: &Record<'_>) -> String {
    let Some((name, kinds)) = calls().iter().find(|(nr, _, _)| *nr == r.nr as i64).map(|(_, n, k)| (n, k))
    else {
        return format!("syscall {}", r.nr);
    };
    let strings = strings(r);
    let mut args = Vec::new();
    for (i, (kind, value)) in kinds.chars().zip(r.args).enumerate() {
        let string = strings.iter().find(|s| s.0 == i).map(|s| &s.1);
        args.push(match (kind, string) {
            ('s', Some(s)) => format!("{s:?}"),
            ('s', None) | ('p', _) => continue,
            ('d', _) if value as i32 == libc::AT_FDCWD => "AT_FDCWD".to_owned(),
            ('x', _) => format!("{value:#x}"),
            _ => (value as i64).to_string(),
        });
    }
    format!("{name}({})", args.join(", "))
}

/// The calls of init: s string, d descriptor, n number, x flags, p pointer.
fn calls() -> &'static [(i64, &'static str, &'static str)] {
    &[
        (libc::SYS_read, "read", "dpn"),
        (libc::SYS_accept4, "accept4", "dppx"),
        (libc::SYS_fcntl, "fcntl", "dnn"),
        (libc::SYS_pipe2, "pipe2", "px"),
        (libc::SYS_write, "write", "dpn"),
        (libc::SYS_mmap, "mmap", "pnxxdn"),
        (libc::SYS_ioctl, "ioctl", "dxp"),
        (libc::SYS_socket, "socket", "nnn"),
        (libc::SYS_sendmsg, "sendmsg", "dpx"),
        (libc::SYS_recvmsg, "recvmsg", "dpx"),
        (libc::SYS_execve, "execve", "spp"),
        (libc::SYS_chdir, "chdir", "s"),
        (libc::SYS_fchdir, "fchdir", "d"),
        (libc::SYS_fchown, "fchown", "dnn"),
        (libc::SYS_setsid, "setsid", ""),
        (libc::SYS_setgroups, "setgroups", "np"),
        (libc::SYS_setresuid, "setresuid", "nnn"),
        (libc::SYS_setresgid, "setresgid", "nnn"),
        (libc::SYS_capset, "capset", "pp"),
        (libc::SYS_pivot_root, "pivot_root", "ss"),
        (libc::SYS_prctl, "prctl", "nnn"),
        (libc::SYS_chroot, "chroot", "s"),
        (libc::SYS_umount2, "umount2", "sx"),
        (libc::SYS_sethostname, "sethostname", "sn"),
        (libc::SYS_setdomainname, "setdomainname", "sn"),
        (libc::SYS_keyctl, "keyctl", "np"),
        (libc::SYS_pwrite64, "pwrite64", "dpnn"),
        (libc::SYS_personality, "personality", "x"),
        (libc::SYS_getdents64, "getdents64", "dpn"),
        (libc::SYS_lseek, "lseek", "dnn"),
        (libc::SYS_fchmodat, "fchmodat", "dsx"),
        (libc::SYS_memfd_create, "memfd_create", "sx"),
        (libc::SYS_openat, "openat", "dsx"),
        (libc::SYS_mkdirat, "mkdirat", "dsx"),
        (libc::SYS_mknodat, "mknodat", "dsxx"),
        (libc::SYS_fchownat, "fchownat", "dsnn"),
        (libc::SYS_symlinkat, "symlinkat", "sds"),
        (libc::SYS_readlinkat, "readlinkat", "ds"),
        (libc::SYS_unshare, "unshare", "x"),
        (libc::SYS_dup3, "dup3", "ddx"),
        (libc::SYS_sched_setaffinity, "sched_setaffinity", "nnp"),
        (libc::SYS_sched_setattr, "sched_setattr", "npx"),
        (libc::SYS_ioprio_set, "ioprio_set", "nnx"),
        (libc::SYS_set_mempolicy, "set_mempolicy", "xpn"),
        (libc::SYS_prlimit64, "prlimit64", "nnp"),
        (libc::SYS_setns, "setns", "dx"),
        (libc::SYS_seccomp, "seccomp", "nxp"),
        (libc::SYS_statx, "statx", "dsxx"),
        (libc::SYS_open_tree, "open_tree", "dsx"),
        (libc::SYS_move_mount, "move_mount", "dsdsx"),
        (libc::SYS_fsetxattr, "fsetxattr", "dspnx"),
        (libc::SYS_mount, "mount", "sssxp"),
        (libc::SYS_fspick, "fspick", "dsx"),
        (libc::SYS_fsopen, "fsopen", "sx"),
        (libc::SYS_fsconfig, "fsconfig", "dnss"),
        (libc::SYS_fsmount, "fsmount", "dxx"),
        (libc::SYS_clone3, "clone3", "p"),
        (libc::SYS_close_range, "close_range", "nnx"),
        (libc::SYS_openat2, "openat2", "ds"),
        (libc::SYS_faccessat2, "faccessat2", "dsx"),
        (libc::SYS_mount_setattr, "mount_setattr", "dsx"),
    ]
}
