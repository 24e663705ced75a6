//! The program: what it is, who it is, where and with what (config.md, Process).

use super::super::broken::{Broken, to};
use super::super::case::Case;
use super::super::seen::{has, has_no, is, is_not, judged};
use super::{must, should};
use crate::check_eq;
use serde_json::{Value, json};

const PROCESS: &str = "config.md, Process";
const POSIX: &str = "config.md, POSIX process";
const LINUX: &str = "config.md, Linux process";
const USER: &str = "config.md, POSIX-platform user";

fn program() -> Vec<Case> {
    vec![
        must(PROCESS, "process/cwd", "the program begins in the directory `cwd`")
            .with("/process/cwd", "/tmp")
            .sees(is("/cwd", "/tmp")),
        must(PROCESS, "process/cwd/relative", "`cwd` is an absolute path; another is an error")
            .fault("/process/cwd", "tmp"),
        must(PROCESS, "process/cwd/absent", "a process has a `cwd`").lacking("/process/cwd"),
        must(PROCESS, "process/cwd/file", "a `cwd` that is no directory is an error")
            .prepare(|_, bundle| Ok(std::fs::write(bundle.rootfs().join("etc/file"), "x")?))
            .fault("/process/cwd", "/etc/file"),
        must(PROCESS, "process/terminal/false", "without `terminal` there is none")
            .with("/process/terminal", false)
            .sees(is("/tty/0/isatty", false))
            .sees(is("/tty/1/isatty", false))
            .noticing(Broken::Reads(vec![to("/process/terminal", true)])),
        must(PROCESS, "process/terminal/default", "`terminal` is false by default")
            .without("/process/terminal")
            .sees(is("/tty/0/isatty", false))
            .noticing(Broken::Reads(vec![to("/process/terminal", true)])),
        must(PROCESS, "process/console-size/ignored", "without a terminal its size is ignored")
            .with("/process/consoleSize", json!({ "height": 10, "width": 20 }))
            .sees(is("/tty/1/isatty", false))
            .noticing(Broken::Reads(vec![to("/process/terminal", true)])),
        must(POSIX, "process/args", "the program gets the arguments of the config")
            .with("/process/args", json!(["/bin/probe", "report", "--stat", "/"]))
            .sees(is("/argv", json!(["/bin/probe", "report", "--stat", "/"]))),
        must(POSIX, "process/args/path", "a program without a slash is looked up in PATH")
            .with("/process/args/0", "probe")
            .sees(is("/argv/0", "probe"))
            .with("/process/env/0", "PATH=/none:/bin")
            .noticing(Broken::Reads(vec![to("/process/env/0", "PATH=/none")])),
        must(POSIX, "process/args/empty", "a program has at least its name")
            .fault("/process/args", json!([])),
        must(POSIX, "process/args/absent", "a process has `args`").lacking("/process/args"),
        must(
            POSIX,
            "process/args/missing-program",
            "a program that is not there is an error of create or start",
        )
        .noticing(Broken::Agrees("start"))
        .body(|scene| {
            let rt = scene.s.runtime();
            let created = rt.create(scene.bundle_with(&["/bin/none"])?.path(), "c1")?;
            let last = if created.code == 0 { rt.start("c1")? } else { created };
            super::super::case::fails(&last)
        })
        .noticing(Broken::Reads(vec![to("/process/args", json!(["/bin/probe", "exit", "0"]))])),
        must(POSIX, "process/env", "the program has the variables of the config")
            .with("/process/env/-", "SPEC_CASE=a=b c")
            .sees(has("/env", "SPEC_CASE=a=b c")),
        must(POSIX, "process/env/not-inherited", "the program has no variable of the runtime")
            .sees(has_no("/env", "SPEC_OF_THE_HOST=x"))
            .body(|scene| {
                let report = scene.report()?;
                let all: Vec<String> = serde_json::from_value(report["env"].clone())?;
                let own: Vec<&String> = all.iter().filter(|v| !v.starts_with("HOME=")).collect();
                check_eq!(own.len(), 2, "{own:?}");
                Ok(())
            })
            .noticing(Broken::Reads(vec![to("/process/env/2", "MORE=x")])),
        must(POSIX, "process/env/empty", "a variable may be empty")
            .with("/process/env/-", "SPEC_EMPTY=")
            .sees(has("/env", "SPEC_EMPTY=")),
    ]
}

