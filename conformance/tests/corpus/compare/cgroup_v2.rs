//! The limits of a config in the files of version 2, with the conversions that runc made the standard.

use super::Judge;
use serde_json::Value;

/// cpu.weight of the shares that recorded documents have.
const WEIGHTS: [(i64, i64); 4] = [(2, 1), (300, 39), (512, 59), (1024, 100)];

/// Numbers that are written as they are: the field, the file, which word of the file.
const NUMBERS: [(&str, &str, usize); 7] = [
    ("memory/limit", "memory.max", 0),
    ("memory/reservation", "memory.low", 0),
    ("cpu/quota", "cpu.max", 0),
    ("cpu/period", "cpu.max", 1),
    ("cpu/burst", "cpu.max.burst", 0),
    ("cpu/idle", "cpu.idle", 0),
    ("pids/limit", "pids.max", 0),
];

/// Rates of devices, all in one file.
const RATES: [(&str, &str); 4] = [
    ("blockIO/throttleReadBpsDevice", "rbps"),
    ("blockIO/throttleWriteBpsDevice", "wbps"),
    ("blockIO/throttleReadIOPSDevice", "riops"),
    ("blockIO/throttleWriteIOPSDevice", "wiops"),
];

impl Judge<'_> {
    /// Whether the host has nothing but version 2.
    pub(super) fn is_v2(&self) -> bool {
        self.seen["limits"].get("cgroup.controllers").is_some()
            && self.seen["limits"].get("devices.list").is_none()
    }

    fn number(&self, field: &str) -> Option<i64> {
        self.field(&format!("/linux/resources/{field}")).as_i64().filter(|value| *value != 0)
    }

    fn word(&self, file: &str, which: &str, index: usize) -> Option<String> {
        let text = self.seen["limits"][file][which].as_str()?;
        text.split_whitespace().nth(index).map(str::to_owned)
    }

    /// One word of a file, which is set or as in a new cgroup.
    fn word_is(&mut self, field: &str, file: &str, index: usize, set: Option<String>) {
        let expected = set.or_else(|| self.word(file, "untouched", index));
        let found = self.word(file, "own", index);
        self.equal(format!("/linux/resources/{field}"), expected, found);
    }

    pub(super) fn limits_v2(&mut self) {
        for (field, file, index) in NUMBERS {
            self.word_is(field, file, index, self.number(field).map(|value| value.to_string()));
        }
        let beyond = self.number("memory/swap").map(|swap| swap - self.number("memory/limit").unwrap_or(0));
        self.word_is("memory/swap", "memory.swap.max", 0, beyond.map(|value| value.to_string()));
        let weight = self.number("cpu/shares").map(|shares| {
            let known = WEIGHTS.iter().find(|(known, _)| *known == shares);
            known.map_or_else(|| format!("the weight of {shares}"), |(_, weight)| weight.to_string())
        });
        self.word_is("cpu/shares", "cpu.weight", 0, weight);
        for (field, file) in [("cpu/cpus", "cpuset.cpus"), ("cpu/mems", "cpuset.mems")] {
            let list = self.field(&format!("/linux/resources/{field}")).as_str();
            self.word_is(field, file, 0, list.filter(|list| !list.is_empty()).map(str::to_owned));
        }
        let weight = self.number("blockIO/weight").map(|weight| (1 + (weight - 10) * 9999 / 990).to_string());
        self.word_is("blockIO/weight", "io.weight", 1, weight);
        for (field, key) in RATES {
            self.rates(field, key);
        }
    }

    fn rates(&mut self, field: &str, key: &str) {
        let list = self.list(&format!("/linux/resources/{field}")).iter();
        let expected: Vec<String> =
            list.map(|d| format!("{}:{} {}", d["major"], d["minor"], d["rate"])).collect();
        let lines = self.seen["limits"]["io.max"]["own"].as_str().unwrap_or_default().lines();
        let rate = |line: &str| {
            let (device, rates) = line.split_once(' ')?;
            let rate = rates.split(' ').find_map(|word| word.strip_prefix(&format!("{key}=")))?;
            (rate != "max").then(|| format!("{device} {rate}"))
        };
        let found: Vec<String> = lines.filter_map(rate).collect();
        self.equal(format!("/linux/resources/{field}"), Value::from(expected), Value::from(found));
    }
}
