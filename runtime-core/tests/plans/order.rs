//! The order that the kernel and the specification ask of every plan, and where its steps come from.

use oxrun_core::Plan;
use oxrun_core::plan::action::Action;
use serde_json::Value;

/// What is wrong with the order or the origin of a plan's steps.
pub(crate) fn faults(document: &Value, plan: &Plan) -> Vec<String> {
    let mut faults = Vec::new();
    let all = |is: fn(&Action) -> bool| -> Vec<usize> {
        plan.steps.iter().enumerate().filter(|(_, step)| is(&step.action)).map(|(at, _)| at).collect()
    };
    for (name, is) in SINGLE {
        if all(is).len() != 1 {
            faults.push(format!("{} steps are {name}", all(is).len()));
        }
    }
    for (before, is_before, after, is_after) in ORDER {
        if let (Some(last), Some(first)) = (all(is_before).last(), all(is_after).first())
            && last > first
        {
            faults.push(format!("step {} is {before}, after step {}: {after}", last + 1, first + 1));
        }
    }
    // A pid namespace is only entered by who is born in it.
    if all(|a| matches!(a, Action::SetNs { .. })).last() > all(|a| matches!(a, Action::Clone { .. })).last() {
        faults.push("no clone follows a joined namespace".to_owned());
    }
    for (at, step) in plan.steps.iter().enumerate() {
        if !is_origin(document, &step.field) {
            faults.push(format!("step {} comes from {:?}", at + 1, step.field));
        }
        if matches!(step.action, Action::Exec { .. }) != (at + 1 == plan.steps.len()) {
            faults.push(format!("step {} of {} is the program", at + 1, plan.steps.len()));
        }
    }
    let quiet = document["process"]["noNewPrivileges"] == true;
    let filter = plan.steps.iter().position(|step| matches!(step.action, Action::Seccomp(_)));
    for (at, step) in plan.steps.iter().enumerate().skip(filter.map_or(plan.steps.len(), |at| at + 1)) {
        match step.action {
            Action::Exec { .. } => {}
            Action::Caps { .. } if !quiet => {}
            _ => faults.push(format!("step {} follows the filter: {:?}", at + 1, step.action)),
        }
    }
    faults
}

/// Whether an action is of a kind.
pub(crate) type Is = fn(&Action) -> bool;

/// What every plan does once.
pub(crate) const SINGLE: [(&str, Is); 6] = [
    ("init's start", |a| matches!(a, Action::Spawn { .. })),
    ("the root", |a| matches!(a, Action::Root { .. })),
    ("the pivot", |a| matches!(a, Action::Pivot { .. })),
    ("the user", |a| matches!(a, Action::Identity { .. })),
    ("created", |a| matches!(a, Action::Created)),
    ("the program", |a| matches!(a, Action::Exec { .. })),
];

/// Pairs of steps: all of the first kind come before all of the second.
pub(crate) const ORDER: [(&str, Is, &str, Is); 13] = [
    // systemd makes the cgroup around the spawned process; what is cloned from that is limited from the start.
    (
        "a limit",
        |a| matches!(a, Action::CgroupWrite { .. }),
        "the clone",
        |a| matches!(a, Action::Clone { .. }),
    ),
    (
        "the cgroup",
        |a| matches!(a, Action::CgroupCreate { .. }),
        "a limit",
        |a| matches!(a, Action::CgroupWrite { .. } | Action::DevicesV1 { .. } | Action::DevicesV2 { .. }),
    ),
    (
        "a joined namespace",
        |a| matches!(a, Action::SetNs { .. }),
        "the clone",
        // With a user namespace a first clone goes no further than into the cgroup.
        |a| matches!(a, Action::Clone { new, cgroup } if !new.is_empty() || cgroup.is_none()),
    ),
    (
        "the root",
        |a| matches!(a, Action::Root { .. }),
        "a mount",
        |a| matches!(a, Action::Mount(_) | Action::Bind(_) | Action::Device(_)),
    ),
    (
        "a mount",
        |a| matches!(a, Action::Mount(_) | Action::Bind(_)),
        "a mask",
        |a| matches!(a, Action::Mask { .. } | Action::Readonly { .. }),
    ),
    (
        "a mask",
        |a| matches!(a, Action::Mask { .. } | Action::Readonly { .. }),
        "the pivot",
        |a| matches!(a, Action::Pivot { .. }),
    ),
    (
        "the pivot",
        |a| matches!(a, Action::Pivot { .. }),
        "the user",
        |a| matches!(a, Action::Identity { .. }),
    ),
    (
        "a sysctl",
        |a| matches!(a, Action::Sysctl { .. }),
        "the user",
        |a| matches!(a, Action::Identity { .. }),
    ),
    (
        "a resource limit",
        |a| matches!(a, Action::Rlimit { .. }),
        "the user",
        |a| matches!(a, Action::Identity { .. }),
    ),
    (
        "the bounding set",
        |a| matches!(a, Action::Bounding { .. }),
        "the user",
        |a| matches!(a, Action::Identity { .. }),
    ),
    (
        "the user",
        |a| matches!(a, Action::Identity { .. }),
        "the program's place",
        |a| matches!(a, Action::Lookup { .. }),
    ),
    (
        "no new privileges",
        |a| matches!(a, Action::NoNewPrivs),
        "the filter",
        |a| matches!(a, Action::Seccomp(_)),
    ),
    ("created", |a| matches!(a, Action::Created), "the filter", |a| matches!(a, Action::Seccomp(_))),
];

/// A field of the document, one that has a default, or words in parentheses.
fn is_origin(document: &Value, field: &str) -> bool {
    const DEFAULTS: [&str; 4] = [
        "/linux/cgroupsPath",
        "/linux/resources/devices",
        "/process/user/umask",
        "/process/capabilities/ambient",
    ];
    let words = field.starts_with('(') && field.ends_with(')') && field.len() > 2;
    words || (!field.is_empty() && document.pointer(field).is_some()) || DEFAULTS.contains(&field)
}
