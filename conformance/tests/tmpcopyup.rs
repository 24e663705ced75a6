//! tmpcopyup: a tmpfs takes over what the image has where it goes, whatever the image does about it.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::process::ExitCode;

const ENOENT: i32 = 2;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A container that reports on these paths.
fn stat(paths: &[&str]) -> Config {
    let asked = paths.iter().flat_map(|path| ["--stat", *path]);
    Config::new(&["/bin/probe", "report"].into_iter().chain(asked).collect::<Vec<_>>())
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

fn tmpcopyup_copies_what_the_tmpfs_covers() -> Check {
    let s = sandbox()?;
    let options = &["tmpcopyup", "mode=755"];
    let config = stat(&["/etc/passwd", "/etc/d/file"]).mount("tmpfs", Path::new("tmpfs"), "/etc", options);
    let bundle = s.bundle(&config)?;
    fs::create_dir(bundle.rootfs().join("etc/d"))?;
    fs::write(bundle.rootfs().join("etc/d/file"), "12345")?;
    let report = report_of(&s, &bundle)?;
    check_eq!(mount(&report, "/etc")?["type"], "tmpfs");
    check_eq!(report["stat"]["/etc/d/file"]["size"], 5);
    check_eq!(report["stat"]["/etc/passwd"]["type"], "file");
    Ok(())
}

fn a_tmpfs_with_long_options_takes_over_what_it_covers_too() -> Check {
    let s = sandbox()?;
    // More than fsconfig(2) takes: it goes another way (/mounts/N/options).
    let long = format!("nr_inodes={}200", "0".repeat(300));
    let config =
        stat(&["/etc", "/etc/d/file"]).mount("tmpfs", Path::new("tmpfs"), "/etc", &["tmpcopyup", &long]);
    let bundle = s.bundle(&config)?;
    fs::create_dir(bundle.rootfs().join("etc/d"))?;
    fs::write(bundle.rootfs().join("etc/d/file"), "12345")?;
    fs::set_permissions(bundle.rootfs().join("etc"), fs::Permissions::from_mode(0o751))?;
    let report = report_of(&s, &bundle)?;
    check_eq!(mount(&report, "/etc")?["type"], "tmpfs");
    check_eq!(report["stat"]["/etc/d/file"]["size"], 5);
    check_eq!(report["stat"]["/etc"]["mode"], stat_of_etc(&s)?, "the mode of what is covered");
    Ok(())
}

/// What a report says of the same directory without a mount over it.
fn stat_of_etc(s: &Sandbox) -> Check<Value> {
    let bundle = s.bundle(&stat(&["/etc"]))?;
    fs::set_permissions(bundle.rootfs().join("etc"), fs::Permissions::from_mode(0o751))?;
    Ok(report_of(s, &bundle)?["stat"]["/etc"]["mode"].clone())
}

/// A container with a tmpfs on `/etc` that takes over what the image has there.
fn copied(paths: &[&str], options: &[&str]) -> Config {
    let options = [&["tmpcopyup"], options].concat();
    stat(paths).mount("tmpfs", Path::new("tmpfs"), "/etc", &options)
}

fn tool(words: &[&str], path: &Path, rest: &[&str]) -> Check {
    let mut command = std::process::Command::new(words[0]);
    let status = command.args(&words[1..]).arg(path).args(rest).status()?;
    check!(status.success(), "{words:?} failed");
    Ok(())
}

fn tmpcopyup_keeps_kinds_modes_and_owners() -> Check {
    let s = sandbox()?;
    let names = ["f", "d", "l", "p", "c"].map(|name| format!("/etc/{name}"));
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    let bundle = s.bundle(&copied(&paths, &["ro"]))?;
    let etc = bundle.rootfs().join("etc");
    fs::write(etc.join("f"), "x".repeat(100_000))?;
    chown(etc.join("f"), Some(1000), Some(5))?;
    fs::set_permissions(etc.join("f"), fs::Permissions::from_mode(0o4751))?;
    fs::create_dir(etc.join("d"))?;
    fs::set_permissions(etc.join("d"), fs::Permissions::from_mode(0o1733))?;
    symlink("/no/where", etc.join("l"))?;
    lchown(etc.join("l"), Some(1000), Some(1000))?;
    tool(&["mkfifo", "-m", "640"], &etc.join("p"), &[])?;
    tool(&["mknod", "-m", "620"], &etc.join("c"), &["c", "1", "3"])?;
    let report = report_of(&s, &bundle)?;
    for (name, kind, mode, uid, gid) in [
        ("f", "file", "4751", 1000, 5),
        ("d", "dir", "1733", 0, 0),
        ("l", "link", "0777", 1000, 1000),
        ("p", "fifo", "0640", 0, 0),
        ("c", "char", "0620", 0, 0),
    ] {
        let seen = &report["stat"][format!("/etc/{name}")];
        check_eq!(seen["type"], kind, "{name}");
        check_eq!(seen["mode"], mode, "{name}");
        check_eq!(seen["uid"], uid, "{name}");
        check_eq!(seen["gid"], gid, "{name}");
    }
    check_eq!(report["stat"]["/etc/f"]["size"], 100_000);
    check_eq!(report["stat"]["/etc/l"]["link"], "/no/where");
    check_eq!(report["stat"]["/etc/c"]["rdev"], "1:3");
    let options = mount(&report, "/etc")?["options"].as_array().unwrap();
    check!(options.contains(&"ro".into()), "{options:?}");
    Ok(())
}

fn tmpcopyup_copies_wide_and_deep_trees() -> Check {
    let s = sandbox()?;
    let deep = "/etc".to_owned() + &"/dir".repeat(200);
    let last = deep.clone() + "/file";
    let bundle = s.bundle(&copied(&[&last, "/etc/wide", "/etc/wide/699/file"], &[]))?;
    let rootfs = bundle.rootfs();
    fs::create_dir_all(rootfs.join(&deep[1..]))?;
    fs::write(rootfs.join(&last[1..]), "")?;
    for n in 0..700 {
        let dir = rootfs.join(format!("etc/wide/{n}"));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("file"), "")?;
    }
    let report = report_of(&s, &bundle)?;
    check_eq!(report["stat"][&last]["type"], "file");
    check_eq!(report["stat"]["/etc/wide"]["entries"], 700);
    check_eq!(report["stat"]["/etc/wide/699/file"]["type"], "file");
    Ok(())
}

