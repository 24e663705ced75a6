//! What `features` claims can be had, and what it says of itself (features.md, features-linux.md).
//!
//! A name that the document of this runtime does not have is skipped: it claims nothing.

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Level};
use super::rights::NAMES;
use super::{Host, must};
use crate::harness::Config;
use crate::{Check, check, check_eq};
use serde_json::{Value, json};

const PLACE: &str = "features.md";
const LINUX: &str = "features-linux.md";

/// The actions that take nothing else: SCMP_ACT_NOTIFY takes an agent.
const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

const ARCHITECTURES: [&str; 23] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// Modes of memory policies with nodes that they take.
const MODES: [(&str, Option<&str>); 7] = [
    ("MPOL_DEFAULT", None),
    ("MPOL_LOCAL", None),
    ("MPOL_BIND", Some("0")),
    ("MPOL_INTERLEAVE", Some("0")),
    ("MPOL_WEIGHTED_INTERLEAVE", Some("0")),
    ("MPOL_PREFERRED", Some("0")),
    ("MPOL_PREFERRED_MANY", Some("0")),
];

/// Flags of memory policies.
const POLICY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// The properties of the document, and of its part for Linux.
const PROPERTIES: [&[&str]; 2] = [
    &[
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ],
    &[
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "netDevices",
    ],
];

/// Options that take more than a mount: mappings.
const MAPPED: [&str; 2] = ["idmap", "ridmap"];

/// Data of filesystems, which are no options of mounts.
const DATA: [&str; 8] = ["size", "mode", "uid", "gid", "lowerdir", "newinstance", "ptmxmode", "hidepid"];

/// A profile that lets everything pass but what `rule` says.
fn profile(rule: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

/// Runs through: the config of a claimed name is taken.
struct Claims<'a>(&'a Value);

impl Claims<'_> {
    fn missing(&self, list: &str, name: &str) -> Option<String> {
        let Some(names) = self.0.pointer(list).and_then(Value::as_array) else {
            return Some(format!("the runtime's features have no {list}"));
        };
        let claimed = names.iter().any(|n| n.as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        (!claimed).then(|| format!("{name} is not claimed"))
    }

    fn case(&self, area: &str, list: &str, name: &str, pointer: &str, value: Value) -> Case {
        let rule = format!("what `features` lists at {list} is taken: {name}");
        must(LINUX, &format!("features/{area}/{name}"), &rule)
            .with(pointer, value)
            .unless(self.missing(list, name))
            .noticing(Broken::Declines("run"))
    }

    fn seccomp(&self) -> Vec<Case> {
        let at = "/linux/seccomp";
        let mut all = Vec::new();
        for name in ACTIONS {
            let value = profile(json!({ "names": ["vhangup"], "action": name }));
            all.push(self.case("seccomp-action", "/linux/seccomp/actions", name, at, value));
        }
        for name in OPERATORS {
            let arg = json!({ "index": 0, "value": 12345, "valueTwo": 1, "op": name });
            let value = profile(json!({ "names": ["umount2"], "action": "SCMP_ACT_ERRNO", "args": [arg] }));
            all.push(self.case("seccomp-operator", "/linux/seccomp/operators", name, at, value));
        }
        for name in ARCHITECTURES {
            let mut value = profile(json!({ "names": ["vhangup"], "action": "SCMP_ACT_ERRNO" }));
            value["architectures"] = json!([name]);
            all.push(self.case("seccomp-arch", "/linux/seccomp/archs", name, at, value));
        }
        for (name, list) in FLAGS.into_iter().flat_map(|n| [(n, "knownFlags"), (n, "supportedFlags")]) {
            let mut value = profile(json!({ "names": ["vhangup"], "action": "SCMP_ACT_ERRNO" }));
            value["flags"] = json!([name]);
            let list = format!("/linux/seccomp/{list}");
            let area = if list.ends_with("knownFlags") { "seccomp-known-flag" } else { "seccomp-flag" };
            all.push(self.case(area, &list, name, at, value));
        }
        all
    }

    fn policies(&self) -> impl Iterator<Item = Case> {
        MODES.into_iter().map(|(name, nodes)| {
            let mut value = json!({ "mode": name });
            if let Some(nodes) = nodes {
                value["nodes"] = nodes.into();
            }
            self.case("memory-policy", "/linux/memoryPolicy/modes", name, "/linux/memoryPolicy", value)
        })
    }

    fn policy_flags(&self) -> impl Iterator<Item = Case> {
        POLICY_FLAGS.into_iter().map(|name| {
            let value = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [name] });
            let list = "/linux/memoryPolicy/flags";
            self.case("memory-policy-flag", list, name, "/linux/memoryPolicy", value)
        })
    }
}

