//! The first moments: descriptors, the two mappings, signals; and the talk with the host.
//!
//! The host hands everything over in one message on descriptor 0: stdout, stderr, the preserved
//! descriptors, the start fifo, the fault page, stdin. Nothing else was open, so they
//! arrive as 1, 2, 3 ... in this order, and only stdin and the socket itself have to be moved. The script is
//! behind the first words of that message, or a file.

use crate::fault::{Detail, SIZE};
use crate::kernel::*;
use crate::script::ROOM;
use crate::sys::{self, Errno, Fd, Stop};
use core::cell::UnsafeCell;
use core::mem::size_of;

/// What init carries from one step to the next.
pub struct Ctx {
    /// The script's bytes, there for good.
    pub script: &'static [u8],
    /// The control socket; -1 after `created`, when nobody is asked and nobody asks any more.
    pub control: i32,
    /// The start fifo, or the pidfd of the container's process; for a program that begins at once it is nothing.
    pub fifo: i32,
    /// The first descriptor that the program does not inherit.
    pub first_private: u32,
    /// What is done with and still open: bit 0 is `first_private`. See [`Ctx::later`].
    done: u64,
    /// How many descriptors from `first_private` on may wait there.
    pub room: u32,
    /// Whether this process stays traceable by its user.
    pub dumpable: bool,
    /// The container's root.
    pub root: Option<Fd>,
    /// The directory that the last device or link was made in, with its path, until anything else is done.
    pub parent: Option<(&'static [u8], Fd)>,
    /// The mount namespace to go back to; then the tree that nobody but this process has.
    pub mounts: Option<Fd>,
    /// The procfs that was mounted on /proc.
    pub proc: Option<Fd>,
    /// What is bound on /proc instead. Its numbers may be those of another pid namespace: nothing is written there.
    pub bound_proc: Option<Fd>,
    /// The sysfs that was mounted on /sys, or what is bound there instead.
    pub sys: Option<Fd>,
    pub bound_sys: Option<Fd>,
    /// A procfs that nobody else sees, where there is none on /proc.
    pub private_proc: Option<Fd>,
    /// The devpts that was mounted on /dev/pts.
    pub devpts: Option<Fd>,
    /// The tmpfs that was mounted on /dev, for as long as nothing can lie over it.
    pub dev: Option<Fd>,
    /// The devices of the filesystems that were mounted, and how many there are.
    pub mounted: ([u64; 64], usize),
    /// The empty directory that covers masked directories, and the null device that covers masked files: the first
    /// of each, which is attached.
    pub empty: Option<Fd>,
    pub null: Option<Fd>,
    /// The v2 cgroup that the clone is born in.
    pub cgroup: Option<Fd>,
    /// The `tasks` file of a v1 cgroup that the clone moves to.
    pub tasks: Option<Fd>,
    /// What the host sent with its last "go".
    pub received: Option<Fd>,
    /// What the process waits with until the agent has the filter's listener.
    pub handover: Option<crate::listener::Handover>,
    /// Where the clone's pid is told, so that the host is not woken for it.
    pub aside: Option<Fd>,
    /// What the next "reached" takes along.
    pub send: Option<Fd>,
    /// The working directory could not be entered yet.
    pub pending_cwd: Option<&'static core::ffi::CStr>,
    /// The program that was found.
    pub program: Option<&'static core::ffi::CStr>,
    /// The vectors of the last execve.
    pub argv: usize,
    pub envp: usize,
    /// "HOME=..." with a NUL, if it was looked up.
    pub home: [u8; 256],
}

/// How many descriptors wait at most until they are closed: one for each bit.
const WAITING: u32 = u64::BITS;

/// The beginning of the host's first message.
#[repr(C)]
struct Hello {
    script_len: u32,
    preserve: u32,
    /// Whether the script is a file.
    file: u32,
    /// Whether there is a socket for the process that clones.
    aside: u32,
}

/// Where a script arrives that is no file.
#[repr(align(8))]
struct Place(UnsafeCell<[u8; ROOM]>);

// SAFETY: written once, when there is nobody else.
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new([0; ROOM]));

/// The script: what came with the first message, or a mapping of the file.
fn script(len: usize, file: Option<i32>) -> &'static [u8] {
    let at = match file.map(|file| sys::mmap(len, PROT_READ, MAP_PRIVATE, file)) {
        None if len <= ROOM => PLACE.0.get() as *const u8,
        Some(Ok(at)) => at as *const u8,
        _ => sys::exit(252),
    };
    // SAFETY: `len` bytes of the place, which is not written any more, or of a private read-only mapping of a sealed
    // file, which is never unmapped.
    unsafe { core::slice::from_raw_parts(at, len) }
}

