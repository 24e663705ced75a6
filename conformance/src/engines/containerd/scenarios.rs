//! The containerd scenarios. ctr gives no network and no view of the cgroup: limits are read beside it.

use super::super::lines::awaits;
use super::super::scenario::{ENTER, Scenario, cli, host, talk, tty, until};

/// Removes whatever a scenario may have left, also after a failure in its middle.
pub(super) const TEARDOWN: &[&str] = &["tasks rm --force {c}", "containers rm {c}", "snapshots rm {c}"];

/// In the order in which they are played: simplest first.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named("echo", &[cli(0, "hello", "run --rm {new} {image} {c} echo hello")]),
    Scenario::named(
        "exit-code",
        &[cli(42, "oops", "run --rm {new} {image} {c} sh -c 'echo out; echo oops >&2; exit 42'")],
    ),
    Scenario::named(
        "rm",
        &[
            cli(0, "", "run --rm {new} {image} {c} true"),
            cli(0, "", "containers ls --quiet"),
            cli(1, "not found", "containers info {c}"),
        ],
    ),
    Scenario::named(
        "detach",
        &[
            cli(0, "", "run --detach --log-uri file://{data}/log {new} {image} {c} sh -c 'echo up; exit 3'"),
            until("STOPPED", "tasks ls").any_number(),
            cli(0, "exit code 3", "tasks rm {c}"),
            host("up", "cat {data}/log"),
            cli(0, "", "containers rm {c}"),
        ],
    ),
    Scenario::named(
        "kill",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            until("RUNNING", "tasks ls").any_number(),
            cli(1, "must be stopped before deletion", "tasks rm {c}"),
            cli(0, "", "tasks kill --signal KILL {c}"),
            until("STOPPED", "tasks ls").any_number(),
            cli(1, "not found", "tasks kill --signal KILL {c}"),
            cli(0, "exit code 137", "tasks rm {c}"),
        ],
    ),
    Scenario::named(
        "matched-texts",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            // The runtime does not know it for a while: containerd takes that from its message.
            host("", "mv /run/containerd/runc/default/{c} {data}/state"),
            cli(1, "no such container: not found", "tasks kill --signal USR1 {c}"),
            cli(1, "not found", "tasks kill --all --signal KILL {c}"),
            host("", "mv {data}/state /run/containerd/runc/default/{c}"),
            cli(0, "", "tasks kill --signal KILL {c}"),
            until("STOPPED", "tasks ls").any_number(),
            cli(1, "not found", "tasks kill --signal USR1 {c}"),
            host("", "mv /run/containerd/runc/default/{c} {data}/state"),
            cli(0, "exit code 137", "tasks rm {c}"),
            host(
                "",
                "mv {data}/state /run/containerd/runc/default/{c}; {scratch}/bin/{side} --root /run/containerd/runc/default delete {c}",
            ),
        ],
    ),
    Scenario::named(
        "kill-signal",
        &[
            cli(
                0,
                "",
                "run --detach --log-uri file://{data}/log {new} {image} {c} sh -c 'trap \"echo bye; exit 7\" TERM; echo up; sleep 1000 & wait'",
            ),
            host("up", awaits!("grep -s up {data}/log")),
            cli(0, "", "tasks kill {c}"),
            until("STOPPED", "tasks ls").any_number(),
            cli(0, "exit code 7", "tasks rm {c}"),
            host("bye", "cat {data}/log"),
        ],
    ),
    Scenario::named(
        "rm-force",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sh -c 'sleep 1000 & exec sleep 1000'"),
            cli(0, "exit code 137", "tasks rm --force {c}"),
            cli(0, "", "containers rm {c}"),
        ],
    ),
    Scenario::named(
        "start-again",
        &[
            cli(3, "started", "run {new} {image} {c} sh -c 'echo started; exit 3'"),
            cli(3, "started", "tasks start {c}"),
        ],
    ),
    Scenario::named(
        "missing-command",
        &[cli(1, "executable file not found", "run --rm {new} {image} {c} nosuch")],
    ),
    Scenario::named(
        "missing-path",
        &[cli(1, "no such file or directory", "run --rm {new} {image} {c} /no/such/cmd")],
    ),
    Scenario::named(
        "not-executable",
        &[cli(1, "permission denied", "run --rm {new} {image} {c} /bin/notexec")],
    ),
    Scenario::named("directory", &[cli(1, "", "run --rm {new} {image} {c} /etc")]),
    Scenario::named(
        "bind",
        &[
            cli(
                0,
                "given",
                "run --rm {new} --mount type=bind,src={data},dst=/data,options=rbind:rw {image} {c} sh -c 'cat /data/in; echo made >/data/out'",
            ),
            host("made", "cat {data}/out"),
        ],
    ),
    Scenario::named(
        "bind-read-only",
        &[
            cli(
                1,
                "Read-only file system",
                "run --rm {new} --mount type=bind,src={data},dst=/data,options=rbind:ro {image} {c} sh -c 'cat /data/in; echo made >/data/out'",
            ),
            host("in", "ls {data}"),
        ],
    ),
    Scenario::named(
        "bind-missing",
        &[cli(
            1,
            "no such file or directory",
            "run --rm {new} --mount type=bind,src=/no/such/dir,dst=/data,options=rbind:ro {image} {c} true",
        )],
    ),
    Scenario::named(
        "tmpfs",
        &[cli(
            0,
            "tmpfs",
            "run --rm {new} --mount type=tmpfs,src=tmpfs,dst=/t,options=size=1m:mode=1770:nosuid {image} {c} sh -c 'grep \" /t \" /proc/mounts; stat -c %a /t'",
        )],
    ),
    Scenario::named(
        "read-only",
        &[cli(
            1,
            "Read-only file system",
            "run --rm {new} --read-only {image} {c} sh -c 'touch /run/x && touch /x'",
        )],
    ),
    Scenario::named(
        "user",
        &[cli(0, "uid=1000(app) gid=1000(app) groups=", "run --rm {new} --config {scratch}/config.json {c}")],
    ),
    Scenario::named("cwd", &[cli(0, "/tmp", "run --rm {new} --cwd /tmp {image} {c} pwd")]),
    Scenario::named(
        "cwd-made",
        &[cli(0, "/not/yet", "run --rm {new} --cwd /not/yet {image} {c} sh -c 'pwd; stat -c %a:%u .'")],
    ),
    Scenario::named(
        "env",
        &[cli(0, "A=b c", "run --rm {new} --env 'A=b c' --env EMPTY= {image} {c} sh -c 'env | sort'")],
    ),
    Scenario::named(
        "terminal",
        &[talk(
            ENTER,
            4,
            "ready /dev/pts/0",
            "run --rm --tty {new} {image} {c} sh -c 'test -t 1 && test -t 2 && stat -c \"%a %t\" /dev/console; echo ready $(tty); read x; exit 4'",
        )],
    ),
    Scenario::named(
        "terminal-missing",
        &[tty(1, "executable file not found", "run --rm --tty {new} {image} {c} nosuch")],
    ),
    Scenario::named(
        "privileged",
        &[cli(
            0,
            "Seccomp:\t0",
            "run --rm {new} --privileged {image} {c} sh -c 'grep -E \"Cap|Seccomp:|NoNewPrivs\" /proc/self/status; mount -t tmpfs x /tmp; grep -c /tmp /proc/mounts; ls /dev | wc -l; awk \"{ print \\$5, \\$6 }\" /proc/self/mountinfo'",
        )],
    ),
    Scenario::named(
        "capabilities",
        &[cli(
            0,
            "CapAmb:\t0000000000000000",
            "run --rm {new} --cap-drop CAP_CHOWN --cap-add CAP_NET_ADMIN {image} {c} grep -E 'Cap|NoNewPrivs' /proc/self/status",
        )],
    ),
    Scenario::named(
        "seccomp",
        &[cli(
            0,
            "Seccomp:\t2",
            "run --rm {new} --seccomp {image} {c} sh -c 'grep Seccomp: /proc/self/status; unshare -U true 2>&1; true'",
        )],
    ),
    Scenario::named(
        "memory",
        &[
            cli(0, "", "run --detach --null-io {new} --memory-limit 67108864 {image} {c} sleep 1000"),
            host(
                "67108864",
                "cd /sys/fs/cgroup; cat memory/default/{c}/memory.limit_in_bytes 2>/dev/null || cat default/{c}/memory.max",
            ),
        ],
    ),
    Scenario::named(
        "cpus",
        &[
            cli(0, "", "run --detach --null-io {new} --cpus 0.5 --cpu-shares 512 {image} {c} sleep 1000"),
            host(
                "50000",
                "cd /sys/fs/cgroup; (cd cpu/default/{c} && cat cpu.cfs_quota_us cpu.cfs_period_us cpu.shares) 2>/dev/null || cat default/{c}/cpu.max",
            ),
        ],
    ),
    Scenario::named(
        "mounts",
        &[cli(
            0,
            "/proc",
            "run --rm {new} {image} {c} awk '{ print $5, $6, $7 ~ /master/ }' /proc/self/mountinfo",
        )],
    ),
    Scenario::named(
        "dev",
        &[cli(
            0,
            "/dev/null",
            "run --rm {new} {image} {c} sh -c 'stat -c \"%n %a %t:%T %u:%g\" /dev/*; ls /proc/1/fd'",
        )],
    ),
    Scenario::named(
        "limits",
        &[cli(
            0,
            "Max open files",
            "run --rm {new} {image} {c} sh -c 'cat /proc/self/limits /proc/self/oom_score_adj; umask; grep Sig[BI] /proc/self/status'",
        )],
    ),
    Scenario::named(
        "pause",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(0, "", "tasks pause {c}"),
            cli(0, "PAUSED", "tasks ls").any_number(),
            cli(0, "", "tasks resume {c}"),
            cli(0, "RUNNING", "tasks ls").any_number(),
        ],
    ),
    Scenario::named(
        "ps",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sh -c 'sleep 1000 & exec sleep 2000'"),
            until("N -\nN -\n", "tasks ps {c}").any_number(),
        ],
    ),
    Scenario::named(
        "exec",
        &[
            cli(0, "", "run --detach --null-io {new} {image} {c} sleep 1000"),
            cli(0, "hello", "tasks exec --exec-id e1 {c} echo hello"),
            cli(43, "err", "tasks exec --exec-id e2 {c} sh -c 'echo err >&2; exit 43'"),
            cli(0, "uid=1000(app)", "tasks exec --exec-id e3 --user app --cwd /tmp {c} sh -c 'id; pwd'"),
            talk(
                ENTER,
                5,
                "ready /dev/pts/",
                "tasks exec --exec-id e4 --tty {c} sh -c 'echo ready $(tty); read x; exit 5'",
            ),
            cli(1, "executable file not found", "tasks exec --exec-id e5 {c} nosuch"),
        ],
    ),
];

/// A config of our own for what ctr has no option for: a user with supplementary groups.
pub(super) fn config(rootfs: &std::path::Path) -> serde_json::Value {
    let mount = |to: &str, kind: &str| serde_json::json!({ "destination": to, "type": kind, "source": kind });
    let namespaces = ["pid", "mount", "ipc", "uts", "network"];
    serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 1000, "gid": 1000, "additionalGids": [2000] },
            "args": ["sh", "-c", "id; echo $HOME; grep -E 'Cap|NoNewPrivs' /proc/self/status"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": rootfs, "readonly": true },
        "mounts": [mount("/proc", "proc"), mount("/tmp", "tmpfs")],
        "linux": {
            "namespaces": namespaces.map(|n| serde_json::json!({ "type": n })),
        },
    })
}
