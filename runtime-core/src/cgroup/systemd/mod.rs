//! Cgroups that systemd makes: a container is a transient scope, in the slice that linux.cgroupsPath names.
//!
//! systemd moves the process into the scope and sets what it has properties for ([`properties()`]); the cgroup is
//! delegated, so that everything else is written to its files, and all that is done with cgroups later is done as with
//! any other. `wire` turns messages into bytes and back, `bus` carries them, `manager` says what is asked for.

mod annotation;
mod bus;
pub(crate) mod manager;
mod properties;
mod unit;
mod value;
#[doc(hidden)]
pub mod wire;

#[cfg(test)]
mod tests;

pub use annotation::parse as value_from_text;
pub(crate) use annotation::properties as annotated;
pub(crate) use properties::{MANAGED, devices, limits, no_devices};
pub use properties::{Property, properties};
pub use unit::Unit;
pub use value::Value;

use serde::{Deserialize, Serialize};

/// The first version that takes processes by their pidfds: a number may be another process's by now, and is another
/// one's in another pid namespace.
pub(crate) const WITH_HANDLES: u32 = 255;

/// What planning knows of a systemd.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Its version.
    pub version: u32,
    /// The cgroup below which all its units are; empty for the root.
    pub cgroup: String,
    /// Whether it is the user's own.
    pub user: bool,
}

impl Facts {
    /// Asks the system's systemd, or the user's.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] if there is none to be reached.
    pub fn record(user: bool) -> crate::Result<Facts> {
        manager::Manager::open(user)?.facts()
    }
}

/// Stops a scope, and forgets that it failed. Where no systemd is, there is no scope.
pub(crate) fn stop(unit: &Unit) -> crate::Result<()> {
    match manager::Manager::open(unit.user) {
        Ok(mut manager) => manager.stop(unit),
        Err(e) if e.kind() == crate::ErrorKind::Unsupported => Ok(()),
        Err(e) => Err(e),
    }
}

/// The number in `252.39-1~deb12u2` or `v249.11`.
fn version(text: &str) -> Option<u32> {
    let text = text.trim_start_matches('v');
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}
