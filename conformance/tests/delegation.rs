//! The container's own cgroup in its own hands: who sees nothing but its cgroup of the v2 tree, in a mount that it
//! may write to, may make cgroups there; its limits stay the host's.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, not_oxrun, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
const FIRST: u32 = 100_000;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A container with a user and a cgroup namespace that may write to its cgroup.
fn own(args: &[&str]) -> Config {
    let maps = json!([{ "containerID": 0, "hostID": FIRST, "size": 65_536 }]);
    let config = Config::new(args)
        .namespace("user", None)
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps);
    writable(config.namespace("cgroup", None))
}

fn writable(config: Config) -> Config {
    config.without_mount("/sys/fs/cgroup").mount(
        "cgroup",
        "cgroup".as_ref(),
        "/sys/fs/cgroup",
        &["nosuid", "noexec", "nodev", "relatime"],
    )
}

fn cgroup(s: &Sandbox) -> Check<PathBuf> {
    Host::cgroups(s.cgroup_prefix())?.pop_first().ok_or_else(|| Failed::from("the container has no cgroup"))
}

/// The owner of a file of the container's cgroup; of the directory without a name.
fn owner(s: &Sandbox, file: &str) -> Check<u32> {
    let path = cgroup(s)?.join(file);
    Ok(fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?.uid())
}

/// The files that the kernel gives away with a cgroup.
fn delegated() -> Check<Vec<String>> {
    let text = fs::read_to_string("/sys/kernel/cgroup/delegate")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn is_owned_by(s: &Sandbox, uid: u32) -> Check {
    check_eq!(owner(s, "")?, uid, "owner of the directory");
    for file in delegated()? {
        if cgroup(s)?.join(&file).exists() {
            check_eq!(owner(s, &file)?, uid, "owner of {file}");
        }
    }
    for limit in ["pids.max", "memory.max", "cpu.max", "cgroup.kill", "cgroup.freeze"] {
        check_eq!(owner(s, limit)?, 0, "owner of {limit}");
    }
    Ok(())
}

fn the_cgroup_belongs_to_the_containers_root_and_its_limits_do_not() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &own(SLEEP).set("/linux/resources/pids", json!({ "limit": 20 })))?;
    is_owned_by(&s, FIRST)?;
    let mut report = vec!["/bin/probe", "report"];
    for file in ["/sys/fs/cgroup/cgroup.procs:w", "/sys/fs/cgroup/pids.max:w", "/sys/fs/cgroup/pids.max:r"] {
        report.extend(["--open", file]);
    }
    let seen = s.runtime().exec("c1", &report)?.success()?.json()?;
    check_eq!(seen["open"]["/sys/fs/cgroup/cgroup.procs:w"], "ok");
    check_eq!(seen["open"]["/sys/fs/cgroup/pids.max:r"], "ok");
    check_eq!(seen["open"]["/sys/fs/cgroup/pids.max:w"], libc::EACCES);
    Ok(())
}

fn a_container_makes_and_limits_cgroups_of_its_own() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let config = own(&["/bin/probe", "nest", "7"]).set("/linux/resources/pids", json!({ "limit": 20 }));
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    let pid = rt.start_ready(bundle.path(), "c1")?;
    let below = cgroup(&s)?.join("below");
    check_eq!(fs::read_to_string(below.join("pids.max"))?.trim(), "7", "limit below");
    check_eq!(fs::read_to_string(below.join("cgroup.procs"))?.trim(), pid.to_string(), "who is below");
    // The container's own cgroup takes no process any more: where its first process is one may be.
    rt.exec("c1", &["/bin/probe", "exit", "5"])?.exits(5)?;
    rt.call(&["pause", "c1"])?.success()?;
    check!(fs::read_to_string(below.join("cgroup.events"))?.contains("frozen 1"), "it is not frozen");
    rt.call(&["resume", "c1"])?.success()?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    before.assert_same()
}

fn the_user_of_the_first_process_is_the_owner() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &own(SLEEP).set("/process/user", json!({ "uid": 7, "gid": 8 })))?;
    is_owned_by(&s, FIRST + 7)?;
    let s = sandbox()?;
    let config = writable(Config::new(SLEEP).namespace("cgroup", None));
    s.sleeper("c1", &config.set("/process/user", json!({ "uid": 1000, "gid": 1000 })))?;
    is_owned_by(&s, 1000)
}

fn a_cgroup_that_others_share_is_not_given_away() -> Check {
    for (what, config) in [
        ("no cgroup namespace", own(SLEEP).without_namespace("cgroup")),
        ("a mount that is read-only", own(SLEEP).set("/mounts/6/options", json!(["ro"]))),
        ("no mount", own(SLEEP).without_mount("/sys/fs/cgroup")),
    ] {
        let s = sandbox()?;
        s.sleeper("c1", &config)?;
        for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
            check_eq!(owner(&s, file)?, 0, "{what}: owner of {file:?}");
        }
    }
    Ok(())
}

fn a_cgroup_that_was_there_keeps_its_owner() -> Check {
    let s = sandbox()?;
    let name = format!("{}there", s.cgroup_prefix());
    let dir = PathBuf::from("/sys/fs/cgroup").join(&name);
    fs::create_dir(&dir)?;
    let run = || -> Check {
        s.sleeper("c1", &own(SLEEP).set("/linux/cgroupsPath", format!("/{name}")))?;
        check_eq!(owner(&s, "")?, 0, "owner of the directory");
        check_eq!(owner(&s, "cgroup.procs")?, 0, "owner of cgroup.procs");
        s.runtime().call(&["delete", "--force", "c1"])?.success().map(drop)
    };
    let outcome = run();
    for pid in Host::children()? {
        let _ = s.runtime().wait_for(pid);
    }
    fs::remove_dir(&dir)?;
    outcome
}

fn main() -> ExitCode {
    fn without_v2() -> Option<String> {
        let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let there = |c: &str| list.split_whitespace().any(|w| w == c);
        (!["memory", "cpu", "pids"].into_iter().all(there))
            .then(|| "there is no v2 tree alone, with its controllers".to_owned())
    }
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), without_v2, $name)),*] };
    }
    fn without_v2_or_oxrun() -> Option<String> {
        without_v2().or_else(|| not_oxrun("others give away what they did not make"))
    }
    let mut all = tests![
        the_cgroup_belongs_to_the_containers_root_and_its_limits_do_not,
        a_container_makes_and_limits_cgroups_of_its_own,
        the_user_of_the_first_process_is_the_owner,
        a_cgroup_that_others_share_is_not_given_away,
    ];
    all.push(conditional(
        "a_cgroup_that_was_there_keeps_its_owner",
        without_v2_or_oxrun,
        a_cgroup_that_was_there_keeps_its_owner,
    ));
    run(all)
}
