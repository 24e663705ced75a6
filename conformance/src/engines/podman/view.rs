//! Podman scenarios of what a container sees, read from inside.

use super::super::scenario::{Scenario, cli};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "unmasked",
        &[cli(
            0,
            "end",
            "run --rm {new} --security-opt unmask=ALL bb sh -c 'awk \"{ print \\$5 }\" /proc/self/mountinfo | sort; echo end'",
        )],
    ),
    Scenario::named(
        "env",
        &[cli(0, "A=b c", "run --rm {new} --env 'A=b c' --env EMPTY= bb sh -c 'env | grep -v HOSTNAME | sort'")],
    ),
    Scenario::named(
        "workdir-missing",
        &[
            cli(126, "", "run --rm {new} --workdir /not/yet bb pwd"),
            cli(0, "/home", "run --rm {new} --workdir /home bb pwd"),
        ],
    ),
    Scenario::named(
        "hostname",
        &[cli(0, "box", "run --rm {new} --hostname box bb sh -c 'hostname; cat /etc/hostname; echo $HOSTNAME'")],
    ),
    Scenario::named(
        "umask",
        &[
            cli(0, "0077", "run --rm {new} --umask 0077 bb sh -c 'umask; touch /x; stat -c %a /x'"),
            cli(0, "0022", "run --rm {new} bb sh -c umask"),
        ],
    ),
    Scenario::named(
        "timezone",
        &[cli(0, "", "run --rm {new} --tz=UTC --annotation a.b=c bb sh -c 'date +%Z'")],
    ),
    Scenario::named(
        "own-files",
        &[cli(
            0,
            "1.2.3.4",
            "run --rm {new} --hostname box --add-host other:1.2.3.4 bb sh -c 'cat /etc/hosts /etc/hostname; test -e /run/.containerenv && grep -cE \" (/etc/(hosts|hostname|resolv.conf)|/run/.containerenv) \" /proc/mounts'",
        )],
    ),
    Scenario::named(
        "catatonit",
        &[cli(
            6,
            "podman-init",
            "run --rm {new} --init bb sh -c 'cat /proc/1/comm; tr \"\\0\" \" \" </proc/1/cmdline; exit 6'",
        )],
    ),
    Scenario::named(
        "personality",
        &[cli(0, "86", "run --rm {new} --personality LINUX32 bb sh -c 'echo machine: $(uname -m)'")],
    ),
    Scenario::named(
        "inspect",
        &[
            cli(0, "", "run --detach {new} --memory 64m --cap-add NET_ADMIN --user app bb sleep 1000"),
            cli(
                0,
                "running true",
                "inspect --format '{{.State.Status}} {{.State.Running}} {{.State.Error}} {{.State.OciVersion}} {{.EffectiveCaps}} {{.BoundingCaps}} {{.HostConfig.Memory}} {{.Config.User}} {{.OCIRuntime}}' {c}",
            )
            .any_text(),
            cli(
                0,
                "0 false",
                "inspect --format '{{.State.ExitCode}} {{.State.Dead}} {{.EffectiveCaps}} {{.BoundingCaps}} {{.HostConfig.Memory}} {{.Config.User}}' {c}",
            ),
        ],
    ),
    Scenario::named(
        "image-command",
        &[cli(0, "uid=0(root)", "run --rm {new} --entrypoint id bb")],
    ),
];
