//! The only place of this library with `unsafe`: thin wrappers around system calls that the standard
//! library does not have.
//!
//! What must hold: every descriptor that is made is close-on-exec and owned; nothing here changes the calling
//! process (its cwd, masks, ids, limits, dispositions, descriptors); no pid is signalled or waited for but
//! through a pidfd.
#![allow(unsafe_code)]

pub(crate) mod agent;
pub(crate) mod bpf;
pub(crate) mod look;
mod mntns;
pub(crate) mod netlink;
mod procfs;
mod spawn;
mod stream;
mod wait;

pub(crate) use mntns::MountNamespace;
pub(crate) use spawn::{Birth, spawn};
pub(crate) use stream::connect;
pub use wait::ExitStatus;
pub(crate) use wait::{wait, wait_within};

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

fn check(r: libc::c_long) -> io::Result<libc::c_long> {
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}

fn owned(r: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(r)? as RawFd;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Reads a file of /proc, /sys or a cgroup: such a file has no size to ask for and nearly always fits into one
/// read, where growing a small buffer takes ten.
pub(crate) fn read_file(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let file = std::fs::File::open(path).or_else(|e| procfs::open_instead(path, e))?;
    let mut bytes = Vec::new();
    read_all(&file, &mut bytes, 4096, usize::MAX)?;
    String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// The same of a file that the kernel writes in one piece, such as /proc/PID/stat or a file of a cgroup with one value: a read
/// that is shorter than its room has come to the end, so that no other one has to find it.
pub(crate) fn read_record(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let file = std::fs::File::open(path).or_else(|e| procfs::open_instead(path, e))?;
    let mut bytes = Vec::with_capacity(4096);
    // A read goes no further than the room that is there.
    let room = bytes.capacity();
    read_part(&file, &mut bytes, room)?;
    if bytes.len() == room {
        read_all(&file, &mut bytes, 4096, usize::MAX)?;
    }
    String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Appends what a file has from its position on, at most `most` bytes, read in parts of at least `part`. Unlike that of
/// `std`, it neither asks for the size nor begins with small parts, and fills no memory before.
pub(crate) fn read_all(file: impl AsFd, bytes: &mut Vec<u8>, part: usize, most: usize) -> io::Result<()> {
    let end = bytes.len().saturating_add(most);
    while bytes.len() < end {
        // A last read finds the end, if it has some room.
        if bytes.capacity() - bytes.len() < part.min(64) {
            bytes.reserve(part);
        }
        let left = end - bytes.len();
        if read_part(&file, bytes, left)? == 0 {
            break;
        }
    }
    Ok(())
}

/// read(2) into the room that `bytes` has, at most `most` bytes, tried again if it is interrupted: how many came.
fn read_part(file: impl AsFd, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    loop {
        let room = bytes.spare_capacity_mut();
        let length = room.len().min(most);
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: `length` bytes of `room` may be written.
        let n = unsafe { libc::read(fd, room.as_mut_ptr().cast(), length) };
        match usize::try_from(n) {
            Ok(n) => {
                // SAFETY: read(2) has written `n` bytes there, and `n` is not more than the room.
                unsafe { bytes.set_len(bytes.len() + n) };
                return Ok(n);
            }
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
}

/// uname(2): the kernel's release.
pub(crate) fn kernel_release() -> String {
    // SAFETY: utsname is plain bytes; zeroes are valid.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer to a utsname.
    if unsafe { libc::uname(&raw mut name) } != 0 {
        return String::new();
    }
    // SAFETY: the kernel ends each field with NUL.
    unsafe { CStr::from_ptr(name.release.as_ptr()) }.to_string_lossy().into_owned()
}

/// geteuid(2).
pub(crate) fn effective_user() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// geteuid(2) and getegid(2).
pub(crate) fn effective_ids() -> (u32, u32) {
    // SAFETY: no arguments, cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// The caller's capabilities.
pub(crate) struct Caps {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) last: u32,
}

/// The calling thread's bounding and effective sets, and the kernel's highest capability. /proc says the same, but its text
/// costs twice as much as fifty short calls.
///
/// Of a process of `fresh_root`, who executed it and has changed nothing of it since, the permitted set tells the bounding
/// set: it was made from that (capabilities(7), "Capabilities and execution of programs by root").
pub(crate) fn capabilities(fresh_root: bool) -> io::Result<Caps> {
    let [effective, permitted, inheritable] = capget()?;
    let last = last_capability()?;
    // SAFETY: no pointers.
    let usual = || unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) } == 0;
    if fresh_root && inheritable == 0 && usual() {
        return Ok(Caps { bounding: permitted, effective, last });
    }
    let mut bounding = 0;
    for number in 0..=last {
        bounding |= u64::from(has_bounding(number)?.unwrap_or(false)) << number;
    }
    Ok(Caps { bounding, effective, last })
}

/// prctl(2): whether a capability is in the bounding set; none if the kernel does not know it.
fn has_bounding(number: u32) -> io::Result<Option<bool>> {
    // SAFETY: prctl(2) with two numbers.
    match unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) } {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            e => Err(e),
        },
        has => Ok(Some(has != 0)),
    }
}

