//! Handing the listener of a filter to the agent that decides about some of its calls.
//!
//! ```text
//!   host                                        init
//!   connect to the agent, connect to init
//!   "start"                            --->     [a hook's copy of it: the same as below, then the hook runs]
//!                                               a thread; seccomp(2): the listener
//!   state, listener -> agent           <---     the thread sends it
//!   "go"                               --->     the process goes on: [capset] -> execve
//! ```
//!
//! What must hold: no call of a process waits for an agent that cannot know of it yet; nothing here waits without
//! end for the agent or for the process, which is watched; if it fails, the process never becomes its program. How
//! init does its half under a filter that may leave any call but write(2) to the agent is in its `listener.rs`.

use super::talk::{PATIENCE, poll_watched};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::Agent;
use crate::sys;
use oxrun_init::script::listener as whose;
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an agent may take to accept a connection and to take a message, in seconds.
const ACCEPTANCE: u64 = 10;

/// How long to wait for the execve of a program when an agent decides about it, in milliseconds. One that takes
/// longer is waited for by the program, not by who started it.
pub(crate) const ANSWER: i32 = 10_000;

/// A process that has loaded its filter, and waits.
#[derive(Debug)]
pub(crate) struct Loaded {
    listener: OwnedFd,
    line: OwnedFd,
    pid: u32,
    /// It is a hook's: another one follows.
    pub(crate) hook: bool,
}

impl Loaded {
    /// Waits for it, no longer than `patience` milliseconds. `line` is the connection to init, `pid` and `pidfd` are
    /// those of the process that becomes the program. None if that ends before.
    pub(crate) fn wait(
        line: OwnedFd,
        (pid, pidfd): (u32, &OwnedFd),
        patience: Option<i32>,
    ) -> Result<Option<Loaded>> {
        let mut fds = [(line.as_fd(), libc::POLLIN), (pidfd.as_fd(), libc::POLLIN)];
        let ready = poll_watched(&mut fds, patience, pid)?;
        if ready.iter().all(|r| *r == 0) {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("container init said nothing for {} s; it may have been stopped", PATIENCE / 1000),
            ));
        }
        if ready.first().is_none_or(|r| r & libc::POLLIN == 0) {
            return Ok(None);
        }
        let mut whose = [0; 4];
        let sent = sys::agent::receive(&line, &mut whose).map_err(|e| Error::io("recvmsg(listener)", &e))?;
        let Some(listener) = sent.fd.filter(|_| sent.len == whose.len()) else {
            return Ok(None);
        };
        let hook = u32::from_le_bytes(whose) == whose::HOOK;
        Ok(Some(Loaded { listener, line, pid: sent.pid.filter(|_| hook).unwrap_or(pid), hook }))
    }
}

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

    /// Gives the agent the listener with the state of the container, ends the connection, and lets the process go on.
    pub(crate) fn give(self, loaded: Loaded, state: &str) -> Result<()> {
        self.send(&loaded.listener, loaded.pid, state)?;
        drop((self, loaded.listener));
        match sys::send(&loaded.line, &[0], &[]) {
            // It has ended: the fault page says why.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => Ok(()),
            sent => sent.map_err(|e| Error::io("sendmsg(go)", &e)),
        }
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
            let late = sent > 0 && begin.elapsed() >= Duration::from_secs(ACCEPTANCE);
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
