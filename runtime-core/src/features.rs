//! What this runtime does, as the specification's features document (features.md).
//!
//! What must hold: nothing is claimed that a config could not ask for. Where something can be refused, planning is
//! asked with a config that asks for it; the rest comes from the tables that planning itself reads.

use crate::bundle::{Bundle, words};
use crate::error::Result;
use crate::facts::{CgroupFacts, HostFacts, ResctrlFacts, V2Tree};
use crate::plan::action::Namespace;
use crate::plan::options::{Effect, TABLE};
use crate::plan::{CreateOptions, Plan, caps, plan};
use crate::plan::{labels, process};
use crate::seccomp::Arch;
use crate::sys;
use serde_json::{Value, json};

/// The oldest version of the runtime specification that is carried out.
pub const OLDEST: &str = "1.0.0";
/// The newest.
pub const NEWEST: &str = "1.3.0";

/// Whether systemd can be asked to make the cgroups.
pub const SYSTEMD: bool = true;

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
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

/// The flags of a filter with the kernel's bits.
const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2),
    ("SECCOMP_FILTER_FLAG_TSYNC", 1 << 0),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1 << 5),
];

/// A filter that asks an agent returns a descriptor; one of the flags means nothing without.
const NEW_LISTENER: u32 = 1 << 3;

/// A host on which nothing is missing, to ask planning on.
struct Asker {
    facts: HostFacts,
}

impl Asker {
    fn new() -> Result<Asker> {
        let (mount, own) = ("/sys/fs/cgroup".into(), "/".to_owned());
        let tree = V2Tree { mount, own, controllers: Vec::new(), delegated: None };
        let facts = HostFacts {
            euid: 0,
            egid: 0,
            in_user_namespace: false,
            bounding: u64::MAX,
            effective: u64::MAX,
            cgroup: CgroupFacts { v1: Vec::new(), v2: Some(tree) },
            resctrl: Some(ResctrlFacts { mount: "/x".into(), cache: true, bandwidth: true }),
            wait_killable: true,
            apparmor: true,
            selinux: true,
            ..HostFacts::record()?
        };
        Ok(Asker { facts })
    }

    /// The plan of a small config with `value` at `pointer`, if it is planned without a warning.
    fn plan(&self, pointer: &str, value: Value) -> Option<Plan> {
        let mut config = json!({
            "ociVersion": NEWEST,
            "process": {"cwd": "/", "args": ["/x"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "/x"},
            "hooks": {},
            "linux": {"namespaces": [{"type": "mount"}]},
        });
        let (parent, key) = pointer.rsplit_once('/')?;
        config.pointer_mut(parent)?.as_object_mut()?.insert(key.to_owned(), value);
        let bundle = Bundle::from_json(config.to_string().as_bytes()).ok()?;
        let plan = plan("features", &bundle, &self.facts, &CreateOptions::default()).ok()?;
        plan.warnings.is_empty().then_some(plan)
    }

    fn accepts(&self, pointer: &str, value: Value) -> bool {
        self.plan(pointer, value).is_some()
    }

    fn namespace(&self, kind: Namespace) -> bool {
        let mut list = vec![json!({"type": kind.name()})];
        if kind != Namespace::Mount {
            list.push(json!({"type": "mount"}));
        }
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
        let linux = match kind {
            Namespace::User => json!({"namespaces": list, "uidMappings": map, "gidMappings": map}),
            _ => json!({"namespaces": list}),
        };
        self.accepts("/linux", linux)
    }

    fn hook(&self, name: &str) -> bool {
        let hooks = json!([{"path": "/x"}]);
        self.plan(&format!("/hooks/{name}"), hooks).is_some_and(|plan| {
            let steps = plan.steps.iter().any(|s| s.field.starts_with(&format!("/hooks/{name}/")));
            steps || plan.later_hooks.iter().any(|h| h.name == name)
        })
    }

    fn seccomp(&self, rule: Value) -> bool {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x.sock", "syscalls": [rule],
        });
        // The path of an agent means nothing where none is asked.
        let plain = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": profile["syscalls"]});
        self.accepts("/linux/seccomp", profile) || self.accepts("/linux/seccomp", plain)
    }

    fn label(&self, key: &str) -> bool {
        self.accepts(&format!("/process/{key}"), json!("x"))
    }

    fn net_device(&self) -> bool {
        let namespaces = json!([{"type": "mount"}, {"type": "network"}]);
        self.accepts("/linux", json!({"namespaces": namespaces, "netDevices": {"eth0": {}}}))
    }

    fn idmap(&self) -> bool {
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
        let mount = json!({"destination": "/y", "source": "/x", "options": ["bind", "idmap"],
            "uidMappings": map, "gidMappings": map});
        self.accepts("/mounts", json!([mount]))
    }
}

