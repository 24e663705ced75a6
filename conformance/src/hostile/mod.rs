//! Images and callers that attack the runtime. Every attack is judged by a function over its
//! outcome, and each of these functions has a control: a runtime known to be bad, on which it must
//! fail. A judge that cannot fail proves nothing. The host's side of an attack is a canary tree
//! whose every attribute is compared; one run may take five seconds.

mod binary;
mod blocking;
mod canary;
mod confinement;
mod cwd;
mod delegated;
mod descriptors;
mod devices;
mod exec;
mod hierarchy;
mod host;
mod links;
mod neighbour;
mod nopivot;
mod procfs;
mod table;
mod trials;

use crate::harness::{Delegated, Granted, Output, Runtime, Sandbox, first_version_line, guarded, isolate};
use crate::{Check, Failed, locate, sys};
use canary::Canary;
use serde_json::Value;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
pub use trials::trials;

/// How long a bad runtime may take, and how long somebody is waited for who may not come.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a good one may take, where everything takes its time: on a machine with other work, or an emulated one.
const LONG: Duration = Duration::from_secs(60);

/// What an attack led to.
#[derive(Debug, Default)]
struct Outcome {
    /// The first call that failed, if one did.
    refusal: Option<Refusal>,
    /// What the payload saw.
    report: Option<Value>,
    /// How the canary tree differs from before.
    canary: Vec<String>,
    /// Number and target of what init held while created.
    init: Vec<(i32, String)>,
    /// What became of files of the host that an attack was after, one sentence each.
    host: Vec<String>,
    /// What a refusal has to name: one of these.
    names: Vec<String>,
    /// A path that is masked, if there is anything.
    masked: Option<String>,
}

#[derive(Debug)]
struct Refusal {
    code: i32,
    stderr: String,
}

impl Outcome {
    /// A call that ended with the payload's report on stdout, or was refused.
    fn of(output: Output) -> Check<Self> {
        if output.code == 0 {
            return Ok(Self { report: Some(output.json()?), ..Self::default() });
        }
        Ok(Self::refused(output.code, output.stderr))
    }

    /// A call that was killed because its time was over is an outcome, too.
    fn in_time(done: Check<Self>) -> Check<Self> {
        done.or_else(|failed| match failed.message() {
            Some(message) if message.contains("did not end in") => {
                Ok(Self { host: vec![message.to_owned()], ..Self::default() })
            }
            _ => Err(failed),
        })
    }

    fn refused(code: i32, stderr: String) -> Self {
        Self { refusal: Some(Refusal { code, stderr }), ..Self::default() }
    }

    /// The host's tree is as it was.
    fn spared(&self) -> Result<(), String> {
        if self.canary.is_empty() && self.host.is_empty() {
            return Ok(());
        }
        Err(format!("the host was changed: {}", [&*self.canary, &*self.host].concat().join(", ")))
    }

    /// A refusal counts only if the runtime itself made it and said why.
    fn refused_cleanly(&self) -> Result<bool, String> {
        let Some(refusal) = &self.refusal else {
            return Ok(false);
        };
        if refusal.code >= 128 && refusal.code != 255 {
            return Err(format!("the runtime was killed: exit code {}", refusal.code));
        }
        if refusal.stderr.trim().is_empty() {
            return Err("the runtime refused without a word".to_owned());
        }
        Ok(true)
    }

    fn seen(&self) -> Result<&Value, String> {
        self.report.as_ref().ok_or_else(|| "the payload did not report".to_owned())
    }
}

/// The host's tree is as it was; the container ran, or the runtime said why not.
fn untouched(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    outcome.seen().map(drop)
}

/// Which bad runtime must fail the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// A release that is known for it, as Debian 12 has it: name and version.
    Released(&'static str, &'static str),
    /// `oxrun-bad` around a good runtime; the word says what it does wrong.
    Bad(&'static str),
}

/// Who calls the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Root,
    /// One without rights.
    User,
    /// The same with ids that are granted and cgroups that are delegated.
    Delegated,
}

/// What is done, with a sandbox and a tree of the host.
type Run = fn(&Sandbox, &Canary) -> Check<Outcome>;
/// The same with something of its own.
type Deed = dyn Fn(&Sandbox, &Canary) -> Check<Outcome>;
/// Says why an outcome is bad.
type Judge = fn(&Outcome) -> Result<(), String>;

/// One attack with its judge.
struct Attack {
    name: &'static str,
    variant: String,
    run: Box<Deed>,
    judge: Judge,
    control: Control,
    caller: Caller,
    /// Why it cannot be made on this host.
    needs: fn() -> Option<String>,
    /// Whether a host with cgroup v2 alone or with AppArmor shows more of it than another.
    machine: bool,
    /// The place below the sandbox that a bad runtime trusts.
    place: Option<String>,
}

