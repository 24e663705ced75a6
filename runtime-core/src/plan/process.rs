//! The process: limits, user, capabilities, program, filter.
//!
//! The order is the kernel's: limits while we still have the rights; the bounding set before the
//! user; the user before the capabilities it keeps; the program is looked for as the user. With
//! noNewPrivileges the filter is the last thing before the program; without, loading it needs
//! CAP_SYS_ADMIN, which is kept until then and only for that.

use super::Builder;
use super::action::{Action, Agent};
use super::caps::{self, CapSets, SYS_ADMIN};
use crate::error::{Error, ErrorKind, Lane, Result};
use crate::seccomp;
use oci_spec::runtime::{Capabilities, Capability, LinuxPersonalityDomain, PosixRlimitType, Process, Spec};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The annotation that leaves the caller's groups as they are.
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Which process of a container it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The one that the container lives and dies with.
    First,
    /// One that joins it.
    Further,
}

/// Where the filter comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter<'a> {
    /// The config's profile, to be compiled.
    OfConfig,
    /// It was compiled before.
    Compiled(Option<&'a seccomp::Program>),
}

/// Compiles the filter of a config.
pub(crate) fn filter(spec: &Spec) -> Result<Option<seccomp::Program>> {
    let profile = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let Some(profile) = profile else {
        return Ok(None);
    };
    let wrong = |e: seccomp::SeccompError| Error::config(e.field(), e.to_string());
    let program = seccomp::compile(profile, seccomp::Arch::native()).map_err(wrong)?;
    seccomp::check_listener(profile).map_err(wrong)?;
    // The one call that init makes between the filter and the program to hand over the listener.
    if program.notify
        && let Some(denied) = super::execve::answer_to(profile, "write")
    {
        return Err(Error::config(
            denied.field,
            format!("SCMP_ACT_NOTIFY needs the write syscall: {}", denied.message),
        ));
    }
    Ok(Some(program))
}

/// All steps from the root to the program.
pub(crate) fn process(b: &mut Builder<'_>, p: &Process, kind: Kind) -> Result<()> {
    rlimits(b, p)?;
    let user = p.user();
    let create = Action::Cwd {
        path: p.cwd().clone(),
        // A missing one is made for the first process only, as in runc.
        create: kind == Kind::First,
        uid: 0,
        gid: 0,
    };
    b.init("/process/cwd", create);
    // Only now: the working directory was the last thing that may have had to be made.
    let readonly = b.spec.root().as_ref().is_some_and(|r| r.readonly() == Some(true));
    if readonly && kind == Kind::First {
        b.init("/root/readonly", Action::RootReadonly);
    }
    b.init("/process/user/umask", Action::Umask { mask: user.umask().unwrap_or(0o022) & 0o777 });
    super::labels::program(b, p)?;
    super::scheduling::scheduling(b, p)?;
    personality(b);
    let no_new_privs = p.no_new_privileges() == Some(true);
    if no_new_privs {
        b.init("/process/noNewPrivileges", Action::NoNewPrivs);
    }
    let program = match b.filter {
        Filter::OfConfig => filter(b.spec)?,
        Filter::Compiled(program) => program.cloned(),
    };
    let program = program.filter(|p| !p.insns.is_empty());
    if let Some(program) = &program
        && program.flags & seccomp::FLAG_WAIT_KILLABLE_RECV != 0
        && !b.facts.wait_killable
    {
        let text = "error adding WaitKill flag to seccomp filter: SetWaitKill requires linux 5.19 or newer";
        return Err(Error::config("/linux/seccomp/flags", text).of_kind(ErrorKind::Unsupported));
    }
    let sets = capabilities(b, p);
    b.init(
        "/process/capabilities/bounding",
        Action::Bounding { keep: sets.bounding, last: b.facts.last_cap },
    );
    identity(b, p)?;
    let waiting = if program.is_some() && !no_new_privs { SYS_ADMIN & !sets.permitted } else { 0 };
    let early = program.is_some() && !no_new_privs;
    b.init(
        "/process/capabilities",
        Action::Caps { sets: if early { CapSets { effective: SYS_ADMIN, ..sets } } else { sets }, waiting },
    );
    b.init("/process/capabilities/ambient", Action::Ambient { set: sets.ambient });
    arguments(b, p, program, early.then_some(sets), kind)
}

