//! Docker scenarios with a user at a terminal or at the other end of a pipe.

use super::super::lines::sizes;
use super::super::scenario::{ENTER, Scenario, cli, given, resizes, talk, tty, types, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
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
        "terminal-typed",
        &[talk(
            &[types("ready", "one\n"), types("got one", "\x04")],
            0,
            "end",
            "run --rm --interactive --tty {new} bb sh -c 'stty -echo; echo ready; while read x; do echo got $x; done; echo end'",
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
        "terminal-settings",
        &[talk(
            ENTER,
            0,
            "speed 38400 baud",
            "run --rm --interactive --tty {new} bb sh -c 'until [ \"$(stty size 2>/dev/null)\" = \"24 80\" ]; do sleep 0.05; done; stty -a; ls -l /dev/console /dev/ptmx | cut -c1-10; ls /proc/self/fd | wc -l; cat /proc/tty/drivers | wc -l; echo ready; read x'",
        )],
    ),
    Scenario::named(
        "terminal-detach",
        &[
            talk(
                &[types("ready", "\x10\x11")],
                0,
                "ready",
                "run --interactive --tty {new} bb sh -c 'stty -echo; echo ready; read x; echo late $x; exit 4'",
            ),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
            talk(&[types("", "word\n")], 4, "late word", "attach {c}"),
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
        "attach",
        &[
            cli(0, "", "run --detach --interactive {new} bb sh -c 'read x; echo got $x; exit 6'"),
            given("word\n", 6, "", "attach {c}").any_text(),
            until("got word", "logs {c}"),
        ],
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
        "exec-terminal-in-terminal",
        &[
            cli(0, "", "run --detach --interactive --tty {new} bb sh"),
            talk(
                ENTER,
                7,
                "/dev/pts/1",
                "exec --interactive --tty {c} sh -c 'tty; ls /dev/pts; echo ready; read x; exit 7'",
            ),
            tty(126, "executable file not found", "exec --interactive --tty {c} nosuch"),
        ],
    ),
    Scenario::named(
        "exec-terminal-interrupt",
        &[
            cli(0, "", "run --detach {new} bb sleep 1000"),
            talk(
                &[types("ready", "\x03")],
                130,
                "ready",
                "exec --interactive --tty {c} sh -c 'stty -echo; echo ready; exec sleep 1000'",
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
