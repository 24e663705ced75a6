//! `features`: what this runtime does, from the tables and the planning that do it.

use super::{Failure, print};
use serde_json::{Value, json};

/// `features`.
#[inline(never)]
pub(crate) fn features() -> Result<u8, Failure> {
    let mut document = oxrun_core::features::features()?;
    if let Value::Object(map) = &mut document {
        map.insert("annotations".to_owned(), annotations());
    }
    let text = serde_json::to_string_pretty(&document).map_err(|e| Failure::plain(e.to_string()))?;
    print(&format!("{text}\n"))
}

/// What engines may want to know of the program itself.
fn annotations() -> Value {
    let commit = option_env!("OXRUN_COMMIT").filter(|c| !c.is_empty()).unwrap_or("unknown");
    json!({
        "oxrun.version": env!("CARGO_PKG_VERSION"),
        "oxrun.commit": commit,
        "oxrun.checkpoint.enabled": "false",
    })
}
