//! The end of a container's cgroups: whatever was made below them and whoever is in them is gone afterwards, and
//! what cannot go is named.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::json;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A sandbox whose runtime sees no v2 tree.
fn without_v2() -> Check<Sandbox> {
    let mut s = sandbox()?;
    let script = "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified && exec \"$@\"";
    s.runtime_mut().wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    Ok(s)
}

/// Starts a container with three more processes; returns the pids of those.
fn family(s: &Sandbox, config: &Config) -> Check<(i32, Vec<i32>)> {
    let bundle = s.bundle(&config.clone().args(&["/bin/probe", "spawn", "3"]))?;
    let pid = s.runtime().start_ready(bundle.path(), "c1")?;
    let all = Host::processes_in(s.cgroup_prefix())?;
    let others: Vec<i32> = all.into_iter().filter(|p| *p != pid).collect();
    check_eq!(others.len(), 3, "children");
    Ok((pid, others))
}

fn delete(s: &Sandbox) -> Check {
    s.runtime().call(&["delete", "--force", "c1"])?.success().map(drop)
}

/// The container's directory in the hierarchy that has this file.
fn directory_with(s: &Sandbox, name: &str) -> Check<PathBuf> {
    let all = Host::cgroups(s.cgroup_prefix())?;
    all.into_iter()
        .find(|d| d.join(name).exists())
        .ok_or_else(|| Failed::from(format!("the container has no cgroup with {name}")))
}

/// Cgroups one in the other, below a path's length and beyond. The descriptors remove what the runtime left.
struct Deep(Vec<(File, String)>);

impl Deep {
    fn new(top: &Path, depth: usize) -> Check<Self> {
        let mut made = Vec::new();
        let mut here = File::open(top)?;
        for n in 0..depth {
            let name = format!("{n}{}", "d".repeat(200));
            let path = format!("/proc/self/fd/{}/{name}", here.as_raw_fd());
            fs::create_dir(&path)?;
            let below = File::open(&path)?;
            made.push((std::mem::replace(&mut here, below), name));
        }
        Ok(Self(made))
    }

    /// Moves a process to the deepest one.
    fn occupy(&self, pid: i32) -> Check {
        let (above, name) = self.0.last().unwrap();
        let file = format!("/proc/self/fd/{}/{name}/cgroup.procs", above.as_raw_fd());
        fs::write(file, pid.to_string())?;
        Ok(())
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        while let Some((above, name)) = self.0.pop() {
            let _ = fs::remove_dir(format!("/proc/self/fd/{}/{name}", above.as_raw_fd()));
        }
    }
}

/// Makes cgroups below the container's in every hierarchy, two at each place; some with a process.
fn branches(s: &Sandbox, pids: &[i32]) -> Check {
    for cgroup in Host::cgroups(s.cgroup_prefix())? {
        for name in ["a", "a/b", "a/b/c", "a/d", "e"] {
            let below = cgroup.join(name);
            fs::create_dir(&below)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if below.join(file).exists() {
                    fs::write(below.join(file), fs::read(cgroup.join(file))?)?;
                }
            }
        }
        for (name, pid) in ["a/b/c", "a/d", "e"].iter().zip(pids) {
            fs::write(cgroup.join(name).join("cgroup.procs"), pid.to_string())?;
        }
    }
    Ok(())
}

/// Deletes the container by force; then nothing of it is left, its orphans have ended.
fn nothing_is_left_of(s: &Sandbox, start: impl FnOnce() -> Check) -> Check {
    let before = (s.leaks()?, Host::children()?);
    start()?;
    delete(s)?;
    for pid in Host::children()?.difference(&before.1) {
        s.runtime().wait_for(*pid)?;
    }
    s.runtime().call(&["state", "c1"])?.refused("container does not exist")?;
    before.0.assert_same()
}

fn with_branches(s: &Sandbox, config: &Config) -> Check {
    nothing_is_left_of(s, || {
        let (_, others) = family(s, config)?;
        branches(s, &others)
    })
}

/// A program without processes of its own namespace: they outlive the first one.
fn shared() -> Config {
    Config::new(&[]).without_namespace("pid")
}

fn cgroups_below_are_removed_in_every_hierarchy() -> Check {
    with_branches(&sandbox()?, &Config::new(&[]))
}

fn cgroups_below_are_removed_without_a_pid_namespace() -> Check {
    with_branches(&sandbox()?, &shared())
}

fn cgroups_below_are_removed_on_v1_alone() -> Check {
    with_branches(&without_v2()?, &shared())
}

