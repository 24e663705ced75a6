//! Faults: every call that the runtime and its init make to the kernel fails once, or is the moment at which its task
//! is killed. What must hold after each is in `judge`; which failures a container survives is in `ignored`, each with
//! its reason.

mod document;
mod ignored;
mod judge;
mod name;
mod operation;
mod record;
mod sys;
mod table;
mod trace;

pub use document::{is_up_to_date, other_tests};

use crate::harness::{Runtime, guarded, isolate};
use crate::{Check, Failed, locate};
use judge::{ERRNOS, Verdict};
use operation::{ALL, Bench, Operation};
use record::Recording;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::{Sums, Table};
use trace::{Fault, Place};

const USAGE: &str = "usage: oxrun-conformance faults [--runtime PATH] [--every N] [--first N] [--only CALL] [--list] [--table FILE] [OPERATION...]";

struct Options {
    runtime: PathBuf,
    every: usize,
    first: usize,
    list: bool,
    /// The calls whose name has this in it.
    only: String,
    table: Option<PathBuf>,
    operations: Vec<&'static Operation>,
}

impl Options {
    /// Whether all cells of an operation are tried.
    fn is_whole(&self) -> bool {
        self.every == 1 && self.first == 0 && self.only.is_empty()
    }
}

fn options(args: &[String]) -> Check<Options> {
    use lexopt::prelude::*;
    let (mut runtime, mut every, mut first, mut list, mut names) = (None, 1, 0, false, Vec::new());
    let (mut only, mut table) = (String::new(), None);
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(word) = parser.next()? {
        match word {
            Long("runtime") => runtime = Some(locate::program(&parser.value()?.string()?)?),
            Long("every") => every = parser.value()?.parse::<usize>()?.max(1),
            Long("first") => first = parser.value()?.parse()?,
            Long("list") => list = true,
            Long("only") => only = parser.value()?.string()?,
            Long("table") => table = Some(parser.value()?.into()),
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
    let options = Options { runtime, every, first, list, only, table, operations };
    if options.table.is_some() && !options.is_whole() {
        return Err(Failed::from("a table is of all cells"));
    }
    Ok(options)
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

fn matrix(options: &Options) -> Check<bool> {
    let probe = locate::sibling("oxrun-probe")?;
    let mut table = Table::default();
    println!("{}", Sums::HEAD);
    for operation in &options.operations {
        let sums = cells(options, &probe, operation, &mut table)?;
        println!("{:<15} {sums}", operation.name);
        if options.is_whole() {
            sums.add_up()?;
        }
        table.sums.push((operation.name, sums));
    }
    if let Some(path) = &options.table {
        std::fs::write(path, table.document())?;
    }
    Ok(table.told())
}

/// Tries the cells of an operation.
fn cells(options: &Options, probe: &Path, operation: &Operation, table: &mut Table) -> Check<Sums> {
    let mut bench = Bench::new(probe, &options.runtime)?;
    let recording = Recording::of(&bench, operation)?;
    let mut sums = Sums::of(&recording);
    for step in &recording.unseen {
        table.failures.push(format!("{}: nobody was seen to begin: {step}", operation.name));
    }
    let chosen = recording.cells.iter().filter(|cell| cell.place.name.contains(&options.only));
    for cell in chosen.skip(options.first).step_by(options.every) {
        sums.cells += 1;
        let (place, errno) = (&cell.place, word(cell.fault));
        let result = guarded(|| judge::cell(&bench, operation, &recording.usual, place, cell.fault));
        if options.list {
            let sure = if cell.sure { "" } else { " (varies)" };
            println!("  {} {} #{}{sure} {errno}: {result:?}", place.task, place.name, place.nth);
        }
        match result {
            Ok(Verdict::Refused) => sums.refused += 1,
            Ok(Verdict::Killed) => sums.killed += 1,
            Ok(Verdict::Absent) => sums.absent += 1,
            Ok(Verdict::Unreached) if cell.sure => sums.unreached += 1,
            Ok(Verdict::Unreached) => sums.not_made += 1,
            Ok(Verdict::Ignored) => {
                sums.ignored += 1;
                table.ignore(operation.name, &place.task, &place.name, errno);
            }
            Err(failed) => {
                sums.failed += 1;
                let words = failed.message().unwrap_or_default();
                let Place { task, name, nth } = place;
                table.failures.push(format!("{}: {task} {name} #{nth}, {errno}: {words}", operation.name));
                // What it left must not spoil the next one.
                drop(guarded(|| {
                    bench = Bench::new(probe, &options.runtime)?;
                    Ok(())
                }));
            }
        }
    }
    // A call that each run has made may be missed by chance, but not often.
    if sums.unreached > sums.cells / 20 {
        table.failures.push(format!("{}: {} calls were not reached", operation.name, sums.unreached));
    }
    Ok(sums)
}

fn word(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "SIGKILL",
        Fault::KillOther(trace::JOIN) => ignored::KILL_OF_JOIN,
        Fault::KillOther(trace::INIT) => "SIGKILL of init",
        Fault::KillOther(_) => "SIGKILL of oxrun",
        Fault::Errno(errno) => {
            ERRNOS.iter().find(|(number, ..)| *number == errno).map_or("?", |(_, name, _)| name)
        }
    }
}
