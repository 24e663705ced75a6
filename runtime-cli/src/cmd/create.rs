//! `create` and `run`.

use super::{Ctx, Failure};
use crate::args;
use crate::foreground;
use crate::log::Level;
use crate::notify::{self, Proxy};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use oxrun_core::{Container, CreateOptions, Error, Plan, Runtime, Stdio};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// `create ID`.
#[inline(never)]
pub(crate) fn create(ctx: &Ctx<'_>, a: &args::Create) -> Result<u8, Failure> {
    let runtime = ctx.runtime()?;
    let plan = plan(ctx, &runtime, a, "create", false)?;
    check_console(ctx, &plan, a, true)?;
    let mut container = make(ctx, &runtime, &plan, "create", false)?;
    let handed = hand_over_init(&mut container, a)
        .and_then(|()| pid_file(a.pid_file.as_deref(), container.started_pid()));
    undo_unless(container, handed)?;
    Ok(0)
}

/// `run ID`.
#[inline(never)]
pub(crate) fn run(ctx: &Ctx<'_>, a: &args::Run) -> Result<u8, Failure> {
    let runtime = ctx.runtime()?;
    // Few join a container that somebody waits for.
    let plan = plan(ctx, &runtime, &a.create, "run", !a.detach)?;
    check_console(ctx, &plan, &a.create, a.detach)?;
    if !a.detach {
        let session = foreground::Session::begin(!a.no_subreaper)?;
        // A terminal has its size, and whoever is handed something has it, before the program begins.
        let at_once = !plan.terminal && a.create.pidfd_socket.is_none();
        let container = make(ctx, &runtime, &plan, "run", at_once)?;
        return session.run(ctx, &plan, container, &a.create, a.keep);
    }
    let mut container = make(ctx, &runtime, &plan, "run", false)?;
    let done = hand_over_init(&mut container, &a.create)
        .and_then(|()| Proxy::open(ctx, &a.create.id))
        .and_then(|proxy| container.start().map(|()| proxy).map_err(|e| started(ctx, &e)))
        .and_then(|proxy| pid_file(a.create.pid_file.as_deref(), container.started_pid()).map(|()| proxy));
    let (pid, pidfd) = (container.started_pid(), container.pidfd().map(|fd| fd.try_clone_to_owned()));
    if let Some(proxy) = undo_unless(container, done)? {
        proxy.wait(pidfd.and_then(Result::ok).as_ref().map(AsFd::as_fd), pid);
    }
    Ok(0)
}

/// A container that cannot be handed to the caller is no container.
fn undo_unless<T>(container: Container, done: Result<T, Failure>) -> Result<T, Failure> {
    if done.is_err() {
        // The failure that is being reported is the one that matters.
        let _ = container.delete(true);
    }
    done
}

/// The failure of a program that could not be executed: runc's init exits with 255.
pub(crate) fn started(ctx: &Ctx<'_>, e: &Error) -> Failure {
    let prefix = match e.kind() {
        oxrun_core::ErrorKind::Exec => String::new(),
        _ => format!("{} run failed: ", ctx.program),
    };
    let code = if e.kind() == oxrun_core::ErrorKind::Exec { 255 } else { 1 };
    Failure { code, ..Failure::of(&prefix, e) }
}

pub(crate) fn failed(ctx: &Ctx<'_>, command: &str, e: &Error) -> Failure {
    // A failure in a step happened while the process was being set up; others before anything was done. Of a
    // namespace that is not there runc knows before it has a process, and says so in its own words.
    let parent = e.to_string().starts_with("unable to create new parent process: ");
    let setup = if (e.step().is_some() && !parent) || e.kind() == oxrun_core::ErrorKind::Killed {
        "unable to start container process: "
    } else {
        ""
    };
    Failure::of(&format!("{} {command} failed: {setup}", ctx.program), e)
}

/// Descriptors from 3 on that a service manager has handed to us for the program (sd_listen_fds(3)).
#[derive(Debug, Default, PartialEq, Eq)]
struct Sockets {
    count: u32,
    names: Option<String>,
}

impl Sockets {
    /// Those that are for this process.
    fn of_environment(read: impl Fn(&str) -> Option<String>, pid: impl Fn() -> u32) -> Sockets {
        let number = |name: &str| read(name)?.parse::<u32>().ok();
        match number("LISTEN_FDS") {
            Some(count) if number("LISTEN_PID") == Some(pid()) => {
                Sockets { count, names: read("LISTEN_FDNAMES") }
            }
            _ => Sockets::default(),
        }
    }

    /// What tells the program of them, which is the first of its container.
    fn variables(&self) -> Vec<String> {
        if self.count == 0 {
            return Vec::new();
        }
        let names = self.names.iter().map(|names| format!("LISTEN_FDNAMES={names}"));
        let count = format!("LISTEN_FDS={}", self.count);
        [count, "LISTEN_PID=1".to_owned()].into_iter().chain(names).collect()
    }
}

