//! The life of a container: every command in every state, what it answers and what it leaves.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn create_then_start_then_kill_then_delete() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    let rt = s.runtime();
    let created = rt.create(bundle.path(), "c1")?.success()?;
    check_eq!(created.stderr, "", "stderr of create");
    rt.has_status("c1", "created")?;
    let pid = rt.pid("c1")?;
    let started = rt.start("c1")?.success()?;
    check_eq!((started.stdout.as_str(), started.stderr.as_str()), ("", ""), "output of start");
    rt.has_status("c1", "running")?;
    check_eq!(rt.pid("c1")?, pid, "pid after start");
    rt.kill("c1", "KILL")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how init ended");
    rt.has_status("c1", "stopped")?;
    check_eq!(rt.state("c1")?["pid"], 0, "pid of a stopped container");
    rt.delete("c1")?.success()?;
    rt.call(&["state", "c1"])?.refused("container does not exist")?;
    before.assert_same()
}

fn the_program_does_not_run_before_start() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "echo", "it", "runs"]))?;
    let rt = s.runtime();
    let created = rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    check_eq!(fs::read_to_string(&created.stdout_file)?, "", "output before start");
    rt.start("c1")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(0), "how init ended");
    check_eq!(fs::read_to_string(&created.stdout_file)?, "it runs\n", "output after start");
    rt.delete("c1")?.success()?;
    Ok(())
}

fn init_is_a_child_of_the_nearest_subreaper() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    check!(Host::children()?.contains(&pid), "{pid} is no child of ours");
    rt.call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn a_zombie_is_stopped() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "TERM")?.success()?;
    rt.wait_for_end(pid)?;
    check_eq!(Host::process_state(pid), Some('Z'), "state of the process nobody has waited for");
    rt.has_status("c1", "stopped")?;
    check_eq!(rt.state("c1")?["pid"], 0, "pid of a stopped container");
    check_eq!(rt.wait_for(pid)?, Some(0), "how init ended");
    rt.delete("c1")?.success()?;
    Ok(())
}

fn run_returns_the_exit_code_of_the_program() -> Check {
    let s = sandbox()?;
    for code in ["0", "1", "42", "255"] {
        let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", code]))?;
        let before = s.leaks()?;
        s.runtime().run(bundle.path(), &format!("c{code}"))?.exits(code.parse()?)?;
        before.assert_same()?;
    }
    Ok(())
}

fn run_returns_128_and_the_signal() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    for (name, code) in [("KILL", 137), ("SEGV", 139), ("USR1", 138)] {
        // Without a pid namespace the program is no init, so every signal ends it.
        let config = Config::new(SLEEP).without_namespace("pid");
        let bundle = s.bundle(&config)?;
        let path = bundle.path().as_os_str();
        let running = rt.foreground(&[OsStr::new("run"), "--bundle".as_ref(), path, name.as_ref()])?;
        rt.kill(name, name)?.success()?;
        check_eq!(running.finish()?.0, code, "exit code of run after SIG{name}");
    }
    Ok(())
}

fn run_writes_what_the_program_writes() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "echo", "hello"]))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!((output.stdout.as_str(), output.stderr.as_str()), ("hello\n", ""), "output of run");
    Ok(())
}

fn run_detach_leaves_a_running_container() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let rt = s.runtime();
    let path = bundle.path().as_os_str();
    rt.call(&["run".as_ref(), "--detach".as_ref(), "--bundle".as_ref(), path, OsStr::new("c1")])?
        .success()?;
    rt.has_status("c1", "running")?;
    let pid = rt.pid("c1")?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    rt.delete("c1")?.success()?;
    Ok(())
}

fn run_keep_leaves_a_stopped_container() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "3"]))?;
    let rt = s.runtime();
    let path = bundle.path().as_os_str();
    rt.call(&["run".as_ref(), "--keep".as_ref(), "--bundle".as_ref(), path, OsStr::new("c1")])?.exits(3)?;
    rt.has_status("c1", "stopped")?;
    check!(!Host::cgroups(s.cgroup_prefix())?.is_empty(), "the cgroup stays until delete");
    rt.delete("c1")?.success()?;
    Ok(())
}

fn the_bundle_defaults_to_the_current_directory() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "5"]))?;
    let mut command = s.runtime().command();
    command.current_dir(bundle.path()).args(["run", "c1"]);
    s.runtime().finish(command)?.exits(5)?;
    Ok(())
}

fn the_bundle_may_be_relative() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "6"]))?;
    let name = bundle.path().file_name().unwrap().to_string_lossy().into_owned();
    // The runtime's current directory is the sandbox.
    s.runtime().call(&["run", "--bundle", &name, "c1"])?.exits(6)?;
    s.runtime().call(&["run", &format!("--bundle=./{name}"), "c2"])?.exits(6)?;
    s.runtime().call(&["run", "-b", &name, "c3"])?.exits(6)?;
    Ok(())
}

