//! Numbers and structures of the kernel's interface (include/uapi), as far as init uses them.
#![allow(dead_code)] // some numbers are there for completeness of their group

macro_rules! syscalls {
    ($($name:ident $x86_64:literal $aarch64:literal)*) => {
        /// System call numbers of this architecture.
        pub mod nr {
            $(
                #[cfg(target_arch = "x86_64")]
                pub const $name: usize = $x86_64;
                #[cfg(target_arch = "aarch64")]
                pub const $name: usize = $aarch64;
            )*
        }
    };
}

syscalls! {
    READ 0 63
    WRITE 1 64
    LSEEK 8 62
    PREAD64 17 67
    PWRITE64 18 68
    GETPID 39 172
    CLOSE 3 57
    MMAP 9 222
    RT_SIGACTION 13 134
    RT_SIGPROCMASK 14 135
    IOCTL 16 29
    FCNTL 72 25
    PIPE2 293 59
    ACCEPT4 288 242
    EXIT 60 93
    SOCKET 41 198
    SENDMSG 46 211
    RECVMSG 47 212
    EXECVE 59 221
    CHDIR 80 49
    FCHDIR 81 50
    GETRUSAGE 98 165
    PERSONALITY 135 92
    FSTATFS 138 44
    FCHOWN 93 55
    UMASK 95 166
    SETSID 112 157
    SETGROUPS 116 159
    SETRESUID 117 147
    SETRESGID 119 149
    CAPSET 126 91
    PIVOT_ROOT 155 41
    MOUNT 165 40
    PRCTL 157 167
    CHROOT 161 51
    UMOUNT2 166 39
    SETHOSTNAME 170 161
    SETDOMAINNAME 171 162
    SCHED_SETAFFINITY 203 122
    EXIT_GROUP 231 94
    SET_MEMPOLICY 238 237
    IOPRIO_SET 251 30
    FSETXATTR 190 7
    KEYCTL 250 219
    GETDENTS64 217 61
    WAITID 247 95
    OPENAT 257 56
    MKDIRAT 258 34
    MKNODAT 259 33
    FCHOWNAT 260 54
    SYMLINKAT 266 36
    READLINKAT 267 78
    FCHMODAT 268 53
    PPOLL 271 73
    UNSHARE 272 97
    DUP3 292 24
    PRLIMIT64 302 261
    SETNS 308 268
    SCHED_SETATTR 314 274
    SECCOMP 317 277
    MEMFD_CREATE 319 279
    STATX 332 291
    PIDFD_SEND_SIGNAL 424 424
    OPEN_TREE 428 428
    MOVE_MOUNT 429 429
    FSOPEN 430 430
    FSCONFIG 431 431
    FSMOUNT 432 432
    FSPICK 433 433
    CLONE3 435 435
    CLOSE_RANGE 436 436
    OPENAT2 437 437
    FACCESSAT2 439 439
    MOUNT_SETATTR 442 442
}

/// Calls with string arguments: the number and a bit for each position that is a string.
pub const STRING_ARGS: &[(usize, u8)] = &[
    (nr::OPENAT, 0b10),
    (nr::OPENAT2, 0b10),
    (nr::MKDIRAT, 0b10),
    (nr::MKNODAT, 0b10),
    (nr::FCHOWNAT, 0b10),
    (nr::FCHMODAT, 0b10),
    (nr::MEMFD_CREATE, 0b1),
    (nr::SYMLINKAT, 0b101),
    (nr::READLINKAT, 0b10),
    (nr::STATX, 0b10),
    (nr::FACCESSAT2, 0b10),
    (nr::OPEN_TREE, 0b10),
    (nr::MOVE_MOUNT, 0b1010),
    (nr::MOUNT_SETATTR, 0b10),
    (nr::FSETXATTR, 0b10),
    (nr::MOUNT, 0b111),
    (nr::FSPICK, 0b10),
    (nr::FSOPEN, 0b1),
    (nr::FSCONFIG, 0b1100),
    (nr::PIVOT_ROOT, 0b11),
    (nr::UMOUNT2, 0b1),
    (nr::CHDIR, 0b1),
    (nr::CHROOT, 0b1),
    (nr::SETHOSTNAME, 0b1),
    (nr::SETDOMAINNAME, 0b1),
    (nr::EXECVE, 0b1),
];

