//! The device rules of a v2 cgroup, as one eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! What must hold: a request is allowed only if every access bit in it is allowed; the last rule
//! that matches the device and has the bit decides about the bit. The program has no loop, no
//! unreachable instruction and at most [`LIMIT`] instructions, or there is none.
//!
//! - **No rule decides**: the bit is allowed. This is the state in which a v1 cgroup below a parent
//!   without rules begins. A list that shall deny what it does not name begins with `deny a`, as the
//!   lists of the engines do. The programs of the parent cgroups have to allow the request too.
//! - **Kind `a`** without numbers matches every device, so a rule with all access bits replaces all
//!   before it. With no access bits it has all of them, as in v1. With numbers it matches both
//!   kinds of device with these numbers. (v1 ignores the numbers and the access of kind `a`, and
//!   would allow everything for `allow a 1:3 r`.)
//! - **Against v1**: v1 removes an exception only if the numbers are exactly its own, and wants one
//!   single exception to hold all bits of a request. Here a narrow `deny` after a wide `allow`
//!   denies, and two rules may each give one bit of a request.
//! - **A request without bits** (access(2) with `F_OK` or `X_OK`) is allowed.
//!
//! The rules are merged into one table per kind: major, then minor, then the allowed bits. Order is
//! gone by then: an exact device costs one instruction, a major number one or two. What a table
//! does not name goes to the default of its kind.

use super::devices::{DeviceKind, DeviceRule};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[cfg(any(test, fuzzing))]
pub(crate) mod tests;

/// The most instructions that a program may have (`BPF_MAXINSNS`).
pub(crate) const LIMIT: usize = 4096;

/// The rules differ in more devices than a program has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooManyRules;

impl fmt::Display for TooManyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the device rules need a program of more than {LIMIT} instructions")
    }
}

impl std::error::Error for TooManyRules {}

/// The program for these rules, as [`compile`] makes it; empty if it would be too long. The kernel
/// refuses to load an empty program, with E2BIG: such rules never become no rules.
#[must_use]
#[cfg(test)]
pub(crate) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    compile(rules).unwrap_or_default()
}

/// Makes the program for these rules, each `u64` one instruction as it lies in memory.
///
/// # Errors
///
/// [`TooManyRules`] if the program would be too long. A rule takes at most three instructions;
/// only rules with a minor but no major number multiply with the major numbers of other rules.
pub(crate) fn compile(rules: &[DeviceRule]) -> Result<Vec<u64>, TooManyRules> {
    let char = Table::new(rules, DeviceKind::Char)?;
    let block = Table::new(rules, DeviceKind::Block)?;
    let mut code = Code::default();
    if char == block {
        code.load(&[&char]);
        code.table(&char);
        code.write_ends(char.default);
    } else {
        // The kind with devices of its own follows at once; the other one may be only an end.
        let (near, far, kind) = match char.is_uniform() {
            true => (&block, &char, TYPE_BLOCK),
            false => (&char, &block, TYPE_CHAR),
        };
        code.load(&[near, far]);
        code.kind_is_not(kind);
        if far.is_uniform() {
            code.goes_to_end(far.default);
            code.table(near);
            code.write_ends(near.default);
        } else {
            let skip = code.insns.len() - 1;
            code.table(near);
            code.push(JA, 0, 0, 0);
            code.goes_to_end(near.default);
            code.land(skip);
            code.table(far);
            code.write_ends(far.default);
        }
    }
    code.finish()
}

// What the kernel's `struct bpf_cgroup_dev_ctx` holds.
const CTX_ACCESS_TYPE: usize = 0;
const CTX_MAJOR: usize = 4;
const CTX_MINOR: usize = 8;
const TYPE_BLOCK: u32 = 1;
const TYPE_CHAR: u32 = 2;
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// A set of access bits.
type Access = u8;

/// Number of the rule that decides, from 1 (0: none), and whether it allows; one for each bit.
type Decision = [(usize, bool); 3];

/// No rule has decided: allowed.
const UNDECIDED: Decision = [(0, true); 3];

/// For each pattern of numbers the last decision among the rules that have just this pattern.
struct Patterns(BTreeMap<(Option<u32>, Option<u32>), Decision>);

impl Patterns {
    fn new(rules: &[DeviceRule], kind: DeviceKind) -> Self {
        let mut map: BTreeMap<_, Decision> = BTreeMap::new();
        for (at, rule) in rules.iter().enumerate() {
            if rule.kind != kind && rule.kind != DeviceKind::All {
                continue;
            }
            let decision = map.entry((rule.major, rule.minor)).or_insert(UNDECIDED);
            for (bit, slot) in decision.iter_mut().enumerate() {
                if access(rule) & 1 << bit != 0 {
                    *slot = (at + 1, rule.allow);
                }
            }
        }
        Self(map)
    }

