//! Whose cgroups are: the part of the v2 tree that a caller without rights was given, and the container's own, which
//! its root is given.
//!
//! What must hold: without rights nothing is made or written outside of what was delegated; a container gets a cgroup
//! only where it sees no other, and never the limits that are set on it.

use super::action::{Action, CgroupDir, Namespace};
use super::options::{MountOptions, attr};
use super::{Builder, clean};
use crate::error::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// The cgroup whose children the caller's containers are, if the config names no absolute one: its parent, as in runc,
/// unless that is somebody else's.
pub(super) fn above(b: &Builder<'_>, own: &Path) -> PathBuf {
    let parent = own.parent().unwrap_or(own);
    match given(b) {
        Some(top) if !parent.starts_with(&top) => own.to_owned(),
        _ => parent.to_owned(),
    }
}

/// Whether a caller without rights may make these: in the v2 tree alone, below what was delegated to it.
pub(super) fn reaches(b: &Builder<'_>, dirs: &[CgroupDir]) -> bool {
    match (given(b), dirs) {
        (Some(top), [dir]) => {
            let path = Path::new("/").join(&dir.path);
            path != top && path.starts_with(&top)
        }
        _ => false,
    }
}

/// What was delegated to the caller.
fn given(b: &Builder<'_>) -> Option<PathBuf> {
    let tree = b.facts.cgroup.v2.as_ref().filter(|_| b.facts.rootless())?;
    tree.delegated.as_ref().map(|top| clean(Path::new(top)))
}

/// What callers know of runc, where a user may make no cgroup.
const NO_CGROUP: &str = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";

/// The refusal of limits where the caller has no cgroup to set them on.
pub(super) fn refusal(b: &Builder<'_>) -> Error {
    refused(b, "/linux/resources", NO_CGROUP.to_owned())
}

/// The refusal of a path that the config has chosen and the caller may not make.
pub(super) fn not_allowed(b: &Builder<'_>, dir: &Path) -> Error {
    let text = format!(
        "unable to apply cgroup configuration: mkdir {}: permission denied; {NO_CGROUP}",
        dir.display()
    );
    refused(b, "/linux/cgroupsPath", text)
}

fn refused(b: &Builder<'_>, field: &str, text: String) -> Error {
    let error = Error::config(field, text).of_kind(ErrorKind::Permission);
    match given(b) {
        Some(top) => error.hint(format!("cgroups below {} are delegated to this user", top.display())),
        None => {
            error.hint("no part of a cgroup v2 tree is delegated to this user: leave linux.resources out")
        }
    }
}

/// As in runc a container that sees its cgroup alone, in a namespace and a mount of its own that it may write to, may
/// make cgroups in it: the cgroup belongs to the user of its first process. Who has no rights owns all it made.
pub(super) fn owner(b: &mut Builder<'_>) {
    let own = b.namespaces.is_new(Namespace::Cgroup);
    if !own || b.facts.rootless() || !b.facts.cgroup.v1.is_empty() {
        return;
    }
    let Some(index) = b.spec.mounts().iter().flatten().position(|m| {
        let options = MountOptions::parse(m.options().as_deref().unwrap_or(&[]));
        let kind = m.typ().as_deref().unwrap_or("");
        matches!(kind, "cgroup" | "cgroup2")
            && options.bind.is_none()
            && clean(m.destination()) == Path::new("/sys/fs/cgroup")
            && options.set & attr::RDONLY == 0
    }) else {
        return;
    };
    let inside = b.spec.process().as_ref().map_or(0, |p| p.user().uid());
    let outside = if b.namespaces.has(Namespace::User) {
        // Nobody outside is an id without a map; the maps of a joined namespace may be in the config.
        let maps = b.linux().and_then(|l| l.uid_mappings().as_ref()).into_iter().flatten();
        maps.filter_map(|m| Some((m, inside.checked_sub(m.container_id())?)))
            .find(|(m, n)| *n < m.size())
            .and_then(|(m, n)| m.host_id().checked_add(n))
    } else {
        Some(inside)
    };
    let dir = b.cgroups.first().map(CgroupDir::dir);
    if let (Some(dir), Some(uid)) = (dir, outside.filter(|uid| *uid != 0)) {
        b.host(format!("/mounts/{index}"), Action::CgroupOwner { dir, uid });
    }
}
