//! A container without a mount namespace of its own (`/linux/namespaces` without `mount`), and one whose root is moved
//! instead of exchanged (`--no-pivot`): what it has, and that the host's mounts stay as they are.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, not_oxrun, run};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A configuration without a mount namespace and what needs one.
fn plain(args: &[&str]) -> Config {
    let config = Config::new(args).without_namespace("mount");
    config.remove("/linux/maskedPaths").remove("/linux/readonlyPaths")
}

fn namespace(pid: &str) -> Check<String> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/mnt"))?.to_string_lossy().into_owned())
}

/// Makes every mount of this test's own namespace a peer of another one, as they are on a host, for a while.
struct Shared;

impl Shared {
    fn new() -> Check<Shared> {
        sys::propagation(Path::new("/"), libc::MS_REC | libc::MS_SHARED)?;
        Ok(Shared)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = sys::propagation(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE);
    }
}

fn it_runs_in_its_root_in_the_mount_namespace_of_the_caller() -> Check {
    let s = sandbox()?;
    let seen = s.report(&plain(&["/bin/probe", "report", "--stat", "/dev/null", "--list", "/"]))?;
    check_eq!(seen["namespaces"]["mnt"], namespace("self")?);
    check_eq!(seen["stat"]["/dev/null"]["type"], "char");
    let names: Vec<&str> = seen["list"]["/"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    check!(names.contains(&"bin") && !names.contains(&"boot") && !names.contains(&"var"), "{names:?}");
    check!(seen["namespaces"]["pid"] != json!(null), "its /proc is not its own");
    Ok(())
}

fn the_mounts_of_the_host_are_as_before_all_the_time() -> Check {
    let s = sandbox()?;
    let data = s.make_dir("data")?;
    let _shared = Shared::new()?;
    let before: BTreeSet<String> = Host::mounts()?.into_iter().collect();
    let config = plain(&[]).mount("bind", &data, "/data", &["rbind", "rshared"]);
    let pid = s.sleeper("c1", &config)?;
    check_eq!(namespace(&pid.to_string())?, namespace("self")?);
    let during: BTreeSet<String> = Host::mounts()?.into_iter().collect();
    check_eq!(during, before, "while it runs");
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    check_eq!(Host::mounts()?.into_iter().collect::<BTreeSet<_>>(), before, "afterwards");
    Ok(())
}

fn its_root_and_mounts_are_as_the_config_says() -> Check {
    let s = sandbox()?;
    let data = s.make_dir("data")?;
    s.make_file("data/file", "x")?;
    let words =
        ["/bin/probe", "report", "--open", "/file:w", "--open", "/data/file:r", "--open", "/data/file:w"];
    let config =
        plain(&words).mount("bind", &data, "/data", &["bind", "ro"]).set("/process/cwd", "/home/made");
    let seen = s.report(&config)?;
    check_eq!(seen["cwd"], "/home/made");
    check_eq!(seen["open"]["/data/file:r"], "ok");
    check!(seen["open"]["/data/file:w"] != "ok", "a read-only mount was written to");
    let root = s.report(&plain(&["/bin/probe", "report", "--open", "/etc/new:w"]))?;
    check!(root["open"]["/etc/new:w"] != "ok", "a read-only root was written to");
    Ok(())
}

fn a_further_process_is_in_the_same_root() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &plain(&[]))?;
    let seen = s.runtime().exec("c1", &["/bin/probe", "report", "--list", "/"])?.success()?.json()?;
    check_eq!(seen["namespaces"]["mnt"], namespace("self")?);
    let names: Vec<&str> = seen["list"]["/"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    check!(names.contains(&"bin") && !names.contains(&"boot") && !names.contains(&"var"), "{names:?}");
    check_eq!(seen["cwd"], "/");
    Ok(())
}

fn hooks_inside_are_in_the_same_root() -> Check {
    let s = sandbox()?;
    let out = s.make_dir("out")?;
    let hook = |file: &str| json!([{ "path": "/bin/probe", "args": ["probe", "hook", file] }]);
    let config = plain(&["/bin/probe", "exit", "0"])
        .mount("bind", &out, "/tmp", &["bind", "rw"])
        .set("/hooks/startContainer", hook("/tmp/hook"));
    let bundle = s.bundle(&config)?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    check!(out.join("hook").exists(), "the hook was not run in the container");
    Ok(())
}

