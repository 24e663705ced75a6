//! The cgroup of a container: its path, its limits, its mount.

use super::action::{Action, BindMount, CgroupDir, FilesystemMount, Namespace};
use super::options::{DataOption, MountOptions, attr};
use super::{Builder, CgroupManager, SubCgroup, clean, delegation};
use crate::cgroup::devices::{self, DeviceKind, DeviceRule};
use crate::cgroup::{self, Write, live, v1, v2};
use crate::error::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};
use std::path::{Component, Path, PathBuf};

/// The state before the first rule.
const DENY_ALL: DeviceRule = DeviceRule {
    allow: false,
    kind: DeviceKind::All,
    major: None,
    minor: None,
    read: true,
    write: true,
    mknod: true,
};

const FIELD: &str = "/linux/cgroupsPath";

/// As runc says it.
const NOBODY_KILLS: &str = "a rootless container with neither a cgroup nor a pid namespace of its own: its processes \
    cannot all be killed with it. Such configuration is strongly discouraged";

/// Makes the cgroups and sets their limits, before anything is in them: our own memory can then not
/// stand against a limit that is being set.
pub(crate) fn create(b: &mut Builder<'_>) -> Result<()> {
    let resources = b.linux().and_then(|l| l.resources().clone());
    let path = b.linux().and_then(|l| l.cgroups_path().clone()).filter(|p| !p.as_os_str().is_empty());
    match b.options.cgroup_manager {
        CgroupManager::Cgroupfs => {}
        CgroupManager::Systemd => return super::systemd::name(b, path.as_deref()),
        CgroupManager::None => {
            // The caller decided, and hears what the config's author will miss.
            let devices =
                resources.as_ref().and_then(|r| r.devices().as_ref()).is_some_and(|d| !d.is_empty());
            if devices || resources.as_ref().is_some_and(has_limits) {
                b.warn("/linux/resources", "ignored: cgroups are disabled, nothing limits the container");
            }
            return Ok(());
        }
    }
    let dirs = directories(b, path.as_deref());
    if b.facts.rootless() && !delegation::reaches(b, &dirs) {
        // Nothing may be written: whoever asks for limits must hear it, nobody else.
        let strict = b.options.rootless == Some(false);
        if let (Some(_), Some(dir)) = (&path, dirs.first()) {
            return Err(delegation::not_allowed(b, &dir.dir()));
        }
        return match strict || resources.as_ref().is_some_and(has_limits) {
            true => Err(delegation::refusal(b)),
            false => {
                if !b.namespaces.is_new(Namespace::Pid) {
                    b.warn("/linux/namespaces", NOBODY_KILLS);
                }
                Ok(())
            }
        };
    }
    b.cgroups = dirs;
    if b.cgroups.is_empty() {
        let devices = resources.as_ref().is_some_and(|r| r.devices().as_ref().is_some_and(|d| !d.is_empty()));
        if devices || resources.as_ref().is_some_and(has_limits) {
            return Err(Error::config(
                "/linux/resources",
                "no cgroup hierarchy was found at /sys/fs/cgroup: limits and device rules cannot be set",
            )
            .of_kind(ErrorKind::Unsupported));
        }
        b.warn("/linux/cgroupsPath", "no cgroup hierarchy was found at /sys/fs/cgroup");
        return Ok(());
    }
    let resources = resources.unwrap_or_default();
    let (writes, on_v2) = limits(b, &resources)?;
    enable(b, &writes, on_v2.as_slice());
    let dirs = b.cgroups.clone();
    b.host(FIELD, Action::CgroupCreate { dirs });
    delegation::owner(b);
    write(b, &writes, &on_v2)?;
    if b.facts.rootless() {
        // A device program takes rights that nobody can delegate. In a user namespace no node can be made, and a
        // node of the host is as open as its mode says.
        return Ok(());
    }
    let pure_v2 = b.facts.cgroup.v1.is_empty();
    push_devices(b, &resources, pure_v2)
}

/// The limits as writes, and the controllers of a hybrid host that are in the v2 tree.
pub(super) fn limits(b: &mut Builder<'_>, resources: &LinuxResources) -> Result<(Vec<Write>, Vec<String>)> {
    let pure_v2 = b.facts.cgroup.v1.is_empty();
    for (field, why) in cgroup::left_out(resources, pure_v2) {
        b.warn(format!("/linux/resources/{field}"), why);
    }
    let on_v2 = if pure_v2 { Vec::new() } else { only_on_v2(b) };
    let writes = if pure_v2 { v2::writes(resources)? } else { cgroup::hybrid_writes(resources, &on_v2)? };
    Ok((writes, on_v2))
}

