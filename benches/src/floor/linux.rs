//! The program itself, and all its unsafe code. What must hold: between clone and exec the child shares
//! the parent's memory, which waits (CLONE_VM | CLONE_VFORK): it only reads what the parent prepared and
//! allocates nothing.

#![allow(unsafe_code)]

use std::arch::asm;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

use libc::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SLAVE};

use crate::device;
use crate::isolation::{CAPS, DEVICES, LAST_CAP, LINKS, MASKED_DIRS, MASKED_FILES, READONLY};

include!(concat!(env!("OUT_DIR"), "/filter.rs"));

/// libc's constant of this name overflows its type.
const CLONE_INTO_CGROUP: u64 = 1 << 33;
const STACK: usize = 64 * 1024;
const HIERARCHIES: usize = 32;
const PATH: usize = 256;
const NNN: u64 = MS_NOSUID | MS_NOEXEC | MS_NODEV;
const RDONLY_BIND: u64 = MS_BIND | MS_REMOUNT | MS_RDONLY;

struct V1 {
    dir: *const c_char,
    tasks: [c_char; PATH],
}

struct Job {
    rootfs: *const c_char,
    program: *const *const c_char,
    v1: [V1; HIERARCHIES],
    v1_count: usize,
    v2: bool,
}

/// Ends the program, naming what failed, if `result` is -1.
fn must(result: impl Into<i64>, what: &CStr) -> i64 {
    let result = result.into();
    if result < 0 {
        // SAFETY: perror reads a C string; _exit does not return.
        unsafe {
            libc::perror(what.as_ptr());
            libc::_exit(125);
        }
    }
    result
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> c_int {
    // SAFETY: all are C strings.
    unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast::<c_void>())
    }
}

/// A path that this kernel does not have needs no mask.
fn unless_missing(result: c_int, what: &CStr) {
    // SAFETY: errno is this thread's own.
    if result < 0 && unsafe { *libc::__errno_location() } == libc::ENOENT {
        return;
    }
    must(result, what);
}

fn mounts(job: &Job) {
    must(mount(c"none", c"/", c"", MS_REC | MS_SLAVE, c""), c"slave");
    // SAFETY: `rootfs` is a C string of argv.
    unsafe {
        must(libc::mount(job.rootfs, job.rootfs, null(), MS_BIND | MS_REC, null()), c"bind root");
        must(libc::chdir(job.rootfs), c"chdir");
        libc::umask(0);
    }
    must(mount(c"proc", c"proc", c"proc", NNN, c""), c"proc");
    let dev = libc::MS_STRICTATIME | MS_NOSUID;
    must(mount(c"tmpfs", c"dev", c"tmpfs", dev, c"mode=755,size=65536k"), c"dev");
    for dir in [c"dev/pts", c"dev/shm", c"dev/mqueue"] {
        // SAFETY: a C string.
        must(unsafe { libc::mkdir(dir.as_ptr(), 0o755) }, dir);
    }
    let pts = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    must(mount(c"devpts", c"dev/pts", c"devpts", MS_NOSUID | MS_NOEXEC, pts), c"pts");
    must(mount(c"shm", c"dev/shm", c"tmpfs", NNN, c"mode=1777,size=65536k"), c"shm");
    must(mount(c"mqueue", c"dev/mqueue", c"mqueue", NNN, c""), c"mqueue");
    must(mount(c"sysfs", c"sys", c"sysfs", NNN | MS_RDONLY, c""), c"sysfs");
    if job.v1_count == 0 {
        must(mount(c"cgroup", c"sys/fs/cgroup", c"cgroup2", NNN | MS_RDONLY, c""), c"cgroup2");
    } else {
        v1_mounts(job);
    }
    for (path, major, minor) in DEVICES {
        let device = libc::makedev(major, minor);
        // SAFETY: a C string.
        must(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, device) }, path);
    }
    for (target, link) in LINKS {
        // SAFETY: two C strings.
        must(unsafe { libc::symlink(target.as_ptr(), link.as_ptr()) }, link);
    }
    for path in MASKED_FILES {
        unless_missing(mount(c"/dev/null", path, c"", MS_BIND, c""), path);
    }
    for path in MASKED_DIRS {
        unless_missing(mount(c"tmpfs", path, c"tmpfs", MS_RDONLY, c"size=0k"), path);
    }
    for path in READONLY {
        unless_missing(mount(path, path, c"", MS_BIND | MS_REC, c""), path);
        unless_missing(mount(c"none", path, c"", RDONLY_BIND | NNN, c""), path);
    }
}

