//! Freezing the processes of a container, and what a frozen one means for killing it.
//!
//! What must hold: one file is written and the same file is read again: `cgroup.freeze` where there is a v2
//! tree, with controllers or without, else `freezer.state`. Whoever fails to freeze thaws again. What was
//! killed is thawed on v1, where a frozen process does not die.

use super::{end, live, tree};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::CgroupDir;
use crate::state::brief::Cgroups;
use crate::sys;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the v2 tree may take to freeze everybody.
const FREEZE: Duration = Duration::from_secs(10);
/// How long v1 may, which has no event to wait for.
const FREEZE_V1: Duration = Duration::from_secs(1);

/// The file that freezes a container.
enum Freezer {
    /// The directory in the v2 tree.
    V2(PathBuf),
    /// The directory in the v1 hierarchy of the freezer.
    V1(PathBuf),
}

fn v1_dir(dirs: &[CgroupDir]) -> Option<PathBuf> {
    let is_freezer = |d: &&CgroupDir| d.controllers.iter().flatten().any(|c| c == "freezer");
    dirs.iter().find(is_freezer).map(CgroupDir::dir)
}

fn freezer(dirs: &[CgroupDir]) -> Option<Freezer> {
    match dirs.iter().find(|d| d.controllers.is_none()) {
        Some(tree) => Some(Freezer::V2(tree.dir())),
        None => v1_dir(dirs).map(Freezer::V1),
    }
}

/// Whether somebody froze the container, or is about to. One whose cgroup is gone is not frozen.
pub(crate) fn is_frozen(dirs: &[CgroupDir]) -> Result<bool> {
    Ok(match freezer(dirs) {
        Some(Freezer::V2(dir)) => frozen_v2(&read(&dir.join("cgroup.freeze"))?),
        Some(Freezer::V1(dir)) => frozen_v1(&read(&dir.join("freezer.state"))?),
        None => false,
    })
}

fn frozen_v2(freeze: &str) -> bool {
    freeze == "1"
}

fn frozen_v1(state: &str) -> bool {
    matches!(state, "FROZEN" | "FREEZING")
}

/// Where a hierarchy is mounted, and the descriptor of that place.
pub(crate) type Hierarchy = (String, File);

/// The same as [`is_frozen`] for one of many containers. Their cgroups are looked for from where their hierarchy is mounted:
/// of all that a list does for a container, finding its cgroup takes longest. `known` is kept from one to the next.
pub(crate) fn one_is_frozen(cgroups: &Cgroups<'_>, known: &mut Option<Hierarchy>) -> Result<bool> {
    let ((mount, path), name) = match (cgroups.v2, cgroups.v1) {
        (Some(place), _) => (place, "cgroup.freeze"),
        (None, Some(place)) => (place, "freezer.state"),
        (None, None) => return Ok(false),
    };
    // Both files say one word.
    let mut text = [0; 32];
    let said = match read_below(mount, &[path, name], &mut text, known) {
        Err(e) if tree::is_gone(&e) => 0,
        Err(e) => {
            let file = Path::new(mount).join(path).join(name);
            return Err(Error::io(format!("read({})", file.display()), &e));
        }
        Ok(len) => len,
    };
    let said = text.get(..said).unwrap_or_default().trim_ascii();
    Ok(std::str::from_utf8(said).is_ok_and(if cgroups.v2.is_some() { frozen_v2 } else { frozen_v1 }))
}

fn read_below(
    mount: &str,
    parts: &[&str],
    text: &mut [u8],
    known: &mut Option<Hierarchy>,
) -> std::io::Result<usize> {
    let place = match known {
        Some((path, place)) if path == mount => place,
        _ => &mut known.insert((mount.to_owned(), sys::look::place(Path::new(mount))?)).1,
    };
    sys::look::read_once(&sys::look::open_below(place, parts, libc::O_RDONLY)?, text)
}

fn read(file: &Path) -> Result<String> {
    live::said(file).map(|text| text.trim().to_owned())
}

/// Freezes every process of the container and of the cgroups below it. Comes back when all stand still.
pub(crate) fn freeze(dirs: &[CgroupDir]) -> Result<()> {
    match freezer(dirs) {
        Some(Freezer::V2(dir)) => freeze_v2(&dir),
        Some(Freezer::V1(dir)) => freeze_v1(&dir),
        None => Err(none()),
    }
}

/// Lets them go on.
pub(crate) fn thaw(dirs: &[CgroupDir]) -> Result<()> {
    match freezer(dirs) {
        Some(Freezer::V2(dir)) => live::write(&dir.join("cgroup.freeze"), "0"),
        Some(Freezer::V1(dir)) => live::write(&dir.join("freezer.state"), "THAWED"),
        None => Err(none()),
    }
}

