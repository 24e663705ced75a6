//! Runtimes that break one rule, for the cases that have to notice: a good one behind `oxrun-bad`, which changes
//! what it is told or what it says.

use super::case::Change;
use crate::harness::Sandbox;
use serde_json::{Value, json};
use std::path::Path;

/// What a runtime does wrong.
#[derive(Clone, Debug)]
pub(super) enum Broken {
    /// It reads these values instead of those of the config.
    Reads(Vec<Change>),
    /// It reads the array at this pointer from its end.
    Reverses(&'static str),
    /// It says yes to this command whatever comes of it.
    Agrees(&'static str),
    /// It says yes to this command and does nothing.
    Skips(&'static str),
    /// It says no to this command and does nothing.
    Declines(&'static str),
    /// It answers this command with these values in its document.
    Answers(&'static str, Vec<Change>),
    /// It tells hooks a state with these values.
    Tells(Vec<Change>),
    /// It starts what it creates.
    Eager,
    /// It reads the config again when it starts a container.
    Rereads,
}

/// A change of what a broken runtime reads.
pub(super) fn to(pointer: &str, value: impl Into<Value>) -> Change {
    (pointer.to_owned(), Some(value.into()))
}

/// A value that a broken runtime does not read or tell.
pub(super) fn gone(pointer: &str) -> Change {
    (pointer.to_owned(), None)
}

impl Broken {
    /// What it is, for readers.
    pub(super) fn says(&self) -> String {
        let list = |changes: &[Change]| {
            let one = |(pointer, value): &Change| match value {
                Some(value) => format!("{pointer} as {}", short(value)),
                None => format!("no {pointer}"),
            };
            changes.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Reads(changes) => format!("reads {}", list(changes)),
            Self::Reverses(pointer) => format!("reads {pointer} backwards"),
            Self::Agrees(command) => format!("says yes to {command} whatever comes of it"),
            Self::Skips(command) => format!("does nothing on {command}"),
            Self::Declines(command) => format!("refuses {command}"),
            Self::Answers(command, changes) => format!("{command} shows {}", list(changes)),
            Self::Tells(changes) => format!("tells hooks {}", list(changes)),
            Self::Eager => "starts what it creates".to_owned(),
            Self::Rereads => "reads the config again at start".to_owned(),
        }
    }

    /// Puts it between a sandbox, whose runtime is `oxrun-bad`, and the good runtime.
    pub(super) fn into(self, s: &mut Sandbox, good: &Path) {
        let directory = s.dir().to_string_lossy().into_owned();
        let patch = |changes: Vec<Change>| -> String {
            let list: Vec<Value> = changes
                .into_iter()
                .map(|(pointer, value)| match value {
                    Some(value) => json!([pointer, value]),
                    None => json!([pointer]),
                })
                .collect();
            Value::Array(list).to_string().replace("{dir}", &directory)
        };
        let (how, word, patch) = match self {
            Self::Reads(changes) => ("patch", "", patch(changes)),
            Self::Reverses(pointer) => ("reverse", pointer, String::new()),
            Self::Agrees(command) => ("agree", command, String::new()),
            Self::Skips(command) => ("skip", command, String::new()),
            Self::Declines(command) => ("decline", command, String::new()),
            Self::Answers(command, changes) => ("answer", command, patch(changes)),
            Self::Tells(changes) => ("tell", "", patch(changes)),
            Self::Eager => ("eager", "", String::new()),
            Self::Rereads => ("reread", "", String::new()),
        };
        let rt = s.runtime_mut();
        rt.env("OXRUN_BAD_RUNTIME", good);
        rt.env("OXRUN_BAD_HOW", how);
        rt.env("OXRUN_BAD_WORD", word);
        rt.env("OXRUN_BAD_PATCH", patch);
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
