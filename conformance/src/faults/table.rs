//! What the matrix found, as lines and as docs/faults.md. What must hold: every cell is counted once, and their number
//! follows from the calls and steps; whoever reads a row of what is ignored finds the reason beside it.

use super::ignored;
use super::judge::ERRNOS;
use super::record::{PROCESSES, Recording};
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
    /// Who was to be killed in a step was not there yet, or not any more.
    pub(super) absent: usize,
}

impl Sums {
    pub(super) const HEAD: &str =
        "                 calls varying steps   cells   error ignored  killed unreached not made absent";

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
        let of_calls = (self.calls + self.varying) * (ERRNOS.len() + 1) - self.impossible;
        let planned = of_calls + self.steps * PROCESSES.len();
        let clean = self.refused + self.ignored + self.killed + self.absent;
        let ended = clean + self.failed + self.unreached + self.not_made;
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
            (&mut self.absent, other.absent),
        ] {
            *sum += more;
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} {:>7} {:>5} {:>7} ", self.calls, self.varying, self.steps, self.cells)?;
        write!(f, "{:>7} {:>7} {:>7} ", self.refused, self.ignored, self.killed)?;
        write!(f, "{:>9} {:>8} {:>6}", self.unreached, self.not_made, self.absent)
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
        for of_fallbacks in [true, false] {
            if !of_fallbacks {
                text.push_str(IGNORED);
            }
            for ((program, call, why), (operations, errnos)) in &self.grouped() {
                if ignored::FALLBACKS.iter().any(|row| row.2 == *why) == of_fallbacks {
                    let all = if errnos.len() == ERRNOS.len() { "all".to_owned() } else { words(errnos) };
                    let operations = operations.iter().copied().collect::<Vec<_>>().join(", ");
                    let _ = writeln!(text, "| {program} | `{call}` | {all} | {operations} | {why} |");
                }
            }
        }
        text.push_str(OTHERS);
        for (fault, tests) in OTHER_TESTS {
            let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
            let _ = writeln!(text, "| {fault} | {} |", tests.join("<br>"));
        }
        text
    }
}

fn words(errnos: &BTreeSet<&'static str>) -> String {
    errnos.iter().copied().collect::<Vec<_>>().join(", ")
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
        s.absent,
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

What becomes of oxrun and its containers if the host fails it in one place. A cell is one run of a command in which one
thing goes wrong:

- one call to the kernel, of oxrun or its init, is not made and answers ENOSYS, EPERM, EINTR, EAGAIN or ENOMEM;
- whoever is about to make that call gets SIGKILL;
- in the moment in which a step of the plan begins, in whichever lane, SIGKILL goes to oxrun, to the process that enters
  what exists (`join`), or to the container's (`init`).

What must hold after each:

- the command ends, in time and without a panic;
- it is an error of one line that has the kernel's words for the errno, or a success, and then container and report are as
  they always are, and a reason why is below;
- no process, mount, cgroup or state directory is left of a container that was not made; `delete --force` removes what
  was, whole; and the id is free.

| column | what it counts |
| --- | --- |
| calls | calls that each of four undisturbed runs has made |
| varying | calls that only some of them have made |
| impossible | errors that a call does not have (`getpid`), and that are not tried |
| steps | steps of the plan until the command is done; each was seen to begin |
| cells | (calls + varying) x 6 - impossible + steps x 3 |
| error | an error was told and nothing is left |
| ignored | the result is the same; see below |
| killed | oxrun was killed, and what it left was removed by the next `delete --force` |
| absent | whoever was to be killed in a step was not there yet, or not any more |
| not reached | the call was not made this time |
| failed | something that must hold does not |

`run in full` is a container with a user namespace, limits, a bind mount, hooks of every kind and the profile of an engine,
whose filter is kept, so that all lanes have steps; its calls are those that `run` does not make, without those of the C library for memory and threads.

| command | calls | varying | impossible | steps | cells | error | ignored | killed | absent | not reached | failed |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

const FALLBACKS: &str = "
## What falls back

Failures that lead to another way, for ENOSYS alone: the kernel does not have the call. There are no others.

| program | call | errors | commands | why |
| --- | --- | --- | --- | --- |
";

const IGNORED: &str = "
## What the result does not depend on

| program | call | errors | commands | why |
| --- | --- | --- | --- | --- |
";

const OTHERS: &str = "
## Faults that are no single call

| fault | shown by |
| --- | --- |
";

/// What a host may lack as a whole, and the tests in which it does.
pub(super) const OTHER_TESTS: [(&str, &[&str]); 13] = [
    (
        "each write to a cgroup, on every layout",
        &[
            "cgroup_faults: every_write_that_fails_is_told_and_nothing_is_left",
            "cgroup_faults: a_cgroup_that_cannot_be_made_is_told_and_nothing_is_left",
            "cgroup_faults: a_v1_cgroup_that_cannot_be_entered_is_told_and_nothing_is_left",
        ],
    ),
    (
        "a disk with no room left, for each amount of room",
        &[
            "hardship: create_on_a_full_disk_says_so_and_leaves_nothing",
            "hardship: create_on_a_disk_without_room_for_files_says_so_and_leaves_nothing",
        ],
    ),
    ("a state root that is read-only", &["hardship: create_below_a_read_only_state_root_says_so"]),
    (
        "a state root that is missing, or none",
        &[
            "hardship: a_missing_state_root_has_no_container_and_is_made_by_create",
            "hardship: a_state_root_that_is_a_file_is_named",
        ],
    ),
    (
        "too little memory for the set-up",
        &["hardship: a_memory_limit_that_init_cannot_live_with_is_told_and_leaves_nothing"],
    ),
    (
        "a limit of one process",
        &[
            "hardship: one_task_is_enough_for_a_container_and_leaves_no_room_for_a_further_process",
            "seccomp_notify: a_pids_limit_without_room_for_who_hands_over_the_listener_is_told",
        ],
    ),
    (
        "a limit of 20 descriptors, and of fewer",
        &[
            "hardship: twenty_descriptors_are_enough_for_every_command",
            "hardship: too_few_descriptors_are_told_and_leave_nothing",
        ],
    ),
    (
        "a caller that ignores SIGCHLD",
        &["hardship: a_caller_that_ignores_the_end_of_its_children_gets_exit_codes"],
    ),
    (
        "a cgroup that stands still",
        &[
            "cgroup_manager: a_frozen_cgroup_is_refused",
            "exec_cgroup: a_process_does_not_follow_the_first_one_into_a_cgroup_that_the_container_has_frozen",
            "ending: a_hook_that_freezes_the_container_and_fails_ends_it",
            "pause: delete_force_reaches_what_the_container_froze_itself_on_v1",
        ],
    ),
    ("a process that does not die", &["ending: a_process_that_does_not_die_is_named"]),
    ("a process that nobody reaps", &["ending: a_further_process_that_nobody_reaps_does_not_hinder_delete"]),
    (
        "a creator or an init that is killed while a hook runs",
        &[
            "broken_off: delete_force_removes_everything_of_a_container_whose_creator_was_killed",
            "broken_off: an_init_that_is_killed_in_a_hook_is_reported_with_its_step",
        ],
    ),
    (
        "an agent that does not answer",
        &[
            "seccomp_notify: start_does_not_wait_for_ever_for_an_agent",
            "seccomp_notify: an_agent_that_does_not_read_holds_nobody_up",
        ],
    ),
];
