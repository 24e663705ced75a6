#![allow(unsafe_code)]
//! bpf(2), as far as the device program of a v2 cgroup needs it.
//!
//! What must hold: the attributes of each command are laid out as in linux/bpf.h, are zero where
//! nothing is said, and have room for all that the kernel writes back; all that a pointer in them
//! points to lives, and has the length given beside it, until the call returns. Every descriptor
//! that is returned is close-on-exec.
//!
//! Loading a program wants CAP_BPF and CAP_NET_ADMIN, getting one by its id CAP_SYS_ADMIN, all in
//! the first user namespace. Elsewhere the calls fail with EPERM.

use std::ffi::{CStr, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const BPF_PROG_LOAD: c_int = 5;
const BPF_PROG_ATTACH: c_int = 8;
const BPF_PROG_GET_FD_BY_ID: c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_PROG_QUERY: c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// The most programs of one type that a cgroup has (`BPF_CGROUP_MAX_PROGS`).
const MAX_ATTACHED: usize = 64;

/// The name by which tools show the program; 15 bytes and a NUL.
const NAME: [u8; 16] = *b"oxrun_devices\0\0\0";

const LICENSE: &CStr = c"Apache-2.0";

/// Room for what the verifier says, and how much of its end goes into an error.
const LOG_SIZE: usize = 1 << 20;
const LOG_LINES: usize = 12;

/// Attributes of `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Attributes of `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}

/// Attributes of `BPF_PROG_QUERY`. Newer kernels write the revision whatever size they are told;
/// the reserve is for what may follow it.
#[repr(C)]
struct Query {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
    reserve: [u64; 8],
}

/// Attributes of `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct FdById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Attributes of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    bpf_fd: RawFd,
    info_len: u32,
    info: u64,
}

/// What is told of a program, up to its name.
#[repr(C)]
struct Info {
    before: [u64; 8],
    name: [u8; 16],
}

