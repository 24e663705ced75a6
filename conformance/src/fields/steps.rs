//! What planning makes of a field: the steps that a plan with it has and a plan without it has not.

use super::rows::Row;
use oxrun_conformance::harness::Config;
use oxrun_conformance::{Check, Failed, check};
use oxrun_core::plan::{self, Step};
use oxrun_core::{Bundle, CreateOptions, Error, HostFacts, Plan};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// How many steps are written out.
const SHOWN: usize = 3;
/// How long the words of one may be.
const WIDTH: usize = 90;

/// What planning makes of a field on one host.
#[derive(PartialEq, Eq)]
pub(super) enum Made {
    /// These steps, or parts of the plan that are none.
    Steps(Vec<String>),
    /// Nothing at all.
    Nothing,
    /// An error.
    Refused(String),
}

/// Recorded hosts by the name of their cgroups' layout.
pub(super) fn hosts() -> Check<Vec<(&'static str, HostFacts)>> {
    let read = |name| -> Check<_> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-core/tests/plans");
        let text = fs::read_to_string(directory.join(format!("{name}.facts.json")))?;
        Ok((name, serde_json::from_str(&text)?))
    };
    Ok(vec![read("v1")?, read("v2")?])
}

fn planned(config: &Config, facts: &HostFacts) -> Result<Plan, Error> {
    let bundle = Bundle::from_json(config.text().as_bytes())?;
    plan::plan("c1", &bundle, facts, &CreateOptions::default())
}

/// What planning makes of a row's field on a host.
pub(super) fn made(row: &Row, base: &Config, facts: &HostFacts) -> Check<Made> {
    let (example, facts) = (row.example(base), &row.host(facts)?);
    let without = row.without(&example);
    check!(without.text() != example.text(), "{}: the example has no such field", row.field);
    let with = match planned(&example, facts) {
        Ok(plan) => plan,
        Err(error) => return Ok(Made::Refused(error.to_string())),
    };
    let lines = lines(&with);
    let (steps, rest) = match planned(&without, facts) {
        Ok(without) => (added(&with, &without), others(&with, &without)?),
        // The field cannot be left out: what is there comes from it.
        Err(_) => ((0..with.steps.len()).collect(), Vec::new()),
    };
    let places = row.at.as_ref().map_or_else(|| example.places(&row.field), |at| vec![at.clone()]);
    let is_own = |at: &usize| places.iter().any(|place| touches(place, &with.steps[*at].field));
    let own: Vec<usize> = steps.iter().copied().filter(is_own).collect();
    let steps = if own.is_empty() && steps.len() < with.steps.len() { steps } else { own };
    let count = steps.len();
    let mut found: Vec<String> = steps.into_iter().take(SHOWN).map(|at| lines[at].clone()).collect();
    if count > SHOWN {
        found.push(format!("and {} more", count - SHOWN));
    }
    if found.is_empty() {
        found = rest;
    }
    Ok(if found.is_empty() { Made::Nothing } else { Made::Steps(found) })
}

/// The places of steps that the second plan has not.
fn added(with: &Plan, without: &Plan) -> Vec<usize> {
    let mut left: Vec<&Step> = without.steps.iter().collect();
    let mut added = Vec::new();
    for (at, step) in with.steps.iter().enumerate() {
        // A field's place in a list may have changed, what is done has not.
        let same = |other: &&Step| other.lane == step.lane && other.action == step.action;
        match left.iter().position(same) {
            Some(place) => drop(left.remove(place)),
            None => added.push(at),
        }
    }
    if added.is_empty() && !left.is_empty() {
        // The field takes something away: what stands for it then is what is done in the place of that.
        let same = |(a, b): (&Step, &Step)| a.action == b.action;
        added.extend(with.steps.iter().zip(&without.steps).position(|pair| !same(pair)));
    }
    added
}

/// What of a plan is no step and differs: warnings, hooks for later, what the state keeps.
fn others(with: &Plan, without: &Plan) -> Check<Vec<String>> {
    let (a, b) = (serde_json::to_value(with)?, serde_json::to_value(without)?);
    let Value::Object(a) = a else {
        return Err(Failed::from("a plan is no object"));
    };
    let differs = a.iter().filter(|(key, value)| *key != "steps" && b.get(*key) != Some(value));
    let told = differs.map(|(key, value)| match key.as_str() {
        "warnings" => with
            .warnings()
            .iter()
            .filter(|w| !without.warnings().contains(w))
            .map(|w| format!("warning: {}", w.message))
            .collect::<Vec<_>>()
            .join("; "),
        "later_hooks" => {
            value[0]["name"].as_str().map_or_else(String::new, |name| format!("kept for later: {name} hooks"))
        }
        other => format!("kept: {}", other.replace('_', " ")),
    });
    Ok(told.filter(|text| !text.is_empty()).collect())
}

/// The steps as they are printed, without number and field.
fn lines(plan: &Plan) -> Vec<String> {
    let text = plan.to_string();
    let cut = |(line, step): (&str, &Step)| {
        let line = line.trim_start().split_once(' ').map_or(line, |(_, rest)| rest);
        let line = line.strip_suffix(step.field.as_str()).unwrap_or(line);
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    };
    text.lines().skip(1).zip(&plan.steps).map(cut).collect()
}

/// Whether one of two pointers leads to the other.
fn touches(a: &str, b: &str) -> bool {
    let below = |whole: &str, start: &str| {
        whole.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(a, b) || below(b, a)
}
