//! The plan in words: one line for each step, with its number, lane, verb, sentence and field.

use super::action::{
    Action, BindMount, ClockOffset, FilesystemMount, IdMap, IdMaps, Lsm, MapWriter, Namespace, Scheduler,
};
use super::options::{MountOptions, attr, propagation_word};
use super::{Plan, caps};
use crate::rdt::Missing;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} steps on {}", self.id, self.steps.len(), self.host)?;
        let width = self.steps.len().to_string().len();
        let lines: Vec<(String, &str)> =
            self.steps.iter().map(|s| (sentence(&s.action), verb(&s.action))).collect();
        // The fields form a column as far as the sentences are of a reasonable length.
        let column = lines.iter().map(|(s, _)| s.chars().count()).filter(|n| *n <= 64).max().unwrap_or(0);
        for (i, (step, (sentence, verb))) in self.steps.iter().zip(&lines).enumerate() {
            write!(f, "\n{:>width$} {:<4} {verb:<8} {sentence:<column$}  {}", i + 1, step.lane, step.field)?;
        }
        for w in &self.warnings {
            write!(f, "\nwarning: {}: {}", w.field, w.message)?;
        }
        Ok(())
    }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::CgroupEnable { .. }
        | Action::CgroupCreate { .. }
        | Action::CgroupOwner { .. }
        | Action::JoinTasks { .. }
        | Action::JoinOpened => "cgroup",
        Action::RdtClass(_)
        | Action::RdtSchemata { .. }
        | Action::RdtMonitor { .. }
        | Action::RdtJoin { .. } => "rdt",
        Action::UnitProperty(_) | Action::UnitChange { .. } => "property",
        Action::Scope { .. } | Action::Attach { .. } => "scope",
        Action::CgroupWrite { .. } | Action::Rlimit { .. } => "limit",
        Action::DevicesV1 { .. } | Action::DevicesV2 { .. } | Action::Device(_) => "device",
        Action::Spawn { .. } => "spawn",
        Action::OomScoreAdj { .. } => "oom",
        Action::SetNs { .. } | Action::Enter { .. } => "enter",
        Action::OpenCgroup { .. } | Action::OpenTasks { .. } => "open",
        Action::Ready => "ready",
        Action::NewUser | Action::Unshare { .. } => "unshare",
        Action::MapIds { .. } | Action::CompareMaps { .. } => "map",
        Action::TimeOffsets { .. } => "clock",
        Action::BecomeRoot { .. } | Action::Identity { .. } => "user",
        Action::Clone { .. } => "clone",
        Action::Session { .. } => "session",
        Action::Hostname { .. } | Action::Domainname { .. } => "name",
        Action::Loopback | Action::NetDevice { .. } => "network",
        Action::Propagation { .. }
        | Action::SetAttr { .. }
        | Action::Readonly { .. }
        | Action::RootReadonly => "attr",
        Action::Root { .. } | Action::HideMounts | Action::LeaveMounts => "root",
        Action::TakeRoot | Action::EnterRoot => "root",
        Action::Mount(_) => "mount",
        Action::CloneRoot { .. } | Action::CloneSource { .. } => "clone",
        Action::Remount { .. } => "remount",
        Action::Bind(_) => "bind",
        Action::Symlink { .. } => "link",
        Action::Hook(_) => "hook",
        Action::Console { .. } | Action::ReceiveConsole => "terminal",
        Action::Mask { .. } => "mask",
        Action::Pivot { .. } => "pivot",
        Action::Sysctl { .. } => "sysctl",
        Action::NoNewPrivs | Action::Bounding { .. } | Action::Caps { .. } | Action::Ambient { .. } => "caps",
        Action::Affinity { .. } => "affinity",
        Action::ProgramLabel { .. } => "label",
        Action::Scheduler(_) => "sched",
        Action::IoPriority { .. } => "io",
        Action::MemoryPolicy { .. } => "memory",
        Action::Personality { .. } => "domain",
        Action::Umask { .. } => "umask",
        Action::Cwd { .. } => "cwd",
        Action::Home { .. } => "env",
        Action::Lookup { .. } => "lookup",
        Action::Created => "created",
        Action::Listener(_) => "agent",
        Action::Seccomp(_) => "seccomp",
        Action::Exec { .. } => "exec",
    }
}