/// Writes limits to the container's cgroups.
pub(super) fn write(b: &mut Builder<'_>, writes: &[Write], on_v2: &[String]) -> Result<()> {
    for write in writes {
        let file = controller_dir(&b.cgroups, on_v2, write)?.dir().join(&write.file);
        b.host(write.field.clone(), Action::CgroupWrite { file, value: write.value.clone() });
    }
    Ok(())
}

fn has_limits(resources: &LinuxResources) -> bool {
    // What cannot be written was asked for, too.
    v1::writes(resources).map_or(true, |w| !w.is_empty())
}

/// One directory for each hierarchy. An absolute path counts from the hierarchy's root, a relative one
/// and none from the caller's own cgroup; `..` never leads above it.
fn directories(b: &Builder<'_>, path: Option<&Path>) -> Vec<CgroupDir> {
    let pure_v2 = b.facts.cgroup.v1.is_empty();
    let below = |own: &str| -> PathBuf {
        let own = clean(Path::new(own));
        // On v2 a cgroup with processes, as the caller's, gives none below it a controller.
        let base = if pure_v2 { delegation::above(b, &own) } else { own };
        let inner = match path {
            Some(p) if p.is_absolute() => clean(p),
            Some(p) => clean(&base.join(relative(&clean(p)))),
            None => clean(&base.join(b.id)),
        };
        relative(&inner).to_owned()
    };
    each(b, below)
}

/// The caller's own cgroups.
fn callers(b: &Builder<'_>) -> Vec<CgroupDir> {
    each(b, |own| relative(&clean(Path::new(own))).to_owned())
}

/// A directory in each hierarchy, by the caller's own there.
pub(super) fn each(b: &Builder<'_>, path: impl Fn(&str) -> PathBuf) -> Vec<CgroupDir> {
    let v1 = b.facts.cgroup.v1.iter().map(|h| CgroupDir {
        mount: h.mount.clone(),
        path: path(&h.own),
        controllers: Some(h.controllers.clone()),
    });
    let v2 = b.facts.cgroup.v2.iter().map(|t| CgroupDir {
        mount: t.mount.clone(),
        path: path(&t.own),
        controllers: None,
    });
    v1.chain(v2).collect()
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The controllers of a hybrid host that are in the v2 tree.
fn only_on_v2(b: &Builder<'_>) -> Vec<String> {
    let v1 = |name: &String| b.facts.cgroup.v1.iter().any(|h| h.controllers.contains(name));
    let tree = b.facts.cgroup.v2.as_ref();
    tree.map_or(Vec::new(), |t| t.controllers.iter().filter(|c| !v1(c)).cloned().collect())
}

/// On a hybrid host the v2 tree gives its controllers only to who needs them: a cgroup above one that has some
/// takes no processes any more.
fn enable(b: &mut Builder<'_>, writes: &[Write], on_v2: &[String]) {
    let mut controllers: Vec<String> = on_v2.to_vec();
    controllers.retain(|c| writes.iter().any(|w| w.controller == *c));
    let field = writes.iter().find(|w| controllers.contains(&w.controller)).map(|w| w.field.clone());
    let dir = b.cgroups.iter().find(|d| d.controllers.is_none()).cloned();
    if let (Some(dir), Some(field)) = (dir, field) {
        b.host(field, Action::CgroupEnable { dir, controllers });
    }
}

/// The directory that a limit is written to. `on_v2` are the controllers of a hybrid host that are in the v2 tree.
pub(crate) fn controller_dir<'a>(
    dirs: &'a [CgroupDir],
    on_v2: &[String],
    write: &Write,
) -> Result<&'a CgroupDir> {
    let tree = || dirs.iter().find(|d| d.controllers.is_none() && on_v2.contains(&write.controller));
    live::dir_of(dirs, &write.controller).or_else(tree).ok_or_else(|| {
        Error::config(
            write.field.clone(),
            format!("cannot set {}: this host has no {} cgroup controller", write.file, write.controller),
        )
        .of_kind(ErrorKind::Unsupported)
    })
}

pub(super) fn push_devices(b: &mut Builder<'_>, resources: &LinuxResources, pure_v2: bool) -> Result<()> {
    let rules = device_rules(resources)?;
    let field = "/linux/resources/devices";
    let Some(dir) = live::dir_of(&b.cgroups, "devices").map(CgroupDir::dir) else {
        return Err(Error::config(
            field,
            "cannot set device rules: this host has no devices cgroup controller",
        )
        .of_kind(ErrorKind::Unsupported));
    };
    b.host(field, if pure_v2 { Action::DevicesV2 { dir, rules } } else { Action::DevicesV1 { dir, rules } });
    Ok(())
}

