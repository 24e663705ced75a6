//! Cgroups on two independent axes: who places a process, and which files the limits go to.
//!
//! `v1` and `v2` turn linux.resources into writes, purely. `live` makes the directories, `tree`
//! goes through them, `end` empties and removes them, `freezer` stops what is in them, `update` changes the limits of a
//! container that exists, [`stats`] reads what it uses, `watch` waits for what happens in it. [`systemd`] lets systemd
//! place the container.

mod both;
pub(crate) mod device_bpf;
pub mod devices;
mod document;
pub(crate) mod end;
pub(crate) mod freezer;
pub(crate) mod live;
pub mod stats;
pub mod systemd;
pub(crate) mod tree;
mod update;
#[doc(hidden)]
pub mod v1;
mod v1_devices;
#[doc(hidden)]
pub mod v2;
pub(crate) mod watch;

#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use both::hybrid_writes;
pub(crate) use both::{left_out, weight_of_idle};
pub use document::resources_from_json;

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
