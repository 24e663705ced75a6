//! Every write that create makes to a cgroup, failing: the file, the value, the errno and the field are told, and
//! nothing is left.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, run, test};
use oxrun_conformance::{Check, check};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is asked for, and the file that must take it: hierarchy, file, value, field.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// The names of v1.
const V1: &[Case] = &[
    ("memory", "memory.limit_in_bytes", "67108864", "memory/limit"),
    ("memory", "memory.memsw.limit_in_bytes", "100663296", "memory/swap"),
    ("memory", "memory.soft_limit_in_bytes", "33554432", "memory/reservation"),
    ("memory", "memory.kmem.tcp.limit_in_bytes", "8388608", "memory/kernelTCP"),
    ("memory", "memory.swappiness", "10", "memory/swappiness"),
    ("memory", "memory.oom_control", "1", "memory/disableOOMKiller"),
    ("cpu", "cpu.shares", "512", "cpu/shares"),
    ("cpu", "cpu.cfs_quota_us", "20000", "cpu/quota"),
    ("cpu", "cpu.cfs_period_us", "50000", "cpu/period"),
    ("cpu", "cpu.cfs_burst_us", "10000", "cpu/burst"),
    ("cpu", "cpu.rt_period_us", "500000", "cpu/realtimePeriod"),
    ("cpu", "cpu.rt_runtime_us", "1000", "cpu/realtimeRuntime"),
    ("cpuset", "cpuset.cpus", "0", "cpu/cpus"),
    ("cpuset", "cpuset.mems", "0", "cpu/mems"),
    ("pids", "pids.max", "33", "pids/limit"),
    ("blkio", "blkio.throttle.read_bps_device", "240:7 1048576", "blockIO/throttleReadBpsDevice/0"),
    ("blkio", "blkio.throttle.write_bps_device", "240:7 2097152", "blockIO/throttleWriteBpsDevice/0"),
    ("blkio", "blkio.throttle.read_iops_device", "240:7 300", "blockIO/throttleReadIOPSDevice/0"),
    ("blkio", "blkio.throttle.write_iops_device", "240:7 400", "blockIO/throttleWriteIOPSDevice/0"),
    ("net_cls", "net_cls.classid", "1048577", "network/classID"),
    ("net_prio", "net_prio.ifpriomap", "lo 5", "network/priorities/0"),
    ("hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304", "hugepageLimits/0/limit"),
    ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4194304", "hugepageLimits/0/limit"),
    ("devices", "devices.deny", "a *:* rwm", "devices"),
    ("devices", "devices.allow", "c *:* m", "devices"),
];

/// The names of v2, all in one tree. The controller is the first word of the file.
const V2: &[Case] = &[
    ("", "memory.max", "67108864", "memory/limit"),
    ("", "memory.swap.max", "33554432", "memory/swap"),
    ("", "memory.low", "33554432", "memory/reservation"),
    ("", "memory.high", "50331648", "unified/memory.high"),
    ("", "cpu.weight", "59", "cpu/shares"),
    ("", "cpu.max", "20000 50000", "cpu/quota"),
    ("", "cpu.max.burst", "10000", "cpu/burst"),
    ("", "cpuset.cpus", "0", "cpu/cpus"),
    ("", "cpuset.mems", "0", "cpu/mems"),
    ("", "pids.max", "33", "pids/limit"),
    ("", "io.max", "240:7 rbps=1048576", "blockIO/throttleReadBpsDevice/0"),
    ("", "io.max", "240:7 wbps=2097152", "blockIO/throttleWriteBpsDevice/0"),
    ("", "io.max", "240:7 riops=300", "blockIO/throttleReadIOPSDevice/0"),
    ("", "io.max", "240:7 wiops=400", "blockIO/throttleWriteIOPSDevice/0"),
    ("", "hugetlb.2MB.max", "4194304", "hugepageLimits/0/limit"),
    ("", "hugetlb.2MB.rsvd.max", "4194304", "hugepageLimits/0/limit"),
];

/// All that is asked for in a case, and what it needs to be taken.
fn resources(field: &str) -> Value {
    let all = json!({
        "memory": {
            "limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20, "kernelTCP": 8 << 20, "swappiness": 10,
            "disableOOMKiller": true,
        },
        "cpu": {
            "shares": 512, "quota": 20_000, "period": 50_000, "burst": 10_000, "realtimePeriod": 500_000,
            "realtimeRuntime": 1_000, "cpus": "0", "mems": "0",
        },
        "pids": { "limit": 33 },
        "blockIO": {
            "throttleReadBpsDevice": [{ "major": 240, "minor": 7, "rate": 1_048_576 }],
            "throttleWriteBpsDevice": [{ "major": 240, "minor": 7, "rate": 2_097_152 }],
            "throttleReadIOPSDevice": [{ "major": 240, "minor": 7, "rate": 300 }],
            "throttleWriteIOPSDevice": [{ "major": 240, "minor": 7, "rate": 400 }],
        },
        "network": { "classID": 1_048_577, "priorities": [{ "name": "lo", "priority": 5 }] },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }],
        "unified": { "memory.high": (48 << 20).to_string() },
    });
    let mut words = field.split('/');
    let (group, key) = (words.next().unwrap(), words.next().unwrap_or(""));
    let mut out = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    // No disk has these numbers, and not every host has these controllers: one at a time.
    match group {
        "devices" => {}
        "blockIO" | "network" => out[group] = json!({ key: all[group][key] }),
        _ => out[group] = all[group].clone(),
    }
    if group == "cpu" && !key.starts_with("realtime") {
        // Not every kernel has real-time groups.
        for key in ["realtimePeriod", "realtimeRuntime"] {
            out[group].as_object_mut().unwrap().remove(key);
        }
    }
    out
}

