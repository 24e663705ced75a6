//! What the host is: everything beside the config that decides a plan.
//!
//! Facts are recorded once, are plain data and can be stored, so that a plan for another machine, for
//! rootless or for cgroup v2 is computed, compared and tested anywhere. Planning reads nothing else.

use crate::cgroup::live::said;
use crate::cgroup::systemd;
use crate::error::{Error, ErrorKind, Result};
use crate::seccomp::{FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One mounted v1 hierarchy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct V1Hierarchy {
    /// Its controllers, or `name=...`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The cgroup of the calling process in it, absolute.
    pub own: String,
}

/// The mounted v2 tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct V2Tree {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The cgroup of the calling process in it, absolute.
    pub own: String,
    /// The controllers that it has beside v1 hierarchies. Not recorded where it stands alone.
    #[serde(default)]
    pub controllers: Vec<String>,
    /// The highest cgroup at or above the caller's own that belongs to the caller, absolute: it may make cgroups below
    /// it and move processes among them (cgroups(7), "Delegation"). Recorded for who is not root of the host, on
    /// pure v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<String>,
}

/// The cgroup hierarchies of the host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// The v1 hierarchies in the order of /proc/self/cgroup; none on a pure v2 host.
    pub v1: Vec<V1Hierarchy>,
    /// The v2 tree; the only one on a pure v2 host, beside v1 on a hybrid one.
    pub v2: Option<V2Tree>,
}

impl CgroupFacts {
    /// `v1`, `v2`, `hybrid` or `none`.
    #[must_use]
    pub fn layout(&self) -> &'static str {
        match (self.v1.is_empty(), &self.v2) {
            (true, None) => "none",
            (true, Some(_)) => "v2",
            (false, None) => "v1",
            (false, Some(_)) => "hybrid",
        }
    }
}

/// The mounted resctrl filesystem and what of it can be set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResctrlFacts {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Shares of the L3 cache (CAT).
    pub cache: bool,
    /// Memory bandwidth (MBA).
    pub bandwidth: bool,
}

/// Everything that planning may know of the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostFacts {
    /// Kernel version, for the reader's sake.
    pub kernel: String,
    /// Effective user id of the caller.
    pub euid: u32,
    /// Effective group id of the caller.
    pub egid: u32,
    /// Whether the caller lives in a user namespace of its own.
    pub in_user_namespace: bool,
    /// The caller's bounding set: what a container can be given at most.
    pub bounding: u64,
    /// The caller's effective set.
    pub effective: u64,
    /// Highest capability that the kernel knows.
    pub last_cap: u32,
    /// The cgroup hierarchies.
    pub cgroup: CgroupFacts,
    /// Whether /proc/kcore exists.
    pub kcore: bool,
    /// newuidmap(1) and newgidmap(1), for a caller without rights.
    #[serde(default)]
    pub map_helpers: Option<[PathBuf; 2]>,
    /// Whether a call that an agent decides about can be left to signals that end it alone (Linux 5.19).
    #[serde(default = "yes")]
    pub wait_killable: bool,
    /// The resctrl filesystem, if one is mounted.
    #[serde(default)]
    pub resctrl: Option<ResctrlFacts>,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// Whether SELinux is on.
    pub selinux: bool,
    /// The systemd that can make cgroups. Only recorded by [`HostFacts::with_systemd`].
    #[serde(default)]
    pub systemd: Option<systemd::Facts>,
}

impl HostFacts {
    /// Records the facts of this host for the calling process.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on a kernel below 5.14; [`ErrorKind::Syscall`] if /proc cannot be
    /// read.
    pub fn record() -> Result<HostFacts> {
        HostFacts::record_in(false)
    }

    /// The same. A `fresh` process has changed nothing of its own since it was executed.
    pub(crate) fn record_in(fresh: bool) -> Result<HostFacts> {
        let kernel = sys::kernel_release();
        floor(&kernel)?;
        let (euid, egid) = sys::effective_ids();
        let caps = own_capabilities(fresh && euid == 0)?;
        let in_user_namespace = has_own_user_namespace()?;
        let mut cgroup = cgroups()?;
        if let Some(tree) =
            cgroup.v2.as_mut().filter(|_| cgroup.v1.is_empty() && (euid != 0 || in_user_namespace))
        {
            tree.delegated = delegated(tree);
        }
        Ok(HostFacts {
            euid,
            egid,
            in_user_namespace,
            bounding: caps.bounding,
            effective: caps.effective,
            last_cap: caps.last,
            cgroup,
            map_helpers: if euid == 0 { None } else { map_helpers() },
            wait_killable: !sys::seccomp_flags_unknown(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV),
            resctrl: resctrl()?,
            kcore: exists(Path::new("/proc/kcore"))?,
            apparmor: read_record("/sys/module/apparmor/parameters/enabled")?
                .is_some_and(|t| t.starts_with('Y')),
            selinux: exists(Path::new("/sys/fs/selinux/enforce"))?,
            systemd: None,
            kernel,
        })
    }