fn user() -> Vec<Case> {
    let id = |name: &str, seen: &'static str| {
        must(USER, &format!("user/{name}"), &format!("the program runs with the {name} of the config"))
            .with(&format!("/process/user/{name}"), 1234)
            .sees(is(seen, 1234))
    };
    vec![
        id("uid", "/uid"),
        id("gid", "/gid"),
        must(USER, "user/uid/all", "real, effective and saved user id are that of the config")
            .with("/process/user/uid", 1234)
            .sees(is("/uids", json!([1234, 1234, 1234]))),
        must(USER, "user/gid/all", "real, effective and saved group id are that of the config")
            .with("/process/user/gid", 1234)
            .sees(is("/gids", json!([1234, 1234, 1234]))),
        must(USER, "user/umask", "the program has the umask of the config")
            .with("/process/user/umask", 0o077)
            .sees(is("/umask", 0o077)),
        must(USER, "user/additionalGids", "the program is in the additional groups of the config")
            .with("/process/user/additionalGids", json!([5, 4321]))
            .sees(has("/groups", 5))
            .sees(has("/groups", 4321)),
        must(USER, "user/additionalGids/no-others", "the program is in no group of the runtime")
            .with("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [7] }))
            .sees(judged("/groups", |groups: &Value| {
                let all: Vec<u64> = serde_json::from_value(groups.clone())?;
                crate::check!(all.iter().all(|g| [7, 1000].contains(g)), "{all:?}");
                Ok(())
            }))
            .noticing(Broken::Reads(vec![to("/process/user/additionalGids", json!([7, 8]))])),
        must(USER, "user/uid/negative", "a user id below 0 is an error").fault("/process/user/uid", -1),
        must(USER, "user/gid/negative", "a group id below 0 is an error").fault("/process/user/gid", -1),
        must(USER, "user/uid/text", "a user id is a number").fault("/process/user/uid", "root"),
    ]
}

fn linux() -> Vec<Case> {
    vec![
        must(LINUX, "process/oomScoreAdj", "`oomScoreAdj` is written")
            .with("/process/oomScoreAdj", 300)
            .sees(is("/oom_score_adj", 300)),
        must(LINUX, "process/oomScoreAdj/zero", "an `oomScoreAdj` of 0 is written, too")
            .with("/process/oomScoreAdj", 0)
            .sees(is("/oom_score_adj", 0))
            .noticing(Broken::Reads(vec![to("/process/oomScoreAdj", 1)])),
        must(LINUX, "process/oomScoreAdj/absent", "without `oomScoreAdj` the score stays what it is")
            .body(|scene| {
                let own = std::fs::read_to_string("/proc/self/oom_score_adj")?;
                check_eq!(scene.report()?["oom_score_adj"].to_string(), own.trim());
                Ok(())
            })
            .noticing(Broken::Reads(vec![to("/process/oomScoreAdj", 301)])),
        must(LINUX, "process/oomScoreAdj/too-large", "a score that the kernel does not take is an error")
            .fault("/process/oomScoreAdj", 1001),
        must(LINUX, "process/noNewPrivileges/true", "`noNewPrivileges` sets the attribute")
            .with("/process/noNewPrivileges", true)
            .sees(is("/no_new_privs", true))
            .noticing(Broken::Reads(vec![to("/process/noNewPrivileges", false)])),
        must(LINUX, "process/noNewPrivileges/false", "without `noNewPrivileges` the attribute is not set")
            .with("/process/noNewPrivileges", false)
            .sees(is("/no_new_privs", false)),
        must(LINUX, "process/noNewPrivileges/default", "`noNewPrivileges` is false by default")
            .without("/process/noNewPrivileges")
            .sees(is("/no_new_privs", false)),
    ]
}

