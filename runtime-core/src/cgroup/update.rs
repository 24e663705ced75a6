//! Changing the limits of a container that exists.
//!
//! What must hold: what is not named stays as it is, and a zero of memory, CPU and block I/O names nothing;
//! a change that the present values allow is not refused for the order of its writes; when one write fails,
//! those before it are taken back, the last one first.

use super::devices::DeviceRule;
use super::systemd::manager::Manager;
use super::systemd::{self, Unit};
use super::v1_devices::Allowed;
use super::{Write, device_bpf, freezer, live, v2};
use crate::container::Container;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::CgroupDir;
use crate::plan::cgroups as plan;
use crate::rdt;
use crate::sys;
use oci_spec::runtime::{LinuxMemory, LinuxResources};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The files of a container's cgroups: the kernel's, or a model of them.
trait Files {
    /// The text of a file, if it is there.
    fn read(&self, file: &Path) -> Option<String>;
    /// Writes a value.
    fn write(&mut self, file: &Path, value: &str) -> Result<()>;
}

struct Kernel;

impl Files for Kernel {
    fn read(&self, file: &Path) -> Option<String> {
        sys::read_file(file).ok()
    }
    fn write(&mut self, file: &Path, value: &str) -> Result<()> {
        live::set_limit(file, value)
    }
}

impl Container {
    /// Changes limits. What is not named stays; a zero of memory, CPU and block I/O names nothing. If one
    /// limit cannot be set, all have their old values again.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is stopped; why a limit cannot be set.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        self.while_alive(|cgroups| update(cgroups, resources, self.state().unit.as_ref()))
    }

    /// The same with the schemas of Intel RDT, of the L3 cache and of memory bandwidth.
    ///
    /// # Errors
    /// As [`Container::update`]; [`ErrorKind::Unsupported`] if the container was created without `linux.intelRdt`.
    pub fn update_with_rdt(
        &self,
        resources: &LinuxResources,
        cache: Option<&str>,
        bandwidth: Option<&str>,
    ) -> Result<()> {
        if cache.is_none() && bandwidth.is_none() {
            return self.update(resources);
        }
        let Some(groups) = &self.state().rdt else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "updating a non-existent Intel RDT configuration is not supported",
            ));
        };
        self.while_alive(|cgroups| {
            let before = rdt::change(&mut rdt::Kernel, groups, cache, bandwidth)?;
            // A document that names nothing needs no cgroup.
            if *resources == LinuxResources::default() {
                return Ok(());
            }
            let unit = self.state().unit.as_ref();
            update(cgroups, resources, unit).inspect_err(|_| rdt::restore(groups, &before))
        })
    }
}

/// Carries out an update.
fn update(dirs: &[CgroupDir], resources: &LinuxResources, unit: Option<&Unit>) -> Result<()> {
    if dirs.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "cannot set limits: the container has no cgroup of its own",
        ));
    }
    let pure_v2 = dirs.iter().all(|d| d.controllers.is_none());
    let present = |controller: &str, file: &str| {
        let dir = live::dir_of(dirs, controller)?.dir();
        Kernel.read(&live::limit_file(&dir.join(file)))
    };
    let on_v2 = if pure_v2 { Vec::new() } else { beside_v1(dirs)? };
    let devices = resources.devices().as_ref().filter(|d| !d.is_empty());
    let rules = devices.map(|_| plan::device_rules(resources)).transpose()?;
    let resources = &completed(resources, pure_v2, &present);
    refuse_what_is_in_use(resources, pure_v2, &present)?;
    let mut steps = Vec::new();
    let all = writes(resources, pure_v2, &on_v2, &present)?;
    for mut write in all.clone() {
        let dir = plan::controller_dir(dirs, &on_v2, &write)?.dir();
        let (file, value) = live::limit(&dir.join(&write.file), &write.value);
        write.value = value;
        steps.push((file, write));
    }
    let undo = carry_out(&steps, &mut Kernel)?;
    let told = unit.map_or(Ok(()), |unit| tell(unit, dirs, &all, rules.as_deref()));
    let undo = match told {
        Ok(()) => undo,
        Err(e) => return Err(take_back(undo, &mut Kernel, e)),
    };
    let Some(rules) = rules else { return Ok(()) };
    let changed = match live::dir_of(dirs, "devices") {
        // The user's systemd may not restrict devices either.
        _ if unit.is_some_and(|u| u.user) => Ok(()),
        Some(dir) if pure_v2 => replace_program(&dir.dir(), &rules),
        Some(dir) => change_list(dirs, &dir.dir(), &Allowed::by(&rules)),
        None => Err(Error::new(
            ErrorKind::Unsupported,
            "cannot set device rules: this host has no devices cgroup controller",
        )),
    };
    changed.map_err(|e| take_back(undo, &mut Kernel, e.or_at("/linux/resources/devices")))
}

