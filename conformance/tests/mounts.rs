//! The filesystem that the program finds: mounts with their flags, devices, masks, and the root.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
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

/// A mount in the test's own namespace.
struct HostMount(PathBuf);

impl HostMount {
    fn tmpfs(target: &Path) -> Check<Self> {
        sys::mount(Path::new("oxrun-test"), target, "tmpfs", 0)?;
        Ok(Self(target.to_owned()))
    }

    /// A bind of a directory on itself, to be shared with its copies.
    fn shared(target: &Path) -> Check<Self> {
        sys::mount(target, target, "", libc::MS_BIND)?;
        let mount = Self(target.to_owned());
        sys::propagation(target, libc::MS_SHARED)?;
        Ok(mount)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

fn the_default_filesystems_have_their_flags() -> Check {
    let report = sandbox()?.report(&Config::new(REPORT))?;
    let restricted = &["nosuid", "noexec", "nodev"][..];
    let plain = &["rw", "relatime"][..];
    for (target, kind, present, absent) in [
        ("/proc", "proc", plain, restricted),
        ("/dev", "tmpfs", &["rw", "nosuid"], &["noexec", "nodev", "relatime", "noatime"]),
        ("/dev/pts", "devpts", &["rw", "nosuid", "noexec"], &["nodev"]),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "noexec", "nodev"], &[]),
        ("/dev/mqueue", "mqueue", &["rw", "nosuid", "noexec", "nodev"], &[]),
        ("/sys", "sysfs", &["ro", "nosuid", "noexec", "nodev"], &[]),
    ] {
        let mount = mount(&report, target)?;
        check_eq!(mount["type"], kind, "type of {target}");
        has_options(mount, "options", present, absent)?;
    }
    has_options(mount(&report, "/dev")?, "super", &["mode=755", "size=65536k"], &[])?;
    has_options(mount(&report, "/dev/shm")?, "super", &["size=65536k"], &[])?;
    has_options(mount(&report, "/dev/pts")?, "super", &["gid=5", "mode=620", "ptmxmode=666"], &[])
}

fn mounts_keep_the_order_of_the_configuration() -> Check {
    let report = sandbox()?.report(&Config::new(REPORT))?;
    let targets: Vec<&str> =
        report["mounts"].as_array().unwrap().iter().filter_map(|m| m["target"].as_str()).collect();
    let expected = ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"];
    let found: Vec<&str> =
        targets.iter().copied().filter(|target| expected.contains(target)).take(7).collect();
    check_eq!(found, expected);
    Ok(())
}

fn a_later_mount_covers_an_earlier_one() -> Check {
    let s = sandbox()?;
    let (first, second) = (s.make_dir("first")?, s.make_dir("second")?);
    s.make_file("first/one", "")?;
    s.make_file("second/two", "")?;
    let config = stat(&["/tmp/one", "/tmp/two"]).mount("bind", &first, "/tmp", &["bind"]).mount(
        "bind",
        &second,
        "/tmp",
        &["bind"],
    );
    let report = s.report(&config)?;
    check_eq!(report["stat"]["/tmp/one"], json!({ "errno": libc::ENOENT }));
    check_eq!(report["stat"]["/tmp/two"]["type"], "file");
    Ok(())
}

fn the_cgroup_mount_shows_the_controllers_read_only() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "ls", "/sys/fs/cgroup"]);
    let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    let pids = output.stdout.lines().any(|name| name == "pids" || name == "pids.max");
    check!(pids || output.stdout.contains("cgroup.procs"), "{output}\n  shows no controller");
    let report = s.report(&Config::new(REPORT))?;
    let mut count = 0;
    for mount in report["mounts"].as_array().unwrap() {
        if mount["type"].as_str().is_some_and(|kind| kind.starts_with("cgroup")) {
            has_options(mount, "options", &["ro", "nosuid", "noexec", "nodev"], &[])?;
            count += 1;
        }
    }
    check!(count > 0, "no cgroup is mounted");
    Ok(())
}

fn the_directory_of_the_cgroup_mounts_is_read_only() -> Check {
    let report = sandbox()?.report(&stat(&["/sys/fs/cgroup"]))?;
    check_eq!(report["stat"]["/sys/fs/cgroup"]["readonly"], true);
    Ok(())
}

