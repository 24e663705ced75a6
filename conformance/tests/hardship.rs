//! A host that lacks something: room, descriptors, memory, the right to write, a caller that waits for its children.
//! What can be done is done; what cannot is told, and leaves nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::sandbox;
use oxrun_conformance::harness::{Config, Output, Sandbox, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

/// A container that asks for no more descriptors than its caller has.
fn config() -> Config {
    Config::new(SLEEP).remove("/process/rlimits")
}

/// A mount that is gone when the test is.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = sys::unmount(self.0);
    }
}

fn tmpfs<'a>(place: &'a Path, options: &str) -> Check<Mounted<'a>> {
    fs::create_dir_all(place)?;
    let made = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(place).status()?;
    check!(made.success(), "no tmpfs with {options}");
    Ok(Mounted(place))
}

/// Calls the runtime through a shell that first does something to itself.
fn through(s: &Sandbox, first: &str, words: &[&str]) -> Check<Output> {
    let rt = s.runtime();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{first}; exec \"$@\""), "sh"]).arg(rt.program());
    command.arg("--root").arg(rt.root()).args(words);
    rt.finish(command)
}

/// Creates a container with a state root of each size, from none for what it has to write to more than enough.
fn with_little_room(options: impl Fn(u32) -> String) -> Check {
    let s = sandbox()?;
    let root = s.runtime().root();
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let (mut refused, mut made) = (0, 0);
    for amount in 1..16 {
        let mounted = tmpfs(&root, &options(amount))?;
        let before = s.leaks()?;
        let output = s.runtime().create(bundle.path(), "c1")?;
        if output.code == 0 {
            made += 1;
            s.runtime().call(&["delete", "--force", "c1"])?.success()?;
        } else {
            refused += 1;
            output.refused("no space left on device")?;
        }
        // What the runtime did not wait for is ours.
        while let Ok(Some(_)) = sys::reap(-1) {}
        before.assert_same()?;
        drop(mounted);
    }
    check!(refused > 2 && made > 2, "{refused} refused, {made} made: neither shows anything");
    Ok(())
}

fn create_on_a_disk_without_room_for_files_says_so_and_leaves_nothing() -> Check {
    // One is the root itself.
    with_little_room(|inodes| format!("size=1m,nr_inodes={},mode=700", inodes + 1))
}

fn create_on_a_full_disk_says_so_and_leaves_nothing() -> Check {
    with_little_room(|pages| format!("size={}k,mode=700", pages * 4))
}

fn create_below_a_read_only_state_root_says_so() -> Check {
    let s = sandbox()?;
    let root = s.runtime().root();
    let _mounted = tmpfs(&root, "ro,mode=700")?;
    let before = s.leaks()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(bundle.path(), "c1")?.refused("read-only file system")?;
    before.assert_same()
}

fn a_state_root_that_is_a_file_is_named() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.make_file("state", "")?;
    let output = s.runtime().create(bundle.path(), "c1")?;
    check!(output.code == 1 && output.says(&s.runtime().root().to_string_lossy()), "{output}");
    fs::remove_file(s.runtime().root())?;
    Ok(())
}

fn a_caller_that_ignores_the_end_of_its_children_gets_exit_codes() -> Check {
    let s = sandbox()?;
    let hook = s.make_script("hook", "exit 0")?;
    let config = Config::new(&["/bin/probe", "exit", "7"])
        .push("/hooks/createRuntime", json!({ "path": hook, "env": ["PATH=/usr/bin:/bin"] }));
    let bundle = s.bundle(&config)?;
    let words = ["run", "--bundle", bundle.path().to_str().unwrap(), "c1"];
    through(&s, "trap '' CHLD", &words)?.exits(7)?;
    s.sleeper("c2", &Config::new(SLEEP))?;
    through(&s, "trap '' CHLD", &["exec", "c2", "/bin/probe", "exit", "9"])?.exits(9)?;
    let failing = s.make_script("failing", "exit 3")?;
    let config = config
        .remove("/hooks")
        .push("/hooks/createRuntime", json!({ "path": failing, "env": ["PATH=/bin"] }));
    let bundle = s.bundle(&config)?;
    let words = ["run", "--bundle", bundle.path().to_str().unwrap(), "c3"];
    through(&s, "trap '' CHLD", &words)?.refused("exit status 3")?;
    Ok(())
}

fn twenty_descriptors_are_enough_for_every_command() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&config())?;
    let path = bundle.path().to_str().unwrap();
    let few = |words: &[&str]| through(&s, "ulimit -n 20", words)?.success();
    few(&["create", "--bundle", path, "c1"])?;
    few(&["start", "c1"])?;
    few(&["exec", "c1", "/bin/probe", "echo", "word"])?;
    few(&["state", "c1"])?;
    few(&["ps", "c1"])?;
    few(&["events", "--stats", "c1"])?;
    few(&["update", "--cpu-share", "512", "c1"])?;
    few(&["pause", "c1"])?;
    few(&["resume", "c1"])?;
    few(&["list"])?;
    few(&["kill", "c1", "KILL"])?;
    few(&["delete", "--force", "c1"])?;
    Ok(())
}

