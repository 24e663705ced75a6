//! Runtimes that do not know a field, and the tests that have to notice.

use super::rows::{self, Row, Section};
use super::{Options, evidence, steps, table};
use oxrun_conformance::{Check, Failed, check, programs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Passed,
    Failed,
    Ignored,
}

struct Programs {
    tests: BTreeMap<String, PathBuf>,
    runtime: PathBuf,
    bad: PathBuf,
}

/// Runs every test of the chosen rows; how many fields nobody would miss.
pub(super) fn run(sections: &[Section], options: &Options) -> Check<usize> {
    let (base, hosts) = (rows::example()?, steps::hosts()?);
    let programs = Programs {
        tests: programs::tests()?.into_iter().collect(),
        runtime: programs::build("oxrun", "oxrun")?,
        bad: programs::sibling("oxrun-bad")?,
    };
    let mut chosen: Vec<&Row> = sections.iter().flat_map(|section| &section.rows).collect();
    chosen.retain(|row| row.field.contains(&options.only));
    let mut wanted = Vec::new();
    for row in chosen {
        let made = hosts.iter().map(|(name, facts)| Ok((*name, steps::made(row, &base, facts)?)));
        let refused = table::state(row, &made.collect::<Check<Vec<_>>>()?)?.is_some();
        if !refused && tests(row).next().is_some() {
            wanted.push((row, tests(row)));
        }
    }
    if let Some(count) = options.lot {
        wanted = lot(wanted, count, options.seed);
    }
    let (mut missed, mut unseen, mut count, mut controls) = (0, 0, 0, BTreeMap::new());
    for (row, tests) in wanted {
        for test in tests {
            count += 1;
            let control = match controls.get(&(test, &row.view)) {
                Some(end) => *end,
                None => *controls.entry((test, &row.view)).or_insert(programs.end(test, row, false)?),
            };
            let said = match control {
                End::Passed => match programs.end(test, row, true)? {
                    End::Failed => "noticed",
                    End::Passed | End::Ignored => "NOT NOTICED",
                },
                End::Ignored => "NOT RUN HERE",
                End::Failed => "FAILS ANYWAY",
            };
            match said {
                "noticed" => {}
                "NOT RUN HERE" => unseen += 1,
                _ => missed += 1,
            }
            println!("{}: {test}: {said}", row.field);
        }
    }
    let noticed = count - missed - unseen;
    println!(
        "{count} runtimes without a field: {noticed} noticed, {missed} not, {unseen} not to be seen on this host"
    );
    Ok(missed)
}

/// The tests of a row that have to notice; none where nothing can be noticed, or not here.
pub(super) fn tests(row: &Row) -> impl Iterator<Item = &str> {
    let told = row.unseen.is_some() || row.elsewhere.is_some();
    row.tests.iter().map(String::as_str).filter(move |test| !told && !evidence::is_of_library(test))
}

/// Some of the rows, the same ones for the same number.
fn lot<T>(mut from: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let mut drawn = Vec::new();
    while drawn.len() < count && !from.is_empty() {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let place = usize::try_from((z ^ (z >> 31)) % from.len() as u64).unwrap_or_default();
        drawn.push(from.remove(place));
    }
    drawn
}

impl Programs {
    /// Runs one test of a row, with a runtime that does not know the field if that is said.
    fn end(&self, test: &str, row: &Row, forgotten: bool) -> Check<End> {
        let (program, name) = evidence::parts(test)?;
        let file =
            self.tests.get(program).ok_or_else(|| Failed::from(format!("no test program {program}")))?;
        let mut command = Command::new(file);
        command
            .args(["--exact", name])
            .env("OXRUN_RUNTIME", &self.bad)
            .env("OXRUN_BAD_RUNTIME", &self.runtime);
        // A path that no document has.
        command
            .env("OXRUN_BAD_HOW", "forget")
            .env("OXRUN_BAD_FIELD", if forgotten { &row.field } else { "/-" });
        if let (true, Some(instead)) = (forgotten, &row.instead) {
            command.env("OXRUN_BAD_INSTEAD", instead.to_string());
        }
        if let Some(view) = &row.view {
            command.env("OXRUN_CGROUP_VIEW", view);
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = command.current_dir(directory).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        check!(!said.contains("running 0 tests"), "{program} has no test {name}");
        Ok(match output.status.success() {
            false => End::Failed,
            true if said.contains(" 1 passed") => End::Passed,
            true => End::Ignored,
        })
    }
}
