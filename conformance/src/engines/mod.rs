//! Every scenario is played twice by a real engine, once over the reference runtime and once over
//! the runtime under test. Exit code, output and the engine's message must be the same, and the
//! runtime under test must have been called: a wrapper between engine and runtime counts.
//!
//! The engines run isolated (`isolate`), over an image made on the spot (`image`) and without
//! network. `engine` says what an engine is, `scenario` what a scenario consists of; `containerd`,
//! `docker`, `podman`, `buildah` and `cri` hold them.

mod alike;
mod buildah;
mod calls;
mod cgroups;
mod command;
mod common;
mod containerd;
mod cri;
mod daemon;
mod differences;
mod docker;
mod engine;
mod image;
mod isolate;
mod lines;
mod play;
mod podman;
mod scenario;
mod soak;
mod storage;
mod sys;
mod text;

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use differences::DIFFERENCES;
use engine::{Engine, Package};
use scenario::{Report, Verdict};
use soak::Counts;

const USAGE: &str =
    "usage: oxrun-conformance engines [--runtime PATH] [--reference PATH] [--engine-dir DIR] [--keep] [--only NAME]... ENGINE...
       oxrun-conformance engines --soak [--runs N] [--execs N] [--pods N] [--probes N] [--runtime PATH] docker|cri...
       oxrun-conformance engines --packages
       oxrun-conformance engines --differences
ENGINE is containerd, docker, docker-userns, podman, podman-rootless, buildah or cri, or all. --only picks scenarios. --engine-dir has other versions of the engines, as in /usr: bin, sbin, libexec. --soak repeats one thing many times. --keep keeps the scratch directory.";

/// The package that the image is made of.
const IMAGE: Package = ("busybox-static", "/bin/busybox");

/// The package of the default reference.
const REFERENCE: Package = ("runc", "/usr/sbin/runc");

/// Longest time that one engine may take in all, so that a hanging run ends.
const LIMIT: Duration = Duration::from_secs(2400);

/// The same for a soak.
const SOAK_LIMIT: Duration = Duration::from_secs(7200);

/// Longest time that tearing down may take after that.
const TEARDOWN: Duration = Duration::from_secs(60);

/// What one engine's run needs to know; handed from process to process as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    engine: Engine,
    runtime: PathBuf,
    reference: PathBuf,
    scratch: PathBuf,
    hierarchies: Vec<cgroups::Hierarchy>,
    keep: bool,
    only: Vec<String>,
    soak: Option<Counts>,
    /// Whose files stand before those of /usr.
    engine_dir: Option<PathBuf>,
}

impl Job {
    /// This program again, for another part of the same job.
    fn command(&self, part: &str) -> Result<Command, String> {
        let me = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
        let job = serde_json::to_string(self).map_err(|e| e.to_string())?;
        let mut command = Command::new(me);
        command.args(["engines", part, &job]);
        Ok(command)
    }
}

