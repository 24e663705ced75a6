//! Terminals: who makes them, where they go, and what the program finds on its standard
//! descriptors.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// The socket on which a caller receives the master of a pseudo terminal.
struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    fn new(s: &Sandbox) -> Check<Self> {
        let path = s.dir().join("console.sock");
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// The message and its descriptors.
    fn receive(&self) -> Check<(Vec<u8>, Vec<OwnedFd>)> {
        check!(sys::readable(self.listener.as_fd(), Duration::from_secs(60))?, "nobody connects");
        let (stream, _) = self.listener.accept()?;
        Ok(sys::receive(stream.as_fd())?)
    }

    fn master(&self) -> Check<File> {
        let (_, fds) = self.receive()?;
        check_eq!(fds.len(), 1, "descriptors in the message");
        Ok(File::from(fds.into_iter().next().unwrap()))
    }
}

/// Reads a master until its other end has been closed by everybody.
fn drain(mut master: File) -> Check<String> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        check!(sys::readable(master.as_fd(), Duration::from_secs(60))?, "the terminal is silent");
        match master.read(&mut part) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn with_terminal(args: &[&str]) -> Config {
    Config::new(args).set("/process/terminal", true)
}

/// Creates and starts a container on a console, and returns what it wrote there.
fn output(config: &Config) -> Check<String> {
    let s = sandbox()?;
    let console = Console::new(&s)?;
    let bundle = s.bundle(config)?;
    let rt = s.runtime();
    let (path, socket) = (bundle.path().to_string_lossy(), console.path.to_string_lossy());
    rt.call(&["create", "--bundle", &path, "--console-socket", &socket, "c1"])?.success()?;
    let master = console.master()?;
    check!(sys::is_terminal(master.as_fd()), "what came is no terminal");
    rt.start("c1")?.success()?;
    drain(master)
}

fn report(config: &Config) -> Check<Value> {
    let text = output(config)?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{error} in {text:?}"))?)
}

fn the_console_socket_receives_a_terminal() -> Check {
    let s = sandbox()?;
    let console = Console::new(&s)?;
    let bundle = s.bundle(&with_terminal(REPORT))?;
    let (path, socket) = (bundle.path().to_string_lossy(), console.path.to_string_lossy());
    let words = ["create", "--bundle", &path, "--console-socket", &socket, "c1"];
    s.runtime().call(&words)?.success()?;
    let (message, fds) = console.receive()?;
    check!(!message.is_empty(), "a message without a byte cannot carry a descriptor everywhere");
    check_eq!(fds.len(), 1, "descriptors in the message");
    check!(sys::is_terminal(fds[0].as_fd()), "what came is no terminal");
    Ok(())
}

fn standard_descriptors_are_the_terminal() -> Check {
    let seen = report(&with_terminal(REPORT))?;
    for fd in 0..3 {
        check_eq!(seen["tty"][fd]["isatty"], true, "descriptor {fd} is a terminal");
        check_eq!(seen["tty"][fd]["name"], "/dev/pts/0", "name of descriptor {fd}");
    }
    let open: Vec<&String> = seen["fds"].as_object().unwrap().keys().collect();
    check_eq!(open, ["0", "1", "2"]);
    Ok(())
}

fn the_terminal_is_the_controlling_one() -> Check {
    // Without one, opening /dev/tty fails with ENXIO.
    let seen = report(&with_terminal(&["/bin/probe", "report", "--open", "/dev/tty:rw"]))?;
    check_eq!(seen["open"]["/dev/tty:rw"], "ok");
    check_eq!(seen["sid"], 1);
    Ok(())
}

/// Whoever receives the master decides about newlines: engines with a raw terminal at the other
/// end rely on the kernel's default.
fn the_receiver_of_the_console_finds_default_settings() -> Check {
    let text = output(&with_terminal(&["/bin/probe", "echo", "a line"]))?;
    check_eq!(text, "a line\r\n");
    let seen = report(&with_terminal(REPORT))?;
    check_eq!(seen["tty"][1]["onlcr"], true, "ONLCR");
    check_eq!(seen["tty"][1]["opost"], true, "OPOST");
    Ok(())
}

/// In the foreground the runtime is the receiver: the caller's own terminal adds the CR.
fn a_foreground_run_clears_onlcr_before_the_program_starts() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&with_terminal(REPORT))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check!(!output.stdout.contains('\r'), "the output has a CR: {:?}", output.stdout);
    let seen = output.json()?;
    check_eq!(seen["tty"][1]["isatty"], true, "stdout is a terminal");
    check_eq!(seen["tty"][1]["onlcr"], false, "ONLCR");
    check_eq!(seen["tty"][1]["opost"], true, "OPOST");
    Ok(())
}

