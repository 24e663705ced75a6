//! The host as the tests see it. The test program moves into a mount namespace of its own first:
//! whatever a runtime mounts by mistake cannot reach the machine, and the mount table seen here is
//! changed by nobody else.

use crate::sys;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Facts about the host.
#[derive(Debug)]
pub struct Host;

/// Cuts the process off from the host's mounts and makes orphans its children. With
/// `OXRUN_CGROUP_VIEW=v2` the namespace shows nothing but the cgroup2 hierarchy, with `v1` all but that.
pub(super) fn isolate() -> io::Result<()> {
    sys::private_mounts()?;
    sys::become_subreaper()?;
    match std::env::var("OXRUN_CGROUP_VIEW").as_deref() {
        Ok("v2") => v2_view(),
        Ok("v1") => sys::unmount(Path::new("/sys/fs/cgroup/unified")),
        Ok(other) => {
            Err(io::Error::other(format!("OXRUN_CGROUP_VIEW: {other:?} is neither \"v1\" nor \"v2\"")))
        }
        Err(_) => Ok(()),
    }
}

fn v2_view() -> io::Result<()> {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if !unified.is_dir() {
        return Ok(());
    }
    // A bind, not a new mount: that would change the flags of the host's hierarchy.
    let held = Path::new("/sys/fs/cgroup");
    let spare = std::env::temp_dir().join(format!("oxrun-test-{}-view", std::process::id()));
    fs::create_dir(&spare)?;
    let moved = sys::mount(unified, &spare, "", libc::MS_BIND)
        .and_then(|()| sys::unmount(held))
        .and_then(|()| sys::mount(&spare, held, "", libc::MS_BIND))
        .and_then(|()| sys::unmount(&spare));
    moved.and(fs::remove_dir(&spare))
}

impl Host {
    /// The lines of mountinfo.
    ///
    /// # Errors
    /// If procfs cannot be read.
    pub fn mounts() -> io::Result<Vec<String>> {
        Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().map(str::to_owned).collect())
    }

    /// Mount points at or below `directory`, the innermost first.
    ///
    /// # Errors
    /// If procfs cannot be read.
    pub fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found: Vec<PathBuf> = Self::mounts()?
            .iter()
            .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
            .filter(|target| target.starts_with(directory))
            .collect();
        found.reverse();
        Ok(found)
    }

    /// The root directories of all mounted cgroup hierarchies.
    ///
    /// # Errors
    /// If procfs cannot be read.
    pub fn cgroup_roots() -> io::Result<BTreeSet<PathBuf>> {
        let mut roots = BTreeSet::new();
        for line in Self::mounts()? {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            if right.starts_with("cgroup ") || right.starts_with("cgroup2 ") {
                roots.extend(left.split(' ').nth(4).map(PathBuf::from));
            }
        }
        Ok(roots)
    }

    /// Whether the only cgroup hierarchy is version 2.
    #[must_use]
    pub fn is_pure_v2() -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }

    /// The top cgroup directories whose name starts with `prefix`.
    ///
    /// # Errors
    /// If a hierarchy cannot be read.
    pub fn cgroups(prefix: &str) -> io::Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        for root in Self::cgroup_roots()? {
            for entry in fs::read_dir(root)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    found.insert(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// Children of the calling process, ended ones included.
    ///
    /// # Errors
    /// If procfs cannot be read.
    pub fn children() -> io::Result<BTreeSet<i32>> {
        let own = std::process::id().to_string();
        Ok(Self::processes()?
            .into_iter()
            .filter(|pid| stat_fields(*pid).and_then(|f| f.get(1).map(|p| *p == own)) == Some(true))
            .collect())
    }

    /// Processes with a cgroup whose path contains `name`.
    ///
    /// # Errors
    /// If procfs cannot be read.
    pub fn processes_in(name: &str) -> io::Result<BTreeSet<i32>> {
        let inside = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(name))
        };
        Ok(Self::processes()?.into_iter().filter(inside).collect())
    }

    /// The state letter of a process (`R`, `S`, `Z` ...), `None` if it is gone.
    #[must_use]
    pub fn process_state(pid: i32) -> Option<char> {
        stat_fields(pid)?.first()?.chars().next()
    }

    /// State, name, parent and command line of a process, for messages.
    #[must_use]
    pub fn describe(pid: i32) -> String {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let name = read("comm").unwrap_or_default();
        let words = read("cmdline").unwrap_or_default().replace('\0', " ");
        let fields = stat_fields(pid).unwrap_or_default();
        let field = |index: usize| fields.get(index).map_or("?", String::as_str);
        let (state, parent) = (field(0), field(1));
        format!("{:?} ({state}, child of {parent}) {}", name.trim_end(), words.trim_end())
    }

    fn processes() -> io::Result<Vec<i32>> {
        let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.to_string_lossy().parse().ok()).collect())
    }
}

/// The fields of `/proc/PID/stat` after the command: state, parent and so on.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
