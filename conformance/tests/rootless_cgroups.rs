//! Limits of a user without rights: in the part of the v2 tree that was delegated to it, and nowhere else.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Delegated, Output, Sandbox, User, conditional, run};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
const TOP: &str = "/sys/fs/cgroup";

/// A sandbox whose runtime is called as the user, in a delegated cgroup.
struct Rootless {
    sandbox: Sandbox,
    // Dropped after it: its containers are in it.
    tree: Delegated,
}

const ALL: &[&str] = &["cpu", "cpuset", "memory", "pids"];

impl Rootless {
    fn new(controllers: &[&str]) -> Check<Self> {
        let mut sandbox = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        let tree = Delegated::new(&sandbox, controllers)?;
        sandbox.call_as_user(&tree.enter("job"))?;
        Ok(Self { sandbox, tree })
    }

    fn bundle(&self, config: &Config) -> Check<PathBuf> {
        let bundle = self.sandbox.bundle(config)?;
        User::own(bundle.path())?;
        Ok(bundle.path().to_owned())
    }

    fn start(&self, config: &Config) -> Check<i32> {
        self.sandbox.runtime().start_ready(&self.bundle(config)?, "c1")
    }

    fn run(&self, config: &Config) -> Check<Output> {
        self.sandbox.runtime().run(&self.bundle(config)?, "c1")
    }

    /// A file of a cgroup below the user's.
    fn read(&self, file: &str) -> Check<String> {
        let path = self.tree.directory().join(file);
        Ok(fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?.trim().to_owned())
    }

    /// The cgroups directly below the user's.
    fn cgroups(&self) -> Check<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.tree.directory())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn delete(&self, pid: i32) -> Check {
        let rt = self.sandbox.runtime();
        rt.call(&["delete", "--force", "c1"])?.success()?;
        rt.wait_for(pid)?;
        check_eq!(self.cgroups()?, ["job"], "cgroups of the user after delete");
        Ok(())
    }
}

/// A container of the user's own id, without a cgroup of its own choice.
fn config(args: &[&str]) -> Config {
    User::config(args, &User::single()).without_mount("/sys/fs/cgroup")
}

fn limits() -> Value {
    json!({
        "memory": { "limit": 64 << 20 },
        "cpu": { "shares": 512, "quota": 20_000, "period": 50_000 },
        "pids": { "limit": 7 },
        "devices": [{ "allow": false, "access": "rwm" }],
    })
}

fn a_container_is_placed_beside_its_caller_and_limited() -> Check {
    let s = Rootless::new(ALL)?;
    let pid = s.start(&config(SLEEP).set("/linux/resources", limits()))?;
    check_eq!(s.cgroups()?, ["c1", "job"], "cgroups of the user");
    for (file, value) in
        [("memory.max", "67108864"), ("cpu.weight", "59"), ("cpu.max", "20000 50000"), ("pids.max", "7")]
    {
        check_eq!(s.read(&format!("c1/{file}"))?, value, "{file}");
    }
    check_eq!(s.read("c1/cgroup.procs")?, pid.to_string(), "who is in it");
    check_eq!(s.read("job/cgroup.procs")?, "", "who is left where the caller was");
    s.delete(pid)
}

fn a_path_below_what_was_delegated_is_taken() -> Check {
    let s = Rootless::new(ALL)?;
    // A relative one never leads above.
    for path in [format!("/{}/pod/c1", s.tree.path()), "pod/c1".to_owned(), "../../pod/c1".to_owned()] {
        let pid =
            s.start(&config(SLEEP).set("/linux/cgroupsPath", path).set("/linux/resources", limits()))?;
        check_eq!(s.read("pod/c1/pids.max")?, "7", "pids.max");
        check_eq!(s.read("pod/c1/cgroup.procs")?, pid.to_string(), "who is in it");
        s.sandbox.runtime().call(&["delete", "--force", "c1"])?.success()?;
        s.sandbox.runtime().wait_for(pid)?;
        check!(!s.tree.directory().join("pod/c1").exists(), "the cgroup is left");
        // What is above the container's cgroup may be anybody's by now.
        fs::remove_dir(s.tree.directory().join("pod"))?;
    }
    Ok(())
}

/// What systemd-run gives with `Delegate=yes`: the caller lives at the top of its part.
fn below_a_caller_at_the_top_of_its_part_a_container_has_a_cgroup_without_limits() -> Check {
    let mut s = Rootless::new(ALL)?;
    let enter = s.tree.enter("");
    s.sandbox.call_as_user(&enter)?;
    let pid = s.start(&config(SLEEP).remove("/linux/resources"))?;
    check_eq!(s.read("c1/cgroup.procs")?, pid.to_string(), "who is in it");
    s.delete(pid)?;
    // Its processes keep the controllers back: the shell that called the runtime is one of them.
    let output = s.run(&config(SLEEP).set("/linux/resources/pids", json!({ "limit": 7 })))?;
    output.refused("has processes of its own")?;
    check_eq!(s.cgroups()?, ["job"], "cgroups of the user");
    check_eq!(s.read("cgroup.type")?, "domain", "type of the user's cgroup");
    Ok(())
}

