//! Namespaces: new, inherited, joined (config-linux.md, Namespaces, User namespace mappings, Offset for Time
//! Namespace).

use super::super::broken::{Broken, to};
use super::super::case::{Case, Held, Scene};
use super::super::seen::{is, is_not, stat};
use super::{must, should};
use crate::harness::{Config, Sandbox};
use crate::{Check, Failed, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PLACE: &str = "config-linux.md, Namespaces";
const MAPPINGS: &str = "config-linux.md, User namespace mappings";
const OFFSETS: &str = "config-linux.md, Offset for Time Namespace";

/// Type and file of each kind.
pub(super) const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// A process that keeps namespaces.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = sys::kill(self.0.id().cast_signed(), libc::SIGTERM);
        let _ = self.0.wait();
    }
}

fn hold(s: &Sandbox, kind: &str) -> Check<(Holder, String)> {
    let mut child =
        Command::new(s.probe()).args(["hold", kind]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pipe = child.stdout.take().ok_or("no pipe")?;
    let holder = Holder(child);
    check!(sys::readable(pipe.as_fd(), Duration::from_secs(60))?, "the holder says nothing");
    let mut line = String::new();
    BufReader::new(pipe).read_line(&mut line)?;
    Ok((holder, line.trim().to_owned()))
}

/// The same of a user namespace in which the ids are mapped as in the other cases.
fn hold_user() -> Check<(Holder, String)> {
    let mut child = Command::new("unshare")
        .args(["--user", "sh", "-c", "echo $$; read gone"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = child.stdout.take().ok_or("no pipe")?;
    let holder = Holder(child);
    check!(sys::readable(pipe.as_fd(), Duration::from_secs(60))?, "the holder says nothing");
    let mut line = String::new();
    BufReader::new(pipe).read_line(&mut line)?;
    let pid = line.trim().to_owned();
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{file}"), "0 100000 65536\n")?;
    }
    Ok((holder, pid))
}

fn own(file: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{file}"));
    link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The default config without one kind of namespace and what needs it.
fn without(kind: &str) -> Config {
    let config = Config::new(&["/bin/probe", "report"]).without_namespace(kind);
    match kind {
        "uts" => config.remove("/hostname"),
        "mount" => config.remove("/linux/maskedPaths").remove("/linux/readonlyPaths"),
        _ => config,
    }
}

fn mapped(case: Case) -> Case {
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    case.with("/linux/uidMappings", ids.clone()).with("/linux/gidMappings", ids)
}

/// A case with this namespace added to a config that lacks it.
fn with(name: &str, rule: &str, kind: &str) -> Case {
    let case = must(PLACE, &format!("namespaces/{kind}/{name}"), rule).base(without(kind));
    let case = if kind == "user" { mapped(case) } else { case };
    case.with("/linux/namespaces/-", json!({ "type": kind }))
}

fn each(kind: &'static str, file: &'static str) -> Vec<Case> {
    let at = format!("/namespaces/{file}");
    let rule = format!("without a path the {kind} namespace is new");
    let new = with("new", &rule, kind).sees(is_not(&at, own(file)));
    // A container without a mount namespace of its own may change the host's.
    let new = if kind == "mount" { new.noticing(Broken::Declines("run")) } else { new };
    let next = if kind == "user" || kind == "cgroup" || kind == "time" { 5 } else { 4 };
    let other = if file == "ipc" { "uts" } else { "ipc" };
    let path = format!("/proc/self/ns/{other}");
    vec![
        should(PLACE, &format!("namespaces/{kind}/supported"), &format!("{kind} namespaces are supported"))
            .base(without(kind))
            .with("/linux/namespaces/-", json!({ "type": kind }))
            .noticing(Broken::Declines("run")),
        new,
        with("twice", "the same type twice is an error", kind)
            .fault("/linux/namespaces/-", json!({ "type": kind })),
        with("path-of-another", "a path of another kind of namespace is an error", kind)
            .fault(&format!("/linux/namespaces/{next}/path"), path),
        with("path-relative", "the path of a namespace is absolute", kind)
            .fault(&format!("/linux/namespaces/{next}/path"), format!("self/ns/{file}")),
    ]
    .into_iter()
    .map(|case| if kind == "user" && case.name.ends_with("supported") { mapped(case) } else { case })
    .collect()
}

fn inherited(kind: &'static str, file: &'static str) -> Case {
    let at = format!("/namespaces/{file}");
    let rule = format!("a {kind} namespace that is not in the config is the runtime's");
    let case = must(PLACE, &format!("namespaces/{kind}/inherited"), &rule).base(without(kind));
    let list = without(kind).push("/linux/namespaces", json!({ "type": kind }));
    let mut broken = vec![to("/linux/namespaces", list.get("/linux/namespaces").clone())];
    if kind == "user" {
        let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        broken.extend([to("/linux/uidMappings", ids.clone()), to("/linux/gidMappings", ids)]);
    }
    case.sees(is(&at, own(file))).noticing(Broken::Reads(broken))
}

/// Runs the container in a mount namespace made for the call, which the program has to be in.
fn inherited_mounts(scene: &Scene) -> Check {
    let rt = scene.s.runtime();
    let bundle = scene.bundle()?;
    let inner = rt.command();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        "readlink /proc/self/ns/mnt >&2; exec \"$@\"",
    ]);
    command.arg("sh").arg(inner.get_program()).args(inner.get_args());
    command.args(["run", "--bundle"]).arg(bundle.path()).arg("c1").stdin(Stdio::null());
    command.current_dir(scene.s.dir());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = rt.finish(command)?.success()?;
    let own = output.stderr.lines().next().unwrap_or_default().to_owned();
    check_eq!(output.json()?["namespaces"]["mnt"], own);
    Ok(())
}

fn joined(kind: &'static str, file: &'static str) -> Case {
    let rule = format!("with a path the program is in the {kind} namespace there");
    must(PLACE, &format!("namespaces/{kind}/joined"), &rule)
        .base(without(kind).remove("/hostname"))
        .with("/linux/namespaces/-", json!({ "type": kind }))
        .hold(move |s| {
            let (holder, pid) = if kind == "user" { hold_user()? } else { hold(s, kind)? };
            let path = format!("/proc/{pid}/ns/{file}");
            let link = fs::read_link(&path)?.to_string_lossy().into_owned();
            s.make_file("wanted", &link)?;
            let list = without(kind).push("/linux/namespaces", json!({ "type": kind, "path": path }));
            Ok((
                Box::new(holder) as Held,
                vec![to("/linux/namespaces", list.get("/linux/namespaces").clone())],
            ))
        })
        .noticing(Broken::Reads(vec![to(
            "/linux/namespaces",
            match kind {
                // A new one would need mappings, which the case does not have.
                "user" => without(kind).get("/linux/namespaces").clone(),
                _ => without(kind)
                    .push("/linux/namespaces", json!({ "type": kind }))
                    .get("/linux/namespaces")
                    .clone(),
            },
        )]))
        .body(move |scene| {
            let wanted = fs::read_to_string(scene.s.dir().join("wanted"))?;
            check_eq!(scene.report()?["namespaces"][file], wanted);
            Ok(())
        })
}

/// The program's ids as the host sees them.
fn host_id(scene: &Scene, of: fn(&fs::Metadata) -> u32, wanted: u32) -> Check {
    let pid = scene.sleeper()?;
    check_eq!(of(&fs::metadata(format!("/proc/{pid}/root/proc/1"))?), wanted);
    Ok(())
}

fn mappings() -> Vec<Case> {
    let user = |name: &str, rule: &str| {
        mapped(must(MAPPINGS, &format!("mappings/{name}"), rule))
            .with("/linux/namespaces/-", json!({ "type": "user" }))
    };
    let shifted = |which: &str| Broken::Reads(vec![to(&format!("/linux/{which}Mappings/0/hostID"), 200_000)]);
    vec![
        user("uid", "user ids of the container are the mapped ones of the host")
            .noticing(shifted("uid"))
            .body(|scene| host_id(scene, fs::Metadata::uid, 100_000)),
        user("gid", "group ids of the container are the mapped ones of the host")
            .noticing(shifted("gid"))
            .body(|scene| host_id(scene, fs::Metadata::gid, 100_000)),
        user("inside", "inside, the ids are those of the config")
            .sees(is("/uid", 0))
            .sees(is("/gid", 0))
            .noticing(Broken::Reads(vec![to("/process/user/uid", 5)])),
        Case::new(
            MAPPINGS,
            super::super::case::Level::Should,
            "mappings/no-chown",
            "files keep their owners",
        )
        .args(&["--stat", "/bin/probe"])
        .with("/linux/namespaces/-", json!({ "type": "user" }))
        .with("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]))
        .with("/linux/gidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]))
        .sees(is(&stat("/bin/probe", "uid"), 65534)),
        user("text", "a mapping holds numbers").fault("/linux/uidMappings/0/size", "all"),
    ]
}

fn offsets() -> impl Iterator<Item = Case> {
    ["monotonic", "boottime"].into_iter().map(|clock| {
        let value: Value = json!({ clock: { "secs": 12345, "nanosecs": 678 } });
        must(
            OFFSETS,
            &format!("time-offsets/{clock}"),
            "the clock of the container is set off as the config says",
        )
        .base(Config::new(&["/bin/probe", "cat", "/proc/self/timens_offsets"]))
        .with("/linux/namespaces/-", json!({ "type": "time" }))
        .with("/linux/timeOffsets", value)
        .body(move |scene| {
            let text = scene.run()?.stdout;
            let line = text.lines().find(|line| line.starts_with(clock));
            let line = line.ok_or_else(|| Failed::from(format!("no {clock} in {text}")))?;
            let numbers: Vec<&str> = line.split_whitespace().skip(1).collect();
            check_eq!(numbers, ["12345", "678"]);
            Ok(())
        })
        .noticing(Broken::Reads(vec![to(&format!("/linux/timeOffsets/{clock}/secs"), 1)]))
    })
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (kind, file) in KINDS {
        all.extend(each(kind, file));
        if kind == "mount" {
            let rule = "a mount namespace that is not in the config is the runtime's";
            let case = must(PLACE, "namespaces/mount/inherited", rule).base(without("mount"));
            let list = without("mount").push("/linux/namespaces", json!({ "type": "mount" }));
            let broken = Broken::Reads(vec![to("/linux/namespaces", list.get("/linux/namespaces").clone())]);
            all.push(case.noticing(broken).body(inherited_mounts));
            continue;
        }
        all.push(inherited(kind, file));
        all.push(joined(kind, file));
    }
    all.push(
        must(PLACE, "namespaces/unknown", "an unknown type of namespace is an error")
            .fault("/linux/namespaces/-", json!({ "type": "none" })),
    );
    all.extend(mappings());
    all.extend(offsets());
    all
}
