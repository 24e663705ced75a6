//! Docker scenarios with a user at a terminal or at the other end of a pipe.

use super::super::scenario::{ENTER, Scenario, cli, given, talk, tty, types, until};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
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
            // Whether it is typed before or after the client stops the echo is chance.
            talk(&[types("", "word\n")], 4, "late word", "attach {c}").any_text(),
        ],
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
];