/// Runs a container for each option that the document lists: what is no option would be data, of which the
/// filesystem knows nothing.
fn options_are_taken(scene: &super::super::case::Scene) -> Check {
    let document = scene.s.runtime().call(&["features"])?.success()?.json()?;
    let list = document["mountOptions"].as_array().cloned().unwrap_or_default();
    check!(!list.is_empty(), "no options: {document}");
    let names = list.iter().filter_map(Value::as_str).filter(|name| !MAPPED.contains(name));
    for (number, name) in names.enumerate() {
        let mount = match name {
            "bind" | "rbind" => {
                json!({ "type": "bind", "source": scene.s.dir(), "destination": "/tmp", "options": [name] })
            }
            // There has to be a mount.
            "remount" => {
                json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/dev", "options": [name] })
            }
            _ => json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": [name] }),
        };
        let bundle = scene.bundle_of(&scene.config().push("/mounts", mount))?;
        let output = scene.s.runtime().run(bundle.path(), &format!("option-{number}"))?;
        check!(output.code == 0, "{name}:\n{output}");
    }
    Ok(())
}

/// The document of a case's own call.
fn document(body: impl Fn(&Value) -> Check + 'static) -> impl Fn(&super::super::case::Scene) -> Check {
    move |scene| body(&scene.s.runtime().call(&["features"])?.success()?.json()?)
}

fn numbers(version: &Value) -> Check<Vec<u64>> {
    let text = version.as_str().unwrap_or_default().split('-').next().unwrap_or_default();
    let numbers: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
    let numbers = numbers.map_err(|_| format!("not a version: {version}"))?;
    check_eq!(numbers.len(), 3, "parts of {version}");
    Ok(numbers)
}

