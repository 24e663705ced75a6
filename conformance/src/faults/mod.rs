//! Faults: every call that the runtime and its init make to the kernel fails once, or is the moment at which its task
//! is killed. What must hold after each is in `judge`; which failures a container survives is in `ignored`, each with
//! its reason.

mod ignored;
mod judge;
mod name;
mod operation;
mod record;
mod sys;
mod trace;

use crate::harness::{Runtime, guarded, isolate};
use crate::{Check, Failed, locate};
use judge::{ERRNOS, Verdict};
use operation::{ALL, Bench, Operation};
use record::Recording;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use trace::Fault;

const USAGE: &str =
    "usage: oxrun-conformance faults [--runtime PATH] [--every N] [--first N] [--list] [OPERATION...]";

struct Options {
    runtime: PathBuf,
    every: usize,
    first: usize,
    list: bool,
    operations: Vec<&'static Operation>,
}

fn options(args: &[String]) -> Check<Options> {
    use lexopt::prelude::*;
    let (mut runtime, mut every, mut first, mut list, mut names) = (None, 1, 0, false, Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(word) = parser.next()? {
        match word {
            Long("runtime") => runtime = Some(locate::program(&parser.value()?.string()?)?),
            Long("every") => every = parser.value()?.parse::<usize>()?.max(1),
            Long("first") => first = parser.value()?.parse()?,
            Long("list") => list = true,
            Value(name) => names.push(name.string()?),
            other => return Err(Failed::from(format!("{}\n{USAGE}", other.unexpected()))),
        }
    }
    let operations: Vec<&Operation> =
        ALL.iter().filter(|o| names.is_empty() || names.iter().any(|n| n == o.name)).collect();
    if operations.is_empty() {
        return Err(Failed::from(format!("no such operation\n{USAGE}")));
    }
    let runtime = runtime.map_or_else(Runtime::under_test, Ok)?;
    Ok(Options { runtime, every, first, list, operations })
}

/// Runs the matrix as the command line asks.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    match isolate().and_then(|()| options(args)).and_then(|options| matrix(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

/// The sums of an operation.
#[derive(Debug, Default)]
struct Sums {
    calls: usize,
    varying: usize,
    cells: usize,
    refused: usize,
    ignored: usize,
    killed: usize,
    unreached: usize,
    /// Of the calls that only some runs make.
    not_made: usize,
}

impl Sums {
    const HEAD: &str = "                 calls varying   cells   error ignored  killed unreached not made";
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>6} {:>7} {:>7} ", self.calls, self.varying, self.cells)?;
        write!(f, "{:>7} {:>7} {:>7} ", self.refused, self.ignored, self.killed)?;
        write!(f, "{:>9} {:>8}", self.unreached, self.not_made)
    }
}

/// Which calls were ignored: operation, task, name, error.
type Survived = BTreeMap<(&'static str, &'static str, String), BTreeSet<&'static str>>;

fn matrix(options: &Options) -> Check<bool> {
    let probe = locate::sibling("oxrun-probe")?;
    let (mut failures, mut survived) = (Vec::new(), Survived::new());
    println!("{}", Sums::HEAD);
    for operation in &options.operations {
        let mut bench = Bench::new(&probe, &options.runtime)?;
        let Recording { usual, cells, sure, varying } = Recording::of(&bench, operation)?;
        let mut sums = Sums { calls: sure, varying, ..Sums::default() };
        for cell in cells.into_iter().skip(options.first).step_by(options.every) {
            sums.cells += 1;
            let (place, fault) = (&cell.place, cell.fault);
            let result = guarded(|| judge::cell(&bench, operation, &usual, place, fault));
            if options.list {
                let sure = if cell.sure { "" } else { " (varies)" };
                println!("  {} {} #{}{sure} {}: {result:?}", place.task, place.name, place.nth, word(fault));
            }
            match result {
                Ok(Verdict::Refused) => sums.refused += 1,
                Ok(Verdict::Killed) => sums.killed += 1,
                Ok(Verdict::Unreached) if cell.sure => sums.unreached += 1,
                Ok(Verdict::Unreached) => sums.not_made += 1,
                Ok(Verdict::Ignored) => {
                    sums.ignored += 1;
                    survived
                        .entry((operation.name, ignored::program(&place.task), place.name.clone()))
                        .or_default()
                        .insert(word(fault));
                }
                Err(failed) => {
                    let words = failed.message().unwrap_or_default();
                    failures.push(format!(
                        "{}: {} {} #{}, {}: {words}",
                        operation.name,
                        place.task,
                        place.name,
                        place.nth,
                        word(fault)
                    ));
                    // What it left must not spoil the next one.
                    drop(guarded(|| {
                        bench = Bench::new(&probe, &options.runtime)?;
                        Ok(())
                    }));
                }
            }
        }
        println!("{:<15} {sums}", operation.name);
    }
    Ok(told(&failures, &survived))
}

fn word(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "SIGKILL",
        Fault::Errno(errno) => {
            ERRNOS.iter().find(|(number, ..)| *number == errno).map_or("?", |(_, name, _)| name)
        }
    }
}

/// Prints what was found; whether all is well.
fn told(failures: &[String], survived: &Survived) -> bool {
    let mut unknown = Vec::new();
    println!("\nfailures that the result does not depend on:");
    for ((operation, task, name), errnos) in survived {
        let list = errnos.iter().copied().collect::<Vec<_>>().join(" ");
        let why = errnos
            .iter()
            .map(|errno| ignored::why(operation, task, name, errno))
            .collect::<Option<BTreeSet<_>>>();
        match why {
            Some(why) => {
                println!("  {task:<5} {name:<18} {list}: {}", why.into_iter().collect::<Vec<_>>().join("; "))
            }
            None => {
                unknown.push(format!("{operation}: {task} {name} {list}: success, and no reason is known"))
            }
        }
    }
    for line in failures.iter().chain(&unknown) {
        println!("FAILED {line}");
    }
    println!("\n{} failed", failures.len() + unknown.len());
    failures.is_empty() && unknown.is_empty()
}
