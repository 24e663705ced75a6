//! Devices, and who may open them (config-linux.md, Devices and Allowed Device list).

use super::super::broken::{Broken, gone, to};
use super::super::case::Case;
use super::super::seen::{escape, is, stat};
use super::must;
use serde_json::{Value, json};
use std::path::Path;

const PLACE: &str = "config-linux.md, Devices";
const ALLOWED: &str = "config-linux.md, Allowed Device list";
const PATH: &str = "/dev/spec";
const OWN: &str = "/linux/devices/0";

/// Type, what it is inside, its numbers.
const KINDS: [(&str, &str, i64, i64); 4] =
    [("c", "char", 1, 3), ("u", "char", 1, 5), ("b", "block", 7, 0), ("p", "fifo", 0, 0)];

fn device(kind: &str, major: i64, minor: i64) -> Value {
    let mut device = json!({ "path": PATH, "type": kind, "fileMode": 0o640, "uid": 12, "gid": 34 });
    if kind != "p" {
        device["major"] = major.into();
        device["minor"] = minor.into();
    }
    device
}

fn nodes() -> impl Iterator<Item = Case> {
    KINDS.into_iter().flat_map(|(kind, seen, major, minor)| {
        let case = |name: &str, rule: &str| {
            must(PLACE, &format!("devices/{kind}/{name}"), rule)
                .args(&["--stat", PATH])
                .with("/linux/devices", json!([device(kind, major, minor)]))
        };
        let other = if kind == "p" { "c" } else { "p" };
        let mut other = device(other, 1, 3);
        other["path"] = PATH.into();
        let mut all = vec![
            case("type", "a device of the type of the config is there")
                .sees(is(&stat(PATH, "type"), seen))
                .noticing(Broken::Reads(vec![to(OWN, other)])),
            case("fileMode", "it has the mode of the config")
                .sees(is(&stat(PATH, "mode"), "0640"))
                .noticing(Broken::Reads(vec![gone(&format!("{OWN}/fileMode"))])),
            case("uid", "it belongs to the user of the config")
                .sees(is(&stat(PATH, "uid"), 12))
                .noticing(Broken::Reads(vec![gone(&format!("{OWN}/uid"))])),
            case("gid", "it belongs to the group of the config")
                .sees(is(&stat(PATH, "gid"), 34))
                .noticing(Broken::Reads(vec![gone(&format!("{OWN}/gid"))])),
        ];
        if kind != "p" {
            all.push(
                case("numbers", "it has the numbers of the config")
                    .sees(is(&stat(PATH, "rdev"), format!("{major}:{minor}")))
                    .noticing(Broken::Reads(vec![to(&format!("{OWN}/minor"), 9)])),
            );
        }
        all
    })
}

fn wrong() -> Vec<Case> {
    let case = |name: &str, rule: &str| {
        must(PLACE, &format!("devices/{name}"), rule).with("/linux/devices", json!([device("c", 1, 3)]))
    };
    let outside = "/tmp/spec";
    let mut elsewhere = device("c", 1, 3);
    elsewhere["path"] = outside.into();
    vec![
        case("exists", "another file at the path is an error").fault(&format!("{OWN}/path"), "/etc/passwd"),
        case("type/unknown", "an unknown type is an error").fault(&format!("{OWN}/type"), "x"),
        case("type/absent", "a device has a type").lacking(&format!("{OWN}/type")),
        case("path/absent", "a device has a path").lacking(&format!("{OWN}/path")),
        case("major/absent", "a device that is no fifo has a major number").lacking(&format!("{OWN}/major")),
        case("major/text", "a number is a number").fault(&format!("{OWN}/major"), "one"),
        must(PLACE, "devices/anywhere", "a device may be anywhere")
            .args(&["--stat", outside])
            .with("/linux/devices", json!([elsewhere]))
            .sees(is(&stat(outside, "rdev"), "1:3")),
    ]
}

/// A device that no runtime allows by itself, and that opens without effect.
fn rules() -> impl Iterator<Item = Case> {
    let deny = json!({ "allow": false, "access": "rwm" });
    let rule = |allow: bool, access: &str| json!({ "allow": allow, "type": "c", "major": 10, "minor": 237, "access": access });
    let missing =
        (!Path::new("/dev/loop-control").exists()).then(|| "the kernel has no loop devices".to_owned());
    [
        ("denied", vec![deny.clone()], "r", json!(1), vec![deny.clone(), rule(true, "rwm")]),
        ("allowed", vec![deny.clone(), rule(true, "rwm")], "rw", json!("ok"), vec![deny.clone()]),
        ("access/read", vec![deny.clone(), rule(true, "r")], "r", json!("ok"), vec![deny.clone()]),
        (
            "access/no-write",
            vec![deny.clone(), rule(true, "r")],
            "w",
            json!(1),
            vec![deny.clone(), rule(true, "rw")],
        ),
        (
            "order",
            vec![deny.clone(), rule(true, "rwm"), rule(false, "rwm")],
            "r",
            json!(1),
            vec![deny.clone(), rule(false, "rwm"), rule(true, "rwm")],
        ),
        (
            "wildcard",
            vec![deny.clone(), json!({ "allow": true, "type": "c", "major": 10, "access": "rwm" })],
            "r",
            json!("ok"),
            vec![deny.clone()],
        ),
        ("all", vec![deny.clone(), json!({ "allow": true, "access": "rwm" })], "r", json!("ok"), vec![deny]),
    ]
    .into_iter()
    .map(move |(name, rules, mode, wanted, other)| {
        let asked = format!("{PATH}:{mode}");
        let mut node = device("c", 10, 237);
        node["fileMode"] = 0o666.into();
        must(
            ALLOWED,
            &format!("devices/rules/{name}"),
            "a device is open to whom the rules in their order allow it",
        )
        .args(&["--open", &asked])
        .with("/linux/devices", json!([node]))
        .with("/linux/resources/devices", rules)
        .sees(is(&format!("/open/{}", escape(&asked)), wanted))
        .unless(missing.clone())
        .noticing(Broken::Reads(vec![to("/linux/resources/devices", other)]))
    })
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = nodes().collect();
    all.extend(wrong());
    all.extend(rules());
    all
}
