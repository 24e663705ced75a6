//! Options of commands with real containers, in every form that callers send: each has its effect.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox, conditional, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const REPORT: &[&str] = &["/bin/probe", "report"];
const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn text(bundle: &Bundle) -> String {
    bundle.path().to_string_lossy().into_owned()
}

fn read(s: &Sandbox, name: &str) -> Check<String> {
    Ok(fs::read_to_string(s.dir().join(name))?)
}

/// The same two options in every form, before and behind the id, once and twice.
fn the_options_of_create_are_taken_in_every_form() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let path = text(&bundle);
    let (long, short, single) = (format!("--bundle={path}"), format!("-b={path}"), format!("-bundle={path}"));
    for words in [
        &["--bundle", &path, "--pid-file", "pid", "c1"][..],
        &[&long, "--pid-file=pid", "c1"],
        &["-b", &path, "--pid-file", "pid", "c1"],
        &[&short, "--pid-file=pid", "c1"],
        &["-bundle", &path, "-pid-file", "pid", "c1"],
        &[&single, "-pid-file=pid", "c1"],
        &["c1", "--bundle", &path, "--pid-file", "pid"],
        &["--bundle", &path, "c1", "--pid-file=pid"],
        &["--bundle", "/nonexistent", "--bundle", &path, "--pid-file", "wrong", "--pid-file", "pid", "c1"],
        // Some callers add what create does anyway.
        &["--detach", "--no-subreaper", "--bundle", &path, "--pid-file", "pid", "--no-pivot=false", "c1"],
        &["-d", "-no-subreaper", "--bundle", &path, "--pid-file", "pid", "--", "c1"],
    ] {
        let output = rt.call(&[&["create"], words].concat())?.success()?;
        check_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output of {output}");
        let pid = rt.pid("c1")?;
        check_eq!(read(&s, "pid")?, pid.to_string(), "the pid file after {output}");
        rt.has_status("c1", "created")?;
        check!(!s.dir().join("wrong").exists(), "the first of two is taken: {output}");
        rt.call(&["delete", "-f", "c1"])?.success()?;
        rt.wait_for(pid)?;
        fs::remove_file(s.dir().join("pid"))?;
    }
    Ok(())
}

fn the_options_of_run_are_taken_in_every_form() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "9"]))?;
    let path = text(&bundle);
    rt.call(&["run", "c1", "-b", &path, "--pid-file", "pid", "--keep"])?.exits(9)?;
    check!(read(&s, "pid")?.parse::<u32>().is_ok(), "the pid file of a foreground run");
    rt.has_status("c1", "stopped")?;
    rt.delete("c1")?.success()?;
    rt.call(&["run", "--keep=false", "--no-subreaper", "--bundle", &path, "c1"])?.exits(9)?;
    rt.call(&["state", "c1"])?.refused("container does not exist")?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    fs::remove_file(s.dir().join("pid"))?;
    for flag in ["-d", "--detach", "-detach", "--detach=true", "--detach=T"] {
        rt.call(&["run", flag, "--pid-file=pid", &format!("--bundle={}", text(&bundle)), "c1"])?.success()?;
        let pid = rt.pid("c1")?;
        check_eq!(read(&s, "pid")?, pid.to_string(), "the pid file with {flag}");
        rt.has_status("c1", "running")?;
        rt.call(&["delete", "--force", "c1"])?.success()?;
        rt.wait_for(pid)?;
        fs::remove_file(s.dir().join("pid"))?;
    }
    Ok(())
}

fn create_and_run_keep_the_session_keyring_if_told_to() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    let path = text(&bundle);
    let outside: Value = serde_json::from_slice(&Command::new(s.probe()).arg("report").output()?.stdout)?;
    let run = |options: &[&str]| -> Check<Value> {
        let words = [&["run"], options, &["--bundle", &path, "c1"]].concat();
        Ok(s.runtime().call(&words)?.success()?.json()?["keyring"].clone())
    };
    check_eq!(run(&["--no-new-keyring"])?, outside["keyring"], "the caller's keyring");
    check!(run(&[])? != outside["keyring"], "a new keyring is the caller's");
    let words = ["create", "--no-new-keyring", "--bundle", &path, "c1"];
    let created = s.runtime().call(&words)?.success()?;
    let pid = s.runtime().pid("c1")?;
    s.runtime().start("c1")?.success()?;
    s.runtime().wait_for(pid)?;
    let seen: Value = serde_json::from_str(&fs::read_to_string(&created.stdout_file)?)?;
    check_eq!(seen["keyring"], outside["keyring"], "the caller's keyring with create");
    Ok(())
}

