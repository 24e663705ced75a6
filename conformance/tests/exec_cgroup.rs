//! A further process in a cgroup below the container's, in a container whose first process has moved, and in one
//! that is paused.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Output, Sandbox, conditional, not_oxrun, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A container that sees its own cgroup as the root.
fn config() -> Config {
    Config::new(&["/bin/probe", "sleep"]).namespace("cgroup", None)
}

const CGROUPS: &[&str] = &["/bin/probe", "cat", "/proc/self/cgroup"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// The container's cgroups, one in each hierarchy.
fn cgroups(s: &Sandbox) -> Check<Vec<PathBuf>> {
    let all = Host::cgroups(s.cgroup_prefix())?;
    check!(!all.is_empty(), "the container has no cgroup");
    Ok(all.into_iter().collect())
}

/// The container's directory in the v2 tree.
fn tree(s: &Sandbox) -> Check<PathBuf> {
    let found = cgroups(s)?.into_iter().find(|d| d.join("cgroup.kill").exists());
    found.ok_or_else(|| Failed::from("no cgroup in a v2 tree"))
}

/// `exec` with these options; what it says of its cgroups.
fn exec(s: &Sandbox, options: &[&str]) -> Check<Output> {
    s.runtime().call(&[&["exec"], options, &["c1"], CGROUPS].concat())
}

fn paths_above_the_containers_cgroup_are_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    let own = cgroups(&s)?[0].file_name().unwrap().to_string_lossy().into_owned();
    // Another cgroup whose name starts like the container's is above it, too.
    let near = format!("../{own}x");
    for path in ["..", "../..", "/..", "a/../..", "../../sys", &near] {
        let output = exec(&s, &["--cgroup", path])?.exits(255)?;
        check!(output.says("bad sub cgroup path"), "{output}");
    }
    Ok(())
}

fn the_containers_own_cgroup_may_be_named() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    for path in ["/", ".", "a/.."] {
        let output = exec(&s, &["--cgroup", path])?.success()?;
        for line in output.stdout.lines() {
            check!(line.ends_with(":/"), "{path}: {line}");
        }
    }
    Ok(())
}

fn a_cgroup_that_is_not_there_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    let output = exec(&s, &["--cgroup", "nonexistent"])?.exits(255)?;
    check!(output.says("no such file or directory"), "{output}");
    check!(output.says("cgroup"), "{output}");
    s.runtime().has_status("c1", "running")
}

fn an_unknown_controller_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    let output = exec(&s, &["--cgroup", "whaaat:/"])?.exits(255)?;
    check!(output.says("unknown controller whaaat"), "{output}");
    Ok(())
}

fn each_controller_may_have_its_own_cgroup() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    for cgroup in cgroups(&s)? {
        for (file, name) in [("memory.stat", "submem"), ("cpu.shares", "subcpu"), ("cpuacct.usage", "subcpu")]
        {
            if cgroup.join(file).exists() {
                let _ = fs::create_dir(cgroup.join(name));
            }
        }
    }
    let options = ["--cgroup", "memory:submem", "--cgroup", "cpu,cpuacct:subcpu"];
    let output = exec(&s, &options)?.success()?;
    for line in output.stdout.lines() {
        let expected = match line {
            l if l.contains("memory") => ":/submem",
            l if l.contains("cpu:") || l.contains("cpuacct:") => ":/subcpu",
            _ => ":/",
        };
        check!(line.ends_with(expected), "{line} does not end with {expected}");
    }
    let output = exec(&s, &["--cgroup", "memory:nonexistent"])?.exits(255)?;
    check!(output.says(" adding pid "), "{output}");
    check!(output.says("no such file or directory"), "{output}");
    Ok(())
}

fn one_path_counts_for_every_hierarchy() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    for cgroup in cgroups(&s)? {
        let below = cgroup.join("below");
        fs::create_dir(&below)?;
        if below.join("cpuset.cpus").exists() && !Host::is_pure_v2() {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(below.join(file), fs::read(cgroup.join(file))?)?;
            }
        }
    }
    let output = exec(&s, &["--cgroup", "below"])?.success()?;
    let trees = cgroups(&s)?.iter().filter(|d| d.join("cgroup.kill").exists()).count();
    // Hierarchies that are not mounted here are no business of the runtime's.
    let here = |l: &&str| if l.starts_with("0::") { trees > 0 } else { !Host::is_pure_v2() };
    for line in output.stdout.lines().filter(here) {
        check!(line.ends_with(":/below"), "{line}");
    }
    Ok(())
}

/// What a nested container runtime does: its first process goes below. The v2 cgroup that it comes from.
fn nested(s: &Sandbox) -> Check<PathBuf> {
    let pid = s.sleeper("c1", &config())?;
    let tree = tree(s)?;
    fs::create_dir(tree.join("inner"))?;
    fs::write(tree.join("inner/cgroup.procs"), pid.to_string())?;
    Ok(tree)
}

