//! What a document needs of a machine and cannot be replaced: controllers, a block device, real time.

use super::{documents, is_rootless, standin};
use libtest_mimic::Trial;
use oxrun_conformance::Check;
use oxrun_conformance::harness::{Host, conditional};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A test of a document, which is ignored if `config` cannot be run.
pub(crate) fn conditional_on(name: &str, config: &str, body: fn(&str) -> Check) -> Trial {
    let (own, config, update) = (name.to_owned(), config.to_owned(), name.to_owned());
    conditional(name, move || of_config(&config).or_else(|| of_update(&update)), move || body(&own))
}

/// Why limits cannot be changed here.
pub(crate) fn of_update(name: &str) -> Option<String> {
    if name.ends_with(".update.json") { controllers(&documents::read(name).ok()?) } else { None }
}

/// Why a config cannot be run here.
pub(crate) fn of_config(name: &str) -> Option<String> {
    let document = documents::read(name).ok()?;
    let resources = &document["linux"]["resources"];
    if !is_rootless(name)
        && let Some(reason) = controllers(resources)
    {
        return Some(reason);
    }
    let mounts = document["mounts"].as_array().into_iter().flatten();
    if mounts.into_iter().any(|mount| standin::has_option(mount, "idmap")) && kernel() < (6, 3) {
        return Some("the stand-in's tmpfs maps ids from Linux 6.3 on".to_owned());
    }
    if let Some(reason) = rlimits(&document, is_rootless(name)) {
        return Some(reason);
    }
    // Version 2 ignores it.
    if !resources["cpu"]["realtimeRuntime"].is_null() && !Host::is_pure_v2() {
        return real_time();
    }
    let rates =
        resources["blockIO"].as_object().into_iter().flatten().filter_map(|(_, list)| list.as_array());
    rates.flatten().find_map(|entry| {
        let device = format!("{}:{}", entry["major"], entry["minor"]);
        let there = Path::new("/sys/dev/block").join(&device).exists();
        (!there).then(|| format!("there is no block device {device}"))
    })
}

const SYS_RESOURCE: u64 = 1 << 24;

fn bounding_set() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let digits = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default();
    u64::from_str_radix(digits.trim(), 16).unwrap_or(0)
}

/// Whether nothing that a document asks for is missing.
pub(crate) fn has_all_capabilities() -> bool {
    bounding_set() & SYS_RESOURCE != 0
}

/// A hard limit above the caller's own is for those who have CAP_SYS_RESOURCE on the host.
fn rlimits(document: &Value, rootless: bool) -> Option<String> {
    if !rootless && bounding_set() & SYS_RESOURCE != 0 {
        return None;
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    document["process"]["rlimits"].as_array()?.iter().find_map(|limit| {
        let (name, hard) = (limit["type"].as_str()?, limit["hard"].as_u64()?);
        let words = match name {
            "RLIMIT_NOFILE" => "Max open files",
            "RLIMIT_NPROC" => "Max processes",
            _ => return None,
        };
        let line = limits.lines().find_map(|line| line.strip_prefix(words))?;
        let own = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
        (own < hard).then(|| format!("{name} {hard} needs CAP_SYS_RESOURCE: the own limit is {own}"))
    })
}

fn controllers(resources: &Value) -> Option<String> {
    if !Host::is_pure_v2() {
        return None;
    }
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let needed = [("memory", "memory"), ("cpu", "cpu"), ("pids", "pids"), ("blockIO", "io")];
    let missing = needed.into_iter().find(|(key, controller)| {
        let limits = resources[*key].as_object().into_iter().flatten();
        limits.into_iter().any(is_limit) && !list.split_whitespace().any(|known| known == *controller)
    });
    missing.map(|(_, controller)| format!("the tree of version 2 has no {controller} controller"))
}

/// Whether a field is written to a file of version 2.
fn is_limit((key, value): (&String, &Value)) -> bool {
    const ONLY_V1: [&str; 4] = ["swappiness", "disableOOMKiller", "realtimeRuntime", "realtimePeriod"];
    let none = [Value::Null, 0.into(), "".into(), Value::Array(Vec::new())];
    !ONLY_V1.contains(&key.as_str()) && !none.contains(value)
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(['.', '-', '+']).map(|part| part.trim().parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Whether a cgroup can be given a share of real time.
fn real_time() -> Option<String> {
    let roots = Host::cgroup_roots().unwrap_or_default();
    let share = roots.iter().find_map(|root| fs::read_to_string(root.join("cpu.rt_runtime_us")).ok());
    match share.as_deref().map(str::trim) {
        None => Some("there is no group scheduling of real-time processes".to_owned()),
        Some("0") => Some("no real time is left for cgroups".to_owned()),
        Some(_) => None,
    }
}