/// The execution domain, which a filter may not allow to set.
fn personality(b: &mut Builder<'_>) {
    let Some((domain, flags)) = b
        .linux()
        .and_then(|l| l.personality().as_ref())
        .map(|p| (p.domain(), p.flags().clone().unwrap_or_default()))
    else {
        return;
    };
    if !flags.is_empty() {
        b.warn(
            "/linux/personality/flags",
            format!("no flag of a personality is known, ignored: {}", flags.join(", ")),
        );
    }
    const PER_LINUX32: u32 = 8;
    let domain = match domain {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    };
    b.init("/linux/personality", Action::Personality { domain });
}

fn rlimits(b: &mut Builder<'_>, p: &Process) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (i, limit) in p.rlimits().iter().flatten().enumerate() {
        let field = format!("/process/rlimits/{i}");
        let (name, resource) = resource(limit.typ());
        if !seen.insert(resource) {
            return Err(Error::config(field, format!("duplicate rlimit {name}")));
        }
        if limit.soft() > limit.hard() {
            return Err(Error::config(
                field,
                format!("soft limit {} of {name} is above the hard limit {}", limit.soft(), limit.hard()),
            ));
        }
        // Raising a limit takes rights that root of a user namespace does not have.
        let lane = if super::users::clones_outside(b) { Lane::Host } else { Lane::Init };
        let limit =
            Action::Rlimit { name: name.to_owned(), resource, soft: limit.soft(), hard: limit.hard() };
        b.push(lane, field, limit);
    }
    Ok(())
}

fn resource(typ: PosixRlimitType) -> (&'static str, u32) {
    use PosixRlimitType::*;
    match typ {
        RlimitCpu => ("RLIMIT_CPU", 0),
        RlimitFsize => ("RLIMIT_FSIZE", 1),
        RlimitData => ("RLIMIT_DATA", 2),
        RlimitStack => ("RLIMIT_STACK", 3),
        RlimitCore => ("RLIMIT_CORE", 4),
        RlimitRss => ("RLIMIT_RSS", 5),
        RlimitNproc => ("RLIMIT_NPROC", 6),
        RlimitNofile => ("RLIMIT_NOFILE", 7),
        RlimitMemlock => ("RLIMIT_MEMLOCK", 8),
        RlimitAs => ("RLIMIT_AS", 9),
        RlimitLocks => ("RLIMIT_LOCKS", 10),
        RlimitSigpending => ("RLIMIT_SIGPENDING", 11),
        RlimitMsgqueue => ("RLIMIT_MSGQUEUE", 12),
        RlimitNice => ("RLIMIT_NICE", 13),
        RlimitRtprio => ("RLIMIT_RTPRIO", 14),
        RlimitRttime => ("RLIMIT_RTTIME", 15),
    }
}

/// The last id means "leave it as it is" to the kernel, which here would be root.
pub(super) fn check_id(field: &str, id: u32) -> Result<()> {
    if id > i32::MAX as u32 {
        return Err(Error::config(field, format!("uids and gids must be in range 0-2147483647: {id}")));
    }
    Ok(())
}

