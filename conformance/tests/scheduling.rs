//! The process's share of the machine: scheduler, I/O priority, memory policy, processors. Each for the
//! first process and for a further one, which has what its own document says or else what the first one has.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, conditional, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn config() -> Config {
    Config::new(REPORT)
}

/// Runs a further process from a document and returns its report.
fn exec(s: &Sandbox, id: &str, document: &Value) -> Check<Value> {
    let mut document = document.clone();
    for (key, value) in [("args", json!(REPORT)), ("cwd", json!("/")), ("env", json!(["HOME=/"]))] {
        document[key] = value;
    }
    let file = s.make_file("process.json", &document.to_string())?;
    let file = file.to_string_lossy();
    s.runtime().call(&["exec", "--process", &file, id])?.success()?.json()
}

/// `create` must fail with this text, and leave nothing behind.
fn refuses(config: &Config, text: &str) -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused(text)?;
    before.assert_same()
}

/// Gives a v1 cpu cgroup some real-time, without which it may have no such process.
fn with_real_time(config: Config) -> Config {
    match Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        true => config.set("/linux/resources/cpu", json!({ "realtimeRuntime": 10_000 })),
        false => config,
    }
}

fn policies_of_time_sharing_are_set_with_their_nice_value() -> Check {
    // The kernel keeps no nice value with SCHED_IDLE.
    for (name, policy, nice) in [("OTHER", 0, -5), ("BATCH", 3, 19), ("IDLE", 5, 0)] {
        let scheduler = json!({ "policy": format!("SCHED_{name}"), "nice": nice });
        let seen = sandbox()?.report(&config().set("/process/scheduler", scheduler))?;
        check_eq!(seen["scheduler"]["policy"], policy, "{name}");
        check_eq!(seen["scheduler"]["nice"], nice, "{name}");
    }
    Ok(())
}

fn real_time_policies_are_set_with_their_priority() -> Check {
    for (name, policy, priority) in [("FIFO", 1, 3), ("RR", 2, 99)] {
        let scheduler = json!({ "policy": format!("SCHED_{name}"), "priority": priority });
        let seen = sandbox()?.report(&with_real_time(config()).set("/process/scheduler", scheduler))?;
        check_eq!(seen["scheduler"]["policy"], policy, "{name}");
        check_eq!(seen["scheduler"]["priority"], priority, "{name}");
    }
    Ok(())
}

fn deadline() -> Value {
    json!({
        "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], "nice": 19, "priority": 0,
        "runtime": 42_000, "deadline": 100_000, "period": 1_000_000,
    })
}

fn a_deadline_is_set_with_its_times_and_flags() -> Check {
    let seen = sandbox()?.report(&config().set("/process/scheduler", deadline()))?;
    check_eq!(seen["scheduler"]["policy"], 6);
    check_eq!(seen["scheduler"]["times"], json!([42_000, 100_000, 1_000_000]));
    check_eq!(seen["scheduler"]["flags"], 1);
    Ok(())
}

fn every_flag_of_a_scheduler_has_its_bit() -> Check {
    let flags = |names: &[&str]| -> Check<Value> {
        let mut scheduler = deadline();
        scheduler["flags"] = names.iter().map(|name| format!("SCHED_FLAG_{name}")).collect();
        Ok(sandbox()?.report(&config().set("/process/scheduler", scheduler))?["scheduler"]["flags"].clone())
    };
    check_eq!(flags(&["RESET_ON_FORK", "RECLAIM", "DL_OVERRUN"])?, 0b111);
    // These two change nothing of what there is.
    let kept = json!({ "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_KEEP_POLICY"], "nice": 4 });
    let seen = sandbox()?.report(&config().set("/process/scheduler", kept))?;
    check_eq!((&seen["scheduler"]["policy"], &seen["scheduler"]["nice"]), (&json!(0), &json!(4)));
    let kept = json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_KEEP_PARAMS"], "nice": 4 });
    let seen = sandbox()?.report(&config().set("/process/scheduler", kept))?;
    check_eq!((&seen["scheduler"]["policy"], &seen["scheduler"]["nice"]), (&json!(0), &json!(0)));
    Ok(())
}

