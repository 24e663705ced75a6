//! Containers of a user without rights: one id of its own, or ranges that newuidmap(1) and newgidmap(1) grant.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Granted, Output, Sandbox, User, conditional, run};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];
/// A sandbox whose runtime is called as the user.
struct Rootless {
    // Dropped first: the sandbox compares mounts.
    granted: Option<Granted>,
    sandbox: Sandbox,
}

impl Rootless {
    fn new() -> Check<Self> {
        let mut sandbox = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        sandbox.call_as_user("")?;
        Ok(Self { granted: None, sandbox })
    }

    fn grant(mut self) -> Check<Self> {
        self.granted = Some(Granted::new(&self.sandbox)?);
        Ok(self)
    }

    /// Runs a container; its rootfs belongs to the user.
    fn run(&self, config: &Config) -> Check<Output> {
        let bundle = self.sandbox.bundle(config)?;
        User::own(bundle.path())?;
        self.sandbox.runtime().run(bundle.path(), "c1")
    }
}

fn one_id_of_its_own_is_enough() -> Check {
    let s = Rootless::new()?;
    let dir = s.sandbox.make_dir("data")?;
    User::own(&dir)?;
    let args = ["/bin/probe", "write", "/mnt/file", "x"];
    let config = User::config(&args, &User::single()).mount("bind", &dir, "/mnt", &["rbind"]);
    s.run(&config)?.success()?;
    let meta = fs::metadata(dir.join("file"))?;
    check_eq!((meta.uid(), meta.gid()), (User::ID, User::ID));
    Ok(())
}

fn ranges_are_mapped_by_the_helpers() -> Check {
    let s = Rootless::new()?.grant()?;
    let config =
        User::config(REPORT, &User::ranges()).set("/process/user/uid", 1000).set("/process/user/gid", 1001);
    let seen = s.run(&config)?.success()?.json()?;
    check_eq!((&seen["uid"], &seen["gid"]), (&json!(1000), &json!(1001)));
    let dir = s.sandbox.make_dir("data")?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    let write = ["/bin/probe", "write", "/mnt/file", "x"];
    s.run(&config.args(&write).mount("bind", &dir, "/mnt", &["rbind"]))?.success()?;
    let meta = fs::metadata(dir.join("file"))?;
    check_eq!((meta.uid(), meta.gid()), (User::FIRST + 999, User::FIRST + 1000));
    Ok(())
}

fn a_range_that_is_not_granted_is_refused() -> Check {
    let s = Rootless::new()?;
    let before = s.sandbox.leaks()?;
    let output = s.run(&User::config(REPORT, &User::ranges()))?.exits(1)?;
    check!(output.says("newgidmap"), "{output}");
    check!(output.says("/etc/subuid"), "{output}");
    before.assert_same()
}

fn exec_enters_the_containers_user_namespace() -> Check {
    let s = Rootless::new()?.grant()?;
    let bundle = s.sandbox.bundle(&User::config(&["/bin/probe", "sleep"], &User::ranges()))?;
    User::own(bundle.path())?;
    let pid = s.sandbox.runtime().start_ready(bundle.path(), "c1")?;
    let seen = s.sandbox.runtime().exec("c1", REPORT)?.success()?.json()?;
    check_eq!(seen["uid"], 0);
    let expected = fs::read_link(format!("/proc/{pid}/ns/user"))?;
    check_eq!(seen["namespaces"]["user"], json!(expected.to_string_lossy()));
    s.sandbox.runtime().call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn exec_before_start_is_refused_if_the_process_is_another_user() -> Check {
    let s = Rootless::new()?.grant()?;
    let config = User::config(&["/bin/probe", "sleep"], &User::ranges());
    let bundle = s.sandbox.bundle(&config.set("/process/user/uid", 1000))?;
    User::own(bundle.path())?;
    let rt = s.sandbox.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let output = rt.exec("c1", REPORT)?;
    check!(output.code != 0 && output.says("waits for start") && output.says("start it first"), "{output}");
    // Nothing was done to it.
    rt.has_status("c1", "created")?;
    rt.start("c1")?.success()?;
    rt.exec("c1", &["/bin/probe", "exit", "7"])?.exits(7)?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn a_user_namespace_is_demanded() -> Check {
    let s = Rootless::new()?;
    s.run(
        &User::config(REPORT, &User::single())
            .without_namespace("user")
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings"),
    )?
    .refused("rootless container requires user namespaces")
    .map(drop)
}

fn groups_are_refused() -> Check {
    let s = Rootless::new()?;
    s.run(&User::config(REPORT, &User::single()).set("/process/user/additionalGids", json!([5])))?
        .refused("cannot set any additional groups in a rootless container")
        .map(drop)
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($needs:expr, $($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), $needs, $name)),*] };
    }
    let mut tests =
        tests![User::missing, one_id_of_its_own_is_enough, a_user_namespace_is_demanded, groups_are_refused,];
    tests.extend(tests![
        User::without_helpers,
        ranges_are_mapped_by_the_helpers,
        a_range_that_is_not_granted_is_refused,
        exec_enters_the_containers_user_namespace,
        exec_before_start_is_refused_if_the_process_is_another_user,
    ]);
    run(tests)
}
