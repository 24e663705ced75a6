//! From the plan to the script's bytes. A pure function: equal plans give equal bytes.
//!
//! Steps of the host become one barrier for each run of them; the other steps become one record each,
//! with two exceptions, where one sentence is two operations of the kernel.

use super::action::{Action, BindMount, DeviceNode, FilesystemMount, HookAction, Lsm, Namespace, Scheduler};
use super::options::MountOptions;
use super::ranges::Ranges;
use super::{Plan, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::seccomp;
use crate::state::document;
use oxrun_init::encode::{StrList, Writer};
use oxrun_init::script::{Bytes, Header, Op, bind, hook, require};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The script of a plan.
///
/// # Errors
/// A string of the config with a NUL byte, named by its field.
pub fn encode(plan: &Plan) -> Result<Vec<u8>> {
    encode_for(plan, Way::default())
}

/// How the container's process comes to its script.
#[derive(Clone, Copy, Default)]
pub(crate) struct Way {
    /// The program begins without being started ([`may_begin_at_once`]).
    pub(crate) at_once: bool,
    /// Its creator has cloned it ([`may_be_cloned_by_creator`]).
    pub(crate) cloned: bool,
}

/// The same for one of several ways.
pub(crate) fn encode_for(plan: &Plan, way: Way) -> Result<Vec<u8>> {
    let mut out = Writer::new(Header {
        steps: plan.steps.len() as u32,
        preserve: plan.preserve_fds(),
        dumpable: u32::from(plan.dumpable),
    });
    // Hardly any config changes a filesystem that it has mounted; only then init has to know them again.
    let remounted =
        plan.steps.iter().any(|step| matches!(step.action, Action::Remount { filesystem: true, .. }));
    let mut spawned = false;
    let mut barrier = false;
    for (i, step) in plan.steps.iter().enumerate() {
        let number = i as u32 + 1;
        if step.lane.is_outside() {
            // What the host does before it spawns is nothing that init waits for.
            spawned |= matches!(step.action, Action::Spawn { .. });
            if spawned && !matches!(step.action, Action::Spawn { .. }) && !barrier {
                out.push(number, &Op::Barrier {});
                barrier = true;
            }
            continue;
        }
        barrier = false;
        if matches!(step.action, Action::Created | Action::Ready) {
            arguments(&mut out, plan)?;
        }
        match &step.action {
            Action::Hook(h) => hook(&mut out, number, plan, h),
            Action::Clone { .. } if way.cloned => Ok(()),
            Action::Clone { new, cgroup } => clone(&mut out, number, plan, new, cgroup.as_deref()),
            Action::Pivot { move_root, propagation } => {
                let (move_root, propagation) = (u32::from(*move_root), *propagation);
                let proc = u32::from(writes_proc(plan.steps.get(i..).unwrap_or(&[])));
                out.push(number, &Op::Pivot { move_root, propagation, proc });
                Ok(())
            }
            Action::Mount(m) => mount(&mut out, number, m, remounted),
            Action::Created => {
                out.push(number, &Op::Created { at_once: u32::from(way.at_once) });
                Ok(())
            }
            _ => record(&mut out, number, step),
        }
        .map_err(|e| e.or_at(&step.field))?;
    }
    Ok(out.finish())
}

/// Whether the clone that is the container's process has the memory of the one that makes it, which has little more to
/// do. Not where somebody else's process could reach that memory before it has ended, through a pid namespace that is
/// there already, and so change what the process outside does; nor where the memory is to be another one: that of a
/// process in a time namespace is its own, and the rights over it go by its user namespace.
pub(crate) fn shares_memory(plan: &Plan) -> bool {
    let own = |kind: &Namespace| matches!(kind, Namespace::User | Namespace::Time);
    let apart = |step: &Step| match &step.action {
        Action::Clone { new, .. } | Action::Unshare { new } => new.iter().any(own),
        Action::SetNs { kind, .. } => own(kind),
        Action::NewUser => true,
        _ => false,
    };
    let alone =
        |step: &Step| matches!(&step.action, Action::Clone { new, .. } if new.contains(&Namespace::Pid));
    plan.steps.iter().any(alone) && !plan.steps.iter().any(apart)
}

/// Whether nothing but its own affairs comes before the clone, so that the creator can do it: one process less. Where a
/// creator is large that costs more ([`crate::sys::spawn`]).
pub(crate) fn may_be_cloned_by_creator(plan: &Plan) -> bool {
    let spawned = |step: &&Step| !matches!(step.action, Action::Spawn { .. });
    let mut steps = plan.steps.iter().skip_while(spawned).skip(1);
    let own = |step: &&Step| matches!(step.action, Action::OomScoreAdj { .. } | Action::JoinTasks { .. });
    let first = steps.find(|step| !own(step));
    first.is_some_and(|step| matches!(step.action, Action::Clone { .. })) && shares_memory(plan)
}

/// Whether its creator does nothing for the container once its process is cloned, and it is the only one that is.
pub(crate) fn is_alone(plan: &Plan) -> bool {
    let is_clone = |step: &Step| matches!(step.action, Action::Clone { .. });
    let mut steps = plan.steps.iter().skip_while(|step| !is_clone(step));
    steps.next().is_some() && steps.all(|step| !step.lane.is_outside() && !is_clone(step))
}

/// Whether init needs nobody from the clone on: then the program may begin without its creator being asked again. Such a
/// clone tells nothing, and sends no terminal. Nor does it run hooks behind `created`, in whose time the container is to be
/// there for others.
pub(crate) fn may_begin_at_once(plan: &Plan) -> bool {
    is_alone(plan)
        && shares_memory(plan)
        && !plan.terminal
        && plan.agent().is_none()
        && plan.notify().is_none()
        && plan.later_hooks.iter().all(|hook| hook.name == "poststop")
}

fn clone(out: &mut Writer, n: u32, plan: &Plan, new: &[Namespace], cgroup: Option<&Path>) -> Result<()> {
    let shared = if shares_memory(plan) { libc::CLONE_VM as u64 } else { 0 };
    let flags = new.iter().fold(shared, |f, n| f | n.flag());
    out.push(n, &Op::Clone { flags, cgroup: &path(cgroup.unwrap_or(Path::new("")))? });
    Ok(())
}

/// Whether one of the steps writes to the container's procfs.
fn writes_proc(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.action, Action::Sysctl { .. } | Action::ProgramLabel { .. }))
}

