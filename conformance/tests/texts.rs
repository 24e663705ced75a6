//! Texts that callers match, where no other test says them.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{
    Config, Host, Output, Sandbox, conditional, not_oxrun, oxrun_only, run, test,
};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::fs;
use std::process::{Command, ExitCode};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn run_once(config: &Config) -> Check<Output> {
    let s = sandbox()?;
    let bundle = s.bundle(config)?;
    s.runtime().run(bundle.path(), "c1")
}

fn delete_says_what_the_container_is() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let rt = s.runtime();
    rt.delete("c1")?.refused("cannot delete container c1 that is not stopped: running")?;
    rt.call(&["pause", "c1"])?.success()?;
    rt.delete("c1")?.refused("cannot delete container c1 that is not stopped: paused")?;
    Ok(())
}

fn an_empty_id_is_refused() -> Check {
    let s = sandbox()?;
    for words in [["state", ""], ["delete", ""], ["kill", ""]] {
        s.runtime().call(&words)?.refused("container id cannot be empty")?;
    }
    Ok(())
}

fn an_empty_working_directory_is_refused() -> Check {
    run_once(&Config::new(SLEEP).set("/process/cwd", ""))?.refused("Cwd property must not be empty")?;
    Ok(())
}

/// The container runs nevertheless. Where there is a log, errors alone are in it.
fn an_ambient_capability_that_cannot_be_raised_is_a_warning() -> Check {
    let config = Config::new(&["/bin/probe", "exit", "0"])
        .set("/process/capabilities/ambient", json!(["CAP_CHOWN"]))
        .set("/process/capabilities/permitted", json!(["CAP_CHOWN"]));
    let s = sandbox()?;
    let bundle = s.bundle(&config)?;
    let path = bundle.path().to_string_lossy();
    let output = s.runtime().call(&["run", "--bundle", &path, "c1"])?.success()?;
    check!(output.says("can't raise ambient capability CAP_CHOWN: "), "{output}");
    check!(output.says("level=warning"), "{output}");
    check_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    let output = s.runtime().call(&["--log", "log", "run", "--bundle", &path, "c1"])?.success()?;
    check_eq!(output.stderr, "", "stderr of {output}");
    check_eq!(fs::read_to_string(s.dir().join("log"))?, "", "the log");
    Ok(())
}

fn values_for_v2_files_are_refused_on_v1() -> Check {
    let config = Config::new(SLEEP).set("/linux/resources/unified", json!({ "memory.high": "1000000" }));
    run_once(&config)?.refused("invalid configuration")?;
    Ok(())
}

/// What is in the way of a program, in the words and letters that engines make their exit codes of.
fn a_program_that_cannot_be_run_is_told_in_runcs_words() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    for (program, text) in [
        ("nope", "exec: \"nope\": executable file not found in $PATH"),
        ("/nope", "exec: \"/nope\": stat /nope: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("/etc", "exec: \"/etc\": permission denied"),
    ] {
        let prefix = "unable to start container process: ";
        let output = run_once(&Config::new(&[program]))?.exits(1)?;
        check!(output.says(&format!("run failed: {prefix}")) && output.says(text), "{output}");
        let output = s.runtime().exec("c1", &[program])?.exits(255)?;
        check!(output.says(&format!("exec failed: unable to start container process: {text}")), "{output}");
        check_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    }
    Ok(())
}

fn a_weight_beside_idle_is_left_out_with_a_warning() -> Check {
    let s = sandbox()?;
    for (cpu, warned) in
        [(json!({ "shares": 200, "idle": 1 }), true), (json!({ "shares": 200, "idle": 0 }), false)]
    {
        let bundle = s.bundle(&Config::new(SLEEP).set("/linux/resources/cpu", cpu))?;
        let path = bundle.path().to_string_lossy();
        let output = s.runtime().call(&["explain", "--bundle", &path])?.success()?;
        check_eq!(output.stdout.contains("unable to apply both"), warned, "{output}");
    }
    Ok(())
}

/// Nobody could end all its processes; root has a cgroup for that.
fn a_user_without_cgroup_and_pid_namespace_is_warned() -> Check {
    let s = sandbox()?;
    let program = s.dir().join("oxrun");
    fs::copy(s.runtime().program(), &program)?;
    let map = json!([{ "containerID": 0, "hostID": 65534, "size": 1 }]);
    let config = Config::new(SLEEP)
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/linux/resources", json!({}))
        .set("/linux/cgroupsPath", "");
    let text = "Such configuration is strongly discouraged";
    for (config, warned) in [(config.clone(), false), (config.without_namespace("pid"), true)] {
        let bundle = s.bundle(&config)?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.args(["--root", "/nonexistent", "explain", "--bundle"]).arg(bundle.path());
        let output = s.runtime().finish(command)?.success()?;
        check_eq!(output.stdout.contains(text), warned, "{output}");
    }
    let plain = run_once(&Config::new(&["/bin/probe", "exit", "0"]).without_namespace("pid"))?.success()?;
    check!(!plain.says(text), "{plain}");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        delete_says_what_the_container_is,
        an_empty_working_directory_is_refused,
        a_program_that_cannot_be_run_is_told_in_runcs_words,
    ];
    let older = "older versions of runc say it otherwise";
    tests.push(oxrun_only("an_empty_id_is_refused", older, an_empty_id_is_refused));
    tests.push(oxrun_only(
        "a_weight_beside_idle_is_left_out_with_a_warning",
        "others warn where systemd makes the cgroup",
        a_weight_beside_idle_is_left_out_with_a_warning,
    ));
    tests.push(oxrun_only(
        "an_ambient_capability_that_cannot_be_raised_is_a_warning",
        older,
        an_ambient_capability_that_cannot_be_raised_is_a_warning,
    ));
    tests.push(oxrun_only(
        "a_user_without_cgroup_and_pid_namespace_is_warned",
        older,
        a_user_without_cgroup_and_pid_namespace_is_warned,
    ));
    tests.push(conditional(
        "values_for_v2_files_are_refused_on_v1",
        || match Host::is_pure_v2() {
            true => Some("there is no v1".to_owned()),
            false => not_oxrun(older),
        },
        values_for_v2_files_are_refused_on_v1,
    ));
    run(tests)
}
