//! Control groups: where the container is, and its limits (config-linux.md, Control groups).

use super::super::broken::{Broken, to};
use super::super::case::{Case, Scene};
use super::{must, should, stop};
use crate::harness::Host;
use crate::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const PATH: &str = "config-linux.md, Cgroups Path";

/// Section, name, what is asked for below `resources`, the line of a file on v1 and on v2; nothing where a version
/// has nothing like it.
type Row = (&'static str, &'static str, Value, &'static str, &'static str);

/// Numbers of a disk of this host.
fn disk() -> Option<(u64, u64)> {
    let mut names: Vec<PathBuf> =
        fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    // What is made of memory or files comes last.
    let chosen = names.iter().find(|path| path.join("device").exists()).or(names.first())?;
    let text = fs::read_to_string(chosen.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Limits of the disk: name, field, file of v1, key of v2.
const THROTTLES: [(&str, &str, &str, &str); 4] = [
    ("blockIO/read-rate", "throttleReadBpsDevice", "read_bps", "rbps"),
    ("blockIO/write-rate", "throttleWriteBpsDevice", "write_bps", "wbps"),
    ("blockIO/read-operations", "throttleReadIOPSDevice", "read_iops", "riops"),
    ("blockIO/write-operations", "throttleWriteIOPSDevice", "write_iops", "wiops"),
];

fn throttles() -> impl Iterator<Item = Case> {
    THROTTLES.into_iter().map(|(name, field, v1, v2)| {
        let (major, minor) = disk().unwrap_or_default();
        let value = json!({ field: [{ "major": major, "minor": minor, "rate": 1_048_576 }] });
        let rule = "a limit of the config is that of the cgroup";
        let at = format!("/linux/resources/blockIO/{field}/0/rate");
        must("config-linux.md, Block IO", &format!("cgroups/{name}"), rule)
            .with("/linux/resources/blockIO", value)
            .noticing(Broken::Reads(vec![to(&at, 2_097_152)]))
            .unless(disk().is_none().then(|| "this host has no disk".to_owned()))
            .unless(line_of("blkio.throttle", "io.max").err())
            .body(move |scene| {
                create(scene)?;
                let (file_name, wanted) = match line_of("blkio.throttle", "io.max")? {
                    "io.max" => ("io.max".to_owned(), format!("{v2}=1048576")),
                    _ => (format!("blkio.throttle.{v1}_device"), "1048576".to_owned()),
                };
                let text = file(scene, &file_name)?;
                let of_disk = format!("{major}:{minor} ");
                let line = text.lines().find_map(|line| line.strip_prefix(of_disk.as_str()));
                let found = line.is_some_and(|line| line.split(' ').any(|word| word == wanted));
                check!(found, "{file_name} says {text:?}, not {of_disk}{wanted}");
                Ok(())
            })
    })
}

fn rows() -> Vec<Row> {
    const MEMORY: &str = "config-linux.md, Memory";
    const CPU: &str = "config-linux.md, CPU";
    const PIDS: &str = "config-linux.md, PIDs";
    const NETWORK: &str = "config-linux.md, Network";
    const PAGES: &str = "config-linux.md, Huge page limits";
    let memory = |value: Value| json!({ "memory": value });
    let cpu = |value: Value| json!({ "cpu": value });
    vec![
        (
            MEMORY,
            "memory/limit",
            memory(json!({ "limit": 67_108_864 })),
            "memory.limit_in_bytes 67108864",
            "memory.max 67108864",
        ),
        (
            MEMORY,
            "memory/unlimited",
            memory(json!({ "limit": -1 })),
            "memory.limit_in_bytes 9223372036854771712",
            "memory.max max",
        ),
        (
            MEMORY,
            "memory/reservation",
            memory(json!({ "reservation": 33_554_432 })),
            "memory.soft_limit_in_bytes 33554432",
            "memory.low 33554432",
        ),
        (
            MEMORY,
            "memory/swap",
            memory(json!({ "limit": 67_108_864, "swap": 100_663_296 })),
            "memory.memsw.limit_in_bytes 100663296",
            "memory.swap.max 33554432",
        ),
        (
            MEMORY,
            "memory/kernelTCP",
            memory(json!({ "kernelTCP": 8_388_608 })),
            "memory.kmem.tcp.limit_in_bytes 8388608",
            "",
        ),
        (MEMORY, "memory/swappiness", memory(json!({ "swappiness": 7 })), "memory.swappiness 7", ""),
        (
            MEMORY,
            "memory/disableOOMKiller",
            memory(json!({ "disableOOMKiller": true })),
            "memory.oom_control oom_kill_disable 1",
            "",
        ),
        (CPU, "cpu/shares", cpu(json!({ "shares": 512 })), "cpu.shares 512", "cpu.weight 59"),
        (CPU, "cpu/quota", cpu(json!({ "quota": 20_000 })), "cpu.cfs_quota_us 20000", "cpu.max 20000 100000"),
        (
            CPU,
            "cpu/period",
            cpu(json!({ "quota": 20_000, "period": 50_000 })),
            "cpu.cfs_period_us 50000",
            "cpu.max 20000 50000",
        ),
        (
            CPU,
            "cpu/burst",
            cpu(json!({ "quota": 20_000, "burst": 10_000 })),
            "cpu.cfs_burst_us 10000",
            "cpu.max.burst 10000",
        ),
        (CPU, "cpu/idle", cpu(json!({ "idle": 1 })), "cpu.idle 1", "cpu.idle 1"),
        (CPU, "cpu/cpus", cpu(json!({ "cpus": "0" })), "cpuset.cpus 0", "cpuset.cpus 0"),
        (CPU, "cpu/mems", cpu(json!({ "mems": "0" })), "", "cpuset.mems 0"),
        (PIDS, "pids/limit", json!({ "pids": { "limit": 123 } }), "pids.max 123", "pids.max 123"),
        (
            PAGES,
            "hugepages/limit",
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
            "hugetlb.2MB.limit_in_bytes 4194304",
            "hugetlb.2MB.max 4194304",
        ),
        (
            NETWORK,
            "network/classID",
            json!({ "network": { "classID": 1_048_577 } }),
            "net_cls.classid 1048577",
            "",
        ),
        (
            NETWORK,
            "network/priorities",
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 5 }] } }),
            "net_prio.ifpriomap lo 5",
            "",
        ),
    ]
}

