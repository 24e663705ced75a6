//! Resources as properties, by the version of systemd.

use crate::cgroup::systemd::{limits, properties};
use crate::cgroup::{v1, v2};
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

fn resources(json: Value) -> LinuxResources {
    serde_json::from_value(json).unwrap()
}

/// One property on each line, and what is written to files behind a line.
fn lines(json: Value, version: u32, pure_v2: bool) -> Vec<String> {
    let resources = resources(json);
    let writes = if pure_v2 { v2::writes(&resources) } else { v1::writes(&resources) }.unwrap();
    let (properties, files) = limits(&writes, version, pure_v2);
    let properties = properties.iter().map(ToString::to_string);
    properties.chain(files.iter().map(|w| format!("{} < {}", w.file, w.value))).collect()
}

fn everything() -> Value {
    json!({
        "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100_000, "burst": 10, "cpus": "0-2,9", "mems": "0"},
        "pids": {"limit": 20},
        "blockIO": {
            "weight": 500,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}, {"major": 8, "minor": 16, "weight": 1000}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "unified": {"memory.high": "800", "memory.min": "max", "cpu.idle": "1", "misc.max": "a 1"},
    })
}

#[test]
fn on_v2_everything_becomes_a_property_that_systemd_has() {
    let expected = [
        "MemorySwapMax=2000",
        "MemoryMax=1000",
        "MemoryLow=500",
        "CPUWeight=0",
        "CPUQuotaPeriodUSec=100000",
        "CPUQuotaPerSecUSec=500000",
        "AllowedCPUs=0702",
        "AllowedMemoryNodes=01",
        "TasksMax=20",
        "IOWeight=4950",
        "IODeviceWeight=/dev/block/8:0 1, /dev/block/8:16 10000",
        "IOReadBandwidthMax=/dev/block/8:0 100",
        "IOWriteIOPSMax=/dev/block/8:0 infinity",
        "MemoryHigh=800",
        "MemoryMin=infinity",
        "memory.swap.max < 2000",
        "cpu.max.burst < 10",
        "io.weight < default 4950",
        "io.weight < 8:0 1",
        "io.weight < 8:16 10000",
        "io.max < 8:0 rbps=100",
        "io.max < 8:0 wiops=max",
        "hugetlb.2MB.max < 4096",
        "hugetlb.2MB.rsvd.max < 4096",
        "misc.max < a 1",
    ];
    assert_eq!(lines(everything(), 252, true), expected);
}

#[test]
fn an_older_systemd_leaves_more_to_the_files() {
    let cpu = || json!({"cpu": {"quota": 5000, "period": 50_000, "cpus": "0", "idle": 1}});
    assert_eq!(
        lines(cpu(), 241, true),
        ["CPUQuotaPerSecUSec=100000", "cpu.idle < 1", "cpu.max < 5000 50000", "cpuset.cpus < 0"]
    );
    assert_eq!(
        lines(cpu(), 243, true),
        ["CPUQuotaPeriodUSec=50000", "CPUQuotaPerSecUSec=100000", "cpu.idle < 1", "cpuset.cpus < 0"]
    );
    assert_eq!(
        lines(cpu(), 252, true),
        ["CPUWeight=0", "CPUQuotaPeriodUSec=50000", "CPUQuotaPerSecUSec=100000", "AllowedCPUs=01"]
    );
    let oom = || json!({"unified": {"memory.oom.group": "1", "memory.zswap.max": "5"}});
    assert_eq!(lines(oom(), 252, true), ["memory.oom.group < 1", "memory.zswap.max < 5"]);
    assert_eq!(lines(oom(), 253, true), ["OOMPolicy=kill", "MemoryZSwapMax=5", "memory.oom.group < 1"]);
}

#[test]
fn a_quota_that_systemd_rounds_is_written_exactly_beside() {
    for (quota, period, per_second, file) in [
        (50_000, 100_000, "500000", None),
        (12_345, 100_000, "130000", Some("cpu.max < 12345 100000")),
        (1, 1_000_000, "10000", Some("cpu.max < 1 1000000")),
        (100, 300, "340000", Some("cpu.max < 100 300")),
        // What systemd does with a period of half a millisecond is its own.
        (500, 500, "1000000", Some("cpu.max < 500 500")),
        (-1, 100_000, "infinity", None),
    ] {
        let all = lines(json!({"cpu": {"quota": quota, "period": period}}), 252, true);
        assert_eq!(all.get(1), Some(&format!("CPUQuotaPerSecUSec={per_second}")), "{quota}/{period}");
        assert_eq!(all.get(2).map(String::as_str), file, "{quota}/{period}");
    }
}

#[test]
fn sets_become_bits() {
    let cpus = |set: &str| lines(json!({"cpu": {"cpus": set}}), 252, true).join("; ");
    for (set, expected) in [
        ("0", "AllowedCPUs=01"),
        ("0-7", "AllowedCPUs=ff"),
        ("8", "AllowedCPUs=0001"),
        ("1, 3-4", "AllowedCPUs=1a"),
        // For the kernel to refuse.
        ("4-3", "cpuset.cpus < 4-3"),
        ("99999", "cpuset.cpus < 99999"),
        ("a", "cpuset.cpus < a"),
    ] {
        assert_eq!(cpus(set), expected, "{set}");
    }
}

#[test]
fn on_v1_the_files_are_written_too() {
    let all = lines(
        json!({
            "memory": {"limit": 1000, "reservation": 500},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000},
            "pids": {"limit": -1},
        }),
        252,
        false,
    );
    for property in [
        "MemoryLimit=1000",
        "CPUShares=512",
        "CPUQuotaPeriodUSec=100000",
        "CPUQuotaPerSecUSec=500000",
        "TasksMax=infinity",
    ] {
        assert!(all.iter().any(|l| l == property), "{property} is not in {all:?}");
    }
    for file in [
        "memory.limit_in_bytes < 1000",
        "memory.soft_limit_in_bytes < 500",
        "cpu.shares < 512",
        "pids.max < max",
    ] {
        assert!(all.iter().any(|l| l == file), "{file} is not in {all:?}");
    }
}

fn devices(rules: Value) -> Vec<String> {
    let all = properties(&resources(json!({"devices": rules})), 252, true).unwrap();
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn devices_are_a_list_of_what_is_allowed() {
    let all = devices(json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "b", "major": 8, "minor": 1, "access": "r"},
        {"allow": true, "type": "c", "major": 4, "access": "rw"},
    ]));
    assert_eq!(all.first().map(String::as_str), Some("DevicePolicy=strict"));
    let list = all.get(1).unwrap();
    for entry in
        ["/dev/block/8:1 r", "char-4 rw", "char-* m", "block-* m", "/dev/char/1:3 rwm", "char-136 rwm"]
    {
        assert!(list.contains(entry), "{entry} is not in {list}");
    }
}

#[test]
fn what_a_list_cannot_say_is_left_to_the_program() {
    for rules in [
        json!([{"allow": true, "access": "rwm"}]),
        json!([{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "minor": 1}]),
        json!([{"allow": false}, {"allow": true, "type": "c", "minor": 3, "access": "r"}]),
    ] {
        assert_eq!(devices(rules.clone()), ["DevicePolicy=auto"], "{rules}");
    }
}
