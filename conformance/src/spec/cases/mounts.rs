//! Mounts and every option that the specification names (config.md, Mounts).

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Held, Level};
use super::super::seen::{Fact, has, has_no, is, judged, mounted, stat};
use super::{must, should};
use crate::harness::Sandbox;
use crate::{Check, check, sys};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const PLACE: &str = "config.md, Mounts";
const OPTIONS: &str = "config.md, Linux mount options";
/// The mount that a case adds to the seven of the default config.
const OWN: &str = "/mounts/7";
const AT: &str = "/o";

/// Options of a mount of its own: what is asked for, the last of it being the option, and a word of the mount
/// (or, with `true`, of the filesystem) that is then there or not.
const PLAIN: [(&[&str], &str, bool, bool); 20] = [
    (&["ro"], "ro", false, true),
    (&["ro", "rw"], "ro", false, false),
    (&["nosuid"], "nosuid", false, true),
    (&["nosuid", "suid"], "nosuid", false, false),
    (&["nodev"], "nodev", false, true),
    (&["nodev", "dev"], "nodev", false, false),
    (&["noexec"], "noexec", false, true),
    (&["noexec", "exec"], "noexec", false, false),
    (&["noatime"], "noatime", false, true),
    (&["noatime", "atime"], "noatime", false, false),
    (&["nodiratime"], "nodiratime", false, true),
    (&["nodiratime", "diratime"], "nodiratime", false, false),
    (&["relatime"], "relatime", false, true),
    (&["strictatime"], "relatime", false, false),
    (&["strictatime", "nostrictatime"], "relatime", false, true),
    (&["nosymfollow"], "nosymfollow", false, true),
    (&["nosymfollow", "symfollow"], "nosymfollow", false, false),
    (&["sync"], "sync", true, true),
    (&["sync", "async"], "sync", true, false),
    (&["dirsync"], "dirsync", true, true),
];

/// Options that change nothing which can be seen on a filesystem in memory; they must be known all the same.
const SILENT: [&str; 6] = ["defaults", "iversion", "noiversion", "loud", "silent", "norelatime"];

/// Options for a whole tree: what the mount below has before, and a word that it then has or not.
const RECURSIVE: [(&str, libc::c_ulong, &str, bool); 17] = [
    ("rro", 0, "ro", true),
    ("rrw", libc::MS_RDONLY, "ro", false),
    ("rnosuid", 0, "nosuid", true),
    ("rsuid", libc::MS_NOSUID, "nosuid", false),
    ("rnodev", 0, "nodev", true),
    ("rdev", libc::MS_NODEV, "nodev", false),
    ("rnoexec", 0, "noexec", true),
    ("rexec", libc::MS_NOEXEC, "noexec", false),
    ("rnoatime", 0, "noatime", true),
    ("ratime", libc::MS_NOATIME, "noatime", false),
    ("rnodiratime", 0, "nodiratime", true),
    ("rdiratime", libc::MS_NODIRATIME, "nodiratime", false),
    ("rrelatime", libc::MS_NOATIME, "relatime", true),
    ("rstrictatime", 0, "relatime", false),
    ("rnostrictatime", libc::MS_STRICTATIME, "relatime", true),
    ("rnosymfollow", 0, "nosymfollow", true),
    ("rsymfollow", MS_NOSYMFOLLOW, "nosymfollow", false),
];

/// linux/mount.h; libc has it not.
const MS_NOSYMFOLLOW: libc::c_ulong = 256;

/// Options that the specification only recommends, besides the recursive ones.
const WEAK: [&str; 3] = ["symfollow", "nosymfollow", "rnorelatime"];

/// A mount of the host for one case.
struct Mounted(PathBuf);

