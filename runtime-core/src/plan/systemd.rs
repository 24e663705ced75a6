//! A container that systemd places: the properties of its scope, the scope, and what systemd has no property for.
//!
//! systemd moves a process that exists, so the scope comes after init was executed outside; whoever it clones is
//! born in the scope, and the first process leaves it by exiting.

use super::Builder;
use super::action::{Action, CgroupDir};
use crate::cgroup::systemd::{self, Property, Unit, Value};
use crate::cgroup::{Write, live};
use crate::error::{Error, ErrorKind, Result};
use crate::facts::HostFacts;
use std::path::Path;

const FIELD: &str = "/linux/cgroupsPath";

/// Finds the unit and where its cgroups will be.
pub(super) fn name(b: &mut Builder<'_>, path: Option<&Path>) -> Result<()> {
    let facts = of(b.facts)?;
    let path = path.map(|p| p.to_string_lossy());
    let unit = Unit::of(path.as_deref(), b.id, facts.user)?;
    if facts.user && !b.facts.cgroup.v1.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a user's systemd can limit containers on cgroup v2 only, and this host has v1 hierarchies",
        )
        .at(FIELD)
        .hint("boot with systemd.unified_cgroup_hierarchy=1, or leave out --systemd-cgroup"));
    }
    let below = Path::new(&facts.cgroup).join(unit.below()?);
    b.cgroups =
        super::cgroups::each(b, |_| super::clean(&below).strip_prefix("/").unwrap_or(&below).to_owned());
    if b.cgroups.is_empty() {
        return Err(
            Error::new(ErrorKind::Unsupported, "no cgroup hierarchy was found at /sys/fs/cgroup").at(FIELD)
        );
    }
    b.unit = Some(unit);
    Ok(())
}

fn of(facts: &HostFacts) -> Result<&systemd::Facts> {
    facts.systemd.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "these facts do not know systemd, which is to place the container")
            .hint("record them with HostFacts::with_systemd")
    })
}

/// The steps that make the scope and set its limits, after init was executed.
pub(super) fn scope(b: &mut Builder<'_>) -> Result<()> {
    let Some(unit) = b.unit.clone() else { return Ok(()) };
    let facts = of(b.facts)?;
    let resources = b.linux().and_then(|l| l.resources().clone()).unwrap_or_default();
    let pure_v2 = b.facts.cgroup.v1.is_empty();
    let (writes, on_v2) = super::cgroups::limits(b, &resources)?;
    let (mut properties, files) = systemd::limits(&writes, facts.version, pure_v2);
    let late = late(&mut properties);
    let rules = super::cgroups::device_rules(&resources)?;
    let annotations = b.spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let all = kind(b.id, &unit, pure_v2)
        .into_iter()
        .chain(systemd::annotated(&annotations)?)
        .chain(systemd::devices(&rules))
        .chain(properties);
    for property in all {
        b.host(property.field.clone(), Action::UnitProperty(property));
    }
    let dirs = b.cgroups.clone();
    b.host(FIELD, Action::Scope { unit, dirs, by_handle: facts.version >= systemd::WITH_HANDLES });
    let (late_files, files): (Vec<Write>, Vec<Write>) =
        files.into_iter().partition(|w| w.file == "pids.max" && late.is_some());
    enable(b, &files);
    super::delegation::owner(b);
    super::cgroups::write(b, &files, &on_v2)?;
    if b.facts.host_root() {
        super::cgroups::push_devices(b, &resources, pure_v2)?;
    }
    b.late = late.map(|property| (property, late_files));
    Ok(())
}

/// A limit of one process leaves no room for the one that clones it.
fn late(properties: &mut Vec<Property>) -> Option<Property> {
    let tight = |p: &Property| p.name == "TasksMax" && matches!(p.value, Value::U64(..=1));
    let at = properties.iter().position(tight)?;
    Some(properties.remove(at))
}

/// The step that was too early for the scope, after the clone.
pub(super) fn after_clone(b: &mut Builder<'_>) -> Result<()> {
    let (Some((property, files)), Some(unit)) = (b.late.take(), b.unit.clone()) else { return Ok(()) };
    b.host(property.field.clone(), Action::UnitChange { unit, property });
    super::cgroups::write(b, &files, &[])
}

/// What every container's scope is like.
fn kind(id: &str, unit: &Unit, pure_v2: bool) -> Vec<Property> {
    let words = "(lifecycle)";
    let io = if pure_v2 { "IOAccounting" } else { "BlockIOAccounting" };
    let mut all = vec![
        Property::new("Description", Value::Str(format!("oxrun container {id}")), words),
        Property::new("Slice", Value::text(&unit.slice), FIELD),
        // Its cgroup is the container's, and what is written to it stays.
        Property::new("Delegate", Value::Bool(true), words),
        // It is stopped by whoever made it, not at the beginning of a shutdown.
        Property::new("DefaultDependencies", Value::Bool(false), words),
    ];
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        all.push(Property::new(name, Value::Bool(true), words));
    }
    all
}

/// Controllers that systemd does not give to its units, for those who need them.
fn enable(b: &mut Builder<'_>, files: &[Write]) {
    let tree = b.cgroups.iter().find(|d| d.controllers.is_none()).cloned();
    let Some(dir) = tree.filter(|_| b.facts.host_root()) else { return };
    let others = |w: &&Write| {
        !systemd::MANAGED.contains(&w.controller.as_str())
            && live::dir_of(&b.cgroups, &w.controller) == Some(&dir)
    };
    let Some(field) = files.iter().find(others).map(|w| w.field.clone()) else { return };
    let mut controllers: Vec<String> = files.iter().filter(others).map(|w| w.controller.clone()).collect();
    controllers.dedup();
    b.host(field, Action::CgroupEnable { dir, controllers });
}

/// A further process of a user's container: its own cgroup and the container's have nothing above them that the user
/// may write to, where the caller was not started by the same systemd. systemd may.
pub(super) fn attach(b: &mut Builder<'_>, unit: &Unit, own: &[CgroupDir]) {
    let tree = |dirs: &[CgroupDir]| dirs.iter().find(|d| d.controllers.is_none()).map(|d| d.path.clone());
    let (Some(own), Some(chosen)) = (tree(own), tree(&b.cgroups)) else { return };
    let below = chosen.strip_prefix(&own).unwrap_or(Path::new("")).to_path_buf();
    b.host(FIELD, Action::Attach { unit: unit.clone(), below });
}