/// Lays out what the last step needs, in the name of that step but before the container is created: afterwards
/// a filter may forbid it.
fn arguments(out: &mut Writer, plan: &Plan) -> Result<()> {
    for (step, number) in plan.steps.iter().zip(1u32..) {
        if let Action::Exec { args, env } = &step.action {
            let (args, env) = (list(args, |s| text(s))?, list(env, |s| text(s))?);
            out.push(number, &Op::Arguments { argv: args.get(), envp: env.get() });
        }
    }
    Ok(())
}

/// A hook that init runs, with the state around its pid.
fn hook(out: &mut Writer, n: u32, plan: &Plan, h: &HookAction) -> Result<()> {
    let (flags, status) = match h.name.as_str() {
        "startContainer" if h.env.is_none() => (hook::AS_PROGRAM | hook::INHERIT, "created"),
        "startContainer" => (hook::AS_PROGRAM, "created"),
        _ => (0, "creating"),
    };
    let (before, after) = document(&plan.id, status, &plan.bundle, &plan.annotations);
    let env = h.env.as_deref().unwrap_or(&[]);
    out.push(
        n,
        &Op::Hook {
            path: &path(&h.path)?,
            argv: list(&h.args, |s| text(s))?.get(),
            envp: list(env, |s| text(s))?.get(),
            flags,
            timeout: h.timeout.unwrap_or(0),
            before: Bytes(before.as_bytes()),
            after: Bytes(after.as_bytes()),
        },
    );
    Ok(())
}

fn text(s: &str) -> Result<CString> {
    CString::new(s).map_err(|_| Error::new(ErrorKind::InvalidConfig, format!("{s:?} contains a NUL byte")))
}

fn path(p: &Path) -> Result<CString> {
    CString::new(p.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidConfig, format!("{} contains a NUL byte", p.display())))
}

fn list<T, I: IntoIterator<Item = T>>(items: I, to: impl Fn(T) -> Result<CString>) -> Result<StrList> {
    let mut out = StrList::default();
    for item in items {
        out.push(&to(item)?);
    }
    Ok(out)
}

