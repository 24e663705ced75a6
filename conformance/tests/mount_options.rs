//! Every mount option: what the kernel says of a mount that has it. The tables are complete: an option that
//! stands in none of them fails a test.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use oxrun_core::plan::options::TABLE;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

/// Options of a new filesystem, its mount's options but for rw, what its superblock must and must not show,
/// and its propagation.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const NEW: &[Row] = &[
    ("", "relatime", "", "sync dirsync mand lazytime ro", ""),
    ("defaults", "relatime", "", "", ""),
    ("ro", "ro relatime", "", "", ""),
    ("ro rw", "relatime", "", "ro", ""),
    ("nosuid", "nosuid relatime", "", "", ""),
    ("nosuid suid", "relatime", "", "", ""),
    ("nodev", "nodev relatime", "", "", ""),
    ("nodev dev", "relatime", "", "", ""),
    ("noexec", "noexec relatime", "", "", ""),
    ("noexec exec", "relatime", "", "", ""),
    ("noatime", "noatime", "", "", ""),
    ("noatime atime", "relatime", "", "", ""),
    ("nodiratime", "nodiratime relatime", "", "", ""),
    ("nodiratime diratime", "relatime", "", "", ""),
    ("noatime relatime", "relatime", "", "", ""),
    ("norelatime", "relatime", "", "", ""),
    ("strictatime", "", "", "", ""),
    ("strictatime nostrictatime", "relatime", "", "", ""),
    ("noatime nodiratime", "noatime nodiratime", "", "", ""),
    ("strictatime nodiratime", "nodiratime", "", "", ""),
    ("nosymfollow", "relatime nosymfollow", "", "", ""),
    ("nosymfollow symfollow", "relatime", "", "", ""),
    ("sync", "relatime", "sync", "", ""),
    ("sync async", "relatime", "", "sync", ""),
    ("dirsync", "relatime", "dirsync", "", ""),
    ("mand", "relatime", "mand", "", ""),
    ("mand nomand", "relatime", "", "mand", ""),
    ("lazytime", "relatime", "lazytime", "", ""),
    ("lazytime nolazytime", "relatime", "", "lazytime", ""),
    ("iversion", "relatime", "", "", ""),
    ("noiversion", "relatime", "", "", ""),
    ("silent", "relatime", "", "", ""),
    ("loud", "relatime", "", "", ""),
    ("private", "relatime", "", "", ""),
    ("rprivate", "relatime", "", "", ""),
    ("shared", "relatime", "", "", "shared"),
    ("rshared", "relatime", "", "", "shared"),
    ("slave", "relatime", "", "", ""),
    ("rslave", "relatime", "", "", ""),
    ("unbindable", "relatime", "", "", "unbindable"),
    ("runbindable", "relatime", "", "", "unbindable"),
    ("tmpcopyup", "relatime", "", "", ""),
    ("mode=711 nodev size=64k sync noexec", "nodev noexec relatime", "sync size=64k mode=711", "", ""),
    // The recursive forms, on a tree of one mount.
    ("rro", "ro relatime", "", "", ""),
    ("rnosuid rnodev rnoexec rnosymfollow", "nosuid nodev noexec relatime nosymfollow", "", "", ""),
    ("rnoatime", "noatime", "", "", ""),
    ("rstrictatime", "", "", "", ""),
    ("rnodiratime", "nodiratime relatime", "", "", ""),
];

/// Options of a bind and what it has if its source has [`SOURCE`].
const SOURCE: &str = "ro nosuid nodev noexec noatime nosymfollow";
const BOUND: &[(&str, &str)] = &[
    // Without options of its own it is what its source is.
    ("bind", SOURCE),
    ("rbind rprivate", SOURCE),
    ("bind defaults", SOURCE),
    // With one it has what is said, and its source's access times unless a kind of them is said.
    ("bind ro", "ro noatime"),
    ("bind rw", "noatime"),
    ("bind nosuid", "nosuid noatime"),
    ("bind suid", "noatime"),
    ("bind nodev", "nodev noatime"),
    ("bind dev", "noatime"),
    ("bind noexec", "noexec noatime"),
    ("bind exec", "noatime"),
    ("bind nosymfollow", "noatime nosymfollow"),
    ("bind symfollow", "noatime"),
    ("bind ro nosuid nodev noexec nosymfollow", "ro nosuid nodev noexec noatime nosymfollow"),
    ("bind atime", "noatime"),
    ("bind diratime", "noatime"),
    ("bind norelatime", "noatime"),
    ("bind nostrictatime", "noatime"),
    ("bind relatime norelatime", "noatime"),
    ("bind relatime", "relatime"),
    ("bind strictatime", ""),
    ("bind nodiratime", "nodiratime relatime"),
    ("bind nodiratime strictatime", "nodiratime"),
    ("bind noatime", "noatime"),
    // What only a filesystem has means nothing to a bind.
    ("bind sync dirsync mand lazytime iversion silent", SOURCE),
];