/// A root that is moved runs the same program; what is left of the host is another test's.
fn create_and_run_move_the_root_if_told_to() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    for words in [["run", "--no-pivot"], ["run", "--no-pivot=true"]] {
        let seen = s.runtime().call(&[&words[..], &["--bundle", &text(&bundle), "c1"]].concat())?;
        check!(seen.success()?.json()?["root"].as_array().is_some_and(|r| r.len() < 20), "the host's root");
    }
    let shared = s.bundle(&Config::new(REPORT).set("/linux/rootfsPropagation", "private"))?;
    let words = ["create", "--no-pivot", "--bundle", &text(&shared), "c1"];
    let output = s.runtime().call(&words)?;
    check!(output.code == 0 || output.says("is not safe without pivot_root"), "{output}");
    Ok(())
}

fn kill_takes_all_and_a_signal_in_every_order() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    for words in [
        &["kill", "--all", "c1", "9"][..],
        &["kill", "-a", "c1", "KILL"],
        &["kill", "c1", "SIGKILL", "--all"],
        &["kill", "c1", "-a", "sigkill"],
        &["kill", "--all=false", "c1", "9"],
    ] {
        let pid = s.sleeper("c1", &Config::new(SLEEP))?;
        rt.call(words)?.success()?;
        check_eq!(rt.wait_for(pid)?, Some(137), "how init ended after {words:?}");
        rt.call(&["delete", "-f", "c1"])?.success()?;
    }
    Ok(())
}

/// Without a pid namespace of its own nobody takes the others along.
fn kill_ends_all_processes_of_a_container_in_the_hosts_pid_namespace() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "spawn", "2"]).without_namespace("pid");
    let bundle = s.bundle(&config)?;
    let first = s.runtime().start_ready(bundle.path(), "c1")?;
    let all = Host::processes_in(s.cgroup_prefix())?;
    check_eq!(all.len(), 3, "processes");
    s.runtime().kill("c1", "KILL")?.success()?;
    s.runtime().wait_for(first)?;
    for pid in all {
        s.runtime().wait_for(pid)?;
    }
    s.runtime().delete("c1")?.success()?;
    Ok(())
}

/// Podman calls with nothing in the environment but a variable that is empty.
fn commands_need_nothing_of_the_environment() -> Check {
    let mut s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime_mut().wrap(&["env", "-i", "XDG_RUNTIME_DIR="]);
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    for words in [&["start", "c1"][..], &["pause", "c1"], &["resume", "c1"], &["kill", "c1", "9"]] {
        let output = rt.call(words)?.success()?;
        check_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output of {output}");
    }
    rt.wait_for(pid)?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn list_takes_its_options_in_every_form() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    let rt = s.runtime();
    for words in [&["list", "-q"][..], &["list", "--quiet"], &["list", "-q", "-f", "json"]] {
        check_eq!(rt.call(words)?.success()?.stdout, "c1\n", "{words:?}");
    }
    for words in [&["list", "-f", "json"][..], &["list", "--format=json"], &["list", "-f=table", "-f=json"]] {
        let output = rt.call(words)?.success()?;
        let text = output.stdout.strip_suffix('\n').unwrap_or_default();
        let start = format!(
            "[{{\"ociVersion\":\"1.3.0\",\"id\":\"c1\",\"pid\":{pid},\"status\":\"running\",\"bundle\":\""
        );
        check!(text.starts_with(&start) && !text.contains('\n'), "{output}");
        let keys = ["bundle", "rootfs", "created", "owner"];
        let places: Vec<Option<usize>> = keys.iter().map(|key| text.find(&format!("\"{key}\":"))).collect();
        check!(places.iter().all(Option::is_some) && places.is_sorted(), "order of keys in {text}");
    }
    let table = rt.call(&["list", "--format", "table"])?.success()?.stdout;
    let columns = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    check_eq!(
        table.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>(),
        columns,
        "header"
    );
    rt.call(&["list", "--format", "xml"])?.refused("invalid format option")?;
    // What is no container is told, and the others are shown.
    fs::create_dir(rt.root().join("half"))?;
    let output = rt.call(&["list", "-q"])?.success()?;
    check_eq!(output.stdout, "c1\n", "containers");
    check_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    rt.call(&["delete", "--force", "half"])?.success()?;
    Ok(())
}

