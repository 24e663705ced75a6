//! Taking the host's procfs and sysfs out of a mount namespace that keeps its old root.
//!
//! What must hold: when the container's root was moved over the host's, no full mount of either is left beside it. One
//! that is left lets any process inside, in a user namespace of its own, mount a new one without the container's
//! masks: the kernel looks for a mount in the namespace that shows everything, whether a path leads to it or not
//! (`mount_too_revealing`). What cannot be taken away is covered; what can be neither is an error.

use crate::boot::Ctx;
use crate::fault::Detail;
use crate::kernel::*;
use crate::sys::{self, Errno, Fd, Stop};
use core::ffi::CStr;

/// More than a mount namespace may have by default (fs.mount-max).
const MOST: usize = 100_000;
/// Room for a part of mountinfo, and more than one line of it can have.
const ROOM: usize = 128 << 10;
/// Room for a path with its NUL.
const PATH: usize = 4096;

/// The mount table, and memory to read it with.
struct Table {
    file: Fd,
    buffer: &'static mut [u8],
}

/// Takes away what the clone of the root is about to cover: it was cloned with the root.
pub fn below(path: &CStr) -> Result<(), Stop> {
    let file = match sys::open_host(c"/proc/self/mountinfo", O_RDONLY) {
        // Without a procfs on /proc the host hides what it has.
        Err(Errno(ENOENT)) => return Ok(()),
        r => r?,
    };
    let mut top = [0u8; PATH];
    canonical(path, &mut top)?;
    sweep(&mut Table { file, buffer: sys::buffer(ROOM)? }, &top, None)
}

/// Takes away what is not the container's, when nothing of the host is needed any more.
pub fn beside(ctx: &Ctx, root: &Fd) -> Result<(), Stop> {
    // By a link of the image a volume may lie over the directory of this process, with a table of its own.
    let own = match &ctx.proc {
        Some(proc) => {
            let resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV;
            sys::openat2(proc.raw(), c"self/mountinfo", O_RDONLY, 0, resolve)
        }
        None => sys::open_host(c"/proc/self/mountinfo", O_RDONLY),
    };
    let mut table = Table { file: own?, buffer: sys::buffer(ROOM)? };
    let mut top = [0u8; PATH];
    let own = sys::mount_id(root)?;
    if !table.find(&mut top, |line| line.id == own)? {
        return Err(Stop::detail(Detail::Text, b"the root is not in the mount table"));
    }
    sweep(&mut table, &top, Some(own))
}

