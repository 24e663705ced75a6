//! Pausing and resuming: who stands still, in which states it is possible, and that a paused
//! container can be killed and removed. `kill.rs` has the plain cases.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Runtime, Sandbox, conditional, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn pause(rt: &Runtime, id: &str) -> Check {
    rt.call(&["pause", id])?.success()?;
    rt.has_status(id, "paused")
}

fn resume(rt: &Runtime, id: &str) -> Check {
    rt.call(&["resume", id])?.success().map(drop)
}

/// The container's directory in the hierarchy whose file `name` freezes.
fn directory_with(s: &Sandbox, name: &str) -> Check<Option<PathBuf>> {
    let all = Host::cgroups(s.cgroup_prefix())?;
    Ok(all.into_iter().find(|d| d.join(name).exists()))
}

/// Whether everybody in a cgroup stands still, by the file of the hierarchy that it is in.
fn stands_still(cgroup: &Path) -> Check<bool> {
    if let Ok(text) = fs::read_to_string(cgroup.join("cgroup.events")) {
        return Ok(text.contains("frozen 1"));
    }
    Ok(fs::read_to_string(cgroup.join("freezer.state"))?.trim() == "FROZEN")
}

/// The hierarchies that can freeze; which one does is the runtime's choice.
fn freezers(s: &Sandbox) -> Check<Vec<PathBuf>> {
    let v2 = directory_with(s, "cgroup.freeze")?;
    Ok(v2.into_iter().chain(directory_with(s, "freezer.state")?).collect())
}

/// Makes a cgroup below the container's and moves one of its processes there.
fn nested(cgroup: &Path, pid: i32) -> Check<PathBuf> {
    let below = cgroup.join("below");
    fs::create_dir(&below)?;
    fs::write(below.join("cgroup.procs"), pid.to_string())?;
    Ok(below)
}

/// Starts a container with three more processes; returns the pids of those.
fn family(s: &Sandbox, id: &str, config: &Config) -> Check<(i32, Vec<i32>)> {
    let bundle = s.bundle(&config.clone().args(&["/bin/probe", "spawn", "3"]))?;
    let pid = s.runtime().start_ready(bundle.path(), id)?;
    let all = Host::processes_in(s.cgroup_prefix())?;
    Ok((pid, all.into_iter().filter(|p| *p != pid).collect()))
}

fn pause_reaches_cgroups_below_the_containers() -> Check {
    let s = sandbox()?;
    let (_, children) = family(&s, "c1", &Config::new(SLEEP))?;
    check_eq!(children.len(), 3, "children");
    let cgroups = freezers(&s)?;
    check!(!cgroups.is_empty(), "the container has no cgroup that can freeze");
    for cgroup in &cgroups {
        nested(cgroup, children[0])?;
    }
    pause(s.runtime(), "c1")?;
    let mut still = false;
    for cgroup in &cgroups {
        let both = || Ok::<_, Failed>((stands_still(cgroup)?, stands_still(&cgroup.join("below"))?));
        // On a busy machine the kernel was seen to say of the one what it did not yet say of the other.
        let mut seen = both()?;
        let end = Instant::now() + Duration::from_secs(10);
        while seen.0 != seen.1 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            seen = both()?;
        }
        check!(seen.0 == seen.1, "{seen:?} in {}", cgroup.display());
        still |= seen.0;
    }
    check!(still, "nobody stands still");
    resume(s.runtime(), "c1")?;
    s.runtime().has_status("c1", "running")?;
    for cgroup in &cgroups {
        check!(!stands_still(&cgroup.join("below"))?, "{} is still frozen", cgroup.display());
        fs::write(cgroup.join("cgroup.procs"), children[0].to_string())?;
        fs::remove_dir(cgroup.join("below"))?;
    }
    Ok(())
}

fn a_signal_to_a_paused_container_arrives_when_it_is_resumed() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    pause(rt, "c1")?;
    rt.kill("c1", "TERM")?.success()?;
    rt.has_status("c1", "paused")?;
    resume(rt, "c1")?;
    check_eq!(rt.wait_for(pid)?, Some(0), "how init ended");
    Ok(())
}

