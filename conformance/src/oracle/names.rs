//! Which names the two sides know, and which architectures the comparison is made for.

use super::libseccomp::Libseccomp;
use oxrun_conformance::Check;
use oxrun_core::seccomp::Arch;
use std::collections::{BTreeSet, HashMap};

/// Numbers by name.
pub(super) type Numbers = HashMap<String, u32>;

/// Every name of every architecture that the compiler has a table of.
pub(super) struct Names {
    /// In the order of [`Arch::ALL`].
    pub(super) archs: Vec<Arch>,
    pub(super) ours: HashMap<Arch, Numbers>,
    pub(super) theirs: HashMap<Arch, Numbers>,
    /// All names of libseccomp.
    pub(super) all: Vec<String>,
}

impl Names {
    pub(super) fn read(library: &mut Libseccomp) -> Check<Self> {
        let archs: Vec<Arch> = Arch::ALL.to_vec();
        let (mut ours, mut theirs, mut all) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        for arch in &archs {
            let own: Numbers = arch.calls().map(|(name, number)| (name.to_owned(), number)).collect();
            let mut numbers = library.names(*arch)?;
            for name in own.keys().filter(|name| !numbers.contains_key(*name)).cloned().collect::<Vec<_>>() {
                numbers.extend(library.number(*arch, &name)?.map(|number| (name, number)));
            }
            all.extend(numbers.keys().cloned());
            ours.insert(*arch, own);
            theirs.insert(*arch, numbers);
        }
        Ok(Self { archs, ours, theirs, all: all.into_iter().collect() })
    }

    /// The number that libseccomp gives a name.
    pub(super) fn theirs(&self, arch: Arch, name: &str) -> Option<u32> {
        self.theirs.get(&arch)?.get(name).copied()
    }

    /// The number that the compiler gives a name.
    pub(super) fn ours(&self, arch: Arch, name: &str) -> Option<u32> {
        self.ours.get(&arch)?.get(name).copied()
    }

    /// Compares the tables: one line for each architecture, and how many numbers differ.
    pub(super) fn compare(&self) -> (Vec<String>, usize) {
        let (mut lines, mut wrong) = (Vec::new(), 0);
        for arch in &self.archs {
            let empty = HashMap::new();
            let (ours, theirs) =
                (self.ours.get(arch).unwrap_or(&empty), self.theirs.get(arch).unwrap_or(&empty));
            let same = ours.iter().filter(|(name, number)| theirs.get(*name) == Some(number)).count();
            let only = |one: &Numbers, other: &Numbers| {
                let mut names: Vec<String> =
                    one.keys().filter(|name| !other.contains_key(*name)).cloned().collect();
                names.sort();
                names
            };
            let differ: Vec<&String> = ours
                .iter()
                .filter(|(n, number)| theirs.get(*n).is_some_and(|t| t != *number))
                .map(|(n, _)| n)
                .collect();
            wrong += differ.len();
            let mut line = format!("{}: {same} equal", arch.name());
            if !differ.is_empty() {
                line.push_str(&format!(", {} DIFFER {differ:?}", differ.len()));
            }
            for (whose, names) in [("ours", only(ours, theirs)), ("libseccomp's", only(theirs, ours))] {
                if !names.is_empty() {
                    line.push_str(&format!(", {} only {whose}: {}", names.len(), names.join(" ")));
                }
            }
            lines.push(line);
        }
        (lines, wrong)
    }
}
