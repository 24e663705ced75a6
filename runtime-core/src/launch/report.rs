//! From the fault page to an error: which step, which field, which call, and runc's words for it.

mod share;

use super::Started;
use crate::error::{Error, ErrorKind, errno_text};
use crate::hooks::{self, End};
use crate::plan::Plan;
use crate::plan::action::{Action, FilesystemMount, HookAction, Lsm};
use crate::sys::ExitStatus;
use oxrun_init::fault::{self, Detail, Phase, Record, ended};

/// The error of an init that ended before the container was created.
pub(super) fn failure(plan: &Plan, page: &[u8], status: ExitStatus) -> Error {
    let Some(record) = fault::read(page).filter(|r| r.phase != Phase::Unborn as u32) else {
        return Error::new(
            ErrorKind::Killed,
            format!("container init ended before its first step: {}", how(status)),
        );
    };
    let step = plan.step_ref(record.step);
    let at = plan.steps.get((record.step as usize).saturating_sub(1));
    let field = at.map_or("", |s| s.field.as_str());
    if record.phase != Phase::Failed as u32 {
        let call = call(&record);
        return Error::new(
            ErrorKind::Killed,
            format!(
                "container init was ended during step {} of {}: {}",
                step.number,
                step.total,
                how(status)
            ),
        )
        .at(field)
        .in_step(step)
        .with_call(call, 0)
        .hint("a memory limit below what the set-up needs, or somebody's SIGKILL");
    }
    let mut error = match at {
        Some(s) => explain(&s.action, &s.field, &record),
        None => plain("init", &record),
    };
    if record.errno != 0 {
        error = error.with_call(call(&record), record.errno);
    }
    error.or_at(field).in_step(step)
}

