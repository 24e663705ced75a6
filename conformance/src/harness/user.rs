//! A caller without rights: `nobody`, whom every Debian knows. What a test needs of the host for it, ids that are
//! granted and cgroups that are delegated, is made for that test alone and goes with it.

use super::config::Config;
use super::host::Host;
use super::leaks;
use super::sandbox::{Sandbox, remove_cgroup};
use crate::{Check, Failed, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The caller.
#[derive(Debug)]
pub struct User;

impl User {
    /// Its user and group id.
    pub const ID: u32 = 65534;
    /// The first of the ids that [`Granted`] grants.
    pub const FIRST: u32 = 200_000;
    /// How many these are.
    pub const COUNT: u32 = 10_000;

    /// Why nobody can be called as the user here.
    #[must_use]
    pub fn missing() -> Option<String> {
        (!Path::new("/usr/bin/setpriv").exists()).then(|| "setpriv is not installed".to_owned())
    }

    /// Why the user can be granted no ids here.
    #[must_use]
    pub fn without_helpers() -> Option<String> {
        let missing =
            ["newuidmap", "newgidmap"].into_iter().find(|n| !Path::new("/usr/bin").join(n).exists());
        missing.map(|name| format!("{name} is not installed (package uidmap)")).or_else(Self::missing)
    }

    /// Gives a tree to the user.
    ///
    /// # Errors
    /// If it cannot be read or given.
    pub fn own(path: &Path) -> Check {
        Self::give(path, Self::ID)
    }

    /// Gives a tree to the user and group of this id.
    ///
    /// # Errors
    /// As [`User::own`].
    pub fn give(path: &Path, id: u32) -> Check {
        chown(path, Some(id), Some(id))?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                Self::give(&entry?.path(), id)?;
            }
        }
        Ok(())
    }

    /// A mapping of the user's own id alone.
    #[must_use]
    pub fn single() -> Value {
        json!([{ "containerID": 0, "hostID": Self::ID, "size": 1 }])
    }

    /// The same with the ids that were granted.
    #[must_use]
    pub fn ranges() -> Value {
        json!([
            { "containerID": 0, "hostID": Self::ID, "size": 1 },
            { "containerID": 1, "hostID": Self::FIRST, "size": Self::COUNT }
        ])
    }

    /// What the user can have: no network, no limits, a cgroup that is not its own choice.
    #[must_use]
    pub fn config(args: &[&str], maps: &Value) -> Config {
        let config = Config::new(args)
            .without_namespace("network")
            .namespace("user", None)
            .set("/linux/uidMappings", maps.clone())
            .set("/linux/gidMappings", maps.clone())
            .without_mount("/sys")
            .remove("/linux/cgroupsPath")
            .remove("/linux/resources");
        // The group of terminals has no id there.
        config.remove("/mounts/2/options/5")
    }
}

impl Sandbox {
    /// Has the runtime called by the user, from a copy that everybody may execute. `enter` are words of a shell for
    /// what root does before, each call anew.
    ///
    /// # Errors
    /// If the copy or the state root cannot be made.
    pub fn call_as_user(&mut self, enter: &str) -> Check {
        let state = self.runtime().root();
        if !state.exists() {
            fs::create_dir(&state)?;
            chown(&state, Some(User::ID), Some(User::ID))?;
        }
        let copy = self.executable(self.runtime().program(), "runtime")?;
        let user = format!("setpriv --reuid {0} --regid {0} --clear-groups", User::ID);
        // The copy takes the place of the first word.
        let line = format!("set -e\n{enter}\nshift\nexec {user} {} \"$@\"", copy.display());
        self.runtime_mut().wrap(&["sh", "-c", &line, "sh"]);
        Ok(())
    }

    /// A copy of a program that everybody may execute.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn executable(&self, program: &Path, name: &str) -> Check<PathBuf> {
        let copy = self.dir().join(name);
        if !copy.exists() {
            fs::copy(program, &copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        }
        Ok(copy)
    }
}

/// Ids that newuidmap(1) and newgidmap(1) grant to the user, in this process's mount namespace. To be dropped before
/// the sandbox, which compares mounts.
#[derive(Debug)]
pub struct Granted(Vec<PathBuf>);

impl Granted {
    /// Grants [`User::COUNT`] ids from [`User::FIRST`].
    ///
    /// # Errors
    /// If the files cannot be covered.
    pub fn new(sandbox: &Sandbox) -> Check<Self> {
        let text = format!("{}:{}:{}\n", User::ID, User::FIRST, User::COUNT);
        let file = sandbox.make_file("subid", &text)?;
        let mut granted = Self(Vec::new());
        for target in ["/etc/subuid", "/etc/subgid"] {
            sys::mount(&file, Path::new(target), "", libc::MS_BIND)?;
            granted.0.push(target.into());
        }
        Ok(granted)
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        for target in &self.0 {
            if let Err(error) = sys::unmount(target) {
                leaks::record(vec![format!("{} stays covered: {error}", target.display())]);
            }
        }
    }
}

/// A part of each cgroup hierarchy that the user was given: `user` below a directory of root's, which says what
/// controllers come along, and in it `job` for the user's own processes.
#[derive(Debug)]
pub struct Delegated {
    name: String,
    above: Vec<PathBuf>,
}

impl Delegated {
    /// Delegates for the user of a sandbox, with these controllers where there is cgroup v2 alone. To be dropped
    /// after the sandbox, which ends who is inside.
    ///
    /// # Errors
    /// If the cgroups cannot be made.
    pub fn new(sandbox: &Sandbox, controllers: &[&str]) -> Check<Self> {
        // The sandbox takes what begins with its own prefix for a leak.
        let mut new = Self { name: Self::above(sandbox), above: Vec::new() };
        for root in Host::cgroup_roots()?.into_iter().filter(|root| root.starts_with(HIERARCHIES)) {
            let above = root.join(&new.name);
            fs::create_dir(&above)?;
            new.above.push(above.clone());
            if fs::read_to_string(above.join("cpuset.cpus")).is_ok_and(|cpus| cpus.trim().is_empty())
                && above.join("tasks").exists()
            {
                // Nobody can be placed below such a one of v1 before it has CPUs.
                continue;
            }
            for controller in controllers {
                fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
            for dir in [above.join("user"), above.join("user/job")] {
                fs::create_dir(&dir)?;
                for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"] {
                    let file = dir.join(file);
                    if file.exists() {
                        chown(file, Some(User::ID), Some(User::ID))?;
                    }
                }
            }
        }
        Ok(new)
    }

    /// The name of what is above the user's part, for the user of a sandbox.
    #[must_use]
    pub fn above(sandbox: &Sandbox) -> String {
        format!("user-{}", sandbox.cgroup_prefix())
    }

    /// The path of the user's part in its hierarchies, without leading slash.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/user", self.name)
    }

    /// The directory of the user's part where there is cgroup v2 alone.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        Path::new(HIERARCHIES).join(self.path())
    }

    /// Words of a shell that move it to this place in the user's part of each hierarchy.
    #[must_use]
    pub fn enter(&self, place: &str) -> String {
        let places = self.above.iter().map(|above| above.join("user").join(place));
        let lines = places.filter(|place| place.exists());
        lines.map(|place| format!("echo 0 >{}/cgroup.procs\n", place.display())).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for above in &self.above {
            if let Err(error) = remove_cgroup(above).map_err(Failed::from) {
                let why = error.message().unwrap_or_default().to_owned();
                leaks::record(vec![format!("{} stays: {why}", above.display())]);
            }
        }
    }
}
