//! The Docker scenarios of a container's life: how it begins, fails, is stopped and goes, and what
//! else can be run in it. `{new}` names the runtime and the container.

use super::super::lines::{asleep, awaits};
use super::super::scenario::{ENTER, Scenario, Step, cli, host, talk, tty, until};

/// A container that the runtime refuses with the name of this sysctl in its message.
macro_rules! sysctl {
    ($name:literal) => {
        concat!("run {run} --network host --sysctl 'net.", $name, "=1' bb true")
    };
}

/// What stands behind the name.
const HOSTS: &str = "not allowed in host network namespace";

/// The exit code that the daemon has noted; the container goes.
const fn ended(code: &'static str) -> Step {
    host(code, "{client} inspect --format '{{.State.ExitCode}}' {c}; {client} rm {c} >/dev/null")
}

/// In the order in which they are played: simplest first.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "stop-deaf",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'echo up; exec sleep 1000'"),
            until("up", "logs {c}"),
            cli(0, "stop-deaf", "stop --time 1 {c}"),
            cli(0, "137", "wait {c}"),
        ],
    ),
    Scenario::named(
        "kill",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "kill", "kill {c}"),
            cli(0, "137", "wait {c}"),
            cli(1, "is not running", "kill {c}"),
        ],
    ),
    Scenario::named(
        "rm-force",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "rm-force", "rm --force {c}"),
            cli(1, "No such container", "rm {c}"),
        ],
    ),
    Scenario::named(
        "rm",
        &[
            cli(0, "", "run --rm {new} bb true"),
            cli(0, "", "ps --all --quiet"),
            cli(1, "No such object", "inspect {c}"),
        ],
    ),
    Scenario::named(
        "logs",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'echo one; echo two >&2; echo three'"),
            cli(0, "0", "wait {c}"),
            until("three", "logs {c}"),
        ],
    ),
    Scenario::named(
        "restart",
        &[
            cli(
                0,
                "",
                "run --detach {new} --volume {data}:/data bb sh -c 'echo start >>/data/starts; sleep 1000'",
            ),
            host("1", concat!(awaits!("[ -s {data}/starts ]"), "; wc -l <{data}/starts")),
            cli(0, "restart", "restart --time 0 {c}"),
            cli(0, "true 0", "inspect --format '{{.State.Running}} {{.RestartCount}}' {c}"),
            host("2", concat!(awaits!("[ $(wc -l <{data}/starts) = 2 ]"), "; wc -l <{data}/starts")),
        ],
    ),
    Scenario::named(
        "inspect",
        &[
            cli(9, "", "run {new} bb sh -c 'exit 9'"),
            cli(
                0,
                "exited 9 0",
                "inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}} {{.State.Error}}' {c}",
            ),
        ],
    ),
    Scenario::named(
        "missing-command",
        &[
            cli(127, "executable file not found", "run {new} bb nosuch"),
            cli(0, "created 127", "inspect --format '{{.State.Status}} {{.State.ExitCode}}' {c}"),
        ],
    ),
    // The name of a sysctl comes back in a message that nothing else in it is matched in.
    Scenario::named(
        "matched-strings",
        &[
            cli(127, HOSTS, sysctl!("executable file not found")),
            ended("127"),
            cli(127, HOSTS, sysctl!("no such file or directory")),
            ended("127"),
            cli(127, HOSTS, sysctl!("system cannot find the file specified")),
            ended("127"),
            cli(125, HOSTS, sysctl!("failed to run runc create/exec call")),
            ended("127"),
            cli(126, HOSTS, sysctl!("permission denied")),
            ended("126"),
            cli(125, "Are you trying to mount a directory onto a file", sysctl!("not a directory")),
            ended("127"),
            // Newer versions end it with 126.
            cli(125, HOSTS, sysctl!("is a directory")),
            ended("128"),
        ],
    ),
    Scenario::named("directory", &[cli(126, "permission denied", "run --rm {new} bb /etc")]),
    Scenario::named(
        "init",
        &[cli(
            6,
            "tini",
            "run --rm {new} --init bb sh -c 'cat /proc/1/comm; cat /proc/1/cmdline | tr \"\\0\" \" \"; echo tini; exit 6'",
        )],
    ),
    Scenario::named(
        "pid-shared",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(
                0,
                "sleep",
                concat!(
                    "run --rm --network none --runtime {side} --name {c}-2 --pid container:{c} bb sh -c '",
                    asleep!(),
                    "cat /proc/1/comm'"
                ),
            ),
            cli(
                0,
                "",
                "run --detach --network none --runtime {side} --name {c}-2 --pid container:{c} bb sh -c 'sleep 1000 & exec sleep 1000'",
            ),
            cli(0, "", "rm --force {c}-2"),
            cli(0, "true", "inspect --format {{.State.Running}} {c}"),
        ],
    ),
    Scenario::named(
        "terminal",
        &[tty(
            4,
            "/dev/pts/0",
            "run --rm --tty {new} bb sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && stat -c \"%a %t\" /dev/console; exit 4'",
        )],
    ),
    Scenario::named(
        "terminal-stdin",
        &[talk(
            ENTER,
            0,
            "ready /dev/pts/0",
            "run --rm --interactive --tty {new} --user app bb sh -c 'echo $TERM; echo to >/dev/tty; stat -c %u $(tty); echo ready $(tty); read x'",
        )],
    ),
    Scenario::named(
        "top",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'sleep 1000 & exec sleep 2000'"),
            until("N sleep N\nN sleep N", "top {c} -o pid,args").any_number(),
            cli(0, "sleep", "top {c} -o pid,comm").any_number(),
        ],
    ),
    Scenario::named(
        "pause",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "pause", "pause {c}"),
            cli(0, "paused true", "inspect --format '{{.State.Status}} {{.State.Paused}}' {c}"),
            cli(0, "pause", "unpause {c}"),
            cli(0, "running false", "inspect --format '{{.State.Status}} {{.State.Paused}}' {c}"),
            cli(0, "", "pause {c}"),
            cli(0, "", "rm --force {c}"),
        ],
    ),
    Scenario::named(
        "update",
        &[
            cli(0, "", "run --detach {new} --memory 64m bb sleep 1000"),
            cli(0, "update", "update --memory 96m --memory-swap 192m {c}"),
            cli(
                0,
                "100663296",
                "exec {c} sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'",
            ),
        ],
    ),
    Scenario::named(
        "exec",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "hello", "exec {c} echo hello"),
            cli(43, "err", "exec {c} sh -c 'echo err >&2; exit 43'"),
            cli(0, "A=b", "exec --env A=b --workdir /tmp {c} sh -c 'pwd; env | sort'"),
            cli(0, "Seccomp:\t2", "exec {c} grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status"),
            cli(0, "", "exec --detach {c} sh -c 'echo x >/tmp/made'"),
        ],
    ),
    Scenario::named(
        "exec-user",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "uid=1000(app)", "exec --user app {c} sh -c 'id; echo $HOME; grep Cap /proc/self/status'"),
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
        "exec-missing",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(126, "executable file not found", "exec {c} nosuch"),
            cli(126, "no such file or directory", "exec {c} /no/such/cmd"),
            cli(126, "permission denied", "exec {c} /bin/notexec"),
            cli(126, "no such file or directory", "exec --workdir /nope {c} true"),
        ],
    ),
];
