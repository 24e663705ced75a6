//! Why a file cannot be executed: who may reach it, what its first bytes say, what they ask for.
//!
//! What must hold: it only looks, and claims nothing that it did not see. Access lists and security modules
//! are not looked at: they may deny what is found fine here.

use super::view::{Found, Lost, View};
use crate::plan::Plan;
use crate::plan::action::{Action, IdMap, Namespace};
use crate::sys::look;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep interpreters of interpreters are looked for, as the kernel does.
const DEPTH: u32 = 5;

/// Capabilities that open directories and files: `CAP_DAC_OVERRIDE`, and for directories also
/// `CAP_DAC_READ_SEARCH`.
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;

/// Who executes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    /// The user in the container, for messages.
    uid: u32,
    /// The user as files know it; none if no file can belong to it.
    owner: Option<u32>,
    groups: Vec<u32>,
    effective: u64,
}

impl Who {
    /// A user to whom all files are open.
    pub(crate) fn root() -> Who {
        Who { effective: u64::MAX, ..Who::default() }
    }

    /// A user without capabilities.
    pub(crate) fn user(uid: u32, gid: u32) -> Who {
        Who { uid, owner: Some(uid), groups: vec![gid], effective: 0 }
    }

    /// The process of a plan, as it is when it looks for its program.
    pub(crate) fn of(plan: &Plan) -> Who {
        let mut who = Who::root();
        // Whose files an id-mapped mount shows, and whose a joined user namespace knows, is not seen from here.
        if plan.steps.iter().any(|s| hides_owners(&s.action)) {
            return who;
        }
        let (mut uids, mut gids): (&[IdMap], &[IdMap]) = (&[], &[]);
        for step in &plan.steps {
            match &step.action {
                Action::MapIds { maps, .. } | Action::CompareMaps { maps } => {
                    (uids, gids) = (&maps.uids, &maps.gids);
                }
                Action::Identity { uid, gid, groups, .. } => {
                    who.uid = *uid;
                    who.owner = outside(uids, *uid);
                    who.groups = groups.iter().chain([gid]).filter_map(|g| outside(gids, *g)).collect();
                }
                Action::Caps { sets, .. } => who.effective = sets.effective,
                Action::Lookup { .. } => break,
                _ => {}
            }
        }
        who
    }