pub const EPERM: i32 = 1;
pub const ENOENT: i32 = 2;
pub const EINTR: i32 = 4;
pub const EAGAIN: i32 = 11;
pub const EACCES: i32 = 13;
pub const EBUSY: i32 = 16;
pub const EEXIST: i32 = 17;
pub const ENOTDIR: i32 = 20;
pub const EINVAL: i32 = 22;
pub const ENAMETOOLONG: i32 = 36;
pub const ENOSYS: i32 = 38;
pub const ELOOP: i32 = 40;
pub const ECONNRESET: i32 = 104;

pub const AT_FDCWD: i32 = -100;
pub const AT_EMPTY_PATH: u32 = 0x1000;
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
pub const AT_RECURSIVE: u32 = 0x8000;
pub const AT_EACCESS: u32 = 0x200;

#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: u64 = 0o200_000;
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: u64 = 0o400_000;
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: u64 = 0o40_000;
#[cfg(target_arch = "aarch64")]
pub const O_NOFOLLOW: u64 = 0o100_000;
pub const O_RDONLY: u64 = 0;
pub const O_WRONLY: u64 = 1;
pub const O_RDWR: u64 = 2;
pub const O_CREAT: u64 = 0o100;
pub const O_EXCL: u64 = 0o200;
pub const O_NOCTTY: u64 = 0o400;
pub const O_NONBLOCK: u64 = 0o4000;
pub const O_CLOEXEC: u64 = 0o2_000_000;
pub const O_PATH: u64 = 0o10_000_000;

pub const RESOLVE_NO_XDEV: u64 = 1;
pub const RESOLVE_NO_MAGICLINKS: u64 = 2;
pub const RESOLVE_NO_SYMLINKS: u64 = 4;
pub const RESOLVE_BENEATH: u64 = 8;
pub const RESOLVE_IN_ROOT: u64 = 16;

#[repr(C)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

pub const S_IFMT: u32 = 0o170_000;
pub const S_IFDIR: u32 = 0o40_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFCHR: u32 = 0o20_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const S_IFLNK: u32 = 0o120_000;

/// The magic number of procfs.
pub const PROC_MAGIC: u64 = 0x9fa0;

/// The magic number of sysfs.
pub const SYSFS_MAGIC: u64 = 0x6265_6572;
/// The magic number of devpts.
pub const DEVPTS_MAGIC: u64 = 0x1cd1;

pub const STATX_BASIC: u32 = 0x7ff;
pub const STATX_MNT_ID: u32 = 0x1000;

#[repr(C)]
pub struct Statx {
    pub mask: u32,
    pub blksize: u32,
    pub attributes: u64,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    pub pad: u16,
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub attributes_mask: u64,
    pub times: [u64; 8],
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub dev_major: u32,
    pub dev_minor: u32,
    pub mount_id: u64,
    pub rest: [u64; 13],
}

/// The kernel's encoding of a device number as mknod(2) takes it.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) as u64
}

pub const OPEN_TREE_CLONE: u32 = 1;
pub const OPEN_TREE_CLOEXEC: u32 = O_CLOEXEC as u32;
pub const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
pub const MOVE_MOUNT_T_SYMLINKS: u32 = 0x10;
pub const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
pub const FSOPEN_CLOEXEC: u32 = 1;
pub const FSMOUNT_CLOEXEC: u32 = 1;
pub const FSCONFIG_SET_FLAG: u32 = 0;
pub const FSCONFIG_SET_STRING: u32 = 1;
pub const FSCONFIG_CMD_CREATE: u32 = 6;
pub const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
pub const FSPICK_CLOEXEC: u32 = 1;
pub const FSPICK_EMPTY_PATH: u32 = 8;
pub const MOUNT_ATTR_RDONLY: u64 = 1;
pub const MOUNT_ATTR_NOSUID: u64 = 2;
pub const MOUNT_ATTR_NODEV: u64 = 4;
pub const MOUNT_ATTR_NOEXEC: u64 = 8;
pub const MOUNT_ATTR_ATIME: u64 = 0x70;
pub const MS_REC: u64 = 1 << 14;
pub const MS_PRIVATE: u64 = 1 << 18;
pub const MNT_DETACH: u32 = 2;
pub const UMOUNT_NOFOLLOW: u32 = 8;