fn options_may_follow_the_id() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "6"]))?;
    let mut command = s.runtime().command();
    command.args(["run", "c1", "--bundle"]).arg(bundle.path());
    s.runtime().finish(command)?.exits(6)?;
    Ok(())
}

fn start_of_a_running_container_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    s.runtime().start("c1")?.refused("cannot start an already running container")?;
    s.runtime().has_status("c1", "running")
}

fn start_of_a_stopped_container_is_refused() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    rt.start("c1")?.refused("cannot start a container that has stopped")?;
    rt.has_status("c1", "stopped")
}

fn an_id_can_be_used_once_at_a_time() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let first = s.sleeper("c1", &Config::new(SLEEP))?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    rt.create(bundle.path(), "c1")?.refused("container with given ID already exists")?;
    rt.run(bundle.path(), "c1")?.refused("container with given ID already exists")?;
    check_eq!(rt.pid("c1")?, first, "pid of the container that has the id");
    before.assert_same()?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.create(bundle.path(), "c1")?.success()?;
    rt.has_status("c1", "created")
}

fn invalid_ids_are_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    for id in ["a/b", "..", ".", "../x", "a b", "a\nb", "ä", "a*"] {
        s.runtime().create(bundle.path(), id)?.refused("invalid container ID format")?;
    }
    s.runtime().create(bundle.path(), "")?.exits(1)?;
    before.assert_same()
}

fn an_over_long_id_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), &"x".repeat(300))?.exits(1)?;
    before.assert_same()
}

fn every_allowed_character_works_in_an_id() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "0"]))?;
    for id in ["aZ09", "a_b", "a+b", "a.b", "a-b", "0", "_x"] {
        s.runtime().run(bundle.path(), id)?.success()?;
    }
    Ok(())
}

fn an_unknown_id_is_refused_by_every_command() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    for args in [
        &["start", "nope"][..],
        &["state", "nope"],
        &["kill", "nope"],
        &["kill", "nope", "KILL"],
        &["delete", "nope"],
        &["pause", "nope"],
        &["resume", "nope"],
    ] {
        rt.call(args)?.refused("container does not exist")?;
    }
    check!(!rt.root().join("nope").exists(), "a state directory appeared");
    Ok(())
}

fn commands_without_an_id_are_refused() -> Check {
    let s = sandbox()?;
    for command in ["create", "start", "state", "kill", "delete", "run"] {
        let output = s.runtime().call(&[command])?;
        check!(output.code != 0, "{output}\n  expected a failure");
    }
    Ok(())
}

fn the_pid_file_holds_the_pid_and_nothing_else() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let rt = s.runtime();
    // Relative to the caller's directory.
    let path = bundle.path().to_string_lossy().into_owned();
    rt.call(&["create", "--bundle", &path, "--pid-file", "pid.txt", "c1"])?.success()?;
    let text = fs::read_to_string(s.dir().join("pid.txt"))?;
    check_eq!(text, rt.pid("c1")?.to_string(), "content of the pid file");
    Ok(())
}

fn a_pid_file_that_cannot_be_written_fails_create() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    let path = bundle.path().to_string_lossy().into_owned();
    let output = s.runtime().call(&["create", "--bundle", &path, "--pid-file", "no/dir/pid", "c1"])?;
    output.refused("no such file or directory")?;
    before.assert_same()
}

fn state_prints_its_keys_in_order() -> Check {
    let s = sandbox()?;
    let config = Config::new(SLEEP).set("/annotations", json!({ "org.example.a": "b" }));
    let bundle = s.bundle(&config)?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let output = s.runtime().call(&["state", "c1"])?.success()?;
    let keys: Vec<&str> = output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("  \"")?.split_once('"'))
        .map(|(key, _)| key)
        .collect();
    let expected =
        ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];
    check_eq!(keys, expected, "keys of state, indented by two blanks");
    let state = output.json()?;
    check_eq!(state["id"], "c1");
    check_eq!(state["bundle"], json!(bundle.path().to_string_lossy()));
    check_eq!(state["rootfs"], json!(bundle.rootfs().to_string_lossy()));
    check_eq!(state["annotations"], json!({ "org.example.a": "b" }));
    check_eq!(state["owner"], "");
    let created = state["created"].as_str().unwrap_or_default();
    check!(created.ends_with('Z') && created.contains('T'), "created is {created:?}");
    Ok(())
}

fn state_without_annotations_leaves_the_key_out() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    check!(s.runtime().state("c1")?.get("annotations").is_none(), "annotations are there");
    Ok(())
}