fn the_console_device_is_the_terminal() -> Check {
    let words = ["/bin/probe", "report", "--stat", "/dev/console", "--stat", "/dev/pts/0"];
    let seen = report(&with_terminal(&words))?;
    let console = &seen["stat"]["/dev/console"];
    check_eq!(console["type"], "char");
    check_eq!(console["rdev"], seen["stat"]["/dev/pts/0"]["rdev"]);
    let mounts = seen["mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["target"] == "/dev/console");
    check_eq!(mount.map(|mount| &mount["type"]), Some(&json!("devpts")));
    Ok(())
}

fn the_terminal_belongs_to_the_user() -> Check {
    let words = ["/bin/probe", "report", "--stat", "/dev/pts/0"];
    let config = with_terminal(&words).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let seen = report(&config)?;
    let stat = &seen["stat"]["/dev/pts/0"];
    check_eq!((&stat["uid"], &stat["gid"]), (&json!(1000), &json!(5)));
    check_eq!(stat["mode"], "0620");
    Ok(())
}

fn the_terminal_has_the_size_asked_for() -> Check {
    let size = json!({ "height": 33, "width": 77 });
    let seen = report(&with_terminal(REPORT).set("/process/consoleSize", size))?;
    check_eq!(seen["tty"][0]["window"], json!([33, 77]));
    Ok(())
}

fn without_a_terminal_there_is_none() -> Check {
    let s = sandbox()?;
    let seen = s.report(&Config::new(&["/bin/probe", "report", "--stat", "/dev/console"]))?;
    for fd in 0..3 {
        check_eq!(seen["tty"][fd]["isatty"], false, "descriptor {fd} is a terminal");
    }
    Ok(())
}

fn create_with_a_terminal_needs_a_console_socket() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&with_terminal(REPORT))?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?;
    output.refused("without setting console socket")?;
    before.assert_same()
}

fn create_without_a_terminal_refuses_a_console_socket() -> Check {
    let s = sandbox()?;
    let console = Console::new(&s)?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    let before = s.leaks()?;
    let (path, socket) = (bundle.path().to_string_lossy(), console.path.to_string_lossy());
    let words = ["create", "--bundle", &path, "--console-socket", &socket, "c1"];
    s.runtime().call(&words)?.refused("cannot use console socket")?;
    before.assert_same()
}

fn a_console_socket_that_is_missing_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&with_terminal(REPORT))?;
    let before = s.leaks()?;
    let path = bundle.path().to_string_lossy();
    let words = ["create", "--bundle", &path, "--console-socket", "no.sock", "c1"];
    s.runtime().call(&words)?.refused("no such file or directory")?;
    before.assert_same()
}

fn a_detached_run_uses_the_console_socket() -> Check {
    let s = sandbox()?;
    let console = Console::new(&s)?;
    let bundle = s.bundle(&with_terminal(&["/bin/probe", "echo", "hello"]))?;
    let (path, socket) = (bundle.path().to_string_lossy(), console.path.to_string_lossy());
    let words = ["run", "--detach", "--bundle", &path, "--console-socket", &socket, "c1"];
    s.runtime().call(&words)?.success()?;
    check_eq!(drain(console.master()?)?, "hello\r\n");
    Ok(())
}

fn exec_gets_a_terminal_of_its_own() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let console = Console::new(&s)?;
    let socket = console.path.to_string_lossy();
    let words = [
        "exec",
        "--tty",
        "--detach",
        "--pid-file",
        "pid",
        "--console-socket",
        &socket,
        "--user",
        "1000:1000",
        "c1",
        "/bin/probe",
        "report",
        "--stat",
        "/dev/pts/0",
    ];
    s.runtime().call(&words)?.success()?;
    let text = drain(console.master()?)?;
    // Its zombie would keep the pid namespace alive.
    let pid = std::fs::read_to_string(s.dir().join("pid"))?.parse()?;
    check_eq!(s.runtime().wait_for(pid)?, Some(0), "how the process ended");
    let seen: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text:?}"))?;
    check_eq!(seen["tty"][0]["name"], "/dev/pts/0");
    let stat = &seen["stat"]["/dev/pts/0"];
    check_eq!((&stat["uid"], &stat["gid"]), (&json!(1000), &json!(5)), "owner");
    Ok(())
}

fn a_foreground_run_copies_the_output_of_the_terminal() -> Check {
    let s = sandbox()?;
    let config = with_terminal(&["/bin/probe", "echo", "through the terminal"]);
    let bundle = s.bundle(&config)?;
    // The caller sits on a terminal of its own.
    let (master, name) = sys::open_pty()?;
    let slave = File::options().read(true).write(true).open(&name)?;
    let mut command = s.runtime().command();
    command.arg("run").arg("--bundle").arg(bundle.path()).arg("c1").stdin(slave.try_clone()?);
    s.runtime().finish_into(command, Some(slave.into()))?.success()?;
    // One CR, from the caller's terminal.
    check_eq!(drain(File::from(master))?, "through the terminal\r\n");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        the_console_socket_receives_a_terminal,
        standard_descriptors_are_the_terminal,
        the_terminal_is_the_controlling_one,
        the_receiver_of_the_console_finds_default_settings,
        the_console_device_is_the_terminal,
        the_terminal_belongs_to_the_user,
        the_terminal_has_the_size_asked_for,
        without_a_terminal_there_is_none,
        create_with_a_terminal_needs_a_console_socket,
        create_without_a_terminal_refuses_a_console_socket,
        a_console_socket_that_is_missing_is_refused,
        a_detached_run_uses_the_console_socket,
        exec_gets_a_terminal_of_its_own,
    ];
    tests.extend([
        oxrun_only(
            "a_foreground_run_clears_onlcr_before_the_program_starts",
            "runc clears it after the start, so it depends on who is faster",
            a_foreground_run_clears_onlcr_before_the_program_starts,
        ),
        oxrun_only(
            "a_foreground_run_copies_the_output_of_the_terminal",
            "runc clears ONLCR after the start, so the number of CRs depends on who is faster",
            a_foreground_run_copies_the_output_of_the_terminal,
        ),
    ]);
    run(tests)
}
