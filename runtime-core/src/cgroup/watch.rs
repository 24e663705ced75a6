//! What happens in a container: memory that ran out, and its end.
//!
//! What must hold: what happened before the watch began is not told, what happens after is told even if the
//! container ends of it; nothing is asked again and again, every wait is for the kernel. v1 tells by an eventfd
//! that is registered with memory.oom_control, v2 by a poll event of memory.events, which inotify would only
//! forward.

use super::{live, tree};
use crate::error::{Error, Result};
use crate::plan::action::CgroupDir;
use crate::sys;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Memory ran out: the kernel killed a process of the container, or would have if it were allowed to.
    Oom,
    /// The container's process is gone. Nothing happens after that.
    Ended,
    /// Nothing, in the time that was given.
    Nothing,
}

/// A watch on a container.
#[derive(Debug)]
pub struct Watch {
    pidfd: OwnedFd,
    memory: Memory,
    ended: bool,
}

#[derive(Debug)]
enum Memory {
    /// The eventfd, and the file that is gone once the cgroup is.
    V1 { events: OwnedFd, file: PathBuf },
    /// memory.events, and the number of kills that it last showed.
    V2 { events: File, kills: u64 },
    /// Memory is not counted.
    Unknown,
}

impl Watch {
    /// Watches the container of a process in these cgroups.
    pub(crate) fn begin(pidfd: OwnedFd, dirs: &[CgroupDir]) -> Result<Watch> {
        Ok(Watch { pidfd, memory: memory(dirs)?, ended: false })
    }

    /// Whether [`Event::Oom`] can be seen: memory is counted for this container.
    #[must_use]
    pub fn sees_oom(&self) -> bool {
        !matches!(self.memory, Memory::Unknown)
    }

    /// Waits for what happens next, at most so long.
    ///
    /// # Errors
    /// If waiting fails.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Event> {
        let end = limit.and_then(|l| Instant::now().checked_add(l));
        loop {
            if self.ended {
                return Ok(Event::Ended);
            }
            let gone = self.wait(end)?;
            // In this order: what led to the end is told before it.
            if self.ran_out()? {
                return Ok(Event::Oom);
            }
            if gone {
                self.ended = true;
            } else if end.is_some_and(|e| Instant::now() >= e) {
                return Ok(Event::Nothing);
            }
        }
    }

    /// Waits until there may be news. Whether the process is gone.
    fn wait(&self, end: Option<Instant>) -> Result<bool> {
        let millis = end.map(|e| {
            // Rounded up: a rest of less than a millisecond would be spent in a loop.
            let left = e.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000);
            i32::try_from(left).unwrap_or(i32::MAX)
        });
        let mut fds = vec![(self.pidfd.as_fd(), libc::POLLIN)];
        fds.extend(self.memory.descriptor());
        let ready = sys::poll(&mut fds, millis).map_err(|e| Error::io("poll(events)", &e))?;
        Ok(ready.first().is_some_and(|r| *r != 0))
    }

    /// The process, and what tells of memory with the events to wait for.
    #[cfg(feature = "tokio")]
    pub(crate) fn descriptors(&self) -> (BorrowedFd<'_>, Option<(BorrowedFd<'_>, i16)>) {
        (self.pidfd.as_fd(), self.memory.descriptor())
    }

    /// Whether memory ran out since it was last asked. What cannot be told would be ready to be read for ever.
    fn ran_out(&mut self) -> Result<bool> {
        let now = match &mut self.memory {
            Memory::V1 { events, file } => {
                let told = sys::eventfd_take(&*events).map_err(|e| Error::io("read(eventfd)", &e))?;
                // The end of the cgroup is told in the same way.
                return Ok(told > u64::from(!file.exists()));
            }
            Memory::V2 { events, kills } => {
                oom_kills(events).map(|now| now.is_some_and(|now| std::mem::replace(kills, now) < now))
            }
            Memory::Unknown => return Ok(false),
        };
        match now {
            // A cgroup that is gone cannot be asked any more.
            Err(e) if tree::is_gone(&e) => {
                self.memory = Memory::Unknown;
                Ok(false)
            }
            now => now.map_err(|e| Error::io("read(memory.events)", &e)),
        }
    }
}

impl Memory {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, i16)> {
        match self {
            Memory::V1 { events, .. } => Some((events.as_fd(), libc::POLLIN)),
            Memory::V2 { events, .. } => Some((events.as_fd(), libc::POLLPRI)),
            Memory::Unknown => None,
        }
    }
}

fn memory(dirs: &[CgroupDir]) -> Result<Memory> {
    let Some(cgroup) = live::dir_of(dirs, "memory") else {
        return Ok(Memory::Unknown);
    };
    let dir = cgroup.dir();
    let open =
        |path: &PathBuf| File::open(path).map_err(|e| Error::io(format!("open({})", path.display()), &e));
    if cgroup.controllers.is_none() {
        let path = dir.join("memory.events");
        if !path.exists() {
            return Ok(Memory::Unknown);
        }
        let events = open(&path)?;
        let kills = oom_kills(&events).ok().flatten().unwrap_or(0);
        return Ok(Memory::V2 { events, kills });
    }
    let file = dir.join("memory.oom_control");
    let control = open(&file)?;
    let events = sys::eventfd().map_err(|e| Error::io("eventfd2", &e))?;
    let line = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
    live::write(&dir.join("cgroup.event_control"), &line)?;
    Ok(Memory::V1 { events, file })
}

/// Reading is also what makes the next poll wait for a change.
fn oom_kills(events: &File) -> io::Result<Option<u64>> {
    let mut text = [0; 1024];
    let n = events.read_at(&mut text, 0)?;
    let text = std::str::from_utf8(text.get(..n).unwrap_or_default()).unwrap_or_default();
    Ok(text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.parse().ok()))
}
