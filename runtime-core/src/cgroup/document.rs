//! linux.resources as a document of its own, as `update` gets it.
//!
//! What must hold: keys are matched as Go's decoder matches them, whatever their case; names that are the
//! caller's own (files of `unified`, devices of `rdma`) stay as they are; a null is an absent value.

use super::weight_of_idle;
use crate::bundle::{self, Document, Object, Warning};
use crate::error::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxResources;
use std::borrow::Cow;

/// Every key of linux.resources, at any depth.
const KEYS: [&str; 47] = [
    "access",
    "allow",
    "blockIO",
    "burst",
    "checkBeforeUpdate",
    "classID",
    "cpu",
    "cpus",
    "devices",
    "disableOOMKiller",
    "hcaHandles",
    "hcaObjects",
    "hugepageLimits",
    "idle",
    "kernel",
    "kernelTCP",
    "leafWeight",
    "limit",
    "major",
    "memory",
    "mems",
    "minor",
    "name",
    "network",
    "pageSize",
    "period",
    "pids",
    "priorities",
    "priority",
    "quota",
    "rate",
    "rdma",
    "realtimePeriod",
    "realtimeRuntime",
    "reservation",
    "shares",
    "swap",
    "swappiness",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "type",
    "unified",
    "useHierarchy",
    "weight",
    "weightDevice",
];

/// Reads linux.resources from JSON. What is unknown is ignored with a warning.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with the pointer of the field.
pub fn resources_from_json(bytes: &[u8]) -> Result<(LinuxResources, Vec<Warning>)> {
    let mut document = Document::read(bytes)
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, format!("resources are not valid JSON: {e}")))?;
    spell(&mut document);
    if document.is_null() {
        document = Document::Object(Object::default());
    }
    if document.as_object().is_none() {
        return Err(Error::new(ErrorKind::InvalidConfig, "resources are not a JSON object"));
    }
    bundle::mend_resources(&mut document);
    let mut warnings = Vec::new();
    let resources = bundle::typed(&document, "resources", &mut warnings)?;
    let left_out = weight_of_idle(&resources);
    warnings
        .extend(left_out.map(|(field, why)| Warning { field: format!("/{field}"), message: why.to_owned() }));
    Ok((resources, warnings))
}

/// Makes every key what the specification spells it. Of keys that become the same the last one counts.
fn spell(value: &mut Document<'_>) {
    match value {
        Document::Array(list) => list.iter_mut().for_each(spell),
        Document::Object(object) => {
            let mut members = std::mem::take(object).into_members();
            members.retain(|(_, value)| !value.is_null());
            for (key, value) in &mut members {
                if let Some(known) = KEYS.iter().find(|k| k.eq_ignore_ascii_case(key)) {
                    *key = Cow::Borrowed(*known);
                }
                match (key.as_ref(), value) {
                    ("unified", _) => {}
                    ("rdma", Document::Object(devices)) => {
                        devices.iter_mut().for_each(|(_, limits)| spell(limits));
                    }
                    (_, value) => spell(value),
                }
            }
            *object = members.into();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> LinuxResources {
        resources_from_json(json.as_bytes()).expect("reads").0
    }

    #[test]
    fn keys_are_matched_in_any_case() {
        let r = read(r#"{"CPU":{"Cpus":"1"},"blockio":{"WEIGHT":10},"PIDS":{"Limit":7}}"#);
        assert_eq!(r.cpu().as_ref().and_then(|c| c.cpus().clone()).as_deref(), Some("1"));
        assert_eq!(r.block_io().as_ref().and_then(|b| b.weight()), Some(10));
        assert_eq!(r.pids().as_ref().map(|p| p.limit()), Some(7));
    }

    #[test]
    fn a_weight_beside_idle_is_warned_of() {
        for (json, field) in [
            (r#"{"cpu":{"shares":200,"idle":1}}"#, Some("/cpu/shares")),
            (r#"{"unified":{"cpu.idle":"1\n","cpu.weight":"8"}}"#, Some("/unified/cpu.weight")),
            (r#"{"cpu":{"shares":200,"idle":0}}"#, None),
            (r#"{"cpu":{"shares":0,"idle":1}}"#, None),
            (r#"{"unified":{"cpu.idle":"0","cpu.weight":"8"}}"#, None),
        ] {
            let warnings = resources_from_json(json.as_bytes()).expect("reads").1;
            assert_eq!(warnings.first().map(|w| w.field.as_str()), field, "{json}");
            assert!(warnings.iter().all(|w| w.message.starts_with("unable to apply both")), "{json}");
        }
    }

    #[test]
    fn names_of_files_and_devices_stay_as_they_are() {
        let r = read(r#"{"Unified":{"Memory.high":"1"},"Rdma":{"Limit":{"hcahandles":3}}}"#);
        assert!(r.unified().as_ref().is_some_and(|u| u.contains_key("Memory.high")));
        assert!(r.rdma().as_ref().is_some_and(|d| d.contains_key("Limit")));
    }

    #[test]
    fn nulls_and_a_pids_object_without_a_limit_say_nothing() {
        let r = read(r#"{"memory":null,"pids":{},"cpu":{"shares":null}}"#);
        assert!(r.memory().is_none() && r.pids().is_none());
        assert!(r.cpu().as_ref().is_some_and(|c| c.shares().is_none()));
        assert_eq!(read("null"), LinuxResources::default());
    }

    #[test]
    fn a_wrong_type_is_named_by_its_pointer() {
        let e = resources_from_json(br#"{"memory":{"limit":"much"}}"#).expect_err("wrong");
        assert_eq!(e.field(), Some("/memory/limit"));
        assert!(resources_from_json(b"").is_err());
    }

    #[test]
    fn every_key_of_a_limit_that_is_written_is_known() {
        let all = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}],
            "memory":{"limit":1,"reservation":1,"swap":1,"kernel":1,"kernelTCP":1,"swappiness":1,
                "disableOOMKiller":false,"useHierarchy":true,"checkBeforeUpdate":true},
            "cpu":{"shares":1,"quota":1,"burst":1,"period":1,"realtimeRuntime":1,"realtimePeriod":1,
                "cpus":"0","mems":"0","idle":0},
            "pids":{"limit":1},
            "blockIO":{"weight":1,"leafWeight":1,"weightDevice":[{"major":1,"minor":1,"weight":1,"leafWeight":1}],
                "throttleReadBpsDevice":[{"major":1,"minor":1,"rate":1}],
                "throttleWriteBpsDevice":[],"throttleReadIOPSDevice":[],"throttleWriteIOPSDevice":[]},
            "hugepageLimits":[{"pageSize":"2MB","limit":1}],
            "network":{"classID":1,"priorities":[{"name":"lo","priority":1}]},
            "rdma":{"mlx5_0":{"hcaHandles":1,"hcaObjects":1}},
            "unified":{}}"#;
        let (exact, warnings) = resources_from_json(all.as_bytes()).expect("reads");
        assert!(warnings.is_empty(), "{warnings:?}");
        let shouted = resources_from_json(
            all.to_uppercase()
                .replace("TRUE", "true")
                .replace("FALSE", "false")
                .replace("\"C\"", "\"c\"")
                .replace("\"R\"", "\"r\"")
                .replace("\"LO\"", "\"lo\"")
                .replace("MLX", "mlx")
                .as_bytes(),
        );
        assert_eq!(shouted.expect("reads").0, exact);
    }
}
