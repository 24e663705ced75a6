//! tmpcopyup: a new tmpfs gets what the directory holds that it will cover.
//!
//! What must hold: the source is the image's, and whoever writes there may change it meanwhile. Nothing of it
//! is reached but below the covered directory's descriptor: directories by `openat2(RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS)`, what lies in them by one name that is not followed. Links are copied as
//! links. The tmpfs is not attached yet, nobody else can reach it. A directory is entered only if it was
//! made here, so that the walk ends; where it is stands in a path of bounded length and an array of
//! bounded depth, not on the stack of calls.

use crate::fault::Detail;
use crate::kernel::*;
use crate::sys::{self, Errno, Fd, Stat, Stop};
use core::ffi::CStr;

/// As deep as directories may lie in one another.
const DEPTH: usize = 256;
const BENEATH: u64 = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

/// Where the walk is: the path below the covered directory, with a NUL behind it.
struct Place {
    path: [u8; 4096],
    len: usize,
}

/// Copies everything below `from`, which is a directory, into `to`. On a stack of its own: a frame has all of its pages
/// touched, and this one has seven.
#[inline(never)]
pub fn copy(from: &Fd, to: &Fd) -> Result<(), Stop> {
    let mut place = Place { path: [0; 4096], len: 0 };
    walk(&mut place, from, to).map_err(|e| Stop::explained(e, Detail::CopyUp, place.bytes()))
}

fn walk(place: &mut Place, from: &Fd, to: &Fd) -> Result<(), Errno> {
    // For each directory on the way: where its next entry is.
    let mut next = [0u64; DEPTH];
    let mut depth = 0;
    loop {
        let source = place.open(from, O_RDONLY | O_DIRECTORY)?;
        let target = place.open(to, O_PATH | O_DIRECTORY)?;
        let slot = next.get_mut(depth).ok_or(Errno(ENAMETOOLONG))?;
        if directory(place, &source, &target, slot)? {
            depth += 1;
            if let Some(slot) = next.get_mut(depth) {
                *slot = 0;
            }
        } else if depth == 0 {
            return Ok(());
        } else {
            depth -= 1;
            place.leave();
        }
    }
}

/// Copies the entries of one directory from `next` on. Stops at a directory, which then is the place.
fn directory(place: &mut Place, source: &Fd, target: &Fd, next: &mut u64) -> Result<bool, Errno> {
    let mut batch = [0u8; 4096];
    sys::seek(source, *next)?;
    loop {
        let n = sys::getdents(source, &mut batch)?;
        let mut rest = batch.get(..n).unwrap_or(b"");
        if rest.is_empty() {
            return Ok(false);
        }
        while let Some((offset, name, behind)) = split(rest) {
            rest = behind;
            *next = offset;
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match entry(source, target, name) {
                Ok(false) => {}
                Ok(true) => return place.enter(name).map(|()| true),
                Err(e) => {
                    // For the message only.
                    let _ = place.enter(name);
                    return Err(e);
                }
            }
        }
    }
}

/// The first of a batch of `struct linux_dirent64`: where the next one is, the name, the rest.
fn split(batch: &[u8]) -> Option<(u64, &CStr, &[u8])> {
    let offset = u64::from_ne_bytes(batch.get(8..16)?.try_into().ok()?);
    let length = u16::from_ne_bytes(batch.get(16..18)?.try_into().ok()?);
    let (this, rest) = batch.split_at_checked(usize::from(length).max(20))?;
    Some((offset, CStr::from_bytes_until_nul(this.get(19..)?).ok()?, rest))
}

/// Copies one entry. Says whether it is a directory that was made.
fn entry(source: &Fd, target: &Fd, name: &CStr) -> Result<bool, Errno> {
    let there = match sys::open_name(source, name, O_PATH) {
        // It went away meanwhile.
        Err(Errno(ENOENT)) => return Ok(false),
        there => there?,
    };
    let stat = sys::stat(there.raw())?;
    let kind = stat.mode & S_IFMT;
    let made = match kind {
        S_IFDIR => sys::mkdir(target, name, 0o700).map(|()| stat),
        S_IFLNK => link(source, target, name).map(|()| stat),
        S_IFREG => file(source, target, name),
        _ => sys::mknod(target, name, kind | 0o600, stat.rdev).map(|()| stat),
    };
    let stat = match made {
        // A directory that changes while it is read may show a name twice.
        Err(Errno(EEXIST)) => return Ok(false),
        made => made?,
    };
    match sys::chown_name(target, name, stat.uid, stat.gid) {
        // The owner has no number in this user namespace.
        Ok(()) | Err(Errno(EINVAL)) => {}
        Err(e) => return Err(e),
    }
    if kind != S_IFLNK {
        sys::chmod_name(target, name, stat.mode & 0o7777)?;
    }
    Ok(kind == S_IFDIR)
}

fn link(source: &Fd, target: &Fd, name: &CStr) -> Result<(), Errno> {
    let mut text = [0u8; 4096];
    let n = sys::readlink(source, name, &mut text)?;
    if n >= text.len() {
        return Err(Errno(ENAMETOOLONG));
    }
    let text = CStr::from_bytes_until_nul(&text).map_err(|_| Errno(ENAMETOOLONG))?;
    sys::symlink(text, target, name)
}

/// Copies the content of a file, and says what was opened: it may be another file than was looked at.
fn file(source: &Fd, target: &Fd, name: &CStr) -> Result<Stat, Errno> {
    // A FIFO that takes the file's place does not block.
    let from = sys::open_name(source, name, O_RDONLY | O_NONBLOCK | O_NOCTTY)?;
    let stat = sys::stat(from.raw())?;
    if stat.mode & S_IFMT != S_IFREG {
        return Err(Errno(EAGAIN));
    }
    let to = sys::create(target, name)?;
    let mut buf = [0u8; 16384];
    loop {
        let n = sys::read(from.raw(), &mut buf)?;
        let mut rest = buf.get(..n).unwrap_or(b"");
        if rest.is_empty() {
            return Ok(stat);
        }
        while !rest.is_empty() {
            let n = sys::write(&to, rest)?;
            rest = rest.get(n..).unwrap_or(b"");
        }
    }
}

impl Place {
    fn bytes(&self) -> &[u8] {
        self.path.get(..self.len).unwrap_or(b"")
    }

    /// Opens this place below `top`.
    fn open(&self, top: &Fd, flags: u64) -> Result<Fd, Errno> {
        let path = CStr::from_bytes_until_nul(&self.path).map_err(|_| Errno(ENAMETOOLONG))?;
        let path = if path.is_empty() { c"." } else { path };
        sys::openat2(top.raw(), path, flags, 0, BENEATH)
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Errno> {
        let slash = usize::from(self.len != 0);
        let end = self.len + slash + name.count_bytes();
        // One byte stays for the NUL.
        if end >= self.path.len() {
            return Err(Errno(ENAMETOOLONG));
        }
        if let Some(part) = self.path.get_mut(self.len..end) {
            let (separator, last) = part.split_at_mut(slash);
            separator.fill(b'/');
            last.copy_from_slice(name.to_bytes());
        }
        self.len = end;
        Ok(())
    }

    fn leave(&mut self) {
        let end = self.bytes().iter().rposition(|&b| b == b'/').unwrap_or(0);
        if let Some(part) = self.path.get_mut(end..self.len) {
            part.fill(0);
        }
        self.len = end;
    }
}
