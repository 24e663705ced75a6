//! Mends what `oci_spec` would refuse or misread although the specification allows it.
//!
//! What must hold: a document that the model reads rightly as it is stays what it is.

use super::{Document, Object, Warning, words};
use serde_json::Value;

/// Mends a document.
pub(super) fn mend(document: &mut Document<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(document) = document.as_object_mut() {
        // Whatever they say, it is not for this system.
        document.retain(|key| !["freebsd", "solaris", "vm", "windows", "zos"].contains(&key));
    }
    if let Some(process) = document.get_mut("process").and_then(Document::as_object_mut) {
        // The crate requires `user`; the schema does not, and Go's zero value is 0:0.
        if process.get("user").is_none_or(Document::is_null) {
            process.insert("user", Document::Object(Object::default()));
        }
        if let Some(user) = process.get_mut("user").and_then(Document::as_object_mut) {
            for id in ["uid", "gid"] {
                if user.get(id).is_none() {
                    user.insert(id, Document::Number(0.into()));
                }
            }
        }
        unknown_capabilities(process.get_mut("capabilities"), &mut warnings);
        affinity(process.get_mut("execCPUAffinity"));
        words::scheduler_flags(process.get_mut("scheduler").and_then(|s| s.get_mut("flags")));
    }
    if let Some(resources) = document.get_mut("linux").and_then(|linux| linux.get_mut("resources")) {
        mend_resources(resources);
    }
    warnings
}

/// The same for linux.resources.
pub(crate) fn mend_resources(resources: &mut Document<'_>) {
    if let Some(devices) = resources.get_mut("devices").and_then(Document::as_array_mut) {
        for device in devices.iter_mut().filter_map(Document::as_object_mut) {
            // An empty type means all, as no type does.
            if device.get("type").and_then(Document::as_str) == Some("") {
                device.remove("type");
            }
        }
    }
    // A limit is unsigned, which the crate does not know; the kernel counts no more than this.
    let huge = resources.get_mut("hugepageLimits").and_then(Document::as_array_mut);
    for limit in huge.into_iter().flatten().filter_map(|huge| huge.get_mut("limit")) {
        if let Document::Number(n) = limit
            && n.as_u64().is_some_and(|n| i64::try_from(n).is_err())
        {
            *n = i64::MAX.into();
        }
    }
    // `pids: {}` would become a limit of 0.
    if let Some(resources) = resources.as_object_mut()
        && resources.get("pids").is_some_and(|p| p.get("limit").is_none_or(Document::is_null))
    {
        resources.remove("pids");
    }
}

/// A capability that is not known is a warning, not an error (runtime-spec, config.md).
fn unknown_capabilities(sets: Option<&mut Document<'_>>, warnings: &mut Vec<Warning>) {
    let Some(sets) = sets.and_then(Document::as_object_mut) else {
        return;
    };
    for (set, names) in sets.iter_mut() {
        let Some(names) = names.as_array_mut() else {
            continue;
        };
        let mut index = 0;
        names.retain(|name| {
            let unknown = name.as_str().filter(|n| crate::plan::caps::number(n).is_none());
            if let Some(name) = unknown {
                warnings.push(Warning {
                    field: format!("/process/capabilities/{set}/{index}"),
                    message: format!("unknown capability {} is ignored", Value::from(name)),
                });
            }
            index += 1;
            unknown.is_none()
        });
    }
}

/// Blanks around the elements of a list of processors and empty elements are allowed, and an empty list is
/// none; the crate refuses them.
fn affinity(value: Option<&mut Document<'_>>) {
    if let Some(map) = value.and_then(Document::as_object_mut) {
        for (_, list) in map.iter_mut() {
            if let Some(text) = list.as_str() {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let text = items.collect::<Vec<_>>().join(",");
                *list = if text.is_empty() { Document::Null } else { Document::String(text.into()) };
            }
        }
    }
}
