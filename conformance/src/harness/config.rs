//! A complete configuration to start from. A test changes only what it is about, by JSON pointer,
//! so that its text shows exactly what differs from the default.

use serde_json::{Map, Value, json};
use std::path::Path;

/// A `config.json` under construction.
#[derive(Clone, Debug)]
pub struct Config(Value);

impl Config {
    /// The default container, running `args`.
    #[must_use]
    pub fn new(args: &[&str]) -> Self {
        Self(json!({
            "ociVersion": "1.0.2",
            "process": process(args),
            "root": { "path": "rootfs", "readonly": true },
            "hostname": "oxrun-test",
            "mounts": mounts(),
            "linux": {
                "cgroupsPath": "/oxrun-test-unset",
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
                "namespaces": [
                    { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                    { "type": "uts" }, { "type": "mount" },
                ],
                "maskedPaths": [
                    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                    "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
                ],
                "readonlyPaths": [
                    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
                ],
            },
        }))
    }

    /// A configuration from its text.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self)
    }

    /// The value at `pointer`, null if there is none.
    #[must_use]
    pub fn get(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The whole document.
    pub(super) fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// Puts `value` at `pointer`. Missing objects on the way are made; `-` is the end of an array.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, key) = split(pointer);
        match place(&mut self.0, parent) {
            Value::Array(list) => match key.parse::<usize>() {
                Ok(index) if index < list.len() => list[index] = value.into(),
                _ => list.push(value.into()),
            },
            other => {
                object(other).insert(key, value.into());
            }
        }
        self
    }

    /// Appends `value` to the array at `pointer`, which is made if it is missing.
    #[must_use]
    pub fn push(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let spot = place(&mut self.0, pointer);
        match spot {
            Value::Array(list) => list.push(value.into()),
            other => *other = Value::Array(vec![value.into()]),
        }
        self
    }

    /// Takes away what is at `pointer`.
    #[must_use]
    pub fn remove(mut self, pointer: &str) -> Self {
        let (parent, key) = split(pointer);
        match self.0.pointer_mut(parent) {
            Some(Value::Object(map)) => {
                map.remove(&key);
            }
            Some(Value::Array(list)) => {
                if let Ok(index) = key.parse::<usize>()
                    && index < list.len()
                {
                    list.remove(index);
                }
            }
            _ => {}
        }
        self
    }

    /// Replaces the program.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// Appends a mount.
    #[must_use]
    pub fn mount(self, kind: &str, source: &Path, target: &str, options: &[&str]) -> Self {
        self.push(
            "/mounts",
            json!({
                "type": kind, "source": source.to_string_lossy(), "destination": target,
                "options": options,
            }),
        )
    }

    /// Replaces or adds the namespace of one type; `path` joins an existing one.
    #[must_use]
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        let entry = match path {
            Some(path) => json!({ "type": kind, "path": path }),
            None => json!({ "type": kind }),
        };
        self.without_namespace(kind).push("/linux/namespaces", entry)
    }

    /// Leaves out the namespace of one type.
    #[must_use]
    pub fn without_namespace(mut self, kind: &str) -> Self {
        if let Some(Value::Array(list)) = self.0.pointer_mut("/linux/namespaces") {
            list.retain(|entry| entry["type"] != kind);
        }
        self
    }

    /// Gives all five capability sets the same members.
    #[must_use]
    pub fn capabilities(self, names: &[&str]) -> Self {
        self.set(
            "/process/capabilities",
            json!({
                "bounding": names, "effective": names, "permitted": names,
                "inheritable": names, "ambient": names,
            }),
        )
    }

    /// Where in the array of mounts `target` is mounted first.
    #[must_use]
    pub fn mount_index(&self, target: &str) -> Option<usize> {
        let list = self.get("/mounts").as_array()?;
        list.iter().position(|mount| mount["destination"] == target)
    }

    /// Leaves out every mount on `target`.
    #[must_use]
    pub fn without_mount(mut self, target: &str) -> Self {
        if let Some(Value::Array(list)) = self.0.pointer_mut("/mounts") {
            list.retain(|mount| mount["destination"] != target);
        }
        self
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}", self.0)
    }
}

fn process(args: &[&str]) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": args,
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts() -> Value {
    let entry = |target: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": source, "options": options });
    json!([
        entry("/proc", "proc", "proc", &[]),
        entry("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        entry(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        entry("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        entry("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        entry("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        entry("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}

fn split(pointer: &str) -> (&str, String) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    (parent, key.replace("~1", "/").replace("~0", "~"))
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// The value at `pointer`, made where it is missing.
fn place<'a>(root: &'a mut Value, pointer: &str) -> &'a mut Value {
    let mut spot = root;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        spot = match spot {
            Value::Array(list) => {
                let index = key.parse::<usize>().unwrap_or(usize::MAX).min(list.len());
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            other => object(other).entry(key).or_insert(Value::Null),
        };
    }
    spot
}