/// The rules of the config, and what is around them.
pub(crate) fn device_rules(resources: &LinuxResources) -> Result<Vec<DeviceRule>> {
    let mut rules = Vec::new();
    for (i, device) in resources.devices().iter().flatten().enumerate() {
        rules.extend(self::rules(i, device)?);
    }
    // What nobody allows is denied, whether the config begins by saying so or not, as in runc.
    if rules.first().is_none_or(|r| *r != DENY_ALL) {
        rules.insert(0, DENY_ALL);
    }
    // What the config allows after its last denial need not be allowed again.
    let settled = rules.iter().rposition(|r| !r.allow).map_or(0, |i| i + 1);
    for rule in devices::defaults() {
        if !rules.get(settled..).is_some_and(|r| r.contains(&rule)) {
            rules.push(rule);
        }
    }
    Ok(rules)
}

fn rules(index: usize, device: &LinuxDeviceCgroup) -> Result<Vec<DeviceRule>> {
    let field = format!("/linux/resources/devices/{index}");
    let kind = match device.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::All,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Char,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::P) => {
            return Err(Error::config(format!("{field}/type"), "invalid device type \"p\" in a device rule"));
        }
    };
    // -1 stands for all, as an absent number does.
    let number = |n: Option<i64>, what: &str| match n {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| Error::config(format!("{field}/{what}"), format!("{what} number {n} is not one"))),
    };
    let access = device.access().as_deref().unwrap_or("rwm");
    if let Some(wrong) = access.chars().find(|c| !"rwm".contains(*c)) {
        return Err(Error::config(format!("{field}/access"), format!("unknown device access {wrong:?}")));
    }
    let rule = DeviceRule {
        allow: device.allow(),
        kind,
        major: number(device.major(), "major")?,
        minor: number(device.minor(), "minor")?,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    };
    let everything = rule.major.is_none() && rule.minor.is_none() && rule.read && rule.write && rule.mknod;
    // v1 reads a rule of kind `a` as "everything" whatever else stands in it: what is meant for some
    // devices of both kinds would open all.
    Ok(match kind {
        DeviceKind::All if !everything => {
            [DeviceKind::Char, DeviceKind::Block].map(|kind| DeviceRule { kind, ..rule }).to_vec()
        }
        _ => vec![rule],
    })
}

/// The cgroups of a further process: the container's, or existing ones below them. A cgroup filesystem has no
/// links, so that counting `..` is enough to stay inside.
pub(crate) fn below(own: &[CgroupDir], chosen: &[SubCgroup]) -> Result<Vec<CgroupDir>> {
    let mut dirs = own.to_vec();
    let wrong = |text: String| Error::new(ErrorKind::InvalidConfig, text).at("(sub-cgroup)");
    for sub in chosen {
        let mut relative = PathBuf::new();
        for part in Path::new(&sub.path).components() {
            match part {
                Component::Normal(name) => relative.push(name),
                Component::ParentDir if !relative.pop() => {
                    return Err(wrong(format!("bad sub cgroup path: {}", sub.path)));
                }
                _ => {}
            }
        }
        let has = |d: &CgroupDir, name: &String| d.controllers.iter().flatten().any(|c| c == name);
        if let Some(name) = sub.controllers.iter().find(|name| !own.iter().any(|d| has(d, name))) {
            return Err(wrong(format!("unknown controller {name} in sub-cgroup paths")));
        }
        for (dir, own) in dirs.iter_mut().zip(own) {
            if sub.controllers.is_empty() || sub.controllers.iter().any(|name| has(own, name)) {
                dir.path = own.path.join(&relative);
            }
        }
    }
    Ok(dirs)
}

/// The v2 directory that the container's process is born in; none if the process that clones it is there already.
pub(crate) fn v2_dir(b: &Builder<'_>) -> Option<PathBuf> {
    if b.unit.is_some() {
        return None;
    }
    b.cgroups.iter().find(|d| d.controllers.is_none()).map(CgroupDir::dir)
}

/// Init enters the v1 cgroups by their `tasks` files.
pub(crate) fn join(b: &mut Builder<'_>, user: bool) {
    let files = tasks(b, |controllers| !is_pids(controllers));
    if !files.is_empty() {
        b.join(FIELD, Action::JoinTasks { files });
    }
    if user {
        // The rights of whoever opens the file count when it is written.
        for file in tasks(b, is_pids) {
            b.join(FIELD, Action::OpenTasks { file });
        }
    }
}

