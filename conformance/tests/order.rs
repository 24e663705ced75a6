//! The order of the steps matters. Each test states what the order gives and, where a plan can be
//! put into another order, that the other order does not give it.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::{
    EXIT, WHY, action, binds_at, mounts_at, move_after, move_before, output_of, plan, plan_of, position,
    refusal_of, report_of, sandbox, take,
};
use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use oxrun_core::plan::Step;
use oxrun_core::plan::action::{Action, Namespace};
use oxrun_core::{ErrorKind, Lane, Plan};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

/// A shared tmpfs of the test's own mount namespace, which plays the host's.
struct Shared(PathBuf);

impl Shared {
    fn new(s: &Sandbox) -> Check<Self> {
        let place = s.make_dir("shared")?;
        sys::mount(Path::new("shared"), &place, "tmpfs", 0)?;
        let shared = Self(place);
        sys::propagation(&shared.0, libc::MS_SHARED)?;
        Ok(shared)
    }

    /// How many mounts are on it.
    fn mounts(&self) -> Check<usize> {
        Ok(Host::mounts_below(&self.0)?.len() - 1)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for place in Host::mounts_below(&self.0).unwrap_or_default() {
            let _ = sys::unmount(&place);
        }
    }
}

/// How many mounts arrive on a shared tmpfs of the host when the container, which has it at /tmp
/// with these options, mounts something there.
fn leaked(options: &[&str], change: fn(&mut Plan) -> Check) -> Check<usize> {
    let s = sandbox()?;
    let shared = Shared::new(&s)?;
    // The probe mounts a tmpfs on /tmp.
    let config = Config::new(&["/bin/probe", "report", "--call", "mount"])
        .capabilities(&["CAP_SYS_ADMIN"])
        .mount("bind", &shared.0, "/tmp", options);
    let mut plan = plan_of(&s, &config)?;
    change(&mut plan)?;
    let report = report_of(&s, &plan)?;
    check_eq!(report["call"]["mount"], "ok", "the container's mount");
    shared.mounts()
}

fn a_bind_of_a_shared_mount_sends_no_mount_back() -> Check {
    for options in [&["rbind"][..], &["bind"], &["rbind", "rslave"], &["rbind", "rprivate"]] {
        let found = leaked(options, |_| Ok(()))?;
        check_eq!(found, 0, "mounts on the host's side with {options:?}");
    }
    Ok(())
}

fn without_the_slave_step_a_bind_of_a_shared_mount_leaks() -> Check {
    let found = leaked(&["rbind"], |plan| take(plan, |a| matches!(a, Action::Propagation { .. })).map(drop))?;
    check_eq!(found, 1, "mounts on the host's side");
    Ok(())
}

fn an_rshared_bind_sends_its_mounts_to_the_host() -> Check {
    let found = leaked(&["rbind", "rshared"], |_| Ok(()))?;
    check_eq!(found, 1, "mounts on the host's side");
    Ok(())
}

fn an_rshared_bind_cloned_by_init_is_no_peer_of_the_host() -> Check {
    let found = leaked(&["rbind", "rshared"], |plan| {
        take(plan, |a| matches!(a, Action::CloneSource { .. }))?;
        match action(plan, binds_at("/tmp"))? {
            Action::Bind(bind) => bind.staged = false,
            _ => return Err("no bind".into()),
        }
        Ok(())
    })?;
    check_eq!(found, 0, "mounts on the host's side");
    Ok(())
}

