//! Namespaces: which are new, which are joined, in which order.
//!
//! Host root joins what exists first and makes the user namespace afterwards: a namespace that is not
//! owned by the user namespace could not be joined from inside it. A user without rights is the other way
//! round: only inside its user namespace it may do anything.

use super::action::{Action, ClockOffset, Namespace};
use super::{Builder, clean};
use crate::error::{Error, Result};
use crate::facts::HostFacts;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::path::PathBuf;

/// The namespaces of a config.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespaces {
    /// Made anew.
    pub(crate) new: Vec<Namespace>,
    /// Joined, with the index in the config.
    pub(crate) joined: Vec<(usize, Namespace, PathBuf)>,
}

impl Namespaces {
    /// Reads linux.namespaces.
    pub(crate) fn of(spec: &Spec, facts: &HostFacts) -> Result<Namespaces> {
        let mut out = Namespaces::default();
        let list = spec.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or(&[]);
        for (i, n) in list.iter().enumerate() {
            let field = format!("/linux/namespaces/{i}");
            let kind = kind(n.typ());
            if out.new.contains(&kind) || out.joined.iter().any(|j| j.1 == kind) {
                return Err(Error::config(field, format!("duplicate namespace: {}", kind.name())));
            }
            match n.path().as_ref().filter(|p| !p.as_os_str().is_empty()) {
                None => out.new.push(kind),
                Some(path) if path.is_absolute() => out.joined.push((i, kind, clean(path))),
                Some(path) => {
                    return Err(Error::config(
                        format!("{field}/path"),
                        format!("namespace path {path:?} must be absolute"),
                    ));
                }
            }
        }
        if facts.euid != 0 && !out.has(Namespace::User) {
            return Err(Error::config("/linux/namespaces", "rootless container requires user namespaces")
                .hint("add {\"type\": \"user\"} and linux.uidMappings and gidMappings"));
        }
        // What is mounted is mounted in a namespace of the user namespace, from which nobody comes back.
        if out.has(Namespace::User) && !out.has(Namespace::Mount) {
            let text = "a container with a user namespace needs a mount namespace of its own";
            return Err(Error::config("/linux/namespaces", text).hint("add {\"type\": \"mount\"}"));
        }
        Ok(out)
    }

    /// Whether the container has its own, new or joined.
    pub(crate) fn has(&self, kind: Namespace) -> bool {
        self.is_new(kind) || self.joined.iter().any(|j| j.1 == kind)
    }

    /// Whether it is made anew.
    pub(crate) fn is_new(&self, kind: Namespace) -> bool {
        self.new.contains(&kind)
    }
}

fn kind(typ: LinuxNamespaceType) -> Namespace {
    match typ {
        LinuxNamespaceType::Mount => Namespace::Mount,
        LinuxNamespaceType::Cgroup => Namespace::Cgroup,
        LinuxNamespaceType::Uts => Namespace::Uts,
        LinuxNamespaceType::Ipc => Namespace::Ipc,
        LinuxNamespaceType::User => Namespace::User,
        LinuxNamespaceType::Pid => Namespace::Pid,
        LinuxNamespaceType::Network => Namespace::Network,
        LinuxNamespaceType::Time => Namespace::Time,
    }
}

/// The steps from the first process outside to the container's process.
pub(crate) fn join(b: &mut Builder<'_>) -> Result<()> {
    super::users::check(b)?;
    let user = b.namespaces.has(Namespace::User);
    super::cgroups::join(b, user);
    if let Some(value) = b.spec.process().as_ref().and_then(|p| p.oom_score_adj()) {
        b.join("/process/oomScoreAdj", Action::OomScoreAdj { value });
    }
    let v2 = super::cgroups::v2_dir(b);
    if user && v2.is_some() {
        // From inside the user namespace the host's cgroup could not be entered.
        b.join("/linux/cgroupsPath", Action::Clone { new: Vec::new(), cgroup: v2.clone() });
    }
    joined(b);
    if b.namespaces.is_new(Namespace::User) {
        super::users::make(b)?;
    }
    time(b)?;
    // The cgroup namespace's root is the cgroup of the process that makes it: after the placement.
    let early = |n: &Namespace| !matches!(n, Namespace::User | Namespace::Cgroup | Namespace::Time);
    let new: Vec<Namespace> = b.namespaces.new.iter().copied().filter(early).collect();
    b.join("/linux/namespaces", Action::Clone { new, cgroup: v2.filter(|_| !user) });
    super::systemd::after_clone(b)?;
    super::cgroups::join_pids(b, user);
    if b.namespaces.is_new(Namespace::Cgroup) {
        b.init("/linux/namespaces", Action::Unshare { new: vec![Namespace::Cgroup] });
    }
    Ok(())
}