/// The highest capability that the kernel knows, of at most 64.
fn last_capability() -> io::Result<u32> {
    // CAP_CHECKPOINT_RESTORE, the highest of Linux 5.9 to 6.18.
    let mut last = 40;
    while last > 0 && has_bounding(last)?.is_none() {
        last -= 1;
    }
    while last < 63 && has_bounding(last + 1)?.is_some() {
        last += 1;
    }
    Ok(last)
}

/// capget(2) of the calling thread: its effective, permitted and inheritable sets.
fn capget() -> io::Result<[u64; 3]> {
    // _LINUX_CAPABILITY_VERSION_3: two halves of each set.
    let mut header = [0x2008_0522u32, 0];
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: capget(2) with a header and the room it asks for.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) })?;
    let [low, high] = sets;
    let whole = |(low, high): (u32, u32)| u64::from(low) | u64::from(high) << 32;
    Ok([whole((low[0], high[0])), whole((low[1], high[1])), whole((low[2], high[2]))])
}

/// seccomp(2): whether the kernel knows these flags of a filter. A filter at no address is never loaded; the
/// flags are looked at first.
pub(crate) fn seccomp_flags_known(flags: u32) -> bool {
    seccomp_answer(flags) == Some(libc::EFAULT)
}

/// The same, if nobody keeps the caller from asking: whether the kernel says that it does not know them.
pub(crate) fn seccomp_flags_unknown(flags: u32) -> bool {
    seccomp_answer(flags) == Some(libc::EINVAL)
}

fn seccomp_answer(flags: u32) -> Option<i32> {
    // SAFETY: the kernel answers EFAULT for a program at no address.
    let r = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::null::<u8>())
    };
    check(r).err()?.raw_os_error()
}

/// memfd_create(2), close-on-exec, sealable.
pub(crate) fn memfd(name: &CStr, flags: u32) -> io::Result<OwnedFd> {
    let flags = flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a NUL-terminated name.
    owned(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into())
}

/// A descriptor whose number is not that of a standard stream: fcntl(F_DUPFD_CLOEXEC) where it is.
pub(crate) fn above_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: no pointers.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) }.into())
}

/// fcntl(F_ADD_SEALS).
pub(crate) fn seal(fd: impl AsFd, seals: i32) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }.into()).map(drop)
}

/// fchmod(2).
pub(crate) fn fchmod(fd: impl AsFd, mode: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::fchmod(fd.as_fd().as_raw_fd(), mode) }.into()).map(drop)
}

/// statfs(2): is this a cgroup2 filesystem?
pub(crate) fn is_cgroup2(path: &Path) -> io::Result<bool> {
    is_of_type(path, 0x6367_7270)
}

/// statfs(2): is this a resctrl filesystem?
pub(crate) fn is_resctrl(path: &Path) -> io::Result<bool> {
    is_of_type(path, 0x0765_5821)
}

