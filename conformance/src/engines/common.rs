//! Scenarios that Docker and Podman have in common: their clients take the same words.

use super::lines::{show, sizes};
use super::scenario::{ENTER, Scenario, cli, given, host, resizes, talk, tty, types, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("echo", &[cli(0, "hello", "run --rm {new} bb echo hello")]),
    Scenario::named(
        "exit-code",
        &[cli(42, "oops", "run --rm {new} bb sh -c 'echo out; echo oops >&2; exit 42'")],
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
            cli(
                0,
                "exited 7 false",
                "inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' {c}",
            ),
        ],
    ),
    Scenario::named(
        "kill-signal",
        &[
            cli(
                0,
                "",
                "run --detach {new} bb sh -c 'trap \"echo got; exit 5\" USR1; echo up; sleep 1000 & wait'",
            ),
            until("up", "logs {c}"),
            cli(0, "", "kill --signal USR1 {c}"),
            cli(0, "5", "wait {c}"),
            until("got", "logs {c}"),
        ],
    ),
    Scenario::named(
        "create-start",
        &[
            cli(0, "", "create {new} bb sh -c 'echo started; exit 3'"),
            cli(0, "created", "inspect --format {{.State.Status}} {c}"),
            cli(3, "started", "start --attach {c}"),
            cli(3, "started", "start --attach {c}"),
        ],
    ),
    Scenario::named(
        "missing-path",
        &[cli(127, "no such file or directory", "run --rm {new} bb /no/such/cmd")],
    ),
    Scenario::named("not-executable", &[cli(126, "permission denied", "run --rm {new} bb /bin/notexec")]),
    Scenario::named(
        "pid-host",
        &[cli(
            0,
            "outside",
            "run --rm {new} --pid host bb sh -c '[ $$ != 1 ] && grep -q engines /proc/1/cmdline && echo outside'",
        )],
    ),
    Scenario::named(
        "terminal-missing",
        &[tty(127, "executable file not found", "run --rm --tty {new} bb nosuch")],
    ),
    Scenario::named(
        "bind",
        &[
            cli(
                0,
                "given",
                "run --rm {new} --volume {data}:/data bb sh -c 'cat /data/in; echo made >/data/out'",
            ),
            host("made", "cat {data}/out"),
        ],
    ),
    Scenario::named(
        "bind-file",
        &[cli(0, "given", "run --rm {new} --volume {data}/in:/etc/new/in:ro bb cat /etc/new/in")],
    ),
    Scenario::named("workdir", &[cli(0, "/tmp", "run --rm {new} --workdir /tmp bb pwd")]),
    Scenario::named(
        "cap-drop",
        &[cli(0, "CapEff:\t0000000000000000", "run --rm {new} --cap-drop ALL bb grep Cap /proc/self/status")],
    ),
    Scenario::named(
        "no-new-privileges",
        &[cli(
            0,
            "NoNewPrivs:\t1",
            "run --rm {new} --security-opt no-new-privileges bb grep -E 'NoNewPrivs|Seccomp:' /proc/self/status",
        )],
    ),
    Scenario::named(
        "seccomp-off",
        &[cli(
            0,
            "Seccomp:\t0",
            "run --rm {new} --security-opt seccomp=unconfined bb grep Seccomp: /proc/self/status",
        )],
    ),
    Scenario::named(
        "signals",
        &[cli(
            0,
            "SigIgn:\t0000000000000000",
            "run --rm {new} bb grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status",
        )],
    ),
    Scenario::named(
        "oom-score",
        &[cli(0, "500", "run --rm {new} --oom-score-adj 500 bb cat /proc/self/oom_score_adj")],
    ),
    Scenario::named(
        "dev",
        &[cli(
            0,
            "/dev/null",
            "run --rm {new} bb sh -c 'stat -c \"%n %a %t:%T %u:%g\" /dev/*; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done'",
        )],
    ),
    // Podman's configs have some of them in any order.
    Scenario::named(
        "mounts",
        &[cli(
            0,
            "/proc",
            "run --rm {new} --volume {data}:/data --shm-size 8m bb sh -c 'awk \"{ print \\$5, \\$6, \\$7 ~ /master/ }\" /proc/self/mountinfo | sort'",
        )],
    ),
    Scenario::named(
        "masked",
        &[cli(
            0,
            "Read-only file system",
            "run --rm {new} bb sh -c 'wc -c </proc/kcore; ls /proc/acpi | wc -l; echo 1 2>&1 >/proc/sys/kernel/panic; true'",
        )],
    ),
    Scenario::named("descriptors", &[cli(0, "2", "run --rm {new} bb sh -c 'ls /proc/1/fd'")]),
    Scenario::named(
        "seccomp-profile",
        &[
            host(
                "",
                "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\",\"nosuchcall\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":95}]}' >{data}/p.json",
            ),
            cli(
                1,
                "not supported",
                "run --rm {new} --security-opt seccomp={data}/p.json bb sh -c 'grep Seccomp: /proc/self/status; mkdir /tmp/x'",
            ),
        ],
    ),
    Scenario::named(
        "seccomp-kill",
        &[
            host(
                "",
                "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_KILL_PROCESS\"}]}' >{data}/p.json",
            ),
            cli(
                0,
                "159",
                "run --rm {new} --security-opt seccomp={data}/p.json bb sh -c 'mkdir /tmp/x; echo $?'",
            ),
        ],
    ),
    Scenario::named(
        "device-write-only",
        &[cli(
            1,
            "Operation not permitted",
            "run --rm {new} --device /dev/kmsg:/dev/k:w bb sh -c ': >/dev/k && echo open; head -c 1 /dev/k'",
        )],
    ),
    Scenario::named(
        "sysctl-missing",
        &[cli(127, "no such file or directory", "run --rm {new} --sysctl net.no.such=1 bb true")],
    ),
    Scenario::named(
        "blkio",
        &[cli(
            0,
            "",
            concat!(
                "run --rm {new} --blkio-weight 300 bb ",
                show!("blkio/blkio.weight blkio/blkio.bfq.weight io.weight io.bfq.weight")
            ),
        )],
    ),
    Scenario::named(
        "propagation-private",
        &[
            host("", "mkdir {data}/sub && mount -t tmpfs none {data}/sub && echo below >{data}/sub/x"),
            cli(0, "below", "run --rm {new} --volume {data}:/data bb cat /data/sub/x"),
            cli(
                1,
                "No such file",
                "run --rm {new} --mount type=bind,src={data},dst=/data,bind-nonrecursive=true bb cat /data/sub/x",
            ),
            host("", "umount {data}/sub"),
        ],
    ),
    Scenario::named(
        "volume-order",
        &[
            host("", "mkdir {data}/a {data}/b; echo inner >{data}/b/x"),
            cli(
                0,
                "inner",
                "run --rm {new} --volume {data}/b:/v/w/z --volume {data}/a:/v/w --tmpfs /v bb sh -c 'cat /v/w/z/x; awk \"{ print \\$5 }\" /proc/self/mountinfo | grep ^/v'",
            ),
        ],
    ),
    Scenario::named(
        "terminal-size",
        &[talk(
            &[resizes("begins 24 80", 33, 99)],
            3,
            "now 33 99",
            concat!("run --rm --interactive --tty {new} bb ", sizes!()),
        )],
    ),
    Scenario::named(
        "terminal-interrupt",
        &[talk(
            &[types("ready", "\x03")],
            5,
            "interrupted",
            "run --rm --interactive --tty {new} bb sh -c 'stty -echo; trap \"echo interrupted; exit 5\" INT; echo ready; while :; do sleep 0.05; done'",
        )],
    ),
    Scenario::named(
        "terminal-log",
        &[
            cli(0, "", "run --detach --tty {new} bb sh -c 'echo one; echo two >&2; tty'"),
            cli(0, "0", "wait {c}"),
            until("/dev/pts/0", "logs {c}"),
        ],
    ),
    Scenario::named(
        "stdin",
        &[
            given("one\ntwo\n", 0, "one\ntwo\nend", "run --rm --interactive {new} bb sh -c 'cat; echo end'"),
            given("one\n", 0, "0", "run --rm {new} bb wc -c"),
        ],
    ),
    Scenario::named(
        "output",
        &[cli(
            0,
            "19999\n20000",
            "run --rm {new} bb sh -c 'seq 20000; head -c 300000 /dev/zero | tr \"\\0\" x | fold -w 100 | md5sum'",
        )],
    ),
    Scenario::named(
        "exec-terminal-size",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            talk(
                &[resizes("begins 24 80", 33, 99)],
                3,
                "now 33 99",
                concat!("exec --interactive --tty {c} ", sizes!()),
            ),
        ],
    ),
    Scenario::named(
        "exec-terminal-user",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            talk(
                ENTER,
                0,
                "1000",
                "exec --interactive --tty --user app {c} sh -c 'stat -c \"%u %g %a\" $(tty); echo $TERM; id; ls /dev/pts; echo ready; read x'",
            ),
        ],
    ),
    Scenario::named(
        "exec-stdin",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            given("one\ntwo\n", 0, "one\ntwo\nend", "exec --interactive {c} sh -c 'cat; echo end'"),
            given("one\n", 0, "0", "exec {c} wc -c"),
        ],
    ),
];
