//! The script: what the host hands to init, as bytes, and the fault page that init leaves behind.
//!
//! Both sides are built from the same source ([`script`], [`fault`]), and init is embedded in the
//! library that writes its scripts, so there is one version of the format and no negotiation.
//! The format has no pointers, no conditions and no loops: a sequence of records, each one step.
#![no_std]

extern crate alloc;

pub mod encode;
pub mod fault;
pub mod script;
