//! The plan is what happens: a plan with one step changed makes a container that differs in exactly
//! that respect, and the script is a function of the plan.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;
#[path = "plan_is_carried_out/report.rs"]
mod report;

use library::{Held, WHY, binds_at, mounts_at, plan, position, sandbox, take};
use oxrun_conformance::harness::{Bundle, Config, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::plan::action::{Action, Namespace};
use oxrun_core::plan::options::attr;
use oxrun_core::plan::script;
use oxrun_core::{ExitStatus, Lane, Plan};
use report::{differences, stable};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// CAP_KILL.
const KILL: u64 = 1 << 5;

const REPORT: &str = "/bin/probe report --sysctl net.ipv4.ip_default_ttl --stat /dev/full \
    --stat /dev/fd --stat /over/first --stat /over/second --stat /proc/uptime \
    --open /proc/sys/kernel/domainname:w --open /data/file:w --open /dev/denied:r \
    --call sync --call getcwd";

/// The configuration of a container that reports on itself.
fn reporting() -> Config {
    Config::new(&REPORT.split_whitespace().collect::<Vec<_>>())
}

/// A container in which every step leaves a trace in the report.
fn everything(s: &Sandbox) -> Check<Bundle> {
    let (data, first, second) = (s.make_dir("data")?, s.make_dir("first")?, s.make_dir("second")?);
    s.make_file("data/file", "")?;
    s.make_file("first/first", "")?;
    s.make_file("second/second", "")?;
    let trace = s.dir().join("trace");
    let hook = s.make_script("hook", &format!("cat >/dev/null; echo $1 >> {}", trace.display()))?;
    let mut config = reporting()
        .set("/process/oomScoreAdj", 100)
        .set("/process/cwd", "/home/user")
        .set("/process/user/umask", 0o27)
        .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 8 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))
        .set("/process/rlimits/0/soft", 512)
        .set("/linux/sysctl", json!({ "net.ipv4.ip_default_ttl": "70" }))
        .set("/linux/devices", json!([{ "path": "/dev/denied", "type": "c", "major": 10, "minor": 229 }]))
        .push("/linux/maskedPaths", "/proc/uptime")
        .push("/hooks/prestart", json!({ "path": hook, "args": ["hook", "as-planned"] }))
        .mount("bind", &data, "/data", &["rbind", "ro"])
        .mount("bind", &first, "/over", &["bind"])
        .mount("bind", &second, "/over", &["bind"]);
    if Path::new("/proc/self/numa_maps").exists() {
        config = config.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" }));
    }
    if pids_directory()?.is_some() {
        config = config.set("/linux/resources/pids", json!({ "limit": 50 }));
    }
    s.bundle(&config)
}

/// The same container under a filter in which one call is refused with an errno of its own.
fn filtered(s: &Sandbox) -> Check<Bundle> {
    s.bundle(&reporting().set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["sync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }],
        }),
    ))
}

/// A container whose user is not root and keeps two capabilities.
fn ambient(s: &Sandbox) -> Check<Bundle> {
    let config = reporting().capabilities(&["CAP_KILL", "CAP_NET_RAW"]);
    s.bundle(&config.set("/process/user", json!({ "uid": 1000, "gid": 1000 })))
}

/// Where the limit of processes is set on this host.
fn pids_directory() -> Check<Option<std::path::PathBuf>> {
    let roots = oxrun_conformance::harness::Host::cgroup_roots()?;
    Ok(roots.into_iter().find(|root| root.ends_with("pids")))
}

/// Runs the container of a plan and returns everything that can be seen of it.
fn seen(s: &Sandbox, plan: &Plan) -> Check<Value> {
    let trace = s.dir().join("trace");
    let _ = fs::remove_file(&trace);
    let held = Held::create(s, plan)??;
    let status = held.run()??;
    let output = held.output()?;
    let limit = plan.cgroups.iter().map(|dir| dir.dir().join("pids.max"));
    let limit: Vec<String> = limit.filter_map(|file| fs::read_to_string(file).ok()).collect();
    held.delete()?;
    check_eq!(status, ExitStatus::Exited(0), "how the program ended: {output:?}");
    let mut report: Value =
        serde_json::from_str(&output).map_err(|e| Failed::from(format!("no report: {e}: {output:?}")))?;
    report["host"] = json!({
        "pids": limit,
        "hook": fs::read_to_string(trace).unwrap_or_default(),
    });
    Ok(stable(report))
}

