//! Hooks: when they run, what they are told, and what their failure does.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;

const EXIT: &[&str] = &["/bin/probe", "exit", "0"];
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A hook that runs `body` in the host's shell.
fn hook(s: &Sandbox, name: &str, body: &str) -> Check<Value> {
    let script = s.make_script(name, body)?;
    Ok(json!({ "path": script.to_string_lossy() }))
}

/// The log that the hooks of a test write, line by line.
fn log(s: &Sandbox) -> Check<Vec<String>> {
    let text = fs::read_to_string(s.dir().join("log")).unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Two logging hooks of every kind that runs on the host.
fn logging(s: &Sandbox, config: Config) -> Check<Config> {
    let log = s.dir().join("log");
    let mut config = config;
    for kind in KINDS.into_iter().filter(|kind| *kind != "startContainer") {
        for number in 0..2 {
            let name = format!("{kind}-{number}");
            let body = format!("cat >/dev/null; echo {name} >> {}", log.display());
            config = config.push(&format!("/hooks/{kind}"), hook(s, &name, &body)?);
        }
    }
    Ok(config)
}

fn create(s: &Sandbox, bundle: &Bundle) -> Check {
    s.runtime().create(bundle.path(), "c1")?.success().map(drop)
}

fn hooks_run_in_order_at_their_stage() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&logging(&s, Config::new(EXIT))?)?;
    let rt = s.runtime();
    create(&s, &bundle)?;
    let created = [
        "prestart-0",
        "prestart-1",
        "createRuntime-0",
        "createRuntime-1",
        "createContainer-0",
        "createContainer-1",
    ];
    check_eq!(log(&s)?, created, "after create");
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    check_eq!(log(&s)?[6..], ["poststart-0", "poststart-1"], "after start");
    rt.wait_for(pid)?;
    rt.delete("c1")?.success()?;
    check_eq!(log(&s)?[8..], ["poststop-0", "poststop-1"], "after delete");
    Ok(())
}

fn run_runs_every_hook_once() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&logging(&s, Config::new(EXIT))?)?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    let log = log(&s)?;
    check_eq!(log.len(), 10, "hooks that ran: {log:?}");
    Ok(())
}

fn a_timeout_of_no_time_is_refused() -> Check {
    let s = sandbox()?;
    for (kind, timeout) in KINDS.into_iter().flat_map(|kind| [(kind, 0), (kind, -1)]) {
        let entry = json!({ "path": "/bin/true", "timeout": timeout });
        let bundle = s.bundle(&Config::new(EXIT).push(&format!("/hooks/{kind}"), entry))?;
        let says = format!("timeout of {kind} hook #0 must be greater than zero");
        s.runtime()
            .create(bundle.path(), "c1")?
            .refused(&says)?
            .refused(&format!("/hooks/{kind}/0/timeout"))?;
    }
    Ok(())
}

/// The state that each kind of hook reads from its standard input.
fn states(s: &Sandbox) -> Check<Vec<(&'static str, Value)>> {
    let mut config = Config::new(EXIT).set("/annotations", json!({ "org.example.a": "b" }));
    for kind in KINDS.into_iter().filter(|kind| *kind != "startContainer") {
        let file = s.dir().join(format!("{kind}.json"));
        let entry = hook(s, kind, &format!("cat > {}", file.display()))?;
        config = config.push(&format!("/hooks/{kind}"), entry);
    }
    let bundle = s.bundle(&config)?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    let mut states = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| *kind != "startContainer") {
        let text = fs::read_to_string(s.dir().join(format!("{kind}.json")))?;
        states.push((kind, serde_json::from_str(&text)?));
    }
    Ok(states)
}

fn hooks_read_the_state() -> Check {
    let s = sandbox()?;
    for (kind, state) in states(&s)? {
        check_eq!(state["id"], "c1", "{kind}");
        check_eq!(state["bundle"], json!(s.dir().join("bundle-0").to_string_lossy()), "{kind}");
        check_eq!(state["annotations"], json!({ "org.example.a": "b" }), "{kind}");
        check!(state["ociVersion"].is_string(), "{kind}: {state}");
        if kind != "poststop" {
            check!(state["pid"].as_i64() > Some(0), "{kind}: {state}");
        }
    }
    Ok(())
}

fn hooks_read_the_status_of_their_stage() -> Check {
    let s = sandbox()?;
    let expected = ["creating", "creating", "creating", "running", "stopped"];
    for ((kind, state), status) in states(&s)?.into_iter().zip(expected) {
        check_eq!(state["status"], status, "{kind}");
    }
    Ok(())
}