fn ps_takes_its_format_in_every_form() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    for words in [&["ps", "-f", "json", "c1"][..], &["ps", "--format=json", "c1"], &["ps", "-f=json", "c1"]] {
        check_eq!(s.runtime().call(words)?.success()?.stdout, format!("[{pid}]\n"), "{words:?}");
    }
    let table = s.runtime().call(&["ps", "--format", "table", "c1", "-o", "pid"])?.success()?.stdout;
    check_eq!(table.split_whitespace().collect::<Vec<_>>(), ["PID", &pid.to_string()], "table");
    s.runtime().call(&["ps", "--format", "xml", "c1"])?.refused("invalid format option")?;
    Ok(())
}

fn events_takes_its_options_in_every_form() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for words in [
        &["events", "--stats", "c1"][..],
        &["events", "c1", "-stats"],
        &["events", "--interval=1s", "--stats", "c1"],
    ] {
        let output = s.runtime().call(words)?.success()?;
        check!(output.stdout.starts_with("{\"type\":\"stats\",\"id\":\"c1\",\"data\":{"), "{output}");
        check_eq!(output.stdout.lines().count(), 1, "lines of {output}");
    }
    for wrong in ["0", "0s", "-1s"] {
        let words = ["events", "--interval", wrong, "c1"];
        s.runtime().call(&words)?.refused("duration interval must be greater than 0")?;
    }
    s.runtime().call(&["events", "--interval", "5", "c1"])?.refused("not a duration")?;
    Ok(())
}

fn update_takes_options_behind_the_id_and_values_with_a_dash() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let limit = || -> Check<String> {
        let files: Vec<_> =
            Host::cgroups(s.cgroup_prefix())?.into_iter().map(|c| c.join("pids.max")).collect();
        let file = files.iter().find(|file| file.exists()).ok_or("no pids controller")?;
        Ok(fs::read_to_string(file)?.trim().to_owned())
    };
    let document = s.make_file("limits.json", r#"{"pids":{"limit":44}}"#)?;
    let document = document.to_string_lossy();
    for (words, expected) in [
        (&["update", "c1", "--pids-limit", "20"][..], "20"),
        (&["update", "--pids-limit", "-1", "c1"], "max"),
        (&["update", "c1", "--pids-limit=21"], "21"),
        (&["update", "-pids-limit", "5", "c1", "--pids-limit", "22"], "22"),
        (&["update", "-r", &document, "c1"], "44"),
        (&["update", "--pids-limit", "7", "--resources", &document, "c1"], "44"),
    ] {
        s.runtime().call(words)?.success()?;
        check_eq!(limit()?, expected, "the limit after {words:?}");
    }
    for (option, text) in [("--kernel-memory", "1G"), ("--kernel-memory-tcp", "-1")] {
        let output = s.runtime().call(&["update", option, text, "c1"])?.success()?;
        check!(output.says(&format!("{option} is ignored")), "{output}");
        check_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    }
    for name in ["-", "--resources=-"] {
        let mut command = s.runtime().command();
        match name {
            "-" => command.args(["update", "-r", "-", "c1"]),
            _ => command.args(["update", name, "c1"]),
        };
        command.stdin(Stdio::from(File::open(s.dir().join("limits.json"))?));
        s.runtime().finish(command)?.success()?;
    }
    s.runtime().call(&["update", "--memory", "much", "c1"])?.refused("not a size")?;
    s.runtime().call(&["update", "--cpu-shares", "3", "c1"])?.refused("not defined: -cpu-shares")?;
    Ok(())
}

fn explain_check_and_try_take_their_options() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let path = text(&bundle);
    for flag in ["-b", "--bundle"] {
        let plan = s.runtime().call(&["explain", flag, &path, "--json", "c7"])?.success()?.json()?;
        check_eq!(plan["id"], "c7", "id of the plan");
        check!(plan["steps"].as_array().is_some_and(|steps| steps.len() > 20), "{plan}");
    }
    for words in [&["check", "-b", &path, "-f", "json"][..], &["check", "--format=json", "--bundle", &path]] {
        check!(s.runtime().call(words)?.json()?.is_object(), "{words:?}");
    }
    s.runtime().call(&["check", "--format", "xml", &path])?.refused("invalid format option")?;
    let output = s.runtime().call(&["try", "echo", "--json"])?.success()?;
    check_eq!(output.stdout, "--json\n", "what try prints");
    Ok(())
}

