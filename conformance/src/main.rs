//! `oxrun-conformance` runs the suites that are more than a `cargo test`. Each prints what it does
//! line by line, ends with its counts, and exits with 0 only if nothing failed.

mod fields;
mod oracle;

use std::process::ExitCode;

const USAGE: &str = "usage: oxrun-conformance hostile [--runtime PATH] [--controls] [T1 T4 ...]
       oxrun-conformance engines ...
       oxrun-conformance diagnosis [--runtime PATH] [--peer NAME=PATH ...]
       oxrun-conformance faults [--runtime PATH] [--every N] [--first N] [--only CALL] [--list]
                                [--table FILE] [OPERATION...]
       oxrun-conformance fields [--mutants] [--rows FILE] [--only TEXT] [--random COUNT --seed NUMBER]
       oxrun-conformance oracle seccomp [--corpus DIR] [--random N] [--directory DIR]
                                        [--record FILE]
       oxrun-conformance runtime-tools DIR [--runtime PATH] [NAME ...]
       oxrun-conformance spec [--runtime PATH] [--mutants] [--json FILE] [--junit FILE] [--tap FILE]
       oxrun-conformance vm ...";

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (name, rest) = match args.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("--help", [].as_slice()),
    };
    match name {
        "hostile" => oxrun_conformance::hostile::run(rest),
        "engines" => oxrun_conformance::engines::run(rest),
        "diagnosis" => oxrun_conformance::diagnosis::run(rest),
        "faults" => oxrun_conformance::faults::run(rest),
        "fields" => fields::run(rest),
        "oracle" => oracle::run(rest),
        "runtime-tools" => oxrun_conformance::runtime_tools::run(rest),
        "spec" => oxrun_conformance::spec::run(rest),
        "vm" => oxrun_conformance::vm::run(rest),
        "--help" | "-h" | "help" => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("oxrun-conformance: unknown command {name:?}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
