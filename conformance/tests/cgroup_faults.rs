//! Every write that create makes to a cgroup, failing: the file, the value, the errno and the field are told, and
//! nothing is left.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, run};
use oxrun_conformance::{Check, check};
use serde_json::{Value, json};
use std::process::ExitCode;

/// What is asked for, and the file that must take it: hierarchy, file, value, field. The names of v1.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("memory", "memory.limit_in_bytes", "67108864", "/linux/resources/memory/limit"),
    ("memory", "memory.soft_limit_in_bytes", "33554432", "/linux/resources/memory/reservation"),
    ("memory", "memory.swappiness", "10", "/linux/resources/memory/swappiness"),
    ("cpu", "cpu.shares", "512", "/linux/resources/cpu/shares"),
    ("cpu", "cpu.cfs_quota_us", "20000", "/linux/resources/cpu/quota"),
    ("cpu", "cpu.cfs_period_us", "50000", "/linux/resources/cpu/period"),
    ("cpuset", "cpuset.cpus", "0", "/linux/resources/cpu/cpus"),
    ("cpuset", "cpuset.mems", "0", "/linux/resources/cpu/mems"),
    ("pids", "pids.max", "33", "/linux/resources/pids/limit"),
    ("devices", "devices.deny", "a *:* rwm", "/linux/resources/devices"),
    ("devices", "devices.allow", "c *:* m", "/linux/resources/devices"),
];

fn resources() -> Value {
    json!({
        "memory": { "limit": 64 << 20, "reservation": 32 << 20, "swappiness": 10 },
        "cpu": { "shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 33 },
        "devices": [{ "allow": false, "access": "rwm" }],
    })
}

fn every_write_that_fails_is_told_and_nothing_is_left() -> Check {
    for (controller, file, value, field) in CASES {
        let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        // The directory exists before, so that the file can be covered: in a namespace of the runtime alone.
        let name = format!("{}covered", s.cgroup_prefix());
        let dir = format!("/sys/fs/cgroup/{controller}/{name}");
        let script = format!(
            "mount --bind {dir}/{file} {dir}/{file} && mount -o remount,bind,ro {dir}/{file} && exec \"$@\""
        );
        s.runtime_mut().wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        std::fs::create_dir(&dir)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // What a new cgroup lacks would be filled, by the same write, for another reason.
            if *controller == "cpuset" {
                std::fs::write(
                    format!("{dir}/{file}"),
                    std::fs::read(format!("/sys/fs/cgroup/cpuset/{file}"))?,
                )?;
            }
        }
        let before = s.leaks()?;
        let config = Config::new(&["/bin/probe", "exit", "0"])
            .set("/linux/cgroupsPath", format!("/{name}"))
            .set("/linux/resources", resources());
        let bundle = s.bundle(&config)?;
        let outcome =
            s.runtime().create(bundle.path(), "c1").and_then(|o| o.refused("read-only file system"));
        let left = before.assert_same();
        let gone = std::fs::remove_dir(&dir);
        let output = outcome?;
        for word in [*file, *field] {
            check!(output.says(word), "{output}\n  does not say {word}");
        }
        check!(output.says(&format!("{value:?}")) || output.says(value), "{output}\n  does not say {value}");
        left?;
        gone?;
    }
    Ok(())
}

fn main() -> ExitCode {
    fn without_v1() -> Option<String> {
        Host::is_pure_v2().then(|| "there are no v1 controllers".to_owned())
    }
    run(vec![conditional(
        "every_write_that_fails_is_told_and_nothing_is_left",
        without_v1,
        every_write_that_fails_is_told_and_nothing_is_left,
    )])
}
