//! Ids, the home directory and preserved descriptors: what would make the program somebody else, or
//! hand it what is not the caller's, is refused, and no file of an image is read without an end.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

const REPORT: &[&str] = &["/bin/probe", "report"];
/// To the kernel the first one means "leave it as it is"; neither is an id.
const NO_IDS: [u32; 2] = [u32::MAX, 1 << 31];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// No container comes of a configuration; the error names `pointer`.
fn refuses(config: &Config, pointer: &str) -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused(pointer)?;
    before.assert_same()
}

fn a_number_that_is_no_user_is_refused() -> Check {
    for id in NO_IDS {
        let user = json!({ "uid": id, "gid": 0 });
        let config = Config::new(REPORT).set("/process/user", user);
        refuses(&config, "/process/user/uid")?;
    }
    Ok(())
}

fn a_number_that_is_no_group_is_refused() -> Check {
    for id in NO_IDS {
        let user = json!({ "uid": 0, "gid": id });
        let config = Config::new(REPORT).set("/process/user", user);
        refuses(&config, "/process/user/gid")?;
        let user = json!({ "uid": 0, "gid": 0, "additionalGids": [5, id] });
        let config = Config::new(REPORT).set("/process/user", user);
        refuses(&config, "/process/user/additionalGids/1")?;
    }
    Ok(())
}

fn a_number_that_is_no_owner_of_a_device_is_refused() -> Check {
    for (key, id) in NO_IDS.into_iter().flat_map(|id| [("uid", id), ("gid", id)]) {
        let device = json!({ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, key: id });
        let config = Config::new(REPORT).push("/linux/devices", device);
        refuses(&config, &format!("/linux/devices/0/{key}"))?;
    }
    Ok(())
}

fn the_largest_ids_are_taken() -> Check {
    let id = i32::MAX;
    let user = json!({ "uid": id, "gid": id, "additionalGids": [id] });
    let seen = sandbox()?.report(&Config::new(REPORT).set("/process/user", user))?;
    check_eq!(seen["uids"], json!([id, id, id]));
    check_eq!(seen["gids"], json!([id, id, id]));
    check_eq!(seen["groups"], json!([id]));
    Ok(())
}

/// The home of root in an image whose passwd file is made by `make`. A runtime that reads on and on
/// is killed.
fn home(make: fn(&Path) -> Check) -> Check<String> {
    let mut s = sandbox()?;
    s.runtime_mut().limit(Duration::from_secs(60));
    let bundle: Bundle = s.bundle(&Config::new(REPORT))?;
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&passwd)?;
    make(&passwd)?;
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    let env = seen["env"].as_array().unwrap();
    let home = env.iter().filter_map(Value::as_str).find_map(|entry| entry.strip_prefix("HOME="));
    Ok(home.unwrap_or("none").to_owned())
}

fn a_passwd_file_of_a_terabyte_is_not_read_to_its_end() -> Check {
    let home = home(|path| Ok(fs::File::create(path)?.set_len(1 << 40)?))?;
    check_eq!(home, "/");
    Ok(())
}

fn a_passwd_file_without_an_end_is_not_read_on_and_on() -> Check {
    let home = home(|path| Ok(symlink("/proc/self/pagemap", path)?))?;
    check_eq!(home, "/");
    Ok(())
}

fn a_passwd_file_that_is_a_fifo_is_not_waited_for() -> Check {
    let home = home(|path| {
        let made = Command::new("mkfifo").arg(path).status()?;
        check!(made.success(), "mkfifo failed");
        Ok(())
    })?;
    check_eq!(home, "/");
    Ok(())
}

/// The caller has nothing but the standard descriptors: whatever has a higher number is the
/// runtime's own.
fn a_descriptor_of_the_runtime_itself_is_not_preserved() -> Check {
    let mut s = sandbox()?;
    let close: String = (3..10).map(|number| format!("{number}<&- ")).collect();
    let script = format!("exec {close}; exec \"$@\"");
    s.runtime_mut().wrap(&["sh", "-c", &script, "sh"]);
    let bundle = s.bundle(&Config::new(REPORT))?;
    let path = bundle.path().to_string_lossy();
    for (command, count) in
        ["create", "run"].into_iter().flat_map(|command| ["1", "2", "5"].map(|count| (command, count)))
    {
        let before = s.leaks()?;
        let words = [command, "--preserve-fds", count, "--bundle", &path, "c1"];
        s.runtime().call(&words)?.refused("unable to stat preserved-fd 3")?;
        before.assert_same()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        the_largest_ids_are_taken,
        a_passwd_file_of_a_terabyte_is_not_read_to_its_end,
        a_passwd_file_without_an_end_is_not_read_on_and_on,
        a_passwd_file_that_is_a_fifo_is_not_waited_for,
        a_descriptor_of_the_runtime_itself_is_not_preserved,
    ];
    tests.extend([
        oxrun_only(
            "a_number_that_is_no_user_is_refused",
            "others name no field of the configuration",
            a_number_that_is_no_user_is_refused,
        ),
        oxrun_only(
            "a_number_that_is_no_group_is_refused",
            "others name no field of the configuration",
            a_number_that_is_no_group_is_refused,
        ),
        oxrun_only(
            "a_number_that_is_no_owner_of_a_device_is_refused",
            "others name no field of the configuration",
            a_number_that_is_no_owner_of_a_device_is_refused,
        ),
    ]);
    run(tests)
}