fn cgroups_deeper_than_any_path_are_removed() -> Check {
    let s = sandbox()?;
    let mut deep = Vec::new();
    nothing_is_left_of(&s, || {
        let (_, others) = family(&s, &shared())?;
        for cgroup in Host::cgroups(s.cgroup_prefix())? {
            deep.push(Deep::new(&cgroup, 30)?);
            if cgroup.join("cgroup.kill").exists() || cgroup.join("pids.max").exists() {
                deep.last().unwrap().occupy(others[0])?;
            }
        }
        Ok(())
    })
}

fn a_threaded_cgroup_is_emptied_and_removed() -> Check {
    let s = sandbox()?;
    nothing_is_left_of(&s, || {
        let (pid, others) = family(&s, &shared())?;
        let own = directory_with(&s, "cgroup.kill")?;
        for (name, pid) in [("t", pid), ("t/u", others[0])] {
            fs::create_dir(own.join(name))?;
            fs::write(own.join(name).join("cgroup.type"), "threaded")?;
            fs::write(own.join(name).join("cgroup.threads"), pid.to_string())?;
        }
        check_eq!(fs::read_to_string(own.join("cgroup.type"))?.trim(), "domain threaded", "own type");
        Ok(())
    })
}

fn a_fork_bomb(s: &Sandbox, config: Config, how: impl FnOnce() -> Check) -> Check {
    let bundle =
        s.bundle(&config.args(&["/bin/probe", "fork-bomb"]).set("/linux/resources/pids/limit", 60))?;
    nothing_is_left_of(s, || {
        s.runtime().start_ready(bundle.path(), "c1")?;
        how()
    })
}

fn delete_ends_a_fork_bomb() -> Check {
    for config in [Config::new(&[]), shared()] {
        a_fork_bomb(&sandbox()?, config, || Ok(()))?;
    }
    Ok(())
}

fn delete_ends_a_fork_bomb_on_v1_alone() -> Check {
    for config in [Config::new(&[]), shared()] {
        a_fork_bomb(&without_v2()?, config, || Ok(()))?;
    }
    Ok(())
}

fn kill_all_ends_a_fork_bomb(s: &Sandbox) -> Check {
    a_fork_bomb(s, shared(), || {
        s.runtime().call(&["kill", "--all", "c1", "KILL"])?.success()?;
        let name = s.cgroup_prefix();
        // Killed is not yet gone. Whoever escaped makes others and is never found ended.
        for pid in Host::processes_in(name)? {
            s.runtime().wait_for_end(pid)?;
        }
        let alive = Host::processes_in(name)?.into_iter().filter(|p| Host::process_state(*p) != Some('Z'));
        let alive: Vec<String> = alive.map(Host::describe).collect();
        check!(alive.is_empty(), "alive after kill --all: {alive:?}");
        s.runtime().has_status("c1", "stopped")
    })
}

fn kill_all_ends_a_fork_bomb_at_once() -> Check {
    kill_all_ends_a_fork_bomb(&sandbox()?)
}

fn kill_all_ends_a_fork_bomb_on_v1_alone() -> Check {
    kill_all_ends_a_fork_bomb(&without_v2()?)
}

fn kill_all_leaves_v1_thawed() -> Check {
    let s = without_v2()?;
    let (pid, others) = family(&s, &shared())?;
    let freezer = directory_with(&s, "freezer.state")?;
    fs::create_dir(freezer.join("below"))?;
    fs::write(freezer.join("below/cgroup.procs"), others[0].to_string())?;
    fs::write(freezer.join("below/freezer.state"), "FROZEN")?;
    s.runtime().call(&["kill", "--all", "c1", "KILL"])?.success()?;
    for pid in others.iter().chain([&pid]) {
        s.runtime().wait_for(*pid)?;
    }
    for state in ["freezer.state", "below/freezer.state"] {
        check_eq!(fs::read_to_string(freezer.join(state))?.trim(), "THAWED", "{state}");
    }
    Ok(())
}

