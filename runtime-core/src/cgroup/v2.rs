//! linux.resources as files of the v2 tree, with the conversions that runc made the standard.

use super::{Write, both};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

/// The writes in an order that a fresh cgroup accepts.
///
/// # Errors
/// A combination of memory and swap that has no meaning; a name that is no file of a controller.
pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    let mut out = Vec::new();
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut out)?;
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut out);
    }
    if let Some(pids) = resources.pids() {
        out.push(both::pids_max(pids.limit()));
    }
    if let Some(block) = resources.block_io() {
        self::block_io(block, &mut out);
    }
    both::hugetlb(resources, "max", &mut out)?;
    both::rdma(resources, &mut out);
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    let idle = resources.unified().as_ref().is_some_and(both::idle_in);
    for (file, value) in unified {
        // The kernel refuses it, and systemd would take it for the end of being idle.
        if idle && file == "cpu.weight" {
            continue;
        }
        let field = format!("unified/{}", crate::bundle::escape(file));
        let parts = file.split_once('.').filter(|(c, p)| !c.is_empty() && !p.is_empty());
        let Some((controller, _)) = parts.filter(|_| !file.contains('/')) else {
            return Err(Error::config(
                format!("/linux/resources/{field}"),
                format!("unified resource {file:?} must be a file name CONTROLLER.PARAMETER"),
            ));
        };
        for line in value.lines().filter(|l| !l.is_empty()) {
            out.push(Write::new(controller, file, line, &field));
        }
    }
    Ok(out)
}

/// cpu.weight of cpu.shares: 2 is 1, 1024 is 100, 262144 is 10000; 0 is nothing.
#[must_use]
pub fn weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// io.weight of a blkio weight: 10 is 1, 1000 is 10000.
#[must_use]
pub fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// The blkio weight that [`io_weight`] makes this value of: BFQ counts as v1 does.
#[must_use]
pub fn blkio_weight(io_weight: u64) -> u64 {
    10 + (io_weight.saturating_sub(1) * 990).div_ceil(9999)
}

fn max(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

fn memory(memory: &LinuxMemory, out: &mut Vec<Write>) -> Result<()> {
    let limit = memory.limit().unwrap_or(0);
    let total = memory.swap().unwrap_or(0);
    if let Some(swap) = swap(limit, total)? {
        // Lowering memory below what is in use would want swap first; a fresh cgroup does not care.
        let field = if total == 0 { "memory/limit" } else { "memory/swap" };
        out.push(Write::new("memory", "memory.swap.max", swap, field));
    }
    if limit != 0 {
        out.push(Write::new("memory", "memory.max", max(limit), "memory/limit"));
    }
    if let Some(low) = memory.reservation().filter(|v| *v != 0) {
        out.push(Write::new("memory", "memory.low", max(low), "memory/reservation"));
    }
    Ok(())
}

/// memory.swap.max of a limit on memory+swap.
fn swap(limit: i64, swap: i64) -> Result<Option<String>> {
    let wrong = |text: &str| Err(Error::config("/linux/resources/memory/swap", text));
    match (limit, swap) {
        (-1, 0) => Ok(Some("max".to_owned())),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some("max".to_owned())),
        (-1, n) => Ok(Some(n.to_string())),
        (..-1, _) => {
            let text = "the memory limit is neither -1, which is none, nor a number of bytes";
            Err(Error::config("/linux/resources/memory/limit", text))
        }
        (0, _) => wrong("unable to set swap limit without memory limit"),
        (m, n) if n < m => wrong("memory+swap limit should be >= memory limit"),
        (m, n) => Ok(Some((n - m).to_string())),
    }
}

fn cpu(cpu: &LinuxCpu, out: &mut Vec<Write>) {
    if let Some(idle) = cpu.idle() {
        out.push(Write::new("cpu", "cpu.idle", idle, "cpu/idle"));
    }
    let shares = cpu.shares().unwrap_or(0);
    if shares != 0 && cpu.idle().is_none_or(|i| i == 0) {
        out.push(Write::new("cpu", "cpu.weight", weight(shares), "cpu/shares"));
    }
    let (quota, period) = (cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0));
    if quota != 0 || period != 0 {
        let quota = if quota > 0 { quota.to_string() } else { "max".to_owned() };
        let period = if period == 0 { 100_000 } else { period };
        let field = if cpu.quota().is_some_and(|q| q != 0) { "cpu/quota" } else { "cpu/period" };
        out.push(Write::new("cpu", "cpu.max", format!("{quota} {period}"), field));
    }
    if let Some(burst) = cpu.burst() {
        out.push(Write::new("cpu", "cpu.max.burst", burst, "cpu/burst"));
    }
    for (value, file) in [(cpu.cpus(), "cpuset.cpus"), (cpu.mems(), "cpuset.mems")] {
        if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
            let field = file.replace("cpuset.", "cpu/");
            out.push(Write::new("cpuset", file, value, &field));
        }
    }
}

fn block_io(block: &LinuxBlockIo, out: &mut Vec<Write>) {
    if let Some(weight) = block.weight().filter(|w| *w != 0) {
        let value = format!("default {}", io_weight(weight));
        out.push(Write::new("io", "io.weight", value, "blockIO/weight"));
    }
    for (i, d) in block.weight_device().iter().flatten().enumerate() {
        if let Some(weight) = d.weight().filter(|w| *w != 0) {
            let value = format!("{}:{} {}", d.major(), d.minor(), io_weight(weight));
            out.push(Write::new("io", "io.weight", value, &format!("blockIO/weightDevice/{i}")));
        }
    }
    for (devices, key, field) in [
        (block.throttle_read_bps_device(), "rbps", "throttleReadBpsDevice"),
        (block.throttle_write_bps_device(), "wbps", "throttleWriteBpsDevice"),
        (block.throttle_read_iops_device(), "riops", "throttleReadIOPSDevice"),
        (block.throttle_write_iops_device(), "wiops", "throttleWriteIOPSDevice"),
    ] {
        for (i, d) in devices.iter().flatten().enumerate() {
            // As on v1, no rate is no limit.
            let rate = if d.rate() == 0 { "max".to_owned() } else { d.rate().to_string() };
            let value = format!("{}:{} {key}={rate}", d.major(), d.minor());
            out.push(Write::new("io", "io.max", value, &format!("blockIO/{field}/{i}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_convert_as_runc_converts_them() {
        for (shares, expected) in [(0, 0), (1, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn swap_is_what_is_beyond_memory() {
        assert_eq!(swap(100, 300).ok().flatten().as_deref(), Some("200"));
        assert_eq!(swap(100, 100).ok().flatten().as_deref(), Some("0"));
        assert_eq!(swap(-1, 0).ok().flatten().as_deref(), Some("max"));
        assert_eq!(swap(100, -1).ok().flatten().as_deref(), Some("max"));
        assert!(swap(0, 5).is_err() && swap(100, 50).is_err());
        assert_eq!(swap(100, 0).ok().flatten(), None);
    }
}
