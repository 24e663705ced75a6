//! Hooks: when they run, what they are told, and what their failure does.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox, oxrun_only, run, test};
use oxrun_conformance::sys::{self, Inherited};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

const SIGKILL: i32 = 9;
const EXIT: &[&str] = &["/bin/probe", "exit", "0"];
const KINDS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

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
        check_eq!(
            state["bundle"],
            json!(s.dir().join("bundle-0").to_string_lossy()),
            "{kind}"
        );
        check_eq!(
            state["annotations"],
            json!({ "org.example.a": "b" }),
            "{kind}"
        );
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
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .success()?;
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
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .success()?;
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
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .success()?;
    let text = fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    check_eq!(lines.len(), 2, "lines of {text:?}");
    check!(lines[0].starts_with("net:["), "{text:?}");
    check!(
        lines[0] != lines[1],
        "the hook runs in the container's network namespace"
    );
    Ok(())
}

fn a_create_container_hook_runs_in_the_containers_mount_namespace() -> Check {
    let s = sandbox()?;
    let file = s.make_file("seen", "")?;
    let body = format!("readlink /proc/self/ns/mnt > {}", file.display());
    let config = Config::new(EXIT).push("/hooks/createContainer", hook(&s, "hook", &body)?);
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .success()?;
    let own = fs::read_link("/proc/self/ns/mnt")?
        .to_string_lossy()
        .into_owned();
    let seen = fs::read_to_string(file)?;
    check!(seen.starts_with("mnt:["), "the hook wrote {seen:?}");
    check!(
        seen.trim() != own,
        "the hook runs in the host's mount namespace"
    );
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
    let config = Config::new(EXIT)
        .push(&pointer, entry)
        .push(&pointer, second);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let output = s
        .runtime()
        .create(bundle.path(), "c1")?
        .refused("the reason")?;
    let text = format!("error running {kind} hook #0:");
    check!(
        output.stderr.contains(&text),
        "{output}\n  expected on stderr: {text}"
    );
    check!(
        output.stderr.contains("exit status 3"),
        "{output}\n  does not name the exit code"
    );
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
    let config =
        Config::new(&["/bin/probe", "echo", "it ran"]).push("/hooks/startContainer", entry);
    let bundle = s.bundle(&config)?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    check!(output.code != 0, "{output}\n  expected a failure");
    check!(
        !output.stdout.contains("it ran"),
        "the program ran: {output}"
    );
    Ok(())
}

fn a_missing_hook_is_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).push("/hooks/createRuntime", json!({ "path": "/no/hook" }));
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime()
        .create(bundle.path(), "c1")?
        .refused("/no/hook: no such file or directory")?;
    before.assert_same()
}

fn a_hook_with_a_relative_path_is_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).push("/hooks/createRuntime", json!({ "path": "hook" }));
    let bundle = s.bundle(&config)?;
    let output = s.runtime().create(bundle.path(), "c1")?.exits(1)?;
    check!(
        output.stderr.contains("/hooks/createRuntime/0/path"),
        "{output}"
    );
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
    s.runtime()
        .create(bundle.path(), "c1")?
        .refused("hook ran past specified timeout of 1.0s")?;
    before.assert_same()
}

fn a_hook_that_does_not_read_its_input_does_no_harm() -> Check {
    let s = sandbox()?;
    let mut config = Config::new(EXIT);
    // More than a pipe holds.
    config = config.set(
        "/annotations",
        json!({ "org.example.long": "x".repeat(200_000) }),
    );
    let config = config.push("/hooks/createRuntime", hook(&s, "hook", "exit 0")?);
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .success()?;
    Ok(())
}

fn a_failing_poststop_hook_is_a_warning_and_the_next_one_runs() -> Check {
    let s = sandbox()?;
    let later = s.dir().join("later");
    let config = Config::new(EXIT)
        .push("/hooks/poststop", hook(&s, "hook", "exit 3")?)
        .push(
            "/hooks/poststop",
            hook(&s, "second", &format!(": > {}", later.display()))?,
        );
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
    rt.start("c1")?
        .refused("error running poststart hook #0:")?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how the program ended");
    Ok(())
}

fn the_error_names_the_hook_in_the_configuration() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT)
        .push("/hooks/createRuntime", hook(&s, "good", "exit 0")?)
        .push("/hooks/createRuntime", hook(&s, "bad", "exit 7")?);
    let bundle = s.bundle(&config)?;
    s.runtime()
        .create(bundle.path(), "c1")?
        .refused("/hooks/createRuntime/1")?;
    Ok(())
}

