//! Places for mounts and for the working directory: /proc is kept for procfs, and what has to be made
//! is made inside.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn a_bind_inside_proc_is_refused() -> Check {
    for target in ["/proc/sys", "/proc/self/attr", "/proc/sys/kernel", "/proc/x/../sys"] {
        let s = sandbox()?;
        let source = s.make_dir("source")?;
        let config = Config::new(REPORT).mount("bind", &source, target, &["bind"]);
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        s.runtime().create(bundle.path(), "c1")?.refused("cannot be mounted because it is inside /proc")?;
        before.assert_same()?;
    }
    Ok(())
}

fn a_bind_of_an_ordinary_directory_over_proc_is_refused() -> Check {
    for kept in [true, false] {
        let s = sandbox()?;
        let source = s.make_dir("source")?;
        let config = Config::new(REPORT);
        let config = if kept { config } else { config.without_mount("/proc") };
        let config = config.remove("/linux/maskedPaths").remove("/linux/readonlyPaths").mount(
            "bind",
            &source,
            "/proc",
            &["bind"],
        );
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        s.runtime().create(bundle.path(), "c1")?.refused("not of type proc")?;
        before.assert_same()?;
    }
    Ok(())
}

fn a_file_over_one_of_procs_figures_is_taken() -> Check {
    let s = sandbox()?;
    let source = s.make_file("uptime", "1.00 2.00\n")?;
    let config =
        Config::new(&["/bin/probe", "cat", "/proc/uptime"]).mount("bind", &source, "/proc/uptime", &["bind"]);
    let bundle = s.bundle(&config)?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.stdout, "1.00 2.00\n");
    Ok(())
}

fn a_missing_working_directory_is_made_in_a_read_only_root() -> Check {
    let s = sandbox()?;
    let words = ["/bin/probe", "report", "--stat", "/new/below"];
    let config = Config::new(&words).set("/process/cwd", "/new/below").set("/root/readonly", true);
    let seen = s.report(&config)?;
    check_eq!(seen["cwd"], "/new/below");
    check_eq!(seen["stat"]["/new/below"]["readonly"], true);
    Ok(())
}

/// Binds a directory on `destination` of an image in which `link` leads to `target`, and returns
/// where the mount is and what the image then has below `made`.
fn bound_through(link: &str, target: &str, destination: &str, made: &str) -> Check<(String, bool)> {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let config =
        Config::new(REPORT).set("/root/readonly", false).mount("bind", &source, destination, &["bind"]);
    let bundle = s.bundle(&config)?;
    symlink(target, bundle.rootfs().join(link))?;
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    let mounts = seen["mounts"].as_array().unwrap();
    let root = source.to_string_lossy().into_owned();
    let mount =
        mounts.iter().find(|mount| mount["root"].as_str().is_some_and(|r| root.ends_with(r) && r.len() > 1));
    check!(mount.is_some(), "nothing is bound: {}", Value::from(mounts.clone()));
    let place = mount.unwrap()["target"].as_str().unwrap().to_owned();
    let inside = bundle.rootfs().join(made);
    Ok((place, fs::symlink_metadata(inside).is_ok_and(|meta| meta.is_dir())))
}

fn a_destination_behind_a_dangling_link_is_made_inside() -> Check {
    for (target, destination, expected) in [
        ("made/here", "/link", "/made/here"),
        ("made/./here", "/link/below", "/made/here/below"),
        ("./made/here/.", "/link/below", "/made/here/below"),
        ("made/y/../z", "/link", "/made/z"),
        ("/made/y/../z", "/link/below", "/made/z/below"),
        ("nope/../../../made", "/link", "/made"),
        ("/nope/../../made/x", "/link/below", "/made/x/below"),
    ] {
        let made = expected.trim_start_matches('/');
        let found = bound_through("link", target, destination, made)?;
        check_eq!(found, (expected.to_owned(), true), "a bind on {destination}, the link leads to {target}");
    }
    Ok(())
}

fn a_file_is_bound_through_a_dangling_link() -> Check {
    let s = sandbox()?;
    let source = s.make_file("source", "content\n")?;
    let words = ["/bin/probe", "report", "--stat", "/tmp/foo/bar/baz/hosts"];
    let config =
        Config::new(&words).set("/root/readonly", false).mount("bind", &source, "/etc/hosts", &["bind"]);
    let bundle = s.bundle(&config)?;
    symlink("/tmp/foo/bar", bundle.rootfs().join("jump"))?;
    symlink("/jump/baz/hosts", bundle.rootfs().join("etc/hosts"))?;
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    check_eq!(seen["stat"]["/tmp/foo/bar/baz/hosts"]["size"], 8);
    // What was made for it in the image is an empty file.
    let made = bundle.rootfs().join("tmp/foo/bar/baz/hosts");
    check_eq!(fs::metadata(&made)?.permissions().mode() & 0o7777, 0o644);
    check_eq!(fs::read_to_string(made)?, "");
    Ok(())
}

