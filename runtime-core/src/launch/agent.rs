//! Handing the listener of a filter to the agent that decides about some of its calls.
//!
//! ```text
//!   host                                        init
//!   connect to the agent
//!   pipe of one page, "go"             --->     seccomp(2): the listener's number
//!                                      <---     write(2) of more than the pipe holds
//!   pidfd_getfd -> state, fd -> agent
//!   read the rest                      --->     write(2) ends: [capset] -> execve
//! ```
//!
//! What must hold: no call of the process waits for an agent that cannot know of it yet; nothing here waits without
//! end for the agent or for the process, which is watched; if it fails, the process never becomes its program.
//!
//! Any call may be the agent's, execve and futex too, but never write: a profile that says so is refused. So one
//! write both tells the host and holds the process until the host has read it all. A descriptor that init
//! sent itself would take sendmsg, waiting for an answer read.

use super::talk::{PATIENCE, poll_watched};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::Agent;
use crate::sys;
use oxrun_init::script::HANDOVER;
use serde_json::{Value, json};
use std::io::{ErrorKind as Io, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an agent may take to accept a connection and to take a message, in seconds.
const ACCEPTANCE: i64 = 10;

/// How long to wait for the execve of a program when an agent decides about it, in milliseconds. One that takes
/// longer is waited for by the program, not by who started it.
pub(crate) const ANSWER: i32 = 10_000;

/// A connection to an agent, for one state.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    agent: Agent,
}

impl Connection {
    /// Connects to an agent.
    pub(crate) fn open(agent: &Agent) -> Result<Connection> {
        match sys::agent::connect(&agent.path, ACCEPTANCE) {
            Ok(socket) => Ok(Connection { socket, agent: agent.clone() }),
            Err(e) => {
                let path = agent.path.display();
                let e = Error::io(format!("connect({path})"), &e)
                    .context("failed to connect with seccomp agent specified in the seccomp profile");
                Err(e.at("/linux/seccomp/listenerPath"))
            }
        }
    }

    /// Waits until the process has loaded its filter, gives the agent the listener, and lets the process go on. `pipe`
    /// is the reading end of what the process writes to, `state` the state of the container. A process that ends
    /// before it gets there is no failure of this.
    pub(crate) fn hand_over(self, pipe: OwnedFd, pid: u32, pidfd: &OwnedFd, state: &str) -> Result<()> {
        let mut pipe = std::fs::File::from(pipe);
        let mut number = [0; 4];
        if !filled(&mut pipe, (pid, pidfd), &mut number)? {
            return Ok(());
        }
        let number = u32::from_le_bytes(number);
        let listener = sys::agent::descriptor_of(pidfd, number).map_err(|e| {
            let e = Error::io(format!("pidfd_getfd({pid}, {number})"), &e)
                .context("cannot get the listener of the seccomp filter")
                .at("/linux/seccomp");
            match e.errno() {
                Some(libc::EPERM) => e.hint("it needs CAP_SYS_PTRACE"),
                _ => e,
            }
        })?;
        self.send(&listener, pid, state)?;
        drop((self, listener));
        let mut rest = [0; HANDOVER - 4];
        filled(&mut pipe, (pid, pidfd), &mut rest).map(drop)
    }

    /// Sends the one message: ContainerProcessState (config-linux.md, containerprocessstate) and the descriptor.
    fn send(&self, listener: &OwnedFd, pid: u32, state: &str) -> Result<()> {
        let state: Value = serde_json::from_str(state)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("state of the container: {e}")))?;
        let message = json!({
            "ociVersion": state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": self.agent.metadata,
            "state": state,
        });
        let message = message.to_string();
        let bytes = message.as_bytes();
        let mut fds = vec![listener.as_fd()];
        let mut sent = 0;
        let begin = Instant::now();
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            // A part went, and the time for the rest is over.
            let late = sent > 0 && begin.elapsed() >= Duration::from_secs(ACCEPTANCE.unsigned_abs());
            let went = match late {
                true => Err(std::io::Error::from_raw_os_error(libc::EAGAIN)),
                false => sys::send_some(&self.socket, rest, &fds),
            };
            sent += went.map_err(|e| {
                let path = self.agent.path.display();
                let e = Error::io("sendmsg(state)", &e).context(format!("cannot send seccomp fd to {path}"));
                e.at("/linux/seccomp/listenerPath")
            })?;
            // It went with the first part.
            fds.clear();
        }
        Ok(())
    }
}

/// Fills `buffer` from the pipe; not if the process has ended before.
fn filled(pipe: &mut std::fs::File, (pid, pidfd): (u32, &OwnedFd), buffer: &mut [u8]) -> Result<bool> {
    let mut used = 0;
    while used < buffer.len() {
        let mut fds = [(pipe.as_fd(), libc::POLLIN), (pidfd.as_fd(), libc::POLLIN)];
        let ready = poll_watched(&mut fds, Some(PATIENCE), pid)?;
        if ready.iter().all(|r| *r == 0) {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("container init said nothing for {} s; it may have been stopped", PATIENCE / 1000),
            ));
        }
        if ready.first().is_none_or(|r| r & libc::POLLIN == 0) {
            return Ok(false);
        }
        match pipe.read(buffer.get_mut(used..).unwrap_or(&mut [])) {
            Ok(0) => return Ok(false),
            Ok(n) => used += n,
            Err(e) if matches!(e.kind(), Io::Interrupted | Io::WouldBlock) => {}
            Err(e) => return Err(Error::io("read(listener)", &e)),
        }
    }
    Ok(true)
}
