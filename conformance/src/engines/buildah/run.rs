//! Buildah scenarios of single commands in a working container.

use super::super::lines::{awaits, show};
use super::super::scenario::{ENTER, Scenario, Step, cli, given, host, talk, tty, types};

/// The working container of the scenario.
macro_rules! from {
    ($($option:literal)?) => {
        cli(0, "", concat!("from --pull-never --name {c} ", $($option,)? " bb"))
    };
}

/// The same without options.
const FROM: Step = from!();

/// In the order in which they are played: simplest first.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("echo", &[FROM, cli(0, "hello", "run {new} {c} -- echo hello")]),
    Scenario::named(
        "exit-code",
        &[FROM, cli(42, "oops", "run {new} {c} -- sh -c 'echo out; echo oops >&2; exit 42'")],
    ),
    Scenario::named(
        "exit-signal",
        &[
            FROM,
            cli(0, "143", "run {new} {c} -- sh -c '(trap - TERM; sh -c \"kill -TERM \\$\\$\"); echo $?'"),
            cli(1, "exited on killed", "run {new} --pid host {c} -- sh -c 'kill -KILL $$'"),
        ],
    ),
    Scenario::named(
        "missing-command",
        &[FROM, cli(1, "executable file not found", "run {new} {c} -- nosuch")],
    ),
    Scenario::named(
        "missing-path",
        &[FROM, cli(1, "no such file or directory", "run {new} {c} -- /no/such/cmd")],
    ),
    Scenario::named("not-executable", &[FROM, cli(1, "permission denied", "run {new} {c} -- /bin/notexec")]),
    Scenario::named("directory", &[FROM, cli(1, "", "run {new} {c} -- /etc")]),
    Scenario::named(
        "kept",
        &[
            FROM,
            cli(0, "", "run {new} {c} -- sh -c 'echo kept >/made; chown app /made'"),
            cli(0, "kept\n1000", "run {new} {c} -- sh -c 'cat /made; stat -c %u /made'"),
            cli(0, "", "commit --quiet {c} {c}"),
        ],
    ),
    Scenario::named(
        "stdin",
        &[
            FROM,
            given("one\ntwo\n", 0, "one\ntwo\nend", "run {new} {c} -- sh -c 'cat; echo end'"),
            cli(0, "0", "run {new} {c} -- wc -c"),
        ],
    ),
    Scenario::named(
        "output",
        &[
            FROM,
            cli(
                0,
                "19999\n20000",
                "run {new} {c} -- sh -c 'seq 20000; head -c 300000 /dev/zero | tr \"\\0\" x | fold -w 100 | md5sum'",
            ),
        ],
    ),
    Scenario::named(
        "terminal",
        &[
            FROM,
            talk(
                ENTER,
                4,
                "/dev/pts/0",
                "run --terminal {new} {c} -- sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && stat -c \"%a %t\" /dev/console; stty size; echo ready; read x; exit 4'",
            ),
            tty(1, "executable file not found", "run --terminal {new} {c} -- nosuch").any_text(),
        ],
    ),
    Scenario::named(
        "terminal-interrupt",
        &[
            FROM,
            talk(
                &[types("ready", "\x03")],
                5,
                "interrupted",
                "run --terminal --user app {new} {c} -- sh -c 'stty -echo; trap \"echo interrupted; exit 5\" INT; echo ready $(stat -c %u $(tty)); while :; do sleep 0.05; done'",
            ),
        ],
    ),
    Scenario::named(
        "user",
        &[
            FROM,
            cli(
                0,
                "uid=1000(app) gid=1000(app)",
                "run --user app {new} {c} -- sh -c 'id; echo $HOME; grep -E \"Cap|Groups\" /proc/self/status'",
            ),
            cli(
                0,
                "uid=1234 gid=2000(extra)",
                "run --user 1234:2000 {new} {c} -- sh -c 'id; touch /root/x 2>&1; true'",
            ),
        ],
    ),
    Scenario::named(
        "env",
        &[
            FROM,
            cli(0, "", "config --env B=of-image --workingdir /tmp --user app {c}"),
            cli(
                0,
                "A=b c",
                "run --env 'A=b c' --env EMPTY= {new} {c} -- sh -c 'env | grep -v HOSTNAME | sort; pwd; id -un'",
            ),
            cli(0, "/etc", "run --workingdir /etc --user root {new} {c} -- pwd"),
        ],
    ),
    Scenario::named(
        "hostname",
        &[
            FROM,
            cli(
                0,
                "box",
                "run --hostname box {new} {c} -- sh -c 'hostname; cat /etc/hosts; ls /sys/class/net'",
            ),
        ],
    ),
    Scenario::named(
        "capabilities",
        &[
            FROM,
            cli(0, "CapBnd", "run {new} {c} -- grep -E 'Cap|Seccomp:|NoNew' /proc/self/status"),
            cli(
                0,
                "CapEff:\t0000000000000000",
                "run --cap-drop ALL --cap-add CAP_CHOWN --cap-add CAP_NET_ADMIN {new} {c} -- grep Cap /proc/self/status",
            ),
            cli(
                0,
                "CapEff:",
                "run --cap-drop CAP_CHOWN --cap-add CAP_NET_ADMIN {new} {c} -- grep Cap /proc/self/status",
            ),
        ],
    ),
    Scenario::named(
        "seccomp",
        &[
            host(
                "",
                "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\",\"nosuchcall\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":95}]}' >{data}/p.json; {client} from --pull-never --name {c} --security-opt seccomp={data}/p.json bb",
            ),
            cli(1, "not supported", "run {new} {c} -- sh -c 'grep Seccomp: /proc/self/status; mkdir /tmp/x'"),
        ],
    ),
    Scenario::named(
        "volume",
        &[
            FROM,
            cli(
                0,
                "given",
                "run --volume {data}:/data {new} {c} -- sh -c 'cat /data/in; echo made >/data/out'",
            ),
            host("made", "cat {data}/out"),
            cli(
                1,
                "Read-only file system",
                "run --volume {data}:/data:ro {new} {c} -- sh -c 'cat /data/in; touch /data/x'",
            ),
            cli(125, "no such file or directory", "run --volume {data}/none:/data {new} {c} -- true"),
        ],
    ),
    Scenario::named(
        "mount",
        &[
            FROM,
            cli(
                0,
                "size=1024k",
                "run --mount type=tmpfs,destination=/t,tmpfs-size=1m --mount type=bind,source={data}/in,destination=/etc/new/in {new} {c} -- sh -c 'grep \" /t \" /proc/mounts; cat /etc/new/in'",
            ),
        ],
    ),
    Scenario::named(
        "limits",
        &[
            from!(
                "--memory 64m --memory-swap 128m --cpu-shares 512 --cpu-period 60000 --cpu-quota 30000 --cpuset-cpus 0"
            ),
            cli(
                0,
                "67108864",
                concat!(
                    "run {new} {c} -- ",
                    show!(
                        "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpuset/cpuset.cpus memory.max cpu.weight cpu.max cpuset.cpus"
                    )
                ),
            ),
        ],
    ),
    Scenario::named(
        "ulimit",
        &[
            from!("--ulimit nofile=512:1024 --ulimit nproc=500:600 --ulimit core=0 --shm-size 8m"),
            cli(
                0,
                "size=8192k",
                "run {new} {c} -- sh -c 'cat /proc/self/limits; grep /dev/shm /proc/mounts'",
            ),
        ],
    ),
    Scenario::named(
        "device",
        &[
            from!("--device /dev/null:/dev/extra:rw"),
            cli(
                0,
                "/dev/extra 1:3",
                "run {new} {c} -- sh -c 'stat -c \"%n %t:%T %a\" /dev/extra; echo x >/dev/extra; mknod /tmp/b b 7 0 2>&1; true'",
            ),
        ],
    ),
    Scenario::named(
        "namespaces-host",
        &[
            FROM,
            host(
                "all the host's",
                "{client} run {run} --network host --pid host --ipc host --uts host {c} -- sh -c 'for n in net pid ipc uts; do readlink /proc/self/ns/$n; done' >{data}/inside; for n in net pid ipc uts; do readlink /proc/self/ns/$n; done | cmp - {data}/inside && echo \"all the host's\"",
            ),
        ],
    ),
    Scenario::named(
        "namespace-joined",
        &[
            FROM,
            host(
                "joined",
                "unshare --net --uts sh -c 'hostname other; {client} run {run} --network ns:/proc/'$$'/ns/net --uts /proc/$$/ns/uts {c} -- hostname' && echo joined",
            ),
        ],
    ),
    Scenario::named(
        "userns",
        &[
            host("", "chmod 711 {scratch}/storage {scratch}/tmp"),
            from!("--userns-uid-map 0:1000000:65536 --userns-gid-map 0:2000000:65536"),
            cli(
                0,
                "1000000",
                "run {new} {c} -- sh -c 'cat /proc/self/uid_map /proc/self/gid_map; id; touch /tmp/x; stat -c %u:%g /tmp/x /etc /dev/null /dev/pts/ptmx'",
            ),
            cli(0, "uid=1000(app)", "run --user app {new} {c} -- sh -c 'id; grep Cap /proc/self/status'"),
        ],
    ),
    Scenario::named("no-pivot", &[FROM, cli(0, "app:x:1000", "run --no-pivot {new} {c} -- cat /etc/passwd")]),
    Scenario::named(
        "runtime-flag",
        &[FROM, cli(0, "hello", "run --runtime-flag root=/run/runc {new} {c} -- echo hello")],
    ),
    Scenario::named(
        "killed",
        &[
            FROM,
            host(
                "code 1",
                concat!(
                    "{client} run {run} --network none {c} -- sh -c 'echo up; exec sleep 1000' >{data}/out 2>{data}/err & p=$!; ",
                    awaits!("grep -qs up {data}/out"),
                    "; ",
                    // Buildah minds signals from its first look at the state on: `start` may still be under way.
                    awaits!("tail -n 2 {scratch}/{side}.calls | grep -q ^.state"),
                    "; kill -TERM $p; wait $p; echo code $?; cat {data}/out"
                ),
            ),
        ],
    ),
    Scenario::named(
        "leaves-child",
        &[FROM, cli(0, "done", "run {new} {c} -- sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 & echo done'")],
    ),
    Scenario::named(
        "many",
        &[
            FROM,
            host(
                "line 4\n",
                "for i in 1 2 3 4; do {client} run {run} --network none {c} -- sh -c \"echo line $i; exit $i\" 2>&1 || echo code $? & done | sort; wait",
            ),
        ],
    ),
    Scenario::named(
        "mounts",
        &[
            FROM,
            cli(
                0,
                "/proc",
                // Buildah gives some of its own mounts in any order.
                "run --volume {data}:/data {new} {c} -- sh -c 'awk \"{ print \\$5, \\$6, \\$7 ~ /master/ }\" /proc/self/mountinfo | sort'",
            ),
        ],
    ),
    Scenario::named(
        "dev",
        &[
            FROM,
            cli(
                0,
                "/dev/null",
                "run {new} {c} -- sh -c 'stat -c \"%n %a %t:%T %u:%g\" /dev/*; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done'",
            ),
        ],
    ),
    Scenario::named(
        "process",
        &[
            FROM,
            cli(
                0,
                "SigIgn:\t0000000000000000",
                "run {new} {c} -- sh -c 'grep -E \"Sig(Blk|Ign|Cgt)\" /proc/self/status; ls /proc/1/fd; umask; cat /proc/self/oom_score_adj'",
            ),
        ],
    ),
];
