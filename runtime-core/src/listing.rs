//! Every container of a state root, one after the other: what a list shows of each, in as few calls as that takes.
//!
//! What must hold: what is said of a container is what its handle ([`Container`]) would say, of some moment while it is
//! looked at; no descriptor stays open from one container to the next but those of the state root and of a hierarchy of
//! cgroups. Nothing is locked: a state is put in place whole.
//!
//! The files of a container are opened as two components below the state root's descriptor, without a descriptor of its
//! directory: nobody but the caller makes names in the state root, and of those only directories are taken for
//! containers. What a descriptor of the directory would ensure, that all files are of one container, is ensured by its state:
//! as long as that has a name, no other container has come in its place.

use crate::cgroup::freezer::{self, Hierarchy};
use crate::container::{Container, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;
use crate::state::brief::{self, Brief};
use crate::state::{self, StateDir};
use crate::sys;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Bytes of a state that are read at once. Those of most have a tenth.
const ROOM: usize = 16 << 10;

/// The state root while its containers are looked at.
struct Place<'a> {
    runtime: &'a Runtime,
    dir: File,
    hierarchy: RefCell<Option<Hierarchy>>,
}

/// Where a state was read.
struct Seat<'a> {
    place: &'a Place<'a>,
    /// The name of the directory.
    id: &'a str,
    /// The state.
    file: File,
}

/// One of many containers, without a handle of it.
pub struct Listed<'a>(Source<'a>);

enum Source<'a> {
    /// A state as this version writes it.
    Brief(Brief<'a>, Seat<'a>),
    /// Any other that can be read.
    Whole(Box<Container>),
}

/// See [`Runtime::each`].
pub(crate) fn each<E: From<Error>>(
    runtime: &Runtime,
    mut see: impl FnMut(&str, Result<Listed<'_>>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let ids = runtime.ids()?;
    if ids.is_empty() {
        return Ok(());
    }
    let root = runtime.state_root();
    let dir = sys::look::place(root).map_err(|e| Error::io(format!("open({})", root.display()), &e))?;
    let place = Place { runtime, dir, hierarchy: RefCell::new(None) };
    let mut bytes = vec![0; ROOM];
    for id in &ids {
        see(id, place.look(id, &mut bytes))?;
    }
    Ok(())
}

impl<'a> Place<'a> {
    fn look(&'a self, id: &'a str, bytes: &'a mut [u8]) -> Result<Listed<'a>> {
        let failed = |e| self.failed(id, "state.json", &e);
        match sys::look::open_below(&self.dir, &[id, "state.json"], libc::O_RDONLY) {
            Ok(file) => {
                let len = sys::look::read_once(&file, bytes).map_err(failed)?;
                // A short read is nearly always the end of the file. Where it is not, or there is more than room for, a
                // part is no state.
                if let Some(brief) = brief::read(bytes.get(..len).unwrap_or_default()) {
                    return Ok(Listed(Source::Brief(brief, Seat { place: self, id, file })));
                }
            }
            // Whoever opens the container learns why, and what to do about it.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => {}
            Err(e) => return Err(failed(e)),
        }
        Ok(Listed(Source::Whole(Box::new(self.open(id)?))))
    }

    fn open(&self, id: &str) -> Result<Container> {
        Container::open(StateDir::open(self.runtime.state_root(), id)?)
    }

    fn failed(&self, id: &str, name: &str, e: &std::io::Error) -> Error {
        Error::io(format!("open({})", self.runtime.state_root().join(id).join(name).display()), e)
    }
}

impl Seat<'_> {
    /// What the container is doing. [`Container::status`] asks in another order; here the fifo comes first, as who holds
    /// it lives: nobody but init has it open for reading. Its creator closes it before there is a state, and a process
    /// that ends closes what it has before it can be seen to have exited.
    fn status(&self, of: &Brief<'_>) -> Result<Status> {
        let flags = libc::O_WRONLY | libc::O_NONBLOCK;
        let left = match sys::look::open_below(&self.place.dir, &[self.id, "start"], flags) {
            Ok(_) => None,
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Some(true),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Some(false),
            Err(e) => return Err(self.place.failed(self.id, "start", &e)),
        };
        let named = || {
            let named = sys::look::has_name(&self.file);
            named.map_err(|e| Error::io(format!("fstat(state of {})", self.id), &e))
        };
        // Without a name it was deleted meanwhile, and the fifo may be another container's.
        let lives = left.is_none() && named()?;
        if !lives && state::process(of.pid, of.pidfd_inode, of.start_time)?.is_none() {
            return Ok(Status::Stopped);
        }
        if freezer::one_is_frozen(&of.cgroups, &mut self.place.hierarchy.borrow_mut())? {
            return Ok(Status::Paused);
        }
        Ok(match left {
            None => Status::Created,
            // It may have ended before it was started, or run since the fifo was looked at.
            Some(true) if sys::is_ending(of.pid) => match self.place.open(self.id) {
                Ok(container) => container.status()?,
                Err(e) if e.kind() == ErrorKind::NotFound => Status::Stopped,
                Err(e) => return Err(e),
            },
            Some(_) => Status::Running,
        })
    }
}

impl Listed<'_> {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.0 {
            Source::Brief(b, ..) => b.id,
            Source::Whole(c) => c.id(),
        }
    }

    /// The bundle's directory.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        match &self.0 {
            Source::Brief(b, ..) => Path::new(b.bundle),
            Source::Whole(c) => c.bundle(),
        }
    }

    /// The root filesystem on the host.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        match &self.0 {
            Source::Brief(b, ..) => Path::new(b.rootfs),
            Source::Whole(c) => c.rootfs(),
        }
    }

    /// When it was created, RFC 3339.
    #[must_use]
    pub fn created_at(&self) -> &str {
        match &self.0 {
            Source::Brief(b, ..) => b.created,
            Source::Whole(c) => c.created_at(),
        }
    }

    /// The annotations of its config.
    #[must_use]
    pub fn annotations(&self) -> Cow<'_, BTreeMap<String, String>> {
        match &self.0 {
            // That they are texts was seen before.
            Source::Brief(b, ..) => Cow::Owned(serde_json::from_str(b.annotations).unwrap_or_default()),
            Source::Whole(c) => Cow::Borrowed(c.annotations()),
        }
    }

    /// The uid that created it.
    #[must_use]
    pub fn owner(&self) -> u32 {
        match &self.0 {
            Source::Brief(b, ..) => b.owner,
            Source::Whole(c) => c.owner(),
        }
    }

    /// The pid that its process has or had, as its creator saw it.
    #[must_use]
    pub fn started_pid(&self) -> u32 {
        match &self.0 {
            Source::Brief(b, ..) => b.pid,
            Source::Whole(c) => c.started_pid(),
        }
    }

    /// What it is doing now.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn status(&self) -> Result<Status> {
        match &self.0 {
            Source::Brief(b, seat) => seat.status(b),
            Source::Whole(c) => c.status(),
        }
    }
}

impl std::fmt::Debug for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listed").field(&self.id()).finish()
    }
}
