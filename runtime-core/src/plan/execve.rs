//! What a filter answers to the execve of the program itself.

use crate::bundle::Warning;
use crate::seccomp::{self, Arch};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action};

/// Says which part of a profile keeps the program from being executed; none if nothing certainly does.
pub(super) fn denied(profile: &LinuxSeccomp) -> Option<Warning> {
    let denied = answer_to(profile, "execve")?;
    Some(Warning { message: format!("{} of the program itself", denied.message), ..denied })
}

/// Says which part of a profile does not let a call pass; none if nothing certainly does.
pub(super) fn answer_to(profile: &LinuxSeccomp, name: &str) -> Option<Warning> {
    let default = profile.default_action();
    let rules = profile.syscalls().iter().flatten().enumerate();
    // A rule with the result of the default action is none; one without arguments beats all with arguments.
    let mut rules = rules
        .filter(|(_, r)| r.names().iter().any(|n| n == name))
        .filter(|(_, r)| (r.action(), r.errno_ret()) != (default, profile.default_errno_ret()))
        .peekable();
    let some = rules.peek().is_some();
    let certain = rules.find(|(_, r)| r.args().as_ref().is_none_or(Vec::is_empty));
    let (field, what, answer) = match certain {
        Some((i, rule)) => {
            let field = format!("/linux/seccomp/syscalls/{i}");
            (field, "this rule".to_owned(), answer(rule.action(), rule.errno_ret())?)
        }
        None if some => return None,
        None => {
            let field = "/linux/seccomp/defaultAction".to_owned();
            let said = answer(default, profile.default_errno_ret())?;
            match seccomp::unknown_to(profile, Arch::native(), name) {
                Some(enosys) => (
                    field,
                    format!(
                        "no rule names {name}, and the filter, whose rules name calls of lower numbers only,"
                    ),
                    format!("errno {enosys}"),
                ),
                None => (field, format!("no rule names {name}, and the default action"), said),
            }
        }
    };
    Some(Warning { field, message: format!("{what} answers {answer} to {name}") })
}

/// An action in words, unless the call is let through or somebody else decides.
fn answer(action: Action, errno: Option<u32>) -> Option<String> {
    match action {
        Action::ScmpActErrno => Some(format!("errno {}", errno.unwrap_or(1))),
        Action::ScmpActTrap => Some("SIGSYS".to_owned()),
        Action::ScmpActKill | Action::ScmpActKillThread | Action::ScmpActKillProcess => {
            Some("with a kill".to_owned())
        }
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace | Action::ScmpActNotify => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn says(default: &str, rules: Value) -> Option<(String, String)> {
        let profile = json!({ "defaultAction": default, "syscalls": rules });
        let profile: LinuxSeccomp = serde_json::from_value(profile).expect("a profile");
        denied(&profile).map(|w| (w.field, w.message))
    }

    fn rule(action: &str, args: Value) -> Value {
        json!({ "names": ["execve"], "action": action, "args": args })
    }

    #[test]
    fn the_rule_that_counts_is_named() {
        let arg = json!([{ "index": 0, "value": 0, "op": "SCMP_CMP_NE" }]);
        let (deny, allow) = (rule("SCMP_ACT_ERRNO", json!([])), rule("SCMP_ACT_ALLOW", json!([])));
        let said = says("SCMP_ACT_ALLOW", json!([rule("SCMP_ACT_KILL", arg.clone()), deny])).expect("denied");
        assert_eq!(said.0, "/linux/seccomp/syscalls/1");
        assert!(said.1.contains("errno 1"), "{}", said.1);
        assert_eq!(says("SCMP_ACT_ERRNO", json!([allow])), None);
        assert_eq!(says("SCMP_ACT_ALLOW", json!([])), None);
        // Whether it matches is not known.
        assert_eq!(says("SCMP_ACT_ERRNO", json!([rule("SCMP_ACT_ALLOW", arg)])), None);
        let said = says("SCMP_ACT_KILL_PROCESS", json!([])).expect("denied");
        assert_eq!(said.0, "/linux/seccomp/defaultAction");
    }

    #[test]
    fn a_call_above_all_that_are_named_is_one_that_there_is_not() {
        let allow = |name: &str| json!([{ "names": [name], "action": "SCMP_ACT_ALLOW" }]);
        for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
            let said = says(default, allow("read")).expect("denied");
            assert!(said.1.contains(&format!("errno {}", libc::ENOSYS)), "{}", said.1);
            let said = says(default, allow("openat2")).expect("denied");
            assert!(said.1.contains("the default action"), "{}", said.1);
        }
    }
}
