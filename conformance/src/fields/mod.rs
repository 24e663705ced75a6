//! `fields` shows that the whole config.json is carried out: for each field of the specification the steps that
//! planning makes of it, and the tests that show them. Steps are derived from plans for recorded hosts, tests are
//! looked up in their sources. With `--mutants` every named test has to fail with a runtime that does not know
//! the field.

mod evidence;
mod mutants;
mod rows;
mod steps;
mod table;

use lexopt::prelude::*;
use oxrun_conformance::Check;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: oxrun-conformance fields [--rows FILE]
       oxrun-conformance fields --mutants [--rows FILE] [--only TEXT] [--random COUNT --seed NUMBER]

Prints the table of every field, the steps that carry it out and the tests that show it, or fails if
one has none. With --mutants runs the tests of each field, of those whose name contains TEXT, or of
COUNT ones by lot, with a runtime that does not know the field: all must fail.";

#[derive(Default)]
struct Options {
    rows: Option<PathBuf>,
    mutants: bool,
    only: String,
    lot: Option<usize>,
    seed: u64,
}

/// `oxrun-conformance fields`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let done = options(args).and_then(|options| match options {
        None => {
            println!("{USAGE}");
            Ok(0)
        }
        Some(options) => {
            let sections = rows::read(options.rows.as_deref())?;
            match options.mutants {
                true => mutants::run(&sections, &options),
                false => table::print(&sections),
            }
        }
    });
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("oxrun-conformance fields: {}", failed.message().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Check<Option<Options>> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("rows") => options.rows = Some(parser.value()?.into()),
            Long("mutants") => options.mutants = true,
            Long("only") => options.only = parser.value()?.string()?,
            Long("random") => options.lot = Some(parser.value()?.parse()?),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Ok(Some(options))
}