    /// The same facts with those of systemd: the system's for root of the host, the user's own for anybody else.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is none to be reached; [`ErrorKind::Timeout`] if it does not answer.
    pub fn with_systemd(mut self) -> Result<HostFacts> {
        self.systemd = Some(systemd::Facts::record(self.rootless())?);
        Ok(self)
    }

    /// The same host for the calling process: what is the machine's stays, what is the process's is read again.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of_this_process(&self, fresh: bool) -> Result<HostFacts> {
        let (euid, egid) = sys::effective_ids();
        let caps = own_capabilities(fresh && euid == 0)?;
        Ok(HostFacts {
            euid,
            egid,
            in_user_namespace: has_own_user_namespace()?,
            bounding: caps.bounding,
            effective: caps.effective,
            map_helpers: None,
            ..self.clone()
        })
    }

    /// Whether the caller is root of the host: real root, not that of a user namespace.
    #[must_use]
    pub fn host_root(&self) -> bool {
        self.euid == 0 && !self.in_user_namespace
    }

    /// Whether permission errors of cgroups and devices are expected and not failures.
    #[must_use]
    pub fn rootless(&self) -> bool {
        !self.host_root()
    }
}

/// What facts say that were recorded before they said it.
fn yes() -> bool {
    true
}

/// The text of a file, if there is one. What cannot be read is no fact.
fn read(path: &str) -> Result<Option<String>> {
    known(path, sys::read_file(path))
}

/// The same of a file that the kernel writes in one piece.
fn read_record(path: &str) -> Result<Option<String>> {
    known(path, sys::read_record(path))
}

fn known(path: &str, text: std::io::Result<String>) -> Result<Option<String>> {
    match text {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("read({path})"), &e)),
    }
}

fn of_type(path: &Path, e: &std::io::Error) -> Error {
    Error::io(format!("statfs({})", path.display()), e)
}

fn own_capabilities(fresh_root: bool) -> Result<sys::Caps> {
    sys::capabilities(fresh_root)
        .map_err(|e| Error::io("reading the caller's capabilities: prctl(PR_CAPBSET_READ), capget", &e))
}

/// The kernel makes a directory for it where it has it, so that mountinfo is read on few hosts.
fn resctrl() -> Result<Option<ResctrlFacts>> {
    let usual = Path::new("/sys/fs/resctrl");
    if !exists(usual)? {
        return Ok(None);
    }
    let elsewhere = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        filesystem.starts_with("resctrl ").then_some(PathBuf::from(mount.split(' ').nth(4)?))
    };
    let mount = match sys::is_resctrl(usual).map_err(|e| of_type(usual, &e))? {
        true => Some(usual.to_owned()),
        false => read("/proc/self/mountinfo")?.unwrap_or_default().lines().find_map(elsewhere),
    };
    let Some(mount) = mount else { return Ok(None) };
    let has = |what: &str| exists(&mount.join("info").join(what));
    let (cache, bandwidth) = (has("L3")?, has("MB")?);
    Ok(Some(ResctrlFacts { mount, cache, bandwidth }))
}

/// Whether there is something of this name.
fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| Error::io(format!("stat({})", path.display()), &e))
}

/// The programs are where PATH says, or in the usual places: a caller may have no PATH.
fn map_helpers() -> Option<[PathBuf; 2]> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| {
        let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let dirs = std::env::split_paths(&path).filter(|d| d.is_absolute()).chain(usual);
        dirs.map(|d| d.join(name)).find(|p| p.is_file())
    };
    Some([find("newuidmap")?, find("newgidmap")?])
}

/// The only place that looks at the version: to say one clear sentence.
fn floor(release: &str) -> Result<()> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < (5, 14) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("linux {release} is too old: 5.14 or newer is needed"),
        ));
    }
    Ok(())
}

