//! System calls. All go through [`call`], which writes number and arguments to the fault page
//! before the call: whatever kills this process, the host knows in which call and step it was.

use crate::fault::{Detail, Page, Phase};
use crate::kernel::{nr, *};
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The fault page. Until boot has mapped the shared one it is a private dummy.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());

/// A failed system call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The end of init: an errno whose call stands on the fault page, or a detail with its text.
pub struct Stop {
    errno: i32,
    detail: Detail,
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        Stop { errno: e.0, detail: Detail::None }
    }
}

impl Stop {
    /// A failure that the errno alone would not explain.
    pub fn detail(detail: Detail, text: &[u8]) -> Self {
        note(text);
        Stop { errno: 0, detail }
    }

    /// A failure with an errno and an explanation.
    pub fn explained(e: Errno, detail: Detail, text: &[u8]) -> Self {
        note(text);
        Stop { errno: e.0, detail }
    }
}

fn page() -> Option<&'static Page> {
    // SAFETY: the pointer is null or a mapping of a whole page that is never unmapped; all
    // fields are atomics, for which any bytes are valid.
    unsafe { PAGE.load(Relaxed).as_ref() }
}

/// Makes the mapped page the fault page.
pub fn set_page(at: usize) {
    PAGE.store(at as *mut Page, Relaxed);
}

/// Notes nothing any more.
pub fn forget_page() {
    PAGE.store(core::ptr::null_mut(), Relaxed);
}

/// Notes which step begins.
pub fn enter(phase: Phase, step: u32) {
    if let Some(p) = page() {
        p.step.store(step, Relaxed);
        p.phase.store(phase as u32, Relaxed);
    }
}

/// Sets the detail's text.
pub fn note(text: &[u8]) {
    if let Some(p) = page() {
        p.set_text(text);
    }
}

/// Ends this process after a failure, leaving everything the host needs on the fault page.
pub fn die(stop: &Stop) -> ! {
    report(stop);
    exit(255)
}

/// The same without a system call: one could wait for an agent that there is not.
pub fn break_down(stop: &Stop) -> ! {
    report(stop);
    loop {
        trap();
    }
}

fn report(stop: &Stop) {
    if let Some(p) = page() {
        if stop.detail == Detail::None {
            p.set_text(b"");
        }
        p.detail.store(stop.detail as u32, Relaxed);
        p.errno.store(stop.errno, Relaxed);
        p.phase.store(Phase::Failed as u32, Relaxed);
    }
}

/// Leaves a failure on the page for the process that this one was copied from, and ends.
pub fn leave(stop: &Stop) -> ! {
    if let Some(p) = page() {
        p.detail.store(stop.detail as u32, Relaxed);
        p.errno.store(stop.errno, Relaxed);
    }
    exit(255)
}

/// What a copy of this process has left. Its last call and the strings of it stand on the page.
pub fn left() -> Option<Stop> {
    let p = page()?;
    let stop = Stop { errno: p.errno.load(Relaxed), detail: Detail::from_u32(p.detail.load(Relaxed)) };
    (stop.errno != 0 || stop.detail != Detail::None).then_some(stop)
}

/// Copies the string arguments of a call that has just failed to the page: the host cannot follow
/// pointers, and the buffers they lie in may be gone by the time the step gives up.
fn save_strings(p: &Page, nr: usize, args: [usize; 6]) {
    p.clear_strings();
    let Some((_, mask)) = STRING_ARGS.iter().find(|(n, _)| *n == nr) else {
        return;
    };
    for (i, arg) in args.into_iter().enumerate() {
        let at = arg as *const core::ffi::c_char;
        if mask & (1 << i) != 0 && !at.is_null() {
            // SAFETY: calls listed in STRING_ARGS are made with a pointer taken from a `&CStr` at these
            // positions, which is still borrowed: this runs inside the call's wrapper.
            let s = unsafe { CStr::from_ptr(at) }.to_bytes();
            p.push_string(i as u8, s.get(..512).unwrap_or(s));
        }
    }
}

/// The bare instruction.
#[cfg(target_arch = "x86_64")]
fn raw(nr: usize, a: [usize; 6]) -> isize {
    let out: isize;
    // SAFETY: the instruction itself touches only the registers named; what the kernel does with
    // pointers among the arguments is the caller's promise, made at each wrapper below.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") nr as isize => out, in("rdi") a[0],
            in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    out
}

