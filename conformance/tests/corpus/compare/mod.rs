//! What a document says, against what was seen of its container. Each expectation is made from the document
//! alone; what was seen decides nothing but whether there is a difference. Differences are named by the field.

mod cgroup;
mod cgroup_v2;
mod mounts;
mod outside;
mod process;
mod rootfs;

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One thing that is not as the document says.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// The JSON pointer of the field, or what is not in the document in parentheses.
    pub(crate) field: String,
    expected: Value,
    found: Value,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: expected {}, found {}", self.field, self.expected, self.found)
    }
}

/// Everything that differs.
pub(crate) fn differences(document: &Value, seen: &Value) -> Vec<Difference> {
    Judge::of_container(document, seen).found
}

/// The fields that are compared.
pub(crate) fn fields(document: &Value, seen: &Value) -> BTreeSet<String> {
    Judge::of_container(document, seen).compared
}

/// What differs of a further process: its own part of a container.
pub(crate) fn process_differences(document: &Value, seen: &Value) -> Vec<Difference> {
    let mut judge = Judge::new(document, seen);
    judge.process();
    judge.found
}

/// What differs of the limits of a container.
pub(crate) fn limit_differences(document: &Value, seen: &Value) -> Vec<Difference> {
    let mut judge = Judge::new(document, seen);
    judge.limits();
    judge.equal("(warnings) of update", "", judge.saw("/update said").clone());
    judge.found
}

struct Judge<'a> {
    document: &'a Value,
    seen: &'a Value,
    compared: BTreeSet<String>,
    found: Vec<Difference>,
}

impl<'a> Judge<'a> {
    fn new(document: &'a Value, seen: &'a Value) -> Self {
        Self { document, seen, compared: BTreeSet::new(), found: Vec::new() }
    }

    fn of_container(document: &'a Value, seen: &'a Value) -> Self {
        let mut judge = Self::new(document, seen);
        judge.process();
        judge.mounts();
        judge.rootfs();
        judge.cgroup();
        judge.outside();
        judge
    }

    /// A field of the document, null if it is not there.
    fn field(&self, pointer: &str) -> &'a Value {
        self.document.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The members of a list in the document.
    fn list(&self, pointer: &str) -> &'a [Value] {
        self.field(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    fn saw(&self, pointer: &str) -> &'a Value {
        self.seen.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// What the probe saw at a place in the container.
    fn stat(&self, path: &str) -> &'a Value {
        &self.seen["report"]["stat"][path]
    }

    fn equal(&mut self, field: impl Into<String>, expected: impl Into<Value>, found: impl Into<Value>) {
        let (field, expected, found) = (field.into(), expected.into(), found.into());
        self.compared.insert(field.clone());
        if expected != found {
            self.found.push(Difference { field, expected, found });
        }
    }

    /// Whether a namespace of this type is in the list, and the path if it is joined.
    fn namespace(&self, kind: &str) -> Option<Option<&'a str>> {
        let entry = self.list("/linux/namespaces").iter().find(|entry| entry["type"] == kind)?;
        Some(entry["path"].as_str())
    }

    /// Whether the container has user ids of its own, by its document or by where the runtime runs.
    fn has_user_namespace(&self) -> bool {
        self.namespace("user").is_some() || self.seen["inside a user namespace"] == true
    }
}

/// Texts in order, each once.
fn set(texts: impl IntoIterator<Item = String>) -> Value {
    let texts: BTreeSet<String> = texts.into_iter().collect();
    json!(texts)
}
