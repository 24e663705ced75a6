//! Namespaces: which are new, which are joined, in which order.
//!
//! Host root joins what exists first and makes the user namespace afterwards: a namespace that is not
//! owned by the user namespace could not be joined from inside it. A user without rights is the other way
//! round: only inside its user namespace it may do anything.

use super::action::{Action, IdMap, Namespace};
use super::{Builder, clean};
use crate::error::{Error, ErrorKind, Result};
use crate::facts::HostFacts;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
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
        if !out.new.contains(&Namespace::Mount) {
            return Err(Error::config(
                "/linux/namespaces",
                "a container without a mount namespace of its own cannot be run yet",
            )
            .of_kind(ErrorKind::Unsupported));
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
    super::cgroups::join(b);
    if let Some(value) = b.spec.process().as_ref().and_then(|p| p.oom_score_adj()) {
        b.join("/process/oomScoreAdj", Action::OomScoreAdj { value });
    }
    for (i, kind, path) in b.namespaces.joined.clone() {
        if kind == Namespace::User {
            return Err(Error::config(
                format!("/linux/namespaces/{i}/path"),
                "a user namespace cannot be joined by path yet",
            )
            .of_kind(ErrorKind::Unsupported));
        }
        b.join(format!("/linux/namespaces/{i}/path"), Action::SetNs { kind, path });
    }
    let v2 = super::cgroups::v2_dir(b);
    let user = b.namespaces.is_new(Namespace::User);
    if user && v2.is_some() {
        // From inside the user namespace the host's cgroup could not be entered.
        b.join("/linux/cgroupsPath", Action::Clone { new: Vec::new(), cgroup: v2.clone() });
    }
    if user {
        user_namespace(b)?;
    }
    if b.namespaces.is_new(Namespace::Time) {
        return Err(Error::config("/linux/namespaces", "a time namespace cannot be made yet")
            .of_kind(ErrorKind::Unsupported));
    }
    // The cgroup namespace's root is the cgroup of the process that makes it: after the placement.
    let early = |n: &Namespace| !matches!(n, Namespace::User | Namespace::Cgroup);
    let new: Vec<Namespace> = b.namespaces.new.iter().copied().filter(early).collect();
    b.join("/linux/namespaces", Action::Clone { new, cgroup: v2.filter(|_| !user) });
    super::cgroups::join_pids(b);
    if b.namespaces.is_new(Namespace::Cgroup) {
        b.init("/linux/namespaces", Action::Unshare { new: vec![Namespace::Cgroup] });
    }
    Ok(())
}

fn user_namespace(b: &mut Builder<'_>) -> Result<()> {
    let linux = b.linux();
    let maps = |m: Option<&Vec<LinuxIdMapping>>| -> Vec<IdMap> {
        m.into_iter()
            .flatten()
            .map(|m| IdMap { inside: m.container_id(), outside: m.host_id(), size: m.size() })
            .collect()
    };
    let uids = maps(linux.and_then(|l| l.uid_mappings().as_ref()));
    let gids = maps(linux.and_then(|l| l.gid_mappings().as_ref()));
    for (map, name) in [(&uids, "uid"), (&gids, "gid")] {
        if map.is_empty() {
            return Err(Error::config(
                format!("/linux/{name}Mappings"),
                format!("user namespaces enabled, but no {name} mappings found"),
            ));
        }
    }
    if b.facts.host_root() {
        return Err(Error::config(
            "/linux/namespaces",
            "a user namespace made by root cannot be set up yet: its bind mounts would lose their locks",
        )
        .of_kind(ErrorKind::Unsupported));
    }
    let own = |map: &[IdMap], id: u32| matches!(map, [m] if m.outside == id && m.size == 1);
    if b.facts.euid != 0 && !(own(&uids, b.facts.euid) && own(&gids, b.facts.egid)) {
        return Err(Error::config(
            "/linux/uidMappings",
            "without root only the caller's own uid and gid can be mapped yet",
        )
        .of_kind(ErrorKind::Unsupported)
        .hint("map one id: {\"containerID\": 0, \"hostID\": <your uid>, \"size\": 1}"));
    }
    b.join("/linux/namespaces", Action::NewUser);
    b.host("/linux/uidMappings", Action::MapIds { uids, gids, deny_setgroups: b.facts.euid != 0 });
    b.join("/linux/uidMappings", Action::BecomeRoot);
    Ok(())
}

/// Session, host name, loopback.
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
    if b.namespaces.is_new(Namespace::Network) {
        b.init("/linux/namespaces", Action::Loopback);
    }
    Ok(())
}
