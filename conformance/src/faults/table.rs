//! What the matrix found, as lines and as docs/faults.md. What must hold: every cell is counted once, and their number
//! follows from the calls and steps; whoever reads a row of what is ignored finds the reason beside it.

use super::ignored;
use super::judge::ERRNOS;
use super::record::Recording;
use crate::{Check, Failed};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// The sums of an operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// Calls that each run makes, and calls that only some make.
    pub(super) calls: usize,
    pub(super) varying: usize,
    /// Errors that are no answers of their calls.
    pub(super) impossible: usize,
    pub(super) steps: usize,
    /// What was tried.
    pub(super) cells: usize,
    pub(super) refused: usize,
    pub(super) ignored: usize,
    pub(super) killed: usize,
    pub(super) failed: usize,
    pub(super) unreached: usize,
    /// Of the calls that only some runs make.
    pub(super) not_made: usize,
}

impl Sums {
    pub(super) const HEAD: &str =
        "                 calls varying steps   cells   error ignored  killed unreached not made";

    /// Of what was recorded, without any cell.
    pub(super) fn of(recording: &Recording) -> Self {
        Self {
            calls: recording.sure,
            varying: recording.varying,
            impossible: recording.impossible,
            steps: recording.steps,
            ..Self::default()
        }
    }

    /// Fails unless all cells were tried and each ended in one way.
    ///
    /// # Errors
    /// The numbers.
    pub(super) fn add_up(&self) -> Check {
        let planned = (self.calls + self.varying) * (ERRNOS.len() + 1) - self.impossible + self.steps;
        let ended = self.refused + self.ignored + self.killed + self.failed + self.unreached + self.not_made;
        if planned == self.cells && ended == self.cells {
            return Ok(());
        }
        Err(Failed::from(format!("{planned} cells follow from calls and steps, {ended} ended: {self:?}")))
    }

    fn add(&mut self, other: &Sums) {
        for (sum, more) in [
            (&mut self.calls, other.calls),
            (&mut self.varying, other.varying),
            (&mut self.impossible, other.impossible),
            (&mut self.steps, other.steps),
            (&mut self.cells, other.cells),
            (&mut self.refused, other.refused),
            (&mut self.ignored, other.ignored),
            (&mut self.killed, other.killed),
            (&mut self.failed, other.failed),
            (&mut self.unreached, other.unreached),
            (&mut self.not_made, other.not_made),
        ] {
            *sum += more;
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} {:>7} {:>5} {:>7} ", self.calls, self.varying, self.steps, self.cells)?;
        write!(f, "{:>7} {:>7} {:>7} ", self.refused, self.ignored, self.killed)?;
        write!(f, "{:>9} {:>8}", self.unreached, self.not_made)
    }
}

/// What was ignored: program, call, reason; by whom, and which errors.
type Rows = BTreeMap<(&'static str, String, &'static str), (BTreeSet<&'static str>, BTreeSet<&'static str>)>;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) sums: Vec<(&'static str, Sums)>,
    ignored: Rows,
    /// What must not be.
    pub(super) failures: Vec<String>,
}

impl Table {
    /// Notes that the result of an operation did not depend on a call.
    pub(super) fn ignore(&mut self, operation: &'static str, task: &str, call: &str, errno: &'static str) {
        let program = ignored::program(task);
        match ignored::why(operation, program, call, errno) {
            Some(why) => {
                let row = self.ignored.entry((program, call.to_owned(), why)).or_default();
                row.0.insert(operation);
                row.1.insert(errno);
            }
            None => self
                .failures
                .push(format!("{operation}: {task} {call}, {errno}: success, and no reason is known")),
        }
    }

    /// Prints what was found; whether all is well.
    pub(super) fn told(&self) -> bool {
        println!("\nfailures that the result does not depend on:");
        for ((program, call, why), (_, errnos)) in &self.ignored {
            println!("  {program:<5} {call:<18} {}: {why}", words(errnos));
        }
        for line in &self.failures {
            println!("FAILED {line}");
        }
        println!("\n{} failed", self.failures.len());
        self.failures.is_empty()
    }

    /// The rows, with one for all files of a call that is made again whatever it is about.
    fn grouped(&self) -> Rows {
        let mut rows = Rows::new();
        for ((program, call, why), (operations, errnos)) in &self.ignored {
            let plain = call.split(' ').next().unwrap_or(call);
            let call = if *why == ignored::AGAIN { plain } else { call };
            let row = rows.entry((program, call.to_owned(), why)).or_default();
            row.0.extend(operations);
            row.1.extend(errnos);
        }
        rows
    }

    /// The document.
    pub(super) fn document(&self) -> String {
        let mut text = HEAD.to_owned();
        let mut total = Sums::default();
        for (operation, sums) in &self.sums {
            total.add(sums);
            line(&mut text, operation, sums);
        }
        line(&mut text, "**all**", &total);
        text.push_str(FALLBACKS);
        let fallback = |errnos: &BTreeSet<&str>| errnos.len() == 1 && errnos.contains("ENOSYS");
        for of_fallbacks in [true, false] {
            if !of_fallbacks {
                text.push_str(IGNORED);
            }
            for ((program, call, why), (operations, errnos)) in &self.grouped() {
                if fallback(errnos) == of_fallbacks {
                    let all = if errnos.len() == ERRNOS.len() { "all".to_owned() } else { words(errnos) };
                    let operations = operations.iter().copied().collect::<Vec<_>>().join(", ");
                    let _ = writeln!(text, "| {program} | `{call}` | {all} | {operations} | {why} |");
                }
            }
        }
        text
    }
}

fn words(errnos: &BTreeSet<&'static str>) -> String {
    errnos.iter().copied().collect::<Vec<_>>().join(" ")
}

fn line(text: &mut String, operation: &str, s: &Sums) {
    let numbers = [
        s.calls,
        s.varying,
        s.impossible,
        s.steps,
        s.cells,
        s.refused,
        s.ignored,
        s.killed,
        s.unreached + s.not_made,
        s.failed,
    ];
    let _ = write!(text, "| {operation} |");
    for number in numbers {
        let _ = write!(text, " {number} |");
    }
    text.push('\n');
}

const HEAD: &str = "\
# Faults

Made by `oxrun-conformance faults --table docs/faults.md`; not to be edited.

A cell is one run of a command in which one thing goes wrong: one call to the kernel is not made and answers ENOSYS,
EPERM, EINTR, EAGAIN or ENOMEM, or whoever is about to make it is killed; or oxrun is killed at the moment at which its
init begins a step of the plan. What must hold after each:

- the command ends, in time and without a panic;
- it is an error of one line that has the kernel's words for the errno, or a success, and then container and report are as
  they always are, and a reason why is below;
- no process, mount, cgroup or state directory is left of a container that was not made; `delete --force` removes what
  was, whole; and the id is free.

Cells are (calls + varying) x 6 - impossible + steps. Varying are calls that not each of four undisturbed runs made;
impossible are errors that a call does not have (`getpid`); steps are those that init was seen in, which are all steps of
the plan that it carries out. Killing whoever carries out a step is among the calls.

| command | calls | varying | impossible | steps | cells | error | ignored | killed | not reached | failed |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

const FALLBACKS: &str = "
## What falls back

Failures that lead to another way, for ENOSYS alone: the kernel does not have the call.

| program | call | errors | commands | why |
| --- | --- | --- | --- | --- |
";

const IGNORED: &str = "
## What the result does not depend on

| program | call | errors | commands | why |
| --- | --- | --- | --- | --- |
";
