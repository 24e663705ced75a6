//! What share of processors, disks and memory nodes the process gets: scheduler, I/O priority, memory
//! policy, and the processors of a further process.
//!
//! All of it is set before the user changes: it may need CAP_SYS_NICE on the host, and a filter may forbid
//! the calls. A field that contradicts another is refused here; what only the kernel knows it says itself.

use super::Builder;
use super::action::{Action, Scheduler};
use super::ranges::Ranges;
use crate::error::{Error, Result};
use oci_spec::runtime::{
    IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType,
    Process,
};

/// The steps of the process itself.
pub(crate) fn scheduling(b: &mut Builder<'_>, p: &Process) -> Result<()> {
    scheduler(b, p)?;
    io_priority(b, p)?;
    memory_policy(b)
}

fn scheduler(b: &mut Builder<'_>, p: &Process) -> Result<()> {
    use LinuxSchedulerPolicy::*;
    let Some(s) = p.scheduler() else {
        return Ok(());
    };
    let refused = |field: &str, text: String| Err(Error::config(format!("/process/scheduler{field}"), text));
    let (policy, name) = match s.policy() {
        SchedOther => (0, "SCHED_OTHER"),
        SchedFifo => (1, "SCHED_FIFO"),
        SchedRr => (2, "SCHED_RR"),
        SchedBatch => (3, "SCHED_BATCH"),
        SchedIso => (4, "SCHED_ISO"),
        SchedIdle => (5, "SCHED_IDLE"),
        SchedDeadline => (6, "SCHED_DEADLINE"),
    };
    let nice = s.nice().unwrap_or(0);
    if matches!(s.policy(), SchedOther | SchedBatch) && !(-20..=19).contains(&nice) {
        return refused("/nice", format!("invalid scheduler.nice: {nice} when scheduler.policy is {name}"));
    }
    let priority = s.priority().unwrap_or(0);
    if priority != 0 && !matches!(s.policy(), SchedFifo | SchedRr) {
        let text = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        return refused("/priority", text.to_owned());
    }
    let Ok(priority) = u32::try_from(priority) else {
        return refused("/priority", format!("invalid scheduler.priority: {priority}"));
    };
    let times = [s.runtime(), s.deadline(), s.period()].map(|t| t.unwrap_or(0));
    if times != [0; 3] && !matches!(s.policy(), SchedDeadline) {
        let text = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
        return refused("", text.to_owned());
    }
    let flags = s.flags().iter().flatten().fold(0, |all, flag| all | self::flag(*flag));
    let [runtime, deadline, period] = times;
    let cpuset = b
        .linux()
        .and_then(|l| l.resources().as_ref())
        .and_then(|r| r.cpu().as_ref())
        .is_some_and(|c| c.cpus().as_ref().is_some_and(|list| !list.is_empty()));
    let scheduler = Scheduler { policy, flags, nice, priority, runtime, deadline, period, cpuset };
    b.init("/process/scheduler", Action::Scheduler(scheduler));
    Ok(())
}

/// The kernel's bit of a flag (linux/sched.h).
fn flag(flag: LinuxSchedulerFlag) -> u64 {
    use LinuxSchedulerFlag::*;
    match flag {
        SchedResetOnFork => 0x01,
        SchedFlagReclaim => 0x02,
        SchedFlagDLOverrun => 0x04,
        SchedFlagKeepPolicy => 0x08,
        SchedFlagKeepParams => 0x10,
        SchedFlagUtilClampMin => 0x20,
        SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(b: &mut Builder<'_>, p: &Process) -> Result<()> {
    let Some(io) = p.io_priority() else {
        return Ok(());
    };
    let class = match io.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u32::try_from(io.priority()) {
        Ok(level @ 0..=7) => {
            b.init("/process/ioPriority", Action::IoPriority { class, level });
            Ok(())
        }
        _ => Err(Error::config(
            "/process/ioPriority/priority",
            format!("invalid ioPriority.Priority: {}", io.priority()),
        )),
    }
}

fn memory_policy(b: &mut Builder<'_>) -> Result<()> {
    use MemoryPolicyModeType::*;
    let Some(policy) = b.linux().and_then(|l| l.memory_policy().as_ref()) else {
        return Ok(());
    };
    let mode = match policy.mode() {
        MpolDefault => 0,
        MpolPreferred => 1,
        MpolBind => 2,
        MpolInterleave => 3,
        MpolLocal => 4,
        MpolPreferredMany => 5,
        MpolWeightedInterleave => 6,
    };
    let field = "/linux/memoryPolicy/nodes";
    let list = policy.nodes().as_deref().unwrap_or("");
    let nodes = Ranges::parse(list)
        .map_err(|e| Error::config(field, format!("invalid memory policy nodes {list:?}: {e}")))?;
    match policy.mode() {
        MpolDefault | MpolLocal if !nodes.is_empty() => {
            let count = nodes.count();
            return Err(Error::config(field, format!("memory policy mode requires 0 nodes but got {count}")));
        }
        MpolBind | MpolInterleave | MpolPreferredMany | MpolWeightedInterleave if nodes.is_empty() => {
            return Err(Error::config(field, "memory policy mode requires at least one node but got 0"));
        }
        _ => {}
    }
    let flags = policy.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    b.init("/linux/memoryPolicy", Action::MemoryPolicy { mode, flags, nodes });
    Ok(())
}

/// The processors of a further process: while it joins the container's cgroups, and from then on.
pub(crate) struct Affinity {
    pub(crate) initial: Option<Ranges>,
    pub(crate) last: Option<Ranges>,
}

/// Reads `execCPUAffinity`.
pub(crate) fn affinity(p: &Process) -> Result<Affinity> {
    let read = |list: &Option<String>, key: &str, name: &str| -> Result<Option<Ranges>> {
        let field = format!("/process/execCPUAffinity/{key}");
        let list = list.as_deref().unwrap_or("");
        let ranges =
            Ranges::parse(list).map_err(|e| Error::config(field, format!("bad CPUAffinity.{name}: {e}")))?;
        Ok((!ranges.is_empty()).then_some(ranges))
    };
    match p.exec_cpu_affinity() {
        Some(a) => Ok(Affinity {
            initial: read(a.initial(), "initial", "Initial")?,
            last: read(a.cpu_affinity_final(), "final", "Final")?,
        }),
        None => Ok(Affinity { initial: None, last: None }),
    }
}
