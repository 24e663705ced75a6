//! The script's records and how they are read.
//!
//! A script is [`MAGIC`], the number of steps in the plan, the start options, then records until
//! the end: `code: u32, step: u32, length: u32, payload`, each record padded to 8 bytes. Strings
//! are NUL-terminated in place, so that init passes them to the kernel without copying. Reading
//! never trusts a length: a malformed script ends as `None`, not as a fault.

use core::ffi::CStr;

/// The first eight bytes of every script; the last one is the format's version.
pub const MAGIC: u64 = u64::from_le_bytes(*b"oxrun\0s\x01");

/// The longest script in bytes that comes in a message and not as a file. Most are a third of it.
pub const ROOM: usize = 16 << 10;

/// Reads fields one after the other from a script's bytes.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Takes the next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    /// Skips to the next multiple of 8.
    pub fn align(&mut self) -> Option<()> {
        let pad = self.at.wrapping_neg() & 7;
        self.take(pad).map(|_| ())
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

/// Where a script's bytes go when it is written.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
    /// Pads to the next multiple of 8.
    fn pad(&mut self);
}

/// A type that can stand in a record.
pub trait Field<'a>: Sized {
    /// Reads one value.
    fn read(r: &mut Reader<'a>) -> Option<Self>;
    /// Writes one value.
    fn write<S: Sink>(&self, s: &mut S);
}

macro_rules! number {
    ($($t:ty)*) => {$(
        impl<'a> Field<'a> for $t {
            fn read(r: &mut Reader<'a>) -> Option<Self> {
                let bytes = r.take(core::mem::size_of::<$t>())?;
                Some(<$t>::from_le_bytes(bytes.try_into().ok()?))
            }
            fn write<S: Sink>(&self, s: &mut S) {
                s.put(&self.to_le_bytes());
            }
        }
    )*};
}
number!(u32 i32 u64);

/// Bytes aligned to 8, so that a BPF program or a list of ids can be used in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Bytes<'a> {
    fn read(r: &mut Reader<'a>) -> Option<Self> {
        let n = u32::read(r)? as usize;
        r.align()?;
        Some(Bytes(r.take(n)?))
    }
    fn write<S: Sink>(&self, s: &mut S) {
        (self.0.len() as u32).write(s);
        s.pad();
        s.put(self.0);
    }
}

impl<'a> Field<'a> for &'a CStr {
    fn read(r: &mut Reader<'a>) -> Option<Self> {
        let n = u32::read(r)? as usize;
        CStr::from_bytes_with_nul(r.take(n)?).ok()
    }
    fn write<S: Sink>(&self, s: &mut S) {
        let bytes = self.to_bytes_with_nul();
        (bytes.len() as u32).write(s);
        s.put(bytes);
    }
}

/// A list of strings, kept in its encoded form: NUL-terminated one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strs<'a> {
    /// How many strings there are.
    pub count: u32,
    /// The strings, each with its NUL.
    pub bytes: &'a [u8],
}

impl<'a> Strs<'a> {
    /// The strings in order. Stops early if a NUL is missing.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| {
            let s = CStr::from_bytes_until_nul(rest).ok()?;
            rest = rest.get(s.to_bytes_with_nul().len()..)?;
            Some(s)
        })
    }
}

impl<'a> Field<'a> for Strs<'a> {
    fn read(r: &mut Reader<'a>) -> Option<Self> {
        let count = u32::read(r)?;
        let n = u32::read(r)? as usize;
        Some(Strs { count, bytes: r.take(n)? })
    }
    fn write<S: Sink>(&self, s: &mut S) {
        self.count.write(s);
        (self.bytes.len() as u32).write(s);
        s.put(self.bytes);
    }
}

