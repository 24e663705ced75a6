//! Two containers are compared by what their probes say; numbers that the kernel counts up are no
//! difference.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;

/// The report without what differs from one container to the next: numbers that the kernel counts
/// up. Mounts are found by their place.
pub(crate) fn stable(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("keyring");
    let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
    let place = |id: &Value| {
        let parent = mounts.iter().find(|m| m["id"] == *id);
        parent.map_or(Value::Null, |m| m["target"].clone())
    };
    let mut places = Map::new();
    for mount in &mounts {
        let mut entry = mount.clone();
        entry["parent"] = place(&mount["parent"]);
        let entry_map = entry.as_object_mut().unwrap();
        entry_map.remove("id");
        entry_map.remove("device");
        let tags = mount["tags"].as_array().into_iter().flatten();
        // "master:7" says no more than "master".
        entry["tags"] = tags.filter_map(|t| t.as_str()?.split(':').next()).collect();
        let target = mount["target"].as_str().unwrap_or_default().to_owned();
        let list = places.entry(target).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(entry);
    }
    report["mounts"] = places.into();
    for (name, link) in report["namespaces"].as_object_mut().into_iter().flatten() {
        let host = fs::read_link(format!("/proc/self/ns/{name}"));
        let host = host.is_ok_and(|host| *link == host.to_string_lossy().as_ref());
        *link = json!(if host { "the host's" } else { "its own" });
    }
    for (_, stat) in report["stat"].as_object_mut().into_iter().flatten() {
        for key in ["dev", "inode"] {
            if let Some(map) = stat.as_object_mut() {
                map.remove(key);
            }
        }
    }
    report
}

/// The JSON pointers at which two values differ, leaves only.
pub(crate) fn differences(a: &Value, b: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    compare(a, b, "", &mut found);
    found
}

fn compare(a: &Value, b: &Value, at: &str, out: &mut BTreeSet<String>) {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            for key in x.keys().chain(y.keys()).collect::<BTreeSet<_>>() {
                let (x, y) = (x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null));
                compare(x, y, &format!("{at}/{}", escape(key)), out);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (index, (x, y)) in x.iter().zip(y).enumerate() {
                compare(x, y, &format!("{at}/{index}"), out);
            }
        }
        _ if a != b => {
            out.insert(at.to_owned());
        }
        _ => {}
    }
}
