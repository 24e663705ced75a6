//! `try`: a throw-away container whose root is the host's own programs, read-only, and a fresh /tmp.
//!
//! What must hold: nothing of /root, /home and /var is inside, nor password hashes and ssh keys; nothing of
//! the host can be written; everything that was made is gone afterwards.

use super::{Ctx, Failure};
use crate::args;
use crate::foreground;
use oxrun_core::{Bundle, CreateOptions, Runtime, Stdio};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The system calls that are allowed; the file says how it was made.
const SECCOMP: &str = include_str!("../../data/try-seccomp.json");

/// Host directories that are shown.
const SHOWN: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt"];

/// What is covered in /etc.
const HIDDEN: [&str; 8] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/security/opasswd",
    "/etc/sudoers.d",
];

/// A directory that is removed with everything in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a temporary directory hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `try -- COMMAND`.
#[inline(never)]
pub(crate) fn attempt(ctx: &Ctx<'_>, a: &args::Try) -> Result<u8, Failure> {
    let pid = std::process::id();
    let scratch = Scratch(std::env::temp_dir().join(format!("oxrun-try-{pid}")));
    let io = |e: &std::io::Error| {
        let text = oxrun_core::errno_text(e.raw_os_error().unwrap_or(0));
        Failure::plain(format!("{}: {text}", scratch.0.display()))
    };
    let rootfs = scratch.0.join("rootfs");
    std::fs::DirBuilder::new().mode(0o700).create(&scratch.0).map_err(|e| io(&e))?;
    let mounts = root(&rootfs).map_err(|e| io(&e))?;
    let euid = nix::unistd::geteuid().as_raw();
    let egid = nix::unistd::getegid().as_raw();
    let config = config(&rootfs, &a.command, mounts, (euid, egid), pid)?;
    let runtime = Runtime::new(scratch.0.join("state"));
    let bundle = Bundle::from_json(config.to_string().as_bytes())?;
    let plan = runtime.plan(&format!("try-{pid}"), &bundle, &CreateOptions::default())?;
    let session = foreground::Session::begin(true)?;
    let container = runtime
        .create(&plan, Stdio::inherit())
        .map_err(|e| Failure::of(&format!("{} try failed: ", ctx.program), &e))?;
    session.run(ctx, &plan, container, &args::Create::default(), false)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a directory of our own, made a moment ago, that nobody else may write"
)]
/// Makes the root's skeleton: links as the host has them, empty directories for the rest. Returns the binds.
fn root(rootfs: &Path) -> std::io::Result<Vec<Value>> {
    std::fs::create_dir(rootfs)?;
    let mut mounts = Vec::new();
    for name in SHOWN {
        let host = Path::new("/").join(name);
        let inside = rootfs.join(name);
        let Ok(there) = std::fs::symlink_metadata(&host) else {
            continue;
        };
        if there.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&host)?, &inside)?;
        } else if there.is_dir() {
            std::fs::create_dir(&inside)?;
            mounts.push(json!({
                "destination": host, "source": host, "type": "bind",
                "options": ["rbind", "rprivate", "rro", "rnosuid", "rnodev"],
            }));
        }
    }
    for name in ["proc", "sys", "dev", "tmp", "run", "root", "var", "home"] {
        std::fs::create_dir(rootfs.join(name))?;
    }
    Ok(mounts)
}

/// The filesystems that every container has, and a fresh /tmp, /run and /root.
fn filesystems(user: bool) -> Vec<Value> {
    let pts: &[&str] = if user { &[] } else { &["gid=5"] };
    let pts: Vec<&str> = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
        .iter()
        .chain(pts)
        .copied()
        .collect();
    let fs = |kind: &str, dest: &str, options: &[&str]| json!({"destination": dest, "type": kind, "source": kind, "options": options});
    vec![
        fs("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        fs("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=64k"]),
        fs("devpts", "/dev/pts", &pts),
        fs("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777"]),
        fs("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        fs("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        fs("tmpfs", "/tmp", &["nosuid", "nodev", "mode=1777"]),
        fs("tmpfs", "/run", &["nosuid", "nodev", "mode=755"]),
        fs("tmpfs", "/root", &["nosuid", "nodev", "mode=700"]),
    ]
}

fn config(
    rootfs: &Path,
    command: &[String],
    mut mounts: Vec<Value>,
    ids: (u32, u32),
    pid: u32,
) -> Result<Value, Failure> {
    let user = ids.0 != 0;
    let seccomp: Value =
        serde_json::from_str(SECCOMP).map_err(|e| Failure::plain(format!("try-seccomp.json: {e}")))?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    mounts.extend(filesystems(user));
    let mut masked: Vec<&str> = vec![
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
    ];
    masked.extend(HIDDEN);
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let mut linux = json!({
        "maskedPaths": masked,
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "seccomp": seccomp,
    });
    if user {
        namespaces.push("user");
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": ids.0, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": ids.1, "size": 1}]);
    } else {
        linux["cgroupsPath"] = json!(format!("/oxrun-try-{pid}"));
        linux["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    }
    linux["namespaces"] = namespaces.iter().map(|n| json!({"type": n})).collect();
    let caps = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_KILL",
    ];
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    Ok(json!({
        "ociVersion": "1.3.0",
        "hostname": "try",
        "root": {"path": rootfs, "readonly": true},
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "cwd": "/tmp",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", format!("TERM={term}"), "HOME=/root"],
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": true,
        },
        "mounts": mounts,
        "linux": linux,
    }))
}
