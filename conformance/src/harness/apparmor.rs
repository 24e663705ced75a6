//! An AppArmor profile of a test's own.

use super::leaks;
use super::sandbox::Sandbox;
use crate::{Check, check};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A profile that is loaded while it lives. It denies `/tmp/denied`, and little else.
#[derive(Debug)]
pub struct Profile {
    name: String,
    file: PathBuf,
}

impl Profile {
    /// Whether the kernel has AppArmor switched on.
    #[must_use]
    pub fn apparmor() -> bool {
        fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with('Y'))
    }

    /// Why no profile can be loaded here.
    #[must_use]
    pub fn missing() -> Option<String> {
        if !Self::apparmor() {
            return Some("AppArmor is not on".to_owned());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|dir| dir.join("apparmor_parser").exists());
        (!found).then(|| "apparmor_parser is not installed (package apparmor)".to_owned())
    }

    /// Loads it.
    ///
    /// # Errors
    /// What the parser says.
    pub fn load(sandbox: &Sandbox) -> Check<Self> {
        let name = format!("oxrun-test-{}", std::process::id());
        let rules = "file,\n  capability,\n  network,\n  signal,\n  mount,\n  deny /tmp/denied rw,";
        let text = format!("profile {name} flags=(attach_disconnected) {{\n  {rules}\n}}\n");
        let profile = Self { file: sandbox.make_file("profile", &text)?, name };
        profile.call("--replace")?;
        Ok(profile)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label of a process that it confines.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} (enforce)", self.name)
    }

    fn call(&self, what: &str) -> Check {
        let words = [what, "--skip-cache"];
        let output = Command::new("apparmor_parser").args(words).arg(&self.file).output()?;
        check!(output.status.success(), "apparmor_parser: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if let Err(failed) = self.call("--remove") {
            let why = failed.message().unwrap_or_default();
            leaks::record(vec![format!("the profile {} stays: {why}", self.name)]);
        }
    }
}
