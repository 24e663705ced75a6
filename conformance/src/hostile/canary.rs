//! A directory tree on the host that no container may touch. Every attribute that a write, a
//! mount, a chmod or a mere replacement would change is recorded, the time of change included.

use crate::Check;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// A planted tree and its state at that time.
#[derive(Debug)]
pub(super) struct Canary {
    path: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    /// Plants a tree in `directory`.
    pub(super) fn plant(directory: &Path) -> Check<Self> {
        let path = directory.join("canary");
        fs::create_dir_all(path.join("pts"))?;
        // Names that a runtime likes to remove or replace in /dev.
        for name in ["ptmx", "null", "console", "secret", "pts/0"] {
            fs::write(path.join(name), format!("canary {name}\n"))?;
        }
        symlink("secret", path.join("core"))?;
        let before = record(&path)?;
        Ok(Self { path, before })
    }

    /// The tree.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What has changed, one sentence each.
    pub(super) fn changes(&self) -> Check<Vec<String>> {
        let now = record(&self.path)?;
        let mut list = Vec::new();
        for (path, state) in &now {
            match self.before.get(path) {
                None => list.push(format!("{} appeared", path.display())),
                Some(old) if old != state => list.push(format!("{} changed", path.display())),
                Some(_) => {}
            }
        }
        let gone = self.before.keys().filter(|path| !now.contains_key(*path));
        list.extend(gone.map(|path| format!("{} is gone", path.display())));
        Ok(list)
    }
}

fn record(root: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path)?;
        let content = if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
            String::new()
        } else if meta.is_symlink() {
            fs::read_link(&path)?.to_string_lossy().into_owned()
        } else if meta.is_file() {
            fs::read_to_string(&path)?
        } else {
            String::new()
        };
        // The inode number tells a mount on top, the time of change everything else.
        let state = format!(
            "{:o} {} {} {} {} {} {} {}.{} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.rdev(),
            meta.dev(),
            meta.ino(),
            meta.nlink(),
            meta.ctime(),
            meta.ctime_nsec(),
        );
        found.insert(path, state);
    }
    Ok(found)
}
