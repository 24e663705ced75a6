//! Security labels: the AppArmor profile or SELinux label of the program, the SELinux label of mounts.
//!
//! What must hold: a profile that was asked for is set or the container fails. It is written through a
//! procfs of our own before anything is dropped, and the kernel applies it in the next execve; a hook that
//! runs as the program does is under it too. A label for mounts on a host without SELinux means nothing and
//! is left out: filesystems there do not know the option.

use super::Builder;
use super::action::{Action, Lsm};
use super::options::DataOption;
use crate::error::{Error, Result};
use oci_spec::runtime::Process;

/// The annotation that names the mount option which carries the label.
pub(crate) const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";

/// Filesystems whose files have labels of the policy's own.
const UNLABELLED: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];

/// The label of the program.
pub(crate) fn program(b: &mut Builder<'_>, p: &Process) -> Result<()> {
    let given = |label: &Option<String>| label.clone().filter(|l| !l.is_empty());
    if let Some(name) = given(p.apparmor_profile()) {
        let field = "/process/apparmorProfile";
        if !b.facts.apparmor {
            return Err(Error::config(field, "apparmor: config provided but apparmor not supported")
                .hint("AppArmor is off on this host: leave the field out, or boot with it"));
        }
        b.init(field, Action::ProgramLabel { lsm: Lsm::AppArmor, label: name });
    }
    if let Some(label) = given(p.selinux_label()) {
        let field = "/process/selinuxLabel";
        if !b.facts.selinux {
            return Err(Error::config(
                field,
                "selinux label is specified in config, but selinux is disabled or not supported",
            )
            .hint("SELinux is off on this host: leave the field out"));
        }
        b.init(field, Action::ProgramLabel { lsm: Lsm::SeLinux, label });
    }
    Ok(())
}

/// The mount option for linux.mountLabel; none without SELinux.
pub(crate) fn of_mounts(b: &Builder<'_>) -> Result<Option<DataOption>> {
    const KINDS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
    let annotation = b.spec.annotations().as_ref().and_then(|a| a.get(MOUNT_CONTEXT));
    let kind = annotation.map_or("context", String::as_str);
    if !KINDS.contains(&kind) {
        return Err(Error::config(
            format!("/annotations/{MOUNT_CONTEXT}"),
            format!("unknown type of mount context {kind:?}"),
        )
        .hint(KINDS.join(", ")));
    }
    let label = b.linux().and_then(|l| l.mount_label().as_deref()).filter(|l| !l.is_empty());
    Ok(label.filter(|_| b.facts.selinux).map(|label| DataOption::implied(kind, Some(label))))
}