impl Mounted {
    fn shared(target: PathBuf, flags: libc::c_ulong) -> Check<Self> {
        fs::create_dir_all(&target)?;
        sys::mount(Path::new("oxrun-test"), &target, "tmpfs", flags)?;
        let mounted = Self(target);
        sys::propagation(&mounted.0, libc::MS_SHARED)?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

/// A shared tree of two mounts at `tree` and `tree/below`, with a file in each.
fn tree(s: &Sandbox) -> Check<(Held, Vec<super::super::case::Change>)> {
    let outer = Mounted::shared(s.dir().join("tree"), 0)?;
    let inner = Mounted::shared(s.dir().join("tree/below"), 0)?;
    fs::write(s.dir().join("tree/file"), "x")?;
    fs::write(s.dir().join("tree/below/file"), "x")?;
    // The inner one goes first.
    Ok((Box::new((inner, outer)), Vec::new()))
}

/// The same without files, the inner mount with these flags.
fn flagged(s: &Sandbox, flags: libc::c_ulong) -> Check<(Held, Vec<super::super::case::Change>)> {
    let outer = Mounted::shared(s.dir().join("tree"), 0)?;
    let inner = Mounted::shared(s.dir().join("tree/below"), flags)?;
    Ok((Box::new((inner, outer)), Vec::new()))
}

fn tmpfs(options: &[&str]) -> Value {
    json!({ "type": "tmpfs", "source": "tmpfs", "destination": AT, "options": options })
}

fn bind(options: &[&str]) -> Value {
    json!({ "type": "bind", "source": "{dir}/tree", "destination": AT, "options": options })
}

fn level(option: &str) -> Level {
    let recursive = RECURSIVE.iter().any(|(name, ..)| *name == option);
    if recursive || WEAK.contains(&option) { Level::Should } else { Level::Must }
}

fn option(name: &str, rule: &str) -> Case {
    Case::new(OPTIONS, level(name), &format!("mounts/option/{name}"), rule)
}

fn word(pointer: &str, word: &str, there: bool) -> Fact {
    if there { has(pointer, word) } else { has_no(pointer, word) }
}

fn plain() -> impl Iterator<Item = Case> {
    let set = PLAIN.into_iter().map(|(options, seen, of_super, there)| {
        let (name, before) = options.split_last().unwrap_or((&"", &[]));
        let rule = format!("{options:?}: the mount is {}{seen}", if there { "" } else { "not " });
        option(name, &rule)
            .with("/mounts/-", tmpfs(options))
            .sees(word(&mounted(AT, if of_super { "super" } else { "options" }), seen, there))
            .noticing(match (*name, before) {
                // What a mount has anyway is missed by one that does the opposite.
                ("relatime" | "nostrictatime", _) => {
                    Broken::Reads(vec![to(&format!("{OWN}/options"), json!(["strictatime"]))])
                }
                _ => Broken::Reads(vec![to(&format!("{OWN}/options"), json!(before))]),
            })
    });
    let lazy = [("lazytime", true), ("nolazytime", false)].into_iter().map(|(name, there)| {
        let options = if there { vec!["lazytime"] } else { vec!["lazytime", "nolazytime"] };
        let other = if there { json!([]) } else { json!(["lazytime"]) };
        option(name, "updates of times are put off, or not")
            .with("/mounts/-", tmpfs(&options))
            .sees(word(&mounted(AT, "super"), "lazytime", there))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/options"), other)]))
    });
    let silent = SILENT.into_iter().map(|name| {
        option(name, &format!("{name} is known, and is not handed to the filesystem as data"))
            .with("/mounts/-", tmpfs(&[name]))
            .sees(is(&mounted(AT, "type"), "tmpfs"))
    });
    set.chain(lazy).chain(silent)
}

fn recursive() -> impl Iterator<Item = Case> {
    // What is not asked for is what a mount has anyway.
    let silent = option("rnorelatime", "rnorelatime is known, and is not handed to the filesystem as data")
        .hold(tree)
        .with("/mounts/-", bind(&["rbind", "rnorelatime"]))
        .sees(is(&mounted("/o/below", "type"), "tmpfs"));
    let set = RECURSIVE.into_iter().map(|(name, flags, seen, there)| {
        let rule = format!("what is mounted below is {}{seen}", if there { "" } else { "not " });
        option(name, &rule)
            .hold(move |s| flagged(s, flags))
            .with("/mounts/-", bind(&["rbind", name]))
            .sees(word(&mounted("/o/below", "options"), seen, there))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/options"), json!(["rbind"]))]))
    });
    set.chain([silent])
}

/// What ties a bind to other mounts, by the options; a name alone is a sort of tag.
fn propagation() -> impl Iterator<Item = Case> {
    [
        ("private", ""),
        ("rprivate", ""),
        ("slave", "master"),
        ("rslave", "master"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ]
    .into_iter()
    .flat_map(|(name, tag)| {
        let deep = name.starts_with('r');
        let at = |target: &str| mounted(target, "tags");
        let tags = move |found: &Value| -> Check {
            let all = found.as_array().cloned().unwrap_or_default();
            let all: Vec<&str> =
                all.iter().filter_map(Value::as_str).map(|t| t.split(':').next().unwrap_or(t)).collect();
            check!(found.is_array(), "there is no mount");
            // A shared mount may be a slave of another besides.
            let fine = match tag {
                "" => all.is_empty(),
                "master" => all == ["master"],
                _ => all.contains(&tag),
            };
            check!(fine, "tags {all:?}, not {tag}");
            Ok(())
        };
        let other = if tag == "shared" { "private" } else { "shared" };
        let other = if deep { format!("r{other}") } else { other.to_owned() };
        let case = option(name, &format!("the mount is {name}"))
            .hold(tree)
            .with("/mounts/-", bind(&["rbind", name]))
            .sees(judged(&at(AT), tags))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/options/1"), other.clone())]));
        let below = deep.then(|| {
            Case::new(
                OPTIONS,
                Level::Must,
                &format!("mounts/option/{name}/below"),
                "so is what is mounted below",
            )
            .hold(tree)
            .with("/mounts/-", bind(&["rbind", name]))
            .sees(judged(&at("/o/below"), tags))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/options/1"), other)]))
        });
        [Some(case), below].into_iter().flatten()
    })
}

fn binds() -> Vec<Case> {
    let inner = "/stat/~1o~1below~1file/type";
    vec![
        option("bind", "a bind shows the source without what is mounted below it")
            .hold(tree)
            .args(&["--stat", "/o/file", "--stat", "/o/below/file"])
            .with("/mounts/-", bind(&["bind"]))
            .sees(is(&stat("/o/file", "type"), "file"))
            .sees(is("/stat/~1o~1below~1file/errno", libc::ENOENT))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/options"), json!(["rbind"]))])),
        option("rbind", "a recursive bind shows what is mounted below the source, too")
            .hold(tree)
            .args(&["--stat", "/o/below/file"])
            .with("/mounts/-", bind(&["rbind"]))
            .sees(is(inner, "file"))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/options"), json!(["bind"]))])),
        option("remount", "a mount that is there is given other options")
            .with("/mounts/-", json!({
                "type": "tmpfs", "source": "tmpfs", "destination": "/dev/shm", "options": ["remount", "ro"],
            }))
            .sees(has(&mounted("/dev/shm", "options"), "ro")),
    ]
}

fn places() -> Vec<Case> {
    let at = |destination: &str| json!({ "type": "tmpfs", "source": "tmpfs", "destination": destination });
    let etc =
        |source: &str| json!({ "type": "none", "source": source, "destination": AT, "options": ["bind"] });
    vec![
        must(PLACE, "mounts/order", "mounts are made in the order of the list")
            .args(&["--stat", "/o/in"])
            .with("/mounts/-", at("/o/in"))
            .with("/mounts/-", at("/o"))
            .sees(is("/stat/~1o~1in/errno", libc::ENOENT))
            .noticing(Broken::Reads(vec![to("/mounts/7", at("/o")), to("/mounts/8", at("/o/in"))])),
        must(PLACE, "mounts/order/over", "a later mount covers an earlier one at the same place")
            .with("/mounts/-", json!({ "type": "tmpfs", "source": "first", "destination": AT }))
            .with("/mounts/-", json!({ "type": "tmpfs", "source": "second", "destination": AT }))
            .sees(is(&mounted(AT, "source"), "second"))
            .noticing(Broken::Reads(vec![gone("/mounts/8")])),
        must(PLACE, "mounts/destination/relative", "a relative destination begins at /")
            .with("/mounts/-", at("o"))
            .sees(is(&mounted(AT, "type"), "tmpfs")),
        must(PLACE, "mounts/destination/made", "a destination that is not there is made")
            .with("/mounts/-", at("/a/b/c"))
            .sees(is(&mounted("/a/b/c", "type"), "tmpfs")),
        must(PLACE, "mounts/destination/absent", "a mount has a destination")
            .with("/mounts/-", at(AT))
            .lacking(&format!("{OWN}/destination")),
        must(PLACE, "mounts/source/relative", "a relative source of a bind begins at the bundle")
            .args(&["--stat", "/o/passwd"])
            .with("/mounts/-", etc("rootfs/etc"))
            .sees(is(&stat("/o/passwd", "type"), "file"))
            .noticing(Broken::Reads(vec![to(&format!("{OWN}/source"), "rootfs/tmp")])),
        must(PLACE, "mounts/source/file", "a file is mounted on a file")
            .args(&["--stat", "/etc/bound"])
            .with("/mounts/-", json!({
                "type": "bind", "source": "rootfs/etc/group", "destination": "/etc/bound", "options": ["bind"],
            }))
            .sees(is(&stat("/etc/bound", "type"), "file")),
        must(PLACE, "mounts/source/missing", "a source that is not there is an error")
            .with("/mounts/-", etc("rootfs/etc"))
            .fault(&format!("{OWN}/source"), "rootfs/none"),
        must(PLACE, "mounts/type/unknown", "a filesystem that the kernel does not have is an error")
            .with("/mounts/-", at(AT))
            .fault(&format!("{OWN}/type"), "no-such-filesystem"),
        should(OPTIONS, "mounts/data/size", "an option that is none of mounts goes to the filesystem: a size")
            .with("/mounts/-", tmpfs(&["size=1m"]))
            .sees(has(&mounted(AT, "super"), "size=1024k"))
            .noticing(Broken::Reads(vec![gone(&format!("{OWN}/options"))])),
        should(OPTIONS, "mounts/data/mode", "an option that is none of mounts goes to the filesystem: a mode")
            .with("/mounts/-", tmpfs(&["mode=0710"]))
            .sees(has(&mounted(AT, "super"), "mode=710"))
            .noticing(Broken::Reads(vec![gone(&format!("{OWN}/options"))])),
        should(OPTIONS, "mounts/data/unknown", "data that the filesystem does not know is an error")
            .with("/mounts/-", tmpfs(&["nosuid"]))
            .fault(&format!("{OWN}/options/-"), "no-such-option=1"),
        must(PLACE, "mounts/type/mqueue", "a filesystem of the kernel is mounted: mqueue")
            .with("/mounts/-", json!({ "type": "mqueue", "source": "mqueue", "destination": AT }))
            .sees(is(&mounted(AT, "type"), "mqueue")),
        must(PLACE, "mounts/type/proc", "a filesystem of the kernel is mounted: proc")
            .with("/mounts/-", json!({ "type": "proc", "source": "proc", "destination": AT }))
            .sees(is(&mounted(AT, "type"), "proc")),
    ]
}

/// Mounts with other owners.
fn mapped() -> Vec<Case> {
    let ids = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    let mount = |options: &[&str]| {
        let mut mount = bind(options);
        mount["uidMappings"] = ids(1234);
        mount["gidMappings"] = ids(2345);
        mount
    };
    let mut all = Vec::new();
    for (name, options, file) in
        [("idmap", ["bind", "idmap"], "/o/file"), ("ridmap", ["rbind", "ridmap"], "/o/below/file")]
    {
        for (key, wanted) in [("uid", 1234), ("gid", 2345)] {
            let rule = format!("{name}: files are owned by the mapped {key}");
            all.push(
                should(OPTIONS, &format!("mounts/option/{name}/{key}"), &rule)
                    .hold(tree)
                    .args(&["--stat", file])
                    .with("/mounts/-", mount(&options))
                    .sees(is(&stat(file, key), wanted))
                    .noticing(Broken::Reads(vec![to(&format!("{OWN}/{key}Mappings"), ids(77))])),
            );
        }
        all.push(
            must(OPTIONS, &format!("mounts/option/{name}/no-mapping"), "without any mapping it is an error")
                .hold(tree)
                .with("/mounts/-", bind(&options[..1]))
                .fault(&format!("{OWN}/options/-"), name),
        );
    }
    for (key, other) in [("uid", "gid"), ("gid", "uid")] {
        let rule = format!("{key}Mappings come together with {other}Mappings");
        all.push(
            must(PLACE, &format!("mounts/{key}Mappings/alone"), &rule)
                .hold(tree)
                .with("/mounts/-", mount(&["bind", "idmap"]))
                .lacking(&format!("{OWN}/{other}Mappings")),
        );
    }
    all
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all = places();
    all.extend(plain());
    all.extend(binds());
    all.extend(propagation());
    all.extend(recursive());
    all.extend(mapped());
    all
}
