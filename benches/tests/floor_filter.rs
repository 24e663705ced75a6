//! The filter of the floor answers as the profile says. What must hold: every number of every
//! architecture is interpreted; none is sampled.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

include!(concat!(env!("OUT_DIR"), "/filter.rs"));

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

/// A small interpreter for the instructions that the filter uses.
fn run(arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut words = vec![number, arch, 0, 0];
    for arg in args {
        words.extend([(arg & 0xffff_ffff) as u32, (arg >> 32) as u32]);
    }
    let (mut at, mut a) = (0_usize, 0_u32);
    loop {
        let word = FILTER[at];
        let (code, jt, jf) = (word & 0xffff, (word >> 16) & 0xff, (word >> 24) & 0xff);
        let k = (word >> 32) as u32;
        let jump = match code {
            0x20 => {
                a = words[k as usize / 4];
                0
            }
            0x54 => {
                a &= k;
                0
            }
            0x05 => k as usize,
            0x15 => (if a == k { jt } else { jf }) as usize,
            0x35 => (if a >= k { jt } else { jf }) as usize,
            0x06 => return k,
            other => panic!("code {other:#x}"),
        };
        at += 1 + jump;
    }
}

fn table(column: usize) -> BTreeMap<u32, &'static str> {
    include_str!("../data/syscalls-x86.csv")
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split(',').collect();
            Some((columns[column].parse().ok()?, columns[0]))
        })
        .collect()
}

#[test]
fn every_number_without_argument_rules_is_answered_as_in_the_profile() {
    for (arch, bit, column) in [(X86_64, 0, 1), (I386, 0, 2), (X86_64, X32_BIT, 3)] {
        let names = table(column);
        for number in 0..1024 {
            let want = match names.get(&number).copied() {
                Some("socket" | "personality" | "clone") => continue,
                Some("clone3") => ENOSYS,
                Some(_) => ALLOW,
                None => EPERM,
            };
            assert_eq!(run(arch, number | bit, [0; 6]), want, "column {column}, number {number}");
        }
    }
}

#[test]
fn arguments_decide_for_socket_personality_and_clone() {
    for (arch, bit, column) in [(X86_64, 0, 1), (I386, 0, 2), (X86_64, X32_BIT, 3)] {
        let number = |name| *table(column).iter().find(|(_, n)| **n == name).unwrap().0 | bit;
        let with = |name, arg| run(arch, number(name), [arg, 0, 0, 0, 0, 0]);
        assert_eq!(with("socket", 2), ALLOW);
        assert_eq!(with("socket", 40), EPERM, "AF_VSOCK");
        assert_eq!(with("socket", 40 | 1 << 32), ALLOW, "the whole 64 bits are compared");
        for allowed in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
            assert_eq!(with("personality", allowed), ALLOW);
        }
        assert_eq!(with("personality", 1), EPERM);
        assert_eq!(with("personality", 8 | 1 << 32), EPERM);
        assert_eq!(with("clone", 0x11), ALLOW);
        assert_eq!(with("clone", 0x1000_0000), EPERM, "CLONE_NEWUSER");
        assert_eq!(with("clone", 0x0002_0000), EPERM, "CLONE_NEWNS");
    }
}

#[test]
fn numbers_out_of_the_tables_and_foreign_architectures_are_refused() {
    assert_eq!(run(X86_64, u32::MAX, [0; 6]), EPERM);
    assert_eq!(run(X86_64, X32_BIT - 1, [0; 6]), EPERM);
    assert_eq!(run(0xc000_00b7, 0, [0; 6]), 0x8000_0000, "aarch64");
}
