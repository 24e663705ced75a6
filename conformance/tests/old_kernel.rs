//! A kernel below the floor gets its one sentence: what runs is too old, what is needed, and nothing is left.
//! Only such a kernel can show it; `oxrun-conformance vm --kernel 5.10 --suite plain old_kernel` boots one.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, conditional, run};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::process::ExitCode;

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Whether the kernel is older than 5.14.
fn is_old() -> bool {
    let release = release();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (5, 14))
}

fn newer() -> Option<String> {
    (!is_old()).then(|| format!("needs a kernel before 5.14; this is {}", release()))
}

fn sentence() -> String {
    format!("linux {} is too old: 5.14 or newer is needed", release())
}

fn create_and_run_say_in_one_sentence_that_the_kernel_is_too_old() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "report"]))?;
    let before = s.leaks()?;
    for out in [s.runtime().create(bundle.path(), "c1")?, s.runtime().run(bundle.path(), "c2")?] {
        let out = out.refused(&sentence())?;
        check_eq!(out.stderr.trim_end().lines().count(), 1, "one sentence: {}", out.stderr);
    }
    before.assert_same()
}

/// The kernels that cannot have an agent are older still: nobody is told of that alone.
fn a_profile_with_an_agent_gets_the_same_sentence() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/nonexistent",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let config = Config::new(&["/bin/probe", "report"]).set("/linux/seccomp", profile);
    let out = s.runtime().create(s.bundle(&config)?.path(), "c1")?.refused(&sentence())?;
    check!(!out.says("seccomp notify unsupported"), "{out}");
    Ok(())
}

fn what_needs_no_container_works_on_an_old_kernel() -> Check {
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    for words in [&["--version"][..], &["--help"]] {
        s.runtime().call(words)?.success()?;
    }
    // It tells what this host can do, which is nothing.
    s.runtime().call(&["features"])?.refused(&sentence())?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "report"]))?;
    let directory = bundle.path().to_string_lossy().into_owned();
    let out = s.runtime().call(&["check", &directory])?;
    check!(out.says(&sentence()), "check says so too: {} {}", out.stdout, out.stderr);
    Ok(())
}

fn main() -> ExitCode {
    run(vec![
        conditional(
            "create_and_run_say_in_one_sentence_that_the_kernel_is_too_old",
            newer,
            create_and_run_say_in_one_sentence_that_the_kernel_is_too_old,
        ),
        conditional(
            "a_profile_with_an_agent_gets_the_same_sentence",
            newer,
            a_profile_with_an_agent_gets_the_same_sentence,
        ),
        conditional(
            "what_needs_no_container_works_on_an_old_kernel",
            newer,
            what_needs_no_container_works_on_an_old_kernel,
        ),
    ])
}
