//! The root filesystem, what is in it without being asked for, and the names (config.md, Root, Hostname,
//! Domainname; config-linux.md, Default Filesystems and Default Devices; runtime-linux.md, Dev symbolic links).

use super::super::broken::{Broken, gone, to};
use super::super::case::Case;
use super::super::seen::{is, is_not, judged, mounted, stat};
use super::{must, should};
use crate::check;
use crate::harness::{Bundle, Config, Sandbox};
use serde_json::{Value, json};
use std::fs;

const ROOT: &str = "config.md, Root";
const NAMES: &str = "config.md, Hostname and Domainname";
const FILESYSTEMS: &str = "config-linux.md, Default Filesystems";
const DEVICES: &str = "config-linux.md, Default Devices";
const LINKS: &str = "runtime-linux.md, Dev symbolic links";

/// How many mounts the default config has; the next one has this index.
const NEXT: &str = "/mounts/7";

/// Default devices, their numbers, and another device of the host.
const DEFAULT: [(&str, &str, &str); 6] = [
    ("null", "1:3", "zero"),
    ("zero", "1:5", "null"),
    ("full", "1:7", "null"),
    ("random", "1:8", "null"),
    ("urandom", "1:9", "null"),
    ("tty", "5:0", "null"),
];

fn mark(_: &Sandbox, bundle: &Bundle) -> crate::Check {
    Ok(fs::write(bundle.rootfs().join("etc/mark"), "x")?)
}

fn root() -> Vec<Case> {
    let marked = |name: &str, rule: &str| {
        let case = must(ROOT, name, rule).args(&["--stat", "/etc/mark"]).prepare(mark);
        case.sees(is(&stat("/etc/mark", "type"), "file"))
            .noticing(Broken::Reads(vec![to("/root/path", "rootfs/home")]))
    };
    let writable = |case: Case| case.args(&["--stat", "/"]);
    let bare = Config::new(&["/bin/probe", "report"]).remove("/root/readonly");
    vec![
        marked("root/path/relative", "a relative path of the root begins at the bundle"),
        marked("root/path/absolute", "an absolute path of the root is one of the host")
            .with("/root/path", "{dir}/bundle-0/rootfs"),
        must(ROOT, "root/path/missing", "there must be a directory at the path").fault("/root/path", "none"),
        must(ROOT, "root/path/file", "what is at the path must be a directory")
            .fault("/root/path", "config.json"),
        must(ROOT, "root/path/absent", "a root has a path").lacking("/root/path"),
        must(ROOT, "root/absent", "on Linux a config has a root").lacking("/root"),
        writable(must(ROOT, "root/readonly/true", "a read-only root cannot be written").base(bare.clone()))
            .with("/root/readonly", true)
            .sees(is(&stat("/", "readonly"), true)),
        writable(must(ROOT, "root/readonly/false", "a root that is not read-only can be written"))
            .with("/root/readonly", false)
            .sees(is(&stat("/", "readonly"), false)),
        writable(must(ROOT, "root/readonly/default", "a root is not read-only without being asked for"))
            .without("/root/readonly")
            .sees(is(&stat("/", "readonly"), false)),
    ]
}

fn names() -> Vec<Case> {
    vec![
        must(NAMES, "hostname/set", "the container's hostname is that of the config")
            .with("/hostname", "a-host.example")
            .sees(is("/hostname", "a-host.example")),
        must(NAMES, "domainname/set", "the container's domain name is that of the config")
            .with("/domainname", "example.org")
            .sees(is("/domainname", "example.org")),
    ]
}

fn filesystems() -> impl Iterator<Item = Case> {
    [("/proc", "proc", 0), ("/sys", "sysfs", 5), ("/dev/pts", "devpts", 2), ("/dev/shm", "tmpfs", 3)]
        .into_iter()
        .map(|(target, kind, index)| {
            let rule = format!("{kind} is on {target}");
            let name = format!("filesystems{target}");
            // Without a procfs the program cannot tell its mounts.
            let fact = match target {
                "/proc" => judged("/mounts", |m| {
                    check!(m.as_array().is_some_and(|list| !list.is_empty()), "no /proc/self/mountinfo: {m}");
                    Ok(())
                }),
                _ => is(&mounted(target, "type"), kind),
            };
            should(FILESYSTEMS, &name, &rule)
                .sees(fact)
                .noticing(Broken::Reads(vec![gone(&format!("/mounts/{index}"))]))
        })
}

/// A bind of a device of the host over another name.
fn over(source: &str, target: &str) -> Broken {
    let mount = json!({ "type": "bind", "source": source, "destination": target, "options": ["bind"] });
    Broken::Reads(vec![to(NEXT, mount)])
}

fn devices() -> impl Iterator<Item = Case> {
    let nodes = DEFAULT.into_iter().map(|(name, numbers, other)| {
        let path = format!("/dev/{name}");
        must(DEVICES, &format!("devices/default/{name}"), &format!("{path} is there without being asked for"))
            .args(&["--stat", &path])
            .sees(is(&stat(&path, "type"), "char"))
            .sees(is(&stat(&path, "rdev"), numbers))
            .noticing(over(&format!("/dev/{other}"), &path))
    });
    let works = DEFAULT.into_iter().take(5).map(|(name, _, _)| {
        let path = format!("/dev/{name}");
        let asked = format!("{path}:rw");
        let at = format!("/open/{}", super::super::seen::escape(&asked));
        must(DEVICES, &format!("devices/default/{name}/opens"), "a default device can be read and written")
            .args(&["--open", &asked])
            .with("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .sees(is(&at, "ok"))
            .noticing(over("{dir}/bundle-0/config.json", &path))
    });
    let ptmx = must(DEVICES, "devices/default/ptmx", "/dev/ptmx is the container's own pseudo terminals")
        .args(&["--open", "/dev/ptmx:rw", "--stat", "/dev/ptmx"])
        .sees(is("/open/~1dev~1ptmx:rw", "ok"))
        .sees(judged("/stat/~1dev~1ptmx", |ptmx: &Value| {
            let link = ptmx["link"].as_str().is_some_and(|link| link.ends_with("pts/ptmx"));
            check!(link || ptmx["type"] == "char", "{ptmx}");
            Ok(())
        }))
        .noticing(Broken::Reads(vec![gone("/mounts/2")]));
    nodes.chain(works).chain([ptmx])
}

fn links() -> impl Iterator<Item = Case> {
    [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ]
    .into_iter()
    .map(|(name, target)| {
        let path = format!("/dev/{name}");
        must(LINKS, &format!("links/{name}"), &format!("{path} is a link to {target}"))
            .args(&["--stat", &path])
            .sees(is(&stat(&path, "link"), target))
            .sees(is_not(&stat(&path, "type"), "file"))
            .noticing(over("/dev/null", &path))
    })
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    root().into_iter().chain(names()).chain(filesystems()).chain(devices()).chain(links()).collect()
}