/// Runs a container as planned and with a change to its plan. Everything that differs must lie at
/// one of the pointers in `expected`, and something must differ at each of them.
fn changes(
    bundle: fn(&Sandbox) -> Check<Bundle>,
    change: impl FnOnce(&mut Plan) -> Check,
    expected: &[&str],
) -> Check {
    let s = sandbox()?;
    let bundle = bundle(&s)?;
    let original = plan(&s, &bundle)?;
    let mut changed = original.clone();
    change(&mut changed)?;
    check!(changed != original, "the change changed nothing");
    let before = seen(&s, &original)?;
    let after = seen(&s, &changed)?;
    let found = differences(&before, &after);
    let within = |pointer: &str, place: &str| {
        pointer == place || pointer.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
    };
    for place in expected {
        check!(
            found.iter().any(|pointer| within(pointer, place)),
            "no difference at {place}, but at {found:?}"
        );
    }
    let foreign: Vec<String> = found
        .iter()
        .filter(|pointer| !expected.iter().any(|place| within(pointer, place)))
        .map(|p| format!("{p}: {} -> {}", show(&before, p), show(&after, p)))
        .collect();
    check!(foreign.is_empty(), "also different: {}", foreign.join(", "));
    Ok(())
}

fn show(report: &Value, pointer: &str) -> String {
    report.pointer(pointer).unwrap_or(&Value::Null).to_string()
}

/// Changes the one step whose action has this form.
macro_rules! set {
    ($form:pat $(if $condition:expr)? => $change:expr) => {
        |plan: &mut Plan| -> Check {
            let mut found = 0;
            for step in &mut plan.steps {
                match &mut step.action {
                    $form $(if $condition)? => {
                        $change;
                        found += 1;
                    }
                    _ => {}
                }
            }
            check_eq!(found, 1, "steps of this form in\n{plan}");
            Ok(())
        }
    };
}

fn drop_step(is: impl Fn(&Action) -> bool) -> impl FnOnce(&mut Plan) -> Check {
    move |plan| take(plan, is).map(drop)
}

fn an_unchanged_plan_makes_the_same_container_twice() -> Check {
    for bundle in [everything, filtered, ambient] {
        let s = sandbox()?;
        let plan = plan(&s, &bundle(&s)?)?;
        let found = differences(&seen(&s, &plan)?, &seen(&s, &plan)?);
        check!(found.is_empty(), "different: {found:?}");
    }
    Ok(())
}

fn a_stored_plan_makes_the_same_container() -> Check {
    let s = sandbox()?;
    let original = plan(&s, &everything(&s)?)?;
    let stored: Plan = serde_json::from_str(&serde_json::to_string(&original)?)?;
    let found = differences(&seen(&s, &original)?, &seen(&s, &stored)?);
    check!(found.is_empty(), "different: {found:?}");
    Ok(())
}

fn another_host_name() -> Check {
    let change = set!(Action::Hostname { name } => *name = "changed".into());
    changes(everything, change, &["/hostname"])
}

fn a_mount_left_out() -> Check {
    let change = drop_step(mounts_at("/dev/mqueue"));
    changes(everything, change, &["/mounts/~1dev~1mqueue"])
}

fn another_size_of_a_tmpfs() -> Check {
    let change = set!(Action::Mount(mount) if mount.destination == Path::new("/dev/shm") => {
        for option in mount.options.data.iter_mut().filter(|o| o.key == "size") {
            option.value = Some("4m".into());
        }
    });
    changes(everything, change, &["/mounts/~1dev~1shm/0/super"])
}

fn a_mask_left_out() -> Check {
    let is = |a: &Action| matches!(a, Action::Mask { path, .. } if path == Path::new("/proc/uptime"));
    let seen = ["/mounts/~1proc~1uptime", "/stat/~1proc~1uptime"];
    changes(everything, drop_step(is), &seen)
}

fn a_read_only_path_left_out() -> Check {
    let is = |a: &Action| matches!(a, Action::Readonly { path } if path == Path::new("/proc/sys"));
    let opened = "/open/~1proc~1sys~1kernel~1domainname:w";
    changes(everything, drop_step(is), &["/mounts/~1proc~1sys", opened])
}

fn a_smaller_bounding_set() -> Check {
    // What is permitted to root is what the bounding set leaves.
    let seen = ["bounding", "permitted", "effective"].map(|set| format!("/capabilities/{set}"));
    let change = set!(Action::Bounding { keep, .. } => *keep &= !KILL);
    changes(everything, change, &seen.each_ref().map(String::as_str))
}

fn another_inheritable_set() -> Check {
    let change = set!(Action::Caps { sets, .. } => sets.inheritable |= KILL);
    changes(everything, change, &["/capabilities/inheritable"])
}

fn a_smaller_ambient_set() -> Check {
    // What is permitted to anybody else is what the ambient set gives.
    let seen = ["ambient", "permitted", "effective"].map(|set| format!("/capabilities/{set}"));
    let change = set!(Action::Ambient { set } => *set &= !KILL);
    changes(ambient, change, &seen.each_ref().map(String::as_str))
}