/// Options of a recursive bind, and what it and the mount below it have if both have [`SOURCE`].
const TREE: &[(&str, &str, &str)] = &[
    ("rbind ro", "ro noatime", SOURCE),
    ("rbind rro", SOURCE, SOURCE),
    ("rbind rrw", "nosuid nodev noexec noatime nosymfollow", "nosuid nodev noexec noatime nosymfollow"),
    ("rbind rw rro", "ro noatime", SOURCE),
    ("rbind rsuid", "ro nodev noexec noatime nosymfollow", "ro nodev noexec noatime nosymfollow"),
    ("rbind rdev", "ro nosuid noexec noatime nosymfollow", "ro nosuid noexec noatime nosymfollow"),
    ("rbind rexec", "ro nosuid nodev noatime nosymfollow", "ro nosuid nodev noatime nosymfollow"),
    ("rbind rsymfollow", "ro nosuid nodev noexec noatime", "ro nosuid nodev noexec noatime"),
    (
        "rbind ratime",
        "ro nosuid nodev noexec relatime nosymfollow",
        "ro nosuid nodev noexec relatime nosymfollow",
    ),
    (
        "rbind rrelatime",
        "ro nosuid nodev noexec relatime nosymfollow",
        "ro nosuid nodev noexec relatime nosymfollow",
    ),
    (
        "rbind rnorelatime",
        "ro nosuid nodev noexec relatime nosymfollow",
        "ro nosuid nodev noexec relatime nosymfollow",
    ),
    (
        "rbind rnostrictatime",
        "ro nosuid nodev noexec relatime nosymfollow",
        "ro nosuid nodev noexec relatime nosymfollow",
    ),
    ("rbind rstrictatime", "ro nosuid nodev noexec nosymfollow", "ro nosuid nodev noexec nosymfollow"),
    ("rbind rnoatime", SOURCE, SOURCE),
    ("rbind rdiratime", SOURCE, SOURCE),
    (
        "rbind rnodiratime",
        "ro nosuid nodev noexec noatime nodiratime nosymfollow",
        "ro nosuid nodev noexec noatime nodiratime nosymfollow",
    ),
    ("rbind rnodiratime rdiratime", SOURCE, SOURCE),
    ("rbind rnosuid rnodev rnoexec rnosymfollow", SOURCE, SOURCE),
];

/// Options of a recursive bind, and what it and the mount below it have if both have none themselves.
const PLAIN: &[(&str, &str)] = &[
    ("rbind", "relatime"),
    ("rbind rro", "ro relatime"),
    ("rbind rnosuid", "nosuid relatime"),
    ("rbind rnodev", "nodev relatime"),
    ("rbind rnoexec", "noexec relatime"),
    ("rbind rnosymfollow", "relatime nosymfollow"),
    ("rbind rnoatime", "noatime"),
    ("rbind rstrictatime", ""),
    ("rbind rnodiratime", "nodiratime relatime"),
];