/// The propagation of the cgroup mounts where all mounts of the host are shared.
fn cgroup_tags(propagation: &str) -> Check<Vec<String>> {
    let mut s = sandbox()?;
    let script = "mount --make-rshared / && exec \"$@\"";
    s.runtime_mut().wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    let options = ["ro", "nosuid", "noexec", "nodev", propagation];
    let config = Config::new(REPORT).without_mount("/sys/fs/cgroup").mount(
        "cgroup",
        Path::new("cgroup"),
        "/sys/fs/cgroup",
        &options,
    );
    let report = s.report(&config)?;
    let kinds = ["cgroup", "cgroup2"].map(Value::from);
    let found = report["mounts"].as_array().unwrap().iter().filter(|m| kinds.contains(&m["type"]));
    Ok(found.map(|m| m["tags"].to_string()).collect())
}

fn cgroup_mounts_take_their_propagation_from_the_options() -> Check {
    let private = cgroup_tags("rprivate")?;
    check!(!private.is_empty() && private.iter().all(|t| t == "[]"), "private ones are {private:?}");
    let slaves = cgroup_tags("rslave")?;
    check!(!slaves.is_empty() && slaves.iter().all(|t| t.contains("master:")), "slaves are {slaves:?}");
    Ok(())
}

fn a_directory_is_bound_read_write() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let config = Config::new(&["/bin/probe", "write", "/data/new", "text"]).mount(
        "bind",
        &source,
        "/data",
        &["rbind", "rw"],
    );
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    check_eq!(fs::read_to_string(source.join("new"))?, "text");
    Ok(())
}

fn a_directory_is_bound_read_only() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let config = Config::new(&["/bin/probe", "report", "--open", "/data/new:c"]).mount(
        "bind",
        &source,
        "/data",
        &["bind", "ro", "nosuid", "nodev", "noexec"],
    );
    let report = s.report(&config)?;
    check_eq!(report["open"]["/data/new:c"], libc::EROFS);
    has_options(mount(&report, "/data")?, "options", &["ro", "nosuid", "nodev", "noexec"], &[])
}

fn a_file_is_bound_on_a_file_that_is_made() -> Check {
    let s = sandbox()?;
    let source = s.make_file("source", "content\n")?;
    let words = ["/bin/probe", "report", "--stat", "/a/b/c", "--open", "/a/b/c:w"];
    let config = Config::new(&words).mount("bind", &source, "/a/b/c", &["bind", "ro"]);
    let report = s.report(&config)?;
    check_eq!(report["stat"]["/a/b/c"]["size"], 8);
    check_eq!(report["open"]["/a/b/c:w"], libc::EROFS);
    Ok(())
}

fn a_relative_bind_source_lies_in_the_bundle() -> Check {
    let s = sandbox()?;
    let config = stat(&["/tmp/here"]).mount("bind", Path::new("beside"), "/tmp", &["bind"]);
    let bundle = s.bundle(&config)?;
    fs::create_dir(bundle.path().join("beside"))?;
    fs::write(bundle.path().join("beside/here"), "")?;
    check_eq!(report_of(&s, &bundle)?["stat"]["/tmp/here"]["type"], "file");
    Ok(())
}

fn rbind_takes_mounts_below_the_source_along_and_bind_does_not() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let below = HostMount::tmpfs(&s.make_dir("source/below")?)?;
    fs::write(below.0.join("file"), "")?;
    for (option, expected) in [("rbind", true), ("bind", false)] {
        let config = stat(&["/data/below/file"]).mount("bind", &source, "/data", &[option]);
        let report = s.report(&config)?;
        let seen = report["stat"]["/data/below/file"]["type"] == "file";
        check_eq!(seen, expected, "the file below is visible with {option}");
    }
    Ok(())
}

fn recursive_read_only_reaches_mounts_below() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let _below = HostMount::tmpfs(&s.make_dir("source/below")?)?;
    let words = ["/bin/probe", "report", "--open", "/data/below/new:c"];
    let config = |options: &[&str]| Config::new(&words).mount("bind", &source, "/data", options);
    let report = s.report(&config(&["rbind", "rro"]))?;
    check_eq!(report["open"]["/data/below/new:c"], libc::EROFS, "with rro");
    let report = s.report(&config(&["rbind", "ro"]))?;
    check_eq!(report["open"]["/data/below/new:c"], "ok", "with ro");
    Ok(())
}