fn another_limit() -> Check {
    let change = set!(Action::Rlimit { soft, .. } => *soft = 300);
    changes(everything, change, &["/rlimits/RLIMIT_NOFILE/0"])
}

fn another_scheduler() -> Check {
    changes(everything, set!(Action::Scheduler(s) => s.nice = 9), &["/scheduler/nice"])
}

fn another_io_priority() -> Check {
    changes(everything, set!(Action::IoPriority { level, .. } => *level = 7), &["/io_priority/1"])
}

fn another_memory_policy() -> Check {
    // MPOL_LOCAL, which has no nodes.
    let change = set!(Action::MemoryPolicy { mode, nodes, .. } => {
        *mode = 4;
        nodes.0.clear();
    });
    changes(everything, change, &["/memory_policy"])
}

fn another_umask() -> Check {
    changes(everything, set!(Action::Umask { mask } => *mask = 0o77), &["/umask"])
}

fn another_working_directory() -> Check {
    let change = set!(Action::Cwd { path, .. } => *path = "/root".into());
    changes(everything, change, &["/cwd"])
}

fn a_device_left_out() -> Check {
    let is = |a: &Action| matches!(a, Action::Device(d) if d.path == Path::new("/dev/full"));
    changes(everything, drop_step(is), &["/stat/~1dev~1full"])
}

fn another_mode_of_a_device() -> Check {
    let change = set!(Action::Device(d) if d.path == Path::new("/dev/full") => d.mode = 0o640);
    changes(everything, change, &["/stat/~1dev~1full/mode"])
}

fn another_target_of_a_link() -> Check {
    // As long as /proc/self/fd, so that the size is the same.
    let change = set!(
        Action::Symlink { target, path } if path == Path::new("/dev/fd") =>
        *target = "/proc/self/ns".into()
    );
    changes(everything, change, &["/stat/~1dev~1fd/link"])
}

fn another_sysctl() -> Check {
    let change = set!(Action::Sysctl { value, .. } => *value = "71".into());
    changes(everything, change, &["/sysctl/net.ipv4.ip_default_ttl"])
}

fn new_privileges_not_forbidden() -> Check {
    let change = drop_step(|a| matches!(a, Action::NoNewPrivs));
    changes(everything, change, &["/no_new_privs"])
}

fn the_filter_left_out() -> Check {
    let change = drop_step(|a| matches!(a, Action::Seccomp(_)));
    changes(filtered, change, &["/seccomp", "/call/sync"])
}

fn another_result_in_the_filter() -> Check {
    // SECCOMP_RET_ERRNO with its number.
    let change = set!(Action::Seccomp(program) => {
        for insn in program.insns.iter_mut().filter(|insn| insn.k == 0x5_0000 | 77) {
            insn.k = 0x5_0000 | 78;
        }
    });
    changes(filtered, change, &["/call/sync"])
}

fn another_group() -> Check {
    let change = set!(Action::Identity { gid, .. } => *gid = 77);
    changes(everything, change, &["/gid", "/gids"])
}

fn another_user() -> Check {
    // What an ordinary user may do is less, and that is all that follows.
    let sets = ["/capabilities/permitted", "/capabilities/effective"];
    let change = set!(Action::Identity { uid, .. } => *uid = 1000);
    changes(everything, change, &["/uid", "/uids", sets[0], sets[1], "/open"])
}

fn another_environment() -> Check {
    let change = set!(Action::Exec { env, .. } => env.push("ADDED=1".into()));
    changes(everything, change, &["/env"])
}

fn another_name_of_the_program() -> Check {
    let change = set!(Action::Exec { args, .. } => args[0] = "renamed".into());
    changes(everything, change, &["/argv/0"])
}

fn another_oom_score() -> Check {
    let change = set!(Action::OomScoreAdj { value } => *value = 200);
    changes(everything, change, &["/oom_score_adj"])
}

fn a_writable_root() -> Check {
    let change = drop_step(|a| matches!(a, Action::RootReadonly));
    changes(everything, change, &["/mounts/~1/0/options"])
}

fn a_writable_bind() -> Check {
    let change = set!(
        Action::Bind(bind) if bind.destination == Path::new("/data") =>
        bind.options.set &= !attr::RDONLY
    );
    changes(everything, change, &["/mounts/~1data/0/options", "/open/~1data~1file:w"])
}