/// The features document, without annotations of the program that prints it.
///
/// # Errors
/// As [`HostFacts::record`].
pub fn features() -> Result<Value> {
    let ask = Asker::new()?;
    let options = TABLE.iter().filter(|(_, effect)| !matches!(effect, Effect::IdMap(_)));
    let mut options: Vec<&str> = options.map(|(name, _)| *name).collect();
    options.sort_unstable();
    let mut unsafe_annotations = [process::KEEP_GROUPS, labels::MOUNT_CONTEXT];
    unsafe_annotations.sort_unstable();
    Ok(json!({
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": HOOKS.into_iter().filter(|name| ask.hook(name)).collect::<Vec<_>>(),
        "mountOptions": options,
        "linux": linux(&ask),
        "potentiallyUnsafeConfigAnnotations": unsafe_annotations,
    }))
}

fn linux(ask: &Asker) -> Value {
    let namespaces: Vec<&str> =
        Namespace::ALL.into_iter().filter(|kind| ask.namespace(*kind)).map(Namespace::name).collect();
    let rdma = ask.plan("/linux/resources", json!({"rdma": {"mlx5_0": {"hcaHandles": 3}}}));
    let rdma = rdma.is_some_and(|p| p.steps.iter().any(|s| s.field.starts_with("/linux/resources/rdma")));
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let memory_policy = ask.accepts("/linux/memoryPolicy", policy).then(|| {
        json!({
            "modes": words::known("/linux/memoryPolicy", "mode"),
            "flags": words::known("/linux/memoryPolicy", "flags"),
        })
    });
    let rdt = |key: &str, value: Value| ask.accepts("/linux/intelRdt", json!({"closID": "x", key: value}));
    let mut linux = json!({
        "namespaces": namespaces,
        "capabilities": caps::NAMES.as_slice(),
        "cgroup": {"v1": true, "v2": true, "systemd": SYSTEMD, "systemdUser": SYSTEMD, "rdma": rdma},
        "seccomp": seccomp(ask),
        "apparmor": {"enabled": ask.label("apparmorProfile")},
        "selinux": {"enabled": ask.label("selinuxLabel")},
        "intelRdt": {
            "enabled": rdt("l3CacheSchema", json!("L3:0=f")),
            "schemata": rdt("schemata", json!(["L3:0=f"])),
            "monitoring": rdt("enableMonitoring", json!(true)),
        },
        "mountExtensions": {"idmap": {"enabled": ask.idmap()}},
        "netDevices": {"enabled": ask.net_device()},
    });
    if let (Some(policy), Some(linux)) = (memory_policy, linux.as_object_mut()) {
        linux.insert("memoryPolicy".to_owned(), policy);
    }
    linux
}

fn seccomp(ask: &Asker) -> Value {
    let rule = |action: &str, op: &str| {
        let value = json!({"index": 0, "value": 1, "valueTwo": 1, "op": op});
        json!({"names": ["read"], "action": action, "args": [value]})
    };
    let actions = ACTIONS.into_iter().filter(|action| ask.seccomp(rule(action, "SCMP_CMP_EQ")));
    let actions: Vec<&str> = actions.collect();
    let operators = OPERATORS.into_iter().filter(|op| ask.seccomp(rule("SCMP_ACT_ERRNO", op)));
    let agent = actions.contains(&"SCMP_ACT_NOTIFY");
    let known = FLAGS.iter().filter(|(name, _)| {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [name]});
        ask.accepts("/linux/seccomp", profile) && (agent || !name.ends_with("_RECV"))
    });
    let known: Vec<&(&str, u32)> = known.collect();
    let listener = |bits: u32| if bits == 1 << 5 { bits | NEW_LISTENER } else { bits };
    let supported = known.iter().filter(|(_, bits)| sys::seccomp_flags_known(listener(*bits)));
    json!({
        "enabled": true,
        "actions": actions,
        "operators": operators.collect::<Vec<_>>(),
        "archs": Arch::ALL.iter().map(|a| a.name()).collect::<Vec<_>>(),
        "knownFlags": known.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "supportedFlags": supported.map(|(name, _)| *name).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_planning_refuses_is_not_claimed() {
        let ask = Asker::new().expect("facts");
        assert!(!ask.hook("nohook") && !ask.seccomp(json!({"names": ["read"], "action": "SCMP_ACT_NOPE"})));
        assert!(!ask.accepts("/linux/memoryPolicy", json!({"mode": "MPOL_NOPE"})));
        assert!(!ask.accepts("/linux/nope", json!(1)), "a warning is no support");
        assert!(ask.accepts("/hostname", json!("")));
    }
}
