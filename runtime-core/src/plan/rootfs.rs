//! The root filesystem: mounts in listed order, devices, links, terminal, masks, pivot.

use super::action::{Action, BindMount, DeviceNode, FilesystemMount, Idmap, Namespace};
use super::options::{MountOptions, attr, propagation};
use super::{Builder, clean, users};
use crate::error::{Error, Lane, Result};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};
use std::path::{Path, PathBuf};

/// Devices that every container has: name, major, minor.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Filesystems without a device behind them.
const PSEUDO: [&str; 15] = [
    "proc",
    "sysfs",
    "tmpfs",
    "devpts",
    "mqueue",
    "overlay",
    "ramfs",
    "bpf",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "configfs",
    "hugetlbfs",
    "binfmt_misc",
];

/// Where what is mounted for sd_notify(3) comes from.
pub(super) const NOTIFY: &str = "(NOTIFY_SOCKET)";

/// How the program finds it.
pub(super) const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// From the mount namespace to the last device.
pub(crate) fn mounts(b: &mut Builder<'_>) -> Result<()> {
    if !b.namespaces.has(Namespace::Mount) {
        b.init("(no mount namespace)", Action::HideMounts);
    }
    // Nothing that is mounted from here on may reach the host.
    b.init("(mount namespace)", Action::Propagation { flags: propagation::SLAVE | propagation::REC });
    let path = b.rootfs.clone();
    let staged = users::clones_outside(b);
    if staged {
        b.mntns("/root/path", Action::CloneRoot { path: path.clone() });
    }
    b.init("/root/path", Action::Root { path, staged, alone: b.options.no_pivot });
    let list = b.spec.mounts().clone().unwrap_or_default();
    let mut late = Vec::new();
    for (i, m) in list.iter().enumerate() {
        mount(b, i, m, &mut late)?;
    }
    super::labels::mounts(b)?;
    if owns_dev(&list) {
        devices(b)?;
        links(b);
    } else {
        listed_devices(b)?;
    }
    for (field, destination) in late {
        b.init(field, Action::SetAttr { destination, set: attr::RDONLY, clear: 0, propagation: 0 });
    }
    Ok(())
}

/// The directory of the socket for sd_notify(3).
pub(crate) fn notify(b: &mut Builder<'_>) -> Result<()> {
    let Some(directory) = &b.options.notify else {
        return Ok(());
    };
    let mut mount = Mount::default();
    mount.set_source(Some(directory.clone()));
    let words = ["bind", "nosuid", "nodev", "noexec", "ro"].map(str::to_owned);
    bind(b, NOTIFY, &mount, PathBuf::from("/run/notify"), MountOptions::parse(&words), None)
}

/// A bind on /dev brings its own devices.
fn owns_dev(list: &[Mount]) -> bool {
    !list.iter().any(|m| {
        clean(m.destination()) == Path::new("/dev")
            && MountOptions::parse(m.options().as_deref().unwrap_or(&[])).bind.is_some()
    })
}

