//! Limits: each field of linux.resources is in the file of its controller, and what exceeds it is stopped.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const EXIT: &[&str] = &["/bin/probe", "exit", "7"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// Creates a container with these resources.
fn created(s: &Sandbox, resources: &Value, args: &[&str]) -> Check<Bundle> {
    let bundle = s.bundle(&Config::new(args).set("/linux/resources", resources.clone()))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    Ok(bundle)
}

/// What a file of the container's cgroups says, wherever it is.
fn value(s: &Sandbox, file: &str) -> Check<String> {
    let all = Host::cgroups(s.cgroup_prefix())?;
    let found = all.into_iter().map(|d| d.join(file)).find(|f| f.exists());
    let found = found.ok_or_else(|| Failed::from(format!("no cgroup has a file {file}")))?;
    Ok(fs::read_to_string(found)?.trim_end().to_owned())
}

/// Whether a file says this: as a whole, or in one of its lines.
fn says(s: &Sandbox, file: &str, expected: &str) -> Check {
    let text = value(s, file)?;
    check!(text == expected || text.lines().any(|l| l == expected), "{file} says {text:?}, not {expected:?}");
    Ok(())
}

/// Rows that runc writes only in newer versions, or never.
const OURS: [&str; 2] = ["TCP", "burst"];

/// One request, and where it shows on v1 and on v2; a name alone where the version has nothing like it.
type Row = (&'static str, Value, &'static str, &'static str);

fn memory_rows() -> Vec<Row> {
    let swap = json!({"limit": 64 << 20, "swap": 96 << 20});
    vec![
        ("limit", json!({"limit": 64 << 20}), "memory.limit_in_bytes 67108864", "memory.max 67108864"),
        ("no limit", json!({"limit": -1}), "memory.limit_in_bytes 9223372036854771712", "memory.max max"),
        ("swap", swap, "memory.memsw.limit_in_bytes 100663296", "memory.swap.max 33554432"),
        (
            "reservation",
            json!({"reservation": 32 << 20}),
            "memory.soft_limit_in_bytes 33554432",
            "memory.low 33554432",
        ),
        ("TCP", json!({"kernelTCP": 8 << 20}), "memory.kmem.tcp.limit_in_bytes 8388608", ""),
        ("swappiness", json!({"swappiness": 7}), "memory.swappiness 7", ""),
        ("no swappiness", json!({"swappiness": 0}), "memory.swappiness 0", ""),
        ("no OOM killer", json!({"disableOOMKiller": true}), "memory.oom_control oom_kill_disable 1", ""),
        ("OOM killer", json!({"disableOOMKiller": false}), "memory.oom_control oom_kill_disable 0", ""),
    ]
}

fn cpu_rows() -> Vec<Row> {
    vec![
        ("shares", json!({"shares": 512}), "cpu.shares 512", "cpu.weight 59"),
        ("least shares", json!({"shares": 2}), "cpu.shares 2", "cpu.weight 1"),
        ("quota", json!({"quota": 20_000}), "cpu.cfs_quota_us 20000", "cpu.max 20000 100000"),
        ("no quota", json!({"quota": -1}), "cpu.cfs_quota_us -1", "cpu.max max 100000"),
        ("period", json!({"period": 50_000}), "cpu.cfs_period_us 50000", "cpu.max max 50000"),
        ("burst", json!({"quota": 20_000, "burst": 10_000}), "cpu.cfs_burst_us 10000", "cpu.max.burst 10000"),
        ("idle", json!({"idle": 1, "shares": 512}), "cpu.idle 1", "cpu.idle 1"),
        ("not idle", json!({"idle": 0, "shares": 512}), "cpu.shares 512", "cpu.weight 59"),
        ("real-time period", json!({"realtimePeriod": 500_000}), "cpu.rt_period_us 500000", ""),
        (
            "real-time runtime",
            json!({"realtimePeriod": 500_000, "realtimeRuntime": 1_000}),
            "cpu.rt_runtime_us 1000",
            "",
        ),
        ("processors", json!({"cpus": "0"}), "cpuset.cpus 0", "cpuset.cpus 0"),
        ("memory nodes", json!({"mems": "0"}), "cpuset.mems 0", "cpuset.mems 0"),
    ]
}

/// Real-time groups are a choice of whoever built the kernel.
fn lacks(file: &str) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|l| l.split_once(":cpu,cpuacct:")).map_or("/", |(_, path)| path);
    let dir = Path::new("/sys/fs/cgroup/cpu").join(own.trim_start_matches('/'));
    file.starts_with("cpu.rt_") && !dir.join(file).exists()
}

