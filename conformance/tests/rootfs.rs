//! The root that the program finds: its propagation, masks, read-only paths and devices.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A container that reports on these paths.
fn stat(paths: &[&str]) -> Config {
    let asked = paths.iter().flat_map(|path| ["--stat", *path]);
    Config::new(&REPORT.iter().copied().chain(asked).collect::<Vec<_>>())
}

fn report_of(s: &Sandbox, bundle: &Bundle) -> Check<Value> {
    s.runtime().run(bundle.path(), "c1")?.success()?.json()
}

/// The uppermost mount on `target`.
fn mount<'a>(report: &'a Value, target: &str) -> Check<&'a Value> {
    let mounts = report["mounts"].as_array().unwrap();
    let found = mounts.iter().rev().find(|mount| mount["target"] == target);
    found.ok_or_else(|| format!("nothing is mounted on {target}").into())
}

fn has_options(mount: &Value, key: &str, present: &[&str], absent: &[&str]) -> Check {
    let options = mount[key].as_array().unwrap();
    for option in present {
        check!(options.contains(&json!(option)), "{option} is not among {options:?}");
    }
    for option in absent {
        check!(!options.contains(&json!(option)), "{option} is among {options:?}");
    }
    Ok(())
}

fn masked_files_are_the_null_device() -> Check {
    let s = sandbox()?;
    let config = stat(&["/proc/interrupts", "/etc/passwd"])
        .set("/linux/maskedPaths", json!(["/proc/interrupts", "/etc/passwd"]));
    let report = s.report(&config)?;
    for path in ["/proc/interrupts", "/etc/passwd"] {
        let seen = &report["stat"][path];
        check_eq!((&seen["type"], &seen["rdev"]), (&json!("char"), &json!("1:3")), "{path}");
    }
    Ok(())
}

/// What covers the file may be the host's own device: its mode must not be the container's to change.
fn the_hosts_null_device_cannot_be_changed_through_a_masked_file() -> Check {
    let s = sandbox()?;
    let changed = || fs::metadata("/dev/null").map(|m| (m.ctime(), m.ctime_nsec()));
    let before = changed()?;
    let own = format!("{:o}", fs::metadata("/dev/null")?.mode() & 0o7777);
    let config = Config::new(&["/bin/probe", "chmod", "/proc/interrupts", &own])
        .set("/linux/maskedPaths", json!(["/proc/interrupts"]));
    // Refusing it is as good as changing something of the container's own.
    let _ = s.runtime().run(s.bundle(&config)?.path(), "c1")?;
    check_eq!(changed()?, before, "the time of the last change of the host's null device");
    Ok(())
}

fn masked_files_can_be_written_to() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "report", "--open", "/proc/interrupts:w"])
        .set("/linux/maskedPaths", json!(["/proc/interrupts"]));
    check_eq!(s.report(&config)?["open"]["/proc/interrupts:w"], "ok");
    Ok(())
}

fn masked_directories_are_empty_and_read_only() -> Check {
    let s = sandbox()?;
    let config = Config::new(&[
        "/bin/probe",
        "report",
        "--stat",
        "/etc/d",
        "--stat",
        "/sys/firmware",
        "--open",
        "/etc/d/x:c",
    ]);
    let config =
        config.set("/linux/maskedPaths", json!(["/etc/d", "/sys/firmware"])).set("/root/readonly", false);
    let bundle = s.bundle(&config)?;
    fs::create_dir(bundle.rootfs().join("etc/d"))?;
    fs::write(bundle.rootfs().join("etc/d/secret"), "")?;
    let report = report_of(&s, &bundle)?;
    for path in ["/etc/d", "/sys/firmware"] {
        let seen = &report["stat"][path];
        check_eq!((&seen["type"], &seen["entries"]), (&json!("dir"), &json!(0)), "{path}");
        check_eq!(seen["readonly"], true, "{path} is read-only");
    }
    check_eq!(report["open"]["/etc/d/x:c"], libc::EROFS);
    Ok(())
}

fn missing_masked_and_read_only_paths_do_not_matter() -> Check {
    let config = Config::new(REPORT)
        .set("/linux/maskedPaths", json!(["/no/such"]))
        .set("/linux/readonlyPaths", json!(["/no/such"]));
    sandbox()?.report(&config).map(drop)
}