/// An attack by root with the name, the variant, and who must fail.
fn attack(
    name: &'static str,
    variant: impl Into<String>,
    run: impl Fn(&Sandbox, &Canary) -> Check<Outcome> + 'static,
    judge: Judge,
    control: Control,
) -> Attack {
    let (run, caller) = (Box::new(run), Caller::Root);
    let needs = || None;
    Attack { name, variant: variant.into(), run, judge, control, caller, needs, machine: false, place: None }
}

const RUNC: Control = Control::Released("runc", "1.1.5");
const CRUN: Control = Control::Released("crun", "1.8.1");
/// One that lets cgroups be written.
const WRITABLE: Control = Control::Bad("writable");

fn attacks() -> Vec<Attack> {
    let all = [
        devices::attacks(),
        links::attacks(),
        procfs::attacks(),
        cwd::attacks(),
        descriptors::attacks(),
        binary::attacks(),
        exec::attacks(),
        hierarchy::attacks(),
        delegated::attacks(),
        host::attacks(),
        confinement::attacks(),
        neighbour::attacks(),
        nopivot::attacks(),
        table::attacks(),
        blocking::attacks(),
    ];
    all.into_iter().flatten().collect()
}

/// Name and variant of every attack.
#[must_use]
pub fn list() -> Vec<(&'static str, String)> {
    attacks().into_iter().map(|attack| (attack.name, attack.variant)).collect()
}

#[derive(Default)]
struct Options {
    runtime: Option<PathBuf>,
    controls: bool,
    names: Vec<String>,
}

fn parse(args: &[String]) -> Result<Options, String> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Long("runtime") => {
                let value = parser.value().map_err(|e| e.to_string())?;
                let found = locate::program(&value.to_string_lossy());
                options.runtime = Some(found.map_err(|e| e.to_string())?);
            }
            Long("controls") => options.controls = true,
            Value(name) => {
                let name = name.to_string_lossy().into_owned();
                if !attacks().iter().any(|attack| attack.name == name) {
                    return Err(format!("there is no attack {name:?}"));
                }
                options.names.push(name);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(options)
}

