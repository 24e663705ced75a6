//! The order of the functions in the binary: which of them the commands execute, as a script for the linker.
//! What must hold: it has names and no hashes, so that it outlives a change of compiler and of dependencies, and
//! a function that is gone or new costs nothing but its place.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::bundle::Change;
use crate::session::{Op, Runtime, Session};
use crate::{Result, sys};

/// The commands as they can follow each other. The second run finds its filter kept.
const TRACED: [Op; 11] = [
    Op::Run,
    Op::Run,
    Op::Create,
    Op::Start,
    Op::State,
    Op::Exec,
    Op::Exec,
    Op::List,
    Op::Kill,
    Op::Delete,
    Op::Version,
];

/// In this order their functions stand: first what all of them execute, then what fewer do.
const PLACED: [Op; 9] =
    [Op::Version, Op::State, Op::Kill, Op::Start, Op::Delete, Op::List, Op::Exec, Op::Create, Op::Run];

/// Of the code that a pattern fits, this share must have been executed for the pattern to stand among the first: a
/// name without its hash is that of every instance of a generic function.
const SHARE: f64 = 0.5;

/// What every start executes and is in no archive whose members are looked up: the first instructions, and the
/// choice among the variants of each mathematical function.
const STARTING: [&str; 2] = ["*crt1.o(.text)", "*libm*.a:*(.text .text.*)"];

/// A function of the binary.
struct Function {
    start: u64,
    size: u64,
    pattern: String,
}

/// Executes each command step by step, and prints the script. The binary must have its symbols.
pub(crate) fn print(session: &Session, runtime: &Runtime) -> Result<()> {
    let functions = functions(&runtime.program)?;
    let end = functions.last().map_or(0, |last| last.start + last.size);
    let start = functions.first().map_or(0, |first| first.start);
    session.make_bundles(runtime, Change::None)?;
    let mut executed: HashMap<Op, Vec<usize>> = HashMap::new();
    for op in TRACED {
        let addresses = sys::trace(&mut session.command(runtime, op), start..end);
        let addresses = addresses.map_err(|e| format!("{}: {e}", op.name()))?;
        eprintln!("{}: {} instructions of the binary", op.name(), addresses.len());
        let called = addresses.into_iter().filter_map(|address| at(&functions, address));
        executed.entry(op).or_default().extend(called);
    }
    if let Some(fault) = session.left_behind(runtime) {
        session.force_clean(runtime);
        return Err(fault.into());
    }
    print!("{}", script(&functions, PLACED.iter().filter_map(|op| executed.get(op)).flatten().copied())?);
    Ok(())
}

/// The function that has this address.
fn at(functions: &[Function], address: u64) -> Option<usize> {
    let next = functions.partition_point(|f| f.start <= address);
    let index = next.checked_sub(1)?;
    functions.get(index).filter(|f| address < f.start + f.size)?;
    Some(index)
}

/// The script that puts these functions first.
fn script(functions: &[Function], called: impl Iterator<Item = usize>) -> Result<String> {
    let mut all: HashMap<&str, u64> = HashMap::new();
    for f in functions {
        *all.entry(&f.pattern).or_default() += f.size;
    }
    let mut seen = vec![false; functions.len()];
    let mut order: Vec<&str> = Vec::new();
    let mut some: HashMap<&str, u64> = HashMap::new();
    for index in called {
        let (Some(f), Some(seen)) = (functions.get(index), seen.get_mut(index)) else { continue };
        if !std::mem::replace(seen, true) && !f.pattern.is_empty() {
            let sum = some.entry(&f.pattern).or_insert_with(|| {
                order.push(&f.pattern);
                0
            });
            *sum += f.size;
        }
    }
    let share = |pattern: &&str| {
        let of = |sums: &HashMap<&str, u64>| sums.get(pattern).copied().unwrap_or(0) as f64;
        of(&some) >= SHARE * of(&all)
    };
    let (first, last): (Vec<&str>, Vec<&str>) = order.into_iter().partition(share);
    let mut text = String::from(
        "/* The functions that the usual commands execute, in the order in which they first do: side by side they take few\n   \
            page faults. Written by `oxrun-benches order`. A name that is in no object file has no effect. */\n\
         SECTIONS {\n  .text.first : {\n",
    );
    for pattern in STARTING.iter().chain(&first).chain(&last) {
        writeln!(text, "    {pattern}")?;
    }
    text.push_str("  }\n} INSERT BEFORE .text;\n");
    Ok(text)
}

