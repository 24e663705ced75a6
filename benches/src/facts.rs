//! What one look at a runtime tells: size, syscalls, memory of a created container, the least memory
//! limit. What must hold: each figure comes from a run that succeeded; a dash and a note say why one
//! is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::bundle::Change;
use crate::figures::Figures;
use crate::process::Init;
use crate::session::{Op, Runtime, Session};
use crate::view::View;
use crate::{Result, sys, table};

/// Steps of the search for the least limit, and where it begins.
const STEP: u64 = 16 * 1024;
const MOST: u64 = 16 * 1024 * 1024;

/// The columns, each with the name of its figure.
const COLUMNS: [(&str, &str); 14] = [
    ("runtime", ""),
    ("binary", "binary_mb"),
    ("linked", ""),
    ("syscalls", "syscalls"),
    ("tasks", "tasks"),
    ("execs", "execs"),
    ("peak_kib", "peak_kib"),
    ("pss_kib", "pss_kib"),
    ("anon", "pss_anon_kib"),
    ("file", "pss_file_kib"),
    ("shmem", "pss_shmem_kib"),
    ("threads", "threads"),
    ("least_create", "least_create_kib"),
    ("least_run", "least_run_kib"),
];

/// Prints the table; returns the figures.
pub(crate) fn print(runtimes: &[Runtime], view: View) -> Result<Figures> {
    let mut notes = Vec::new();
    let mut lines: Vec<Vec<String>> = vec![COLUMNS.map(|(title, _)| title.to_owned()).to_vec()];
    let session = Session::new(view)?;
    println!("\n{}", session.layout.describe());
    for runtime in runtimes {
        let mut line = vec![runtime.name.clone()];
        line.extend(binary(&runtime.program)?);
        session.make_bundles(runtime, Change::None)?;
        line.extend(or_dashes(syscalls(&session, runtime), runtime, "syscalls", &mut notes));
        line.extend(or_dashes(peak(&session, runtime), runtime, "peak", &mut notes));
        line.extend(or_dashes(created(&session, runtime), runtime, "memory", &mut notes));
        lines.push(line);
    }
    let memory_view = match &session.layout.v2 {
        Some(point) if has_memory(point) => view,
        _ => View::V1,
    };
    drop(session);
    let session = Session::new(memory_view)?;
    notes.push(format!("least limits: {}, steps of {} KiB", session.layout.describe(), STEP / 1024));
    for (runtime, line) in runtimes.iter().zip(&mut lines[1..]) {
        for op in [Op::Create, Op::Run] {
            let what = format!("least limit of {}", op.name());
            let least = least_limit(&session, runtime, op).map(|kib| [format!("{kib} KiB")]);
            line.extend(or_dashes(least, runtime, &what, &mut notes));
        }
    }
    print!("{}", table::aligned(&lines, 1, false));
    for note in notes {
        println!("{note}");
    }
    let mut figures = Figures::default();
    for line in &lines[1..] {
        for ((_, kind), cell) in COLUMNS.iter().zip(line).filter(|((_, kind), _)| !kind.is_empty()) {
            // The number stands before its unit; "<= 2000" is no figure.
            let Some(Ok(value)) = cell.split(' ').next().map(str::parse) else { continue };
            figures.set("facts", &line[0], kind, value);
            if *kind == "syscalls" {
                figures.set(&format!("run in {view}"), &line[0], kind, value);
            }
        }
    }
    Ok(figures)
}

/// The most memory that a run had resident, without init: the largest of the runtime's processes.
fn peak(session: &Session, runtime: &Runtime) -> Result<[String; 1]> {
    let mut command = session.bare(&std::env::current_exe()?);
    command.arg("peak").arg(&runtime.program);
    session.arguments(runtime, Op::Run, "true", &mut command);
    let said = session.runner.output(&mut command);
    if said.is_err() || session.left_behind(runtime).is_some() {
        session.force_clean(runtime);
    }
    Ok([said?.trim().to_owned()])
}

/// What the program does for that: runs the command, and prints the peak. This process is new and small,
/// because its own peak is the least that can be told.
pub(crate) fn print_peak(words: &[String]) -> Result<()> {
    let (program, words) = words.split_first().ok_or("peak takes a command")?;
    let own = sys::peak_kib()?;
    let child =
        std::process::Command::new(program).args(words).stdout(std::process::Stdio::null()).spawn()?;
    let pid = i32::try_from(child.id())?;
    let pidfd = sys::pidfd_open(pid)?;
    let reaped = loop {
        match sys::reap(pid) {
            Some(reaped) => break reaped,
            None => drop(sys::poll(&[&pidfd], crate::process::TIMEOUT)?),
        }
    };
    if reaped.status != 0 {
        return Err(format!("status {:#x}", reaped.status).into());
    }
    let small = reaped.peak_kib <= own + own / 8;
    println!("{}{}", if small { "<= " } else { "" }, reaped.peak_kib);
    Ok(())
}

