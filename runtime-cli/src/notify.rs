//! Between the container's program, which says that it is ready (sd_notify(3)), and the service manager of the caller.
//!
//! What must hold: only the word that the program is ready is passed on, with the pid that the manager is to watch: of
//! everything else it may say, a manager would believe it more than it should. A program that ends unready, or a manager
//! that is gone, holds nobody up.

use crate::cmd::{Ctx, Failure};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::File;
use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

/// How long a manager may take to read what it was sent, in milliseconds, as in runc.
const BARRIER: u16 = 30_000;

/// Where the manager listens; empty counts as unset.
fn manager() -> Option<std::ffi::OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|v| !v.is_empty())
}

/// The directory for a new container, if the caller wants to hear from it.
pub(crate) fn directory(ctx: &Ctx<'_>, id: &str) -> Result<Option<PathBuf>, Failure> {
    match manager() {
        Some(_) => Ok(Some(ctx.state_root()?.path.join(id).join("notify"))),
        None => Ok(None),
    }
}

/// What the program has said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Ready,
    /// It cannot be heard any more: the socket would be ready again at once, for ever.
    Lost,
}

/// The program's socket and the manager's.
pub(crate) struct Proxy {
    inside: UnixDatagram,
    manager: UnixDatagram,
}

impl Proxy {
    /// Makes the socket of a container. `None` if nobody wants to hear, or it was created for nobody.
    pub(crate) fn open(ctx: &Ctx<'_>, id: &str) -> Result<Option<Proxy>, Failure> {
        let (Some(name), Some(directory)) = (manager(), directory(ctx, id)?) else {
            return Ok(None);
        };
        let failed = |what: String, e: &std::io::Error| {
            Failure::plain(format!("{what}: {}", oxrun_core::errno_text(e.raw_os_error().unwrap_or(0))))
        };
        let mut options = std::fs::OpenOptions::new();
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let handle: File = match options.read(true).custom_flags(flags.bits()).open(&directory) {
            Ok(handle) => handle,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(format!("open({})", directory.display()), &e)),
        };
        let manager = UnixDatagram::unbound().map_err(|e| failed("socket(AF_UNIX)".to_owned(), &e))?;
        connect(&manager, &name)
            .map_err(|e| failed(format!("connect({}): NOTIFY_SOCKET", name.to_string_lossy()), &e))?;
        // By the descriptor: a path of the state root may be longer than an address.
        let place = PathBuf::from(format!("/proc/self/fd/{}/notify.sock", handle.as_raw_fd()));
        let inside = UnixDatagram::bind(&place).or_else(|e| match e.kind() {
            // Of a `start` that was killed.
            ErrorKind::AddrInUse => std::fs::remove_file(&place).and_then(|()| UnixDatagram::bind(&place)),
            _ => Err(e),
        });
        let inside = inside.map_err(|e| failed(format!("bind({}/notify.sock)", directory.display()), &e))?;
        open_to_all(&place).map_err(|e| failed(format!("chmod({}/notify.sock)", directory.display()), &e))?;
        inside.set_nonblocking(true).map_err(|e| failed("fcntl(O_NONBLOCK)".to_owned(), &e))?;
        Ok(Some(Proxy { inside, manager }))
    }

    /// Waits until the program has said that it is ready, or has ended.
    pub(crate) fn wait(&self, pidfd: Option<BorrowedFd<'_>>, pid: u32) {
        loop {
            let mut fds = vec![PollFd::new(self.inside.as_fd(), PollFlags::POLLIN)];
            fds.extend(pidfd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(_) => return,
            }
            let ended = fds.get(1).is_none_or(|fd| fd.any().unwrap_or(true));
            let word = self.word();
            if word == Word::Ready {
                let barrier = self.tell(pid);
                // The manager looks up who has sent a message when it reads it: until then we have to be there.
                if let Some(barrier) = barrier {
                    let _ = poll(&mut [PollFd::new(barrier.as_fd(), PollFlags::empty())], BARRIER);
                }
                return;
            }
            if ended || word == Word::Lost {
                return;
            }
        }
    }

    /// Passes on that the program is ready if it has said so; `pid` is the one to watch. Whether nothing more is to be
    /// heard.
    pub(crate) fn relay(&self, pid: u32) -> bool {
        let word = self.word();
        if word == Word::Ready {
            drop(self.tell(pid));
        }
        word != Word::None
    }

    /// What the messages that are there say.
    fn word(&self) -> Word {
        let mut message = [0u8; 4096];
        loop {
            let length = match self.inside.recv(&mut message) {
                Ok(length) => length,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Word::None,
                Err(_) => return Word::Lost,
            };
            let mut lines = message.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
            if lines.any(|line| line == b"READY=1") {
                return Word::Ready;
            }
        }
    }

    /// Tells the manager. The end that is returned hangs up when the manager has read everything.
    fn tell(&self, pid: u32) -> Option<OwnedFd> {
        // A manager that does not listen any more has no use for it.
        self.manager.send(b"READY=1\n").ok()?;
        self.manager.send(format!("MAINPID={pid}\n").as_bytes()).ok()?;
        let (here, there) = nix::unistd::pipe2(OFlag::O_CLOEXEC).ok()?;
        let fds = [there.as_raw_fd()];
        sendmsg::<()>(
            self.manager.as_raw_fd(),
            &[IoSlice::new(b"BARRIER=1")],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .ok()?;
        Some(here)
    }
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }
}

/// A path, or behind `@` a name that is none.
fn connect(socket: &UnixDatagram, name: &std::ffi::OsStr) -> std::io::Result<()> {
    match name.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => socket.connect(name),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a socket of our own in a directory that the container sees read-only"
)]
fn open_to_all(place: &std::path::Path) -> std::io::Result<()> {
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o777))
}
