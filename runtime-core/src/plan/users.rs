//! User namespaces: made with maps, or joined; and whose ids a mount shows.
//!
//! What must hold: whoever has rights on the host gives them up in one place, after everything that needs them
//! and before anything of the container is made. A clone of a mount that was made in the host's mount namespace
//! carries no locks there: root of the container could lift its flags and uncover what it covers. So with a
//! user namespace the root and all sources are cloned in the container's own mount namespace, by a thread with
//! the caller's rights (lane `mntns`).

use super::Builder;
use super::action::{Action, IdMap, IdMaps, Idmap, MapWriter, Namespace};
use crate::error::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxIdMapping, Mount};

/// Lines of a map from the config.
fn lines(list: Option<&Vec<LinuxIdMapping>>) -> Vec<IdMap> {
    list.into_iter()
        .flatten()
        .map(|m| IdMap { inside: m.container_id(), outside: m.host_id(), size: m.size() })
        .collect()
}

fn configured(b: &Builder<'_>) -> IdMaps {
    let linux = b.linux();
    IdMaps {
        uids: lines(linux.and_then(|l| l.uid_mappings().as_ref())),
        gids: lines(linux.and_then(|l| l.gid_mappings().as_ref())),
    }
}

/// Refuses maps that nothing would use.
pub(super) fn check(b: &Builder<'_>) -> Result<()> {
    let maps = configured(b);
    let has = b.namespaces.has(Namespace::User);
    for (list, name) in [(&maps.uids, "uid"), (&maps.gids, "gid")] {
        let field = format!("/linux/{name}Mappings");
        if !has && !list.is_empty() {
            let text = "user namespace mappings specified, but user namespace isn't enabled in the config";
            return Err(Error::config(field, text).hint("add {\"type\": \"user\"} to linux.namespaces"));
        }
        if let Some(i) = list.iter().position(|m| m.size == 0) {
            return Err(Error::config(format!("{field}/{i}/size"), "a mapping of no ids"));
        }
    }
    Ok(())
}

/// The steps that make a user namespace and become its root.
pub(super) fn make(b: &mut Builder<'_>) -> Result<()> {
    let maps = configured(b);
    for (list, name) in [(&maps.uids, "uid"), (&maps.gids, "gid")] {
        if list.is_empty() {
            return Err(Error::config(
                format!("/linux/{name}Mappings"),
                format!("user namespaces enabled, but no {name} mappings found"),
            ));
        }
        if !list.iter().any(|m| m.inside == 0) {
            return Err(Error::config(
                format!("/linux/{name}Mappings"),
                format!("the mappings lack {name} 0, which sets the container up"),
            ));
        }
    }
    let by = writer(b, &maps)?;
    // newgidmap denies setgroups(2) to a user who maps no group but its own.
    let drop_groups = match by {
        MapWriter::Caller => true,
        MapWriter::Own => false,
        MapWriter::Helpers { .. } => !own(&maps.gids, b.facts.egid),
    };
    b.join("/linux/namespaces", Action::NewUser);
    b.host("/linux/uidMappings", Action::MapIds { maps, by });
    b.join("/linux/uidMappings", Action::BecomeRoot { drop_groups });
    Ok(())
}

/// Whether a map is of one id, the caller's own.
fn own(map: &[IdMap], id: u32) -> bool {
    matches!(map, [m] if m.outside == id && m.size == 1)
}

/// Who may write these maps.
fn writer(b: &Builder<'_>, maps: &IdMaps) -> Result<MapWriter> {
    if b.facts.euid == 0 {
        return Ok(MapWriter::Caller);
    }
    if own(&maps.uids, b.facts.euid) && own(&maps.gids, b.facts.egid) {
        return Ok(MapWriter::Own);
    }
    match &b.facts.map_helpers {
        Some([uid, gid]) => Ok(MapWriter::Helpers { uid: uid.clone(), gid: gid.clone() }),
        None => Err(Error::config(
            "/linux/uidMappings",
            "without root, ids other than the caller's own are mapped by newuidmap and newgidmap, which are \
             not installed",
        )
        .of_kind(ErrorKind::Unsupported)
        .hint("install the package uidmap, or map one id: {\"containerID\": 0, \"hostID\": <your uid>, \"size\": 1}")),
    }
}

/// The steps after a user namespace was joined by path.
pub(super) fn joined(b: &mut Builder<'_>, field: &str) {
    let maps = configured(b);
    if !(maps.uids.is_empty() && maps.gids.is_empty()) {
        b.warn(
            field,
            "a joined user namespace has its mappings; those of the config are only compared with them",
        );
        b.host("/linux/uidMappings", Action::CompareMaps { maps });
    }
    b.join(field, Action::BecomeRoot { drop_groups: b.facts.euid == 0 });
}

/// Whether sources are cloned with the caller's rights in the container's mount namespace.
pub(super) fn clones_outside(b: &Builder<'_>) -> bool {
    b.facts.euid == 0 && b.namespaces.has(Namespace::User)
}

/// The id map that a mount asks for. `word` is `Some(recursive)` with `idmap` or `ridmap` among its options.
pub(super) fn idmap(
    b: &Builder<'_>,
    field: &str,
    m: &Mount,
    word: Option<bool>,
    bind: bool,
) -> Result<Option<Idmap>> {
    let (uids, gids) = (lines(m.uid_mappings().as_ref()), lines(m.gid_mappings().as_ref()));
    let fail = |text: &str| Err(Error::config(field, text));
    if uids.is_empty() != gids.is_empty() {
        return fail("id-mapped mounts must have both uid and gid mappings specified");
    }
    if word.is_none() && uids.is_empty() {
        return Ok(None);
    }
    if !bind {
        return fail("id-mapped mounts are only supported for bind-mounts");
    }
    if b.facts.euid != 0 {
        return fail("id-mapped mounts are not supported for rootless containers");
    }
    let maps = (!uids.is_empty()).then_some(IdMaps { uids, gids });
    if maps.is_none() && !b.namespaces.has(Namespace::User) {
        return Err(Error::config(
            format!("{field}/options"),
            "an id-mapped mount needs mappings of its own or a container with a user namespace",
        )
        .hint("add uidMappings and gidMappings to the mount"));
    }
    Ok(Some(Idmap { maps, recursive: word == Some(true) }))
}