fn a_hook_gets_exactly_its_arguments_and_environment() -> Check {
    let s = sandbox()?;
    let file = s.dir().join("seen.json");
    let entry = json!({
        "path": s.probe().to_string_lossy(),
        "args": ["zero", "report", "--out", file.to_string_lossy()],
        "env": ["A=1", "B="],
    });
    let config = Config::new(EXIT).push("/hooks/createRuntime", entry);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    let seen: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    check_eq!(seen["argv"][0], "zero");
    check_eq!(seen["env"], json!(["A=1", "B="]));
    Ok(())
}

fn a_hook_without_arguments_or_environment_gets_none() -> Check {
    let s = sandbox()?;
    let file = s.dir().join("seen");
    let body = format!("tr '\\0' '\\n' < /proc/$$/environ > {}", file.display());
    let config = Config::new(EXIT).push("/hooks/createRuntime", hook(&s, "hook", &body)?);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    check_eq!(fs::read_to_string(file)?, "");
    Ok(())
}

fn create_hooks_find_the_namespaces_of_the_container() -> Check {
    let s = sandbox()?;
    let file = s.dir().join("seen");
    let body = format!(
        "state=$(cat); pid=${{state##*\\\"pid\\\":}}; pid=${{pid%%,*}}; \
         readlink /proc/$((pid))/ns/net > {0}; readlink /proc/self/ns/net >> {0}",
        file.display()
    );
    let config = Config::new(EXIT).push("/hooks/prestart", hook(&s, "hook", &body)?);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    let text = fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    check_eq!(lines.len(), 2, "lines of {text:?}");
    check!(lines[0].starts_with("net:["), "{text:?}");
    check!(lines[0] != lines[1], "the hook runs in the container's network namespace");
    Ok(())
}

fn a_create_container_hook_runs_in_the_containers_mount_namespace() -> Check {
    let s = sandbox()?;
    let file = s.make_file("seen", "")?;
    let body = format!("readlink /proc/self/ns/mnt > {}", file.display());
    let config = Config::new(EXIT).push("/hooks/createContainer", hook(&s, "hook", &body)?);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    let own = fs::read_link("/proc/self/ns/mnt")?.to_string_lossy().into_owned();
    let seen = fs::read_to_string(file)?;
    check!(seen.starts_with("mnt:["), "the hook wrote {seen:?}");
    check!(seen.trim() != own, "the hook runs in the host's mount namespace");
    Ok(())
}

fn a_start_container_hook_runs_inside_before_the_program() -> Check {
    let s = sandbox()?;
    let out = s.make_dir("out")?;
    let entry = json!({
        "path": "/bin/probe", "args": ["probe", "report", "--out", "/tmp/seen.json"],
    });
    let config = Config::new(&["/bin/probe", "report", "--stat", "/tmp/seen.json"])
        .push("/hooks/startContainer", entry)
        .mount("bind", &out, "/tmp", &["bind", "rw"]);
    let report = s.report(&config)?;
    check_eq!(report["stat"]["/tmp/seen.json"]["type"], "file");
    let seen: Value = serde_json::from_str(&fs::read_to_string(out.join("seen.json"))?)?;
    check_eq!(seen["hostname"], "oxrun-test");
    check_eq!(seen["namespaces"]["mnt"], report["namespaces"]["mnt"]);
    Ok(())
}

fn fails_create(kind: &str) -> Check {
    let s = sandbox()?;
    let entry = hook(&s, "hook", "echo the reason >&2; exit 3")?;
    let later = s.dir().join("later");
    let second = hook(&s, "second", &format!("touch {}", later.display()))?;
    let pointer = format!("/hooks/{kind}");
    let config = Config::new(EXIT).push(&pointer, entry).push(&pointer, second);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?.refused("the reason")?;
    let text = format!("error running {kind} hook #0:");
    check!(output.stderr.contains(&text), "{output}\n  expected on stderr: {text}");
    check!(output.stderr.contains("exit status 3"), "{output}\n  does not name the exit code");
    check!(!later.exists(), "the second hook ran");
    before.assert_same()
}

fn a_failing_prestart_hook_fails_create() -> Check {
    fails_create("prestart")
}

fn a_failing_create_runtime_hook_fails_create() -> Check {
    fails_create("createRuntime")
}

fn a_failing_create_container_hook_fails_create() -> Check {
    fails_create("createContainer")
}

fn a_failing_start_container_hook_keeps_the_program_from_running() -> Check {
    let s = sandbox()?;
    let entry = json!({ "path": "/bin/probe", "args": ["probe", "exit", "3"] });
    let config = Config::new(&["/bin/probe", "echo", "it ran"]).push("/hooks/startContainer", entry);
    let bundle = s.bundle(&config)?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    check!(output.code != 0, "{output}\n  expected a failure");
    check!(!output.stdout.contains("it ran"), "the program ran: {output}");
    Ok(())
}

