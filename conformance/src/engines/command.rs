//! One command is run to its end within bounds, on a pseudo terminal if it is to have one. The
//! terminal is the command's controlling terminal, so that a change of its size is announced.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use super::sys;

/// How long one command may take.
const STEP: Duration = Duration::from_secs(120);

/// What one command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// None if it was killed because its time was over.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// What a user at a terminal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Type(&'static str),
    /// Gives the terminal so many rows and columns. It begins with 24 and 80.
    Resize(u16, u16),
}

/// An act, and the text that is waited for before. What came before an earlier turn does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) after: &'static str,
    pub(super) act: Act,
}

/// Runs a command without a terminal and with `input` on stdin.
pub(super) fn run(mut command: Command, input: &'static str) -> Result<Done, String> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A command that does not read it all says so by its code.
        std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    }
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let code = wait(&mut child)?;
    Ok(Done { code, stdout: text(stdout), stderr: text(stderr) })
}

/// Runs a command on a terminal. All its output is in `stdout`.
pub(super) fn on_terminal(command: &Command, turns: &'static [Turn]) -> Result<Done, String> {
    let (ours, theirs) = sys::terminal().map_err(|e| format!("openpty: {e}"))?;
    let copy = || theirs.try_clone().map_err(|e| e.to_string());
    let mut session = in_session(command);
    session.stdin(copy()?).stdout(copy()?).stderr(copy()?);
    let mut child = spawn(&mut session)?;
    // The terminal's other end must be closed here, or reading would never end.
    drop((session, theirs));
    let stdout = std::thread::spawn(move || converse(ours.into(), turns));
    let code = wait(&mut child)?;
    Ok(Done { code, stdout: text(Some(stdout)), stderr: String::new() })
}

/// The same command as leader of a session whose terminal is its stdin.
fn in_session(command: &Command) -> Command {
    let mut session = Command::new("/usr/bin/setsid");
    session.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
    session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        session.current_dir(dir);
    }
    session
}

fn spawn(command: &mut Command) -> Result<std::process::Child, String> {
    command.spawn().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))
}

/// The exit code, or none if the command had to be killed or was.
fn wait(child: &mut std::process::Child) -> Result<Option<i32>, String> {
    let ended = sys::pidfd(child.id()).map_err(|e| format!("pidfd_open: {e}"))?;
    let in_time = sys::poll(&[ended.as_fd()], STEP).map_err(|e| format!("poll: {e}"))?[0];
    if !in_time {
        child.kill().map_err(|e| format!("kill: {e}"))?;
    }
    let status = child.wait().map_err(|e| format!("wait: {e}"))?;
    Ok(status.code().filter(|_| in_time))
}

fn text(thread: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = thread.and_then(|t| t.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads to the end in a thread of its own.
fn collect(mut source: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // What was read before an error is still worth comparing.
        let _ = source.read_to_end(&mut all);
        all
    })
}

/// Reads a terminal to its end, which is an error, and takes each turn when its text has come.
fn converse(mut terminal: File, turns: &[Turn]) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    let (mut turns, mut seen) = (turns.iter(), 0);
    let mut next = turns.next();
    loop {
        while let Some(turn) = next
            && let Some(at) = find(&all[seen..], turn.after.as_bytes())
        {
            seen += at + turn.after.len();
            next = turns.next();
            // If the command is gone already, its exit code tells.
            let _ = match turn.act {
                Act::Type(text) => terminal.write_all(text.as_bytes()),
                Act::Resize(rows, columns) => sys::resize(terminal.as_fd(), rows, columns),
            };
        }
        match terminal.read(&mut buffer) {
            Ok(n @ 1..) => all.extend_from_slice(&buffer[..n]),
            _ => return all,
        }
    }
}

fn find(all: &[u8], text: &[u8]) -> Option<usize> {
    // The empty text has come at the beginning.
    (0..=all.len()).find(|&at| all[at..].starts_with(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_command_that_ends_is_collected_with_code_and_both_outputs() {
        let done = run(shell("echo out; echo err >&2; exit 3"), "");
        let want = Done { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() };
        assert_eq!(done, Ok(want));
    }

    #[test]
    fn input_reaches_stdin_and_ends() {
        assert_eq!(run(shell("cat; echo end"), "given\n").unwrap().stdout, "given\nend\n");
    }

    #[test]
    fn turns_are_taken_in_order_each_after_its_text() {
        const TURNS: &[Turn] = &[
            Turn { after: "ready", act: Act::Type("one\n") },
            Turn { after: "ready", act: Act::Type("two\n") },
        ];
        let done = on_terminal(
            &shell("stty -echo; echo ready; read a; echo ready; read b; echo $b $a; exit 6"),
            TURNS,
        )
        .unwrap();
        assert_eq!(done.code, Some(6));
        assert!(done.stdout.ends_with("two one\r\n"), "{done:?}");
    }

    #[test]
    fn a_new_size_is_announced_to_the_command() {
        const TURNS: &[Turn] = &[Turn { after: "24 80", act: Act::Resize(33, 99) }];
        let done = on_terminal(
            &shell("trap 'stty size; exit 5' WINCH; stty size; while :; do sleep 0.05; done"),
            TURNS,
        )
        .unwrap();
        assert_eq!((done.code, done.stdout.as_str()), (Some(5), "24 80\r\n33 99\r\n"));
    }
}