/// The bare instruction.
#[cfg(target_arch = "aarch64")]
fn raw(nr: usize, a: [usize; 6]) -> isize {
    let out: isize;
    // SAFETY: as on x86_64.
    unsafe {
        core::arch::asm!("svc 0", in("x8") nr, inlateout("x0") a[0] as isize => out,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack));
    }
    out
}

/// A system call, noted on the fault page first.
///
/// # Safety
/// Pointers among the arguments must be what the kernel expects of this call.
unsafe fn call(nr: usize, a: [usize; 6]) -> Result<usize, Errno> {
    note_call(nr, a);
    let result = unnoted(nr, a);
    if let (Err(_), Some(p)) = (result, page()) {
        save_strings(p, nr, a);
    }
    result
}

/// Notes a system call.
fn note_call(nr: usize, a: [usize; 6]) {
    if let Some(p) = page() {
        p.nr.store(nr as u64, Relaxed);
        for (slot, v) in p.args.iter().zip(a) {
            slot.store(v as u64, Relaxed);
        }
    }
}

/// A system call that leaves the note of the one before: closing, and looking for the reason of a
/// failure.
fn unnoted(nr: usize, a: [usize; 6]) -> Result<usize, Errno> {
    result(raw(nr, a))
}

/// What the kernel's answer says.
fn result(answer: isize) -> Result<usize, Errno> {
    match answer {
        e @ -4095..=-1 => Err(Errno(-e as i32)),
        v => Ok(v as usize),
    }
}

/// The same of a call with few arguments, which then need no memory where it is made.
///
/// # Safety
/// As above.
#[inline(never)]
unsafe fn short(nr: usize, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    unsafe { call(nr, [a, b, c, 0, 0, 0]) }
}

macro_rules! sc {
    ($nr:expr) => { sc!(@short $nr, 0, 0, 0) };
    ($nr:expr, $a:expr) => { sc!(@short $nr, $a, 0, 0) };
    ($nr:expr, $a:expr, $b:expr) => { sc!(@short $nr, $a, $b, 0) };
    ($nr:expr, $a:expr, $b:expr, $c:expr) => { sc!(@short $nr, $a, $b, $c) };
    ($nr:expr, $a:expr, $b:expr, $c:expr, $d:expr) => { sc!(@long $nr, $a, $b, $c, $d, 0, 0) };
    ($nr:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => { sc!(@long $nr, $a, $b, $c, $d, $e, 0) };
    ($nr:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        sc!(@long $nr, $a, $b, $c, $d, $e, $f)
    };
    (@short $nr:expr, $a:expr, $b:expr, $c:expr) => {
        // SAFETY: every use below passes pointers made from live references or `&CStr`, with the
        // sizes that the call's man page asks for.
        unsafe { short($nr, $a as usize, $b as usize, $c as usize) }
    };
    (@long $nr:expr $(, $a:expr)*) => {
        // SAFETY: as above.
        unsafe { call($nr, [$($a as usize),*]) }
    };
}

mod child;
mod tree;

pub use child::*;
pub use tree::*;

mod mount;
pub use mount::*;

mod share;
pub use share::*;

mod thread;
pub use thread::*;

/// Ends all threads. A filter may deny even that: then an illegal instruction does it.
pub fn exit(code: i32) -> ! {
    loop {
        raw(nr::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]);
        trap();
    }
}

/// An illegal instruction.
fn trap() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: raises SIGILL.
    unsafe {
        core::arch::asm!("ud2")
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: raises SIGTRAP.
    unsafe {
        core::arch::asm!("brk #1")
    };
}

/// An open descriptor, closed when dropped. Closing is not noted on the fault page.
pub struct Fd(i32);

impl Drop for Fd {
    fn drop(&mut self) {
        let _ = unnoted(nr::CLOSE, [self.0 as usize, 0, 0, 0, 0, 0]);
    }
}

impl Fd {
    /// Leaves it open. Whoever has its number closes it.
    pub fn leave(self) -> i32 {
        let n = self.0;
        core::mem::forget(self);
        n
    }
    /// Takes a number whose owner the caller is.
    pub fn own(n: usize) -> Fd {
        Fd(n as i32)
    }
    /// The number.
    pub fn raw(&self) -> i32 {
        self.0
    }
}

