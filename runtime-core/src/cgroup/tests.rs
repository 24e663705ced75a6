//! What limits become, on v1 and on v2: edge values one by one, and any request read back from its writes.

use super::{Write, left_out, resources_from_json, v1, v2};
use oci_spec::runtime::LinuxResources;
use std::collections::BTreeMap;

fn resources(json: &str) -> LinuxResources {
    resources_from_json(json.as_bytes()).expect("resources").0
}

fn lines(writes: &[Write]) -> Vec<String> {
    writes.iter().map(|w| format!("{} {}", w.file, w.value)).collect()
}

fn on_v1(json: &str) -> Vec<String> {
    lines(&v1::writes(&resources(json)).expect("writes"))
}

fn on_v2(json: &str) -> Vec<String> {
    lines(&v2::writes(&resources(json)).expect("writes"))
}

/// The field and the sentence of a refusal.
fn refused(writes: crate::Result<Vec<Write>>) -> (String, String) {
    let e = writes.expect_err("refused");
    (e.field().unwrap_or("").to_owned(), e.to_string())
}

#[test]
fn memory_and_its_edges() {
    for (json, one, two) in [
        (r#"{"memory":{}}"#, &[][..], &[][..]),
        (r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernelTCP":0}}"#, &[], &[]),
        (r#"{"memory":{"limit":100}}"#, &["memory.limit_in_bytes 100"], &["memory.max 100"]),
        (
            r#"{"memory":{"limit":-1}}"#,
            &["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1"],
            &["memory.swap.max max", "memory.max max"],
        ),
        (
            r#"{"memory":{"limit":-1,"swap":500}}"#,
            &["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes 500"],
            &["memory.swap.max 500", "memory.max max"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            &["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes -1"],
            &["memory.swap.max max", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":100}}"#,
            &["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 100"],
            &["memory.swap.max 0", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":9223372036854775807,"swap":9223372036854775807}}"#,
            &["memory.limit_in_bytes 9223372036854775807", "memory.memsw.limit_in_bytes 9223372036854775807"],
            &["memory.swap.max 0", "memory.max 9223372036854775807"],
        ),
        (r#"{"memory":{"reservation":-1}}"#, &["memory.soft_limit_in_bytes -1"], &["memory.low max"]),
        (
            r#"{"memory":{"kernelTCP":7,"swappiness":0,"disableOOMKiller":true}}"#,
            &["memory.kmem.tcp.limit_in_bytes 7", "memory.swappiness 0", "memory.oom_control 1"],
            &[],
        ),
        (r#"{"memory":{"disableOOMKiller":false,"useHierarchy":true,"kernel":5}}"#, &[], &[]),
    ] {
        assert_eq!(on_v1(json), one, "v1 of {json}");
        assert_eq!(on_v2(json), two, "v2 of {json}");
    }
}

#[test]
fn cpu_and_its_edges() {
    for (json, one, two) in [
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#, &[][..], &[][..]),
        (r#"{"cpu":{"shares":2}}"#, &["cpu.shares 2"], &["cpu.weight 1"]),
        (r#"{"cpu":{"shares":262144}}"#, &["cpu.shares 262144"], &["cpu.weight 10000"]),
        (
            r#"{"cpu":{"shares":18446744073709551615}}"#,
            &["cpu.shares 18446744073709551615"],
            &["cpu.weight 10000"],
        ),
        (r#"{"cpu":{"quota":50000}}"#, &["cpu.cfs_quota_us 50000"], &["cpu.max 50000 100000"]),
        (r#"{"cpu":{"period":50000}}"#, &["cpu.cfs_period_us 50000"], &["cpu.max max 50000"]),
        (
            r#"{"cpu":{"quota":-1,"period":1000}}"#,
            &["cpu.cfs_period_us 1000", "cpu.cfs_quota_us -1"],
            &["cpu.max max 1000"],
        ),
        (
            r#"{"cpu":{"quota":2000,"period":1000,"burst":2000}}"#,
            &["cpu.cfs_period_us 1000", "cpu.cfs_quota_us 2000", "cpu.cfs_burst_us 2000"],
            &["cpu.max 2000 1000", "cpu.max.burst 2000"],
        ),
        (r#"{"cpu":{"burst":0}}"#, &["cpu.cfs_burst_us 0"], &["cpu.max.burst 0"]),
        (
            r#"{"cpu":{"realtimePeriod":1000000,"realtimeRuntime":950000}}"#,
            &["cpu.rt_period_us 1000000", "cpu.rt_runtime_us 950000"],
            &[],
        ),
        (r#"{"cpu":{"idle":0}}"#, &["cpu.idle 0"], &["cpu.idle 0"]),
        (r#"{"cpu":{"idle":1,"shares":512}}"#, &["cpu.idle 1"], &["cpu.idle 1"]),
        (
            r#"{"cpu":{"idle":0,"shares":1024}}"#,
            &["cpu.shares 1024", "cpu.idle 0"],
            &["cpu.idle 0", "cpu.weight 100"],
        ),
        (
            r#"{"cpu":{"cpus":"0","mems":"0-1,3"}}"#,
            &["cpuset.cpus 0", "cpuset.mems 0-1,3"],
            &["cpuset.cpus 0", "cpuset.mems 0-1,3"],
        ),
    ] {
        assert_eq!(on_v1(json), one, "v1 of {json}");
        assert_eq!(on_v2(json), two, "v2 of {json}");
    }
}

#[test]
fn block_io_and_its_edges() {
    for (json, one, two) in [
        (r#"{"blockIO":{"weight":0,"weightDevice":[],"throttleReadBpsDevice":[]}}"#, &[][..], &[][..]),
        (r#"{"blockIO":{"weight":10}}"#, &["blkio.weight 10"], &["io.weight default 1"]),
        (r#"{"blockIO":{"weight":1000}}"#, &["blkio.weight 1000"], &["io.weight default 10000"]),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500},{"major":8,"minor":16,"weight":0}]}}"#,
            &["blkio.weight_device 8:0 500"],
            &["io.weight 8:0 4950"],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],
                "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4},{"major":7,"minor":1,"rate":0}]}}"#,
            &[
                "blkio.throttle.read_bps_device 8:0 1",
                "blkio.throttle.write_bps_device 8:0 2",
                "blkio.throttle.read_iops_device 8:0 3",
                "blkio.throttle.write_iops_device 8:0 4",
                "blkio.throttle.write_iops_device 7:1 0",
            ],
            &[
                "io.max 8:0 rbps=1",
                "io.max 8:0 wbps=2",
                "io.max 8:0 riops=3",
                "io.max 8:0 wiops=4",
                "io.max 7:1 wiops=max",
            ],
        ),
    ] {
        assert_eq!(on_v1(json), one, "v1 of {json}");
        assert_eq!(on_v2(json), two, "v2 of {json}");
    }
}

#[test]
fn other_controllers() {
    for (json, one, two) in [
        (r#"{"pids":{}}"#, &[][..], &[][..]),
        (
            r#"{"pids":{"limit":9223372036854775807}}"#,
            &["pids.max 9223372036854775807"],
            &["pids.max 9223372036854775807"],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304},{"pageSize":"1GB","limit":0}]}"#,
            &[
                "hugetlb.2MB.limit_in_bytes 4194304",
                "hugetlb.2MB.rsvd.limit_in_bytes 4194304",
                "hugetlb.1GB.limit_in_bytes 0",
                "hugetlb.1GB.rsvd.limit_in_bytes 0",
            ],
            &[
                "hugetlb.2MB.max 4194304",
                "hugetlb.2MB.rsvd.max 4194304",
                "hugetlb.1GB.max 0",
                "hugetlb.1GB.rsvd.max 0",
            ],
        ),
        (
            r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500},{"name":"lo","priority":0}]}}"#,
            &["net_cls.classid 1048577", "net_prio.ifpriomap eth0 500", "net_prio.ifpriomap lo 0"],
            &[],
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":0},"none":{}}}"#,
            &["rdma.max mlx4_0 hca_object=0", "rdma.max mlx5_1 hca_handle=3 hca_object=10000"],
            &["rdma.max mlx4_0 hca_object=0", "rdma.max mlx5_1 hca_handle=3 hca_object=10000"],
        ),
    ] {
        assert_eq!(on_v1(json), one, "v1 of {json}");
        assert_eq!(on_v2(json), two, "v2 of {json}");
    }
}

#[test]
fn unified_values_are_written_line_by_line_after_all_others() {
    let json = r#"{"memory":{"limit":100},"pids":{"limit":5},
        "unified":{"pids.max":"7","memory.high":"90","io.max":"8:0 rbps=1\n8:16 wbps=2\n"}}"#;
    assert_eq!(
        on_v2(json),
        [
            "memory.max 100",
            "pids.max 5",
            "io.max 8:0 rbps=1",
            "io.max 8:16 wbps=2",
            "memory.high 90",
            "pids.max 7"
        ]
    );
    let (field, text) = refused(v1::writes(&resources(json)));
    assert_eq!(field, "/linux/resources/unified");
    assert!(text.starts_with("invalid configuration"), "{text}");
}

#[test]
fn a_unified_name_that_is_no_file_of_a_controller_is_refused() {
    for name in ["memory", "../memory.max", "a/b.c", ".max", "memory.", "", "..", "."] {
        let json = serde_json::json!({"unified": {name: "1"}}).to_string();
        let (field, _) = refused(v2::writes(&resources(&json)));
        assert!(field.starts_with("/linux/resources/unified/"), "{name:?}: {field}");
    }
}

#[test]
fn a_page_size_never_leads_to_another_file() {
    for size in ["", "MB", "2", "2mb", "2XB", "2MB.max", "../2MB", "2MB/../../x", "-2MB", "2 MB", "２MB"] {
        let json = serde_json::json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]}).to_string();
        for writes in [v1::writes(&resources(&json)), v2::writes(&resources(&json))] {
            let (field, text) = refused(writes);
            assert_eq!(field, "/linux/resources/hugepageLimits/0/pageSize", "{size:?}");
            assert!(text.contains("invalid huge page size"), "{text}");
        }
    }
}

#[test]
fn swap_without_a_meaning_is_refused_on_v2() {
    for (json, expected) in [
        (r#"{"memory":{"swap":5}}"#, "unable to set swap limit without memory limit"),
        (r#"{"memory":{"limit":0,"swap":5}}"#, "unable to set swap limit without memory limit"),
        (r#"{"memory":{"limit":100,"swap":99}}"#, "memory+swap limit should be >= memory limit"),
    ] {
        let (field, text) = refused(v2::writes(&resources(json)));
        assert_eq!((field.as_str(), text.as_str()), ("/linux/resources/memory/swap", expected), "{json}");
    }
}

#[test]
fn a_memory_limit_below_none_is_refused_on_v2() {
    for limit in [-2, i64::MIN] {
        let json = format!(r#"{{"memory":{{"limit":{limit},"swap":9223372036854775807}}}}"#);
        let (field, text) = refused(v2::writes(&resources(&json)));
        assert_eq!(field, "/linux/resources/memory/limit");
        assert!(text.contains("neither -1"), "{text}");
    }
}

#[test]
fn what_cannot_be_done_is_named_and_defaults_are_not() {
    let fields = |json: &str, pure_v2| -> Vec<&str> {
        left_out(&resources(json), pure_v2).into_iter().map(|(field, _)| field).collect()
    };
    let all = r#"{"memory":{"kernel":1,"kernelTCP":1,"swappiness":10,"disableOOMKiller":true},
        "cpu":{"realtimePeriod":1,"realtimeRuntime":1},"network":{"classID":1,"priorities":[{"name":"lo","priority":1}]},
        "blockIO":{"leafWeight":10}}"#;
    assert_eq!(fields(all, false), ["blockIO/leafWeight", "memory/kernel"]);
    assert_eq!(
        fields(all, true),
        [
            "blockIO/leafWeight",
            "memory/kernel",
            "memory/kernelTCP",
            "memory/swappiness",
            "memory/disableOOMKiller",
            "cpu/realtimePeriod",
            "cpu/realtimeRuntime",
            "network/classID",
            "network/priorities",
        ]
    );
    let defaults = r#"{"memory":{"kernel":0,"kernelTCP":0,"disableOOMKiller":false},
        "cpu":{"realtimePeriod":0,"realtimeRuntime":0},"network":{"priorities":[]},
        "blockIO":{"leafWeight":0,"weightDevice":[{"major":1,"minor":1,"leafWeight":0}]}}"#;
    assert_eq!(fields(defaults, true), [""; 0]);
}

#[test]
fn bfq_gets_back_the_weight_that_was_asked_for() {
    for weight in 10..=1000 {
        assert_eq!(v2::blkio_weight(v2::io_weight(weight)), u64::from(weight), "{weight}");
    }
}

/// Every share has a weight in the range of the kernel, more shares never have less of it.
#[test]
fn weights_grow_with_shares() {
    let mut last = 0;
    for shares in (0..=262_144).chain([262_145, u64::MAX]) {
        let weight = v2::weight(shares);
        assert!(weight >= last && weight <= 10_000, "{shares}: {weight} after {last}");
        assert_eq!(weight == 0, shares == 0, "{shares}");
        last = weight;
    }
}

/// A generator of numbers (splitmix64): the same ones in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A value in a third of all cases.
    fn maybe(&mut self, from: i64, to: i64) -> Option<i64> {
        let n = from + (self.below((to - from) as u64) as i64);
        (self.below(3) > 0).then_some(n)
    }
}

/// A request that the writers take, as the numbers that it is made of.
#[derive(Debug, PartialEq, Default)]
struct Request {
    limit: Option<i64>,
    swap: Option<i64>,
    reservation: Option<i64>,
    shares: Option<i64>,
    quota: Option<i64>,
    period: Option<i64>,
    burst: Option<i64>,
    pids: Option<i64>,
    weight: Option<i64>,
    rates: BTreeMap<(String, i64), i64>,
    pages: Option<i64>,
}

const RATES: [(&str, &str, &str); 4] = [
    ("throttleReadBpsDevice", "read_bps", "rbps"),
    ("throttleWriteBpsDevice", "write_bps", "wbps"),
    ("throttleReadIOPSDevice", "read_iops", "riops"),
    ("throttleWriteIOPSDevice", "write_iops", "wiops"),
];

impl Request {
    fn any(random: &mut Random) -> Request {
        let limit = random.maybe(1, 1 << 40);
        let swap = limit.and_then(|l| random.maybe(l, l + (1 << 40)));
        let mut rates = BTreeMap::new();
        for (key, _, _) in RATES {
            if let (Some(minor), Some(rate)) = (random.maybe(0, 200), random.maybe(1, 1 << 40)) {
                rates.insert((key.to_owned(), minor), rate);
            }
        }
        let quota = random.maybe(1000, 1 << 30);
        Request {
            limit,
            swap,
            reservation: random.maybe(1, 1 << 40),
            shares: random.maybe(2, 262_145),
            quota,
            // v2 writes the default beside a quota; the same is asked for.
            period: random.maybe(1000, 1_000_001).or(quota.map(|_| 100_000)),
            burst: random.maybe(0, 1 << 20),
            pids: random.maybe(1, 1 << 22),
            weight: random.maybe(10, 1001),
            rates,
            pages: random.maybe(0, 1 << 40),
        }
    }

    fn json(&self) -> String {
        let mut document = serde_json::json!({
            "memory": {"limit": self.limit, "swap": self.swap, "reservation": self.reservation},
            "cpu": {"shares": self.shares, "quota": self.quota, "period": self.period, "burst": self.burst},
            "blockIO": {"weight": self.weight},
        });
        for ((key, minor), rate) in &self.rates {
            document["blockIO"][key] = serde_json::json!([{"major": 259, "minor": minor, "rate": rate}]);
        }
        if let Some(n) = self.pids {
            document["pids"] = serde_json::json!({"limit": n});
        }
        if let Some(n) = self.pages {
            document["hugepageLimits"] = serde_json::json!([{"pageSize": "2MB", "limit": n}]);
        }
        document.to_string()
    }

    fn read_back(writes: &[Write], pure_v2: bool) -> Request {
        let text = |file: &str| writes.iter().find(|w| w.file == file).map(|w| w.value.as_str());
        let n = |one: &str, two: &str| text(if pure_v2 { two } else { one })?.parse::<i64>().ok();
        let limit = n("memory.limit_in_bytes", "memory.max");
        let swap = n("memory.memsw.limit_in_bytes", "memory.swap.max");
        let mut rates = BTreeMap::new();
        for (key, one, two) in RATES {
            for w in writes {
                let (device, rate) = w.value.split_once(' ').unwrap_or(("", ""));
                let rate = match pure_v2 {
                    true if w.file == "io.max" => rate.strip_prefix(&format!("{two}=")),
                    false if w.file == format!("blkio.throttle.{one}_device") => Some(rate),
                    _ => None,
                };
                if let (Some(rate), Some(minor)) = (rate, device.strip_prefix("259:")) {
                    rates.insert((key.to_owned(), minor.parse().unwrap()), rate.parse().unwrap());
                }
            }
        }
        let mut request = Request {
            limit,
            swap,
            reservation: n("memory.soft_limit_in_bytes", "memory.low"),
            burst: n("cpu.cfs_burst_us", "cpu.max.burst"),
            pids: n("pids.max", "pids.max"),
            pages: n("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"),
            rates,
            ..Request::default()
        };
        assert_eq!(n("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"), request.pages);
        if !pure_v2 {
            request.shares = n("cpu.shares", "");
            request.quota = n("cpu.cfs_quota_us", "");
            request.period = n("cpu.cfs_period_us", "");
            request.weight = n("blkio.weight", "");
            return request;
        }
        request.swap = swap.zip(limit).map(|(s, l)| s + l);
        if let Some((quota, period)) = text("cpu.max").and_then(|t| t.split_once(' ')) {
            (request.quota, request.period) = (quota.parse().ok(), period.parse().ok());
        }
        let weight = text("io.weight").and_then(|t| t.strip_prefix("default ")?.parse().ok());
        request.weight = weight.map(|w: u64| v2::blkio_weight(w) as i64);
        request
    }
}

#[test]
fn any_request_can_be_read_from_its_writes() {
    let mut random = Random(1);
    for _ in 0..1_000 {
        let mut asked = Request::any(&mut random);
        let resources = resources(&asked.json());
        assert_eq!(Request::read_back(&v1::writes(&resources).expect("writes"), false), asked);
        let writes = v2::writes(&resources).expect("writes");
        let weight = writes.iter().find(|w| w.file == "cpu.weight").map(|w| w.value.clone());
        let expected = asked.shares.take().map(|s| v2::weight(s as u64).to_string());
        assert_eq!(weight, expected);
        assert_eq!(Request::read_back(&writes, true), asked);
    }
}

/// The field of every write is the one that asks for it.
#[test]
fn every_write_names_its_field() {
    let mut random = Random(2);
    for _ in 0..200 {
        let document = serde_json::json!({"linux": {"resources":
            serde_json::from_str::<serde_json::Value>(&Request::any(&mut random).json()).unwrap()}});
        let json = document["linux"]["resources"].to_string();
        let resources = resources(&json);
        for w in
            v1::writes(&resources).expect("writes").iter().chain(&v2::writes(&resources).expect("writes"))
        {
            assert!(document.pointer(&w.field).is_some_and(|v| !v.is_null()), "{w:?} of {json}");
        }
    }
}
