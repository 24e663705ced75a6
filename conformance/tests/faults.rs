//! docs/faults.md says what the matrix of faults lets pass, and names tests that there are. Needs no root.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, check, faults};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn here(name: &str) -> Check<String> {
    Ok(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))?)
}

fn the_document_is_what_the_tool_allows() -> Check {
    faults::is_up_to_date(&here("../docs/faults.md")?)
}

fn a_document_that_says_something_else_is_noticed() -> Check {
    let text = here("../docs/faults.md")?;
    let changes = [
        ("| create | ", "| create | 1"),
        ("| create | ", "| creation | "),
        ("a kernel without keyrings", "a kernel with keyrings"),
        ("| ENOSYS |", "| EPERM |"),
        ("it is made again |", "it is made once more |"),
        ("| the descriptor is closed |", "| it is made again |"),
        ("## Faults that are no single call", "## Other faults"),
    ];
    for (from, to) in changes {
        check!(text.contains(from), "{from:?} is not in the document");
        check!(faults::is_up_to_date(&text.replacen(from, to, 1)).is_err(), "{to:?} is not noticed");
    }
    Ok(())
}

fn the_tests_of_other_faults_are_there() -> Check {
    for (file, test) in faults::other_tests() {
        let text = here(&format!("tests/{file}.rs"))?;
        check!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        check!(text.matches(test).count() > 1, "{test} is not run");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(Trial::test(stringify!($name), $name)),*] };
    }
    run(tests![
        the_document_is_what_the_tool_allows,
        a_document_that_says_something_else_is_noticed,
        the_tests_of_other_faults_are_there,
    ])
}