    /// What is allowed for a device. `None` is a number that no rule has.
    fn allowed(&self, major: Option<u32>, minor: Option<u32>) -> Access {
        let mut last = UNDECIDED;
        for pattern in [(None, None), (major, None), (None, minor), (major, minor)] {
            for (last, new) in last.iter_mut().zip(self.0.get(&pattern).unwrap_or(&UNDECIDED)) {
                *last = (*last).max(*new);
            }
        }
        (0..3).filter(|&bit| last[bit].1).map(|bit| 1 << bit).sum()
    }
}

/// The access bits of a rule.
fn access(rule: &DeviceRule) -> Access {
    let bits = [(rule.read, READ), (rule.write, WRITE), (rule.mknod, MKNOD)];
    let bits = bits.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum();
    match (rule.kind, rule.major, rule.minor, bits) {
        (DeviceKind::All, None, None, 0) => ALL,
        _ => bits,
    }
}

/// What is allowed for one kind of device.
#[derive(PartialEq)]
struct Table {
    /// For a device that is not named below.
    default: Access,
    majors: Vec<Major>,
    /// Minor numbers whose rule has no major number, if they differ from the default.
    minors: Vec<(u32, Access)>,
}

/// The devices of one major number.
#[derive(PartialEq)]
struct Major {
    number: u32,
    /// For a minor number that is not named below; `None` if the rest of the table says it.
    default: Option<Access>,
    minors: Vec<(u32, Access)>,
}

impl Table {
    fn new(rules: &[DeviceRule], kind: DeviceKind) -> Result<Self, TooManyRules> {
        let patterns = Patterns::new(rules, kind);
        let default = patterns.allowed(None, None);
        let of_any_major: BTreeSet<u32> =
            patterns.0.range((None, None)..(Some(0), None)).filter_map(|((_, n), _)| *n).collect();
        let mut table = Self { default, majors: Vec::new(), minors: Vec::new() };
        for &minor in &of_any_major {
            let allowed = patterns.allowed(None, Some(minor));
            if allowed != default {
                table.minors.push((minor, allowed));
            }
        }
        let majors: BTreeSet<u32> = patterns.0.keys().filter_map(|(m, _)| *m).collect();
        // Bounds the time too: what is looked at need not become an instruction.
        if majors.len().saturating_mul(of_any_major.len()) > 16 * LIMIT {
            return Err(TooManyRules);
        }
        for number in majors {
            let own = patterns.0.range((Some(number), None)..=(Some(number), Some(u32::MAX)));
            let mut minors: BTreeSet<u32> = own.filter_map(|((_, n), _)| *n).collect();
            minors.extend(&of_any_major);
            table.add_major(&patterns, number, &minors);
        }
        Ok(table)
    }

    /// Adds what is special about a major number, if anything is.
    fn add_major(&mut self, patterns: &Patterns, number: u32, minors: &BTreeSet<u32>) {
        let default = patterns.allowed(Some(number), None);
        let default = (default != self.default).then_some(default);
        let otherwise = |minor: u32| {
            default.unwrap_or_else(|| match self.minors.binary_search_by_key(&minor, |(n, _)| *n) {
                Ok(at) => self.minors[at].1,
                Err(_) => self.default,
            })
        };
        let minors: Vec<_> = minors
            .iter()
            .map(|&minor| (minor, patterns.allowed(Some(number), Some(minor))))
            .filter(|&(minor, allowed)| allowed != otherwise(minor))
            .collect();
        if default.is_some() || !minors.is_empty() {
            self.majors.push(Major { number, default, minors });
        }
    }

    /// Is every device of the kind alike?
    fn is_uniform(&self) -> bool {
        self.majors.is_empty() && self.minors.is_empty()
    }

    fn tests_minor(&self) -> bool {
        !self.minors.is_empty() || self.majors.iter().any(|m| !m.minors.is_empty())
    }
}

// Operation codes. Comparisons are of 32 bits: an immediate is not sign-extended to 64.
const LDX_W: u8 = 0x61;
const MOV_IMM: u8 = 0xb7;
const MOV_REG: u8 = 0xbf;
const AND_IMM: u8 = 0x57;
const RSH_IMM: u8 = 0x77;
const JA: u8 = 0x05;
const JEQ32_IMM: u8 = 0x16;
const JNE32_IMM: u8 = 0x56;
const JSET32_IMM: u8 = 0x46;
const EXIT: u8 = 0x95;

// Registers.
const VERDICT: u8 = 0;
const CTX: u8 = 1;
const REQUEST: u8 = 2;
const TYPE: u8 = 3;
const MAJOR_NO: u8 = 4;
const MINOR_NO: u8 = 5;

/// One instruction before it has its final place.
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    dst: u8,
    src: u8,
    /// Offset in the context, or the number of instructions to jump over.
    off: usize,
    imm: u32,
}

/// A program being written.
#[derive(Default)]
struct Code {
    insns: Vec<Insn>,
    /// Jumps to an end, by what is allowed there.
    to_ends: Vec<(usize, Access)>,
}