/// Mounts on the host below a shared source, and tells whether a container sees it.
fn later_mount_is_seen(root: &str, propagation: &str) -> Check<(Value, bool)> {
    let s = sandbox()?;
    let share = s.make_dir("share")?;
    s.make_dir("share/below")?;
    let _shared = HostMount::shared(&share)?;
    let config = Config::new(REPORT).mount("bind", &share, "/data", &["rbind", propagation]);
    let config = config.set("/linux/rootfsPropagation", root);
    s.sleeper("c1", &config)?;
    let _later = HostMount::tmpfs(&share.join("below"))?;
    let report = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    let seen = mount(&report, "/data/below").is_ok();
    let tags = mount(&report, "/data")?["tags"].clone();
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    Ok((tags, seen))
}

fn a_private_bind_sees_no_later_mount_of_the_host() -> Check {
    let (tags, seen) = later_mount_is_seen("rslave", "rprivate")?;
    check_eq!(tags, json!([]), "propagation");
    check!(!seen, "the later mount is visible");
    Ok(())
}

fn a_slave_bind_sees_later_mounts_of_the_host() -> Check {
    let (tags, seen) = later_mount_is_seen("rslave", "rslave")?;
    let tags = tags.to_string();
    check!(tags.contains("master:") && !tags.contains("shared:"), "propagation is {tags}");
    check!(seen, "the later mount is not visible");
    Ok(())
}

fn a_shared_bind_is_a_peer_of_the_host() -> Check {
    let (tags, seen) = later_mount_is_seen("rshared", "rshared")?;
    check!(tags.to_string().contains("shared:"), "propagation is {tags}");
    check!(seen, "the later mount is not visible");
    Ok(())
}

fn mounts_of_the_container_do_not_reach_the_host() -> Check {
    let s = sandbox()?;
    let share = s.make_dir("share")?;
    let _shared = HostMount::shared(&share)?;
    let before = s.leaks()?;
    for propagation in ["rprivate", "rslave"] {
        let caps = &["CAP_SYS_ADMIN"];
        let config = Config::new(&["/bin/probe", "report", "--call", "mount"]);
        let config = config.capabilities(caps).mount("bind", &share, "/tmp", &["rbind", propagation]);
        check_eq!(s.report(&config)?["call"]["mount"], "ok", "mount inside");
        before.assert_same()?;
    }
    Ok(())
}

fn mountpoints_are_made() -> Check {
    let s = sandbox()?;
    let config = stat(&["/new/dir", "/new"]).mount("tmpfs", Path::new("tmpfs"), "/new/dir", &["mode=700"]);
    let bundle = s.bundle(&config)?;
    let report = report_of(&s, &bundle)?;
    check_eq!(report["stat"]["/new/dir"]["mode"], "0700");
    check_eq!(report["stat"]["/new"]["mode"], "0755");
    check!(bundle.rootfs().join("new/dir").is_dir(), "the mountpoint is not in the image");
    Ok(())
}

fn a_tmpfs_takes_the_mode_of_its_mountpoint() -> Check {
    let s = sandbox()?;
    let config = stat(&["/tmp", "/fresh"]).mount("tmpfs", Path::new("tmpfs"), "/tmp", &["size=1m"]).mount(
        "tmpfs",
        Path::new("tmpfs"),
        "/fresh",
        &["size=1m"],
    );
    let report = s.report(&config)?;
    check_eq!(report["stat"]["/tmp"]["mode"], "1777", "an existing mountpoint");
    Ok(())
}

fn a_tmpfs_on_a_new_mountpoint_is_open_to_all() -> Check {
    let config = stat(&["/fresh"]).mount("tmpfs", Path::new("tmpfs"), "/fresh", &["size=1m"]);
    check_eq!(sandbox()?.report(&config)?["stat"]["/fresh"]["mode"], "1777");
    Ok(())
}

fn a_file_on_a_directory_is_refused() -> Check {
    let s = sandbox()?;
    let file = s.make_file("file", "")?;
    let config = Config::new(REPORT).mount("bind", &file, "/etc", &["bind"]);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("not a directory")?;
    before.assert_same()
}

fn a_directory_on_a_file_is_refused() -> Check {
    let s = sandbox()?;
    let directory = s.make_dir("directory")?;
    let config = Config::new(REPORT).mount("bind", &directory, "/etc/passwd", &["bind"]);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("not a directory")?;
    before.assert_same()
}

