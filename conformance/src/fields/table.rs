//! The table as Markdown.

use super::evidence::Sources;
use super::mutants;
use super::rows::{self, Row, Section};
use super::steps::{self, Made};
use oxrun_conformance::harness::Config;
use oxrun_conformance::{Check, check};
use oxrun_core::HostFacts;

const HEAD: &str = "# Every field of config.json, the steps that carry it out and the tests that show them

Made by `oxrun-conformance fields`; `conformance/tests/fields.rs` keeps it true. The fields are those of runtime-spec
1.3 that concern Linux. `*` is any element, `KEY=VALUE` an element by one of its values, a last word behind a list of
words that word.

The second column is derived: an example with the field and the same one without it are planned for two recorded hosts,
one with cgroups of version 1 and one of version 2, and the steps that only the first plan has are printed as `oxrun
explain` prints them. The third names the tests, by program and name; one with a `/` is the library's own. The command
fails if a named test is not there, is left out, or does not speak of the field.

`oxrun-conformance fields --mutants` runs each of these tests with a runtime that does not know the field: it takes the
field out of the config before it hands that to oxrun, so that the steps of the second column are what is missing. Every
test has to notice. Where nothing can be noticed, the table says why.
";

/// How the cell of a field begins that planning does not take.
const REFUSED: &str = "refused: ";

type Hosts = [(&'static str, HostFacts)];

/// Prints the table; how many rows are wrong.
pub(super) fn print(sections: &[Section]) -> Check<usize> {
    let (base, hosts, mut sources) = (rows::example()?, steps::hosts()?, Sources::default());
    let (mut text, mut wrong, mut count, mut mutants) = (HEAD.to_owned(), 0, 0, 0);
    for section in sections {
        text.push_str(&format!("\n## {}\n\n| field | steps | tests |\n| --- | --- | --- |\n", section.title));
        for row in &section.rows {
            count += 1;
            match line(row, &base, &hosts, &mut sources) {
                Ok(line) => {
                    mutants +=
                        if line.contains(&format!("| {REFUSED}")) { 0 } else { mutants::tests(row).count() };
                    text.push_str(&line);
                }
                Err(failed) => {
                    eprintln!("{}", failed.message().unwrap_or_default());
                    wrong += 1;
                }
            }
        }
    }
    if wrong == 0 {
        print!(
            "{text}\n{count} fields. `--mutants` runs {mutants} tests, each with a runtime that does not know its field.\n"
        );
    }
    Ok(wrong)
}

fn line(row: &Row, base: &Config, hosts: &Hosts, sources: &mut Sources) -> Check<String> {
    let mut made = Vec::new();
    for (name, facts) in hosts {
        made.push((*name, steps::made(row, base, facts)?));
    }
    let (steps, tests) = match state(row, &made)? {
        Some(sentence) => (format!("{REFUSED}{sentence}"), row.refused.as_ref().map(|r| &r.tests)),
        None => (cell(row, &made)?, Some(&row.tests)),
    };
    let tests = tests.map_or(&[][..], Vec::as_slice);
    check!(!tests.is_empty(), "{}: no test shows it", row.field);
    for test in tests {
        sources.shows(row, test)?;
    }
    let mut told = tests.iter().map(|test| test.replacen(' ', ": ", 1)).collect::<Vec<_>>();
    if !steps.starts_with(REFUSED) {
        told.extend(row.elsewhere.clone());
        told.extend(row.unseen.as_ref().map(|why| format!("not to be noticed: {why}")));
    }
    Ok(format!("| {} | {} | {} |\n", code(&row.field), steps, told.join("<br>")))
}

/// The sentence with which the field is refused everywhere, which has to be the one that is known.
pub(super) fn state(row: &Row, made: &[(&str, Made)]) -> Check<Option<String>> {
    if made.iter().any(|(_, made)| !matches!(made, Made::Refused(_))) {
        return Ok(None);
    }
    let mut said = None;
    for (name, made) in made {
        let Made::Refused(error) = made else { continue };
        match &row.refused {
            Some(refusal) if error.contains(&refusal.says) => said = Some(refusal.says.clone()),
            _ => return Err(format!("{}: refused on {name}: {error}", row.field).into()),
        }
    }
    Ok(said)
}

fn cell(row: &Row, made: &[(&str, Made)]) -> Check<String> {
    let nothing = made.iter().all(|(_, made)| *made == Made::Nothing);
    if let Some(why) = &row.nothing {
        check!(nothing, "{}: planning makes something of it", row.field);
        return Ok(why.clone());
    }
    check!(!nothing, "{}: planning makes nothing of it", row.field);
    let words = |made: &Made| match made {
        Made::Steps(steps) => steps.iter().map(|step| code(step)).collect::<Vec<_>>().join("<br>"),
        Made::Nothing => "nothing".to_owned(),
        Made::Refused(error) => format!("{REFUSED}{}", plain(error)),
    };
    let cells: Vec<String> = made.iter().map(|(_, made)| words(made)).collect();
    if cells.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(cells.into_iter().next().unwrap_or_default());
    }
    let told = made.iter().zip(cells).map(|((name, _), cell)| format!("{name}: {cell}"));
    Ok(told.collect::<Vec<_>>().join("<br>"))
}

fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(text: &str) -> String {
    format!("`{}`", plain(text))
}
