//! What the program inside reports, and questions about it.

use crate::{Check, check, check_eq};
use serde_json::{Map, Value};

/// A question about a report and its answer.
pub(super) struct Fact {
    pointer: String,
    is: Is,
}

enum Is {
    Equal(Value),
    Other(Value),
    Has(Value),
    Lacks(Value),
    Judged(Box<dyn Fn(&Value) -> Check>),
}

/// What is at `pointer` is `value`.
pub(super) fn is(pointer: &str, value: impl Into<Value>) -> Fact {
    Fact { pointer: pointer.to_owned(), is: Is::Equal(value.into()) }
}

/// What is at `pointer` is something else.
pub(super) fn is_not(pointer: &str, value: impl Into<Value>) -> Fact {
    Fact { pointer: pointer.to_owned(), is: Is::Other(value.into()) }
}

/// The list at `pointer` has `value`.
pub(super) fn has(pointer: &str, value: impl Into<Value>) -> Fact {
    Fact { pointer: pointer.to_owned(), is: Is::Has(value.into()) }
}

/// There is a list at `pointer`, and it has no `value`.
pub(super) fn has_no(pointer: &str, value: impl Into<Value>) -> Fact {
    Fact { pointer: pointer.to_owned(), is: Is::Lacks(value.into()) }
}

/// A function says whether what is at `pointer` is right.
pub(super) fn judged(pointer: &str, judge: impl Fn(&Value) -> Check + 'static) -> Fact {
    Fact { pointer: pointer.to_owned(), is: Is::Judged(Box::new(judge)) }
}

/// The pointer of `key` of the uppermost mount on `target`.
pub(super) fn mounted(target: &str, key: &str) -> String {
    format!("/mounted/{}/{key}", escape(target))
}

/// The pointer of `key` of what `--stat` says of `path`.
pub(super) fn stat(path: &str, key: &str) -> String {
    format!("/stat/{}/{key}", escape(path))
}

/// A name as part of a pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The number of a capability set as `/proc` shows it.
pub(super) fn set(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap_or("x"), 16).unwrap_or(u64::MAX)
}

impl Fact {
    pub(super) fn holds(&self, report: &Value) -> Check {
        let (at, null) = (&self.pointer, Value::Null);
        let found = report.pointer(at).unwrap_or(&null);
        let list = || found.as_array().map_or(&[][..], Vec::as_slice);
        match &self.is {
            Is::Equal(value) => check_eq!(found, value, "{at}"),
            Is::Other(value) => check!(!found.is_null() && found != value, "{at} is {found}"),
            Is::Has(value) => check!(list().contains(value), "{at} has no {value}: {found}"),
            Is::Lacks(value) => {
                check!(found.is_array() && !list().contains(value), "{at} has {value}: {found}");
            }
            Is::Judged(judge) => judge(found)?,
        }
        Ok(())
    }
}

/// Adds the uppermost mount of each place to a report, by its name.
pub(super) fn with_mounts(mut report: Value) -> Value {
    let mut mounted = Map::new();
    for mount in report["mounts"].as_array().into_iter().flatten() {
        if let Some(target) = mount["target"].as_str() {
            mounted.insert(target.to_owned(), mount.clone());
        }
    }
    report["mounted"] = mounted.into();
    report
}
