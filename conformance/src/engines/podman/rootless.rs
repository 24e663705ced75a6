//! Podman scenarios of a user without rights. The runtime is uid 0 in podman's own user namespace and has
//! no access to cgroups.

use super::super::lines::asleep;
use super::super::scenario::{ENTER, Scenario, cli, given, host, talk, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("echo", &[cli(0, "hello", "run --rm {new} bb echo hello")]),
    Scenario::named(
        "exit-code",
        &[cli(42, "oops", "run --rm {new} bb sh -c 'echo out; echo oops >&2; exit 42'")],
    ),
    Scenario::named(
        "missing-command",
        &[
            cli(127, "executable file not found", "run --rm {new} bb nosuch"),
            cli(126, "permission denied", "run --rm {new} bb /bin/notexec"),
        ],
    ),
    Scenario::named(
        "maps",
        &[cli(
            0,
            "300000",
            "run --rm {new} bb sh -c 'id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups'",
        )],
    ),
    Scenario::named(
        "keep-id",
        &[cli(
            0,
            "uid=4343",
            "run --rm {new} --userns keep-id bb sh -c 'id -u; id; cat /proc/self/uid_map; grep Cap /proc/self/status; stat -c %u:%g / /etc /proc/1 /dev/pts/ptmx'",
        )],
    ),
    Scenario::named(
        "keep-id-root",
        &[cli(
            0,
            "uid=0",
            "run --rm {new} --userns keep-id --user root bb sh -c 'id; touch /x; stat -c %u /x'",
        )],
    ),
    Scenario::named(
        "keep-id-bind",
        &[
            cli(
                0,
                "4343",
                "run --rm {new} --userns keep-id --volume {data}:/data bb sh -c 'touch /data/x; stat -c %u /data/x'",
            ),
            host("4343", "stat -c %u {data}/x"),
        ],
    ),
    Scenario::named(
        "keep-id-exec",
        &[
            cli(0, "", "run --detach {new} --userns keep-id bb sleep 1000"),
            cli(0, "4343", "exec {c} sh -c 'id -u; cat /proc/self/uid_map; grep Cap /proc/self/status'"),
            cli(0, "uid=0", "exec --user 0 {c} id"),
        ],
    ),
    Scenario::named(
        "userns-auto-map",
        &[cli(
            0,
            "65000",
            "run --rm {new} --uidmap 0:1:65000 --gidmap 0:1:65000 bb sh -c 'cat /proc/self/uid_map; id -u; touch /x; stat -c %u /x'",
        )],
    ),
    Scenario::named(
        "terminal",
        &[talk(
            ENTER,
            4,
            "/dev/pts/0",
            "run --rm --interactive --tty {new} bb sh -c 'tty; test -t 0 && test -t 1 && stat -c \"%a %t %u:%g\" /dev/console $(tty); echo ready; read x; exit 4'",
        )],
    ),
    Scenario::named(
        "terminal-user",
        &[talk(
            ENTER,
            0,
            "ready /dev/pts/0",
            "run --rm --interactive --tty {new} --user app bb sh -c 'echo to >/dev/tty; stat -c %u $(tty); echo ready $(tty); read x'",
        )],
    ),
    Scenario::named(
        "stdin",
        &[given("one\n", 0, "one\nend", "run --rm --interactive {new} bb sh -c 'cat; echo end'")],
    ),
    Scenario::named(
        "exec",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "hello", "exec {c} echo hello"),
            cli(43, "err", "exec {c} sh -c 'echo err >&2; exit 43'"),
            cli(0, "uid=1000(app)", "exec --user app {c} sh -c 'id; grep Cap /proc/self/status'"),
            cli(127, "executable file not found", "exec {c} nosuch"),
        ],
    ),
    Scenario::named(
        "exec-terminal",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            talk(
                ENTER,
                5,
                "ready /dev/pts/",
                "exec --interactive --tty {c} sh -c 'echo ready $(tty); read x; exit 5'",
            ),
        ],
    ),
    Scenario::named(
        "stop",
        &[
            cli(
                0,
                "",
                "run --detach {new} bb sh -c 'trap \"echo bye; exit 7\" TERM; echo up; sleep 1000 & wait'",
            ),
            until("up", "logs {c}"),
            cli(0, "stop", "stop --time 60 {c}"),
            cli(0, "7", "wait {c}"),
            until("bye", "logs {c}"),
        ],
    ),
    Scenario::named(
        "kill",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "kill", "kill {c}"),
            cli(0, "137", "wait {c}"),
        ],
    ),
    Scenario::named(
        "rm-force",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'sleep 1000 & exec sleep 1000'"),
            cli(0, "", "rm --force --time 0 {c}"),
            cli(1, "", "container exists {c}"),
        ],
    ),
    Scenario::named(
        "pause-refused",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(125, "", "pause {c}"),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
        ],
    ),
    Scenario::named("memory-refused", &[cli(0, "", "run --rm {new} --memory 64m bb echo no limits")]),
    Scenario::named(
        "mounts",
        &[cli(
            0,
            "/proc",
            "run --rm {new} --volume {data}:/data bb sh -c 'awk \"{ print \\$5, \\$6, \\$7 ~ /master/ }\" /proc/self/mountinfo | sort'",
        )],
    ),
    Scenario::named(
        "dev",
        &[cli(
            0,
            "/dev/null",
            "run --rm {new} bb sh -c 'stat -c \"%n %a %t:%T %u:%g\" /dev/*; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; echo x >/dev/null'",
        )],
    ),
    Scenario::named(
        "bind",
        &[
            cli(
                0,
                "given",
                "run --rm {new} --volume {data}:/data bb sh -c 'cat /data/in; echo made >/data/out; stat -c %u /data/out'",
            ),
            host("4343", "stat -c %u {data}/out"),
        ],
    ),
    Scenario::named(
        "bind-read-only",
        &[cli(
            1,
            "Read-only file system",
            "run --rm {new} --volume {data}:/data:ro bb sh -c 'cat /data/in; echo made >/data/out'",
        )],
    ),
    Scenario::named(
        "volume-named",
        &[
            cli(0, "", "run --rm {new} --volume {c}:/home bb sh -c 'echo kept >/home/x'"),
            cli(0, "kept", "run --rm {new} --volume {c}:/root bb cat /root/x"),
            cli(0, "", "volume rm {c}"),
        ],
    ),
    Scenario::named(
        "read-only",
        &[cli(
            1,
            "Read-only file system",
            "run --rm {new} --read-only --tmpfs /t bb sh -c 'touch /t/x /tmp/x && touch /x'",
        )],
    ),
    Scenario::named(
        "tmpfs",
        &[cli(
            0,
            "size=1024k",
            "run --rm {new} --tmpfs /t:size=1m,mode=1770 bb sh -c 'grep \" /t \" /proc/mounts; stat -c %a:%u /t'",
        )],
    ),
    Scenario::named(
        "capabilities",
        &[
            cli(0, "CapBnd", "run --rm {new} bb grep -E 'Cap|Seccomp:|NoNew' /proc/self/status"),
            cli(
                0,
                "CapAmb:\t0000000000001000",
                "run --rm {new} --user app --cap-add NET_ADMIN bb grep Cap /proc/self/status",
            ),
            cli(
                0,
                "CapEff:\t0000000000000000",
                "run --rm {new} --cap-drop ALL bb grep Cap /proc/self/status",
            ),
        ],
    ),
    Scenario::named(
        "privileged",
        &[cli(
            0,
            "Seccomp:\t0",
            "run --rm {new} --privileged bb sh -c 'grep -E \"Cap|Seccomp:\" /proc/self/status; mount -t tmpfs none /tmp && echo mounted'",
        )],
    ),
    Scenario::named(
        "user-groups",
        &[cli(
            0,
            "uid=1000(app)",
            "run --rm {new} --user app --group-add extra bb sh -c 'id; touch /root/x 2>&1; true'",
        )],
    ),
    Scenario::named(
        "network-host",
        &[cli(
            0,
            "lo",
            "run --rm --name {c} --network host bb sh -c 'ls /sys/class/net; grep \" /sys \" /proc/mounts'",
        )],
    ),
    Scenario::named(
        "namespaces-shared",
        &[
            cli(0, "", "run --detach {new} --hostname first bb sleep 1000"),
            cli(
                0,
                "first",
                concat!(
                    "run --rm --name {c}-2 --network container:{c} --pid container:{c} --uts container:{c} bb sh -c '",
                    asleep!(),
                    "hostname; cat /proc/1/comm'"
                ),
            ),
        ],
    ),
    Scenario::named(
        "sysctl",
        &[cli(
            0,
            "1234",
            "run --rm {new} --sysctl kernel.msgmax=1234 --sysctl net.core.somaxconn=77 bb cat /proc/sys/kernel/msgmax /proc/sys/net/core/somaxconn",
        )],
    ),
    Scenario::named(
        "ulimit",
        &[cli(
            0,
            "Max open files",
            "run --rm {new} --ulimit nofile=512:1024 --ulimit core=0 bb grep -E 'open files|core' /proc/self/limits",
        )],
    ),
    Scenario::named(
        "oom-score",
        &[cli(0, "500", "run --rm {new} --oom-score-adj 500 bb cat /proc/self/oom_score_adj")],
    ),
    Scenario::named(
        "cgroup-view",
        &[cli(
            0,
            "",
            "run --rm {new} bb sh -c 'ls /sys/fs/cgroup; grep cgroup /proc/self/mountinfo | cut -d\" \" -f5,6'",
        )],
    ),
];
