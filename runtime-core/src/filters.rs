//! Compiled seccomp filters in the state root: an engine gives the same profile to each of its containers, and two
//! thirds of such a config are its profile.
//!
//! What must hold: a filter is used only for the very bytes that it was compiled from, by the same compiler, and from
//! a file that is this user's own and nobody else's. Only a profile is kept that nothing was to be said of, and that
//! asks no agent: what else follows from it is then nothing. It is a cache: whatever is wrong with a file, the
//! profile is read and compiled. There are never more than [`SLOTS`] files of at most [`LARGEST`] bytes and what is
//! compiled from them, whoever writes profiles.
//!
//! Format: [`MAGIC`], three lengths as little-endian 32-bit numbers, the profile's text, the filter without its
//! instructions as JSON, and the instructions as the kernel takes them.

use crate::plan::Plan;
use crate::plan::action::Action;
use crate::seccomp::{Insn, Program};
use crate::sys;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How many profiles are kept. One that falls on another's place takes it.
const SLOTS: u64 = 32;
/// Bytes of the smallest profile that is kept: a smaller one is compiled in the time that a file takes.
const SMALLEST: usize = 2 << 10;
/// Bytes of the largest.
const LARGEST: usize = 64 << 10;

/// Changes with the compiler and with whatever reads or writes the file.
const MAGIC: &[u8] =
    concat!("oxrun filter ", env!("CARGO_PKG_VERSION"), " ", env!("OXRUN_COMPILER"), "\n").as_bytes();

/// A file that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: String,
    bytes: Vec<u8>,
}

/// The name of the file that the filter of a profile is kept in. No id of a container is like it.
fn name(text: &[u8]) -> String {
    let mix = |hash: u64, word: [u8; 8]| {
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    };
    // The last bytes are the same in most profiles.
    let hash = text.as_chunks().0.iter().fold(text.len() as u64, |hash, word| mix(hash, *word));
    format!("seccomp@{:02}", mix(hash, [0; 8]) % SLOTS)
}

fn fits(text: &[u8]) -> bool {
    (SMALLEST..=LARGEST).contains(&text.len())
}

/// The filter that was compiled from this text.
pub(crate) fn find(root: &Path, text: &[u8]) -> Option<Program> {
    if !fits(text) {
        return None;
    }
    let mut options = std::fs::OpenOptions::new();
    // Whatever stands there, it is not waited for.
    let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(root.join(name(text))).ok()?;
    let meta = file.metadata().ok()?;
    let own = meta.is_file() && meta.nlink() == 1 && meta.uid() == sys::effective_user();
    if !own || meta.mode() & 0o077 != 0 {
        return None;
    }
    let size = usize::try_from(meta.size()).ok().filter(|size| *size <= 4 * LARGEST)?;
    let mut bytes = Vec::new();
    sys::read_all(&file, &mut bytes, size, size).ok()?;
    decode(&bytes, text)
}

fn decode(bytes: &[u8], text: &[u8]) -> Option<Program> {
    let bytes = bytes.strip_prefix(MAGIC)?;
    let (lengths, bytes) = bytes.split_first_chunk::<12>()?;
    let mut lengths = lengths.chunks(4).map(|n| n.try_into().map(u32::from_le_bytes).unwrap_or(0) as usize);
    let (length, header, count) = (lengths.next()?, lengths.next()?, lengths.next()?);
    let (kept, bytes) = bytes.split_at_checked(length)?;
    if kept != text {
        return None;
    }
    let (header, insns) = bytes.split_at_checked(header)?;
    let insns: Vec<Insn> = insns.chunks(Insn::SIZE).map_while(Insn::from_bytes).collect();
    // One that was cut short would let more pass.
    if insns.len() != count || count * Insn::SIZE != bytes.len() - header.len() {
        return None;
    }
    Some(Program { insns, ..serde_json::from_slice(header).ok()? })
}

fn encode(text: &[u8], program: &Program) -> Option<Vec<u8>> {
    let header = serde_json::to_vec(&Program { insns: Vec::new(), ..program.clone() }).ok()?;
    let mut bytes =
        Vec::with_capacity(MAGIC.len() + 12 + text.len() + header.len() + program.insns.len() * Insn::SIZE);
    bytes.extend_from_slice(MAGIC);
    for length in [text.len(), header.len(), program.insns.len()] {
        bytes.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    }
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(&header);
    program.insns.iter().for_each(|insn| bytes.extend_from_slice(&insn.bytes()));
    Some(bytes)
}

/// The filter of a plan if nothing else follows from its profile.
pub(crate) fn of(plan: &Plan) -> Option<&Program> {
    let program = plan.steps.iter().find_map(|step| match &step.action {
        Action::Seccomp(program) => Some(program),
        _ => None,
    })?;
    let said = plan.warnings.iter().any(|w| w.field.starts_with("/linux/seccomp"));
    (!said && !program.notify && plan.denies_execve.is_none()).then_some(program)
}

/// What is to be kept of a plan that was just made from a config with this profile. Not later: whoever has the plan may
/// change it, for this container and not for the next one.
pub(crate) fn entry(plan: &Plan, profile: Range<usize>) -> Option<Entry> {
    let text = plan.config.get(profile).filter(|text| fits(text))?;
    Some(Entry { name: name(text), bytes: encode(text, of(plan)?)? })
}

/// Keeps a filter for the next container with its profile. That it cannot be kept only means that it is compiled again.
pub(crate) fn keep(root: &Path, entry: &Entry) {
    write(&root.join(&entry.name), &entry.bytes);
}

/// Writes the file at once or not at all.
fn write(place: &Path, bytes: &[u8]) {
    let temp = place.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(&temp) {
        Ok(mut file) => {
            let written = file.write_all(bytes).is_ok() && std::fs::rename(&temp, place).is_ok();
            if !written {
                let _ = std::fs::remove_file(&temp);
            }
        }
        // Somebody writes it now, or was killed while he did. If he still does, what he has written so far gets the
        // name of the file at worst, and is not used before it is whole.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let _ = std::fs::remove_file(&temp);
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests;