/// A bundle whose prestart hook enters the container's mount namespace and mounts a tmpfs on the
/// rootfs at its host path.
fn entered(s: &Sandbox) -> Check<Bundle> {
    let config = Config::new(&["/bin/probe", "report", "--stat", "/mnt/of-the-hook"]);
    let bundle = s.bundle(&config)?;
    let root = bundle.rootfs();
    fs::create_dir(root.join("mnt"))?;
    let inside = s.make_script(
        "inside",
        &format!(
            "set -e; test -c {0}/dev/null; mount -t tmpfs hook {0}/mnt; : > {0}/mnt/of-the-hook",
            root.display()
        ),
    )?;
    let hook = s.make_script(
        "hook",
        &format!(
            "state=$(cat); pid=${{state#*\\\"pid\\\":}}; pid=${{pid%%[!0-9]*}}; \
         exec nsenter --mount=/proc/$pid/ns/mnt {}",
            inside.display()
        ),
    )?;
    let entry = json!({ "path": hook, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] });
    bundle.write(
        config
            .push("/hooks/prestart", entry)
            .set("/linux/cgroupsPath", format!("/{}hook", s.cgroup_prefix()))
            .text(),
    )?;
    Ok(bundle)
}

fn a_prestart_hook_that_enters_the_container_finds_the_root_at_its_host_path() -> Check {
    let s = sandbox()?;
    let report = report_of(&s, &plan(&s, &entered(&s)?)?)?;
    check_eq!(report["stat"]["/mnt/of-the-hook"]["type"], "file", "what the hook mounted");
    Ok(())
}

fn a_prestart_hook_after_pivot_finds_no_root() -> Check {
    let s = sandbox()?;
    let mut plan = plan(&s, &entered(&s)?)?;
    move_before(&mut plan, |a| matches!(a, Action::Pivot { .. }), |a| matches!(a, Action::Hook(_)))?;
    let error = refusal_of(&s, &plan)?;
    check_eq!(error.kind(), ErrorKind::Hook, "{error}");
    Ok(())
}

fn a_file_on_a_directory_and_the_reverse_are_not_a_directory() -> Check {
    let s = sandbox()?;
    let file = s.make_file("file", "")?;
    let directory = s.make_dir("directory")?;
    for (source, target, fits) in [
        (&file, "/etc", false),
        (&directory, "/etc/passwd", false),
        (&file, "/etc/passwd", true),
        (&directory, "/etc", true),
    ] {
        let plan = plan_of(&s, &Config::new(EXIT).mount("bind", source, target, &["bind"]))?;
        if fits {
            output_of(&s, &plan)?;
            continue;
        }
        let error = refusal_of(&s, &plan)?;
        check!(error.to_string().contains("not a directory"), "{target}: {error}");
        check_eq!(error.field(), Some("/mounts/7/destination"), "{error}");
    }
    Ok(())
}

/// The processes that a container sees in its /proc.
fn processes(s: &Sandbox, plan: &Plan) -> Check<usize> {
    let names = output_of(s, plan)?;
    Ok(names.lines().filter(|name| name.parse::<u32>().is_ok()).count())
}

fn proc_shows_the_container_alone() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "ls", "/proc"]);
    let ordered = plan_of(&s, &config)?;
    check_eq!(processes(&s, &ordered)?, 1, "processes in /proc");
    // What the same look shows without a pid namespace.
    let outside = plan_of(&s, &config.without_namespace("pid"))?;
    check!(processes(&s, &outside)? > 1, "the look shows nothing");
    Ok(())
}

fn proc_cannot_be_mounted_before_the_clone() -> Check {
    let s = sandbox()?;
    let mut plan = plan_of(&s, &Config::new(&["/bin/probe", "ls", "/proc"]))?;
    move_before(&mut plan, mounts_at("/proc"), |a| matches!(a, Action::Clone { .. }))?;
    refusal_of(&s, &plan).map(drop)
}

/// Where the mounts of a container are.
fn targets(s: &Sandbox, plan: &Plan) -> Check<BTreeSet<String>> {
    let report = report_of(s, plan)?;
    let list = report["mounts"].as_array().into_iter().flatten();
    Ok(list.filter_map(|m| m["target"].as_str().map(str::to_owned)).collect())
}