fn sentence(action: &Action) -> String {
    match action {
        Action::CgroupEnable { dir, controllers } => {
            format!("enable {} down to {}", controllers.join(" "), dir.dir().display())
        }
        Action::CgroupCreate { dirs } => {
            let v1 = dirs.iter().filter(|d| d.controllers.is_some()).count();
            let path = dirs.first().map(|d| d.path.display().to_string()).unwrap_or_default();
            let v2 = dirs.len() - v1;
            let on = match (v1, v2) {
                (0, _) => "on v2".to_owned(),
                (n, 0) => format!("on {n} hierarchies"),
                (n, _) => format!("on {n} hierarchies and v2"),
            };
            format!("create /{path} {on}")
        }
        Action::CgroupOwner { uid, .. } => format!("give it to uid {uid}"),
        Action::UnitProperty(property) | Action::UnitChange { property, .. } => property.to_string(),
        Action::Scope { unit, .. } => format!("start {} in {}", unit.name, unit.slice),
        Action::Attach { unit, below } if below.as_os_str().is_empty() => format!("enter {}", unit.name),
        Action::Attach { unit, below } => format!("enter {} at {}", unit.name, below.display()),
        Action::CgroupWrite { file, value } => {
            format!("{} = {value}", file.file_name().unwrap_or_default().to_string_lossy())
        }
        Action::DevicesV1 { rules, .. } | Action::DevicesV2 { rules, .. } => {
            let (allowed, denied) =
                (rules.iter().filter(|r| r.allow).count(), rules.iter().filter(|r| !r.allow).count());
            format!("{denied} denied, {allowed} allowed, the last that matches decides")
        }
        Action::RdtClass(c) if c.missing == Missing::Refuse => format!("class {}", c.dir.display()),
        Action::RdtClass(c) => format!("class {}, made if it is missing", c.dir.display()),
        Action::RdtSchemata { lines, .. } => format!("schemata = {}", lines.join(", ")),
        Action::RdtMonitor { dir, .. } => format!("monitoring group {}", dir.display()),
        Action::RdtJoin { groups, .. } => format!("enter {}", groups.class.display()),
        Action::Spawn { preserve_fds: 0 } => "init from a sealed memfd".to_owned(),
        Action::Spawn { preserve_fds } => {
            format!("init from a sealed memfd, {preserve_fds} descriptors kept")
        }
        Action::OomScoreAdj { value } => format!("oom_score_adj = {value}"),
        Action::JoinTasks { files } => format!("enter {} v1 hierarchies", files.len()),
        Action::SetNs { kind, path } => format!("{} namespace {}", kind.name(), path.display()),
        Action::OpenCgroup { dir, .. } => dir.display().to_string(),
        Action::Enter { kinds: list } => format!("{} of the container", kinds(list)),
        Action::NewUser => "new user namespace".to_owned(),
        Action::OpenTasks { file } => file.display().to_string(),
        Action::JoinOpened => "enter the v1 hierarchy that was opened".to_owned(),
        Action::MapIds { maps, by } => {
            let by = match by {
                MapWriter::Helpers { uid, gid } => format!(" by {} and {}", uid.display(), gid.display()),
                MapWriter::Caller | MapWriter::Own => String::new(),
            };
            format!("{}{by}", id_maps(maps))
        }
        Action::CompareMaps { maps } => format!("must be {}", id_maps(maps)),
        Action::TimeOffsets { monotonic, boottime } => {
            let clocks = [("monotonic", monotonic), ("boottime", boottime)];
            let of = |(name, o): &(&str, &Option<ClockOffset>)| {
                o.map(|o| format!("{name} {:+}.{:09} s", o.secs, o.nanosecs))
            };
            clocks.iter().filter_map(of).collect::<Vec<_>>().join(", ")
        }
        Action::BecomeRoot { .. } => "root of the user namespace".to_owned(),
        Action::Clone { new, cgroup } => {
            let what =
                if new.is_empty() { "once more".to_owned() } else { format!("into new {}", kinds(new)) };
            match cgroup {
                Some(dir) => format!("{what}, in cgroup {}", dir.display()),
                None => what,
            }
        }
        Action::Unshare { new } => format!("new {}", kinds(new)),
        Action::Session { keyring: Some(name) } => format!("a new one, keyring {name}"),
        Action::Session { keyring: None } => "a new one, the caller's keyring".to_owned(),
        Action::Hostname { name } => format!("hostname {name}"),
        Action::Domainname { name } => format!("domainname {name}"),
        Action::Loopback => "lo up".to_owned(),
        Action::NetDevice { name, inside } if name == inside => format!("{name} of the host, up"),
        Action::NetDevice { name, inside } => format!("{name} of the host as {inside}, up"),
        _ => sentence_root(action),
    }
}

