//! The keys of config.json, for the question which one was meant.

/// Every key of the specification that concerns Linux.
const KEYS: &[&str] = &[
    "ociVersion",
    "process",
    "root",
    "hostname",
    "domainname",
    "mounts",
    "hooks",
    "annotations",
    "linux",
    "terminal",
    "consoleSize",
    "cwd",
    "env",
    "args",
    "user",
    "uid",
    "gid",
    "umask",
    "additionalGids",
    "rlimits",
    "capabilities",
    "noNewPrivileges",
    "apparmorProfile",
    "selinuxLabel",
    "oomScoreAdj",
    "scheduler",
    "ioPriority",
    "execCPUAffinity",
    "path",
    "readonly",
    "destination",
    "source",
    "type",
    "options",
    "uidMappings",
    "gidMappings",
    "namespaces",
    "timeOffsets",
    "devices",
    "netDevices",
    "sysctl",
    "resources",
    "cgroupsPath",
    "rootfsPropagation",
    "maskedPaths",
    "readonlyPaths",
    "mountLabel",
    "seccomp",
    "intelRdt",
    "memoryPolicy",
    "personality",
    "memory",
    "cpu",
    "pids",
    "blockIO",
    "hugepageLimits",
    "network",
    "rdma",
    "unified",
    "defaultAction",
    "architectures",
    "syscalls",
    "names",
    "action",
    "errnoRet",
    "bounding",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
    "limit",
    "swap",
    "reservation",
    "shares",
    "quota",
    "period",
    "timeout",
    "containerID",
    "hostID",
    "size",
    "height",
    "width",
    "soft",
    "hard",
    "policy",
    "nice",
    "priority",
    "runtime",
    "deadline",
    "flags",
    "class",
    "initial",
    "final",
    "monotonic",
    "secs",
    "nanosecs",
    "boottime",
    "major",
    "minor",
    "fileMode",
    "domain",
    "mode",
    "nodes",
    "name",
    "closID",
    "schemata",
    "l3CacheSchema",
    "memBwSchema",
    "enableMonitoring",
    "allow",
    "access",
    "kernel",
    "kernelTCP",
    "swappiness",
    "disableOOMKiller",
    "useHierarchy",
    "checkBeforeUpdate",
    "burst",
    "idle",
    "realtimePeriod",
    "realtimeRuntime",
    "cpus",
    "mems",
    "weight",
    "leafWeight",
    "weightDevice",
    "throttleReadBpsDevice",
    "rate",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
    "pageSize",
    "classID",
    "priorities",
    "hcaHandles",
    "hcaObjects",
    "defaultErrnoRet",
    "listenerPath",
    "listenerMetadata",
    "index",
    "value",
    "valueTwo",
    "op",
];

/// The known key nearest to an unknown one, if it is near enough to be meant.
pub(super) fn nearest(pointer: &str) -> Option<&'static str> {
    let key = pointer.rsplit('/').next().unwrap_or(pointer);
    let most = 1 + key.len() / 5;
    // Letters that one has more than the other are changes, too. A config may have very many unknown keys.
    let letters = key.to_lowercase().chars().count();
    let near = KEYS.iter().filter(|k| k.len().abs_diff(letters) <= most);
    let best = near.map(|k| (distance(key, k), *k)).min_by_key(|(d, _)| *d)?;
    (best.1 != key && best.0 <= most).then_some(best.1)
}

/// Edit distance of two short words, without regard to case.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by looking at every key.
    fn nearest_of_all(key: &str) -> Option<&'static str> {
        let best = KEYS.iter().map(|k| (distance(key, k), *k)).min_by_key(|(d, _)| *d)?;
        (best.1 != key && best.0 <= 1 + key.len() / 5).then_some(best.1)
    }

    #[test]
    fn no_key_that_is_near_is_left_out() {
        let mut found = 0;
        for known in KEYS {
            for other in ["", "Args", "\u{130}s"] {
                for cut in (0..=known.len()).step_by(5) {
                    let (start, end) = known.split_at(cut);
                    for key in
                        [format!("{start}{other}{end}"), format!("{start}{other}"), format!("{other}{end}")]
                    {
                        assert_eq!(nearest(&key), nearest_of_all(&key), "{key}");
                        found += usize::from(nearest(&key).is_some());
                    }
                }
            }
        }
        assert!(found > 500, "{found}");
    }
}
