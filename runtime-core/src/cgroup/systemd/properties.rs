//! Limits as properties of a unit (systemd.resource-control(5)), purely.
//!
//! The writes for the files of a cgroup are the source, so that every conversion stands in one place. systemd sets what
//! it has a property for and does so again whenever it is reloaded; what it cannot say, or only about, is written to
//! the files of the delegated cgroup.

use super::value::Value;
use crate::cgroup::devices::DeviceRule;
use crate::cgroup::v1_devices::Allowed;
use crate::cgroup::{Write, v1, v2};
use crate::error::Result;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One property of a unit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The field of the config, or words in parentheses.
    pub field: String,
}

impl Property {
    pub(crate) fn new(name: &str, value: Value, field: &str) -> Property {
        Property { name: name.to_owned(), value, field: field.to_owned() }
    }
}

impl fmt::Display for Property {
    /// As a line of a unit file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// The controllers that systemd gives to a delegated cgroup by itself.
pub(crate) const MANAGED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// The limits and device rules of linux.resources as properties that systemd of this version has, on a host with
/// cgroup v2 or v1.
///
/// # Errors
/// As those for v1 and for v2; a device rule that is none.
pub fn properties(resources: &LinuxResources, version: u32, pure_v2: bool) -> Result<Vec<Property>> {
    let writes = if pure_v2 { v2::writes(resources)? } else { v1::writes(resources)? };
    let mut all = limits(&writes, version, pure_v2).0;
    if resources.devices().as_ref().is_some_and(|d| !d.is_empty()) {
        all.extend(devices(&crate::plan::cgroups::device_rules(resources)?));
    }
    Ok(all)
}

/// The properties that stand for these writes, and the writes that are to be made beside.
pub(crate) fn limits(writes: &[Write], version: u32, pure_v2: bool) -> (Vec<Property>, Vec<Write>) {
    let mut properties = Vec::new();
    let mut files = Vec::new();
    for write in writes {
        let (made, exact) = match pure_v2 {
            true => on_v2(write, version),
            false => (on_v1(write, writes, version), false),
        };
        if !exact || made.is_empty() {
            files.push(write.clone());
        }
        made.into_iter().for_each(|p| put(&mut properties, p));
    }
    (properties, files)
}

/// Adds a property: a later one takes the place of an earlier one, lists grow.
fn put(all: &mut Vec<Property>, property: Property) {
    let same = all.iter_mut().find(|p| p.name == property.name);
    match (same, property.value) {
        (Some(Property { value: Value::Array(kind, items), .. }), Value::Array(_, more))
            if kind == "(st)" =>
        {
            items.extend(more);
        }
        (Some(old), value) => *old = Property { value, ..property },
        (None, value) => all.push(Property { value, ..property }),
    }
}

fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        // What is no limit on v1.
        n if n.starts_with('-') => n.parse::<i64>().ok().map(|_| u64::MAX),
        n => n.parse().ok(),
    }
}

/// The properties of a write on v2, and whether they say it all.
fn on_v2(write: &Write, version: u32) -> (Vec<Property>, bool) {
    let one = |name: &str, value: Value| vec![Property::new(name, value, &write.field)];
    let plain = |name: &str| match number(&write.value) {
        Some(n) => (one(name, Value::U64(n)), true),
        None => (Vec::new(), false),
    };
    let mask = |name: &str| match set(&write.value).filter(|_| version >= 244) {
        Some(bits) => (one(name, Value::bytes(&bits)), true),
        None => (Vec::new(), false),
    };
    match (write.file.as_str(), write.value.as_str()) {
        ("memory.max", _) => plain("MemoryMax"),
        ("memory.high", _) => plain("MemoryHigh"),
        ("memory.low", _) => plain("MemoryLow"),
        ("memory.min", _) => plain("MemoryMin"),
        // A kernel that does not count swap has no file; systemd says nothing then.
        ("memory.swap.max", _) => (plain("MemorySwapMax").0, false),
        ("memory.zswap.max", _) if version >= 253 => plain("MemoryZSwapMax"),
        ("memory.oom.group", "1") if version >= 253 => (one("OOMPolicy", Value::text("kill")), false),
        ("cpu.weight", _) => plain("CPUWeight"),
        ("cpu.idle", "1") if version >= 252 => (one("CPUWeight", Value::U64(0)), true),
        ("cpu.max", value) => {
            let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
            match number(quota).zip(number(period)) {
                Some((quota, period)) => self::quota(quota, period, version, &write.field),
                None => (Vec::new(), false),
            }
        }
        ("cpuset.cpus", _) => mask("AllowedCPUs"),
        ("cpuset.mems", _) => mask("AllowedMemoryNodes"),
        ("pids.max", _) => plain("TasksMax"),
        // systemd finds a device by its node, which need not be there.
        ("io.weight", value) => match value.split_once(' ') {
            Some(("default", n)) => match number(n) {
                Some(n) => (one("IOWeight", Value::U64(n)), false),
                None => (Vec::new(), false),
            },
            Some((device, n)) => {
                (number(n).map_or(Vec::new(), |n| one("IODeviceWeight", of_device(device, n))), false)
            }
            None => (Vec::new(), false),
        },
        ("io.max", value) => (io_max(value, &write.field), false),
        _ => (Vec::new(), false),
    }
}

