//! Programs of the compiler hold only what the kernel's checker takes, also where no call gets to.

use crate::seccomp::{Insn, evaluate};

pub(super) use crate::seccomp::Call;

/// Runs a program on a call and returns its value.
pub(super) fn run(program: &[Insn], call: &Call) -> u32 {
    evaluate(program, call).unwrap_or_else(|| panic!("no result for {call:x?}"))
}

/// Checks every instruction, also those that no call reaches.
pub(super) fn check_program(program: &[Insn]) {
    assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
    for (at, insn) in program.iter().enumerate() {
        let rest = program.len() - at - 1;
        match insn.code {
            0x20 => assert!(insn.k < 64 && insn.k.is_multiple_of(4), "load {insn:?} at {at}"),
            0x54 | 0x06 => {}
            0x05 => assert!((insn.k as usize) < rest, "jump {insn:?} at {at}"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(usize::from(insn.jt.max(insn.jf)) < rest, "branch {insn:?} at {at}");
            }
            code => panic!("operation {code:#x} at {at}"),
        }
    }
    assert_eq!(program.last().unwrap().code, 0x06, "the last instruction returns");
}
