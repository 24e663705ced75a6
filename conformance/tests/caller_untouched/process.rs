//! What a process is made of, as far as it can look at itself: whatever a library could change of its
//! caller. Of each thread what is a thread's. What must hold: nothing in here changes while nobody does
//! anything, so memory, times and counters are left out.

use super::sys;
use oxrun_conformance::Check;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Facts by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// Lines of /proc/PID/status that change by themselves. `FDSize` is the size of a table that only grows.
const VOLATILE: [&str; 4] = ["State", "FDSize", "SigQ", "HugetlbPages"];

/// All of it.
pub(crate) fn facts() -> Check<Facts> {
    let mut facts = Facts::new();
    let mut put = |name: &str, value: String| facts.insert(name.to_owned(), value);
    put("cwd", std::env::current_dir()?.display().to_string());
    put("root", fs::read_link("/proc/self/root")?.display().to_string());
    put("environment", format!("{:?}", std::env::vars_os().collect::<Vec<_>>()));
    put("mounts", fs::read_to_string("/proc/self/mountinfo")?);
    for name in ["limits", "oom_score_adj", "cgroup", "coredump_filter", "personality", "loginuid", "timers"]
    {
        // Not every kernel has each.
        put(name, fs::read_to_string(Path::new("/proc/self").join(name)).unwrap_or_default());
    }
    for (name, value) in sys::flags() {
        put(name, value.to_string());
    }
    for signal in 1..=64 {
        put(&format!("disposition of signal {signal}"), format!("{:?}", sys::disposition(signal)));
    }
    for task in fs::read_dir("/proc/self/task")? {
        let dir = task?.path();
        match thread(&dir) {
            Ok(of_thread) => facts.extend(of_thread),
            // It has just ended.
            Err(_) if !dir.exists() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(facts)
}

fn thread(dir: &Path) -> Check<Facts> {
    let mut facts = Facts::new();
    let id = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut put = |name: &str, value: String| facts.insert(format!("{name} of thread {id}"), value);
    for line in fs::read_to_string(dir.join("status"))?.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let memory = name.starts_with("Vm") || name.starts_with("Rss") || name.ends_with("ctxt_switches");
        if !memory && !VOLATILE.contains(&name) {
            put(name, value.trim().to_owned());
        }
    }
    // Behind the name, which may have blanks: parent, group, session, terminal; nice, real-time priority, policy.
    let stat = fs::read_to_string(dir.join("stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    for (name, at) in
        [("parent", 1), ("group", 2), ("session", 3), ("terminal", 4), ("nice", 16), ("policy", 38)]
    {
        put(name, fields.get(at).copied().unwrap_or_default().to_owned());
    }
    for namespace in fs::read_dir(dir.join("ns"))? {
        let path = namespace?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        put(&format!("namespace {name}"), fs::read_link(&path)?.display().to_string());
    }
    put("children", fs::read_to_string(dir.join("children"))?);
    Ok(facts)
}

/// The open descriptors with what they are, without the one through which they are read.
pub(crate) fn descriptors() -> Check<Facts> {
    let mut found = Facts::new();
    let own = format!("/proc/{}/fd", std::process::id());
    for entry in fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        let number: i32 = path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(-1);
        let Ok(target) = fs::read_link(&path) else { continue };
        if target != Path::new(&own) {
            let (fd, file) = sys::descriptor_flags(number);
            let what = format!("{} ({fd:#x}, {file:#x})", target.display());
            found.insert(format!("descriptor {number}"), what);
        }
    }
    Ok(found)
}

/// The names of what is not the same, in order, each with both values.
pub(crate) fn differences(before: &Facts, after: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| format!("{name}: {:?} became {:?}", before.get(name), after.get(name))).collect()
}
