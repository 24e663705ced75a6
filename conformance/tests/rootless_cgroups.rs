//! Limits of a user without rights: in the part of the v2 tree that was delegated to it, and nowhere else.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Output, Sandbox, conditional, run};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
/// `nobody`, whom every Debian knows.
const USER: u32 = 65534;
const TOP: &str = "/sys/fs/cgroup";

/// A cgroup that the user was given, with one below it in which its commands run; above it one of root's, which says
/// what controllers come along.
struct Subtree(PathBuf);

impl Subtree {
    fn new(controllers: &[&str]) -> Check<Self> {
        let above = Path::new(TOP).join(format!("oxrun-user-{}", std::process::id()));
        let tree = Self(above.join("user"));
        fs::create_dir(&above)?;
        for controller in controllers {
            fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        for dir in [tree.0.clone(), tree.0.join("job")] {
            fs::create_dir(&dir)?;
            for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(dir.join(file), Some(USER), Some(USER))?;
            }
        }
        Ok(tree)
    }

    /// Its path in the tree, without leading slash.
    fn name(&self) -> &str {
        self.0.strip_prefix(TOP).unwrap().to_str().unwrap()
    }
}

fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

impl Drop for Subtree {
    fn drop(&mut self) {
        // Whoever is left is the sandbox's to end, which is gone by now.
        remove(self.0.parent().unwrap());
    }
}

/// A sandbox whose runtime is called as the user, from a copy that the user may execute, in a delegated cgroup.
struct Rootless {
    sandbox: Sandbox,
    // Dropped after it: its containers are in it.
    tree: Subtree,
    // Dropped last: it holds the copy of the runtime.
    _outer: Sandbox,
}

const ALL: &[&str] = &["cpu", "cpuset", "memory", "pids"];

impl Rootless {
    fn new(controllers: &[&str]) -> Check<Self> {
        let outer = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        let program = outer.dir().join("oxrun");
        fs::copy(outer.runtime().program(), &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let tree = Subtree::new(controllers)?;
        let sandbox = Sandbox::with_runtime(env!("CARGO_BIN_EXE_oxrun-probe"), &program)?;
        let state = sandbox.runtime().root();
        fs::create_dir(&state)?;
        chown(&state, Some(USER), Some(USER))?;
        let enter = format!("echo 0 >{}/cgroup.procs && exec \"$@\"", tree.0.join("job").display());
        let mut new = Self { sandbox, tree, _outer: outer };
        new.wrap(&enter);
        Ok(new)
    }

    /// Calls the runtime as the user, after something that is done as root.
    fn wrap(&mut self, enter: &str) {
        let id = USER.to_string();
        let user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        self.sandbox.runtime_mut().wrap(&[&["sh", "-c", enter, "sh"][..], &user].concat());
    }

    fn bundle(&self, config: &Config) -> Check<PathBuf> {
        let bundle = self.sandbox.bundle(config)?;
        own(bundle.path())?;
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
        let path = self.tree.0.join(file);
        Ok(fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?.trim().to_owned())
    }

    /// The cgroups directly below the user's.
    fn cgroups(&self) -> Check<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.tree.0)? {
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

/// Gives a tree to the user.
fn own(path: &Path) -> Check {
    chown(path, Some(USER), Some(USER))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path())?;
        }
    }
    Ok(())
}

/// A container of the user's own id, without a cgroup of its own choice.
fn config(args: &[&str]) -> Config {
    let maps = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    let config = Config::new(args)
        .without_namespace("network")
        .namespace("user", None)
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps)
        .without_mount("/sys")
        .without_mount("/sys/fs/cgroup")
        .remove("/linux/cgroupsPath");
    config.remove("/mounts/2/options/5")
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
    for path in [format!("/{}/pod/c1", s.tree.name()), "pod/c1".to_owned(), "../../pod/c1".to_owned()] {
        let pid =
            s.start(&config(SLEEP).set("/linux/cgroupsPath", path).set("/linux/resources", limits()))?;
        check_eq!(s.read("pod/c1/pids.max")?, "7", "pids.max");
        check_eq!(s.read("pod/c1/cgroup.procs")?, pid.to_string(), "who is in it");
        s.sandbox.runtime().call(&["delete", "--force", "c1"])?.success()?;
        s.sandbox.runtime().wait_for(pid)?;
        check!(!s.tree.0.join("pod/c1").exists(), "the cgroup is left");
        // What is above the container's cgroup may be anybody's by now.
        fs::remove_dir(s.tree.0.join("pod"))?;
    }
    Ok(())
}

/// What systemd-run gives with `Delegate=yes`: the caller lives at the top of its part.
fn below_a_caller_at_the_top_of_its_part_a_container_has_a_cgroup_without_limits() -> Check {
    let mut s = Rootless::new(ALL)?;
    let enter = format!("echo 0 >{}/cgroup.procs && exec \"$@\"", s.tree.0.display());
    s.wrap(&enter);
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
    check_eq!(seen["cgroup"], json!([format!("0::/{}/c1", s.tree.name())]), "cgroup of exec");
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

fn elsewhere_limits_are_refused_and_without_them_no_cgroup_is_made() -> Check {
    let s = Rootless::new(ALL)?;
    let before = s.sandbox.leaks()?;
    for path in ["/oxrun-test-unset".to_owned(), format!("/{}", s.tree.name())] {
        let placed = config(&["/bin/probe", "exit", "7"]).set("/linux/cgroupsPath", path);
        let output = s.run(&placed.clone().set("/linux/resources", limits()))?;
        let output = output
            .refused("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")?;
        check!(output.says(&format!("below /{}", s.tree.name())), "{output}\n  does not say where it may");
        s.run(&placed.remove("/linux/resources"))?.exits(7)?;
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
        (!Path::new("/usr/bin/setpriv").exists()).then(|| "setpriv is not installed".to_owned())
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
        elsewhere_limits_are_refused_and_without_them_no_cgroup_is_made,
    ])
}
