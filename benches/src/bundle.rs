//! The bundle that every runtime gets. What must hold: its isolation is that of a container of
//! containerd with its defaults (all default namespaces, network and cgroup included), and
//! `oxrun-floor` makes the same; a change here is a change there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::{Result, elf};

const PROFILE: &str = include_str!("../data/containerd-default.seccomp.json");
const CAPS: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
    "CAP_NET_ADMIN",
];

/// What /bin/check returns.
pub(crate) const CHECK_STATUS: u8 = 42;

/// Makes a rootfs with /bin/true, /bin/check and /bin/pause.
pub(crate) fn make_rootfs(rootfs: &Path) -> Result<()> {
    for dir in ["bin", "proc", "dev", "sys", "etc", "tmp"] {
        fs::create_dir_all(rootfs.join(dir))?;
    }
    for (name, program) in [
        ("true", elf::exit_program(0)),
        ("check", elf::exit_program(CHECK_STATUS)),
        ("pause", elf::pause_program()),
    ] {
        let path = rootfs.join("bin").join(name);
        fs::write(&path, program)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// What a bundle has otherwise than the usual one.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Nothing.
    None,
    /// A memory limit in bytes.
    Memory(u64),
    /// No network namespace and no seccomp profile: containers that are only to be there, a thousand of
    /// them.
    Small,
    /// That many bind mounts more, of a directory of the host, on /m/0 and so on.
    Binds(usize, &'a Path),
}

/// Makes the directories on which [`Change::Binds`] mounts.
pub(crate) fn make_mountpoints(rootfs: &Path, number: usize) -> Result<()> {
    for at in 0..number {
        fs::create_dir_all(rootfs.join(format!("m/{at}")))?;
    }
    Ok(())
}

/// Writes DIR/config.json for a container that runs `program` in a cgroup of its own.
pub(crate) fn make(dir: &Path, rootfs: &Path, program: &str, cgroup: &str, change: Change) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut config = config(rootfs, program, cgroup)?;
    match change {
        Change::None => {}
        Change::Memory(limit) => config["linux"]["resources"]["memory"] = json!({ "limit": limit }),
        Change::Small => {
            let kinds = ["pid", "ipc", "uts", "mount", "cgroup"];
            config["linux"]["namespaces"] = kinds.map(|kind| json!({ "type": kind })).into();
            if let Some(linux) = config["linux"].as_object_mut() {
                linux.remove("seccomp");
            }
        }
        Change::Binds(number, source) => {
            let bind = |at| json!({ "destination": format!("/m/{at}"), "type": "bind", "source": source, "options": ["bind"] });
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.extend((0..number).map(bind));
            }
        }
    }
    fs::write(dir.join("config.json"), serde_json::to_vec(&config)?)?;
    Ok(())
}

fn config(rootfs: &Path, program: &str, cgroup: &str) -> Result<Value> {
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": [program],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": { "bounding": CAPS, "effective": CAPS, "permitted": CAPS },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": rootfs },
        "hostname": "bench",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": devices() },
            "cgroupsPath": cgroup,
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network" }, { "type": "cgroup" },
            ],
            "seccomp": serde_json::from_str::<Value>(PROFILE)?,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/sys/devices/virtual/powercap", "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    }))
}

fn mounts() -> Value {
    let mount = |to: &str, kind: &str, source: &str, options: &str| {
        let options: Vec<&str> = options.split(' ').collect();
        json!({ "destination": to, "type": kind, "source": source, "options": options })
    };
    json!([
        mount("/proc", "proc", "proc", "nosuid noexec nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
    ])
}

fn devices() -> Value {
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    for (major, minor) in [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 1), (5, 2)] {
        rules.push(json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" }));
    }
    rules.push(json!({ "allow": true, "type": "c", "major": 136, "access": "rwm" }));
    Value::Array(rules)
}