fn read_only_paths_refuse_writes_and_their_neighbours_do_not() -> Check {
    let s = sandbox()?;
    let words = [
        "/bin/probe",
        "report",
        "--open",
        "/proc/sys/kernel/hostname:w",
        "--open",
        "/etc/d/x:c",
        "--open",
        "/etc/x:c",
    ];
    let config = Config::new(&words)
        .set("/linux/readonlyPaths", json!(["/proc/sys", "/etc/d"]))
        .set("/root/readonly", false);
    let bundle = s.bundle(&config)?;
    fs::create_dir(bundle.rootfs().join("etc/d"))?;
    let report = report_of(&s, &bundle)?;
    check_eq!(report["open"]["/proc/sys/kernel/hostname:w"], libc::EROFS);
    check_eq!(report["open"]["/etc/d/x:c"], libc::EROFS);
    check_eq!(report["open"]["/etc/x:c"], "ok");
    Ok(())
}

fn read_only_paths_keep_the_flags_of_their_mount() -> Check {
    let config = Config::new(REPORT)
        .set("/mounts/0/options", json!(["nosuid", "noexec", "nodev"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]));
    let report = sandbox()?.report(&config)?;
    has_options(mount(&report, "/proc/sys")?, "options", &["ro", "nosuid", "noexec", "nodev"], &[])
}

fn the_root_is_read_only_or_writable_as_configured() -> Check {
    for (readonly, expected) in [(true, json!(libc::EROFS)), (false, json!("ok"))] {
        let config = Config::new(&["/bin/probe", "report", "--open", "/new:c"]);
        let report = sandbox()?.report(&config.set("/root/readonly", readonly))?;
        check_eq!(report["open"]["/new:c"], expected, "readonly {readonly}");
    }
    Ok(())
}

fn nothing_of_the_hosts_root_is_visible() -> Check {
    let s = sandbox()?;
    let report = s.report(&Config::new(REPORT))?;
    let expected = ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp"];
    check_eq!(report["root"], json!(expected));
    for mount in report["mounts"].as_array().unwrap() {
        let target = mount["target"].as_str().unwrap_or_default();
        check!(!target.starts_with(&*s.dir().to_string_lossy()), "{mount} is visible");
    }
    Ok(())
}

fn the_default_devices_are_there() -> Check {
    let devices = [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ];
    let paths: Vec<String> = devices.iter().map(|(name, _)| format!("/dev/{name}")).collect();
    let report = sandbox()?.report(&stat(&paths.iter().map(String::as_str).collect::<Vec<_>>()))?;
    for (path, (_, rdev)) in paths.iter().zip(devices) {
        let seen = &report["stat"][path];
        check_eq!(
            (&seen["type"], &seen["rdev"], &seen["mode"]),
            (&json!("char"), &json!(rdev), &json!("0666")),
            "{path}"
        );
        check_eq!((&seen["uid"], &seen["gid"]), (&json!(0), &json!(0)), "owner of {path}");
    }
    Ok(())
}