/// A hook of the host's shell inside the container, and a configuration in which it works. `/out` is the
/// directory of this name in the sandbox.
fn inside(s: &Sandbox, config: Config, body: &str) -> Check<(Config, Value)> {
    let out = s.make_dir("out")?;
    let mut config = config.mount("bind", &out, "/out", &["bind", "rw"]);
    for name in ["/usr", "/lib", "/lib64"] {
        config = config.mount("bind", Path::new(name), name, &["rbind", "ro"]);
    }
    let entry = json!({ "path": "/usr/bin/sh", "args": ["sh", "-c", body] });
    Ok((config, entry))
}

fn start_container_hooks_read_the_state_with_the_pid_inside() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).set("/annotations", json!({ "org.example.a": "b" }));
    let (config, entry) = inside(&s, config, "cat > /out/start.json")?;
    let file = s.make_file("create.json", "")?;
    let config = config.push("/hooks/startContainer", entry).push(
        "/hooks/createContainer",
        hook(&s, "hook", &format!("cat > {}", file.display()))?,
    );
    let bundle = s.bundle(&config)?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    for (path, status) in [
        (file, "creating"),
        (s.dir().join("out/start.json"), "created"),
    ] {
        let state: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        check_eq!(state["status"], status);
        check_eq!(state["pid"], 1, "{status}");
        check_eq!(state["id"], "c1", "{status}");
        check_eq!(
            state["bundle"],
            json!(bundle.path().to_string_lossy()),
            "{status}"
        );
        check_eq!(
            state["annotations"],
            json!({ "org.example.a": "b" }),
            "{status}"
        );
    }
    Ok(())
}

fn a_failing_start_container_hook_is_reported_by_start() -> Check {
    let s = sandbox()?;
    let body = "echo out; echo the reason >&2; exit 3";
    let (config, entry) = inside(&s, Config::new(EXIT), body)?;
    let good = json!({ "path": "/bin/probe", "args": ["probe", "exit", "0"] });
    let config = config
        .push("/hooks/startContainer", good)
        .push("/hooks/startContainer", entry);
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    create(&s, &bundle)?;
    let pid = rt.pid("c1")?;
    let output = rt
        .start("c1")?
        .refused("error running startContainer hook #1: exit status 3: out; the reason")?;
    check!(
        output.stderr.contains("/hooks/startContainer/1"),
        "{output}"
    );
    rt.wait_for(pid)?;
    rt.has_status("c1", "stopped")?;
    rt.start("c1")?
        .refused("cannot start a container that has stopped")?;
    Ok(())
}

fn a_long_output_is_cut_in_the_error() -> Check {
    let s = sandbox()?;
    let body = "echo begin; head -c 1000000 /dev/zero | tr '\\0' x; exit 4";
    let entry =
        json!({ "path": "/bin/sh", "args": ["sh", "-c", body], "env": ["PATH=/usr/bin:/bin"] });
    let bundle = s.bundle(&Config::new(EXIT).push("/hooks/createContainer", entry))?;
    let before = s.leaks()?;
    let output = s
        .runtime()
        .create(bundle.path(), "c1")?
        .refused("exit status 4: begin; xxx")?;
    check!(output.stderr.len() < 5000, "{} bytes", output.stderr.len());
    before.assert_same()
}

/// A hook that waits for a FIFO that nobody writes, for one second.
fn endless(s: &Sandbox, kind: &str) -> Check<Config> {
    let body = "mkfifo /out/fifo; exec cat /out/fifo";
    let (config, mut entry) = inside(s, Config::new(EXIT), body)?;
    if kind == "createContainer" {
        let out = s.dir().join("out");
        entry["args"][2] = json!(body.replace("/out", &out.to_string_lossy()));
    }
    entry["timeout"] = json!(1);
    entry["env"] = json!(["PATH=/usr/bin:/bin"]);
    Ok(config.push(&format!("/hooks/{kind}"), entry))
}

fn a_create_container_hook_past_its_timeout_is_killed() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&endless(&s, "createContainer")?)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused(
        "error running createContainer hook #0: hook ran past specified timeout of 1.0s",
    )?;
    before.assert_same()
}