fn sentence_root(action: &Action) -> String {
    match action {
        Action::Propagation { flags } => {
            format!("every mount {} of the host", propagation_word(*flags).unwrap_or_default())
        }
        Action::HideMounts => "a mount namespace for the set-up alone".to_owned(),
        Action::LeaveMounts => "back to the caller's mount namespace, with the mounts in none".to_owned(),
        Action::TakeRoot => "that of the container's process".to_owned(),
        Action::EnterRoot => "chroot".to_owned(),
        Action::Root { path, .. } | Action::CloneRoot { path } => path.display().to_string(),
        Action::Mount(m) => mount(m),
        Action::CloneSource { source, idmap: Some(map), .. } => {
            let of = map.maps.as_ref().map_or_else(|| "the container".to_owned(), id_maps);
            let all = if map.recursive { ", with all below" } else { "" };
            format!("{} with the ids of {of}{all}", source.display())
        }
        Action::CloneSource { source, .. } => source.display().to_string(),
        Action::Bind(b) => bind(b),
        Action::SetAttr { destination, set, .. } => {
            let words = MountOptions { set: *set, ..MountOptions::default() }.words();
            format!("{} {}", destination.display(), words.join(" "))
        }
        Action::Remount { destination, options, .. } => {
            format!("{} {}", destination.display(), options.words().join(" "))
        }
        Action::Device(d) => {
            format!("{} {} {}:{} {:04o}", d.path.display(), d.kind, d.major, d.minor, d.mode)
        }
        Action::Symlink { target, path } => format!("{} -> {target}", path.display()),
        Action::Hook(h) => {
            let timeout = h.timeout.map(|t| format!(" ({t} s)")).unwrap_or_default();
            format!("{}[{}] {}{timeout}", h.name, h.index, h.path.display())
        }
        Action::Console { .. } => "on 0, 1, 2 and /dev/console".to_owned(),
        Action::ReceiveConsole => "take its controlling side".to_owned(),
        Action::Mask { path, .. } => path.display().to_string(),
        Action::Readonly { path } => format!("{} read-only", path.display()),
        Action::RootReadonly => "/ read-only".to_owned(),
        Action::Pivot { move_root: false, propagation } => {
            format!(
                "into the new root{}",
                propagation_word(*propagation).map(|w| format!(", {w}")).unwrap_or_default()
            )
        }
        Action::Pivot { move_root: true, .. } => {
            "move the root and chroot, no procfs or sysfs beside it".to_owned()
        }
        Action::Sysctl { key, value } => format!("{} = {value}", key.replace('/', ".")),
        _ => sentence_process(action),
    }
}

