//! The parts of the test of recorded documents.

pub(crate) mod compare;
pub(crate) mod controls;
pub(crate) mod documents;
pub(crate) mod exec;
pub(crate) mod lacking;
pub(crate) mod run;
pub(crate) mod stage;
pub(crate) mod standin;
pub(crate) mod update;

use oxrun_conformance::{Check, Failed};
use serde_json::Value;
use stage::Stage;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What a container of a document looked like: the document as it was run, and what was seen.
type Observed = (Value, Value);

static OBSERVED: Mutex<BTreeMap<String, Observed>> = Mutex::new(BTreeMap::new());

/// Whether a document is for a runtime in the engine's user namespace.
pub(crate) fn is_rootless(name: &str) -> bool {
    name.contains("rootless")
}

/// Runs a document, unless this process has done so before.
pub(crate) fn observed(name: &str) -> Check<Observed> {
    let lock = || OBSERVED.lock().map_err(|_| Failed::from("a test has panicked"));
    if let Some(known) = lock()?.get(name) {
        return Ok(known.clone());
    }
    let mut stage = Stage::new(&documents::read(name)?, is_rootless(name))?;
    let seen = run::whole_life(&mut stage)?;
    let observed = (stage.document.clone(), seen);
    lock()?.insert(name.to_owned(), observed.clone());
    Ok(observed)
}