/// `openat2(2)`; EAGAIN (a concurrent rename or mount) and EINTR are tried again, bounded.
pub fn openat2(dir: i32, path: &CStr, flags: u64, mode: u64, resolve: u64) -> Result<Fd, Errno> {
    let how = OpenHow { flags: flags | O_CLOEXEC, mode, resolve };
    let mut left = 128;
    loop {
        let r = sc!(nr::OPENAT2, dir, path.as_ptr(), &raw const how, size_of::<OpenHow>());
        match r {
            Err(Errno(EAGAIN | EINTR)) if left > 0 => left -= 1,
            r => return r.map(Fd::own),
        }
    }
}

/// `openat(2)` of a host path, before the root is changed.
pub fn open_host(path: &CStr, flags: u64) -> Result<Fd, Errno> {
    // A FIFO in the place of a file must not hold us up.
    let flags = flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    sc!(nr::OPENAT, AT_FDCWD, path.as_ptr(), flags, 0).map(Fd::own)
}

/// Whether this is the name of something in a directory: not the directory itself nor its parent, and
/// nothing that is resolved further.
pub fn is_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/')
}

/// Refuses what is not one component before it reaches an `*at` call.
fn component(name: &CStr) -> Result<(), Errno> {
    match is_component(name.to_bytes()) {
        true => Ok(()),
        false => Err(Errno(EINVAL)),
    }
}

/// `openat(2)` of one name in a directory of ours, never following a link.
pub fn open_name(dir: &Fd, name: &CStr, flags: u64) -> Result<Fd, Errno> {
    component(name)?;
    sc!(nr::OPENAT, dir.0, name.as_ptr(), flags | O_CLOEXEC | O_NOFOLLOW, 0).map(Fd::own)
}

/// `read(2)`, EINTR tried again.
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match sc!(nr::READ, fd, buf.as_mut_ptr(), buf.len()) {
            Err(Errno(EINTR)) => {}
            r => return r.map(|n| n.min(buf.len())),
        }
    }
}

/// `write(2)`.
pub fn write(fd: &Fd, bytes: &[u8]) -> Result<usize, Errno> {
    sc!(nr::WRITE, fd.0, bytes.as_ptr(), bytes.len())
}

/// What init wants to know of a file.
pub struct Stat {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    /// The device that the file is on.
    pub device: u64,
    pub inode: u64,
}

/// `statx(2)`.
#[inline(never)]
fn look(dir: i32, path: &CStr, flags: u32, wanted: u32) -> Result<Statx, Errno> {
    let mut buf = MaybeUninit::<Statx>::zeroed();
    sc!(nr::STATX, dir, path.as_ptr(), flags, wanted, buf.as_mut_ptr())?;
    // SAFETY: zeroed memory is a valid Statx, and the kernel filled it.
    Ok(unsafe { buf.assume_init() })
}

/// `statx(2)` of an open file.
pub fn stat(fd: i32) -> Result<Stat, Errno> {
    look(fd, c"", AT_EMPTY_PATH, STATX_BASIC).map(|s| stat_of(&s))
}

/// The same without a note: for looking why a call failed.
pub fn stat_quietly(fd: i32) -> Option<Stat> {
    let mut buf = MaybeUninit::<Statx>::zeroed();
    let args = [
        fd as usize,
        c"".as_ptr() as usize,
        AT_EMPTY_PATH as usize,
        STATX_BASIC as usize,
        buf.as_mut_ptr() as usize,
        0,
    ];
    unnoted(nr::STATX, args).ok()?;
    // SAFETY: as above.
    Some(stat_of(unsafe { buf.assume_init_ref() }))
}

/// `statx(2)` of one name in a directory of ours, never following a link.
pub fn stat_name(dir: &Fd, name: &CStr) -> Result<Stat, Errno> {
    component(name)?;
    look(dir.0, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC).map(|s| stat_of(&s))
}

/// `statx(2)` of a path, following links.
pub fn stat_path(path: &CStr) -> Result<Stat, Errno> {
    look(AT_FDCWD, path, 0, STATX_BASIC).map(|s| stat_of(&s))
}

/// `statx(2)`: the id of the mount that an open file is on, as mountinfo has it.
pub fn mount_id(fd: &Fd) -> Result<u64, Errno> {
    look(fd.0, c"", AT_EMPTY_PATH, STATX_MNT_ID).map(|s| s.mount_id)
}

