//! `exec`: another program in a container, from a file or from the command line.

use super::create::{hand_over, pid_file};
use super::{Ctx, Failure};
use crate::args;
use crate::foreground::Session;
use oxrun_core::{
    Bundle, Container, CreateOptions, Error, ErrorKind, Exec, Process, Runtime, Stdio, SubCgroup,
};
use std::path::Path;

/// Every failure before the program runs has this exit code, as in runc.
const FAILED: u8 = 255;

/// Largest process document, in bytes.
const MAX_PROCESS: u64 = 4 << 20;

/// `exec ID COMMAND`.
#[inline(never)]
pub(crate) fn exec(ctx: &Ctx<'_>, a: &args::Exec) -> Result<u8, Failure> {
    attempt(ctx, a).map_err(|f| Failure { code: if f.code == 1 { FAILED } else { f.code }, ..f })
}

fn attempt(ctx: &Ctx<'_>, a: &args::Exec) -> Result<u8, Failure> {
    let runtime = ctx.runtime()?;
    let container = runtime.open(&a.id).map_err(|e| failed(&e))?;
    let process = process(&runtime, &container, a)?;
    let terminal = process.terminal().unwrap_or(false);
    if terminal && a.detach && a.console_socket.is_none() {
        return Err(Failure::plain(format!(
            "cannot allocate tty if {} will detach without setting console socket",
            ctx.program
        )));
    }
    if a.console_socket.is_some() && !(terminal && a.detach) {
        return Err(Failure::plain(format!(
            "cannot use console socket if {} will not detach or allocate tty",
            ctx.program
        )));
    }
    let sub_cgroup =
        |s: &args::SubCgroup| SubCgroup { controllers: s.controllers.clone(), path: s.path.clone() };
    let options = CreateOptions {
        preserve_fds: a.preserve_fds,
        sub_cgroups: a.cgroups.iter().map(sub_cgroup).collect(),
        ignore_paused: a.ignore_paused,
        ..CreateOptions::default()
    };
    let plan = runtime.plan_exec(&container, &process, &options).map_err(|e| failed(&e))?;
    for w in plan.warnings() {
        ctx.log.warning_at(&w.field, &w.message);
    }
    let session = if a.detach { None } else { Some(Session::begin(true)?) };
    let mut exec = container.exec(&plan, Stdio::inherit()).map_err(|e| failed(&e))?;
    match session {
        Some(session) => session.run_exec(exec, a),
        None => {
            let console = exec.take_console();
            hand_over(a.console_socket.as_deref(), console, a.pidfd_socket.as_deref(), Some(exec.pidfd()))?;
            exec.start().map_err(|e| failed(&e))?;
            written(&exec, a.pid_file.as_deref())
        }
    }
}

/// Writes the pid file of a detached process; one that cannot be handed to the caller is ended.
fn written(exec: &Exec, path: Option<&Path>) -> Result<u8, Failure> {
    pid_file(path, exec.pid()).inspect_err(|_| {
        // The failure that is being reported is the one that matters.
        let _ = exec.kill(nix::libc::SIGKILL);
        let _ = exec.wait();
    })?;
    Ok(0)
}

/// The failure of an exec in runc's words.
pub(crate) fn failed(e: &Error) -> Failure {
    let prefix = match e.kind() {
        // The program's own execve: the only line, as its caller knows it.
        ErrorKind::Exec if e.syscall_text().is_some_and(|c| c.starts_with("execve")) => "",
        _ if e.step().is_some() || e.kind() == ErrorKind::Exec => {
            "exec failed: unable to start container process: "
        }
        _ => "exec failed: ",
    };
    Failure { code: FAILED, ..Failure::of(prefix, e).fieldless(e, prefix) }
}

/// The process: a whole document, or the container's own with what the command line says.
fn process(runtime: &Runtime, container: &Container, a: &args::Exec) -> Result<Process, Failure> {
    if let Some(path) = &a.process {
        let file = std::fs::File::open(path);
        let mut bytes = Vec::new();
        let read = file
            .and_then(|f| std::io::Read::read_to_end(&mut std::io::Read::take(f, MAX_PROCESS), &mut bytes));
        read.map_err(|e| {
            let text = oxrun_core::errno_text(e.raw_os_error().unwrap_or(0));
            Failure::plain(format!("open {}: {text}", path.display()))
        })?;
        return Bundle::process_from_json(&bytes).map_err(|e| failed(&e));
    }
    if a.command.is_empty() {
        return Err(Failure::plain("exec args cannot be empty"));
    }
    with_options(runtime.process_of(container).map_err(|e| failed(&e))?, a)
}

/// The process with what the command line says of it.
fn with_options(mut process: Process, a: &args::Exec) -> Result<Process, Failure> {
    process.set_args(Some(a.command.clone()));
    process.set_terminal(Some(a.tty));
    process.set_console_size(None);
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(a.env.iter().cloned());
    process.set_env(Some(env));
    if let Some(cwd) = &a.cwd {
        process.set_cwd(cwd.into());
    }
    if a.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = &a.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &a.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    let user = process.user_mut();
    if let Some(wanted) = &a.user {
        user.set_uid(wanted.uid);
        if let Some(gid) = wanted.gid {
            user.set_gid(gid);
        }
    }
    if !a.additional_gids.is_empty() {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&a.additional_gids);
        user.set_additional_gids(Some(groups));
    }
    if a.caps.is_empty() { Ok(process) } else { with_capabilities(&process, &a.caps) }
}

/// The process with more capabilities. Read as a document, so that a name is treated as one of the config.
fn with_capabilities(process: &Process, names: &[String]) -> Result<Process, Failure> {
    let mut document = serde_json::to_value(process).map_err(|e| Failure::plain(e.to_string()))?;
    // Never the inheritable set: CVE-2022-29162.
    for name in names {
        for set in ["bounding", "effective", "permitted"] {
            push(&mut document["capabilities"][set], name.clone().into());
        }
    }
    let json = serde_json::to_vec(&document).map_err(|e| Failure::plain(e.to_string()))?;
    Bundle::process_from_json(&json).map_err(|e| failed(&e))
}

/// Appends to an array that may not be there yet, once.
fn push(list: &mut serde_json::Value, item: serde_json::Value) {
    match list.as_array_mut() {
        Some(list) if list.contains(&item) => {}
        Some(list) => list.push(item),
        None => *list = vec![item].into(),
    }
}

#[cfg(test)]
mod tests;
