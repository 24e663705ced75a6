//! Changing limits: each option reaches its file, what is not named stays, a failure changes
//! nothing, and device rules change without a moment of denial.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Output, Sandbox, conditional, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A file of the container's cgroups by its name on v1 and on v2.
fn file(s: &Sandbox, v1: &str, v2: &str) -> Check<PathBuf> {
    let name = if Host::is_pure_v2() { v2 } else { v1 };
    let all = Host::cgroups(s.cgroup_prefix())?;
    let found = all.into_iter().map(|d| d.join(name)).find(|f| f.exists());
    found.ok_or_else(|| Failed::from(format!("no cgroup has a file {name}")))
}

fn value(s: &Sandbox, v1: &str, v2: &str) -> Check<String> {
    Ok(fs::read_to_string(file(s, v1, v2)?)?.trim().to_owned())
}

fn memory(s: &Sandbox) -> Check<String> {
    value(s, "memory.limit_in_bytes", "memory.max")
}

fn pids(s: &Sandbox) -> Check<String> {
    value(s, "pids.max", "pids.max")
}

fn update(s: &Sandbox, options: &[&str]) -> Check<Output> {
    s.runtime().call(&[&["update"], options, &["c1"]].concat())
}

fn update_from(s: &Sandbox, document: &str) -> Check<Output> {
    let path = s.make_file("resources.json", document)?;
    update(s, &["--resources", &path.to_string_lossy()])
}

fn each_option_reaches_its_file() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    // Option, its value, the files of v1 and v2, what they say then.
    for (option, text, v1, v2, on_v1, on_v2) in [
        ("--pids-limit", "20", "pids.max", "pids.max", "20", "20"),
        ("--pids-limit", "-1", "pids.max", "pids.max", "max", "max"),
        ("--cpu-share", "1024", "cpu.shares", "cpu.weight", "1024", "100"),
        ("--cpu-quota", "40000", "cpu.cfs_quota_us", "cpu.max", "40000", "40000 100000"),
        ("--cpu-period", "80000", "cpu.cfs_period_us", "cpu.max", "80000", "40000 80000"),
        ("--cpu-burst", "30000", "cpu.cfs_burst_us", "cpu.max.burst", "30000", "30000"),
        ("--cpu-burst", "0", "cpu.cfs_burst_us", "cpu.max.burst", "0", "0"),
        ("--cpu-quota", "-1", "cpu.cfs_quota_us", "cpu.max", "-1", "max 80000"),
        ("--cpuset-cpus", "0", "cpuset.cpus", "cpuset.cpus", "0", "0"),
        ("--cpuset-mems", "0", "cpuset.mems", "cpuset.mems", "0", "0"),
        ("--memory", "64M", "memory.limit_in_bytes", "memory.max", "67108864", "67108864"),
        ("--memory-reservation", "32M", "memory.soft_limit_in_bytes", "memory.low", "33554432", "33554432"),
        ("--cpu-idle", "1", "cpu.idle", "cpu.idle", "1", "1"),
    ] {
        update(&s, &[option, text])?.success()?;
        let expected = if Host::is_pure_v2() { on_v2 } else { on_v1 };
        check_eq!(value(&s, v1, v2)?, expected, "{v1} after {option} {text}");
    }
    Ok(())
}

/// What only v1 has.
fn each_option_of_v1_reaches_its_file() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for (option, text, name, expected) in [
        ("--cpu-rt-period", "500000", "cpu.rt_period_us", "500000"),
        ("--cpu-rt-runtime", "2000", "cpu.rt_runtime_us", "2000"),
        ("--cpu-rt-runtime", "-1", "cpu.rt_runtime_us", "-1"),
        ("--memory", "64M", "memory.limit_in_bytes", "67108864"),
        ("--memory-swap", "128M", "memory.memsw.limit_in_bytes", "134217728"),
        ("--memory-swap", "-1", "memory.memsw.limit_in_bytes", "9223372036854771712"),
    ] {
        if name.starts_with("cpu.rt_") && file(&s, name, name).is_err() {
            // Real-time groups are a choice of whoever built the kernel.
            update(&s, &[option, text])?.refused("this kernel does not have it")?;
            continue;
        }
        let output = update(&s, &[option, text])?;
        if (option, text) == ("--cpu-rt-runtime", "-1") {
            // Without a limit it could take more than the parent has.
            check_eq!(output.code, 1, "exit code of {output}");
            check_eq!(value(&s, name, name)?, "2000", "{name} after a refusal");
            continue;
        }
        output.success()?;
        check_eq!(value(&s, name, name)?, expected, "{name} after {option} {text}");
    }
    Ok(())
}