fn rows_hold(group: &str, rows: Vec<Row>) -> Check {
    for (what, request, v1, v2) in rows {
        let expected = if Host::is_pure_v2() { v2 } else { v1 };
        let Some((file, expected)) = expected.split_once(' ').filter(|(file, _)| !lacks(file)) else {
            continue;
        };
        let s = sandbox()?;
        if OURS.contains(&what) && !s.runtime().is_oxrun() {
            continue;
        }
        created(&s, &json!({group: request}), EXIT)?;
        says(&s, file, expected)
            .map_err(|e| Failed::from(format!("{what}: {}", e.message().unwrap_or_default())))?;
    }
    Ok(())
}

fn each_memory_field_is_in_its_file() -> Check {
    rows_hold("memory", memory_rows())
}

fn each_cpu_field_is_in_its_file() -> Check {
    rows_hold("cpu", cpu_rows())
}

fn a_processor_or_a_memory_node_that_is_not_there_is_refused() -> Check {
    for key in ["cpus", "mems"] {
        let s = sandbox()?;
        let before = s.leaks()?;
        let bundle = s.bundle(&Config::new(EXIT).set("/linux/resources/cpu", json!({ key: "1000-1001" })))?;
        let output = s.runtime().create(bundle.path(), "c1")?.exits(1)?;
        let field = format!("/linux/resources/cpu/{key}");
        check!(
            output.says(&format!("cpuset.{key}")) || output.says(&field),
            "{output}\n  does not say what is wrong"
        );
        before.assert_same()?;
    }
    Ok(())
}

/// What the map of v2 says is written as it is, after everything else.
fn unified_values_are_in_their_files() -> Check {
    let s = sandbox()?;
    let disk = Disk::new(&s)?;
    let resources = json!({
        "memory": {"limit": 64 << 20},
        "cpu": {"shares": 512},
        "pids": {"limit": 33},
        "unified": {
            "memory.high": "33554432",
            "memory.min": "1048576",
            "memory.oom.group": "1",
            "cpu.weight": "77",
            "cpu.max": "max 50000",
            "cpuset.cpus": "0",
            "pids.max": "44",
            "io.max": format!("{0} rbps=1048576\n{0} wbps=2097152", disk.number),
        },
    });
    created(&s, &resources, EXIT)?;
    for line in [
        "memory.max 67108864",
        "memory.high 33554432",
        "memory.min 1048576",
        "memory.oom.group 1",
        "cpu.weight 77",
        "cpu.max max 50000",
        "cpuset.cpus 0",
        "pids.max 44",
    ] {
        let (file, expected) = line.split_once(' ').unwrap();
        says(&s, file, expected)?;
    }
    says(&s, "io.max", &format!("{} rbps=1048576 wbps=2097152 riops=max wiops=max", disk.number))
}

/// What no kernel has any more, or this version of cgroups has not, is told and does not fail.
fn what_cannot_be_limited_is_told_and_left_out() -> Check {
    let mut fields = vec![
        ("memory/kernel", json!({"memory": {"kernel": 64 << 20}})),
        ("blockIO/leafWeight", json!({"blockIO": {"leafWeight": 300}})),
    ];
    if Host::is_pure_v2() {
        fields.extend([
            ("memory/kernelTCP", json!({"memory": {"kernelTCP": 8 << 20}})),
            ("memory/swappiness", json!({"memory": {"swappiness": 7}})),
            ("memory/disableOOMKiller", json!({"memory": {"disableOOMKiller": true}})),
            ("cpu/realtimePeriod", json!({"cpu": {"realtimePeriod": 500_000}})),
            ("cpu/realtimeRuntime", json!({"cpu": {"realtimeRuntime": 1_000}})),
            ("network/classID", json!({"network": {"classID": 1}})),
            ("network/priorities", json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}})),
        ]);
    }
    for (field, resources) in fields {
        let s = sandbox()?;
        let bundle = s.bundle(&Config::new(EXIT).set("/linux/resources", resources))?;
        let output = s.runtime().create(bundle.path(), "c1")?.success()?;
        check!(output.says(&format!("/linux/resources/{field}")), "{output}\n  does not tell of {field}");
        check!(output.says("ignored"), "{output}\n  does not say that {field} is ignored");
    }
    Ok(())
}

