//! What an operation does without a fault: its calls, and thereby its cells. What must hold: a cell names its call by
//! what does not vary from run to run, and whether each run makes that call.

use super::judge::{ERRNOS, Usual};
use super::operation::{ALL, Bench, Operation, Steps};
use super::trace::{Call, Fault, INIT, JOIN, MAIN, Place, Trace};
use super::{ignored, word};
use crate::{Check, Failed};
use std::collections::{BTreeMap, BTreeSet};

/// Who is killed at the begin of each step.
pub(super) const PROCESSES: [&str; 3] = [MAIN, JOIN, INIT];

/// How often an operation is watched before its cells are chosen.
const RUNS: usize = 4;

/// What the C library does before the runtime's own first call, and calls that do not come back.
const NOT_OURS: [&str; 4] = ["exit", "exit_group", "rt_sigreturn", "restart_syscall"];

/// What the C library calls for memory and for threads of its own: it has no error to give for most of it.
const OF_C_LIBRARY: [&str; 12] = [
    "brk",
    "clone3",
    "futex",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "rseq",
    "sched_getaffinity",
    "set_robust_list",
    "sigaltstack",
];

/// One fault at one call.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) place: Place,
    pub(super) fault: Fault,
    /// Every undisturbed run made this call.
    pub(super) sure: bool,
}

/// An operation without faults.
pub(super) struct Recording {
    pub(super) usual: Usual,
    pub(super) cells: Vec<Cell>,
    /// How many steps were seen, and the steps of the plan that no process was seen in.
    pub(super) steps: usize,
    pub(super) unseen: Vec<String>,
    /// How many errors are no answers of the calls that they would be given to.
    pub(super) impossible: usize,
    /// How many calls every run made, and how many only some did.
    pub(super) sure: usize,
    pub(super) varying: usize,
}

impl Recording {
    /// Watches the operation several times.
    ///
    /// # Errors
    /// If it fails.
    pub(super) fn of(bench: &Bench, operation: &Operation) -> Check<Self> {
        let (mut reports, mut traces) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            bench.prepare(operation.before)?;
            let trace = bench.call(operation, None)?;
            if trace.code != 0 {
                return Err(Failed::from(format!("{} fails: {}", operation.name, trace.stderr)));
            }
            if operation.reports {
                let created = operation.name == "create";
                reports.push(if created {
                    bench.start_and_report()?
                } else {
                    bench.document(&trace.stdout)?
                });
            }
            bench.clean()?;
            traces.push(trace);
        }
        let steps = bench.steps(operation)?;
        for list in traces.iter_mut().flat_map(|trace| trace.calls.iter_mut()) {
            list.retain(|call| steps.last.is_none_or(|last| !is_behind(call, last)));
        }
        let mut places = places(&traces);
        let all = places.clone();
        if let Some(like) = operation.like {
            let known = names(bench, like)?;
            places.retain(|(place, _)| {
                let program = ignored::program(&place.task);
                let plain = place.name.split(' ').next().unwrap_or_default();
                let of_library = program == MAIN && OF_C_LIBRARY.contains(&plain);
                !of_library && !known.contains(&(program, place.name.clone()))
            });
        }
        let sure = places.iter().filter(|(_, sure)| *sure).count();
        let varying = places.len() - sure;
        let begins = begins(&traces, &all, &steps);
        let mut unseen = steps.of_init;
        unseen.extend(steps.of_host.iter().map(|(step, _)| *step));
        unseen.retain(|step| !begins.contains_key(step));
        let mut cells = cells(&places);
        let impossible = places.len() * (ERRNOS.len() + 1) - cells.len();
        let in_words = |step: u32| steps.words.get(step as usize).cloned().unwrap_or_default();
        let unseen = unseen.into_iter().map(in_words).collect();
        let steps = begins.len();
        let kills = |place: Place| {
            PROCESSES.map(|process| Cell {
                place: place.clone(),
                fault: Fault::KillOther(process),
                sure: true,
            })
        };
        cells.extend(begins.into_values().flat_map(kills));
        Ok(Self { usual: Usual::of(&reports), cells, steps, unseen, impossible, sure, varying })
    }
}

/// What an operation calls, and in which program.
fn names(bench: &Bench, name: &str) -> Check<BTreeSet<(&'static str, String)>> {
    let operation = ALL.iter().find(|o| o.name == name).ok_or("no such operation")?;
    bench.prepare(operation.before)?;
    let trace = bench.call(operation, None)?;
    bench.clean()?;
    let calls = trace.calls.iter().flat_map(|list| ours(list));
    Ok(calls.map(|call| (ignored::program(&call.place.task), call.place.name.clone())).collect())
}

/// Whether init makes a call when it has said that it is set up: the runtime may have ended by then, or not.
fn is_behind(call: &Call, last: u32) -> bool {
    call.step == last && !call.place.name.starts_with("sendmsg")
}

/// Every call of any run, in order, and whether each run made it.
fn places(traces: &[Trace]) -> Vec<(Place, bool)> {
    let mut count: BTreeMap<&Place, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for trace in traces {
        for place in trace.calls.iter().flat_map(|list| ours(list)).map(|call| &call.place) {
            let seen = count.entry(place).or_default();
            if *seen == 0 {
                order.push(place);
            }
            *seen += 1;
        }
    }
    order.into_iter().map(|place| (place.clone(), count.get(place) == Some(&traces.len()))).collect()
}

/// The first call of each step, by the step's number: in init, which says in which step it is, and on the host, by what
/// the step begins with.
fn begins(traces: &[Trace], places: &[(Place, bool)], steps: &Steps) -> BTreeMap<u32, Place> {
    let sure: BTreeSet<&Place> = places.iter().filter(|(_, sure)| *sure).map(|(place, _)| place).collect();
    let mut calls: Vec<&Call> =
        traces.first().into_iter().flat_map(|trace| trace.calls.iter().flat_map(|list| ours(list))).collect();
    calls.retain(|call| sure.contains(&call.place));
    calls.sort_by_key(|call| call.order);
    let mut begins = BTreeMap::new();
    for call in calls.iter().filter(|call| call.step > 0) {
        begins.entry(call.step).or_insert_with(|| call.place.clone());
    }
    let mut of_host = calls.iter().filter(|call| ignored::program(&call.place.task) == MAIN);
    for (step, name) in &steps.of_host {
        let Some(name) = name else { continue };
        if let Some(call) = of_host.find(|call| call.place.name.starts_with(name.as_str())) {
            begins.entry(*step).or_insert_with(|| call.place.clone());
        }
    }
    begins
}

/// The calls of a task that may be failed.
fn ours(list: &[Call]) -> impl Iterator<Item = &Call> {
    // The C library's own start ends with the first look at the standard descriptors.
    let own = |call: &Call| call.place.task != MAIN || call.place.name.starts_with("fcntl");
    let begin = list.iter().position(own).unwrap_or(0);
    list.iter().skip(begin).filter(|call| !NOT_OURS.contains(&call.place.name.as_str()))
}

fn cells(places: &[(Place, bool)]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (place, sure) in places {
        let faults = ERRNOS.iter().map(|(number, ..)| Fault::Errno(*number)).chain([Fault::Kill]);
        let faults = faults.filter(|fault| !ignored::is_impossible(&place.name, word(*fault)));
        cells.extend(faults.map(|fault| Cell { place: place.clone(), fault, sure: *sure }));
    }
    cells
}
