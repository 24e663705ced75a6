//! Every call of the probe into libc. The probe must see what the runtime left behind, so the
//! language's own start-up is bypassed: it would ignore SIGPIPE and reopen closed standard
//! descriptors before the report is taken.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The entry point of the program.
// SAFETY: no other symbol of this name exists, because the crate is `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: libc::c_int, _argv: *const *const libc::c_char) -> libc::c_int {
    crate::run()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Real, effective and saved user ids.
pub(crate) fn uids() -> [u32; 3] {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: the three pointers are valid for writes.
    unsafe { libc::getresuid(&mut real, &mut effective, &mut saved) };
    [real, effective, saved]
}

/// Real, effective and saved group ids.
pub(crate) fn gids() -> [u32; 3] {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: the three pointers are valid for writes.
    unsafe { libc::getresgid(&mut real, &mut effective, &mut saved) };
    [real, effective, saved]
}

/// Supplementary groups.
pub(crate) fn groups() -> io::Result<Vec<u32>> {
    // SAFETY: a size of zero only asks for the count.
    let count = check(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut list = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the buffer has room for `count` ids.
    let got = check(unsafe { libc::getgroups(count, list.as_mut_ptr()) })?;
    list.truncate(usize::try_from(got).unwrap_or(0));
    Ok(list)
}

/// The file mode creation mask.
pub(crate) fn umask() -> u32 {
    // SAFETY: umask cannot fail; the old value is put back at once.
    unsafe {
        let old = libc::umask(0);
        libc::umask(old);
        old
    }
}

fn text(field: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).flat_map(|c| c.to_ne_bytes()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Host name and domain name.
pub(crate) fn names() -> io::Result<(String, String)> {
    let mut buffer = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the buffer is a whole utsname.
    check(unsafe { libc::uname(buffer.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes are a valid utsname, and the kernel has filled it.
    let uts = unsafe { buffer.assume_init() };
    Ok((text(&uts.nodename), text(&uts.domainname)))
}

/// Soft and hard value of one resource limit; `u64::MAX` is unlimited.
pub(crate) fn rlimit(resource: u32) -> io::Result<[u64; 2]> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for writes.
    check(unsafe { libc::getrlimit(resource as _, &mut limit) })?;
    Ok([limit.rlim_cur, limit.rlim_max])
}

/// Whether a descriptor is a terminal.
pub(crate) fn isatty(fd: i32) -> bool {
    // SAFETY: isatty takes any number.
    unsafe { libc::isatty(fd) == 1 }
}

/// Rows and columns of a terminal.
pub(crate) fn window(fd: i32) -> io::Result<[u16; 2]> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize.
    check(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) })?;
    Ok([size.ws_row, size.ws_col])
}

/// Output flags of a terminal (`c_oflag`).
pub(crate) fn output_flags(fd: i32) -> io::Result<u32> {
    let mut buffer = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: the buffer is a whole termios.
    check(unsafe { libc::tcgetattr(fd, buffer.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes are a valid termios, and the kernel has filled it.
    Ok(unsafe { buffer.assume_init() }.c_oflag)
}

/// The session id.
pub(crate) fn session() -> i32 {
    // SAFETY: zero asks for the caller.
    unsafe { libc::getsid(0) }
}

/// The parent's pid.
pub(crate) fn parent() -> i32 {
    // SAFETY: getppid has no arguments.
    unsafe { libc::getppid() }
}

/// Serial number of the session keyring.
pub(crate) fn keyring() -> io::Result<i64> {
    const KEYCTL_GET_KEYRING_ID: libc::c_long = 0;
    const SESSION_KEYRING: libc::c_long = -3;
    // SAFETY: the call takes numbers only.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 0) };
    if id < 0 { Err(io::Error::last_os_error()) } else { Ok(id) }
}

/// The execution domain.
pub(crate) fn personality() -> io::Result<i32> {
    // SAFETY: this value only asks.
    check(unsafe { libc::personality(0xffff_ffff) })
}

/// The processors on which the process may run.
pub(crate) fn affinity() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the size given is the size of the buffer.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes are a valid set, and the kernel has filled it.
    let set = unsafe { set.assume_init() };
    let count = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: the index is below the number of bits.
    Ok((0..count).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// The scheduler and its parameters.
pub(crate) fn scheduler() -> io::Result<libc::sched_attr> {
    let mut attr = MaybeUninit::<libc::sched_attr>::zeroed();
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the size given is the size of the buffer.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attr.as_mut_ptr(), size, 0) };
    // SAFETY: zeroed bytes are a valid structure.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { attr.assume_init() }) }
}

/// Class and level of I/O priority, as the kernel packs them.
pub(crate) fn io_priority() -> io::Result<i64> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// The policy for memory nodes, with its flags, and the first 64 nodes as a mask.
pub(crate) fn memory_policy() -> io::Result<(i32, u64)> {
    let mut mode = 0i32;
    let mut nodes = [0u64; 64];
    // SAFETY: both pointers are valid for writes, and the second has as many bits as are said.
    let result =
        unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), 64 * 64, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok((mode, nodes[0])) }
}

/// The `no_new_privs` attribute.
pub(crate) fn no_new_privs() -> bool {
    // SAFETY: the call takes numbers only.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Whether the filesystem below `path` (symlinks followed) is mounted read-only.
pub(crate) fn read_only(path: &Path) -> io::Result<bool> {
    let path = c_path(path)?;
    let mut buffer = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in NUL and the buffer is a whole statvfs.
    check(unsafe { libc::statvfs(path.as_ptr(), buffer.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes are a valid statvfs, and the kernel has filled it.
    Ok(unsafe { buffer.assume_init() }.f_flag & libc::ST_RDONLY != 0)
}

/// Opens and closes a path.
pub(crate) fn try_open(path: &Path, flags: i32) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path ends in NUL.
    let fd = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) })?;
    // SAFETY: the descriptor was opened above and nobody else knows it.
    unsafe { libc::close(fd) };
    Ok(())
}

/// Whether a descriptor is open.
pub(crate) fn is_open(fd: i32) -> bool {
    // SAFETY: F_GETFD takes any number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Writes to a numbered descriptor.
pub(crate) fn write_fd(fd: i32, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length belong to one slice.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes one system call by name, with harmless arguments.
pub(crate) fn call(name: &str) -> io::Result<()> {
    let mut buffer = [0u8; 4096];
    // SAFETY: each call gets valid pointers or none at all.
    let result = unsafe {
        match name {
            "getcwd" => libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()),
            "getpid" => libc::syscall(libc::SYS_getpid),
            "sethostname" => libc::syscall(libc::SYS_sethostname, c"probe".as_ptr(), 5),
            "unshare" => libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUTS),
            "chroot" => libc::syscall(libc::SYS_chroot, c"/".as_ptr()),
            "sync" => libc::syscall(libc::SYS_sync),
            "umask" => libc::syscall(libc::SYS_umask, 0o22),
            // The session keyring's number; "/" is there already; an undefined flag; no argument at all.
            "keyctl" => libc::syscall(libc::SYS_keyctl, 0, -3, 0),
            "mkdirat" => libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, c"/".as_ptr(), 0),
            "io_uring_setup" => libc::syscall(libc::SYS_io_uring_setup, 0, 0),
            "clone3" => libc::syscall(libc::SYS_clone3, 0, 0),
            "personality" => libc::syscall(libc::SYS_personality, libc::ADDR_NO_RANDOMIZE),
            "socket vsock" => return socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
            "socket audit" => return socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
            "mount" => libc::syscall(
                libc::SYS_mount,
                c"none".as_ptr(),
                c"/tmp".as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                std::ptr::null::<libc::c_char>(),
            ),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Detaches a mount.
pub(crate) fn unmount(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Gives a mount these flags and no others.
pub(crate) fn remount(path: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let path = c_path(path)?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | flags;
    let none = std::ptr::null();
    // SAFETY: a NUL-terminated path; the other strings are not read for a remount.
    check(unsafe { libc::mount(none, path.as_ptr(), none, flags, none.cast()) }).map(drop)
}

/// Makes a socket and closes it.
fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor was opened above and nobody else knows it.
    unsafe { libc::close(fd) };
    Ok(())
}

/// Blocks SIGTERM, so that it stays pending until [`wait_for_term`], even for the first process
/// of a pid namespace.
pub(crate) fn block_term() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Waits for SIGTERM.
pub(crate) fn wait_for_term() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut signal = 0;
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        while libc::sigwait(set.as_ptr(), &mut signal) != 0 {}
    }
}

/// Keeps back every signal that can be.
pub(crate) fn block_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is initialised by sigfillset before use.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Waits for the next signal.
pub(crate) fn next_signal() -> i32 {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut signal = 0;
    // SAFETY: the set is initialised by sigfillset before use.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        while libc::sigwait(set.as_ptr(), &mut signal) != 0 {}
    }
    signal
}

