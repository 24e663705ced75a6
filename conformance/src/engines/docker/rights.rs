//! Docker scenarios of what a container may do: users, capabilities, filters, devices, sysctls.

use super::super::scenario::{Scenario, cli};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "user-caps",
        &[cli(
            0,
            "CapEff:\t0000000000000000",
            "run --rm {new} --user app --cap-add NET_ADMIN bb sh -c 'grep -E \"Cap|Groups\" /proc/self/status; chown 0 /tmp 2>&1; ls -ld /proc/1/fd | cut -d\" \" -f1'",
        )],
    ),
    Scenario::named(
        "user-group",
        &[cli(
            0,
            "uid=1000(app) gid=0(root)",
            "run --rm {new} --user app:root --group-add extra --group-add 77 bb id",
        )],
    ),
    Scenario::named(
        "cap-used",
        &[
            cli(0, "moved", "run --rm {new} --cap-add NET_ADMIN bb sh -c 'ip link set lo mtu 1400 && echo moved'"),
            cli(2, "Operation not permitted", "run --rm {new} bb ip link set lo mtu 1400"),
        ],
    ),
    Scenario::named(
        "unconfined",
        &[cli(
            0,
            "Seccomp:\t0",
            "run --rm {new} --security-opt systempaths=unconfined --security-opt seccomp=unconfined --security-opt apparmor=unconfined bb sh -c 'grep Seccomp: /proc/self/status; awk \"{ print \\$5 }\" /proc/self/mountinfo | sort; echo 5 >/proc/sys/kernel/msgmni && cat /proc/sys/kernel/msgmni'",
        )],
    ),
    Scenario::named(
        "device-rule",
        &[cli(
            0,
            "read 4",
            "run --rm {new} --device-cgroup-rule 'c 1:5 rmw' --device-cgroup-rule 'c 42:* rmw' bb sh -c 'mknod /tmp/z c 1 5 && echo read $(head -c 4 /tmp/z | wc -c); mknod /tmp/k c 1 1 && cat /tmp/k 2>&1; mknod /tmp/b b 7 3; cat /tmp/b 2>&1; true'",
        )],
    ),
    Scenario::named(
        "device-user",
        &[cli(
            0,
            "/dev/extra",
            "run --rm {new} --user app --device /dev/zero:/dev/extra:rw bb sh -c 'stat -c \"%n %a %u:%g\" /dev/extra; head -c 2 /dev/extra | wc -c; mknod /tmp/z c 1 5 2>&1; true'",
        )],
    ),
    Scenario::named(
        "devices-absent",
        &[cli(
            0,
            "absent",
            "run --rm {new} bb sh -c 'for d in mem kmsg fuse kvm sda vda; do [ ! -e /dev/$d ] || echo present $d; done; echo absent'",
        )],
    ),
    Scenario::named(
        "sysctls",
        &[cli(
            0,
            "4321",
            "run --rm {new} --sysctl net.core.somaxconn=4321 --sysctl net.ipv4.ip_unprivileged_port_start=0 --sysctl kernel.shm_rmid_forced=1 bb sh -c 'cd /proc/sys; cat net/core/somaxconn net/ipv4/ip_unprivileged_port_start kernel/shm_rmid_forced'",
        )],
    ),
    Scenario::named(
        "keyring",
        &[cli(
            0,
            "session",
            "run --rm {new} --security-opt seccomp=unconfined bb sh -c 'cat /proc/keys | wc -l; grep -c . /proc/key-users; echo session'",
        )
        .any_number()],
    ),
];