/// Takes over what the host hands out: two streams, what is preserved, fifo, fault page, stdin, perhaps a script, and
/// perhaps a socket to tell the clone's pid. There is no fault page yet: failures here are told by the
/// exit status alone, and the host says that init never began.
pub fn boot() -> Ctx {
    let mut hello = Hello { script_len: 0, preserve: 0, file: 0, aside: 0 };
    // Room for the 253 descriptors that one message can carry.
    let mut control = [0u64; 130];
    let mut iov = [
        IoVec { base: (&raw mut hello).cast(), len: size_of::<Hello>() },
        IoVec { base: PLACE.0.get().cast(), len: ROOM },
    ];
    let mut msg = MsgHdr {
        name: core::ptr::null_mut(),
        name_len: 0,
        iov: iov.as_mut_ptr(),
        iov_len: iov.len(),
        control: control.as_mut_ptr().cast(),
        control_len: size_of_val(&control),
        flags: 0,
    };
    let received = sys::recvmsg(0, &mut msg, 0);
    let is_file = hello.file != 0;
    let len = hello.script_len as usize;
    if received != Ok(size_of::<Hello>() + if is_file { 0 } else { len }) {
        sys::exit(254);
    }
    let base = 3 + hello.preserve as i32;
    let (fifo, fault, stdin) = (base, base + 1, base + 2);
    let file = is_file.then_some(base + 3);
    let aside = (hello.aside != 0).then_some(base + 3 + i32::from(is_file));
    match sys::mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fault) {
        Ok(at) => sys::set_page(at),
        Err(_) => sys::exit(253),
    }
    let script = script(len, file);
    // The control socket gets the next number, stdin its own.
    let control = aside.or(file).unwrap_or(stdin) + 1;
    if sys::dup3(0, control, O_CLOEXEC).is_err() || sys::dup3(stdin, 0, 0).is_err() {
        sys::exit(251);
    }
    let mut ctx = Ctx {
        script,
        control,
        fifo,
        first_private: base as u32,
        done: 0,
        room: 0,
        dumpable: false,
        root: None,
        parent: None,
        mounts: None,
        proc: None,
        bound_proc: None,
        sys: None,
        bound_sys: None,
        private_proc: None,
        devpts: None,
        dev: None,
        mounted: ([0; 64], 0),
        empty: None,
        null: None,
        cgroup: None,
        tasks: None,
        received: None,
        handover: None,
        aside: aside.map(|fd| Fd::own(fd as usize)),
        send: None,
        pending_cwd: None,
        program: None,
        argv: 0,
        envp: 0,
        home: [0; 256],
    };
    // Where few descriptors are allowed none of them is to wait.
    match sys::most_descriptors() {
        Ok(most) if most >= u64::from(ctx.first_private + 2 * WAITING) => ctx.room = WAITING,
        Ok(_) => {}
        Err(e) => sys::die(&e.into()),
    }
    for fd in [Some(fault), Some(stdin), file].into_iter().flatten() {
        ctx.later(Fd::own(fd as usize));
    }
    reset_signals(&mut ctx);
    sys::umask(0);
    // A caller that is bound to some processors does not bind its containers.
    sys::all_processors();
    ctx
}

/// Unblocks all signals and gives each ignored one its default disposition: both survive exec.
fn reset_signals(ctx: &mut Ctx) {
    sys::unblock_signals();
    let ignored = ignored_signals(ctx).unwrap_or(u64::MAX);
    for signal in 1..=64 {
        if ignored & (1 << (signal - 1)) != 0 {
            sys::default_signal(signal);
        }
    }
}

/// The line `SigIgn` of the host's /proc/self/status. Without a /proc every signal is reset.
fn ignored_signals(ctx: &mut Ctx) -> Option<u64> {
    let mut buf = [0u8; 2048];
    let file = sys::open_host(c"/proc/self/status", O_RDONLY).ok()?;
    let n = sys::read(file.raw(), &mut buf).ok()?;
    ctx.later(file);
    let text = buf.get(..n)?;
    let at = text.windows(8).position(|w| w == b"SigIgn:\t")?;
    let mut mask = 0u64;
    for &digit in text.get(at + 8..at + 24)? {
        mask = mask << 4 | u64::from((digit as char).to_digit(16)?);
    }
    Some(mask)
}

