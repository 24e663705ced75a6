//! The whole mount table of containers, line by line: order, propagation, options of trees, sources in the
//! container's own tree, files on files, links as destinations, and the mountpoints that are made.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A mount in the test's own namespace.
struct HostMount(PathBuf);

impl HostMount {
    /// A shared tmpfs.
    fn shared(target: PathBuf) -> Check<Self> {
        fs::create_dir_all(&target)?;
        sys::mount(Path::new("oxrun-test"), &target, "tmpfs", 0)?;
        let mount = Self(target);
        sys::propagation(&mount.0, libc::MS_SHARED)?;
        Ok(mount)
    }
}

/// A filesystem of the host with a directory and a file: what is bound from there looks the same on every host.
fn source(s: &Sandbox) -> Check<(HostMount, PathBuf, PathBuf)> {
    let mount = HostMount::shared(s.dir().join("source"))?;
    let (dir, file) = (mount.0.join("dir"), mount.0.join("file"));
    fs::create_dir(&dir)?;
    fs::write(&file, "1")?;
    Ok((mount, dir, file))
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

/// The texts of a list.
fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What ties a mount to others, without the numbers of the groups.
fn kinds(mount: &Value) -> String {
    texts(&mount["tags"]).map(|tag| tag.split(':').next().unwrap_or(tag)).collect::<Vec<_>>().join(" ")
}

/// A mount as a line: destination, type, what of its filesystem is seen, options, propagation.
fn line(mount: &Value) -> String {
    let text = |key: &str| mount[key].as_str().unwrap_or_default();
    if text("root").ends_with("/null") {
        // Which filesystem the null device of the host is on differs.
        return format!("{} null device", text("target"));
    }
    let options = texts(&mount["options"]).collect::<Vec<_>>().join(",");
    let line = [text("target"), text("type"), text("root"), &options, &kinds(mount)].join(" ");
    line.trim_end().to_owned()
}

/// The lines of a container's mounts at or below these places.
fn lines(report: &Value, places: &[&str]) -> Vec<String> {
    let below = |mount: &&Value| {
        let target = Path::new(mount["target"].as_str().unwrap_or_default());
        places.iter().any(|place| target.starts_with(place))
    };
    report["mounts"].as_array().unwrap().iter().filter(below).map(line).collect()
}

/// Runs a container and compares its mounts at or below these places with the lines that are expected.
fn has_table(s: &Sandbox, bundle: &Bundle, places: &[&str], expected: &[&str]) -> Check<Value> {
    let report = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    check_eq!(lines(&report, places), expected, "mounts");
    Ok(report)
}

/// What is at these paths inside: type, mode and owner.
fn stats(report: &Value, paths: &[&str]) -> Vec<String> {
    let told = |path: &&str| {
        let stat = &report["stat"][*path];
        let text = |key: &str| stat[key].to_string().replace('"', "");
        format!("{path} {} {} {}:{}", text("type"), text("mode"), text("uid"), text("gid"))
    };
    paths.iter().map(told).collect()
}

fn asking(paths: &[&str]) -> Config {
    let asked = paths.iter().flat_map(|path| ["--stat", *path]);
    Config::new(&REPORT.iter().copied().chain(asked).collect::<Vec<_>>())
}

fn tmpfs(config: Config, target: &str, options: &[&str]) -> Config {
    config.mount("tmpfs", Path::new("tmpfs"), target, options)
}

fn mounts_lie_in_the_order_of_the_config() -> Check {
    let s = sandbox()?;
    let (source, dir, file) = source(&s)?;
    let config = tmpfs(Config::new(REPORT), "/a", &["nosuid"]);
    let config =
        tmpfs(config, "/a/b", &["noexec", "nosuid"]).mount("bind", &file, "/a/b/file", &["bind", "ro"]);
    // Covers all of these, and is covered in part.
    let config = tmpfs(config, "/a", &["nodev"]).mount("bind", &dir, "/a/b", &["rbind", "ro", "nosuid"]);
    let config = tmpfs(config, "/a/c/d", &[]);
    has_table(
        &s,
        &s.bundle(&config)?,
        &["/a"],
        &[
            "/a tmpfs / rw,nosuid,relatime",
            "/a/b tmpfs / rw,nosuid,noexec,relatime",
            "/a/b/file tmpfs /file ro,relatime master",
            "/a tmpfs / rw,nodev,relatime",
            "/a/b tmpfs /dir ro,nosuid,relatime master",
            "/a/c/d tmpfs / rw,relatime",
        ],
    )?;
    drop(source);
    Ok(())
}

fn the_default_mounts_of_a_container() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT)
        .set("/linux/maskedPaths", json!(["/proc/uptime", "/proc/fs", "/proc/not-there"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys", "/proc/bus", "/not/there"]));
    let bundle = s.bundle(&config.without_mount("/sys/fs/cgroup"))?;
    has_table(
        &s,
        &bundle,
        &["/proc", "/dev", "/sys"],
        &[
            "/proc proc / rw,relatime",
            "/dev tmpfs / rw,nosuid",
            "/dev/pts devpts / rw,nosuid,noexec,relatime",
            "/dev/shm tmpfs / rw,nosuid,nodev,noexec,relatime",
            "/dev/mqueue mqueue / rw,nosuid,nodev,noexec,relatime",
            "/sys sysfs / ro,nosuid,nodev,noexec,relatime",
            "/proc/sys proc /sys ro,relatime",
            "/proc/bus proc /bus ro,relatime",
            "/proc/uptime null device",
            "/proc/fs tmpfs / ro,nosuid,nodev,noexec,relatime",
        ],
    )?;
    Ok(())
}

fn attributes_of_a_tree_reach_all_of_it() -> Check {
    let s = sandbox()?;
    let top = HostMount::shared(s.dir().join("top"))?;
    let below = HostMount::shared(top.0.join("below"))?;
    let config = Config::new(REPORT)
        .mount("bind", &top.0, "/one", &["bind", "ro"])
        .mount("bind", &top.0, "/tree", &["rbind", "ro"])
        .mount("bind", &top.0, "/all", &["rbind", "rro", "rnosuid", "rprivate"])
        .mount("bind", &top.0, "/but", &["rbind", "rro", "rw", "nodev", "runbindable"]);
    has_table(
        &s,
        &s.bundle(&config)?,
        &["/one", "/tree", "/all", "/but"],
        &[
            "/one tmpfs / ro,relatime master",
            "/tree tmpfs / ro,relatime master",
            "/tree/below tmpfs / rw,relatime master",
            "/all tmpfs / ro,nosuid,relatime",
            "/all/below tmpfs / ro,nosuid,relatime",
            "/but tmpfs / ro,nodev,relatime unbindable",
            "/but/below tmpfs / ro,relatime unbindable",
        ],
    )?;
    drop((below, top));
    Ok(())
}

fn sources_may_lie_in_the_containers_own_tree() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    let root = bundle.rootfs();
    let config = tmpfs(Config::new(REPORT), "/made", &["nosuid"]);
    let config = tmpfs(config, "/made/inner", &["nodev"])
        .mount("bind", &root.join("made"), "/again", &["bind", "ro"])
        .mount("bind", &root.join("made"), "/tree", &["rbind"])
        .mount("bind", &root.join("tree/inner"), "/etc", &["bind"]);
    bundle.write(config.set("/linux/cgroupsPath", format!("/{}own", s.cgroup_prefix())).text())?;
    has_table(
        &s,
        &bundle,
        &["/made", "/again", "/tree", "/etc"],
        &[
            "/made tmpfs / rw,nosuid,relatime",
            "/made/inner tmpfs / rw,nodev,relatime",
            "/again tmpfs / ro,relatime",
            "/tree tmpfs / rw,nosuid,relatime",
            "/tree/inner tmpfs / rw,nodev,relatime",
            "/etc tmpfs / rw,nodev,relatime",
        ],
    )?;
    Ok(())
}

fn files_lie_on_files() -> Check {
    let s = sandbox()?;
    let (source, _, one) = source(&s)?;
    let two = source.0.join("two");
    fs::write(&two, "22")?;
    let paths = ["/etc/passwd", "/new/file"];
    let config = asking(&paths)
        .mount("bind", &one, "/etc/passwd", &["bind"])
        .mount("bind", &two, "/etc/passwd", &["bind", "ro"])
        .mount("bind", &one, "/new/file", &["bind", "noexec"]);
    let report = has_table(
        &s,
        &s.bundle(&config)?,
        &["/etc", "/new"],
        &[
            "/etc/passwd tmpfs /file rw,relatime master",
            "/etc/passwd tmpfs /two ro,relatime master",
            "/new/file tmpfs /file rw,noexec,relatime master",
        ],
    )?;
    check_eq!(paths.map(|path| report["stat"][path]["size"].as_u64()), [Some(2), Some(1)], "what is on top");
    drop(source);
    Ok(())
}

fn links_lead_to_places_inside() -> Check {
    let s = sandbox()?;
    let (source, dir, file) = source(&s)?;
    let config = Config::new(REPORT)
        .mount("bind", &dir, "/link", &["bind"])
        .mount("bind", &dir, "/up", &["bind"])
        .mount("bind", &dir, "/dangling", &["bind"])
        .mount("bind", &file, "/to-file", &["bind"])
        .mount("bind", &dir, "/link/below", &["bind"]);
    let bundle = s.bundle(&config)?;
    let root = bundle.rootfs();
    fs::create_dir(root.join("real"))?;
    for (link, target) in [
        ("link", "/real"),
        ("up", "../../../../outside"),
        ("dangling", "/made/for/it"),
        ("to-file", "made/file"),
    ] {
        symlink(target, root.join(link))?;
    }
    has_table(
        &s,
        &bundle,
        &["/real", "/outside", "/made", "/link", "/up", "/dangling", "/to-file"],
        &[
            "/real tmpfs /dir rw,relatime master",
            "/outside tmpfs /dir rw,relatime master",
            "/made/for/it tmpfs /dir rw,relatime master",
            "/made/file tmpfs /file rw,relatime master",
            "/real/below tmpfs /dir rw,relatime master",
        ],
    )?;
    check!(!Path::new("/outside").exists(), "a link led out");
    drop(source);
    Ok(())
}

fn mountpoints_have_their_modes() -> Check {
    let s = sandbox()?;
    let (source, dir, file) = source(&s)?;
    let paths = ["/kept", "/kept/inside", "/new", "/new/er", "/given"];
    let config = tmpfs(asking(&paths), "/kept", &[]);
    let config = tmpfs(config, "/kept/inside", &[]);
    let config = tmpfs(tmpfs(config, "/new/er", &[]), "/given", &["mode=711", "uid=3", "gid=4"])
        .mount("bind", &dir, "/group/one/two", &["bind"])
        .mount("bind", &file, "/group/file", &["bind"]);
    let bundle = s.bundle(&config)?;
    let root = bundle.rootfs();
    for (name, mode, owner) in [("kept", 0o750, 7), ("group", 0o2775, 50)] {
        fs::create_dir(root.join(name))?;
        chown(root.join(name), Some(owner), Some(owner))?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode))?;
    }
    let report = has_table(
        &s,
        &bundle,
        &["/kept", "/new", "/given", "/group"],
        &[
            "/kept tmpfs / rw,relatime",
            "/kept/inside tmpfs / rw,relatime",
            "/new/er tmpfs / rw,relatime",
            "/given tmpfs / rw,relatime",
            "/group/one/two tmpfs /dir rw,relatime master",
            "/group/file tmpfs /file rw,relatime master",
        ],
    )?;
    check_eq!(
        stats(&report, &paths),
        [
            "/kept dir 0750 0:0",
            "/kept/inside dir 1777 0:0",
            "/new dir 0755 0:0",
            "/new/er dir 1777 0:0",
            "/given dir 0711 3:4",
        ]
    );
    // In the image itself: what is made in a directory with a group for all of it has that group.
    let mut made = Vec::new();
    for name in ["group", "group/one", "group/one/two", "group/file", "new", "new/er"] {
        let meta = fs::metadata(root.join(name))?;
        made.push(format!("{name} {:04o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
    }
    check_eq!(
        made,
        [
            "group 2775 50:50",
            "group/one 2755 0:50",
            "group/one/two 2755 0:50",
            "group/file 0644 0:50",
            "new 0755 0:0",
            "new/er 0755 0:0",
        ]
    );
    drop(source);
    Ok(())
}

fn every_propagation_of_a_bind() -> Check {
    let s = sandbox()?;
    let top = HostMount::shared(s.dir().join("top"))?;
    let below = HostMount::shared(top.0.join("below"))?;
    // What the bind is, and what is mounted below it. Without a word both get what is mounted on the host later.
    for (word, expected) in [
        ("", ["master", "master"]),
        ("private", ["", "master"]),
        ("rprivate", ["", ""]),
        ("slave", ["master", "master"]),
        ("rslave", ["master", "master"]),
        // The last word counts.
        ("rprivate slave", ["master", "master"]),
        ("rprivate rslave", ["master", "master"]),
        // A peer is a copy of the tree as it is on the host.
        ("shared", ["shared", "shared"]),
        ("rshared", ["shared", "shared"]),
        ("unbindable", ["unbindable", "master"]),
        ("runbindable", ["unbindable", "unbindable"]),
    ] {
        let options: Vec<&str> = ["rbind"].into_iter().chain(word.split_whitespace()).collect();
        let report = s.report(&Config::new(REPORT).mount("bind", &top.0, "/data", &options))?;
        let mounts = report["mounts"].as_array().unwrap();
        let found = ["/data", "/data/below"].map(|target| {
            mounts.iter().rev().find(|mount| mount["target"] == target).map(kinds).unwrap_or_default()
        });
        check_eq!(found, expected, "{word:?}");
    }
    drop((below, top));
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        every_propagation_of_a_bind,
        mounts_lie_in_the_order_of_the_config,
        the_default_mounts_of_a_container,
        attributes_of_a_tree_reach_all_of_it,
        sources_may_lie_in_the_containers_own_tree,
        files_lie_on_files,
        links_lead_to_places_inside,
        mountpoints_have_their_modes,
    ])
}