/// A cgroup of the freezer that is not the container's.
struct Elsewhere(PathBuf);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let pids = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines() {
            let _ = fs::write(self.0.with_file_name("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn what_cannot_be_removed_is_named(s: &Sandbox) -> Check {
    let before = s.leaks()?;
    let (_, others) = family(s, &shared())?;
    let own = directory_with(s, "freezer.state")?;
    // Frozen by somebody else, where the runtime has nothing to thaw.
    let elsewhere = Elsewhere(own.with_file_name(format!("{}elsewhere", s.cgroup_prefix())));
    fs::create_dir(&elsewhere.0)?;
    fs::write(elsewhere.0.join("cgroup.procs"), others[0].to_string())?;
    fs::write(elsewhere.0.join("freezer.state"), "FROZEN")?;
    let failed = s.runtime().call(&["delete", "--force", "c1"])?.refused("device or resource busy")?;
    check!(failed.says("rmdir("), "{failed}");
    check!(
        failed.says(&format!("{} (state D, wchan ", others[0])),
        "{failed}\n  does not name {}",
        others[0]
    );
    fs::write(elsewhere.0.join("freezer.state"), "THAWED")?;
    s.runtime().wait_for(others[0])?;
    drop(elsewhere);
    // Nothing that could go is left over, and what is left can be deleted.
    delete(s)?;
    for pid in Host::children()? {
        let _ = s.runtime().wait_for(pid);
    }
    before.assert_same()
}

fn a_process_that_does_not_die_is_named() -> Check {
    what_cannot_be_removed_is_named(&sandbox()?)
}

fn a_process_that_does_not_die_is_named_on_v1_alone() -> Check {
    what_cannot_be_removed_is_named(&without_v2()?)
}

fn a_further_process_that_nobody_reaps_does_not_hinder_delete() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let before = s.leaks()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
    let first = rt.start_ready(bundle.path(), "c1")?;
    let file = s.dir().join("pid");
    let words = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), "c1", "/bin/probe", "exit", "0"];
    rt.call(&words)?.success()?;
    // It comes to us, who let it be a zombie.
    let further: i32 = fs::read_to_string(&file)?.parse().unwrap();
    check!(sys::readable(sys::pidfd(further)?.as_fd(), LIMIT)?, "it did not end");
    check_eq!(Host::process_state(further), Some('Z'));
    delete(&s)?;
    check_eq!(Host::process_state(further), Some('Z'), "the further process afterwards");
    check!(sys::reap(further)?.is_some(), "not to be reaped");
    rt.wait_for(first)?;
    before.assert_same()
}

fn a_hook_that_freezes_the_container_and_fails_ends_it() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let roots = Host::cgroup_roots()?;
    let root = roots.iter().find(|root| controls(root, "freezer")).ok_or("no freezer")?;
    let text = format!(
        "for file in {}/{}*/freezer.state; do echo FROZEN >\"$file\" || exit 2; done\nexit 3",
        root.display(),
        s.cgroup_prefix()
    );
    let hook = s.make_script("hook", &text)?;
    let entry = json!({ "path": hook, "env": ["PATH=/usr/bin:/bin"] });
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]).push("/hooks/createRuntime", entry))?;
    s.runtime().create(bundle.path(), "c1")?.refused("exit status 3")?;
    before.assert_same()
}

/// The root of a hierarchy has not all files: a controller is told by its directory's name or list.
fn controls(root: &Path, controller: &str) -> bool {
    root.file_name().is_some_and(|n| n.to_string_lossy().split(',').any(|c| c == controller))
        || fs::read_to_string(root.join("cgroup.controllers"))
            .is_ok_and(|t| t.split_whitespace().any(|c| c == controller))
}

fn main() -> ExitCode {
    fn without(controller: &'static str) -> bool {
        Host::cgroup_roots().is_ok_and(|roots| !roots.iter().any(|r| controls(r, controller)))
    }
    fn no_limit() -> Option<String> {
        without("pids").then(|| "nothing limits the number of processes here".to_owned())
    }
    fn no_v1() -> Option<String> {
        without("freezer").then(|| "there are no v1 hierarchies".to_owned())
    }
    fn no_tree() -> Option<String> {
        let there =
            Host::cgroup_roots().is_ok_and(|r| r.iter().any(|r| r.join("cgroup.controllers").exists()));
        (!there).then(|| "there is no v2 tree".to_owned())
    }
    macro_rules! tests {
        ($unless:ident: $($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), $unless, $name)),*] };
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut all = tests![
        cgroups_below_are_removed_in_every_hierarchy,
        cgroups_below_are_removed_without_a_pid_namespace,
        cgroups_deeper_than_any_path_are_removed,
    ];
    all.push(oxrun_only(
        "a_further_process_that_nobody_reaps_does_not_hinder_delete",
        "runc waits until it is reaped, and then gives up",
        a_further_process_that_nobody_reaps_does_not_hinder_delete,
    ));
    all.extend(tests![no_tree: a_threaded_cgroup_is_emptied_and_removed]);
    all.extend(tests![no_limit: delete_ends_a_fork_bomb, kill_all_ends_a_fork_bomb_at_once]);
    all.extend(tests![no_v1:
        cgroups_below_are_removed_on_v1_alone,
        delete_ends_a_fork_bomb_on_v1_alone,
        kill_all_ends_a_fork_bomb_on_v1_alone,
        kill_all_leaves_v1_thawed,
        a_hook_that_freezes_the_container_and_fails_ends_it,
        a_process_that_does_not_die_is_named,
        a_process_that_does_not_die_is_named_on_v1_alone,
    ]);
    run(all)
}