/// Mounts a tmpfs on `/link` of an image where that is a symlink to `target`.
fn mount_on_link(s: &Sandbox, target: &Path) -> Check<(Bundle, Value)> {
    let config = stat(&["/link"]).mount("tmpfs", Path::new("tmpfs"), "/link", &["mode=711"]);
    let bundle = s.bundle(&config)?;
    symlink(target, bundle.rootfs().join("link"))?;
    let report = report_of(s, &bundle)?;
    Ok((bundle, report))
}

fn a_symlinked_destination_stays_inside() -> Check {
    let s = sandbox()?;
    let outside = s.make_dir("outside")?;
    let (bundle, report) = mount_on_link(&s, &outside)?;
    // The same path, but inside.
    mount(&report, &outside.to_string_lossy())?;
    let inside = bundle.rootfs().join(outside.strip_prefix("/")?);
    check!(inside.is_dir(), "{} was not made", inside.display());
    check_eq!(fs::read_dir(&outside)?.count(), 0, "entries outside");
    Ok(())
}

fn a_destination_climbing_out_stays_inside() -> Check {
    let s = sandbox()?;
    let (_, report) = mount_on_link(&s, Path::new("../../../../../climbed"))?;
    mount(&report, "/climbed")?;
    check!(!Path::new("/climbed").exists(), "/climbed appeared on the host");
    Ok(())
}

fn a_proc_that_is_a_symlink_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    fs::rename(bundle.rootfs().join("proc"), bundle.rootfs().join("elsewhere"))?;
    symlink("elsewhere", bundle.rootfs().join("proc"))?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("must be mounted on ordinary directory")?;
    before.assert_same()
}

fn data_options_of_a_bind_are_ignored_with_a_warning() -> Check {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let config = Config::new(REPORT).mount("bind", &source, "/tmp", &["bind", "size=1k"]);
    let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    check!(output.stderr.contains("/mounts/7/options"), "no warning: {output}");
    Ok(())
}

fn the_hosts_propagation_is_untouched_without_a_mount_namespace() -> Check {
    let s = sandbox()?;
    let share = s.make_dir("share")?;
    let _shared = HostMount::shared(&share)?;
    let before = s.leaks()?;
    let config = Config::new(REPORT)
        .without_namespace("mount")
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .set("/mounts", json!([]));
    // Refusing is as good as running: the host must be the same.
    let _ = s.runtime().run(s.bundle(&config)?.path(), "c1")?;
    before.assert_same()
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        the_default_filesystems_have_their_flags,
        mounts_keep_the_order_of_the_configuration,
        a_later_mount_covers_an_earlier_one,
        the_cgroup_mount_shows_the_controllers_read_only,
        cgroup_mounts_take_their_propagation_from_the_options,
        a_directory_is_bound_read_write,
        a_directory_is_bound_read_only,
        a_file_is_bound_on_a_file_that_is_made,
        a_relative_bind_source_lies_in_the_bundle,
        rbind_takes_mounts_below_the_source_along_and_bind_does_not,
        recursive_read_only_reaches_mounts_below,
        a_private_bind_sees_no_later_mount_of_the_host,
        a_slave_bind_sees_later_mounts_of_the_host,
        a_shared_bind_is_a_peer_of_the_host,
        mounts_of_the_container_do_not_reach_the_host,
        mountpoints_are_made,
        a_tmpfs_takes_the_mode_of_its_mountpoint,
        a_tmpfs_on_a_new_mountpoint_is_open_to_all,
        a_file_on_a_directory_is_refused,
        a_directory_on_a_file_is_refused,
        a_symlinked_destination_stays_inside,
        a_destination_climbing_out_stays_inside,
        a_proc_that_is_a_symlink_is_refused,
    ];
    tests.extend([
        oxrun_only(
            "the_directory_of_the_cgroup_mounts_is_read_only",
            "runc leaves the tmpfs above the v1 controllers writable",
            the_directory_of_the_cgroup_mounts_is_read_only,
        ),
        oxrun_only(
            "data_options_of_a_bind_are_ignored_with_a_warning",
            "runc ignores them silently or refuses them",
            data_options_of_a_bind_are_ignored_with_a_warning,
        ),
        oxrun_only(
            "the_hosts_propagation_is_untouched_without_a_mount_namespace",
            "runc changes the propagation of all mounts of the host",
            the_hosts_propagation_is_untouched_without_a_mount_namespace,
        ),
    ]);
    run(tests)
}