macro_rules! ops {
    ($($(#[$doc:meta])* $code:literal $name:ident { $($(#[$fdoc:meta])* $field:ident: $t:ty),* $(,)? })*) => {
        /// One record of a script: one operation of init.
        #[derive(Clone, Copy, PartialEq, Debug)]
        #[allow(missing_docs)] // the fields are the arguments named in each operation's sentence
        pub enum Op<'a> { $($(#[$doc])* $name { $($(#[$fdoc])* $field: $t),* },)* }

        impl<'a> Op<'a> {
            /// Reads the operation `code` from its payload.
            fn read(code: u32, r: &mut Reader<'a>) -> Option<Self> {
                match code {
                    $($code => Some(Op::$name { $($field: <$t as Field<'a>>::read(r)?),* }),)*
                    _ => None,
                }
            }

            /// The record's code.
            #[must_use]
            pub fn code(&self) -> u32 {
                match self { $(Op::$name { .. } => $code,)* }
            }

            /// Writes the payload.
            pub fn write<S: Sink>(&self, s: &mut S) {
                let _ = &s;
                match self { $(Op::$name { $($field),* } => { $($field.write(s);)* })* }
            }
        }
    };
}

ops! {
    /// Tell the host that the steps before are done and wait until it has done its own.
    1 Barrier {}
    /// Write "0" into each of these v1 `tasks` files.
    2 JoinTasks { files: Strs<'a> }
    /// Write a value to `/proc/self/oom_score_adj`.
    3 OomScoreAdj { value: &'a CStr }
    /// Enter an existing namespace of the kind `CLONE_NEW...` given by a path.
    4 SetNs { path: &'a CStr, kind: u32 }
    /// Make a new user namespace. The host writes the maps at the next barrier.
    5 NewUser {}
    /// Become uid 0 and gid 0 of the user namespace, without supplementary groups if that is allowed there.
    6 BecomeRoot { drop_groups: u32 }
    /// Clone the container's process with these `CLONE_NEW...` flags, into a v2 cgroup unless
    /// the path is empty. The caller of clone exits, the clone goes on with the next record.
    7 Clone { flags: u64, cgroup: &'a CStr }
    /// Make new namespaces for this process itself.
    8 Unshare { flags: u32 }
    /// Start a session; join a new session keyring of this name unless it is empty.
    9 Session { keyring: &'a CStr }
    /// Set the host name.
    10 Hostname { name: &'a CStr }
    /// Set the NIS domain name.
    11 Domainname { name: &'a CStr }
    /// Set the loopback interface up.
    12 Loopback {}
    /// Change the propagation of everything mounted here (`MS_...`).
    13 Propagation { flags: u64 }
    /// Clone the root filesystem's tree and attach it where it lies; with an empty path it is what came with the
    /// last "go". With `alone` no procfs or sysfs that is covered by it is left.
    14 Root { path: &'a CStr, alone: u32 }
    /// Make a mount namespace for the set-up, and remember the one that it was copied from.
    71 HideMounts {}
    /// Go back to the mount namespace that was remembered, with a clone of everything below the root as the root.
    72 LeaveMounts {}
    /// Make the directory that came with the last "go" the root.
    73 EnterRoot {}
    /// Make a filesystem and attach it. `require` is a set of [`require`] bits.
    15 Mount {
        fstype: &'a CStr, source: &'a CStr, dest: &'a CStr, attr: u64, propagation: u64,
        require: u32, data: Strs<'a>,
        /// The SELinux label of its root directory; none if it is empty.
        label: &'a CStr
    }
    /// Clone a tree of the host and attach it. `device` is the number of the node that the source must be.
    16 Bind {
        source: &'a CStr, dest: &'a CStr, flags: u32, set: u64, clear: u64, rset: u64, rclear: u64,
        propagation: u64, device: u64
    }
    /// Change the attributes of the mount at a path of the container.
    17 SetAttr { dest: &'a CStr, set: u64, clear: u64, recursive: u32, propagation: u64 }
    /// Make a device node. `mode` holds the type.
    18 Device { path: &'a CStr, mode: u32, dev: u64, uid: u32, gid: u32 }
    /// Make a symbolic link.
    19 Symlink { target: &'a CStr, path: &'a CStr }
    /// Open the container's terminal, put it on 0, 1 and 2 and, with `device`, over `/dev/console`; send its
    /// controlling side with the next barrier.
    20 Console { uid: u32, gid: u32, width: u32, height: u32, device: u32 }
    /// Cover a path: a file by the null device, a directory by an empty read-only one, whose filesystem has
    /// these data.
    21 Mask { path: &'a CStr, data: Strs<'a> }
    /// Make a path of the container read-only.
    22 Readonly { path: &'a CStr }
    /// Make the root mount read-only.
    23 RootReadonly {}
    /// Make the container's root the root and let go of the old one; with `move_root` by moving
    /// the mount instead of `pivot_root`. With `proc` something is written to the procfs afterwards.
    24 Pivot { move_root: u32, propagation: u64, proc: u32 }
    /// Write a sysctl. The key has slashes.
    25 Sysctl { key: &'a CStr, value: &'a CStr }
    /// Set a resource limit.
    26 Rlimit { resource: u32, soft: u64, hard: u64 }
    /// Forbid new privileges.
    27 NoNewPrivs {}
    /// Go to the working directory. `create` makes a missing one.
    28 Cwd { path: &'a CStr, create: u32, uid: u32, gid: u32 }
    /// Set the file mode creation mask.
    29 Umask { mask: u32 }
    /// Keep only these capabilities in the bounding set.
    30 Bounding { keep: u64, last: u32 }
    /// Set the supplementary groups, group and user. `groups` holds little-endian u32; with
    /// `keep_groups` the groups stay as they are.
    31 Identity { uid: u32, gid: u32, keep_groups: u32, groups: Bytes<'a> }
    /// Set the capability sets.
    32 Caps { effective: u64, permitted: u64, inheritable: u64 }
    /// Find HOME of this user in the container's passwd file.
    33 Home { uid: u32 }
    /// Find the program: try each path in order as the user it will run as.
    34 Lookup { candidates: Strs<'a> }
    /// Report to the host that the container is created and wait for `start`; with `at_once` wait only until the host has
    /// recorded the container, and go on: the control socket is closed by the execve.
    35 Created { at_once: u32 }
    /// Load a system call filter. `filter` is an array of `struct sock_filter`.
    36 Seccomp { flags: u32, filter: Bytes<'a> }
    /// Make ready for handing the listener of the next filter to the host: through the socket that came with
    /// the last "go". After [`Op::Created`] it is one that listens.
    70 Listener {}
    /// Become the program that [`Op::Lookup`] found, with what [`Op::Arguments`] laid out.
    37 Exec {}
    /// Empty the ambient set, then raise these one by one.
    38 Ambient { set: u64 }
    /// Open the v2 cgroup of a later clone, while the host's paths are in reach.
    50 OpenCgroup { path: &'a CStr }
    /// Open a v1 `tasks` file for [`Op::JoinOpened`].
    53 OpenTasks { path: &'a CStr }
    /// Write "0" into the `tasks` file that was opened.
    54 JoinOpened {}
    /// Enter the namespaces of the process whose pidfd came in the fifo's place.
    51 Enter { flags: u32 }
    /// Tell the host that the process is set up, and go on: the control socket is closed by the execve.
    52 Ready {}
    /// Lay out arguments and environment: nothing may be needed for it once a filter is loaded.
    39 Arguments { argv: Strs<'a>, envp: Strs<'a> }
    /// Run a hook and wait for its end. `flags` is a set of [`hook`] bits; `timeout` is in seconds, 0 for
    /// none. The state on its stdin is `before`, the pid of this process, `after`.
    40 Hook {
        path: &'a CStr, argv: Strs<'a>, envp: Strs<'a>, flags: u32, timeout: u64, before: Bytes<'a>,
        after: Bytes<'a>
    }
    /// Bind this process to the processors of a mask of bits.
    60 Affinity { mask: Bytes<'a> }
    /// Set the scheduler. `attr` is a `struct sched_attr`.
    61 Scheduler { attr: Bytes<'a> }
    /// Set the I/O priority: the class shifted by 13, and the level.
    62 IoPriority { value: u32 }
    /// Set the memory policy: `MPOL_...` with its flags, and the nodes as a mask of bits.
    63 MemoryPolicy { mode: u32, nodes: Bytes<'a> }
    /// Make a filesystem by mount(2), whose data may be longer than fsconfig(2) takes, and attach it.
    65 OldMount {
        fstype: &'a CStr, source: &'a CStr, dest: &'a CStr, flags: u64, propagation: u64, require: u32,
        data: &'a CStr, label: &'a CStr
    }
    /// Change the mount on a path of the container, and its filesystem if that is said.
    66 Remount {
        dest: &'a CStr, filesystem: u32, set: u64, clear: u64, rset: u64, rclear: u64, propagation: u64,
        data: Strs<'a>
    }
    /// Write the security label of the next execve to a file of this process in procfs.
    64 ProgramLabel { file: &'a CStr, label: &'a CStr }
    /// Set the execution domain.
    41 Personality { domain: u32 }
}

/// Whose filter a listener belongs to: the message that comes with it.
pub mod listener {
    /// The process that becomes the program.
    pub const PROGRAM: u32 = 0;
    /// A hook; another listener follows.
    pub const HOOK: u32 = 1;
}

/// What a mount asks of the directory it goes on.
pub mod require {
    /// An ordinary directory of the root's own tree: neither reached through a symbolic link nor
    /// a mount of another kind (`proc` and `sysfs`: CVE-2019-19921).
    pub const ORDINARY: u32 = 1;
    /// Take the mode of a new tmpfs from the directory that it covers.
    pub const MODE_OF_TARGET: u32 = 2;
    /// Copy what the filesystem covers into it.
    pub const COPY_UP: u32 = 4;
    /// Remember the filesystem: a remount that follows changes it only if it was made here.
    pub const REMEMBER: u32 = 8;
}

/// Flags of [`Op::Hook`].
pub mod hook {
    /// It runs as the program will: under the filter that stands further on in the script, with the program's
    /// capabilities, working directory and file mode creation mask.
    pub const AS_PROGRAM: u32 = 1;
    /// It gets the program's environment instead of its own.
    pub const INHERIT: u32 = 2;
}

/// Flags of [`Op::Bind`].
pub mod bind {
    /// Clone the whole tree below the source.
    pub const RECURSIVE: u32 = 1;
    /// The source must be a procfs: nothing else may lie on /proc (CVE-2019-16884).
    pub const PROC: u32 = 2;
    /// The source must be a character device with the number given.
    pub const CHAR: u32 = 4;
    /// The source must be a block device with the number given.
    pub const BLOCK: u32 = 8;
}

/// A record: the number of the plan's step it belongs to, from 1, and the operation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Record<'a> {
    /// The step's number in the plan.
    pub step: u32,
    /// What to do.
    pub op: Op<'a>,
}

/// What holds for a whole script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Number of steps in the plan, of all lanes.
    pub steps: u32,
    /// Number of file descriptors above 2 that the program inherits.
    pub preserve: u32,
    /// Whether init may be traced by its own user while it sets up. Only for a caller that is
    /// not root and whose access to `/proc/PID` would otherwise end.
    pub dumpable: u32,
}

/// A script being read.
pub struct Script<'a> {
    /// The script's header.
    pub header: Header,
    reader: Reader<'a>,
}

impl<'a> Script<'a> {
    /// Opens a script; `None` if it is not one.
    #[must_use]
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if u64::read(&mut reader)? != MAGIC {
            return None;
        }
        let header = Header {
            steps: u32::read(&mut reader)?,
            preserve: u32::read(&mut reader)?,
            dumpable: u32::read(&mut reader)?,
        };
        reader.align()?;
        Some(Script { header, reader })
    }

    /// The next record: `None` at the end, `Some(None)` if the bytes make no sense.
    #[allow(clippy::should_implement_trait)] // an Iterator cannot tell the two ends apart
    pub fn next(&mut self) -> Option<Option<Record<'a>>> {
        if self.reader.is_empty() {
            return None;
        }
        Some(self.record())
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let r = &mut self.reader;
        let (code, step, _) = (u32::read(r)?, u32::read(r)?, u32::read(r)?);
        let op = Op::read(code, r)?;
        r.align()?;
        Some(Record { step, op })
    }
}
