//! Turns ranges and rules into instructions: one comparison of the architecture, then a search
//! by halves over the ranges of its numbers, then the arguments where they count.

use std::rc::Rc;

use super::Insn;
use super::assembler::{Assembler, Jump, Target};
use super::profile::{KILL_PROCESS, Op, Test};
use super::rules::{Block, Chain, Outcome, Range, Rule};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// The program for all blocks. Calls of other architectures kill the process.
pub(super) fn generate(blocks: &[Block], default: u32) -> Vec<Insn> {
    let mut code = Generator { asm: Assembler::default(), chains: Vec::new(), default };
    // The native block comes first, so that its jumps are the short ones.
    let starts: Vec<_> = blocks.iter().rev().map(|block| (block.audit, code.block(block))).collect();
    let mut next = Target::Return(KILL_PROCESS);
    for (audit, start) in starts {
        next = code.asm.branch(Jump::Eq, audit, start, next);
    }
    let start = code.asm.load(ARCH, next);
    code.asm.finish(start)
}

struct Generator {
    asm: Assembler,
    /// Chains written so far. Those of different calls and architectures are often equal.
    chains: Vec<(Rc<Chain>, Target)>,
    default: u32,
}

impl Generator {
    fn block(&mut self, block: &Block) -> Target {
        // Chains first: written between two halves of the search they would part them.
        for range in &block.ranges {
            self.outcome(&range.outcome);
        }
        let start = self.search(&block.ranges);
        self.asm.load(NUMBER, start)
    }

    fn outcome(&mut self, outcome: &Outcome) -> Target {
        let chain = match outcome {
            Outcome::Return(value) => return Target::Return(*value),
            Outcome::Chain(chain) => chain,
        };
        if let Some((_, start)) = self.chains.iter().find(|(known, _)| known == chain) {
            return *start;
        }
        let start = self.chain(chain);
        self.chains.push((Rc::clone(chain), start));
        start
    }

    /// Finds the range of the number in the accumulator.
    fn search(&mut self, ranges: &[Range]) -> Target {
        match ranges {
            [] => Target::Return(self.default),
            [all] => self.outcome(&all.outcome),
            // A single number within a range.
            [around, one, rest] if is_single(around, one, rest) => {
                let yes = self.outcome(&one.outcome);
                let no = self.outcome(&around.outcome);
                self.asm.branch(Jump::Eq, one.first, yes, no)
            }
            _ => {
                let (below, above) = ranges.split_at(middle(ranges));
                let first = above.first().map_or(0, |range| range.first);
                let yes = self.search(above);
                let no = self.search(below);
                self.asm.branch(Jump::Ge, first, yes, no)
            }
        }
    }

    /// The rules of a chain, in order. Rules that compare the same bits of the same argument
    /// with one value each, and do the same then, share the loads.
    fn chain(&mut self, chain: &Chain) -> Target {
        let mut otherwise = Target::Return(self.default);
        for group in chain.rules.chunk_by(one_of_several).rev() {
            otherwise = match group {
                [Rule { tests, action }] => {
                    let action = Target::Return(*action);
                    let then = |next, test: &Test| self.test(test, chain, next, otherwise);
                    tests.iter().rev().fold(action, then)
                }
                _ => self.values(group, chain, otherwise),
            };
        }
        otherwise
    }

    /// Compares one argument with the value of each rule.
    fn values(&mut self, group: &[Rule], of: &Chain, otherwise: Target) -> Target {
        let Some((test, _)) = group.first().and_then(only_test) else {
            return otherwise;
        };
        let mut next = otherwise;
        for (test, action) in group.iter().rev().filter_map(only_test) {
            next = self.asm.branch(Jump::Eq, low(test.value), Target::Return(action), next);
        }
        let found = self.asm.load_masked(of.low_offset(test), low(test.mask), next);
        if !of.wide || high(test.mask) == 0 {
            return found;
        }
        let same_high = self.asm.branch(Jump::Eq, high(test.value), found, otherwise);
        self.asm.load_masked(of.high_offset(test), high(test.mask), same_high)
    }

