//! The fault page: one page of a file, shared between init and the host.
//!
//! Init stores the number of the step before it begins it and, in the one function through which
//! all its system calls go, the call's number and arguments before making it. The stores cost no
//! system call and survive SIGKILL, so the host can always say how far init came.

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Size of the page in bytes.
pub const SIZE: usize = 4096;
const TEXT: usize = 1792;
const STRINGS: usize = 1792;

/// What init is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Phase {
    /// Nothing was stored yet.
    Unborn = 0,
    /// Carrying out a step.
    Running = 1,
    /// A step failed; the rest of the page says why.
    Failed = 2,
    /// Waiting for `start`.
    Waiting = 3,
    /// In the last execve.
    Exec = 4,
}

/// Why a step failed, where an errno alone would mislead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Detail {
    /// The errno says it.
    None = 0,
    /// The script made no sense.
    BadScript = 1,
    /// A directory was to be mounted on a file, or the reverse.
    TypeMismatch = 2,
    /// `proc` or `sysfs` on something that is not an ordinary directory.
    NotOrdinary = 3,
    /// No candidate for the program exists.
    NotFound = 4,
    /// A candidate exists and may not be executed.
    NotExecutable = 5,
    /// A file exists where a device should be and is not that device.
    DeviceMismatch = 6,
    /// The text is what the filesystem said through its fsopen() fd.
    FsLog = 7,
    /// The host went away.
    HostGone = 8,
    /// The null device of the host is not the null device.
    BadNull = 9,
    /// Text and errno stand for themselves.
    Text = 10,
    /// Something else than a procfs was to be bound over /proc.
    NotProc = 11,
    /// A hook failed. The text begins with how it ended, see [`ended`]; its output follows.
    Hook = 12,
    /// Copying what a tmpfs covers failed at the path in the text.
    CopyUp = 13,
    /// A mount namespace to be joined is the host's.
    HostMounts = 14,
    /// A filesystem to be changed is not the container's.
    Foreign = 15,
}

/// How a hook ended: the first four bytes of the text of [`Detail::Hook`]; the next four are its exit
/// status or signal, all in the order of the machine.
pub mod ended {
    /// It was killed because its time was over.
    pub const TIMEOUT: u32 = 0;
    /// It exited (`CLD_EXITED`).
    pub const EXITED: u32 = 1;
    /// A signal killed it (`CLD_KILLED`).
    pub const KILLED: u32 = 2;
    /// A signal killed it and it left a core (`CLD_DUMPED`).
    pub const DUMPED: u32 = 3;
}

impl Detail {
    /// The detail with this number; [`Detail::None`] for an unknown one.
    #[must_use]
    pub fn from_u32(n: u32) -> Detail {
        use Detail::*;
        [
            None,
            BadScript,
            TypeMismatch,
            NotOrdinary,
            NotFound,
            NotExecutable,
            DeviceMismatch,
            FsLog,
            HostGone,
            BadNull,
            Text,
            NotProc,
            Hook,
            CopyUp,
            HostMounts,
            Foreign,
        ]
        .get(n as usize)
        .copied()
        .unwrap_or(None)
    }
}

/// The page itself. Every field is an atomic because another process reads it at any time.
#[repr(C)]
pub struct Page {
    /// A [`Phase`].
    pub phase: AtomicU32,
    /// The step that is carried out, from 1.
    pub step: AtomicU32,
    /// A [`Detail`].
    pub detail: AtomicU32,
    /// The errno of the failed call, 0 if none.
    pub errno: AtomicI32,
    /// Number of the last system call.
    pub nr: AtomicU64,
    /// Its arguments.
    pub args: [AtomicU64; 6],
    /// Minor page faults before the program.
    pub faults: AtomicU64,
    /// How many bytes of `text` are used.
    pub text_len: AtomicU32,
    /// How many bytes of `strings` are used.
    pub strings_len: AtomicU32,
    text: [AtomicU8; TEXT],
    /// The string arguments of the call that failed last: the argument's index, the bytes, a NUL.
    strings: [AtomicU8; STRINGS],
}

const _: () = assert!(core::mem::size_of::<Page>() <= SIZE);

/// Stores bytes from `at` on as far as there is room, and says where they end.
fn store(slots: &[AtomicU8], at: usize, bytes: &[u8]) -> usize {
    let mut n = at;
    for &b in bytes {
        if let Some(slot) = slots.get(n) {
            slot.store(b, Ordering::Relaxed);
            n += 1;
        }
    }
    n
}

impl Page {
    /// Sets the detail's text.
    pub fn set_text(&self, bytes: &[u8]) {
        let n = store(&self.text, 0, bytes);
        self.text_len.store(n as u32, Ordering::Relaxed);
    }

    /// Forgets the string arguments.
    pub fn clear_strings(&self) {
        self.strings_len.store(0, Ordering::Relaxed);
    }

    /// Appends a string argument.
    pub fn push_string(&self, index: u8, bytes: &[u8]) {
        let mut n = self.strings_len.load(Ordering::Relaxed) as usize;
        n = store(&self.strings, n, &[index]);
        n = store(&self.strings, n, bytes);
        n = store(&self.strings, n, &[0]);
        self.strings_len.store(n as u32, Ordering::Relaxed);
    }
}

/// A copy of the page, taken by the host from the file's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Raw [`Phase`].
    pub phase: u32,
    /// The step, from 1; 0 before the first.
    pub step: u32,
    /// Why, beside the errno.
    pub detail: Detail,
    /// The errno or 0.
    pub errno: i32,
    /// The last system call's number.
    pub nr: u64,
    /// The last system call's arguments.
    pub args: [u64; 6],
    /// Minor page faults before the program.
    pub faults: u64,
    /// The detail's text.
    pub text: &'a [u8],
    /// The string arguments: index byte, bytes, NUL.
    pub strings: &'a [u8],
}

/// Reads a page from bytes that may be anything.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let u32_at =
        |at: usize| -> Option<u32> { Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?)) };
    let u64_at =
        |at: usize| -> Option<u64> { Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
    let mut args = [0; 6];
    for (i, a) in args.iter_mut().enumerate() {
        *a = u64_at(core::mem::offset_of!(Page, args) + 8 * i)?;
    }
    let part = |start: usize, len: usize, room: usize| -> Option<&[u8]> {
        bytes.get(start..start + (u32_at(len)? as usize).min(room))
    };
    Some(Record {
        phase: u32_at(core::mem::offset_of!(Page, phase))?,
        step: u32_at(core::mem::offset_of!(Page, step))?,
        detail: Detail::from_u32(u32_at(core::mem::offset_of!(Page, detail))?),
        errno: u32_at(core::mem::offset_of!(Page, errno))? as i32,
        nr: u64_at(core::mem::offset_of!(Page, nr))?,
        args,
        faults: u64_at(core::mem::offset_of!(Page, faults))?,
        text: part(core::mem::offset_of!(Page, text), core::mem::offset_of!(Page, text_len), TEXT)?,
        strings: part(
            core::mem::offset_of!(Page, strings),
            core::mem::offset_of!(Page, strings_len),
            STRINGS,
        )?,
    })
}