fn directory(controller: &str, name: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(controller).join(name)
}

/// Keeps the runtime, in a mount namespace of its own, from writing to this place.
fn cover(s: &mut Sandbox, place: &Path) {
    let place = place.display();
    let script = format!("mount --bind {place} {place} && mount -o remount,bind,ro {place} && exec \"$@\"");
    s.runtime_mut().wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
}

fn case(case: &Case) -> Check {
    let (controller, file, value, field) = case;
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    // The directory exists before, so that the file can be covered.
    let name = format!("{}covered", s.cgroup_prefix());
    let dir = directory(controller, &name);
    cover(&mut s, &dir.join(file));
    fs::create_dir(&dir)?;
    if *controller == "cpuset" {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // What a new cgroup lacks would be filled, by the same write, for another reason.
            fs::write(dir.join(file), fs::read(directory(controller, file))?)?;
        }
    }
    let before = s.leaks()?;
    let config = Config::new(&["/bin/probe", "exit", "0"])
        .set("/linux/cgroupsPath", format!("/{name}"))
        .set("/linux/resources", resources(field));
    let bundle = s.bundle(&config)?;
    let outcome = s.runtime().create(bundle.path(), "c1").and_then(|o| o.refused("read-only file system"));
    let left = before.assert_same();
    let gone = fs::remove_dir(&dir);
    let output = outcome?;
    for word in [*file, value, &format!("/linux/resources/{field}")] {
        check!(output.says(word), "{output}\n  does not say {word}");
    }
    left?;
    Ok(gone?)
}

/// Whether this host has the file of a case.
fn there(case: &Case) -> Check<bool> {
    let dir = directory(case.0, &format!("oxrun-test-{}-look", std::process::id()));
    if dir.parent().is_none_or(|p| !p.is_dir()) {
        return Ok(false);
    }
    fs::create_dir(&dir)?;
    let there = dir.join(case.1).exists();
    fs::remove_dir(&dir)?;
    Ok(there)
}

fn every_write_that_fails_is_told_and_nothing_is_left() -> Check {
    let cases = if Host::is_pure_v2() { V2 } else { V1 };
    let mut tried = 0;
    for one in cases {
        if there(one)? {
            tried += 1;
            case(one)?;
        }
    }
    // Real-time groups, network classes, huge pages and some of memory are not in every kernel.
    check!(tried >= cases.len() - 8, "only {tried} of {} files are there", cases.len());
    Ok(())
}

/// A sandbox whose runtime may not write to this place.
fn with_read_only(place: &Path) -> Check<Sandbox> {
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    cover(&mut s, place);
    Ok(s)
}

/// In one hierarchy after the other: what was made in those before is removed.
fn a_cgroup_that_cannot_be_made_is_told_and_nothing_is_left() -> Check {
    for root in Host::cgroup_roots()? {
        let s = with_read_only(&root)?;
        let before = s.leaks()?;
        let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "0"]))?;
        let output = s.runtime().create(bundle.path(), "c1")?.refused("read-only file system")?;
        for word in [format!("mkdir({}/", root.display()).as_str(), "/linux/cgroupsPath"] {
            check!(output.says(word), "{output}\n  does not say {word}");
        }
        before.assert_same()?;
    }
    Ok(())
}

/// Where init enters by writing to a file.
fn a_v1_cgroup_that_cannot_be_entered_is_told_and_nothing_is_left() -> Check {
    for root in Host::cgroup_roots()?.into_iter().filter(|r| !r.join("cgroup.controllers").exists()) {
        let name = format!("oxrun-test-{}-enter", std::process::id());
        let dir = root.join(&name);
        fs::create_dir(&dir)?;
        let run = || -> Check {
            let s = with_read_only(&dir.join("tasks"))?;
            let before = s.leaks()?;
            let config = Config::new(&["/bin/probe", "exit", "0"]);
            let bundle = s.bundle(&config.set("/linux/cgroupsPath", format!("/{name}")))?;
            let output = s.runtime().create(bundle.path(), "c1")?.refused("read-only file system")?;
            let file = dir.join("tasks").display().to_string();
            for word in [file.as_str(), "/linux/cgroupsPath"] {
                check!(output.says(word), "{output}\n  does not say {word}");
            }
            before.assert_same()?;
            for other in Host::cgroup_roots()? {
                let there = other.join(&name);
                check!(there == dir || !there.exists(), "{} is left", there.display());
            }
            Ok(())
        };
        let outcome = run();
        fs::remove_dir(&dir)?;
        outcome?;
    }
    Ok(())
}

fn main() -> ExitCode {
    fn without_v1() -> Option<String> {
        Host::is_pure_v2().then(|| "there are no v1 controllers".to_owned())
    }
    fn without_controllers() -> Option<String> {
        let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let there = |c: &str| list.split_whitespace().any(|w| w == c);
        let lacks = Host::is_pure_v2() && !["memory", "cpu", "cpuset", "pids", "io"].into_iter().all(there);
        lacks.then(|| "the v2 tree lacks controllers".to_owned())
    }
    run(vec![
        conditional(
            "every_write_that_fails_is_told_and_nothing_is_left",
            without_controllers,
            every_write_that_fails_is_told_and_nothing_is_left,
        ),
        test(
            "a_cgroup_that_cannot_be_made_is_told_and_nothing_is_left",
            a_cgroup_that_cannot_be_made_is_told_and_nothing_is_left,
        ),
        conditional(
            "a_v1_cgroup_that_cannot_be_entered_is_told_and_nothing_is_left",
            without_v1,
            a_v1_cgroup_that_cannot_be_entered_is_told_and_nothing_is_left,
        ),
    ])
}
