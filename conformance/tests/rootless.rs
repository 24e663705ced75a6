//! Containers of a user without rights: one id of its own, or ranges that newuidmap(1) and newgidmap(1) grant.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, conditional, run};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];
/// `nobody`, whom every Debian knows.
const USER: u32 = 65534;
const FIRST: u32 = 200_000;
const SIZE: u32 = 10_000;

/// A sandbox whose runtime is called as the user, from a copy that the user may execute.
struct Rootless {
    sandbox: Sandbox,
    granted: Vec<PathBuf>,
    // Dropped last: it holds the copy of the runtime.
    _outer: Sandbox,
}

impl Drop for Rootless {
    fn drop(&mut self) {
        for target in &self.granted {
            let _ = sys::unmount(target);
        }
    }
}

impl Rootless {
    fn new() -> Check<Self> {
        let outer = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        let program = outer.dir().join("oxrun");
        fs::copy(outer.runtime().program(), &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let mut sandbox = Sandbox::with_runtime(env!("CARGO_BIN_EXE_oxrun-probe"), &program)?;
        let id = USER.to_string();
        sandbox.runtime_mut().wrap(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        let state = sandbox.runtime().root();
        fs::create_dir(&state)?;
        chown(&state, Some(USER), Some(USER))?;
        Ok(Self { sandbox, granted: Vec::new(), _outer: outer })
    }

    /// Grants the range to the user, in this test's own mount namespace.
    fn grant(mut self) -> Check<Self> {
        let text = format!("nobody:{FIRST}:{SIZE}\n");
        let file = self.sandbox.make_file("subid", &text)?;
        for target in ["/etc/subuid", "/etc/subgid"] {
            sys::mount(&file, Path::new(target), "", libc::MS_BIND)?;
            self.granted.push(target.into());
        }
        Ok(self)
    }

    /// Runs a container; its rootfs belongs to the user.
    fn run(&self, config: &Config) -> Check<oxrun_conformance::harness::Output> {
        let bundle = self.sandbox.bundle(config)?;
        own(bundle.path())?;
        self.sandbox.runtime().run(bundle.path(), "c1")
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

fn config(args: &[&str], maps: &Value) -> Config {
    let config = Config::new(args)
        .without_namespace("network")
        .namespace("user", None)
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps.clone())
        .without_mount("/sys")
        .remove("/linux/cgroupsPath")
        .remove("/linux/resources");
    config.remove("/mounts/2/options/5")
}

fn single() -> Value {
    json!([{ "containerID": 0, "hostID": USER, "size": 1 }])
}

fn ranges() -> Value {
    json!([
        { "containerID": 0, "hostID": USER, "size": 1 },
        { "containerID": 1, "hostID": FIRST, "size": SIZE }
    ])
}

fn one_id_of_its_own_is_enough() -> Check {
    let s = Rootless::new()?;
    let dir = s.sandbox.make_dir("data")?;
    own(&dir)?;
    let args = ["/bin/probe", "write", "/mnt/file", "x"];
    let config = config(&args, &single()).mount("bind", &dir, "/mnt", &["rbind"]);
    s.run(&config)?.success()?;
    let meta = fs::metadata(dir.join("file"))?;
    check_eq!((meta.uid(), meta.gid()), (USER, USER));
    Ok(())
}

fn ranges_are_mapped_by_the_helpers() -> Check {
    let s = Rootless::new()?.grant()?;
    let config = config(REPORT, &ranges()).set("/process/user/uid", 1000).set("/process/user/gid", 1001);
    let seen = s.run(&config)?.success()?.json()?;
    check_eq!((&seen["uid"], &seen["gid"]), (&json!(1000), &json!(1001)));
    let dir = s.sandbox.make_dir("data")?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    let write = ["/bin/probe", "write", "/mnt/file", "x"];
    s.run(&config.args(&write).mount("bind", &dir, "/mnt", &["rbind"]))?.success()?;
    let meta = fs::metadata(dir.join("file"))?;
    check_eq!((meta.uid(), meta.gid()), (FIRST + 999, FIRST + 1000));
    Ok(())
}

fn a_range_that_is_not_granted_is_refused() -> Check {
    let s = Rootless::new()?;
    let before = s.sandbox.leaks()?;
    let output = s.run(&config(REPORT, &ranges()))?.exits(1)?;
    check!(output.says("newgidmap"), "{output}");
    check!(output.says("/etc/subuid"), "{output}");
    before.assert_same()
}

fn exec_enters_the_containers_user_namespace() -> Check {
    let s = Rootless::new()?.grant()?;
    let bundle = s.sandbox.bundle(&config(&["/bin/probe", "sleep"], &ranges()))?;
    own(bundle.path())?;
    let pid = s.sandbox.runtime().start_ready(bundle.path(), "c1")?;
    let seen = s.sandbox.runtime().exec("c1", REPORT)?.success()?.json()?;
    check_eq!(seen["uid"], 0);
    let expected = fs::read_link(format!("/proc/{pid}/ns/user"))?;
    check_eq!(seen["namespaces"]["user"], json!(expected.to_string_lossy()));
    s.sandbox.runtime().call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn a_user_namespace_is_demanded() -> Check {
    let s = Rootless::new()?;
    s.run(
        &config(REPORT, &single())
            .without_namespace("user")
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings"),
    )?
    .refused("rootless container requires user namespaces")
    .map(drop)
}

fn groups_are_refused() -> Check {
    let s = Rootless::new()?;
    s.run(&config(REPORT, &single()).set("/process/user/additionalGids", json!([5])))?
        .refused("cannot set any additional groups in a rootless container")
        .map(drop)
}

fn main() -> ExitCode {
    let helpers = || {
        let missing =
            ["newuidmap", "newgidmap"].into_iter().find(|n| !Path::new("/usr/bin").join(n).exists());
        missing.map(|name| format!("{name} is not installed (package uidmap)"))
    };
    let user = || (!Path::new("/usr/bin/setpriv").exists()).then(|| "setpriv is not installed".to_owned());
    macro_rules! tests {
        ($needs:expr, $($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), $needs, $name)),*] };
    }
    let mut tests =
        tests![user, one_id_of_its_own_is_enough, a_user_namespace_is_demanded, groups_are_refused,];
    tests.extend(tests![
        helpers,
        ranges_are_mapped_by_the_helpers,
        a_range_that_is_not_granted_is_refused,
        exec_enters_the_containers_user_namespace,
    ]);
    run(tests)
}