    /// One comparison of an argument.
    fn test(&mut self, test: &Test, of: &Chain, yes: Target, no: Target) -> Target {
        match test.op {
            Op::Eq => self.equal(test, of, yes, no),
            Op::Ne => self.equal(test, of, no, yes),
            Op::Gt => self.above(Jump::Gt, test, of, yes, no),
            Op::Ge => self.above(Jump::Ge, test, of, yes, no),
            Op::Le => self.above(Jump::Gt, test, of, no, yes),
            Op::Lt => self.above(Jump::Ge, test, of, no, yes),
        }
    }

    fn equal(&mut self, test: &Test, of: &Chain, yes: Target, no: Target) -> Target {
        let low = self.half_equal(of.low_offset(test), low(test.mask), low(test.value), yes, no);
        if !of.wide {
            return low;
        }
        self.half_equal(of.high_offset(test), high(test.mask), high(test.value), low, no)
    }

    fn half_equal(&mut self, offset: u32, mask: u32, value: u32, yes: Target, no: Target) -> Target {
        if mask == 0 {
            return yes;
        }
        if value == 0 && mask != u32::MAX {
            let branch = self.asm.branch(Jump::Set, mask, no, yes);
            return self.asm.load(offset, branch);
        }
        let branch = self.asm.branch(Jump::Eq, value, yes, no);
        self.asm.load_masked(offset, mask, branch)
    }

    /// Above, or with [`Jump::Ge`] not below, the value.
    fn above(&mut self, jump: Jump, test: &Test, of: &Chain, yes: Target, no: Target) -> Target {
        let branch = self.asm.branch(jump, low(test.value), yes, no);
        let low = self.asm.load(of.low_offset(test), branch);
        if !of.wide {
            return low;
        }
        let same = self.asm.branch(Jump::Eq, high(test.value), low, no);
        let more = self.asm.branch(Jump::Gt, high(test.value), yes, same);
        self.asm.load(of.high_offset(test), more)
    }
}

fn is_single(around: &Range, one: &Range, rest: &Range) -> bool {
    around.outcome == rest.outcome && one.first.checked_add(1) == Some(rest.first)
}

/// Where to part the ranges: near the middle. Four ranges with a single number among them take
/// two comparisons, so many ranges are parted into fours.
fn middle(ranges: &[Range]) -> usize {
    let single = |at: usize| match ranges.get(at..at + 3) {
        Some([around, one, rest]) => is_single(around, one, rest),
        _ => false,
    };
    match ranges.len() {
        4..=5 if single(0) => 3,
        few @ 4..=5 if single(few - 3) => few - 3,
        few @ ..8 => few / 2,
        many => (many / 2).next_multiple_of(4),
    }
}

/// The comparison of a rule with one comparison for equality.
fn only_test(rule: &Rule) -> Option<(&Test, u32)> {
    match rule.tests.as_slice() {
        [test] if test.op == Op::Eq => Some((test, rule.action)),
        _ => None,
    }
}

fn one_of_several(one: &Rule, other: &Rule) -> bool {
    let (Some((one, action)), Some((other, same))) = (only_test(one), only_test(other)) else {
        return false;
    };
    let bits = |test: &Test| (test.arg, test.mask, high(test.value));
    action == same && bits(one) == bits(other) && low(one.mask) != 0
}

impl Chain {
    fn low_offset(&self, test: &Test) -> u32 {
        ARGS + 8 * u32::from(test.arg) + if self.big_endian { 4 } else { 0 }
    }

    fn high_offset(&self, test: &Test) -> u32 {
        ARGS + 8 * u32::from(test.arg) + if self.big_endian { 0 } else { 4 }
    }
}

/// The low half.
fn low(value: u64) -> u32 {
    value as u32
}

/// The high half.
fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
