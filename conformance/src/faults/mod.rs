//! Faults: every call that the runtime and its init make to the kernel fails once, or is the moment at which its task
//! is killed. What must hold after each is in `judge`; which failures a container survives is in `ignored`, each with
//! its reason.

mod ignored;
mod judge;
mod name;
mod operation;
mod sys;
mod trace;

use crate::harness::{Runtime, guarded, isolate};
use crate::{Check, Failed, locate};
use judge::{ERRNOS, Usual, Verdict};
use operation::{ALL, Bench, Operation};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use trace::{Fault, Place, Trace};

const USAGE: &str =
    "usage: oxrun-conformance faults [--runtime PATH] [--every N] [--first N] [--list] [OPERATION...]";

/// What the C library does before the runtime's own first call, and calls that do not come back.
const NOT_OURS: [&str; 4] = ["exit", "exit_group", "rt_sigreturn", "restart_syscall"];

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
    cells: usize,
    refused: usize,
    ignored: usize,
    killed: usize,
    unreached: usize,
}

/// Which calls were ignored: operation, task, name, error.
type Survived = BTreeMap<(&'static str, &'static str, String), BTreeSet<&'static str>>;

fn matrix(options: &Options) -> Check<bool> {
    let probe = locate::sibling("oxrun-probe")?;
    let (mut failures, mut survived) = (Vec::new(), Survived::new());
    println!(
        "{:<15} {:>6} {:>6} {:>7} {:>7} {:>6} {:>9}",
        "", "calls", "cells", "error", "ignored", "killed", "unreached"
    );
    for operation in &options.operations {
        let mut bench = Bench::new(&probe, &options.runtime)?;
        let (usual, cells, calls) = plan(&bench, operation)?;
        let mut sums = Sums { calls, ..Sums::default() };
        for (place, fault, name) in cells.into_iter().skip(options.first).step_by(options.every) {
            sums.cells += 1;
            let task = if place.task == 0 { "oxrun" } else { "init" };
            let result = guarded(|| judge::cell(&bench, operation, &usual, place, fault));
            if options.list {
                println!("  {task}.{} {} {name} {fault:?}: {result:?}", place.task, place.nth);
            }
            match result {
                Ok((Verdict::Refused, _)) => sums.refused += 1,
                Ok((Verdict::Killed, _)) => sums.killed += 1,
                Ok((Verdict::Unreached, _)) => sums.unreached += 1,
                Ok((Verdict::Ignored, hit)) => {
                    sums.ignored += 1;
                    survived
                        .entry((operation.name, task, hit.unwrap_or(name)))
                        .or_default()
                        .insert(word(fault));
                }
                Err(failed) => {
                    let words = failed.message().unwrap_or_default();
                    failures.push(format!(
                        "{}: {task} (task {}), call {} {name}, {}: {words}",
                        operation.name,
                        place.task,
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
        println!(
            "{:<15} {:>6} {:>6} {:>7} {:>7} {:>6} {:>9}",
            operation.name, sums.calls, sums.cells, sums.refused, sums.ignored, sums.killed, sums.unreached
        );
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

/// The undisturbed call: what it reports, and every cell.
#[expect(clippy::type_complexity, reason = "three lists of one reader")]
fn plan(bench: &Bench, operation: &Operation) -> Check<(Usual, Vec<(Place, Fault, String)>, usize)> {
    let mut reports = Vec::new();
    let mut last: Option<Trace> = None;
    for _ in 0..4 {
        bench.prepare(operation.before)?;
        let trace = bench.call(operation, None)?;
        if trace.code != 0 {
            return Err(Failed::from(format!("{} fails: {}", operation.name, trace.stderr)));
        }
        if operation.reports {
            let created = operation.name == "create";
            reports.push(if created { bench.start_and_report()? } else { bench.document(&trace.stdout)? });
        }
        bench.clean()?;
        last = Some(trace);
    }
    let calls = last.map(|trace| trace.calls).unwrap_or_default();
    let mut cells = Vec::new();
    let mut count = 0;
    for (task, list) in calls.iter().enumerate() {
        // The C library's own start ends with the first look at the standard descriptors.
        let own = |name: &String| task != 0 || name.starts_with("fcntl");
        let begin = list.iter().position(own).unwrap_or(0);
        for (nth, name) in list.iter().enumerate().skip(begin) {
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            count += 1;
            let faults = ERRNOS.iter().map(|(number, ..)| Fault::Errno(*number)).chain([Fault::Kill]);
            let faults = faults.filter(|fault| !ignored::is_impossible(name, word(*fault)));
            cells.extend(faults.map(|fault| (Place { task, nth }, fault, name.clone())));
        }
    }
    Ok((Usual::of(&reports), cells, count))
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