fn none() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "cannot freeze: the container has no cgroup in a v2 tree or a freezer hierarchy",
    )
}

fn freeze_v2(dir: &Path) -> Result<()> {
    let path = dir.join("cgroup.events");
    let events = File::open(&path).map_err(|e| Error::io(format!("open({})", path.display()), &e))?;
    live::write(&dir.join("cgroup.freeze"), "1")?;
    let end = Instant::now() + FREEZE;
    loop {
        // Reading is what makes the next poll wait for a change.
        let mut text = [0; 256];
        let n =
            events.read_at(&mut text, 0).map_err(|e| Error::io(format!("read({})", path.display()), &e))?;
        if says_frozen(text.get(..n).unwrap_or_default()) {
            return Ok(());
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(give_up(dir, "cgroup.freeze", "0", FREEZE));
        }
        let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        sys::poll(&mut [(events.as_fd(), libc::POLLPRI)], Some(millis))
            .map_err(|e| Error::io(format!("poll({})", path.display()), &e))?;
    }
}

fn says_frozen(events: &[u8]) -> bool {
    events.split(|b| *b == b'\n').any(|line| line == b"frozen 1")
}

/// v1 may miss processes that are just being made, and then stays at FREEZING until it is told again.
fn freeze_v1(dir: &Path) -> Result<()> {
    let file = dir.join("freezer.state");
    let end = Instant::now() + FREEZE_V1;
    loop {
        live::write(&file, "FROZEN")?;
        if read(&file)? == "FROZEN" {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(give_up(dir, "freezer.state", "THAWED", FREEZE_V1));
        }
        sys::poll(&mut [], Some(1)).map_err(|e| Error::io("poll", &e))?;
    }
}

fn give_up(dir: &Path, file: &str, thawed: &str, limit: Duration) -> Error {
    let who = end::describe(dir);
    // The failure to freeze is the one that is told.
    let _ = live::write(&dir.join(file), thawed);
    let error = Error::new(
        ErrorKind::Timeout,
        format!(
            "unable to freeze {}: not every process stands still after {} s",
            dir.display(),
            limit.as_secs()
        ),
    );
    if who.is_empty() { error } else { error.hint(format!("in it: {}", who.join(", "))) }
}

/// After SIGKILL: thaws every cgroup of the v1 freezer, the container's and those that it made itself. A
/// process that is frozen there keeps its death pending; on v2 it dies.
pub(crate) fn release_killed(dirs: &[CgroupDir]) {
    if let Some(dir) = v1_dir(dirs) {
        release(&dir);
    }
}

/// Thaws a cgroup of the v1 freezer and those below it. Others have no such file.
pub(crate) fn release(dir: &Path) {
    // One that goes away meanwhile has nobody to kill; others show when the death is waited for.
    let _ = tree::each(dir, |cgroup| {
        if cgroup.read(c"freezer.state").is_ok_and(|t| t.trim() != "THAWED") {
            let _ = cgroup.write(c"freezer.state", "THAWED");
        }
        Ok(())
    });
}

/// Processes on v1 that stand still, or are about to, so that they can be killed and make no others. They go on
/// when this is dropped, however that comes.
pub(crate) struct Held(PathBuf);

impl Held {
    /// Holds the container's processes, where a hierarchy of the freezer is known.
    pub(crate) fn new(dirs: &[CgroupDir]) -> Option<Held> {
        v1_dir(dirs).map(Held)
    }

    /// Tells the kernel to hold also those that it missed. Whether it has everybody.
    pub(crate) fn everybody(&self) -> bool {
        let file = self.0.join("freezer.state");
        live::write(&file, "FROZEN").is_ok() && read(&file).is_ok_and(|state| state == "FROZEN")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        release(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(controllers: Option<&[&str]>) -> CgroupDir {
        CgroupDir {
            mount: PathBuf::from("/nowhere"),
            path: PathBuf::from("c"),
            controllers: controllers.map(|c| c.iter().map(|c| (*c).to_owned()).collect()),
        }
    }

    #[test]
    fn the_v2_tree_freezes_also_beside_a_v1_freezer() {
        let dirs = [dir(Some(&["freezer"])), dir(None)];
        assert!(matches!(freezer(&dirs), Some(Freezer::V2(_))));
        assert!(matches!(freezer(&dirs[..1]), Some(Freezer::V1(_))));
        assert!(freezer(&[dir(Some(&["cpu"]))]).is_none());
    }

    #[test]
    fn only_the_line_of_the_freezer_counts() {
        assert!(says_frozen(b"populated 0\nfrozen 1\n"));
        assert!(!says_frozen(b"populated 1\nfrozen 0\n"));
    }
}
