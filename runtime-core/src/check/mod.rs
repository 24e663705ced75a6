//! Looking at a plan's host and root filesystem before anything is done.

pub(crate) mod program;
pub(crate) mod view;
