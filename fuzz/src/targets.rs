//! The bodies of the targets, for libFuzzer and for the measurement of what a corpus reaches.

use crate::{host, order};
use oxrun_core::cgroup::devices::{DeviceKind, DeviceRule};
use oxrun_core::cgroup::systemd::{self, wire};
use oxrun_core::plan::action::Action;
use oxrun_core::plan::{plan, script as init_script};
use oxrun_core::seccomp::Arch;
use oxrun_core::{Bundle, CgroupManager, CreateOptions, Error, Plan, fuzzing};
use oxrun_init::encode::Writer;
use oxrun_init::script::Script;
use std::sync::LazyLock;

/// Every target by name.
pub const ALL: [(&str, fn(&[u8])); 8] = [
    ("config", config),
    ("process", process),
    ("script", script),
    ("state", state),
    ("resources", resources),
    ("seccomp", seccomp),
    ("devices", devices),
    ("dbus", dbus),
];

/// config.json: load and plan. Whatever the bytes are, there is an error or a plan in order whose script init
/// can read, and which is the same after it was stored.
pub fn config(data: &[u8]) {
    let Some((facts, bytes)) = host(data) else { return };
    let bundle = match Bundle::from_json(bytes) {
        Ok(bundle) => bundle,
        Err(e) => return said(&e),
    };
    assert_eq!(bundle.raw(), bytes, "the bytes are kept");
    let options = CreateOptions {
        no_pivot: data[0] & 0x80 != 0,
        no_new_keyring: data[0] & 0x10 != 0,
        cgroup_manager: match data[0] & 0x60 {
            0x20 => CgroupManager::None,
            0x40 => CgroupManager::Systemd,
            _ => CgroupManager::Cgroupfs,
        },
        ..CreateOptions::default()
    };
    let plan = match plan("c1", &bundle, facts, &options) {
        Ok(plan) => plan,
        Err(e) => return said(&e),
    };
    let document = serde_json::from_slice(bytes).expect("the loader took it for JSON");
    // A step may carry out the default of a field that is not there.
    let mut faults = order::faults(&document, &plan);
    faults.retain(|fault| !fault.contains(" comes from \"/"));
    assert!(faults.is_empty(), "{faults:?}\n{plan}");
    read(&plan);
    oxrun_core::fuzzing::kept(bytes, facts, &options, &plan);
    // Slow, and no branch of it depends on more than one step.
    if data[0] & 0x0c == 0 {
        assert!(!plan.to_string().is_empty());
        let text = serde_json::to_string(&plan).expect("JSON");
        let mut stored: Plan = serde_json::from_str(&text).expect("what was written");
        stored.config = plan.config.clone();
        assert!(stored == plan, "the stored plan is the plan");
    }
}

/// An error is a sentence.
fn said(e: &Error) {
    assert!(!e.to_string().trim().is_empty());
}

/// Init reads what was written for it, record by record.
fn read(plan: &Plan) {
    let Ok(bytes) = init_script::encode(plan) else { return };
    let mut script = Script::open(&bytes).expect("the script has its header");
    assert_eq!(script.header.steps as usize, plan.steps.len());
    while let Some(record) = script.next() {
        let record = record.expect("init can read the record");
        assert!(record.step as usize <= plan.steps.len(), "its step is one of the plan's");
    }
}

const STATE: &[u8] = include_bytes!("../seeds/state/running");
const CONFIG: &[u8] = include_bytes!("../../conformance/data/corpus/containerd16-opts.config.json");

/// process.json: read and planned as a further process of a container.
pub fn process(data: &[u8]) {
    static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| Bundle::from_json(CONFIG).expect("a config"));
    let Some((facts, bytes)) = host(data) else { return };
    match fuzzing::exec(STATE, &BUNDLE, bytes, facts) {
        Ok(plan) => {
            let last = plan.steps.last().map(|s| &s.action);
            assert!(matches!(last, Some(Action::Exec { .. })), "{plan}");
            assert!(plan.steps.iter().all(|s| !s.field.is_empty()), "every step has its field: {plan}");
            read(&plan);
        }
        Err(e) => said(&e),
    }
}

/// Init's reader: no bytes make it panic or read on for ever, and what it understands is written the same way.
pub fn script(data: &[u8]) {
    let Some(mut script) = Script::open(data) else { return };
    let mut records = 0;
    while let Some(Some(record)) = script.next() {
        records += 1;
        assert!(records * 8 <= data.len(), "each record takes some bytes");
        let mut writer = Writer::new(Script::open(data).expect("as before").header);
        writer.push(record.step, &record.op);
        let bytes = writer.finish();
        let again = Script::open(&bytes).and_then(|mut s| s.next()).flatten().expect("what was written");
        assert_eq!((again.step, again.op), (record.step, record.op));
    }
}

/// The files of a state directory that oxrun reads again: the state and the exec template.
pub fn state(data: &[u8]) {
    match data.split_first() {
        Some((0, rest)) => fuzzing::template(rest),
        _ => fuzzing::state(data),
    }
}

/// The document of `update --resources`.
pub fn resources(data: &[u8]) {
    if let Err(e) = oxrun_core::resources_from_json(data) {
        said(&e);
    }
}

/// linux.seccomp: what the compiled filter decides is what the profile says, call by call.
pub fn seccomp(data: &[u8]) {
    const NATIVE: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];
    let [native, seed, rest @ ..] = data else { return };
    if let Ok(profile) = serde_json::from_slice(rest) {
        fuzzing::seccomp(&profile, NATIVE[usize::from(*native) % 4], u64::from(*seed));
    }
}

/// linux.resources.devices: what the eBPF program decides is what the rules say.
pub fn devices(data: &[u8]) {
    let rules: Vec<DeviceRule> = data.chunks(4).take(24).filter_map(rule).collect();
    fuzzing::devices(&rules);
}

/// Four bytes a rule: kind and access, the numbers, how large they are.
fn rule(bytes: &[u8]) -> Option<DeviceRule> {
    let [what, major, minor, high] = *bytes else { return None };
    let kind = [DeviceKind::All, DeviceKind::Char, DeviceKind::Block][usize::from(what & 3) % 3];
    let number = |n: u8, all: bool| (!all).then(|| u32::from(n) << (u32::from(high & 0x3f) % 25));
    Some(DeviceRule {
        allow: what & 4 != 0,
        kind,
        major: number(major, high & 0x80 != 0),
        minor: number(minor, high & 0x40 != 0),
        read: what & 8 != 0,
        write: what & 16 != 0,
        mknod: what & 32 != 0,
    })
}

/// What systemd says, and the words of an annotation that are said to it.
pub fn dbus(data: &[u8]) {
    if let Ok(message) = wire::decode(data) {
        assert_eq!(wire::length(data), Ok(Some(data.len())), "as long as it says");
        let _ = (message.words(), message.texts(&message.signature), message.variant_text());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = systemd::value_from_text(text);
        let _ = systemd::Unit::of(Some(text), "c1", false);
    }
}
