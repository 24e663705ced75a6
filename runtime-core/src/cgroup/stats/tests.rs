use super::{Files, Stats, v1, v2};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Files as they were seen on hosts.
struct Recorded(BTreeMap<&'static str, &'static str>);

impl Files for Recorded {
    fn read(&self, _: &str, file: &str) -> Option<String> {
        self.0.get(file).map(|t| (*t).to_owned())
    }
    fn names(&self, controller: &str) -> Vec<String> {
        self.0.keys().filter(|k| k.starts_with(controller)).map(|k| (*k).to_owned()).collect()
    }
}

fn recorded(files: &[(&'static str, &'static str)]) -> Recorded {
    Recorded(files.iter().copied().collect())
}

fn on_v1(files: &[(&'static str, &'static str)]) -> Value {
    let mut stats = Stats::default();
    v1::read(&recorded(files), &mut stats);
    serde_json::to_value(stats).expect("serialises")
}

fn on_v2(files: &[(&'static str, &'static str)]) -> Value {
    let mut stats = Stats::default();
    v2::read(&recorded(files), &mut stats);
    serde_json::to_value(stats).expect("serialises")
}

#[test]
fn a_host_without_any_file_gives_the_form_alone() {
    let entry = json!({"limit": 0, "failcnt": 0});
    let expected = json!({
        "cpu": {"usage": {"kernel": 0, "user": 0}},
        "cpuset": {
            "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
            "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
            "sched_load_balance": 0, "sched_relax_domain_level": 0,
        },
        "memory": {"usage": entry, "swap": entry, "kernel": entry, "kernelTCP": entry},
        "pids": {}, "blkio": {}, "hugetlb": {}, "intel_rdt": {}, "network_interfaces": null,
    });
    assert_eq!(on_v1(&[]), expected);
    assert_eq!(on_v2(&[]), expected);
}

#[test]
fn v1_times_are_nanoseconds() {
    let stats = on_v1(&[
        ("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 500\nnr_bursts 0\nburst_time 0\n"),
        ("cpuacct.usage", "123456789\n"),
        ("cpuacct.stat", "user 5\nsystem 7\n"),
        ("cpuacct.usage_percpu", "23456789 100000000 \n"),
        ("cpuacct.usage_all", "cpu user system\n0 3 4\n1 5 6\n"),
    ]);
    assert_eq!(
        stats["cpu"],
        json!({
            "usage": {
                "total": 123_456_789, "percpu": [23_456_789, 100_000_000],
                "percpu_kernel": [4, 6], "percpu_user": [3, 5], "kernel": 70_000_000, "user": 50_000_000,
            },
            "throttling": {"periods": 3, "throttledPeriods": 2, "throttledTime": 500},
        })
    );
}

