//! Device rules of a cgroup: what linux.resources.devices says, and the defaults after it.
//!
//! v1 takes the rules one by one in the config's order (`devices.deny`, `devices.allow`); v2 takes
//! them as one program (`device_bpf`). Both are made from the same list.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Character and block devices: the rule replaces all before it.
    #[serde(rename = "a")]
    All,
    /// Character devices.
    #[serde(rename = "c")]
    Char,
    /// Block devices.
    #[serde(rename = "b")]
    Block,
}

/// One rule. The last one that matches decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Kind of device.
    pub kind: DeviceKind,
    /// Major number; all if absent.
    pub major: Option<u32>,
    /// Minor number; all if absent.
    pub minor: Option<u32>,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be made by mknod.
    pub mknod: bool,
}

impl fmt::Display for DeviceRule {
    /// The rule as the v1 files take it: `c 1:3 rwm`, or `a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (set, letter) in [(self.read, "r"), (self.write, "w"), (self.mknod, "m")] {
            if set {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// What every container may use beside its config: making any node, and the default devices.
#[must_use]
pub fn defaults() -> Vec<DeviceRule> {
    let rule = |kind, major, minor, rw| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        read: rw,
        write: rw,
        mknod: true,
    };
    let mut rules =
        vec![rule(DeviceKind::Char, None, None, false), rule(DeviceKind::Block, None, None, false)];
    for (major, minor) in [
        (1, Some(3)),
        (1, Some(8)),
        (1, Some(7)),
        (5, Some(0)),
        (1, Some(5)),
        (1, Some(9)),
        (136, None),
        (5, Some(2)),
        (10, Some(200)),
    ] {
        rules.push(rule(DeviceKind::Char, Some(major), minor, true));
    }
    rules
}