impl Code {
    fn push(&mut self, code: u8, dst: u8, src: u8, imm: u32) {
        self.insns.push(Insn { code, dst, src, off: 0, imm });
    }

    fn load_ctx(&mut self, dst: u8, off: usize) {
        self.insns.push(Insn { code: LDX_W, dst, src: CTX, off, imm: 0 });
    }

    /// Loads what the tables look at.
    fn load(&mut self, tables: &[&Table]) {
        if tables.len() == 1 && tables.iter().all(|t| t.is_uniform() && t.default == ALL) {
            return;
        }
        self.load_ctx(REQUEST, CTX_ACCESS_TYPE);
        if tables.len() > 1 {
            self.push(MOV_REG, TYPE, REQUEST, 0);
            self.push(AND_IMM, TYPE, 0, 0xffff);
        }
        self.push(RSH_IMM, REQUEST, 0, 16);
        if tables.iter().any(|t| !t.majors.is_empty()) {
            self.load_ctx(MAJOR_NO, CTX_MAJOR);
        }
        if tables.iter().any(|t| t.tests_minor()) {
            self.load_ctx(MINOR_NO, CTX_MINOR);
        }
    }

    fn kind_is_not(&mut self, kind: u32) {
        self.push(JNE32_IMM, TYPE, 0, kind);
    }

    /// Makes the last instruction jump to the end for these bits.
    fn goes_to_end(&mut self, allowed: Access) {
        self.to_ends.push((self.insns.len() - 1, allowed));
    }

    /// Makes the jump at this place go to the next instruction.
    fn land(&mut self, jump: usize) {
        self.insns[jump].off = self.insns.len() - jump - 1;
    }

    /// Goes to the end for the device, or falls through if the default of the kind applies.
    fn table(&mut self, table: &Table) {
        let mut to_rest = Vec::new();
        for (at, major) in table.majors.iter().enumerate() {
            if let (Some(allowed), []) = (major.default, major.minors.as_slice()) {
                self.push(JEQ32_IMM, MAJOR_NO, 0, major.number);
                self.goes_to_end(allowed);
                continue;
            }
            let skip = self.insns.len();
            self.push(JNE32_IMM, MAJOR_NO, 0, major.number);
            self.minors(&major.minors);
            if let Some(allowed) = major.default {
                self.push(JA, 0, 0, 0);
                self.goes_to_end(allowed);
            } else if at + 1 < table.majors.len() {
                // The next comparisons would only fail. The verifier would follow each of them
                // again for each major number, and give up after a million.
                to_rest.push(self.insns.len());
                self.push(JA, 0, 0, 0);
            }
            self.land(skip);
        }
        to_rest.into_iter().for_each(|jump| self.land(jump));
        self.minors(&table.minors);
    }

    fn minors(&mut self, minors: &[(u32, Access)]) {
        for &(number, allowed) in minors {
            self.push(JEQ32_IMM, MINOR_NO, 0, number);
            self.goes_to_end(allowed);
        }
    }

    /// Writes all ends; first the one that the code before falls into.
    fn write_ends(&mut self, first: Access) {
        let mut places = [None; ALL as usize + 1];
        let others: BTreeSet<Access> = self.to_ends.iter().map(|(_, allowed)| *allowed).collect();
        for allowed in [first].into_iter().chain(others.into_iter().filter(|&a| a != first)) {
            places[usize::from(allowed)] = Some(self.insns.len());
            if allowed == ALL {
                self.push(MOV_IMM, VERDICT, 0, 1);
            } else {
                self.push(MOV_IMM, VERDICT, 0, 0);
                self.push(JSET32_IMM, REQUEST, 0, u32::from(ALL & !allowed));
                let denied = self.insns.len() - 1;
                self.push(MOV_IMM, VERDICT, 0, 1);
                self.land(denied);
            }
            self.push(EXIT, 0, 0, 0);
        }
        for (jump, allowed) in std::mem::take(&mut self.to_ends) {
            if let Some(place) = places[usize::from(allowed)] {
                self.insns[jump].off = place - jump - 1;
            }
        }
    }

    fn finish(self) -> Result<Vec<u64>, TooManyRules> {
        if self.insns.len() > LIMIT {
            return Err(TooManyRules);
        }
        self.insns.into_iter().map(Insn::encode).collect()
    }
}

impl Insn {
    /// The instruction as the kernel reads it; the register nibbles follow the byte order.
    fn encode(self) -> Result<u64, TooManyRules> {
        let registers = match cfg!(target_endian = "big") {
            true => self.dst << 4 | self.src,
            false => self.src << 4 | self.dst,
        };
        let [o0, o1] = i16::try_from(self.off).map_err(|_| TooManyRules)?.to_ne_bytes();
        let [i0, i1, i2, i3] = self.imm.to_ne_bytes();
        Ok(u64::from_ne_bytes([self.code, registers, o0, o1, i0, i1, i2, i3]))
    }
}