    /// Whether the permission bits let this user search a directory or execute a file.
    fn may(&self, meta: &Metadata) -> bool {
        let mode = meta.mode();
        let over = if meta.is_dir() { DAC_OVERRIDE | DAC_READ_SEARCH } else { DAC_OVERRIDE };
        if self.effective & over != 0 {
            return meta.is_dir() || mode & 0o111 != 0;
        }
        let bit = if self.owner == Some(meta.uid()) {
            0o100
        } else if self.groups.contains(&meta.gid()) {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

fn hides_owners(action: &Action) -> bool {
    match action {
        Action::CloneSource { idmap, .. } => idmap.is_some(),
        Action::SetNs { kind, .. } => *kind == Namespace::User,
        _ => false,
    }
}

fn outside(map: &[IdMap], id: u32) -> Option<u32> {
    if map.is_empty() {
        return Some(id);
    }
    let line = map.iter().find(|m| id >= m.inside && id - m.inside < m.size)?;
    line.outside.checked_add(id - line.inside)
}

/// Why a path cannot be executed.
#[derive(Debug)]
pub(crate) enum Why {
    /// It does not exist.
    Missing,
    /// It may not be executed; the sentence says what stands against it.
    Denied(String),
    /// The kernel cannot load it; the sentence says why.
    Unloadable(String),
    /// What is there cannot be seen from here.
    Unknown,
}

/// Looks whether `path` can be executed.
pub(crate) fn executable(view: &View, who: &Who, path: &Path) -> Result<(), Why> {
    let found = reach(view, who, path)?;
    loadable(view, who, &found, path, DEPTH)
}

/// The file, if this user may execute it.
pub(crate) fn reach<'a>(view: &'a View, who: &Who, path: &Path) -> Result<Found<'a>, Why> {
    let mut closed = None;
    let found = view.find(path, &mut |dir, meta| {
        if who.may(meta) {
            return Ok(());
        }
        closed =
            Some(format!("{} has mode {:04o} and {}", dir.display(), meta.mode() & 0o7777, owner(who, meta)));
        Err(Lost::Unknown)
    });
    let found = match found {
        Ok(found) => found,
        Err(_) if closed.is_some() => return Err(Why::Denied(closed.unwrap_or_default())),
        Err(Lost::Missing) => return Err(Why::Missing),
        Err(Lost::Unknown) => return Err(Why::Unknown),
    };
    let name = found.path.display();
    if found.meta.is_dir() {
        return Err(Why::Denied(format!("{name} is a directory")));
    }
    if !found.meta.is_file() {
        return Err(Why::Denied(format!("{name} is not a regular file")));
    }
    if found.noexec() {
        return Err(Why::Denied(format!("{name} is on a mount with noexec ({})", found.mount.field)));
    }
    if !who.may(&found.meta) {
        let mode = found.meta.mode() & 0o7777;
        let text = match mode & 0o111 {
            0 => format!("{name} has mode {mode:04o}, no x bit"),
            _ => format!("{name} has mode {mode:04o} and {}", owner(who, &found.meta)),
        };
        return Err(Why::Denied(text));
    }
    Ok(found)
}

fn owner(who: &Who, meta: &Metadata) -> String {
    format!("belongs to {}:{}: closed to uid {}", meta.uid(), meta.gid(), who.uid)
}

/// What a file's first bytes ask for.
enum Kind {
    /// An ELF file with this loader.
    Elf(Option<String>),
    /// A script with this interpreter.
    Script(String),
    /// Nothing that can be loaded, and why.
    Neither(String),
}

fn loadable(view: &View, who: &Who, found: &Found<'_>, path: &Path, depth: u32) -> Result<(), Why> {
    let mut head = [0u8; 4096];
    // A file that the caller may not read may still be executed.
    let Ok(n) = look::head(&found.file, &mut head) else {
        return Err(Why::Unknown);
    };
    let (interpreter, how) = match kind(head.get(..n).unwrap_or(&[])) {
        Kind::Elf(None) => return Ok(()),
        Kind::Elf(Some(loader)) => (loader, "ELF"),
        Kind::Script(interpreter) => (interpreter, "line 1"),
        Kind::Neither(why) => return Err(Why::Unloadable(format!("{}: {why}", path.display()))),
    };
    let name = path.display();
    let shown = interpreter.trim_end_matches('\r');
    let next = PathBuf::from(&interpreter);
    match reach(view, who, &next) {
        Err(Why::Missing) if shown.len() < interpreter.len() => Err(Why::Unloadable(format!(
            "{name} exists; its interpreter {shown} (line 1) is followed by a carriage return: DOS line ends"
        ))),
        Err(Why::Missing) => {
            Err(Why::Unloadable(format!("{name} exists; its interpreter {shown} ({how}) does not")))
        }
        Err(Why::Denied(why)) => {
            Err(Why::Unloadable(format!("the interpreter of {name} ({how}) cannot be executed: {why}")))
        }
        Err(why) => Err(why),
        Ok(_) if how == "ELF" => Ok(()),
        Ok(_) if depth == 0 => Err(Why::Unloadable(format!("{name}: too many interpreters of interpreters"))),
        Ok(found) => loadable(view, who, &found, &next, depth - 1),
    }
}

fn kind(head: &[u8]) -> Kind {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or(&[]);
        let text = String::from_utf8_lossy(line.get(..line.len().min(254)).unwrap_or(line)).into_owned();
        return match text.trim_start_matches([' ', '\t']).split([' ', '\t']).next() {
            Some(word) if !word.is_empty() => Kind::Script(word.to_owned()),
            _ => Kind::Neither("the first line is #! without an interpreter".to_owned()),
        };
    }
    if head.starts_with(b"\x7fELF") {
        return elf(head);
    }
    Kind::Neither(match head.is_empty() {
        true => "the file is empty".to_owned(),
        false => "neither an ELF file nor a script with #! in its first line".to_owned(),
    })
}

