//! linux.resources as files of v1 controllers.

use super::{Write, both};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

/// The writes in an order that a fresh cgroup accepts. A zero of memory, cpu and blkio means "leave it".
///
/// # Errors
/// What only v2 has; a page size that is none.
pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    if resources.unified().as_ref().is_some_and(|u| !u.is_empty()) {
        return Err(Error::config(
            "/linux/resources/unified",
            "invalid configuration: cannot use unified on cgroup v1",
        ));
    }
    let mut out = Vec::new();
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut out);
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
    both::hugetlb(resources, "limit_in_bytes", &mut out)?;
    if let Some(network) = resources.network() {
        if let Some(class) = network.class_id() {
            out.push(Write::new("net_cls", "net_cls.classid", class, "network/classID"));
        }
        for (i, p) in network.priorities().iter().flatten().enumerate() {
            let value = format!("{} {}", p.name(), p.priority());
            out.push(Write::new("net_prio", "net_prio.ifpriomap", value, &format!("network/priorities/{i}")));
        }
    }
    both::rdma(resources, &mut out);
    Ok(out)
}

fn memory(memory: &LinuxMemory, out: &mut Vec<Write>) {
    let mut put = |file: &str, value: Option<i64>, field: &str| {
        if let Some(value) = value.filter(|v| *v != 0) {
            out.push(Write::new("memory", file, value, &format!("memory/{field}")));
        }
    };
    // The limit first: memory+swap may not be below it.
    put("memory.limit_in_bytes", memory.limit(), "limit");
    match (memory.limit(), memory.swap()) {
        // No limit on memory means none on memory+swap.
        (Some(-1), None | Some(0)) => put("memory.memsw.limit_in_bytes", Some(-1), "limit"),
        (_, swap) => put("memory.memsw.limit_in_bytes", swap, "swap"),
    }
    put("memory.soft_limit_in_bytes", memory.reservation(), "reservation");
    put("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp(), "kernelTCP");
    if let Some(swappiness) = memory.swappiness() {
        out.push(Write::new("memory", "memory.swappiness", swappiness, "memory/swappiness"));
    }
    if memory.disable_oom_killer() == Some(true) {
        out.push(Write::new("memory", "memory.oom_control", 1, "memory/disableOOMKiller"));
    }
}

fn cpu(cpu: &LinuxCpu, out: &mut Vec<Write>) {
    let mut put = |file: &str, value: Option<String>, field: &str| {
        if let Some(value) = value.filter(|v| v != "0") {
            out.push(Write::new("cpu", file, value, &format!("cpu/{field}")));
        }
    };
    let text = |n: Option<u64>| n.map(|n| n.to_string());
    // An idle cgroup has no shares, and takes none.
    if cpu.idle().is_none_or(|i| i == 0) {
        put("cpu.shares", text(cpu.shares()), "shares");
    }
    put("cpu.cfs_period_us", text(cpu.period()), "period");
    put("cpu.cfs_quota_us", cpu.quota().map(|n| n.to_string()), "quota");
    put("cpu.rt_period_us", text(cpu.realtime_period()), "realtimePeriod");
    put("cpu.rt_runtime_us", cpu.realtime_runtime().map(|n| n.to_string()), "realtimeRuntime");
    // No burst at all is a value of its own.
    if let Some(burst) = cpu.burst() {
        out.push(Write::new("cpu", "cpu.cfs_burst_us", burst, "cpu/burst"));
    }
    for (value, file, field) in [(cpu.cpus(), "cpuset.cpus", "cpus"), (cpu.mems(), "cpuset.mems", "mems")] {
        // "0" is a processor here, not a zero.
        if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
            out.push(Write::new("cpuset", file, value, &format!("cpu/{field}")));
        }
    }
    if let Some(idle) = cpu.idle() {
        out.push(Write::new("cpu", "cpu.idle", idle, "cpu/idle"));
    }
}

fn block_io(block: &LinuxBlockIo, out: &mut Vec<Write>) {
    if let Some(weight) = block.weight().filter(|w| *w != 0) {
        out.push(Write::new("blkio", "blkio.weight", weight, "blockIO/weight"));
    }
    for (i, d) in block.weight_device().iter().flatten().enumerate() {
        if let Some(weight) = d.weight().filter(|w| *w != 0) {
            let value = format!("{}:{} {weight}", d.major(), d.minor());
            out.push(Write::new("blkio", "blkio.weight_device", value, &format!("blockIO/weightDevice/{i}")));
        }
    }
    for (devices, file, field) in [
        (block.throttle_read_bps_device(), "read_bps", "throttleReadBpsDevice"),
        (block.throttle_write_bps_device(), "write_bps", "throttleWriteBpsDevice"),
        (block.throttle_read_iops_device(), "read_iops", "throttleReadIOPSDevice"),
        (block.throttle_write_iops_device(), "write_iops", "throttleWriteIOPSDevice"),
    ] {
        for (i, d) in devices.iter().flatten().enumerate() {
            let value = format!("{}:{} {}", d.major(), d.minor(), d.rate());
            let file = format!("blkio.throttle.{file}_device");
            out.push(Write::new("blkio", &file, value, &format!("blockIO/{field}/{i}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str) -> Vec<String> {
        let resources: LinuxResources = serde_json::from_str(json).expect("resources");
        writes(&resources).expect("writes").iter().map(|w| format!("{} {}", w.file, w.value)).collect()
    }

    #[test]
    fn docker_zeros_mean_leave_alone() {
        assert!(
            lines(r#"{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0},"blockIO":{"weight":0}}"#)
                .is_empty()
        );
    }

    #[test]
    fn processor_zero_is_a_processor() {
        assert_eq!(lines(r#"{"cpu":{"cpus":"0","mems":"0"}}"#), ["cpuset.cpus 0", "cpuset.mems 0"]);
    }

    #[test]
    fn memory_comes_before_memory_and_swap() {
        assert_eq!(
            lines(r#"{"memory":{"swap":200,"limit":100}}"#),
            ["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 200"]
        );
    }

    #[test]
    fn no_memory_limit_lifts_memory_and_swap_too() {
        assert_eq!(
            lines(r#"{"memory":{"limit":-1}}"#),
            ["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1"]
        );
    }

    #[test]
    fn a_pids_limit_of_zero_is_one_and_minus_one_is_max() {
        assert_eq!(lines(r#"{"pids":{"limit":0}}"#), ["pids.max 1"]);
        assert_eq!(lines(r#"{"pids":{"limit":-1}}"#), ["pids.max max"]);
        assert_eq!(lines(r#"{"pids":{"limit":7}}"#), ["pids.max 7"]);
    }
}
