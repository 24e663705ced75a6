//! Figures of the v2 tree, in the units and under the names of v1.

use super::read::{device, keyed, list, number, page_sizes, pressure, rdma_lines, single};
use super::{Blkio, BlkioEntry, Cpu, CpuUsage, Files, Hugetlb, Memory, MemoryEntry, Rdma, Stats, Throttling};

/// Reads everything.
pub(super) fn read(files: &impl Files, stats: &mut Stats) {
    stats.cpu = cpu(files);
    let text = |file: &str| files.read("cpuset", file).unwrap_or_default();
    stats.cpuset.cpus = list(&text("cpuset.cpus.effective"));
    stats.cpuset.mems = list(&text("cpuset.mems.effective"));
    stats.memory = memory(files);
    stats.pids = super::v1::pids(files);
    if files.read("pids", "pids.current").is_none() {
        let procs = files.read("pids", "cgroup.procs").unwrap_or_default();
        stats.pids.current = procs.lines().count() as u64;
    }
    stats.blkio = blkio(files);
    hugetlb(files, stats);
    let lines = |file| files.read("rdma", file).map_or(Vec::new(), |t| rdma_lines(&t));
    stats.rdma = Rdma { current: lines("rdma.current"), limit: lines("rdma.max") };
}

/// Reads what v1 controllers cannot say: pressure, and huge pages where they are counted here.
pub(super) fn read_beside_v1(files: &impl Files, stats: &mut Stats) {
    let psi = |file| pressure(files.read("", file).as_deref());
    stats.cpu.psi = stats.cpu.psi.take().or_else(|| psi("cpu.pressure"));
    stats.memory.psi = stats.memory.psi.take().or_else(|| psi("memory.pressure"));
    stats.blkio.psi = stats.blkio.psi.take().or_else(|| psi("io.pressure"));
    if stats.hugetlb.is_empty() {
        hugetlb(files, stats);
    }
}

fn cpu(files: &impl Files) -> Cpu {
    let stat = files.read("cpu", "cpu.stat").map(|t| keyed(&t)).unwrap_or_default();
    let of = |key: &str| stat.get(key).copied().unwrap_or(0);
    // From microseconds.
    let nanos = |key: &str| of(key).saturating_mul(1000);
    Cpu {
        usage: CpuUsage {
            total: nanos("usage_usec"),
            user: nanos("user_usec"),
            kernel: nanos("system_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_time: nanos("throttled_usec"),
        },
        psi: pressure(files.read("cpu", "cpu.pressure").as_deref()),
    }
}

fn memory(files: &impl Files) -> Memory {
    let raw = files.read("memory", "memory.stat").map(|t| keyed(&t)).unwrap_or_default();
    let events = |file| {
        let all = files.read("memory", file).map(|t| keyed(&t)).unwrap_or_default();
        all.get("max").copied().unwrap_or(0)
    };
    let of = |file| single(files, "memory", file);
    let usage = MemoryEntry {
        limit: of("memory.max"),
        usage: of("memory.current"),
        max: of("memory.peak"),
        failcnt: events("memory.events"),
    };
    let mut swap = MemoryEntry::default();
    if let Some(current) = files.read("memory", "memory.swap.current").and_then(|t| number(&t)) {
        let limit = of("memory.swap.max");
        swap.usage = current.saturating_add(usage.usage);
        // Without a limit of swap there is none of both.
        swap.limit = if limit == u64::MAX { limit } else { limit.saturating_add(usage.limit) };
        swap.failcnt = events("memory.swap.events");
    }
    Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        usage,
        swap,
        raw,
        psi: pressure(files.read("memory", "memory.pressure").as_deref()),
        ..Memory::default()
    }
}

fn blkio(files: &impl Files) -> Blkio {
    let mut blkio = Blkio { psi: pressure(files.read("io", "io.pressure").as_deref()), ..Blkio::default() };
    for line in files.read("io", "io.stat").unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|w| w.split_once('=')) {
            let (into, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "dbytes" => (&mut blkio.io_service_bytes_recursive, "Discard"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                "dios" => (&mut blkio.io_serviced_recursive, "Discard"),
                _ => continue,
            };
            let value = value.parse().unwrap_or(0);
            into.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    blkio
}

fn hugetlb(files: &impl Files, stats: &mut Stats) {
    let names = files.names("hugetlb");
    for size in page_sizes(&names, ".current") {
        let rsvd = names.contains(&format!("hugetlb.{size}.rsvd.current"));
        let kind = if rsvd { ".rsvd" } else { "" };
        let events = files.read("hugetlb", &format!("hugetlb.{size}.events")).map(|t| keyed(&t));
        let pages = Hugetlb {
            usage: single(files, "hugetlb", &format!("hugetlb.{size}{kind}.current")),
            max: 0,
            failcnt: events.and_then(|e| e.get("max").copied()).unwrap_or(0),
        };
        stats.hugetlb.insert(size, pages);
    }
}