/// Namespaces given by a path. With the rights of root those that no user namespace owns come first, the user
/// namespace last; without, nothing may be entered but from inside the user namespace. The mount namespace
/// comes behind the others, whose paths are the host's.
fn joined(b: &mut Builder<'_>) {
    let root = b.facts.euid == 0;
    let rank = |kind: Namespace| match kind {
        Namespace::User if root => 2,
        Namespace::User => 0,
        Namespace::Mount => 3,
        _ => 1,
    };
    let mut list = b.namespaces.joined.clone();
    list.sort_by_key(|(_, kind, _)| rank(*kind));
    for (i, kind, path) in list {
        let field = format!("/linux/namespaces/{i}/path");
        b.join(field.clone(), Action::SetNs { kind, path });
        if kind == Namespace::User {
            super::users::joined(b, &field);
        }
    }
}

/// A new time namespace: its clocks are set while no process is in it.
fn time(b: &mut Builder<'_>) -> Result<()> {
    let offsets = b.linux().and_then(|l| l.time_offsets().clone()).unwrap_or_default();
    let field = "/linux/timeOffsets";
    let mut of = [None, None];
    for (name, offset) in &offsets {
        let clock = ["monotonic", "boottime"].iter().position(|n| n == name);
        let Some(slot) = clock.and_then(|i| of.get_mut(i)) else {
            return Err(Error::config(format!("{field}/{name}"), format!("unknown clock {name:?}"))
                .hint("monotonic or boottime"));
        };
        let nanosecs = offset.nanosecs().unwrap_or(0);
        if nanosecs >= 1_000_000_000 {
            return Err(Error::config(format!("{field}/{name}/nanosecs"), "nanosecs is a second or more"));
        }
        *slot = Some(ClockOffset { secs: offset.secs().unwrap_or(0), nanosecs });
    }
    if !b.namespaces.is_new(Namespace::Time) {
        if offsets.is_empty() {
            return Ok(());
        }
        return Err(Error::config(
            field,
            if b.namespaces.has(Namespace::Time) {
                "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
            } else {
                "time namespace offsets specified, but time namespace isn't enabled in the config"
            },
        ));
    }
    b.join("/linux/namespaces", Action::Unshare { new: vec![Namespace::Time] });
    let [monotonic, boottime] = of;
    if monotonic.is_some() || boottime.is_some() {
        b.host(field, Action::TimeOffsets { monotonic, boottime });
    }
    Ok(())
}

/// Session, host name, network.
pub(crate) fn names(b: &mut Builder<'_>) -> Result<()> {
    let keyring = (!b.options.no_new_keyring).then(|| format!("_ses.{}", b.id));
    b.init("(lifecycle)", Action::Session { keyring });
    let names = [("hostname", b.spec.hostname().clone()), ("domainname", b.spec.domainname().clone())];
    for (what, name) in names {
        let Some(name) = name.filter(|n| !n.is_empty()) else {
            continue;
        };
        if !b.namespaces.has(Namespace::Uts) {
            return Err(Error::config(
                format!("/{what}"),
                format!("unable to set {what} without a private UTS namespace"),
            ));
        }
        // Linux takes 64 bytes; a NUL cannot be part of it.
        if name.len() > 64 || name.contains('\0') {
            return Err(Error::config(format!("/{what}"), format!("{what} is longer than 64 bytes")));
        }
        b.init(
            format!("/{what}"),
            if what == "hostname" { Action::Hostname { name } } else { Action::Domainname { name } },
        );
    }
    super::network::network(b)
}