/// Options of a source, those of a bind of it in a user namespace, and what the bind has: none if it is
/// refused, because the namespace must not lift what the host has locked.
const LOCKED: &[(&str, &str, Option<&str>)] = &[
    ("ro noexec nosymfollow nodiratime", "bind", Some("ro noexec nodiratime relatime nosymfollow")),
    // Links may be followed: that is nothing that the kernel locks.
    ("ro noexec nosymfollow nodiratime", "bind dev", Some("ro noexec nodiratime relatime")),
    ("nodev nosymfollow", "bind rw", Some("nodev relatime")),
    ("nodev nosymfollow", "bind ro symfollow", Some("ro nodev relatime")),
    ("ro", "bind nosuid nodev rprivate", Some("ro nosuid nodev relatime")),
    ("nosuid nodev noexec noatime", "bind ro", Some("ro nosuid nodev noexec noatime")),
    ("nodev nosuid noatime", "bind ro exec", Some("ro nosuid nodev noatime")),
    ("strictatime", "bind nostrictatime", Some("")),
    ("nodiratime", "bind diratime", Some("nodiratime relatime")),
    ("noatime nodiratime", "bind atime norelatime", Some("noatime nodiratime")),
    ("relatime", "bind relatime", Some("relatime")),
    ("ro", "bind rw nosuid", None),
    ("nosuid", "bind suid", None),
    ("nodev", "bind dev", None),
    ("noexec", "bind exec", None),
    ("nodiratime", "bind strictatime", None),
    ("relatime", "bind noatime", None),
    ("relatime", "bind nodiratime", None),
    ("strictatime", "bind relatime", None),
    ("noatime", "bind relatime", None),
    ("ro", "rbind rrw", None),
    ("noatime", "rbind ratime", None),
];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// A tmpfs in the test's own namespace whose mount has all of [`SOURCE`].
struct HostMount(PathBuf);

impl HostMount {
    fn tmpfs(target: &Path) -> Check<Self> {
        sys::mount(Path::new("oxrun-test"), target, "tmpfs", 0)?;
        Ok(Self(target.to_owned()))
    }

    /// Gives the mount alone these options.
    fn restrict(&self, options: &str) -> Check {
        const NOSYMFOLLOW: u64 = 256;
        let mut flags = libc::MS_BIND | libc::MS_REMOUNT;
        if !options.contains("atime") {
            // Otherwise it would keep what it has.
            flags |= libc::MS_RELATIME;
        }
        for word in words(options) {
            flags |= match word {
                "ro" => libc::MS_RDONLY,
                "nosuid" => libc::MS_NOSUID,
                "nodev" => libc::MS_NODEV,
                "noexec" => libc::MS_NOEXEC,
                "noatime" => libc::MS_NOATIME,
                "nodiratime" => libc::MS_NODIRATIME,
                "relatime" => libc::MS_RELATIME,
                "strictatime" => libc::MS_STRICTATIME,
                "nosymfollow" => NOSYMFOLLOW,
                _ => return Err(format!("{word} is not known here").into()),
            };
        }
        Ok(sys::mount(Path::new("oxrun-test"), &self.0, "", flags)?)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

/// The uppermost mount on `target`.
fn mount<'a>(report: &'a Value, target: &str) -> Check<&'a Value> {
    let mounts = report["mounts"].as_array().unwrap();
    let found = mounts.iter().rev().find(|mount| mount["target"] == target);
    found.ok_or_else(|| format!("nothing is mounted on {target}").into())
}

/// The options of a mount, but for rw.
fn options(mount: &Value) -> String {
    let list = mount["options"].as_array().unwrap().iter().filter_map(Value::as_str);
    list.filter(|o| *o != "rw").collect::<Vec<_>>().join(" ")
}