fn a_start_container_hook_past_its_timeout_is_killed() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&endless(&s, "startContainer")?)?;
    let rt = s.runtime();
    create(&s, &bundle)?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?
        .refused("error running startContainer hook #0: hook ran past specified timeout of 1.0s")?;
    rt.wait_for(pid)?;
    rt.has_status("c1", "stopped")
}

fn missing_hooks_inside_are_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).push("/hooks/createContainer", json!({ "path": "/no/hook" }));
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let output = s
        .runtime()
        .create(bundle.path(), "c1")?
        .refused("fork/exec /no/hook: no such file or directory")?;
    check!(
        output
            .stderr
            .contains("error running createContainer hook #0:"),
        "{output}"
    );
    before.assert_same()?;
    // It is there, but not in the container.
    let entry = hook(&s, "hook", "exit 0")?;
    let text = format!(
        "error running startContainer hook #0: fork/exec {}: no such file or directory",
        entry["path"].as_str().unwrap_or_default()
    );
    let bundle = s.bundle(&Config::new(EXIT).push("/hooks/startContainer", entry))?;
    create(&s, &bundle)?;
    s.runtime().start("c1")?.refused(&text)?;
    let entry = json!({ "path": "/etc/passwd" });
    let bundle = s.bundle(&Config::new(EXIT).push("/hooks/startContainer", entry))?;
    s.runtime().create(bundle.path(), "c2")?.success()?;
    s.runtime()
        .start("c2")?
        .refused("fork/exec /etc/passwd: permission denied")?;
    Ok(())
}

fn profile(names: &[&str], action: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": action }],
    })
}

fn a_start_container_hook_runs_under_the_filter() -> Check {
    for no_new_privileges in [true, false] {
        let s = sandbox()?;
        let (config, entry) = inside(&s, Config::new(EXIT), "mkdir /out/made")?;
        let config = config
            .push("/hooks/startContainer", entry)
            .set("/process/noNewPrivileges", no_new_privileges)
            .set(
                "/linux/seccomp",
                profile(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO"),
            );
        let bundle = s.bundle(&config)?;
        create(&s, &bundle)?;
        let output = s
            .runtime()
            .start("c1")?
            .refused("error running startContainer hook #0: exit status 1:")?;
        check!(output.stderr.contains("not permitted"), "{output}");
        check!(
            !s.dir().join("out/made").exists(),
            "the filter was not there"
        );
    }
    Ok(())
}

fn a_start_container_hook_that_the_filter_kills_is_told() -> Check {
    for no_new_privileges in [true, false] {
        let s = sandbox()?;
        let (config, mut entry) = inside(&s, Config::new(EXIT), "")?;
        entry["path"] = json!("/usr/bin/mkdir");
        entry["args"] = json!(["mkdir", "/out/made"]);
        let config = config
            .push("/hooks/startContainer", entry)
            .set("/process/noNewPrivileges", no_new_privileges)
            .set(
                "/linux/seccomp",
                profile(&["mkdir", "mkdirat"], "SCMP_ACT_KILL_PROCESS"),
            );
        let bundle = s.bundle(&config)?;
        create(&s, &bundle)?;
        let output = s
            .runtime()
            .start("c1")?
            .refused("error running startContainer hook #0:")?;
        check!(output.stderr.contains("bad system call"), "{output}");
    }
    Ok(())
}

fn a_filter_need_not_allow_what_running_a_hook_takes() -> Check {
    let s = sandbox()?;
    let names = [
        "memfd_create",
        "clone3",
        "fork",
        "vfork",
        "waitid",
        "wait4",
        "ppoll",
        "pread64",
        "pwrite64",
        "dup3",
        "close_range",
        "prctl",
        "fchdir",
        "umask",
        "pidfd_send_signal",
        "getrusage",
        "seccomp",
    ];
    for no_new_privileges in [true, false] {
        let entry = json!({ "path": "/bin/probe", "args": ["probe", "exit", "0"] });
        let config = Config::new(&["/bin/probe", "echo", "it ran"])
            .push("/hooks/startContainer", entry.clone())
            .push("/hooks/startContainer", entry)
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile(&names, "SCMP_ACT_KILL_PROCESS"));
        let bundle = s.bundle(&config)?;
        let id = format!("c-{no_new_privileges}");
        let output = s.runtime().run(bundle.path(), &id)?.success()?;
        check_eq!(output.stdout, "it ran\n");
    }
    Ok(())
}

