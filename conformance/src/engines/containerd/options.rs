//! The containerd scenarios of what else ctr can ask of a container.

use super::super::lines::{asleep, awaits};
use super::super::scenario::{Scenario, cli, given, host, resizes, talk, types, until};

/// Prints one file of a cgroup, on v1 or on v2.
macro_rules! limit {
    ($v1:literal, $v2:literal) => {
        concat!("cd /sys/fs/cgroup; cat ", $v1, " 2>/dev/null || cat ", $v2)
    };
}

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "stdin",
        &[given("one\ntwo\n", 0, "one\ntwo\nend", "run --rm {new} {image} {c} sh -c 'head -n 2; echo end'")],
    ),
    Scenario::named(
        "terminal-size",
        &[talk(
            &[resizes("begins 24 80", 33, 99), types("now 33 99", "\n")],
            3,
            "now 33 99",
            "run --rm --tty {new} {image} {c} sh -c 'stty -echo; until [ \"$(stty size 2>/dev/null)\" = \"24 80\" ]; do sleep 0.05; done; echo begins $(stty size); until [ \"$(stty size 2>/dev/null)\" = \"33 99\" ]; do sleep 0.05; done; echo now $(stty size); read x; exit 3'",
        )],
    ),
    Scenario::named(
        "terminal-interrupt",
        &[talk(
            &[types("ready", "\x03"), types("interrupted", "\n")],
            5,
            "interrupted",
            "run --rm --tty {new} {image} {c} sh -c 'stty -echo; trap \"echo interrupted; read x; exit 5\" INT; echo ready; while :; do sleep 0.05; done'",
        )],
    ),
    Scenario::named(
        "pid-file",
        &[
            cli(0, "", "run --detach --null-io {new} --pid-file {data}/pid {image} {c} sleep 1000"),
            host(
                "sleep",
                concat!(awaits!("grep sleep /proc/$(cat {data}/pid)/comm"), "; grep -c . {data}/pid"),
            ),
        ],
    ),
    Scenario::named(
        "create-start",
        &[
            cli(0, "", "containers create {image} {c} cat /etc/group"),
            cli(0, "", "tasks start --detach --log-uri file://{data}/log {c}"),
            until("STOPPED", "tasks ls").any_number(),
            // Whoever copies the output has done so when the task is deleted.
            cli(0, "", "tasks delete {c}"),
            host("extra:x", "cat {data}/log"),
        ],
    ),
    Scenario::named(
        "fifo-dir",
        &[
            host("", "mkdir {data}/fifos"),
            cli(0, "hello", "run --rm {new} --fifo-dir {data}/fifos {image} {c} echo hello"),
        ],
    ),
    Scenario::named(
        "kill-all",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sh -c 'sleep 1000 & sleep 1000 & wait'"),
            cli(0, "", "tasks kill --all --signal KILL {c}"),
            until("STOPPED", "tasks ls").any_number(),
            cli(0, "exit code 137", "tasks rm {c}"),
        ],
    ),
    Scenario::named(
        "kill-number",
        &[
            cli(
                0,
                "",
                "run --detach --log-uri file://{data}/log {new} {image} {c} sh -c 'trap \"echo one; exit 8\" USR1; echo up; while :; do sleep 0.05; done'",
            ),
            host("up", awaits!("grep -s up {data}/log")),
            cli(0, "", "tasks kill --signal 10 {c}"),
            until("STOPPED", "tasks ls").any_number(),
            cli(0, "exit code 8", "tasks rm {c}"),
        ],
    ),
    Scenario::named(
        "metrics",
        &[
            cli(0, "", "run --detach --null-io {new} --memory-limit 67108864 {image} {c} sleep 1000"),
            cli(0, "67108864", "tasks metrics {c}").any_text(),
        ],
    ),
    Scenario::named(
        "net-host",
        &[cli(
            0,
            "lo",
            "run --rm {new} --net-host {image} {c} sh -c 'ls /sys/class/net; cat /proc/net/route | wc -l; cat /etc/hosts | wc -l'",
        )],
    ),
    Scenario::named(
        "namespaces-joined",
        &[
            cli(0, "", "run --detach --null-io {new} --pid-file {data}/pid {image} {c} sleep 1000"),
            host(
                "joined",
                concat!(
                    "p=/proc/$(cat {data}/pid)/ns; {client} run --rm {run} --with-ns pid:$p/pid --with-ns network:$p/net --with-ns ipc:$p/ipc --with-ns uts:$p/uts {image} {c}-2 sh -c '",
                    asleep!(),
                    "for n in pid net ipc uts; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo other $n; done; cat /proc/1/comm; [ $$ != 1 ] && echo joined'"
                ),
            ),
            cli(0, "RUNNING", "tasks ls").any_number(),
        ],
    ),
    Scenario::named(
        "namespace-missing",
        &[cli(1, "no such file or directory", "run --rm {new} --with-ns network:/no/such {image} {c} true")],
    ),
    Scenario::named(
        "env-file",
        &[
            host("", "printf 'A=one two\\nPATH=/bin\\n' >{data}/env"),
            cli(
                0,
                "A=one two",
                "run --rm {new} --env-file {data}/env --env B=x=y {image} {c} sh -c 'env | sort'",
            ),
        ],
    ),
    Scenario::named(
        "annotation",
        &[cli(0, "hello", "run --rm {new} --annotation org.example.a=b --label c=d {image} {c} echo hello")],
    ),
    Scenario::named(
        "new-privileges",
        &[cli(
            0,
            "NoNewPrivs:\t0",
            "run --rm {new} --allow-new-privs --seccomp {image} {c} grep -E 'NoNewPrivs|Seccomp:|Cap' /proc/self/status",
        )],
    ),
    Scenario::named(
        "seccomp-profile",
        &[
            host(
                "",
                "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":28}]}' >{data}/p.json",
            ),
            cli(
                1,
                "No space left",
                "run --rm {new} --seccomp --seccomp-profile {data}/p.json {image} {c} mkdir /tmp/x",
            ),
        ],
    ),
    Scenario::named(
        "device",
        &[cli(
            0,
            "1:b",
            "run --rm {new} --device /dev/kmsg {image} {c} sh -c 'stat -c \"%n %t:%T %a\" /dev/kmsg; mknod /tmp/m c 1 1 && cat /tmp/m 2>&1; true'",
        )],
    ),
    Scenario::named(
        "oom",
        &[cli(137, "", "run --rm {new} --memory-limit 16777216 {image} {c} tail /dev/zero")],
    ),
    Scenario::named(
        "cpu-quota",
        &[
            cli(
                0,
                "",
                "run --detach --null-io {new} --cpu-quota 20000 --cpu-period 80000 {image} {c} sleep 1000",
            ),
            host(
                "20000",
                limit!(
                    "cpu/default/{c}/cpu.cfs_quota_us cpu/default/{c}/cpu.cfs_period_us",
                    "default/{c}/cpu.max"
                ),
            ),
        ],
    ),
    Scenario::named(
        "cgroup",
        &[
            cli(
                0,
                "",
                "run --detach --null-io {new} --cgroup /own/{c} --memory-limit 33554432 {image} {c} sleep 1000",
            ),
            host("33554432", limit!("memory/own/{c}/memory.limit_in_bytes", "own/{c}/memory.max")),
        ],
    ),
    Scenario::named(
        "rootfs",
        &[cli(0, "app:x", "run --rm --rootfs {new} {scratch}/rootfs {c} /bin/cat /etc/passwd")],
    ),
    Scenario::named(
        "rootfs-propagation",
        &[
            cli(
                0,
                "/ 1",
                "run --rm {new} --rootfs-propagation rslave {image} {c} awk '$5 == \"/\" { print $5, $7 ~ /master/ }' /proc/self/mountinfo",
            ),
            cli(
                0,
                "/ shared",
                "run --rm {new} --rootfs-propagation rshared {image} {c} awk '$5 == \"/\" { print $5, \"shared:\", $7 ~ /shared/ }' /proc/self/mountinfo",
            ),
            cli(
                0,
                "/ -",
                "run --rm {new} --rootfs-propagation private {image} {c} awk '$5 == \"/\" { print $5, $7 }' /proc/self/mountinfo",
            ),
        ],
    ),
    Scenario::named(
        "snapshotter",
        &[cli(0, "hello", "run --rm {new} --snapshotter native {image} {c} echo hello")],
    ),
    Scenario::named(
        "no-pivot",
        &[cli(
            0,
            "app:x",
            "run --rm {new} --no-pivot {image} {c} sh -c 'cat /etc/passwd; ls /; ls /proc/1/root'",
        )],
    ),
    Scenario::named(
        "userns",
        &[cli(
            0,
            "300000",
            "run --rm --uidmap 0:300000:65536 --gidmap 0:300000:65536 {image} {c} sh -c 'id; cat /proc/self/uid_map; touch /x && stat -c %u /x'",
        )],
    ),
    Scenario::named(
        "state-root",
        &[
            cli(0, "", "run --detach --null-io {new} --runc-root {data}/state {image} {c} sleep 1000"),
            host("t-state-root", "ls {data}/state/default"),
            cli(0, "", "tasks exec --exec-id e1 {c} true"),
        ],
    ),
    Scenario::named(
        "mounts-many",
        &[host(
            "30",
            "for i in $(seq 30); do m=\"$m --mount type=bind,src={data}/in,dst=/m/$i,options=rbind:ro\"; done; {client} run --rm {run} $m {image} {c} sh -c 'cat /m/* | sort -u; grep -c \" /m/\" /proc/mounts'",
        )],
    ),
    Scenario::named("cwd-file", &[cli(1, "", "run --rm {new} --cwd /bin/busybox {image} {c} pwd")]),
    Scenario::named(
        "id-taken",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(1, "already exists", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(0, "RUNNING", "tasks ls").any_number(),
        ],
    ),
];
