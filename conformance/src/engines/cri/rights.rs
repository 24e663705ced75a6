//! CRI scenarios of what a pod and its containers are given: namespaces, users, rights, limits, mounts.

use super::super::lines::{asleep, show};
use super::super::scenario::{Scenario, cli, host, until};

/// Prints one file of a container's cgroups.
macro_rules! limits {
    () => {
        show!(
            "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpuset/cpuset.cpus memory.max memory.swap.max cpu.weight cpu.max cpuset.cpus"
        )
    };
}

/// A container's security context.
macro_rules! security {
    ($fields:literal) => {
        concat!("--container '{\"linux\":{\"security_context\":{", $fields, "}}}'")
    };
}

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "user",
        &[cli(
            0,
            "uid=1000(app) gid=1000(app)",
            concat!(
                "run {new} ",
                security!(
                    "\"run_as_user\":{\"value\":1000},\"run_as_group\":{\"value\":1000},\"supplemental_groups\":[2000,3000]"
                ),
                " {c} sh -c 'id; echo $HOME; grep -E \"Cap|Groups\" /proc/self/status; touch /root/x 2>&1; true'"
            ),
        )],
    ),
    Scenario::named(
        "user-name",
        &[
            cli(
                0,
                "uid=1000(app)",
                concat!("run {new} ", security!("\"run_as_username\":\"app\""), " {c} id"),
            ),
            cli(
                1,
                "no users found",
                concat!("run {new} ", security!("\"run_as_username\":\"nosuch\""), " {c}-2 id"),
            )
            .any_text(),
        ],
    ),
    Scenario::named(
        "capabilities",
        &[
            cli(0, "CapBnd", "run {new} {c} grep -E 'Cap|NoNew|Seccomp:' /proc/self/status"),
            cli(
                0,
                "CapEff:\t0000000000001001",
                concat!(
                    "run {new} ",
                    security!(
                        "\"capabilities\":{\"add_capabilities\":[\"CHOWN\",\"NET_ADMIN\"],\"drop_capabilities\":[\"ALL\"]}"
                    ),
                    " {c}-2 grep Cap /proc/self/status"
                ),
            ),
        ],
    ),
    Scenario::named(
        "privileged",
        &[cli(
            0,
            "Seccomp:\t0",
            concat!(
                "run {new} --pod '{\"linux\":{\"security_context\":{\"privileged\":true}}}' ",
                security!("\"privileged\":true"),
                " {c} sh -c 'grep -E \"Cap|Seccomp:|NoNew\" /proc/self/status; mount -t tmpfs none /tmp && echo mounted; ls /dev | wc -l; grep -cE \" /(proc|sys)/\" /proc/mounts'"
            ),
        )],
    ),
    Scenario::named(
        "read-only",
        &[cli(
            1,
            "Read-only file system",
            concat!(
                "run {new} ",
                security!("\"readonly_rootfs\":true"),
                " {c} sh -c 'touch /dev/shm/x && touch /x'"
            ),
        )],
    ),
    Scenario::named(
        "no-new-privileges",
        &[cli(
            0,
            "NoNewPrivs:\t1",
            concat!("run {new} ", security!("\"no_new_privs\":true"), " {c} grep NoNew /proc/self/status"),
        )],
    ),
    Scenario::named(
        "seccomp",
        &[
            cli(
                0,
                "Seccomp:\t2",
                concat!(
                    "run {new} ",
                    security!("\"seccomp\":{\"profile_type\":0}"),
                    " {c} sh -c 'grep Seccomp: /proc/self/status; unshare -U true 2>&1; true'"
                ),
            ),
            cli(
                0,
                "Seccomp:\t0",
                concat!(
                    "run {new} ",
                    security!("\"seccomp\":{\"profile_type\":1}"),
                    " {c}-2 grep Seccomp: /proc/self/status"
                ),
            ),
        ],
    ),
    Scenario::named(
        "seccomp-localhost",
        &[
            host(
                "",
                "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":95}]}' >{data}/p.json",
            ),
            cli(
                1,
                "not supported",
                concat!(
                    "run {new} ",
                    security!("\"seccomp\":{\"profile_type\":2,\"localhost_ref\":\"{data}/p.json\"}"),
                    " {c} mkdir /tmp/x"
                ),
            ),
        ],
    ),
    Scenario::named(
        "masked",
        &[cli(
            0,
            "Read-only file system",
            concat!(
                "run {new} ",
                security!(
                    "\"masked_paths\":[\"/proc/kcore\",\"/sys/firmware\"],\"readonly_paths\":[\"/proc/sys\"]"
                ),
                " {c} sh -c 'wc -c </proc/kcore; ls /sys/firmware | wc -l; echo 1 2>&1 >/proc/sys/kernel/panic; true'"
            ),
        )],
    ),
    Scenario::named(
        "limits",
        &[cli(
            0,
            "67108864",
            concat!(
                "run {new} --container '{\"linux\":{\"resources\":{\"memory_limit_in_bytes\":67108864,\"cpu_shares\":512,\"cpu_period\":60000,\"cpu_quota\":30000,\"cpuset_cpus\":\"0\",\"oom_score_adj\":300}}}' {c} ",
                limits!()
            ),
        )],
    ),
    Scenario::named(
        "update",
        &[
            cli(
                0,
                "",
                "begin {new} --container '{\"linux\":{\"resources\":{\"memory_limit_in_bytes\":67108864,\"cpu_shares\":512}}}' {c} sleep 1000",
            ),
            cli(
                0,
                "",
                "update {c} '{\"memory_limit_in_bytes\":134217728,\"memory_swap_limit_in_bytes\":134217728,\"cpu_shares\":300,\"cpu_quota\":40000,\"cpu_period\":100000}'",
            ),
            cli(0, "134217728", concat!("exec {c} ", limits!())),
            cli(
                0,
                "",
                "update {c} '{\"memory_limit_in_bytes\":33554432,\"memory_swap_limit_in_bytes\":33554432}'",
            ),
            cli(0, "33554432", concat!("exec {c} ", limits!())),
        ],
    ),
    Scenario::named(
        "oom",
        &[
            cli(
                137,
                "",
                "run {new} --container '{\"linux\":{\"resources\":{\"memory_limit_in_bytes\":16777216,\"memory_swap_limit_in_bytes\":16777216}}}' {c} tail /dev/zero",
            ),
            until("exited 137 OOMKilled", "status {c}"),
        ],
    ),
    Scenario::named(
        "mounts-given",
        &[
            cli(
                0,
                "given",
                "run {new} --container '{\"mounts\":[{\"container_path\":\"/data\",\"host_path\":\"{data}\"},{\"container_path\":\"/ro\",\"host_path\":\"{data}\",\"readonly\":true}]}' {c} sh -c 'cat /ro/in; echo made >/data/out; touch /ro/x 2>&1; true'",
            ),
            host("made", "cat {data}/out"),
        ],
    ),
    Scenario::named(
        "mount-propagation",
        &[
            host("", "mkdir {data}/sub"),
            cli(
                0,
                "",
                "begin {new} --container '{\"mounts\":[{\"container_path\":\"/data\",\"host_path\":\"{data}\",\"propagation\":1}]}' {c} sleep 1000",
            ),
            host("", "mount -t tmpfs none {data}/sub && echo seen >{data}/sub/x"),
            cli(0, "seen", "exec {c} cat /data/sub/x"),
            host("", "umount {data}/sub"),
        ],
    ),
    Scenario::named(
        "device",
        &[cli(
            0,
            "/dev/extra 1:3",
            "run {new} --container '{\"devices\":[{\"container_path\":\"/dev/extra\",\"host_path\":\"/dev/null\",\"permissions\":\"rw\"}]}' {c} sh -c 'stat -c \"%n %t:%T %a\" /dev/extra; echo x >/dev/extra; mknod /tmp/b b 7 0 2>&1; head -c 1 /tmp/b 2>&1; true'",
        )],
    ),
    Scenario::named(
        "env",
        &[cli(
            0,
            "A=b c",
            "run {new} --container '{\"envs\":[{\"key\":\"A\",\"value\":\"b c\"},{\"key\":\"EMPTY\",\"value\":\"\"}],\"working_dir\":\"/not/yet\"}' {c} sh -c 'env | grep -v HOSTNAME | sort; pwd'",
        )],
    ),
    Scenario::named(
        "namespaces-host",
        &[
            cli(
                0,
                "",
                "begin {new} --pod '{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":2,\"ipc\":2}}}}' --container '{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":2,\"ipc\":2}}}}' {c} sleep 1000",
            ),
            host(
                "all the host's",
                "p=$({client} pid {c}); for n in ipc net pid uts; do [ $(readlink /proc/$p/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo other $n; done; echo \"all the host's\"",
            ),
            cli(0, "", "exec {c} sh -c '[ $$ != 1 ]'"),
        ],
    ),
    Scenario::named(
        "namespaces-pod",
        &[
            cli(
                0,
                "",
                "begin {new} --pod '{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":0}}}}' --container '{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":0}}}}' {c} sleep 1000",
            ),
            until("sleep 100000", "exec {c} sh -c 'tr \"\\0\" \" \" </proc/1/cmdline'"),
            host(
                "same",
                "a=$({client} pod-pid {c}-pod) b=$({client} pid {c}); for n in ipc net pid uts; do [ $(readlink /proc/$a/ns/$n) = $(readlink /proc/$b/ns/$n) ] || echo other $n; done; echo same",
            ),
            cli(0, "", "stop --timeout 1 {c}"),
        ],
    ),
    Scenario::named(
        "sysctls",
        &[cli(
            0,
            "1234",
            "run {new} --pod '{\"linux\":{\"sysctls\":{\"kernel.msgmax\":\"1234\"}}}' {c} cat /proc/sys/kernel/msgmax",
        )],
    ),
    Scenario::named(
        "cgroup-parent",
        &[
            cli(0, "", "begin {new} --pod '{\"linux\":{\"cgroup_parent\":\"/pods/{c}\"}}' {c} sleep 1000"),
            host(
                "/pods/t-cgroup-parent/ID",
                "grep -E 'pids|0::' /proc/$({client} pid {c})/cgroup | cut -d: -f3 | sed 's,[0-9a-f]\\{64\\},ID,'",
            ),
        ],
    ),
    Scenario::named(
        "sandbox-user",
        &[cli(
            0,
            "1000 2000",
            concat!(
                "run {new} --pod '{\"linux\":{\"security_context\":{\"run_as_user\":{\"value\":1000},\"run_as_group\":{\"value\":2000},\"namespace_options\":{\"pid\":0}}}}' --container '{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":0}}}}' {c} sh -c '",
                asleep!(),
                "stat -c \"%u %g\" /proc/1'"
            ),
        )],
    ),
    Scenario::named(
        "dns",
        &[cli(
            0,
            "nameserver 192.0.2.1",
            "run {new} --pod '{\"dns_config\":{\"servers\":[\"192.0.2.1\"],\"searches\":[\"example.org\"]}}' {c} cat /etc/resolv.conf",
        )],
    ),
    Scenario::named(
        "mounts",
        &[cli(0, "/proc", "run {new} {c} awk '{ print $5, $6, $7 ~ /master/ }' /proc/self/mountinfo")],
    ),
    Scenario::named(
        "dev",
        &[cli(
            0,
            "/dev/null",
            "run {new} {c} sh -c 'stat -c \"%n %a %t:%T %u:%g\" /dev/*; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done'",
        )],
    ),
    Scenario::named(
        "process",
        &[cli(
            0,
            "SigIgn:\t0000000000000000",
            "run {new} {c} sh -c 'grep -E \"Sig(Blk|Ign|Cgt)\" /proc/self/status; ls /proc/1/fd; umask; cat /proc/self/limits; ls /sys/class/net'",
        )],
    ),
];
