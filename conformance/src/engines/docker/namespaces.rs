//! Docker scenarios of namespaces that are shared with the host or with another container.

use super::super::lines::awaits;
use super::super::scenario::{Scenario, cli, host};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "network-host",
        &[
            cli(
                0,
                "lo",
                "run --rm {run} --network host bb sh -c 'ls /sys/class/net; hostname; cat /proc/sys/net/core/somaxconn; grep -c . /etc/hosts'",
            ),
            cli(125, "", "run --rm {run} --network host --sysctl net.core.somaxconn=10 bb true"),
        ],
    ),
    Scenario::named(
        "network-container",
        &[
            cli(
                0,
                "",
                "run --detach {new} --cap-add NET_ADMIN bb sh -c 'ip addr add 10.9.8.7/32 dev lo; exec sleep 1000'",
            ),
            cli(
                0,
                "10.9.8.7",
                "run --rm --runtime {side} --name {c}-2 --network container:{c} bb sh -c 'until ip addr show lo | grep 10.9.8.7; do sleep 0.05; done'",
            ),
        ],
    ),
    Scenario::named(
        "ipc-host",
        &[
            cli(
                0,
                "lives",
                "run --rm {new} --ipc host bb sh -c 'grep -c \" /dev/shm \" /proc/mounts; echo lives'",
            ),
            cli(
                0,
                "none",
                "run --rm {new} --ipc none bb sh -c 'grep -c \" /dev/shm \" /proc/mounts; echo none'",
            ),
        ],
    ),
    Scenario::named(
        "ipc-container",
        &[
            cli(
                0,
                "",
                "run --detach {new} --ipc shareable bb sh -c 'echo shared >/dev/shm/x; exec sleep 1000'",
            ),
            cli(
                0,
                "shared",
                "run --rm --runtime {side} --name {c}-2 --network none --ipc container:{c} bb sh -c 'until [ -s /dev/shm/x ]; do sleep 0.05; done; cat /dev/shm/x'",
            ),
            cli(
                125,
                "",
                "run --rm --runtime {side} --name {c}-2 --network none --ipc container:nosuch bb true",
            ),
        ],
    ),
    Scenario::named(
        "uts-host",
        &[cli(
            0,
            "(none)",
            "run --rm {new} --uts host bb sh -c 'cat /proc/sys/kernel/domainname; hostname | wc -l'",
        )],
    ),
    Scenario::named(
        "cgroupns",
        &[
            cli(0, ":/\n", "run --rm {new} --cgroupns private bb cat /proc/self/cgroup"),
            cli(0, "docker", "run --rm {new} --cgroupns host bb cat /proc/self/cgroup"),
        ],
    ),
    Scenario::named(
        "pid-host-stopped",
        &[
            cli(0, "", "run --detach {new} --pid host bb sh -c 'sleep 1000 & exec sleep 1000'"),
            cli(0, "", "stop --time 0 {c}"),
            cli(0, "143", "wait {c}"),
            // It has been killed, and ends when its turn comes.
            host("gone", concat!(awaits!("! pgrep -f '^sleep 1000' >/dev/null"), "; echo gone")),
        ],
    ),
    Scenario::named(
        "pid-container-ends",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(
                0,
                "",
                "run --detach --runtime {side} --name {c}-2 --network none --pid container:{c} bb sh -c 'sleep 1000 & exec sleep 1000'",
            ),
            cli(0, "", "kill {c}"),
            cli(0, "137", "wait {c}-2"),
        ],
    ),
];