fn mount(b: &mut Builder<'_>, index: usize, m: &Mount, late: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let field = format!("/mounts/{index}");
    if m.destination().as_os_str().is_empty() {
        return Err(Error::config(format!("{field}/destination"), "a mount needs a destination"));
    }
    if !m.destination().is_absolute() {
        b.warn(
            format!("{field}/destination"),
            format!("mount destination {:?} is not absolute; taken from /", m.destination()),
        );
    }
    let destination = inside(&b.rootfs, m.destination());
    let mut options = MountOptions::parse(m.options().as_deref().unwrap_or(&[]));
    let fstype = m.typ().as_deref().unwrap_or("");
    if options.copy_up && fstype != "tmpfs" {
        options.copy_up = false;
        b.warn(format!("{field}/options"), "tmpcopyup is for a tmpfs only, ignored");
    }
    if options.remount {
        return remount(b, &field, destination, options, fstype);
    }
    let is_bind = options.bind.is_some() || fstype == "bind";
    let idmap = users::idmap(b, &field, m, options.idmap, is_bind)?;
    if is_bind {
        return bind(b, &field, m, destination, options, idmap);
    }
    match fstype {
        "" => Err(Error::config(format!("{field}/type"), "a mount needs a type, or bind among its options")),
        "cgroup" | "cgroup2" => {
            super::cgroups::mount(b, &field, &destination, &options);
            Ok(())
        }
        _ => {
            // What is mounted on a read-only tmpfs or in /dev later still needs its mountpoint.
            if (fstype == "tmpfs" || destination == Path::new("/dev"))
                && (options.set | options.set_recursive) & attr::RDONLY != 0
            {
                options.set &= !attr::RDONLY;
                options.set_recursive &= !attr::RDONLY;
                late.push((format!("{field}/options"), destination.clone()));
            }
            // A read-only mount of a device must not even replay its journal.
            if options.set & attr::RDONLY != 0 && !PSEUDO.contains(&fstype) {
                options.superblock.push("ro".to_owned());
            }
            let has_mode = options.data.iter().any(|o| o.key == "mode");
            check_length(&field, fstype, &options)?;
            b.init(
                field,
                Action::Mount(FilesystemMount {
                    fstype: fstype.to_owned(),
                    source: m.source().as_ref().map(|s| s.display().to_string()).unwrap_or_default(),
                    destination,
                    options,
                    ordinary: matches!(fstype, "proc" | "sysfs"),
                    inherit_mode: fstype == "tmpfs" && !has_mode,
                    label: None,
                }),
            );
            Ok(())
        }
    }
}

/// A destination as a path of the container. As in runc the host's path of the root is the root.
fn inside(rootfs: &Path, destination: &Path) -> PathBuf {
    let path = clean(destination);
    match path.strip_prefix(rootfs) {
        Ok(rest) if destination.is_absolute() && rootfs != Path::new("/") => Path::new("/").join(rest),
        _ => path,
    }
}

/// Changes what an earlier mount, or the image, has on the destination: with `bind` the mount alone,
/// otherwise its filesystem too.
fn remount(
    b: &mut Builder<'_>,
    field: &str,
    destination: PathBuf,
    options: MountOptions,
    fstype: &str,
) -> Result<()> {
    let alone = options.bind.is_some() || fstype == "bind";
    let (data, superblock) = match alone {
        true => (Vec::new(), Vec::new()),
        false => {
            let mut flags = options.superblock.clone();
            // Said or not, as with mount(8): the filesystem is writable unless it is to be read-only.
            let readonly = options.set & attr::RDONLY != 0;
            if !PSEUDO.contains(&fstype) {
                flags.push(if readonly { "ro" } else { "rw" }.to_owned());
            }
            (options.data.clone(), flags)
        }
    };
    let clear = options.clear | attr::RIGHTS & !options.set;
    let options = MountOptions { data, superblock, clear, ..options };
    b.init(field, Action::Remount { destination, filesystem: !alone, options });
    Ok(())
}

/// The longest data that mount(2) takes, in bytes: a page less the NUL.
const MAX_DATA: usize = 4095;

/// Options that are too long even for mount(2), which takes those that fsconfig(2) does not.
fn check_length(field: &str, fstype: &str, options: &MountOptions) -> Result<()> {
    if options.is_long() && options.joined().len() > MAX_DATA {
        return Err(Error::config(
            format!("{field}/options"),
            format!("the options of this {fstype} are longer than the {MAX_DATA} bytes that mount(2) takes"),
        ));
    }
    Ok(())
}