/// The controllers of one version that are there.
fn controllers(v2: bool) -> Vec<String> {
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let roots = Host::cgroup_roots().unwrap_or_default();
    if v2 {
        return roots
            .iter()
            .flat_map(|root| words(fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()))
            .collect();
    }
    let name = |root: &PathBuf| root.file_name().map(|name| name.to_string_lossy().into_owned());
    roots
        .iter()
        .filter_map(name)
        .flat_map(|name| name.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Why a line cannot be there, or the line.
fn line_of(v1: &'static str, v2: &'static str) -> Result<&'static str, String> {
    let there = |line: &str, is_v2: bool| {
        let controller = line.split('.').next().unwrap_or_default();
        !line.is_empty() && controllers(is_v2).iter().any(|name| name == controller)
    };
    // What is counted in a v2 tree beside v1 is not every runtime's business.
    match (there(v1, false), Host::is_pure_v2() && there(v2, true)) {
        (true, _) => Ok(v1),
        (false, true) => Ok(v2),
        _ => Err(format!("this host has no controller with {}", if v1.is_empty() { v2 } else { v1 })),
    }
}

/// What the file of the container's cgroup says.
fn file(scene: &Scene, name: &str) -> Check<String> {
    let all = Host::cgroups(scene.s.cgroup_prefix())?;
    let found = all.into_iter().map(|directory| directory.join(name)).find(|path| path.exists());
    let found = found.ok_or_else(|| Failed::from(format!("no cgroup of the container has a file {name}")))?;
    Ok(fs::read_to_string(found)?.trim_end().to_owned())
}

fn create(scene: &Scene) -> Check<i32> {
    let rt = scene.s.runtime();
    rt.create(scene.bundle_with(&["/bin/probe", "sleep"])?.path(), "c1")?.success()?;
    rt.pid("c1")
}

fn limits() -> impl Iterator<Item = Case> {
    rows().into_iter().map(|(place, name, request, v1, v2)| {
        let line = line_of(v1, v2);
        let missing = line.clone().err();
        let line = line.unwrap_or_default();
        let mut case = must(place, &format!("cgroups/{name}"), "a limit of the config is that of the cgroup");
        for (key, value) in request.as_object().into_iter().flatten() {
            case = case.with(&format!("/linux/resources/{key}"), value.clone());
        }
        if name == "memory/unlimited" {
            // That is what a cgroup has anyway.
            let limit = json!({ "limit": 67_108_864 });
            case = case.noticing(Broken::Reads(vec![to("/linux/resources/memory", limit)]));
        }
        case.unless(missing).body(move |scene| {
            create(scene)?;
            let (name, wanted) = line.split_once(' ').unwrap_or((line, ""));
            let text = file(scene, name)?;
            check!(
                text == wanted || text.lines().any(|l| l == wanted),
                "{name} says {text:?}, not {wanted:?}"
            );
            Ok(())
        })
    })
}

fn zero() -> Case {
    should("config-linux.md, PIDs", "cgroups/pids/zero", "a limit of 0 processes is a limit like others")
        .with("/linux/resources/pids", json!({ "limit": 0 }))
        .unless(line_of("pids.max", "pids.max").err())
        .body(|scene| {
            create(scene)?;
            check_eq!(file(scene, "pids.max")?, "0");
            Ok(())
        })
}

/// Where the process is in each hierarchy.
fn places(pid: i32) -> Check<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect())
}

