//! The processes of a container, as JSON and as a table made by the host's `ps`.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq};
use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn family(s: &Sandbox) -> Check<BTreeSet<i32>> {
    let bundle = s.bundle(&Config::new(&["/bin/probe", "spawn", "2"]))?;
    s.runtime().start_ready(bundle.path(), "c1")?;
    Ok(Host::processes_in(s.cgroup_prefix())?)
}

fn listed(s: &Sandbox) -> Check<BTreeSet<i32>> {
    let output = s.runtime().call(&["ps", "--format", "json", "c1"])?.success()?;
    check_eq!(output.stdout.lines().count(), 1, "lines of {output}");
    Ok(serde_json::from_str(&output.stdout)?)
}

fn json_is_one_line_with_every_pid() -> Check {
    let s = sandbox()?;
    let inside = family(&s)?;
    check_eq!(inside.len(), 3, "processes");
    check_eq!(listed(&s)?, inside, "pids");
    Ok(())
}

fn processes_in_cgroups_below_count() -> Check {
    let s = sandbox()?;
    let inside = family(&s)?;
    let last = inside.last().copied().unwrap_or(0);
    let cgroups = Host::cgroups(s.cgroup_prefix())?;
    for cgroup in &cgroups {
        let below = cgroup.join("below");
        fs::create_dir(&below)?;
        // An empty cpuset takes nobody; the process stays where it was.
        let _ = fs::write(below.join("cgroup.procs"), last.to_string());
    }
    check_eq!(listed(&s)?, inside, "pids");
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    for pid in inside {
        s.runtime().wait_for(pid)?;
    }
    Ok(())
}

fn a_created_container_has_one_process() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    check_eq!(listed(&s)?, BTreeSet::from([s.runtime().pid("c1")?]), "pids");
    Ok(())
}

fn the_table_has_the_header_of_ps_and_the_containers_lines() -> Check {
    let s = sandbox()?;
    let inside = family(&s)?;
    let table = s.runtime().call(&["ps", "c1"])?.success()?.stdout;
    let mut lines = table.lines().map(|l| l.split_whitespace());
    let header: Vec<&str> = lines.next().map(Iterator::collect).unwrap_or_default();
    check_eq!(header, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], "header");
    let pids: Vec<i32> = lines.filter_map(|mut l| l.nth(1).and_then(|p| p.parse().ok())).collect();
    check_eq!(pids, Vec::from_iter(inside), "pids");
    Ok(())
}

fn options_behind_the_id_are_those_of_ps() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    let output = s.runtime().call(&["ps", "c1", "-e", "-o", "comm,pid"])?.success()?;
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    check_eq!(words, ["COMMAND", "PID", "probe", &pid.to_string()], "words");
    Ok(())
}

fn a_table_without_pids_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let rt = s.runtime();
    rt.call(&["ps", "c1", "-o", "comm"])?.refused("couldn't find PID field in ps output")?;
    let output = rt.call(&["ps", "c1", "--no-such-option"])?.exits(1)?;
    check!(output.stdout.is_empty(), "{output}");
    Ok(())
}

fn a_host_without_ps_is_told_so() -> Check {
    let mut s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    s.runtime_mut().env("PATH", "/nonexistent");
    let rt = s.runtime();
    rt.call(&["ps", "c1"])?.refused("exec: \"ps\": executable file not found in $PATH")?;
    rt.call(&["ps", "-f", "json", "c1"])?.success()?;
    Ok(())
}

fn a_stopped_container_has_no_processes() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    let json = rt.call(&["ps", "--format", "json", "c1"])?.success()?;
    check_eq!(json.stdout, "null\n", "json");
    let table = rt.call(&["ps", "c1"])?.success()?.stdout;
    check_eq!(table.lines().count(), 1, "lines of {table:?}");
    rt.call(&["ps", "nope"])?.refused("container does not exist")?;
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        json_is_one_line_with_every_pid,
        processes_in_cgroups_below_count,
        a_created_container_has_one_process,
        the_table_has_the_header_of_ps_and_the_containers_lines,
        options_behind_the_id_are_those_of_ps,
        a_table_without_pids_is_refused,
        a_host_without_ps_is_told_so,
        a_stopped_container_has_no_processes,
    ])
}