fn or_dashes<const N: usize>(
    cells: Result<[String; N]>,
    runtime: &Runtime,
    what: &str,
    notes: &mut Vec<String>,
) -> [String; N] {
    cells.unwrap_or_else(|e| {
        notes.push(format!("{} {what}: {e}", runtime.name));
        [const { String::new() }; N].map(|_| "-".to_owned())
    })
}

fn has_memory(v2: &Path) -> bool {
    fs::read_to_string(v2.join("cgroup.controllers"))
        .is_ok_and(|list| list.split_whitespace().any(|word| word == "memory"))
}

/// Size, and whether the kernel has to load an interpreter.
fn binary(path: &Path) -> Result<[String; 2]> {
    let bytes = fs::read(path)?;
    let half = |at: usize| bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    // e_phentsize and e_phnum; the table follows the header in every linker's output.
    let interpreter = (0..usize::from(half(56))).any(|i| half(64 + i * usize::from(half(54))) == 3);
    let linked = if interpreter { "dynamic" } else { "static" };
    Ok([format!("{:.2} MB", bytes.len() as f64 / 1e6), linked.to_owned()])
}

/// Syscalls, tasks and execs of a run, by strace; not of the first one, which may prepare something for those after it.
fn syscalls(session: &Session, runtime: &Runtime) -> Result<[String; 3]> {
    let mut warm_up = session.bare(&runtime.program);
    session.arguments(runtime, Op::Run, "true", &mut warm_up);
    session.runner.run(&mut warm_up, None)?;
    let trace = session.scratch.join("trace");
    let mut command = session.bare(Path::new("strace"));
    command.args(["-f", "-o"]).arg(&trace).arg(&runtime.program);
    session.arguments(runtime, Op::Run, "true", &mut command);
    let outcome = session.runner.run(&mut command, None)?;
    if let Some(fault) = outcome.fault.or_else(|| session.left_behind(runtime)) {
        session.force_clean(runtime);
        return Err(fault.into());
    }
    let text = String::from_utf8_lossy(&fs::read(&trace)?).into_owned();
    let (mut calls, mut tasks, mut execs) = (0, BTreeSet::new(), 0);
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        tasks.insert(pid.to_owned());
        if rest.contains("execve") && rest.trim_end().ends_with("= 0") {
            execs += 1;
        }
        if !["<...", "+++", "---"].iter().any(|mark| rest.starts_with(mark)) {
            calls += 1;
        }
    }
    Ok([calls.to_string(), tasks.len().to_string(), execs.to_string()])
}

/// Memory of the init of a created container.
fn created(session: &Session, runtime: &Runtime) -> Result<[String; 5]> {
    if runtime.floor {
        return Err("has no create".into());
    }
    let outcome = session.runner.run(&mut session.command(runtime, Op::Create), None)?;
    let result = match outcome.fault {
        Some(fault) => Err(fault.into()),
        None => Init::from_pid_file(&session.pid_file(runtime)).and_then(|init| {
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", init.pid))?;
            let status = fs::read_to_string(format!("/proc/{}/status", init.pid))?;
            let field = |text: &str, name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                let value = line.and_then(|line| line.split_whitespace().next());
                value.unwrap_or("-").to_owned()
            };
            Ok([
                field(&rollup, "Pss"),
                field(&rollup, "Pss_Anon"),
                field(&rollup, "Pss_File"),
                field(&rollup, "Pss_Shmem"),
                field(&status, "Threads"),
            ])
        }),
    };
    session.force_clean(runtime);
    result
}

/// The least memory limit in KiB with which `op` succeeds twice.
fn least_limit(session: &Session, runtime: &Runtime, op: Op) -> Result<u64> {
    if runtime.floor {
        return Err("sets no limit".into());
    }
    let works = |limit: u64| -> Result<Option<String>> {
        for _ in 0..2 {
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            session.make_bundles(runtime, Change::Memory(limit))?;
            let outcome = session.runner.run(&mut session.command(runtime, op), None)?;
            let mut fault = outcome.fault;
            if fault.is_none() && op == Op::Create {
                let alive = Init::from_pid_file(&session.pid_file(runtime));
                fault = alive.and_then(|init| init.cpu()).err().map(|e| e.to_string());
            }
            session.force_clean(runtime);
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(None)
    };
    if let Some(fault) = works(MOST)? {
        return Err(format!("not with {} KiB either: {fault}", MOST / 1024).into());
    }
    let (mut fails, mut succeeds) = (0, MOST / STEP);
    while succeeds - fails > 1 {
        let middle = (fails + succeeds) / 2;
        if works(middle * STEP)?.is_none() {
            succeeds = middle;
        } else {
            fails = middle;
        }
    }
    Ok(succeeds * STEP / 1024)
}