fn what_is_made_in_a_setgid_directory_has_its_group() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).mount("tmpfs", Path::new("tmpfs"), "/team/a/b/c", &["ro"]);
    let bundle = s.bundle(&config)?;
    let team = bundle.rootfs().join("team");
    fs::create_dir(&team)?;
    std::os::unix::fs::chown(&team, None, Some(77))?;
    fs::set_permissions(&team, fs::Permissions::from_mode(0o7755))?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    for (path, mode) in [("", 0o7755), ("a", 0o2755), ("a/b", 0o2755), ("a/b/c", 0o2755)] {
        let meta = fs::metadata(team.join(path))?;
        check_eq!((meta.permissions().mode() & 0o7777, meta.gid()), (mode, 77), "of team/{path}");
    }
    Ok(())
}

/// Mounts built from each other: sources in the container's own tree, some through links, and destinations
/// given as host paths of the root.
fn a_source_may_be_made_by_earlier_mounts() -> Check {
    let s = sandbox()?;
    for (dir, sub) in [("a", "x"), ("b", "y"), ("c", "z")] {
        s.make_dir(&format!("source/{dir}/{sub}"))?;
        s.make_file(&format!("source/{dir}/{sub}/file"), &format!("{dir}/{sub}"))?;
        symlink(dir, s.dir().join(format!("source/to-{dir}")))?;
    }
    let words = ["/bin/probe", "cat", "/final/x/y/z/z/x/y/z/x/file"];
    let bundle = s.bundle(&Config::new(&words))?;
    let root = bundle.rootfs();
    let source = s.dir().join("source");
    let mut config = Config::new(&words).set("/linux/cgroupsPath", format!("/{}own", s.cgroup_prefix()));
    for (from, to) in [
        (source.join("a"), Path::new("/mnt").to_owned()),
        (source.join("to-b"), "/mnt/x".into()),
        (source.join("c"), "/mnt/x/y".into()),
        (source.join("to-a"), "/mnt/x/y/z".into()),
        (root.join("mnt/x"), root.join("mnt/x/y/z/x")),
        (root.join("mnt/x/y"), root.join("mnt/x/y/z")),
        (root.join("mnt"), root.join("final")),
    ] {
        config = config.mount("bind", &from, &to.to_string_lossy(), &["rbind", "rprivate"]);
    }
    bundle.write(config.text())?;
    check_eq!(s.runtime().run(bundle.path(), "c1")?.success()?.stdout, "a/x");
    Ok(())
}

fn a_source_that_only_root_may_read_is_bound_for_a_user() -> Check {
    let s = sandbox()?;
    let closed = s.make_dir("closed")?;
    s.make_file("closed/file", "secret")?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
    let config = Config::new(&["/bin/probe", "cat", "/file"])
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .mount("bind", &closed.join("file"), "/file", &["bind", "ro"]);
    check_eq!(s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?.stdout, "secret");
    Ok(())
}

fn many_mounts_need_few_descriptors() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["sh", "-c", "ulimit -Sn 20; exec \"$@\"", "sh"]);
    let source = s.make_dir("source")?;
    let mut config = Config::new(REPORT).remove("/process/rlimits");
    for n in 0..60 {
        config = config.mount("bind", &source, &format!("/data/{n}"), &["rbind", "ro"]);
    }
    let seen = s.report(&config)?;
    let mounts = seen["mounts"].as_array().unwrap();
    let bound = mounts.iter().filter(|m| m["target"].as_str().is_some_and(|t| t.starts_with("/data/")));
    check_eq!(bound.count(), 60);
    Ok(())
}

fn a_relative_destination_is_taken_from_the_root() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let words = ["/bin/probe", "report", "--stat", "/a/b"];
    let config = Config::new(&words).mount("bind", &source, "a/b", &["bind", "ro"]);
    let bundle = s.bundle(&config)?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.json()?["stat"]["/a/b"]["readonly"], true);
    check!(output.stderr.contains("not absolute") || !s.runtime().is_oxrun(), "no warning: {output}");
    Ok(())
}

fn a_read_only_dev_still_gets_its_devices() -> Check {
    let words = ["/bin/probe", "report", "--stat", "/dev/null", "--stat", "/dev"];
    let mut config = Config::new(&words);
    let index = config.mount_index("/dev").unwrap();
    config = config.push(&format!("/mounts/{index}/options"), "ro");
    let seen = sandbox()?.report(&config)?;
    check_eq!(seen["stat"]["/dev/null"]["rdev"], "1:3");
    check_eq!(seen["stat"]["/dev"]["readonly"], true);
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        a_bind_inside_proc_is_refused,
        a_bind_of_an_ordinary_directory_over_proc_is_refused,
        a_file_over_one_of_procs_figures_is_taken,
        a_missing_working_directory_is_made_in_a_read_only_root,
        a_destination_behind_a_dangling_link_is_made_inside,
        a_file_is_bound_through_a_dangling_link,
        what_is_made_in_a_setgid_directory_has_its_group,
        a_source_may_be_made_by_earlier_mounts,
        a_source_that_only_root_may_read_is_bound_for_a_user,
        many_mounts_need_few_descriptors,
        a_relative_destination_is_taken_from_the_root,
        a_read_only_dev_still_gets_its_devices,
    ])
}
