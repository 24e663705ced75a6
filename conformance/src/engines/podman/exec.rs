//! Podman scenarios of further processes in a container.

use super::super::lines::awaits;
use super::super::scenario::{Scenario, cli, host, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "exec",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "hello", "exec {c} echo hello"),
            cli(43, "err", "exec {c} sh -c 'echo err >&2; exit 43'"),
            cli(0, "A=b", "exec --env A=b --workdir /tmp {c} sh -c 'pwd; env | sort'"),
            cli(0, "Seccomp:\t2", "exec {c} grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status"),
        ],
    ),
    Scenario::named(
        "exec-detach",
        &[
            cli(0, "", "run --detach {new} --volume {data}:/data bb sleep 1000"),
            cli(0, "", "exec --detach {c} sh -c 'echo x >/data/made; sleep 1000'"),
            host("x", concat!(awaits!("[ -s {data}/made ]"), "; cat {data}/made")),
            until("sleep N\nsleep N\n", "top {c} args").any_number(),
        ],
    ),
    Scenario::named(
        "exec-user",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "uid=1000(app)", "exec --user app {c} sh -c 'id; echo $HOME; grep Cap /proc/self/status'"),
            cli(
                0,
                "uid=1234 gid=2000(extra)",
                "exec --user 1234:2000 {c} sh -c 'id; grep Groups /proc/self/status'",
            ),
        ],
    ),
    Scenario::named(
        "exec-privileged",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "CapEff", "exec --privileged {c} grep -E 'Cap|Seccomp:' /proc/self/status"),
            cli(0, "CapEff", "exec --privileged --user app {c} grep -E 'Cap|Seccomp:' /proc/self/status"),
        ],
    ),
    Scenario::named(
        "exec-missing",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(127, "executable file not found", "exec {c} nosuch"),
            cli(127, "no such file or directory", "exec {c} /no/such/cmd"),
            cli(126, "permission denied", "exec {c} /bin/notexec"),
            cli(127, "no such file or directory", "exec --workdir /nope {c} true"),
            cli(126, "", "exec {c} /etc"),
        ],
    ),
    Scenario::named(
        "exec-signal",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(137, "", "exec {c} sh -c 'kill -9 $$'"),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
        ],
    ),
    Scenario::named(
        "exec-preserved",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            host(
                "passed",
                "echo passed >{data}/p; {client} exec --preserve-fds 1 {c} sh -c 'cat <&3; ls /proc/self/fd' 3<{data}/p",
            ),
        ],
    ),
    Scenario::named(
        "run-preserved",
        &[host(
            "passed",
            "echo passed >{data}/p; {client} run --rm --name {c} --preserve-fds 2 bb sh -c 'cat <&3; cat <&4; ls /proc/self/fd' 3<{data}/p 4<{data}/in",
        )],
    ),
    Scenario::named(
        "listen-descriptors",
        &[host(
            "LISTEN_FDS=1",
            "echo passed >{data}/p; exec 3<{data}/p; LISTEN_PID=$$ LISTEN_FDS=1 exec {client} run --rm --name {c} bb sh -c 'cat <&3; env | grep LISTEN'",
        )],
    ),
    Scenario::named(
        "exec-cgroup",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(
                0,
                "same",
                "exec {c} sh -c 'cmp /proc/1/cgroup /proc/self/cgroup && echo same; cat /proc/self/oom_score_adj; grep -E \"open files|processes\" /proc/self/limits'",
            ),
        ],
    ),
    Scenario::named(
        "exec-after-end",
        &[
            cli(0, "", "run --detach {new} bb true"),
            cli(0, "0", "wait {c}"),
            until("exited", "inspect --format {{.State.Status}} {c}"),
            cli(255, "can only create exec sessions on running containers", "exec {c} true"),
        ],
    ),
];
