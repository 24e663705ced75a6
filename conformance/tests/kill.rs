//! Killing, pausing and deleting: what each reaches in each state, and that nothing stays.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq};
use std::ffi::OsStr;
use std::process::{Command, ExitCode};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn delete_force_of_an_unknown_id_is_silent() -> Check {
    let s = sandbox()?;
    let output = s.runtime().call(&["delete", "--force", "nope"])?.success()?;
    check_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output");
    Ok(())
}

fn delete_of_a_running_container_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    s.runtime().delete("c1")?.refused("is not stopped: running")?;
    s.runtime().has_status("c1", "running")
}

fn delete_of_a_created_container_kills_it() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    rt.delete("c1")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how init ended");
    rt.call(&["state", "c1"])?.refused("container does not exist")?;
    before.assert_same()
}

fn delete_force_kills_every_process() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "spawn", "3"]))?;
    let before = s.leaks()?;
    let rt = s.runtime();
    let pid = rt.start_ready(bundle.path(), "c1")?;
    check!(Host::processes_in(s.cgroup_prefix())?.len() >= 4, "the children do not run");
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    before.assert_same()
}

fn kill_of_a_stopped_container_is_refused() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    rt.kill("c1", "KILL")?.refused("container not running")?;
    rt.kill("c1", "0")?.refused("container not running")?;
    rt.has_status("c1", "stopped")
}

fn kill_all_of_a_stopped_container_succeeds() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    rt.call(&["kill", "--all", "c1", "KILL"])?.success()?;
    rt.call(&["kill", "-a", "c1", "9"])?.success()?;
    Ok(())
}

fn kill_understands_every_form_of_a_signal() -> Check {
    let s = sandbox()?;
    for signal in ["15", "TERM", "SIGTERM", "term", "sigterm"] {
        let pid = s.sleeper(signal, &Config::new(SLEEP))?;
        s.runtime().kill(signal, signal)?.success()?;
        check_eq!(s.runtime().wait_for(pid)?, Some(0), "how init ended after {signal}");
    }
    Ok(())
}

fn kill_without_a_signal_sends_term() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    s.runtime().call(&["kill", "c1"])?.success()?;
    check_eq!(s.runtime().wait_for(pid)?, Some(0), "how init ended");
    Ok(())
}

fn kill_refuses_an_unknown_signal() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for signal in ["NOPE", "SIGNOPE", "-3", "1x"] {
        let output = s.runtime().kill("c1", signal)?;
        check!(output.code != 0, "{output}\n  expected a failure");
    }
    s.runtime().has_status("c1", "running")
}

fn kill_of_a_created_container_works() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    rt.kill("c1", "KILL")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how init ended");
    rt.has_status("c1", "stopped")
}

fn kill_all_reaches_every_process() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let config = Config::new(&["/bin/probe", "spawn", "2"]).without_namespace("pid");
    let bundle = s.bundle(&config)?;
    let running = rt.foreground(&[
        OsStr::new("run"),
        "--keep".as_ref(),
        "--bundle".as_ref(),
        bundle.path().as_ref(),
        "c1".as_ref(),
    ])?;
    let inside = Host::processes_in(s.cgroup_prefix())?;
    check!(inside.len() >= 3, "only {inside:?} run");
    rt.call(&["kill", "--all", "c1", "KILL"])?.success()?;
    check_eq!(running.finish()?.0, 137, "exit code of run");
    for pid in inside {
        rt.wait_for(pid)?;
    }
    rt.delete("c1")?.success()?;
    Ok(())
}

fn kill_all_reaches_more_processes_than_the_caller_may_have_descriptors() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let config = Config::new(&["/bin/probe", "spawn", "40"]).without_namespace("pid");
    rt.start_ready(s.bundle(&config)?.path(), "c1")?;
    let inside = Host::processes_in(s.cgroup_prefix())?;
    check!(inside.len() > 40, "only {inside:?} run");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 16; exec \"$@\"", "sh"]).arg(rt.program());
    command.arg("--root").arg(rt.root()).args(["kill", "--all", "c1", "TERM"]);
    rt.finish(command)?.success()?;
    for pid in inside {
        rt.wait_for(pid)?;
    }
    rt.delete("c1")?.success()?;
    Ok(())
}

fn pause_freezes_and_resume_thaws() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.call(&["pause", "c1"])?.success()?;
    rt.has_status("c1", "paused")?;
    rt.start("c1")?.refused("cannot start")?;
    rt.delete("c1")?.refused("is not stopped: paused")?;
    rt.call(&["resume", "c1"])?.success()?;
    rt.has_status("c1", "running")?;
    rt.call(&["resume", "c1"])?.refused("container not paused")?;
    rt.kill("c1", "TERM")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(0), "how init ended");
    Ok(())
}

fn delete_force_removes_a_paused_container() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let before = s.leaks()?;
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.call(&["pause", "c1"])?.success()?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    before.assert_same()
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        delete_force_of_an_unknown_id_is_silent,
        delete_of_a_running_container_is_refused,
        delete_of_a_created_container_kills_it,
        delete_force_kills_every_process,
        kill_of_a_stopped_container_is_refused,
        kill_all_of_a_stopped_container_succeeds,
        kill_understands_every_form_of_a_signal,
        kill_without_a_signal_sends_term,
        kill_refuses_an_unknown_signal,
        kill_of_a_created_container_works,
        kill_all_reaches_every_process,
        kill_all_reaches_more_processes_than_the_caller_may_have_descriptors,
        pause_freezes_and_resume_thaws,
        delete_force_removes_a_paused_container,
    ])
}
