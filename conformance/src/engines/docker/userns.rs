//! Docker scenarios with a user namespace for every container.

use super::super::lines::asleep;
use super::super::scenario::{ENTER, Scenario, cli, host, talk, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("userns-echo", &[cli(0, "hello", "run --rm {new} bb echo hello")]),
    Scenario::named(
        "userns-map",
        &[cli(
            0,
            "200000",
            "run --rm {new} bb sh -c 'cat /proc/self/uid_map /proc/self/gid_map; id; cat /proc/self/setgroups; stat -c %u:%g / /bin/busybox /dev/null /proc/1'",
        )],
    ),
    Scenario::named(
        "userns-user",
        &[cli(
            0,
            "uid=1000(app)",
            "run --rm {new} --user app --group-add 77 bb sh -c 'id; grep Cap /proc/self/status; touch /tmp/x && stat -c %u /tmp/x'",
        )],
    ),
    Scenario::named(
        "userns-outside",
        &[
            host("", "chmod 777 {data}"),
            cli(0, "", "run --rm {new} --volume {data}:/data bb touch /data/made"),
            host("200000:200000", "stat -c %u:%g {data}/made"),
            cli(1, "Permission denied", "run --rm {new} --volume {data}:/data bb sh -c 'echo >/data/in'"),
        ],
    ),
    Scenario::named(
        "userns-capabilities",
        &[cli(
            0,
            "CapBnd:\t00000000a80425fb",
            "run --rm {new} bb sh -c 'grep -E \"Cap|Seccomp:\" /proc/self/status; mknod /tmp/n c 1 3 2>&1; true'",
        )],
    ),
    Scenario::named(
        "userns-mounts",
        &[cli(
            0,
            "/proc",
            "run --rm {new} bb sh -c 'awk \"{ print \\$5, \\$6, \\$7 ~ /master/ }\" /proc/self/mountinfo | sort'",
        )],
    ),
    Scenario::named(
        "userns-dev",
        &[cli(
            0,
            "/dev/null",
            "run --rm {new} bb sh -c 'stat -c \"%n %a %t:%T\" /dev/*; echo x >/dev/null && echo >/dev/full 2>&1; true'",
        )],
    ),
    Scenario::named(
        "userns-terminal",
        &[talk(
            ENTER,
            4,
            "/dev/pts/0",
            "run --rm --interactive --tty {new} --user app bb sh -c 'tty; stat -c %u:%g $(tty); echo ready; read x; exit 4'",
        )],
    ),
    Scenario::named(
        "userns-exec",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "uid=0(root)", "exec {c} sh -c 'id; cat /proc/self/uid_map; grep Cap /proc/self/status'"),
            cli(0, "uid=1000(app)", "exec --user app {c} id"),
            talk(
                ENTER,
                5,
                "/dev/pts/",
                "exec --interactive --tty {c} sh -c 'tty; echo ready; read x; exit 5'",
            ),
            cli(126, "executable file not found", "exec {c} nosuch"),
        ],
    ),
    Scenario::named(
        "userns-stop",
        &[
            cli(
                0,
                "",
                "run --detach {new} bb sh -c 'trap \"echo bye; exit 7\" TERM; echo up; sleep 1000 & wait'",
            ),
            until("up", "logs {c}"),
            cli(0, "stop", "stop --time 60 {c}"),
            cli(0, "7", "wait {c}"),
        ],
    ),
    Scenario::named(
        "userns-limits",
        &[cli(
            0,
            "Max open files",
            "run --rm {new} --memory 64m --pids-limit 50 --ulimit nofile=512:1024 bb sh -c 'cat /proc/self/limits | grep open; cat /proc/self/oom_score_adj'",
        )],
    ),
    Scenario::named(
        "userns-read-only",
        &[cli(
            1,
            "Read-only file system",
            "run --rm {new} --read-only --tmpfs /tmp bb sh -c 'touch /tmp/x && touch /x'",
        )],
    ),
    Scenario::named(
        "userns-sysctl",
        &[cli(
            0,
            "1234",
            "run --rm {new} --sysctl kernel.msgmax=1234 --sysctl net.core.somaxconn=99 bb cat /proc/sys/kernel/msgmax",
        )],
    ),
    Scenario::named(
        "userns-missing-command",
        &[cli(127, "executable file not found", "run --rm {new} bb nosuch")],
    ),
    Scenario::named(
        "userns-off",
        &[cli(0, "4294967295", "run --rm {new} --userns host bb cat /proc/self/uid_map")],
    ),
    Scenario::named(
        "userns-pause",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "", "pause {c}"),
            cli(0, "", "unpause {c}"),
            cli(0, "", "update --memory 96m --memory-swap 192m {c}"),
        ],
    ),
    Scenario::named(
        "userns-joined",
        &[
            cli(
                0,
                "",
                "run --detach {new} --ipc shareable bb sh -c 'echo shared >/dev/shm/x; exec sleep 1000'",
            ),
            cli(
                0,
                "shared",
                concat!(
                    "run --rm --runtime {side} --name {c}-2 --network container:{c} --ipc container:{c} --pid container:{c} bb sh -c '",
                    asleep!(),
                    "cat /dev/shm/x /proc/1/comm; cat /proc/self/uid_map; [ $(readlink /proc/1/ns/net) = $(readlink /proc/self/ns/net) ] && echo same'"
                ),
            ),
        ],
    ),
    Scenario::named(
        "userns-volume",
        &[
            cli(0, "", "run --rm {new} --volume {c}:/v --user app bb sh -c 'stat -c %u:%g /v'"),
            cli(
                0,
                "kept",
                "run --rm {new} --volume {c}:/v bb sh -c 'echo kept >/v/x; cat /v/x; stat -c %u:%g /v/x'",
            ),
            cli(0, "", "volume rm {c}"),
        ],
    ),
    Scenario::named(
        "userns-device",
        &[cli(
            0,
            "/dev/kmsg 1:b",
            "run --rm {new} --device /dev/kmsg bb sh -c 'stat -c \"%n %t:%T %u\" /dev/kmsg; (: >/dev/kmsg) 2>&1; true'",
        )],
    ),
];
