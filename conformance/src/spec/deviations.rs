//! What a runtime is known to do otherwise, with the reason. A listed deviation that is gone is a failure too, so
//! that the list stays true.

use super::case::Case;
use crate::{Check, Failed, check};
use serde::Deserialize;
use std::path::Path;

/// The list that comes with the suite.
const OWN: &str = include_str!("../../data/spec/deviations.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What the first line of `--version` starts with.
    runtime: String,
    /// The cases: a name, or the start of several up to a `*`.
    cases: Vec<String>,
    /// Why.
    why: String,
}

/// The deviations of one runtime.
pub(super) struct Deviations(Vec<Entry>);

impl Deviations {
    /// Reads the list, or another.
    pub(super) fn read(file: Option<&Path>, version: &str) -> Check<Self> {
        let text = match file {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|e| Failed::from(format!("{}: {e}", file.display())))?
            }
            None => OWN.to_owned(),
        };
        let mut list: Vec<Entry> = serde_json::from_str(&text)?;
        list.retain(|entry| version.starts_with(&entry.runtime));
        Ok(Self(list))
    }

    /// Why this case may fail.
    pub(super) fn why(&self, case: &str) -> Option<&str> {
        let entry = self.0.iter().find(|entry| entry.cases.iter().any(|name| is_meant(name, case)))?;
        Some(&entry.why)
    }

    /// Fails if a name in the list is none of a case.
    pub(super) fn all_exist(&self, cases: &[Case]) -> Check {
        for name in self.0.iter().flat_map(|entry| &entry.cases) {
            check!(cases.iter().any(|case| is_meant(name, &case.name)), "no case is called {name:?}");
        }
        Ok(())
    }
}

fn is_meant(name: &str, case: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => case.starts_with(start),
        None => name == case,
    }
}