fn the_weight_of_block_io_reaches_its_file() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    update(&s, &["--blkio-weight", "300"])?.success()?;
    let text = value(&s, "blkio.bfq.weight", "io.bfq.weight")?;
    check!(text.lines().any(|l| l == "300" || l == "default 300"), "the weight is {text:?}");
    update(&s, &["--blkio-weight", "0"])?.success()?;
    check_eq!(value(&s, "blkio.bfq.weight", "io.bfq.weight")?, text, "the weight after 0");
    Ok(())
}

/// A container in a cgroup whose parent has half a processor: whether the quota or the period has to be written
/// first depends on the values.
fn quota_and_period_change_together_under_the_limit_of_the_parent() -> Check {
    let s = sandbox()?;
    let parent = format!("{}parent", s.cgroup_prefix());
    let config = Config::new(SLEEP)
        .set("/linux/cgroupsPath", format!("/{parent}/child"))
        .set("/linux/resources/cpu", json!({"quota": 5_000, "period": 10_000}));
    s.sleeper("c1", &config)?;
    let own = file(&s, "child/cpu.cfs_quota_us", "child/cpu.max")?;
    let above = own.parent().unwrap().parent().unwrap().to_owned();
    match Host::is_pure_v2() {
        true => fs::write(above.join("cpu.max"), "50000 100000")?,
        false => fs::write(above.join("cpu.cfs_quota_us"), "50000")?,
    }
    for (quota, period) in [(50_000, 100_000), (5_000, 10_000), (20_000, 50_000), (400_000, 800_000)] {
        update(&s, &["--cpu-quota", &quota.to_string(), "--cpu-period", &period.to_string()])?.success()?;
        let found = match Host::is_pure_v2() {
            true => value(&s, "", "child/cpu.max")?,
            false => format!(
                "{} {}",
                value(&s, "child/cpu.cfs_quota_us", "")?,
                value(&s, "child/cpu.cfs_period_us", "")?
            ),
        };
        check_eq!(found, format!("{quota} {period}"), "quota and period");
    }
    if !Host::is_pure_v2() {
        // More than the parent has: v1 refuses it in any order, v2 takes it without effect.
        let output = update(&s, &["--cpu-quota", "60000", "--cpu-period", "100000"])?;
        check_eq!(output.code, 1, "exit code of {output}");
        check_eq!(value(&s, "child/cpu.cfs_quota_us", "")?, "400000", "quota");
        check_eq!(value(&s, "child/cpu.cfs_period_us", "")?, "800000", "period");
    }
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    // The parent was made with the container, but may be anybody's by now: it stays, as runc leaves it.
    for root in Host::cgroup_roots()? {
        let _ = fs::remove_dir(root.join(&parent));
    }
    Ok(())
}

fn an_idle_container_gets_its_share_back() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP).set("/linux/resources/cpu", json!({"idle": 1})))?;
    update(&s, &["--cpu-idle", "1", "--cpu-share", "512"])?.success()?;
    check_eq!(value(&s, "cpu.idle", "cpu.idle")?, "1", "idle");
    update(&s, &["--cpu-idle", "0", "--cpu-share", "512"])?.success()?;
    check_eq!(value(&s, "cpu.idle", "cpu.idle")?, "0", "idle");
    let expected = if Host::is_pure_v2() { "59" } else { "512" };
    check_eq!(value(&s, "cpu.shares", "cpu.weight")?, expected, "shares");
    Ok(())
}

/// A file of a cgroup that nobody can write while this exists.
struct Unwritable(PathBuf);