fn masks_and_read_only_paths_lie_over_the_mounts() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).push("/linux/maskedPaths", "/proc/uptime");
    let ordered = plan_of(&s, &config)?;
    let found = targets(&s, &ordered)?;
    check!(found.contains("/proc/uptime") && found.contains("/proc/sys"), "{found:?}");
    for path in ["/proc/uptime", "/proc/sys"] {
        let mut other = ordered.clone();
        let covers = |a: &Action| match a {
            Action::Mask { path: p, .. } | Action::Readonly { path: p } => p == Path::new(path),
            _ => false,
        };
        move_before(&mut other, covers, mounts_at("/proc"))?;
        let found = targets(&s, &other)?;
        check!(!found.contains(path), "{path} although /proc came later");
    }
    Ok(())
}

fn a_read_only_tmpfs_takes_the_mounts_below_it() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let config = Config::new(&["/bin/probe", "report", "--open", "/home/file:c", "--stat", "/home/below"])
        .mount("tmpfs", Path::new("tmpfs"), "/home", &["ro"])
        .mount("bind", &source, "/home/below", &["bind"]);
    let ordered = plan_of(&s, &config)?;
    let report = report_of(&s, &ordered)?;
    check_eq!(report["open"]["/home/file:c"], libc::EROFS);
    check_eq!(report["stat"]["/home/below"]["type"], "dir");
    let mut other = ordered.clone();
    let home =
        |a: &Action| matches!(a, Action::SetAttr { destination, .. } if destination == Path::new("/home"));
    move_after(&mut other, home, mounts_at("/home"))?;
    let error = refusal_of(&s, &other)?;
    check_eq!(error.errno(), Some(libc::EROFS), "{error}");
    Ok(())
}

fn the_process_leads_a_session_of_its_own() -> Check {
    let s = sandbox()?;
    let ordered = plan_of(&s, &Config::new(REPORT))?;
    check_eq!(report_of(&s, &ordered)?["sid"], 1, "the session");
    // The process that clones is another one: its session is not the container's.
    let mut other = ordered.clone();
    move_before(&mut other, |a| matches!(a, Action::Session { .. }), |a| matches!(a, Action::Clone { .. }))?;
    check_eq!(report_of(&s, &other)?["sid"], 0, "the session, made before the clone");
    Ok(())
}

/// The cgroups that the plan makes, as lines of /proc/PID/cgroup begin, with their paths.
fn placed(plan: &Plan) -> Vec<(String, PathBuf)> {
    let name =
        |controllers: &Option<Vec<String>>| controllers.as_ref().map_or(String::new(), |c| c.join(","));
    plan.cgroups.iter().map(|dir| (name(&dir.controllers), Path::new("/").join(&dir.path))).collect()
}

/// The cgroup of one hierarchy in a text like /proc/PID/cgroup.
fn cgroup_in(text: &str, controllers: &str) -> Check<PathBuf> {
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if parts.next() == Some(controllers) {
            return Ok(parts.next().unwrap_or_default().into());
        }
    }
    Err(Failed::from(format!("no line for {controllers:?} in {text}")))
}

fn the_cgroup_namespace_begins_at_the_cgroup_of_the_container() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "cat", "/proc/self/cgroup"]).namespace("cgroup", None);
    let ordered = plan_of(&s, &config)?;
    check!(!ordered.cgroups.is_empty(), "the plan makes no cgroup");
    let text = output_of(&s, &ordered)?;
    for (controllers, _) in placed(&ordered) {
        check_eq!(cgroup_in(&text, &controllers)?, Path::new("/"), "{controllers:?}");
    }
    // A namespace that is made before the process is placed begins at the caller's cgroup.
    let mut other = ordered.clone();
    let at = |a: &Action| matches!(a, Action::Unshare { new } if new == &[Namespace::Cgroup]);
    let first = other.steps.iter().position(|step| step.lane == Lane::Join);
    let unshare = take(&mut other, at)?;
    other.steps.insert(first.ok_or("no step joins anything")?, unshare);
    let text = output_of(&s, &other)?;
    let (controllers, _) = placed(&other).into_iter().next().ok_or("no cgroup")?;
    check!(cgroup_in(&text, &controllers)? != Path::new("/"), "as well in another order: {text}");
    Ok(())
}

