//! `/linux/resources` and `/linux/cgroupsPath`: what the kernel's files say, and that nothing else is limited.

use super::super::standin::text;
use super::Judge;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Limits of a number: the field, the file of version 1, whether zero stands for "not set".
const NUMBERS: [(&str, &str, bool); 13] = [
    ("memory/limit", "memory.limit_in_bytes", true),
    ("memory/swap", "memory.memsw.limit_in_bytes", true),
    ("memory/reservation", "memory.soft_limit_in_bytes", true),
    ("memory/swappiness", "memory.swappiness", false),
    ("cpu/shares", "cpu.shares", true),
    ("cpu/quota", "cpu.cfs_quota_us", true),
    ("cpu/period", "cpu.cfs_period_us", true),
    ("cpu/burst", "cpu.cfs_burst_us", true),
    ("cpu/idle", "cpu.idle", true),
    ("cpu/realtimeRuntime", "cpu.rt_runtime_us", true),
    ("cpu/realtimePeriod", "cpu.rt_period_us", true),
    ("pids/limit", "pids.max", true),
    ("blockIO/weight", "blkio.bfq.weight", true),
];

/// Lists of rates for devices, with their files.
const RATES: [(&str, &str); 4] = [
    ("blockIO/throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("blockIO/throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("blockIO/throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("blockIO/throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
];

/// Processors and memory nodes.
const LISTS: [(&str, &str); 2] = [("cpu/cpus", "cpuset.cpus"), ("cpu/mems", "cpuset.mems")];

/// What every container may use (runc's list): node creation, the default devices, tunnels, terminals.
const ALWAYS: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
    "c 136:* rwm",
];

impl<'a> Judge<'a> {
    pub(super) fn cgroup(&mut self) {
        self.membership();
        if self.seen["inside a user namespace"] == true {
            // Whoever is not the host's root has no cgroups to write to.
            return;
        }
        self.limits();
    }

    pub(super) fn limits(&mut self) {
        if self.is_v2() {
            self.limits_v2();
            return;
        }
        for (field, file, zero_is_none) in NUMBERS {
            let value = self.field(&format!("/linux/resources/{field}")).as_i64();
            let set = value.filter(|value| !(zero_is_none && *value == 0)).map(|value| value.to_string());
            self.file(field, file, set);
        }
        for (field, file) in LISTS {
            let value = self.field(&format!("/linux/resources/{field}")).as_str().filter(|v| !v.is_empty());
            // A new cpuset is empty until the runtime fills it from the one above.
            if let Some(value) = value {
                self.file(field, file, Some(value.to_owned()));
            }
        }
        for (field, file) in RATES {
            let list = self.list(&format!("/linux/resources/{field}")).iter();
            let lines: Vec<String> =
                list.map(|d| format!("{}:{} {}", d["major"], d["minor"], d["rate"])).collect();
            self.file(field, file, (!lines.is_empty()).then(|| lines.join("\n")));
        }
        let off = self.field("/linux/resources/memory/disableOOMKiller") == true;
        let found = self.limit("memory.oom_control", "own").as_str().and_then(|text| text.lines().next());
        self.equal(
            "/linux/resources/memory/disableOOMKiller",
            format!("oom_kill_disable {}", u8::from(off)),
            found,
        );
        self.device_list();
    }

    fn limit(&self, file: &str, which: &str) -> &'a Value {
        &self.seen["limits"][file][which]
    }

    /// A file that is set, or that says what it says in a new cgroup.
    fn file(&mut self, field: &str, file: &str, set: Option<String>) {
        let expected = set.map_or_else(|| self.limit(file, "untouched").clone(), Value::from);
        let found = self.limit(file, "own").clone();
        self.equal(format!("/linux/resources/{field}"), expected, found);
    }

    /// The process is where the path says, in every hierarchy.
    fn membership(&mut self) {
        let host = self.saw("/host/mounts").as_array().into_iter().flatten();
        let mounted: BTreeSet<String> = host.map(|mount| text(&mount["type"])).collect();
        let paths = |lines: &Value| {
            let path = |line: &str| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                let version = if controllers.is_empty() { "cgroup2" } else { "cgroup" };
                mounted.contains(version).then(|| path.to_owned())
            };
            let lines = lines.as_array().into_iter().flatten().map(text);
            json!(lines.filter_map(|line| path(&line)).collect::<BTreeSet<_>>())
        };
        let expected = match (self.namespace("cgroup"), self.field("/linux/cgroupsPath").as_str()) {
            (Some(_), _) => json!(["/"]),
            (None, Some(path)) => json!([path]),
            (None, None) => paths(self.saw("/host/cgroup")),
        };
        self.equal("/linux/cgroupsPath", expected, paths(self.saw("/report/cgroup")));
    }

    /// The rules one after the other, with what is always allowed.
    fn device_list(&mut self) {
        let mut allowed: BTreeSet<String> = BTreeSet::new();
        for rule in self.list("/linux/resources/devices") {
            let number = |key: &str| rule[key].as_i64().filter(|n| *n >= 0);
            let part = |key: &str| number(key).map_or("*".to_owned(), |n| n.to_string());
            let kind = rule["type"].as_str().unwrap_or("a");
            let mut access: Vec<char> = rule["access"].as_str().unwrap_or("rwm").chars().collect();
            // The kernel's order.
            access.sort_by_key(|c| "rwm".find(*c));
            let access: String = access.into_iter().collect();
            let line = format!("{kind} {}:{} {access}", part("major"), part("minor"));
            match (rule["allow"] == true, kind) {
                (allow, "a") => {
                    allowed.clear();
                    allowed.extend(allow.then(|| "a *:* rwm".to_owned()));
                }
                (true, _) => drop(allowed.insert(line)),
                (false, _) => drop(allowed.remove(&line)),
            }
        }
        if !allowed.contains("a *:* rwm") {
            allowed.extend(ALWAYS.map(str::to_owned));
        }
        let found = self.limit("devices.list", "own").as_str().unwrap_or_default();
        let found: BTreeSet<String> = found.lines().map(str::to_owned).collect();
        self.equal("/linux/resources/devices", json!(allowed), json!(found));
    }
}
