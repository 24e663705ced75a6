//! Writes classic BPF from its end to its start, so that the target of every jump is known when
//! the jump is written. No jump is longer than its field holds.
//!
//! A conditional jump reaches 255 instructions. A returned value out of reach is written again,
//! which costs no more than a longer jump; for anything else an unconditional jump, whose field
//! has 32 bits, is written directly after the conditional one.

use super::Insn;

const LD_W_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// How a conditional jump compares the accumulator with its constant.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u16)]
pub(super) enum Jump {
    Eq = 0x15,
    Gt = 0x25,
    Ge = 0x35,
    Set = 0x45,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// Return this value.
    Return(u32),
    /// The instruction that has this many from itself to the end.
    At(usize),
}

/// A program, the last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<Insn>,
    /// Values that are returned, with the newest place of each.
    returns: Vec<(u32, usize)>,
    /// Places that an unconditional jump goes to, with the newest such jump.
    jumps: Vec<(usize, usize)>,
}

impl Assembler {
    /// The farthest instruction that a conditional jump reaches.
    const REACH: usize = u8::MAX as usize;

    /// Branches on a comparison.
    pub(super) fn branch(&mut self, jump: Jump, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        // The second target may need an instruction of its own, which moves the first one.
        let yes = self.within(yes, Self::REACH - 1);
        let no = self.within(no, Self::REACH);
        let (jt, jf) = (self.distance(yes), self.distance(no));
        // Both distances fit: `within` saw to it.
        self.push(Insn { code: jump as u16, jt: jt as u8, jf: jf as u8, k })
    }

    /// Loads a word of `seccomp_data` before going on at a branch written just now. Nothing is
    /// loaded when there was nothing to branch on.
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        if next == Target::At(self.reversed.len()) {
            return self.push(Insn { code: LD_W_ABS, jt: 0, jf: 0, k: offset });
        }
        next
    }

    /// Like [`load`](Self::load), and keeps only the bits of the mask.
    pub(super) fn load_masked(&mut self, offset: u32, mask: u32, next: Target) -> Target {
        if mask != u32::MAX && next == Target::At(self.reversed.len()) {
            let masked = self.push(Insn { code: AND_K, jt: 0, jf: 0, k: mask });
            return self.load(offset, masked);
        }
        self.load(offset, next)
    }

    /// The program, which begins at the given target.
    pub(super) fn finish(mut self, start: Target) -> Vec<Insn> {
        if start != Target::At(self.reversed.len()) {
            let at = self.within(start, 0);
            debug_assert_eq!(at, self.reversed.len());
        }
        self.reversed.reverse();
        self.reversed
    }

    /// The place of a target that is at most so many instructions away from the next one.
    fn within(&mut self, target: Target, reach: usize) -> usize {
        match target {
            Target::At(at) if self.distance(at) <= reach => at,
            Target::At(to) => match known(&self.jumps, to, self.reversed.len(), reach) {
                Some(at) => at,
                None => {
                    // A filter near the limit of the kernel is far below 32 bits.
                    let k = self.distance(to) as u32;
                    self.push(Insn { code: JA, jt: 0, jf: 0, k });
                    remember(&mut self.jumps, to, self.reversed.len())
                }
            },
            Target::Return(value) => match known(&self.returns, value, self.reversed.len(), reach) {
                Some(at) => at,
                None => {
                    self.push(Insn { code: RET_K, jt: 0, jf: 0, k: value });
                    remember(&mut self.returns, value, self.reversed.len())
                }
            },
        }
    }

    /// How many instructions the next one skips to go to this place.
    fn distance(&self, at: usize) -> usize {
        self.reversed.len() - at
    }

    fn push(&mut self, insn: Insn) -> Target {
        self.reversed.push(insn);
        Target::At(self.reversed.len())
    }
}

/// The newest place of an entry, if it is near enough.
fn known<K: PartialEq>(places: &[(K, usize)], key: K, len: usize, reach: usize) -> Option<usize> {
    let place = places.iter().find(|(other, at)| *other == key && len - at <= reach);
    place.map(|(_, at)| *at)
}

fn remember<K: PartialEq>(places: &mut Vec<(K, usize)>, key: K, at: usize) -> usize {
    places.retain(|(other, _)| *other != key);
    places.push((key, at));
    at
}