/// Runs `oxrun-conformance engines` with the arguments that follow the word `engines`.
pub fn run(args: &[String]) -> ExitCode {
    if let Some((cri::CLIENT, words)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return cri::client(words);
    }
    match parse(args) {
        Ok(Task::Suite(options)) => suite(&options),
        Ok(Task::Supervise(job)) => isolate::supervise(&job),
        Ok(Task::Inside(job)) => play::inside(&job),
        Ok(Task::Packages) => {
            let all: BTreeSet<&str> = packages(Engine::ALL).map(|(package, _)| package).collect();
            for package in all.into_iter().chain([REFERENCE.0]) {
                println!("{package}");
            }
            eprintln!(
                "apt-get install --no-install-recommends; a /usr/sbin/policy-rc.d that exits \
                 with 101 keeps the packages from starting their daemons"
            );
            ExitCode::SUCCESS
        }
        Ok(Task::Differences) => {
            print!("{}", differences::page());
            ExitCode::SUCCESS
        }
        Ok(Task::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("oxrun-conformance engines: {e}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    engines: Vec<Engine>,
    runtime: PathBuf,
    reference: PathBuf,
    keep: bool,
    only: Vec<String>,
    soak: Option<Counts>,
    engine_dir: Option<PathBuf>,
}

impl Options {
    /// Whether every scenario is played, with the versions of the engines that the table of differences was made with.
    fn whole(&self) -> bool {
        self.only.is_empty() && self.soak.is_none() && self.engine_dir.is_none()
    }
}

enum Task {
    Suite(Options),
    Supervise(Job),
    Inside(Job),
    Packages,
    Differences,
    Help,
}

fn parse(args: &[String]) -> Result<Task, String> {
    use lexopt::prelude::{Long, Short, Value, ValueExt as _};
    let (mut engines, mut runtime, mut reference) = (Vec::new(), None, None);
    let (mut keep, mut only) = (false, Vec::new());
    let (mut soak, mut counts, mut engine_dir) = (false, Counts::default(), None);
    let mut parser = lexopt::Parser::from_args(args.iter().cloned());
    let bad = |e: lexopt::Error| e.to_string();
    while let Some(arg) = parser.next().map_err(bad)? {
        match arg {
            Long("runtime") => runtime = Some(PathBuf::from(parser.value().map_err(bad)?)),
            Long("reference") => reference = Some(PathBuf::from(parser.value().map_err(bad)?)),
            Long("engine-dir") => engine_dir = Some(PathBuf::from(parser.value().map_err(bad)?)),
            Long("only") => only.push(parser.value().map_err(bad)?.to_string_lossy().into()),
            Long("keep") => keep = true,
            Long("soak") => soak = true,
            Long(what @ ("runs" | "execs" | "pods" | "probes")) => {
                let count = match what {
                    "runs" => &mut counts.runs,
                    "execs" => &mut counts.execs,
                    "pods" => &mut counts.pods,
                    _ => &mut counts.probes,
                };
                *count = parser.value().map_err(bad)?.parse().map_err(bad)?;
            }
            Long("packages") => return Ok(Task::Packages),
            Long("differences") => return Ok(Task::Differences),
            Long("help") | Short('h') => return Ok(Task::Help),
            Long(part @ ("supervise" | "inside")) => {
                let part = part.to_owned();
                let text = parser.value().map_err(bad)?;
                let job =
                    serde_json::from_str(&text.to_string_lossy()).map_err(|e| format!("--{part}: {e}"))?;
                return Ok(match part.as_str() {
                    "supervise" => Task::Supervise(job),
                    _ => Task::Inside(job),
                });
            }
            Value(name) if name == "all" => engines.extend(Engine::ALL),
            Value(name) => {
                let engine = name.to_str().and_then(Engine::named);
                engines.push(engine.ok_or_else(|| format!("unknown engine {name:?}"))?);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if engines.is_empty() {
        return Err("no engine is named".into());
    }
    for name in &only {
        if !engines.iter().any(|e| e.scenarios().any(|s| s.name == name)) {
            return Err(format!("no scenario is called {name}"));
        }
    }
    Ok(Task::Suite(Options {
        engines,
        runtime: program(runtime.unwrap_or_else(beside))?,
        reference: program(reference.unwrap_or_else(|| "runc".into()))?,
        keep,
        only,
        soak: soak.then_some(counts),
        engine_dir: engine_dir.map(directory).transpose()?,
    }))
}

/// An absolute path.
fn directory(name: PathBuf) -> Result<PathBuf, String> {
    name.canonicalize().map_err(|e| format!("{}: {e}", name.display()))
}

/// The runtime that was built together with this program.
fn beside() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    me.with_file_name("oxrun")
}

/// An absolute path; a bare name is looked up in PATH.
fn program(name: PathBuf) -> Result<PathBuf, String> {
    let found = if name.components().count() > 1 || name.exists() {
        Some(name.clone())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|d| d.join(&name)).find(|p| p.is_file())
    };
    let found = found.ok_or_else(|| format!("{} is not in PATH", name.display()))?;
    found.canonicalize().map_err(|e| format!("{}: {e}", found.display()))
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    interrupted: bool,
    /// The differences of the table that showed, once for each scenario.
    shown: Vec<usize>,
}

fn suite(options: &Options) -> ExitCode {
    let mut count = Count::default();
    for &engine in &options.engines {
        if count.interrupted {
            break;
        }
        let before = count.shown.len();
        if let Err(e) = missing_packages(engine).and_then(|()| one_engine(engine, options, &mut count)) {
            println!("FAILED   {}: {e}", engine.name());
            count.failed += 1;
        } else if options.whole() && !count.interrupted {
            for number in not_shown(engine, &count.shown[before..]) {
                println!("FAILED   {}: no scenario shows difference {}", engine.name(), number + 1);
                count.failed += 1;
            }
        }
    }
    println!("{}", differences::told(&count.shown));
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 && count.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The differences that are listed for an engine and of which a full run of it had none.
fn not_shown(engine: Engine, shown: &[usize]) -> Vec<usize> {
    let numbered = DIFFERENCES.iter().enumerate();
    numbered.filter(|(n, d)| d.must_show(engine) && !shown.contains(n)).map(|(n, _)| n).collect()
}

fn packages(engines: &[Engine]) -> impl Iterator<Item = Package> {
    [IMAGE].into_iter().chain(engines.iter().flat_map(|e| e.kit().packages()).copied())
}

fn missing_packages(engine: Engine) -> Result<(), String> {
    let missing: Vec<&str> = packages(&[engine])
        .filter(|(_, file)| !Path::new(file).exists())
        .map(|(package, _)| package)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("please install {}", missing.join(" "))) }
}

fn one_engine(engine: Engine, options: &Options, count: &mut Count) -> Result<(), String> {
    let name = format!("oxrun-engines-{}-{}", std::process::id(), engine.name());
    let temp = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let job = Job {
        engine,
        runtime: options.runtime.clone(),
        reference: options.reference.clone(),
        scratch: temp.join(&name),
        hierarchies: cgroups::discover(&name)?,
        keep: options.keep,
        only: options.only.clone(),
        soak: options.soak,
        engine_dir: options.engine_dir.clone(),
    };
    let signals = sys::block_signals().map_err(|e| format!("signalfd: {e}"))?;
    let mut supervisor =
        isolate::supervisor(&job)?.spawn().map_err(|e| format!("starting the supervisor: {e}"))?;
    let limit = if job.soak.is_some() { SOAK_LIMIT } else { LIMIT };
    let followed = follow(engine, &mut supervisor, signals.as_fd(), limit, count);
    if followed.is_err() {
        supervisor.kill().map_err(|e| format!("kill: {e}"))?;
    }
    let status = supervisor.wait().map_err(|e| format!("wait: {e}"))?;
    // Nothing is left to do unless somebody has killed the supervisor.
    isolate::clean(&job)?;
    if job.keep {
        println!("kept     {}", job.scratch.display());
    }
    followed?;
    if status.success() || count.failed > 0 { Ok(()) } else { Err(format!("the run ended early ({status})")) }
}

/// Prints what is reported until the supervisor has ended. A signal, or the end of the time, closes
/// the supervisor's pipe, which makes it tear everything down.
fn follow(
    engine: Engine,
    supervisor: &mut Child,
    signals: BorrowedFd<'_>,
    limit: Duration,
    count: &mut Count,
) -> Result<(), String> {
    let mut pipe = supervisor.stdin.take();
    let mut events = supervisor.stdout.take().ok_or("no stdout")?;
    let (mut pending, mut buffer) = (Vec::new(), [0; 4096]);
    let mut deadline = Instant::now() + limit;
    loop {
        // After the first signal only the end is awaited.
        let mut fds = vec![events.as_fd()];
        fds.extend(pipe.is_some().then_some(signals));
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = sys::poll(&fds, left).map_err(|e| format!("poll: {e}"))?;
        if ready[0] {
            let n = events.read(&mut buffer).map_err(|e| format!("reading events: {e}"))?;
            if n == 0 {
                return Ok(());
            }
            pending.extend_from_slice(&buffer[..n]);
            report_lines(engine, &mut pending, count);
        } else if pipe.take().is_some() {
            let signal = ready.contains(&true);
            count.interrupted |= signal;
            count.failed += 1;
            let why = if signal { "interrupted" } else { "time is over" };
            println!("FAILED   {}: {why}", engine.name());
            deadline = Instant::now() + TEARDOWN;
        } else {
            return Err("the supervisor does not end".into());
        }
    }
}

/// Prints the complete lines and leaves the rest.
fn report_lines(engine: Engine, pending: &mut Vec<u8>, count: &mut Count) {
    while let Some(end) = pending.iter().position(|b| *b == b'\n') {
        let line: Vec<u8> = pending.drain(..=end).collect();
        let report: Report = match serde_json::from_slice(&line) {
            Ok(report) => report,
            Err(_) => Report::failed("output", String::from_utf8_lossy(&line).into_owned()),
        };
        let calls = format!("{} {} ({} calls)", engine.name(), report.name, report.calls);
        match &report.verdict {
            Verdict::Passed => {
                count.passed += 1;
                println!("ok       {calls}");
            }
            Verdict::Failed => {
                count.failed += 1;
                println!("FAILED   {calls}");
            }
        }
        count.shown.extend(&report.shown);
        for note in &report.notes {
            println!("         {}", note.replace('\n', "\n           "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(report: &Report) -> Vec<u8> {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        line
    }

    #[test]
    fn garbage_counts_as_failed_and_half_a_line_is_kept() {
        let mut count = Count::default();
        let mut pending = line(&Report::failed("a", "why".into()));
        pending.extend(line(&Report { shown: vec![3], ..Report::failed("b", String::new()) }));
        pending.extend(b"panic\nhalf a line");
        report_lines(Engine::Docker, &mut pending, &mut count);
        assert_eq!((count.passed, count.failed, count.shown), (0, 3, vec![3]));
        assert_eq!(pending, b"half a line");
    }

    #[test]
    fn a_difference_that_no_scenario_shows_is_named() {
        let listed = |d: &differences::Difference| d.engines.contains(&Engine::Containerd);
        let all: Vec<usize> =
            DIFFERENCES.iter().enumerate().filter(|(_, d)| listed(d)).map(|(n, _)| n).collect();
        assert!(not_shown(Engine::Containerd, &all).is_empty());
        assert_eq!(not_shown(Engine::Containerd, &all[1..]), all[..1]);
    }

    #[test]
    fn unknown_engines_and_scenarios_are_refused() {
        let parse = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|a| (*a).into()).collect();
            parse(&args).err().unwrap_or_default()
        };
        assert!(parse(&["lxc"]).contains("unknown engine"));
        assert!(parse(&[]).contains("no engine"));
        assert!(parse(&["docker", "--only", "nonsense"]).contains("no scenario"));
    }
}
