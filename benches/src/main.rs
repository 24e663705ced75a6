//! Compares OCI runtimes with each other and with the least that the kernel lets them do. What must
//! hold: all runtimes get the same bundle, environment and view of the cgroups, in one interleaved
//! loop; nothing is left on the machine.

mod budgets;
mod bundle;
mod elf;
mod embed;
mod facts;
mod figures;
mod growth;
mod lifecycle;
mod options;
mod order;
mod parallel;
mod process;
mod session;
mod svg;
mod sys;
mod table;
mod view;

use std::path::Path;
use std::process::ExitCode;

use crate::figures::Figures;
use crate::options::Options;
use crate::session::Session;

/// Errors are sentences for the user.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("oxrun-benches: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    // What this program is when it is run by itself.
    let words: Vec<String> = std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    match words.split_first() {
        Some((first, words)) if first == "embedding" => {
            return embed::process(words).map(|()| ExitCode::SUCCESS);
        }
        Some((first, words)) if first == "peak" => {
            return facts::print_peak(words).map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let Some(options) = options::parse()? else {
        print!("{}", options::HELP);
        return Ok(ExitCode::SUCCESS);
    };
    sys::become_subreaper()?;
    sys::catch_interrupts()?;
    for runtime in &options.runtimes {
        // The script of `order` is all that stdout has.
        eprintln!("{}: {}", runtime.name, runtime.program.display());
    }
    if let Some(dir) = &options.out {
        std::fs::create_dir_all(dir)?;
    }
    let (mut figures, mut failures) = (Figures::default(), 0);
    for part in &options.parts {
        let out = options.out.as_deref();
        match *part {
            "lifecycle" => failures += lifecycle(&options, out, &mut figures)?,
            "growth" => figures.add(growth(&options, out)?),
            options::ORDER => {
                let oxrun = options.runtimes.iter().find(|r| r.name == "oxrun").ok_or("there is no oxrun")?;
                order::print(&Session::new(options.view)?, oxrun)?;
            }
            "facts" => figures.add(facts::print(&options.runtimes, options.view)?),
            "parallel" => {
                let session = Session::new(options.view)?;
                figures.add(parallel::print(&session, &options.runtimes, options.extent.rounds.clamp(1, 3))?);
            }
            _ => {
                let session = Session::new(options.view)?;
                figures.add(embed::print(&session, options.n)?);
            }
        }
    }
    write(options.out.as_deref(), "figures.csv", &figures.csv())?;
    let budgets = budgets::text(&figures);
    if !budgets.is_empty() {
        print!("\n{budgets}");
        write(options.out.as_deref(), "budgets.txt", &budgets)?;
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(dir: Option<&Path>, name: &str, text: &str) -> Result<()> {
    match dir {
        Some(dir) => Ok(std::fs::write(dir.join(name), text)?),
        None => Ok(()),
    }
}

/// Returns the number of failures.
fn lifecycle(options: &Options, out: Option<&Path>, figures: &mut Figures) -> Result<usize> {
    let session = Session::new(options.view)?;
    println!("\n{}, {} iterations", session.layout.describe(), options.n);
    let results = lifecycle::measure(&session, &options.runtimes, &options.ops, options.n)?;
    print!("{}", table::text(&options.runtimes, &results.samples));
    for note in &results.notes {
        println!("{note}");
    }
    let found = table::figures(&options.runtimes, &results.samples);
    write(out, "raw.csv", &table::raw(&options.runtimes, &results.samples))?;
    // The picture begins with what it is about.
    let mut names: Vec<String> = options.runtimes.iter().map(|runtime| runtime.name.clone()).collect();
    names.sort_by_key(|name| name != "oxrun");
    if let Some(picture) = svg::bars(&found, &names) {
        write(out, "lifecycle.svg", &picture)?;
    }
    figures.add(found);
    Ok(results.failures)
}

fn growth(options: &Options, out: Option<&Path>) -> Result<Figures> {
    let session = Session::new(options.view)?;
    let growth = growth::measure(&session, &options.runtimes, options.extent)?;
    growth.print();
    write(out, "growth.csv", &growth.csv())?;
    if let Some(picture) = svg::curves(&growth.lines()) {
        write(out, "growth.svg", &picture)?;
    }
    Ok(growth.figures())
}
