//! Who said EPERM: looked for after a failure, in the order in which it is likely and cheap to see.
//!
//! What must hold: it is a hint and says what was seen, not more.

use crate::facts;
use crate::plan::Plan;
use crate::plan::action::Action;
use crate::plan::caps;
use crate::sys;

/// The capability that a call needs, as its number.
const NEEDS: [(&str, u32); 18] = [
    ("fchownat", 0),
    ("fchown", 0),
    ("setgroups", 6),
    ("setresgid", 6),
    ("setresuid", 7),
    ("chroot", 18),
    ("clone3", 21),
    ("fsopen", 21),
    ("mount_setattr", 21),
    ("move_mount", 21),
    ("open_tree", 21),
    ("pivot_root", 21),
    ("setdomainname", 21),
    ("sethostname", 21),
    ("setns", 21),
    ("unshare", 21),
    ("prlimit64", 24),
    ("mknodat", 27),
];

/// Why a call was not permitted, as far as it can be seen.
pub(super) fn hint(plan: &Plan, call: &str) -> Option<String> {
    let name = call.split('(').next().unwrap_or(call);
    let status = sys::read_file("/proc/self/status").ok()?;
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    if field("Seccomp:").is_some_and(|mode| mode != "0") {
        return Some(format!("the calling process is under a seccomp filter, which may deny {name}"));
    }
    let effective = field("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok())?;
    let own_user = plan.steps.iter().any(|s| matches!(s.action, Action::NewUser));
    let needed = NEEDS.iter().find(|(call, _)| *call == name).map(|(_, cap)| *cap);
    if let Some(cap) = needed.filter(|cap| effective & (1 << cap) == 0 && !own_user) {
        let cap = caps::names(1 << cap).next().unwrap_or("a capability");
        return Some(format!("{name} needs {cap}, which the calling process does not have"));
    }
    if own_user || facts::in_user_namespace() {
        return Some(format!(
            "the container lives in a user namespace, whose root may do {name} only to what the namespace owns"
        ));
    }
    let modules = sys::read_file("/sys/kernel/security/lsm").unwrap_or_default();
    let modules: Vec<&str> = modules.trim().split(',').filter(|m| !matches!(*m, "" | "capability")).collect();
    (!modules.is_empty()).then(|| format!("a security module may deny {name}: {} are on", modules.join(", ")))
}
