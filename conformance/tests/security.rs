//! SECURITY.md promises nothing that no test shows, and names no test that is not there. Needs no root.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, check, check_eq, hostile};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> Check<String> {
    Ok(fs::read_to_string(directory().join("../SECURITY.md"))?)
}

/// What stands between backquotes in a cell of the table.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of the one table: claim, the tests that show it, the runs without the guard.
fn claims(text: &str) -> Vec<(&str, Vec<&str>, Vec<&str>)> {
    let row = |line: &'_ str| line.starts_with("| ") && !line.starts_with("| ---");
    let cells = |line| str::split(line, " | ").map(|cell: &str| cell.trim_matches([' ', '|'])).collect();
    let rows = text.lines().filter(|line| row(line)).skip(1).map(cells);
    rows.map(|cells: Vec<&str>| match cells.as_slice() {
        [claim, _, shown, without] => (*claim, names(shown), names(without)),
        _ => (cells.first().copied().unwrap_or_default(), Vec::new(), Vec::new()),
    })
    .collect()
}

/// Why a name is that of no test.
fn missing(name: &str) -> Option<String> {
    if let Some(attack) = name.strip_prefix("hostile ") {
        let known = hostile::list().iter().any(|(name, _)| *name == attack);
        return (!known).then(|| format!("{name}: there is no such attack"));
    }
    let Some((file, test)) = name.split_once("::") else {
        return Some(format!("{name} is neither an attack nor FILE::TEST"));
    };
    let source = fs::read_to_string(directory().join(format!("tests/{file}.rs"))).unwrap_or_default();
    // Written, and run: the name stands in the list of tests, too.
    let written = source.contains(&format!("fn {test}() -> Check"));
    let listed = source.matches(test).count() > 1;
    (!written || !listed).then(|| format!("{name}: tests/{file}.rs has no such test"))
}

/// What is wrong with the claims of a document.
fn faults(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (claim, shown, without) in claims(text) {
        if shown.is_empty() || without.is_empty() {
            found.push(format!("{claim:?} names no test, or none that fails without the guard"));
        }
        let attacked = shown.iter().any(|name| name.starts_with("hostile "));
        for name in shown.iter().chain(&without) {
            match *name {
                "hostile --controls" if attacked => {}
                "hostile --controls" => found.push(format!("{claim:?}: the controls are of no attack")),
                name => found.extend(missing(name)),
            }
        }
    }
    found
}

fn every_claim_names_a_test_and_what_fails_without_its_guard() -> Check {
    let text = document()?;
    check!(claims(&text).len() >= 18, "only {} claims were found", claims(&text).len());
    check_eq!(faults(&text), Vec::<String>::new());
    Ok(())
}

fn tests_named_in_the_text_exist() -> Check {
    let text = document()?;
    let of_tests = |name: &&str| name.contains("::") && !name.contains(' ') && *name != "order::...";
    let found: Vec<_> = names(&text).into_iter().filter(of_tests).filter_map(missing).collect();
    check_eq!(found, Vec::<String>::new());
    Ok(())
}

fn every_attack_is_named() -> Check {
    let text = document()?;
    let named: BTreeSet<&str> = names(&text).into_iter().filter_map(|n| n.strip_prefix("hostile ")).collect();
    let all: BTreeSet<&str> = hostile::list().iter().map(|(name, _)| *name).collect();
    let left: Vec<_> = all.difference(&named).collect();
    check!(left.is_empty(), "attacks that no claim names: {left:?}");
    Ok(())
}

fn a_claim_without_proof_is_noticed() -> Check {
    let table =
        |row: &str| format!("| what | how | shown by | without |\n| --- | --- | --- | --- |\n{row}\n");
    let good = "order::proc_shows_the_container_alone";
    check_eq!(faults(&table(&format!("| a | b | `hostile T1` | `{good}` |"))), Vec::<String>::new());
    for row in [
        "| a | b | said | `hostile --controls` |",
        "| a | b | `hostile T1` | said |",
        "| a | b | `hostile T1` |",
        "| a | b | `hostile T7` | `hostile --controls` |",
        "| a | b | `order::nothing_of_the_kind` | `hostile --controls` |",
        "| a | b | `order::proc_shows_the_container_alone` | `hostile --controls` |",
        "| a | b | `order` | `order::proc_shows_the_container_alone` |",
        "| a | b | `nowhere::a_test` | `order::proc_shows_the_container_alone` |",
    ] {
        check!(!faults(&table(row)).is_empty(), "taken: {row}");
    }
    Ok(())
}

/// The paths that a runtime looks at in an image.
const DESTINATIONS: &str = "/dev /dev/ptmx /dev/pts /dev/shm /dev/mqueue /dev/console /dev/null /dev/fd /dev/core \
    /dev/stdin /dev/stdout /dev/stderr /proc /sys /sys/fs/cgroup /etc/passwd /etc/group /proc/acpi /proc/asound \
    /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi \
    /sys/firmware /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger";

fn every_destination_meets_every_trick() -> Check {
    let mut cells: BTreeMap<String, usize> = BTreeMap::new();
    let all: BTreeSet<String> =
        hostile::list().into_iter().filter(|(name, _)| *name == "T15").map(|(_, variant)| variant).collect();
    for variant in &all {
        let (place, trick) = variant.split_once(") ").unwrap_or_default();
        check!(trick.starts_with("is "), "{variant}");
        *cells.entry(place.to_owned()).or_default() += 1;
    }
    check!(cells.values().all(|count| *count == 8), "not every place meets 8 tricks: {cells:?}");
    check_eq!((cells.len(), all.len()), (55, 440), "places and cells");
    for path in DESTINATIONS.split_whitespace() {
        check!(cells.keys().any(|place| place.starts_with(&format!("{path} ("))), "{path} is not attacked");
    }
    for lead in
        ["a mount", "a bind", "cwd", "cwd of exec", "copied up", "a device of the config", "the terminal"]
    {
        check!(cells.keys().any(|place| place.ends_with(&format!("({lead}"))), "{lead} is not attacked");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => {
            vec![$(Trial::test(stringify!($name), $name)),*]
        };
    }
    run(tests![
        every_claim_names_a_test_and_what_fails_without_its_guard,
        tests_named_in_the_text_exist,
        every_attack_is_named,
        a_claim_without_proof_is_noticed,
        every_destination_meets_every_trick,
    ])
}