fn stat_of(s: &Statx) -> Stat {
    let rdev = makedev(s.rdev_major, s.rdev_minor);
    let device = makedev(s.dev_major, s.dev_minor);
    Stat { mode: u32::from(s.mode), uid: s.uid, gid: s.gid, rdev, device, inode: s.ino }
}

/// `faccessat2(2)` with the effective ids: may this process execute it?
pub fn may_execute(path: &CStr) -> Result<(), Errno> {
    sc!(nr::FACCESSAT2, AT_FDCWD, path.as_ptr(), 1, AT_EACCESS).map(drop)
}

/// `mkdirat(2)` of one name.
pub fn mkdir(dir: &Fd, name: &CStr, mode: u32) -> Result<(), Errno> {
    component(name)?;
    sc!(nr::MKDIRAT, dir.0, name.as_ptr(), mode).map(drop)
}

/// `mknodat(2)` of one name.
pub fn mknod(dir: &Fd, name: &CStr, mode: u32, dev: u64) -> Result<(), Errno> {
    component(name)?;
    sc!(nr::MKNODAT, dir.0, name.as_ptr(), mode, dev).map(drop)
}

/// `symlinkat(2)` of one name.
pub fn symlink(target: &CStr, dir: &Fd, name: &CStr) -> Result<(), Errno> {
    component(name)?;
    sc!(nr::SYMLINKAT, target.as_ptr(), dir.0, name.as_ptr()).map(drop)
}

/// `readlinkat(2)` of one name.
pub fn readlink(dir: &Fd, name: &CStr, buf: &mut [u8]) -> Result<usize, Errno> {
    component(name)?;
    sc!(nr::READLINKAT, dir.0, name.as_ptr(), buf.as_mut_ptr(), buf.len()).map(|n| n.min(buf.len()))
}

/// `fchownat(2)` of one name, not following a link.
pub fn chown_name(dir: &Fd, name: &CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    component(name)?;
    sc!(nr::FCHOWNAT, dir.0, name.as_ptr(), uid, gid, AT_SYMLINK_NOFOLLOW).map(drop)
}

/// `fchownat(2)` of a file that is open as a path only.
pub fn chown_path(fd: &Fd, uid: u32, gid: u32) -> Result<(), Errno> {
    sc!(nr::FCHOWNAT, fd.0, c"".as_ptr(), uid, gid, AT_EMPTY_PATH).map(drop)
}

/// `fchown(2)`.
pub fn chown(fd: i32, uid: u32, gid: u32) -> Result<(), Errno> {
    sc!(nr::FCHOWN, fd, uid, gid).map(drop)
}

/// `fchdir(2)`.
pub fn chdir(fd: &Fd) -> Result<(), Errno> {
    sc!(nr::FCHDIR, fd.0).map(drop)
}

/// `chdir("/")`.
pub fn chdir_root() -> Result<(), Errno> {
    sc!(nr::CHDIR, c"/".as_ptr()).map(drop)
}

/// `chroot(".")`.
pub fn chroot_here() -> Result<(), Errno> {
    sc!(nr::CHROOT, c".".as_ptr()).map(drop)
}

/// `dup3(2)`; `flags` 0 or O_CLOEXEC.
pub fn dup3(from: i32, to: i32, flags: u64) -> Result<(), Errno> {
    sc!(nr::DUP3, from, to, flags).map(drop)
}

/// `close_range(2)` to the end.
pub fn close_from(first: u32, flags: u32) -> Result<(), Errno> {
    sc!(nr::CLOSE_RANGE, first, u32::MAX, flags).map(drop)
}

/// `close_range(2)`, from the first to the last.
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    sc!(nr::CLOSE_RANGE, first, last, 0).map(drop)
}

/// `prlimit64(2)`: how many descriptors this process may have.
pub fn most_descriptors() -> Result<u64, Errno> {
    const NOFILE: u32 = 7;
    let mut limit = [0u64; 2];
    sc!(nr::PRLIMIT64, 0, NOFILE, 0, limit.as_mut_ptr()).map(|_| limit[0])
}

/// `unshare(2)`.
pub fn unshare(flags: u64) -> Result<(), Errno> {
    sc!(nr::UNSHARE, flags).map(drop)
}

/// `setns(2)`.
pub fn setns(fd: &Fd, kind: u32) -> Result<(), Errno> {
    sc!(nr::SETNS, fd.0, kind).map(drop)
}

/// The same with a pidfd, and the namespaces of its process that are meant.
pub fn setns_raw(fd: i32, kinds: u32) -> Result<(), Errno> {
    sc!(nr::SETNS, fd, kinds).map(drop)
}