fn sentence_process(action: &Action) -> String {
    match action {
        Action::Rlimit { name, soft, hard, .. } => {
            let n = |v: u64| {
                if v == u64::MAX { "unlimited".to_owned() } else { v.to_string() }
            };
            format!("{name} {} {}", n(*soft), n(*hard))
        }
        Action::NoNewPrivs => "no new privileges".to_owned(),
        Action::Affinity { cpus, last } => {
            format!("{} processors {cpus}", if *last { "on" } else { "at first on" })
        }
        Action::ProgramLabel { lsm: Lsm::AppArmor, label } => format!("AppArmor profile {label}"),
        Action::ProgramLabel { lsm: Lsm::SeLinux, label } => format!("SELinux label {label}"),
        Action::Scheduler(s) => scheduler(s),
        Action::IoPriority { class, level } => {
            let class = ["none", "real-time", "best-effort", "idle"].get(*class as usize).unwrap_or(&"?");
            format!("{class} {level}")
        }
        Action::MemoryPolicy { mode, nodes, .. } => {
            let mode = [
                "default",
                "preferred",
                "bind",
                "interleave",
                "local",
                "preferred-many",
                "weighted-interleave",
            ]
            .get(*mode as usize)
            .unwrap_or(&"?");
            if nodes.is_empty() { (*mode).to_owned() } else { format!("{mode} nodes {nodes}") }
        }
        Action::Personality { domain } => if *domain == 0 { "LINUX" } else { "LINUX32" }.to_owned(),
        Action::Umask { mask } => format!("{mask:04o}"),
        Action::Cwd { path, .. } => path.display().to_string(),
        Action::Bounding { keep, .. } => format!("bounding {}", list(*keep)),
        Action::Identity { uid, gid, groups, .. } if groups.is_empty() => format!("{uid}:{gid}"),
        Action::Identity { uid, gid, groups, .. } => {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            format!("{uid}:{gid}, groups {}", groups.join(" "))
        }
        Action::Caps { sets, waiting } => {
            let kept =
                if *waiting == 0 { String::new() } else { ", CAP_SYS_ADMIN until the filter".to_owned() };
            format!(
                "effective {}, permitted {}, inheritable {}{kept}",
                sets.effective.count_ones(),
                sets.permitted.count_ones(),
                sets.inheritable.count_ones(),
            )
        }
        Action::Ambient { set } => format!("ambient {}", list(*set)),
        Action::Home { uid } => format!("HOME of uid {uid} from /etc/passwd"),
        Action::Lookup { name, candidates } => match candidates.len() {
            0 => format!("{name}: no PATH"),
            1 if name.contains('/') => name.clone(),
            n => format!("{name} in {n} directories of PATH"),
        },
        Action::Created => "wait for start".to_owned(),
        Action::Ready => "tell the caller".to_owned(),
        Action::Listener(agent) => format!("{} decides about some calls", agent.path.display()),
        Action::Seccomp(p) => {
            let archs: Vec<&str> = p.archs.iter().map(|a| a.name()).collect();
            format!("{} instructions for {}, default {}", p.insns.len(), archs.join(" "), p.default_action)
        }
        Action::Exec { args, .. } => args.join(" "),
        _ => String::new(),
    }
}

fn scheduler(s: &Scheduler) -> String {
    let policy = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];
    let name = policy.get(s.policy as usize).unwrap_or(&"?");
    match s.policy {
        1 | 2 => format!("{name} priority {}", s.priority),
        6 => format!("{name} {}/{}/{} ns", s.runtime, s.deadline, s.period),
        _ => format!("{name} nice {}", s.nice),
    }
}

fn kinds(list: &[Namespace]) -> String {
    list.iter().map(|n| n.name()).collect::<Vec<_>>().join(" ")
}

fn maps(list: &[IdMap]) -> String {
    list.iter().map(|m| format!("{}={}+{}", m.inside, m.outside, m.size)).collect::<Vec<_>>().join(", ")
}

fn id_maps(m: &IdMaps) -> String {
    format!("uids {}; gids {}", maps(&m.uids), maps(&m.gids))
}

fn list(set: u64) -> String {
    let names: Vec<String> = caps::names(set).map(|n| n.trim_start_matches("CAP_").to_lowercase()).collect();
    match names.len() {
        0 => "none".to_owned(),
        n if n > 4 => format!("{n} capabilities"),
        _ => names.join(" "),
    }
}

fn mount(m: &FilesystemMount) -> String {
    let words = m.options.words().join(" ");
    let colon = if words.is_empty() { "" } else { ": " };
    format!("{} on {}{colon}{words}", m.fstype, m.destination.display())
}

fn bind(b: &BindMount) -> String {
    let mut words = b.options.words();
    if b.options.clear & attr::RDONLY != 0 {
        words.insert(0, "rw".to_owned());
    }
    if b.recursive {
        words.insert(0, "recursive".to_owned());
    }
    let colon = if words.is_empty() { "" } else { ": " };
    format!("{} on {}{colon}{}", b.source.display(), b.destination.display(), words.join(" "))
}