/// On v1 and hybrid hosts: a tmpfs with each hierarchy below it, read-only.
fn v1_mounts(job: &Job) {
    must(mount(c"tmpfs", c"sys/fs/cgroup", c"tmpfs", NNN, c"mode=755"), c"cgroup tmpfs");
    for v1 in &job.v1[..job.v1_count] {
        // SAFETY: `dir` is a C string of argv, "/sys/fs/cgroup/CONTROLLERS/OURS".
        let dir = unsafe { CStr::from_ptr(v1.dir) }.to_bytes();
        let controllers = dir.split(|b| *b == b'/').nth(4).unwrap_or_default();
        let (mut path, mut data) = ([0_u8; PATH], [0_u8; PATH]);
        let target = concat(&mut path, &[b"sys/fs/cgroup/", controllers]);
        let name: &[u8] = if controllers == b"systemd" { b"none,name=" } else { b"" };
        let data = concat(&mut data, &[name, controllers]);
        // SAFETY: a C string.
        must(unsafe { libc::mkdir(target.as_ptr(), 0o755) }, target);
        must(mount(c"cgroup", target, c"cgroup", NNN | MS_RDONLY, data), target);
    }
    let flags = MS_REMOUNT | MS_BIND | MS_RDONLY | NNN;
    must(mount(c"none", c"sys/fs/cgroup", c"", flags, c""), c"cgroup read-only");
}

/// Puts the parts together in `buffer`, which is all zero and must hold them.
fn concat<'a>(buffer: &'a mut [u8; PATH], parts: &[&[u8]]) -> &'a CStr {
    let mut at = 0;
    for byte in parts.iter().copied().flatten() {
        if at + 1 < PATH {
            buffer[at] = *byte;
            at += 1;
        }
    }
    CStr::from_bytes_until_nul(buffer).unwrap_or_default()
}

fn identity() {
    #[repr(C)]
    struct Header(u32, c_int);
    #[repr(C)]
    struct Data([u32; 6]);
    let (low, set) = ((CAPS & 0xffff_ffff) as u32, Header(0x2008_0522, 0));
    let data = Data([low, low, 0, 0, 0, 0]);
    let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    let filter = libc::sock_fprog {
        len: FILTER.len() as u16,
        filter: FILTER.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: each call gets pointers to locals or statics that outlive it. A word of FILTER has the
    // layout of a `sock_filter` on this (little-endian) architecture.
    unsafe {
        must(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), c"setrlimit");
        must(libc::syscall(libc::SYS_setgroups, 0, null::<u32>()), c"setgroups");
        for cap in (0..=LAST_CAP).filter(|cap| CAPS >> cap & 1 == 0) {
            must(libc::prctl(libc::PR_CAPBSET_DROP, cap, 0, 0, 0), c"capbset");
        }
        must(libc::syscall(libc::SYS_capset, &raw const set, &raw const data), c"capset");
        must(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), c"no_new_privs");
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        must(libc::syscall(libc::SYS_seccomp, mode, 0, &raw const filter), c"seccomp");
    }
}

/// The child: isolates itself, then becomes the program.
extern "C" fn child(job: &Job) -> ! {
    for v1 in &job.v1[..job.v1_count] {
        // SAFETY: `tasks` ends with NUL; the fd is ours.
        unsafe {
            let fd = must(libc::open(v1.tasks.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC), c"tasks");
            must(libc::write(fd as c_int, c"0".as_ptr().cast(), 1) as i64, c"join");
        }
    }
    // SAFETY: no pointers but C strings.
    unsafe {
        must(libc::setsid(), c"setsid");
        must(libc::unshare(libc::CLONE_NEWCGROUP), c"unshare");
    }
    mounts(job);
    let mut lo = [0_u8; 40];
    lo[..2].copy_from_slice(b"lo");
    lo[16..18].copy_from_slice(&((libc::IFF_UP | libc::IFF_RUNNING) as u16).to_ne_bytes());
    // SAFETY: C strings, and `lo`, which has the size and layout of an ifreq with flags.
    unsafe {
        must(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()), c"pivot_root");
        must(libc::umount2(c".".as_ptr(), libc::MNT_DETACH), c"umount");
        must(libc::sethostname(c"bench".as_ptr(), 5), c"sethostname");
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        let socket = must(libc::socket(libc::AF_INET, kind, 0), c"socket") as c_int;
        must(libc::ioctl(socket, libc::SIOCSIFFLAGS, lo.as_ptr()), c"lo");
        must(libc::syscall(libc::SYS_keyctl, 1, c"_ses.floor".as_ptr()), c"keyctl");
        must(libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0), c"close_range");
    }
    identity();
    // SAFETY: `program` is the tail of argv, which ends with NULL.
    unsafe {
        libc::execve(*job.program, job.program, [null::<c_char>()].as_ptr());
    }
    must(-1, c"execve");
    // SAFETY: ends the child. `must` did already.
    unsafe { libc::_exit(125) }
}

