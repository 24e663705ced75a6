//! The harness itself: what a bad runtime leaves behind must be noticed and removed. Each runtime
//! here is a shell script with one fault.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, guarded, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// A runtime that is a shell script; the script goes with the value.
struct Script(PathBuf);

impl Script {
    fn new(body: &str) -> Check<Self> {
        let path = std::env::temp_dir().join(format!("oxrun-script-{}", std::process::id()));
        fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sandbox(script: &Script) -> Check<Sandbox> {
    Sandbox::with_runtime(env!("CARGO_BIN_EXE_oxrun-probe"), &script.0)
}

/// Calls a runtime that does `body` in a sandbox, and returns what was reported and where.
fn report_of(body: &str) -> Check<(String, PathBuf)> {
    let script = Script::new(body)?;
    let place = RefCell::new(PathBuf::new());
    let result = guarded(|| {
        let s = sandbox(&script)?;
        place.replace(s.dir().to_owned());
        s.runtime().call(&["faulty", s.cgroup_prefix(), &s.dir().to_string_lossy()])?.success()
    });
    let failed = result.err().ok_or("nothing was reported")?;
    Ok((failed.message().unwrap_or_default().to_owned(), place.into_inner()))
}

// The script's words are: --root ROOT faulty PREFIX DIRECTORY.

fn a_good_runtime_is_not_blamed() -> Check {
    let script = Script::new("exit 0")?;
    guarded(|| sandbox(&script)?.runtime().call(&["good"])?.success()).map(drop)
}

fn a_cgroup_left_behind_is_reported_and_removed() -> Check {
    let root = Host::cgroup_roots()?.into_iter().next().ok_or("there is no cgroup hierarchy")?;
    let body = format!("mkdir -p {}/$4x/inner", root.display());
    let (message, place) = report_of(&body)?;
    check!(message.contains("new cgroup"), "{message}");
    let name = place.file_name().unwrap().to_string_lossy().into_owned();
    check_eq!(Host::cgroups(&name)?.len(), 0, "cgroups that are still there");
    Ok(())
}

fn a_mount_left_behind_is_reported_and_removed() -> Check {
    let (message, place) = report_of("mkdir $5/m && mount -t tmpfs none $5/m")?;
    check!(message.contains("new mount"), "{message}");
    check!(!place.exists(), "{} is still there", place.display());
    check_eq!(Host::mounts_below(&place)?.len(), 0, "mounts that are still there");
    Ok(())
}

fn a_bind_mount_left_behind_does_not_cost_files() -> Check {
    let kept = std::env::temp_dir().join(format!("oxrun-kept-{}", std::process::id()));
    fs::create_dir_all(&kept)?;
    fs::write(kept.join("file"), "")?;
    let body = format!("mkdir $5/m && mount --bind {} $5/m", kept.display());
    let result = report_of(&body);
    let survived = kept.join("file").exists();
    fs::remove_dir_all(&kept)?;
    let (message, _) = result?;
    check!(message.contains("new mount"), "{message}");
    check!(survived, "the file behind the bind mount was removed");
    Ok(())
}

fn a_process_left_behind_is_reported_and_killed() -> Check {
    let before = Host::children()?;
    let (message, _) = report_of("sleep 1000 > /dev/null & exit 0")?;
    check!(message.contains("new process"), "{message}");
    check_eq!(Host::children()?, before, "children afterwards");
    Ok(())
}

fn a_state_directory_left_behind_is_reported() -> Check {
    let (message, place) = report_of("mkdir -p $2/left")?;
    check!(message.contains("new state directory"), "{message}");
    check!(!place.exists(), "{} is still there", place.display());
    Ok(())
}

fn a_runtime_that_hangs_is_killed_and_reported() -> Check {
    let script = Script::new("mkfifo $5/fifo; exec cat $5/fifo")?;
    let failed = guarded(|| {
        let mut s = sandbox(&script)?;
        s.runtime_mut().limit(Duration::from_secs(1));
        s.runtime().call(&["hang", s.cgroup_prefix(), &s.dir().to_string_lossy()])
    });
    let failed = failed.err().ok_or("nothing was reported")?;
    let message = failed.message().unwrap_or_default();
    check!(message.contains("did not end in 1s and was killed"), "{message}");
    check!(!message.contains("left behind"), "{message}");
    Ok(())
}

fn a_sandbox_is_removed_when_a_test_panics() -> Check {
    let script = Script::new("exit 0")?;
    let place = RefCell::new(PathBuf::new());
    let body = std::panic::AssertUnwindSafe(|| {
        let s = sandbox(&script).unwrap_or_else(|_| panic!("no sandbox"));
        place.replace(s.dir().to_owned());
        panic!("on purpose");
    });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(body);
    std::panic::set_hook(hook);
    check!(result.is_err(), "the body did not panic");
    let place = place.into_inner();
    check!(place.is_absolute() && !place.exists(), "{} is still there", place.display());
    Ok(())
}

fn editing_by_pointer_changes_just_that_place() -> Check {
    let config = Config::new(&["a"])
        .set("/process/user/umask", 7)
        .set("/process/args/0", "b")
        .set("/linux/sysctl/net.x~1y", "1")
        .push("/hooks/prestart", "h")
        .mount("bind", Path::new("/s"), "/d", &["ro"])
        .remove("/process/rlimits");
    check_eq!(*config.get("/process/user/umask"), 7);
    check_eq!(*config.get("/process/args"), serde_json::json!(["b"]));
    check_eq!(*config.get("/linux/sysctl"), serde_json::json!({ "net.x/y": "1" }));
    check_eq!(*config.get("/hooks/prestart"), serde_json::json!(["h"]));
    check_eq!(config.mount_index("/d"), Some(7));
    check_eq!(*config.get("/process/rlimits"), serde_json::Value::Null);
    Ok(())
}

fn a_field_is_taken_out_wherever_it_stands() -> Check {
    let config = Config::parse(
        r#"{"a":{"x":1,"y":"word"},"list":[{"type":"p","n":1},{"type":"q","n":2}],
            "mounts":[{"options":["ro","size=5"]},{"options":["rw"]},{}]}"#,
    )?;
    for (field, places, left) in [
        ("/a/x", &["/a/x"][..], json!({ "a": { "y": "word" } })),
        ("/a/y/word", &["/a/y"], json!({ "a": { "x": 1 } })),
        ("/a/y/other", &[], json!({})),
        ("/nope/x", &[], json!({})),
        ("/list/type=q", &["/list/1"], json!({ "list": [{ "type": "p", "n": 1 }] })),
        ("/list/*/n", &["/list/0/n", "/list/1/n"], json!({ "list": [{ "type": "p" }, { "type": "q" }] })),
        (
            "/mounts/*/options/ro",
            &["/mounts/0/options"],
            json!({ "mounts": [{ "options": ["size=5"] }, { "options": ["rw"] }, {}] }),
        ),
        (
            "/mounts/*/options/size=",
            &["/mounts/0/options"],
            json!({ "mounts": [{ "options": ["ro"] }, { "options": ["rw"] }, {}] }),
        ),
    ] {
        check_eq!(config.places(field), places, "{field}");
        let mut expected = config.get("").clone();
        left.as_object().unwrap().iter().for_each(|(key, value)| expected[key] = value.clone());
        check_eq!(*config.clone().without_field(field, None).get(""), expected, "{field}");
    }
    let other = config.without_field("/list/*/n", Some(&json!(7)));
    check_eq!((other.get("/list/0/n"), other.get("/list/1/n")), (&json!(7), &json!(7)));
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        a_good_runtime_is_not_blamed,
        a_cgroup_left_behind_is_reported_and_removed,
        a_mount_left_behind_is_reported_and_removed,
        a_bind_mount_left_behind_does_not_cost_files,
        a_process_left_behind_is_reported_and_killed,
        a_state_directory_left_behind_is_reported,
        a_runtime_that_hangs_is_killed_and_reported,
        a_sandbox_is_removed_when_a_test_panics,
        editing_by_pointer_changes_just_that_place,
        a_field_is_taken_out_wherever_it_stands,
    ])
}