/// Not if there is nothing at that path.
fn is_of_type(path: &Path, magic: libc::__fsword_t) -> io::Result<bool> {
    let path = c_path(path)?;
    // SAFETY: plain numbers; zeroes are valid.
    let mut buf: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated path and a valid buffer.
    match check(unsafe { libc::statfs(path.as_ptr(), &raw mut buf) }.into()) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(false),
        answer => answer.map(|_| buf.f_type == magic),
    }
}

/// fstatfs(2) and fstat(2): the identity of the process behind a pidfd, where pidfds have one (6.9). That is the
/// kernel's, so it is asked for once.
pub(crate) fn pidfd_inode(pidfd: impl AsFd) -> io::Result<Option<u64>> {
    static HAVE_INODES: OnceLock<bool> = OnceLock::new();
    let fd = pidfd.as_fd().as_raw_fd();
    let have = match HAVE_INODES.get() {
        Some(have) => *have,
        None => {
            // SAFETY: plain numbers; zeroes are valid.
            let mut fs: libc::statfs = unsafe { std::mem::zeroed() };
            // SAFETY: an open descriptor and a valid buffer.
            check(unsafe { libc::fstatfs(fd, &raw mut fs) }.into())?;
            *HAVE_INODES.get_or_init(|| fs.f_type == 0x5049_4446)
        }
    };
    if !have {
        return Ok(None);
    }
    // SAFETY: plain numbers; zeroes are valid.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor and a valid buffer.
    check(unsafe { libc::fstat(fd, &raw mut st) }.into())?;
    Ok(Some(st.st_ino))
}

/// pidfd_open(2).
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })
}

/// pidfd_send_signal(2).
pub(crate) fn pidfd_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo is allowed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<u8>(), 0) })
        .map(drop)
}

fn fd_of<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: callers pass the number of a descriptor that they keep open.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// A descriptor that the caller's caller handed to the process, by its number. One that is closed on exec is
/// not handed to anybody: it was opened by this process, for itself.
pub(crate) fn inherited(fd: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    // A standard stream is what the caller has there, whatever else cannot be told of it.
    let open = flags >= 0 || (fd < 3 && io::Error::last_os_error().raw_os_error() != Some(libc::EBADF));
    let handed = open && (fd < 3 || flags & libc::FD_CLOEXEC == 0);
    handed.then(|| fd_of(fd))
}

/// Waits for a process's exit, at most `millis`. Whether it has exited.
pub(crate) fn poll_exit(pidfd: BorrowedFd<'_>, millis: Option<i32>) -> io::Result<bool> {
    Ok(poll(&mut [(pidfd, libc::POLLIN)], millis)?.first().is_some_and(|r| *r != 0))
}

/// poll(2), EINTR tried again with the whole time.
pub(crate) fn poll(fds: &mut [(BorrowedFd<'_>, i16)], millis: Option<i32>) -> io::Result<Vec<i16>> {
    let mut list: Vec<libc::pollfd> = fds
        .iter()
        .map(|(fd, events)| libc::pollfd { fd: fd.as_raw_fd(), events: *events, revents: 0 })
        .collect();
    loop {
        let n = list.len() as libc::nfds_t;
        // SAFETY: the pointer and the length of a live vector.
        let r = unsafe { libc::poll(list.as_mut_ptr(), n, millis.unwrap_or(-1)) };
        match check(r.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
            Ok(_) => return Ok(list.iter().map(|p| p.revents).collect()),
        }
    }
}

/// eventfd(2), not blocking.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.into())
}

/// What an eventfd counted since it was last asked; nothing is 0.
pub(crate) fn eventfd_take(fd: impl AsFd) -> io::Result<u64> {
    let mut count = 0u64;
    // SAFETY: room for the eight bytes that an eventfd gives.
    let r = unsafe { libc::read(fd.as_fd().as_raw_fd(), (&raw mut count).cast(), 8) };
    match check(r as libc::c_long) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        r => r.map(|_| count),
    }
}

/// socketpair(2) of sequenced packets.
pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    Ok((owned(fds[0].into())?, owned(fds[1].into())?))
}

/// Sends bytes and descriptors as one message.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_some(socket, bytes, fds).map(drop)
}

