//! A program must decide every call as a plain reading of the profile does. The program runs in
//! an interpreter that is as strict as the kernel's checker.
//!
//! `oxrun-conformance oracle seccomp` compares the compiler with others, and names the kinds of
//! differences that are meant; some of what it compared is recorded here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(fuzzing, allow(dead_code, unused_imports))]

mod errors;
mod facts;
mod machine;
mod operators;
mod profiles;
mod random;
mod recorded;
mod reference;

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::{Arch, Program, compile};
use machine::{Call, run};
use reference::Reference;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRAP: u32 = 0x0003_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn profile(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

fn program(value: Value) -> Program {
    compile(&profile(value), Arch::X86_64).unwrap()
}

/// What the program returns for a call without arguments.
fn result(program: &Program, arch: u32, number: u32) -> u32 {
    run(&program.insns, &Call { number, arch, args: [0; 6] })
}

fn result_with(program: &Program, arch: u32, number: u32, args: [u64; 6]) -> u32 {
    run(&program.insns, &Call { number, arch, args })
}

/// Checks one call against the reference.
fn check(reference: &Reference<'_>, program: &Program, call: &Call) {
    let (got, wanted) = (run(&program.insns, call), reference.decide(call));
    assert_eq!(got, wanted, "got {got:#x}, wanted {wanted:#x} for {call:x?}");
}

/// A deterministic source of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A 64-bit value: near a boundary, with one bit, or anything.
    fn word(&mut self) -> u64 {
        const NEAR: [u64; 7] =
            [0, 1 << 31, 1 << 32, 1 << 63, 0x0123_4567_89ab_cdef, 40, 0xffff_ffff_0000_0000];
        let near = self.below(3) as u64;
        match self.below(4) {
            0 => self.pick(&NEAR).wrapping_add(near).wrapping_sub(1),
            1 => 1 << self.below(64),
            2 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }
}

/// A profile that fails calls, with these rules, for the three x86 architectures.
fn denying(syscalls: Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": syscalls,
    })
}

/// Checks a profile against the reference: every number near one that it names, with arguments made of `seed`.
#[cfg(fuzzing)]
pub(crate) fn compare(profile: &LinuxSeccomp, native: Arch, seed: u64) {
    let Ok(program) = compile(profile, native) else { return };
    machine::check_program(&program.insns);
    let reference = Reference::new(profile, native);
    let mut numbers = Numbers(seed | 1);
    let values: Vec<u64> = profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|r| r.args().iter().flatten())
        .flat_map(|a| {
            [a.value(), a.value().wrapping_sub(1), a.value().wrapping_add(1), a.value_two().unwrap_or(0)]
        })
        .chain([0, u64::MAX, 1 << 32])
        .collect();
    for arch in [X86_64, I386, AARCH64, ARM, 0x8000_0016] {
        for number in reference.near() {
            for _ in 0..4 {
                let args = [0; 6].map(|_: u64| *numbers.pick(&values));
                check(&reference, &program, &Call { number, arch, args });
            }
        }
    }
}