fn state_names_the_version_of_the_runtime() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    check_eq!(s.runtime().state("c1")?["ociVersion"], "1.3.0");
    Ok(())
}

fn list_shows_every_container() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let second = s.sleeper("b2", &Config::new(SLEEP))?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    rt.create(bundle.path(), "a1")?.success()?;
    let table = rt.call(&["list"])?.success()?;
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    check_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "header");
    check_eq!(lines.len(), 3, "lines of {table}");
    check_eq!(lines[1][0], "a1", "first container");
    check_eq!(lines[1][2], "created", "its status");
    check_eq!(lines[2][1], second.to_string(), "pid of the second");
    check_eq!(rt.call(&["list", "--quiet"])?.success()?.stdout, "a1\nb2\n", "list --quiet");
    let list = rt.call(&["list", "--format", "json"])?.success()?;
    check_eq!(list.stdout.trim_end().lines().count(), 1, "lines of JSON");
    let list = list.json()?;
    let ids: Vec<&Value> = list.as_array().unwrap().iter().map(|entry| &entry["id"]).collect();
    check_eq!(ids, ["a1", "b2"], "ids in JSON");
    check_eq!(list[1]["owner"], "root", "owner");
    Ok(())
}

fn a_changed_config_has_no_effect_after_create() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "echo", "old"]))?;
    let rt = s.runtime();
    let created = rt.create(bundle.path(), "c1")?.success()?;
    bundle.write(Config::new(&["/bin/probe", "echo", "new"]).text())?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    rt.wait_for(pid)?;
    check_eq!(fs::read_to_string(&created.stdout_file)?, "old\n", "what ran");
    rt.delete("c1")?.success()?;
    Ok(())
}

fn the_private_copy_of_the_config_has_its_bytes() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
    // What the document's reader makes nothing of, and how it is written.
    let text = fs::read_to_string(bundle.path().join("config.json"))?;
    let text = text.replacen('{', "{\t\"x-unknown\": {\"b\": [1.50, null], \"a\": 1e2},\n\n", 1);
    bundle.write(&text)?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let kept = fs::read_to_string(s.runtime().root().join("c1/config.json"))?;
    check_eq!(kept, text, "the copy");
    Ok(())
}

fn an_unknown_command_exits_with_3() -> Check {
    let s = sandbox()?;
    let output = s.runtime().call(&["frobnicate"])?.exits(3)?;
    let text = output.stdout.clone() + &output.stderr;
    check!(text.contains("frobnicate"), "{output}\n  does not name the command");
    Ok(())
}

fn a_symlinked_rootfs_is_accepted() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "8"]))?;
    fs::rename(bundle.rootfs(), bundle.path().join("real"))?;
    std::os::unix::fs::symlink("real", bundle.rootfs())?;
    s.runtime().run(bundle.path(), "c1")?.exits(8)?;
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        create_then_start_then_kill_then_delete,
        the_program_does_not_run_before_start,
        init_is_a_child_of_the_nearest_subreaper,
        a_zombie_is_stopped,
        run_returns_the_exit_code_of_the_program,
        run_returns_128_and_the_signal,
        run_writes_what_the_program_writes,
        run_detach_leaves_a_running_container,
        run_keep_leaves_a_stopped_container,
        the_bundle_defaults_to_the_current_directory,
        the_bundle_may_be_relative,
        options_may_follow_the_id,
        start_of_a_running_container_is_refused,
        start_of_a_stopped_container_is_refused,
        an_id_can_be_used_once_at_a_time,
        invalid_ids_are_refused,
        an_over_long_id_is_refused,
        every_allowed_character_works_in_an_id,
        an_unknown_id_is_refused_by_every_command,
        commands_without_an_id_are_refused,
        the_pid_file_holds_the_pid_and_nothing_else,
        a_pid_file_that_cannot_be_written_fails_create,
        state_prints_its_keys_in_order,
        state_without_annotations_leaves_the_key_out,
        list_shows_every_container,
        a_changed_config_has_no_effect_after_create,
        an_unknown_command_exits_with_3,
    ];
    tests.extend([
        oxrun_only(
            "state_names_the_version_of_the_runtime",
            "each runtime names its own version of the specification",
            state_names_the_version_of_the_runtime,
        ),
        oxrun_only(
            "the_private_copy_of_the_config_has_its_bytes",
            "others keep it otherwise or not at all",
            the_private_copy_of_the_config_has_its_bytes,
        ),
        oxrun_only(
            "a_symlinked_rootfs_is_accepted",
            "runc refuses a root path that is a symlink",
            a_symlinked_rootfs_is_accepted,
        ),
    ]);
    run(tests)
}
