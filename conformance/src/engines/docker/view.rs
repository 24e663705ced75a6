//! The Docker scenarios of what a container is given: limits, mounts, user, rights. All of it is read
//! from inside, so that both the setting and the view of it are compared.

use super::super::scenario::{Scenario, cli, host};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "memory",
        &[cli(
            0,
            "67108864",
            "run --rm {new} --memory 64m bb sh -c 'cd /sys/fs/cgroup; for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory.max memory.swap.max; do [ ! -e $f ] || echo $f $(cat $f); done'",
        )],
    ),
    Scenario::named(
        "cpus",
        &[cli(
            0,
            "50000",
            "run --rm {new} --cpus 0.5 bb sh -c 'cd /sys/fs/cgroup; for f in cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu.max; do [ ! -e $f ] || echo $f $(cat $f); done'",
        )],
    ),
    Scenario::named(
        "pids-limit",
        &[cli(
            0,
            "77",
            "run --rm {new} --pids-limit 77 bb sh -c 'cd /sys/fs/cgroup; for f in pids/pids.max pids.max; do [ ! -e $f ] || echo $f $(cat $f); done'",
        )],
    ),
    Scenario::named(
        "cpuset",
        &[cli(
            0,
            "Cpus_allowed_list:\t0\n",
            "run --rm {new} --cpuset-cpus 0 bb grep Cpus_allowed_list /proc/self/status",
        )],
    ),
    Scenario::named(
        "bind-read-only",
        &[
            cli(
                1,
                "Read-only file system",
                "run --rm {new} --volume {data}:/data:ro bb sh -c 'cat /data/in; echo made >/data/out'",
            ),
            host("in", "ls {data}"),
        ],
    ),
    Scenario::named(
        "bind-dir-on-file",
        &[cli(
            125,
            "Are you trying to mount a directory onto a file",
            "run --rm {new} --volume {data}:/etc/passwd bb true",
        )],
    ),
    Scenario::named(
        "volume",
        &[cli(0, "kept", "run --rm {new} --volume /data bb sh -c 'echo kept >/data/x; cat /data/x'")],
    ),
    Scenario::named(
        "read-only",
        &[cli(
            1,
            "Read-only file system",
            "run --rm {new} --read-only bb sh -c 'touch /dev/shm/x && touch /x'",
        )],
    ),
    Scenario::named(
        "tmpfs",
        &[cli(
            0,
            "tmpfs",
            "run --rm {new} --tmpfs /t:size=1m,mode=1770 bb sh -c 'grep \" /t \" /proc/mounts; stat -c %a /t'",
        )],
    ),
    Scenario::named(
        "user-name",
        &[cli(
            0,
            "uid=1000(app) gid=1000(app)",
            "run --rm {new} --user app bb sh -c 'id; echo $HOME; grep Cap /proc/self/status'",
        )],
    ),
    Scenario::named(
        "user-number",
        &[cli(
            0,
            "uid=1234 gid=2000(extra)",
            "run --rm {new} --user 1234:2000 --group-add 3000 bb sh -c 'id; echo $HOME; touch /root/x 2>&1 || true'",
        )],
    ),
    Scenario::named(
        "workdir-made",
        &[cli(0, "/not/yet", "run --rm {new} --workdir /not/yet bb sh -c 'pwd; stat -c %a:%u .'")],
    ),
    Scenario::named(
        "env",
        &[cli(0, "A=b c", "run --rm {new} --env 'A=b c' --env EMPTY= bb sh -c 'env | sort'")],
    ),
    Scenario::named(
        "hostname",
        &[cli(
            0,
            "box",
            "run --rm {new} --hostname box --domainname example bb sh -c 'hostname; cat /proc/sys/kernel/domainname; cat /etc/hostname'",
        )],
    ),
    Scenario::named(
        "network-none",
        &[cli(0, "lo", "run --rm {new} bb sh -c 'ls /sys/class/net; wc -l </proc/net/route'")],
    ),
    Scenario::named(
        "capabilities",
        &[cli(0, "CapBnd:\t00000000a80425fb", "run --rm {new} bb grep Cap /proc/self/status")],
    ),
    Scenario::named(
        "cap-add",
        &[cli(
            0,
            "CapEff:\t0000000000001001",
            "run --rm {new} --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN bb grep Cap /proc/self/status",
        )],
    ),
    Scenario::named(
        "seccomp",
        &[cli(
            0,
            "Seccomp:\t2",
            "run --rm {new} bb sh -c 'grep -E \"NoNewPrivs|Seccomp:\" /proc/self/status; unshare -U true 2>&1; true'",
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
        "sysctl",
        &[cli(0, "1234", "run --rm {new} --sysctl kernel.msgmax=1234 bb cat /proc/sys/kernel/msgmax")],
    ),
    Scenario::named(
        "device",
        &[cli(
            0,
            "5:1 600",
            "run --rm {new} --device /dev/null:/dev/extra:rw bb sh -c 'stat -c \"%n %t:%T %a\" /dev/extra; echo x >/dev/extra; mknod /dev/c c 5 1 -m 600; stat -c \"%t:%T %a\" /dev/c; mknod /dev/b b 7 0; dd if=/dev/b count=1 2>&1 | head -n 1'",
        )],
    ),
];
