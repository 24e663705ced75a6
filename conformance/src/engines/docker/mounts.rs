//! Docker scenarios of volumes, binds, propagation and temporary filesystems.

use super::super::scenario::{Scenario, cli, host};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "tmpfs-mount",
        &[cli(
            0,
            "size=1024k",
            "run --rm {new} --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700 --tmpfs /u bb sh -c 'grep -E \" /(t|u) \" /proc/mounts | sort; stat -c %a /t /u'",
        )],
    ),
    Scenario::named(
        "read-only-writable",
        &[cli(
            0,
            "written",
            "run --rm {new} --read-only --tmpfs /tmp --tmpfs /new/dir:exec --volume {data}:/data bb sh -c 'touch /tmp/x /new/dir/x /data/x && echo written; touch /etc/x 2>&1; true'",
        )],
    ),
    Scenario::named(
        "propagation-slave",
        &[
            host("", "mkdir {data}/sub"),
            cli(0, "", "run --detach {new} --volume {data}:/data:rslave bb sleep 1000"),
            host("", "mount -t tmpfs none {data}/sub && echo seen >{data}/sub/x"),
            cli(0, "seen", "exec {c} cat /data/sub/x"),
            cli(0, "master", "exec {c} grep -o master /proc/self/mountinfo"),
            host("", "umount {data}/sub"),
            cli(1, "No such file", "exec {c} cat /data/sub/x"),
        ],
    ),
    Scenario::named(
        "propagation-shared",
        &[
            host("", "mkdir {data}/sub"),
            cli(
                0,
                "",
                "run --rm {new} --cap-add SYS_ADMIN --security-opt apparmor=unconfined --volume {data}:/data:rshared bb sh -c 'mount -t tmpfs none /data/sub && echo made >/data/sub/x'",
            ),
            host("made", "cat {data}/sub/x && umount {data}/sub"),
        ],
    ),
    Scenario::named(
        "volume-named",
        &[
            cli(0, "", "run --rm {new} --volume {c}:/home bb sh -c 'echo kept >/home/x'"),
            cli(
                0,
                "kept",
                "run --rm {new} --volume {c}:/root:ro bb sh -c 'cat /root/x; touch /root/y 2>&1; true'",
            ),
            cli(0, "kept", "run --rm {new} --mount type=volume,src={c},dst=/v,volume-nocopy bb cat /v/x"),
            cli(0, "", "volume rm {c}"),
        ],
    ),
    Scenario::named(
        "volumes-from",
        &[
            cli(0, "", "run {new} --volume /v bb sh -c 'echo kept >/v/x'"),
            cli(
                0,
                "kept",
                "run --rm --runtime {side} --network none --name {c}-2 --volumes-from {c} bb cat /v/x",
            ),
        ],
    ),
    Scenario::named(
        "volume-over-link",
        &[
            host("", "ln -s in {data}/link"),
            cli(0, "given", "run --rm {new} --volume {data}/link:/l bb cat /l"),
            cli(0, "given", "run --rm {new} --volume {data}/in:/bin/notexec bb cat /bin/notexec"),
        ],
    ),
    Scenario::named(
        "volumes-many",
        &[host(
            "41",
            "for i in $(seq 40); do echo $i >{data}/f$i; v=\"$v --volume {data}/f$i:/m/$i:ro\"; done; {client} run --rm --runtime {side} --network none --name {c} $v bb sh -c 'cat /m/* | sort -n | md5sum; grep -c \" /m/\" /proc/mounts; echo 41'",
        )],
    ),
    Scenario::named(
        "own-files",
        &[cli(
            0,
            "1.2.3.4",
            "run --rm {new} --hostname box --add-host other:1.2.3.4 --dns 9.9.9.9 bb sh -c 'cat /etc/hosts /etc/hostname /etc/resolv.conf; grep -E \" /etc/(hosts|hostname|resolv.conf) \" /proc/mounts | wc -l'",
        )],
    ),
    Scenario::named(
        "proc-and-sys",
        &[cli(
            0,
            "ro,",
            "run --rm {new} bb sh -c 'grep -E \" /(sys|proc)[^ ]* \" /proc/mounts | cut -d\" \" -f2 | sort; grep \" /sys \" /proc/mounts; ls /sys/firmware /proc/scsi /proc/acpi 2>&1; cat /proc/timer_list /proc/keys | wc -c'",
        )],
    ),
];
