//! The crate `seccompiler` as a second judge: it knows one architecture, and one action besides the
//! default one. Its own numbers are not asked, those of libseccomp are given to it.

use super::names::Names;
use super::profile::{OPERATORS, Profile, Rule, Test};
use oxrun_core::seccomp::{Arch, Insn};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// The filter for the calls of one architecture; none if the crate cannot express the profile.
pub(super) fn compile(profile: &Profile, native: Arch, names: &Names) -> Option<Vec<Insn>> {
    let target = match native {
        Arch::X86_64 => TargetArch::x86_64,
        Arch::Aarch64 => TargetArch::aarch64,
        Arch::Riscv64 => TargetArch::riscv64,
        _ => return None,
    };
    let rules: Vec<&Rule> = profile.rules.iter().filter(|rule| rule.action != profile.default).collect();
    let one = rules.first()?.action;
    if rules.iter().any(|rule| rule.action != one) {
        return None;
    }
    let mut chains: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut always = Vec::new();
    for rule in rules {
        for number in rule.names.iter().filter_map(|name| names.theirs(native, name)) {
            let chain = chains.entry(i64::from(number)).or_default();
            if rule.tests.is_empty() {
                always.push(i64::from(number));
                continue;
            }
            for tests in rule.alternatives() {
                let conditions = tests.iter().map(condition).collect::<Option<Vec<_>>>()?;
                chain.push(SeccompRule::new(conditions).ok()?);
            }
        }
    }
    for number in always {
        chains.insert(number, Vec::new());
    }
    let filter = SeccompFilter::new(chains, action(profile.default)?, action(one)?, target).ok()?;
    let program: BpfProgram = filter.try_into().ok()?;
    Some(program.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect())
}

fn condition(test: &Test) -> Option<SeccompCondition> {
    let (op, value) = match *OPERATORS.get(test.op)? {
        "NE" => (SeccompCmpOp::Ne, test.value),
        "LT" => (SeccompCmpOp::Lt, test.value),
        "LE" => (SeccompCmpOp::Le, test.value),
        "EQ" => (SeccompCmpOp::Eq, test.value),
        "GE" => (SeccompCmpOp::Ge, test.value),
        "GT" => (SeccompCmpOp::Gt, test.value),
        _ => (SeccompCmpOp::MaskedEq(test.value), test.two & test.value),
    };
    SeccompCondition::new(u8::try_from(test.index).ok()?, SeccompCmpArgLen::Qword, op, value).ok()
}

fn action(value: u32) -> Option<SeccompAction> {
    let data = value & 0xffff;
    Some(match value & 0xffff_0000 {
        0 => SeccompAction::KillThread,
        0x8000_0000 => SeccompAction::KillProcess,
        0x0003_0000 => SeccompAction::Trap,
        0x0005_0000 => SeccompAction::Errno(data),
        0x7ff0_0000 => SeccompAction::Trace(data),
        0x7ffc_0000 => SeccompAction::Log,
        0x7fff_0000 => SeccompAction::Allow,
        _ => return None,
    })
}