fn how(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("exit status {code}"),
        ExitStatus::Signaled(signal) => format!("killed by signal {signal}"),
        ExitStatus::Unknown => "its exit status is lost".to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A failure without a special wording.
fn plain(what: &str, r: &Record<'_>) -> Error {
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
fn explain(action: &Action, field: &str, r: &Record<'_>) -> Error {
    let errno = errno_text(r.errno);
    match action {
        Action::Mount(m) => {
            let e = mounting(&m.source, &m.destination.display().to_string(), &m.fstype, r);
            at_option(e, m, field, r)
        }
        Action::Bind(b) => {
            mounting(&b.source.display().to_string(), &b.destination.display().to_string(), "bind", r)
        }
        Action::Remount { destination, .. } => mounting("", &destination.display().to_string(), "remount", r),
        Action::Lookup { name, .. } => lookup(name, r),
        Action::Exec { .. } => executing(r),
        Action::Cwd { .. } | Action::Identity { .. } if path_of_cwd(action, r).is_some() => {
            let path = path_of_cwd(action, r).unwrap_or_default();
            plain("", r).saying(format!("chdir to cwd ({path:?}) set in config.json failed: {errno}"))
        }
        Action::SetNs { path, .. } if r.detail == Detail::HostMounts => {
            let text = format!(
                "{} is the mount namespace of the host, whose root a container cannot change",
                path.display()
            );
            Error::config(field, text).hint("leave the path out for a mount namespace of the container's own")
        }
        Action::SetNs { kind, path } => plain("", r).saying(format!(
            "unable to join the {} namespace: namespace path: {} {}: {errno}",
            kind.name(),
            if call(r).starts_with("setns") { "setns" } else { "lstat" },
            path.display(),
        )),
        Action::Rlimit { name, resource, .. } => {
            let e = plain("", r).saying(format!("error setting rlimit type {resource} ({name}): {errno}"));
            if r.errno == libc::EPERM { e.hint("raising a hard limit needs CAP_SYS_RESOURCE") } else { e }
        }
        Action::OomScoreAdj { value } => {
            let e = plain("", r).saying(format!("failed to set oom_score_adj to {value}: {errno}"));
            if r.errno == libc::EACCES {
                e.hint("a value below the caller's needs CAP_SYS_RESOURCE")
            } else {
                e
            }
        }
        Action::Sysctl { key, .. } => {
            let e = plain("", r).saying(format!("error setting sysctl {}: {errno}", key.replace('/', ".")));
            if r.errno == libc::ENOENT { e.hint("no such sysctl in this kernel or namespace") } else { e }
        }
        Action::Device(d) if r.detail == Detail::DeviceMismatch => plain("", r).saying(format!(
            "error creating device {}: there is something else that is not {} {}:{}",
            d.path.display(),
            d.kind,
            d.major,
            d.minor,
        )),
        Action::Hook(h) => hook(h, r),
        Action::ProgramLabel { lsm, label } => program_label(*lsm, label, r),
        Action::Mask { path, .. } => plain(&format!("can't mask path {:?}", path.display().to_string()), r),
        Action::Readonly { path } => {
            plain(&format!("can't make {:?} read-only", path.display().to_string()), r)
        }
        Action::Root { path, .. } => plain(&format!("error preparing rootfs {}", path.display()), r),
        Action::Pivot { .. } => plain("error jailing process inside rootfs", r),
        Action::JoinTasks { .. }
        | Action::OpenTasks { .. }
        | Action::JoinOpened
        | Action::OpenCgroup { .. } => plain("error adding pid of init to cgroups", r),
        Action::Hostname { .. } => plain("sethostname", r),
        Action::Console { .. } if r.detail == Detail::DeviceMismatch => plain("", r).saying(
            "error setting up the terminal: /dev/console of the image is neither a file nor a device",
        ),
        Action::Console { .. } => plain("error setting up the terminal", r),
        Action::Bounding { .. } | Action::Caps { .. } | Action::Ambient { .. } => {
            plain("unable to apply caps", r)
        }
        Action::Affinity { .. }
        | Action::Scheduler(_)
        | Action::IoPriority { .. }
        | Action::MemoryPolicy { .. } => share::explain(action, plain("", r), r.errno),
        Action::Personality { .. } => plain("error setting the personality", r),
        Action::Seccomp(_) => plain("unable to init seccomp", r),
        // Only the cgroup says so: one with controllers below it takes no process.
        Action::Clone { .. } if r.errno == libc::EBUSY => plain("error adding pid of init to cgroups", r),
        Action::Clone { .. } => plain("unable to create the container's process", r),
        _ => plain("error during container init", r),
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

fn path_of_cwd(action: &Action, r: &Record<'_>) -> Option<String> {
    match action {
        Action::Cwd { path, .. } => Some(path.display().to_string()),
        // The second try, as the user.
        Action::Identity { .. } if call(r).starts_with("openat2") => {
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
                ended::TIMEOUT => End::Late(h.timeout.unwrap_or(0)),
                ended::EXITED => End::Exited(status),
                ended::KILLED => End::Signaled(status, false),
                ended::DUMPED => End::Signaled(status, true),
                _ => End::Unknown,
            };
            hooks::ended(h, &end, r.text.get(8..).unwrap_or(b""))
        }
        Detail::BadScript | Detail::HostGone => plain("error running a hook", r),
        _ if call(r).starts_with("execve") => hooks::not_executed(h, r.errno),
        _ => hooks::failed(h, &format!("{}: {}", call(r), errno_text(r.errno))),
    }
}

fn mounting(source: &str, destination: &str, fstype: &str, r: &Record<'_>) -> Error {
    let head = format!("error during container init: error mounting {source:?} to rootfs at {destination:?}");
    let errno = errno_text(r.errno);
    let call = call(r);
    let error = |tail: String| plain("", r).saying(format!("{head}: {tail}"));
    match r.detail {
        Detail::NotOrdinary => error(format!("filesystem {fstype:?} must be mounted on ordinary directory")),
        Detail::TypeMismatch => error(format!("{call}: not a directory"))
            .hint("one of source and destination is a file, the other a directory"),
        Detail::FsLog => {
            let said = text(r.text);
            // The kernel prefixes each line with its level.
            let said = said.lines().next().unwrap_or("").split_once(' ').map_or("", |s| s.1).to_owned();
            error(format!("{call}: {errno}; {said}")).with_fs_log(said)
        }
        Detail::NotProc => error(format!("{destination:?} cannot be mounted because it is not of type proc")),
        Detail::CopyUp => error(format!("copying {:?}: {call}: {errno}", text(r.text))),
        _ if call.starts_with("fsopen") && r.errno == libc::ENODEV => {
            error(format!("{call}: {errno}")).hint(format!("{fstype:?} is unknown to this kernel"))
        }
        _ if call.starts_with("mount(") => error(format!("{call}: {errno}")).hint(
            "options longer than 255 bytes go to mount(2), which gives no reason; the kernel's log may have it",
        ),
        _ if call.starts_with("open_tree") && fstype == "bind" => error(format!("stat {source}: {errno}")),
        _ => error(format!("{call}: {errno}")),
    }
}

/// Names the very option that the filesystem did not take.
fn at_option(e: Error, m: &FilesystemMount, field: &str, r: &Record<'_>) -> Error {
    const KNOWN: [&str; 12] = [
        "size",
        "mode",
        "uid",
        "gid",
        "nr_inodes",
        "nr_blocks",
        "ptmxmode",
        "newinstance",
        "max",
        "hidepid",
        "lowerdir",
        "upperdir",
    ];
    let key = strings(r).into_iter().find(|s| s.0 == 2).map(|s| s.1);
    let option = m.options.data.iter().find(|o| Some(&o.key) == key.as_ref());
    let Some((option, index)) =
        option.and_then(|o| Some((o, o.index?))).filter(|_| call(r).starts_with("fsconfig"))
    else {
        return e;
    };
    let e = e.at(format!("{field}/options/{index}"));
    if KNOWN.contains(&option.key.as_str()) {
        return e;
    }
    let near = KNOWN.iter().find(|k| (1..3).contains(&crate::plan::distance(&option.key, k)));
    match near {
        Some(near) => {
            let value = option.value.as_ref().map(|v| format!("={v}")).unwrap_or_default();
            e.hint(format!("did you mean \"{near}{value}\"?"))
        }
        None => e,
    }
}

fn lookup(name: &str, r: &Record<'_>) -> Error {
    let e = if !name.contains('/') {
        Error::new(ErrorKind::Exec, format!("exec: {name:?}: executable file not found in $PATH"))
    } else if r.detail == Detail::NotExecutable {
        Error::new(ErrorKind::Exec, format!("exec: {name:?}: permission denied"))
    } else {
        Error::new(ErrorKind::Exec, format!("exec: {name:?}: stat {name}: {}", errno_text(r.errno)))
    };
    e.at("/process/args/0")
}

fn executing(r: &Record<'_>) -> Error {
    let path = strings(r).into_iter().next().map(|s| s.1).unwrap_or_default();
    let e =
        Error::new(ErrorKind::Exec, format!("exec {path}: {}", errno_text(r.errno))).at("/process/args/0");
    match r.errno {
        libc::ENOENT => e.hint("the file exists: its interpreter (#! or ELF) does not"),
        libc::ENOEXEC => e.hint("neither an ELF file for this machine nor a script with #!"),
        libc::EPERM => e.hint("a seccomp rule may deny execve to the program itself"),
        _ => e,
    }
}

/// Names the interpreter that a script asks for and the container does not have.
fn interpreter(e: Error, rootfs: &std::path::Path, r: &Record<'_>) -> Error {
    let path = strings(r).into_iter().next().map(|s| s.1);
    let (Some(path), libc::ENOENT) = (path, r.errno) else {
        return e;
    };
    let Some(line) = crate::sys::first_line(rootfs, &path) else {
        return e;
    };
    match line.strip_prefix("#!").and_then(|l| l.split_whitespace().next()) {
        Some(program) => e.hint(format!("{path} exists; its interpreter {program} (line 1) does not")),
        None => e,
    }
}

/// How far a container came that was told to start: another process than the one that created it asks.
pub(super) fn started<'a>(
    page: &[u8],
    total: u32,
    rootfs: &std::path::Path,
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
    let e = if call(&record).starts_with("execve") {
        interpreter(executing(&record), rootfs, &record)
    } else {
        plain("error during container init", &record)
    };
    Started::Failed(e.in_step(step).with_call(call(&record), record.errno))
}

/// The string arguments with their positions.
fn strings(r: &Record<'_>) -> Vec<(usize, String)> {
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
fn call(r: &Record<'_>) -> String {
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
