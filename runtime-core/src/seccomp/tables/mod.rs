//! The numbers of the system calls, by name. Every table is sorted by name.
//!
//! `generate.py` writes the tables from the kernel's headers. Another architecture is one more
//! line there and in [`of`], as long as it is little-endian.

use super::Arch;

mod aarch64;
mod arm;
mod x32;
mod x86;
mod x86_64;

/// A table, sorted by name.
pub(super) type Table = &'static [(&'static str, u32)];

/// The table of an architecture, if there is one.
pub(super) fn of(arch: Arch) -> Option<Table> {
    Some(match arch {
        Arch::X86_64 => &x86_64::TABLE,
        Arch::X86 => &x86::TABLE,
        Arch::X32 => &x32::TABLE,
        Arch::Aarch64 => &aarch64::TABLE,
        Arch::Arm => &arm::TABLE,
        _ => return None,
    })
}

/// Finds names in one table. Profiles list most names in order, so the search begins at the
/// entry after the last one found.
pub(super) struct Finder {
    table: Table,
    next: usize,
}

impl Finder {
    /// How many entries are looked at in order before the table is searched by halves.
    const NEAR: usize = 6;

    pub(super) fn new(table: Table) -> Self {
        Self { table, next: 0 }
    }

    /// The number of the call with this name.
    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        let follows = self.next == 0 || self.table.get(self.next - 1).is_some_and(|e| e.0 < name);
        if follows {
            for (at, entry) in self.table.iter().enumerate().skip(self.next).take(Self::NEAR) {
                match entry.0.cmp(name) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        self.next = at + 1;
                        return Some(entry.1);
                    }
                    std::cmp::Ordering::Greater => {
                        self.next = at;
                        return None;
                    }
                }
            }
        }
        match self.table.binary_search_by(|entry| entry.0.cmp(name)) {
            Ok(at) => {
                self.next = at + 1;
                self.table.get(at).map(|entry| entry.1)
            }
            Err(at) => {
                self.next = at;
                None
            }
        }
    }
}