fn all_fields_together_are_in_their_files() -> Check {
    let s = sandbox()?;
    let resources = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 33},
    });
    created(&s, &resources, EXIT)?;
    let v1: &[&str] = &[
        "memory.limit_in_bytes 67108864",
        "memory.memsw.limit_in_bytes 100663296",
        "memory.soft_limit_in_bytes 33554432",
        "cpu.shares 512",
        "cpu.cfs_quota_us 20000",
        "cpu.cfs_period_us 50000",
        "cpuset.cpus 0",
        "pids.max 33",
    ];
    let v2: &[&str] = &[
        "memory.max 67108864",
        "memory.swap.max 33554432",
        "memory.low 33554432",
        "cpu.weight 59",
        "cpu.max 20000 50000",
        "cpuset.cpus 0",
        "pids.max 33",
    ];
    for line in if Host::is_pure_v2() { v2 } else { v1 } {
        let (file, expected) = line.split_once(' ').unwrap();
        says(&s, file, expected)?;
    }
    Ok(())
}

/// Huge pages may be counted in the v2 tree of a hybrid host.
fn limits_of_huge_pages_are_in_their_files() -> Check {
    let sizes: Vec<String> = fs::read_dir("/sys/kernel/mm/hugepages")?
        .flatten()
        .filter_map(|e| {
            e.file_name().to_string_lossy().strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        })
        .map(|kib: u64| match kib {
            0..0x400 => format!("{kib}KB"),
            0x400..0x10_0000 => format!("{}MB", kib >> 10),
            _ => format!("{}GB", kib >> 20),
        })
        .collect();
    check!(!sizes.is_empty(), "no huge pages");
    for size in sizes {
        let s = sandbox()?;
        let limit = 2_u64 << 30;
        created(&s, &json!({"hugepageLimits": [{"pageSize": size, "limit": limit}]}), EXIT)?;
        for kind in ["", "rsvd."] {
            let file =
                format!("hugetlb.{size}.{kind}{}", if has_v1("hugetlb") { "limit_in_bytes" } else { "max" });
            says(&s, &file, &limit.to_string())?;
        }
    }
    Ok(())
}

fn marks_of_packets_are_in_their_files() -> Check {
    let s = sandbox()?;
    let network = json!({"classID": 1_048_577, "priorities": [{"name": "lo", "priority": 5}]});
    created(&s, &json!({ "network": network }), EXIT)?;
    says(&s, "net_cls.classid", "1048577")?;
    says(&s, "net_prio.ifpriomap", "lo 5")
}

/// A file of the v2 tree, by its name.
fn values_for_v2_files_are_written_as_they_are() -> Check {
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    let (file, value) = match list.split_whitespace().any(|word| word == "memory") {
        true => ("memory.high", "67108864"),
        false => ("hugetlb.2MB.max", "4194304"),
    };
    let s = sandbox()?;
    created(&s, &json!({ "unified": { file: value } }), EXIT)?;
    says(&s, file, value)
}

/// A disk of nothing, for this test alone.
struct Disk {
    node: String,
    number: String,
}

impl Disk {
    fn new(s: &Sandbox) -> Check<Disk> {
        let file = s.make_file("disk", "")?;
        fs::File::options().write(true).open(&file)?.set_len(8 << 20)?;
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output()?;
        check!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        let node = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let mut disk = Disk { node, number: String::new() };
        disk.number = fs::read_to_string(disk.sys("dev"))?.trim().to_owned();
        Ok(disk)
    }

    fn sys(&self, file: &str) -> PathBuf {
        Path::new("/sys/block").join(self.node.trim_start_matches("/dev/")).join(file)
    }

    fn entry(&self, key: &str, value: u64) -> Value {
        let (major, minor) = self.number.split_once(':').unwrap();
        let number = |n: &str| n.parse::<u32>().unwrap();
        json!([{"major": number(major), "minor": number(minor), key: value}])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.node]).status();
    }
}

