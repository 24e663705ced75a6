//! The document that `spec` writes.
//!
//! Scripts edit it by line and by key, so key order and indentation are fixed: it is kept as text,
//! and only laid out here. It asks for a terminal and for as little privilege as a shell needs.

#[cfg(test)]
use serde_json::Value;

/// The document for a bundle, with a host name of letters. `rootless` holds the effective uid and gid of a caller without root;
/// `cgroup_v2` says that the host has cgroup v2 alone, where a cgroup namespace is of use.
pub(crate) fn text(hostname: &str, rootless: Option<(u32, u32)>, cgroup_v2: bool) -> String {
    layout(&compact(hostname, rootless, cgroup_v2))
}

/// The same document, parsed.
#[cfg(test)]
pub(crate) fn document(rootless: Option<(u32, u32)>, cgroup_v2: bool) -> Value {
    // Parsing cannot fail: the text is ours, and the tests parse every variant of it.
    serde_json::from_str(&compact("oxrun", rootless, cgroup_v2)).unwrap_or_default()
}

const PROCESS: &str = r#"{
"terminal": true,
"user": {"uid": 0, "gid": 0},
"args": ["sh"],
"env": [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM=xterm"
],
"cwd": "/",
"capabilities": {
    "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
    "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
    "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
},
"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
"noNewPrivileges": true
}"#;

