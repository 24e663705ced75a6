//! Podman scenarios of volumes, binds, propagation and temporary filesystems.

use super::super::scenario::{Scenario, cli, host};

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "bind-read-only",
        &[cli(
            1,
            "Read-only file system",
            "run --rm {new} --volume {data}:/data:ro,noexec bb sh -c 'cat /data/in; grep -o \" /data [^ ]* [a-z,]*\" /proc/mounts; echo made >/data/out'",
        )],
    ),
    Scenario::named(
        "bind-dir-on-file",
        &[cli(126, "not a directory", "run --rm {new} --volume {data}:/bin/notexec bb true")],
    ),
    Scenario::named(
        "bind-missing",
        &[
            cli(125, "no such file or directory", "run --rm {new} --volume {data}/none:/data bb true"),
            cli(0, "", "run --rm {new} bb true"),
        ],
    ),
    Scenario::named(
        "volume-overlay",
        &[
            cli(
                0,
                "changed",
                "run --rm {new} --volume {data}:/data:O bb sh -c 'cat /data/in; echo changed >/data/in; cat /data/in; grep \" /data \" /proc/mounts | cut -d\" \" -f2,3'",
            ),
            host("given", "cat {data}/in"),
        ],
    ),
    Scenario::named(
        "volume-owner",
        &[
            host("", "mkdir {data}/u; touch {data}/u/f"),
            cli(0, "1000", "run --rm {new} --user app --volume {data}/u:/data:U bb stat -c %u /data /data/f"),
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
            cli(0, "", "volume rm {c}"),
        ],
    ),
    Scenario::named(
        "volume-anonymous",
        &[cli(0, "kept", "run --rm {new} --volume /data bb sh -c 'echo kept >/data/x; cat /data/x'")],
    ),
    Scenario::named(
        "volumes-from",
        &[
            cli(0, "", "run {new} --volume /v bb sh -c 'echo kept >/v/x'"),
            cli(0, "kept", "run --rm --name {c}-2 --volumes-from {c} bb cat /v/x"),
        ],
    ),
    Scenario::named(
        "read-only",
        &[
            cli(
                1,
                "Read-only file system",
                "run --rm {new} --read-only bb sh -c 'touch /dev/shm/x /tmp/x /run/x && touch /x'",
            ),
            cli(
                0,
                "refused",
                "run --rm {new} --read-only --read-only-tmpfs=false bb sh -c 'touch /tmp/x 2>&1; touch /run/x 2>&1; echo refused'",
            ),
        ],
    ),
    Scenario::named(
        "tmpfs",
        &[
            cli(
                0,
                "tmpfs",
                "run --rm {new} --tmpfs /t:size=1m,mode=1770 bb sh -c 'grep \" /t \" /proc/mounts; stat -c %a /t'",
            ),
            cli(
                0,
                "passwd",
                "run --rm {new} --tmpfs /etc:rw bb sh -c 'ls /etc; grep \" /etc \" /proc/mounts'",
            ),
        ],
    ),
    Scenario::named(
        "tmpfs-mount",
        &[cli(
            0,
            "size=1024k",
            "run --rm {new} --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700 bb sh -c 'grep \" /t \" /proc/mounts; stat -c %a /t'",
        )],
    ),
    Scenario::named(
        "image-mount",
        &[cli(
            0,
            "busybox",
            "run --rm {new} --mount type=image,source=bb,destination=/i bb sh -c 'ls /i/bin/busybox; touch /i/x 2>&1; true'",
        )],
    ),
    Scenario::named(
        "propagation-slave",
        &[
            host("", "mkdir {data}/sub"),
            cli(0, "", "run --detach {new} --volume {data}:/data:rslave bb sleep 1000"),
            host("", "mount -t tmpfs none {data}/sub && echo seen >{data}/sub/x"),
            cli(0, "seen", "exec {c} cat /data/sub/x"),
            host("", "umount {data}/sub"),
            cli(1, "No such file", "exec {c} cat /data/sub/x"),
        ],
    ),
    Scenario::named(
        "rootfs-directory",
        &[cli(0, "given", "run --rm {new} --volume {data}:/data --rootfs {scratch}/rootfs cat /data/in")],
    ),
    Scenario::named(
        "rootfs-overlay",
        &[
            cli(0, "made", "run --rm {new} --rootfs {scratch}/rootfs:O sh -c 'touch /made; ls /made'"),
            host("absent", "test -e {scratch}/rootfs/made || echo absent"),
        ],
    ),
    Scenario::named(
        "shm-size",
        &[cli(
            0,
            "size=8192k",
            "run --rm {new} --shm-size 8m bb sh -c 'grep /dev/shm /proc/mounts; stat -c %a /dev/shm'",
        )],
    ),
];
