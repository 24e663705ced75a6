//! Podman scenarios of limits: that they arrive, that they hold, and that they can be changed.

use super::super::lines::show;
use super::super::scenario::{Scenario, cli};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "memory",
        &[cli(
            0,
            "134217728",
            concat!(
                "run --rm {new} --memory 64m --memory-swap 128m --memory-reservation 32m bb ",
                show!(
                    "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes memory.max memory.low"
                )
            ),
        )],
    ),
    Scenario::named(
        "memory-oom",
        &[
            cli(137, "", "run {new} --memory 16m --memory-swap 16m bb tail /dev/zero"),
            cli(0, "137", "inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' {c}"),
        ],
    ),
    Scenario::named(
        "cpu",
        &[cli(
            0,
            "30000",
            concat!(
                "run --rm {new} --cpu-shares 512 --cpu-period 60000 --cpu-quota 30000 --cpuset-cpus 0 --cpuset-mems 0 bb ",
                show!(
                    "cpu/cpu.shares cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpuset/cpuset.cpus cpuset/cpuset.mems cpu.weight cpu.max cpuset.cpus cpuset.mems"
                )
            ),
        )],
    ),
    Scenario::named(
        "cpus",
        &[cli(
            0,
            "50000",
            concat!(
                "run --rm {new} --cpus 0.5 bb ",
                show!("cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpu.max")
            ),
        )],
    ),
    Scenario::named(
        "pids-limit",
        &[
            cli(0, "77", concat!("run --rm {new} --pids-limit 77 bb ", show!("pids/pids.max pids.max"))),
            cli(
                2,
                "can't fork",
                "run --rm {new} --pids-limit 20 bb sh -c 'for i in $(seq 30); do sleep 1000 & done'",
            ),
        ],
    ),
    Scenario::named(
        "update",
        &[
            cli(0, "", "run --detach {new} --memory 64m bb sleep 1000"),
            cli(0, "", "update --memory 96m --memory-swap 192m --cpu-shares 300 {c}"),
            cli(
                0,
                "100663296",
                concat!(
                    "exec {c} ",
                    show!(
                        "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares pids/pids.max memory.max cpu.weight pids.max"
                    )
                ),
            ),
            cli(0, "", "update --memory 32m --memory-swap 32m --cpu-quota 40000 {c}"),
            cli(
                0,
                "33554432",
                concat!(
                    "exec {c} ",
                    show!(
                        "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares memory.max cpu.max"
                    )
                ),
            ),
        ],
    ),
    Scenario::named(
        "ulimit",
        &[
            cli(
                0,
                "Max open files",
                "run --rm {new} --ulimit nofile=512:1024 --ulimit nproc=500:600 --ulimit core=0 bb grep -E 'open files|core' /proc/self/limits",
            ),
            cli(
                0,
                "Max processes",
                "run --rm {new} --ulimit nofile=1024:2048 --ulimit nproc=500:600 --ulimit memlock=65536 --ulimit stack=1048576:2097152 --ulimit fsize=1000000 --ulimit msgqueue=1000 bb cat /proc/self/limits",
            ),
        ],
    ),
    Scenario::named(
        "cgroups-path",
        &[cli(
            0,
            "libpod-",
            "run --rm {new} --cgroupns host bb sh -c 'sed s,^[0-9]*:,, /proc/self/cgroup | sort'",
        )],
    ),
    Scenario::named(
        "cgroup-parent",
        &[cli(
            0,
            "/other/libpod-",
            "run --rm {new} --cgroupns host --cgroup-parent /other bb sh -c 'sed s,^[0-9]*:,, /proc/self/cgroup | sort'",
        )],
    ),
    Scenario::named(
        "cgroup-private",
        &[cli(
            0,
            ":/",
            "run --rm {new} --cgroupns private bb sh -c 'sed s,^[0-9]*:,, /proc/self/cgroup | sort; ls /sys/fs/cgroup'",
        )],
    ),
    Scenario::named(
        "cgroup-view",
        &[cli(
            0,
            "Read-only file system",
            "run --rm {new} bb sh -c 'ls /sys/fs/cgroup; grep cgroup /proc/self/mountinfo | cut -d\" \" -f5,6; mkdir /sys/fs/cgroup/pids/x 2>&1; true'",
        )],
    ),
];