fn identity(b: &mut Builder<'_>, p: &Process) -> Result<()> {
    let user = p.user();
    let groups = user.additional_gids().clone().unwrap_or_default();
    let gids = groups.iter().enumerate().map(|(i, g)| (format!("additionalGids/{i}"), *g));
    let ids = [("uid".to_owned(), user.uid()), ("gid".to_owned(), user.gid())];
    for (name, id) in ids.into_iter().chain(gids) {
        check_id(&format!("/process/user/{name}"), id)?;
    }
    // An unprivileged user's map forbids setgroups for good.
    let unprivileged = b.facts.euid != 0;
    if unprivileged && !groups.is_empty() {
        return Err(Error::config(
            "/process/user/additionalGids",
            "cannot set any additional groups in a rootless container",
        ));
    }
    let keep = b.spec.annotations().as_ref().is_some_and(|a| a.contains_key(KEEP_GROUPS));
    b.init(
        "/process/user",
        Action::Identity { uid: user.uid(), gid: user.gid(), groups, keep_groups: unprivileged || keep },
    );
    Ok(())
}

/// The bit of a capability.
fn bit(capability: Capability) -> u64 {
    let number = match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    };
    1 << number
}

/// The five sets, without what this host cannot give. The inheritable set is the config's and empty
/// otherwise (CVE-2022-29162 and its kin).
fn capabilities(b: &mut Builder<'_>, p: &Process) -> CapSets {
    let Some(c) = p.capabilities() else {
        return CapSets::default();
    };
    let mask = |set: &Option<Capabilities>| -> u64 { set.iter().flatten().fold(0, |m, c| m | bit(*c)) };
    let mut sets = CapSets {
        bounding: mask(c.bounding()),
        effective: mask(c.effective()),
        permitted: mask(c.permitted()),
        inheritable: mask(c.inheritable()),
        ambient: mask(c.ambient()),
    };
    // Inside a new user namespace everything can be given.
    let own_user = b.namespaces.has(super::action::Namespace::User);
    let available = if own_user { (2u64 << b.facts.last_cap) - 1 } else { b.facts.bounding };
    let mut missing = 0;
    for set in [
        &mut sets.bounding,
        &mut sets.effective,
        &mut sets.permitted,
        &mut sets.inheritable,
        &mut sets.ambient,
    ] {
        missing |= *set & !available;
        *set &= available;
    }
    for name in caps::names(missing) {
        b.warn("/process/capabilities", format!("capability {name} cannot be given on this host"));
    }
    let raised = sets.ambient & sets.permitted & sets.inheritable;
    for name in caps::names(sets.ambient & !raised) {
        b.warn(
            "/process/capabilities/ambient",
            format!("can't raise ambient capability {name}: it must be permitted and inheritable too"),
        );
    }
    sets.ambient = raised;
    // The kernel takes no effective set beyond the permitted one.
    sets.effective &= sets.permitted;
    sets
}

/// Environment, program, wait, filter, exec.
fn arguments(
    b: &mut Builder<'_>,
    p: &Process,
    filter: Option<seccomp::Program>,
    last: Option<CapSets>,
    kind: Kind,
) -> Result<()> {
    let args = p.args().clone().unwrap_or_default();
    let name = args.first().cloned().unwrap_or_default();
    check_strings("/process/args", &args)?;
    let env = environment(p.env().as_deref().unwrap_or(&[]))?;
    let home = env.iter().any(|e| e.strip_prefix("HOME=").is_some_and(|v| !v.is_empty()));
    let env: Vec<String> = env.into_iter().filter(|e| home || e != "HOME=").collect();
    if !home {
        b.init("/process/env", Action::Home { uid: p.user().uid() });
    }
    let candidates = candidates(&name, &env);
    b.init("/process/args/0", Action::Lookup { name, candidates });
    b.init("(lifecycle)", if kind == Kind::First { Action::Created } else { Action::Ready });
    if kind == Kind::First {
        super::start_hooks(b)?;
    }
    if let Some(program) = filter {
        if program.notify {
            let agent = agent(b);
            b.init("/linux/seccomp/listenerPath", Action::Listener(agent));
        }
        b.init("/linux/seccomp", Action::Seccomp(program));
    }
    if let Some(sets) = last {
        b.init("/process/capabilities", Action::Caps { sets, waiting: 0 });
    }
    b.init("/process/args", Action::Exec { args, env });
    Ok(())
}