/// The same on a stream, which may take less: how many bytes.
pub(crate) fn send_some(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let payload = size_of_val(raw.as_slice());
    // SAFETY: arithmetic only.
    let space = unsafe { libc::CMSG_SPACE(payload as u32) } as usize;
    let mut control = vec![0u64; space.div_ceil(8)];
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: null pointers and zeroes are a valid empty header.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    if !raw.is_empty() {
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = space as _;
        // SAFETY: the control buffer is aligned and large enough for one header with the payload.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const msg);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload as u32) as _;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), payload);
        }
    }
    let fd = socket.as_fd().as_raw_fd();
    loop {
        // SAFETY: all buffers live until the call returns.
        let r = unsafe { libc::sendmsg(fd, &raw const msg, libc::MSG_NOSIGNAL) };
        match check(r as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(|n| n as usize),
        }
    }
}

/// Receives one message: its bytes and at most one descriptor. No bytes at the end of the stream.
pub(crate) fn receive(socket: impl AsFd, buf: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    agent::receive(socket, buf).map(|sent| (sent.len, sent.fd))
}

/// flock(2), waiting.
pub(crate) fn lock(fd: impl AsFd) -> io::Result<()> {
    loop {
        // SAFETY: no pointers.
        match check(unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_EX) }.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(drop),
        }
    }
}

/// flock(2): unlock.
pub(crate) fn unlock(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_UN) }.into()).map(drop)
}

/// write(2) of one byte, tried again if it is interrupted.
pub(crate) fn write_byte(fd: impl AsFd, byte: u8) -> io::Result<()> {
    loop {
        // SAFETY: one byte that is alive.
        let n = unsafe { libc::write(fd.as_fd().as_raw_fd(), (&raw const byte).cast(), 1) };
        match check(n as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(drop),
        }
    }
}

/// mkfifoat(2) of one name.
pub(crate) fn mkfifo(dir: impl AsFd, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: a NUL-terminated name.
    check(unsafe { libc::mkfifoat(dir.as_fd().as_raw_fd(), name.as_ptr(), mode) }.into()).map(drop)
}

/// openat(2) of one name, close-on-exec, not following a link.
pub(crate) fn open_at(dir: impl AsFd, name: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: a NUL-terminated name.
    owned(unsafe { libc::openat(dir.as_fd().as_raw_fd(), name.as_ptr(), flags, mode) }.into())
}

/// open_tree(2): clones a mount, or the tree below it, detached.
pub(crate) fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    // SAFETY: a NUL-terminated path.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// mount_setattr(2) of a detached mount or tree: shows ids by the maps of a user namespace.
pub(crate) fn set_idmap(tree: impl AsFd, users: impl AsFd, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users.as_fd().as_raw_fd() as u64,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let (fd, empty) = (tree.as_fd().as_raw_fd(), c"".as_ptr());
    // SAFETY: an empty path and a valid structure with its size.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, empty, flags, &raw const attr, size_of_val(&attr))
    })
    .map(drop)
}

/// move_mount(2): attaches a detached tree at a path.
pub(crate) fn attach_tree(tree: impl AsFd, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let (fd, empty) = (tree.as_fd().as_raw_fd(), c"".as_ptr());
    // SAFETY: NUL-terminated paths.
    check(unsafe {
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
        libc::syscall(libc::SYS_move_mount, fd, empty, libc::AT_FDCWD, path.as_ptr(), flags)
    })
    .map(drop)
}

/// prlimit(2): sets a limit of another process.
pub(crate) fn set_limit(pid: u32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let pid = pid as libc::pid_t;
    // SAFETY: a valid structure; the old limit is not asked for.
    check(unsafe { libc::prlimit64(pid, resource as _, &raw const limit, std::ptr::null_mut()) }.into())
        .map(drop)
}

/// Blocks every signal in the calling thread, those of the C library too: the mask that it had.
fn block_signals() -> u64 {
    set_mask(u64::MAX)
}

/// Sets the calling thread's mask to what it was.
fn restore_signals(old: u64) {
    set_mask(old);
}

