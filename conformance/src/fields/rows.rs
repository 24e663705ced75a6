//! The rows of the table: each field of the specification with the tests that show it. They are data,
//! `data/fields/rows.json`; what can be derived stands nowhere in it.

use oxrun_conformance::harness::Config;
use oxrun_conformance::{Check, Failed};
use oxrun_core::HostFacts;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// Fields that belong together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// Its heading.
    pub(super) title: String,
    /// Its fields.
    pub(super) rows: Vec<Row>,
}

/// One field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Which, as [`Config::without_field`] takes it.
    pub(super) field: String,
    /// What the example needs beside what it has, by pointer.
    #[serde(default)]
    with: Map<String, Value>,
    /// What the host has that the recorded ones have not.
    #[serde(default)]
    facts: Map<String, Value>,
    /// What a runtime that does not know the field reads there; none if it reads nothing.
    #[serde(default)]
    pub(super) instead: Option<Value>,
    /// The tests that show it: the program, a blank, the name. The program is a file of `conformance/tests`, or
    /// one of `runtime-core/src` with its directory.
    #[serde(default)]
    pub(super) tests: Vec<String>,
    /// The field that its steps name, where that is another.
    #[serde(default)]
    pub(super) at: Option<String>,
    /// How the host shows its cgroups to the tests, see `OXRUN_CGROUP_VIEW`.
    #[serde(default)]
    pub(super) view: Option<String>,
    /// How the tests call it, where that is not its last name.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// Why planning makes nothing of it.
    #[serde(default)]
    pub(super) nothing: Option<String>,
    /// What planning says as long as it does not take the field.
    #[serde(default)]
    pub(super) refused: Option<Refusal>,
    /// Where its tests run, if an ordinary host cannot show it.
    #[serde(default)]
    pub(super) elsewhere: Option<String>,
    /// Why a runtime that does not know it cannot be told from one that does.
    #[serde(default)]
    pub(super) unseen: Option<String>,
}

/// A field that is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    /// Part of the sentence.
    pub(super) says: String,
    /// The tests that show it.
    pub(super) tests: Vec<String>,
}

impl Row {
    /// How tests call it: its last name, or the value in it.
    pub(super) fn key(&self) -> &str {
        let last = |field| str::rsplit(field, '/').find(|name| *name != "*").unwrap_or_default();
        let name = self.key.as_deref().unwrap_or_else(|| last(self.field.as_str()));
        name.split_once('=').map_or(name, |(key, value)| if value.is_empty() { key } else { value })
    }

    /// The example with this field.
    pub(super) fn example(&self, base: &Config) -> Config {
        self.with.iter().fold(base.clone(), |config, (pointer, value)| match pointer.strip_suffix("/-") {
            Some(list) => config.push(list, value.clone()),
            None => config.set(pointer, value.clone()),
        })
    }

    /// The host that the row asks for.
    pub(super) fn host(&self, facts: &HostFacts) -> Check<HostFacts> {
        let mut value = serde_json::to_value(facts)?;
        for (key, fact) in &self.facts {
            value[key] = fact.clone();
        }
        Ok(serde_json::from_value(value)?)
    }

    /// The same for a runtime that does not know the field.
    pub(super) fn without(&self, config: &Config) -> Config {
        config.clone().without_field(&self.field, self.instead.as_ref())
    }
}

/// Reads the rows, or those of another file.
pub(super) fn read(file: Option<&Path>) -> Check<Vec<Section>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fields/rows.json");
    let file = file.unwrap_or(&own);
    let text = fs::read_to_string(file).map_err(|e| Failed::from(format!("{}: {e}", file.display())))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()).into())
}

/// The config that the fields are taken out of.
pub(super) fn example() -> Check<Config> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fields/example.json");
    Ok(Config::parse(&fs::read_to_string(file)?)?)
}