fn clamps_of_utilization_are_asked_of_the_kernel() -> Check {
    let there = Path::new("/proc/sys/kernel/sched_util_clamp_min").exists();
    for flag in ["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"] {
        let s = sandbox()?;
        let scheduler = json!({ "policy": "SCHED_BATCH", "flags": [flag] });
        let bundle = s.bundle(&config().set("/process/scheduler", scheduler))?;
        let output = s.runtime().run(bundle.path(), "c1")?;
        match there {
            true => drop(output.success()?),
            false => drop(output.refused("error setting scheduler: operation not supported")?),
        }
    }
    Ok(())
}

fn a_scheduler_that_contradicts_itself_is_refused() -> Check {
    let cases = [
        (json!({}), "scheduler policy is required"),
        (json!({ "policy": "" }), "scheduler policy is required"),
        (json!({ "policy": "SCHED_FAIR" }), "invalid scheduler policy: \"SCHED_FAIR\""),
        (
            json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOPE"] }),
            "invalid scheduler flag: \"SCHED_FLAG_NOPE\"",
        ),
        (json!({ "policy": "SCHED_BATCH", "nice": 20 }), "invalid scheduler.nice: 20"),
        (json!({ "policy": "SCHED_OTHER", "nice": -21 }), "invalid scheduler.nice: -21"),
        (
            json!({ "policy": "SCHED_OTHER", "priority": 1 }),
            "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        ),
        (json!({ "policy": "SCHED_FIFO", "priority": -1 }), "invalid scheduler.priority: -1"),
        (
            json!({ "policy": "SCHED_RR", "priority": 1, "period": 1 }),
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
        ),
    ];
    for (scheduler, text) in cases {
        refuses(&config().set("/process/scheduler", scheduler), text)?;
    }
    Ok(())
}

fn a_scheduler_that_the_kernel_refuses_is_explained() -> Check {
    let cases = [
        (json!({ "policy": "SCHED_ISO" }), "no kernel has SCHED_ISO yet"),
        (json!({ "policy": "SCHED_FIFO", "priority": 100 }), "a priority from 1 to 99"),
        (json!({ "policy": "SCHED_DEADLINE", "runtime": 5 }), "1024 ns <= runtime <= deadline <= period"),
    ];
    for (scheduler, hint) in cases {
        let s = sandbox()?;
        let bundle = s.bundle(&with_real_time(config()).set("/process/scheduler", scheduler))?;
        let output = s.runtime().create(bundle.path(), "c1")?;
        let output = output.refused("error setting scheduler: invalid argument")?;
        check!(output.stderr.contains(hint) || !s.runtime().is_oxrun(), "no hint {hint:?}: {output}");
    }
    Ok(())
}

fn a_deadline_in_a_cpuset_is_refused_in_known_words() -> Check {
    let config =
        config().set("/process/scheduler", deadline()).set("/linux/resources/cpu", json!({ "cpus": "0" }));
    refuses(&config, "process scheduler can't be used together with AllowedCPUs")
}

fn io_priorities_are_set() -> Check {
    for (class, number, level) in [("BE", 2, 4), ("RT", 1, 0), ("IDLE", 3, 0)] {
        let io = json!({ "class": format!("IOPRIO_CLASS_{class}"), "priority": level });
        let seen = sandbox()?.report(&config().set("/process/ioPriority", io))?;
        check_eq!(seen["io_priority"], json!([number, level]), "{class}");
    }
    Ok(())
}

fn wrong_io_priorities_are_refused() -> Check {
    let cases = [
        (json!({ "priority": 1 }), "invalid ioPriority.Class: \"\""),
        (json!({ "class": "IOPRIO_CLASS_NONE" }), "invalid ioPriority.Class: \"IOPRIO_CLASS_NONE\""),
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "invalid ioPriority.Priority: 8"),
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": -1 }), "invalid ioPriority.Priority: -1"),
    ];
    for (io, text) in cases {
        refuses(&config().set("/process/ioPriority", io), text)?;
    }
    Ok(())
}

