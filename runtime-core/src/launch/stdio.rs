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

/// One of them, opened.
enum Open {
    Own(OwnedFd),
    Inherited(BorrowedFd<'static>),
}

/// The three streams, opened.
pub(super) struct Streams([Open; 3]);

impl Streams {
    pub(super) fn open(stdio: Stdio) -> Result<Streams> {
        let one = |stream: Stream, n: i32| -> Result<Open> {
            let inherited = match stream {
                Stream::Fd(fd) => return Ok(Open::Own(fd)),
                Stream::Inherit => sys::inherited(n),
                Stream::Null => None,
            };
            if let Some(fd) = inherited {
                return Ok(Open::Inherited(fd));
            }
            // A stream that the caller has closed would otherwise become some other file.
            let null = File::options().read(true).write(true).open("/dev/null");
            null.map(|f| Open::Own(f.into())).map_err(|e| Error::io("open(/dev/null)", &e))
        };
        Ok(Streams([one(stdio.stdin, 0)?, one(stdio.stdout, 1)?, one(stdio.stderr, 2)?]))
    }

    pub(super) fn get(&self) -> [BorrowedFd<'_>; 3] {
        self.0.each_ref().map(|stream| match stream {
            Open::Own(fd) => fd.as_fd(),
            Open::Inherited(fd) => *fd,
        })
    }
}
