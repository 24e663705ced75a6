//! Waiting in tasks of tokio, and nothing else: everything that a container needs done is done by calls that are as
//! synchronous as before. What takes long (create, start, delete) belongs into `spawn_blocking`.
//!
//! What must hold: no thread waits, no task is woken in vain; dropped futures leave nothing behind.

use crate::container::Container;
use crate::error::{Error, Result};
use crate::exec::Exec;
use crate::sys::{self, ExitStatus};
use crate::{Event, Watch};
use std::future::{Future, poll_fn};
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::Poll;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that the reactor watches.
#[allow(deprecated, reason = "its unsafe successor asks for what borrowing says: it stays open meanwhile")]
fn watched(fd: BorrowedFd<'_>, interest: Interest) -> Result<AsyncFd<BorrowedFd<'_>>> {
    AsyncFd::with_interest(fd, interest).map_err(|e| Error::io("epoll_ctl", &e))
}

/// Waits until a process has ended.
async fn ended(pidfd: BorrowedFd<'_>) -> Result<ExitStatus> {
    let end = watched(pidfd, Interest::READABLE)?;
    drop(end.readable().await.map_err(|e| Error::io("epoll_wait", &e))?);
    sys::wait(pidfd).map_err(|e| Error::io("waitid", &e))
}

impl Container {
    /// [`Container::wait`] for a task. May be cancelled.
    ///
    /// # Errors
    /// If waiting fails.
    ///
    /// # Panics
    /// Outside of a runtime of tokio with its I/O driver enabled.
    pub async fn wait_async(&self) -> Result<ExitStatus> {
        match self.pidfd() {
            Some(pidfd) => ended(pidfd).await,
            None => Ok(ExitStatus::Unknown),
        }
    }
}

impl Exec {
    /// [`Exec::wait`] for a task. May be cancelled.
    ///
    /// # Errors
    /// If waiting fails.
    ///
    /// # Panics
    /// Outside of a runtime of tokio with its I/O driver enabled.
    pub async fn wait_async(&self) -> Result<ExitStatus> {
        ended(self.pidfd()).await
    }
}

impl Watch {
    /// [`Watch::next`] for a task, without a limit of time. May be cancelled: what happens meanwhile is told next.
    ///
    /// # Errors
    /// If waiting fails.
    ///
    /// # Panics
    /// Outside of a runtime of tokio with its I/O driver enabled.
    pub async fn next_async(&mut self) -> Result<Event> {
        loop {
            match self.next(Some(std::time::Duration::ZERO))? {
                Event::Nothing => self.news().await?,
                event => return Ok(event),
            }
        }
    }

    /// Waits until there may be news.
    async fn news(&self) -> Result<()> {
        let (pidfd, memory) = self.descriptors();
        let end = watched(pidfd, Interest::READABLE)?;
        let memory = match memory {
            Some((fd, events)) if events & libc::POLLPRI != 0 => Some(watched(fd, Interest::PRIORITY)?),
            Some((fd, _)) => Some(watched(fd, Interest::READABLE)?),
            None => None,
        };
        let any = async {
            match &memory {
                Some(fd) => fd.ready(Interest::READABLE | Interest::PRIORITY).await.map(drop),
                None => std::future::pending().await,
            }
        };
        let (mut end, mut any) = (pin!(end.readable()), pin!(any));
        poll_fn(|context| match end.as_mut().poll(context) {
            Poll::Ready(ready) => Poll::Ready(ready.map(drop)),
            Poll::Pending => any.as_mut().poll(context),
        })
        .await
        .map_err(|e| Error::io("epoll_wait", &e))
    }
}
