//! A wrapper between engine and runtime writes one line per call and then becomes the runtime.
//! Calls are attributed by container id, and only `create` and `run` introduce one, so that a late
//! call of an earlier scenario cannot stand in for a missing one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Which of the two runtimes plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that is right by definition.
    Reference,
    /// The one under test.
    Tested,
}

impl Side {
    /// The name that the engine's configuration has for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Reference => "reference",
            Side::Tested => "tested",
        }
    }

    /// The wrapper that the engine calls.
    pub(super) fn wrapper(self, scratch: &Path) -> PathBuf {
        scratch.join("bin").join(self.name())
    }

    /// A `runc` for engines that cannot be told which runtime to call; see `select`.
    pub(super) fn link(scratch: &Path) -> PathBuf {
        scratch.join("bin/runc")
    }

    /// Makes the link lead to this side's wrapper.
    pub(super) fn select(self, scratch: &Path) -> Result<(), String> {
        let link = Self::link(scratch);
        let new = link.with_extension("new");
        symlink(self.name(), &new)
            .and_then(|()| fs::rename(&new, &link))
            .map_err(|e| format!("{}: {e}", link.display()))
    }

    /// What containers of this side may mount.
    pub(super) fn data(self, scratch: &Path) -> PathBuf {
        scratch.join("data").join(self.name())
    }

    fn log(self, scratch: &Path) -> PathBuf {
        scratch.join(format!("{}.calls", self.name()))
    }

    /// Where `copy` puts the runtime: the file keeps its name, which its messages begin with.
    pub(super) fn copied(self, scratch: &Path, runtime: &Path) -> PathBuf {
        scratch.join(format!("{}.copy", self.name())).join(runtime.file_name().unwrap_or_default())
    }

    /// Copies the runtime to where every user can reach it.
    pub(super) fn copy(self, scratch: &Path, runtime: &Path) -> Result<PathBuf, String> {
        let copy = self.copied(scratch, runtime);
        let dir = copy.parent().unwrap_or(scratch);
        fs::create_dir_all(dir)
            .and_then(|()| fs::copy(runtime, &copy))
            .map_err(|e| format!("copying {}: {e}", runtime.display()))?;
        Ok(copy)
    }

    /// Writes the wrapper around `runtime`.
    pub(super) fn install(self, scratch: &Path, runtime: &Path) -> Result<(), String> {
        let [log, path] = [&self.log(scratch), runtime]
            .map(|p| format!("'{}'", p.to_string_lossy().replace('\'', "'\\''")));
        // One write per call: calls of several containers may come at the same time.
        let text = format!("#!/bin/sh\nprintf '%s\\037' \"$@\" '\n' >>{log}\nexec {path} \"$@\"\n",);
        let wrapper = self.wrapper(scratch);
        let fail = |e: std::io::Error| format!("{}: {e}", wrapper.display());
        fs::write(&wrapper, text).map_err(fail)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(fail)?;
        let log = self.log(scratch);
        // The engine may not be root.
        fs::write(&log, "")
            .and_then(|()| fs::set_permissions(&log, fs::Permissions::from_mode(0o666)))
            .map_err(|e| format!("{}: {e}", log.display()))
    }

    /// The calls from byte `offset` of the log on, and the length of the log.
    pub(super) fn calls(self, scratch: &Path, offset: usize) -> (Calls, usize) {
        let log = fs::read(self.log(scratch)).unwrap_or_default();
        let text = String::from_utf8_lossy(log.get(offset..).unwrap_or_default()).into_owned();
        (Calls::parse(&text), log.len())
    }
}

/// The calls of one scenario.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// The containers that were created.
    pub(super) ids: Vec<String>,
    /// How many calls named one of them.
    pub(super) count: usize,
    /// How many calls there were in all.
    pub(super) lines: usize,
}

impl Calls {
    fn parse(text: &str) -> Self {
        // The line ends behind the separator that follows its last argument.
        let lines: Vec<Vec<&str>> = text
            .split("\u{1f}\n\u{1f}")
            .filter(|l| !l.is_empty())
            .map(|l| l.split('\u{1f}').collect())
            .collect();
        let mut ids: Vec<String> = lines
            .iter()
            .filter(|l| l.iter().any(|a| matches!(*a, "create" | "run")))
            .filter_map(|l| l.last())
            .map(|id| (*id).to_owned())
            .collect();
        ids.sort();
        ids.dedup();
        let named = |l: &&Vec<&str>| l.iter().any(|a| ids.iter().any(|id| id == a));
        let count = lines.iter().filter(named).count();
        Self { count, lines: lines.len(), ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_for_containers_of_this_scenario_count() {
        let text = "--root\u{1f}/r\u{1f}delete\u{1f}old\u{1f}\n\u{1f}\
            create\u{1f}--bundle\u{1f}/b\u{1f}new\u{1f}\n\u{1f}\
            start\u{1f}new\u{1f}\n\u{1f}--version\u{1f}\n\u{1f}";
        let calls = Calls::parse(text);
        assert_eq!((calls.ids.as_slice(), calls.count), (&["new".to_owned()][..], 2));
    }

    #[test]
    fn a_log_without_create_counts_nothing() {
        let calls = Calls::parse("delete\u{1f}old\u{1f}\n\u{1f}");
        assert_eq!(calls, Calls { lines: 1, ..Calls::default() });
    }
}
