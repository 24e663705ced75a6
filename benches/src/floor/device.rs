//! The device program of the bundle: an eBPF program for a cgroup v2 directory. What must hold: it
//! allows exactly the rules of `linux.resources.devices` in the bundle and denies all else.

use std::ffi::CStr;

/// One eBPF instruction: code, registers (source << 4 | destination), offset, immediate.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Insn(u8, u8, i16, i32);

/// Major and minor of the character devices that the bundle allows with "rwm"; -1 is any.
pub(crate) const ALLOWED: [(i32, i32); 9] =
    [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 1), (136, -1), (5, 2)];

/// The same for a v1 `devices.allow`.
pub(crate) const ALLOWED_V1: [&CStr; 9] = [
    c"c 1:3 rwm",
    c"c 1:8 rwm",
    c"c 1:7 rwm",
    c"c 5:0 rwm",
    c"c 1:5 rwm",
    c"c 1:9 rwm",
    c"c 5:1 rwm",
    c"c 136:* rwm",
    c"c 5:2 rwm",
];

const WORDS: usize = 6 + 3 * ALLOWED.len() + 2;
/// BPF_DEVCG_DEV_CHAR.
const CHAR: i32 = 2;

const LDX_W: u8 = 0x61;
const AND32_K: u8 = 0x54;
const JNE_K: u8 = 0x55;
const JA: u8 = 0x05;
const MOV_K: u8 = 0xb7;
const EXIT: u8 = 0x95;

/// The program. r2 = type, r4 = major, r5 = minor.
pub(crate) const PROGRAM: [Insn; WORDS] = {
    let mut out = [Insn(EXIT, 0, 0, 0); WORDS];
    out[0] = Insn(LDX_W, 0x12, 0, 0);
    out[1] = Insn(AND32_K, 0x02, 0, 0xffff);
    out[2] = Insn(LDX_W, 0x14, 4, 0);
    out[3] = Insn(LDX_W, 0x15, 8, 0);
    out[4] = Insn(MOV_K, 0x00, 0, 1);
    // No block devices: jump behind the rules.
    out[5] = Insn(JNE_K, 0x02, 3 * ALLOWED.len() as i16, CHAR);
    // Each rule: another major or minor jumps to the next rule, else 1 is returned.
    let (mut at, mut rule) = (6, 0);
    while rule < ALLOWED.len() {
        let (major, minor) = ALLOWED[rule];
        out[at] = Insn(JNE_K, 0x04, 2, major);
        out[at + 1] = if minor < 0 { Insn(JA, 0, 0, 0) } else { Insn(JNE_K, 0x05, 1, minor) };
        out[at + 2] = Insn(EXIT, 0, 0, 0);
        at += 3;
        rule += 1;
    }
    out[at] = Insn(MOV_K, 0x00, 0, 0);
    out
};