fn every_option_of_a_new_filesystem() -> Check {
    let s = sandbox()?;
    let mut config = Config::new(REPORT);
    for (n, row) in NEW.iter().enumerate() {
        config = config.mount("tmpfs", Path::new("tmpfs"), &format!("/new/{n}"), &words(row.0));
    }
    let report = s.report(&config)?;
    for (n, (given, expected, present, absent, tag)) in NEW.iter().enumerate() {
        let mount = mount(&report, &format!("/new/{n}"))?;
        check_eq!(options(mount), *expected, "options of a tmpfs with {given:?}");
        let shown = mount["super"].as_array().unwrap();
        for word in words(present) {
            check!(shown.contains(&json!(word)), "{given:?}: {word} is not among {shown:?}");
        }
        for word in words(absent) {
            check!(!shown.contains(&json!(word)), "{given:?}: {word} is among {shown:?}");
        }
        let tags: Vec<&str> = mount["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let kinds: Vec<&str> = tags.iter().map(|t| t.split(':').next().unwrap_or("")).collect();
        check_eq!(kinds.join(" "), *tag, "propagation with {given:?}");
    }
    Ok(())
}

fn every_option_of_a_bind() -> Check {
    let s = sandbox()?;
    let source = HostMount::tmpfs(&s.make_dir("source")?)?;
    source.restrict(SOURCE)?;
    let mut config = Config::new(REPORT);
    for (n, row) in BOUND.iter().enumerate() {
        config = config.mount("none", &source.0, &format!("/bound/{n}"), &words(row.0));
    }
    let report = s.report(&config)?;
    for (n, (given, expected)) in BOUND.iter().enumerate() {
        check_eq!(options(mount(&report, &format!("/bound/{n}"))?), *expected, "with {given:?}");
    }
    Ok(())
}

fn every_option_of_a_tree() -> Check {
    let s = sandbox()?;
    let source = HostMount::tmpfs(&s.make_dir("source")?)?;
    fs::create_dir(source.0.join("below"))?;
    let below = HostMount::tmpfs(&source.0.join("below"))?;
    below.restrict(SOURCE)?;
    source.restrict(SOURCE)?;
    let mut config = Config::new(REPORT);
    for (n, row) in TREE.iter().enumerate() {
        config = config.mount("bind", &source.0, &format!("/tree/{n}"), &words(row.0));
    }
    let report = s.report(&config)?;
    for (n, (given, top, expected)) in TREE.iter().enumerate() {
        check_eq!(options(mount(&report, &format!("/tree/{n}"))?), *top, "with {given:?}");
        check_eq!(options(mount(&report, &format!("/tree/{n}/below"))?), *expected, "below, with {given:?}");
    }
    drop((below, source));
    Ok(())
}

fn every_option_of_a_plain_tree() -> Check {
    let s = sandbox()?;
    let source = HostMount::tmpfs(&s.make_dir("source")?)?;
    fs::create_dir(source.0.join("below"))?;
    let below = HostMount::tmpfs(&source.0.join("below"))?;
    let mut config = Config::new(REPORT);
    for (n, row) in PLAIN.iter().enumerate() {
        config = config.mount("bind", &source.0, &format!("/tree/{n}"), &words(row.0));
    }
    let report = s.report(&config)?;
    for (n, (given, expected)) in PLAIN.iter().enumerate() {
        for target in [format!("/tree/{n}"), format!("/tree/{n}/below")] {
            check_eq!(options(mount(&report, &target)?), *expected, "{target}, with {given:?}");
        }
    }
    drop((below, source));
    Ok(())
}

fn a_bind_in_a_user_namespace_keeps_what_is_locked() -> Check {
    let s = sandbox()?;
    let source = HostMount::tmpfs(&s.make_dir("source")?)?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let config = Config::new(REPORT)
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    for (n, (of_source, given, expected)) in LOCKED.iter().enumerate() {
        source.restrict(of_source)?;
        let bundle = s.bundle(&config.clone().mount("bind", &source.0, "/tmp", &words(given)))?;
        let output = s.runtime().run(bundle.path(), &format!("c{n}"))?;
        match expected {
            Some(expected) => {
                let report = output.success()?.json()?;
                check_eq!(options(mount(&report, "/tmp")?), *expected, "{given:?} of {of_source:?}");
            }
            None => {
                let text = "unable to start container process: error during container init: error mounting";
                let output = output.refused(text)?;
                check!(
                    output.stderr.contains("operation not permitted"),
                    "{given:?} of {of_source:?}: {output}"
                );
            }
        }
    }
    Ok(())
}

/// Remounts: what is there is changed, nothing is mounted.
fn a_remount_changes_what_is_mounted() -> Check {
    let s = sandbox()?;
    let source = HostMount::tmpfs(&s.make_dir("source")?)?;
    let tmpfs = Path::new("tmpfs");
    let config = Config::new(REPORT)
        .mount("tmpfs", tmpfs, "/a", &["size=64k", "nosuid", "mode=755"])
        .mount("tmpfs", tmpfs, "/a", &["remount", "size=128k", "noexec"])
        .mount("bind", &source.0, "/b", &["bind"])
        .mount("bind", &source.0, "/b", &["bind", "remount", "ro", "nodev"]);
    let report = s.report(&config)?;
    for (target, expected) in [("/a", "noexec relatime"), ("/b", "ro nodev relatime")] {
        let there = report["mounts"].as_array().unwrap().iter().filter(|m| m["target"] == target);
        check_eq!(there.count(), 1, "mounts on {target}");
        check_eq!(options(mount(&report, target)?), expected, "{target}");
    }
    let shown = mount(&report, "/a")?["super"].to_string();
    check!(shown.contains("size=128k"), "the filesystem was not changed: {shown}");
    check!(!s.make_dir("source")?.join("x").exists(), "the source is gone");
    Ok(())
}

fn a_remount_of_what_is_no_mount_is_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).mount("tmpfs", Path::new("tmpfs"), "/etc", &["remount", "ro"]);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("invalid argument")?;
    before.assert_same()
}

