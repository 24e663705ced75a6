//! What limits become: those of real engines' configs and updates, kept as text beside this file, and any request of
//! what the pure writers take, read back from what they write.
//!
//! `OXRUN_REGENERATE=1 cargo test -p oxrun-core --test resources` writes the text anew.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_core::cgroup::{Write, v1, v2};
use oxrun_core::{Error, LinuxResources, resources_from_json};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn resources(document: &Value) -> LinuxResources {
    resources_from_json(document.to_string().as_bytes()).unwrap().0
}

/// Different limits of the recorded documents, each with the first document that has them.
fn recorded() -> BTreeMap<String, Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/data/corpus");
    let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
        let mut limits = match name.as_str() {
            n if n.ends_with(".config.json") => read()["linux"]["resources"].take(),
            n if n.ends_with(".update.json") => read(),
            _ => continue,
        };
        if let Some(map) = limits.as_object_mut() {
            // Rules, not limits.
            map.remove("devices");
        }
        if !limits.is_null() && !all.values().any(|known| *known == limits) {
            all.insert(name, limits);
        }
    }
    all
}

fn shown(out: &mut String, version: &str, writes: Result<Vec<Write>, Error>) {
    match writes {
        Ok(writes) => {
            for w in writes {
                writeln!(out, "  {version} {} = {}  <- {}", w.file, w.value, w.field).unwrap();
            }
        }
        Err(e) => writeln!(out, "  {version} refused: {}: {e}", e.field().unwrap_or("")).unwrap(),
    }
}