/// Root that sees its cgroups read-only, as in a container: `--rootless` says whether to go on without.
fn rootless_decides_where_no_cgroup_can_be_made() -> Check {
    let mut s = sandbox()?;
    let cgroups: Vec<String> = Host::cgroup_roots()?.iter().map(|p| p.display().to_string()).collect();
    let covers: Vec<String> =
        cgroups.iter().map(|c| format!("mount --bind {c} {c} && mount -o remount,bind,ro {c}")).collect();
    let script = format!("{} && exec \"$@\"", covers.join(" && "));
    s.runtime_mut().wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "4"]))?;
    let run =
        |options: &[&str]| s.runtime().call(&[options, &["run", "--bundle", &text(&bundle), "c1"]].concat());
    let output = run(&["--rootless=true"])?.exits(4)?;
    check!(output.says("cgroups are disabled"), "{output}");
    run(&["--rootless", "1"])?.exits(4)?;
    for options in
        [&["--rootless=false"][..], &["--rootless", "auto"], &["--rootless=true", "--rootless=0"], &[]]
    {
        run(options)?.refused("read-only file system")?;
    }
    run(&["--rootless", "maybe"])?.refused("must be true, false or auto")?;
    Ok(())
}

/// A user without any cgroup goes on without, unless told that this is an error.
fn a_user_without_cgroups_is_refused_if_told_not_to_be_rootless() -> Check {
    let s = sandbox()?;
    let program = s.dir().join("oxrun");
    fs::copy(s.runtime().program(), &program)?;
    let map = json!([{ "containerID": 0, "hostID": 65534, "size": 1 }]);
    let config = Config::new(&["/bin/probe", "exit", "4"])
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/linux/resources", json!({}))
        .set("/linux/cgroupsPath", "");
    let bundle = s.bundle(&config)?;
    let explain = |options: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.args(["--root", "/nonexistent"]).args(options).args(["explain", "--bundle", &text(&bundle)]);
        s.runtime().finish(command)
    };
    for options in [&["--rootless=true"][..], &["--rootless=auto"], &[]] {
        explain(options)?.success()?;
    }
    explain(&["--rootless=false"])?
        .refused("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")?;
    Ok(())
}

/// Even if it is told to be rootless: the config says where the container is to be.
fn a_user_who_may_not_make_the_cgroup_of_the_config_is_refused() -> Check {
    let s = sandbox()?;
    let program = s.dir().join("oxrun");
    fs::copy(s.runtime().program(), &program)?;
    let map = json!([{ "containerID": 0, "hostID": 65534, "size": 1 }]);
    let config = Config::new(&["/bin/probe", "exit", "4"])
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/linux/resources", json!({}))
        .set("/linux/cgroupsPath", "/oxrun-test-unset");
    let bundle = s.bundle(&config)?;
    for options in [&["--rootless=true"][..], &[]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.args(["--root", "/nonexistent"]).args(options).args(["explain", "--bundle", &text(&bundle)]);
        let output = s.runtime().finish(command)?.refused("unable to apply cgroup configuration")?;
        check!(output.says(": permission denied"), "{output}");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($make:expr, $($name:ident),* $(,)?) => { vec![$($make(stringify!($name), $name)),*] };
    }
    let own =
        |name: &str, body: fn() -> Check| oxrun_only(name, "older versions of runc lack some of it", body);
    let mut tests = tests![
        test,
        the_options_of_run_are_taken_in_every_form,
        kill_takes_all_and_a_signal_in_every_order,
        kill_ends_all_processes_of_a_container_in_the_hosts_pid_namespace,
        ps_takes_its_format_in_every_form,
        commands_need_nothing_of_the_environment,
    ];
    tests.extend(tests![
        own,
        the_options_of_create_are_taken_in_every_form,
        create_and_run_keep_the_session_keyring_if_told_to,
        create_and_run_move_the_root_if_told_to,
        list_takes_its_options_in_every_form,
        explain_check_and_try_take_their_options,
        rootless_decides_where_no_cgroup_can_be_made,
        a_user_without_cgroups_is_refused_if_told_not_to_be_rootless,
        a_user_who_may_not_make_the_cgroup_of_the_config_is_refused,
    ]);
    let without_controllers = || match Host::is_pure_v2() && !Path::new("/sys/fs/cgroup/pids.max").exists() {
        true => {
            let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
            (!all.contains("pids")).then(|| "there is no pids controller".to_owned())
        }
        false => None,
    };
    tests.push(conditional(
        "update_takes_options_behind_the_id_and_values_with_a_dash",
        without_controllers,
        update_takes_options_behind_the_id_and_values_with_a_dash,
    ));
    tests.push(conditional(
        "events_takes_its_options_in_every_form",
        without_controllers,
        events_takes_its_options_in_every_form,
    ));
    run(tests)
}
