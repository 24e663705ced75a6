//! The numbers of the system calls, by name: one sorted list of all names, and for each architecture the numbers in
//! the order of that list.
//!
//! `generate.py` writes names and numbers from the kernel's headers. Architectures that differ only in the order of
//! bytes have one table.

use super::Arch;
use super::arch::X32_BIT;
use names::NAMES;

mod names;
mod numbers;

/// The numbers of an architecture in 16 bits: without the bit of x32, and with [`ARM_PRIVATE`] for those of ARM that
/// are far from the others.
type Numbers = [u16; NAMES.len()];

/// No such call.
const ABSENT: u16 = 0xffff;
/// Numbers from here on stand for ARM's private calls, which begin at 0x0f_0000.
const ARM_PRIVATE: u16 = 0xf000;

/// The table of an architecture.
#[derive(Clone, Copy)]
pub(super) struct Table {
    numbers: &'static Numbers,
    base: u32,
}

/// The table of an architecture.
pub(super) fn of(arch: Arch) -> Table {
    let numbers = match arch {
        Arch::X86_64 => &numbers::X86_64,
        Arch::X86 => &numbers::X86,
        Arch::X32 => &numbers::X32,
        Arch::Aarch64 => &numbers::AARCH64,
        Arch::Arm => &numbers::ARM,
        Arch::Mips | Arch::Mipsel => &numbers::MIPS,
        Arch::Mips64 | Arch::Mipsel64 => &numbers::MIPS64,
        Arch::Mips64N32 | Arch::Mipsel64N32 => &numbers::MIPS64N32,
        Arch::Ppc => &numbers::PPC,
        Arch::Ppc64 | Arch::Ppc64Le => &numbers::PPC64,
        Arch::S390 => &numbers::S390,
        Arch::S390X => &numbers::S390X,
        Arch::Parisc => &numbers::PARISC,
        Arch::Parisc64 => &numbers::PARISC64,
        Arch::Riscv64 => &numbers::RISCV64,
        Arch::Loongarch64 => &numbers::LOONGARCH64,
        Arch::M68k => &numbers::M68K,
        Arch::Sh | Arch::Sheb => &numbers::SH,
    };
    Table { numbers, base: if arch == Arch::X32 { X32_BIT } else { 0 } }
}

impl Table {
    /// The number of the name at this place of the list.
    pub(super) fn at(&self, place: usize) -> Option<u32> {
        match *self.numbers.get(place)? {
            ABSENT => None,
            private @ ARM_PRIVATE.. => Some(0x0f_0000 + u32::from(private - ARM_PRIVATE)),
            number => Some(self.base + u32::from(number)),
        }
    }

    /// The number of the call with this name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.at(NAMES.binary_search(&name).ok()?)
    }

    /// Every call that the architecture has, sorted by name.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, u32)> + Clone {
        NAMES.iter().enumerate().filter_map(move |(place, name)| Some((*name, self.at(place)?)))
    }
}

/// Finds names in the list of all names. Profiles list most of theirs in order, so the search begins at the
/// entry after the last one found.
#[derive(Default)]
pub(super) struct Finder {
    next: usize,
}

impl Finder {
    /// How many entries are looked at in order before the list is searched by halves.
    const NEAR: usize = 8;

    /// The place of a name in the list.
    pub(super) fn place(&mut self, name: &str) -> Option<usize> {
        let follows = self.next == 0 || NAMES.get(self.next - 1).is_some_and(|before| *before < name);
        if follows {
            for (at, entry) in NAMES.iter().enumerate().skip(self.next).take(Self::NEAR) {
                match (*entry).cmp(name) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        self.next = at + 1;
                        return Some(at);
                    }
                    std::cmp::Ordering::Greater => {
                        self.next = at;
                        return None;
                    }
                }
            }
        }
        let found = NAMES.binary_search_by(|entry| (*entry).cmp(name));
        self.next = found.map_or_else(|at| at, |at| at + 1);
        found.ok()
    }
}
