//! docs/faults.md against the tool that makes it. What must hold: whoever reads the document reads what the tool lets
//! pass, of all commands, and numbers that add up.

use super::ignored::{self, FALLBACKS};
use super::judge::ERRNOS;
use super::operation::ALL;
use super::record::PROCESSES;
use super::table::OTHER_TESTS;
use crate::{Check, Failed, check, check_eq};
use std::collections::BTreeSet;

/// Compares the document with what the tool allows today.
///
/// # Errors
/// Where they differ.
pub fn is_up_to_date(text: &str) -> Check {
    sums(&table(text, "| command |")?)?;
    let (_, rest) = text.split_once("\n## What falls back\n").ok_or("no list of what falls back")?;
    let rows = table(rest, "| program |")?;
    let found: BTreeSet<_> = rows.iter().map(|row| (cell(row, 0), cell(row, 1), cell(row, 4))).collect();
    check_eq!(found, FALLBACKS.iter().copied().collect(), "what falls back");
    check!(rows.iter().all(|row| cell(row, 2) == "ENOSYS"), "not ENOSYS alone falls back: {rows:?}");
    let (_, rest) = rest.split_once("\n## ").ok_or("no list of what is ignored")?;
    for row in table(rest, "| program |")? {
        reason(&row)?;
    }
    let (_, rest) =
        text.split_once("\n## Faults that are no single call\n").ok_or("no list of other faults")?;
    check_eq!(table(rest, "| fault |")?.len(), OTHER_TESTS.len(), "other faults");
    Ok(())
}

/// The tests that stand for faults that are no single call, each a file and a function.
pub fn other_tests() -> impl Iterator<Item = (&'static str, &'static str)> {
    OTHER_TESTS.iter().flat_map(|(_, tests)| tests.iter()).filter_map(|test| test.split_once(": "))
}

/// The rows of the first table that begins so.
fn table<'a>(text: &'a str, head: &str) -> Check<Vec<Vec<&'a str>>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(head));
    check!(lines.next().is_some(), "no table {head}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    Ok(rows
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
        .collect())
}

fn cell<'a>(row: &[&'a str], at: usize) -> &'a str {
    row.get(at).copied().unwrap_or_default()
}

fn sums(rows: &[Vec<&str>]) -> Check {
    let names: Vec<&str> = rows.iter().map(|row| cell(row, 0)).collect();
    let expected: Vec<&str> = ALL.iter().map(|operation| operation.name).chain(["**all**"]).collect();
    check_eq!(names, expected, "the commands");
    let mut total = [0_usize; 11];
    for row in rows {
        let numbers = row.iter().skip(1).map(|number| number.parse::<usize>());
        let numbers: Vec<usize> = numbers.collect::<Result<_, _>>()?;
        let [calls, varying, impossible, steps, cells, ends @ ..] = numbers.as_slice() else {
            return Err(Failed::from(format!("not a row of numbers: {row:?}")));
        };
        let of_calls = ((calls + varying) * (ERRNOS.len() + 1)).checked_sub(*impossible);
        check_eq!(of_calls.map(|n| n + steps * PROCESSES.len()), Some(*cells), "{row:?}");
        check_eq!(ends.iter().sum::<usize>(), *cells, "how the cells of {row:?} ended");
        check_eq!(ends.last(), Some(&0), "{row:?}: failed");
        if cell(row, 0) == "**all**" {
            check_eq!(numbers, total.to_vec(), "the sums");
        }
        total.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
    }
    Ok(())
}

/// Fails if the tool does not give the reason of a row for each of its errors and each of its commands.
fn reason(row: &[&str]) -> Check {
    let (program, call, why) = (cell(row, 0), cell(row, 1), cell(row, 4));
    let all: Vec<&str> = ERRNOS.iter().map(|(_, name, _)| *name).collect();
    let errnos = if cell(row, 2) == "all" { all } else { cell(row, 2).split(", ").collect() };
    let commands: Vec<&str> = cell(row, 3).split(", ").collect();
    let given = |command: &str, errno: &str| ignored::why(command, program, call, errno) == Some(why);
    for errno in &errnos {
        check!(commands.iter().any(|command| given(command, errno)), "{errno} of {row:?}: not this reason");
    }
    for command in &commands {
        check!(errnos.iter().any(|errno| given(command, errno)), "{command} of {row:?}: not this reason");
    }
    Ok(())
}