fn every_option_is_in_a_table() -> Check {
    let mut seen: BTreeSet<&str> = NEW.iter().flat_map(|row| words(row.0)).collect();
    seen.extend(BOUND.iter().flat_map(|row| words(row.0)));
    seen.extend(TREE.iter().flat_map(|row| words(row.0)));
    // Tested elsewhere: they are no options of one mount.
    seen.extend(["remount", "idmap", "ridmap"]);
    let missing: Vec<&str> =
        TABLE.iter().map(|(name, _)| *name).filter(|name| !seen.contains(name)).collect();
    check!(missing.is_empty(), "in no table: {missing:?}");
    Ok(())
}

/// An overlay of `count` layers, in its options' words, and the filesystem that they are in: the host's own
/// may be an overlay, which takes no further one.
fn overlay(s: &Sandbox, count: usize) -> Check<(HostMount, Vec<String>)> {
    let host = HostMount::tmpfs(&s.make_dir("layers")?)?;
    let mut layers = Vec::new();
    for n in 0..count {
        let layer = s.make_dir(&format!("layers/with-a-rather-long-name-{n}"))?;
        fs::write(layer.join(format!("file-{n}")), n.to_string())?;
        layers.push(layer.to_string_lossy().into_owned());
    }
    let (upper, work) = (s.make_dir("layers/upper")?, s.make_dir("layers/work")?);
    let options = vec![
        format!("lowerdir={}", layers.join(":")),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    Ok((host, options))
}

fn options_longer_than_fsconfig_takes_reach_the_filesystem() -> Check {
    let s = sandbox()?;
    let (_host, mut options) = overlay(&s, 24)?;
    check!(options[0].len() > 1000, "{} bytes are not long", options[0].len());
    options.extend(["nodev", "noatime", "slave"].map(str::to_owned));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let words = ["/bin/probe", "report", "--stat", "/layers/file-0", "--stat", "/layers/file-23"];
    let config = Config::new(&words).mount("overlay", Path::new("overlay"), "/layers", &options);
    let report = s.report(&config)?;
    for file in ["/layers/file-0", "/layers/file-23"] {
        check_eq!(report["stat"][file]["type"], "file", "{file}");
    }
    let there = mount(&report, "/layers")?;
    check_eq!(self::options(there), "nodev noatime");
    check_eq!(there["tags"], json!([]), "propagation");
    let over_root = report["mounts"].as_array().unwrap().iter().filter(|m| m["target"] == "/");
    check_eq!(over_root.count(), 1, "mounts on the root");
    Ok(())
}

fn options_longer_than_a_page_are_refused() -> Check {
    let s = sandbox()?;
    let (_host, options) = overlay(&s, 90)?;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let config = Config::new(REPORT).mount("overlay", Path::new("overlay"), "/layers", &options);
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("longer than the 4095 bytes that mount(2) takes")?;
    before.assert_same()
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        every_option_of_a_new_filesystem,
        every_option_of_a_bind,
        every_option_of_a_tree,
        every_option_of_a_plain_tree,
        a_bind_in_a_user_namespace_keeps_what_is_locked,
        a_remount_changes_what_is_mounted,
        a_remount_of_what_is_no_mount_is_refused,
        every_option_is_in_a_table,
        options_longer_than_fsconfig_takes_reach_the_filesystem,
    ];
    tests.push(oxrun_only(
        "options_longer_than_a_page_are_refused",
        "runc hands the kernel what it cannot take",
        options_longer_than_a_page_are_refused,
    ));
    run(tests)
}
