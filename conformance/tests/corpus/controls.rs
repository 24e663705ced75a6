//! The comparison itself: one expectation or one observation is changed, and just that must be reported. A
//! comparison that no control makes fail is a failure of its own.

use super::compare::{Difference, differences};
use super::{documents, lacking, observed};
use oxrun_conformance::harness::{Config, Host};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The controls: name, recorded document, place, new value, and the fields that are reported (`=` is the place).
/// A place in the document changes what is expected; `seen` stands before a place in what was seen, where no word
/// of the document can be changed. `gone` takes a value away.
const CONTROLS: &str = include_str!("controls.txt");

pub(crate) struct Control {
    pub(crate) name: &'static str,
    document: &'static str,
    seen: bool,
    place: &'static str,
    value: &'static str,
    fields: BTreeSet<String>,
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Control> {
    CONTROLS.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut parts = line.split(" | ");
        let mut part = || parts.next().unwrap_or_default();
        let (name, document, place, value) = (part(), part(), part(), part());
        let (seen, place) = place.strip_prefix("seen ").map_or((false, place), |place| (true, place));
        let fields = part().split("; ").map(|f| if f == "=" { place } else { f }.to_owned()).collect();
        Control { name, document, seen, place, value, fields }
    })
}

/// Fields that only version 1 of cgroups has files for.
const ONLY_V1: [&str; 6] = [
    "/linux/resources/memory/swappiness",
    "/linux/resources/memory/disableOOMKiller",
    "/linux/resources/cpu/realtimeRuntime",
    "/linux/resources/cpu/realtimePeriod",
    "/linux/resources/devices",
    "/mounts/4 (other)",
];

impl Control {
    /// Why it cannot be run here.
    pub(crate) fn lacking(&self) -> Option<String> {
        let only_v1 = Host::is_pure_v2() && self.fields.iter().all(|field| ONLY_V1.contains(&field.as_str()));
        if self.fields.contains("(warnings) missing capabilities") && lacking::has_all_capabilities() {
            return Some("this host has all capabilities".to_owned());
        }
        let words = || "version 2 of cgroups has no such file".to_owned();
        only_v1.then(words).or_else(|| lacking::of_config(&format!("{}.config.json", self.document)))
    }
}

/// Runs one.
pub(crate) fn run(name: &str) -> Check {
    let Control { document, seen, place, value, mut fields, .. } =
        all().find(|control| control.name == name).ok_or("no such control")?;
    let (mut expected, mut observed) = observed(&format!("{document}.config.json"))?;
    let side = if seen { &mut observed } else { &mut expected };
    let before = Config::parse(&side.to_string())?;
    let after = match value {
        "gone" => before.clone().remove(place),
        text => before.clone().set(place, serde_json::from_str::<Value>(text)?),
    };
    check!(before.text() != after.text(), "{place} of {document} has that value already");
    *side = serde_json::from_str(&after.text())?;
    let found: BTreeSet<String> = differences(&expected, &observed).into_iter().map(|d| d.field).collect();
    if Host::is_pure_v2() {
        fields.retain(|field| !ONLY_V1.contains(&field.as_str()));
    }
    check_eq!(found, fields, "fields reported for {document}");
    Ok(())
}

/// A field without what tells one of its kind from another.
fn kind(field: &str) -> String {
    for list in
        ["/linux/sysctl/", "(default device) ", "(default link) ", "(inherited) ", "/linux/namespaces ("]
    {
        if field.starts_with(list) && field != "/linux/namespaces (first pid)" {
            return list.to_owned();
        }
    }
    let (path, detail) = field.split_once(" (").unwrap_or((field, ""));
    let parts: Vec<&str> = path.split('/').map(|p| if p.parse::<u32>().is_ok() { "N" } else { p }).collect();
    let path = parts.join("/");
    match path.as_str() {
        // Layers of an overlay are compared as one.
        _ if detail.ends_with("dir)") && path == "/mounts/N/options" => format!("{path} layers"),
        "/mounts/N" | "/linux/seccomp" | "/linux/resources/devices" if !detail.is_empty() => {
            format!("{path} ()")
        }
        _ if path.starts_with("/hooks/") => {
            format!("/hooks {} {detail}", path.rsplit('/').next().unwrap_or(""))
        }
        _ => format!("{path} {detail}"),
    }
}

/// Every comparison that any document leads to is made to fail by a control.
pub(crate) fn every_comparison_has_one() -> Check {
    let reported: BTreeSet<String> = all().flat_map(|c| c.fields).map(|field| kind(&field)).collect();
    let mut without = BTreeMap::new();
    for name in documents::names("config")? {
        // A document that cannot be run has a failure of its own.
        let Ok((document, seen)) = observed(&name) else { continue };
        for field in super::compare::fields(&document, &seen) {
            if !reported.contains(&kind(&field)) {
                without.insert(kind(&field), format!("{field} of {name}"));
            }
        }
    }
    let lines: Vec<String> = without.into_values().collect();
    check!(lines.is_empty(), "no control for:\n  {}", lines.join("\n  "));
    Ok(())
}

/// All differences as lines.
pub(crate) fn lines(found: &[Difference]) -> Check {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(Failed::from(format!("{} differences:\n  {}", lines.len(), lines.join("\n  ")))),
    }
}