/// clone3 with a stack of the child's own; returns in the parent only.
fn spawn(flags: u64, cgroup: c_int, job: &Job) -> i64 {
    #[repr(align(16))]
    struct Stack(#[allow(dead_code, reason = "only its address is used")] [u8; STACK]);
    static mut CHILD_STACK: Stack = Stack([0; STACK]);
    // SAFETY: clone_args is plain data. The stack is used by this one child alone.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.stack = (&raw mut CHILD_STACK) as u64;
    args.stack_size = STACK as u64;
    args.cgroup = cgroup as u64;
    let mut result = libc::SYS_clone3;
    // SAFETY: the child starts on its own, aligned stack and goes to `child`, which never returns, so
    // that no frame of the parent is left by it. The parent waits until then and goes on behind label 2.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inout("rax") result,
            in("rdi") &raw const args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") job,
            in("r13") child as *const () as usize,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Loads the device program and attaches it to the cgroup.
fn restrict_devices(cgroup: c_int) {
    const PROG_LOAD: c_int = 5;
    const PROG_ATTACH: c_int = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    /// The head of `union bpf_attr` for BPF_PROG_LOAD, up to kern_version.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        insns: u64,
        license: u64,
        log: [u64; 3],
    }
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: device::PROGRAM.len() as u32,
        insns: device::PROGRAM.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log: [0; 3],
    };
    // SAFETY: both attributes are locals of the size given; `insns` and `license` are static.
    unsafe {
        let size = size_of::<Load>();
        let fd = must(libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size), c"bpf load");
        let attach = [cgroup as u32, fd as u32, CGROUP_DEVICE, 0];
        must(libc::syscall(libc::SYS_bpf, PROG_ATTACH, attach.as_ptr(), 16), c"bpf attach");
    }
}

/// The device rules of the bundle for a v1 `devices` directory.
fn restrict_devices_v1(dir: &[u8]) {
    let write = |file: &[u8], text: &[u8]| {
        let mut buffer = [0_u8; PATH];
        let path = concat(&mut buffer, &[dir, file]);
        // SAFETY: a C string and a slice with its length; the fd is ours.
        unsafe {
            let fd = must(libc::open(path.as_ptr(), libc::O_WRONLY), path) as c_int;
            must(libc::write(fd, text.as_ptr().cast(), text.len()) as i64, path);
            libc::close(fd);
        }
    };
    write(b"/devices.deny", b"a");
    for rule in device::ALLOWED_V1 {
        write(b"/devices.allow", rule.to_bytes());
    }
}

/// The entry point that the C library calls.
///
/// # Safety
/// `argv` holds `argc` C strings and a NULL, as the C library gives them.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: see above; every index used below is smaller than `argc`.
    let arg = |index: usize| unsafe { *argv.add(index) };
    // SAFETY: an element of argv.
    let text = |index: usize| unsafe { CStr::from_ptr(arg(index)) };
    let argc = argc as usize;
    let Some(dashes) = (3..argc.min(3 + HIERARCHIES)).find(|i| text(*i) == c"--") else {
        must(-1, c"usage: oxrun-floor ROOTFS CGROUP2-DIR|- V1-DIR... -- PROGRAM");
        return 125;
    };
    let mut job = Job {
        rootfs: arg(1),
        // SAFETY: at most one behind the last argument: the NULL.
        program: unsafe { argv.add(dashes + 1) },
        v1: [const { V1 { dir: null(), tasks: [0; PATH] } }; HIERARCHIES],
        v1_count: dashes - 3,
        v2: text(2) != c"-",
    };
    let namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let mut flags = namespaces as u64;
    let mut cgroup = 0;
    if job.v2 {
        // SAFETY: an element of argv.
        unsafe {
            must(libc::mkdir(arg(2), 0o755), c"mkdir cgroup");
            let how = libc::O_DIRECTORY | libc::O_CLOEXEC;
            cgroup = must(libc::open(arg(2), how), c"open cgroup") as c_int;
        }
        flags |= CLONE_INTO_CGROUP;
        if job.v1_count == 0 {
            restrict_devices(cgroup);
        }
    }
    for (index, v1) in job.v1[..dashes - 3].iter_mut().enumerate() {
        v1.dir = arg(3 + index);
        let dir = text(3 + index).to_bytes();
        let mut buffer = [0_u8; PATH];
        for (to, from) in v1.tasks.iter_mut().zip(concat(&mut buffer, &[dir, b"/tasks"]).to_bytes()) {
            *to = *from as c_char;
        }
        // SAFETY: an element of argv.
        must(unsafe { libc::mkdir(v1.dir, 0o755) }, c"mkdir v1");
        if dir.starts_with(b"/sys/fs/cgroup/devices/") {
            restrict_devices_v1(dir);
        }
    }
    let pid = must(spawn(flags, cgroup, &job), c"clone3") as libc::pid_t;
    let mut status = 0;
    // SAFETY: `status` is a local; the paths are elements of argv.
    unsafe {
        must(libc::wait4(pid, &raw mut status, 0, null_mut()), c"wait");
        if job.v2 {
            must(libc::rmdir(arg(2)), c"rmdir");
        }
        for v1 in &job.v1[..job.v1_count] {
            must(libc::rmdir(v1.dir), c"rmdir v1");
        }
    }
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}