impl Unwritable {
    fn new(file: PathBuf) -> Check<Unwritable> {
        sys::mount(&file, &file, "", libc::MS_BIND)?;
        let held = Unwritable(file);
        sys::mount(&held.0, &held.0, "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY)?;
        Ok(held)
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

/// Whichever write of an update fails, what was written before has its old value again.
fn a_failure_at_any_write_changes_nothing() -> Check {
    let s = sandbox()?;
    let config = Config::new(SLEEP)
        .set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20}))
        .set("/linux/resources/cpu", json!({"shares": 500, "quota": 20_000, "cpus": "0"}))
        .set("/linux/resources/pids", json!({"limit": 11}));
    s.sleeper("c1", &config)?;
    let files = [
        ("memory.limit_in_bytes", "memory.max"),
        ("memory.memsw.limit_in_bytes", "memory.swap.max"),
        ("memory.soft_limit_in_bytes", "memory.low"),
        ("cpu.shares", "cpu.weight"),
        ("cpu.cfs_quota_us", "cpu.max"),
        ("cpu.cfs_burst_us", "cpu.max.burst"),
        ("cpuset.cpus", "cpuset.cpus"),
        ("pids.max", "pids.max"),
    ];
    // Found before one of them is a mount of its own.
    let paths = files.iter().map(|(v1, v2)| file(&s, v1, v2)).collect::<Check<Vec<_>>>()?;
    let all = || paths.iter().map(fs::read_to_string).collect::<std::io::Result<Vec<_>>>();
    let before = all()?;
    let options = [
        "--memory",
        "128M",
        "--memory-swap",
        "256M",
        "--memory-reservation",
        "32M",
        "--cpu-share",
        "700",
        "--cpu-quota",
        "30000",
        "--cpu-burst",
        "1000",
        "--cpuset-cpus",
        "0-1",
        "--pids-limit",
        "30",
    ];
    for path in &paths {
        let held = Unwritable::new(path.clone())?;
        let output = update(&s, &options)?.refused("read-only file system")?;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        check!(output.says(&name), "{output}\n  does not name {name}");
        check!(output.says("/linux/resources/"), "{output}\n  names no field");
        check_eq!(all()?, before, "the values after {name} could not be written");
        drop(held);
    }
    update(&s, &options)?.success()?;
    check!(all()? != before, "nothing changed when all could be written");
    Ok(())
}

fn an_update_without_a_limit_changes_nothing() -> Check {
    let s = sandbox()?;
    let limit = json!({"limit": 11});
    s.sleeper("c1", &Config::new(SLEEP).set("/linux/resources/pids", limit))?;
    let output = update(&s, &[])?.success()?;
    check_eq!((output.stdout, output.stderr), (String::new(), String::new()), "output");
    update_from(&s, "{}")?.success()?;
    check_eq!(pids(&s)?, "11", "pids.max");
    Ok(())
}

fn a_document_is_read_from_standard_input() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let path = s.make_file("resources.json", r#"{"PIDS":{"Limit":21}}"#)?;
    for words in [&["--resources", "-", "c1"][..], &["--resources=-", "c1"]] {
        update(&s, &["--pids-limit", "5"])?.success()?;
        let mut command = s.runtime().command();
        // The option beside it does not count.
        command.args(["update", "--pids-limit", "9"]).args(words);
        command.stdin(fs::File::open(&path)?);
        s.runtime().finish(command)?.success()?;
        check_eq!(pids(&s)?, "21", "pids.max after {words:?}");
    }
    Ok(())
}

fn zeros_in_a_document_leave_the_limits_alone() -> Check {
    let s = sandbox()?;
    let config = Config::new(SLEEP)
        .set("/linux/resources/memory", json!({"limit": 64 << 20}))
        .set("/linux/resources/cpu", json!({"shares": 500}));
    s.sleeper("c1", &config)?;
    let shares = value(&s, "cpu.shares", "cpu.weight")?;
    let zeros = r#"{"memory":{"limit":0,"reservation":0,"swap":0,"kernel":0},
        "cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0,"cpus":"","mems":""},
        "blockIO":{"weight":0}}"#;
    update_from(&s, zeros)?.success()?;
    check_eq!(memory(&s)?, "67108864", "memory");
    check_eq!(value(&s, "cpu.shares", "cpu.weight")?, shares, "shares");
    Ok(())
}

