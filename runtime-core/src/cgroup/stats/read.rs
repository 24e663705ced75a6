//! The forms that figures have in files of cgroups.
//!
//! What must hold: text of any form gives a figure or nothing, never a panic.

use super::{BlkioEntry, Files, Psi, PsiLine, RdmaEntry};
use std::collections::BTreeMap;

/// A number; `max` is the largest.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        n => n.parse().ok(),
    }
}

/// A file with one number; 0 if there is none.
pub(super) fn single(files: &impl Files, controller: &str, file: &str) -> u64 {
    files.read(controller, file).and_then(|t| number(&t)).unwrap_or(0)
}

/// Lines of a name and a number.
pub(super) fn keyed(text: &str) -> BTreeMap<String, u64> {
    let line = |l: &str| {
        let (key, value) = l.split_once(' ')?;
        Some((key.to_owned(), number(value)?))
    };
    text.lines().filter_map(line).collect()
}

/// A list such as `0-2,5`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            all.extend(first..=last);
        }
    }
    all
}

/// A pressure file. One that cannot be read, as where it is switched off, gives nothing.
pub(super) fn pressure(text: Option<&str>) -> Option<Psi> {
    let mut psi = Psi::default();
    for line in text?.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let into = match kind {
            "some" => &mut psi.some,
            "full" => &mut psi.full,
            _ => continue,
        };
        *into = pressure_line(rest);
    }
    Some(psi)
}

fn pressure_line(text: &str) -> PsiLine {
    let mut line = PsiLine::default();
    for (key, value) in text.split_whitespace().filter_map(|w| w.split_once('=')) {
        let percent = value.parse().unwrap_or(0.0);
        match key {
            "avg10" => line.avg10 = percent,
            "avg60" => line.avg60 = percent,
            "avg300" => line.avg300 = percent,
            "total" => line.total = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    line
}

/// `MAJOR:MINOR`.
pub(super) fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines of a v1 block file: `8:0 Read 4096`, or `8:0 4096`. The sum over all devices is left out.
pub(super) fn block_lines(text: &str) -> Vec<BlkioEntry> {
    let line = |l: &str| {
        let words: Vec<&str> = l.split_whitespace().collect();
        let (device_number, op, value) = match words.as_slice() {
            [device, value] => (device, "", value),
            [device, op, value] => (device, *op, value),
            _ => return None,
        };
        let (major, minor) = device(device_number)?;
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// Lines of an rdma file: `mlx4_0 hca_handle=2 hca_object=max`.
pub(super) fn rdma_lines(text: &str) -> Vec<RdmaEntry> {
    let line = |l: &str| {
        let mut words = l.split_whitespace();
        let mut entry = RdmaEntry { device: words.next()?.to_owned(), ..RdmaEntry::default() };
        for (key, value) in words.filter_map(|w| w.split_once('=')) {
            let value = number(value).unwrap_or(0);
            match key {
                "hca_handle" => entry.hca_handles = value,
                "hca_object" => entry.hca_objects = value,
                _ => {}
            }
        }
        Some(entry)
    };
    text.lines().filter_map(line).collect()
}

/// The sizes of huge pages that have a file with this ending.
pub(super) fn page_sizes(names: &[String], ending: &str) -> Vec<String> {
    let size = |n: &String| Some(n.strip_prefix("hugetlb.")?.strip_suffix(ending)?.to_owned());
    let mut sizes: Vec<String> = names.iter().filter_map(size).filter(|s| !s.contains('.')).collect();
    sizes.sort();
    sizes
}
