//! Podman scenarios of namespaces: own, the host's, another container's, or a path.

use super::super::lines::{asleep, awaits};
use super::super::scenario::{Scenario, cli, host, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "network-none",
        &[cli(
            0,
            "lo",
            "run --rm {new} bb sh -c 'ls /sys/class/net; wc -l </proc/net/route; ip link show lo'",
        )],
    ),
    Scenario::named(
        "network-host",
        &[cli(0, "lo", "run --rm --name {c} --network host bb sh -c 'ls /sys/class/net'")],
    ),
    Scenario::named(
        "pid-shared",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(
                0,
                "sleep",
                concat!(
                    "run --rm --name {c}-2 --pid container:{c} bb sh -c '",
                    asleep!(),
                    "cat /proc/1/comm'"
                ),
            ),
            cli(
                0,
                "",
                "run --detach --name {c}-2 --pid container:{c} bb sh -c 'sleep 1000 & exec sleep 1000'",
            ),
            cli(0, "", "rm --force --time 0 {c}-2").any_text(),
            cli(0, "true", "inspect --format {{.State.Running}} {c}"),
        ],
    ),
    Scenario::named(
        "ipc-shared",
        &[
            cli(0, "", "run --detach {new} --ipc shareable bb sh -c 'echo here >/dev/shm/x; sleep 1000'"),
            host(
                "here",
                concat!(
                    awaits!("{client} exec {c} test -s /dev/shm/x"),
                    "; {client} run --rm --name {c}-2 --ipc container:{c} bb cat /dev/shm/x"
                ),
            ),
        ],
    ),
    Scenario::named(
        "network-shared",
        &[
            cli(0, "", "run --detach {new} --sysctl net.core.somaxconn=777 bb sleep 1000"),
            cli(
                0,
                "777",
                "run --rm --name {c}-2 --network container:{c} bb cat /proc/sys/net/core/somaxconn",
            ),
        ],
    ),
    Scenario::named(
        "all-shared",
        &[
            cli(0, "", "run --detach {new} --hostname first bb sleep 1000"),
            host(
                "shared",
                concat!(
                    "{client} run --rm --name {c}-2 --network container:{c} --ipc container:{c} --pid container:{c} --uts container:{c} bb sh -c '",
                    asleep!(),
                    "hostname; for n in net ipc pid uts mnt; do readlink /proc/1/ns/$n /proc/self/ns/$n | uniq | wc -l; done; echo shared'"
                ),
            ),
        ],
    ),
    Scenario::named(
        "uts-host",
        &[host(
            "same",
            "[ \"$({client} run --rm --name {c} --uts host bb hostname)\" = \"$(hostname)\" ] && echo same",
        )],
    ),
    Scenario::named(
        "ipc-host",
        &[host(
            "seen",
            "echo seen >/dev/shm/{side}; {client} run --rm --name {c} --ipc host bb cat /dev/shm/{side}; rm /dev/shm/{side}",
        )],
    ),
    Scenario::named(
        "network-path",
        &[host(
            "joined",
            "unshare --net sleep 1000 >/dev/null 2>&1 & p=$!; until [ $(readlink /proc/$p/ns/net) != $(readlink /proc/self/ns/net) ]; do sleep 0.05; done; {client} run --rm --name {c} --network ns:/proc/$p/ns/net bb sh -c 'ls /sys/class/net; echo joined'; kill -9 $p",
        )],
    ),
    Scenario::named(
        "join-restarted",
        &[
            cli(
                0,
                "",
                "run --detach {new} bb sh -c '[ -e /ran ] || { touch /ran; exit 0; }; exec sleep 1000'",
            ),
            cli(0, "0", "wait {c}"),
            until("exited", "inspect --format {{.State.Status}} {c}"),
            // Whom another one joins is started first.
            cli(
                0,
                "joined",
                "run --rm --name {c}-2 --pid container:{c} bb sh -c 'until ps | grep -q [s]leep; do :; done; echo joined'",
            ),
        ],
    ),
];
