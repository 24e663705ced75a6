//! The programs that a suite consists of, brought up to date by cargo.

use crate::{Check, locate};
use std::path::PathBuf;

/// The test programs of this package by name.
///
/// # Errors
/// If cargo fails.
pub fn tests() -> Check<Vec<(String, PathBuf)>> {
    Ok(locate::tests()?)
}

/// The binary `name` of package `package`.
///
/// # Errors
/// If cargo fails.
pub fn build(package: &str, name: &str) -> Check<PathBuf> {
    Ok(locate::build(package, name)?)
}

/// The binary `name` of this package.
///
/// # Errors
/// If there is none and cargo fails.
pub fn sibling(name: &str) -> Check<PathBuf> {
    Ok(locate::sibling(name)?)
}
