//! Refusals of the process's share of processors, disks and memory: the kernel's errnos there mean many
//! things, so each is told with what it can mean for the value that was asked for.

use crate::error::{Error, errno_text};
use crate::plan::action::{Action, Scheduler};

/// Words for the failure `e`, which the kernel answered with `errno`.
pub(super) fn explain(action: &Action, e: Error, errno: i32) -> Error {
    let text = errno_text(errno);
    let (said, hint) = match action {
        Action::Affinity { cpus, last } => (
            format!("error setting {} CPU affinity: {text}", if *last { "final" } else { "initial" }),
            (errno == libc::EINVAL)
                .then(|| format!("none of the processors {cpus} is there for the container to use")),
        ),
        // Engines know this one by its words.
        Action::Scheduler(s) if errno == libc::EPERM && s.cpuset => (
            "process scheduler can't be used together with AllowedCPUs".to_owned(),
            Some("without linux.resources.cpu.cpus the kernel may allow it".to_owned()),
        ),
        Action::Scheduler(s) => {
            (format!("error setting scheduler: {text}"), scheduler(s, errno).map(str::to_owned))
        }
        Action::IoPriority { .. } => (
            format!("failed to set io priority: {text}"),
            (errno == libc::EPERM)
                .then(|| "IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN on the host".to_owned()),
        ),
        Action::MemoryPolicy { nodes, .. } => (
            format!("error setting memory policy: set_mempolicy: {text}"),
            match errno {
                libc::EINVAL => Some(format!(
                    "this kernel does not know the mode or the flags, they exclude each other, or none of \
                     the nodes \"{nodes}\" is there for the container to use"
                )),
                libc::ENOSYS => Some("this kernel is built without NUMA".to_owned()),
                _ => None,
            },
        ),
        _ => (text, None),
    };
    let e = e.saying(said);
    match hint {
        Some(hint) => e.hint(hint),
        None => e,
    }
}

const ISO: u32 = 4;
const DEADLINE: u32 = 6;

fn scheduler(s: &Scheduler, errno: i32) -> Option<&'static str> {
    match (errno, s.policy) {
        (libc::EPERM, DEADLINE) => Some(
            "SCHED_DEADLINE needs CAP_SYS_NICE on the host, and a process that may run on all processors",
        ),
        (libc::EPERM, _) => Some(
            "a real-time policy or a nice value below the caller's needs CAP_SYS_NICE on the host, and \
             SCHED_FIFO and SCHED_RR in a v1 cpu cgroup need linux.resources.cpu.realtimeRuntime",
        ),
        (libc::EBUSY, DEADLINE) => Some("other processes have taken what SCHED_DEADLINE may promise"),
        (libc::EINVAL, ISO) => Some("no kernel has SCHED_ISO yet"),
        (libc::EINVAL, DEADLINE) => {
            Some("the kernel wants 1024 ns <= runtime <= deadline <= period, and flags that go with it")
        }
        (libc::EINVAL, 1 | 2) => Some("the kernel wants a priority from 1 to 99"),
        (libc::EOPNOTSUPP, _) => Some("this kernel is built without utilization clamping"),
        _ => None,
    }
}