/// Where descriptors are plenty init closes what it is done with by runs, elsewhere at once.
fn more_mounts_than_descriptors_are_made_whatever_the_limit_and_leave_none_open() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let mut config = config();
    for number in 0..200 {
        let (source, destination) = (source.display().to_string(), format!("/mnt/{number}"));
        let options = ["bind", if number % 2 == 0 { "ro" } else { "rw" }];
        let mount =
            json!({ "source": source, "destination": destination, "type": "bind", "options": options });
        config = config.push("/mounts", mount);
    }
    let bundle = s.bundle(&config)?;
    let path = bundle.path().to_str().unwrap();
    for limit in [20, 70, 132, 133, 136, 140, 150, 1024] {
        through(&s, &format!("ulimit -n {limit}"), &["create", "--bundle", path, "c1"])?.success()?;
        let pid = s.runtime().pid("c1")?;
        let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))?.collect::<Result<_, _>>()?;
        // The streams and the fifo at which it waits.
        check_eq!(open.len(), 4, "limit {limit}");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
        check_eq!(mounts.lines().filter(|line| line.contains(" /mnt/")).count(), 200, "limit {limit}");
        s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    }
    Ok(())
}

fn there_may_be_more_containers_than_descriptors() -> Check {
    let s = sandbox()?;
    let ids: Vec<String> = (10..22).map(|number| format!("c{number}")).collect();
    for id in &ids {
        s.runtime().create(s.bundle(&config())?.path(), id)?.success()?;
    }
    for format in ["table", "json"] {
        let listed = through(&s, "ulimit -n 20", &["list", "--format", format])?.success()?;
        check_eq!(listed.stderr, "", "{format}");
        for id in &ids {
            check!(listed.stdout.contains(id.as_str()), "{format} without {id}: {listed}");
        }
    }
    let listed = through(&s, "ulimit -n 20", &["list", "--quiet"])?.success()?;
    check_eq!(listed.stdout.lines().collect::<Vec<_>>(), ids);
    for id in &ids {
        s.runtime().call(&["delete", "--force", id])?.success()?;
    }
    Ok(())
}

fn too_few_descriptors_are_told_and_leave_nothing() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&config())?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let before = s.leaks()?;
    let (mut refused, mut made) = (0, 0);
    for limit in 4..20 {
        let first = format!("ulimit -n {limit}");
        let output = through(&s, &first, &["create", "--bundle", bundle.path().to_str().unwrap(), "c2"])?;
        if output.code == 0 {
            made += 1;
            s.runtime().call(&["delete", "--force", "c2"])?.success()?;
        } else {
            refused += 1;
            output.refused("too many open files")?;
        }
        let state = through(&s, &first, &["state", "c1"])?;
        if state.code == 0 {
            check_eq!(state.json()?["status"], "running", "with {limit} descriptors");
        } else {
            state.refused("too many open files")?;
        }
        // Whom the runtime had no descriptor for.
        while let Ok(Some(_)) = sys::reap(-1) {}
        before.assert_same()?;
    }
    check!(refused > 0 && made > 0, "{refused} refused, {made} made: neither shows anything");
    Ok(())
}

fn a_memory_limit_that_init_cannot_live_with_is_told_and_leaves_nothing() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    for limit in [4096, 16384, 65536] {
        let config = Config::new(SLEEP).set("/linux/resources/memory/limit", limit);
        let bundle = s.bundle(&config)?;
        let output = s.runtime().create(bundle.path(), "c1")?;
        if output.code == 0 {
            return Err(Failed::from(format!("a container in {limit} bytes: {output}")));
        }
        check!(output.says("memory"), "{output}\n  expected a word about memory");
        before.assert_same()?;
    }
    Ok(())
}

fn a_missing_state_root_has_no_container_and_is_made_by_create() -> Check {
    let s = sandbox()?;
    let (rt, root) = (s.runtime(), s.runtime().root());
    for words in [&["state", "c1"][..], &["start", "c1"], &["kill", "c1", "KILL"], &["delete", "c1"]] {
        rt.call(words)?.refused("does not exist")?;
    }
    rt.call(&["exec", "c1", "/bin/probe", "exit", "0"])?.exits(255)?;
    rt.call(&["list"])?.refused("no such file or directory")?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    check!(!root.exists(), "one of them has made the state root");
    rt.create(s.bundle(&Config::new(SLEEP))?.path(), "c1")?.success()?;
    rt.has_status("c1", "created")?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn one_task_is_enough_for_a_container_and_leaves_no_room_for_a_further_process() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let config = Config::new(SLEEP).set("/linux/resources/pids/limit", 1);
    s.sleeper("c1", &config)?;
    let before = s.leaks()?;
    let output = rt.exec("c1", &["/bin/probe", "exit", "0"])?.exits(255)?;
    check!(output.says("resource temporarily unavailable"), "{output}");
    check!(!rt.is_oxrun() || output.says("pids.limit"), "{output}");
    while let Ok(Some(_)) = sys::reap(-1) {}
    before.assert_same()?;
    rt.has_status("c1", "running")?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    let bundle = s.bundle(&config.args(&["/bin/probe", "exit", "7"]))?;
    rt.run(bundle.path(), "c2")?.exits(7).map(drop)
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        create_on_a_disk_without_room_for_files_says_so_and_leaves_nothing,
        create_on_a_full_disk_says_so_and_leaves_nothing,
        create_below_a_read_only_state_root_says_so,
        a_state_root_that_is_a_file_is_named,
        a_caller_that_ignores_the_end_of_its_children_gets_exit_codes,
        twenty_descriptors_are_enough_for_every_command,
        more_mounts_than_descriptors_are_made_whatever_the_limit_and_leave_none_open,
        there_may_be_more_containers_than_descriptors,
        too_few_descriptors_are_told_and_leave_nothing,
        a_memory_limit_that_init_cannot_live_with_is_told_and_leaves_nothing,
        a_missing_state_root_has_no_container_and_is_made_by_create,
        one_task_is_enough_for_a_container_and_leaves_no_room_for_a_further_process,
    ])
}