/// What a hook inside and the program report of themselves.
fn reports(config: Config, options: &[&str]) -> Check<(Value, Value, Value)> {
    let s = sandbox()?;
    let out = s.make_dir("out")?;
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777))?;
    let report = |path: &Path, file: &Path| {
        json!({
            "path": path.to_string_lossy(),
            "args": ["probe", "report", "--out", file.to_string_lossy()],
        })
    };
    let config = config
        .args(&["/bin/probe", "report", "--out", "/out/program.json"])
        .mount("bind", &out, "/out", &["bind", "rw"])
        .push(
            "/hooks/createContainer",
            report(s.probe(), &out.join("create.json")),
        )
        .push(
            "/hooks/startContainer",
            report(Path::new("/bin/probe"), Path::new("/out/start.json")),
        );
    let bundle = s.bundle(&config)?;
    let path = bundle.path().to_string_lossy();
    let words = [&["run", "--bundle", path.as_ref()], options, &["c1"]].concat();
    s.runtime().call(&words)?.success()?;
    let read = |name: &str| -> Check<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(out.join(name))?)?)
    };
    let mut create = read("create.json")?;
    create["rootfs"] = json!(bundle.rootfs().to_string_lossy());
    Ok((create, read("start.json")?, read("program.json")?))
}

fn hooks_inside_have_no_descriptors_but_the_standard_ones() -> Check {
    let _leaked = [
        Inherited::open(Path::new("/etc"), 3)?,
        Inherited::open(Path::new("/etc"), 17)?,
    ];
    let (create, start, program) = reports(Config::new(EXIT), &["--preserve-fds", "1"])?;
    let numbers = |report: &Value| -> Vec<String> {
        let fds = report["fds"].as_object();
        // The host's /proc, which a createContainer hook has, knows the probe by another pid: its own
        // descriptor of the list is told by what it points to.
        let list = |target: &Value| {
            let target = target.as_str().unwrap_or_default();
            target.starts_with("/proc/") && target.ends_with("/fd")
        };
        let others = fds.into_iter().flatten().filter(|fd| !list(fd.1));
        others.map(|fd| fd.0.clone()).collect()
    };
    check_eq!(numbers(&create), ["0", "1", "2"], "createContainer");
    check_eq!(numbers(&start), ["0", "1", "2"], "startContainer");
    check_eq!(numbers(&program), ["0", "1", "2", "3"], "the program");
    Ok(())
}

fn a_start_container_hook_is_confined_as_the_program_is() -> Check {
    let user = json!({ "uid": 1000, "gid": 1000, "umask": 0o27 });
    for no_new_privileges in [true, false] {
        let config = Config::new(EXIT)
            .set("/process/user", user.clone())
            .set("/process/cwd", "/tmp")
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile(&["mkdir"], "SCMP_ACT_ERRNO"));
        let (create, start, program) = reports(config, &[])?;
        for field in [
            "uids",
            "gids",
            "groups",
            "umask",
            "cwd",
            "capabilities",
            "no_new_privs",
            "seccomp",
            "namespaces",
            "hostname",
        ] {
            check_eq!(start[field], program[field], "{field}");
        }
        check!(program["seccomp"] == 2, "{}", program["seccomp"]);
        check_eq!(create["cwd"], create["rootfs"]);
        check_eq!(create["umask"], 0o22);
        check_eq!(create["uid"], 0);
        for field in ["mnt", "net", "pid"] {
            check_eq!(
                create["namespaces"][field],
                program["namespaces"][field],
                "{field}"
            );
        }
    }
    Ok(())
}

fn only_a_start_container_hook_inherits_the_programs_environment() -> Check {
    let (create, start, program) = reports(Config::new(EXIT), &[])?;
    check_eq!(create["env"], json!([]));
    check_eq!(start["env"], program["env"]);
    let text = program["env"].to_string();
    check!(
        text.contains("HOME=/root") && text.contains("TERM=xterm"),
        "{text}"
    );
    let entry = json!({ "path": "/bin/probe", "env": ["A=1"],
        "args": ["probe", "report", "--out", "/tmp/seen.json"] });
    let s = sandbox()?;
    let out = s.make_dir("out")?;
    for (env, expected) in [
        (json!(["A=1", "B="]), json!(["A=1", "B="])),
        (json!([]), json!([])),
    ] {
        let mut entry = entry.clone();
        entry["env"] = env;
        let config = Config::new(EXIT)
            .push("/hooks/startContainer", entry)
            .mount("bind", &out, "/tmp", &["bind", "rw"]);
        s.runtime()
            .run(s.bundle(&config)?.path(), "c1")?
            .success()?;
        let seen: Value = serde_json::from_str(&fs::read_to_string(out.join("seen.json"))?)?;
        check_eq!(seen["env"], expected);
    }
    Ok(())
}

