//! T3: the caller leaks a directory of the host and the working directory is its descriptor (CVE-2024-21626). From
//! there `.` and `..` are the host's.

use super::canary::Canary;
use super::descriptors::leak;
use super::{Attack, CRUN, Control, Outcome, attack};
use crate::harness::{Config, Sandbox};
use crate::{Check, check};

const REPORT: &[&str] = &["/bin/probe", "report", "--list", "."];
const NUMBERS: std::ops::RangeInclusive<i32> = 3..=15;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        attack("T3", "cwd is a descriptor that the caller leaks", created, inside, CRUN),
        attack(
            "T3",
            "cwd of exec is a descriptor that the caller leaks",
            joined,
            inside,
            Control::Bad("enter"),
        ),
    ]
}

/// Refused, or the working directory is one of the container.
fn inside(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let names = outcome.seen()?["list"]["."].as_array();
    match names.filter(|names| names.iter().any(|name| name == "secret")) {
        Some(names) => Err(format!("the payload's working directory is the host's: {names:?}")),
        None => Ok(()),
    }
}

/// Tries each number; the outcome is that of the last, or of the first that ended badly.
fn each(canary: &Canary, mut attempt: impl FnMut(&str, i32) -> Check<Outcome>) -> Check<Outcome> {
    // A number that is in use here cannot be leaked.
    let leaked: Vec<_> = NUMBERS.filter_map(|number| Some((number, leak(canary, &[number]).ok()?))).collect();
    let mut last = Outcome::default();
    for (number, _) in &leaked {
        let number = *number;
        last = attempt(&format!("/proc/self/fd/{number}"), number)?;
        if inside(&last).is_err() {
            break;
        }
    }
    check!(leaked.len() > 3, "too few descriptors are free");
    Ok(last)
}

fn created(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    each(canary, |cwd, number| {
        let bundle = sandbox.bundle(&Config::new(REPORT).set("/process/cwd", cwd))?;
        Outcome::of(sandbox.runtime().run(bundle.path(), &format!("victim-{number}"))?)
    })
}

fn joined(sandbox: &Sandbox, canary: &Canary) -> Check<Outcome> {
    sandbox.sleeper("victim", &Config::new(REPORT))?;
    each(canary, |cwd, _| {
        let words = [&["exec", "--cwd", cwd, "victim"], REPORT].concat();
        Outcome::of(sandbox.runtime().call(&words)?)
    })
}
