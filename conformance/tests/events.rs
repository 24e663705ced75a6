//! `events`: figures in the form of runc, OOM kills when they happen, and the end with the container.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Foreground, Host, Sandbox, conditional, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn limited(mib: u64) -> Config {
    let memory = json!({"limit": mib << 20, "swap": mib << 20});
    Config::new(SLEEP).set("/linux/resources/memory", memory)
}

fn parsed(line: &str) -> Check<Value> {
    serde_json::from_str(line).map_err(|e| Failed::from(format!("{line:?} is not JSON: {e}")))
}

/// Reads until an event of this type comes.
fn next(events: &mut Foreground, kind: &str) -> Check<Value> {
    while let Some(line) = events.next_line()? {
        let event = parsed(&line)?;
        if event["type"] == kind {
            return Ok(event);
        }
    }
    Err(Failed::from(format!("it ended without an event {kind:?}")))
}

/// The figures of a container, printed once.
fn stats(s: &Sandbox) -> Check<Value> {
    let output = s.runtime().call(&["events", "--stats", "c1"])?.success()?;
    check_eq!(output.stdout.lines().count(), 1, "lines of {output}");
    check!(output.stdout.ends_with('\n'), "{output}");
    let event = output.json()?;
    check_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("c1")));
    Ok(event["data"].clone())
}

fn stats_have_the_groups_that_readers_know() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let data = stats(&s)?;
    for key in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"] {
        check!(data.get(key).is_some(), "no {key} in {data}");
    }
    for key in ["usage", "swap", "kernel", "kernelTCP"] {
        let entry = &data["memory"][key];
        check!(entry["limit"].is_u64() && entry["failcnt"].is_u64(), "memory {key}: {entry}");
    }
    Ok(())
}

fn stats_are_what_the_files_say() -> Check {
    let s = sandbox()?;
    let config = limited(64)
        .set("/linux/resources/pids", json!({"limit": 33}))
        .set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"}));
    s.sleeper("c1", &config)?;
    let data = stats(&s)?;
    check_eq!(data["pids"], json!({"current": 1, "limit": 33}), "pids");
    check_eq!(data["cpuset"]["cpus"], json!([0]), "cpus");
    check_eq!(data["memory"]["usage"]["limit"], 64 << 20, "memory limit");
    check!(data["memory"]["usage"]["usage"].as_u64() > Some(0), "{}", data["memory"]["usage"]);
    check!(data["memory"]["raw"].as_object().is_some_and(|o| o.len() > 10), "{}", data["memory"]);
    check!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{}", data["cpu"]);
    Ok(())
}

/// Three processes more are three tasks more.
fn stats_follow_the_container() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "spawn", "3"]))?;
    s.runtime().start_ready(bundle.path(), "c1")?;
    check_eq!(stats(&s)?["pids"]["current"], 4, "tasks");
    s.runtime().call(&["pause", "c1"])?.success()?;
    check_eq!(stats(&s)?["pids"]["current"], 4, "tasks while it is paused");
    Ok(())
}

fn figures_come_at_every_interval_until_the_container_ends() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    let mut events = s.runtime().foreground(&["events", "--interval", "20ms", "c1"])?;
    check_eq!(parsed(events.first_line())?["type"], "stats");
    next(&mut events, "stats")?;
    s.runtime().kill("c1", "KILL")?.success()?;
    let (code, rest) = events.finish()?;
    check_eq!(code, 0, "exit code");
    for line in rest.lines() {
        check_eq!(parsed(line)?["type"], "stats");
    }
    s.runtime().wait_for(pid)?;
    Ok(())
}

fn the_death_of_a_container_that_was_never_started_ends_its_events() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let events = s.runtime().foreground(&["events", "--interval", "20ms", "c1"])?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    check_eq!(events.finish()?.0, 0, "exit code");
    Ok(())
}

fn each_process_that_hits_the_memory_limit_is_told() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &limited(32))?;
    let mut events = s.runtime().foreground(&["events", "--interval", "20ms", "c1"])?;
    for round in 0..2 {
        s.runtime().exec("c1", &["/bin/probe", "alloc", "128"])?.exits(137)?;
        let event = next(&mut events, "oom")?;
        check_eq!(event, json!({"type": "oom", "id": "c1"}), "round {round}");
    }
    // Not the number of hits, which newer kernels do not count on v1.
    let memory = &next(&mut events, "stats")?["data"]["memory"];
    check_eq!(memory["usage"]["max"], 32 << 20, "the most that was in use");
    // Figures in between, but no third kill.
    s.runtime().kill("c1", "KILL")?.success()?;
    s.runtime().wait_for(pid)?;
    s.runtime().delete("c1")?.success()?;
    let (code, rest) = events.finish()?;
    check_eq!(code, 0, "exit code");
    check!(!rest.contains("oom\""), "an OOM too many: {rest}");
    Ok(())
}

fn an_oom_kill_that_ends_the_container_is_told() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&limited(32).args(&["/bin/probe", "alloc", "128"]))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let pid = s.runtime().pid("c1")?;
    let mut events = s.runtime().foreground(&["events", "--interval", "20ms", "c1"])?;
    s.runtime().start("c1")?.success()?;
    next(&mut events, "oom")?;
    check_eq!(s.runtime().wait_for(pid)?, Some(137), "how the container ended");
    s.runtime().delete("c1")?.success()?;
    check_eq!(events.finish()?.0, 0, "exit code");
    Ok(())
}

fn events_of_a_container_that_does_not_run_are_refused() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    for flags in [&["events", "c1"][..], &["events", "--stats", "c1"]] {
        rt.call(flags)?.refused("container with id c1 is not running")?;
    }
    rt.call(&["events", "nope"])?.refused("container does not exist")?;
    rt.call(&["events", "--interval", "0s", "c1"])?.refused("duration interval must be greater than 0")?;
    Ok(())
}

/// Whether the figures of a container are counted on this host.
fn without_controllers() -> Option<String> {
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let there = |c: &str| list.split_whitespace().any(|w| w == c);
    let lacks = Host::is_pure_v2() && !["memory", "cpu", "cpuset", "pids"].into_iter().all(there);
    lacks.then(|| "the v2 tree lacks controllers".to_owned())
}

/// Why some tests are not for runc.
const LATER: &str = "runc's events end when the cgroup is removed";

fn main() -> ExitCode {
    macro_rules! limits {
        ($($name:ident),* $(,)?) => {
            vec![$(conditional(stringify!($name), without_controllers, $name)),*]
        };
    }
    let mut tests = limits![
        stats_are_what_the_files_say,
        each_process_that_hits_the_memory_limit_is_told,
        an_oom_kill_that_ends_the_container_is_told,
    ];
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { [$(test(stringify!($name), $name)),*] };
    }
    tests.extend(tests![
        stats_have_the_groups_that_readers_know,
        stats_follow_the_container,
        the_death_of_a_container_that_was_never_started_ends_its_events,
        events_of_a_container_that_does_not_run_are_refused,
    ]);
    tests.push(oxrun_only(
        "figures_come_at_every_interval_until_the_container_ends",
        LATER,
        figures_come_at_every_interval_until_the_container_ends,
    ));
    run(tests)
}
