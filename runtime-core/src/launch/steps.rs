//! The host's own steps of a plan.

use super::{Host, Place};
use crate::cgroup::live;
use crate::cgroup::systemd::Unit;
use crate::cgroup::systemd::manager::Manager;
use crate::error::{Error, ErrorKind, Lane, Result};
use crate::hooks;
use crate::plan::Step;
use crate::plan::action::{Action, CgroupDir};
use crate::rdt;
use crate::sys;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

impl Host<'_> {
    /// One of the host's own steps.
    pub(super) fn host_step(&mut self, step: &Step) -> Result<()> {
        match &step.action {
            Action::CgroupEnable { dir, controllers } => live::enable(dir, controllers),
            Action::CgroupCreate { dirs } => live::create(dirs, &mut self.made),
            Action::UnitProperty(property) => {
                self.properties.push(property.clone());
                Ok(())
            }
            Action::Scope { unit, dirs, by_handle } => self.start_scope(unit, dirs, *by_handle),
            Action::UnitChange { unit, property } => {
                Manager::open(unit.user)?.set(unit, std::slice::from_ref(property))
            }
            Action::Attach { unit, below } => {
                let pid = self.process.as_ref().map_or(0, |p| p.0);
                Manager::open(unit.user)?.attach(unit, below, pid)
            }
            Action::CgroupWrite { file, value } => live::set_limit(file, value),
            // One that was there has an owner.
            Action::CgroupOwner { dir, uid } if self.made.contains(dir) => live::give(dir, *uid),
            Action::CgroupOwner { .. } => Ok(()),
            Action::DevicesV1 { dir, rules } => live::write_rules(dir, rules),
            Action::DevicesV2 { dir, rules } => {
                self.cgroup = Some((dir.clone(), attach_devices(dir, rules)?));
                Ok(())
            }
            Action::RdtClass(class) => {
                if rdt::enter_class(&mut rdt::Kernel, class)? {
                    let own = class.missing == rdt::Missing::MakeOwn;
                    if own { &mut self.made } else { &mut self.lasting }.push(class.dir.clone());
                }
                Ok(())
            }
            Action::RdtSchemata { mount, file, lines } => {
                rdt::set_schemata(&mut rdt::Kernel, mount, file, lines)
            }
            Action::RdtMonitor { mount, dir } => {
                rdt::make_monitor(&mut rdt::Kernel, mount, dir)?;
                // It goes before its class, and with the container whoever made it.
                self.made.insert(0, dir.clone());
                Ok(())
            }
            Action::RdtJoin { groups, further } => {
                let pid = self.process.as_ref().map_or(0, |p| p.0);
                rdt::add(&mut rdt::Kernel, groups, pid, *further)
            }
            Action::MapIds { maps, by } => self.map_ids(maps, by),
            Action::CompareMaps { maps } => self.compare_maps(maps),
            Action::TimeOffsets { monotonic, boottime } => self.set_clocks(*monotonic, *boottime),
            Action::NetDevice { name, inside } => self.move_device(name, inside),
            Action::TakeRoot => self.take_root(),
            Action::CloneRoot { path } => self.clone_root(path),
            Action::CloneSource { source, recursive, idmap } => {
                self.clone_source(source, *recursive, idmap.as_ref(), step.lane == Lane::Mntns)
            }
            Action::Rlimit { name, resource, soft, hard } => {
                let pid = self.process.as_ref().map_or(0, |p| p.0);
                sys::set_limit(pid, *resource, *soft, *hard)
                    .map_err(|e| Error::io(format!("prlimit({name}, {soft}, {hard})"), &e))
            }
            Action::Hook(hook) => {
                let pid = self.process.as_ref().map_or(0, |p| p.0);
                hooks::run(hook, &self.preliminary()?.document("creating", pid))
            }
            Action::ReceiveConsole => match self.console {
                Some(_) => Ok(()),
                None => Err(Error::new(ErrorKind::Internal, "init sent no terminal")),
            },
            _ => Err(Error::new(ErrorKind::Internal, "a step of init in the host's lane")),
        }
    }

    /// The root of the container's process, for one that joins it.
    fn take_root(&mut self) -> Result<()> {
        let Place::In(init, pid) = self.place else {
            return Err(Error::new(ErrorKind::Internal, "the root of a container that is not there"));
        };
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let root = sys::look::place(&path);
        // Its pid is its own as long as it has not been reaped.
        if sys::poll_exit(init, Some(0)).unwrap_or(true) {
            return Err(Error::new(ErrorKind::WrongState, "cannot exec in a stopped container"));
        }
        self.source = Some(root.map_err(|e| Error::io(format!("open({})", path.display()), &e))?.into());
        Ok(())
    }

    /// Lets systemd place the process, and places it where systemd does not look: it knows not every v1 hierarchy.
    fn start_scope(&mut self, unit: &Unit, dirs: &[CgroupDir], by_handle: bool) -> Result<()> {
        let Some((pid, pidfd)) = &self.process else {
            return Err(Error::new(ErrorKind::Internal, "no process"));
        };
        let properties = std::mem::take(&mut self.properties);
        let handle = by_handle.then(|| pidfd.as_fd());
        Manager::open(unit.user)?.start(unit, &properties, *pid, handle)?;
        self.unit = Some(unit.clone());
        live::complete(dirs, *pid, &mut self.made)
    }
}

/// Puts the device program on a v2 cgroup, which is opened for that.
fn attach_devices(dir: &std::path::Path, rules: &[crate::cgroup::devices::DeviceRule]) -> Result<File> {
    let program = crate::cgroup::device_bpf::compile(rules)
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, e.to_string()))?;
    let loaded = sys::bpf::load(&program).map_err(|e| Error::io("bpf(BPF_PROG_LOAD)", &e))?;
    let cgroup = File::open(dir).map_err(|e| Error::io(format!("open({})", dir.display()), &e))?;
    sys::bpf::attach(cgroup.as_fd(), loaded.as_fd(), None)
        .map_err(|e| Error::io(format!("bpf(BPF_PROG_ATTACH, {})", dir.display()), &e))?;
    Ok(cgroup)
}