#[repr(C)]
#[derive(Default)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub userns_fd: u64,
}

pub const CLONE_NEWNS: u64 = 0x2_0000;
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
pub const CLONE_NEWPID: u64 = 0x2000_0000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_VFORK: u64 = 0x4000;
pub const CLONE_VM: u64 = 0x100;
pub const CLONE_FS: u64 = 0x200;
pub const CLONE_FILES: u64 = 0x400;
pub const CLONE_SIGHAND: u64 = 0x800;
pub const CLONE_THREAD: u64 = 0x1_0000;
pub const CLONE_SYSVSEM: u64 = 0x4_0000;
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

pub const SIGKILL: u32 = 9;
pub const SIGCHLD: u64 = 17;
pub const P_PIDFD: u32 = 3;
pub const WEXITED: u32 = 4;
pub const POLLIN: i16 = 1;
pub const POLLHUP: i16 = 0x10;
pub const MFD_CLOEXEC: u32 = 1;

#[repr(C)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}

/// `siginfo_t` as `waitid` fills it: code and status of a child that ended.
#[repr(C)]
#[derive(Default)]
pub struct SigInfo {
    pub signo: i32,
    pub errno: i32,
    pub code: i32,
    pub pad: i32,
    pub pid: i32,
    pub uid: u32,
    pub status: i32,
    pub rest: [u32; 25],
}

pub const F_SETPIPE_SZ: u32 = 1031;

pub const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;

pub const AF_INET: i32 = 2;
pub const SOCK_DGRAM: i32 = 2;
pub const SOCK_CLOEXEC: i32 = 0o2_000_000;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const IFF_UP: u16 = 1;

#[repr(C)]
pub struct IfReq {
    pub name: [u8; 16],
    pub flags: u16,
    pub pad: [u8; 22],
}

pub const TIOCSCTTY: u32 = 0x540e;
pub const TIOCSWINSZ: u32 = 0x5414;
pub const TIOCSPTLCK: u32 = 0x4004_5431;
pub const TIOCGPTPEER: u32 = 0x5441;

#[repr(C)]
pub struct WinSize {
    pub rows: u16,
    pub cols: u16,
    pub x: u16,
    pub y: u16,
}

pub const MSG_NOSIGNAL: u32 = 0x4000;
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
pub const SOL_SOCKET: i32 = 1;
pub const SCM_RIGHTS: i32 = 1;

#[repr(C)]
pub struct IoVec {
    pub base: *mut u8,
    pub len: usize,
}

#[repr(C)]
pub struct MsgHdr {
    pub name: *mut u8,
    pub name_len: u32,
    pub iov: *mut IoVec,
    pub iov_len: usize,
    pub control: *mut u8,
    pub control_len: usize,
    pub flags: u32,
}

/// A control message with one descriptor, as both sides send it.
#[repr(C)]
pub struct OneFd {
    pub len: usize,
    pub level: i32,
    pub kind: i32,
    pub fd: i32,
    pub pad: i32,
}

pub const PROT_READ: u32 = 1;
pub const PROT_WRITE: u32 = 2;
pub const MAP_SHARED: u32 = 1;
pub const MAP_PRIVATE: u32 = 2;
pub const MAP_ANONYMOUS: u32 = 0x20;

pub const PR_SET_PDEATHSIG: u32 = 1;
pub const PR_SET_DUMPABLE: u32 = 4;
pub const PR_SET_KEEPCAPS: u32 = 8;
pub const PR_CAPBSET_DROP: u32 = 24;
pub const PR_SET_NO_NEW_PRIVS: u32 = 38;
pub const PR_CAP_AMBIENT: u32 = 47;
pub const PR_CAP_AMBIENT_RAISE: usize = 2;
pub const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;

pub const CAP_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
pub struct CapHeader {
    pub version: u32,
    pub pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CapData {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

#[repr(C)]
pub struct SockFprog {
    pub len: u16,
    pub filter: *const u8,
}

pub const CLOSE_RANGE_CLOEXEC: u32 = 4;
