//! Descriptors that the caller leaves open. The payload must have none of them, and the first
//! process of a created container must hold nothing through which the host could be reached.

use super::canary::Canary;
use super::{Attack, Control, Judge, Outcome, Run};
use crate::Check;
use crate::harness::{Config, Sandbox};
use crate::sys::Inherited;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;

const REPORT: &[&str] = &["/bin/probe", "report"];

pub(super) fn attacks() -> Vec<Attack> {
    let attack = |name, variant, run: Run, judge: Judge| {
        super::attack(name, variant, run, judge, Control::Bad("leak"))
    };
    vec![
        attack("T4", "the caller leaks descriptor 17", one_leaked, closed),
        attack("T16", "the payload lists its descriptors", many_leaked, only_standard),
        attack("T16", "the payload lists its descriptors, two preserved", preserved, only_preserved),
        attack("T16", "init holds nothing of the host while created", created, only_own),
    ]
}

fn run(sandbox: &Sandbox, options: &[&str]) -> Check<Outcome> {
    let bundle = sandbox.bundle(&Config::new(REPORT))?;
    let path = bundle.path().to_string_lossy();
    let words = [&["run", "--bundle", path.as_ref()], options, &["victim"]].concat();
    Outcome::of(sandbox.runtime().call(&words)?)
}

pub(super) fn leak(canary: &Canary, numbers: &[i32]) -> Check<Vec<Inherited>> {
    let open = |number: &i32| Inherited::open(canary.path(), *number);
    Ok(numbers.iter().map(open).collect::<Result<_, _>>()?)
}

fn one_leaked(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    let _leaked = leak(canary, &[17])?;
    run(sandbox, &[])
}

fn many_leaked(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    let _leaked = leak(canary, &[3, 4, 9, 17, 200])?;
    run(sandbox, &[])
}

fn preserved(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    let _leaked = leak(canary, &[3, 4, 5, 17])?;
    run(sandbox, &["--preserve-fds", "2"])
}

/// None of these attacks is a reason to refuse: an ordinary caller leaks descriptors, too.
fn numbers(outcome: &Outcome) -> Result<BTreeSet<i32>, String> {
    if let Some(refusal) = &outcome.refusal {
        return Err(format!("refused: {}", refusal.stderr.trim_end()));
    }
    let open = outcome.seen()?["fds"].as_object().ok_or("no descriptors in the report")?;
    Ok(open.keys().filter_map(|key| key.parse().ok()).collect())
}

fn closed(outcome: &Outcome) -> Result<(), String> {
    if numbers(outcome)?.contains(&17) {
        return Err("descriptor 17 is open in the payload".to_owned());
    }
    Ok(())
}

fn exactly(outcome: &Outcome, expected: &[i32]) -> Result<(), String> {
    let open = numbers(outcome)?;
    if open != expected.iter().copied().collect() {
        return Err(format!("the payload has the descriptors {open:?}"));
    }
    Ok(())
}

fn only_standard(outcome: &Outcome) -> Result<(), String> {
    exactly(outcome, &[0, 1, 2])
}

fn only_preserved(outcome: &Outcome) -> Result<(), String> {
    exactly(outcome, &[0, 1, 2, 3, 4])
}

fn created(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    let _leaked = leak(canary, &[17])?;
    let bundle = sandbox.bundle(&Config::new(REPORT))?;
    let runtime = sandbox.runtime();
    runtime.create(bundle.path(), "victim")?.success()?;
    let pid = runtime.pid("victim")?;
    let mut init = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let target = fs::read_link(&path)?.to_string_lossy().into_owned();
        // The start FIFO is told by its type, whatever its name.
        let fifo = fs::metadata(&path).is_ok_and(|meta| meta.file_type().is_fifo());
        let rootfs = target == "/" || target == bundle.rootfs().to_string_lossy();
        let kind = match () {
            () if fifo => "fifo".to_owned(),
            () if rootfs => "rootfs".to_owned(),
            () => target,
        };
        init.extend(number.map(|number| (number, kind)));
    }
    Ok(Outcome { init, ..Outcome::default() })
}

fn only_own(outcome: &Outcome) -> Result<(), String> {
    if outcome.init.len() < 3 {
        return Err("init has not even its standard descriptors".to_owned());
    }
    let foreign: Vec<String> = outcome
        .init
        .iter()
        .filter(|(number, kind)| {
            *number > 2 && kind != "fifo" && kind != "rootfs" && !kind.starts_with("socket:[")
        })
        .map(|(number, kind)| format!("{number} -> {kind}"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(format!("init holds {}", foreign.join(", ")))
}