fn bind(
    b: &mut Builder<'_>,
    field: &str,
    m: &Mount,
    destination: PathBuf,
    mut options: MountOptions,
    idmap: Option<Idmap>,
) -> Result<()> {
    let Some(source) = m.source().as_ref().filter(|s| !s.as_os_str().is_empty()) else {
        return Err(Error::config(format!("{field}/source"), "a bind mount needs a source"));
    };
    if !options.data.is_empty() {
        let names: Vec<String> = options.data.drain(..).map(|o| o.key).collect();
        b.warn(
            format!("{field}/options"),
            format!("a bind mount takes no filesystem options, ignored: {}", names.join(", ")),
        );
    }
    options.superblock.clear();
    let locked = b.namespaces.has(Namespace::User) || b.facts.in_user_namespace;
    options.clear |= options.implied_clear(locked);
    check_proc(field, &destination)?;
    let source = b.on_host(source);
    let recursive = options.bind == Some(true);
    // A mount that shares with the host has to be cloned in the host's mount namespace, whose peer it
    // stays; init's own view is a slave. Below a shared root every bind shares that does not say otherwise.
    let kind = if options.propagation == 0 { root_propagation(b)? } else { options.propagation };
    let shared = kind & propagation::SHARED != 0 && !b.namespaces.has(Namespace::User);
    let inside = users::clones_outside(b) || idmap.is_some();
    let staged = shared || inside;
    if staged {
        let lane = if inside { Lane::Mntns } else { Lane::Host };
        let clone = Action::CloneSource { source: source.clone(), recursive, idmap };
        b.push(lane, format!("{field}/source"), clone);
    }
    b.init(field, Action::Bind(BindMount { source, staged, destination, recursive, options, device: None }));
    Ok(())
}

/// Files of procfs that a container may get from elsewhere (lxcfs); anything else there would be taken for
/// the kernel's word (CVE-2019-16884).
fn check_proc(field: &str, destination: &Path) -> Result<()> {
    const FINE: [&str; 10] = [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "sys/kernel/ns_last_pid",
        "net/dev",
    ];
    match destination.strip_prefix("/proc") {
        Ok(rest) if !rest.as_os_str().is_empty() && !FINE.iter().any(|f| rest == Path::new(f)) => {
            Err(Error::config(
                format!("{field}/destination"),
                format!("{destination:?} cannot be mounted because it is inside /proc"),
            ))
        }
        _ => Ok(()),
    }
}

fn devices(b: &mut Builder<'_>) -> Result<()> {
    let listed: Vec<PathBuf> =
        b.linux().and_then(|l| l.devices().as_ref()).into_iter().flatten().map(|d| clean(d.path())).collect();
    for (name, major, minor) in DEFAULT_DEVICES {
        let path = Path::new("/dev").join(name);
        if listed.contains(&path) {
            continue;
        }
        let node = DeviceNode { path, kind: 'c', major, minor, mode: 0o666, uid: 0, gid: 0 };
        push_device(b, "(default device)", node);
    }
    listed_devices(b)
}

fn listed_devices(b: &mut Builder<'_>) -> Result<()> {
    let list = b.linux().and_then(|l| l.devices().clone()).unwrap_or_default();
    let own = owns_dev(b.spec.mounts().as_deref().unwrap_or(&[]));
    for (i, d) in list.iter().enumerate() {
        let field = format!("/linux/devices/{i}");
        let node = node(&field, d)?;
        // The link to the container's own devpts stands there; a node would lead to whatever lies beside it.
        if own && node.path == Path::new("/dev/ptmx") {
            continue;
        }
        push_device(b, &field, node);
    }
    Ok(())
}

/// A node, or the host's own bound over a file where nodes cannot be made. A FIFO anybody may make.
fn push_device(b: &mut Builder<'_>, field: &str, node: DeviceNode) {
    if node.kind != 'p' && (b.namespaces.has(Namespace::User) || b.facts.in_user_namespace) {
        let source = node.path.clone();
        b.init(
            field,
            Action::Bind(BindMount {
                source,
                staged: false,
                destination: node.path.clone(),
                recursive: false,
                options: MountOptions::default(),
                device: Some(node),
            }),
        );
    } else {
        b.init(field, Action::Device(node));
    }
}