/// Whether SIGTERM, blocked, has come.
pub(crate) fn term_is_pending() -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is initialised by sigemptyset before use; sigpending fills it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigpending(set.as_mut_ptr());
        libc::sigismember(set.as_ptr(), libc::SIGTERM) == 1
    }
}

/// Sends a signal to the caller itself.
pub(crate) fn signal_self(signal: i32) -> io::Result<()> {
    // SAFETY: getpid and kill take numbers only.
    check(unsafe { libc::kill(libc::getpid(), signal) }).map(drop)
}

/// Makes a command start by fork(2). Linux before 6.3 refuses vfork(2) while a time namespace waits
/// for the first child.
pub(crate) fn start_by_fork(command: &mut Command) {
    // SAFETY: the closure does nothing.
    unsafe { command.pre_exec(|| Ok(())) };
}

/// Enters new namespaces.
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: the call takes a number only.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// One call to make under a filter: by `int 0x80` or not, its number, its arguments.
pub(crate) struct Call {
    pub(crate) compat: bool,
    pub(crate) number: u32,
    pub(crate) args: [u64; 6],
}

/// A sixth argument with which every call is allowed, so that the results can be told.
const ALLOWED: u64 = 0x6f78_7275_6e21_4f4b;

/// Makes calls under a filter, writes each result to `out` as eight bytes, and ends the process.
/// `filter` is an array of `struct sock_filter`.
pub(crate) fn under_filter(filter: &[u8], calls: &[Call], out: i32) -> io::Error {
    // The filter comes after a test of the sixth argument's halves.
    let prefix: [(u16, u8, u8, u32); 5] = [
        (0x20, 0, 0, 60),
        (0x15, 0, 3, (ALLOWED >> 32) as u32),
        (0x20, 0, 0, 56),
        (0x15, 0, 1, ALLOWED as u32),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let bytes = |(code, jt, jf, k): (u16, u8, u8, u32)| {
        [&code.to_ne_bytes()[..], &[jt, jf], &k.to_ne_bytes()].concat()
    };
    let mut program: Vec<u8> = prefix.into_iter().flat_map(bytes).collect();
    program.extend(filter);
    let mut words: Vec<u64> = program
        .chunks_exact(8)
        .map(|chunk| chunk.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b)))
        .collect();
    let mut results = vec![0i64; calls.len()];
    let header = libc::sock_fprog { len: words.len() as u16, filter: words.as_mut_ptr().cast() };
    // SAFETY: the header points at `words`, which holds as many instructions as it says.
    let loaded = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header)
    };
    if loaded != 0 {
        return io::Error::last_os_error();
    }
    // From here on nothing is allocated: the filter decides about every call.
    for (call, result) in calls.iter().zip(&mut results) {
        // SAFETY: the caller's filter answers all calls but harmless ones without arguments.
        *result = unsafe { if call.compat { arch::compat(call) } else { arch::native(call) } };
    }
    let mut rest = size_of_val(results.as_slice()) as u64;
    let mut at = results.as_ptr() as u64;
    let write = |at, rest| Call {
        compat: false,
        number: libc::SYS_write as u32,
        args: [out as u64, at, rest, 0, 0, ALLOWED],
    };
    while rest > 0 {
        // SAFETY: `at` and `rest` are the part of `results` that is not written yet.
        match unsafe { arch::native(&write(at, rest)) } {
            count @ 1.. => {
                at += count as u64;
                rest -= count as u64;
            }
            _ => break,
        }
    }
    let exit = Call {
        compat: false,
        number: libc::SYS_exit_group as u32,
        args: [u64::from(rest > 0), 0, 0, 0, 0, ALLOWED],
    };
    // SAFETY: the process ends here.
    unsafe { arch::native(&exit) };
    io::ErrorKind::Other.into()
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::Call;

    /// Makes a call as a 64-bit program does.
    pub(super) unsafe fn native(call: &Call) -> i64 {
        let [a, b, c, d, e, f] = call.args;
        let result: i64;
        // SAFETY: the caller answers for the call; registers and memory it may change are named.
        unsafe {
            std::arch::asm!("syscall", inlateout("rax") u64::from(call.number) => result, in("rdi") a, in("rsi") b,
                in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _);
        }
        result
    }

    /// Makes a call as a 32-bit program does, with the low halves of the arguments.
    pub(super) unsafe fn compat(call: &Call) -> i64 {
        let args = call.args.map(|arg| arg as u32);
        let result: u64;
        // SAFETY: as above. The compiler keeps rbx and rbp for itself, so they are put back.
        unsafe {
            std::arch::asm!("push rbx", "push rbp", "mov ebx, [r8]", "mov ecx, [r8 + 4]", "mov edx, [r8 + 8]",
                "mov esi, [r8 + 12]", "mov edi, [r8 + 16]", "mov ebp, [r8 + 20]", "int 0x80", "pop rbp", "pop rbx",
                inlateout("rax") u64::from(call.number) => result, inlateout("r8") args.as_ptr() => _,
                lateout("rcx") _, lateout("rdx") _, lateout("rsi") _, lateout("rdi") _,
                lateout("r9") _, lateout("r10") _, lateout("r11") _);
        }
        i64::from(result as i32)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod arch {
    use super::Call;

    /// Makes a call.
    pub(super) unsafe fn native(call: &Call) -> i64 {
        let [a, b, c, d, e, f] = call.args;
        // SAFETY: the caller answers for the call.
        let result = unsafe { libc::syscall(call.number as libc::c_long, a, b, c, d, e, f) };
        if result < 0 {
            -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
        } else {
            result
        }
    }

    /// There is none.
    pub(super) unsafe fn compat(_: &Call) -> i64 {
        i64::MIN
    }
}

/// Sends SIGSTOP; a process that is gone does not matter.
pub(crate) fn stop(pid: i32) {
    if pid > 1 {
        // SAFETY: the call takes numbers only.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
    }
}

/// Kills a process and waits until it is gone, at most a second.
pub(crate) fn kill_and_wait(pid: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = check(fd as libc::c_int)?;
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the descriptor is ours alone, the pointer is one valid pollfd.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::poll(&mut entry, 1, 1000);
        libc::close(fd);
    }
    Ok(())
}

/// fork(2) again and again, in the children too. Only for a container whose processes are limited.
pub(crate) fn fork_for_ever() -> ! {
    loop {
        // SAFETY: there is one thread, and the child does nothing but this.
        unsafe { libc::fork() };
    }
}

/// Mounts a procfs in new user, pid and mount namespaces: the errno, or 0.
pub(crate) fn mount_procfs(place: &Path) -> io::Result<i32> {
    let place = c_path(place)?;
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS)?;
    // SAFETY: this program has one thread; the child makes two system calls.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        let kind = c"proc".as_ptr();
        // SAFETY: valid strings; there are no options.
        let r = unsafe { libc::mount(kind, place.as_ptr(), kind, 0, std::ptr::null()) };
        let errno = if r == 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(255) };
        // SAFETY: ends the process.
        unsafe { libc::_exit(errno) };
    }
    let mut status = 0;
    // SAFETY: a valid buffer.
    check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    Ok(libc::WEXITSTATUS(status))
}
