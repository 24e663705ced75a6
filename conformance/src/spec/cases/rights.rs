//! Limits and capabilities of the program (config.md, POSIX process and Linux process).

use super::super::broken::{Broken, to};
use super::super::case::{Case, Level};
use super::super::seen::{is, judged, set};
use super::{Host, must};
use crate::{check, check_eq};
use serde_json::json;

const LIMITS: &str = "config.md, POSIX process";
const CAPABILITIES: &str = "config.md, Linux process";

/// Every type with a soft and a hard limit that anybody has.
const TYPES: [(&str, u64, u64); 16] = [
    ("AS", 8 << 30, 16 << 30),
    ("CORE", 4096, 8192),
    ("CPU", 1000, 2000),
    ("DATA", 4 << 30, 8 << 30),
    ("FSIZE", 1 << 30, 2 << 30),
    ("LOCKS", 100, 200),
    ("MEMLOCK", 32768, 65536),
    ("MSGQUEUE", 10000, 20000),
    ("NICE", 1, 2),
    ("NOFILE", 300, 400),
    ("NPROC", 5000, 6000),
    ("RSS", 1 << 30, 2 << 30),
    ("RTPRIO", 1, 2),
    ("RTTIME", 1_000_000, 2_000_000),
    ("SIGPENDING", 500, 600),
    ("STACK", 4 << 20, 16 << 20),
];

/// The capabilities in the order of their numbers.
pub(super) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const RESOURCE: u64 = 1 << 24;

fn limits(host: &Host) -> impl Iterator<Item = Case> {
    let may_raise = host.capabilities & RESOURCE != 0;
    TYPES.into_iter().flat_map(move |(name, soft, hard)| {
        [("soft", 0), ("hard", 1)].map(|(which, index)| {
            let kind = format!("RLIMIT_{name}");
            let wanted = if index == 0 { soft } else { hard };
            let low = ["NICE", "RTPRIO"].contains(&name) && !may_raise;
            let rule = format!("the {which} limit of {kind} is that of the config");
            must(LIMITS, &format!("rlimits/{name}/{which}"), &rule)
                .with("/process/rlimits", json!([{ "type": kind, "soft": soft, "hard": hard }]))
                .sees(is(&format!("/rlimits/{kind}/{index}"), wanted))
                .unless(low.then(|| "the caller's limit is 0, and it may not raise it".to_owned()))
        })
    })
}

fn bad_limits() -> Vec<Case> {
    let one = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
    let case = |name: &str, rule: &str| {
        must(LIMITS, &format!("rlimits/{name}"), rule).with("/process/rlimits", one.clone())
    };
    vec![
        case("unknown", "a type that the kernel does not have is an error")
            .fault("/process/rlimits/0/type", "RLIMIT_NONE"),
        case("twice", "the same type twice is an error")
            .fault("/process/rlimits/-", json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 })),
        case("soft-above-hard", "a soft limit above the hard one is an error")
            .fault("/process/rlimits/0/soft", 1),
        case("text", "a limit is a number").fault("/process/rlimits/0/soft", "none"),
    ]
}

/// One capability in some sets, and which of the five the program has it in.
fn sets() -> impl Iterator<Item = Case> {
    [
        ("bounding", &["bounding"][..]),
        ("inheritable", &["bounding", "inheritable", "permitted"]),
        ("ambient", &["bounding", "inheritable", "permitted", "ambient", "effective"]),
    ]
    .into_iter()
    .map(|(name, given)| {
        let mut value = json!({});
        for set in given {
            value[set] = json!(["CAP_KILL"]);
        }
        // A program of root has what it may have; that of an ordinary user has what it is given.
        must(CAPABILITIES, &format!("capabilities/{name}"), "a capability is in the set that it is given in")
            .with("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .with("/process/noNewPrivileges", false)
            .with("/process/capabilities", value)
            .sees(judged(&format!("/capabilities/{name}"), move |found| {
                check_eq!(set(found), 1 << 5, "{name}");
                Ok(())
            }))
            .noticing(Broken::Reads(vec![to("/process/capabilities", json!({}))]))
    })
}

fn each(host: &Host) -> impl Iterator<Item = Case> {
    let given = host.capabilities;
    NAMES.into_iter().zip(0u32..).map(move |(name, number)| {
        let missing = (given & 1 << number == 0).then(|| format!("the caller has no {name} to give"));
        let only = json!([name]);
        must(
            CAPABILITIES,
            &format!("capabilities/each/{name}"),
            &format!("{name} alone is what a program of root has"),
        )
        .with("/process/capabilities", json!({ "bounding": only, "permitted": only, "effective": only }))
        .sees(judged("/capabilities", move |all| {
            for which in ["bounding", "permitted", "effective"] {
                check_eq!(set(&all[which]), 1 << number, "{which}");
            }
            Ok(())
        }))
        .unless(missing)
    })
}

fn none() -> impl Iterator<Item = Case> {
    ["bounding", "permitted", "effective", "inheritable", "ambient"].into_iter().map(|name| {
        let rule = "a set of capabilities that is not in the config is empty";
        must(CAPABILITIES, &format!("capabilities/absent/{name}"), rule)
            .with("/process/capabilities", json!({}))
            .sees(judged(&format!("/capabilities/{name}"), |found| {
                check_eq!(set(found), 0);
                Ok(())
            }))
            .noticing({
                let all = json!(["CAP_KILL"]);
                let sets = json!({
                    "bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": all,
                });
                Broken::Reads(vec![to("/process/capabilities", sets)])
            })
    })
}

fn unknown() -> Vec<Case> {
    let case = |level, name: &str, rule: &str| {
        Case::new(CAPABILITIES, level, name, rule).with("/process/capabilities/bounding/-", "CAP_UNHEARD_OF")
    };
    vec![
        case(Level::Should, "capabilities/unknown/runs", "a capability that cannot be had is no failure")
            .noticing(Broken::Declines("run")),
        case(Level::Must, "capabilities/unknown/warns", "a capability that cannot be had is warned of").body(
            |scene| {
                let said = scene.run()?.stderr;
                check!(said.contains("UNHEARD_OF"), "no warning: {said}");
                Ok(())
            },
        ),
    ]
}

/// The cases.
pub(super) fn cases(host: &Host) -> Vec<Case> {
    let mut all: Vec<Case> = limits(host).collect();
    all.extend(bad_limits());
    all.extend(sets());
    all.extend(none());
    all.extend(each(host));
    all.extend(unknown());
    all
}
