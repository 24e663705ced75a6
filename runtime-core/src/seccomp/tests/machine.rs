//! An interpreter of classic BPF for seccomp. It panics at anything the kernel's checker would
//! refuse: an unknown operation, a jump out of the program, a load out of the data.

use crate::seccomp::Insn;

/// One system call, as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load from offset {offset}"),
        }
    }
}

/// Runs a program on a call and returns its value.
pub(super) fn run(program: &[Insn], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let insn = program[at];
        at += 1;
        let branch = |holds: bool| usize::from(if holds { insn.jt } else { insn.jf });
        match insn.code {
            0x20 => accumulator = call.word(insn.k),
            0x54 => accumulator &= insn.k,
            0x05 => at += insn.k as usize,
            0x15 => at += branch(accumulator == insn.k),
            0x25 => at += branch(accumulator > insn.k),
            0x35 => at += branch(accumulator >= insn.k),
            0x45 => at += branch(accumulator & insn.k != 0),
            0x06 => return insn.k,
            code => panic!("operation {code:#x}"),
        }
    }
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