/// One step's record. The match is the whole table of what init is asked to do.
fn record(out: &mut Writer, n: u32, step: &Step) -> Result<()> {
    match &step.action {
        Action::JoinTasks { files } => {
            out.push(n, &Op::JoinTasks { files: list(files, |p| path(p))?.get() });
        }
        Action::OomScoreAdj { value } => {
            out.push(n, &Op::OomScoreAdj { value: &text(&value.to_string())? });
        }
        Action::Affinity { cpus, .. } => out.push(n, &Op::Affinity { mask: Bytes(&mask(cpus)) }),
        Action::SetNs { kind, path: p } => {
            out.push(n, &Op::SetNs { path: &path(p)?, kind: kind.flag() as u32 });
        }
        Action::OpenCgroup { dir, .. } => out.push(n, &Op::OpenCgroup { path: &path(dir)? }),
        Action::Enter { kinds } => {
            let flags = kinds.iter().fold(0, |f, k| f | k.flag() as u32);
            out.push(n, &Op::Enter { flags });
        }
        Action::NewUser => out.push(n, &Op::NewUser {}),
        Action::BecomeRoot { drop_groups } => {
            out.push(n, &Op::BecomeRoot { drop_groups: u32::from(*drop_groups) });
        }
        Action::OpenTasks { file } => out.push(n, &Op::OpenTasks { path: &path(file)? }),
        Action::JoinOpened => out.push(n, &Op::JoinOpened {}),
        Action::Unshare { new } => {
            let flags = new.iter().fold(0, |f, n| f | n.flag() as u32);
            out.push(n, &Op::Unshare { flags });
        }
        Action::Session { keyring } => {
            out.push(n, &Op::Session { keyring: &text(keyring.as_deref().unwrap_or(""))? });
        }
        Action::Hostname { name } => out.push(n, &Op::Hostname { name: &text(name)? }),
        Action::Domainname { name } => out.push(n, &Op::Domainname { name: &text(name)? }),
        Action::Loopback => out.push(n, &Op::Loopback {}),
        _ => return record_root(out, n, step),
    }
    Ok(())
}

/// The records of the root filesystem.
fn record_root(out: &mut Writer, n: u32, step: &Step) -> Result<()> {
    match &step.action {
        Action::Propagation { flags } => out.push(n, &Op::Propagation { flags: *flags }),
        Action::HideMounts => out.push(n, &Op::HideMounts {}),
        Action::LeaveMounts => out.push(n, &Op::LeaveMounts {}),
        Action::EnterRoot => out.push(n, &Op::EnterRoot {}),
        Action::Root { path: p, staged, alone } => {
            let alone = u32::from(*alone);
            out.push(n, &Op::Root { path: &path(if *staged { Path::new("") } else { p })?, alone });
        }
        Action::Bind(b) => bind_mount(out, n, b)?,
        Action::SetAttr { destination, set, clear, propagation } => {
            let dest = path(destination)?;
            let (set, clear, propagation) = (*set, *clear, *propagation);
            out.push(n, &Op::SetAttr { dest: &dest, set, clear, recursive: 0, propagation });
        }
        Action::Remount { destination, filesystem, options: o } => {
            let data = data(o, "")?;
            out.push(
                n,
                &Op::Remount {
                    dest: &path(destination)?,
                    filesystem: u32::from(*filesystem),
                    set: o.set,
                    clear: o.clear,
                    rset: o.set_recursive,
                    rclear: o.clear_recursive,
                    propagation: o.propagation,
                    data: data.get(),
                },
            );
        }
        Action::Device(d) => device(out, n, d)?,
        Action::Symlink { target, path: p } => {
            out.push(n, &Op::Symlink { target: &text(target)?, path: &path(p)? });
        }
        Action::Console { uid, width, height, on_dev } => {
            let device = u32::from(*on_dev);
            out.push(n, &Op::Console { uid: *uid, gid: 5, width: *width, height: *height, device });
        }
        Action::Mask { path: p, context } => {
            let options = MountOptions { data: context.iter().cloned().collect(), ..Default::default() };
            out.push(n, &Op::Mask { path: &path(p)?, data: data(&options, "tmpfs")?.get() });
        }
        Action::Readonly { path: p } => out.push(n, &Op::Readonly { path: &path(p)? }),
        Action::RootReadonly => out.push(n, &Op::RootReadonly {}),
        Action::Sysctl { key, value } => {
            let key = text(&format!("sys/{key}"))?;
            out.push(n, &Op::Sysctl { key: &key, value: &text(value)? });
        }
        _ => return record_process(out, n, step),
    }
    Ok(())
}

