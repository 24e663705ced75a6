//! Init's executable is self-contained: nothing is left to be found, loaded or patched when it
//! starts, no memory of it is both writable and executable, and it is small.

#![allow(clippy::expect_used)] // a test may fail this way

use super::BYTES;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_DYNAMIC: u32 = 6;
const SHT_REL: u32 = 9;
const SHT_DYNSYM: u32 = 11;
const SHT_RELR: u32 = 19;

/// The largest that init may become, in bytes.
const LARGEST: usize = 60 << 10;

fn number(elf: &[u8], at: usize, size: usize) -> u64 {
    let bytes = elf.get(at..at + size).expect("a number inside the file");
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn half(elf: &[u8], at: usize) -> usize {
    number(elf, at, 2) as usize
}

fn word(elf: &[u8], at: usize) -> u32 {
    number(elf, at, 4) as u32
}

fn long(elf: &[u8], at: usize) -> usize {
    number(elf, at, 8) as usize
}

/// Where the headers of one kind begin: table, size of an entry, count.
fn headers(elf: &[u8], table: usize, entry: usize) -> impl Iterator<Item = usize> {
    let (start, size, count) = (long(elf, table), half(elf, entry), half(elf, entry + 2));
    (0..count).map(move |n| start + n * size)
}

/// Everything about an executable that init's must not have.
fn faults(elf: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    assert_eq!(elf.get(..6), Some(&b"\x7fELF\x02\x01"[..]), "a 64-bit little-endian ELF file");
    if half(elf, 16) != 2 {
        found.push("it has no fixed place (no ET_EXEC)".to_owned());
    }
    let (mut loaded, mut stack) = (0, false);
    for at in headers(elf, 32, 54) {
        let (kind, flags) = (word(elf, at), word(elf, at + 4));
        match kind {
            PT_INTERP => found.push("it names an interpreter".to_owned()),
            PT_DYNAMIC => found.push("it has a dynamic section".to_owned()),
            PT_LOAD => loaded += 1,
            PT_GNU_STACK => stack = true,
            _ => {}
        }
        // PF_X and PF_W.
        if matches!(kind, PT_LOAD | PT_GNU_STACK) && flags & 3 == 3 {
            found.push(format!("a segment of type {kind:#x} is writable and executable"));
        }
    }
    if loaded == 0 || !stack {
        // Without PT_GNU_STACK the kernel makes the stack executable.
        found.push("it has no segment, or none for the stack".to_owned());
    }
    sections(elf, &mut found);
    found
}

fn sections(elf: &[u8], found: &mut Vec<String>) {
    for at in headers(elf, 40, 58) {
        let (kind, start, size) = (word(elf, at + 4), long(elf, at + 24), long(elf, at + 32));
        match kind {
            SHT_REL | SHT_RELA | SHT_RELR => {
                found.push(format!("it has a relocation section of {size} bytes"));
            }
            SHT_DYNAMIC => found.push("it has a dynamic section".to_owned()),
            SHT_SYMTAB | SHT_DYNSYM => {
                // The first entry is empty by definition; section 0 means undefined.
                let symbols = (start..start + size).step_by(24).skip(1);
                let undefined = symbols.filter(|at| half(elf, at + 6) == 0).count();
                if undefined > 0 {
                    found.push(format!("it has {undefined} undefined symbols"));
                }
            }
            _ => {}
        }
    }
}

#[test]
fn init_needs_nothing_but_the_kernel() {
    assert_eq!(faults(BYTES), Vec::<String>::new());
}

#[test]
fn init_is_small() {
    assert!(BYTES.len() <= LARGEST, "{} bytes", BYTES.len());
    assert_eq!(super::size(), BYTES.len());
}

#[test]
fn a_writable_and_executable_segment_is_found() {
    let mut elf = BYTES.to_vec();
    let load = headers(BYTES, 32, 54).find(|at| word(BYTES, *at) == PT_LOAD).expect("a segment");
    elf[load + 4] = 7;
    assert_eq!(faults(&elf), ["a segment of type 0x1 is writable and executable"]);
}

#[test]
fn an_interpreter_a_dynamic_section_and_relocations_are_found() {
    // Any dynamically linked program of the host's would do, but there may be none.
    let mut elf = BYTES.to_vec();
    let load = headers(BYTES, 32, 54).find(|at| word(BYTES, *at) == PT_LOAD).expect("a segment");
    for (kind, text) in [(PT_INTERP, "it names an interpreter"), (PT_DYNAMIC, "it has a dynamic section")] {
        elf[load..load + 4].copy_from_slice(&kind.to_le_bytes());
        assert!(faults(&elf).iter().any(|fault| fault == text), "{text}: {:?}", faults(&elf));
    }
    let mut elf = BYTES.to_vec();
    let section = headers(BYTES, 40, 58).nth(1).expect("a section");
    for kind in [SHT_REL, SHT_RELA, SHT_RELR] {
        elf[section + 4..section + 8].copy_from_slice(&kind.to_le_bytes());
        let seen = faults(&elf);
        assert!(seen.iter().any(|fault| fault.starts_with("it has a relocation section")), "{seen:?}");
    }
}

#[test]
fn an_undefined_symbol_is_found() {
    let mut elf = BYTES.to_vec();
    let section = headers(BYTES, 40, 58).nth(1).expect("a section");
    elf[section + 4..section + 8].copy_from_slice(&SHT_SYMTAB.to_le_bytes());
    let table = elf.len() as u64;
    // An empty entry and one with a name that lies in no section.
    elf.extend([0; 24]);
    elf.extend([1, 0, 0, 0, 0x10, 0, 0, 0]);
    elf.extend([0; 16]);
    elf[section + 24..section + 32].copy_from_slice(&table.to_le_bytes());
    elf[section + 32..section + 40].copy_from_slice(&48u64.to_le_bytes());
    assert_eq!(faults(&elf), ["it has 1 undefined symbols"]);
}
