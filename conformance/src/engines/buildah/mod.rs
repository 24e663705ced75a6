//! Buildah with `--isolation oci`: it calls the runtime itself, without conmon, and asks for the state
//! while a command runs. `from` makes a working container, `run` and `build` run commands in one;
//! `{new}` stands behind the last two and names the runtime and the missing network.

mod build;
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::calls::Side;
use super::engine::{Kit, Package};
use super::scenario::Scenario;
use super::storage::Storage;

/// The engine, started by root.
pub(super) struct Buildah;

impl Kit for Buildah {
    fn packages(&self) -> &'static [Package] {
        &[
            ("buildah", "/usr/bin/buildah"),
            ("golang-github-containers-common", "/usr/share/containers/seccomp.json"),
            // It looks for it, even where nobody has a network.
            ("containernetworking-plugins", "/usr/lib/cni/loopback"),
        ]
    }

    fn scenarios(&self) -> &'static [&'static [Scenario]] {
        &[run::SCENARIOS, build::SCENARIOS]
    }

    fn teardown(&self) -> &'static [&'static str] {
        &["rm {c}", "rmi --force {c}"]
    }

    fn daemon(&self, scratch: &Path) -> Result<Option<Command>, String> {
        let run = Path::new("/run");
        Storage { scratch, run, driver: "overlay", user: None }.make("")?;
        Ok(None)
    }

    fn client(&self, scratch: &Path, _: Side) -> Command {
        let mut command = Command::new("/usr/bin/env");
        Storage::variables(&mut command, scratch);
        command.arg("/usr/bin/buildah");
        command
    }

    fn load(&self, _: &Path, tar: &Path) -> Result<Vec<Vec<String>>, String> {
        let tar = tar.to_string_lossy();
        let steps: &[&[&str]] = &[
            &["from", "--name", "base", "scratch"],
            &["add", "base", &tar, "/"],
            &["config", "--cmd", "/bin/sh", "--env", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "base"],
            &["commit", "--quiet", "base", "bb"],
            &["rm", "base"],
        ];
        Ok(steps.iter().map(|words| words.iter().map(|w| (*w).to_owned()).collect()).collect())
    }

    fn run(&self, scratch: &Path, side: Side, _: &str) -> Vec<String> {
        let wrapper = side.wrapper(scratch).to_string_lossy().into_owned();
        vec!["--isolation".into(), "oci".into(), "--runtime".into(), wrapper]
    }

    fn offline(&self) -> &'static [&'static str] {
        &["--network", "none"]
    }

    fn states(&self, _: &Path) -> Vec<PathBuf> {
        vec!["/run/runc".into(), "/run/oxrun".into()]
    }
}
