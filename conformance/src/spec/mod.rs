//! `spec` asks a runtime for what the runtime specification demands: each MUST and SHOULD of `runtime.md`,
//! `config.md`, `config-linux.md` and `features.md` that can be seen from outside is a case. A runtime is a
//! binary with runc's command line. Deviations that are wanted are listed with their reasons; what a host cannot
//! show is skipped with a reason and never counts as passed. With `--mutants` each case has to notice a runtime
//! that breaks its rule.

mod broken;
mod case;
mod cases;
mod deviations;
mod results;
mod run;
mod seen;
mod written;

use crate::harness::{Runtime, first_version_line, isolate};
use crate::{Check, Failed, check, locate, sys};
use case::Case;
use deviations::Deviations;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: oxrun-conformance spec [--runtime PATH] [--mutants] [--deviations FILE]
                              [--json FILE] [--junit FILE] [--tap FILE] [--list] [NAME ...]
       oxrun-conformance spec --results FILE.json ...

Runs the cases whose name contains a NAME, or all, and prints those that did not pass. FILE may be - for
standard output. With --mutants each case is also run with a runtime that breaks its rule, and has to
notice. With --results prints a table of what --json wrote for several runtimes, in one file or more for each.";

#[derive(Default)]
struct Options {
    runtime: Option<PathBuf>,
    mutants: bool,
    deviations: Option<PathBuf>,
    json: Option<PathBuf>,
    junit: Option<PathBuf>,
    tap: Option<PathBuf>,
    list: bool,
    results: bool,
    words: Vec<String>,
}

/// `oxrun-conformance spec`.
pub fn run(args: &[String]) -> ExitCode {
    let done = options(args).and_then(|options| match options {
        None => {
            println!("{USAGE}");
            Ok(true)
        }
        Some(options) if options.results => results::print(&options.words).map(|()| true),
        Some(options) => suite(&options),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("oxrun-conformance spec: {}", failed.message().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Check<Option<Options>> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => options.runtime = Some(locate::program(&parser.value()?.string()?)?),
            Long("mutants") => options.mutants = true,
            Long("deviations") => options.deviations = Some(parser.value()?.into()),
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("junit") => options.junit = Some(parser.value()?.into()),
            Long("tap") => options.tap = Some(parser.value()?.into()),
            Long("list") => options.list = true,
            Long("results") => options.results = true,
            Long("help") | Short('h') => return Ok(None),
            Value(word) => options.words.push(word.string()?),
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Ok(Some(options))
}

fn suite(options: &Options) -> Check<bool> {
    check!(sys::is_root(), "needs root");
    isolate()?;
    let program = match &options.runtime {
        Some(path) => path.clone(),
        None => Runtime::under_test()?,
    };
    let version = first_version_line(&program);
    check!(!version.is_empty(), "{} says no version", program.display());
    let mut all = cases::all(&cases::Host::look(&program));
    unique(&all)?;
    let words = &options.words;
    all.retain(|case| words.is_empty() || words.iter().any(|word| case.name.contains(word)));
    if options.list {
        return list(&all);
    }
    let listed = Deviations::read(options.deviations.as_deref(), &version)?;
    if words.is_empty() {
        listed.all_exist(&all)?;
    }
    let suite = run::Suite {
        probe: locate::sibling("oxrun-probe")?,
        bad: if options.mutants { Some(locate::sibling("oxrun-bad")?) } else { None },
        program,
        listed,
    };
    let ran = suite.run(&all);
    written::table(&version, &ran, options.mutants);
    for (file, text) in [
        (&options.json, written::json(&version, &ran)),
        (&options.junit, written::junit(&version, &ran)),
        (&options.tap, written::tap(&ran)),
    ] {
        if let Some(file) = file {
            write(file, &text)?;
        }
    }
    Ok(ran.iter().all(run::Ran::is_good))
}

fn unique(cases: &[Case]) -> Check {
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failed::from(format!("two cases are called {}", pair[0]))),
        None => Ok(()),
    }
}

fn list(cases: &[Case]) -> Check<bool> {
    for case in cases {
        println!("{} {} {}: {}", case.level.word(), case.place, case.name, case.rule);
        if let Some(broken) = case.broken() {
            println!("    notices a runtime that {}", broken.says());
        }
    }
    println!("{} cases", cases.len());
    Ok(true)
}

fn write(file: &Path, text: &str) -> Check {
    if file == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(file, text).map_err(|e| Failed::from(format!("{}: {e}", file.display())))
}