/// The agent of a filter that has one.
fn agent(b: &Builder<'_>) -> Agent {
    let profile = b.linux().and_then(|l| l.seccomp().as_ref());
    let path = profile.and_then(|p| p.listener_path().clone()).unwrap_or_default();
    let metadata = profile.and_then(|p| p.listener_metadata().clone()).unwrap_or_default();
    Agent { path, metadata }
}

fn check_strings(field: &str, list: &[String]) -> Result<()> {
    match list.iter().position(|s| s.contains('\0')) {
        Some(i) => Err(Error::config(format!("{field}/{i}"), "a NUL byte cannot be passed to a program")),
        None => Ok(()),
    }
}

/// The environment with one entry for each name: the last one, in its place.
pub(crate) fn environment(env: &[String]) -> Result<Vec<String>> {
    check_strings("/process/env", env)?;
    let mut seen = BTreeSet::new();
    let mut out = Vec::with_capacity(env.len());
    for (i, entry) in env.iter().enumerate().rev() {
        let field = format!("/process/env/{i}");
        match entry.split_once('=') {
            None => {
                return Err(Error::config(
                    field,
                    format!("invalid environment variable: missing '=': {entry:?}"),
                ));
            }
            Some(("", _)) => {
                return Err(Error::config(
                    field,
                    format!("invalid environment variable: name cannot be empty: {entry:?}"),
                ));
            }
            Some((name, _)) => {
                if seen.insert(name) {
                    out.push(entry.clone());
                }
            }
        }
    }
    out.reverse();
    Ok(out)
}

/// Where the program may lie: as it is with a slash in it, else in each directory of PATH.
fn candidates(name: &str, env: &[String]) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    if name.is_empty() {
        return Vec::new();
    }
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| PathBuf::from(dir).join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn every_capability_of_the_model_has_its_bit() {
        for (n, name) in caps::NAMES.iter().enumerate() {
            let capability: Capability =
                serde_json::from_value(serde_json::json!(name)).expect("a capability");
            assert_eq!(bit(capability), 1 << n, "{name}");
        }
    }

    #[test]
    fn of_duplicate_variables_the_last_one_stays_in_its_place() {
        let env = environment(&strings(&["A=1", "B=2", "A=3"])).expect("fine");
        assert_eq!(env, ["B=2", "A=3"]);
    }

    #[test]
    fn malformed_variables_are_named() {
        let e = environment(&strings(&["A=1", "B"])).expect_err("wrong");
        assert_eq!(e.field(), Some("/process/env/1"));
        assert!(environment(&strings(&["=x"])).is_err());
    }

    #[test]
    fn a_flag_that_the_kernel_lacks_is_refused_before_anything_is_made() {
        let config = serde_json::json!({
            "ociVersion": "1.2.0", "root": {"path": "/x"},
            "process": {"cwd": "/", "args": ["/x"], "user": {"uid": 0, "gid": 0}},
            "linux": {"namespaces": [{"type": "mount"}], "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x.sock",
                "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            }},
        });
        let bundle = crate::Bundle::from_json(config.to_string().as_bytes()).expect("loads");
        let recorded = crate::HostFacts::record().expect("facts");
        let plan = |wait_killable| {
            let facts = crate::HostFacts { euid: 0, wait_killable, ..recorded.clone() };
            super::super::plan("c1", &bundle, &facts, &crate::CreateOptions::default())
        };
        assert!(plan(true).is_ok());
        let e = plan(false).expect_err("refused");
        assert_eq!(e.field(), Some("/linux/seccomp/flags"));
        assert!(e.to_string().contains("SetWaitKill requires linux 5.19 or newer"), "{e}");
    }

    #[test]
    fn a_name_with_a_slash_is_not_looked_up() {
        let env = strings(&["PATH=/bin::relative:/usr/bin"]);
        assert_eq!(candidates("./x", &env), [PathBuf::from("./x")]);
        assert_eq!(candidates("x", &env), [PathBuf::from("/bin/x"), PathBuf::from("/usr/bin/x")]);
    }
}
