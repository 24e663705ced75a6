//! The recorded documents, as they lie in `conformance/data/corpus`.

use oxrun_conformance::{Check, Failed};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/corpus")
}

/// The names of all documents of a kind (`config`, `process`, `update`), in order.
pub(crate) fn names(kind: &str) -> Check<Vec<String>> {
    let suffix = format!(".{kind}.json");
    let mut names = Vec::new();
    for entry in fs::read_dir(directory())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(&suffix) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A document by its file name.
pub(crate) fn read(name: &str) -> Check<Value> {
    let path = directory().join(name);
    let text = fs::read_to_string(&path).map_err(|e| Failed::from(format!("{}: {e}", path.display())))?;
    Ok(serde_json::from_str(&text)?)
}