/// The records of the process.
fn record_process(out: &mut Writer, n: u32, step: &Step) -> Result<()> {
    match &step.action {
        Action::Rlimit { resource, soft, hard, .. } => {
            out.push(n, &Op::Rlimit { resource: *resource, soft: *soft, hard: *hard });
        }
        Action::NoNewPrivs => out.push(n, &Op::NoNewPrivs {}),
        Action::ProgramLabel { lsm, label } => {
            let (file, label) = match lsm {
                Lsm::AppArmor => (c"attr/apparmor/exec", text(&format!("exec {label}"))?),
                Lsm::SeLinux => (c"attr/exec", text(label)?),
            };
            out.push(n, &Op::ProgramLabel { file, label: &label });
        }
        Action::Scheduler(s) => out.push(n, &Op::Scheduler { attr: Bytes(&sched_attr(s)) }),
        Action::IoPriority { class, level } => {
            out.push(n, &Op::IoPriority { value: class << IOPRIO_CLASS_SHIFT | level });
        }
        Action::MemoryPolicy { mode, flags, nodes } => {
            out.push(n, &Op::MemoryPolicy { mode: mode | flags, nodes: Bytes(&mask(nodes)) });
        }
        Action::Personality { domain } => out.push(n, &Op::Personality { domain: *domain }),
        Action::Umask { mask } => out.push(n, &Op::Umask { mask: *mask }),
        Action::Cwd { path: p, create, uid, gid } => {
            let create = u32::from(*create);
            out.push(n, &Op::Cwd { path: &path(p)?, create, uid: *uid, gid: *gid });
        }
        Action::Bounding { keep, last } => {
            out.push(n, &Op::Bounding { keep: *keep, last: *last });
        }
        Action::Identity { uid, gid, groups, keep_groups } => {
            let groups: Vec<u8> = groups.iter().flat_map(|g| g.to_le_bytes()).collect();
            let keep_groups = u32::from(*keep_groups);
            out.push(n, &Op::Identity { uid: *uid, gid: *gid, keep_groups, groups: Bytes(&groups) });
        }
        Action::Caps { sets, waiting } => out.push(
            n,
            &Op::Caps {
                effective: sets.effective,
                permitted: sets.permitted | waiting | sets.effective,
                inheritable: sets.inheritable,
            },
        ),
        Action::Ambient { set } => out.push(n, &Op::Ambient { set: *set }),
        Action::Home { uid } => out.push(n, &Op::Home { uid: *uid }),
        Action::Lookup { candidates, .. } => {
            out.push(n, &Op::Lookup { candidates: list(candidates, |p| path(p))?.get() });
        }
        Action::Ready => out.push(n, &Op::Ready {}),
        Action::Listener(_) => out.push(n, &Op::Listener {}),
        Action::Seccomp(program) => {
            let filter: Vec<u8> = program.insns.iter().flat_map(seccomp::Insn::bytes).collect();
            out.push(n, &Op::Seccomp { flags: program.flags, filter: Bytes(&filter) });
        }
        Action::Exec { .. } => out.push(n, &Op::Exec {}),
        // Steps of the host have no record.
        _ => {}
    }
    Ok(())
}

