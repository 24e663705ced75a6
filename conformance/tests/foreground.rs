//! Commands in the foreground: signals and sizes go in, output and the exit code come out.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Foreground, Host, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check_eq, sys};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

const SIGNALS: &[&str] = &["/bin/probe", "signals"];

/// `run` of a program that says what signals come.
fn run_signals(s: &Sandbox, config: &Config) -> Check<Foreground> {
    let bundle = s.bundle(config)?;
    s.runtime().foreground(&["run", "--bundle", &bundle.path().to_string_lossy(), "c1"])
}

/// Sends each signal to the runtime; the program has to get it before the next one is sent.
fn reach_the_program(mut running: Foreground) -> Check {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGCONT,
        libc::SIGTSTP,
        libc::SIGRTMIN() + 3,
    ] {
        sys::kill(running.pid(), signal)?;
        check_eq!(running.next_line()?, Some(signal.to_string()), "what the program got");
    }
    sys::kill(running.pid(), libc::SIGTERM)?;
    check_eq!(running.next_line()?, Some(libc::SIGTERM.to_string()), "what the program got");
    check_eq!(running.finish()?.0, 0, "exit code");
    Ok(())
}

fn run_forwards_signals() -> Check {
    let s = sandbox()?;
    reach_the_program(run_signals(&s, &Config::new(SIGNALS))?)
}

fn exec_forwards_signals() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SIGNALS))?;
    reach_the_program(s.runtime().foreground(&["exec", "c1", "/bin/probe", "signals"])?)
}

/// What the runtime needs itself is not for the program.
fn signals_of_the_runtime_itself_are_not_forwarded() -> Check {
    let s = sandbox()?;
    let mut running = run_signals(&s, &Config::new(SIGNALS))?;
    for signal in [libc::SIGCHLD, libc::SIGWINCH, libc::SIGURG] {
        sys::kill(running.pid(), signal)?;
        sys::kill(running.pid(), libc::SIGUSR1)?;
        check_eq!(running.next_line()?, Some(libc::SIGUSR1.to_string()), "after signal {signal}");
    }
    sys::kill(running.pid(), libc::SIGTERM)?;
    check_eq!(running.finish()?.0, 0, "exit code");
    Ok(())
}

fn a_broken_pipe_is_forwarded_if_somebody_sends_it() -> Check {
    let s = sandbox()?;
    let mut running = run_signals(&s, &Config::new(SIGNALS))?;
    sys::kill(running.pid(), libc::SIGPIPE)?;
    check_eq!(running.next_line()?, Some(libc::SIGPIPE.to_string()), "what the program got");
    sys::kill(running.pid(), libc::SIGTERM)?;
    check_eq!(running.finish()?.0, 0, "exit code");
    Ok(())
}

/// A command on a terminal of the caller that is 30 by 90: the program's own has that size, and follows.
fn follows(s: &mut Sandbox, args: &[&str]) -> Check {
    let (master, name) = sys::open_pty()?;
    let slave = File::options().read(true).write(true).open(&name)?;
    sys::resize(slave.as_fd(), 30, 90)?;
    // Output goes to a pipe: what a terminal makes of it is of no interest here.
    s.runtime_mut().wrap(&["sh", "-c", &format!("exec \"$@\" <{name}"), "sh"]);
    let mut running = s.runtime().foreground(args)?;
    check_eq!(running.first_line(), "ready", "first line");
    sys::kill(running.pid(), libc::SIGUSR1)?;
    check_eq!(running.next_line()?, Some(format!("{} 30x90", libc::SIGUSR1)), "the size at the beginning");
    sys::resize(slave.as_fd(), 40, 100)?;
    sys::kill(running.pid(), libc::SIGWINCH)?;
    check_eq!(running.next_line()?, Some(format!("{} 40x100", libc::SIGWINCH)), "the size after a change");
    sys::kill(running.pid(), libc::SIGTERM)?;
    check_eq!(running.next_line()?, Some(format!("{} 40x100", libc::SIGTERM)), "the size at the end");
    check_eq!(running.finish()?.0, 0, "exit code");
    s.runtime_mut().wrap(&[]);
    drop((master, slave));
    Ok(())
}

