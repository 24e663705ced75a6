//! The library inside a daemon: eight threads that allocate and log, 500 MB of memory. Two hundred
//! containers must come and go without a hang, and the daemon must be the same afterwards. The
//! control is the same daemon with a fork that goes on in Rust.
//!
//! The test program is also the daemon: with a first argument of its own it becomes one.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "caller_untouched/again.rs"]
mod again;
#[path = "embedding/fork.rs"]
mod fork;
#[path = "caller_untouched/process.rs"]
mod process;
#[path = "caller_untouched/sys.rs"]
mod sys;

use again::again;
use process::{descriptors, differences, facts};

use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::{Bundle, CreateOptions, ExitStatus, Runtime, Stdio};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const THREADS: usize = 8;
const MEMORY: usize = 500 << 20;
const CONTAINERS: usize = 200;
const FORKS: usize = 400;
/// How long a forked child may take to execute a program before it counts as hung.
const HANG: Duration = Duration::from_secs(2);

/// A log that all threads write.
type Log = Arc<Mutex<File>>;

fn log(log: &Log, text: &str) {
    if let Ok(mut file) = log.lock() {
        let _ = writeln!(file, "{text}");
    }
}

/// What one round of work of a daemon's thread is.
fn work(round: usize, to: &Log) {
    let parts: Vec<String> = (0..round % 64).map(|n| "x".repeat(n * 37 % 4096)).collect();
    log(to, &format!("round {round}: {}", parts.concat().len()));
}

/// Threads that work until they are told to stop.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    log: Log,
}

impl Busy {
    fn begin() -> Check<Self> {
        let log: Log = Arc::new(Mutex::new(File::options().append(true).open("/dev/null")?));
        let stop = Arc::new(AtomicBool::new(false));
        // A thread is born with all signals blocked: it must be at work before anybody looks.
        let begun = Arc::new(Barrier::new(THREADS + 1));
        let threads = (0..THREADS).map(|first| {
            let (stop, log, begun) = (Arc::clone(&stop), Arc::clone(&log), Arc::clone(&begun));
            std::thread::spawn(move || {
                let mut round = first;
                begun.wait();
                while !stop.load(Ordering::Relaxed) {
                    work(round, &log);
                    round += 1;
                }
            })
        });
        let threads = threads.collect();
        begun.wait();
        Ok(Self { stop, threads, log })
    }

    fn end(self) -> Check {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| Failed::from("a thread panicked"))?;
        }
        Ok(())
    }
}

/// The daemon: makes containers, and compares itself before and after.
fn daemon(bundle: &Path, root: &Path, count: usize, spoil: Option<Spoil>) -> Check {
    let mut memory = vec![0u8; MEMORY];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    let busy = Busy::begin()?;
    let runtime = Runtime::new(root);
    let opened = Bundle::open(bundle)?;
    let (before, descriptors_before) = (facts()?, descriptors()?);
    for number in 0..count {
        let plan = runtime.plan(&format!("c{number}"), &opened, &CreateOptions::default())?;
        let container = runtime.create(&plan, Stdio::null())?;
        let status = container.start().and_then(|()| container.wait());
        container.delete(true)?;
        check_eq!(status?, ExitStatus::Exited(4), "container {number}");
    }
    if let Some(spoil) = spoil {
        spoil()?;
    }
    let (after, descriptors_after) = (facts()?, descriptors()?);
    std::hint::black_box(&memory);
    busy.end()?;
    let changed = differences(&before, &after);
    check!(changed.is_empty(), "the daemon has changed: {}", changed.join("; "));
    let mut new = Vec::new();
    for (number, what) in &descriptors_after {
        match descriptors_before.get(number) {
            Some(old) => check_eq!(what, old, "{number} of the daemon"),
            None => new.push(what.clone()),
        }
    }
    check_eq!(descriptors_after.len(), descriptors_before.len() + new.len(), "a descriptor is gone");
    // The library's copy of init is made once and kept, sealed, for the next launch.
    check!(
        new.len() <= 1 && new.iter().all(|what| what.starts_with("/memfd:oxrun-init (deleted) (0x1,")),
        "new descriptors: {new:?}"
    );
    Ok(())
}

/// A change of the calling process.
type Spoil = fn() -> Check;

/// Two things that a library must not do to its caller, by name; `caller_untouched.rs` has them all.
const SPOILS: [(&str, Spoil, &str); 2] = [
    ("umask", || Ok(sys::set_umask(0o77)?), "Umask of thread"),
    ("descriptor", || Ok(File::open("/proc/self/stat").map(std::mem::forget)?), "new descriptors"),
];

/// The daemon with a launcher that forks and goes on in Rust. Says how many children it took until
/// one hung, which is killed.
fn forking_daemon(program: &Path) -> Check {
    let busy = Busy::begin()?;
    let mut hung = None;
    for number in 1..=FORKS {
        let to = Arc::clone(&busy.log);
        let pid = fork::fork_and_go_on(program, || work(63, &to))?;
        let pidfd = oxrun_conformance::sys::pidfd(pid)?;
        let ended = oxrun_conformance::sys::readable(pidfd.as_fd(), HANG)?;
        if !ended {
            oxrun_conformance::sys::kill(pid, libc::SIGKILL)?;
        }
        let _ = sys::wait(pid)?;
        if !ended {
            hung = Some(number);
            break;
        }
    }
    busy.end()?;
    match hung {
        Some(number) => println!("child {number} hung"),
        None => println!("no child hung"),
    }
    Ok(())
}

fn a_busy_daemon_makes_containers_without_a_hang_and_stays_as_it_was() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "4"]))?;
    let root = s.runtime().root();
    let args = ["--daemon".as_ref(), bundle.path().as_ref(), root.as_ref(), "".as_ref()];
    again(&s, &args).map(drop)
}

fn a_change_of_the_daemon_is_noticed() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "4"]))?;
    let root = s.runtime().root();
    for (name, _, expected) in SPOILS {
        let args = ["--daemon".as_ref(), bundle.path().as_ref(), root.as_ref(), name.as_ref()];
        let failed = again(&s, &args).err().ok_or_else(|| format!("{name}: nothing"))?;
        let said = failed.message().unwrap_or_default();
        check!(said.contains(expected), "{name}: {said}");
    }
    Ok(())
}

fn the_same_daemon_hangs_with_a_fork_that_goes_on_in_rust() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let said = again(&s, &["--forking-daemon".as_ref(), "/bin/true".as_ref()])?;
    check!(said.starts_with("child "), "it said {said:?}");
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let words: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let done = match words.as_slice() {
        [_, first, bundle, root, spoil] if *first == "--daemon" => {
            let spoil = SPOILS.iter().find(|(name, ..)| spoil == name);
            let count = if spoil.is_some() { 1 } else { CONTAINERS };
            daemon(bundle.as_ref(), root.as_ref(), count, spoil.map(|s| s.1))
        }
        [_, first, program] if *first == "--forking-daemon" => forking_daemon(program.as_ref()),
        _ => {
            macro_rules! tests {
                ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), "the library is oxrun's", $name)),*] };
            }
            return run(tests![
                a_busy_daemon_makes_containers_without_a_hang_and_stays_as_it_was,
                a_change_of_the_daemon_is_noticed,
                the_same_daemon_hangs_with_a_fork_that_goes_on_in_rust,
            ]);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