/// The functions of a binary by their address, each with the pattern that it is found by in the object files.
fn functions(binary: &Path) -> Result<Vec<Function>> {
    let archive = said(Command::new("cc").arg("-print-file-name=libc.a"))?;
    let mut members = HashMap::new();
    for line in said(Command::new("nm").args(["-A", "--defined-only", archive.trim()]))?.lines() {
        // archive:member:address kind name
        let mut words = line.split_whitespace();
        let (Some(place), Some("t" | "T" | "W" | "i"), Some(name)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if let Some(member) = place.split(':').nth(1) {
            members.entry(name.to_owned()).or_insert_with(|| member.to_owned());
        }
    }
    let mut functions = Vec::new();
    for line in said(Command::new("nm").args(["-S", "--defined-only"]).arg(binary))?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [start, size, "t" | "T" | "w" | "W" | "i", name] = words[..] else { continue };
        let number = |word| u64::from_str_radix(word, 16);
        let pattern = pattern(name, &members);
        functions.push(Function { start: number(start)?, size: number(size)?, pattern });
    }
    if functions.is_empty() {
        return Err(format!(
            "{} has no symbols: build it with CARGO_PROFILE_RELEASE_STRIP=false",
            binary.display()
        )
        .into());
    }
    functions.sort_by_key(|f| f.start);
    // Names of one place are of one function.
    functions.dedup_by_key(|f| f.start);
    Ok(functions)
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    // nm complains of members without symbols.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What finds a function in the object files whatever its hash is; nothing if it is in none.
fn pattern(name: &str, members: &HashMap<String, String>) -> String {
    if let Some(end) = name.starts_with("_ZN").then(|| name.rfind("17h")).flatten() {
        // What is cold has a prefix more.
        // What is cold has a prefix more.
        return format!("*(.text.*{}17h*)", &name[..end]);
    }
    if name.starts_with("_R") {
        return format!("*(.text.*{})", without_disambiguators(name));
    }
    if name == "main" {
        return "*(.text.main)".to_owned();
    }
    members.get(name).map_or_else(String::new, |member| format!("*libc.a:{member}(.text .text.*)"))
}

/// A `v0` name with a star for the hash of each crate, which stands between `Cs` and `_`.
fn without_disambiguators(name: &str) -> String {
    let mut parts = name.split("Cs");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("Cs");
        match part.split_once('_') {
            Some((hash, rest)) if hash.len() > 8 && hash.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                out.push_str("*_");
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Function, script, without_disambiguators};

    #[test]
    fn names_are_found_whatever_their_hashes_are() {
        let name = "_RNvMs_NtNtNtCsjrHSEGnQ3l9_3std2fs4FileNtCsgEmfK2I1SDS_4core3CsvE";
        assert_eq!(without_disambiguators(name), "_RNvMs_NtNtNtCs*_3std2fs4FileNtCs*_4core3CsvE");
    }

    #[test]
    fn patterns_of_much_that_is_not_executed_stand_last() {
        let f = |start, size, pattern: &str| Function { start, size, pattern: pattern.to_owned() };
        let all =
            [f(0, 10, "generic"), f(10, 90, "generic"), f(100, 5, "hot"), f(105, 5, "cold"), f(110, 1, "")];
        let text = script(&all, [0, 2, 2, 4].into_iter()).expect("a text");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let body = lines.iter().position(|l| *l == ".text.first : {").expect("a section");
        assert_eq!(lines[body + 3..body + 6], ["hot", "generic", "}"]);
    }
}