/// Tells systemd what was written: it would write its own values again. What it rounds has its exact value afterwards.
fn tell(unit: &Unit, dirs: &[CgroupDir], writes: &[Write], rules: Option<&[DeviceRule]>) -> Result<()> {
    let pure_v2 = dirs.iter().all(|d| d.controllers.is_none());
    let mut manager = Manager::open(unit.user)?;
    let (mut properties, _) = systemd::limits(writes, manager.facts()?.version, pure_v2);
    // What happens when memory runs out is settled when a unit is made.
    properties.retain(|p| p.name != "OOMPolicy");
    if let Some(rules) = rules {
        properties.push(systemd::no_devices());
        properties.extend(systemd::devices(rules));
    }
    if properties.is_empty() {
        return Ok(());
    }
    let mut exact: Vec<(PathBuf, String)> = Vec::new();
    for file in ["cpu.max", "cpu.cfs_period_us", "cpu.cfs_quota_us"] {
        if let Some(dir) = live::dir_of(dirs, "cpu") {
            let file = dir.dir().join(file);
            let text = live::said(&file)?;
            // What systemd makes only now has nothing to be kept.
            if !text.is_empty() {
                exact.push((file, text));
            }
        }
    }
    // v1: systemd denies all devices before it allows those of the list.
    let freeze = !pure_v2 && rules.is_some() && !freezer::is_frozen(dirs)?;
    if freeze {
        freezer::freeze(dirs)?;
    }
    let set = manager.set(unit, &properties);
    let thawed = if freeze { freezer::thaw(dirs) } else { Ok(()) };
    set.and(thawed)?;
    for (file, text) in exact {
        if live::said(&file)? != text {
            live::write(&file, text.trim())?;
        }
    }
    Ok(())
}

/// The controllers that a container of a hybrid host has in the v2 tree.
fn beside_v1(dirs: &[CgroupDir]) -> Result<Vec<String>> {
    let Some(tree) = dirs.iter().find(|d| d.controllers.is_none()) else { return Ok(Vec::new()) };
    let list = live::said(&tree.dir().join("cgroup.controllers"))?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// What a file of a controller says.
type Present<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

/// A number of a v2 file; `max` is -1.
fn number(text: Option<&str>) -> Option<i64> {
    match text?.trim() {
        "max" => Some(-1),
        n => n.parse().ok(),
    }
}

/// On v2 one file holds quota and period, and the limit of swap stands without the memory: what is not named
/// comes from the present values.
fn completed(resources: &LinuxResources, pure_v2: bool, present: Present<'_>) -> LinuxResources {
    let mut all = resources.clone();
    if !pure_v2 {
        return all;
    }
    if let Some(memory) = all.memory_mut() {
        let of = |file| number(present("memory", file).as_deref());
        match (named(memory.limit()), named(memory.swap())) {
            (Some(limit), None) if limit != -1 => {
                let total = match (of("memory.max"), of("memory.swap.max")) {
                    (_, None | Some(-1)) | (None, _) => None,
                    (Some(-1), swap) => swap,
                    (Some(memory), Some(swap)) => Some(memory.saturating_add(swap)),
                };
                memory.set_swap(total);
            }
            (None, Some(_)) => {
                memory.set_limit(of("memory.max"));
            }
            _ => {}
        }
    }
    if let Some(cpu) = all.cpu_mut() {
        let text = present("cpu", "cpu.max").unwrap_or_default();
        let mut words = text.split_whitespace();
        let (old_quota, old_period) = (number(words.next()), number(words.next()));
        let period = cpu.period().filter(|p| *p != 0);
        match (named(cpu.quota()), period) {
            (Some(_), None) => {
                cpu.set_period(old_period.and_then(|p| u64::try_from(p).ok()));
            }
            (None, Some(_)) => {
                cpu.set_quota(old_quota);
            }
            _ => {}
        }
    }
    all
}

fn named(value: Option<i64>) -> Option<i64> {
    value.filter(|v| *v != 0)
}

/// `checkBeforeUpdate`: a limit below what is in use is refused before anything is written.
fn refuse_what_is_in_use(resources: &LinuxResources, pure_v2: bool, present: Present<'_>) -> Result<()> {
    let asked = |m: &&LinuxMemory| m.check_before_update() == Some(true);
    let Some(memory) = resources.memory().as_ref().filter(asked) else {
        return Ok(());
    };
    let of = |file| number(present("memory", file).as_deref()).unwrap_or(0);
    let (used, total) = if pure_v2 {
        let used = of("memory.current");
        (used, used + of("memory.swap.current"))
    } else {
        let total = of("memory.memsw.usage_in_bytes");
        (of("memory.usage_in_bytes"), total)
    };
    for (limit, used, what, field) in
        [(memory.limit(), used, "memory limit", "limit"), (memory.swap(), total, "memory+swap limit", "swap")]
    {
        if let Some(limit) = limit.filter(|l| *l > 0 && *l < used) {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("rejecting {what} {limit}: {used} bytes are in use"),
            )
            .at(format!("/linux/resources/memory/{field}")));
        }
    }
    Ok(())
}