fn the_terminal_of_run_has_the_size_of_the_callers() -> Check {
    let mut s = sandbox()?;
    let bundle = s.bundle(&Config::new(SIGNALS).set("/process/terminal", true))?;
    follows(&mut s, &["run", "--bundle", &bundle.path().to_string_lossy(), "c1"])
}

fn the_terminal_of_exec_has_the_size_of_the_callers() -> Check {
    let mut s = sandbox()?;
    s.sleeper("c1", &Config::new(SIGNALS))?;
    follows(&mut s, &["exec", "--tty", "c1", "/bin/probe", "signals"])
}

/// ONLCR is off before the program starts, so a line ends with LF however fast it comes.
fn a_terminal_of_exec_adds_no_carriage_return() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SIGNALS))?;
    for flag in ["--tty", "-t", "--tty=true"] {
        let words = ["exec", flag, "c1", "/bin/probe", "echo", "one"];
        check_eq!(s.runtime().call(&words)?.success()?.stdout, "one\n", "with {flag}");
    }
    let seen = s.runtime().call(&["exec", "--tty=false", "c1", "/bin/probe", "report"])?.success()?.json()?;
    check_eq!(seen["tty"][1]["isatty"], false, "a terminal nobody asked for");
    Ok(())
}

fn exec_returns_the_exit_code_or_128_and_the_signal() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SIGNALS))?;
    let rt = s.runtime();
    rt.exec("c1", &["/bin/probe", "exit", "0"])?.exits(0)?;
    rt.exec("c1", &["/bin/probe", "exit", "42"])?.exits(42)?;
    rt.exec("c1", &["/bin/probe", "signal-self", "9"])?.exits(137)?;
    rt.exec("c1", &["/bin/probe", "signal-self", "10"])?.exits(138)?;
    Ok(())
}

fn parent(pid: i32) -> Check<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap_or_default().to_owned())
}

/// Runs a program with a child and a grandchild outside of any pid namespace, and kills the child: who gets its child?
fn heir(options: &[&str]) -> Check<(String, i32)> {
    let s = sandbox()?;
    let program = ["/bin/probe", "spawn", "1", "spawn", "1"];
    let bundle = s.bundle(&Config::new(&program).without_namespace("pid"))?;
    let path = bundle.path().to_string_lossy();
    let words = [&["run"], options, &["--bundle", &path, "c1"]].concat();
    let running = s.runtime().foreground(&words)?;
    let first = s.runtime().pid("c1")?.to_string();
    // The grandchild may not be there yet.
    let all = loop {
        let all = Host::processes_in(s.cgroup_prefix())?;
        if all.len() == 3 {
            break all;
        }
        std::thread::yield_now();
    };
    let below = |above: &str| -> Check<i32> {
        for pid in &all {
            if parent(*pid)? == above {
                return Ok(*pid);
            }
        }
        Err(format!("{above} has no child").into())
    };
    let child = below(&first)?;
    let grandchild = below(&child.to_string())?;
    sys::kill(child, libc::SIGKILL)?;
    s.runtime().wait_for_end(child)?;
    let heir = parent(grandchild)?;
    let pid = running.pid();
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    drop(running);
    Ok((heir, pid))
}

fn run_reaps_the_orphans_of_its_container_unless_told_not_to() -> Check {
    let (heir_of_run, runtime) = heir(&[])?;
    check_eq!(heir_of_run, runtime.to_string(), "with run");
    check_eq!(heir(&["--no-subreaper"])?.0, std::process::id().to_string(), "with --no-subreaper");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        run_forwards_signals,
        exec_forwards_signals,
        signals_of_the_runtime_itself_are_not_forwarded,
        a_broken_pipe_is_forwarded_if_somebody_sends_it,
        the_terminal_of_run_has_the_size_of_the_callers,
        the_terminal_of_exec_has_the_size_of_the_callers,
        exec_returns_the_exit_code_or_128_and_the_signal,
        run_reaps_the_orphans_of_its_container_unless_told_not_to,
    ];
    tests.push(oxrun_only(
        "a_terminal_of_exec_adds_no_carriage_return",
        "runc clears ONLCR after the start, so it depends on who is faster",
        a_terminal_of_exec_adds_no_carriage_return,
    ));
    run(tests)
}
