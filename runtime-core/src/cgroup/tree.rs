//! A cgroup and all below it, by descriptors.
//!
//! What must hold: only the first directory is found by a path, those below it one name at a time, so that no depth is
//! too deep for a path; a handful of descriptors are open and the stack does not grow, however deep it is. Whoever
//! lives in the cgroups may make and remove some meanwhile: one that is gone is no error.

use crate::sys::{self, look};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// One cgroup.
pub(crate) struct Cgroup(OwnedFd);

impl Cgroup {
    /// Opens a cgroup of the host.
    pub(crate) fn open(path: &Path) -> io::Result<Cgroup> {
        let mut options = std::fs::OpenOptions::new();
        let dir = options.read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        Ok(Cgroup(dir.into()))
    }

    fn at(&self, name: &CStr) -> io::Result<Cgroup> {
        sys::open_at(&self.0, name, libc::O_RDONLY | libc::O_DIRECTORY, 0).map(Cgroup)
    }

    /// Opens one of its files to read.
    pub(crate) fn file(&self, name: &CStr) -> io::Result<File> {
        sys::open_at(&self.0, name, libc::O_RDONLY, 0).map(File::from)
    }

    /// The text of one of its files.
    pub(crate) fn read(&self, name: &CStr) -> io::Result<String> {
        let mut text = String::new();
        self.file(name)?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Writes a value to one of its files.
    pub(crate) fn write(&self, name: &CStr, value: &str) -> io::Result<()> {
        File::from(sys::open_at(&self.0, name, libc::O_WRONLY, 0)?).write_all(value.as_bytes())
    }

    /// The pids in it, as this process sees them. A threaded one has none of its own: the one above that the
    /// threads' processes belong to has them.
    ///
    /// # Errors
    /// If they cannot be told. One that is gone has none.
    pub(crate) fn processes(&self) -> io::Result<Vec<u32>> {
        let text = match self.read(c"cgroup.procs") {
            Err(e) if is_gone(&e) || e.raw_os_error() == Some(libc::EOPNOTSUPP) => String::new(),
            text => text?,
        };
        Ok(text.lines().filter_map(|l| l.parse().ok()).filter(|p| *p != 0).collect())
    }
}

/// Visits a cgroup and all below it, the deepest first. One that is gone is passed over.
///
/// # Errors
/// The first of a visit; if one cannot be looked into.
pub(crate) fn each(top: &Path, visit: impl FnMut(&Cgroup) -> io::Result<()>) -> io::Result<()> {
    gone(Cgroup::open(top).and_then(|top| walk(top, visit, |_, _| Ok(()))))
}

/// Removes all cgroups below this one.
///
/// # Errors
/// `EBUSY` while one has processes.
pub(crate) fn remove_below(top: &Path) -> io::Result<()> {
    walk(Cgroup::open(top)?, |_| Ok(()), |above, name| gone(look::remove_dir_at(&above.0, name)))
}

/// What is not there is removed.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if is_gone(&e) => Ok(()),
        removed => removed,
    }
}

/// What the kernel answers about a cgroup that is removed: no such name, or no such thing behind an open file.
pub(crate) fn is_gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// The pids in a cgroup and in all below it, in order.
///
/// # Errors
/// If one of them cannot be looked into.
pub(crate) fn members(top: &Path) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    each(top, |cgroup| {
        pids.extend(cgroup.processes()?);
        Ok(())
    })?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Goes down to the deepest and up again, by `..`: a cgroup stays in the one that it was made in. `visit` gets each
/// cgroup when those below it are done, `left` the one above it and its name after that.
fn walk(
    top: Cgroup,
    mut visit: impl FnMut(&Cgroup) -> io::Result<()>,
    mut left: impl FnMut(&Cgroup, &CStr) -> io::Result<()>,
) -> io::Result<()> {
    let names = |c: &Cgroup| match look::directories(&c.0) {
        Err(e) if is_gone(&e) => Ok(Vec::new()),
        names => names,
    };
    // The names on the way, each with those beside it that are still to come.
    let mut way: Vec<(CString, Vec<CString>)> = Vec::new();
    let mut to_come = names(&top)?;
    let mut here = top;
    loop {
        if let Some(name) = to_come.pop() {
            match here.at(&name) {
                Ok(below) => {
                    way.push((name, std::mem::replace(&mut to_come, names(&below)?)));
                    here = below;
                }
                Err(e) if is_gone(&e) => {}
                Err(e) => return Err(e),
            }
            continue;
        }
        visit(&here)?;
        let Some((name, beside)) = way.pop() else {
            return Ok(());
        };
        here = here.at(c"..")?;
        left(&here, &name)?;
        to_come = beside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;

    /// A directory that is gone afterwards.
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = remove_below(&self.0);
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    fn scratch(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("oxrun-tree-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let top = scratch("deep");
        let name = CString::new("d".repeat(200)).unwrap();
        let mut here = Cgroup::open(&top.0).unwrap();
        // More than the descriptors that a process usually may have, and a path of 400 KB.
        for _ in 0..2000 {
            let below = format!("/proc/self/fd/{}/{}", here.0.as_raw_fd(), name.to_str().unwrap());
            std::fs::create_dir(below).unwrap();
            here = here.at(&name).unwrap();
        }
        let mut seen = 0;
        each(&top.0, |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 2001);
        remove_below(&top.0).unwrap();
        assert_eq!(std::fs::read_dir(&top.0).unwrap().count(), 0);
    }

    #[test]
    fn every_branch_is_visited_the_deepest_first() {
        let top = scratch("wide");
        for path in ["a", "a/b", "a/c", "d"] {
            std::fs::create_dir(top.0.join(path)).unwrap();
        }
        let mut left = Vec::new();
        walk(
            Cgroup::open(&top.0).unwrap(),
            |_| Ok(()),
            |_, name| {
                left.push(name.to_str().unwrap().to_owned());
                Ok(())
            },
        )
        .unwrap();
        let place = |name: &str| left.iter().position(|l| l == name).unwrap();
        assert_eq!(left.len(), 4);
        assert!(place("a") > place("b") && place("a") > place("c"));
    }
}