fn a_created_container_is_created_again_after_resume() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "7"]))?;
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    pause(rt, "c1")?;
    check_eq!(rt.pid("c1")?, pid, "pid of the paused container");
    rt.start("c1")?.refused("cannot start a container in the paused state")?;
    resume(rt, "c1")?;
    rt.has_status("c1", "created")?;
    rt.start("c1")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(7), "how init ended");
    Ok(())
}

fn pause_of_a_paused_or_stopped_container_is_refused() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    pause(rt, "c1")?;
    rt.call(&["pause", "c1"])?.refused("container not running")?;
    rt.has_status("c1", "paused")?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    rt.call(&["pause", "c1"])?.refused("container not running")?;
    rt.call(&["resume", "c1"])?.refused("container not paused")?;
    rt.has_status("c1", "stopped")?;
    rt.delete("c1")?.success()?;
    Ok(())
}

fn resume_of_a_created_container_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    s.runtime().call(&["resume", "c1"])?.refused("container not paused")?;
    s.runtime().has_status("c1", "created")
}

fn list_shows_that_a_container_is_paused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    pause(s.runtime(), "c1")?;
    let table = s.runtime().call(&["list"])?.success()?.stdout;
    let row = table.lines().find(|l| l.starts_with("c1 "));
    check!(row.is_some_and(|r| r.split_whitespace().nth(2) == Some("paused")), "{table}");
    Ok(())
}

fn kill_ends_every_process_of_a_paused_container() -> Check {
    for (flags, config) in [
        (&["kill", "c1", "KILL"][..], Config::new(SLEEP)),
        (&["kill", "--all", "c1", "KILL"], Config::new(SLEEP)),
        (&["kill", "c1", "KILL"], Config::new(SLEEP).without_namespace("pid")),
    ] {
        let s = sandbox()?;
        let rt = s.runtime();
        let (pid, children) = family(&s, "c1", &config)?;
        pause(rt, "c1")?;
        rt.call(flags)?.success()?;
        check_eq!(rt.wait_for(pid)?, Some(137), "how init ended: {flags:?}");
        for child in children {
            rt.wait_for(child)?;
        }
        rt.has_status("c1", "stopped")?;
        rt.delete("c1")?.success()?;
    }
    Ok(())
}

fn delete_force_removes_a_paused_container_with_all_its_processes() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let (pid, _) = family(&s, "c1", &Config::new(SLEEP))?;
    pause(s.runtime(), "c1")?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    s.runtime().wait_for(pid)?;
    before.assert_same()
}

fn delete_force_removes_a_paused_container_that_was_never_started() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    pause(rt, "c1")?;
    rt.delete("c1")?.refused("cannot delete container c1 that is not stopped: paused")?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    before.assert_same()
}

/// As a container does that runs containers itself.
fn delete_force_reaches_what_the_container_froze_itself_on_v1() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let (pid, children) = family(&s, "c1", &Config::new(SLEEP))?;
    let Some(cgroup) = directory_with(&s, "freezer.state")? else {
        return Err(Failed::from("no cgroup in the freezer hierarchy"));
    };
    let below = nested(&cgroup, children[0])?;
    fs::write(below.join("freezer.state"), "FROZEN")?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    s.runtime().wait_for(pid)?;
    before.assert_same()
}

fn without_v1_freezer() -> Option<String> {
    let there = Host::cgroup_roots().is_ok_and(|all| all.iter().any(|d| d.ends_with("freezer")));
    (!there).then(|| "this host has no v1 freezer hierarchy".to_owned())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        pause_reaches_cgroups_below_the_containers,
        a_signal_to_a_paused_container_arrives_when_it_is_resumed,
        a_created_container_is_created_again_after_resume,
        pause_of_a_paused_or_stopped_container_is_refused,
        resume_of_a_created_container_is_refused,
        list_shows_that_a_container_is_paused,
        kill_ends_every_process_of_a_paused_container,
        delete_force_removes_a_paused_container_with_all_its_processes,
        delete_force_removes_a_paused_container_that_was_never_started,
    ];
    tests.push(conditional(
        "delete_force_reaches_what_the_container_froze_itself_on_v1",
        without_v1_freezer,
        delete_force_reaches_what_the_container_froze_itself_on_v1,
    ));
    run(tests)
}