/// rt_sigprocmask(2): the mask that there was.
fn set_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    let (set, was) = (&raw const mask, &raw mut old);
    // SAFETY: two masks of the size that the kernel has.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, set, was, size_of::<u64>()) };
    old
}

/// Reaps a process that has ended, if it is a child of the caller. Whether there is nothing to reap any more.
pub(crate) fn reap(pidfd: impl AsFd) -> bool {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: plain numbers; zeroes are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    // SAFETY: a valid buffer. That it is somebody else's child is no failure.
    let r = unsafe { libc::waitid(libc::P_PIDFD, fd as libc::id_t, &raw mut info, flags) };
    // SAFETY: waitid(2) leaves the pid 0 if there is nobody to reap yet.
    r != 0 || unsafe { info.si_pid() } != 0
}

/// waitid(2) without reaping: whether a process that has ended is a child of the caller, and was not killed.
pub(crate) fn exited_by_itself(pidfd: impl AsFd) -> bool {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: plain numbers; zeroes are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: a valid buffer.
    let r = unsafe { libc::waitid(libc::P_PIDFD, fd as libc::id_t, &raw mut info, flags) };
    r == 0 && info.si_code == libc::CLD_EXITED
}

/// How far the kernel is with a program after the point of no return of execve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loading {
    /// It runs, or ran and is gone.
    Done,
    /// Not finished.
    Underway,
    /// The process is dead, killed by this signal after so many page faults.
    Killed { signal: i32, faults: u64 },
}

/// Reads /proc/PID/stat: where the program's text begins (field 26) is set when loading is complete; a zombie has none, but
/// its exit code (field 52).
pub(crate) fn loading(pid: u32) -> io::Result<Loading> {
    let stat = match read_record(format!("/proc/{pid}/stat")) {
        // It has ended, and somebody knows how.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(Loading::Done),
        stat => stat?,
    };
    // The name may contain blanks and parentheses: the last one ends it. What follows begins with field 3.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |s| s.1).split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).copied().unwrap_or("0");
    let number = |n: usize| field(n).parse::<u64>().unwrap_or(0);
    Ok(match (field(3), number(26)) {
        ("Z" | "X", _) => match number(52) as i32 & 0x7f {
            signal @ (libc::SIGKILL | libc::SIGSEGV | libc::SIGSYS) => {
                Loading::Killed { signal, faults: number(10) + number(12) }
            }
            _ => Loading::Done,
        },
        (_, 0) => Loading::Underway,
        _ => Loading::Done,
    })
}

/// Whether a process has ended, is about to, or has been killed and does not know it yet: PF_EXITING among its flags
/// (proc_pid_stat(5), field 9), or SIGKILL among what is pending for it.
pub(crate) fn is_ending(pid: u32) -> bool {
    const PF_EXITING: u64 = 4;
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    // In this order: who has taken its signal is exiting.
    let both = read_record(format!("/proc/{pid}/status"))
        .and_then(|status| Ok((status, read_record(format!("/proc/{pid}/stat"))?)));
    let (status, stat) = match both {
        Ok(both) => both,
        Err(e) => return matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
    };
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |s| s.1).split_whitespace().collect();
    let flags = fields.get(6).and_then(|flags| flags.parse::<u64>().ok());
    let mask = |line: &str| {
        let line = line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let killed = status.lines().filter_map(mask).any(|pending| pending & KILL != 0);
    killed || flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// Whether a process stands still because it was sent a signal for that (proc_pid_stat(5), field 3).
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = read_record(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
}

/// Whether a process has ended but for others of its pid namespace that are not reaped yet (proc_pid_wchan(5)).
pub(crate) fn reaps_its_namespace(pid: u32) -> bool {
    read_record(format!("/proc/{pid}/wchan")).is_ok_and(|text| text == "zap_pid_ns_processes")
}

/// Copies the window size of one terminal to another; nothing happens if the first is none.
pub fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    // SAFETY: plain numbers; zeroes are valid.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: valid buffers of the right type.
    unsafe {
        if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 {
            libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
        }
    }
}