fn itself(host: &Host) -> Vec<Case> {
    let none = host.features.is_null().then(|| "the runtime has no command `features`".to_owned());
    let answers = |pointer: &str, value: Value| Broken::Answers("features", vec![to(pointer, value)]);
    let case = |level, name: &str, rule: &str| Case::new(PLACE, level, name, rule).unless(none.clone());
    let mut all = vec![
        case(Level::Must, "features/version/order", "the highest version is not below the lowest")
            .noticing(answers("/ociVersionMax", "0.9.0".into()))
            .body(document(|d| {
                let (min, max) = (numbers(&d["ociVersionMin"])?, numbers(&d["ociVersionMax"])?);
                check!(min <= max, "{min:?} {max:?}");
                Ok(())
            })),
        case(Level::Should, "features/mount-options/no-data", "data of filesystems is not among the options")
            .noticing(answers("/mountOptions/0", "size".into()))
            .body(document(|d| {
                let list = d["mountOptions"].as_array().cloned().unwrap_or_default();
                check!(!list.iter().any(|o| DATA.iter().any(|data| o == data)), "{list:?}");
                Ok(())
            })),
        case(Level::Must, "features/mount-options/taken", "options that are listed are options of mounts")
            .base(Config::new(&["/bin/probe", "exit", "0"]))
            .noticing(answers("/mountOptions/0", "nosuchoption".into()))
            .body(options_are_taken),
        case(Level::Must, "features/properties", "there is nothing that the specification does not define")
            .noticing(answers("/nosuchproperty", true.into()))
            .body(document(|d| {
                for (part, known) in [d, &d["linux"]].into_iter().zip(PROPERTIES) {
                    let other = part.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
                    let other: Vec<&str> = other.filter(|key| !known.contains(key)).collect();
                    check!(other.is_empty(), "{other:?}");
                }
                Ok(())
            })),
        case(Level::Must, "features/annotations", "annotations are texts by names that are not empty")
            .noticing(answers("/annotations", json!({ "a": 1 })))
            .body(document(|d| {
                let fine = |(key, value): (&String, &Value)| !key.is_empty() && value.is_string();
                check!(d["annotations"].as_object().is_none_or(|map| map.iter().all(fine)), "{d}");
                Ok(())
            })),
    ];
    for key in ["ociVersionMin", "ociVersionMax"] {
        let pointer = format!("/{key}");
        all.push(
            case(Level::Must, &format!("features/{key}/form"), "the document names a semantic version")
                .noticing(Broken::Answers("features", vec![gone(&pointer)]))
                .body(document(move |d| numbers(&d[key]).map(drop))),
        );
        let version = host.features[key].as_str().unwrap_or("1.0.0");
        all.push(
            case(
                Level::Must,
                &format!("features/{key}/taken"),
                "a config of a version that is named is taken",
            )
            .with("/ociVersion", version)
            .noticing(Broken::Declines("run")),
        );
    }
    all
}

/// Lists of names, none of which may be lost.
fn lists(host: &Host) -> Vec<Case> {
    let claims = Claims(&host.features);
    let mut all = Vec::new();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let rule = format!("hooks that `features` lists are called: {kind}");
        let (path, file) =
            if kind == "startContainer" { ("/bin/probe", "/out/x") } else { ("{dir}/probe", "{dir}/out/x") };
        let out = json!({ "type": "bind", "source": "{dir}/out", "destination": "/out", "options": ["bind", "rw"] });
        all.push(
            must(PLACE, &format!("features/hooks/{kind}"), &rule)
                .base(Config::new(&["/bin/probe", "exit", "0"]).push("/mounts", out))
                .with(
                    &format!("/hooks/{kind}"),
                    json!([{ "path": path, "args": ["probe", "append", file, "x"] }]),
                )
                .prepare(|s, _| s.make_dir("out").map(drop))
                .unless(claims.missing("/hooks", kind))
                .body(|scene| {
                    scene.run()?;
                    check!(scene.s.dir().join("out/x").exists(), "the hook was not called");
                    Ok(())
                }),
        );
    }
    for name in NAMES {
        let pointer = "/process/capabilities/bounding";
        let case = claims.case("capability", "/linux/capabilities", name, pointer, json!([name]));
        let lost = (host.capabilities & 1 << NAMES.iter().position(|n| *n == name).unwrap_or(0) == 0)
            .then(|| format!("the caller has no {name} to give"));
        all.push(case.unless(lost).body(move |scene| {
            let said = scene.run()?.stderr;
            check!(!said.contains(name), "{said}");
            Ok(())
        }));
    }
    for (kind, _) in super::namespaces::KINDS {
        let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        let with = Config::new(&[]).namespace(kind, None);
        let list = with.get("/linux/namespaces").clone();
        let case = claims.case("namespace", "/linux/namespaces", kind, "/linux/namespaces", list);
        all.push(match kind {
            "user" => case.with("/linux/uidMappings", ids.clone()).with("/linux/gidMappings", ids),
            _ => case,
        });
    }
    all
}

/// The cases.
pub(super) fn cases(host: &Host) -> Vec<Case> {
    let claims = Claims(&host.features);
    let mut all = itself(host);
    all.extend(lists(host));
    all.extend(claims.seccomp());
    all.extend(claims.policies());
    all.extend(claims.policy_flags());
    all
}