fn plan(
    ctx: &Ctx<'_>,
    runtime: &Runtime,
    a: &args::Create,
    command: &str,
    no_template: bool,
) -> Result<Plan, Failure> {
    let dir = a.bundle.as_deref().unwrap_or(Path::new("."));
    let sockets = Sockets::of_environment(|name| std::env::var(name).ok(), std::process::id);
    let options = CreateOptions {
        no_pivot: a.no_pivot,
        no_new_keyring: a.no_new_keyring,
        preserve_fds: a.preserve_fds.saturating_add(sockets.count),
        env: sockets.variables(),
        notify: notify::directory(ctx, &a.id)?,
        no_template,
        ..ctx.options()?
    };
    let plan = runtime
        .bundle(dir)
        .and_then(|bundle| runtime.plan(&a.id, &bundle, &options))
        .map_err(|e| failed(ctx, command, &e))?;
    if ctx.log.wants(Level::Debug) {
        for line in plan.to_string().lines() {
            ctx.log.debug(line);
        }
        for (field, name) in plan.skipped_calls() {
            ctx.log.debug(&format!(
                "{field}: no architecture of the filter has a system call {name:?}, skipped"
            ));
        }
    }
    for w in plan.warnings() {
        ctx.log.warning_at(&w.field, &w.message);
    }
    Ok(plan)
}

fn check_console(ctx: &Ctx<'_>, plan: &Plan, a: &args::Create, detach: bool) -> Result<(), Failure> {
    let socket = a.console_socket.is_some();
    match (plan.terminal, detach, socket) {
        (true, true, false) => Err(Failure::plain(format!(
            "cannot allocate tty if {} will detach without setting console socket (/process/terminal)",
            ctx.program,
        ))),
        (false, _, true) | (_, false, true) => Err(Failure::plain(format!(
            "cannot use console socket if {} will not detach or allocate tty",
            ctx.program,
        ))),
        _ => Ok(()),
    }
}

fn make(
    ctx: &Ctx<'_>,
    runtime: &Runtime,
    plan: &Plan,
    command: &str,
    at_once: bool,
) -> Result<Container, Failure> {
    ctx.make_root()?;
    let made = match at_once {
        true => runtime.create_to_start(plan, Stdio::inherit()),
        false => runtime.create(plan, Stdio::inherit()),
    };
    made.map_err(|e| failed(ctx, command, &e))
}

/// Sends the terminal and the pidfd where they were asked for.
pub(crate) fn hand_over(
    console_socket: Option<&Path>,
    console: Option<OwnedFd>,
    pidfd_socket: Option<&Path>,
    pidfd: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    if let (Some(path), Some(master)) = (console_socket, console) {
        send_fd(path, master.as_fd(), b"/dev/ptmx")?;
    }
    if let (Some(path), Some(pidfd)) = (pidfd_socket, pidfd) {
        send_fd(path, pidfd, b"pidfd")?;
    }
    Ok(())
}

fn hand_over_init(container: &mut Container, a: &args::Create) -> Result<(), Failure> {
    let console = container.take_console();
    hand_over(a.console_socket.as_deref(), console, a.pidfd_socket.as_deref(), container.pidfd())
}

fn send_fd(path: &Path, fd: BorrowedFd<'_>, name: &[u8]) -> Result<(), Failure> {
    let text = |e: i32| oxrun_core::errno_text(e);
    let socket = UnixStream::connect(path).map_err(|e| {
        Failure::plain(format!("connect({}): {}", path.display(), text(e.raw_os_error().unwrap_or(0))))
    })?;
    let fds = [fd.as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(name)],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
    .map_err(|e| Failure::plain(format!("sendmsg({}): {}", path.display(), text(e as i32))))
}

/// Writes the pid, digits only, at once or not at all; the last thing before success.
pub(crate) fn pid_file(path: Option<&Path>, pid: u32) -> Result<(), Failure> {
    let Some(path) = path else {
        return Ok(());
    };
    let failure = |call: &str, e: &std::io::Error| {
        let text = oxrun_core::errno_text(e.raw_os_error().unwrap_or(0));
        Failure::plain(format!("{call}({}): {text}", path.display()))
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!(".{name}"));
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o666);
    let mut file = options.open(&temp).map_err(|e| failure("open", &e))?;
    let pid = pid.to_string();
    std::io::Write::write_all(&mut file, pid.as_bytes())
        .and_then(|()| std::fs::rename(&temp, path))
        .map_err(|e| failure("write", &e))
}

#[cfg(test)]
mod tests {
    use super::Sockets;

    #[test]
    fn sockets_of_a_service_manager_are_taken_if_they_are_for_this_process() {
        let of = |fds: &str, pid: &str| {
            let (fds, pid) = (fds.to_owned(), pid.to_owned());
            let read = move |name: &str| match name {
                "LISTEN_FDS" => Some(fds.clone()),
                "LISTEN_PID" => Some(pid.clone()),
                _ => Some("a:b".to_owned()),
            };
            Sockets::of_environment(read, || 42)
        };
        let two = of("2", "42");
        assert_eq!(two.count, 2);
        assert_eq!(two.variables(), ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"]);
        for (fds, pid) in [("2", "41"), ("2", ""), ("-1", "42"), ("x", "42")] {
            assert_eq!(of(fds, pid), Sockets::default(), "{fds} {pid}");
        }
        assert!(of("0", "42").variables().is_empty());
    }
}
