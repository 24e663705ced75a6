//! Many containers and many further processes, one after the other in two lanes: nothing adds up. What there is of
//! descriptors, mounts, cgroups, keyrings, processes and state is the same early, in the middle and at the end; the
//! memory of a program that makes them by the library stays what it is.
//!
//! `OXRUN_SOAK=N` says how many of each, `OXRUN_CGROUP_VIEW` which hierarchies.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Host, Leaks, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use oxrun_core::{CreateOptions, ExitStatus, Runtime, Stdio};
use serde_json::json;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio as Streams};
use std::time::{Duration, Instant};

/// How many at the same time: `OXRUN_LANES`, else two, so that one call's end meets another's beginning.
fn lane_count() -> usize {
    std::env::var("OXRUN_LANES").ok().and_then(|number| number.parse().ok()).unwrap_or(2)
}

/// Far longer than any call takes; the end of a runtime that hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// What a heap may breathe, in KiB: three hundred bytes of each of ten thousand rounds are more.
const BREATH: u64 = 2048;

/// How many of each: `OXRUN_SOAK`, else a few, which shows that the test itself holds.
fn count() -> Check<usize> {
    Ok(std::env::var("OXRUN_SOAK").map_or(Ok(24), |number| number.parse())?)
}

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// What must not add up.
struct Figures {
    leaks: Leaks,
    descriptors: usize,
    /// Keyrings with one of our names.
    keyrings: usize,
    /// Everything below the state root.
    files: usize,
    /// The memory of this process, in KiB.
    memory: u64,
}

fn entries_below(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries.flatten().map(|entry| 1 + entries_below(&entry.path())).sum()
}