fn tmpcopyup_that_does_not_fit_names_the_file() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&copied(&[], &["size=16k"]))?;
    let dir = bundle.rootfs().join("etc/d");
    fs::create_dir(&dir)?;
    fs::write(dir.join("big"), "x".repeat(100_000))?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?.refused("no space left on device")?;
    check!(output.says("copying \"d/big\""), "{output}");
    before.assert_same()?;
    let bundle = s.bundle(&copied(&[], &[]))?;
    let deep = "etc".to_owned() + &"/dir".repeat(300);
    fs::create_dir_all(bundle.rootfs().join(deep))?;
    s.runtime().create(bundle.path(), "c1")?.refused("copying \"dir/dir")?;
    before.assert_same()
}

/// Links of the image lead to the host's secret, as long as the host's root is the root.
fn tmpcopyup_follows_no_link() -> Check {
    let s = sandbox()?;
    let host = s.make_dir("host")?;
    fs::write(host.join("secret"), "secret")?;
    let paths = ["/etc/dir", "/etc/dir/secret", "/etc/up", "/etc/magic", "/etc/file"];
    let bundle = s.bundle(&copied(&paths, &[]))?;
    let etc = bundle.rootfs().join("etc");
    symlink(&host, etc.join("dir"))?;
    symlink("../../../host", etc.join("up"))?;
    symlink("/proc/self/fd/0", etc.join("magic"))?;
    symlink(host.join("secret"), etc.join("file"))?;
    let report = report_of(&s, &bundle)?;
    for path in ["/etc/dir", "/etc/up", "/etc/magic", "/etc/file"] {
        check_eq!(report["stat"][path]["type"], "link", "{path}");
    }
    check_eq!(report["stat"]["/etc/dir/secret"]["errno"], ENOENT);
    check_eq!(fs::read_dir(&host)?.count(), 1);
    Ok(())
}

/// Somebody exchanges a directory and a link to the host while it is copied.
fn tmpcopyup_withstands_a_directory_that_becomes_a_link() -> Check {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    let s = sandbox()?;
    let host = s.make_dir("host")?;
    for n in 0..50 {
        fs::write(host.join(format!("secret-{n}")), "secret")?;
    }
    let config = copied(&[], &[]).args(&["/bin/probe", "ls", "/etc/d"]);
    let bundle = s.bundle(&config)?;
    let etc = bundle.rootfs().join("etc");
    fs::create_dir(etc.join("d"))?;
    fs::write(etc.join("d/own"), "")?;
    symlink(&host, etc.join("l"))?;
    let (done, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    let (mut copies, mut links) = (0, 0);
    std::thread::scope(|scope| -> Check {
        scope.spawn(|| {
            let path = |name: &str| etc.join(name);
            while !done.load(Ordering::Relaxed) {
                for (from, to) in [("d", "t"), ("l", "d"), ("d", "l"), ("t", "d")] {
                    let _ = fs::rename(path(from), path(to));
                }
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let runs = (|| -> Check {
            // On until both have been seen, however the two are scheduled.
            for run in 0..2000 {
                if run >= 40 && copies > 0 && links > 0 {
                    break;
                }
                let output = s.runtime().run(bundle.path(), "c1")?;
                check!(!output.stdout.contains("secret"), "what lies on the host was copied: {output}");
                match output.code {
                    0 => copies += 1,
                    _ => links += 1,
                }
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        runs
    })?;
    check!(swaps.load(Ordering::Relaxed) > 40, "nothing was exchanged");
    check!(copies > 0 && links > 0, "{copies} copies, {links} links");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        tmpcopyup_copies_what_the_tmpfs_covers,
        a_tmpfs_with_long_options_takes_over_what_it_covers_too,
        tmpcopyup_keeps_kinds_modes_and_owners,
        tmpcopyup_copies_wide_and_deep_trees,
        tmpcopyup_that_does_not_fit_names_the_file,
        tmpcopyup_follows_no_link,
        tmpcopyup_withstands_a_directory_that_becomes_a_link,
    ])
}
