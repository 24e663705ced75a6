//! Docker scenarios of limits: that they arrive, that they hold, and that they can be changed.

use super::super::lines::show;
use super::super::scenario::{Scenario, cli, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "memory-all",
        &[cli(
            0,
            "134217728",
            concat!(
                "run --rm {new} --memory 64m --memory-swap 128m --memory-reservation 32m --memory-swappiness 10 bb ",
                show!(
                    "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes memory/memory.swappiness memory.max memory.low memory.high"
                )
            ),
        )],
    ),
    Scenario::named(
        "memory-oom",
        &[
            cli(137, "", "run --rm {new} --memory 16m --memory-swap 16m bb tail /dev/zero"),
            // Who hears of the end before it hears of its reason does not tell it: the end comes later.
            cli(
                137,
                "",
                "run {new} --memory 16m --memory-swap 16m bb sh -c 'tail /dev/zero; code=$?; sleep 2; exit $code'",
            ),
            cli(0, "137 true", "inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' {c}"),
        ],
    ),
    Scenario::named(
        "memory-oom-exec",
        &[
            cli(0, "", "run --detach {new} --memory 16m --memory-swap 16m bb sleep 1000"),
            cli(137, "", "exec {c} tail /dev/zero"),
            cli(0, "true", "inspect --format {{.State.Running}} {c}"),
        ],
    ),
    Scenario::named(
        "oom-kill-off",
        &[cli(
            0,
            "oom_kill_disable 1",
            "run --rm {new} --memory 64m --oom-kill-disable bb sh -c 'cat /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null || echo oom_kill_disable 1'",
        )],
    ),
    Scenario::named(
        "cpu-all",
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
        "pids-limit-holds",
        &[cli(
            2,
            "can't fork",
            "run --rm {new} --pids-limit 20 bb sh -c 'for i in $(seq 30); do sleep 1000 & done'",
        )],
    ),
    Scenario::named(
        "ulimit-all",
        &[cli(
            0,
            "Max processes",
            "run --rm {new} --ulimit nproc=500:600 --ulimit memlock=65536 --ulimit stack=1048576:2097152 --ulimit fsize=1000000 --ulimit msgqueue=1000 bb cat /proc/self/limits",
        )],
    ),
    Scenario::named(
        "ulimit-user",
        &[cli(
            0,
            "Max open files            1024",
            "run --rm {new} --user app --ulimit nofile=1024:1024 --ulimit core=0:0 bb grep -E 'open files|core' /proc/self/limits",
        )],
    ),
    Scenario::named(
        "oom-score-negative",
        &[cli(0, "0", "run --rm {new} --oom-score-adj 0 bb cat /proc/self/oom_score_adj")],
    ),
    Scenario::named(
        "cgroup-parent",
        &[
            cli(0, "", "run --detach {new} --cgroup-parent /parent bb sleep 1000"),
            until("/parent/", "exec {c} cat /proc/1/cgroup"),
        ],
    ),
    Scenario::named(
        "update-cpus",
        &[
            cli(0, "", "run --detach {new} --cpus 0.5 bb sleep 1000"),
            cli(0, "update", "update --cpus 0.25 --cpu-shares 256 --cpuset-cpus 0 {c}"),
            cli(
                0,
                "25000",
                concat!(
                    "exec {c} ",
                    show!(
                        "cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpu.max cpuset.cpus"
                    )
                ),
            ),
        ],
    ),
    Scenario::named(
        "update-pids",
        &[
            cli(0, "", "run --detach {new} --pids-limit 50 bb sleep 1000"),
            cli(0, "update", "update --pids-limit 60 {c}"),
            cli(0, "60", concat!("exec {c} ", show!("pids/pids.max pids.max"))),
            cli(0, "update", "update --pids-limit -1 {c}"),
            cli(0, "max", concat!("exec {c} ", show!("pids/pids.max pids.max"))),
        ],
    ),
    Scenario::named(
        "update-memory-down",
        &[
            cli(0, "", "run --detach {new} --memory 96m --memory-swap 192m bb sleep 1000"),
            cli(0, "update", "update --memory 64m --memory-swap 64m {c}"),
            cli(
                0,
                "67108864",
                concat!(
                    "exec {c} ",
                    show!(
                        "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory.max memory.swap.max"
                    )
                ),
            ),
            cli(1, "", "update --memory 32m --memory-swap 16m {c}"),
        ],
    ),
    Scenario::named(
        "update-restart",
        &[
            cli(0, "", "run --detach {new} --cpu-shares 300 bb sleep 1000"),
            cli(0, "update", "update --restart always {c}"),
            cli(0, "300", concat!("exec {c} ", show!("cpu/cpu.shares"), "")),
        ],
    ),
];
