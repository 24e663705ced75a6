//! What is hidden or cannot be written, kernel parameters, propagation of the root, execution domain and memory
//! policy (config-linux.md).

use super::super::broken::{Broken, gone, to};
use super::super::case::Case;
use super::super::seen::{is, judged, mounted, stat};
use super::must;
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

const MASKED: &str = "config-linux.md, Masked Paths";
const READONLY: &str = "config-linux.md, Readonly Paths";
const SYSCTL: &str = "config-linux.md, Sysctl";
const PROPAGATION: &str = "config-linux.md, Rootfs Mount Propagation";
const PERSONALITY: &str = "config-linux.md, Personality";
const POLICY: &str = "config-linux.md, Memory Policy";

fn prepare(case: Case) -> Case {
    case.prepare(|_, bundle| {
        let rootfs = bundle.rootfs();
        fs::create_dir_all(rootfs.join("etc/dir"))?;
        fs::write(rootfs.join("etc/dir/inside"), "secret")?;
        Ok(fs::write(rootfs.join("etc/file"), "secret")?)
    })
}

fn masked() -> Vec<Case> {
    let cat = |path: &str| crate::harness::Config::new(&["/bin/probe", "cat", path]);
    let hidden = |name: &str, rule: &str, path: &str| {
        prepare(must(MASKED, &format!("masked/{name}"), rule)).base(cat(path)).body(|scene| {
            let output = scene.s.runtime().run(scene.bundle()?.path(), "c1")?;
            // To be refused is to read nothing, too: 125 is the probe's own error.
            check!(output.code == 0 || output.code == 125, "{output}");
            check!(!output.stdout.contains("secret"), "{output}");
            Ok(())
        })
    };
    vec![
        hidden("file", "a masked file cannot be read", "/etc/file").with("/linux/maskedPaths/-", "/etc/file"),
        hidden("directory", "what is in a masked directory cannot be read", "/etc/dir/inside")
            .with("/linux/maskedPaths/-", "/etc/dir"),
        hidden("below", "a masked file below a directory cannot be read", "/etc/dir/inside")
            .with("/linux/maskedPaths/-", "/etc/dir/inside"),
        prepare(must(MASKED, "masked/empty", "a masked directory shows nothing"))
            .args(&["--list", "/etc/dir"])
            .with("/linux/maskedPaths/-", "/etc/dir")
            .sees(judged("/list/~1etc~1dir", |list: &Value| {
                check!(list.as_array().is_none_or(Vec::is_empty), "{list}");
                Ok(())
            })),
        prepare(must(MASKED, "masked/others", "what is not masked can be read"))
            .args(&["--stat", "/etc/file"])
            .with("/linux/maskedPaths/-", "/etc/dir")
            .sees(is(&stat("/etc/file", "type"), "file"))
            .sees(is(&stat("/etc/file", "size"), 6))
            .noticing(Broken::Reads(vec![to("/linux/maskedPaths", json!(["/etc/file"]))])),
        must(MASKED, "masked/proc", "a file of the kernel cannot be read")
            .base(cat("/proc/version"))
            .with("/linux/maskedPaths/-", "/proc/version")
            .body(|scene| {
                let output = scene.s.runtime().run(scene.bundle()?.path(), "c1")?;
                check!(!output.stdout.contains("Linux"), "{output}");
                Ok(())
            }),
        must(MASKED, "masked/list", "masked paths are a list").fault("/linux/maskedPaths", "/etc/file"),
    ]
}

fn readonly() -> Vec<Case> {
    let case = |name: &str, rule: &str, path: &str| {
        prepare(must(READONLY, &format!("readonly/{name}"), rule))
            .args(&["--stat", path])
            .with("/root/readonly", false)
            .sees(is(&stat(path, "readonly"), true))
            .noticing(Broken::Reads(vec![gone("/linux/readonlyPaths")]))
    };
    let add = "/linux/readonlyPaths/-";
    vec![
        case("file", "a file is made read-only", "/etc/file").with(add, "/etc/file"),
        case("directory", "a directory is made read-only", "/etc/dir").with(add, "/etc/dir"),
        case("below", "so is what is in the directory", "/etc/dir/inside").with(add, "/etc/dir"),
        case("proc", "a file of the kernel is made read-only", "/proc/sys/kernel")
            .with(add, "/proc/sys/kernel"),
        case("twice", "each path of the list is made read-only", "/etc/file")
            .with(add, "/etc/dir")
            .with(add, "/etc/file"),
        prepare(must(READONLY, "readonly/others", "what is not in the list can be written"))
            .args(&["--stat", "/etc/file"])
            .with("/root/readonly", false)
            .with(add, "/etc/dir")
            .sees(is(&stat("/etc/file", "readonly"), false))
            .noticing(Broken::Reads(vec![to("/root/readonly", true)])),
        must(READONLY, "readonly/list", "read-only paths are a list")
            .fault("/linux/readonlyPaths", "/etc/file"),
    ]
}

fn sysctls() -> Vec<Case> {
    let mut all: Vec<Case> = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_unprivileged_port_start", "80"),
        ("net.core.somaxconn", "256"),
        ("kernel.msgmax", "4096"),
        ("kernel.shmmni", "2048"),
        ("fs.mqueue.msg_max", "20"),
    ]
    .into_iter()
    .map(|(name, value)| {
        must(SYSCTL, &format!("sysctl/{name}"), "a parameter of the container's namespaces is set")
            .args(&["--sysctl", name])
            .with("/linux/sysctl", json!({ name: value }))
            .sees(is(&format!("/sysctl/{name}"), value))
    })
    .collect();
    let case = |name: &str, rule: &str| must(SYSCTL, &format!("sysctl/{name}"), rule);
    all.push(
        case("unknown", "a parameter that the kernel does not have is an error")
            .fault("/linux/sysctl", json!({ "net.ipv4.no_such_parameter": "1" })),
    );
    all.push(
        case("value", "a value that the kernel does not take is an error")
            .fault("/linux/sysctl", json!({ "net.ipv4.ip_forward": "maybe" })),
    );
    all.push(
        case("number", "values are texts").fault("/linux/sysctl", json!({ "net.ipv4.ip_forward": [1] })),
    );
    all
}

