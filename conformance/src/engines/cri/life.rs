//! CRI scenarios of pods and containers: how they begin, fail, are stopped and go, and of further
//! processes in them.

use super::super::scenario::{Scenario, Step, cli, given, host, until};

/// A pod with one container that runs.
macro_rules! running {
    ($($option:literal)?) => {
        cli(0, "", concat!("begin {new} ", $($option,)? " {c} sleep 1000"))
    };
}

/// The same without options.
const RUNNING: Step = running!();

/// In the order in which they are played: simplest first.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("echo", &[cli(0, "hello", "run {new} {c} echo hello")]),
    Scenario::named(
        "exit-code",
        &[
            cli(42, "oops", "run {new} {c} sh -c 'echo out; echo oops >&2; exit 42'"),
            cli(0, "exited 42 Error", "status {c}"),
        ],
    ),
    Scenario::named(
        "missing-command",
        &[
            cli(1, "executable file not found", "run {new} {c} nosuch"),
            cli(0, "exited 128 StartError", "status {c}"),
        ],
    ),
    Scenario::named("missing-path", &[cli(1, "no such file or directory", "run {new} {c} /no/such/cmd")]),
    Scenario::named("not-executable", &[cli(1, "permission denied", "run {new} {c} /bin/notexec")]),
    Scenario::named("directory", &[cli(1, "permission denied", "run {new} {c} /etc")]),
    Scenario::named(
        "pod",
        &[
            cli(0, "", "pod {new} {c}"),
            cli(0, "t-pod ready", "pods"),
            cli(0, "", "stop-pod {c}"),
            cli(0, "t-pod notready", "pods"),
            cli(0, "", "stop-pod {c}"),
            cli(0, "", "rm-pod {c}"),
            cli(0, "", "pods"),
        ],
    ),
    Scenario::named(
        "stages",
        &[
            cli(0, "", "pod {new} {c}-pod"),
            cli(0, "", "create {new} {c}-pod {c} sleep 1000"),
            cli(0, "created 0", "status {c}"),
            cli(0, "", "start {c}"),
            cli(0, "running 0", "status {c}"),
            cli(1, "", "start {c}").any_text(),
            cli(0, "", "stop {c}"),
            cli(0, "exited 137", "status {c}"),
            cli(0, "", "stop {c}"),
            cli(0, "", "rm {c}"),
            cli(1, "no container", "status {c}"),
        ],
    ),
    Scenario::named(
        "stop-term",
        &[
            cli(0, "", "begin {new} {c} sh -c 'trap \"echo bye; exit 7\" TERM; echo up; sleep 1000 & wait'"),
            until("up", "logs {c}"),
            cli(0, "", "stop --timeout 60 {c}"),
            cli(0, "exited 7 Error", "status {c}"),
            cli(0, "up\nbye", "logs {c}"),
        ],
    ),
    Scenario::named(
        "stop-deaf",
        &[
            cli(0, "", "begin {new} {c} sh -c 'echo up; exec sleep 1000'"),
            until("up", "logs {c}"),
            cli(0, "", "stop --timeout 1 {c}"),
            cli(0, "exited 137 Error", "status {c}"),
        ],
    ),
    Scenario::named(
        "killed",
        &[RUNNING, host("", "kill -KILL $({client} pid {c})"), cli(0, "exited 137 Error", "wait {c}")],
    ),
    Scenario::named("rm-running", &[RUNNING, cli(0, "", "rm {c}"), cli(0, "", "ps")]),
    Scenario::named(
        "rm-pod-running",
        &[
            RUNNING,
            cli(0, "", "stop-pod {c}-pod"),
            cli(0, "exited 137", "status {c}"),
            cli(0, "", "rm-pod {c}-pod"),
        ],
    ),
    Scenario::named(
        "sandbox-killed",
        &[
            RUNNING,
            host("", "kill -KILL $({client} pod-pid {c}-pod)"),
            until("notready", "pods"),
            cli(0, "running", "status {c}"),
            cli(0, "", "exec {c} true"),
        ],
    ),
    Scenario::named(
        "two-containers",
        &[
            cli(0, "", "pod {new} {c}-pod"),
            cli(0, "", "create {new} {c}-pod {c} sh -c 'echo shared >/dev/shm/x; exec sleep 1000'"),
            cli(0, "", "start {c}"),
            cli(
                0,
                "",
                "create {new} {c}-pod {c}-2 sh -c 'until [ -s /dev/shm/x ]; do sleep 0.05; done; cat /dev/shm/x; hostname | wc -l; ls /proc/1/comm'",
            ),
            cli(0, "", "start {c}-2"),
            cli(0, "shared", "end {c}-2"),
            cli(0, "t-two-containers running\nt-two-containers-2 exited", "ps"),
        ],
    ),
    Scenario::named(
        "one-after-the-other",
        &[
            cli(0, "", "pod {new} {c}-pod"),
            cli(0, "", "create {new} {c}-pod {c} sh -c 'exit 1'"),
            cli(0, "", "start {c}"),
            cli(0, "exited 1 Error", "wait {c}"),
            cli(0, "", "rm {c}"),
            cli(0, "", "create {new} {c}-pod {c} sh -c 'exit 0'"),
            cli(0, "", "start {c}"),
            cli(0, "exited 0 Completed", "wait {c}"),
        ],
    ),
    Scenario::named(
        "logs",
        &[
            // containerd 1.6 may lose the end of what a container has said right before its own end.
            cli(0, "", "begin {new} {c} sh -c 'seq 20000; echo err >&2; sleep 1000'"),
            until("19999\n20000\n", "logs {c}").any_text(),
            cli(0, "err", "logs {c}"),
        ],
    ),
    Scenario::named(
        "logs-reopen",
        &[
            cli(
                0,
                "",
                "begin {new} {c} sh -c 'echo one; until [ -e /go ]; do sleep 0.05; done; echo two; sleep 1000'",
            ),
            until("one", "logs {c}"),
            host("", "mv {data}/{c}.log {data}/old"),
            cli(0, "", "reopen-log {c}"),
            cli(0, "", "exec {c} touch /go"),
            until("two", "logs {c}"),
            host("stdout F one", "cut -d' ' -f2- {data}/old"),
        ],
    ),
    Scenario::named(
        "exec",
        &[
            RUNNING,
            cli(0, "hello", "exec {c} echo hello"),
            cli(43, "err", "exec {c} sh -c 'echo err >&2; exit 43'"),
            cli(137, "", "exec {c} sh -c 'kill -KILL $$'"),
            cli(0, "0", "exec {c} wc -c"),
        ],
    ),
    Scenario::named(
        "exec-process",
        &[
            running!("--container '{\"linux\":{\"resources\":{\"oom_score_adj\":500}}}'"),
            cli(
                0,
                "same",
                "exec {c} sh -c 'grep -E \"Cap|Seccomp:|NoNew|Sig[BI]\" /proc/self/status; cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l; pwd; env | grep -v HOSTNAME | sort; cmp /proc/1/cgroup /proc/self/cgroup && echo same'",
            ),
        ],
    ),
    Scenario::named(
        "exec-failing",
        &[
            RUNNING,
            cli(1, "executable file not found", "exec {c} nosuch"),
            cli(1, "no such file or directory", "exec {c} /no/such"),
            cli(1, "permission denied", "exec {c} /bin/notexec"),
            cli(0, "running", "status {c}"),
        ],
    ),
    Scenario::named(
        "exec-timeout",
        &[
            RUNNING,
            cli(1, "timeout 1s exceeded", "exec --timeout 1 {c} sh -c 'exec sleep 2000'"),
            until("", "exec {c} sh -c '! pgrep -f \"sleep 200[0]\"'"),
            cli(0, "running", "status {c}"),
        ],
    ),
    Scenario::named(
        "exec-leaves-child",
        &[RUNNING, cli(0, "begun", "exec --timeout 20 {c} sh -c 'sleep 1000 >/dev/null 2>&1 & echo begun'")],
    ),
    Scenario::named("exec-many", &[RUNNING, cli(0, "20 of 20", "probes {c} 20 true")]),
    Scenario::named(
        "exec-ended",
        &[RUNNING, cli(0, "", "stop {c}"), cli(1, "CONTAINER_EXITED", "exec {c} true")],
    ),
    Scenario::named(
        "stream",
        &[
            RUNNING,
            cli(5, "err", "stream {c} sh -c 'echo out; echo err >&2; exit 5'"),
            given("one\n", 0, "got one", "stream --stdin {c} sh -c 'read x; echo got $x'"),
            cli(1, "executable file not found", "stream {c} nosuch"),
        ],
    ),
    Scenario::named(
        "stream-terminal",
        &[
            RUNNING,
            given(
                "word\n",
                6,
                "got word",
                "stream --stdin --tty {c} sh -c 'tty; until [ \"$(stty size)\" = \"33 99\" ]; do sleep 0.05; done; stty size; read x; echo got $x; exit 6'",
            )
            .any_text(),
        ],
    ),
    Scenario::named(
        "attach",
        &[
            cli(
                0,
                "",
                "begin {new} --container '{\"stdin\":true,\"stdin_once\":true}' {c} sh -c 'read x; echo got $x; exit 3'",
            ),
            given("word\n", 0, "got word", "attach --stdin {c}"),
            cli(3, "got word", "end {c}"),
        ],
    ),
    Scenario::named(
        "terminal",
        &[cli(
            4,
            "/dev/pts/0",
            "run {new} --container '{\"tty\":true}' {c} sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && stat -c \"%a %t\" /dev/console; exit 4'",
        )],
    ),
    Scenario::named("stats", &[RUNNING, until("t-stats cpu true memory true", "stats {c}")]),
    Scenario::named(
        "network",
        &[cli(
            0,
            "box",
            "run {new} --pod '{\"hostname\":\"box\",\"linux\":{\"security_context\":{\"namespace_options\":{\"network\":0}}}}' --container '{\"linux\":{\"security_context\":{\"namespace_options\":{\"network\":0}}}}' {c} sh -c 'hostname; cat /etc/hostname; ls /sys/class/net; wc -l </proc/net/route; ip address show eth0 | grep -c 10.88.0'",
        )],
    ),
    Scenario::named(
        "handler-unknown",
        &[
            cli(1, "no runtime for", "pod --runtime nosuch {c}"),
            cli(0, "hello", "run {new} {c}-2 echo hello"),
        ],
    ),
];