/// The value of a line in a file of the kernel's, such as `VmRSS:   1234 kB`.
fn line_of(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    values.next().and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn keyrings(name: &str) -> usize {
    let text = fs::read_to_string("/proc/keys").unwrap_or_default();
    text.lines().filter(|line| line.contains(name)).count()
}

/// The same, once there are no more than `expected`: the kernel throws keys away in a thread of its own, and tells
/// nobody when.
fn keyrings_left(name: &str, expected: usize) -> usize {
    let end = Instant::now() + LIMIT;
    while keyrings(name) > expected && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    keyrings(name)
}

impl Figures {
    /// What there is now, once there are no more than so many keyrings.
    fn now(s: &Sandbox, keyrings: usize) -> Check<Self> {
        Ok(Self {
            leaks: s.leaks()?,
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            keyrings: keyrings_left(&name(s), keyrings),
            files: entries_below(&s.runtime().root()),
            memory: line_of("/proc/self/status", "RssAnon:"),
        })
    }

    /// What there is more of, or less, than before.
    fn grown(&self, before: &Figures) -> Check<Vec<String>> {
        let mut grown = before.leaks.differences()?;
        for (what, before, now) in [
            ("descriptors", before.descriptors, self.descriptors),
            ("keyrings", before.keyrings, self.keyrings),
            ("files of the state root", before.files, self.files),
        ] {
            if before != now {
                grown.push(format!("{what}: {before}, then {now}"));
            }
        }
        if self.memory > before.memory + BREATH {
            grown.push(format!("memory: {} KiB, then {}", before.memory, self.memory));
        }
        Ok(grown)
    }

    /// For whoever reads it. What belongs to the whole machine is changed by others, too.
    fn print(&self, done: usize, began: Instant) {
        let dying = fs::read_to_string("/sys/fs/cgroup/cgroup.stat").unwrap_or_default();
        let dying = dying.lines().find_map(|line| line.strip_prefix("nr_dying_descendants ")).unwrap_or("?");
        println!(
            "  after {done} in {:.0} s: descriptors {}, keyrings {}, files {}, KiB {}; of the machine: dying cgroups {dying}, \
             KiB of slabs {}, of counters {}",
            began.elapsed().as_secs_f32(),
            self.descriptors,
            self.keyrings,
            self.files,
            self.memory,
            line_of("/proc/meminfo", "SUnreclaim:"),
            line_of("/proc/meminfo", "Percpu:"),
        );
    }
}

/// What the ids of the sandbox's containers, and by them their keyrings, have in their names.
fn name(s: &Sandbox) -> String {
    s.cgroup_prefix().trim_end_matches('.').to_owned()
}

/// Does `one` so many times in all, with its lane and number; nothing may grow between early, middle and end.
fn soak(s: &Sandbox, what: &str, one: impl Fn(usize, usize) -> Check + Sync) -> Check {
    let (all, keyrings) = (count()?, keyrings(&name(s)));
    let began = Instant::now();
    let mut done = 0;
    let mut first: Option<Figures> = None;
    for until in [all / 12, all / 4, all / 2, all / 4 * 3, all] {
        lanes(done..until, &one)?;
        done = until;
        let now = Figures::now(s, keyrings)?;
        now.print(done, began);
        match &first {
            None => first = Some(now),
            Some(before) => {
                let grown = now.grown(before)?;
                check!(grown.is_empty(), "after {done} {what}:\n  {}", grown.join("\n  "));
            }
        }
    }
    println!("{done} {what} in {:.0} s", began.elapsed().as_secs_f32());
    Ok(())
}

fn lanes(numbers: std::ops::Range<usize>, one: &(impl Fn(usize, usize) -> Check + Sync)) -> Check {
    let all = lane_count();
    let failed: Vec<Failed> = std::thread::scope(|scope| {
        let work = |lane: usize| {
            let mine = numbers.clone().filter(move |n| n % all == lane);
            let mut failures = mine.filter_map(|n| Some((n, one(lane, n).err()?)));
            failures.next().map(|(n, e)| format!("number {n}: {}", e.message().unwrap_or_default()).into())
        };
        let workers: Vec<_> = (0..all).map(|lane| scope.spawn(move || work(lane))).collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect()
    });
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// One lane's calls of the program. Their output goes to one file, not to two for each call.
struct Lane {
    program: PathBuf,
    root: PathBuf,
    bundle: Bundle,
    errors: PathBuf,
    pid_file: PathBuf,
}

impl Lane {
    fn all(s: &Sandbox, config: &Config) -> Check<Vec<Self>> {
        let one = |lane: usize| {
            Ok(Self {
                program: s.runtime().program().to_owned(),
                root: s.runtime().root(),
                bundle: s.bundle(config)?,
                errors: s.dir().join(format!("lane-{lane}.stderr")),
                pid_file: s.dir().join(format!("lane-{lane}.pid")),
            })
        };
        (0..lane_count()).map(one).collect()
    }

    /// Calls the program and returns its exit code.
    fn call(&self, words: &[&str], code: i32) -> Check {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(words).stdin(Streams::null());
        command.stdout(Streams::null()).stderr(File::create(&self.errors)?);
        let mut child = command.spawn()?;
        let process = sys::pidfd(child.id().cast_signed())?;
        if !sys::readable(process.as_fd(), LIMIT)? {
            let _ = child.kill();
        }
        let found = child.wait()?.code();
        let said = || fs::read_to_string(&self.errors).unwrap_or_default();
        check!(found == Some(code), "{words:?}: exit code {found:?}, not {code}\n  stderr: {}", said());
        Ok(())
    }

    fn pid(&self) -> Check<i32> {
        Ok(fs::read_to_string(&self.pid_file)?.trim().parse()?)
    }

    fn create(&self, id: &str) -> Check<i32> {
        let (bundle, pid) = (self.bundle.path().to_str().unwrap(), self.pid_file.to_str().unwrap());
        self.call(&["create", "--bundle", bundle, "--pid-file", pid, id], 0)?;
        self.pid()
    }
}

/// Waits for the end of a process that has become a child of this one, and for its exit code.
fn ended(pid: i32) -> Check<i32> {
    let process = sys::pidfd(pid)?;
    check!(sys::readable(process.as_fd(), LIMIT)?, "process {pid} does not end");
    Ok(sys::reap(pid)?.ok_or("it was no child")?.1)
}

/// A third ends by itself, a third is killed, a third never started.
fn containers_add_nothing_up() -> Check {
    let s = sandbox()?;
    let exits = Lane::all(&s, &Config::new(&["/bin/probe", "exit", "7"]))?;
    let sleeps = Lane::all(&s, &Config::new(&["/bin/probe", "sleep"]))?;
    let prefix = name(&s);
    soak(&s, "containers", |lane, n| {
        let id = format!("{prefix}-{n}");
        let by = if n % 3 == 0 { &exits[lane] } else { &sleeps[lane] };
        let pid = by.create(&id)?;
        match n % 3 {
            0 => {
                by.call(&["start", &id], 0)?;
                check_eq!(ended(pid)?, 7);
                by.call(&["delete", &id], 0)
            }
            1 => {
                by.call(&["start", &id], 0)?;
                by.call(&["kill", &id, "KILL"], 0)?;
                ended(pid)?;
                by.call(&["delete", &id], 0)
            }
            _ => {
                by.call(&["delete", "--force", &id], 0)?;
                ended(pid).map(drop)
            }
        }
    })
}

/// Every fourth is detached.
fn further_processes_add_nothing_up() -> Check {
    let s = sandbox()?;
    let lanes = Lane::all(&s, &Config::new(&["/bin/probe", "sleep"]))?;
    let ids: Vec<String> = (0..lane_count()).map(|lane| format!("{}-exec-{lane}", name(&s))).collect();
    let mut pids = Vec::new();
    for (by, id) in lanes.iter().zip(&ids) {
        pids.push(by.create(id)?);
        by.call(&["start", id], 0)?;
    }
    let done = soak(&s, "further processes", |lane, n| {
        let (by, id, code) = (&lanes[lane], ids[lane].as_str(), (n % 100) as i32);
        let text = code.to_string();
        if n % 4 < 3 {
            return by.call(&["exec", id, "/bin/probe", "exit", &text], code);
        }
        let pid_file = by.pid_file.to_str().unwrap();
        by.call(&["exec", "--detach", "--pid-file", pid_file, id, "/bin/probe", "exit", &text], 0)?;
        check_eq!(ended(by.pid()?)?, code);
        Ok(())
    });
    for ((by, id), pid) in lanes.iter().zip(&ids).zip(pids) {
        by.call(&["delete", "--force", id], 0)?;
        ended(pid)?;
    }
    done
}

/// A container of the library, with a further process in it.
fn made_by_the_library(runtime: &Runtime, bundle: &Path, id: &str) -> Result<(), oxrun_core::Error> {
    let plan = runtime.plan(id, &oxrun_core::Bundle::open(bundle)?, &CreateOptions::default())?;
    let container = runtime.create(&plan, Stdio::null())?;
    container.start()?;
    let process = json!({ "args": ["/bin/probe", "exit", "3"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    let process = oxrun_core::Bundle::process_from_json(process.to_string().as_bytes())?;
    let opened = runtime.open(id)?;
    let exec =
        opened.exec(&runtime.plan_exec(&opened, &process, &CreateOptions::default())?, Stdio::null())?;
    exec.start()?;
    let status = exec.wait()?;
    assert_eq!(status, ExitStatus::Exited(3));
    container.kill(libc::SIGKILL, false)?;
    container.wait()?;
    container.delete(false).map(drop)
}

fn the_library_adds_nothing_up() -> Check {
    let s = sandbox()?;
    let bundles: Vec<Bundle> =
        (0..lane_count()).map(|_| s.bundle(&Config::new(&["/bin/probe", "sleep"]))).collect::<Check<_>>()?;
    let (runtime, prefix) = (Runtime::new(s.runtime().root()), name(&s));
    soak(&s, "containers of the library, each with a further process", |lane, n| {
        let id = format!("{prefix}-lib-{n}");
        made_by_the_library(&runtime, bundles[lane].path(), &id).map_err(|e| Failed::from(e.to_string()))
    })
}

/// The control: one of each kind, and memory.
fn what_adds_up_is_noticed() -> Check {
    let s = sandbox()?;
    fs::create_dir_all(s.runtime().root().join("one"))?;
    let before = Figures::now(&s, 0)?;
    check_eq!(Figures::now(&s, 0)?.grown(&before)?, Vec::<String>::new());
    let descriptor = File::open("/dev/null")?;
    fs::write(s.runtime().root().join("one/state.json"), "")?;
    let mut heap = Vec::new();
    File::open("/dev/zero")?.take(2 * BREATH * 1024).read_to_end(&mut heap)?;
    let place = s.make_dir("place")?;
    sys::mount(&place, &place, "", libc::MS_BIND)?;
    let cgroup = Host::cgroup_roots()?.pop_last().unwrap().join(format!("{}left", s.cgroup_prefix()));
    fs::create_dir(&cgroup)?;
    let mut child = Command::new(s.probe()).arg("sleep").stdout(Streams::null()).spawn()?;
    let mut now = Figures::now(&s, 0)?;
    // One that is not made: it would stay until the kernel finds the time.
    now.keyrings += 1;
    let grown = now.grown(&before)?.join("\n");
    child.kill()?;
    child.wait()?;
    fs::remove_dir(&cgroup)?;
    sys::unmount(&place)?;
    fs::remove_dir_all(s.runtime().root().join("one"))?;
    drop((descriptor, heap));
    for what in [
        "descriptors: ",
        "keyrings: ",
        "files of the state root: ",
        "memory: ",
        "new mount",
        "new cgroup",
        "new process",
    ] {
        check!(grown.contains(what), "{what:?} is not in\n{grown}");
    }
    Ok(())
}

fn main() -> ExitCode {
    run(vec![
        test("containers_add_nothing_up", containers_add_nothing_up),
        test("further_processes_add_nothing_up", further_processes_add_nothing_up),
        oxrun_only("the_library_adds_nothing_up", "it is about the library", the_library_adds_nothing_up),
        test("what_adds_up_is_noticed", what_adds_up_is_noticed),
    ])
}
