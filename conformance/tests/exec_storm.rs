//! Many further processes: all at once from the threads of one program, and one after the other from what the
//! first left in the state directory.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::{Bundle, CreateOptions, ExitStatus, Runtime, Stdio};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

const THREADS: usize = 32;
const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A container with a filter that forbids to change the host name.
fn filtered() -> Config {
    Config::new(&["/bin/probe", "sleep"]).set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]
        }),
    )
}

/// How many processes each thread makes: `OXRUN_STORM`, else 200.
fn each() -> Check<usize> {
    Ok(std::env::var("OXRUN_STORM").map_or(Ok(200), |number| number.parse())?)
}

fn descriptors() -> Check<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// One further process, from plan to exit status.
fn once(runtime: &Runtime, id: &str, code: i32) -> Result<(), String> {
    let text = |e: oxrun_core::Error| e.to_string();
    let container = runtime.open(id).map_err(text)?;
    let code_text = code.to_string();
    let process =
        json!({ "args": ["/bin/probe", "exit", code_text], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    let process = Bundle::process_from_json(process.to_string().as_bytes()).map_err(text)?;
    let plan = runtime.plan_exec(&container, &process, &CreateOptions::default()).map_err(text)?;
    let exec = container.exec(&plan, Stdio::null()).map_err(text)?;
    exec.start().map_err(text)?;
    match exec.wait().map_err(text)? {
        ExitStatus::Exited(found) if found == code => Ok(()),
        other => Err(format!("exit {code} was expected: {other:?}")),
    }
}

fn many_threads_execute_in_one_container() -> Check {
    let s = sandbox()?;
    let each = each()?;
    let pid = s.sleeper("c1", &filtered())?;
    let runtime = Runtime::new(s.runtime().root());
    once(&runtime, "c1", 0).map_err(Failed::from)?;
    let before = descriptors()?;
    let errors: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let runtime = &runtime;
                scope.spawn(move || {
                    let codes = (0..each).map(|n| ((thread + n) % 120) as i32);
                    codes.filter_map(|code| once(runtime, "c1", code).err()).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    check!(errors.is_empty(), "{} of {}: {}", errors.len(), THREADS * each, errors[0]);
    check_eq!(descriptors()?, before);
    let container = runtime.open("c1").map_err(|e| Failed::from(e.to_string()))?;
    let left = container.processes().map_err(|e| Failed::from(e.to_string()))?;
    check_eq!(left, vec![pid.cast_unsigned()]);
    Ok(())
}

/// What the second process sees is what the first saw, whatever it was made from.
fn the_same(s: &Sandbox, what: &str) -> Check {
    let asked = [REPORT, &["--call", "sethostname"]].concat();
    let seen = s.runtime().exec("c1", &asked)?.success()?.json()?;
    check_eq!(seen["call"]["sethostname"], 77, "{what}");
    check_eq!(seen["seccomp"], 2, "{what}");
    check_eq!(seen["env"], json!(["PATH=/bin", "HOME=/root"]), "{what}");
    Ok(())
}

fn what_the_first_exec_keeps_is_used_only_if_it_can_be_trusted() -> Check {
    let s = sandbox()?;
    let config = filtered().set("/process/env", json!(["PATH=/bin"])).capabilities(&["CAP_SYS_ADMIN"]);
    s.sleeper("c1", &config)?;
    let file = s.runtime().root().join("c1/exec");
    the_same(&s, "the first")?;
    let whole = fs::read(&file)?;
    check_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    the_same(&s, "the second")?;
    // One that says otherwise is believed: the control of what follows.
    let mut lie = whole.clone();
    let at = whole.windows(9).position(|w| w == b"PATH=/bin").unwrap();
    lie[at + 6..at + 9].copy_from_slice(b"lie");
    fs::write(&file, &lie)?;
    let seen = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    check_eq!(seen["env"][0], "PATH=/lie");
    // But not one that others could have written, nor one that is cut short.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    the_same(&s, "writable by others")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    fs::write(&file, &whole[..whole.len() - 8])?;
    the_same(&s, "cut short")?;
    fs::remove_file(&file)?;
    std::os::unix::fs::symlink("/dev/zero", &file)?;
    the_same(&s, "a link")?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn main() -> ExitCode {
    run(vec![
        oxrun_only(
            "many_threads_execute_in_one_container",
            "it is about the library",
            many_threads_execute_in_one_container,
        ),
        oxrun_only(
            "what_the_first_exec_keeps_is_used_only_if_it_can_be_trusted",
            "it is about the file that oxrun keeps",
            what_the_first_exec_keeps_is_used_only_if_it_can_be_trusted,
        ),
    ])
}
