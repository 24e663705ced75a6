//! A thread in another mount namespace, with the rights of the calling process.
//!
//! What must hold: only this thread is elsewhere. It has its own root, working directory and mount namespace,
//! blocks every signal, so that no handler of the embedding program ever runs there, executes nothing, and
//! ends with its handle. It makes clones of mounts and hands out their descriptors, nothing else.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() -> io::Result<OwnedFd> + Send>;

/// The thread, as long as it is needed.
#[derive(Debug)]
pub(crate) struct MountNamespace {
    jobs: Option<Sender<Job>>,
    results: Receiver<io::Result<OwnedFd>>,
    thread: Option<JoinHandle<()>>,
}

impl MountNamespace {
    /// A thread in the mount namespace of the process behind `pidfd`.
    pub(crate) fn of(pidfd: impl AsFd) -> io::Result<MountNamespace> {
        let process = pidfd.as_fd().try_clone_to_owned()?;
        let (jobs, to_do) = channel::<Job>();
        let (done, results) = channel();
        let body = move || {
            let entered = enter(&process);
            drop(process);
            for job in to_do {
                let result = match &entered {
                    Ok(()) => job(),
                    Err(e) => {
                        Err(e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error))
                    }
                };
                if done.send(result).is_err() {
                    return;
                }
            }
        };
        let mask = super::block_signals();
        let thread =
            std::thread::Builder::new().name("oxrun-mntns".to_owned()).stack_size(64 << 10).spawn(body);
        super::restore_signals(mask);
        Ok(MountNamespace { jobs: Some(jobs), results, thread: Some(thread?) })
    }

    /// Does something there that ends with a descriptor.
    pub(crate) fn run(
        &self,
        job: impl FnOnce() -> io::Result<OwnedFd> + Send + 'static,
    ) -> io::Result<OwnedFd> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.jobs.as_ref().ok_or_else(gone)?.send(Box::new(job)).map_err(|_| gone())?;
        self.results.recv().map_err(|_| gone())?
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Root and working directory are no longer shared with the other threads, which setns(2) asks for.
fn enter(process: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers; both calls change this thread alone.
    unsafe {
        super::check(libc::unshare(libc::CLONE_FS).into())?;
        super::check(libc::setns(process.as_raw_fd(), libc::CLONE_NEWNS).into())?;
    }
    Ok(())
}