/// Gives every new filesystem planned so far the label.
pub(crate) fn mounts(b: &mut Builder<'_>) -> Result<()> {
    let Some(label) = of_mounts(b)? else {
        return Ok(());
    };
    for step in &mut b.steps {
        let Action::Mount(m) = &mut step.action else {
            continue;
        };
        let own = m.options.data.iter().any(|o| o.key.ends_with("context"));
        if own || UNLABELLED.contains(&m.fstype.as_str()) {
            continue;
        }
        // Its superblock takes no label from a mount option; the root directory does.
        match m.fstype == "mqueue" {
            true => m.label = label.value.clone(),
            false => m.options.data.push(label.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use crate::bundle::Bundle;
    use crate::error::Result;
    use crate::facts::HostFacts;
    use crate::plan::action::{Action, Lsm};
    use crate::plan::{CreateOptions, Plan, plan};

    /// A host without cgroups.
    pub(in crate::plan) fn facts(apparmor: bool, selinux: bool) -> HostFacts {
        serde_json::from_value(serde_json::json!({
            "kernel": "6.1", "euid": 0, "egid": 0, "in_user_namespace": false, "bounding": u64::MAX >> 23,
            "effective": u64::MAX >> 23, "last_cap": 40, "cgroup": {"v1": [], "v2": null}, "kcore": true,
            "apparmor": apparmor, "selinux": selinux,
        }))
        .expect("facts")
    }

    fn planned(process: &str, rest: &str, facts: &HostFacts) -> Result<Plan> {
        let json = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"/r"}},
            "process":{{"cwd":"/","args":["x"]{process}}},
            "mounts":[{{"destination":"/proc","type":"proc"}},{{"destination":"/t","type":"tmpfs"}},
            {{"destination":"/m","type":"mqueue"}},
            {{"destination":"/own","type":"tmpfs","options":["rootcontext=a:b"]}}],
            "linux":{{"namespaces":[{{"type":"mount"}}],"maskedPaths":["/x"],"mountLabel":"u:r:t:s0:c1,c2"}}
            {rest}}}"#
        );
        plan("c1", &Bundle::from_json(json.as_bytes())?, facts, &CreateOptions::default())
    }

    /// What the mounts and masks of a plan are labelled with.
    fn labels(plan: &Plan) -> Vec<String> {
        let shown = |o: &super::DataOption| format!("{}={}", o.key, o.value.as_deref().unwrap_or(""));
        let of = |action: &Action| match action {
            Action::Mount(m) => {
                let data: Vec<String> = m.options.data.iter().map(shown).collect();
                let root = m.label.iter().map(|l| format!("root {l}"));
                Some(format!("{}: {}", m.fstype, data.into_iter().chain(root).collect::<Vec<_>>().join(" ")))
            }
            Action::Mask { context, .. } => context.as_ref().map(|c| format!("mask: {}", shown(c))),
            _ => None,
        };
        plan.steps.iter().filter_map(|s| of(&s.action)).collect()
    }

    #[test]
    fn new_filesystems_get_the_label_where_selinux_is_on() {
        let plan = planned("", "", &facts(false, true)).expect("a plan");
        assert_eq!(
            labels(&plan),
            [
                "proc: ",
                "tmpfs: context=u:r:t:s0:c1,c2",
                "mqueue: root u:r:t:s0:c1,c2",
                "tmpfs: rootcontext=a:b",
                "mask: context=u:r:t:s0:c1,c2",
            ]
        );
        let plan = planned("", "", &facts(true, false)).expect("a plan");
        assert_eq!(labels(&plan), ["proc: ", "tmpfs: ", "mqueue: ", "tmpfs: rootcontext=a:b"]);
    }

    #[test]
    fn an_annotation_names_the_option_of_the_label() {
        let with = |kind: &str| format!(r#","annotations":{{"run.oci.mount_context_type":"{kind}"}}"#);
        let plan = planned("", &with("fscontext"), &facts(false, true)).expect("a plan");
        assert!(labels(&plan).contains(&"tmpfs: fscontext=u:r:t:s0:c1,c2".to_owned()));
        let e = planned("", &with("size"), &facts(false, true)).expect_err("no context");
        assert_eq!(e.field(), Some("/annotations/run.oci.mount_context_type"));
    }

    #[test]
    fn a_program_gets_its_label_or_is_refused() {
        let (profile, label) = (r#","apparmorProfile":"p""#, r#","selinuxLabel":"u:r:t:s0""#);
        for (field, facts, lsm, wanted) in [
            (profile, facts(true, false), Lsm::AppArmor, "p"),
            (label, facts(false, true), Lsm::SeLinux, "u:r:t:s0"),
        ] {
            let plan = planned(field, "", &facts).expect("a plan");
            let found = plan.steps.iter().any(|s| {
                matches!(&s.action, Action::ProgramLabel { lsm: l, label } if *l == lsm && label == wanted)
            });
            assert!(found, "{plan}");
        }
        let e = planned(profile, "", &facts(false, true)).expect_err("no AppArmor");
        assert_eq!(e.to_string(), "apparmor: config provided but apparmor not supported");
        let e = planned(label, "", &facts(true, false)).expect_err("no SELinux");
        assert!(e.to_string().contains("selinux is disabled or not supported"));
        for empty in [r#","apparmorProfile":"""#, r#","selinuxLabel":"""#] {
            assert!(planned(empty, "", &facts(false, false)).is_ok(), "{empty}");
        }
    }
}
