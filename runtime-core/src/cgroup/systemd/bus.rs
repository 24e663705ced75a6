//! A connection to a bus, or to systemd itself: connecting, calling, waiting.
//!
//! What must hold: every wait ends at one deadline; a message of the other side is answered by an error at worst;
//! nothing is left of a connection that ended.

use super::wire::{self, Call, Malformed, Message, kind};
use crate::sys;
use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind as Io, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Who says who it is: whoever the kernel says it is. A uid in these lines would be the caller's own, which in a user
/// namespace is another than the server's kernel tells it.
const HANDSHAKE: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";

/// As long as the answer to that may be.
const MAX_ANSWER: usize = 16 << 10;

/// As many signals as are kept until they are asked for.
const MAX_SIGNALS: usize = 256;

/// As many calls as are under way at once.
const MAX_EARLY: usize = 8;

/// Where somebody listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    /// The socket's name; one that is no path begins with NUL.
    pub(super) name: Vec<u8>,
    /// Whether systemd itself listens, and no bus stands between.
    pub(super) direct: bool,
}

impl Address {
    pub(super) fn direct(path: impl Into<Vec<u8>>) -> Address {
        Address { name: path.into(), direct: true }
    }

    pub(super) fn bus(path: impl Into<Vec<u8>>) -> Address {
        Address { name: path.into(), direct: false }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.strip_prefix(&[0]) {
            Some(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            None => f.write_str(&String::from_utf8_lossy(&self.name)),
        }
    }
}

/// The sockets of an address as environment variables have it: `unix:path=/a;unix:abstract=b,guid=0`. What is reached
/// in another way is left out.
pub(super) fn addresses(text: &str) -> Vec<Address> {
    let one = |entry: &str| {
        let options = entry.strip_prefix("unix:")?;
        options.split(',').find_map(|option| match option.split_once('=')? {
            ("path", path) => Some(Address::bus(unescaped(path)?)),
            ("abstract", name) => {
                let mut name = unescaped(name)?;
                name.insert(0, 0);
                Some(Address::bus(name))
            }
            _ => None,
        })
    };
    text.split(';').filter_map(one).collect()
}

/// `%2f` is a slash.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok().filter(|b| *b != 0)?
            }
            b => b,
        });
    }
    Some(out)
}

/// Why the other side was not understood.
#[derive(Debug)]
pub(super) enum Fault {
    /// A system call failed.
    Call(String, std::io::Error),
    /// The other side closed the connection.
    Closed,
    /// It did not want to be spoken to.
    Rejected(String),
    /// It sent something that is no message.
    Malformed(Malformed),
    /// It answered with an error: name and words.
    Refused(String, String),
    /// It did not answer in time.
    Late,
}

impl From<Malformed> for Fault {
    fn from(m: Malformed) -> Fault {
        Fault::Malformed(m)
    }
}

/// What the answer to the handshake has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// More is needed.
    Open,
    /// Accepted; so many bytes were the answer.
    Accepted(usize),
    /// Not accepted, in this line.
    Rejected(String),
}

/// Reads the answer to the handshake: `DATA`, `OK` and whether descriptors may be sent.
pub(super) fn answer(bytes: &[u8]) -> Answer {
    let (mut at, mut ok) = (0, false);
    while let Some(rest) = bytes.get(at..)
        && let Some(end) = rest.windows(2).position(|w| w == b"\r\n")
    {
        let line = String::from_utf8_lossy(rest.get(..end).unwrap_or(rest));
        at += end + 2;
        match line.split(' ').next() {
            Some("DATA") => {}
            Some("OK") => ok = true,
            // Without descriptors there still are pids.
            Some("AGREE_UNIX_FD" | "ERROR") if ok => return Answer::Accepted(at),
            _ => return Answer::Rejected(line.into_owned()),
        }
    }
    if bytes.len() > MAX_ANSWER { Answer::Rejected("no end of the answer".to_owned()) } else { Answer::Open }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    /// Whether systemd is at the other end.
    pub(super) direct: bool,
    deadline: Instant,
    pending: Vec<u8>,
    serial: u32,
    signals: VecDeque<Message>,
    /// Answers to calls other than the one that was waited for.
    early: Vec<Message>,
}