/// Then controllers are enabled: a cgroup with controllers below it takes no process.
fn fill(tree: &Path) -> Check {
    let controllers = fs::read_to_string(tree.join("cgroup.controllers"))?;
    let domain = controllers.split_whitespace().find(|c| ["memory", "io", "hugetlb"].contains(c));
    let domain = domain.ok_or_else(|| Failed::from("no domain controller"))?;
    Ok(fs::write(tree.join("cgroup.subtree_control"), format!("+{domain}"))?)
}

fn a_process_follows_the_first_one_where_the_containers_cgroup_takes_none() -> Check {
    let s = sandbox()?;
    let tree = nested(&s)?;
    let v2_line = |output: &Output| {
        let line = output.stdout.lines().find_map(|l| l.strip_prefix("0::"));
        line.map(str::to_owned)
    };
    // As long as it takes processes it is the one.
    check_eq!(v2_line(&exec(&s, &[])?.success()?).as_deref(), Some("/"));
    fill(&tree)?;
    check_eq!(v2_line(&exec(&s, &[])?.success()?).as_deref(), Some("/inner"));
    let output = exec(&s, &["--cgroup", "/"])?.exits(255)?;
    check!(output.says("device or resource busy"), "{output}");
    check!(output.says(" adding pid ") && output.says(" to cgroups"), "{output}");
    Ok(())
}

fn a_process_does_not_follow_the_first_one_into_a_cgroup_that_the_container_has_frozen() -> Check {
    let s = sandbox()?;
    let tree = nested(&s)?;
    fill(&tree)?;
    fs::write(tree.join("inner/cgroup.freeze"), "1")?;
    let output = exec(&s, &[])?.exits(255)?;
    let inner = tree.join("inner");
    check!(output.says(&format!("the container has frozen {}", inner.display())), "{output}");
    // Told to wait it waits, as for a paused container.
    let mut command = s.runtime().command();
    command.args(["exec", "--ignore-paused", "c1", "/bin/probe", "exit", "9"]);
    let mut child = command.spawn()?;
    fs::write(inner.join("cgroup.freeze"), "0")?;
    check_eq!(child.wait()?.code(), Some(9), "exit code");
    exec(&s, &[])?.success().map(drop)
}

fn a_paused_container_takes_no_process() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    s.runtime().call(&["pause", "c1"])?.success()?;
    let output = exec(&s, &[])?.exits(255)?;
    check!(output.says("cannot exec in a paused container (use --ignore-paused to override)"), "{output}");
    s.runtime().has_status("c1", "paused")
}

fn a_process_waits_for_a_paused_container_if_it_is_told_to() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &config())?;
    s.runtime().call(&["pause", "c1"])?.success()?;
    let mut command = s.runtime().command();
    command.args(["exec", "--ignore-paused", "c1", "/bin/probe", "exit", "9"]);
    let mut child = command.spawn()?;
    s.runtime().has_status("c1", "paused")?;
    s.runtime().call(&["resume", "c1"])?.success()?;
    check_eq!(child.wait()?.code(), Some(9), "exit code");
    Ok(())
}

fn without_v1() -> Option<String> {
    Host::is_pure_v2().then(|| "there are no v1 controllers".to_owned())
}

fn without_v2_domain_controllers() -> Option<String> {
    let roots = Host::cgroup_roots().unwrap_or_default();
    let found = roots.iter().any(|root| {
        let list = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        list.split_whitespace().any(|c| ["memory", "io", "hugetlb"].contains(&c))
    });
    (!found).then(|| "no v2 tree has domain controllers".to_owned())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        paths_above_the_containers_cgroup_are_refused,
        the_containers_own_cgroup_may_be_named,
        a_cgroup_that_is_not_there_is_refused,
        an_unknown_controller_is_refused,
        one_path_counts_for_every_hierarchy,
        a_paused_container_takes_no_process,
        a_process_waits_for_a_paused_container_if_it_is_told_to,
    ];
    tests.push(conditional(
        "each_controller_may_have_its_own_cgroup",
        without_v1,
        each_controller_may_have_its_own_cgroup,
    ));
    tests.push(conditional(
        "a_process_follows_the_first_one_where_the_containers_cgroup_takes_none",
        without_v2_domain_controllers,
        a_process_follows_the_first_one_where_the_containers_cgroup_takes_none,
    ));
    tests.push(conditional(
        "a_process_does_not_follow_the_first_one_into_a_cgroup_that_the_container_has_frozen",
        || without_v2_domain_controllers().or_else(|| not_oxrun("others wait for the container")),
        a_process_does_not_follow_the_first_one_into_a_cgroup_that_the_container_has_frozen,
    ));
    run(tests)
}