const PROC_AND_DEV: &str = r#"
{"destination": "/proc", "type": "proc", "source": "proc"},
{"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}"#;

const DEVPTS: &str = r#"
{"destination": "/dev/pts", "type": "devpts", "source": "devpts",
 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}"#;

/// The group 5 of the host has no number in a user namespace of one id.
const DEVPTS_ROOTLESS: &str = r#"
{"destination": "/dev/pts", "type": "devpts", "source": "devpts",
 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}"#;

const SHM_AND_MQUEUE: &str = r#"
{"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
 "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
{"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
 "options": ["nosuid", "noexec", "nodev"]}"#;

const SYS: &str = r#"
{"destination": "/sys", "type": "sysfs", "source": "sysfs",
 "options": ["nosuid", "noexec", "nodev", "ro"]}"#;

/// A new sysfs needs a network namespace of one's own.
const SYS_ROOTLESS: &str = r#"
{"destination": "/sys", "type": "none", "source": "/sys",
 "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}"#;

const CGROUP: &str = r#"
{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
 "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}"#;

const RESOURCES: &str = r#""resources": {"devices": [{"allow": false, "access": "rwm"}]}"#;

const PATHS: &str = r#"
"maskedPaths": [
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
],
"readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]"#;

fn compact(hostname: &str, rootless: Option<(u32, u32)>, cgroup_v2: bool) -> String {
    let (devpts, sys) = match rootless {
        None => (DEVPTS, SYS),
        Some(_) => (DEVPTS_ROOTLESS, SYS_ROOTLESS),
    };
    let mounts = [PROC_AND_DEV, devpts, SHM_AND_MQUEUE, sys, CGROUP].join(",");
    let limits = match rootless {
        None => RESOURCES.to_owned(),
        Some((uid, gid)) => {
            format!("{},{}", mapping("uidMappings", uid), mapping("gidMappings", gid))
        }
    };
    let mut kinds = match rootless {
        None => vec!["pid", "network", "ipc", "uts", "mount"],
        Some(_) => vec!["pid", "ipc", "uts", "mount"],
    };
    if cgroup_v2 {
        kinds.push("cgroup");
    }
    if rootless.is_some() {
        kinds.push("user");
    }
    let namespaces: Vec<String> = kinds.iter().map(|kind| format!(r#"{{"type": "{kind}"}}"#)).collect();
    let namespaces = namespaces.join(",");
    let version = crate::args::help::SPEC_VERSION;
    format!(
        r#"{{"ociVersion": "{version}", "process": {PROCESS},
        "root": {{"path": "rootfs", "readonly": true}},
        "hostname": "{hostname}", "mounts": [{mounts}],
        "linux": {{{limits}, "namespaces": [{namespaces}], {PATHS}}}}}"#
    )
}

fn mapping(key: &str, host: u32) -> String {
    format!(r#""{key}": [{{"containerID": 0, "hostID": {host}, "size": 1}}]"#)
}

/// Lays out JSON with one element per line, a tab per level, and no line break at the end. The
/// order of keys is that of the text.
fn layout(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n('\t', depth));
    };
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                break_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = usize::saturating_sub(depth, 1);
                break_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VARIANTS: [(Option<(u32, u32)>, bool); 4] =
        [(None, false), (None, true), (Some((1000, 100)), false), (Some((1000, 100)), true)];

    fn mount<'a>(document: &'a Value, destination: &str) -> &'a Value {
        let mounts = document["mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = mounts.iter().find(|mount| mount["destination"] == destination);
        found.unwrap_or(&Value::Null)
    }

    fn namespaces(document: &Value) -> Vec<&str> {
        let list = document["linux"]["namespaces"].as_array().map(Vec::as_slice);
        list.unwrap_or_default().iter().filter_map(|namespace| namespace["type"].as_str()).collect()
    }

    #[test]
    fn every_variant_is_the_same_document_as_text_and_as_value() {
        for (rootless, v2) in VARIANTS {
            let parsed: Result<Value, _> = serde_json::from_str(&text("oxrun", rootless, v2));
            assert_eq!(parsed.ok(), Some(document(rootless, v2)));
            assert!(document(rootless, v2).is_object());
        }
    }

    #[test]
    fn keys_are_in_the_order_scripts_know_and_indented_by_tabs() {
        let text = text("oxrun", None, false);
        let keys: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("\t\"") || line.starts_with("\t\t\""))
            .filter_map(|line| line.split('"').nth(1))
            .collect();
        let expected = "ociVersion process terminal user args env cwd capabilities rlimits \
                        noNewPrivileges root path readonly hostname mounts linux resources \
                        namespaces maskedPaths readonlyPaths";
        assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
        assert!(
            text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n")
        );
        assert!(text.contains(
            "\t\"hostname\": \"oxrun\",\n\t\"mounts\": [\n\t\t{\n\t\t\t\"destination\": \"/proc\",\n"
        ));
        assert!(text.ends_with("\t\t\t\"/proc/sysrq-trigger\"\n\t\t]\n\t}\n}"));
    }

    #[test]
    fn the_process_has_a_terminal_and_three_capabilities() {
        let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        assert_eq!(
            document(None, false)["process"],
            json!({
                "terminal": true,
                "user": {"uid": 0, "gid": 0},
                "args": ["sh"],
                "env": [
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TERM=xterm",
                ],
                "cwd": "/",
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "permitted": capabilities,
                },
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
                "noNewPrivileges": true,
            })
        );
    }

    #[test]
    fn a_cgroup_namespace_is_asked_for_on_cgroup_v2_only() {
        let namespaces_of = |v2| namespaces(&document(None, v2)).join(" ");
        assert_eq!(namespaces_of(false), "pid network ipc uts mount");
        assert_eq!(namespaces_of(true), "pid network ipc uts mount cgroup");
    }

    #[test]
    fn without_root_the_document_asks_for_nothing_that_needs_it() {
        let document = document(Some((1000, 100)), true);
        assert_eq!(namespaces(&document), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
        let linux = &document["linux"];
        assert_eq!(linux["resources"], Value::Null);
        assert_eq!(linux["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(linux["gidMappings"], json!([{"containerID": 0, "hostID": 100, "size": 1}]));
        assert_eq!(
            *mount(&document, "/sys"),
            json!({
                "destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            })
        );
        let text = text("oxrun", Some((1000, 100)), true);
        assert!(!text.contains("gid=") && !text.contains("uid="), "{text}");
    }

    #[test]
    fn layout_leaves_strings_alone() {
        assert_eq!(
            layout(r#"{"a:,{": "b\"[, \\", "c":[1, 2]}"#),
            "{\n\t\"a:,{\": \"b\\\"[, \\\\\",\n\t\"c\": [\n\t\t1,\n\t\t2\n\t]\n}"
        );
    }
}