/// Policies with what they take, and the number that the kernel has for them.
fn scheduler() -> impl Iterator<Item = Case> {
    let real_time = real_time();
    [
        ("SCHED_OTHER", json!({ "nice": 5 }), 0, ("nice", 5)),
        ("SCHED_BATCH", json!({ "nice": 3 }), 3, ("nice", 3)),
        ("SCHED_IDLE", json!({}), 5, ("policy", 5)),
        ("SCHED_FIFO", json!({ "priority": 7 }), 1, ("priority", 7)),
        ("SCHED_RR", json!({ "priority": 9 }), 2, ("priority", 9)),
    ]
    .into_iter()
    .map(move |(policy, mut value, number, (key, wanted))| {
        value["policy"] = policy.into();
        let taken = ["SCHED_FIFO", "SCHED_RR"].contains(&policy).then(|| real_time.clone()).flatten();
        must(
            LINUX,
            &format!("process/scheduler/{policy}"),
            "the program runs with the scheduler of the config",
        )
        .with("/process/scheduler", value)
        .sees(is("/scheduler/policy", number))
        .sees(is(&format!("/scheduler/{key}"), wanted))
        .unless(taken)
    })
}

/// Why real-time policies cannot be had.
fn real_time() -> Option<String> {
    let groups = std::fs::read_to_string("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").is_ok();
    groups.then(|| "the kernel gives new cgroups no real-time budget".to_owned())
}

fn priorities() -> Vec<Case> {
    let mut all = vec![
        must(LINUX, "process/scheduler/policy-absent", "a scheduler has a policy")
            .with("/process/scheduler", json!({ "policy": "SCHED_OTHER" }))
            .lacking("/process/scheduler/policy"),
        must(LINUX, "process/scheduler/policy-unknown", "an unknown policy is an error")
            .with("/process/scheduler", json!({ "policy": "SCHED_OTHER" }))
            .fault("/process/scheduler/policy", "SCHED_NONE"),
        must(LINUX, "process/scheduler/flag-unknown", "an unknown flag of the scheduler is an error")
            .with("/process/scheduler", json!({ "policy": "SCHED_OTHER" }))
            .fault("/process/scheduler/flags", json!(["SCHED_FLAG_NONE"])),
        must(LINUX, "process/ioPriority/class-unknown", "an unknown class of I/O priority is an error")
            .with("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 1 }))
            .fault("/process/ioPriority/class", "IOPRIO_CLASS_NONE_SUCH"),
        must(LINUX, "process/apparmorProfile/unavailable", "a profile that cannot be had is an error")
            .unless(
                std::path::Path::new("/sys/module/apparmor/parameters/enabled")
                    .exists()
                    .then(|| "the kernel has AppArmor".to_owned()),
            )
            .fault("/process/apparmorProfile", "oxrun-no-such-profile"),
        must(LINUX, "process/selinuxLabel/unavailable", "a label that cannot be had is an error")
            .unless(
                std::path::Path::new("/sys/fs/selinux/enforce").exists().then(|| "SELinux is on".to_owned()),
            )
            .fault("/process/selinuxLabel", "system_u:system_r:svirt_lxc_net_t:s0:c1,c2"),
    ];
    for (class, number, level) in
        [("IOPRIO_CLASS_RT", 1, 2), ("IOPRIO_CLASS_BE", 2, 6), ("IOPRIO_CLASS_IDLE", 3, 0)]
    {
        let value = json!({ "class": class, "priority": level });
        let name = format!("process/ioPriority/{class}");
        all.push(
            must(LINUX, &name, "the program runs with the I/O priority of the config")
                .with("/process/ioPriority", value)
                .sees(is("/io_priority/0", number)),
        );
    }
    all.push(
        should(LINUX, "process/execCPUAffinity/not-for-start", "without `initial` and `final` the CPUs stay")
            .with("/process/execCPUAffinity", json!({}))
            .sees(is_not("/cpus", json!([])))
            .noticing(Broken::Declines("run")),
    );
    all
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all = program();
    all.extend(user());
    all.extend(linux());
    all.extend(scheduler());
    all.extend(priorities());
    all
}