impl Ctx {
    /// The root's descriptor.
    pub fn root(&self) -> Result<&Fd, Stop> {
        self.root.as_ref().ok_or_else(|| Stop::detail(Detail::BadScript, b"no root"))
    }

    /// Puts off the closing of what is done with: one call closes many that lie beside each other. Only for what
    /// nothing is written through and what leads to no directory of the host. All are closed before anybody else acts
    /// and when the root is changed.
    pub fn later(&mut self, fd: Fd) {
        let at = (fd.raw() as u32).wrapping_sub(self.first_private);
        if at < self.room {
            self.done |= 1 << at;
            fd.leave();
        }
    }

    /// The same of what may not be there.
    pub fn later_if(&mut self, fd: Option<Fd>) {
        if let Some(fd) = fd {
            self.later(fd);
        }
    }

    /// Closes what waits.
    pub fn sweep(&mut self) -> Result<(), Errno> {
        while self.done != 0 {
            let first = self.done.trailing_zeros();
            let count = (self.done >> first).trailing_ones();
            let start = self.first_private + first;
            sys::close_range(start, start + count - 1)?;
            self.done &= !((u64::MAX >> (64 - count)) << first);
        }
        Ok(())
    }

    /// Closes what waits if there is little room left.
    pub fn sweep_if_full(&mut self) -> Result<(), Errno> {
        match self.done.leading_zeros() < 8 {
            true => self.sweep(),
            false => Ok(()),
        }
    }

    /// Makes this process untraceable, unless its caller needs it otherwise. Repeated after each
    /// change of credentials, which sets the flag anew.
    pub fn set_dumpable(&self) {
        if !self.dumpable {
            let _ = sys::prctl(PR_SET_DUMPABLE, 0, 0);
        }
    }

    /// Makes this process untraceable for good.
    pub fn never_dumpable(&mut self) {
        if self.dumpable {
            self.dumpable = false;
            self.set_dumpable();
        }
    }

    /// Says "reached" and waits for "go".
    pub fn barrier(&mut self, step: u32) -> Result<(), Stop> {
        self.sweep()?;
        let fd = self.send.take();
        self.tell(step, 0, fd.as_ref())?;
        drop(fd);
        self.wait_for_go()
    }

    /// Waits for "go". The end of the stream means that the creator is gone.
    pub fn wait_for_go(&mut self) -> Result<(), Stop> {
        let mut go = 0u32;
        let mut one = OneFd { len: 0, level: 0, kind: 0, fd: -1, pad: 0 };
        let mut iov = IoVec { base: (&raw mut go).cast(), len: 4 };
        let mut msg = header(&mut iov, Some(&mut one));
        let n = sys::recvmsg(self.control, &mut msg, MSG_CMSG_CLOEXEC);
        if n == Ok(0) || n == Err(Errno(ECONNRESET)) {
            return Err(Stop::detail(Detail::HostGone, b""));
        }
        n?;
        self.received = (msg.control_len >= 20 && one.kind == SCM_RIGHTS && one.fd >= 0)
            .then(|| Fd::own(one.fd as usize));
        Ok(())
    }

    /// Sends a message: the step, a pid where there is one, and a descriptor.
    pub fn tell(&self, step: u32, pid: u32, fd: Option<&Fd>) -> Result<(), Stop> {
        let mut words = [step, pid];
        let mut iov = IoVec { base: words.as_mut_ptr().cast(), len: 8 };
        let mut one =
            OneFd { len: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fd: fd.map_or(-1, Fd::raw), pad: 0 };
        let msg = header(&mut iov, fd.is_some().then_some(&mut one));
        sys::sendmsg(self.control, &msg)?;
        Ok(())
    }
}

/// Sends a few bytes and a descriptor from the second thread.
pub fn send_late(socket: i32, bytes: &mut [u8], fd: i32) -> Result<(), Errno> {
    let mut iov = IoVec { base: bytes.as_mut_ptr(), len: bytes.len() };
    let mut one = OneFd { len: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fd, pad: 0 };
    sys::sendmsg_late(socket, &header(&mut iov, Some(&mut one)))
}

fn header(iov: &mut IoVec, one: Option<&mut OneFd>) -> MsgHdr {
    let control_len = if one.is_some() { size_of::<OneFd>() } else { 0 };
    MsgHdr {
        name: core::ptr::null_mut(),
        name_len: 0,
        iov,
        iov_len: 1,
        control: one.map_or(core::ptr::null_mut(), |o| (o as *mut OneFd).cast()),
        control_len,
        flags: 0,
    }
}