fn memory_and_swap_are_raised_and_lowered_together() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for (limit, swap) in [(64, 64), (128, 256), (96, 128), (256, 256), (32, 32)] {
        let (limit_text, swap_text) = (format!("{limit}M"), format!("{swap}M"));
        update(&s, &["--memory", &limit_text, "--memory-swap", &swap_text])?.success()?;
        check_eq!(memory(&s)?, (limit << 20).to_string(), "memory of {limit}/{swap}");
        let expected = if Host::is_pure_v2() { swap - limit } else { swap };
        check_eq!(
            value(&s, "memory.memsw.limit_in_bytes", "memory.swap.max")?,
            (i64::from(expected) << 20).to_string(),
            "swap of {limit}/{swap}"
        );
    }
    update(&s, &["--memory", "-1"])?.success()?;
    let swap = value(&s, "memory.memsw.limit_in_bytes", "memory.swap.max")?;
    check!(
        swap == "max" || swap.parse::<u64>().is_ok_and(|n| n > 1 << 60),
        "swap is still limited to {swap}"
    );
    Ok(())
}

fn a_limit_that_is_refused_changes_no_other() -> Check {
    let s = sandbox()?;
    let config = Config::new(SLEEP)
        .set("/linux/resources/memory", json!({"limit": 64 << 20}))
        .set("/linux/resources/pids", json!({"limit": 11}));
    s.sleeper("c1", &config)?;
    let output = update(&s, &["--memory", "128M", "--pids-limit", "30", "--cpuset-cpus", "4000"])?;
    check_eq!(output.code, 1, "exit code of {output}");
    check!(output.says("cpuset.cpus"), "{output}");
    check_eq!(memory(&s)?, "67108864", "memory");
    check_eq!(pids(&s)?, "11", "pids.max");
    Ok(())
}

fn memory_in_use_is_checked_first_if_asked() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let before = memory(&s)?;
    let document = r#"{"memory":{"limit":4096,"checkBeforeUpdate":true},"pids":{"limit":5}}"#;
    update_from(&s, document)?.refused("rejecting memory limit")?;
    check_eq!(memory(&s)?, before, "memory");
    check_eq!(pids(&s)?, "max", "pids.max");
    let document = r#"{"memory":{"limit":-1,"swap":4096,"checkBeforeUpdate":true}}"#;
    update_from(&s, document)?.refused("rejecting memory+swap limit")?;
    check_eq!(memory(&s)?, before, "memory");
    // What is in use fits.
    update_from(&s, r#"{"memory":{"limit":1073741824,"checkBeforeUpdate":true}}"#)?.success()?;
    check_eq!(memory(&s)?, "1073741824", "memory");
    Ok(())
}

fn created_and_paused_containers_are_updated_and_stay_so() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let bundle = s.bundle(&Config::new(SLEEP))?;
    rt.create(bundle.path(), "c1")?.success()?;
    update(&s, &["--pids-limit", "20"])?.success()?;
    check_eq!(pids(&s)?, "20", "pids.max");
    rt.has_status("c1", "created")?;
    rt.call(&["pause", "c1"])?.success()?;
    update(&s, &["--pids-limit", "30"])?.success()?;
    check_eq!(pids(&s)?, "30", "pids.max");
    rt.has_status("c1", "paused")
}

fn an_update_of_a_stopped_container_is_refused() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    update(&s, &["--pids-limit", "20"])?.refused("container not running")?;
    rt.call(&["update", "--pids-limit", "20", "nope"])?.refused("container does not exist")?;
    Ok(())
}

fn rdt_schemas_are_refused_without_rdt() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for option in ["--l3-cache-schema", "--mem-bw-schema"] {
        update(&s, &[option, "L3:0=f"])?
            .refused("updating a non-existent Intel RDT configuration is not supported")?;
    }
    Ok(())
}

fn a_document_that_cannot_be_read_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for document in ["", "{", "[]", r#"{"memory":{"limit":"much"}}"#] {
        update_from(&s, document)?.refused("resources")?;
    }
    update(&s, &["--resources", "/nonexistent"])?.refused("no such file or directory")?;
    Ok(())
}

/// A device that no container may use by default; nothing is behind it.
const NODE: &str = "/dev/nothing";

