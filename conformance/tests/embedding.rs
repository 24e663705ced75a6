//! The library inside a daemon: eight threads that allocate and log, 500 MB of memory. Two hundred
//! containers must come and go without a hang, and the daemon must be the same afterwards. The
//! control is the same daemon with a fork that goes on in Rust.
//!
//! The test program is also the daemon: with a first argument of its own it becomes one.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "embedding/sys.rs"]
mod sys;

use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::{Bundle, CreateOptions, ExitStatus, Runtime, Stdio};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const THREADS: usize = 8;
const MEMORY: usize = 500 << 20;
const CONTAINERS: usize = 200;
const FORKS: usize = 400;
/// How long the daemon may take for all of its containers.
const LIMIT: Duration = Duration::from_secs(600);
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

/// Everything of this process that the library promises not to change.
fn snapshot() -> Check<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: String| facts.insert(name.to_owned(), value);
    put("cwd", std::env::current_dir()?.display().to_string());
    put("environment", format!("{:?}", std::env::vars_os().collect::<Vec<_>>()));
    put("rlimits", fs::read_to_string("/proc/self/limits")?);
    put("oom_score_adj", fs::read_to_string("/proc/self/oom_score_adj")?);
    put("cgroup", fs::read_to_string("/proc/self/cgroup")?);
    let (dumpable, subreaper) = sys::flags();
    put("dumpable", dumpable.to_string());
    put("subreaper", subreaper.to_string());
    for signal in 1..=64 {
        put(&format!("signal {signal}"), format!("{:?}", sys::disposition(signal)));
    }
    let lines =
        ["Umask", "Uid", "Gid", "Groups", "SigIgn", "SigCgt", "CapEff", "CapBnd", "NoNewPrivs", "Threads"];
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if lines.contains(&name) {
            put(name, value.trim().to_owned());
        }
    }
    for namespace in fs::read_dir("/proc/self/ns")? {
        let path = namespace?.path();
        put(&path.display().to_string(), fs::read_link(&path)?.display().to_string());
    }
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path().join("status");
        let status = fs::read_to_string(&path)?;
        let mask = status.lines().find(|line| line.starts_with("SigBlk"));
        put(&path.display().to_string(), mask.unwrap_or_default().to_owned());
    }
    put("children", fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()))?);
    Ok(facts)
}

/// The open descriptors with what they are, without the one through which they are read.
fn descriptors() -> Check<BTreeMap<i32, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        let Some(number) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        let Ok(target) = fs::read_link(&path) else {
            continue;
        };
        if target != Path::new(&format!("/proc/{}/fd", std::process::id())) {
            let (fd, file) = sys::descriptor_flags(number);
            found.insert(number, format!("{} ({fd:#x}, {file:#x})", target.display()));
        }
    }
    Ok(found)
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
    let before = snapshot()?;
    let descriptors_before = descriptors()?;
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
    let (after, descriptors_after) = (snapshot()?, descriptors()?);
    std::hint::black_box(&memory);
    busy.end()?;
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        check_eq!(after.get(name), before.get(name), "{name} of the daemon");
    }
    let mut new = Vec::new();
    for (number, what) in &descriptors_after {
        match descriptors_before.get(number) {
            Some(old) => check_eq!(what, old, "descriptor {number} of the daemon"),
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

/// Things that a library must not do to its caller, by name.
const SPOILS: [(&str, Spoil, &str); 4] = [
    ("cwd", || Ok(std::env::set_current_dir("/proc")?), "cwd of the daemon"),
    (
        "umask",
        || {
            sys::set_umask(0o77);
            Ok(())
        },
        "Umask of the daemon",
    ),
    (
        "signal",
        || {
            sys::ignore(libc::SIGUSR2);
            Ok(())
        },
        "SigIgn of the daemon",
    ),
    (
        "descriptor",
        || {
            std::mem::forget(File::open("/proc/self/stat")?);
            Ok(())
        },
        "new descriptors",
    ),
];

/// The daemon with a launcher that forks and goes on in Rust. Says how many children it took until
/// one hung, which is killed.
fn forking_daemon(program: &Path) -> Check {
    let busy = Busy::begin()?;
    let mut hung = None;
    for number in 1..=FORKS {
        let to = Arc::clone(&busy.log);
        let pid = sys::fork_and_go_on(program, || work(63, &to))?;
        let pidfd = oxrun_conformance::sys::pidfd(pid)?;
        let ended = oxrun_conformance::sys::readable(pidfd.as_fd(), HANG)?;
        if !ended {
            oxrun_conformance::sys::kill(pid, libc::SIGKILL)?;
        }
        sys::wait(pid)?;
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

/// Runs this program as a daemon in the sandbox's directory, within the time, and returns what it
/// said on stdout.
fn as_daemon(s: &Sandbox, args: &[&OsStr]) -> Check<String> {
    let (out, err) = (s.dir().join("daemon.out"), s.dir().join("daemon.err"));
    let mut child = Command::new(std::env::current_exe()?)
        .args(args)
        .current_dir(s.dir())
        .stdin(std::process::Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()?;
    let pidfd = oxrun_conformance::sys::pidfd(child.id().cast_signed())?;
    let ended = oxrun_conformance::sys::readable(pidfd.as_fd(), LIMIT)?;
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    check!(ended, "the daemon did not end in {LIMIT:?}");
    check!(status.success(), "the daemon: {status}: {}", fs::read_to_string(err)?);
    Ok(fs::read_to_string(out)?)
}

fn a_busy_daemon_makes_containers_without_a_hang_and_stays_as_it_was() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "4"]))?;
    let root = s.runtime().root();
    let args = ["--daemon".as_ref(), bundle.path().as_ref(), root.as_ref(), "".as_ref()];
    as_daemon(&s, &args).map(drop)
}

fn a_change_of_the_daemon_is_noticed() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "4"]))?;
    let root = s.runtime().root();
    for (name, _, expected) in SPOILS {
        let args = ["--daemon".as_ref(), bundle.path().as_ref(), root.as_ref(), name.as_ref()];
        let failed = as_daemon(&s, &args).err().ok_or_else(|| format!("{name}: nothing"))?;
        let said = failed.message().unwrap_or_default();
        check!(said.contains(expected), "{name}: {said}");
    }
    Ok(())
}

fn the_same_daemon_hangs_with_a_fork_that_goes_on_in_rust() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let said = as_daemon(&s, &["--forking-daemon".as_ref(), "/bin/true".as_ref()])?;
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