/// The writes in an order that the present values allow.
fn writes(
    resources: &LinuxResources,
    pure_v2: bool,
    on_v2: &[String],
    present: Present<'_>,
) -> Result<Vec<Write>> {
    if pure_v2 {
        let mut all = v2::writes(resources)?;
        // A limit that only the conversion of swap needed, or that stays as it is, is not written again.
        all.retain(|w| {
            w.file != "memory.max" || present("memory", "memory.max").is_none_or(|old| old.trim() != w.value)
        });
        return Ok(all);
    }
    let mut all = super::hybrid_writes(resources, on_v2)?;
    let place = |file: &str| all.iter().position(|w| w.file == file);
    let both = place("memory.limit_in_bytes").zip(place("memory.memsw.limit_in_bytes"));
    if let Some((memory, swap)) = both {
        // Memory+swap may at no time be below memory.
        let old = number(present("memory", "memory.limit_in_bytes").as_deref());
        let new = number(all.get(swap).map(|w| w.value.as_str()));
        let raised = new == Some(-1) || new.zip(old).is_some_and(|(new, old)| new >= old);
        if raised {
            all.swap(memory, swap);
        }
    }
    Ok(all)
}

/// What takes a write back: file and value.
type Undo = Vec<(PathBuf, String)>;

/// Writes one after the other. The values of the CPU controller limit each other in ways that depend on the
/// parents: what is refused is tried again after the others.
fn carry_out(steps: &[(PathBuf, Write)], files: &mut impl Files) -> Result<Undo> {
    let mut undo = Undo::new();
    let mut refused: Vec<&(PathBuf, Write)> = Vec::new();
    for step in steps {
        match put(step, files, &mut undo) {
            Ok(()) => {}
            Err(e) if step.1.controller == "cpu" && e.errno() == Some(libc::EINVAL) => {
                refused.push(step);
            }
            Err(e) => return Err(take_back(undo, files, e)),
        }
    }
    while !refused.is_empty() {
        let before = refused.len();
        let mut first = None;
        refused
            .retain(|step| put(step, files, &mut undo).map_err(|e| first.get_or_insert(e).errno()).is_err());
        if let Some(e) = first.filter(|_| refused.len() == before) {
            return Err(take_back(undo, files, e));
        }
    }
    Ok(undo)
}

fn put((file, write): &(PathBuf, Write), files: &mut impl Files, undo: &mut Undo) -> Result<()> {
    let old = files.read(file);
    files.write(file, &write.value).map_err(|e| explained(e, file, &*files).or_at(&write.field))?;
    let back = old.and_then(|old| opposite(&write.file, &write.value, &old));
    undo.extend(back.map(|value| (file.clone(), value)));
    Ok(())
}

