//! Words of fixed lists whose refusal has a wording that callers know.
//!
//! The model refuses an unknown word as well, in the words of its deserializer, and takes a missing one for
//! some default where the specification requires it. So these fields are looked at before.

use super::Document;
use crate::error::{Error, Result};

/// A field whose values are the words of a list.
struct Field {
    /// The object that it is in.
    object: &'static str,
    /// Its key.
    key: &'static str,
    /// The words.
    known: &'static [&'static str],
    /// What is said of another word, which follows in quotation marks.
    wrong: &'static str,
    /// What is said if it is missing or empty; none if it may be.
    missing: Option<&'static str>,
}

const FIELDS: [Field; 5] = [
    Field {
        object: "/process/scheduler",
        key: "policy",
        known: &[
            "SCHED_OTHER",
            "SCHED_FIFO",
            "SCHED_RR",
            "SCHED_BATCH",
            "SCHED_ISO",
            "SCHED_IDLE",
            "SCHED_DEADLINE",
        ],
        wrong: "invalid scheduler policy:",
        missing: Some("scheduler policy is required"),
    },
    Field {
        object: "/process/scheduler",
        key: "flags",
        known: &[
            "SCHED_FLAG_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
            // As the model itself writes two of them.
            RESET_ON_FORK,
            DL_OVERRUN,
        ],
        wrong: "invalid scheduler flag:",
        missing: None,
    },
    Field {
        object: "/process/ioPriority",
        key: "class",
        known: &["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"],
        wrong: "invalid ioPriority.Class:",
        missing: Some("invalid ioPriority.Class: \"\""),
    },
    Field {
        object: "/linux/memoryPolicy",
        key: "mode",
        known: &[
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
        ],
        wrong: "invalid memory policy mode",
        missing: Some("invalid memory policy mode \"\""),
    },
    Field {
        object: "/linux/memoryPolicy",
        key: "flags",
        known: &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
        wrong: "invalid memory policy flag",
        missing: None,
    },
];

/// The model's name of `SCHED_FLAG_RESET_ON_FORK`.
const RESET_ON_FORK: &str = "SCHED_RESET_ON_FORK";
/// The model's name of `SCHED_FLAG_DL_OVERRUN`.
const DL_OVERRUN: &str = "SCHED_FLAG_D_L_OVERRUN";

/// The words that a field may hold.
pub(crate) fn known(object: &str, key: &str) -> &'static [&'static str] {
    FIELDS.iter().find(|f| f.object == object && f.key == key).map_or(&[], |f| f.known)
}

/// The first string with a NUL byte, as a pointer: no path, name or argument can be given to the kernel with one.
fn nul(value: &Document<'_>) -> Option<String> {
    let below = |key: &dyn std::fmt::Display, value| nul(value).map(|rest| format!("/{key}{rest}"));
    match value {
        Document::String(text) => text.contains('\0').then(String::new),
        Document::Array(list) => list.iter().enumerate().find_map(|(i, v)| below(&i, v)),
        Document::Object(map) => map.iter().find_map(|(k, v)| below(&super::escape(k), v)),
        _ => None,
    }
}

/// What no field may hold, names of annotations, and what a device must have.
fn fixed(document: &Document<'_>, bytes: &[u8]) -> Result<()> {
    // JSON has it only as \u0000.
    let may_have_nul = bytes.contains(&b'\\') && bytes.windows(6).any(|text| text == br"\u0000");
    for part in ["process", "root", "hostname", "domainname", "mounts", "hooks", "linux"] {
        if may_have_nul && let Some(rest) = document.get(part).and_then(nul) {
            return Err(Error::config(format!("/{part}{rest}"), "a NUL byte cannot be part of this text"));
        }
    }
    if document.at("/annotations/").is_some() {
        return Err(Error::config("/annotations/", "the key of an annotation must not be empty"));
    }
    let devices = document.at("/linux/devices").and_then(Document::as_array);
    for (i, device) in devices.into_iter().flatten().enumerate() {
        match device.get("type").and_then(Document::as_str) {
            Some("a" | "b" | "c" | "u" | "p") | None => {}
            Some(other) => {
                return Err(Error::config(
                    format!("/linux/devices/{i}/type"),
                    format!("invalid device type {other:?}"),
                )
                .hint("c or u for a character device, b for a block device, p for a FIFO"));
            }
        }
        // The model takes a missing number for 0.
        let number = |key: &&str| device.get(key).is_none_or(Document::is_null);
        if let Some("b" | "c" | "u") = device.get("type").and_then(Document::as_str)
            && let Some(key) = ["major", "minor"].into_iter().find(number)
        {
            let text = format!("a device that is no FIFO needs a {key} number");
            return Err(Error::config(format!("/linux/devices/{i}/{key}"), text));
        }
    }
    Ok(())
}

/// Refuses a word that is in no list. `bytes` is the text of the document.
pub(super) fn check(document: &Document<'_>, bytes: &[u8]) -> Result<()> {
    fixed(document, bytes)?;
    for f in &FIELDS {
        let Some(object) = document.at(f.object).and_then(Document::as_object) else {
            continue;
        };
        let pointer = format!("{}/{}", f.object, f.key);
        match (object.get(f.key), f.missing) {
            (None | Some(Document::Null), Some(text)) => return Err(Error::config(pointer, text)),
            (Some(Document::String(word)), Some(text)) if word.is_empty() => {
                return Err(Error::config(pointer, text));
            }
            (Some(Document::String(word)), _) => f.one(pointer, word)?,
            (Some(Document::Array(words)), _) => {
                for (i, word) in words.iter().enumerate() {
                    f.one(format!("{pointer}/{i}"), word.as_str().unwrap_or(""))?;
                }
            }
            // What is no word at all is the model's to refuse.
            _ => {}
        }
    }
    Ok(())
}

impl Field {
    fn one(&self, pointer: String, word: &str) -> Result<()> {
        if self.known.contains(&word) {
            return Ok(());
        }
        let e = Error::config(pointer, format!("{} {word:?}", self.wrong));
        let near = self.known.iter().min_by_key(|k| super::keys::distance(word, k));
        Err(match near.filter(|k| super::keys::distance(word, k) <= word.len() / 2) {
            Some(near) => e.hint(format!("did you mean {near:?}?")),
            None => e,
        })
    }
}

/// Gives two flags of the scheduler the names under which the model knows them.
pub(super) fn scheduler_flags(flags: Option<&mut Document<'_>>) {
    for flag in flags.and_then(Document::as_array_mut).into_iter().flatten() {
        match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = Document::String(RESET_ON_FORK.into()),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = Document::String(DL_OVERRUN.into()),
            _ => {}
        }
    }
}
