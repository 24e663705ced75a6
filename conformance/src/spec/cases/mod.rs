//! The cases, one file per part of the specification.

mod cgroups;
mod create;
mod delete;
mod devices;
mod features;
mod hooks;
mod mounts;
mod namespaces;
mod net_devices;
mod operations;
mod paths;
mod process;
mod rights;
mod root;
mod seccomp;
mod state;
mod terminal;
mod values;

use super::case::{Case, Level};
use crate::harness::{Output, Runtime, Sandbox};
use crate::{Check, check};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// What decides which cases this host can show for this runtime.
pub(super) struct Host {
    /// The capabilities that the caller may give away, as a set of bits.
    pub(super) capabilities: u64,
    /// The document that `features` prints; null if there is no such command.
    pub(super) features: Value,
}

impl Host {
    /// Asks the host and the runtime.
    pub(super) fn look(program: &Path) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let output = Command::new(program).arg("features").stdin(Stdio::null()).output();
        let said = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
        Self {
            capabilities: u64::from_str_radix(bounding.unwrap_or_default().trim(), 16).unwrap_or(0),
            features: said.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default(),
        }
    }
}

/// All cases, in the order of the specification's documents.
pub(super) fn all(host: &Host) -> Vec<Case> {
    [
        state::cases(),
        create::cases(),
        operations::cases(),
        delete::cases(),
        root::cases(),
        mounts::cases(),
        process::cases(),
        terminal::cases(),
        rights::cases(host),
        hooks::cases(),
        values::cases(),
        namespaces::cases(),
        devices::cases(),
        net_devices::cases(),
        cgroups::cases(),
        paths::cases(),
        seccomp::cases(),
        features::cases(host),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn must(place: &'static str, name: &str, rule: &str) -> Case {
    Case::new(place, Level::Must, name, rule)
}

fn should(place: &'static str, name: &str, rule: &str) -> Case {
    Case::new(place, Level::Should, name, rule)
}

/// Ends a container at once and waits for its end.
fn stop(rt: &Runtime, id: &str, pid: i32) -> Check {
    rt.kill(id, "KILL")?.success()?;
    rt.wait_for(pid).map(drop)
}

/// There is no container of this id.
fn absent(s: &Sandbox, id: &str) -> Check {
    let answer: Output = s.runtime().call(&["state", id])?;
    check!(answer.code != 0, "there is a container:\n{answer}");
    Ok(())
}
