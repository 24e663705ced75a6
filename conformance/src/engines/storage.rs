//! What podman and buildah read before anything else: where images and containers are stored, and
//! which of the host's defaults hold. All of it lies in the scratch directory and the private /run.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::Command;

use super::engine::write;

/// Directories and settings of an engine that stores images by itself.
pub(super) struct Storage<'a> {
    pub(super) scratch: &'a Path,
    /// Where the engine's user keeps what does not outlive the host's uptime.
    pub(super) run: &'a Path,
    pub(super) driver: &'static str,
    /// None for root.
    pub(super) user: Option<u32>,
}

impl Storage<'_> {
    /// Makes the directories and writes both files, with `more` behind the section of containers.
    pub(super) fn make(&self, more: &str) -> Result<(), String> {
        let Self { scratch, run, driver, user } = *self;
        let storage = scratch.join("storage");
        for dir in [&storage, &scratch.join("tmp"), run] {
            let fail = |e: std::io::Error| format!("mkdir {}: {e}", dir.display());
            if dir.exists() {
                continue;
            }
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
            chown(dir, user, user).map_err(fail)?;
        }
        write(
            &scratch.join("storage.conf"),
            &format!(
                "[storage]\ndriver = \"{driver}\"\ngraphroot = \"{}\"\nrunroot = \"{}/oxrun-storage\"\n",
                storage.display(),
                run.display()
            ),
        )?;
        // The limits of processes and files are within every caller's rights: the built-in ones may not be.
        let settings = r#"[containers]
netns = "none"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
seccomp_profile = "/usr/share/containers/seccomp.json"
"#;
        write(&scratch.join("containers.conf"), &format!("{settings}{more}"))
    }

    /// Arguments of `env` that lead an engine to the files.
    pub(super) fn variables(command: &mut Command, scratch: &Path) {
        for (name, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("TMPDIR", "tmp"),
        ] {
            command.arg(format!("{name}={}", scratch.join(file).display()));
        }
    }
}
