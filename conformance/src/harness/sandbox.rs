//! The scratch directory of one test. Whatever happens in the test, its directory, mounts, cgroups
//! and processes are gone afterwards. Nothing is removed through a mount that is still there: a
//! runtime that leaks a bind mount must not cost the host its files.

use super::config::Config;
use super::host::Host;
use super::leaks::{self, Leaks};
use super::runtime::Runtime;
use crate::{Check, Failed, sys};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A scratch directory with a runtime of its own.
#[derive(Debug)]
pub struct Sandbox {
    directory: PathBuf,
    name: String,
    probe: PathBuf,
    runtime: Runtime,
    before: Leaks,
    bundles: Cell<u32>,
}

/// A bundle directory.
#[derive(Clone, Debug)]
pub struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root filesystem.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Replaces config.json.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, text: impl AsRef<[u8]>) -> Check {
        Ok(fs::write(self.path.join("config.json"), text)?)
    }
}

impl Sandbox {
    /// A sandbox for the runtime under test. `probe` is the payload program.
    ///
    /// # Errors
    /// If there is no runtime, or no directory can be made.
    pub fn new(probe: impl AsRef<Path>) -> Check<Self> {
        Self::with_runtime(probe, Runtime::under_test()?)
    }

    /// A sandbox for a given runtime.
    ///
    /// # Errors
    /// If no directory can be made.
    pub fn with_runtime(probe: impl AsRef<Path>, runtime: impl AsRef<Path>) -> Check<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The dot ends the number: the prefix of 1 is not a prefix of 10.
        let name = format!("oxrun-test-{}-{number}.", std::process::id());
        let directory = fs::canonicalize(std::env::temp_dir())?.join(&name);
        let runtime = Runtime::new(runtime.as_ref(), &directory);
        let before = Leaks::snapshot(&name, &runtime.root())?;
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        let sandbox =
            Self { probe: directory.join("probe"), directory, name, runtime, before, bundles: Cell::new(0) };
        fs::copy(probe, &sandbox.probe)?;
        fs::set_permissions(&sandbox.probe, fs::Permissions::from_mode(0o755))?;
        Ok(sandbox)
    }

    /// The scratch directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// The probe, to be run on the host.
    #[must_use]
    pub fn probe(&self) -> &Path {
        &self.probe
    }

    /// What the names of this sandbox's cgroups start with.
    #[must_use]
    pub fn cgroup_prefix(&self) -> &str {
        &self.name
    }

    /// The runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The runtime, to change how it is called.
    pub fn runtime_mut(&mut self) -> &mut Runtime {
        &mut self.runtime
    }

    /// A picture of what a container may leave behind, as of now.
    ///
    /// # Errors
    /// If the host cannot be read.
    pub fn leaks(&self) -> Check<Leaks> {
        Leaks::snapshot(&self.name, &self.runtime.root())
    }

    /// Makes a directory of this name in the sandbox.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_dir(&self, name: &str) -> Check<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Writes a file of this name in the sandbox.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make_file(&self, name: &str, text: &str) -> Check<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Writes an executable shell script of this name in the sandbox.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make_script(&self, name: &str, body: &str) -> Check<PathBuf> {
        let path = self.make_file(name, &format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// A bundle with the probe at `/bin/probe`. The configuration gets a cgroup of its own, unless it names one;
    /// with a user namespace the directories belong to its root.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn bundle(&self, config: &Config) -> Check<Bundle> {
        let number = self.bundles.replace(self.bundles.get() + 1);
        let bundle = Bundle { path: self.directory.join(format!("bundle-{number}")) };
        let rootfs = bundle.rootfs();
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "home/user"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::hard_link(&self.probe, rootfs.join("bin/probe"))?;
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
        )?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\ntty:x:5:\nuser:x:1000:\n")?;
        shift(&rootfs, config)?;
        let mut config = config.clone();
        if config.get("/linux/cgroupsPath") == "/oxrun-test-unset" {
            config = config.set("/linux/cgroupsPath", format!("/{}{number}", self.name));
        }
        bundle.write(config.text())?;
        Ok(bundle)
    }

    /// Runs a container in the foreground, which must succeed, and returns the probe's report.
    ///
    /// # Errors
    /// If it fails or prints no report.
    pub fn report(&self, config: &Config) -> Check<Value> {
        let bundle = self.bundle(config)?;
        let id = format!("report-{}", self.bundles.get());
        self.runtime.run(bundle.path(), &id)?.success()?.json()
    }

    /// Makes and starts a container that runs `probe sleep`, waits until it does, and returns its
    /// pid.
    ///
    /// # Errors
    /// If the runtime fails.
    pub fn sleeper(&self, id: &str, config: &Config) -> Check<i32> {
        let bundle = self.bundle(&config.clone().args(&["/bin/probe", "sleep"]))?;
        self.runtime.start_ready(bundle.path(), id)
    }

    fn clean(&self) -> Check<Vec<String>> {
        // A zombie of exec keeps its pid namespace, and thereby the container, alive.
        while let Ok(Some(_)) = sys::reap(-1) {}
        let mut found = self.runtime.delete_all();
        while let Ok(Some(_)) = sys::reap(-1) {}
        found.extend(self.before.differences()?);
        self.kill_rest()?;
        for target in Host::mounts_below(&self.directory)? {
            sys::unmount(&target)?;
        }
        for cgroup in Host::cgroups(&self.name)? {
            remove_cgroup(&cgroup)?;
        }
        if !Host::mounts_below(&self.directory)?.is_empty() {
            return Err(Failed::from(format!("mounts remain below {}", self.directory.display())));
        }
        fs::remove_dir_all(&self.directory)?;
        Ok(found)
    }

    /// Kills by pid what runs in this sandbox's cgroups or has become our child since it exists.
    fn kill_rest(&self) -> Check {
        for cgroup in Host::cgroups(&self.name)? {
            // A frozen process does not die.
            let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
            let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
        }
        let ours = Host::children()?.into_iter().filter(|pid| !self.before.has_child(*pid));
        for pid in Host::processes_in(&self.name)?.into_iter().chain(ours) {
            let Ok(fd) = sys::pidfd(pid) else { continue };
            let _ = sys::kill(pid, libc::SIGKILL);
            sys::readable(fd.as_fd(), Duration::from_secs(60))?;
        }
        while let Ok(Some(_)) = sys::reap(-1) {}
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        match self.clean() {
            Ok(found) => leaks::record(found),
            Err(failed) => leaks::record(vec![format!(
                "{} could not be cleaned: {}",
                self.directory.display(),
                failed.message().unwrap_or_default()
            )]),
        }
    }
}

/// Removes a cgroup and those below it.
pub(super) fn remove_cgroup(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

/// Gives the directories of a root filesystem to root of the container's user namespace, as an engine does.
fn shift(rootfs: &Path, config: &Config) -> Check {
    let id = |kind: &str| -> Option<u32> {
        let first = config.get(&format!("/linux/{kind}Mappings/0"));
        (first["containerID"] == 0).then(|| first["hostID"].as_u64()?.try_into().ok()).flatten()
    };
    if let (Some(uid), Some(gid)) = (id("uid"), id("gid")) {
        for dir in ["", "bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
            chown(rootfs.join(dir), Some(uid), Some(gid))?;
        }
    }
    Ok(())
}