fn every_memory_policy_is_set() -> Check {
    let cases = [
        ("DEFAULT", Value::Null, 0, 0),
        ("DEFAULT", json!(""), 0, 0),
        ("PREFERRED", json!("0"), 1, 1),
        ("BIND", json!("0"), 2, 1),
        ("INTERLEAVE", json!(" 0, "), 3, 1),
        ("LOCAL", Value::Null, 4, 0),
        ("PREFERRED_MANY", json!("0"), 5, 1),
        ("WEIGHTED_INTERLEAVE", json!("0-0"), 6, 1),
    ];
    for (name, nodes, mode, mask) in cases {
        if mode == 6 && !Path::new("/sys/kernel/mm/mempolicy/weighted_interleave").exists() {
            continue;
        }
        let policy = json!({ "mode": format!("MPOL_{name}"), "nodes": nodes });
        let seen = sandbox()?.report(&config().set("/linux/memoryPolicy", policy))?;
        check_eq!(seen["memory_policy"], json!({ "mode": mode, "nodes": mask }), "{name} {nodes}");
    }
    Ok(())
}

fn every_flag_of_a_memory_policy_is_set() -> Check {
    for (flag, bit) in [("STATIC_NODES", 1 << 15), ("RELATIVE_NODES", 1 << 14), ("NUMA_BALANCING", 1 << 13)] {
        let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [format!("MPOL_F_{flag}")] });
        let seen = sandbox()?.report(&config().set("/linux/memoryPolicy", policy))?;
        check_eq!(seen["memory_policy"]["mode"], 2 | bit, "{flag}");
    }
    Ok(())
}

fn a_filter_may_forbid_what_sets_the_policies() -> Check {
    let names = ["set_mempolicy", "sched_setattr", "ioprio_set", "sched_setaffinity", "personality"];
    let deny = json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 77 });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny] });
    for no_new_privileges in [true, false] {
        let config = config()
            .set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" }))
            .set("/process/scheduler", json!({ "policy": "SCHED_BATCH" }))
            .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile.clone());
        let seen = sandbox()?.report(&config)?;
        check_eq!(seen["memory_policy"]["mode"], 2);
        check_eq!(seen["scheduler"]["policy"], 3);
        check_eq!(seen["io_priority"], json!([2, 6]));
    }
    Ok(())
}

fn wrong_memory_policies_are_refused_in_known_words() -> Check {
    let cases = [
        (json!({}), "invalid memory policy mode \"\""),
        (json!({ "nodes": "0-7" }), "invalid memory policy mode \"\""),
        (json!({ "mode": "INTERLEAVE", "nodes": "0" }), "invalid memory policy mode \"INTERLEAVE\""),
        (
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "badflag"] }),
            "invalid memory policy flag \"badflag\"",
        ),
        (json!({ "mode": "MPOL_BIND", "nodes": "0-9876543210" }), "invalid memory policy nodes"),
        (json!({ "mode": "MPOL_BIND", "nodes": "x" }), "invalid memory policy nodes"),
        (json!({ "mode": "MPOL_DEFAULT", "nodes": "0-7" }), "mode requires 0 nodes but got 8"),
        (json!({ "mode": "MPOL_LOCAL", "nodes": "0" }), "mode requires 0 nodes but got 1"),
        (json!({ "mode": "MPOL_BIND" }), "memory policy mode requires at least one node but got 0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "" }), "requires at least one node but got 0"),
        // The kernel's own refusal.
        (json!({ "mode": "MPOL_BIND", "nodes": "1000" }), "set_mempolicy: invalid argument"),
    ];
    for (policy, text) in cases {
        refuses(&config().set("/linux/memoryPolicy", policy), text)?;
    }
    Ok(())
}

