//! Many containers, one after the other: nothing adds up. `OXRUN_SOAK=N` says how many; without it nothing is run,
//! as a thousand take minutes. `OXRUN_CGROUP_VIEW` chooses the hierarchies.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, run};
use oxrun_conformance::{Check, check_eq};
use std::collections::BTreeSet;
use std::process::ExitCode;

fn count() -> Option<u32> {
    std::env::var("OXRUN_SOAK").ok()?.parse().ok()
}

/// The kernel's own count of cgroups, by hierarchy. Others on the machine change it.
fn cgroups() -> Check<Vec<(String, u64)>> {
    let text = std::fs::read_to_string("/proc/cgroups")?;
    let line = |l: &str| {
        let mut words = l.split_whitespace();
        Some((words.next()?.to_owned(), words.nth(1)?.parse().ok()?))
    };
    Ok(text.lines().skip(1).filter_map(line).collect())
}

fn descriptors() -> Check<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn created_and_deleted_containers_leave_nothing() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
    let rt = s.runtime();
    let before = (s.leaks()?, Host::children()?, descriptors()?, cgroups()?);
    let number = count().unwrap_or(0);
    let began = std::time::Instant::now();
    for n in 0..number {
        let id = format!("c{n}");
        rt.create(bundle.path(), &id)?.success()?;
        let pid = rt.pid(&id)?;
        // Every other one runs; the others are deleted as created.
        if n % 2 == 0 {
            rt.start(&id)?.success()?;
        }
        rt.call(&["delete", "--force", &id])?.success()?;
        rt.wait_for(pid)?;
        let left: BTreeSet<_> = Host::cgroups(s.cgroup_prefix())?;
        check_eq!(left, BTreeSet::new(), "cgroups after {} containers", n + 1);
    }
    before.0.assert_same()?;
    check_eq!(Host::children()?, before.1, "children");
    check_eq!(descriptors()?, before.2, "descriptors of the test");
    println!(
        "{number} containers in {:.1} s; /proc/cgroups before and after:",
        began.elapsed().as_secs_f32()
    );
    for ((name, before), (_, after)) in before.3.iter().zip(cgroups()?) {
        println!("  {name} {before} {after}");
    }
    Ok(())
}

fn main() -> ExitCode {
    run(vec![conditional(
        "created_and_deleted_containers_leave_nothing",
        || count().is_none().then(|| "takes minutes: set OXRUN_SOAK to the number of containers".to_owned()),
        created_and_deleted_containers_leave_nothing,
    )])
}
