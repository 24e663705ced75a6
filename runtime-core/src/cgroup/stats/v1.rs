//! Figures of v1 controllers.

use super::read::{block_lines, keyed, list, number, page_sizes, pressure, rdma_lines, single};
use super::{Blkio, BlkioEntry, Cpu, Cpuset, Files, Hugetlb, Memory, MemoryEntry, Pids, Rdma, Stats};

/// Nanoseconds of one tick of cpuacct.stat: USER_HZ is 100 on every architecture that this library runs on.
const TICK: u64 = 10_000_000;

/// Reads what the v1 controllers know.
pub(super) fn read(files: &impl Files, stats: &mut Stats) {
    stats.cpu = cpu(files);
    stats.cpuset = cpuset(files);
    stats.memory = memory(files);
    stats.pids = pids(files);
    stats.blkio = blkio(files);
    hugetlb(files, stats);
    let lines = |file| files.read("rdma", file).map_or(Vec::new(), |t| rdma_lines(&t));
    stats.rdma = Rdma { current: lines("rdma.current"), limit: lines("rdma.max") };
}

fn cpu(files: &impl Files) -> Cpu {
    let mut cpu = Cpu::default();
    if let Some(stat) = files.read("cpu", "cpu.stat") {
        let stat = keyed(&stat);
        let of = |key: &str| stat.get(key).copied().unwrap_or(0);
        cpu.throttling.periods = of("nr_periods");
        cpu.throttling.throttled_periods = of("nr_throttled");
        cpu.throttling.throttled_time = of("throttled_time");
    }
    let usage = &mut cpu.usage;
    usage.total = single(files, "cpuacct", "cpuacct.usage");
    let ticks = files.read("cpuacct", "cpuacct.stat").map(|t| keyed(&t)).unwrap_or_default();
    let of = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    (usage.user, usage.kernel) = (of("user"), of("system"));
    let each = files.read("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
    usage.percpu = each.split_whitespace().filter_map(number).collect();
    // A head, then processor, user time, kernel time.
    for line in files.read("cpuacct", "cpuacct.usage_all").unwrap_or_default().lines().skip(1) {
        let mut words = line.split_whitespace().skip(1).filter_map(number);
        if let (Some(user), Some(kernel)) = (words.next(), words.next()) {
            usage.percpu_user.push(user);
            usage.percpu_kernel.push(kernel);
        }
    }
    // Without a v2 tree nobody has these; some kernels show them to v1 too.
    cpu.psi = pressure(files.read("cpu", "cpu.pressure").as_deref());
    cpu
}

fn cpuset(files: &impl Files) -> Cpuset {
    let text = |name: &str| files.read("cpuset", &format!("cpuset.{name}")).unwrap_or_default();
    let flag = |name: &str| number(&text(name)).unwrap_or(0);
    Cpuset {
        cpus: list(&text("cpus")),
        cpu_exclusive: flag("cpu_exclusive"),
        mems: list(&text("mems")),
        mem_hardwall: flag("mem_hardwall"),
        mem_exclusive: flag("mem_exclusive"),
        memory_migrate: flag("memory_migrate"),
        memory_spread_page: flag("memory_spread_page"),
        memory_spread_slab: flag("memory_spread_slab"),
        memory_pressure: flag("memory_pressure"),
        sched_load_balance: flag("sched_load_balance"),
        sched_relax_domain_level: text("sched_relax_domain_level").trim().parse().unwrap_or(0),
    }
}

fn memory(files: &impl Files) -> Memory {
    let entry = |kind: &str| {
        let of = |what: &str| single(files, "memory", &format!("memory.{kind}{what}"));
        MemoryEntry {
            limit: of("limit_in_bytes"),
            usage: of("usage_in_bytes"),
            max: of("max_usage_in_bytes"),
            failcnt: of("failcnt"),
        }
    };
    let raw = files.read("memory", "memory.stat").map(|t| keyed(&t)).unwrap_or_default();
    Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry(""),
        swap: entry("memsw."),
        kernel: entry("kmem."),
        kernel_tcp: entry("kmem.tcp."),
        raw,
        psi: pressure(files.read("memory", "memory.pressure").as_deref()),
    }
}

/// The same files on v1 and v2.
pub(super) fn pids(files: &impl Files) -> Pids {
    let limit = single(files, "pids", "pids.max");
    Pids { current: single(files, "pids", "pids.current"), limit: if limit == u64::MAX { 0 } else { limit } }
}

/// The scheduler that a device has decides which files count it: those of BFQ stay empty for every other, and
/// only throttling sees all devices.
fn blkio(files: &impl Files) -> Blkio {
    let lines = |file: &str| -> Vec<BlkioEntry> {
        files.read("blkio", &format!("blkio.{file}")).map_or(Vec::new(), |t| block_lines(&t))
    };
    for kind in ["bfq.", ""] {
        let served = lines(&format!("{kind}io_serviced_recursive"));
        if served.is_empty() {
            continue;
        }
        let of = |what: &str| lines(&format!("{kind}{what}_recursive"));
        return Blkio {
            io_service_bytes_recursive: of("io_service_bytes"),
            io_serviced_recursive: served,
            io_queue_recursive: of("io_queued"),
            io_service_time_recursive: of("io_service_time"),
            io_wait_time_recursive: of("io_wait_time"),
            io_merged_recursive: of("io_merged"),
            io_time_recursive: of("time"),
            sectors_recursive: of("sectors"),
            psi: None,
        };
    }
    let throttle = |what: &str| {
        let all = lines(&format!("throttle.{what}_recursive"));
        if all.is_empty() { lines(&format!("throttle.{what}")) } else { all }
    };
    Blkio {
        io_service_bytes_recursive: throttle("io_service_bytes"),
        io_serviced_recursive: throttle("io_serviced"),
        ..Blkio::default()
    }
}

fn hugetlb(files: &impl Files, stats: &mut Stats) {
    let names = files.names("hugetlb");
    for size in page_sizes(&names, ".usage_in_bytes") {
        let rsvd = names.contains(&format!("hugetlb.{size}.rsvd.usage_in_bytes"));
        let kind = if rsvd { ".rsvd" } else { "" };
        let of = |what: &str| single(files, "hugetlb", &format!("hugetlb.{size}{kind}.{what}"));
        let pages =
            Hugetlb { usage: of("usage_in_bytes"), max: of("max_usage_in_bytes"), failcnt: of("failcnt") };
        stats.hugetlb.insert(size, pages);
    }
}
