//! Cgroups on two independent axes: who places a process, and which files the limits go to.
//!
//! [`v1`] and [`v2`] turn linux.resources into writes, purely. [`live`] makes, empties and removes the
//! directories.

pub mod device_bpf;
pub mod devices;
pub(crate) mod live;
pub mod v1;
pub mod v2;

use serde::{Deserialize, Serialize};

/// One value for one file of a controller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Write {
    /// The v1 controller whose hierarchy has the file; on v2 the controller that must be enabled.
    pub controller: String,
    /// The file's name.
    pub file: String,
    /// What is written.
    pub value: String,
    /// The field of the config.
    pub field: String,
}

impl Write {
    pub(crate) fn new(controller: &str, file: &str, value: impl ToString, field: &str) -> Write {
        Write {
            controller: controller.to_owned(),
            file: file.to_owned(),
            value: value.to_string(),
            field: format!("/linux/resources/{field}"),
        }
    }
}