fn mounts_of_a_create_container_hook_are_seen_inside() -> Check {
    let s = sandbox()?;
    // Its working directory is the root filesystem.
    let body = "mount -t tmpfs -o size=4k hooked ./home && : > ./home/made";
    let mut entry = hook(&s, "hook", body)?;
    entry["env"] = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    let config = Config::new(&["/bin/probe", "report", "--stat", "/home/made"])
        .push("/hooks/createContainer", entry);
    let report = s.report(&config)?;
    check_eq!(report["stat"]["/home/made"]["type"], "file");
    Ok(())
}

fn a_hook_inside_that_does_not_read_its_input_does_no_harm() -> Check {
    let s = sandbox()?;
    let long = json!({ "org.example.long": "x".repeat(200_000) });
    let entry = json!({ "path": "/bin/probe", "args": ["probe", "exit", "0"] });
    let config = Config::new(EXIT)
        .set("/annotations", long)
        .push("/hooks/createContainer", hook(&s, "hook", "exit 0")?)
        .push("/hooks/startContainer", entry);
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .success()?;
    Ok(())
}

fn a_hook_inside_does_not_outlive_the_creator() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut()
        .wrap(&["sh", "-c", "echo begin; exec \"$@\"", "sh"]);
    let fifo = s.dir().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status()?;
    check!(made.success(), "mkfifo failed");
    // Open for writing too, so that opening waits for nobody.
    let reader = fs::File::options().read(true).write(true).open(&fifo)?;
    let body = format!("echo up > {}; exec sleep 1000", fifo.display());
    let mut entry = hook(&s, "hook", &body)?;
    entry["env"] = json!(["PATH=/usr/bin:/bin"]);
    let config = Config::new(EXIT)
        .without_namespace("pid")
        .push("/hooks/createContainer", entry);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let path = bundle.path().to_string_lossy().into_owned();
    let creator = s
        .runtime()
        .foreground(&["create", "--bundle", &path, "c1"])?;
    check!(
        sys::readable(reader.as_fd(), Duration::from_secs(20))?,
        "the hook did not run"
    );
    let inside = Host::processes_in(s.cgroup_prefix())?;
    check!(inside.len() >= 2, "init and the hook: {inside:?}");
    let pidfds: Vec<_> = inside
        .into_iter()
        .filter_map(|p| sys::pidfd(p).ok())
        .collect();
    sys::kill(creator.pid(), SIGKILL)?;
    for pidfd in &pidfds {
        check!(
            sys::readable(pidfd.as_fd(), Duration::from_secs(20))?,
            "a process stayed"
        );
    }
    drop(creator);
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    while let Ok(Some(_)) = sys::reap(-1) {}
    before.assert_same()
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
        a_failing_start_container_hook_is_reported_by_start,
        a_long_output_is_cut_in_the_error,
        a_create_container_hook_past_its_timeout_is_killed,
        a_start_container_hook_past_its_timeout_is_killed,
        missing_hooks_inside_are_refused,
        a_start_container_hook_runs_under_the_filter,
        a_start_container_hook_that_the_filter_kills_is_told,
        a_filter_need_not_allow_what_running_a_hook_takes,
        start_container_hooks_read_the_state_with_the_pid_inside,
        hooks_inside_have_no_descriptors_but_the_standard_ones,
        a_start_container_hook_is_confined_as_the_program_is,
        only_a_start_container_hook_inherits_the_programs_environment,
        mounts_of_a_create_container_hook_are_seen_inside,
        a_hook_inside_that_does_not_read_its_input_does_no_harm,
    ];
    tests.extend([
        oxrun_only(
            "a_hook_inside_does_not_outlive_the_creator",
            "runc notices only when the hook has ended",
            a_hook_inside_does_not_outlive_the_creator,
        ),
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
            "the_error_names_the_hook_in_the_configuration",
            "runc names no field of the configuration",
            the_error_names_the_hook_in_the_configuration,
        ),
    ]);
    run(tests)
}
