//! Docker scenarios of further processes in a container, and of what Docker runs there by itself.

use super::super::lines::{asleep, awaits};
use super::super::scenario::{Scenario, cli, host, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "exec-user-number",
        &[
            cli(0, "", "run --detach {new} --group-add 3000 bb sleep 1000"),
            cli(0, "uid=1234 gid=2000(extra)", "exec --user 1234:2000 {c} sh -c 'id; echo $HOME; pwd'"),
            cli(0, "groups=", "exec --user app {c} id"),
        ],
    ),
    Scenario::named(
        "exec-defaults",
        &[
            cli(
                0,
                "",
                "run --detach {new} --user app --workdir /tmp --env A=b --oom-score-adj 300 --ulimit nofile=512:1024 bb sleep 1000",
            ),
            cli(
                0,
                "A=b",
                "exec {c} sh -c 'id; pwd; env | sort; umask; cat /proc/self/oom_score_adj; grep -E \"open files|processes\" /proc/self/limits'",
            ),
            cli(
                0,
                "Sig",
                "exec {c} sh -c 'grep -E \"Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs\" /proc/self/status; ls /proc/self/fd | wc -l'",
            ),
        ],
    ),
    Scenario::named(
        "exec-place",
        &[
            cli(0, "", "run --detach {new} --read-only bb sleep 1000"),
            cli(
                0,
                "same",
                concat!(
                    "exec {c} sh -c '",
                    asleep!(),
                    "for n in cgroup ipc mnt net pid uts user; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo other $n; done; cmp /proc/self/cgroup /proc/1/cgroup && echo same; cat /proc/self/cgroup | wc -l'"
                ),
            ),
            cli(1, "Read-only file system", "exec {c} touch /x"),
            cli(0, "PPid:\t0", "exec {c} grep PPid /proc/self/status"),
        ],
    ),
    Scenario::named(
        "exec-rights",
        &[
            cli(
                0,
                "",
                "run --detach {new} --cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges bb sleep 1000",
            ),
            cli(
                0,
                "CapEff:\t0000000000000001",
                "exec {c} grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status",
            ),
            cli(
                0,
                "CapEff:\t0000000000000000",
                "exec --user app {c} grep -E 'Cap|NoNewPrivs' /proc/self/status",
            ),
        ],
    ),
    Scenario::named(
        "exec-seccomp",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(1, "Operation not permitted", "exec {c} unshare -U true"),
        ],
    ),
    Scenario::named(
        "exec-env-file",
        &[
            host("", "printf 'A=one two\\nB=\\n' >{data}/env"),
            cli(0, "", "run --detach {new} --env B=set --env HOME=/nowhere bb sleep 1000"),
            cli(0, "A=one two", "exec --env-file {data}/env --env C=x=y {c} sh -c 'env | sort'"),
            cli(0, "/home", "exec --user app --env HOME=/home {c} sh -c 'echo $HOME'"),
        ],
    ),
    Scenario::named(
        "exec-many",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            host(
                "line 8\n",
                "for i in 1 2 3 4 5 6 7 8; do {client} exec {c} sh -c \"echo line $i; exit $i\" || echo code $? & done | sort; wait",
            ),
        ],
    ),
    Scenario::named(
        "exec-leaves-child",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "", "exec --detach {c} sh -c 'sleep 2000 & sleep 2000 &'"),
            until("sleep 1000\nsleep 2000\nsleep 2000\nps", "exec {c} ps -o args"),
            cli(0, "", "stop --time 0 {c}"),
            cli(0, "137", "wait {c}"),
        ],
    ),
    Scenario::named(
        "exec-ends-with-container",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            host(
                "code 137",
                concat!(
                    "{client} exec {c} sh -c 'echo up; exec sleep 1000' >{data}/out & pid=$!; ",
                    awaits!("grep -qs up {data}/out"),
                    "; {client} kill {c} >{data}/null; wait $pid; echo code $?"
                ),
            ),
        ],
    ),
    Scenario::named(
        "exec-killed",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(137, "", "exec {c} sh -c 'kill -KILL $$'"),
            cli(143, "", "exec {c} sh -c 'kill -TERM $$'"),
            cli(0, "true", "inspect --format {{.State.Running}} {c}"),
        ],
    ),
    Scenario::named(
        "exec-refused",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "", "pause {c}"),
            cli(1, "is paused", "exec {c} true"),
            cli(0, "", "unpause {c}"),
            cli(126, "", "exec --user nosuch {c} true"),
            cli(126, "", "exec {c} /etc"),
            cli(0, "", "kill {c}"),
            cli(0, "137", "wait {c}"),
            cli(1, "is not running", "exec {c} true"),
        ],
    ),
    Scenario::named(
        "exec-workdir",
        &[
            cli(0, "", "run --detach {new} --workdir /home bb sleep 1000"),
            cli(0, "/home\n", "exec {c} pwd"),
            cli(0, "/etc\n", "exec --workdir /etc {c} pwd"),
        ],
    ),
    Scenario::named(
        "health",
        &[
            cli(
                0,
                "",
                "run --detach {new} --health-cmd 'test ! -e /tmp/ill' --health-interval 300ms --health-retries 2 bb sleep 1000",
            ),
            until("healthy", "inspect --format {{.State.Health.Status}} {c}"),
            cli(0, "", "exec {c} touch /tmp/ill"),
            until("unhealthy", "inspect --format {{.State.Health.Status}} {c}"),
            cli(0, "1 ", "inspect --format '{{range .State.Health.Log}}{{.ExitCode}} {{end}}' {c}")
                .any_text(),
        ],
    ),
    Scenario::named(
        "health-slow",
        &[
            cli(
                0,
                "",
                "run --detach {new} --health-cmd 'sleep 1000' --health-interval 200ms --health-timeout 1s --health-retries 1 bb sleep 1000",
            ),
            until("unhealthy", "inspect --format {{.State.Health.Status}} {c}"),
            // One whose start alone takes as long fails in other words.
            until(
                "exceeded timeout",
                "inspect --format '{{range .State.Health.Log}}{{.Output}} {{end}}' {c}",
            )
            .any_text(),
        ],
    ),
    Scenario::named(
        "copy",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "", "cp {data}/in {c}:/tmp/copied"),
            cli(0, "given", "exec {c} cat /tmp/copied"),
            cli(0, "", "cp {c}:/etc/passwd {data}/out"),
            host("app:x:1000", "cat {data}/out"),
            cli(0, "A /tmp/copied", "diff {c}"),
        ],
    ),
    Scenario::named(
        "commit",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            cli(0, "", "exec {c} sh -c 'echo made >/made'"),
            cli(0, "sha256", "commit --change 'CMD [\"cat\", \"/made\"]' {c} {c}"),
            cli(0, "running false", "inspect --format '{{.State.Status}} {{.State.Paused}}' {c}"),
            cli(0, "made", "run --rm --runtime {side} --network none --name {c}-2 {c}"),
        ],
    ),
    Scenario::named(
        "stats",
        &[
            cli(0, "", "run --detach {new} --memory 64m bb sh -c 'sleep 1000 & exec sleep 1000'"),
            until("t-stats 2\n", "stats --no-stream --format '{{.Name}} {{.PIDs}}' {c}"),
            cli(0, "iB / 64MiB", "stats --no-stream --format '{{.MemUsage}}' {c}").any_text(),
        ],
    ),
];
