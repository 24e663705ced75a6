//! Compilers of others as judges of ours. `oracle seccomp` compares every decision of our filters
//! with those of libseccomp's and seccompiler's filters, for profiles of real engines and for random
//! ones, and with a reading of the profile word by word. Only differences of a few stated kinds are
//! meant; each other one is a mistake.

mod calls;
mod kinds;
mod libseccomp;
mod names;
mod profile;
mod random;
mod seccompiler;
mod times;
mod vectors;

use kinds::{Judge, Kind};
use libseccomp::Libseccomp;
use names::Names;
use oxrun_conformance::{Check, Failed, check};
use oxrun_core::seccomp::{Arch, Call, Insn, Program, compile, evaluate};
use profile::Profile;
use random::Numbers;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use vectors::{Decision, Vectors};

/// Profiles that the library's tests have as files too.
const KEPT: [&str; 4] = ["docker20-run-fg", "docker20-seccomp", "docker28-run-fg", "podman43-run-fg"];

/// What is measured.
const MEASURED: &str = "docker28-run-fg";

/// How libseccomp optimises by default.
const LEVEL: u32 = 1;

/// Options of the command.
struct Options {
    /// The directory of real configs.
    corpus: PathBuf,
    /// How many random profiles.
    random: usize,
    /// Where libseccomp is kept.
    directory: PathBuf,
    /// Where the vectors go.
    record: Option<PathBuf>,
}

/// Runs the oracle named in `args`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    match parse(args).and_then(|options| seccomp(&options)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("oxrun-conformance oracle: {}", error.message().unwrap_or("failed"));
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Check<Options> {
    use lexopt::prelude::*;
    let mut options = Options {
        corpus: Path::new(env!("CARGO_MANIFEST_DIR")).join("data/corpus"),
        random: 10_000,
        directory: std::env::temp_dir().join("oxrun-oracle-libseccomp"),
        record: None,
    };
    let mut parser = lexopt::Parser::from_args(args);
    check!(parser.next()? == Some(Value("seccomp".into())), "the only oracle is seccomp");
    while let Some(argument) = parser.next()? {
        match argument {
            Long("corpus") => options.corpus = parser.value()?.into(),
            Long("random") => options.random = parser.value()?.parse()?,
            Long("directory") => options.directory = parser.value()?.into(),
            Long("record") => options.record = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

/// What was compared, and how it went.
#[derive(Default)]
struct Count {
    profiles: usize,
    /// Profiles that libseccomp refuses, by its answer.
    refused: BTreeMap<String, usize>,
    calls: usize,
    kinds: BTreeMap<Kind, usize>,
    /// Profiles that seccompiler can express, and the calls compared with it.
    second: (usize, usize),
    mistakes: usize,
    /// The profiles with a mistake, by their number.
    wrong: BTreeSet<usize>,
}

/// Compares everything; the number of mistakes.
fn seccomp(options: &Options) -> Check<usize> {
    let mut library = Libseccomp::start(&options.directory)?;
    println!("libseccomp {} ({})", library.version, library.package);
    let names = Names::read(&mut library)?;
    let (lines, mut mistakes) = names.compare();
    lines.iter().for_each(|line| println!("names of {line}"));

    let mut vectors = Vectors::default();
    let mut count = Count::default();
    let corpus = corpus(&options.corpus)?;
    for (file, text) in &corpus {
        for native in natives(&names) {
            let text = &elsewhere(text, native);
            let decisions = compare(&mut library, &names, text, native, Some(file), &mut count)?;
            let kept = KEPT.contains(&file.as_str()) && native == Arch::X86_64;
            if kept || file == MEASURED && native == Arch::Aarch64 {
                vectors.all(native, file, &decisions);
            }
        }
    }
    mistakes += print("profiles of engines", &count);

    let mut numbers = Numbers(1);
    let mut count = Count::default();
    for native in natives(&names).cycle() {
        if count.profiles >= options.random {
            break;
        }
        let text = random::profile(&mut numbers, &names, native);
        let decisions = compare(&mut library, &names, &text, native, None, &mut count)?;
        vectors.some(native, &text, &decisions, &mut Numbers(count.profiles as u64));
    }
    mistakes += print("random profiles", &count);

    if let Some((_, text)) = corpus.iter().find(|(file, _)| file == MEASURED) {
        mistakes += control(&names, text)?;
        times::print(&mut library, MEASURED, text)?;
    }
    if let Some(file) = &options.record {
        let date = Command::new("date").args(["-u", "-I"]).output()?.stdout;
        vectors.write(file, &library, String::from_utf8_lossy(&date).trim())?;
    }
    println!("{mistakes} mistakes");
    Ok(mistakes)
}

/// Whether the calls notice a mistake: every instruction of a filter is changed in turn, and some
/// call must be decided otherwise then. Returns how many changes go unnoticed.
fn control(names: &Names, text: &Value) -> Check<usize> {
    let profile = Profile::read(text)?;
    let program = compile(&serde_json::from_value(text.clone())?, Arch::X86_64)?;
    let calls = calls::calls(&profile, &program.archs, names, true);
    let decisions = calls.iter().map(|call| decide(&program.insns, call)).collect::<Check<Vec<u32>>>()?;
    let (mut changes, mut unnoticed) = (0, 0);
    for at in 0..program.insns.len() {
        for change in [|i: &mut Insn| i.k ^= 1, |i: &mut Insn| std::mem::swap(&mut i.jt, &mut i.jf)] {
            let mut insns = program.insns.clone();
            change(&mut insns[at]);
            if insns == program.insns {
                continue;
            }
            changes += 1;
            let same = |(call, decision): (&Call, &u32)| evaluate(&insns, call) == Some(*decision);
            if calls.iter().zip(&decisions).all(same) {
                unnoticed += 1;
                println!("UNNOTICED: instruction {at} changed to {:?}", insns[at]);
            }
        }
    }
    println!("{changes} changes of single instructions, {unnoticed} unnoticed");
    Ok(unnoticed)
}

/// The profile as an engine writes it on a machine of an architecture. Those of PCs list their own architectures.
fn elsewhere(text: &Value, native: Arch) -> Value {
    let mut text = text.clone();
    if !matches!(native, Arch::X86_64 | Arch::X86 | Arch::Aarch64 | Arch::Arm) {
        text["architectures"] = Value::Array(vec![native.name().into()]);
    }
    text
}

/// The architectures that can be a machine's own.
fn natives(names: &Names) -> impl Iterator<Item = Arch> + Clone + '_ {
    names.archs.iter().copied().filter(|arch| *arch != Arch::X32)
}

/// The different profiles of the configs in a directory, with the name of the first file of each
/// and the measured and kept ones first.
fn corpus(directory: &Path) -> Check<Vec<(String, Value)>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|file| (!KEPT.contains(&name(file).unwrap_or_default().as_str()), file.clone()));
    let mut profiles: Vec<(String, Value)> = Vec::new();
    for file in files {
        let Some(name) = name(&file) else {
            continue;
        };
        let config: Value = serde_json::from_slice(&fs::read(file)?)?;
        let profile = &config["linux"]["seccomp"];
        if !profile.is_null() && !profiles.iter().any(|(_, known)| known == profile) {
            profiles.push((name, profile.clone()));
        }
    }
    Ok(profiles)
}

