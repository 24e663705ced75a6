//! The suite works in cgroups of its own, one below the caller's in each mounted hierarchy, and
//! removes exactly those. Nothing that existed before is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One mounted cgroup hierarchy and the suite's own group in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hierarchy {
    /// Where the host has it, and where it is mounted again inside.
    pub(super) mount_point: PathBuf,
    /// The v1 controllers or `name=...`, as in /proc/self/cgroup; empty for v2.
    pub(super) key: String,
    /// The suite's own group, as a path of the host.
    pub(super) group: PathBuf,
}

impl Hierarchy {
    /// True for the unified hierarchy.
    pub(super) fn v2(&self) -> bool {
        self.key.is_empty()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.group.join(file)
    }
}

/// Finds the mounted hierarchies and names a group called `name` in each.
pub(super) fn discover(name: &str) -> Result<Vec<Hierarchy>, String> {
    let read = |p: &str| fs::read_to_string(p).map_err(|e| format!("{p}: {e}"));
    let found = parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, name);
    if found.is_empty() {
        return Err("no cgroup hierarchy is mounted below /sys/fs/cgroup".into());
    }
    Ok(found)
}

fn parse(mountinfo: &str, own: &str, name: &str) -> Vec<Hierarchy> {
    let own: Vec<(&str, &str)> = own
        .lines()
        .filter_map(|l| {
            let mut parts = l.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
        .collect();
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (&[_, _, _, root, point, ..], &[fstype, _, options, ..]) = (&left[..], &right[..]) else {
            continue;
        };
        let options: Vec<&str> = options.split(',').collect();
        let is_ours = |key: &str| match fstype {
            "cgroup2" => key.is_empty(),
            "cgroup" => !key.is_empty() && key.split(',').all(|c| options.contains(&c)),
            _ => false,
        };
        let Some((key, path)) = own.iter().find(|(key, _)| is_ours(key)) else {
            continue;
        };
        let point = Path::new(point);
        if !point.starts_with("/sys/fs/cgroup") || found.iter().any(|h| h.key == *key) {
            continue;
        }
        // A group with processes in it cannot hand v2 controllers on, the root can.
        let below = if key.is_empty() && point == Path::new("/sys/fs/cgroup") {
            Path::new("")
        } else {
            let path = Path::new(path);
            path.strip_prefix(root).unwrap_or(path)
        };
        let below = below.strip_prefix("/").unwrap_or(below);
        found.push(Hierarchy {
            mount_point: point.into(),
            key: (*key).into(),
            group: point.join(below).join(name),
        });
    }
    found
}

/// Makes the groups. A new cpuset group starts empty and gets what its parent has.
pub(super) fn create(all: &[Hierarchy]) -> Result<(), String> {
    for h in all {
        let group = &h.group;
        fs::create_dir(group).map_err(|e| format!("mkdir {}: {e}", group.display()))?;
        if h.key.split(',').any(|c| c == "cpuset") {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let parent = h.path("..").join(file);
                let value = fs::read(&parent).map_err(|e| format!("{}: {e}", parent.display()))?;
                let own = h.path(file);
                fs::write(&own, value).map_err(|e| format!("{}: {e}", own.display()))?;
            }
        }
    }
    Ok(())
}

/// Moves the calling process into the groups.
pub(super) fn join(all: &[Hierarchy]) -> Result<(), String> {
    for h in all {
        let procs = h.path("cgroup.procs");
        fs::write(&procs, "0").map_err(|e| format!("{}: {e}", procs.display()))?;
    }
    Ok(())
}

/// Removes the groups with everything below. The processes are gone by now, but v1 needs a
/// moment until it lets go of the last one, and gives no event.
pub(super) fn remove(all: &[Hierarchy]) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(5);
    for h in all {
        while h.group.exists() {
            if let Err(e) = remove_tree(&h.group) {
                if Instant::now() > until {
                    return Err(format!("rmdir {}: {e}", h.group.display()));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    for child in subgroups(group) {
        remove_tree(&child)?;
    }
    fs::remove_dir(group)
}

/// The groups directly below `group`.
pub(super) fn subgroups(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else {
        return Vec::new();
    };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_get_one_group_below_the_callers_in_each_hierarchy() {
        let mounts = "30 1 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:27 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory\n\
            33 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            34 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/jobs/a\n3:name=systemd:/\n2:cpu,cpuacct:/\n0::/\n";
        let groups: Vec<String> =
            parse(mounts, own, "x").iter().map(|h| h.group.display().to_string()).collect();
        assert_eq!(
            groups,
            [
                "/sys/fs/cgroup/cpu,cpuacct/x",
                "/sys/fs/cgroup/memory/jobs/a/x",
                "/sys/fs/cgroup/systemd/x",
                "/sys/fs/cgroup/unified/x"
            ]
        );
    }

    #[test]
    fn a_unified_host_gets_its_group_below_the_root() {
        let mounts = "30 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = parse(mounts, "0::/user.slice/s.scope\n", "x");
        assert_eq!(found[0].group, Path::new("/sys/fs/cgroup/x"));
        assert!(found[0].v2());
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_understood() {
        let mounts = "31 30 0:26 /box /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let found = parse(mounts, "2:pids:/box/in\n", "x");
        assert_eq!(found[0].group, Path::new("/sys/fs/cgroup/pids/in/x"));
    }
}