/// `clone3(2)` without a new stack: the memory is copied. 0 in the child.
pub fn clone3(args: &CloneArgs) -> Result<usize, Errno> {
    sc!(nr::CLONE3, args as *const CloneArgs, size_of::<CloneArgs>())
}

/// `setsid(2)`.
pub fn setsid() -> Result<(), Errno> {
    sc!(nr::SETSID).map(drop)
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`.
pub fn join_keyring(name: &CStr) -> Result<(), Errno> {
    sc!(nr::KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()).map(drop)
}

/// `sethostname(2)`.
pub fn sethostname(name: &CStr) -> Result<(), Errno> {
    sc!(nr::SETHOSTNAME, name.as_ptr(), name.to_bytes().len()).map(drop)
}

/// `setdomainname(2)`.
pub fn setdomainname(name: &CStr) -> Result<(), Errno> {
    sc!(nr::SETDOMAINNAME, name.as_ptr(), name.to_bytes().len()).map(drop)
}

/// `socket(2)`.
pub fn socket(family: i32, kind: i32) -> Result<Fd, Errno> {
    sc!(nr::SOCKET, family, kind, 0).map(Fd::own)
}

/// `ioctl(2)` with a structure.
pub fn ioctl<T>(fd: &Fd, request: u32, arg: &mut T) -> Result<usize, Errno> {
    sc!(nr::IOCTL, fd.0, request, arg as *mut T)
}

/// `ioctl(2)` with a number.
pub fn ioctl_int(fd: &Fd, request: u32, arg: usize) -> Result<usize, Errno> {
    sc!(nr::IOCTL, fd.0, request, arg)
}

/// `sendmsg(2)`; the caller builds the header from live buffers.
pub fn sendmsg(fd: i32, msg: &MsgHdr) -> Result<usize, Errno> {
    sc!(nr::SENDMSG, fd, msg as *const MsgHdr, MSG_NOSIGNAL)
}

/// `recvmsg(2)`, EINTR tried again; the caller builds the header from live buffers.
pub fn recvmsg(fd: i32, msg: &mut MsgHdr, flags: u32) -> Result<usize, Errno> {
    loop {
        match sc!(nr::RECVMSG, fd, msg as *mut MsgHdr, flags) {
            Err(Errno(EINTR)) => {}
            r => return r,
        }
    }
}

/// `mmap(2)` of a file, or of nothing with `fd` -1.
pub fn mmap(len: usize, prot: u32, flags: u32, fd: i32) -> Result<usize, Errno> {
    sc!(nr::MMAP, 0, len, prot, flags, fd, 0)
}

/// Memory that stays for good.
pub fn buffer(len: usize) -> Result<&'static mut [u8], Errno> {
    let at = mmap(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1)?;
    // SAFETY: a fresh private mapping of `len` bytes, used by nobody else and never unmapped.
    Ok(unsafe { core::slice::from_raw_parts_mut(at as *mut u8, len) })
}

/// `pipe2(2)`, close-on-exec: the reading and the writing end.
pub fn pipe() -> Result<(Fd, Fd), Errno> {
    let mut fds = [-1i32; 2];
    sc!(nr::PIPE2, fds.as_mut_ptr(), O_CLOEXEC)?;
    Ok((Fd(fds[0]), Fd(fds[1])))
}

/// `fcntl(F_SETPIPE_SZ)`: as small as the kernel has pipes, one page.
pub fn smallest_pipe(pipe: &Fd) -> Result<(), Errno> {
    sc!(nr::FCNTL, pipe.0, F_SETPIPE_SZ, 1).map(drop)
}

/// `prctl(2)`.
pub fn prctl(op: u32, a: usize, b: usize) -> Result<usize, Errno> {
    sc!(nr::PRCTL, op, a, b, 0, 0)
}

/// `capset(2)` of this thread.
pub fn capset(data: &[CapData; 2]) -> Result<(), Errno> {
    let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    sc!(nr::CAPSET, &raw const header, data.as_ptr()).map(drop)
}

/// `setgroups(2)`; `groups` holds little-endian u32 aligned to 4.
pub fn setgroups(groups: &[u8]) -> Result<(), Errno> {
    sc!(nr::SETGROUPS, groups.len() / 4, groups.as_ptr()).map(drop)
}

/// `setresgid(2)` with one id.
pub fn setgid(gid: u32) -> Result<(), Errno> {
    sc!(nr::SETRESGID, gid, gid, gid).map(drop)
}

/// `setresuid(2)` with one id.
pub fn setuid(uid: u32) -> Result<(), Errno> {
    sc!(nr::SETRESUID, uid, uid, uid).map(drop)
}

/// `umask(2)`.
pub fn umask(mask: u32) {
    let _ = sc!(nr::UMASK, mask);
}

/// `prlimit64(2)` of this process.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    sc!(nr::PRLIMIT64, 0, resource, limit.as_ptr(), 0).map(drop)
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`; `filter` holds `struct sock_filter`, aligned to 8.
pub fn seccomp(flags: u32, filter: &[u8]) -> Result<usize, Errno> {
    let program = SockFprog { len: (filter.len() / 8) as u16, filter: filter.as_ptr() };
    sc!(nr::SECCOMP, 1, flags, &raw const program)
}

/// `rt_sigprocmask(2)`: unblock everything.
pub fn unblock_signals() {
    let none = 0u64;
    let _ = sc!(nr::RT_SIGPROCMASK, 2, &raw const none, 0, 8);
}

/// `sched_setaffinity(2)`: every processor that the cpuset allows.
pub fn all_processors() {
    let all = [u64::MAX; 128];
    let _ = sc!(nr::SCHED_SETAFFINITY, 0, size_of_val(&all), all.as_ptr());
}

/// `sched_setaffinity(2)`; `mask` holds words of the machine, aligned to 8.
pub fn sched_setaffinity(mask: &[u8]) -> Result<(), Errno> {
    sc!(nr::SCHED_SETAFFINITY, 0, mask.len(), mask.as_ptr()).map(drop)
}

/// `sched_setattr(2)`; `attr` holds a `struct sched_attr`, which begins with its own size.
pub fn sched_setattr(attr: &[u8]) -> Result<(), Errno> {
    match attr.first_chunk() {
        Some(size) if u32::from_ne_bytes(*size) as usize == attr.len() => {
            sc!(nr::SCHED_SETATTR, 0, attr.as_ptr(), 0).map(drop)
        }
        _ => Err(Errno(EINVAL)),
    }
}

/// `ioprio_set(IOPRIO_WHO_PROCESS)` of this process.
pub fn ioprio_set(value: u32) -> Result<(), Errno> {
    const WHO_PROCESS: u32 = 1;
    sc!(nr::IOPRIO_SET, WHO_PROCESS, 0, value).map(drop)
}

/// `set_mempolicy(2)`; `nodes` holds words of the machine, aligned to 8. The kernel takes one bit less than
/// the number it is given.
pub fn set_mempolicy(mode: u32, nodes: &[u8]) -> Result<(), Errno> {
    match nodes.len() {
        0 => sc!(nr::SET_MEMPOLICY, mode, 0, 0),
        n => sc!(nr::SET_MEMPOLICY, mode, nodes.as_ptr(), n * 8 + 1),
    }
    .map(drop)
}

/// `rt_sigaction(2)`: the default disposition.
pub fn default_signal(signal: u32) {
    let action = [0u64; 4];
    let _ = sc!(nr::RT_SIGACTION, signal, action.as_ptr(), 0, 8);
}

/// `getrusage(2)`: page faults of this process without I/O so far.
pub fn minor_faults() -> u64 {
    let mut usage = [0u64; 18];
    match sc!(nr::GETRUSAGE, 0, usage.as_mut_ptr()) {
        Ok(_) => usage[8],
        Err(_) => 0,
    }
}

/// Notes how many page faults there were before the program: one if there was none, as 0 says that nothing was noted.
pub fn note_faults(n: u64) {
    if let Some(p) = page() {
        p.faults.store(n.max(1), Relaxed);
    }
}

/// `fstatfs(2)`: the filesystem's magic number.
pub fn fs_magic(fd: &Fd) -> Result<u64, Errno> {
    let mut buf = [0u64; 16];
    sc!(nr::FSTATFS, fd.0, buf.as_mut_ptr()).map(|_| buf[0])
}

/// `execve(2)`. Comes back only with a failure.
pub fn execve(path: &CStr, argv: usize, envp: usize) -> Errno {
    match sc!(nr::EXECVE, path.as_ptr(), argv, envp) {
        Err(e) => e,
        Ok(_) => Errno(0),
    }
}
