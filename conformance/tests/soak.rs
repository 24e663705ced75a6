//! Many containers, one after the other: nothing adds up, neither on the host nor in a program that embeds the library.
//! `OXRUN_SOAK=N` says how many. Without it the library makes a few, and the command none, as a thousand take minutes.
//! `OXRUN_CGROUP_VIEW` chooses the hierarchies.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::{Bundle, CreateOptions, ExitStatus, Stdio};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

fn count() -> Option<u32> {
    std::env::var("OXRUN_SOAK").ok()?.parse().ok()
}

/// The kernel's own count of cgroups, by hierarchy. Others on the machine change it.
fn cgroups() -> Check<Vec<(String, u64)>> {
    let text = std::fs::read_to_string("/proc/cgroups")?;
    let line = |l: &str| {
        let mut words = l.split_whitespace();
        Some((words.next()?.to_owned(), words.nth(1)?.parse().ok()?))
    };
    Ok(text.lines().skip(1).filter_map(line).collect())
}

fn descriptors() -> Check<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn created_and_deleted_containers_leave_nothing() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
    let rt = s.runtime();
    let before = (s.leaks()?, Host::children()?, descriptors()?, cgroups()?);
    let number = count().unwrap_or(0);
    let began = std::time::Instant::now();
    for n in 0..number {
        let id = format!("c{n}");
        rt.create(bundle.path(), &id)?.success()?;
        let pid = rt.pid(&id)?;
        // Every other one runs; the others are deleted as created.
        if n % 2 == 0 {
            rt.start(&id)?.success()?;
        }
        rt.call(&["delete", "--force", &id])?.success()?;
        rt.wait_for(pid)?;
        let left: BTreeSet<_> = Host::cgroups(s.cgroup_prefix())?;
        check_eq!(left, BTreeSet::new(), "cgroups after {} containers", n + 1);
    }
    before.0.assert_same()?;
    check_eq!(Host::children()?, before.1, "children");
    check_eq!(descriptors()?, before.2, "descriptors of the test");
    println!(
        "{number} containers in {:.1} s; /proc/cgroups before and after:",
        began.elapsed().as_secs_f32()
    );
    for ((name, before), (_, after)) in before.3.iter().zip(cgroups()?) {
        println!("  {name} {before} {after}");
    }
    Ok(())
}

/// How many lifecycles come before anything is counted: what is made once is there then.
const FIRST: u32 = 10;
/// What the allocator may come to hold more, whatever the number, in KiB.
const SLACK: i64 = 1024;

/// What this process and its sandbox hold, by name.
fn held(s: &Sandbox) -> Check<BTreeMap<&'static str, i64>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    let memory = memory.and_then(|kib| kib.trim().parse().ok()).ok_or_else(|| Failed::from("no RssAnon"))?;
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(BTreeMap::from([
        ("KiB of memory", memory),
        ("descriptors", number(descriptors()?)),
        ("threads", number(std::fs::read_dir("/proc/self/task")?.count())),
        ("mounts", number(std::fs::read_to_string("/proc/self/mountinfo")?.lines().count())),
        ("mappings", number(std::fs::read_to_string("/proc/self/maps")?.lines().count())),
        ("cgroups", number(Host::cgroups(s.cgroup_prefix())?.len())),
        ("children", number(Host::children()?.len())),
        (
            "entries of the state root",
            std::fs::read_dir(s.runtime().root()).map_or(0, |dir| number(dir.count())),
        ),
    ]))
}

/// What is more than before, each as a sentence.
fn growth(before: &BTreeMap<&'static str, i64>, after: &BTreeMap<&'static str, i64>) -> Vec<String> {
    let slack = |name: &str| match name {
        "KiB of memory" => SLACK,
        // The allocator's.
        "mappings" => 4,
        _ => 0,
    };
    let more = after.iter().filter(|(name, value)| **value > before[*name] + slack(name));
    more.map(|(name, value)| format!("{name}: {} became {value}", before[name])).collect()
}

/// From plan to delete, with a further process.
fn lifecycle(runtime: &oxrun_core::Runtime, bundle: &Bundle) -> Check {
    let options = CreateOptions::default();
    let container = runtime.create(&runtime.plan("c1", bundle, &options)?, Stdio::null())?;
    container.start()?;
    let process = json!({ "args": ["/bin/probe", "exit", "4"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    let process = Bundle::process_from_json(process.to_string().as_bytes())?;
    let exec = container.exec(&runtime.plan_exec(&container, &process, &options)?, Stdio::null())?;
    exec.start()?;
    check_eq!(exec.wait()?, ExitStatus::Exited(4));
    container.kill(libc::SIGKILL, false)?;
    check_eq!(container.wait()?, ExitStatus::Signaled(libc::SIGKILL));
    container.delete(false)?;
    Ok(())
}

fn lifecycles_in_one_program_leave_it_as_small_as_it_was() -> Check {
    let s = library::sandbox()?;
    let runtime = library::runtime(&s);
    let config = Config::new(&["/bin/probe", "sleep"])
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    let bundle = Bundle::open(s.bundle(&config)?.path())?;
    for _ in 0..FIRST {
        lifecycle(&runtime, &bundle)?;
    }
    let (before, number) = (held(&s)?, count().unwrap_or(40));
    for n in 0..number {
        lifecycle(&runtime, &bundle).map_err(|e| format!("{n}: {}", e.message().unwrap_or_default()))?;
    }
    let after = held(&s)?;
    let more = growth(&before, &after);
    check!(more.is_empty(), "after {number} lifecycles: {}", more.join("; "));
    println!("{number} lifecycles: {before:?} became {after:?}");
    Ok(())
}

fn growth_of_anything_is_noticed() -> Check {
    let s = library::sandbox()?;
    let before = held(&s)?;
    check_eq!(growth(&before, &held(&s)?), Vec::<String>::new());
    let file = std::fs::File::open("/proc/self/stat")?;
    let memory = std::hint::black_box(vec![1u8; 4 << 20]);
    let child = std::process::Command::new("sleep").arg("1000").spawn()?;
    let thread = std::thread::spawn(std::thread::park);
    let entry = s.runtime().root().join("entry");
    std::fs::create_dir_all(&entry)?;
    let after = held(&s);
    let mut child = child;
    child.kill()?;
    child.wait()?;
    thread.thread().unpark();
    let _ = thread.join();
    std::fs::remove_dir(entry)?;
    drop((file, memory));
    let told = growth(&before, &after?).join("; ");
    for name in ["KiB of memory", "descriptors", "threads", "children", "entries of the state root"] {
        check!(told.contains(name), "{name} is not among: {told}");
    }
    Ok(())
}

fn main() -> ExitCode {
    run(vec![
        conditional(
            "created_and_deleted_containers_leave_nothing",
            || {
                count()
                    .is_none()
                    .then(|| "takes minutes: set OXRUN_SOAK to the number of containers".to_owned())
            },
            created_and_deleted_containers_leave_nothing,
        ),
        oxrun_only(
            "lifecycles_in_one_program_leave_it_as_small_as_it_was",
            library::WHY,
            lifecycles_in_one_program_leave_it_as_small_as_it_was,
        ),
        oxrun_only("growth_of_anything_is_noticed", library::WHY, growth_of_anything_is_noticed),
    ])
}