fn rates_of_a_disk_are_in_their_files() -> Check {
    let s = sandbox()?;
    let disk = Disk::new(&s)?;
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": disk.entry("rate", 1_048_576),
        "throttleWriteBpsDevice": disk.entry("rate", 2_097_152),
        "throttleReadIOPSDevice": disk.entry("rate", 300),
        "throttleWriteIOPSDevice": disk.entry("rate", 400),
    }});
    created(&s, &resources, EXIT)?;
    let n = &disk.number;
    if Host::is_pure_v2() {
        return says(&s, "io.max", &format!("{n} rbps=1048576 wbps=2097152 riops=300 wiops=400"));
    }
    for (file, rate) in
        [("read_bps", 1_048_576), ("write_bps", 2_097_152), ("read_iops", 300), ("write_iops", 400)]
    {
        says(&s, &format!("blkio.throttle.{file}_device"), &format!("{n} {rate}"))?;
    }
    Ok(())
}

fn weights_of_block_io_are_in_their_files() -> Check {
    let s = sandbox()?;
    let disk = Disk::new(&s)?;
    fs::write(disk.sys("queue/scheduler"), "bfq")?;
    let resources = json!({"blockIO": {"weight": 300, "weightDevice": disk.entry("weight", 500)}});
    created(&s, &resources, EXIT)?;
    let n = &disk.number;
    if Host::is_pure_v2() {
        says(&s, "io.bfq.weight", "default 300")?;
        return says(&s, "io.bfq.weight", &format!("{n} 500"));
    }
    says(&s, "blkio.bfq.weight", "300")?;
    says(&s, "blkio.bfq.weight_device", &format!("{n} 500"))
}

fn a_process_beyond_the_memory_limit_is_killed() -> Check {
    let s = sandbox()?;
    created(&s, &json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}}), &["/bin/probe", "alloc", "128"])?;
    let pid = s.runtime().pid("c1")?;
    s.runtime().start("c1")?.success()?;
    check_eq!(s.runtime().wait_for(pid)?, Some(137), "how it ended");
    let events = if Host::is_pure_v2() { "memory.events" } else { "memory.oom_control" };
    says(&s, events, "oom_kill 1")
}

fn a_process_beyond_the_pids_limit_is_not_made() -> Check {
    let s = sandbox()?;
    created(&s, &json!({"pids": {"limit": 5}}), &["/bin/probe", "spawn", "10"])?;
    let pid = s.runtime().pid("c1")?;
    s.runtime().start("c1")?.success()?;
    check_eq!(s.runtime().wait_for(pid)?, Some(125), "how it ended");
    says(&s, "pids.events", "max 1")
}

fn a_process_beyond_the_cpu_quota_waits() -> Check {
    let s = sandbox()?;
    let busy = Config::new(&["/bin/probe", "open-always", "/dev/null"])
        .set("/linux/resources/cpu", json!({"quota": 5_000, "period": 100_000}));
    let bundle = s.bundle(&busy)?;
    let pid = s.runtime().start_ready(bundle.path(), "c1")?;
    let mut events = s.runtime().foreground(&["events", "--interval", "50ms", "c1"])?;
    loop {
        let line = events.next_line()?.ok_or_else(|| Failed::from("the container ended"))?;
        let event: Value = serde_json::from_str(&line).map_err(|e| Failed::from(e.to_string()))?;
        if event["data"]["cpu"]["throttling"]["throttledTime"].as_u64() > Some(0) {
            break;
        }
    }
    s.runtime().kill("c1", "TERM")?.success()?;
    check_eq!(s.runtime().wait_for(pid)?, Some(0), "how it ended");
    Ok(())
}

fn a_limit_without_a_controller_is_refused_and_nothing_is_left() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let pages = json!({"hugepageLimits": [{"pageSize": "2MB/../../x", "limit": 1}]});
    let mut cases = vec![
        (json!({"rdma": {"mlx5_0": {"hcaHandles": 1}}}), "/linux/resources/rdma/mlx5_0"),
        (pages, "/linux/resources/hugepageLimits/0/pageSize"),
        (json!({"unified": {"nosuch.max": "1"}}), "/linux/resources/unified"),
    ];
    if !Host::is_pure_v2() && !has_v1("net_cls") {
        cases.push((json!({"network": {"classID": 1}}), "/linux/resources/network/classID"));
    }
    for (resources, field) in cases {
        let bundle = s.bundle(&Config::new(EXIT).set("/linux/resources", resources))?;
        s.runtime().create(bundle.path(), "c1")?.refused(field)?;
        before.assert_same()?;
    }
    Ok(())
}

