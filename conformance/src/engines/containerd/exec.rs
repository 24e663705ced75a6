//! The containerd scenarios of further processes: every way in which ctr can ask for one.

use super::super::lines::awaits;
use super::super::scenario::{ENTER, Scenario, cli, given, host, resizes, talk, tty, types, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "exec-user",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(0, "uid=1234 gid=2000(extra)", "tasks exec --exec-id e1 --user 1234:2000 {c} id"),
            cli(0, "uid=1000(app)", "tasks exec --exec-id e2 --user app {c} sh -c 'id; echo $HOME; umask'"),
            cli(1, "no users found", "tasks exec --exec-id e3 --user nosuch {c} true").any_text(),
        ],
    ),
    Scenario::named(
        "exec-cwd",
        &[
            cli(0, "", "run --detach --null-io {new} --cwd /tmp {image} {c} sleep 1000"),
            cli(0, "/tmp\n", "tasks exec --exec-id e1 {c} pwd"),
            cli(0, "/etc\n", "tasks exec --exec-id e2 --cwd /etc {c} pwd"),
            cli(1, "no such file or directory", "tasks exec --exec-id e3 --cwd /nope {c} pwd"),
        ],
    ),
    Scenario::named(
        "exec-detach",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(
                0,
                "",
                "tasks exec --detach --exec-id e1 --log-uri file://{data}/log {c} sh -c 'echo up; sleep 2000'",
            ),
            host("up", awaits!("grep -s up {data}/log")),
            until("\nsleep 2000\n", "tasks exec --exec-id e2 {c} ps -o args"),
            cli(0, "", "tasks kill --exec-id e1 --signal TERM {c}"),
            host(
                "gone",
                concat!(
                    awaits!(
                        "! {client} tasks exec --exec-id p$tries {c} ps -o args | grep -q 'sleep 200[0]'"
                    ),
                    "; echo gone"
                ),
            ),
            cli(1, "", "tasks kill --exec-id nosuch {c}"),
            cli(0, "RUNNING", "tasks ls").any_number(),
        ],
    ),
    Scenario::named(
        "exec-delete",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(0, "", "tasks exec --detach --exec-id e1 --log-uri file://{data}/log {c} sh -c 'exit 9'"),
            host(
                "code 9",
                concat!(
                    awaits!(
                        "{ {client} tasks delete --exec-id e1 {c} >{data}/out 2>&1; code=$?; [ $code = 9 ]; }"
                    ),
                    "; echo code $code"
                ),
            ),
        ],
    ),
    Scenario::named(
        "exec-fifo-dir",
        &[
            host("", "mkdir {data}/fifos"),
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            // ctr may take the FIFOs away from a program that ends as soon as it has spoken.
            cli(
                0,
                "hello",
                "tasks exec --exec-id e1 --fifo-dir {data}/fifos {c} sh -c 'echo hello; sleep 1'",
            ),
        ],
    ),
    Scenario::named(
        "exec-stdin",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            given("one\ntwo\n", 0, "one\ntwo\nend", "tasks exec --exec-id e1 {c} sh -c 'cat; echo end'"),
        ],
    ),
    Scenario::named(
        "exec-terminal-size",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            talk(
                &[resizes("begins 24 80", 33, 99), types("now 33 99", "\n")],
                3,
                "now 33 99",
                "tasks exec --exec-id e1 --tty {c} sh -c 'stty -echo; until [ \"$(stty size 2>/dev/null)\" = \"24 80\" ]; do sleep 0.05; done; echo begins $(stty size); until [ \"$(stty size 2>/dev/null)\" = \"33 99\" ]; do sleep 0.05; done; echo now $(stty size); read x; exit 3'",
            ),
        ],
    ),
    Scenario::named(
        "exec-terminal-user",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            talk(
                ENTER,
                0,
                "1000 5 620",
                "tasks exec --exec-id e1 --tty --user app {c} sh -c 'stat -c \"%u %g %a\" $(tty); ls /dev/pts; echo ready; read x'",
            ),
            tty(1, "executable file not found", "tasks exec --exec-id e2 --tty {c} nosuch"),
        ],
    ),
    Scenario::named(
        "exec-rights",
        &[
            cli(0, "", "run --detach --null-io {new} --cap-drop CAP_CHOWN --seccomp {image} {c} sleep 1000"),
            cli(
                0,
                "NoNewPrivs:\t1",
                "tasks exec --exec-id e1 {c} sh -c 'grep -E \"Cap|NoNewPrivs|Seccomp:|Sig[BI]\" /proc/self/status; cat /proc/self/limits /proc/self/oom_score_adj; ls /proc/self/fd | wc -l'",
            ),
            cli(
                0,
                "same",
                "tasks exec --exec-id e2 {c} sh -c 'cmp /proc/self/cgroup /proc/1/cgroup && echo same'",
            ),
        ],
    ),
    Scenario::named(
        "exec-failing",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(1, "no such file or directory", "tasks exec --exec-id e1 {c} /no/such"),
            cli(1, "permission denied", "tasks exec --exec-id e2 {c} /bin/notexec"),
            cli(1, "", "tasks exec --exec-id e3 {c} /etc"),
            cli(137, "", "tasks exec --exec-id e4 {c} sh -c 'kill -KILL $$'"),
            cli(0, "RUNNING", "tasks ls").any_number(),
        ],
    ),
    Scenario::named(
        "exec-paused",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(0, "", "tasks pause {c}"),
            cli(1, "paused", "tasks exec --exec-id e1 {c} true"),
            cli(0, "", "tasks resume {c}"),
            cli(0, "", "tasks exec --exec-id e2 {c} true"),
        ],
    ),
    Scenario::named(
        "exec-stopped",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} true"),
            until("STOPPED", "tasks ls").any_number(),
            cli(1, "", "tasks exec --exec-id e1 {c} true"),
        ],
    ),
    Scenario::named(
        "exec-many",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            host(
                "line 6\n",
                "for i in 1 2 3 4 5 6; do {client} tasks exec --exec-id e$i {c} sh -c \"echo line $i; exit $i\" || echo code $? & done | sort; wait",
            ),
        ],
    ),
];
