//! Seccomp profiles as the calls of the program meet them (config-linux.md, Seccomp).

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Scene, lacks};
use super::super::seen::{escape, is, is_not};
use super::must;
use crate::{Check, Failed, check, check_eq, sys};
use serde_json::{Value, json};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

const PLACE: &str = "config-linux.md, Seccomp";
const STATE: &str = "config-linux.md, The Container Process State";
const AT: &str = "/linux/seccomp";
const RULE: &str = "/linux/seccomp/syscalls/0";
const WAIT: Duration = Duration::from_secs(5);

/// Operators with their operands for the first argument of socket(2): which are so chosen that one of
/// AF_VSOCK (40) and AF_NETLINK (16) meets the rule. The last is whether that is the first.
const OPERATORS: [(&str, u64, u64, bool); 7] = [
    ("SCMP_CMP_EQ", 40, 0, true),
    ("SCMP_CMP_NE", 40, 0, false),
    ("SCMP_CMP_LT", 40, 0, false),
    ("SCMP_CMP_LE", 16, 0, false),
    ("SCMP_CMP_GE", 40, 0, true),
    ("SCMP_CMP_GT", 16, 0, true),
    ("SCMP_CMP_MASKED_EQ", 40, 40, true),
];

fn profile(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

fn called(name: &str) -> String {
    format!("/call/{}", escape(name))
}

fn actions() -> Vec<Case> {
    let rule = |action: &str| profile(json!([{ "names": ["sync"], "action": action }]));
    let call =
        |name: &str, rule: &str| must(PLACE, &format!("seccomp/{name}"), rule).args(&["--call", "sync"]);
    let nothing = || Broken::Reads(vec![gone(AT)]);
    let mut all = vec![
        call("action/ERRNO", "SCMP_ACT_ERRNO answers EPERM by default")
            .with(AT, rule("SCMP_ACT_ERRNO"))
            .sees(is("/call/sync", libc::EPERM)),
        call("action/ERRNO/errnoRet", "SCMP_ACT_ERRNO answers the errno of the rule")
            .with(AT, rule("SCMP_ACT_ERRNO"))
            .with(&format!("{RULE}/errnoRet"), 77)
            .sees(is("/call/sync", 77))
            .noticing(Broken::Reads(vec![gone(&format!("{RULE}/errnoRet"))])),
        call("action/TRACE", "SCMP_ACT_TRACE answers ENOSYS where nobody traces")
            .with(AT, rule("SCMP_ACT_TRACE"))
            .sees(is("/call/sync", libc::ENOSYS)),
        call("action/LOG", "SCMP_ACT_LOG lets the call happen")
            .with(AT, rule("SCMP_ACT_LOG"))
            .sees(is("/call/sync", "ok"))
            .sees(is("/seccomp", 2)),
        call("action/ALLOW", "SCMP_ACT_ALLOW lets the call happen")
            .with(AT, rule("SCMP_ACT_ALLOW"))
            .sees(is("/call/sync", "ok"))
            .noticing(Broken::Reads(vec![to(&format!("{RULE}/action"), "SCMP_ACT_ERRNO")])),
        call("absent", "without a profile there is no filter")
            .sees(is("/seccomp", 0))
            .noticing(Broken::Reads(vec![to(AT, rule("SCMP_ACT_ERRNO"))])),
        call("present", "with a profile there is a filter")
            .with(AT, rule("SCMP_ACT_ERRNO"))
            .sees(is("/seccomp", 2)),
        call("others", "calls that no rule names meet the default action")
            .args(&["--call", "getpid"])
            .with(AT, rule("SCMP_ACT_ERRNO"))
            .sees(is("/call/getpid", "ok"))
            .noticing(Broken::Reads(vec![to(&format!("{RULE}/names/1"), "getpid")])),
        call("names", "each name of a rule is meant")
            .args(&["--call", "chroot"])
            .with(
                AT,
                profile(json!([{ "names": ["sync", "chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }])),
            )
            .sees(is("/call/sync", 77))
            .sees(is("/call/chroot", 77))
            .noticing(Broken::Reads(vec![gone(&format!("{RULE}/names/1"))])),
    ];
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let rule_says = format!("{action} ends the program with SIGSYS");
        let name = action.trim_start_matches("SCMP_ACT_");
        all.push(
            call(&format!("action/{name}"), &rule_says).with(AT, rule(action)).noticing(nothing()).body(
                |scene| {
                    let output = scene.s.runtime().run(scene.bundle()?.path(), "c1")?;
                    check_eq!(output.code, 128 + libc::SIGSYS, "{output}");
                    Ok(())
                },
            ),
        );
    }
    all
}

fn arguments() -> impl Iterator<Item = Case> {
    OPERATORS.into_iter().map(|(op, value, two, first)| {
        let args = json!([{ "index": 0, "value": value, "valueTwo": two, "op": op }]);
        let rule = json!([{ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args }]);
        let (met, other) =
            if first { ("socket vsock", "socket audit") } else { ("socket audit", "socket vsock") };
        must(
            PLACE,
            &format!("seccomp/operator/{op}"),
            "a rule with an argument is for calls whose argument is so",
        )
        .args(&["--call", "socket vsock", "--call", "socket audit"])
        .with(AT, profile(rule))
        .sees(is(&called(met), 77))
        .sees(is_not(&called(other), 77))
        .noticing(Broken::Reads(vec![gone(&format!("{RULE}/args"))]))
    })
}

fn wrong() -> Vec<Case> {
    let good = || profile(json!([{ "names": ["sync"], "action": "SCMP_ACT_ERRNO" }]));
    let case = |name: &str, rule: &str| must(PLACE, &format!("seccomp/{name}"), rule).with(AT, good());
    let arg = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]);
    let mut all = vec![
        case("names/empty", "a rule has a name at least").fault(&format!("{RULE}/names"), json!([])),
        case("names/absent", "a rule has names").lacking(&format!("{RULE}/names")),
        case("action/absent", "a rule has an action").lacking(&format!("{RULE}/action")),
        case("action/unknown", "an unknown action is an error")
            .fault(&format!("{RULE}/action"), "SCMP_ACT_NONE"),
        case("default/absent", "a profile has a default action").lacking("/linux/seccomp/defaultAction"),
        case("default/unknown", "an unknown default action is an error")
            .fault("/linux/seccomp/defaultAction", "SCMP_ACT_NONE"),
        case("architecture/unknown", "an unknown architecture is an error")
            .fault("/linux/seccomp/architectures", json!(["SCMP_ARCH_NONE"])),
        case("flag/unknown", "an unknown flag is an error")
            .fault("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_NONE"])),
        case("operator/unknown", "an unknown operator is an error")
            .with(&format!("{RULE}/args"), arg.clone())
            .fault(&format!("{RULE}/args/0/op"), "SCMP_CMP_NONE"),
        case("operator/absent", "an argument has an operator")
            .with(&format!("{RULE}/args"), arg.clone())
            .lacking(&format!("{RULE}/args/0/op")),
        case("index/too-large", "a call has six arguments")
            .with(&format!("{RULE}/args"), arg)
            .fault(&format!("{RULE}/args/0/index"), 6),
        case("defaultErrnoRet/no-errno", "a default errno for an action that takes none is an error")
            .fault("/linux/seccomp/defaultErrnoRet", 5),
        case("listenerMetadata/alone", "metadata is for a listener")
            .fault("/linux/seccomp/listenerMetadata", "x"),
    ];
    for action in ["ALLOW", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRAP"] {
        let rule = json!([{ "names": ["sync"], "action": format!("SCMP_ACT_{action}") }]);
        // With the default action a rule would be none.
        let default = if action == "ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
        all.push(
            must(
                PLACE,
                &format!("seccomp/errnoRet/{action}"),
                "an errno for an action that takes none is an error",
            )
            .with(AT, json!({ "defaultAction": default, "syscalls": rule }))
            .fault(&format!("{RULE}/errnoRet"), 5),
        );
    }
    all
}

/// What the agent of a profile is sent for a container that makes no call for it.
fn sent(scene: &Scene) -> Check<(Value, usize, bool)> {
    let listener = UnixListener::bind(scene.s.dir().join("agent.sock"))?;
    let rt = scene.s.runtime();
    rt.run(scene.bundle_with(&["/bin/probe", "exit", "0"])?.path(), "c1")?.success()?;
    if !sys::readable(listener.as_fd(), WAIT)? {
        return Err(Failed::from("nobody connects to the agent"));
    }
    let (stream, _) = listener.accept()?;
    let (mut text, fds) = sys::receive(stream.as_fd())?;
    let mut closed = false;
    while sys::readable(stream.as_fd(), WAIT)? {
        let (more, _) = sys::receive(stream.as_fd())?;
        if more.is_empty() {
            closed = true;
            break;
        }
        text.extend(more);
    }
    let again = sys::readable(listener.as_fd(), Duration::ZERO)?;
    check!(!again, "a second connection");
    Ok((serde_json::from_slice(&text)?, fds.len(), closed))
}

fn agent() -> Vec<Case> {
    let told = |name: &str, rule: &str| {
        must(STATE, &format!("seccomp/agent/{name}"), rule)
            .with("/annotations", json!({ "org.example.key": "a value" }))
            .with(AT, profile(json!([{ "names": ["sync"], "action": "SCMP_ACT_NOTIFY" }])))
            .with(&format!("{AT}/listenerPath"), "{dir}/agent.sock")
            .with(&format!("{AT}/listenerMetadata"), "what was agreed")
            .noticing(Broken::Reads(vec![gone(AT)]))
    };
    let value = |name: &'static str, rule: &str, judge: fn(&Value, &Scene) -> Check| {
        told(name, rule).body(move |scene| judge(&sent(scene)?.0, scene))
    };
    vec![
        told("descriptor", "the agent gets one descriptor, named seccompFd").body(|scene| {
            let (state, count, _) = sent(scene)?;
            check_eq!(count, 1, "descriptors");
            check_eq!(state["fds"], json!(["seccompFd"]));
            Ok(())
        }),
        told("closed", "there is one state, and then the connection is closed").body(|scene| {
            check!(sent(scene)?.2, "the connection stays open");
            Ok(())
        }),
        value("ociVersion", "the agent is told the version of what it gets", |state, _| {
            check!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{state}");
            Ok(())
        }),
        value("pid", "the agent is told the process", |state, _| {
            check!(state["pid"].as_i64() > Some(1), "{state}");
            Ok(())
        }),
        value("metadata", "the agent is told the metadata of the profile", |state, _| {
            check_eq!(state["metadata"], "what was agreed");
            Ok(())
        })
        .noticing(Broken::Reads(vec![gone(&format!("{AT}/listenerMetadata"))])),
        value("state", "the agent is told the state of the container", |told, scene| {
            let state = told.get("state").ok_or_else(|| lacks("state", told))?;
            check_eq!(state["id"], "c1");
            check_eq!(state["bundle"], json!(scene.s.dir().join("bundle-0").to_string_lossy()));
            check_eq!(state["annotations"], json!({ "org.example.key": "a value" }));
            Ok(())
        }),
        must(PLACE, "seccomp/agent/missing", "an agent that cannot be reached is an error")
            .with(AT, profile(json!([{ "names": ["sync"], "action": "SCMP_ACT_NOTIFY" }])))
            .with(&format!("{AT}/listenerPath"), "{dir}/none.sock")
            .noticing(Broken::Agrees("run"))
            .body(|scene| super::super::case::fails(&scene.s.runtime().run(scene.bundle()?.path(), "c1")?)),
        must(PLACE, "seccomp/agent/unused", "without SCMP_ACT_NOTIFY the path of an agent is ignored")
            .with(AT, profile(json!([{ "names": ["sync"], "action": "SCMP_ACT_ERRNO" }])))
            .with(&format!("{AT}/listenerPath"), "{dir}/none.sock")
            .sees(is("/seccomp", 2)),
    ]
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all = actions();
    all.extend(arguments());
    all.extend(wrong());
    all.extend(agent());
    all
}