/// Whether the calling process lives in a user namespace of its own: the initial one maps everything to itself.
/// Where that cannot be told it is taken for the initial one.
#[must_use]
pub fn in_user_namespace() -> bool {
    has_own_user_namespace().unwrap_or(false)
}

fn has_own_user_namespace() -> Result<bool> {
    // One line, or more than the initial one has.
    let map = read_record("/proc/self/uid_map")?;
    Ok(map.is_some_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"])))
}

/// Finds the hierarchies without reading mountinfo, which grows with every container: the standard
/// places below /sys/fs/cgroup, each verified to be a cgroup filesystem.
fn cgroups() -> Result<CgroupFacts> {
    let mut facts = CgroupFacts::default();
    let Some(text) = read_record("/proc/self/cgroup")? else {
        return Ok(facts);
    };
    let base = Path::new("/sys/fs/cgroup");
    if sys::is_cgroup2(base).map_err(|e| of_type(base, &e))? {
        if let Some(own) = text.lines().find_map(|l| l.strip_prefix("0::")) {
            let (mount, own) = (base.into(), own.into());
            facts.v2 = Some(V2Tree { mount, own, controllers: Vec::new(), delegated: None });
        }
        return Ok(facts);
    }
    let names: Vec<String> = match std::fs::read_dir(base) {
        Ok(dir) => {
            let entries: std::io::Result<Vec<_>> = dir.collect();
            let entries = entries.map_err(|e| Error::io(format!("read({})", base.display()), &e))?;
            entries.iter().filter_map(|e| e.file_name().into_string().ok()).collect()
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(facts),
        Err(e) => return Err(Error::io(format!("open({})", base.display()), &e)),
    };
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, Some(list), Some(own)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if list.is_empty() {
            let unified = base.join("unified");
            if sys::is_cgroup2(&unified).map_err(|e| of_type(&unified, &e))? {
                let list = said(&unified.join("cgroup.controllers"))?;
                let controllers = list.split_whitespace().map(str::to_owned).collect();
                facts.v2 = Some(V2Tree { mount: unified, own: own.into(), controllers, delegated: None });
            }
            continue;
        }
        let controllers: Vec<String> = list.split(',').map(str::to_owned).collect();
        let wanted: Vec<&str> = controllers.iter().map(|c| c.strip_prefix("name=").unwrap_or(c)).collect();
        let same = |name: &&String| {
            let parts: Vec<&str> = name.split(',').collect();
            parts.len() == wanted.len() && wanted.iter().all(|w| parts.contains(w))
        };
        if let Some(name) = names.iter().find(same) {
            facts.v1.push(V1Hierarchy { controllers, mount: base.join(name), own: own.into() });
        }
    }
    Ok(facts)
}

/// What of a v2 tree the caller may change: directory and `cgroup.procs` both, as the kernel asks for both.
fn delegated(tree: &V2Tree) -> Option<String> {
    let own = Path::new(&tree.own);
    // Beside the root that is mounted here.
    if !own.is_absolute() || own.components().any(|c| c == std::path::Component::ParentDir) {
        return None;
    }
    let mine = |path: &&Path| {
        let dir = tree.mount.join(path.strip_prefix("/").unwrap_or(path));
        sys::look::writable(&dir) && sys::look::writable(&dir.join("cgroup.procs"))
    };
    own.ancestors().filter(mine).last().map(|p| p.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{floor, own_capabilities};

    /// This process has changed nothing of its own since root executed it; if somebody else did, nothing is compared.
    #[test]
    fn the_permitted_set_of_a_fresh_process_of_root_tells_its_bounding_set() {
        let root = crate::sys::effective_user() == 0;
        let [short, long] = [root, false].map(|fresh| own_capabilities(fresh).expect("capabilities"));
        assert_eq!((short.bounding, short.effective, short.last), (long.bounding, long.effective, long.last));
        assert_ne!(
            long.bounding >> long.last & 1,
            long.bounding >> (long.last + 1) & 1,
            "{:x}",
            long.bounding
        );
    }

    #[test]
    fn kernels_below_the_floor_get_one_sentence() {
        assert!(floor("5.10.0-32-amd64").is_err_and(|e| e.to_string().contains("5.14 or newer")));
        for fine in ["5.14.0", "6.1.0-9-amd64", "6.18.44-fc-v669", "7.0"] {
            assert!(floor(fine).is_ok(), "{fine}");
        }
    }
}
