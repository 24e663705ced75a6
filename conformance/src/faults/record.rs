//! What an operation does without a fault: its calls, and thereby its cells. What must hold: a cell names its call by
//! what does not vary from run to run, and whether each run makes that call.

use super::judge::{ERRNOS, Usual};
use super::operation::{Bench, Operation};
use super::trace::{Fault, MAIN, Place, Trace};
use super::{ignored, word};
use crate::{Check, Failed};
use std::collections::BTreeMap;

/// How often an operation is watched before its cells are chosen.
const RUNS: usize = 4;

/// What the C library does before the runtime's own first call, and calls that do not come back.
const NOT_OURS: [&str; 4] = ["exit", "exit_group", "rt_sigreturn", "restart_syscall"];

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
        let places = places(&traces);
        let sure = places.iter().filter(|(_, sure)| *sure).count();
        let varying = places.len() - sure;
        Ok(Self { usual: Usual::of(&reports), cells: cells(places), sure, varying })
    }
}

/// Every call of any run, in order, and whether each run made it.
fn places(traces: &[Trace]) -> Vec<(Place, bool)> {
    let mut count: BTreeMap<&Place, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for trace in traces {
        for place in trace.calls.iter().flat_map(|list| ours(list)) {
            let seen = count.entry(place).or_default();
            if *seen == 0 {
                order.push(place);
            }
            *seen += 1;
        }
    }
    order.into_iter().map(|place| (place.clone(), count.get(place) == Some(&traces.len()))).collect()
}

/// The calls of a task that may be failed.
fn ours(list: &[Place]) -> impl Iterator<Item = &Place> {
    // The C library's own start ends with the first look at the standard descriptors.
    let own = |place: &Place| place.task != MAIN || place.name.starts_with("fcntl");
    let begin = list.iter().position(own).unwrap_or(0);
    list.iter().skip(begin).filter(|place| !NOT_OURS.contains(&place.name.as_str()))
}

fn cells(places: Vec<(Place, bool)>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (place, sure) in places {
        let faults = ERRNOS.iter().map(|(number, ..)| Fault::Errno(*number)).chain([Fault::Kill]);
        let faults = faults.filter(|fault| !ignored::is_impossible(&place.name, word(*fault)));
        cells.extend(faults.map(|fault| Cell { place: place.clone(), fault, sure }));
    }
    cells
}