#[test]
fn v2_times_are_nanoseconds_too_and_pressure_stands_beside_them() {
    let stats = on_v2(&[
        (
            "cpu.stat",
            "usage_usec 123\nuser_usec 100\nsystem_usec 23\nnr_periods 3\nnr_throttled 2\nthrottled_usec 5\n",
        ),
        (
            "cpu.pressure",
            "some avg10=1.50 avg60=0.00 avg300=0.07 total=42\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
    ]);
    assert_eq!(
        stats["cpu"],
        json!({
            "usage": {"total": 123_000, "kernel": 23_000, "user": 100_000},
            "throttling": {"periods": 3, "throttledPeriods": 2, "throttledTime": 5_000},
            "psi": {
                "some": {"avg10": 1.5, "avg60": 0, "avg300": 0.07, "total": 42},
                "full": {"avg10": 0, "avg60": 0, "avg300": 0, "total": 0},
            },
        })
    );
}

#[test]
fn v1_memory_has_four_kinds() {
    let stats = on_v1(&[
        ("memory.stat", "cache 4096\nrss 8192\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.usage_in_bytes", "12288\n"),
        ("memory.max_usage_in_bytes", "20480\n"),
        ("memory.failcnt", "3\n"),
        ("memory.memsw.usage_in_bytes", "16384\n"),
        ("memory.kmem.usage_in_bytes", "2\n"),
        ("memory.kmem.tcp.failcnt", "1\n"),
    ]);
    assert_eq!(
        stats["memory"],
        json!({
            "cache": 4096, "raw": {"cache": 4096, "rss": 8192},
            "usage": {"limit": 9_223_372_036_854_771_712_u64, "usage": 12288, "max": 20480, "failcnt": 3},
            "swap": {"limit": 0, "usage": 16384, "failcnt": 0},
            "kernel": {"limit": 0, "usage": 2, "failcnt": 0},
            "kernelTCP": {"limit": 0, "failcnt": 1},
        })
    );
}

#[test]
fn v2_swap_is_memory_and_swap_as_on_v1() {
    let memory = |swap_max| {
        let stats = on_v2(&[
            ("memory.stat", "anon 1\nfile 4096\n"),
            ("memory.current", "1000\n"),
            ("memory.max", "5000\n"),
            ("memory.peak", "2000\n"),
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n"),
            ("memory.swap.current", "30\n"),
            ("memory.swap.max", swap_max),
        ]);
        stats["memory"].clone()
    };
    let limited = memory("700\n");
    assert_eq!(limited["cache"], 4096);
    assert_eq!(limited["usage"], json!({"limit": 5000, "usage": 1000, "max": 2000, "failcnt": 9}));
    assert_eq!(limited["swap"], json!({"limit": 5700, "usage": 1030, "failcnt": 0}));
    assert_eq!(memory("max\n")["swap"]["limit"], u64::MAX);
}

#[test]
fn no_limit_of_tasks_is_zero() {
    assert_eq!(on_v1(&[("pids.current", "2\n"), ("pids.max", "max\n")])["pids"], json!({"current": 2}));
    assert_eq!(
        on_v2(&[("pids.current", "2\n"), ("pids.max", "7\n")])["pids"],
        json!({"current": 2, "limit": 7})
    );
    assert_eq!(on_v2(&[("cgroup.procs", "12\n13\n")])["pids"], json!({"current": 2}));
}

#[test]
fn a_cpuset_is_a_list_of_numbers() {
    let stats = on_v1(&[
        ("cpuset.cpus", "0-2,5\n"),
        ("cpuset.mems", "0\n"),
        ("cpuset.sched_load_balance", "1\n"),
        ("cpuset.sched_relax_domain_level", "-1\n"),
    ]);
    assert_eq!(stats["cpuset"]["cpus"], json!([0, 1, 2, 5]));
    assert_eq!(stats["cpuset"]["mems"], json!([0]));
    assert_eq!(stats["cpuset"]["sched_load_balance"], 1);
    assert_eq!(stats["cpuset"]["sched_relax_domain_level"], -1);
    let stats = on_v2(&[("cpuset.cpus", "\n"), ("cpuset.cpus.effective", "0-1\n")]);
    assert_eq!(stats["cpuset"]["cpus"], json!([0, 1]));
}

#[test]
fn v1_block_figures_come_from_the_scheduler_that_counts() {
    let throttle =
        ("blkio.throttle.io_service_bytes_recursive", "7:0 Read 4096\n7:0 Total 4096\nTotal 4096\n");
    let served = ("blkio.throttle.io_serviced_recursive", "7:0 Read 1\nTotal 1\n");
    let read = json!({"major": 7, "op": "Read", "value": 4096});
    let total = json!({"major": 7, "op": "Total", "value": 4096});
    let stats = on_v1(&[throttle, served, ("blkio.bfq.io_serviced_recursive", "Total 0\n")]);
    assert_eq!(stats["blkio"]["ioServiceBytesRecursive"], json!([read, total]));
    assert_eq!(stats["blkio"]["ioServicedRecursive"], json!([{"major": 7, "op": "Read", "value": 1}]));
    let stats = on_v1(&[
        throttle,
        served,
        ("blkio.bfq.io_serviced_recursive", "8:16 Write 5\n"),
        ("blkio.bfq.io_queued_recursive", "8:16 Write 2\n"),
        ("blkio.bfq.time_recursive", "8:16 77\n"),
    ]);
    assert_eq!(
        stats["blkio"],
        json!({
            "ioServicedRecursive": [{"major": 8, "minor": 16, "op": "Write", "value": 5}],
            "ioQueueRecursive": [{"major": 8, "minor": 16, "op": "Write", "value": 2}],
            "ioTimeRecursive": [{"major": 8, "minor": 16, "value": 77}],
        })
    );
}

#[test]
fn v2_block_figures_have_the_names_of_v1() {
    let stats =
        on_v2(&[("io.stat", "7:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n7:1 \nnonsense\n")]);
    let bytes = &stats["blkio"]["ioServiceBytesRecursive"];
    assert_eq!(bytes[0], json!({"major": 7, "op": "Read", "value": 4096}));
    assert_eq!(bytes[1], json!({"major": 7, "op": "Write"}));
    assert_eq!(stats["blkio"]["ioServicedRecursive"][0]["value"], 1);
}

#[test]
fn reserved_huge_pages_count_where_they_are_counted() {
    let plain = [
        ("hugetlb.2MB.usage_in_bytes", "1\n"),
        ("hugetlb.2MB.max_usage_in_bytes", "2\n"),
        ("hugetlb.2MB.failcnt", "3\n"),
    ];
    assert_eq!(on_v1(&plain)["hugetlb"], json!({"2MB": {"usage": 1, "max": 2, "failcnt": 3}}));
    let mut all = plain.to_vec();
    all.extend([
        ("hugetlb.2MB.rsvd.usage_in_bytes", "11\n"),
        ("hugetlb.2MB.rsvd.max_usage_in_bytes", "12\n"),
        ("hugetlb.2MB.rsvd.failcnt", "13\n"),
    ]);
    assert_eq!(on_v1(&all)["hugetlb"], json!({"2MB": {"usage": 11, "max": 12, "failcnt": 13}}));
    let stats = on_v2(&[
        ("hugetlb.1GB.current", "5\n"),
        ("hugetlb.1GB.rsvd.current", "6\n"),
        ("hugetlb.1GB.events", "max 4\n"),
        ("hugetlb.1GB.events.local", "max 0\n"),
    ]);
    assert_eq!(stats["hugetlb"], json!({"1GB": {"usage": 6, "failcnt": 4}}));
}

#[test]
fn beside_v1_the_v2_tree_adds_only_what_v1_lacks() {
    let mut stats = Stats::default();
    v1::read(&recorded(&[("pids.current", "2\n"), ("cpuacct.usage", "7\n")]), &mut stats);
    let tree = recorded(&[
        ("cpu.stat", "usage_usec 123\n"),
        ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"),
        ("hugetlb.2MB.current", "8\n"),
    ]);
    v2::read_beside_v1(&tree, &mut stats);
    assert_eq!(stats.cpu.usage.total, 7);
    assert_eq!(stats.blkio.psi.as_ref().map(|p| p.some.total), Some(9));
    assert_eq!(stats.hugetlb["2MB"].usage, 8);
}

#[test]
fn rdma_devices_have_limits_or_none() {
    let stats = on_v2(&[
        ("rdma.current", "mlx5_0 hca_handle=2 hca_object=9\n"),
        ("rdma.max", "mlx5_0 hca_handle=3 hca_object=max\n"),
    ]);
    assert_eq!(
        stats["rdma"],
        json!({
            "current": [{"device": "mlx5_0", "hca_handles": 2, "hca_objects": 9}],
            "limit": [{"device": "mlx5_0", "hca_handles": 3, "hca_objects": u64::MAX}],
        })
    );
}

/// Whatever a file says, reading it ends with figures.
#[test]
fn nonsense_in_every_file_is_no_figure() {
    let nonsense =
        ["", "\n", "-1", "max", "9 9 9", "a:b c", ":", "0-", "-", "5-1", "99999999999999999999999", "é\n=\n"];
    for text in nonsense {
        let files: Vec<(&str, &str)> = [
            "cpu.stat",
            "cpuacct.usage",
            "cpuacct.stat",
            "cpuacct.usage_all",
            "cpuset.cpus",
            "memory.stat",
            "memory.current",
            "memory.max",
            "memory.swap.current",
            "memory.swap.max",
            "pids.max",
            "io.stat",
            "io.pressure",
            "blkio.throttle.io_serviced_recursive",
            "hugetlb.2MB.current",
            "hugetlb..current",
            "rdma.current",
        ]
        .iter()
        .map(|f| (*f, text))
        .collect();
        on_v1(&files);
        on_v2(&files);
    }
}