fn two_binds_on_one_place_exchanged() -> Check {
    let change = |plan: &mut Plan| {
        let steps = plan.steps.iter().enumerate();
        let both: Vec<usize> =
            steps.filter(|(_, step)| binds_at("/over")(&step.action)).map(|(at, _)| at).collect();
        check_eq!(both.len(), 2, "binds at /over");
        plan.steps.swap(both[0], both[1]);
        Ok(())
    };
    let roots = ["/mounts/~1over/0/root", "/mounts/~1over/1/root"];
    let files = ["/stat/~1over~1first", "/stat/~1over~1second"];
    changes(everything, change, &[roots, files].concat())
}

fn no_session_of_its_own() -> Check {
    let change = drop_step(|a| matches!(a, Action::Session { .. }));
    changes(everything, change, &["/sid"])
}

fn one_namespace_less() -> Check {
    let change = set!(Action::Clone { new, .. } => new.retain(|kind| *kind != Namespace::Ipc));
    changes(everything, change, &["/namespaces/ipc"])
}

fn other_arguments_of_a_hook() -> Check {
    let change = set!(Action::Hook(hook) => hook.args[1] = "changed".into());
    changes(everything, change, &["/host/hook"])
}

fn another_limit_of_the_cgroup() -> Check {
    let change = set!(
        Action::CgroupWrite { file, value } if file.ends_with("pids.max") => *value = "60".into()
    );
    changes(everything, change, &["/host/pids"])
}

fn every_device_allowed() -> Check {
    let change = set!(
        Action::DevicesV1 { rules, .. } | Action::DevicesV2 { rules, .. } => {
            rules.truncate(1);
            rules[0].allow = true;
        }
    );
    changes(everything, change, &["/open/~1dev~1denied:r"])
}

fn the_script_is_a_function_of_the_plan() -> Check {
    let s = sandbox()?;
    for bundle in [everything, filtered, ambient] {
        let bundle = bundle(&s)?;
        let first = plan(&s, &bundle)?;
        let bytes = script::encode(&first)?;
        check_eq!(script::encode(&first)?, bytes, "the script encoded twice");
        let second = plan(&s, &bundle)?;
        check_eq!(second, first, "the same bundle planned twice");
        let mut stored: Plan = serde_json::from_str(&serde_json::to_string(&first)?)?;
        check_eq!(script::encode(&stored)?, bytes, "the script of the stored plan");
        // The private copy of the config is no part of the stored plan.
        stored.config = first.config.clone();
        check_eq!(stored, first, "the stored plan");
    }
    Ok(())
}

fn every_step_of_init_is_in_the_script() -> Check {
    let s = sandbox()?;
    for bundle in [everything, filtered, ambient] {
        let whole = plan(&s, &bundle(&s)?)?;
        let bytes = script::encode(&whole)?;
        for at in 0..whole.steps.len() {
            let mut less = whole.clone();
            let step = less.steps.remove(at);
            if step.lane != Lane::Host {
                check!(script::encode(&less)? != bytes, "without step {}: the same script", at + 1);
                let shorter = script::encode(&less)?.len() < bytes.len();
                check!(shorter, "step {} ({:?}) is not in the script", at + 1, step.action);
            }
        }
        check!(position(&whole, |step| matches!(step.action, Action::Spawn { .. })).is_ok(), "no spawn");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), WHY, $name)),*] };
    }
    let mut tests = tests![
        the_script_is_a_function_of_the_plan,
        every_step_of_init_is_in_the_script,
        an_unchanged_plan_makes_the_same_container_twice,
        a_stored_plan_makes_the_same_container,
        another_host_name,
        a_mount_left_out,
        another_size_of_a_tmpfs,
        a_mask_left_out,
        a_read_only_path_left_out,
        a_smaller_bounding_set,
        another_inheritable_set,
        a_smaller_ambient_set,
        another_limit,
        another_scheduler,
        another_io_priority,
        another_umask,
        another_working_directory,
        a_device_left_out,
        another_mode_of_a_device,
        another_target_of_a_link,
        another_sysctl,
        new_privileges_not_forbidden,
        the_filter_left_out,
        another_result_in_the_filter,
        another_group,
        another_user,
        another_environment,
        another_name_of_the_program,
        another_oom_score,
        a_writable_root,
        a_writable_bind,
        two_binds_on_one_place_exchanged,
        no_session_of_its_own,
        one_namespace_less,
        other_arguments_of_a_hook,
        every_device_allowed,
    ];
    tests.push(conditional(
        "another_memory_policy",
        || {
            (!Path::new("/proc/self/numa_maps").exists())
                .then(|| "this kernel is built without NUMA".to_owned())
        },
        another_memory_policy,
    ));
    tests.push(conditional(
        "another_limit_of_the_cgroup",
        || pids_directory().ok().flatten().is_none().then(|| "no pids controller of version 1".to_owned()),
        another_limit_of_the_cgroup,
    ));
    run(tests)
}