/// The machines of ELF files that are met, by `e_machine`.
const MACHINES: [(u64, &str); 9] = [
    (3, "i386"),
    (8, "mips"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv"),
    (258, "loongarch"),
];

/// What this kernel executes: its own machine and the 32-bit one beside it.
const OURS: &[u64] = if cfg!(target_arch = "aarch64") { &[183, 40] } else { &[62, 3] };

fn elf(head: &[u8]) -> Kind {
    let wrong = || Kind::Neither("the ELF header is invalid".to_owned());
    let (Some(class), Some(order)) = (head.get(4), head.get(5)) else {
        return wrong();
    };
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(size)?)?.iter();
        let add = |n: u64, b: &u8| n << 8 | u64::from(*b);
        Some(if *order == 2 { bytes.fold(0, add) } else { bytes.rev().fold(0, add) })
    };
    let (Some(kind), Some(machine)) = (number(16, 2), number(18, 2)) else {
        return wrong();
    };
    if !matches!(class, 1 | 2) || !matches!(order, 1 | 2) || !matches!(kind, 2 | 3) {
        return wrong();
    }
    if *order != 1 || !OURS.contains(&machine) {
        let name = MACHINES.iter().find(|m| m.0 == machine).map_or("an unknown machine", |m| m.1);
        let host = std::env::consts::ARCH;
        return Kind::Neither(format!("an ELF file for {name}, and this host is {host}"));
    }
    // Program headers: where, how large, how many.
    let wide = *class == 2;
    let (table, size, count) = match wide {
        true => (number(32, 8), number(54, 2), number(56, 2)),
        false => (number(28, 4), number(42, 2), number(44, 2)),
    };
    let (Some(table), Some(size), Some(count)) = (table, size, count) else {
        return wrong();
    };
    if count == 0 {
        return Kind::Neither("the ELF header is invalid: it has no program headers".to_owned());
    }
    for i in 0..count {
        let at = usize::try_from(table.saturating_add(i * size)).unwrap_or(usize::MAX);
        // Headers beyond what was read are not judged.
        if number(at, 4) != Some(3) {
            continue;
        }
        let place = if wide {
            (number(at + 8, 8), number(at + 32, 8))
        } else {
            (number(at + 4, 4), number(at + 16, 4))
        };
        let (Some(offset), Some(length)) = place else { continue };
        let bytes = usize::try_from(offset).ok().and_then(|o| head.get(o..o.checked_add(length as usize)?));
        return Kind::Elf(bytes.map(|b| String::from_utf8_lossy(b).trim_end_matches('\0').to_owned()));
    }
    Kind::Elf(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(head: &[u8]) -> String {
        match kind(head) {
            Kind::Elf(loader) => format!("elf {}", loader.unwrap_or_default()),
            Kind::Script(interpreter) => format!("script {interpreter}"),
            Kind::Neither(why) => why,
        }
    }

    #[test]
    fn the_first_line_names_the_interpreter_as_the_kernel_reads_it() {
        assert_eq!(said(b"#!/bin/sh\n"), "script /bin/sh");
        assert_eq!(said(b"#! \t/bin/sh -e x\n"), "script /bin/sh");
        assert_eq!(said(b"#!/bin/sh\r\n"), "script /bin/sh\r");
        assert_eq!(said(b"#!/bin/sh"), "script /bin/sh");
        assert!(said(b"#!\n").contains("without an interpreter"));
        assert!(said(b"").contains("empty"));
        assert!(said(b"echo\n").contains("neither"));
    }

    #[test]
    fn no_bytes_make_the_reading_of_a_header_fail_otherwise_than_with_words() {
        let own = std::fs::read("/proc/self/exe").expect("the test");
        let head = &own[..4096];
        assert!(said(head).starts_with("elf "), "{}", said(head));
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit as u64) as usize
        };
        for _ in 0..20_000 {
            let mut bytes = head[..next(4096)].to_vec();
            for _ in 0..next(6) {
                // Mostly in the headers, where it matters.
                let at = next(128);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = next(256) as u8;
                }
            }
            assert!(!said(&bytes).is_empty());
        }
    }

    #[test]
    fn ids_are_looked_up_in_the_map() {
        let map = [IdMap { inside: 0, outside: 100_000, size: 10 }];
        assert_eq!(outside(&map, 3), Some(100_003));
        assert_eq!(outside(&map, 10), None);
        assert_eq!(outside(&[], 10), Some(10));
    }
}