/// The path of a host's directory without links.
fn canonical(path: &CStr, out: &mut [u8; PATH]) -> Result<(), Stop> {
    let place = sys::open_host(path, O_PATH | O_DIRECTORY)?;
    let list = sys::open_host(c"/proc/self/fd", O_PATH | O_DIRECTORY)?;
    let (mut name, mut at, mut n) = ([0u8; 12], 11, place.raw());
    while n > 0 || at == 11 {
        at -= 1;
        name[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    let name = CStr::from_bytes_until_nul(name.get(at..).unwrap_or(b"\0")).unwrap_or(c"");
    let length = sys::readlink(&list, name, out)?;
    match out.get_mut(length) {
        Some(end) => *end = 0,
        None => return Err(Errno(ENAMETOOLONG).into()),
    }
    Ok(())
}

/// Takes away what lies below a path, or, of a root that is mounted there, what does not.
fn sweep(table: &mut Table, top: &[u8; PATH], root: Option<u64>) -> Result<(), Stop> {
    let mut path = [0u8; PATH];
    let mut covered = 0;
    for _ in 0..MOST {
        let mut passed = 0;
        let found = table.find(&mut path, |line| {
            let is = line.reveals && line.is_below(top) == root.is_none();
            passed += usize::from(is);
            is && passed > covered
        })?;
        if !found {
            return Ok(());
        }
        let Ok(place) = CStr::from_bytes_until_nul(&path) else {
            return Err(Stop::detail(Detail::BadScript, b"path"));
        };
        match sys::unmount(place) {
            Err(Errno(EINVAL | EPERM)) => {
                cover(place)?;
                covered += 1;
            }
            r => r?,
        }
    }
    Err(Stop::detail(Detail::Text, b"the mount table has no end"))
}

/// Covers what is locked to the namespace that it was copied from.
fn cover(place: &CStr) -> Result<(), Stop> {
    let target = sys::open_host(place, O_PATH | O_DIRECTORY)?;
    // Otherwise something else lies over it, and it would stay as it is.
    if !matches!(sys::fs_magic(&target)?, PROC_MAGIC | SYSFS_MAGIC) {
        return Err(Stop::explained(Errno(EBUSY), Detail::Text, place.to_bytes()));
    }
    let fs = sys::fsopen(c"tmpfs")?;
    sys::fsconfig(&fs, c"mode", Some(c"0555"))?;
    sys::fscreate(&fs)?;
    let attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let empty = sys::fsmount(&fs, attr)?;
    Ok(sys::attach(&empty, &target, c"")?)
}

/// What a line of mountinfo says.
struct Line<'a> {
    id: u64,
    /// As it is written, with `\040` for a blank.
    place: &'a [u8],
    /// Whether it is a whole procfs or sysfs.
    reveals: bool,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let mut words = line.split(|b| *b == b' ');
        let id = words.next()?.iter().fold(0u64, |n, b| n * 10 + u64::from(b.wrapping_sub(b'0')));
        let (_parent, _device, root, place) = (words.next()?, words.next()?, words.next()?, words.next()?);
        words.find(|word| *word == b"-")?;
        let kind = words.next()?;
        Some(Line { id, place, reveals: root == b"/" && (kind == b"proc" || kind == b"sysfs") })
    }

    /// The mount point, as a path with its NUL. Too long a one is none.
    fn path(&self, out: &mut [u8; PATH]) -> Option<()> {
        let (mut rest, mut at) = (self.place, 0);
        while let Some((&first, tail)) = rest.split_first() {
            let (byte, tail) = match (first, tail) {
                (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                    ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
                }
                _ => (first, tail),
            };
            *out.get_mut(at)? = byte;
            (rest, at) = (tail, at + 1);
        }
        *out.get_mut(at)? = 0;
        Some(())
    }

    /// Whether its mount point is this path, which ends with a NUL, or lies below it.
    fn is_below(&self, top: &[u8; PATH]) -> bool {
        let mut path = [0u8; PATH];
        if self.path(&mut path).is_none() {
            return false;
        }
        let length = top.iter().position(|b| *b == 0).unwrap_or(0);
        // The root is the path of everything.
        let length = if top.get(..length) == Some(b"/") { 0 } else { length };
        path.get(..length) == top.get(..length) && matches!(path.get(length), Some(0 | b'/'))
    }
}

impl Table {
    /// The mount point of the first line that is wanted; whether there is one.
    fn find(
        &mut self,
        path: &mut [u8; PATH],
        mut wanted: impl FnMut(&Line<'_>) -> bool,
    ) -> Result<bool, Stop> {
        let odd = || Stop::detail(Detail::Text, b"/proc/self/mountinfo has another form");
        sys::seek(&self.file, 0)?;
        let mut used = 0;
        loop {
            let n = match self.buffer.get_mut(used..) {
                Some(room) if !room.is_empty() => sys::read(self.file.raw(), room)?,
                _ => return Err(odd()),
            };
            if n == 0 {
                return if used == 0 { Ok(false) } else { Err(odd()) };
            }
            used += n;
            let mut start = 0;
            while let Some(length) =
                self.buffer.get(start..used).and_then(|rest| rest.iter().position(|b| *b == b'\n'))
            {
                let line = self.buffer.get(start..start + length).and_then(Line::parse).ok_or_else(odd)?;
                if wanted(&line) {
                    return line.path(path).map(|()| true).ok_or_else(odd);
                }
                start += length + 1;
            }
            self.buffer.copy_within(start..used, 0);
            used -= start;
        }
    }
}
