//! Podman scenarios with a user at a terminal or at the other end of a pipe.

use super::super::scenario::{ENTER, Scenario, cli, talk, types, until};

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
        "passthrough",
        &[cli(
            6,
            "straight",
            "run --rm {new} --log-driver passthrough bb sh -c 'echo straight; echo err >&2; exit 6'",
        )],
    ),
];
