//! Images and callers that attack the runtime. Every attack is judged by a function over its
//! outcome, and each of these functions has a control: a runtime known to be bad, on which it must
//! fail. A judge that cannot fail proves nothing. The host's side of an attack is a canary tree
//! whose every attribute is compared; one run may take five seconds.

mod binary;
mod blocking;
mod canary;
mod cwd;
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

use crate::harness::{Output, Runtime, Sandbox, first_version_line, guarded, isolate};
use crate::{Check, Failed, locate, sys};
use canary::Canary;
use serde_json::Value;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(5);
/// `nobody`: who calls the runtime where the caller has no rights.
const USER: u32 = 65534;

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
    /// Whether the caller has no rights: [`USER`] calls.
    rootless: bool,
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
    Attack { name, variant: variant.into(), run: Box::new(run), judge, control, rootless: false, place: None }
}

const RUNC: Control = Control::Released("runc", "1.1.5");
const CRUN: Control = Control::Released("crun", "1.8.1");

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
        host::attacks(),
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

fn sandbox(attack: &Attack, probe: &Path, runtime: &Path) -> Check<Sandbox> {
    let mut sandbox = Sandbox::with_runtime(probe, runtime)?;
    sandbox.runtime_mut().limit(LIMIT);
    if attack.rootless {
        let state = sandbox.runtime().root();
        fs::create_dir(&state)?;
        chown(&state, Some(USER), Some(USER))?;
        let (id, copy) = (USER.to_string(), executable(&sandbox, runtime, "runtime")?);
        // The copy takes the place of the first word.
        let line = format!("shift; exec {} \"$@\"", copy.display());
        let user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        sandbox.runtime_mut().wrap(&[&user[..], &["sh", "-c", &line, "sh"]].concat());
    }
    Ok(sandbox)
}

/// A copy of a program that everybody may execute.
fn executable(sandbox: &Sandbox, program: &Path, name: &str) -> Check<PathBuf> {
    let copy = sandbox.dir().join(name);
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn outcome(attack: &Attack, sandbox: &Sandbox) -> Check<Outcome> {
    let canary = Canary::plant(sandbox.dir())?;
    let mut outcome = (attack.run)(sandbox, &canary)?;
    outcome.canary = canary.changes()?;
    Ok(outcome)
}

/// The suite proper: every judge must be content and nothing may be left behind.
fn suite(options: &Options, probe: &Path) -> Check<bool> {
    let runtime = match &options.runtime {
        Some(path) => path.clone(),
        None => Runtime::under_test()?,
    };
    let (mut passed, mut failed) = (0, 0);
    for attack in chosen(options) {
        let result = guarded(|| {
            let sandbox = sandbox(&attack, probe, &runtime)?;
            let outcome = outcome(&attack, &sandbox)?;
            (attack.judge)(&outcome)?;
            Ok(match outcome.refusal {
                Some(refusal) => format!("refused: {}", refusal.stderr.trim_end()),
                None => "immune".to_owned(),
            })
        });
        match result {
            Ok(how) => {
                passed += 1;
                println!("{} {}: ok ({how})", attack.name, attack.variant);
            }
            Err(message) => {
                failed += 1;
                let message = message.message().unwrap_or_default().to_owned();
                println!("{} {}: FAILED: {message}", attack.name, attack.variant);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// The controls: every judge must fail on its bad runtime.
fn controls(options: &Options, probe: &Path) -> Check<bool> {
    let good = match options.runtime.clone().or_else(|| locate::program("runc").ok()) {
        Some(path) => path,
        None => Runtime::under_test()?,
    };
    let stand_in = locate::sibling("oxrun-bad")?;
    let (mut passed, mut failed) = (0, 0);
    for attack in chosen(options) {
        let title = format!("{} {}: control", attack.name, attack.variant);
        let (runtime, how) = match attack.control {
            Control::Bad(how) => (stand_in.clone(), how),
            Control::Released(name, version) => match released(name, version) {
                Some(path) => (path, ""),
                None => {
                    println!("{title} not run: {name} {version} is not installed");
                    continue;
                }
            },
        };
        let attempt = || {
            let mut sandbox = sandbox(&attack, probe, &runtime)?;
            let good = if attack.rootless { executable(&sandbox, &good, "good")? } else { good.clone() };
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
            sandbox.runtime_mut().limit(limit_of(&attack));
            outcome(&attack, &sandbox)
        };
        // What the bad runtime leaves behind is not the question here.
        let verdict = attempt().map(|outcome| (attack.judge)(&outcome));
        match verdict {
            Ok(Err(why)) => {
                passed += 1;
                println!("{title} ok, the bad runtime is caught: {why}");
            }
            Ok(Ok(())) => {
                failed += 1;
                println!("{title} FAILED: {} was judged good", runtime.display());
            }
            Err(error) => {
                failed += 1;
                println!("{title} FAILED to run: {}", error.message().unwrap_or_default());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
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