fn a_further_process_has_what_the_first_one_has() -> Check {
    let s = sandbox()?;
    let config = config()
        .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 3 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))
        .set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" }))
        .set("/process/oomScoreAdj", 100)
        .set("/process/user/umask", 0o27)
        .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 7, "hard": 8 }]));
    s.sleeper("c1", &config)?;
    let by_flags = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    for seen in [by_flags, exec(&s, "c1", &json!({}))?] {
        check_eq!(seen["scheduler"]["policy"], 3);
        check_eq!(seen["scheduler"]["nice"], 3);
        check_eq!(seen["io_priority"], json!([2, 6]));
        check_eq!(seen["memory_policy"], json!({ "mode": 2, "nodes": 1 }));
        check_eq!(seen["oom_score_adj"], 100);
        check_eq!(seen["umask"], 0o27);
        check_eq!(seen["rlimits"]["RLIMIT_CORE"], json!([7, 8]));
        check_eq!(seen["capabilities"]["bounding"], "0000000020000420");
    }
    Ok(())
}

fn what_the_document_of_a_further_process_says_counts() -> Check {
    let s = sandbox()?;
    let config = config()
        .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 3 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))
        .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 7, "hard": 8 }]))
        .set("/process/oomScoreAdj", 100);
    s.sleeper("c1", &config)?;
    let document = json!({
        "scheduler": deadline(),
        "ioPriority": { "class": "IOPRIO_CLASS_IDLE" },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 40, "hard": 50 }],
        "oomScoreAdj": 200,
        "user": { "uid": 0, "gid": 0, "umask": 0o77 },
        "capabilities": { "bounding": ["CAP_KILL"] },
    });
    let seen = exec(&s, "c1", &document)?;
    check_eq!(seen["scheduler"]["policy"], 6);
    check_eq!(seen["scheduler"]["times"], json!([42_000, 100_000, 1_000_000]));
    check_eq!(seen["io_priority"], json!([3, 0]));
    check_eq!(seen["rlimits"]["RLIMIT_NOFILE"], json!([40, 50]));
    check!(seen["rlimits"]["RLIMIT_CORE"] != json!([7, 8]), "limits of both were set");
    check_eq!(seen["oom_score_adj"], 200);
    check_eq!(seen["umask"], 0o77);
    check_eq!(seen["capabilities"]["bounding"], "0000000000000020");
    Ok(())
}

fn a_further_process_runs_on_its_final_processors() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    for (affinity, cpus) in [
        (json!({ "initial": "1", "final": "0" }), json!([0])),
        (json!({ "final": " 1 ,, " }), json!([1])),
        (json!({ "initial": "0", "final": "0-1" }), json!([0, 1])),
        (json!({ "initial": "", "final": "" }), json!([0, 1])),
    ] {
        let seen = exec(&s, "c1", &json!({ "execCPUAffinity": affinity }))?;
        let seen: Vec<u64> = serde_json::from_value(seen["cpus"].clone())?;
        let seen: Vec<u64> = seen.into_iter().filter(|cpu| *cpu < 2).collect();
        check_eq!(json!(seen), cpus, "{affinity}");
    }
    Ok(())
}

fn the_processors_of_the_config_are_for_further_processes_only() -> Check {
    let s = sandbox()?;
    let all = s.report(&config())?["cpus"].clone();
    let config = config().set("/process/execCPUAffinity", json!({ "initial": "0", "final": "1" }));
    check_eq!(s.report(&config)?["cpus"], all);
    s.sleeper("c1", &config)?;
    check_eq!(s.runtime().exec("c1", REPORT)?.success()?.json()?["cpus"], json!([1]));
    Ok(())
}

