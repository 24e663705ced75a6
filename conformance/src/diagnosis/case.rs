//! What a config that cannot work consists of, and the pieces that several are made of.

use crate::Check;
use crate::harness::{Bundle, Config, Host, Sandbox};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What a runtime should do with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Refuse it, with this exit code of `run`.
    Fails(i32),
    /// Run it with a warning.
    Warns,
    /// Run it without a word.
    Runs,
}

/// One config that has something wrong.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// A name for tests, in words.
    pub name: &'static str,
    /// What is wrong, for readers.
    pub defect: &'static str,
    /// What should come of it.
    pub end: End,
    /// The JSON pointer that the answer names.
    pub pointer: &'static str,
    /// What the answer or its hint says of the cause.
    pub cause: &'static [&'static str],
    /// What callers of runc match, word for word, in the message.
    pub runc: &'static [&'static str],
    /// Makes the bundle.
    pub make: fn(&Sandbox) -> Check<Bundle>,
    /// Why the case cannot be shown on this host.
    pub missing: fn() -> Option<&'static str>,
}

/// The program of every case that is about something else.
pub(super) const REPORT: &[&str] = &["/bin/probe", "report"];

pub(super) fn always() -> Option<&'static str> {
    None
}

pub(super) fn config() -> Config {
    Config::new(REPORT)
}

pub(super) fn with(s: &Sandbox, config: &Config) -> Check<Bundle> {
    s.bundle(config)
}

/// A bundle whose program is a file of this content and mode at `/bin/x`.
pub(super) fn program(s: &Sandbox, config: &Config, content: &[u8], mode: u32) -> Check<Bundle> {
    let bundle = s.bundle(&config.clone().args(&["/bin/x"]))?;
    let path = bundle.rootfs().join("bin/x");
    fs::write(&path, content)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(bundle)
}

/// An ELF file for this machine with one program header that asks for an interpreter.
pub(super) fn elf(machine: u16, interpreter: &str) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    file.resize(16, 0);
    file.extend(3u16.to_le_bytes()); // ET_DYN
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let length = interpreter.len() as u64 + 1;
    file.extend(3u32.to_le_bytes()); // PT_INTERP
    file.extend(4u32.to_le_bytes());
    for word in [120u64, 0, 0, length, length, 1] {
        file.extend(word.to_le_bytes());
    }
    file.extend(interpreter.as_bytes());
    file.push(0);
    file
}

pub(super) const NATIVE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
pub(super) const FOREIGN: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };

/// `{"hooks": {name: [{"path": path, "args": args}]}}`.
pub(super) fn hook(name: &str, path: &Path, args: &[&str]) -> Config {
    config().push(&format!("/hooks/{name}"), json!({ "path": path, "args": args }))
}

pub(super) fn seccomp(rules: &serde_json::Value) -> Config {
    config().set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }))
}

/// Maps of a user namespace that files of this host can have.
pub(super) fn map() -> serde_json::Value {
    json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }])
}

pub(super) fn idmapped(source: &Path) -> Config {
    config().push(
        "/mounts",
        json!({ "type": "bind", "source": source, "destination": "/tmp", "options": ["bind", "idmap"],
            "uidMappings": map(), "gidMappings": map() }),
    )
}

pub(super) fn no_v2_only() -> Option<&'static str> {
    (!Host::is_pure_v2()).then_some("needs a host with cgroup v2 alone")
}

pub(super) fn no_v1() -> Option<&'static str> {
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    (!v1).then_some("needs the memory controller of cgroup v1")
}

pub(super) fn no_unlisted_memory() -> Option<&'static str> {
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    no_v2_only().or_else(|| list.contains("memory").then_some("needs a v2 tree without memory controller"))
}

pub(super) fn apparmor_is_on() -> Option<&'static str> {
    let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with('Y'));
    on.then_some("AppArmor is on")
}