/// The errno of the v1 memory controller says little.
fn explained(e: Error, file: &Path, files: &impl Files) -> Error {
    let beside = |name: &str| {
        let text = files.read(&file.with_file_name(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or("");
    match (name, e.errno()) {
        ("memory.limit_in_bytes", Some(libc::EINVAL)) => {
            let total = beside("memory.memsw.limit_in_bytes");
            e.hint(format!("memory and swap together are limited to {total}: raise that limit too"))
        }
        ("memory.memsw.limit_in_bytes", Some(libc::EINVAL)) => {
            let alone = beside("memory.limit_in_bytes");
            e.hint(format!("memory alone is limited to {alone}: lower that limit too"))
        }
        ("memory.limit_in_bytes", Some(libc::EBUSY)) => {
            let used = beside("memory.usage_in_bytes");
            e.hint(format!("{used} bytes are in use"))
        }
        _ => e,
    }
}

/// Undoes what was written. The error is the one that is reported; what cannot be undone is added to it.
fn take_back(undo: Undo, files: &mut impl Files, e: Error) -> Error {
    let mut stuck = Vec::new();
    for (file, value) in undo.into_iter().rev() {
        if files.write(&file, &value).is_err() {
            stuck.push(file.display().to_string());
        }
    }
    if stuck.is_empty() { e } else { e.hint(format!("these keep their new value: {}", stuck.join(", "))) }
}

/// What has to be written to a file after `value` to have `old` again.
fn opposite(file: &str, value: &str, old: &str) -> Option<String> {
    if file == "memory.oom_control" {
        let line = |l: &str| l.strip_prefix("oom_kill_disable ").map(str::to_owned);
        return old.lines().find_map(line);
    }
    let Some((key, rest)) = value.split_once(' ').filter(|_| file != "cpu.max") else {
        return match (file, old.trim_end()) {
            // An idle cgroup has no weight.
            ("cpu.weight", "0") => None,
            // Nothing at all would be no write.
            (_, "") => Some("\n".to_owned()),
            (_, old) => Some(old.to_owned()),
        };
    };
    let same_key = |line: &&str| line.split_whitespace().next() == Some(key);
    if let Some(line) = old.lines().find(same_key) {
        return Some(line.to_owned());
    }
    let unset = rest.split_whitespace().map(|word| match word.split_once('=') {
        Some((name, _)) => format!("{name}=max"),
        None if file.contains("weight") => "default".to_owned(),
        None => "0".to_owned(),
    });
    Some(format!("{key} {}", unset.collect::<Vec<_>>().join(" ")))
}

/// v1: brings the list of a cgroup to another state. Where that cannot be done without denying for a moment,
/// the container stands still meanwhile.
fn change_list(dirs: &[CgroupDir], dir: &Path, target: &Allowed) -> Result<()> {
    let list = dir.join("devices.list");
    let read = || {
        let text = sys::read_file(&list);
        let text = text.map_err(|e| Error::io(format!("read({})", list.display()), &e))?;
        Ok::<_, Error>(Allowed::listed(&text))
    };
    let write = |lines: &[(bool, String)]| {
        let file = |allow| {
            if allow { "devices.allow" } else { "devices.deny" }
        };
        lines.iter().try_for_each(|(allow, line)| live::write(&dir.join(file(*allow)), line))
    };
    let before = read()?;
    let transition = before.to(target);
    let freeze = transition.blind && !freezer::is_frozen(dirs)?;
    if freeze {
        freezer::freeze(dirs)?;
    }
    let done = write(&transition.lines);
    if done.is_err() {
        // The failure that is reported is the one that matters.
        let _ = read().and_then(|now| write(&now.to(&before).lines));
    }
    let thawed = if freeze { freezer::thaw(dirs) } else { Ok(()) };
    done.and(thawed)
}

/// v2: the new program takes the old one's place in one step.
fn replace_program(dir: &Path, rules: &[super::devices::DeviceRule]) -> Result<()> {
    let program =
        device_bpf::compile(rules).map_err(|e| Error::new(ErrorKind::InvalidConfig, e.to_string()))?;
    let loaded = sys::bpf::load(&program).map_err(|e| Error::io("bpf(BPF_PROG_LOAD)", &e))?;
    let cgroup = File::open(dir).map_err(|e| Error::io(format!("open({})", dir.display()), &e))?;
    let call = |name: &str| format!("bpf({name}, {})", dir.display());
    let attached = sys::bpf::attached(cgroup.as_fd()).map_err(|e| Error::io(call("BPF_PROG_QUERY"), &e))?;
    // Others may have attached programs of their own: those stay.
    let ours = attached.iter().find(|p| sys::bpf::is_ours(p.as_fd()));
    sys::bpf::attach(cgroup.as_fd(), loaded.as_fd(), ours.map(AsFd::as_fd))
        .map_err(|e| Error::io(call("BPF_PROG_ATTACH"), &e))
}
