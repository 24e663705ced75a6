//! Podman scenarios with a user at a terminal or at the other end of a pipe.

use super::super::lines::sizes;
use super::super::scenario::{ENTER, Scenario, cli, given, resizes, talk, tty, types, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "terminal",
        &[talk(
            ENTER,
            4,
            "/dev/pts/0",
            "run --rm --interactive --tty {new} bb sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && stat -c \"%a %t\" /dev/console; echo ready; read x; exit 4'",
        )],
    ),
    Scenario::named(
        "terminal-user",
        &[talk(
            ENTER,
            0,
            "ready /dev/pts/0",
            "run --rm --interactive --tty {new} --user app bb sh -c 'echo $TERM; echo to >/dev/tty; stat -c %u $(tty); echo ready $(tty); read x'",
        )],
    ),
    Scenario::named(
        "terminal-missing",
        &[tty(127, "executable file not found", "run --rm --tty {new} bb nosuch")],
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
        "terminal-detach",
        &[
            talk(
                &[types("ready", "\x18")],
                0,
                "ready",
                "run --interactive --tty {new} --detach-keys ctrl-x bb sh -c 'stty -echo; echo ready; read x; echo late $x; exit 4'",
            ),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
            talk(&[types("", "word\n")], 0, "", "attach {c}").any_text(),
            until("late word", "logs {c}").any_text(),
        ],
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
        "passthrough",
        &[cli(
            6,
            "straight",
            "run --rm {new} --log-driver passthrough bb sh -c 'echo straight; echo err >&2; exit 6'",
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
