//! Hooks that run inside the container: what confines them, what they are told, and what their failure does.
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

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A hook that runs `body` in the host's shell.
fn hook(s: &Sandbox, name: &str, body: &str) -> Check<Value> {
    let script = s.make_script(name, body)?;
    Ok(json!({ "path": script.to_string_lossy() }))
}

fn create(s: &Sandbox, bundle: &Bundle) -> Check {
    s.runtime().create(bundle.path(), "c1")?.success().map(drop)
}

/// A hook of the host's shell inside the container, and a configuration in which it works. `/out` is the
/// directory of this name in the sandbox.
fn inside(s: &Sandbox, config: Config, body: &str) -> Check<(Config, Value)> {
    let out = s.make_dir("out")?;
    let mut config = config.mount("bind", &out, "/out", &["bind", "rw"]);
    // Where the loader of programs is differs: aarch64 has it in /lib, and Debian no /lib64 then.
    for name in ["/usr", "/lib", "/lib64"].into_iter().filter(|name| Path::new(name).exists()) {
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
    let config = config
        .push("/hooks/startContainer", entry)
        .push("/hooks/createContainer", hook(&s, "hook", &format!("cat > {}", file.display()))?);
    let bundle = s.bundle(&config)?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    for (path, status) in [(file, "creating"), (s.dir().join("out/start.json"), "created")] {
        let state: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        check_eq!(state["status"], status);
        check_eq!(state["pid"], 1, "{status}");
        check_eq!(state["id"], "c1", "{status}");
        check_eq!(state["bundle"], json!(bundle.path().to_string_lossy()), "{status}");
        check_eq!(state["annotations"], json!({ "org.example.a": "b" }), "{status}");
    }
    Ok(())
}

fn a_failing_start_container_hook_is_reported_by_start() -> Check {
    let s = sandbox()?;
    let body = "echo out; echo the reason >&2; exit 3";
    let (config, entry) = inside(&s, Config::new(EXIT), body)?;
    let good = json!({ "path": "/bin/probe", "args": ["probe", "exit", "0"] });
    let config = config.push("/hooks/startContainer", good).push("/hooks/startContainer", entry);
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    create(&s, &bundle)?;
    let pid = rt.pid("c1")?;
    let output =
        rt.start("c1")?.refused("error running startContainer hook #1: exit status 3: out; the reason")?;
    check!(output.stderr.contains("/hooks/startContainer/1"), "{output}");
    rt.wait_for(pid)?;
    rt.has_status("c1", "stopped")?;
    rt.start("c1")?.refused("cannot start a container that has stopped")?;
    Ok(())
}

fn a_long_output_is_cut_in_the_error() -> Check {
    let s = sandbox()?;
    let body = "echo begin; head -c 1000000 /dev/zero | tr '\\0' x; exit 4";
    let entry = json!({ "path": "/bin/sh", "args": ["sh", "-c", body], "env": ["PATH=/usr/bin:/bin"] });
    let bundle = s.bundle(&Config::new(EXIT).push("/hooks/createContainer", entry))?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?.refused("exit status 4: begin; xxx")?;
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
    s.runtime()
        .create(bundle.path(), "c1")?
        .refused("error running createContainer hook #0: hook ran past specified timeout of 1.0s")?;
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
    let output =
        s.runtime().create(bundle.path(), "c1")?.refused("fork/exec /no/hook: no such file or directory")?;
    check!(output.stderr.contains("error running createContainer hook #0:"), "{output}");
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
    s.runtime().start("c2")?.refused("fork/exec /etc/passwd: permission denied")?;
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
            .set("/linux/seccomp", profile(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO"));
        let bundle = s.bundle(&config)?;
        create(&s, &bundle)?;
        let output =
            s.runtime().start("c1")?.refused("error running startContainer hook #0: exit status 1:")?;
        check!(output.stderr.contains("not permitted"), "{output}");
        check!(!s.dir().join("out/made").exists(), "the filter was not there");
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
            .set("/linux/seccomp", profile(&["mkdir", "mkdirat"], "SCMP_ACT_KILL_PROCESS"));
        let bundle = s.bundle(&config)?;
        create(&s, &bundle)?;
        let output = s.runtime().start("c1")?.refused("error running startContainer hook #0:")?;
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
        .push("/hooks/createContainer", report(s.probe(), &out.join("create.json")))
        .push("/hooks/startContainer", report(Path::new("/bin/probe"), Path::new("/out/start.json")));
    let bundle = s.bundle(&config)?;
    let path = bundle.path().to_string_lossy();
    let words = [&["run", "--bundle", path.as_ref()], options, &["c1"]].concat();
    s.runtime().call(&words)?.success()?;
    let read =
        |name: &str| -> Check<Value> { Ok(serde_json::from_str(&fs::read_to_string(out.join(name))?)?) };
    let mut create = read("create.json")?;
    create["rootfs"] = json!(bundle.rootfs().to_string_lossy());
    Ok((create, read("start.json")?, read("program.json")?))
}

fn hooks_inside_have_no_descriptors_but_the_standard_ones() -> Check {
    let _leaked = [Inherited::open(Path::new("/etc"), 3)?, Inherited::open(Path::new("/etc"), 17)?];
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
            check_eq!(create["namespaces"][field], program["namespaces"][field], "{field}");
        }
    }
    Ok(())
}

fn only_a_start_container_hook_inherits_the_programs_environment() -> Check {
    let (create, start, program) = reports(Config::new(EXIT), &[])?;
    check_eq!(create["env"], json!([]));
    check_eq!(start["env"], program["env"]);
    let text = program["env"].to_string();
    check!(text.contains("HOME=/root") && text.contains("TERM=xterm"), "{text}");
    let entry = json!({ "path": "/bin/probe", "env": ["A=1"],
        "args": ["probe", "report", "--out", "/tmp/seen.json"] });
    let s = sandbox()?;
    let out = s.make_dir("out")?;
    for (env, expected) in [(json!(["A=1", "B="]), json!(["A=1", "B="])), (json!([]), json!([]))] {
        let mut entry = entry.clone();
        entry["env"] = env;
        let config = Config::new(EXIT).push("/hooks/startContainer", entry).mount(
            "bind",
            &out,
            "/tmp",
            &["bind", "rw"],
        );
        s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
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
    let config =
        Config::new(&["/bin/probe", "report", "--stat", "/home/made"]).push("/hooks/createContainer", entry);
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
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    Ok(())
}

fn a_hook_inside_does_not_outlive_the_creator() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["sh", "-c", "echo begin; exec \"$@\"", "sh"]);
    let fifo = s.dir().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status()?;
    check!(made.success(), "mkfifo failed");
    // Open for writing too, so that opening waits for nobody.
    let reader = fs::File::options().read(true).write(true).open(&fifo)?;
    let body = format!("echo up > {}; exec sleep 1000", fifo.display());
    let mut entry = hook(&s, "hook", &body)?;
    entry["env"] = json!(["PATH=/usr/bin:/bin"]);
    let config = Config::new(EXIT).without_namespace("pid").push("/hooks/createContainer", entry);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let path = bundle.path().to_string_lossy().into_owned();
    let creator = s.runtime().foreground(&["create", "--bundle", &path, "c1"])?;
    check!(sys::readable(reader.as_fd(), Duration::from_secs(60))?, "the hook did not run");
    let inside = Host::processes_in(s.cgroup_prefix())?;
    check!(inside.len() >= 2, "init and the hook: {inside:?}");
    let pidfds: Vec<_> = inside.into_iter().filter_map(|p| sys::pidfd(p).ok()).collect();
    sys::kill(creator.pid(), SIGKILL)?;
    for pidfd in &pidfds {
        check!(sys::readable(pidfd.as_fd(), Duration::from_secs(60))?, "a process stayed");
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
        start_container_hooks_read_the_state_with_the_pid_inside,
        a_failing_start_container_hook_is_reported_by_start,
        a_long_output_is_cut_in_the_error,
        a_create_container_hook_past_its_timeout_is_killed,
        a_start_container_hook_past_its_timeout_is_killed,
        missing_hooks_inside_are_refused,
        a_start_container_hook_runs_under_the_filter,
        a_start_container_hook_that_the_filter_kills_is_told,
        a_filter_need_not_allow_what_running_a_hook_takes,
        hooks_inside_have_no_descriptors_but_the_standard_ones,
        a_start_container_hook_is_confined_as_the_program_is,
        only_a_start_container_hook_inherits_the_programs_environment,
        mounts_of_a_create_container_hook_are_seen_inside,
        a_hook_inside_that_does_not_read_its_input_does_no_harm,
    ];
    tests.push(oxrun_only(
        "a_hook_inside_does_not_outlive_the_creator",
        "runc notices only when the hook has ended",
        a_hook_inside_does_not_outlive_the_creator,
    ));
    run(tests)
}