fn the_default_links_are_there() -> Check {
    let mut links = vec![
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    if Path::new("/proc/kcore").exists() {
        links.push(("/dev/core", "/proc/kcore"));
    }
    let paths: Vec<&str> = links.iter().map(|(path, _)| *path).collect();
    let report = sandbox()?.report(&stat(&paths))?;
    for (path, target) in links {
        check_eq!(report["stat"][path]["link"], target, "{path}");
    }
    Ok(())
}

fn the_device_rules_let_the_default_devices_through() -> Check {
    let words = [
        "/bin/probe",
        "report",
        "--open",
        "/dev/null:rw",
        "--open",
        "/dev/urandom:r",
        "--open",
        "/dev/ptmx:rw",
        "--open",
        "/dev/forbidden:r",
    ];
    // 1:1 is /dev/mem, which is not among the defaults.
    let device = json!({ "type": "c", "path": "/dev/forbidden", "major": 1, "minor": 1 });
    let report = sandbox()?.report(&Config::new(&words).push("/linux/devices", device))?;
    check_eq!(report["open"]["/dev/null:rw"], "ok");
    check_eq!(report["open"]["/dev/urandom:r"], "ok");
    check_eq!(report["open"]["/dev/ptmx:rw"], "ok");
    check_eq!(report["open"]["/dev/forbidden:r"], libc::EPERM);
    Ok(())
}

fn listed_devices_are_made() -> Check {
    let config = stat(&["/dev/d/char", "/dev/fifo", "/dev/block", "/dev/unbuffered"]).set(
        "/linux/devices",
        json!([
            { "type": "c", "path": "/dev/d/char", "major": 1, "minor": 3, "fileMode": 0o640,
              "uid": 7, "gid": 8 },
            { "type": "p", "path": "/dev/fifo", "fileMode": 0o600 },
            { "type": "b", "path": "/dev/block", "major": 7, "minor": 200 },
            { "type": "u", "path": "/dev/unbuffered", "major": 1, "minor": 5 },
        ]),
    );
    let report = sandbox()?.report(&config)?;
    let char = &report["stat"]["/dev/d/char"];
    check_eq!((&char["type"], &char["rdev"]), (&json!("char"), &json!("1:3")));
    check_eq!((&char["mode"], &char["uid"], &char["gid"]), (&json!("0640"), &json!(7), &json!(8)));
    check_eq!(report["stat"]["/dev/fifo"]["type"], "fifo");
    check_eq!(report["stat"]["/dev/fifo"]["mode"], "0600");
    let block = &report["stat"]["/dev/block"];
    check_eq!((&block["type"], &block["rdev"]), (&json!("block"), &json!("7:200")));
    let unbuffered = &report["stat"]["/dev/unbuffered"];
    check_eq!((&unbuffered["type"], &unbuffered["rdev"]), (&json!("char"), &json!("1:5")));
    Ok(())
}

/// How the root of a container is tied to others when it comes from a shared mount of the host.
fn root_tags(propagation: &str) -> Check<String> {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT).set("/linux/rootfsPropagation", propagation))?;
    let root = bundle.rootfs();
    sys::mount(&root, &root, "", libc::MS_BIND)?;
    let report =
        sys::propagation(&root, libc::MS_SHARED).map_err(Into::into).and_then(|()| report_of(&s, &bundle));
    sys::unmount(&root)?;
    Ok(mount(&report?, "/")?["tags"].to_string())
}

fn the_root_is_private_if_asked_for() -> Check {
    check_eq!(root_tags("private")?, "[]");
    Ok(())
}

fn the_root_is_shared_if_asked_for() -> Check {
    let tags = root_tags("shared")?;
    check!(tags.contains("shared:"), "propagation is {tags}");
    Ok(())
}

fn the_root_is_a_slave_if_asked_for() -> Check {
    let tags = root_tags("slave")?;
    check!(tags.contains("master:") && !tags.contains("shared:"), "propagation is {tags}");
    // So it is without a word: mounts of the container never reach the host.
    let tags = root_tags("")?;
    check!(tags.contains("master:") && !tags.contains("shared:"), "propagation is {tags} without a word");
    Ok(())
}

fn the_root_is_unbindable_if_asked_for() -> Check {
    let tags = root_tags("unbindable")?;
    check!(tags.contains("unbindable"), "propagation is {tags}");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        masked_files_are_the_null_device,
        the_hosts_null_device_cannot_be_changed_through_a_masked_file,
        masked_files_can_be_written_to,
        masked_directories_are_empty_and_read_only,
        missing_masked_and_read_only_paths_do_not_matter,
        read_only_paths_refuse_writes_and_their_neighbours_do_not,
        read_only_paths_keep_the_flags_of_their_mount,
        the_root_is_read_only_or_writable_as_configured,
        nothing_of_the_hosts_root_is_visible,
        the_default_devices_are_there,
        the_default_links_are_there,
        the_device_rules_let_the_default_devices_through,
        listed_devices_are_made,
        the_root_is_private_if_asked_for,
        the_root_is_shared_if_asked_for,
        the_root_is_a_slave_if_asked_for,
        the_root_is_unbindable_if_asked_for,
    ])
}