/// Where the class stands in an I/O priority (linux/ioprio.h).
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// A set of numbers as the kernel reads it: an array of unsigned long.
fn mask(ranges: &Ranges) -> Vec<u8> {
    ranges.mask().iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct sched_attr` in its second version, of 56 bytes; the utilization clamps at its end stay 0, as
/// the specification has no values for them.
fn sched_attr(s: &Scheduler) -> Vec<u8> {
    const SIZE: usize = 56;
    let mut attr = Vec::with_capacity(SIZE);
    attr.extend_from_slice(&(SIZE as u32).to_ne_bytes());
    attr.extend_from_slice(&s.policy.to_ne_bytes());
    attr.extend_from_slice(&s.flags.to_ne_bytes());
    attr.extend_from_slice(&s.nice.to_ne_bytes());
    attr.extend_from_slice(&s.priority.to_ne_bytes());
    for time in [s.runtime, s.deadline, s.period] {
        attr.extend_from_slice(&time.to_ne_bytes());
    }
    attr.resize(SIZE, 0);
    attr
}

/// The data of a filesystem, one by one.
fn data(options: &MountOptions, fstype: &str) -> Result<StrList> {
    let mut out = StrList::default();
    for flag in &options.superblock {
        out.push(&text(&format!("!{flag}"))?);
    }
    for option in &options.data {
        match &option.value {
            // Every devpts is one of its own since Linux 4.7, which says nothing to this word any more.
            None if fstype == "devpts" && option.key == "newinstance" => {}
            Some(value) => {
                out.push(&text(&format!("={}", option.key))?);
                out.push(&text(value)?);
            }
            None => out.push(&text(&format!("!{}", option.key))?),
        }
    }
    Ok(out)
}

fn mount(out: &mut Writer, n: u32, m: &FilesystemMount, remounted: bool) -> Result<()> {
    let o = &m.options;
    let required = if m.ordinary { require::ORDINARY } else { 0 }
        | if m.inherit_mode { require::MODE_OF_TARGET } else { 0 }
        | if o.copy_up { require::COPY_UP } else { 0 }
        | if remounted { require::REMEMBER } else { 0 };
    let label = text(m.label.as_deref().unwrap_or(""))?;
    if o.is_long() {
        out.push(
            n,
            &Op::OldMount {
                fstype: &text(&m.fstype)?,
                source: &text(&m.source)?,
                dest: &path(&m.destination)?,
                flags: o.ms_flags(),
                propagation: o.propagation,
                require: required,
                data: &text(&o.joined())?,
                label: &label,
            },
        );
        return Ok(());
    }
    out.push(
        n,
        &Op::Mount {
            fstype: &text(&m.fstype)?,
            source: &text(&m.source)?,
            dest: &path(&m.destination)?,
            attr: o.set | o.set_recursive,
            propagation: o.propagation,
            require: required,
            data: data(o, &m.fstype)?.get(),
            label: &label,
        },
    );
    Ok(())
}

fn bind_mount(out: &mut Writer, n: u32, b: &BindMount) -> Result<()> {
    let o = &b.options;
    let source = if b.staged { Path::new("") } else { &b.source };
    out.push(
        n,
        &Op::Bind {
            source: &path(source)?,
            dest: &path(&b.destination)?,
            flags: if b.recursive { bind::RECURSIVE } else { 0 }
                | if b.destination == Path::new("/proc") { bind::PROC } else { 0 }
                | match &b.device {
                    None => 0,
                    Some(node) if node.kind == 'b' => bind::BLOCK,
                    Some(_) => bind::CHAR,
                },
            set: o.set,
            clear: o.clear,
            rset: o.set_recursive,
            rclear: o.clear_recursive,
            propagation: o.propagation,
            device: b.device.as_ref().map_or(0, |node| libc::makedev(node.major, node.minor)),
        },
    );
    Ok(())
}

fn device(out: &mut Writer, n: u32, d: &DeviceNode) -> Result<()> {
    let kind = match d.kind {
        'b' => libc::S_IFBLK,
        'p' => libc::S_IFIFO,
        _ => libc::S_IFCHR,
    };
    out.push(
        n,
        &Op::Device {
            path: &path(&d.path)?,
            mode: kind | d.mode,
            dev: libc::makedev(d.major, d.minor),
            uid: d.uid,
            gid: d.gid,
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::shares_memory;
    use crate::bundle::Bundle;
    use crate::plan::labels::tests::facts;
    use crate::plan::{CreateOptions, plan};
    use serde_json::{Value, json};

    fn shares(namespaces: &[&str]) -> bool {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        let list: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
        let mut config = json!({
            "ociVersion": "1.0.0", "root": { "path": "/r" }, "process": { "cwd": "/", "args": ["x"] },
            "linux": { "namespaces": list },
        });
        if namespaces.contains(&"user") {
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        let bundle = Bundle::from_json(config.to_string().as_bytes()).expect("a bundle");
        shares_memory(&plan("c1", &bundle, &facts(false, false), &CreateOptions::default()).expect("a plan"))
    }

    #[test]
    fn memory_is_shared_only_where_nobody_else_can_reach_it() {
        assert!(shares(&["mount", "pid"]));
        assert!(shares(&["mount", "pid", "ipc", "uts", "network", "cgroup"]));
        // With the pid namespace of the caller others see the clone.
        assert!(!shares(&["mount"]));
        assert!(!shares(&["mount", "pid", "user"]));
        assert!(!shares(&["mount", "pid", "time"]));
    }
}