fn of_device(device: &str, n: u64) -> Value {
    let pair = Value::Struct(vec![Value::Str(format!("/dev/block/{device}")), Value::U64(n)]);
    Value::Array("(st)".to_owned(), vec![pair])
}

fn io_max(value: &str, field: &str) -> Vec<Property> {
    let mut words = value.split_whitespace();
    let device = words.next().unwrap_or("");
    let one = |word: &str| {
        let (key, n) = word.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        Some(Property::new(name, of_device(device, number(n)?), field))
    };
    words.filter_map(one).collect()
}

/// A share of processor time. systemd counts in hundredths of a second for each second: what is not a whole number of
/// those is rounded up here, and written exactly to the file.
fn quota(quota: u64, period: u64, version: u32, field: &str) -> (Vec<Property>, bool) {
    let mut all = Vec::new();
    let mut exact = version >= 242 || period == 100_000;
    if version >= 242 {
        all.push(Property::new("CPUQuotaPeriodUSec", Value::U64(period), field));
    }
    // What it makes of other periods is its own.
    exact &= (1_000..=SECOND).contains(&period);
    let per_second = match (quota, period) {
        (u64::MAX, _) | (_, 0) => u64::MAX,
        (quota, period) => {
            let all = u128::from(quota) * u128::from(SECOND);
            let rounded = all.div_ceil(u128::from(period)).next_multiple_of(10_000);
            exact &= rounded * u128::from(period) == all;
            u64::try_from(rounded).unwrap_or(u64::MAX)
        }
    };
    all.push(Property::new("CPUQuotaPerSecUSec", Value::U64(per_second), field));
    (all, exact)
}

/// The bits of a set of processors or nodes such as `0-3,6`: the first ones in the lowest bits of the first byte.
fn set(text: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // More than any kernel has is for the kernel to refuse.
        if first > last || last >= 8192 {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0u8);
        for n in first..=last {
            *bits.get_mut(n / 8)? |= 1 << (n % 8);
        }
    }
    (!bits.is_empty()).then_some(bits)
}

/// The properties of a write on v1; the file is always written, too.
fn on_v1(write: &Write, all: &[Write], version: u32) -> Vec<Property> {
    let plain = |name: &str| match number(&write.value) {
        Some(n) => vec![Property::new(name, Value::U64(n), &write.field)],
        None => Vec::new(),
    };
    let other = |file: &str| all.iter().find(|w| w.file == file).and_then(|w| number(&w.value));
    match write.file.as_str() {
        "memory.limit_in_bytes" => plain("MemoryLimit"),
        "cpu.shares" => plain("CPUShares"),
        "blkio.weight" => plain("BlockIOWeight"),
        "pids.max" => plain("TasksMax"),
        "cpu.cfs_quota_us" => match number(&write.value) {
            Some(quota) => {
                let period = other("cpu.cfs_period_us").unwrap_or(100_000);
                self::quota(quota, period, version, &write.field).0
            }
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What makes the list of devices empty: one that is set is added to what is there.
pub(crate) fn no_devices() -> Property {
    Property::new("DeviceAllow", Value::Array("(ss)".to_owned(), Vec::new()), "/linux/resources/devices")
}

/// Device rules. systemd has a list of what is allowed and nothing else: what such a list cannot say is left to the
/// program or the files that stand beside.
pub(crate) fn devices(rules: &[DeviceRule]) -> Vec<Property> {
    const FIELD: &str = "/linux/resources/devices";
    let entries = Allowed::by(rules).entries();
    let list: Option<Vec<Value>> = entries.and_then(|entries| {
        entries
            .into_iter()
            .map(|((kind, major, minor), access)| {
                let name = if kind == 'b' { "block" } else { "char" };
                let node = match (major, minor) {
                    (None, None) => format!("{name}-*"),
                    (Some(major), None) => format!("{name}-{major}"),
                    (Some(major), Some(minor)) => format!("/dev/{name}/{major}:{minor}"),
                    (None, Some(_)) => return None,
                };
                Some(Value::Struct(vec![Value::Str(node), Value::Str(access)]))
            })
            .collect()
    });
    let policy = if list.is_some() { "strict" } else { "auto" };
    let mut all = vec![Property::new("DevicePolicy", Value::text(policy), FIELD)];
    if let Some(list) = list.filter(|l| !l.is_empty()) {
        all.push(Property::new("DeviceAllow", Value::Array("(ss)".to_owned(), list), FIELD));
    }
    all
}
