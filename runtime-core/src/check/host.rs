//! The kernel and the rights of the caller.

use super::Check;
use crate::error::errno_text;
use crate::plan::action::{Action, Namespace};
use crate::sys;
use std::path::Path;

const SYS_RESOURCE: u64 = 1 << 24;

/// Looks at namespaces, sysctls and limits.
pub(super) fn look(check: &mut Check<'_>) {
    let plan = check.plan;
    for (number, step) in (1u32..).zip(&plan.steps) {
        let field = step.field.as_str();
        match &step.action {
            Action::SetNs { kind, path } => joined(check, number, field, *kind, path),
            Action::Clone { new, .. } | Action::Unshare { new } => {
                new.iter().for_each(|kind| made(check, number, field, *kind));
            }
            Action::NewUser => user(check, number, field),
            Action::Sysctl { key, .. } => sysctl(check, number, field, key),
            Action::Rlimit { name, hard, .. } => rlimit(check, number, field, name, *hard),
            Action::OomScoreAdj { value } => oom(check, number, field, *value),
            _ => {}
        }
    }
}

/// A namespace that is entered.
fn joined(check: &mut Check<'_>, number: u32, field: &str, kind: Namespace, path: &Path) {
    let name = kind.name();
    match sys::look::namespace_kind(path) {
        Ok(flag) if flag == kind.flag() => {}
        Ok(flag) => {
            let other = Namespace::ALL.iter().find(|n| n.flag() == flag).map_or("another", |n| n.name());
            check.error(number, field, format!("{} is no {name} namespace but {other}", path.display()));
        }
        Err(e) if e.raw_os_error() == Some(libc::ENOTTY) => {
            check.error(number, field, format!("{} is no namespace", path.display()));
        }
        Err(e) => {
            let why = e.raw_os_error().map_or_else(|| e.to_string(), errno_text);
            check.error(number, field, format!("{name} namespace path: lstat {}: {why}", path.display()));
        }
    }
}

/// A namespace that is made.
fn made(check: &mut Check<'_>, number: u32, field: &str, kind: Namespace) {
    let name = kind.name();
    let (file, limit) = match kind {
        Namespace::Network => ("net", "net"),
        Namespace::Mount => ("mnt", "mnt"),
        _ => (name, name),
    };
    if !Path::new("/proc/self/ns").join(file).exists() {
        check.error(number, field, format!("this kernel has no {name} namespaces"));
    }
    let limit = format!("/proc/sys/user/max_{limit}_namespaces");
    if sys::read_file(&limit).is_ok_and(|text| text.trim() == "0") {
        check.error_with(
            number,
            field,
            format!("{name} namespaces are switched off on this host"),
            format!("{limit} is 0"),
        );
    }
}

/// A user namespace, which a host may keep from users without rights.
fn user(check: &mut Check<'_>, number: u32, field: &str) {
    made(check, number, field, Namespace::User);
    if check.facts.euid == 0 {
        return;
    }
    let is = |file: &str, value: &str| sys::read_file(file).is_ok_and(|text| text.trim() == value);
    let clone = "/proc/sys/kernel/unprivileged_userns_clone";
    if is(clone, "0") {
        check.error_with(
            number,
            field,
            "user namespaces are for root only on this host",
            format!("{clone} is 0"),
        );
    }
    let restrict = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    if is(restrict, "1") {
        check.warning(
            number,
            field,
            format!(
                "AppArmor may deny a user namespace to a caller without a profile for it: {restrict} is 1"
            ),
        );
    }
}

/// A sysctl. Those of one network interface exist only where it does.
fn sysctl(check: &mut Check<'_>, number: u32, field: &str, key: &str) {
    let of_interface = key.starts_with("net/") && (key.contains("/conf/") || key.contains("/neigh/"));
    if !of_interface && !Path::new("/proc/sys").join(key).exists() {
        let name = key.replace('/', ".");
        check.error(number, field, format!("sysctl {name}: no such sysctl in this kernel or namespace"));
    }
}

/// A limit above the caller's own.
fn rlimit(check: &mut Check<'_>, number: u32, field: &str, name: &str, hard: u64) {
    if check.facts.effective & SYS_RESOURCE != 0 {
        return;
    }
    let Some(own) = own_limit(name).filter(|own| hard > *own) else { return };
    check.error_with(
        number,
        field,
        format!("the hard limit of {name} is above the caller's own, {own}"),
        "raising a hard limit needs CAP_SYS_RESOURCE",
    );
}

/// The caller's hard limit.
fn own_limit(name: &str) -> Option<u64> {
    const LINES: [(&str, &str); 16] = [
        ("RLIMIT_CPU", "Max cpu time"),
        ("RLIMIT_FSIZE", "Max file size"),
        ("RLIMIT_DATA", "Max data size"),
        ("RLIMIT_STACK", "Max stack size"),
        ("RLIMIT_CORE", "Max core file size"),
        ("RLIMIT_RSS", "Max resident set"),
        ("RLIMIT_NPROC", "Max processes"),
        ("RLIMIT_NOFILE", "Max open files"),
        ("RLIMIT_MEMLOCK", "Max locked memory"),
        ("RLIMIT_AS", "Max address space"),
        ("RLIMIT_LOCKS", "Max file locks"),
        ("RLIMIT_SIGPENDING", "Max pending signals"),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
        ("RLIMIT_NICE", "Max nice priority"),
        ("RLIMIT_RTPRIO", "Max realtime priority"),
        ("RLIMIT_RTTIME", "Max realtime timeout"),
    ];
    let label = LINES.iter().find(|(limit, _)| *limit == name)?.1;
    let text = sys::read_file("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// An OOM score below the caller's own.
fn oom(check: &mut Check<'_>, number: u32, field: &str, value: i32) {
    let own =
        sys::read_file("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i32>().ok());
    if check.facts.effective & SYS_RESOURCE == 0
        && let Some(own) = own.filter(|own| value < *own)
    {
        check.error_with(
            number,
            field,
            format!("oom_score_adj {value} is below the caller's own, {own}"),
            "a value below the caller's needs CAP_SYS_RESOURCE",
        );
    }
}
