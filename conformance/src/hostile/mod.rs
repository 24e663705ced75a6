//! Images and callers that attack the runtime. Every attack is judged by a function over its
//! outcome, and each of these functions has a control: a runtime known to be bad, on which it must
//! fail. A judge that cannot fail proves nothing. The host's side of an attack is a canary tree
//! whose every attribute is compared; one run may take five seconds.

mod canary;
mod descriptors;
mod devices;
mod links;

use crate::harness::{Runtime, Sandbox, first_version_line, guarded, isolate};
use crate::{Check, Failed, locate};
use canary::Canary;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

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
}

#[derive(Debug)]
struct Refusal {
    code: i32,
    stderr: String,
}

impl Outcome {
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

/// Which bad runtime must fail the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// Debian 12's runc.
    Runc115,
    /// `oxrun-bad` around a good runtime; the word says what it does wrong.
    Bad(&'static str),
}

/// One attack with its judge.
struct Attack {
    name: &'static str,
    variant: &'static str,
    run: fn(&Sandbox, &Canary) -> Check<Outcome>,
    judge: fn(&Outcome) -> Result<(), String>,
    control: Control,
}

fn attacks() -> Vec<Attack> {
    [devices::attacks(), links::attacks(), descriptors::attacks()].into_iter().flatten().collect()
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

fn sandbox(probe: &Path, runtime: &Path) -> Check<Sandbox> {
    let mut sandbox = Sandbox::with_runtime(probe, runtime)?;
    sandbox.runtime_mut().limit(LIMIT);
    Ok(sandbox)
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
            let sandbox = sandbox(probe, &runtime)?;
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
    let installed = locate::program("runc").ok();
    let bad = installed.clone().filter(|path| first_version_line(path).contains(" 1.1.5"));
    let good = match options.runtime.clone().or(installed) {
        Some(path) => path,
        None => Runtime::under_test()?,
    };
    let stand_in = locate::sibling("oxrun-bad")?;
    let (mut passed, mut failed) = (0, 0);
    for attack in chosen(options) {
        let title = format!("{} {}: control", attack.name, attack.variant);
        let (runtime, how) = match (attack.control, &bad) {
            (Control::Bad(how), _) => (&stand_in, how),
            (Control::Runc115, Some(path)) => (path, ""),
            (Control::Runc115, None) => {
                println!("{title} not run: runc 1.1.5 is not installed");
                continue;
            }
        };
        let attempt = || {
            let mut sandbox = sandbox(probe, runtime)?;
            sandbox.runtime_mut().env("OXRUN_BAD_RUNTIME", &good);
            sandbox.runtime_mut().env("OXRUN_BAD_HOW", how);
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