fn what_needs_a_mount_namespace_is_refused() -> Check {
    let s = sandbox()?;
    let words = "unable to restrict sys entries without a private MNT namespace";
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let user = plain(&["/bin/probe", "exit", "0"]).namespace("user", None);
    for (config, text) in [
        (plain(&["/x"]).set("/linux/maskedPaths", json!(["/proc/keys"])), words),
        (plain(&["/x"]).set("/linux/readonlyPaths", json!(["/proc/sys"])), words),
        (
            user.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map),
            "a container with a user namespace needs a mount namespace of its own",
        ),
    ] {
        let bundle = s.bundle(&config)?;
        s.runtime().run(bundle.path(), "c1")?.refused(text)?;
    }
    Ok(())
}

fn a_failure_leaves_nothing_behind() -> Check {
    let s = sandbox()?;
    let _shared = Shared::new()?;
    let before: BTreeSet<String> = Host::mounts()?.into_iter().collect();
    let bundle = s.bundle(&plain(&["/bin/nope"]))?;
    s.runtime().run(bundle.path(), "c1")?.refused("/bin/nope")?;
    check_eq!(Host::mounts()?.into_iter().collect::<BTreeSet<_>>(), before);
    Ok(())
}

/// Runs a container whose root is moved.
fn moved(s: &Sandbox, config: &Config) -> Check<Value> {
    let bundle = s.bundle(config)?;
    let path = bundle.path().to_string_lossy().into_owned();
    s.runtime().call(&["run", "--no-pivot", "--bundle", &path, "c1"])?.success()?.json()
}

fn a_moved_root_has_its_own_procfs_and_no_other() -> Check {
    let s = sandbox()?;
    let _shared = Shared::new()?;
    let before: BTreeSet<String> = Host::mounts()?.into_iter().collect();
    let config = Config::new(&["/bin/probe", "report", "--stat", "/proc/keys", "--list", "/sys"]);
    let seen = moved(&s, &config)?;
    check_eq!(seen["stat"]["/proc/keys"]["type"], "char", "the mask");
    check!(seen["namespaces"]["mnt"] != namespace("self")?, "no mount namespace of its own");
    check!(seen["list"]["/sys"].as_array().is_some_and(|l| !l.is_empty()), "its sysfs is gone: {seen}");
    check_eq!(Host::mounts()?.into_iter().collect::<BTreeSet<_>>(), before, "the host's mounts");
    Ok(())
}

fn a_moved_root_needs_no_mount_namespace() -> Check {
    let s = sandbox()?;
    let _shared = Shared::new()?;
    let before: BTreeSet<String> = Host::mounts()?.into_iter().collect();
    let seen = moved(&s, &plain(&["/bin/probe", "report", "--list", "/proc"]))?;
    check_eq!(seen["namespaces"]["mnt"], namespace("self")?);
    check_eq!(Host::mounts()?.into_iter().collect::<BTreeSet<_>>(), before, "the host's mounts");
    Ok(())
}

fn a_moved_root_with_a_user_namespace_runs() -> Check {
    let s = sandbox()?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let config = Config::new(&["/bin/probe", "report", "--stat", "/proc/keys"]).namespace("user", None);
    let config = config.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    check_eq!(moved(&s, &config)?["stat"]["/proc/keys"]["type"], "char", "the mask");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => {
            vec![$(conditional(
                stringify!($name),
                || not_oxrun("others change the propagation of the host's mounts and leave some"),
                $name,
            )),*]
        };
    }
    run(tests![
        it_runs_in_its_root_in_the_mount_namespace_of_the_caller,
        the_mounts_of_the_host_are_as_before_all_the_time,
        its_root_and_mounts_are_as_the_config_says,
        a_further_process_is_in_the_same_root,
        hooks_inside_are_in_the_same_root,
        what_needs_a_mount_namespace_is_refused,
        a_failure_leaves_nothing_behind,
        a_moved_root_has_its_own_procfs_and_no_other,
        a_moved_root_needs_no_mount_namespace,
        a_moved_root_with_a_user_namespace_runs,
    ])
}
