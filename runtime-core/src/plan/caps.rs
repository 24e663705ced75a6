//! Capabilities by name and number (capabilities(7), linux/capability.h). One function computes the
//! five sets of a process, and inheritable is empty unless the config says otherwise.

use serde::{Deserialize, Serialize};

/// Names by number.
pub const NAMES: [&str; 41] = [
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

/// CAP_SYS_ADMIN.
pub const SYS_ADMIN: u64 = 1 << 21;

/// The number of a capability, by its name with `CAP_`, any case.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let exact = NAMES.iter().position(|n| *n == name);
    exact.or_else(|| NAMES.iter().position(|n| n.eq_ignore_ascii_case(name))).map(|n| n as u32)
}

/// The five sets, as bit masks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CapSets {
    /// What an execve can ever give.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What may be in force.
    pub permitted: u64,
    /// What survives an execve of a file that inherits it.
    pub inheritable: u64,
    /// What survives an execve of an ordinary file.
    pub ambient: u64,
}

/// The names of a set.
pub fn names(set: u64) -> impl Iterator<Item = &'static str> {
    (0..64).filter(move |n| set & (1 << n) != 0).map(|n| NAMES.get(n).copied().unwrap_or("CAP_?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case() {
        for (n, name) in NAMES.iter().enumerate() {
            assert_eq!(number(name), Some(n as u32));
            assert_eq!(number(&name.to_ascii_lowercase()), Some(n as u32));
        }
        assert_eq!(number("CAP_NOPE"), None);
    }
}