/// The processors that exec sets, one call after the other, as strace(1) writes them.
fn the_initial_processors_come_before_the_final_ones() -> Check {
    let mut s = sandbox()?;
    let affinity = json!({ "initial": "0", "final": "1" });
    s.sleeper("c1", &config().set("/process/execCPUAffinity", affinity))?;
    let trace = s.dir().join("trace").to_string_lossy().into_owned();
    s.runtime_mut().wrap(&["strace", "-f", "-qq", "-o", &trace, "-e", "trace=sched_setaffinity"]);
    s.runtime().exec("c1", &["/bin/probe", "exit", "0"])?.success()?;
    s.runtime_mut().wrap(&[]);
    let text = std::fs::read_to_string(trace)?;
    let masks = text.lines().filter_map(|line| line.split_once('[')?.1.split_once(']'));
    // Whatever the caller was bound to is given up first.
    let masks: Vec<&str> = masks.map(|(mask, _)| mask).collect();
    check!(masks.ends_with(&["0", "1"]), "{text}");
    Ok(())
}

fn wrong_processors_are_refused() -> Check {
    for (list, text) in [("3-0", "invalid range"), ("0 1", "0 1"), ("x", "x"), ("70000", "70000")] {
        refuses(&config().set("/process/execCPUAffinity", json!({ "final": list })), text)?;
    }
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    let document = json!({ "args": REPORT, "cwd": "/", "execCPUAffinity": { "final": "60000" } });
    let file = s.make_file("process.json", &document.to_string())?;
    let output = s.runtime().call(&["exec", "--process", &file.to_string_lossy(), "c1"])?;
    let output = output.exits(255)?;
    check!(output.stderr.contains("error setting final CPU affinity: invalid argument"), "{output}");
    Ok(())
}

/// Why there is nothing to choose between.
fn one_processor() -> Option<String> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    (count < 2).then(|| "this machine has one processor".to_owned())
}

/// Why what is gone again cannot be seen.
fn nothing_to_watch_with() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join("strace").exists());
    one_processor().or_else(|| (!found).then(|| "strace is not installed".to_owned()))
}

fn no_cpuset() -> Option<String> {
    let v1 = Path::new("/sys/fs/cgroup/cpuset").exists();
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let there = v1 || v2.is_ok_and(|text| text.contains("cpuset"));
    (!there).then(|| "there is no cpuset controller".to_owned()).or_else(one_processor)
}

fn no_numa() -> Option<String> {
    (!Path::new("/proc/self/numa_maps").exists()).then(|| "this kernel is built without NUMA".to_owned())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident $condition:expr),* $(,)?) => {
            vec![$(conditional(stringify!($name), $condition, $name)),*]
        };
    }
    let mut tests = tests![
        a_deadline_in_a_cpuset_is_refused_in_known_words no_cpuset,
        every_memory_policy_is_set no_numa,
        every_flag_of_a_memory_policy_is_set no_numa,
        a_filter_may_forbid_what_sets_the_policies no_numa,
        wrong_memory_policies_are_refused_in_known_words no_numa,
        a_further_process_has_what_the_first_one_has no_numa,
        a_further_process_runs_on_its_final_processors one_processor,
        the_processors_of_the_config_are_for_further_processes_only one_processor,
        the_initial_processors_come_before_the_final_ones nothing_to_watch_with,
    ];
    macro_rules! more {
        ($($name:ident),* $(,)?) => { tests.extend([$(test(stringify!($name), $name)),*]) };
    }
    more![
        policies_of_time_sharing_are_set_with_their_nice_value,
        real_time_policies_are_set_with_their_priority,
        a_deadline_is_set_with_its_times_and_flags,
        every_flag_of_a_scheduler_has_its_bit,
        clamps_of_utilization_are_asked_of_the_kernel,
        a_scheduler_that_contradicts_itself_is_refused,
        a_scheduler_that_the_kernel_refuses_is_explained,
        io_priorities_are_set,
        wrong_io_priorities_are_refused,
        what_the_document_of_a_further_process_says_counts,
        wrong_processors_are_refused,
    ];
    run(tests)
}
