//! The answers of several runtimes to every case, as Markdown.

use super::answer::{Answer, ask};
use super::case::{Case, End};
use super::cases::CASES;
use crate::harness::{self, Sandbox};
use crate::{Check, Failed, locate};
use lexopt::prelude::*;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: oxrun-conformance diagnosis [--runtime PATH] [--peer NAME=PATH ...]

Runs every config that cannot work with each runtime and prints the answers as Markdown. Fails if
an answer of the runtime lacks the pointer, the cause or the words that callers match.";

struct Options {
    runtime: Option<PathBuf>,
    peers: Vec<(String, PathBuf)>,
}

/// `oxrun-conformance diagnosis`.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    let made = options(args).and_then(|options| match options {
        None => {
            println!("{USAGE}");
            Ok(0)
        }
        Some(options) => {
            harness::isolate()?;
            table(&options)
        }
    });
    match made {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("oxrun-conformance: {}", failed.message().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Check<Option<Options>> {
    let mut options = Options { runtime: None, peers: Vec::new() };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => options.runtime = Some(locate::program(&parser.value()?.string()?)?),
            Long("peer") => {
                let value = parser.value()?.string()?;
                let (name, path) =
                    value.split_once('=').ok_or_else(|| Failed::from("--peer takes NAME=PATH"))?;
                options.peers.push((name.to_owned(), locate::program(path)?));
            }
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(Failed::from(format!("{}\n{USAGE}", arg.unexpected()))),
        }
    }
    Ok(Some(options))
}

/// Prints the table; how many answers of the runtime are not good.
fn table(options: &Options) -> Check<usize> {
    let runtime = match &options.runtime {
        Some(path) => path.clone(),
        None => locate::build("oxrun", "oxrun")?,
    };
    let probe = locate::sibling("oxrun-probe")?;
    print!("{}", head(options));
    let (mut shown, mut bad) = (0, 0);
    for case in CASES {
        println!("\n## {}: {}\n", shown + 1, case.defect);
        shown += 1;
        if let Some(why) = (case.missing)() {
            println!("Not shown here: {why}.");
            continue;
        }
        let answer = one(&runtime, &probe, case)?;
        if let Err(failed) = answer.is_good(case) {
            eprintln!("{}: {}", case.name, failed.message().unwrap_or_default());
            bad += 1;
        }
        print!("{}", own(&answer, case));
        for (name, path) in &options.peers {
            println!("- **{name}**: {}", peer(&one(path, &probe, case)?));
        }
    }
    println!("\n{shown} cases.");
    Ok(bad)
}

fn one(runtime: &Path, probe: &Path, case: &Case) -> Check<Answer> {
    let mut told = None;
    let ended = harness::guarded(|| {
        let s = Sandbox::with_runtime(probe, runtime)?;
        // Only ours is asked for warnings in a file: it writes none there by itself.
        let level: &[&str] = if s.runtime().is_oxrun() { &["--log-level", "warning"] } else { &[] };
        let mut answer = ask(&s, case, level)?;
        let dir = s.dir().to_string_lossy().into_owned();
        let plain = |text: &str| text.replace(&dir, "/b").replace(s.cgroup_prefix(), "case-");
        for said in &mut answer.said {
            said.message = plain(&said.message);
            said.hint = plain(&said.hint);
        }
        answer.output.stderr = plain(&answer.output.stderr);
        answer.left = answer.left.iter().map(|left| plain(left)).collect();
        told = Some(answer);
        Ok(())
    });
    match told {
        Some(told) => Ok(told),
        None => Err(ended.err().unwrap_or_else(|| Failed::from("no answer"))),
    }
}

fn head(options: &Options) -> String {
    let mut text = "# What a runtime answers to a config that cannot work\n\n\
        Made by `oxrun-conformance diagnosis`; the tests in `conformance/tests/diagnosis.rs` hold oxrun to it.\n\
        Each case is a foreground `run`. Of oxrun the field, the message and the hint of its log record are\n\
        shown; of the others the last error that they log, or else what they print. Paths of the bundle are\n\
        shortened to `/b`.\n"
        .to_owned();
    for (name, path) in &options.peers {
        text.push_str(&format!("\n- **{name}**: {}", harness::first_version_line(path)));
    }
    text.push_str("\n\n```sh\nOXRUN_CGROUP_VIEW=v2 cargo run -p oxrun-conformance -- diagnosis");
    for (name, _) in &options.peers {
        text.push_str(&format!(" --peer {name}=PATH"));
    }
    text.push_str("\n```\n");
    text
}

/// What oxrun says: pointer, sentence, hint.
fn own(answer: &Answer, case: &Case) -> String {
    let code = answer.output.code;
    let level = match case.end {
        End::Fails(_) => "error",
        End::Warns => "warning",
        End::Runs => return format!("- **oxrun**: runs it ({code})\n"),
    };
    let Some(said) = answer.last(level) else {
        return format!("- **oxrun**: {code}, nothing\n");
    };
    let mut text =
        format!("- **oxrun**: {level}, exit code {code}, `{}`\n  {}\n", said.field, code_span(&said.message));
    if !said.hint.is_empty() {
        text.push_str(&format!("  hint: {}\n", code_span(&said.hint)));
    }
    text
}

/// What another runtime says.
fn peer(answer: &Answer) -> String {
    let code = answer.output.code;
    let mut said: Vec<&str> = Vec::new();
    for level in ["error", "fatal", "warning"] {
        said.extend(answer.said.iter().filter(|s| s.level == level).map(|s| s.message.as_str()));
        if !said.is_empty() {
            break;
        }
    }
    if said.is_empty() {
        said = answer.output.stderr.lines().collect();
    }
    let mut text = match said.last() {
        Some(last) => format!("exit code {code}\n  {}", code_span(last)),
        None => format!("exit code {code}, not a word"),
    };
    let kinds = ["mount", "cgroup", "state directory", "process"];
    let left: Vec<&str> = kinds
        .into_iter()
        .filter(|kind| answer.left.iter().any(|l| l.starts_with(&format!("new {kind}"))))
        .collect();
    if !left.is_empty() {
        text.push_str(&format!("\n  and leaves behind: {}", left.join(", ")));
    }
    text
}

/// Text as it is: no character of it means anything to Markdown.
fn code_span(text: &str) -> String {
    let text = text.replace(['\n', '\t'], " ");
    match text.contains('`') {
        true => format!("`` {text} ``"),
        false => format!("`{text}`"),
    }
}
