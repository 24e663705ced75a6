//! `features`: what this runtime does so far, from the tables that do it.

use super::{Failure, print};
use oxrun_core::plan::action::Namespace;
use oxrun_core::plan::caps;
use oxrun_core::plan::options::{Effect, TABLE};
use serde_json::{Value, json};

/// `features`.
pub(crate) fn features() -> Result<u8, Failure> {
    let text = serde_json::to_string_pretty(&document()).map_err(|e| Failure::plain(e.to_string()))?;
    print(&format!("{text}\n"))
}

fn document() -> Value {
    let options: Vec<&str> =
        TABLE.iter().filter(|(_, e)| !matches!(e, Effect::IdMap(_))).map(|(name, _)| *name).collect();
    // A user namespace can only be made without root so far, a time namespace not at all.
    let missing = [Namespace::Time, Namespace::User];
    let namespaces: Vec<&str> =
        Namespace::ALL.iter().filter(|n| !missing.contains(n)).map(|n| n.name()).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "mountOptions": options,
        "linux": {
            "namespaces": namespaces,
            "capabilities": caps::NAMES.to_vec(),
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP",
                    "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"],
                "operators": ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE",
                    "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"],
                "archs": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"],
                "knownFlags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
                "supportedFlags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
            },
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": false}},
            "netDevices": {"enabled": false},
        },
    })
}
