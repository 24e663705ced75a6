//! What a container has used so far, in the form that readers of `runc events` know.
//!
//! What must hold: the figures are read, never derived from earlier ones; a file that this host does not have
//! leaves its figures at zero; nothing is counted twice where v1 and v2 exist beside each other.

mod read;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use super::live;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::CgroupDir;
use crate::sys;
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// All figures of a container. Serialised, it is the `data` of a `stats` event of runc.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time.
    pub cpu: Cpu,
    /// The processors and memory nodes it may use.
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block I/O.
    pub blkio: Blkio,
    /// Huge pages by their size, as in `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// RDMA devices; only where there are some.
    #[serde(skip_serializing_if = "Rdma::is_empty")]
    pub rdma: Rdma,
    /// Intel RDT. Only a container that was created with it has figures.
    pub intel_rdt: IntelRdt,
    /// Interfaces that the runtime itself made: none, networks are made by the runtime's callers.
    pub network_interfaces: (),
}

fn zero(n: &u64) -> bool {
    *n == 0
}

/// CPU figures.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Cpu {
    /// Time used.
    pub usage: CpuUsage,
    /// Time that a quota withheld.
    #[serde(skip_serializing_if = "Throttling::is_zero")]
    pub throttling: Throttling,
    /// Time lost by waiting for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// CPU time in nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct CpuUsage {
    /// In all.
    #[serde(skip_serializing_if = "zero")]
    pub total: u64,
    /// On each processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel on each processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// Outside of the kernel on each processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel. v1 counts it in ticks of 10 ms.
    pub kernel: u64,
    /// Outside of the kernel. v1 counts it in ticks of 10 ms.
    pub user: u64,
}

/// What a quota did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Throttling {
    /// Periods in which something ran.
    #[serde(skip_serializing_if = "zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_periods: u64,
    /// Nanoseconds for which it stood still.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_time: u64,
}

impl Throttling {
    fn is_zero(&self) -> bool {
        *self == Throttling::default()
    }
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Psi {
    /// Some task waited.
    pub some: PsiLine,
    /// All tasks waited.
    pub full: PsiLine,
}

/// One line of pressure figures.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct PsiLine {
    /// Percent of the last 10 s.
    #[serde(serialize_with = "percent")]
    pub avg10: f64,
    /// Percent of the last 60 s.
    #[serde(serialize_with = "percent")]
    pub avg60: f64,
    /// Percent of the last 300 s.
    #[serde(serialize_with = "percent")]
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

/// Nothing is `0`, not `0.0`, as Go writes it.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn percent<S: Serializer>(value: &f64, to: S) -> std::result::Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && (0.0..1e9).contains(value) {
        return to.serialize_u64(*value as u64);
    }
    to.serialize_f64(*value)
}

/// The cpuset.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
#[allow(missing_docs)] // one file of the v1 controller each (man 7 cpuset)
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory in bytes.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Memory {
    /// Of files.
    #[serde(skip_serializing_if = "zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, on v2 too.
    pub swap: MemoryEntry,
    /// Of the kernel; v1 only.
    pub kernel: MemoryEntry,
    /// Of TCP buffers; v1 only.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Time lost by waiting for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One kind of memory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct MemoryEntry {
    /// The limit; the largest number is none.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most that was in use.
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Pids {
    /// Existing ones.
    #[serde(skip_serializing_if = "zero")]
    pub current: u64,
    /// The limit; 0 is none.
    #[serde(skip_serializing_if = "zero")]
    pub limit: u64,
}

/// Block I/O of the container and of the cgroups below it.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[allow(missing_docs)] // one file of the v1 controller each
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// Time lost by waiting for I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One count of one device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct BlkioEntry {
    /// Major number of the device.
    #[serde(skip_serializing_if = "zero")]
    pub major: u64,
    /// Minor number of the device.
    #[serde(skip_serializing_if = "zero")]
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`, or nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The count.
    #[serde(skip_serializing_if = "zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes. Reserved ones are counted where the kernel counts them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Hugetlb {
    /// In use.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most that was in use; v1 only.
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// RDMA devices.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Rdma {
    /// In use.
    pub current: Vec<RdmaEntry>,
    /// The limits; the largest number is none.
    pub limit: Vec<RdmaEntry>,
}

impl Rdma {
    fn is_empty(&self) -> bool {
        self.current.is_empty() && self.limit.is_empty()
    }
}

/// One RDMA device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RdmaEntry {
    /// Its name.
    pub device: String,
    /// Handles.
    pub hca_handles: u64,
    /// Objects.
    pub hca_objects: u64,
}

/// Intel RDT.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct IntelRdt {}

/// Where figures are read.
trait Files {
    /// The text of a file of a controller, if there is one.
    fn read(&self, controller: &str, file: &str) -> Option<String>;
    /// The names of all files beside it.
    fn names(&self, controller: &str) -> Vec<String>;
}

/// One or more hierarchies of the kernel.
struct Kernel<'a> {
    dirs: &'a [CgroupDir],
    /// The first file that is there and could not be read.
    failed: RefCell<Option<Error>>,
}

impl<'a> Kernel<'a> {
    fn new(dirs: &'a [CgroupDir]) -> Kernel<'a> {
        Kernel { dirs, failed: RefCell::new(None) }
    }

    /// What was read; nothing where the kernel has nothing to tell: no such file, or one that is switched off.
    fn told<T>(&self, path: &Path, read: io::Result<T>) -> Option<T> {
        let e = match read {
            Ok(text) => return Some(text),
            Err(e) => e,
        };
        if !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) {
            let mut failed = self.failed.borrow_mut();
            let error = || Error::io(format!("read({})", path.display()), &e);
            failed.get_or_insert_with(error);
        }
        None
    }

    fn done(self) -> Result<()> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }
}

impl Files for Kernel<'_> {
    fn read(&self, controller: &str, file: &str) -> Option<String> {
        let path = live::dir_of(self.dirs, controller)?.dir().join(file);
        self.told(&path, sys::read_file(&path))
    }

    fn names(&self, controller: &str) -> Vec<String> {
        let Some(dir) = live::dir_of(self.dirs, controller).map(CgroupDir::dir) else { return Vec::new() };
        let entries = std::fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = self.told(&dir, entries).unwrap_or_default();
        entries.into_iter().filter_map(|e| e.file_name().into_string().ok()).collect()
    }
}

/// Reads all figures of the container in these cgroups.
pub(crate) fn read(dirs: &[CgroupDir]) -> Result<Stats> {
    if dirs.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "cannot tell what the container uses: it has no cgroup of its own",
        ));
    }
    let (v1, v2): (Vec<_>, Vec<_>) = dirs.iter().cloned().partition(|d| d.controllers.is_some());
    let mut stats = Stats::default();
    let (old, new) = (Kernel::new(&v1), Kernel::new(&v2));
    if v1.is_empty() {
        v2::read(&new, &mut stats);
    } else {
        v1::read(&old, &mut stats);
        if !v2.is_empty() {
            v2::read_beside_v1(&new, &mut stats);
        }
    }
    old.done()?;
    new.done()?;
    Ok(stats)
}