#[test]
fn limits_of_engines_become_these_files() {
    let mut now = String::new();
    let recorded = recorded();
    assert!(recorded.len() > 15, "{} documents with limits", recorded.len());
    for (name, limits) in &recorded {
        writeln!(now, "{name}: {limits}").unwrap();
        let limits = resources(limits);
        shown(&mut now, "v1", v1::writes(&limits));
        shown(&mut now, "v2", v2::writes(&limits));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/resources.txt");
    if std::env::var_os("OXRUN_REGENERATE").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    for (at, (now, kept)) in now.lines().zip(kept.lines()).enumerate() {
        assert_eq!(now, kept, "line {}", at + 1);
    }
    assert_eq!(now.lines().count(), kept.lines().count(), "lines");
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

    /// Puts a value there in two of three cases.
    fn maybe(&mut self, map: &mut Map<String, Value>, key: &str, value: impl FnOnce(&mut Self) -> Value) {
        if self.below(3) > 0 {
            let value = value(self);
            map.insert(key.to_owned(), value);
        }
    }

    fn one_of(&mut self, of: &[&str]) -> Value {
        let at = self.below(of.len() as u64) as usize;
        json!(of[at])
    }
}

/// A request of everything that is a value or a list of its own, as the document that asks for it.
fn any(random: &mut Random) -> Value {
    let (mut memory, mut cpu, mut network) = (Map::new(), Map::new(), Map::new());
    random.maybe(&mut memory, "kernelTCP", |r| json!(1 + r.below(1 << 40)));
    random.maybe(&mut memory, "swappiness", |r| json!(r.below(101)));
    random.maybe(&mut memory, "disableOOMKiller", |_| json!(true));
    random.maybe(&mut cpu, "cpus", |r| r.one_of(&["0", "0-3", "1,3", "0-1,63"]));
    random.maybe(&mut cpu, "mems", |r| r.one_of(&["0", "0-1"]));
    random.maybe(&mut cpu, "idle", |r| json!(r.below(2)));
    random.maybe(&mut cpu, "burst", |r| json!(r.below(1 << 20)));
    random.maybe(&mut cpu, "realtimePeriod", |r| json!(1 + r.below(1_000_000)));
    random.maybe(&mut cpu, "realtimeRuntime", |r| json!(1 + r.below(1_000_000)));
    random.maybe(&mut network, "classID", |r| json!(r.below(1 << 32)));
    let mut list = |count: u64, one: &mut dyn FnMut(&mut Random, u64) -> Value| -> Vec<Value> {
        (0..random.below(count)).map(|n| one(random, n)).collect()
    };
    let priorities = list(4, &mut |r, n| json!({"name": format!("eth{n}"), "priority": r.below(1 << 32)}));
    let weights = list(4, &mut |r, n| json!({"major": 8, "minor": n, "weight": 10 + r.below(991)}));
    let sizes = ["64KB", "2MB", "32MB", "1GB"];
    let pages = list(5, &mut |r, n| json!({"pageSize": sizes[n as usize], "limit": r.below(1 << 40)}));
    network.insert("priorities".to_owned(), priorities.into());
    let (mut rdma, mut unified) = (Map::new(), Map::new());
    for name in ["mlx5_0", "mlx5_1", "hfi1_0"] {
        random.maybe(&mut rdma, name, |r| {
            let mut limit = Map::new();
            r.maybe(&mut limit, "hcaHandles", |r| json!(r.below(1 << 31)));
            r.maybe(&mut limit, "hcaObjects", |r| json!(r.below(1 << 31)));
            limit.into()
        });
    }
    rdma.retain(|_, limit| limit.as_object().is_some_and(|l| !l.is_empty()));
    for name in ["memory.high", "cgroup.max.depth", "io.latency", "misc.max"] {
        random.maybe(&mut unified, name, |r| {
            let lines = (0..=r.below(3)).map(|n| format!("{n} {}", r.next()));
            json!(lines.collect::<Vec<_>>().join("\n"))
        });
    }
    json!({
        "memory": memory, "cpu": cpu, "network": network, "hugepageLimits": pages, "rdma": rdma,
        "blockIO": {"weightDevice": weights}, "unified": unified,
    })
}

/// The document that these writes are of. What a version has not is not in it.
fn read_back(writes: &[Write], on_v2: bool) -> Value {
    let mut out = json!({
        "memory": {}, "cpu": {}, "network": {"priorities": []}, "hugepageLimits": [], "rdma": {},
        "blockIO": {"weightDevice": []}, "unified": {},
    });
    let n = |text: &str| json!(text.parse::<u64>().unwrap());
    for w in writes {
        let value = w.value.as_str();
        let words: Vec<&str> = value.split(' ').collect();
        let own = w.field.split('/').nth(3).unwrap();
        if own == "unified" {
            let lines = out["unified"].as_object_mut().unwrap();
            let text = match lines.get(&w.file) {
                Some(before) => format!("{}\n{value}", before.as_str().unwrap()),
                None => value.to_owned(),
            };
            lines.insert(w.file.clone(), json!(text));
            continue;
        }
        match w.file.as_str() {
            "memory.kmem.tcp.limit_in_bytes" => out["memory"]["kernelTCP"] = n(value),
            "memory.swappiness" => out["memory"]["swappiness"] = n(value),
            "memory.oom_control" => out["memory"]["disableOOMKiller"] = json!(value == "1"),
            "cpuset.cpus" => out["cpu"]["cpus"] = json!(value),
            "cpuset.mems" => out["cpu"]["mems"] = json!(value),
            "cpu.idle" => out["cpu"]["idle"] = n(value),
            "cpu.cfs_burst_us" | "cpu.max.burst" => out["cpu"]["burst"] = n(value),
            "cpu.rt_period_us" => out["cpu"]["realtimePeriod"] = n(value),
            "cpu.rt_runtime_us" => out["cpu"]["realtimeRuntime"] = n(value),
            "net_cls.classid" => out["network"]["classID"] = n(value),
            "net_prio.ifpriomap" => {
                let one = json!({"name": words[0], "priority": n(words[1])});
                out["network"]["priorities"].as_array_mut().unwrap().push(one);
            }
            "blkio.weight_device" | "io.weight" => {
                let (major, minor) = words[0].split_once(':').unwrap();
                let weight = words[1].parse().unwrap();
                let weight = if on_v2 { v2::blkio_weight(weight) } else { weight };
                let one = json!({"major": n(major), "minor": n(minor), "weight": weight});
                out["blockIO"]["weightDevice"].as_array_mut().unwrap().push(one);
            }
            "rdma.max" => {
                let mut limit = Map::new();
                for word in &words[1..] {
                    let (key, value) = word.split_once('=').unwrap();
                    let key = if key == "hca_handle" { "hcaHandles" } else { "hcaObjects" };
                    limit.insert(key.to_owned(), n(value));
                }
                out["rdma"][words[0]] = limit.into();
            }
            file => {
                let (size, rest) = file.strip_prefix("hugetlb.").unwrap().split_once('.').unwrap();
                let list = out["hugepageLimits"].as_array_mut().unwrap();
                match rest {
                    "max" | "limit_in_bytes" => list.push(json!({"pageSize": size, "limit": n(value)})),
                    "rsvd.max" | "rsvd.limit_in_bytes" => {
                        // Both limits of a size are the same, one after the other.
                        assert_eq!(list.last(), Some(&json!({"pageSize": size, "limit": n(value)})));
                    }
                    _ => unreachable!("{file}"),
                }
            }
        }
    }
    out
}

/// A part of a request that a version of cgroups has not.
fn without(mut request: Value, parts: &[&str]) -> Value {
    for part in parts {
        let (parent, key) = part.rsplit_once('/').unwrap();
        request.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    }
    request
}

#[test]
fn any_request_can_be_read_from_its_writes() {
    let mut random = Random(3);
    for _ in 0..2_000 {
        let asked = any(&mut random);
        let mut on_v1 = asked.clone();
        on_v1["unified"] = json!({});
        assert_eq!(read_back(&v1::writes(&resources(&on_v1)).unwrap(), false), on_v1);
        let mut on_v2 =
            without(asked.clone(), &["/cpu/realtimePeriod", "/cpu/realtimeRuntime", "/network/classID"]);
        on_v2["memory"] = json!({});
        on_v2["network"]["priorities"] = json!([]);
        assert_eq!(read_back(&v2::writes(&resources(&asked)).unwrap(), true), on_v2);
        if asked["unified"] != json!({}) {
            assert_eq!(v1::writes(&resources(&asked)).unwrap_err().field(), Some("/linux/resources/unified"));
        }
    }
}
