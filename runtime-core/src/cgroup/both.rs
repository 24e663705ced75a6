//! What the writes for v1 and for v2 have in common, and a host that has both.

use super::{Write, v1, v2};
use crate::error::{Error, Result};
use oci_spec::runtime::LinuxResources;
use std::collections::HashMap;

/// The writes for v1 hierarchies beside a v2 tree that has these controllers: theirs are v2's.
///
/// # Errors
/// As those for v1 and for v2.
pub fn hybrid_writes(resources: &LinuxResources, on_v2: &[String]) -> Result<Vec<Write>> {
    let name = |w: &Write| if w.controller == "blkio" { "io".to_owned() } else { w.controller.clone() };
    let moved = |w: &Write| on_v2.contains(&name(w));
    let mut all = v1::writes(resources)?;
    if all.iter().any(moved) {
        all.retain(|w| !moved(w));
        let mut rest = resources.clone();
        if !on_v2.iter().any(|c| c == "memory") {
            // v2 refuses combinations that v1 takes.
            rest.set_memory(None);
        }
        all.extend(v2::writes(&rest)?.into_iter().filter(moved));
    }
    Ok(all)
}

/// The limits of huge pages. The kernel counts reserved ones apart, and needs both limits for one.
///
/// # Errors
/// A page size that is none: it is part of a file's name, and must not lead to another file.
pub(super) fn hugetlb(resources: &LinuxResources, suffix: &str, out: &mut Vec<Write>) -> Result<()> {
    for (i, huge) in resources.hugepage_limits().iter().flatten().enumerate() {
        let size = huge.page_size();
        let digits = size.trim_end_matches(|c: char| c.is_ascii_uppercase());
        let unit = size.get(digits.len()..).unwrap_or("");
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !number || !["B", "KB", "MB", "GB", "TB", "PB"].contains(&unit) {
            return Err(Error::config(
                format!("/linux/resources/hugepageLimits/{i}/pageSize"),
                format!("invalid huge page size {size:?}: must be a number with a unit, as in 2MB"),
            ));
        }
        for kind in ["", "rsvd."] {
            let file = format!("hugetlb.{size}.{kind}{suffix}");
            out.push(Write::new("hugetlb", &file, huge.limit(), &format!("hugepageLimits/{i}/limit")));
        }
    }
    Ok(())
}

/// `rdma.max`, which is the same on v1 and v2, a line for each device in the order of their names.
pub(super) fn rdma(resources: &LinuxResources, out: &mut Vec<Write>) {
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let mut value = name.clone();
        for (key, n) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(n) = n {
                value.push_str(&format!(" {key}={n}"));
            }
        }
        if value != *name {
            let field = format!("rdma/{}", crate::bundle::escape(name));
            out.push(Write::new("rdma", "rdma.max", value, &field));
        }
    }
}

/// An idle cgroup has no weight: which is left out where both are asked for. Callers know the first words.
#[must_use]
pub(crate) fn weight_of_idle(resources: &LinuxResources) -> Option<(&'static str, &'static str)> {
    let cpu = resources.cpu().as_ref();
    if cpu.is_some_and(|c| c.idle().is_some_and(|i| i != 0) && c.shares().is_some_and(|s| s != 0)) {
        return Some(("cpu/shares", "unable to apply both shares and idle, ignoring shares"));
    }
    let files = resources.unified().as_ref()?;
    let both = idle_in(files) && files.contains_key("cpu.weight");
    both.then_some((
        "unified/cpu.weight",
        "unable to apply both cpu.weight and cpu.idle, ignoring cpu.weight",
    ))
}

/// Whether these files make the cgroup idle.
pub(super) fn idle_in(files: &HashMap<String, String>) -> bool {
    files.get("cpu.idle").is_some_and(|value| value.trim() == "1")
}

/// What no kernel can do that this library runs on, by its field, and why it is left out.
#[must_use]
pub(crate) fn left_out(resources: &LinuxResources, pure_v2: bool) -> Vec<(&'static str, &'static str)> {
    const OLD: &str = "ignored: no kernel since 5.0 has it";
    const V2: &str = "ignored: cgroup v2 has nothing like it";
    let mut out = Vec::from_iter(weight_of_idle(resources));
    if let Some(block) = resources.block_io() {
        let devices = block.weight_device().iter().flatten();
        if block.leaf_weight().is_some_and(|w| w != 0)
            || devices.filter_map(|d| d.leaf_weight()).any(|w| w != 0)
        {
            out.push(("blockIO/leafWeight", OLD));
        }
    }
    let set = |n: Option<i64>| n.is_some_and(|n| n != 0);
    let memory = resources.memory().as_ref();
    if memory.is_some_and(|m| set(m.kernel())) {
        out.push(("memory/kernel", "ignored: the kernel counts it with the container's memory"));
    }
    if !pure_v2 {
        return out;
    }
    if let Some(m) = memory {
        let there = [
            (set(m.kernel_tcp()), "memory/kernelTCP"),
            (m.swappiness().is_some(), "memory/swappiness"),
            (m.disable_oom_killer() == Some(true), "memory/disableOOMKiller"),
        ];
        out.extend(there.iter().filter(|(there, _)| *there).map(|(_, field)| (*field, V2)));
    }
    if let Some(c) = resources.cpu() {
        let there = [
            (c.realtime_period().is_some_and(|n| n != 0), "cpu/realtimePeriod"),
            (set(c.realtime_runtime()), "cpu/realtimeRuntime"),
        ];
        out.extend(there.iter().filter(|(there, _)| *there).map(|(_, field)| (*field, V2)));
    }
    if let Some(network) = resources.network() {
        if network.class_id().is_some() {
            out.push(("network/classID", V2));
        }
        if network.priorities().as_ref().is_some_and(|p| !p.is_empty()) {
            out.push(("network/priorities", V2));
        }
    }
    out
}

/// `pids.max`, which is the same on v1 and v2. 0 would be "no process at all": runc writes 1, and so does everybody
/// after it.
pub(super) fn pids_max(limit: i64) -> Write {
    let value = match limit {
        n if n < 0 => "max".to_owned(),
        0 => "1".to_owned(),
        n => n.to_string(),
    };
    Write::new("pids", "pids.max", value, "pids/limit")
}
