//! The bytes of the protocol, a systemd that is played by a thread, and the properties of resources.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;
mod properties;
mod values;
mod wire;
