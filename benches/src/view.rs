//! The view of the cgroup hierarchies that all runtimes get. What must hold: nothing changes outside of
//! our mount namespace, and no hierarchy gets other options than it has: an existing cgroup2 mount is
//! bound, not mounted again, because a second mount would rewrite its flags.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, sys};

const ROOT: &str = "/sys/fs/cgroup";

/// Which hierarchies are seen at /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum View {
    /// As the host has it.
    Host,
    /// cgroup v2 alone.
    V2,
    /// All v1 hierarchies of the kernel and no v2.
    V1,
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            View::Host => "host",
            View::V2 => "v2",
            View::V1 => "v1",
        })
    }
}

impl std::str::FromStr for View {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<View, String> {
        match text {
            "host" => Ok(View::Host),
            "v2" => Ok(View::V2),
            "v1" => Ok(View::V1),
            _ => Err(format!("{text:?} is not a view: host, v2, v1")),
        }
    }
}

/// The hierarchies that are mounted now.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Mount point of cgroup2.
    pub(crate) v2: Option<PathBuf>,
    /// Mount points of v1.
    pub(crate) v1: Vec<PathBuf>,
}

impl Layout {
    /// Reads the mounts below /sys/fs/cgroup.
    pub(crate) fn read() -> Result<Layout> {
        let mut layout = Layout { v2: None, v1: Vec::new() };
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = left.split(' ').nth(4) else {
                continue;
            };
            if !point.starts_with(ROOT) {
                continue;
            }
            match right.split(' ').next() {
                Some("cgroup2") => layout.v2 = Some(PathBuf::from(point)),
                Some("cgroup") => layout.v1.push(PathBuf::from(point)),
                _ => {}
            }
        }
        Ok(layout)
    }

    /// All mount points.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.v2.iter().chain(&self.v1)
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        match (&self.v2, self.v1.len()) {
            (Some(_), 0) => "cgroup v2".to_owned(),
            (Some(_), n) => format!("hybrid: {n} v1 hierarchies and cgroup v2"),
            (None, n) => format!("{n} v1 hierarchies"),
        }
    }
}

/// Enters a private mount namespace with that view. `scratch` is an existing directory.
pub(crate) fn enter(view: View, scratch: &Path) -> Result<Layout> {
    let layout = Layout::read()?;
    let root = Path::new(ROOT);
    match view {
        View::Host => return Ok(layout),
        View::V2 if layout.v1.is_empty() && layout.v2.as_deref() == Some(root) => {
            return Ok(layout);
        }
        View::V1 if layout.v2.is_none() && !layout.v1.is_empty() => return Ok(layout),
        View::V2 | View::V1 => {}
    }
    sys::private_mounts()?;
    if view == View::V2 {
        let hold = scratch.join("cgroup2");
        fs::create_dir_all(&hold)?;
        match &layout.v2 {
            Some(point) => sys::mount(&point.to_string_lossy(), &hold, "", libc::MS_BIND, "")?,
            None => sys::mount("cgroup2", &hold, "cgroup2", 0, "")?,
        }
        sys::detach(root)?;
        sys::mount(&hold.to_string_lossy(), root, "", libc::MS_MOVE, "")?;
    } else {
        sys::detach(root)?;
        sys::mount("tmpfs", root, "tmpfs", 0, "mode=755")?;
        for line in fs::read_to_string("/proc/self/cgroup")?.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next().unwrap_or_default();
            if controllers.is_empty() {
                continue;
            }
            let name = controllers.strip_prefix("name=");
            let point = root.join(name.unwrap_or(controllers));
            fs::create_dir(&point)?;
            let data = match name {
                Some(_) => format!("none,{controllers}"),
                None => controllers.to_owned(),
            };
            sys::mount("cgroup", &point, "cgroup", 0, &data)?;
        }
    }
    Layout::read()
}