/// The pids cgroup is entered by the container's process itself: a limit of one leaves no room for the
/// process that clones it.
pub(crate) fn join_pids(b: &mut Builder<'_>, user: bool) {
    let files = tasks(b, is_pids);
    if !files.is_empty() {
        b.init(FIELD, if user { Action::JoinOpened } else { Action::JoinTasks { files } });
    }
}

fn is_pids(controllers: &[String]) -> bool {
    controllers.iter().any(|c| c == "pids")
}

fn tasks(b: &Builder<'_>, which: impl Fn(&[String]) -> bool) -> Vec<PathBuf> {
    let of = |d: &CgroupDir| b.unit.is_none() && d.controllers.as_deref().is_some_and(&which);
    b.cgroups.iter().filter(|d| of(d)).map(|d| d.dir().join("tasks")).collect()
}

/// A mount of type `cgroup`: v2 as it is, or the directory alone without a cgroup namespace; v1 as a
/// tmpfs with one directory for each hierarchy. Where no cgroup was made it is the caller's own, read-only.
pub(crate) fn mount(b: &mut Builder<'_>, field: &str, destination: &Path, options: &MountOptions) {
    let mut options = MountOptions { data: Vec::new(), ..options.clone() };
    let own = b.namespaces.has(Namespace::Cgroup);
    let dirs = if b.cgroups.is_empty() { callers(b) } else { b.cgroups.clone() };
    if b.cgroups.is_empty() && !own {
        options.set |= attr::RDONLY;
    }
    if b.facts.cgroup.v1.is_empty() {
        let Some(dir) = dirs.iter().find(|d| d.controllers.is_none()).map(CgroupDir::dir) else { return };
        b.init(field, one(own, "cgroup2", dir, destination, &options, Vec::new()));
        return;
    }
    let readonly = options.set & attr::RDONLY != 0;
    let flags =
        MountOptions { set: options.set | attr::NOSUID | attr::NODEV | attr::NOEXEC, ..options.clone() };
    let base = MountOptions {
        set: flags.set & !attr::RDONLY,
        data: vec![DataOption::implied("mode", Some("755"))],
        ..flags.clone()
    };
    b.init(
        field,
        Action::Mount(FilesystemMount {
            fstype: "tmpfs".to_owned(),
            source: "tmpfs".to_owned(),
            destination: destination.to_owned(),
            options: base,
            ordinary: false,
            inherit_mode: false,
            label: None,
        }),
    );
    // The kernel lists the hierarchy last made first; their mounts come in the order in which they were made.
    for dir in dirs.iter().rev() {
        let Some(controllers) = &dir.controllers else {
            continue;
        };
        let name = dir.mount.file_name().map(PathBuf::from).unwrap_or_default();
        let data = controllers.iter().map(|c| match c.split_once('=') {
            Some((key, value)) => DataOption::implied(key, Some(value)),
            None => DataOption::implied(c, None),
        });
        let data: Vec<_> = if controllers.iter().any(|c| c.contains('=')) {
            [DataOption::implied("none", None)].into_iter().chain(data).collect()
        } else {
            data.collect()
        };
        // A bind is a slave of the host's mount unless the options say otherwise; a new mount is private.
        let propagation = if own { 0 } else { flags.propagation };
        let flags = MountOptions { propagation, ..flags.clone() };
        b.init(field, one(own, "cgroup", dir.dir(), &destination.join(&name), &flags, data));
        for controller in controllers.iter().filter(|c| Path::new(c) != name && !c.contains('=')) {
            b.init(
                field,
                Action::Symlink { target: name.display().to_string(), path: destination.join(controller) },
            );
        }
    }
    if readonly {
        b.init(
            field,
            Action::SetAttr {
                destination: destination.to_owned(),
                set: attr::RDONLY,
                clear: 0,
                propagation: 0,
            },
        );
    }
}

/// A hierarchy of its own namespace, or the container's directory of the host's.
fn one(
    own: bool,
    fstype: &str,
    dir: PathBuf,
    destination: &Path,
    options: &MountOptions,
    data: Vec<DataOption>,
) -> Action {
    let destination = destination.to_owned();
    if own {
        return Action::Mount(FilesystemMount {
            fstype: fstype.to_owned(),
            source: "cgroup".to_owned(),
            destination,
            options: MountOptions { data, ..options.clone() },
            ordinary: false,
            inherit_mode: false,
            label: None,
        });
    }
    Action::Bind(BindMount {
        source: dir,
        staged: false,
        destination,
        recursive: false,
        options: options.clone(),
        device: None,
    })
}
