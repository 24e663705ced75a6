//! Podman scenarios of what a container may do: users, capabilities, filters, devices, sysctls.

use super::super::lines::awaits;
use super::super::scenario::{Scenario, cli, host};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("capabilities", &[cli(0, "CapBnd", "run --rm {new} bb grep Cap /proc/self/status")]),
    Scenario::named(
        "cap-add",
        &[
            cli(
                0,
                "CapEff:\t0000000000001001",
                "run --rm {new} --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN bb grep Cap /proc/self/status",
            ),
            cli(
                0,
                "CapAmb:\t0000000000001000",
                "run --rm {new} --user app --cap-add NET_ADMIN bb grep Cap /proc/self/status",
            ),
        ],
    ),
    Scenario::named(
        "privileged",
        &[cli(
            0,
            "Seccomp:\t0",
            "run --rm {new} --privileged bb sh -c 'grep -E \"Cap|Seccomp:|NoNew\" /proc/self/status; grep -cE \" /proc/.* \" /proc/mounts; mount -t tmpfs none /tmp && echo mounted'",
        )],
    ),
    Scenario::named(
        "seccomp",
        &[cli(
            0,
            "Seccomp:\t2",
            "run --rm {new} bb sh -c 'grep -E \"NoNewPrivs|Seccomp\" /proc/self/status; unshare -U true 2>&1; mount -t tmpfs none /tmp 2>&1; true'",
        )],
    ),
    Scenario::named(
        "user-name",
        &[cli(
            0,
            "uid=1000(app) gid=1000(app)",
            "run --rm {new} --user app bb sh -c 'id; echo $HOME; grep -E \"Cap|Groups\" /proc/self/status; ls -ld /proc/1/fd | cut -d\" \" -f1'",
        )],
    ),
    Scenario::named(
        "user-number",
        &[cli(
            0,
            "uid=1234(1234) gid=2000(extra)",
            "run --rm {new} --user 1234:2000 --group-add 3000 bb sh -c 'id; echo $HOME; touch /root/x 2>&1 || true'",
        )],
    ),
    Scenario::named(
        "user-unknown",
        &[
            cli(126, "", "run --rm {new} --user nobody-knows bb id"),
            cli(0, "root", "run --rm {new} --user root bb id"),
        ],
    ),
    Scenario::named(
        "userns-maps",
        &[cli(
            0,
            "1000000",
            "run --rm {new} --uidmap 0:1000000:65536 --gidmap 0:2000000:65536 bb sh -c 'cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /x; stat -c %u:%g /x /etc /proc/1 /dev/null /dev/pts/ptmx; hostname new 2>&1; true'",
        )],
    ),
    Scenario::named(
        "userns-exec",
        &[
            cli(0, "", "run --detach {new} --uidmap 0:1000000:65536 bb sleep 1000"),
            cli(
                0,
                "uid=1000(app)",
                "exec --user app {c} sh -c 'id; cat /proc/self/uid_map; grep Cap /proc/self/status'",
            ),
            // Root has what may not be looked into, such as a process on its way to its program.
            host(
                "1000000",
                concat!(
                    "p=$({client} inspect --format {{.State.Pid}} {c}); ",
                    awaits!("stat -c %u /proc/$p | grep 1000000")
                ),
            ),
        ],
    ),
    Scenario::named(
        "device",
        &[cli(
            0,
            "5:1 600",
            "run --rm {new} --device /dev/null:/dev/extra:rw bb sh -c 'stat -c \"%n %t:%T %a\" /dev/extra; echo x >/dev/extra; mknod /tmp/c c 5 1 -m 600 2>&1; mknod /tmp/b b 7 0 2>&1; echo 5:1 600'",
        )],
    ),
    Scenario::named(
        "device-rule",
        &[cli(
            0,
            "refused",
            "run --rm {new} --cap-add MKNOD --device-cgroup-rule 'c 42:* rmw' bb sh -c 'mknod /dev/z c 1 5 && echo read $(head -c 4 /dev/z | wc -c); mknod /dev/x c 42 3 && cat /dev/x 2>&1; mknod /dev/k c 1 1 && cat /dev/k 2>&1; echo refused'",
        )],
    ),
    Scenario::named(
        "sysctls",
        &[cli(
            0,
            "4321",
            "run --rm {new} --sysctl net.core.somaxconn=4321 --sysctl kernel.msgmax=1234 bb sh -c 'cd /proc/sys; cat net/core/somaxconn kernel/msgmax'",
        )],
    ),
    Scenario::named(
        "secret",
        &[
            host("", "{client} secret rm {c} 2>/dev/null; echo hidden | {client} secret create {c} -")
                .any_text(),
            cli(
                0,
                "hidden",
                "run --rm {new} --secret {c} bb sh -c 'cat /run/secrets/*; stat -c %a:%u /run/secrets/*'",
            ),
            cli(0, "hidden", "run --rm {new} --secret {c},type=env,target=S bb sh -c 'echo $S'"),
            cli(0, "", "secret rm {c}").any_text(),
        ],
    ),
];