/// The cgroups of the container's process when its first hook runs.
fn cgroups_at_the_hook(s: &Sandbox, plan: &Plan) -> Check<String> {
    output_of(s, plan)?;
    Ok(fs::read_to_string(s.dir().join("seen"))?)
}

fn hook_that_looks(s: &Sandbox) -> Check<Plan> {
    let body = format!(
        "state=$(cat); pid=${{state#*\\\"pid\\\":}}; pid=${{pid%%[!0-9]*}}; cat /proc/$pid/cgroup > {}",
        s.dir().join("seen").display()
    );
    let hook = s.make_script("hook", &body)?;
    let entry = json!({ "path": hook, "env": ["PATH=/usr/bin:/bin"] });
    plan_of(s, &Config::new(EXIT).push("/hooks/prestart", entry))
}

fn the_process_is_in_its_cgroups_before_a_hook_runs() -> Check {
    let s = sandbox()?;
    let ordered = hook_that_looks(&s)?;
    check!(!ordered.cgroups.is_empty(), "the plan makes no cgroup");
    let text = cgroups_at_the_hook(&s, &ordered)?;
    for (controllers, path) in placed(&ordered) {
        check_eq!(cgroup_in(&text, &controllers)?, path, "{controllers:?}");
    }
    Ok(())
}

fn a_process_placed_after_the_hook_is_outside_while_it_runs() -> Check {
    let s = sandbox()?;
    let mut plan = hook_that_looks(&s)?;
    let (placing, others) = plan
        .steps
        .drain(..)
        .partition::<Vec<Step>, _>(|step| matches!(step.action, Action::JoinTasks { .. }));
    plan.steps = others;
    let hook = position(&plan, |step| matches!(step.action, Action::Hook(_)))?;
    plan.steps.splice(hook + 1..hook + 1, placing);
    let text = cgroups_at_the_hook(&s, &plan)?;
    let inside = |(controllers, path): &(String, PathBuf)| {
        Ok::<_, Failed>(!controllers.is_empty() && cgroup_in(&text, controllers)? == *path)
    };
    for place in placed(&plan) {
        check!(!inside(&place)?, "in {place:?} already");
    }
    Ok(())
}

fn hierarchies_of_version_1() -> bool {
    let is = |step: &Step| matches!(step.action, Action::JoinTasks { .. });
    let there = || -> Check<bool> {
        let s = sandbox()?;
        Ok(plan_of(&s, &Config::new(EXIT))?.steps.iter().any(is))
    };
    there().unwrap_or(true)
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), WHY, $name)),*] };
    }
    let mut tests = tests![
        a_bind_of_a_shared_mount_sends_no_mount_back,
        without_the_slave_step_a_bind_of_a_shared_mount_leaks,
        an_rshared_bind_sends_its_mounts_to_the_host,
        an_rshared_bind_cloned_by_init_is_no_peer_of_the_host,
        a_prestart_hook_that_enters_the_container_finds_the_root_at_its_host_path,
        a_prestart_hook_after_pivot_finds_no_root,
        a_file_on_a_directory_and_the_reverse_are_not_a_directory,
        proc_shows_the_container_alone,
        proc_cannot_be_mounted_before_the_clone,
        masks_and_read_only_paths_lie_over_the_mounts,
        a_read_only_tmpfs_takes_the_mounts_below_it,
        the_process_leads_a_session_of_its_own,
        the_cgroup_namespace_begins_at_the_cgroup_of_the_container,
        the_process_is_in_its_cgroups_before_a_hook_runs,
    ];
    tests.push(conditional(
        "a_process_placed_after_the_hook_is_outside_while_it_runs",
        || (!hierarchies_of_version_1()).then(|| "no hierarchy of version 1".to_owned()),
        a_process_placed_after_the_hook_is_outside_while_it_runs,
    ));
    run(tests)
}
