//! The container's tree as it will be, seen from the host before anything of it is made.
//!
//! What must hold: nothing is opened for more than its place, nothing is made, and no link of the image
//! leads out: a path is walked by single names, and each link is followed in the container's own tree.

use crate::plan::Plan;
use crate::plan::action::Action;
use crate::plan::options::{MountOptions, attr};
use crate::sys::look;
use std::ffi::{CString, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const LINKS: u32 = 40;

/// What a mount shows.
#[derive(Debug)]
enum Content {
    /// A file or directory of the host.
    Tree(File),
    /// Nothing at first.
    Empty,
    /// What only the kernel knows.
    Unknown,
}

/// One mount of the container.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Where, with all links resolved.
    at: PathBuf,
    /// The field that asks for it.
    pub(crate) field: String,
    content: Content,
    /// Whether programs may be executed there; none: as it is at the source.
    exec: Option<bool>,
}

/// The tree: mounts in the order in which they are made, the root first.
#[derive(Debug)]
pub(crate) struct View {
    mounts: Vec<Mount>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The file.
    pub(crate) file: File,
    /// What it is.
    pub(crate) meta: Metadata,
    /// Its path without links.
    pub(crate) path: PathBuf,
    /// The mount it is on.
    pub(crate) mount: &'a Mount,
}

/// Why a path leads nowhere.
#[derive(Debug)]
pub(crate) enum Lost {
    /// A part of it does not exist or is no directory, or there are too many links.
    Missing,
    /// What is mounted there is not known before it is, or it cannot be looked at.
    Unknown,
}

/// One step of a walk.
enum Spot {
    Open(File, Metadata),
    Empty,
    Unknown,
}

impl View {
    /// The root filesystem alone.
    pub(crate) fn bare(rootfs: &Path) -> io::Result<View> {
        let content = Content::Tree(look::place(rootfs)?);
        let root = Mount { at: "/".into(), field: "/root/path".into(), content, exec: None };
        Ok(View { mounts: vec![root] })
    }

    /// The tree of a plan.
    pub(crate) fn of(plan: &Plan) -> io::Result<View> {
        let mut view = View::bare(&plan.rootfs)?;
        for step in &plan.steps {
            let (destination, content, options) = match &step.action {
                Action::Mount(m) => {
                    let empty = m.fstype == "tmpfs" && !m.options.copy_up;
                    (&m.destination, if empty { Content::Empty } else { Content::Unknown }, &m.options)
                }
                Action::Bind(b) => {
                    let content = look::place(&b.source).map_or(Content::Unknown, Content::Tree);
                    (&b.destination, content, &b.options)
                }
                _ => continue,
            };
            let at = view.destination(destination);
            let exec = executable(options);
            let exec = if matches!(content, Content::Tree(_)) { exec } else { Some(exec != Some(false)) };
            view.mounts.push(Mount { at, field: step.field.clone(), content, exec });
        }
        Ok(view)
    }

    /// Where a mount really goes: the part of its path that exists, without links.
    fn destination(&self, path: &Path) -> PathBuf {
        let mut rest = PathBuf::new();
        let mut head = path;
        loop {
            match self.walk(head, self.mounts.len(), &mut |_, _| Ok(())) {
                Ok((found, _, _)) => {
                    return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
                }
                Err(_) => {
                    let (Some(parent), Some(name)) = (head.parent(), head.file_name()) else {
                        return path.to_owned();
                    };
                    rest = if rest.as_os_str().is_empty() { name.into() } else { Path::new(name).join(rest) };
                    head = parent;
                }
            }
        }
    }

    /// What the mount of this field will cover; nothing if there is nothing, or if that cannot be seen.
    pub(crate) fn under(&self, field: &str, path: &Path) -> Option<Metadata> {
        let until = self.mounts.iter().rposition(|m| m.field == field)?;
        match self.walk(path, until, &mut |_, _| Ok(())) {
            Ok((_, Spot::Open(_, meta), _)) => Some(meta),
            _ => None,
        }
    }