/// One call of bpf(2).
///
/// # Safety
///
/// `T` must be the attributes of `command`, without padding, and large enough for all that the
/// kernel writes back. Each pointer in it must be good for what the command reads or writes there.
unsafe fn bpf<T>(command: c_int, attr: &mut T) -> io::Result<c_long> {
    // SAFETY: `attr` is a valid object of the size given; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes over a descriptor that bpf(2) returned.
///
/// # Safety
///
/// `fd` must be what a command that makes a descriptor has just returned.
unsafe fn own(fd: c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: by the caller's promise it is open and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a device program (see `cgroup::device_bpf`).
///
/// # Errors
///
/// The error of bpf(2). For EINVAL and EACCES, with which the verifier refuses a program, it has
/// the same kind and the end of the verifier's log in its text, but no errno any more.
pub(crate) fn load(program: &[u64]) -> io::Result<OwnedFd> {
    let error = match load_once(program, &mut []) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => e,
        done => return done,
    };
    let mut log = vec![0; LOG_SIZE];
    // The log is wanted, not the result, unless this time the program is taken.
    if let Ok(fd) = load_once(program, &mut log) {
        return Ok(fd);
    }
    let text = log_end(&log);
    if text.is_empty() {
        return Err(error);
    }
    Err(io::Error::new(error.kind(), format!("{error}; the verifier says: {text}")))
}

/// Loads a program; a log buffer that is not empty gets the verifier's log.
fn load_once(program: &[u64], log: &mut [u8]) -> io::Result<OwnedFd> {
    let count = |n: usize| u32::try_from(n).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG));
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: count(program.len())?,
        insns: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: count(log.len())?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name: NAME,
        prog_ifindex: 0,
        expected_attach_type: BPF_CGROUP_DEVICE,
    };
    // The verifier gives up with EAGAIN when a signal is pending; it has run by then.
    for _ in 0..4 {
        // SAFETY: program, license and log outlive the call and have the lengths given; an
        // instruction is 8 bytes; the kernel writes to the log only.
        match unsafe { bpf(BPF_PROG_LOAD, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {}
            // SAFETY: BPF_PROG_LOAD returns a new descriptor.
            result => return unsafe { own(result?) },
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// The last lines of a log that a NUL ends.
fn log_end(log: &[u8]) -> String {
    let text = log.split(|b| *b == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Attaches a device program to a cgroup, beside those that are there or in the place of one.
/// A request is then allowed if all programs of the cgroup and of its parents allow it. To replace
/// is one step: at no time neither the old nor the new program decides.
///
/// # Errors
///
/// The error of bpf(2): ENOENT if the program to replace is not attached to this cgroup, EPERM if
/// the cgroup or a parent has a program that was attached without `BPF_F_ALLOW_MULTI`.
pub(crate) fn attach(
    cgroup: BorrowedFd<'_>,
    prog: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: prog.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd()),
    };
    // SAFETY: the attributes hold no pointer and nothing is written back.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// The device programs that are attached to a cgroup itself, in the kernel's order.
///
/// # Errors
///
/// The error of bpf(2). A program that goes away meanwhile is left out.
pub(crate) fn attached(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MAX_ATTACHED];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_ATTACHED as u32,
        padding: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
        reserve: [0; 8],
    };
    // SAFETY: `ids` outlives the call and has as many elements as `prog_cnt` says; what is written
    // back lies before the reserve.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    let count = (attr.prog_cnt as usize).min(MAX_ATTACHED);
    let mut programs = Vec::with_capacity(count);
    for &prog_id in &ids[..count] {
        match by_id(prog_id) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            program => programs.push(program?),
        }
    }
    Ok(programs)
}

fn by_id(prog_id: u32) -> io::Result<OwnedFd> {
    let mut attr = FdById { prog_id, next_id: 0, open_flags: 0 };
    // SAFETY: the attributes hold no pointer and nothing is written back.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: BPF_PROG_GET_FD_BY_ID returns a new descriptor.
    unsafe { own(fd) }
}

/// Whether a program has the name that [`load`] gives. One that cannot be asked is somebody else's.
pub(crate) fn is_ours(prog: BorrowedFd<'_>) -> bool {
    let mut info = Info { before: [0; 8], name: [0; 16] };
    let mut attr =
        GetInfo { bpf_fd: prog.as_raw_fd(), info_len: size_of::<Info>() as u32, info: &raw mut info as u64 };
    // SAFETY: `info` outlives the call and has the length given. It is zero: no pointer in it asks the
    // kernel to write elsewhere.
    let told = unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) };
    told.is_ok() && info.name == NAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn attributes_lie_as_in_the_kernel_header() {
        assert_eq!(offset_of!(Load, license), 16);
        assert_eq!(offset_of!(Load, log_buf), 32);
        assert_eq!(offset_of!(Load, prog_name), 48);
        assert_eq!(offset_of!(Load, expected_attach_type), 68);
        assert_eq!(size_of::<Load>(), 72);
        assert_eq!(offset_of!(Attach, replace_bpf_fd), 16);
        assert_eq!(size_of::<Attach>(), 20);
        assert_eq!(offset_of!(Query, prog_ids), 16);
        assert_eq!(offset_of!(Query, prog_cnt), 24);
        assert_eq!(offset_of!(Query, prog_attach_flags), 32);
        assert_eq!(offset_of!(Query, revision), 56);
        assert_eq!(size_of::<Query>(), 128);
        assert_eq!(size_of::<FdById>(), 12);
        assert_eq!(size_of::<GetInfo>(), 16);
        assert_eq!(offset_of!(Info, name), 64);
        assert_eq!(size_of::<Info>(), 80);
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines_before_the_nul() {
        let mut log: Vec<u8> = (0..100).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        log.extend([0, b'x', b'y']);
        let end = log_end(&log);
        assert!(end.starts_with("line 88\n") && end.ends_with("\nline 99"), "{end}");
        assert_eq!(log_end(&[0; 8]), "");
    }
}
