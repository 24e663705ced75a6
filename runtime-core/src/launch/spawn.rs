//! Init's beginning: what it gets in its first message, and its process.
//!
//! What must hold: everything is in the message before there is anybody to receive it, who then need not wait for it.

use super::image;
use crate::error::{Error, Result};
use crate::sys::{self, Birth};
use oxrun_init::script::ROOM;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A directory of the host.
pub(super) fn open_dir(path: &Path) -> Result<File> {
    sys::look::place(path).map_err(|e| Error::io(format!("open({})", path.display()), &e))
}

/// A process, its pidfd and the socket to it.
type Spawned = std::io::Result<(u32, OwnedFd, OwnedFd)>;

/// The descriptors that init is executed with.
pub(super) struct Outside<'a> {
    pub(super) streams: [BorrowedFd<'a>; 3],
    pub(super) preserved: &'a [BorrowedFd<'a>],
    pub(super) fifo: BorrowedFd<'a>,
    pub(super) fault: BorrowedFd<'a>,
    /// Where the process that clones tells the clone's pid.
    pub(super) aside: Option<BorrowedFd<'a>>,
}

/// Executes init and hands it its script and descriptors: its pid, pidfd and the control socket, or why it could not be
/// cloned.
pub(super) fn spawn_init(script: &[u8], outside: &Outside<'_>, into: Option<&Birth<'_>>) -> Result<Spawned> {
    let (ours, theirs) = sys::socketpair().map_err(|e| Error::io("socketpair", &e))?;
    let fits = script.len() <= ROOM && {
        match outside.greet(&ours, script, None) {
            // A message takes no more than net.core.wmem_default.
            Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) => false,
            sent => sent.map(|()| true).map_err(|e| Error::io("sendmsg(hello)", &e))?,
        }
    };
    if !fits {
        let file = script_file(script)?;
        outside.greet(&ours, script, Some(&file)).map_err(|e| Error::io("sendmsg(hello)", &e))?;
    }
    Ok(sys::spawn(image::image()?, theirs.as_fd(), into).map(|(pid, pidfd)| (pid, pidfd, ours)))
}

impl Outside<'_> {
    /// Sends the first message. The script is in it, or in a file.
    fn greet(&self, to: &OwnedFd, script: &[u8], file: Option<&File>) -> std::io::Result<()> {
        let aside = u32::from(self.aside.is_some());
        let words = [script.len() as u32, self.preserved.len() as u32, u32::from(file.is_some()), aside];
        let mut hello = words.map(u32::to_le_bytes).as_flattened().to_vec();
        let [stdin, stdout, stderr] = self.streams;
        let mut fds = vec![stdout, stderr];
        fds.extend(self.preserved);
        fds.extend([self.fifo, self.fault, stdin]);
        match file {
            Some(file) => fds.push(file.as_fd()),
            None => hello.extend_from_slice(script),
        }
        fds.extend(self.aside);
        sys::send(to, &hello, &fds)
    }
}

/// A sealed file with a script that is too long for a message.
fn script_file(script: &[u8]) -> Result<File> {
    let memfd = sys::memfd(c"oxrun-script", 0).map_err(|e| Error::io("memfd_create", &e))?;
    let mut memfd = File::from(memfd);
    memfd.write_all(script).map_err(|e| Error::io("write(script)", &e))?;
    sys::seal(&memfd, libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK)
        .map_err(|e| Error::io("fcntl(F_ADD_SEALS)", &e))?;
    Ok(memfd)
}