fn with_node(args: &[&str], allow: bool) -> Config {
    let config = Config::new(args).push(
        "/linux/devices",
        json!({"path": NODE, "type": "c", "major": 240, "minor": 77, "fileMode": 438}),
    );
    config.push("/linux/resources/devices", rule(allow))
}

fn rule(allow: bool) -> serde_json::Value {
    json!({"allow": allow, "type": "c", "major": 240, "minor": 77, "access": "rwm"})
}

fn devices(allow: bool) -> String {
    json!({"devices": [{"allow": false, "access": "rwm"}, rule(allow)]}).to_string()
}

fn device_rules_take_effect_in_both_directions() -> Check {
    for (before, word) in [(true, "denied"), (false, "allowed")] {
        let s = sandbox()?;
        let bundle = s.bundle(&with_node(&["/bin/probe", "open-until", NODE, word], before))?;
        let pid = s.runtime().start_ready(bundle.path(), "c1")?;
        update_from(&s, &devices(!before))?.success()?;
        check_eq!(s.runtime().wait_for(pid)?, Some(0), "until {word}");
    }
    Ok(())
}

fn device_rules_change_without_a_moment_of_denial() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&with_node(&["/bin/probe", "open-always", "/dev/null"], true))?;
    let pid = s.runtime().start_ready(bundle.path(), "c1")?;
    for round in 0..10 {
        update_from(&s, &devices(round % 2 == 1))?.success()?;
        update_from(&s, r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)?.success()?;
    }
    s.runtime().has_status("c1", "running")?;
    s.runtime().kill("c1", "TERM")?.success()?;
    check_eq!(s.runtime().wait_for(pid)?, Some(0), "whether /dev/null was never denied");
    Ok(())
}

/// Whether the limits of a container can be set at all on this host.
fn without_controllers() -> Option<String> {
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let missing = list.is_ok_and(|t| {
        ["memory", "cpu", "cpuset", "pids"].iter().any(|c| !t.split_whitespace().any(|w| w == *c))
    });
    missing.then(|| "the v2 tree lacks controllers".to_owned())
}

fn without_bfq() -> Option<String> {
    let list = fs::read_to_string("/sys/block/loop0/queue/scheduler").unwrap_or_default();
    without_controllers().or_else(|| (!list.contains("bfq")).then(|| "the kernel has no BFQ".to_owned()))
}

fn main() -> ExitCode {
    macro_rules! limits {
        ($($name:ident),* $(,)?) => {
            vec![$(conditional(stringify!($name), without_controllers, $name)),*]
        };
    }
    let mut tests = limits![
        each_option_reaches_its_file,
        an_update_without_a_limit_changes_nothing,
        a_document_is_read_from_standard_input,
        zeros_in_a_document_leave_the_limits_alone,
        memory_and_swap_are_raised_and_lowered_together,
        a_limit_that_is_refused_changes_no_other,
        memory_in_use_is_checked_first_if_asked,
        created_and_paused_containers_are_updated_and_stay_so,
        an_idle_container_gets_its_share_back,
        a_failure_at_any_write_changes_nothing,
        quota_and_period_change_together_under_the_limit_of_the_parent,
    ];
    tests.push(conditional(
        "each_option_of_v1_reaches_its_file",
        || Host::is_pure_v2().then(|| "there are no v1 controllers".to_owned()),
        each_option_of_v1_reaches_its_file,
    ));
    tests.push(conditional(
        "the_weight_of_block_io_reaches_its_file",
        without_bfq,
        the_weight_of_block_io_reaches_its_file,
    ));
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { [$(test(stringify!($name), $name)),*] };
    }
    tests.extend(tests![
        an_update_of_a_stopped_container_is_refused,
        rdt_schemas_are_refused_without_rdt,
        a_document_that_cannot_be_read_is_refused,
    ]);
    let why = "runc ignores device rules in an update";
    tests.extend([
        oxrun_only(
            "device_rules_take_effect_in_both_directions",
            why,
            device_rules_take_effect_in_both_directions,
        ),
        oxrun_only(
            "device_rules_change_without_a_moment_of_denial",
            why,
            device_rules_change_without_a_moment_of_denial,
        ),
    ]);
    run(tests)
}