    /// What is at `path`. `through` is asked about each directory on the way.
    pub(crate) fn find(
        &self,
        path: &Path,
        through: &mut dyn FnMut(&Path, &Metadata) -> Result<(), Lost>,
    ) -> Result<Found<'_>, Lost> {
        let (path, spot, mount) = self.walk(path, self.mounts.len(), through)?;
        match (spot, self.mounts.get(mount)) {
            (Spot::Open(file, meta), Some(mount)) => Ok(Found { file, meta, path, mount }),
            _ => Err(Lost::Unknown),
        }
    }

    /// Walks a path in the tree as it is before mount number `until`.
    fn walk(
        &self,
        path: &Path,
        until: usize,
        through: &mut dyn FnMut(&Path, &Metadata) -> Result<(), Lost>,
    ) -> Result<(PathBuf, Spot, usize), Lost> {
        let mut todo: Vec<OsString> = names(path).rev().collect();
        let mut way = vec![(PathBuf::from("/"), self.topmost(Path::new("/"), 0..until).unwrap_or(0))];
        let mut spots = vec![self.enter(way.first().map_or(0, |w| w.1))?];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if way.len() > 1 {
                    way.pop();
                    spots.pop();
                }
                continue;
            }
            let (Some((here, mount)), Some(spot)) = (way.last(), spots.last()) else {
                return Err(Lost::Unknown);
            };
            if let Spot::Open(_, meta) = spot {
                if !meta.is_dir() {
                    return Err(Lost::Missing);
                }
                through(here, meta)?;
            }
            let path = here.join(&name);
            if let Some(over) = self.topmost(&path, mount + 1..until) {
                way.push((path, over));
                spots.push(self.enter(over)?);
                continue;
            }
            let next = match spot {
                Spot::Open(dir, _) => open(dir, &name)?,
                Spot::Empty if !self.leads_to_a_mount(&path) => return Err(Lost::Missing),
                Spot::Empty => Spot::Empty,
                Spot::Unknown if !self.leads_to_a_mount(&path) => return Err(Lost::Unknown),
                Spot::Unknown => Spot::Unknown,
            };
            if let Spot::Open(file, meta) = &next
                && meta.is_symlink()
            {
                links += 1;
                if links > LINKS {
                    return Err(Lost::Missing);
                }
                let target = look::read_link(file).map_err(|_| Lost::Unknown)?;
                if target.as_bytes().first() == Some(&b'/') {
                    way.truncate(1);
                    spots.truncate(1);
                }
                todo.extend(names(Path::new(&target)).rev());
                continue;
            }
            way.push((path, *mount));
            spots.push(next);
        }
        match (way.pop(), spots.pop()) {
            (Some((path, mount)), Some(spot)) => Ok((path, spot, mount)),
            _ => Err(Lost::Unknown),
        }
    }

    /// The last mount on this very path among these: earlier ones are covered.
    fn topmost(&self, path: &Path, mut among: std::ops::Range<usize>) -> Option<usize> {
        among.rfind(|i| self.mounts.get(*i).is_some_and(|m| m.at == path))
    }

    fn leads_to_a_mount(&self, path: &Path) -> bool {
        self.mounts.iter().any(|m| m.at.starts_with(path))
    }

    fn enter(&self, mount: usize) -> Result<Spot, Lost> {
        match self.mounts.get(mount).map(|m| &m.content) {
            Some(Content::Tree(file)) => {
                let meta = file.metadata().map_err(|_| Lost::Unknown)?;
                Ok(Spot::Open(file.try_clone().map_err(|_| Lost::Unknown)?, meta))
            }
            Some(Content::Empty) => Ok(Spot::Empty),
            Some(Content::Unknown) | None => Ok(Spot::Unknown),
        }
    }
}

impl Found<'_> {
    /// Whether the mount it is on lets no program be executed.
    pub(crate) fn noexec(&self) -> bool {
        match self.mount.exec {
            Some(exec) => !exec,
            None => look::mount_flags(&self.file).is_ok_and(|f| f & libc::ST_NOEXEC != 0),
        }
    }
}

/// What the options say on executing: nothing, if they leave it as it is.
fn executable(options: &MountOptions) -> Option<bool> {
    if (options.set | options.set_recursive) & attr::NOEXEC != 0 {
        Some(false)
    } else if (options.clear | options.clear_recursive) & attr::NOEXEC != 0 {
        Some(true)
    } else {
        None
    }
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn open(dir: &File, name: &OsString) -> Result<Spot, Lost> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Lost::Missing,
        _ => Lost::Unknown,
    };
    let name = CString::new(name.as_bytes()).map_err(|_| Lost::Missing)?;
    let file = look::place_at(dir, &name).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    Ok(Spot::Open(file, meta))
}
