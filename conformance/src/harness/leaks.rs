//! What a container may leave behind on a host. Everything is compared as a whole, before and
//! after.

use super::host::Host;
use crate::{Check, Failed};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What the sandboxes of the running test found left behind when they went.
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(super) fn record(leaks: Vec<String>) {
    if let Ok(mut found) = FOUND.lock() {
        found.extend(leaks);
    }
}

pub(super) fn take() -> Vec<String> {
    FOUND.lock().map(|mut found| std::mem::take(&mut *found)).unwrap_or_default()
}

/// A picture of mounts, cgroups, state directories and child processes.
#[derive(Clone, Debug)]
pub struct Leaks {
    prefix: String,
    root: PathBuf,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    states: BTreeSet<PathBuf>,
    children: BTreeSet<i32>,
    inside: BTreeSet<i32>,
}

impl Leaks {
    /// Takes the picture. `prefix` starts the names of the cgroups concerned, `root` is the state
    /// root of the runtime.
    ///
    /// # Errors
    /// If procfs or a cgroup hierarchy cannot be read.
    pub fn snapshot(prefix: &str, root: &Path) -> Check<Self> {
        let mut states = BTreeSet::new();
        if let Ok(entries) = fs::read_dir(root) {
            states.extend(
                entries
                    .flatten()
                    // A hidden directory belongs to the runtime as a whole, not to a container.
                    .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            root: root.to_owned(),
            mounts: Host::mounts()?.into_iter().collect(),
            cgroups: Host::cgroups(prefix)?,
            states,
            children: Host::children()?,
            inside: Host::processes_in(prefix)?,
        })
    }

    /// Takes a second picture and fails if it differs.
    ///
    /// # Errors
    /// The list of differences.
    pub fn assert_same(&self) -> Check {
        let differences = self.differences()?;
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failed::from(format!("left behind:\n  {}", differences.join("\n  "))))
    }

    pub(super) fn has_child(&self, pid: i32) -> bool {
        self.children.contains(&pid)
    }

    /// Takes a second picture and lists the differences.
    ///
    /// # Errors
    /// As [`Leaks::snapshot`].
    pub fn differences(&self) -> Check<Vec<String>> {
        let now = Self::snapshot(&self.prefix, &self.root)?;
        let mut list = Vec::new();
        compare(&mut list, "mount", &self.mounts, &now.mounts);
        compare(&mut list, "cgroup", &self.cgroups, &now.cgroups);
        compare(&mut list, "state directory", &self.states, &now.states);
        for pid in now.children.union(&now.inside) {
            if !self.children.contains(pid) && !self.inside.contains(pid) {
                list.push(format!("new process: {pid} {}", Host::describe(*pid)));
            }
        }
        Ok(list)
    }
}

fn compare<T: Ord + std::fmt::Debug>(
    list: &mut Vec<String>,
    what: &str,
    before: &BTreeSet<T>,
    after: &BTreeSet<T>,
) {
    list.extend(after.difference(before).map(|item| format!("new {what}: {item:?}")));
    list.extend(before.difference(after).map(|item| format!("lost {what}: {item:?}")));
}