fn propagation() -> Vec<Case> {
    let mut all: Vec<Case> = [
        ("shared", "shared", "private"),
        ("slave", "", "shared"),
        ("private", "", "shared"),
        ("unbindable", "unbindable", "private"),
    ]
    .into_iter()
    .map(|(kind, tag, other)| {
        must(PROPAGATION, &format!("propagation/{kind}"), &format!("the root's propagation is {kind}"))
            .with("/linux/rootfsPropagation", kind)
            .sees(judged(&mounted("/", "tags"), move |tags: &Value| {
                let all = tags.as_array().cloned().unwrap_or_default();
                let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
                // A slave of nobody has no tag of its own.
                let own: Vec<&str> =
                    all.iter().map(|t| t.split(':').next().unwrap_or(t)).filter(|t| *t != "master").collect();
                check_eq!(own.join(" "), tag, "tags {all:?}");
                Ok(())
            }))
            .noticing(Broken::Reads(vec![to("/linux/rootfsPropagation", other)]))
    })
    .collect();
    all.push(
        must(PROPAGATION, "propagation/unknown", "another word is an error")
            .fault("/linux/rootfsPropagation", "sometimes"),
    );
    all
}

fn personality() -> Vec<Case> {
    let of = |domain: &str| json!({ "domain": domain });
    vec![
        must(PERSONALITY, "personality/LINUX32", "the execution domain is that of the config")
            .with("/linux/personality", of("LINUX32"))
            .sees(is("/personality", 8)),
        must(PERSONALITY, "personality/LINUX", "the execution domain is that of the config")
            .with("/linux/personality", of("LINUX"))
            .sees(is("/personality", 0))
            .noticing(Broken::Reads(vec![to("/linux/personality", of("LINUX32"))])),
        must(PERSONALITY, "personality/unknown", "an unknown domain is an error")
            .fault("/linux/personality", of("MINIX")),
        must(PERSONALITY, "personality/absent", "a personality has a domain")
            .with("/linux/personality", of("LINUX"))
            .lacking("/linux/personality/domain"),
    ]
}

fn policies() -> Vec<Case> {
    let missing = (!fs::exists("/sys/devices/system/node/node0").unwrap_or(false))
        .then(|| "the kernel has no memory nodes".to_owned());
    let policy = |mode: &str, nodes: &str| match nodes {
        "" => json!({ "mode": mode }),
        nodes => json!({ "mode": mode, "nodes": nodes }),
    };
    let mut all = Vec::new();
    for (mode, number, nodes) in [
        ("MPOL_DEFAULT", 0, ""),
        ("MPOL_PREFERRED", 1, "0"),
        ("MPOL_BIND", 2, "0"),
        ("MPOL_INTERLEAVE", 3, "0"),
        ("MPOL_LOCAL", 4, ""),
        ("MPOL_PREFERRED_MANY", 5, "0"),
        ("MPOL_WEIGHTED_INTERLEAVE", 6, "0"),
    ] {
        let other = if number == 2 { policy("MPOL_PREFERRED", "0") } else { policy("MPOL_BIND", "0") };
        all.push(
            must(POLICY, &format!("memory-policy/{mode}"), "the program has the memory policy of the config")
                .with("/linux/memoryPolicy", policy(mode, nodes))
                .sees(is("/memory_policy/mode", number))
                .sees(is("/memory_policy/nodes", if nodes.is_empty() { 0 } else { 1 }))
                .unless(missing.clone())
                .noticing(Broken::Reads(vec![to("/linux/memoryPolicy", other)])),
        );
    }
    for (flag, bit) in [
        ("MPOL_F_NUMA_BALANCING", 1 << 13),
        ("MPOL_F_RELATIVE_NODES", 1 << 14),
        ("MPOL_F_STATIC_NODES", 1 << 15),
    ] {
        all.push(
            must(POLICY, &format!("memory-policy/{flag}"), "the policy has the flags of the config")
                .with("/linux/memoryPolicy", policy("MPOL_BIND", "0"))
                .with("/linux/memoryPolicy/flags", json!([flag]))
                .sees(is("/memory_policy/mode", 2 | bit))
                .unless(missing.clone())
                .noticing(Broken::Reads(vec![gone("/linux/memoryPolicy/flags")])),
        );
    }
    let case = |name: &str, rule: &str| {
        must(POLICY, &format!("memory-policy/{name}"), rule)
            .with("/linux/memoryPolicy", policy("MPOL_BIND", "0"))
            .unless(missing.clone())
    };
    all.push(
        case("mode/unknown", "an unknown mode is an error").fault("/linux/memoryPolicy/mode", "MPOL_NONE"),
    );
    all.push(case("mode/absent", "a policy has a mode").lacking("/linux/memoryPolicy/mode"));
    all.push(
        case("flag/unknown", "an unknown flag is an error")
            .fault("/linux/memoryPolicy/flags", json!(["MPOL_F_NONE"])),
    );
    all.push(
        case("nodes/missing", "memory nodes that are not there are an error")
            .fault("/linux/memoryPolicy/nodes", "900"),
    );
    all
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all = masked();
    all.extend(readonly());
    all.extend(sysctls());
    all.extend(propagation());
    all.extend(personality());
    all.extend(policies());
    all
}