impl Bus {
    /// Connects and says hello.
    pub(super) fn open(address: &Address, deadline: Instant) -> Result<Bus, Fault> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let failed = |e| match e {
            e if Io::WouldBlock == std::io::Error::kind(&e) => Fault::Late,
            e => Fault::Call(format!("connect({address})"), e),
        };
        let stream = sys::connect(&address.name, patience).map_err(failed)?;
        stream.set_nonblocking(true).map_err(|e| Fault::Call("ioctl(FIONBIO)".to_owned(), e))?;
        let mut bus = Bus {
            stream,
            direct: address.direct,
            deadline,
            pending: Vec::new(),
            serial: 0,
            signals: VecDeque::new(),
            early: Vec::new(),
        };
        bus.write(HANDSHAKE, &[])?;
        loop {
            match answer(&bus.pending) {
                Answer::Open => bus.read()?,
                Answer::Accepted(n) => {
                    bus.pending.drain(..n);
                    break;
                }
                Answer::Rejected(line) => return Err(Fault::Rejected(line)),
            }
        }
        if !bus.direct {
            let hello = bus.call_bus("Hello", &[])?;
            bus.reply(hello)?;
        }
        Ok(bus)
    }

    /// Calls a method of the bus itself.
    pub(super) fn call_bus(&mut self, member: &str, body: &[super::Value]) -> Result<u32, Fault> {
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            body,
            descriptors: 0,
        };
        self.send(&call, &[])
    }

    /// Sends a call: its serial.
    pub(super) fn send(&mut self, call: &Call<'_>, descriptors: &[BorrowedFd<'_>]) -> Result<u32, Fault> {
        self.serial += 1;
        let message = call.encode(self.serial);
        self.write(&message, descriptors)?;
        Ok(self.serial)
    }

    /// Waits for the reply to a call. Signals that come before are kept.
    pub(super) fn reply(&mut self, serial: u32) -> Result<Message, Fault> {
        let early = self.early.iter().position(|m| m.reply_to == Some(serial));
        let mut message = early.map(|i| self.early.swap_remove(i));
        loop {
            let message = match message.take() {
                Some(message) => message,
                None => self.message()?,
            };
            match message.kind {
                kind::REPLY if message.reply_to == Some(serial) => return Ok(message),
                kind::ERROR if message.reply_to == Some(serial) => {
                    let words = message.words();
                    return Err(Fault::Refused(message.error.unwrap_or_default(), words));
                }
                kind::REPLY | kind::ERROR if self.early.len() < MAX_EARLY => self.early.push(message),
                kind::SIGNAL => self.keep(message),
                // A call, to which there is nothing to say.
                _ => {}
            }
        }
    }

    /// Waits for the next signal.
    pub(super) fn signal(&mut self) -> Result<Message, Fault> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(signal);
            }
            let message = self.message()?;
            if message.kind == kind::SIGNAL {
                self.keep(message);
            }
        }
    }

    /// systemd tells everything about every unit to who is connected to it; the end of jobs is what is waited for.
    fn keep(&mut self, signal: Message) {
        if signal.member.as_deref() == Some("JobRemoved") {
            if self.signals.len() == MAX_SIGNALS {
                self.signals.pop_front();
            }
            self.signals.push_back(signal);
        }
    }

    fn message(&mut self) -> Result<Message, Fault> {
        loop {
            if let Some(n) = wire::length(&self.pending)?
                && let Some(bytes) = self.pending.get(..n)
            {
                let message = wire::decode(bytes)?;
                self.pending.drain(..n);
                return Ok(message);
            }
            self.read()?;
        }
    }

    fn wait(&self, events: i16) -> Result<(), Fault> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // Rounded up: a rest of less than a millisecond would be spent in a loop.
        let millis = i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let ready = sys::poll(&mut [(self.stream.as_fd(), events)], Some(millis));
        match ready.map_err(|e| Fault::Call("poll(bus)".to_owned(), e))?.first() {
            Some(0) | None => Err(Fault::Late),
            Some(_) => Ok(()),
        }
    }

    fn read(&mut self) -> Result<(), Fault> {
        let mut bytes = [0; 8192];
        loop {
            self.wait(libc::POLLIN)?;
            // Descriptors that somebody sends along are dropped by the kernel.
            match (&self.stream).read(&mut bytes) {
                Ok(0) => return Err(Fault::Closed),
                Ok(n) => {
                    self.pending.extend(bytes.get(..n).unwrap_or(&[]));
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), Io::WouldBlock | Io::Interrupted) => {}
                Err(e) if e.kind() == Io::ConnectionReset => return Err(Fault::Closed),
                Err(e) => return Err(Fault::Call("read(bus)".to_owned(), e)),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match sys::send_some(&self.stream, bytes, descriptors) {
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or(&[]);
                    descriptors = &[];
                }
                Err(e) if e.kind() == Io::WouldBlock => self.wait(libc::POLLOUT)?,
                Err(e) if matches!(e.kind(), Io::BrokenPipe | Io::ConnectionReset) => {
                    return Err(Fault::Closed);
                }
                Err(e) => return Err(Fault::Call("sendmsg(bus)".to_owned(), e)),
            }
        }
        Ok(())
    }
}
