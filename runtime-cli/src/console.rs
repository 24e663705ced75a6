//! The terminal of a foreground container: bytes between the caller's streams and the pty, sizes, raw mode.
//!
//! What must hold: the caller's terminal is given back as it was, whatever happens; neither direction can
//! block the other.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

/// The caller's terminal in raw mode until this is dropped.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// Makes stdin raw if it is a terminal.
    pub(crate) fn begin() -> Raw {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Raw(None);
        }
        let Ok(before) = tcgetattr(&stdin) else {
            return Raw(None);
        };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // The container's terminal sends bare newlines; ours still makes lines of them.
        raw.output_flags.insert(OutputFlags::OPOST);
        match tcsetattr(&stdin, SetArg::TCSANOW, &raw) {
            Ok(()) => Raw(Some(before)),
            Err(_) => Raw(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // There is nobody to tell: the terminal may be gone.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Makes reads and writes of a descriptor return at once.
fn set_nonblocking(fd: impl AsFd) {
    if let Ok(flags) = fcntl(&fd, FcntlArg::F_GETFL) {
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        let _ = fcntl(&fd, FcntlArg::F_SETFL(flags));
    }
}

/// The two directions between the caller and the pty.
pub(crate) struct Pump {
    master: OwnedFd,
    /// What was read from stdin and is not written yet.
    pending: Vec<u8>,
    stdin_open: bool,
    open: bool,
}

impl Pump {
    /// Begins with the controlling side of the container's terminal.
    pub(crate) fn new(master: OwnedFd) -> Pump {
        set_nonblocking(&master);
        // Before the program can write: what it prints would carry CR LF otherwise. Only of a terminal that
        // is shown here; one that is handed away keeps its settings.
        if let Ok(mut settings) = tcgetattr(&master) {
            settings.output_flags.remove(OutputFlags::ONLCR);
            let _ = tcsetattr(&master, SetArg::TCSANOW, &settings);
        }
        Pump { master, pending: Vec::new(), stdin_open: true, open: true }
    }

    /// The controlling side.
    pub(crate) fn master(&self) -> &OwnedFd {
        &self.master
    }
    /// Whether the container's side is still open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }
    /// Whether input is wanted.
    pub(crate) fn wants_input(&self) -> bool {
        self.open && self.stdin_open && self.pending.len() < 4096
    }
    /// Whether input waits for the pty.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes input of the caller.
    pub(crate) fn input(&mut self) {
        let mut buf = [0u8; 4096];
        match nix::unistd::read(std::io::stdin(), &mut buf) {
            Ok(0) => self.stdin_open = false,
            Ok(n) => self.pending.extend_from_slice(buf.get(..n).unwrap_or(&[])),
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            Err(_) => self.stdin_open = false,
        }
        self.flush();
    }

    /// Gives pending input to the pty, as far as it takes it.
    pub(crate) fn flush(&mut self) {
        while !self.pending.is_empty() {
            match nix::unistd::write(&self.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return,
                Err(_) => {
                    self.pending.clear();
                    self.stdin_open = false;
                }
            }
        }
    }

    /// Passes on what the container wrote. Its end is EIO once the last one has closed the terminal.
    pub(crate) fn output(&mut self) {
        let mut buf = [0u8; 16 << 10];
        loop {
            match nix::unistd::read(&self.master, &mut buf) {
                Ok(0) | Err(nix::Error::EIO) => {
                    self.open = false;
                    return;
                }
                Ok(n) => {
                    let mut out = std::io::stdout().lock();
                    let part = buf.get(..n).unwrap_or(&[]);
                    let written = std::io::Write::write_all(&mut out, part);
                    if written.and_then(|()| std::io::Write::flush(&mut out)).is_err() {
                        self.open = false;
                        return;
                    }
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return,
                // It would be ready again at once, for ever.
                Err(_) => {
                    self.open = false;
                    return;
                }
            }
        }
    }
}