fn same_place(scene: &Scene) -> Check {
    let rt = scene.s.runtime();
    let bundle = scene.bundle_with(&["/bin/probe", "sleep"])?;
    let mut seen = Vec::new();
    for id in ["c1", "c2"] {
        rt.create(bundle.path(), id)?.success()?;
        let pid = rt.pid(id)?;
        seen.push(places(pid)?);
        stop(rt, id, pid)?;
        rt.delete(id)?.success()?;
    }
    check_eq!(seen[0], seen[1]);
    Ok(())
}

fn paths() -> Vec<Case> {
    let elsewhere = || Broken::Reads(vec![to("/linux/cgroupsPath", "/oxrun-elsewhere")]);
    vec![
        must(PATH, "cgroups/path/absolute", "an absolute path begins where the hierarchy is mounted")
            .noticing(elsewhere())
            .body(|scene| {
                let pid = create(scene)?;
                let wanted = format!("/{}0", scene.s.cgroup_prefix());
                let at = places(pid)?;
                // A manager may put it one deeper.
                check!(at.iter().any(|p| p == &wanted || p.starts_with(&format!("{wanted}/"))), "{at:?}");
                Ok(())
            }),
        must(PATH, "cgroups/path/same", "the same path is the same place")
            .noticing(Broken::Skips("delete"))
            .body(same_place),
        must(PATH, "cgroups/path/nested", "a path of several names is made").noticing(elsewhere()).body(
            |scene| {
                let name = format!("/{}0/a/b", scene.s.cgroup_prefix());
                let config =
                    scene.config().set("/linux/cgroupsPath", name.clone()).args(&["/bin/probe", "sleep"]);
                let rt = scene.s.runtime();
                rt.create(scene.bundle_of(&config)?.path(), "c1")?.success()?;
                let pid = rt.pid("c1")?;
                let at = places(pid)?;
                check!(at.iter().any(|p| p.starts_with(&name)), "{at:?}");
                stop(rt, "c1", pid)?;
                rt.delete("c1")?.success()?;
                // What stands above may be anybody's.
                for root in Host::cgroup_roots()? {
                    for part in [&name[1..], &name[1..name.len() - 2], &name[1..name.len() - 4]] {
                        let _ = fs::remove_dir(root.join(part));
                    }
                }
                Ok(())
            },
        ),
        must(PATH, "cgroups/path/number", "a path is a text").fault("/linux/cgroupsPath", 5),
        must(
            "config-linux.md, Unified",
            "cgroups/unified/missing",
            "a controller that is not there is an error",
        )
        .fault("/linux/resources/unified", json!({ "nosuchcontroller.max": "1" })),
        must(
            "config-linux.md, Unified",
            "cgroups/unified/written",
            "a value is written to the file of its name",
        )
        .with("/linux/resources/unified", json!({ "hugetlb.2MB.max": "4194304" }))
        .unless((!Host::is_pure_v2()).then(|| "cgroup v2 is not all there is".to_owned()))
        .unless(line_of("", "hugetlb.2MB.max").err())
        .body(|scene| {
            create(scene)?;
            check_eq!(file(scene, "hugetlb.2MB.max")?, "4194304");
            Ok(())
        }),
        must("config-linux.md, Memory", "cgroups/memory/text", "a limit is a number")
            .with("/linux/resources/memory", json!({ "reservation": 33_554_432 }))
            .unless(line_of("memory.limit_in_bytes", "memory.max").err())
            .fault("/linux/resources/memory/limit", "64m"),
        must(
            "config-linux.md, CPU",
            "cgroups/cpu/missing-cpus",
            "processors that are not there are an error",
        )
        .unless(line_of("cpuset.cpus", "cpuset.cpus").err())
        .fault("/linux/resources/cpu", json!({ "cpus": "1000-1001" })),
        must(
            "config-linux.md, Huge page limits",
            "cgroups/hugepages/size",
            "a size of pages that the kernel does not have is an error",
        )
        .unless(line_of("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max").err())
        .fault("/linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 3_145_728 }])),
        must(
            "config-linux.md, IntelRdt",
            "rdt/unavailable",
            "without resctrl a class of service is an error",
        )
        .unless(
            fs::exists("/sys/fs/resctrl/schemata").unwrap_or(false).then(|| "there is resctrl".to_owned()),
        )
        .fault("/linux/intelRdt", json!({ "closID": "oxrun-none" })),
    ]
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all = paths();
    all.extend(limits());
    all.extend(throttles());
    all.push(zero());
    // One that places the container elsewhere is noticed by what its own files say.
    all.push(
        must(PATH, "cgroups/path/absent", "without a path the runtime chooses a place")
            .without("/linux/cgroupsPath")
            .noticing(Broken::Declines("run"))
            .sees(super::super::seen::judged("/cgroup", |list| {
                check!(list.as_array().is_some_and(|list| !list.is_empty()), "{list}");
                Ok(())
            })),
    );
    all
}