fn the_whole_lifecycle_works_in_a_delegated_cgroup() -> Check {
    let s = Rootless::new(ALL)?;
    let pid = s.start(&config(SLEEP).set("/linux/resources", limits()))?;
    let rt = s.sandbox.runtime();
    let seen = rt.exec("c1", &["/bin/probe", "report"])?.success()?.json()?;
    check_eq!(seen["cgroup"], json!([format!("0::/{}/c1", s.tree.path())]), "cgroup of exec");
    rt.call(&["update", "--pids-limit", "9", "c1"])?.success()?;
    check_eq!(s.read("c1/pids.max")?, "9", "pids.max after update");
    rt.call(&["pause", "c1"])?.success()?;
    check!(s.read("c1/cgroup.events")?.contains("frozen 1"), "it is not frozen");
    rt.call(&["resume", "c1"])?.success()?;
    let output = rt.call(&["events", "--stats", "c1"])?.success()?.json()?;
    check_eq!(output["data"]["pids"]["limit"], 9, "limit in events");
    rt.call(&["kill", "--all", "c1", "KILL"])?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how it ended");
    s.delete(pid)
}

fn whoever_exceeds_a_limit_is_stopped() -> Check {
    let s = Rootless::new(ALL)?;
    let memory = json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } });
    s.run(&config(&["/bin/probe", "alloc", "128"]).set("/linux/resources", memory))?.exits(137)?;
    let pids = json!({ "pids": { "limit": 5 } });
    s.run(&config(&["/bin/probe", "spawn", "10"]).set("/linux/resources", pids))?.exits(125)?;
    check_eq!(s.cgroups()?, ["job"], "cgroups of the user");
    Ok(())
}

fn a_container_makes_and_limits_cgroups_of_its_own() -> Check {
    let s = Rootless::new(ALL)?;
    let config = config(&["/bin/probe", "nest", "5"]).namespace("cgroup", None).mount(
        "cgroup",
        "cgroup".as_ref(),
        "/sys/fs/cgroup",
        &["nosuid", "noexec", "nodev"],
    );
    // Without /sys there is nothing to mount it on.
    let bundle = s.bundle(&config)?;
    fs::create_dir_all(bundle.join("rootfs/sys/fs/cgroup"))?;
    let pid = s.sandbox.runtime().start_ready(&bundle, "c1")?;
    check_eq!(s.read("c1/below/pids.max")?, "5", "limit below");
    check_eq!(s.read("c1/below/cgroup.procs")?, pid.to_string(), "who is below");
    s.delete(pid)
}

fn a_controller_that_was_not_delegated_is_named_and_nothing_is_left() -> Check {
    let s = Rootless::new(&["pids"])?;
    let before = s.sandbox.leaks()?;
    let output = s.run(&config(SLEEP).set("/linux/resources", limits()))?;
    let output = output.refused("the memory controller is not delegated to this cgroup")?;
    check!(output.says("/linux/resources/memory/limit"), "{output}");
    check_eq!(s.cgroups()?, ["job"], "cgroups of the user");
    before.assert_same()
}

fn a_path_elsewhere_is_refused() -> Check {
    let s = Rootless::new(ALL)?;
    let before = s.sandbox.leaks()?;
    for path in ["/oxrun-test-unset".to_owned(), format!("/{}", s.tree.path())] {
        let placed = config(&["/bin/probe", "exit", "7"]).set("/linux/cgroupsPath", path);
        for config in [placed.clone().set("/linux/resources", limits()), placed.remove("/linux/resources")] {
            let output = s.run(&config)?.refused("unable to apply cgroup configuration: mkdir ")?;
            check!(
                output.says(&format!("below /{}", s.tree.path())),
                "{output}\n  does not say where it may"
            );
        }
        check_eq!(s.cgroups()?, ["job"], "cgroups of the user");
    }
    before.assert_same()
}

fn main() -> ExitCode {
    fn missing() -> Option<String> {
        let list = fs::read_to_string(format!("{TOP}/cgroup.controllers")).unwrap_or_default();
        if !ALL.iter().all(|c| list.split_whitespace().any(|w| w == *c)) {
            return Some("there is no v2 tree alone, with its controllers".to_owned());
        }
        User::missing()
    }
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), missing, $name)),*] };
    }
    run(tests![
        a_container_is_placed_beside_its_caller_and_limited,
        a_path_below_what_was_delegated_is_taken,
        below_a_caller_at_the_top_of_its_part_a_container_has_a_cgroup_without_limits,
        the_whole_lifecycle_works_in_a_delegated_cgroup,
        whoever_exceeds_a_limit_is_stopped,
        a_container_makes_and_limits_cgroups_of_its_own,
        a_controller_that_was_not_delegated_is_named_and_nothing_is_left,
        a_path_elsewhere_is_refused,
    ])
}