fn node(field: &str, d: &LinuxDevice) -> Result<DeviceNode> {
    let kind = match d.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::P => 'p',
        LinuxDeviceType::A => {
            return Err(Error::config(format!("{field}/type"), "invalid device type \"a\""));
        }
    };
    for (id, name) in [(d.uid(), "uid"), (d.gid(), "gid")] {
        super::process::check_id(&format!("{field}/{name}"), id.unwrap_or(0))?;
    }
    // The kernel's device number has 12 bits for the major and 20 for the minor.
    let fits = |n: i64, bits: u32| kind == 'p' || (0..1i64 << bits).contains(&n);
    if !fits(d.major(), 12) || !fits(d.minor(), 20) {
        return Err(Error::config(field, format!("there is no device number {}:{}", d.major(), d.minor())));
    }
    let number = |n: i64, what: &str| {
        u32::try_from(n)
            .map_err(|_| Error::config(format!("{field}/{what}"), format!("{what} number {n} is not one")))
    };
    // A FIFO has no numbers; some configs give them, and they mean nothing.
    let (major, minor) = match kind {
        'p' => (0, 0),
        _ => (number(d.major(), "major")?, number(d.minor(), "minor")?),
    };
    Ok(DeviceNode {
        path: clean(d.path()),
        kind,
        major,
        minor,
        mode: d.file_mode().unwrap_or(0o666) & 0o7777,
        uid: d.uid().unwrap_or(0),
        gid: d.gid().unwrap_or(0),
    })
}

fn links(b: &mut Builder<'_>) {
    let mut links = vec![
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    if b.facts.kcore {
        links.push(("/proc/kcore", "/dev/core"));
    }
    links.push(("pts/ptmx", "/dev/ptmx"));
    for (target, path) in links {
        b.init("(default link)", Action::Symlink { target: target.to_owned(), path: path.into() });
    }
}

/// From the terminal to the new root. Masks come last, so that nothing is mounted over them.
pub(crate) fn finish(b: &mut Builder<'_>) -> Result<()> {
    console(b);
    let (masked, readonly) = match b.linux() {
        Some(l) => {
            (l.masked_paths().clone().unwrap_or_default(), l.readonly_paths().clone().unwrap_or_default())
        }
        None => (Vec::new(), Vec::new()),
    };
    if !b.namespaces.has(Namespace::Mount) {
        // In the words that engines know.
        for (list, field) in [(&masked, "maskedPaths"), (&readonly, "readonlyPaths")] {
            if !list.is_empty() {
                let text = "unable to restrict sys entries without a private MNT namespace";
                return Err(Error::config(format!("/linux/{field}"), text));
            }
        }
    }
    super::sysctl::sysctls(b)?;
    for (i, path) in readonly.iter().enumerate() {
        b.init(format!("/linux/readonlyPaths/{i}"), Action::Readonly { path: clean(Path::new(path)) });
    }
    let label = super::labels::of_mounts(b)?;
    for (i, path) in masked.iter().enumerate() {
        let mask = Action::Mask { path: clean(Path::new(path)), context: label.clone() };
        b.init(format!("/linux/maskedPaths/{i}"), mask);
    }
    let flags = root_propagation(b)?;
    let move_root = b.options.no_pivot;
    if move_root && flags & propagation::PRIVATE != 0 {
        return Err(Error::config(
            "/linux/rootfsPropagation",
            "rootfsPropagation of [r]private is not safe without pivot_root",
        ));
    }
    b.init("/root", Action::Pivot { move_root, propagation: flags });
    if !b.namespaces.has(Namespace::Mount) {
        b.init("(no mount namespace)", Action::LeaveMounts);
    }
    Ok(())
}

fn console(b: &mut Builder<'_>) {
    let Some(process) = b.spec.process().as_ref().filter(|p| p.terminal() == Some(true)) else {
        return;
    };
    let (width, height) = process.console_size().map_or((0, 0), |s| (s.width() as u32, s.height() as u32));
    let uid = process.user().uid();
    b.init("/process/terminal", Action::Console { uid, width, height, on_dev: true });
    b.host("/process/terminal", Action::ReceiveConsole);
}

fn root_propagation(b: &Builder<'_>) -> Result<u64> {
    let Some(word) = b.linux().and_then(|l| l.rootfs_propagation().clone()).filter(|w| !w.is_empty()) else {
        return Ok(0);
    };
    let parsed = MountOptions::parse(std::slice::from_ref(&word));
    if parsed.propagation == 0 {
        return Err(Error::config("/linux/rootfsPropagation", format!("unknown propagation {word:?}"))
            .hint("shared, slave, private or unbindable, each also with an r in front"));
    }
    // runc changes the root alone or with all below, as the word says.
    Ok(parsed.propagation)
}
