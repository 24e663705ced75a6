//! Profiles that are refused, each with a field and a sentence.

use super::*;
use crate::seccomp::{SeccompError, check_listener, tables};

fn refused(value: Value) -> (String, String) {
    let error = compile(&profile(value), Arch::X86_64).unwrap_err();
    (error.field(), error.to_string())
}

fn said(field: &str, text: &str) -> (String, String) {
    (field.to_owned(), text.to_owned())
}

fn with_rule(rule: Value) -> Value {
    let first = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    denying(json!([first, rule]))
}

#[test]
fn notify_as_default_action_is_refused() {
    assert_eq!(
        refused(json!({"defaultAction": "SCMP_ACT_NOTIFY"})),
        said("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action"),
    );
}

#[test]
fn notify_on_write_is_refused_even_beside_other_names() {
    assert_eq!(
        refused(with_rule(json!({"names": ["open", "write"], "action": "SCMP_ACT_NOTIFY"}))),
        said("/linux/seccomp/syscalls/1/names/1", "SCMP_ACT_NOTIFY cannot be used for the write syscall",),
    );
}

#[test]
fn an_error_number_for_an_action_that_takes_none_is_refused() {
    assert_eq!(
        refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})),
        said(
            "/linux/seccomp/defaultErrnoRet",
            "the action SCMP_ACT_ALLOW takes no error number, yet one is given",
        ),
    );
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ALLOW", "LOG", "NOTIFY"] {
        let action = format!("SCMP_ACT_{action}");
        assert_eq!(
            refused(with_rule(json!({"names": ["open"], "action": action, "errnoRet": 1}))),
            said(
                "/linux/seccomp/syscalls/1/errnoRet",
                &format!("the action {action} takes no error number, yet one is given"),
            ),
        );
    }
}

#[test]
fn an_error_number_that_does_not_fit_is_refused() {
    let with = |action, number| json!({"names": ["open"], "action": action, "errnoRet": number});
    assert_eq!(
        refused(with_rule(with("SCMP_ACT_ERRNO", 4096))),
        said(
            "/linux/seccomp/syscalls/1/errnoRet",
            "the error number 4096 is larger than 4095, the largest one for SCMP_ACT_ERRNO",
        ),
    );
    assert_eq!(
        refused(with_rule(with("SCMP_ACT_TRACE", 65536))).1,
        "the error number 65536 is larger than 65535, the largest one for SCMP_ACT_TRACE",
    );
    for (action, number, value) in
        [("SCMP_ACT_ERRNO", 4095, 0x0005_0fff), ("SCMP_ACT_TRACE", 65535, 0x7ff0_ffff)]
    {
        let program = program(with_rule(with(action, number)));
        assert_eq!(result(&program, X86_64, 2), value);
    }
}

#[test]
fn a_rule_without_names_or_with_an_empty_name_is_refused() {
    assert_eq!(
        refused(with_rule(json!({"names": [], "action": "SCMP_ACT_ALLOW"}))),
        said("/linux/seccomp/syscalls/1/names", "the rule names no system call; it must name at least one",),
    );
    assert_eq!(
        refused(with_rule(json!({"names": ["open", ""], "action": "SCMP_ACT_ALLOW"}))),
        said("/linux/seccomp/syscalls/1/names/1", "an empty string is not the name of a system call",),
    );
}

#[test]
fn a_seventh_argument_is_refused() {
    let comparison = |index| json!({"index": index, "value": 0, "op": "SCMP_CMP_EQ"});
    for index in [6, 256] {
        let args = json!([comparison(5), comparison(index)]);
        let rule = json!({"names": ["open"], "action": "SCMP_ACT_ALLOW", "args": args});
        assert_eq!(
            refused(with_rule(rule)),
            said(
                "/linux/seccomp/syscalls/1/args/1/index",
                &format!("there is no argument {index}: the arguments of a system call are 0 to 5"),
            ),
        );
    }
}

#[test]
fn a_filter_longer_than_the_kernel_takes_is_refused() {
    // Every rule adds a few instructions, so the first length above the limit is just above it.
    let compiled = |rules: usize| {
        let names = tables::of(Arch::X86_64).iter().map(|entry| entry.0);
        let rule = |(at, name): (usize, &str)| {
            let args = [0, 1].map(|arg| json!({"index": arg, "value": at, "op": "SCMP_CMP_GT"}));
            json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": args})
        };
        let rules: Vec<Value> = names.enumerate().take(rules).map(rule).collect();
        let value = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules,
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]});
        compile(&profile(value), Arch::X86_64)
    };
    let first = (1..386).find_map(|rules| compiled(rules).err().map(|error| (rules, error)));
    let (rules, error) = first.unwrap();
    let SeccompError::TooLong { count } = error else { panic!("{error}") };
    assert!((4097..4160).contains(&count), "{count}");
    assert!(compiled(rules - 1).unwrap().insns.len() <= 4096);
    assert_eq!(error.field(), "/linux/seccomp/syscalls");
    assert_eq!(
        error.to_string(),
        format!("the filter needs {count} instructions; the kernel takes 4096 at most"),
    );
}

#[test]
fn a_rule_that_asks_an_agent_needs_its_path() {
    let mut value = denying(json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]));
    let error = check_listener(&profile(value.clone())).unwrap_err();
    assert_eq!(error.field(), "/linux/seccomp/listenerPath");
    assert_eq!(error.to_string(), "seccomp listenerPath is not set");
    value["listenerPath"] = json!("/run/agent.sock");
    assert_eq!(check_listener(&profile(value)), Ok(()));
}

#[test]
fn metadata_for_an_agent_needs_its_path() {
    let mut value = denying(json!([]));
    assert_eq!(check_listener(&profile(value.clone())), Ok(()));
    value["listenerMetadata"] = json!("some");
    let error = check_listener(&profile(value)).unwrap_err();
    assert_eq!(error.field(), "/linux/seccomp/listenerMetadata");
    assert_eq!(error.to_string(), "seccomp listenerMetadata is set, but listenerPath is not");
}