fn name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_string_lossy().into_owned();
    name.strip_suffix(".config.json").map(str::to_owned)
}

/// Compares the filters of a profile on a machine of an architecture. Returns the decisions, none if
/// libseccomp refuses the profile.
fn compare(
    library: &mut Libseccomp,
    names: &Names,
    text: &Value,
    native: Arch,
    file: Option<&str>,
    count: &mut Count,
) -> Check<Vec<Decision>> {
    let profile = Profile::read(text)?;
    let program = compile(&serde_json::from_value(text.clone())?, native)?;
    let filter = match library.compile(&profile, &program.archs, LEVEL)? {
        Ok(filter) => filter,
        Err(refused) => {
            *count.refused.entry(refused.0).or_default() += 1;
            return Ok(Vec::new());
        }
    };
    count.profiles += 1;
    let judge = Judge { profile: &profile, names, archs: &program.archs };
    let mut decisions = Vec::new();
    let calls = calls::calls(&profile, &program.archs, names, file.is_some());
    for call in &calls {
        let (theirs, ours) = (decide(&filter.insns, call)?, decide(&program.insns, call)?);
        let meant = judge.meant(call);
        if ours != meant {
            mistake(count, (file, native, text), "meant", call, [ours, meant]);
        }
        let kind = if theirs == ours { None } else { judge.kind(call, theirs, &filter.insns) };
        match kind {
            Some(kind) => *count.kinds.entry(kind).or_default() += 1,
            None if theirs == ours => {}
            None => mistake(count, (file, native, text), "libseccomp", call, [ours, theirs]),
        }
        decisions.push(Decision { call: *call, theirs, ours: kind.map(|kind| (kind, ours)) });
    }
    count.calls += calls.len();
    second(&judge, &program, &calls, (file, native, text), count)?;
    Ok(decisions)
}

/// Compares with seccompiler the calls of the native architecture.
fn second(judge: &Judge<'_>, program: &Program, calls: &[Call], from: From<'_>, count: &mut Count) -> Check {
    let native = from.1;
    let Some(filter) = seccompiler::compile(judge.profile, native, judge.names) else {
        return Ok(());
    };
    count.second.0 += 1;
    for call in calls.iter().filter(|call| judge.arch(call) == Some(native)) {
        count.second.1 += 1;
        let (theirs, ours) = (decide(&filter, call)?, decide(&program.insns, call)?);
        if theirs != ours && judge.kind(call, theirs, &filter) != Some(Kind::Newer) {
            mistake(count, from, "seccompiler", call, [ours, theirs]);
        }
    }
    Ok(())
}

fn decide(insns: &[Insn], call: &Call) -> Check<u32> {
    evaluate(insns, call).ok_or_else(|| Failed::from("a filter without a decision"))
}

/// The file of a profile, if it has one, the native architecture, and the profile.
type From<'a> = (Option<&'a str>, Arch, &'a Value);

fn mistake(
    count: &mut Count,
    (file, native, text): From<'_>,
    who: &str,
    call: &Call,
    [ours, theirs]: [u32; 2],
) {
    count.mistakes += 1;
    let new = count.wrong.insert(count.profiles);
    if new && count.wrong.len() <= 10 {
        let file = file.unwrap_or("random");
        println!("DIFFERENT: {file} on {}: {ours:#x}, {who} {theirs:#x}, for {call:x?}", native.name());
        if file == "random" {
            println!("  {text}");
        }
    }
}

/// Prints what was counted; the number of mistakes.
fn print(what: &str, count: &Count) -> usize {
    println!(
        "{what}: {} compared with libseccomp, {} calls, {} mistakes",
        count.profiles, count.calls, count.mistakes
    );
    for kind in Kind::ALL {
        println!("  {}: {}", kind.name(), count.kinds.get(&kind).unwrap_or(&0));
    }
    for (answer, times) in &count.refused {
        println!("  refused by libseccomp ({answer}): {times}");
    }
    println!("  {} compared with seccompiler, {} calls", count.second.0, count.second.1);
    count.mistakes
}
