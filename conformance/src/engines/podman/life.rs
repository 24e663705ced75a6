//! Podman scenarios of a container's life: how it begins, fails, is stopped and goes.

use super::super::lines::awaits;
use super::super::scenario::{Scenario, cli, host, until};

/// In the order in which they are played: simplest first.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("exit-signal", &[cli(143, "", "run --rm {new} --init bb sh -c 'kill -TERM $$'")]),
    Scenario::named(
        "missing-command",
        &[
            cli(127, "executable file not found", "run {new} bb nosuch"),
            cli(0, "", "inspect --format '{{.State.Status}} {{.State.ExitCode}}' {c}"),
        ],
    ),
    Scenario::named("directory", &[cli(126, "", "run --rm {new} bb /etc")]),
    Scenario::named(
        "matched-texts",
        &[
            cli(127, "invoke a command that was not found", "run --rm {new} bb nosuch"),
            cli(127, "invoke a command that was not found", "run --rm {new} bb /no/such/cmd"),
            cli(126, "OCI permission denied", "run --rm {new} bb /bin/notexec"),
            host(
                "",
                "mkdir {data}/hooks; echo '{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"echo operation not permitted >&2; exit 3\"]},\"when\":{\"always\":true},\"stages\":[\"createRuntime\"]}' >{data}/hooks/h.json",
            ),
            cli(126, "OCI permission denied", "--hooks-dir {data}/hooks run --rm {new} bb true").any_text(),
        ],
    ),
    Scenario::named(
        "matched-without-log",
        &[
            // Podman gives no log to a runtime of this name, and reads what it says on stderr.
            cli(127, "executable file not found", "--runtime {scratch}/bin/runc run --rm {new} bb nosuch"),
            cli(
                127,
                "no such file or directory",
                "--runtime {scratch}/bin/runc run --rm {new} bb /no/such/cmd",
            ),
            cli(126, "permission denied", "--runtime {scratch}/bin/runc run --rm {new} bb /bin/notexec"),
            cli(5, "", "--runtime {scratch}/bin/runc run --rm {new} bb sh -c 'exit 5'"),
        ],
    ),
    Scenario::named(
        "engine-refuses",
        &[
            cli(125, "", "run --rm {new} --volume {data}/none:/data bb true"),
            cli(0, "", "run --rm {new} bb true"),
        ],
    ),
    Scenario::named(
        "detach",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'exit 7'"),
            cli(0, "7", "wait {c}"),
            until(
                "exited 7 0",
                "inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}' {c}",
            ),
        ],
    ),
    Scenario::named(
        "logs",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'echo one; echo two >&2; echo three'"),
            cli(0, "0", "wait {c}"),
            until("three", "logs {c}").any_text(),
            cli(0, "", "logs --tail 1 {c}").any_text(),
        ],
    ),
    Scenario::named(
        "logs-json-file",
        &[
            cli(
                3,
                "two",
                "run {new} --log-driver json-file bb sh -c 'echo one; sleep 0.1; echo two; exit 3'",
            ),
            cli(0, "one\ntwo", "logs {c}"),
        ],
    ),
    Scenario::named(
        "stop-deaf",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'echo up; exec sleep 1000'"),
            until("up", "logs {c}"),
            cli(0, "stop-deaf", "stop --time 1 {c}").any_text(),
            cli(0, "137", "wait {c}"),
        ],
    ),
    Scenario::named(
        "stop-signal",
        &[
            cli(
                0,
                "",
                "run --detach {new} --stop-signal USR2 bb sh -c 'trap \"exit 9\" USR2; echo up; sleep 1000 & wait'",
            ),
            until("up", "logs {c}"),
            cli(0, "", "stop --time 60 {c}"),
            cli(0, "9", "wait {c}"),
        ],
    ),
    Scenario::named(
        "kill",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "kill", "kill {c}"),
            cli(0, "137", "wait {c}"),
            until("exited", "inspect --format {{.State.Status}} {c}"),
            cli(125, "can only kill running containers", "kill {c}"),
        ],
    ),
    Scenario::named(
        "signal-proxy",
        &[
            host(
                "got 5",
                concat!(
                    "{client} run --name {c} bb sh -c 'trap \"echo got; exit 5\" TERM; echo up; sleep 1000 & wait' >{data}/out 2>&1 & p=$!; ",
                    awaits!("grep -qs up {data}/out"),
                    "; kill -TERM $p; wait $p; echo $(grep got {data}/out) $?"
                ),
            ),
            host("5", "{client} wait {c}"),
        ],
    ),
    Scenario::named(
        "rm",
        &[
            cli(0, "", "run --rm {new} bb true"),
            cli(1, "no container", "rm {c}"),
            cli(125, "no such object", "inspect {c}"),
        ],
    ),
    Scenario::named(
        "rm-force",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(2, "cannot remove container", "rm {c}"),
            cli(0, "", "rm --force --time 0 {c}"),
            cli(1, "", "container exists {c}"),
        ],
    ),
    Scenario::named(
        "init",
        &[
            cli(0, "", "create {new} bb sh -c 'echo begun'"),
            cli(0, "", "init {c}"),
            cli(0, "initialized", "inspect --format {{.State.Status}} {c}"),
            cli(0, "begun", "start --attach {c}"),
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
            cli(0, "", "restart --time 0 {c}").any_text(),
            cli(0, "true", "inspect --format '{{.State.Running}}' {c}"),
            host("2", concat!(awaits!("[ $(wc -l <{data}/starts) = 2 ]"), "; wc -l <{data}/starts")),
        ],
    ),
    Scenario::named(
        "restart-policy",
        &[
            cli(
                0,
                "",
                "run --detach {new} --restart on-failure:2 --volume {data}:/data bb sh -c 'echo start >>/data/starts; exit 3'",
            ),
            host(
                "3",
                concat!(
                    awaits!("[ \"$(cat {data}/starts 2>/dev/null | wc -l)\" = 3 ]"),
                    "; wc -l <{data}/starts"
                ),
            ),
        ],
    ),
    Scenario::named(
        "pause",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "", "pause {c}"),
            cli(0, "paused true", "inspect --format '{{.State.Status}} {{.State.Paused}}' {c}"),
            cli(255, "can only create exec sessions on running containers", "exec {c} true"),
            cli(0, "", "unpause {c}"),
            cli(0, "running false", "inspect --format '{{.State.Status}} {{.State.Paused}}' {c}"),
            cli(0, "", "exec {c} true"),
            cli(0, "", "pause {c}"),
            cli(0, "", "rm --force --time 0 {c}"),
        ],
    ),
    Scenario::named(
        "commit",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'echo kept >/made; sleep 1000'"),
            until("kept", "exec {c} cat /made").any_text(),
            cli(0, "", "commit --quiet {c} committed:{side}"),
            cli(0, "kept", "run --rm --name {c}-2 committed:{side} cat /made"),
            cli(0, "", "rmi committed:{side}").any_text(),
        ],
    ),
    Scenario::named(
        "copy",
        &[
            cli(0, "", "run --detach {new} --volume /v bb sleep 1000"),
            cli(0, "", "cp {data}/in {c}:/tmp/copied"),
            cli(0, "", "cp {data}/in {c}:/v/copied"),
            cli(0, "given\ngiven", "exec {c} cat /tmp/copied /v/copied"),
            cli(0, "", "cp {c}:/v/copied {data}/back"),
            host("given", "cat {data}/back"),
            cli(125, "", "cp {c}:/no/such {data}/back"),
        ],
    ),
    Scenario::named(
        "top",
        &[
            cli(0, "", "run --detach {new} bb sh -c 'sleep 1000 & exec sleep 2000'"),
            until("N sleep N\nN sleep N", "top {c} pid args").any_number(),
            until("STATE\nS\nS\n", "top {c} state"),
            cli(0, "filter", "top {c} user pid comm args capeff seccomp state").any_number(),
        ],
    ),
    Scenario::named(
        "stats",
        &[
            cli(0, "", "run --detach {new} --memory 64m bb sleep 1000"),
            cli(
                0,
                "67.11MB",
                "stats --no-stream --no-reset --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' {c}",
            )
            .any_text(),
            // It counts threads: what the program begins in may have some.
            until("t-stats 1\n", "stats --no-stream --no-reset --format '{{.Name}} {{.PIDs}}' {c}"),
        ],
    ),
    Scenario::named(
        "ps",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "Up", "ps --all --filter name={c} --format '{{.State}} {{.Names}}'").any_text(),
            cli(0, "", "ps --namespace --filter name={c} --format '{{.Names}}'"),
        ],
    ),
    Scenario::named(
        "checkpoint-refused",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(125, "", "container checkpoint {c}").any_text(),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
        ],
    ),
    Scenario::named(
        "health",
        &[
            cli(
                0,
                "",
                "run --detach {new} --health-cmd 'test -e /healthy' --health-interval disable --health-retries 1 bb sleep 1000",
            ),
            cli(1, "unhealthy", "healthcheck run {c}"),
            cli(0, "", "exec {c} touch /healthy"),
            cli(0, "", "healthcheck run {c}"),
            cli(
                0,
                "healthy 0",
                "inspect --format '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' {c}",
            ),
        ],
    ),
    Scenario::named(
        "hooks",
        &[
            host(
                "",
                "mkdir {data}/hooks; for s in precreate prestart createRuntime createContainer startContainer poststart poststop; do echo \"{\\\"version\\\":\\\"1.0.0\\\",\\\"hook\\\":{\\\"path\\\":\\\"$([ $s = startContainer ] && echo /bin/sh || echo /bin/sh)\\\",\\\"args\\\":[\\\"sh\\\",\\\"-c\\\",\\\"cat >/dev/null; echo $s $A >>{data}/log\\\"],\\\"env\\\":[\\\"A=b\\\"]},\\\"when\\\":{\\\"always\\\":true},\\\"stages\\\":[\\\"$s\\\"]}\" >{data}/hooks/$s.json; done; rm {data}/hooks/precreate.json",
            ),
            cli(0, "", "create {new} --volume {data}:{data} bb sh -c 'echo in >>{data}/log'"),
            cli(0, "", "--hooks-dir {data}/hooks init {c}"),
            host("createContainer", "cat {data}/log"),
            cli(0, "", "start --attach {c}"),
            // A poststart hook that runs now runs beside the startContainer hooks and the program: where it stands is
            // chance.
            host(
                "in",
                concat!(
                    awaits!("grep -qs poststop {data}/log && grep -qs poststart {data}/log"),
                    "; grep -v poststart {data}/log"
                ),
            ),
            host("1", "grep -c poststart {data}/log"),
        ],
    ),
    Scenario::named(
        "hook-fails",
        &[
            host(
                "",
                "mkdir {data}/hooks; echo '{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"echo refused >&2; exit 3\"]},\"when\":{\"always\":true},\"stages\":[\"createRuntime\"]}' >{data}/hooks/h.json",
            ),
            host("126", "{client} --hooks-dir {data}/hooks run --rm --name {c} bb echo not reached; echo $?"),
        ],
    ),
];