fn has_v1(controller: &str) -> bool {
    let is = |root: &PathBuf| {
        root.file_name().is_some_and(|n| n.to_string_lossy().split(',').any(|word| word == controller))
    };
    Host::cgroup_roots().is_ok_and(|roots| roots.iter().any(is))
}

fn main() -> ExitCode {
    /// Hosts whose only tree lacks the controllers of most tests.
    fn without_controllers() -> Option<String> {
        let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let there = |c: &str| list.split_whitespace().any(|w| w == c);
        let lacks = Host::is_pure_v2() && !["memory", "cpu", "cpuset", "pids", "io"].into_iter().all(there);
        lacks.then(|| "the v2 tree lacks controllers".to_owned())
    }
    fn without_disks() -> Option<String> {
        let missing = Command::new("losetup").arg("--version").stdout(Stdio::null()).status().is_err();
        without_controllers().or_else(|| missing.then(|| "there is no losetup".to_owned()))
    }
    fn without_bfq() -> Option<String> {
        let list = fs::read_to_string("/sys/block/loop0/queue/scheduler").unwrap_or_default();
        without_disks().or_else(|| (!list.contains("bfq")).then(|| "the kernel has no BFQ".to_owned()))
    }
    fn without_v2_and_disks() -> Option<String> {
        let hybrid = (!Host::is_pure_v2()).then(|| "there is no v2 tree alone".to_owned());
        hybrid.or_else(without_disks)
    }
    fn without_huge_pages() -> Option<String> {
        let roots = Host::cgroup_roots().unwrap_or_default();
        let counted = roots.iter().any(|r| {
            r.ends_with("hugetlb")
                || fs::read_to_string(r.join("cgroup.controllers")).is_ok_and(|t| t.contains("hugetlb"))
        });
        (!counted).then(|| "huge pages are not counted".to_owned())
    }
    macro_rules! tests {
        ($missing:ident: $($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), $missing, $name)),*] };
    }
    fn without_v2() -> Option<String> {
        let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let there =
            ["memory", "hugetlb"].into_iter().any(|name| list.split_whitespace().any(|word| word == name));
        (!there).then(|| "needs a host with cgroup v2 alone, or OXRUN_CGROUP_VIEW=v2".to_owned())
    }
    let mut tests = tests![without_controllers:
        each_memory_field_is_in_its_file,
        each_cpu_field_is_in_its_file,
        a_processor_or_a_memory_node_that_is_not_there_is_refused,
        all_fields_together_are_in_their_files,
        a_process_beyond_the_memory_limit_is_killed,
        a_process_beyond_the_pids_limit_is_not_made,
        a_process_beyond_the_cpu_quota_waits,
    ];
    fn without_marks() -> Option<String> {
        let there = |name: &str| {
            Host::cgroup_roots().is_ok_and(|roots| roots.iter().any(|r| r.to_string_lossy().contains(name)))
        };
        (!there("net_cls") || !there("net_prio")).then(|| "there is no v1 hierarchy for packets".to_owned())
    }
    tests.extend(tests![without_marks: marks_of_packets_are_in_their_files]);
    tests.extend(tests![without_v2: values_for_v2_files_are_written_as_they_are]);
    tests.extend(tests![without_disks: rates_of_a_disk_are_in_their_files]);
    tests.extend(tests![without_bfq: weights_of_block_io_are_in_their_files]);
    tests.extend(tests![without_huge_pages: limits_of_huge_pages_are_in_their_files]);
    tests.extend(tests![without_v2_and_disks: unified_values_are_in_their_files]);
    tests.push(oxrun_only(
        "what_cannot_be_limited_is_told_and_left_out",
        "others ignore them without a word",
        what_cannot_be_limited_is_told_and_left_out,
    ));
    tests.push(oxrun_only(
        "a_limit_without_a_controller_is_refused_and_nothing_is_left",
        "others ignore some of them",
        a_limit_without_a_controller_is_refused_and_nothing_is_left,
    ));
    run(tests)
}
