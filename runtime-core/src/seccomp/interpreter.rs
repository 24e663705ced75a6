//! Answers what a filter does with a call, without loading it. The answer is the kernel's: thousands
//! of calls are made under loaded filters to compare the two, and an instruction that the kernel's
//! checker refuses is refused here.

use super::Insn;
use super::arch::AUDIT_LE;

/// One system call, as a filter sees it: `struct seccomp_data` without the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The number. On x86_64 those of x32 have the bit 0x4000_0000.
    pub number: u32,
    /// The `AUDIT_ARCH_` value.
    pub arch: u32,
    /// The arguments. A 32-bit call has zeros in the high halves.
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.number),
            4 => Some(self.arch),
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args.get((offset as usize - 16) / 8)?;
                // The data are laid out as the architecture's machines do it.
                let first = offset.is_multiple_of(8) == (self.arch & AUDIT_LE != 0);
                Some(if first { *arg as u32 } else { (arg >> 32) as u32 })
            }
            _ => None,
        }
    }
}

/// Runs a filter on a call: the `SECCOMP_RET_` value it returns. `None` if the program does what
/// no filter of ours or of another compiler does: an unknown operation, a load out of the data, a
/// jump out of the program.
#[must_use]
pub fn evaluate(program: &[Insn], call: &Call) -> Option<u32> {
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let insn = program.get(at)?;
        at += 1;
        let branch = |holds: bool| usize::from(if holds { insn.jt } else { insn.jf });
        match insn.code {
            0x20 => accumulator = call.word(insn.k)?,
            0x54 => accumulator &= insn.k,
            0x05 => at = at.checked_add(insn.k as usize)?,
            0x15 => at += branch(accumulator == insn.k),
            0x25 => at += branch(accumulator > insn.k),
            0x35 => at += branch(accumulator >= insn.k),
            0x45 => at += branch(accumulator & insn.k != 0),
            0x06 => return Some(insn.k),
            _ => return None,
        }
    }
}
