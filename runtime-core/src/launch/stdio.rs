//! The program's standard streams.

use crate::error::{Error, Result};
use crate::sys;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One of the program's standard streams.
#[derive(Debug, Default)]
pub enum Stream {
    /// The caller's own.
    #[default]
    Inherit,
    /// The null device.
    Null,
    /// A descriptor.
    Fd(OwnedFd),
}

impl<F: Into<OwnedFd>> From<F> for Stream {
    /// A file, a socket, an end of a pipe.
    fn from(descriptor: F) -> Stream {
        Stream::Fd(descriptor.into())
    }
}

/// The program's standard streams. A container with a terminal gets the terminal instead.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Descriptor 0.
    pub stdin: Stream,
    /// Descriptor 1.
    pub stdout: Stream,
    /// Descriptor 2.
    pub stderr: Stream,
}

impl Stdio {
    /// The caller's own streams.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio::default()
    }

    /// The null device for all three.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio { stdin: Stream::Null, stdout: Stream::Null, stderr: Stream::Null }
    }
}

/// The three streams, opened.
pub(super) struct Streams([Option<OwnedFd>; 3]);

impl Streams {
    pub(super) fn open(stdio: Stdio) -> Result<Streams> {
        let one = |stream: Stream, n: i32| -> Result<Option<OwnedFd>> {
            match stream {
                Stream::Fd(fd) => Ok(Some(fd)),
                Stream::Inherit if sys::inherited(n).is_some() => Ok(None),
                // A stream that the caller has closed would otherwise become some other file.
                Stream::Inherit | Stream::Null => {
                    let mut options = File::options();
                    let null = options.read(true).write(true).open("/dev/null");
                    null.map(|f| Some(f.into())).map_err(|e| Error::io("open(/dev/null)", &e))
                }
            }
        };
        Ok(Streams([one(stdio.stdin, 0)?, one(stdio.stdout, 1)?, one(stdio.stderr, 2)?]))
    }

    pub(super) fn get(&self) -> Result<[BorrowedFd<'_>; 3]> {
        let one = |n: usize| match self.0.get(n).and_then(Option::as_ref) {
            Some(fd) => Ok(fd.as_fd()),
            None => sys::inherited(n as i32)
                .ok_or_else(|| Error::syscall(format!("fcntl({n}, F_GETFD)"), libc::EBADF)),
        };
        Ok([one(0)?, one(1)?, one(2)?])
    }
}