/// Runs the attacks named in `args`, or all, and prints a line for each.
pub fn run(args: &[String]) -> ExitCode {
    let result = parse(args).map_err(Failed::from).and_then(|options| {
        isolate()?;
        let probe = locate::sibling("oxrun-probe")?;
        if options.controls { controls(&options, &probe) } else { suite(&options, &probe) }
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("hostile: {}", failed.message().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

fn chosen(options: &Options) -> impl Iterator<Item = Attack> {
    let names = options.names.clone();
    attacks()
        .into_iter()
        .filter(move |attack| names.is_empty() || names.iter().any(|name| name == attack.name))
}

/// Where an attack takes place. The order is that in which it goes.
struct Scene {
    _granted: Option<Granted>,
    sandbox: Sandbox,
    _delegated: Option<Delegated>,
}

fn scene(attack: &Attack, probe: &Path, runtime: &Path, limit: Duration) -> Check<Scene> {
    let mut sandbox = Sandbox::with_runtime(probe, runtime)?;
    sandbox.runtime_mut().limit(limit);
    let delegates = attack.caller == Caller::Delegated;
    let delegated = if delegates { Some(Delegated::new(&sandbox, &[])?) } else { None };
    if attack.caller != Caller::Root {
        let enter = delegated.as_ref().map(|delegated| delegated.enter("job"));
        sandbox.call_as_user(&enter.unwrap_or_default())?;
    }
    let granted = if delegates { Some(Granted::new(&sandbox)?) } else { None };
    Ok(Scene { _granted: granted, sandbox, _delegated: delegated })
}

fn outcome(attack: &Attack, sandbox: &Sandbox) -> Check<Outcome> {
    let canary = Canary::plant(sandbox.dir())?;
    let mut outcome = (attack.run)(sandbox, &canary)?;
    outcome.canary = canary.changes()?;
    Ok(outcome)
}

/// One attack on the runtime: the judge is content and nothing is left behind. Says how it was warded off.
fn ward_off(attack: &Attack, probe: &Path, runtime: &Path, limit: Duration) -> Check<String> {
    guarded(|| {
        let scene = scene(attack, probe, runtime, limit)?;
        let outcome = outcome(attack, &scene.sandbox)?;
        (attack.judge)(&outcome)?;
        Ok(match outcome.refusal {
            Some(refusal) => format!("refused: {}", refusal.stderr.trim_end()),
            None => "immune".to_owned(),
        })
    })
}

/// What came of attacks, counted.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

/// The suite proper: every judge must be content and nothing may be left behind.
fn suite(options: &Options, probe: &Path) -> Check<bool> {
    let runtime = match &options.runtime {
        Some(path) => path.clone(),
        None => Runtime::under_test()?,
    };
    let mut tally = Tally::default();
    for attack in chosen(options) {
        let title = format!("{} {}", attack.name, attack.variant);
        if let Some(reason) = (attack.needs)() {
            tally.skipped += 1;
            println!("{title}: skipped: {reason}");
            continue;
        }
        match ward_off(&attack, probe, &runtime, LONG) {
            Ok(how) => {
                tally.passed += 1;
                println!("{title}: ok ({how})");
            }
            Err(message) => {
                tally.failed += 1;
                println!("{title}: FAILED: {}", message.message().unwrap_or_default());
            }
        }
    }
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// What the controls need.
struct Bad<'a> {
    probe: &'a Path,
    /// `oxrun-bad`.
    stand_in: PathBuf,
    /// The runtime that it spoils.
    good: PathBuf,
}

impl<'a> Bad<'a> {
    fn new(runtime: Option<PathBuf>, probe: &'a Path, stand_in: PathBuf) -> Check<Self> {
        let good = match runtime.or_else(|| locate::program("runc").ok()) {
            Some(path) => path,
            None => Runtime::under_test()?,
        };
        Ok(Self { probe, stand_in, good })
    }

    /// The bad runtime of a control with what it does wrong, or why there is none.
    fn runtime(&self, control: Control) -> Result<(PathBuf, &'static str), String> {
        match control {
            Control::Bad(how) => Ok((self.stand_in.clone(), how)),
            Control::Released(name, version) => match released(name, version) {
                Some(path) => Ok((path, "")),
                None => Err(format!("{name} {version} is not installed")),
            },
        }
    }

    /// What an attack leads to with its bad runtime.
    fn suffer(&self, attack: &Attack, runtime: &Path, how: &str, limit: Duration) -> Check<Outcome> {
        let mut scene = scene(attack, self.probe, runtime, limit)?;
        let sandbox = &mut scene.sandbox;
        let by_root = attack.caller == Caller::Root;
        let good = if by_root { self.good.clone() } else { sandbox.executable(&self.good, "good")? };
        if attack.control == CRUN {
            // A v2 tree with controllers beside v1 is what it does not run on.
            let line = "umount --lazy /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
            let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", line, "sh"];
            sandbox.runtime_mut().wrap(&words);
        }
        sandbox.runtime_mut().env("OXRUN_BAD_RUNTIME", &good);
        sandbox.runtime_mut().env("OXRUN_BAD_HOW", how);
        if let Some(place) = &attack.place {
            let place = sandbox.dir().join(place);
            sandbox.runtime_mut().env("OXRUN_BAD_PLACE", place);
        }
        outcome(attack, sandbox)
    }
}

/// The controls: every judge must fail on its bad runtime.
fn controls(options: &Options, probe: &Path) -> Check<bool> {
    let bad = Bad::new(options.runtime.clone(), probe, locate::sibling("oxrun-bad")?)?;
    let mut tally = Tally::default();
    for attack in chosen(options) {
        let title = format!("{} {}: control", attack.name, attack.variant);
        let possible = (attack.needs)().map_or(Ok(()), Err).and_then(|()| bad.runtime(attack.control));
        let (runtime, how) = match possible {
            Ok(found) => found,
            Err(reason) => {
                tally.skipped += 1;
                println!("{title} not run: {reason}");
                continue;
            }
        };
        // What the bad runtime leaves behind is not the question here.
        let verdict = bad.suffer(&attack, &runtime, how, limit_of(&attack));
        match verdict.map(|outcome| (attack.judge)(&outcome)) {
            Ok(Err(why)) => {
                tally.passed += 1;
                println!("{title} ok, the bad runtime is caught: {why}");
            }
            Ok(Ok(())) => {
                tally.failed += 1;
                println!("{title} FAILED: {} was judged good", runtime.display());
            }
            Err(error) => {
                tally.failed += 1;
                println!("{title} FAILED to run: {}", error.message().unwrap_or_default());
            }
        }
    }
    println!("{tally}");
    Ok(tally.failed == 0 && tally.passed > 0)
}

/// How long a bad runtime may wait for what never comes. Where a good one makes a container first, it needs more.
fn limit_of(attack: &Attack) -> Duration {
    match attack.control {
        Control::Bad("hang-exec") => Duration::from_millis(1000),
        Control::Bad("trust") if attack.variant.contains("of exec)") => Duration::from_millis(1000),
        Control::Bad("trust" | "hang") => Duration::from_millis(200),
        _ => LIMIT,
    }
}

/// A release of a runtime, if it is installed.
fn released(name: &str, version: &str) -> Option<PathBuf> {
    let path = locate::program(name).ok()?;
    first_version_line(&path).split(' ').any(|word| word.starts_with(version)).then_some(path)
}

/// Waits for the first process of a pid namespace, which ends after all others, whom somebody has to reap: those
/// whose runtime is gone are ours. False if it is still there when the time is over.
fn ended(pid: i32) -> Check<bool> {
    let gone = match sys::pidfd(pid) {
        Ok(gone) => gone,
        Err(_) => return Ok(true),
    };
    let end = Instant::now() + LIMIT;
    while !sys::readable(gone.as_fd(), Duration::from_millis(20))? {
        while let Ok(Some(_)) = sys::reap(-1) {}
        if Instant::now() > end {
            return Ok(false);
        }
    }
    Ok(true)
}
