//! Compiles a seccomp profile to a classic BPF program. The program decides every call of every
//! architecture: by a rule, by the default action, or by killing the process.
//!
//! The facts that a profile's text does not tell:
//!
//! - The native architecture is always part of the filter. A call of an architecture that is
//!   not part of it kills the process. So does an x32 call when x32 is not listed, except
//!   number -1, which a tracer sets to skip a call.
//! - A rule without arguments beats all rules with arguments for the same call, wherever it
//!   stands, and the first such rule counts. A comparison under a mask of no bits is none. Else the
//!   first rule that matches counts.
//! - A rule with the result of the default action is dropped.
//! - Two comparisons of the same argument in one rule make each comparison of that rule a rule
//!   of its own, so one that matches is enough.
//! - 32-bit architectures and x32 compare the low 32 bits of an argument with the low 32 bits of
//!   the profile's value.
//! - When the default action fails the call, a call newer than the newest one that the profile
//!   names for this architecture returns ENOSYS: programs then use the older call instead.
//! - On i386, and on some others, the calls for sockets and System V IPC also exist behind `socketcall` and
//!   `ipc`; a rule without arguments applies there too. A rule with arguments, which cannot be checked
//!   there, applies whatever they are if it is stricter than the default action, else not at all.

mod arch;
mod assembler;
mod codegen;
mod error;
mod interpreter;
mod profile;
mod rules;
mod tables;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};
use serde::{Deserialize, Serialize};

pub use arch::Arch;
pub use error::SeccompError;
pub use interpreter::{Call, evaluate};

/// The most instructions the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSNS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_LOG`
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Constant.
    pub k: u32,
}

impl Insn {
    /// Length of an instruction in bytes.
    pub(crate) const SIZE: usize = 8;

    /// The instruction as the kernel reads it.
    #[must_use]
    pub fn bytes(&self) -> [u8; Insn::SIZE] {
        let ([c0, c1], [k0, k1, k2, k3]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }

    /// Reads what [`Insn::bytes`] has written.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Insn> {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = *bytes.first_chunk::<8>()?;
        Some(Insn { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) })
    }
}

/// A name that no architecture of the filter has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedName {
    /// Index of the rule in `syscalls`.
    pub rule: usize,
    /// Index of the name in the rule's `names`.
    pub index: usize,
    /// The name.
    pub name: String,
}

impl SkippedName {
    /// The name's place, as a JSON pointer into the configuration.
    pub fn field(&self) -> String {
        format!("/linux/seccomp/syscalls/{}/names/{}", self.rule, self.index)
    }
}

/// A compiled profile, ready for seccomp(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The filter.
    pub insns: Vec<Insn>,
    /// Flags for seccomp(2), `SECCOMP_FILTER_FLAG_NEW_LISTENER` among them.
    pub flags: u32,
    /// Whether some rule asks an agent, so that seccomp(2) returns a listener.
    pub notify: bool,
    /// The architectures that the filter decides, the native one first.
    pub archs: Vec<Arch>,
    /// The default action in words, for example `errno 1`.
    pub default_action: String,
    /// Names that no architecture of the filter has.
    pub skipped: Vec<SkippedName>,
}

/// What a filter of this profile answers to a call that has a higher number than all that it names, in place of a
/// default action that denies: the number of ENOSYS. None if the call is not of those.
pub(crate) fn unknown_to(profile: &LinuxSeccomp, native: Arch, name: &str) -> Option<u32> {
    let table = tables::of(native);
    let named = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    let newest = named.filter_map(|name| table.number(name)).max()?;
    table.number(name).filter(|number| *number > newest).map(|_| native.enosys())
}

/// Compiles a profile for a machine of the given architecture.
///
/// # Errors
///
/// The profile breaks a rule of the specification, or it is too long for the kernel.
pub fn compile(profile: &LinuxSeccomp, native: Arch) -> Result<Program, SeccompError> {
    let parsed = profile::parse(profile)?;
    let listed = profile.architectures().iter().flatten();
    let mut archs = vec![native];
    for arch in listed.map(|arch| Arch::from_spec(*arch, native)) {
        if !archs.contains(&arch) {
            archs.push(arch);
        }
    }

    let (blocks, skipped) = rules::resolve(&parsed, &archs);
    let insns = codegen::generate(&blocks, parsed.default);
    if insns.len() > MAX_INSNS {
        return Err(SeccompError::TooLong { count: insns.len() });
    }
    let notify = uses_agent(profile);
    Ok(Program {
        insns,
        flags: flags(profile, notify),
        notify,
        archs,
        default_action: profile::in_words(profile.default_action(), parsed.default),
        skipped,
    })
}

/// Checks that a profile that asks an agent says where the agent is. A caller that knows the
/// agent from elsewhere need not ask.
///
/// # Errors
///
/// `listenerPath` is missing though a rule or `listenerMetadata` needs it.
pub fn check_listener(profile: &LinuxSeccomp) -> Result<(), SeccompError> {
    if profile.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty()) {
        return Ok(());
    }
    if uses_agent(profile) {
        return Err(SeccompError::NoListenerPath);
    }
    match profile.listener_metadata() {
        Some(metadata) if !metadata.is_empty() => Err(SeccompError::MetadataWithoutPath),
        _ => Ok(()),
    }
}

fn uses_agent(profile: &LinuxSeccomp) -> bool {
    let mut rules = profile.syscalls().iter().flatten();
    rules.any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify)
}

/// The flags for seccomp(2). TSYNC is accepted and left out: the filter is loaded by a process
/// with one thread. The kernel refuses WAIT_KILLABLE_RECV without a listener.
fn flags(profile: &LinuxSeccomp, notify: bool) -> u32 {
    let listener = if notify { FLAG_NEW_LISTENER } else { 0 };
    let Some(flags) = profile.flags() else {
        return listener | FLAG_SPEC_ALLOW;
    };
    flags.iter().fold(listener, |all, flag| {
        all | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notify => FLAG_WAIT_KILLABLE_RECV,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
        }
    })
}