fn a_missing_hook_is_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).push("/hooks/createRuntime", json!({ "path": "/no/hook" }));
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("/no/hook: no such file or directory")?;
    before.assert_same()
}

fn a_hook_with_a_relative_path_is_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).push("/hooks/createRuntime", json!({ "path": "hook" }));
    let bundle = s.bundle(&config)?;
    let output = s.runtime().create(bundle.path(), "c1")?.exits(1)?;
    check!(output.stderr.contains("/hooks/createRuntime/0/path"), "{output}");
    Ok(())
}

fn a_hook_that_runs_past_its_timeout_is_killed() -> Check {
    let s = sandbox()?;
    // Reads from a FIFO that nobody writes.
    let fifo = s.dir().join("fifo");
    let body = format!("mkfifo {0}; exec cat {0}", fifo.display());
    let mut entry = hook(&s, "hook", &body)?;
    entry["timeout"] = json!(1);
    entry["env"] = json!(["PATH=/usr/bin:/bin"]);
    let bundle = s.bundle(&Config::new(EXIT).push("/hooks/createRuntime", entry))?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("hook ran past specified timeout of 1.0s")?;
    before.assert_same()
}

fn a_hook_that_does_not_read_its_input_does_no_harm() -> Check {
    let s = sandbox()?;
    let mut config = Config::new(EXIT);
    // More than a pipe holds.
    config = config.set("/annotations", json!({ "org.example.long": "x".repeat(200_000) }));
    let config = config.push("/hooks/createRuntime", hook(&s, "hook", "exit 0")?);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    Ok(())
}

fn a_failing_poststop_hook_is_a_warning_and_the_next_one_runs() -> Check {
    let s = sandbox()?;
    let later = s.dir().join("later");
    let config = Config::new(EXIT)
        .push("/hooks/poststop", hook(&s, "hook", "exit 3")?)
        .push("/hooks/poststop", hook(&s, "second", &format!(": > {}", later.display()))?);
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    create(&s, &bundle)?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    rt.wait_for(pid)?;
    let output = rt.delete("c1")?.success()?;
    check!(output.stderr.contains("poststop"), "{output}\n  no warning");
    check!(later.exists(), "the second hook did not run");
    Ok(())
}

fn a_failing_poststart_hook_fails_start_and_ends_the_program() -> Check {
    let s = sandbox()?;
    let entry = hook(&s, "hook", "exit 3")?;
    let config = Config::new(&["/bin/probe", "sleep"]).push("/hooks/poststart", entry);
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    create(&s, &bundle)?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.refused("error running poststart hook #0:")?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how the program ended");
    Ok(())
}

fn the_error_names_the_hook_in_the_configuration() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT)
        .push("/hooks/createRuntime", hook(&s, "good", "exit 0")?)
        .push("/hooks/createRuntime", hook(&s, "bad", "exit 7")?);
    let bundle = s.bundle(&config)?;
    s.runtime().create(bundle.path(), "c1")?.refused("/hooks/createRuntime/1")?;
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        hooks_run_in_order_at_their_stage,
        run_runs_every_hook_once,
        hooks_read_the_state,
        hooks_read_the_status_of_their_stage,
        a_hook_gets_exactly_its_arguments_and_environment,
        a_hook_without_arguments_or_environment_gets_none,
        create_hooks_find_the_namespaces_of_the_container,
        a_create_container_hook_runs_in_the_containers_mount_namespace,
        a_start_container_hook_runs_inside_before_the_program,
        a_failing_prestart_hook_fails_create,
        a_failing_create_runtime_hook_fails_create,
        a_failing_create_container_hook_fails_create,
        a_failing_start_container_hook_keeps_the_program_from_running,
        a_missing_hook_is_refused,
        a_hook_that_runs_past_its_timeout_is_killed,
        a_hook_that_does_not_read_its_input_does_no_harm,
        a_failing_poststart_hook_fails_start_and_ends_the_program,
    ];
    tests.extend([
        oxrun_only(
            "a_failing_poststop_hook_is_a_warning_and_the_next_one_runs",
            "runc stops at the first one that fails and returns its error",
            a_failing_poststop_hook_is_a_warning_and_the_next_one_runs,
        ),
        oxrun_only(
            "a_hook_with_a_relative_path_is_refused",
            "runc looks such a path up at run time",
            a_hook_with_a_relative_path_is_refused,
        ),
        oxrun_only(
            "a_timeout_of_no_time_is_refused",
            "runc starts the hook and kills it at once",
            a_timeout_of_no_time_is_refused,
        ),
        oxrun_only(
            "the_error_names_the_hook_in_the_configuration",
            "runc names no field of the configuration",
            the_error_names_the_hook_in_the_configuration,
        ),
    ]);
    run(tests)
}
