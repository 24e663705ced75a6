//! From the last execve to the program's end: how it ended is told as it was, and nothing that
//! belongs to the program keeps it from starting.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

/// A program that dies at once races with the runtime that looks at it.
const RUNS: usize = 20;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// The exit codes of a program that sends itself a signal as its first act.
fn codes(signal: i32) -> Check<Vec<i32>> {
    let s = sandbox()?;
    // Without a pid namespace the program is no init, so the signal ends it.
    let config = Config::new(&["/bin/probe", "signal-self", &signal.to_string()]).without_namespace("pid");
    let bundle = s.bundle(&config)?;
    (0..RUNS).map(|turn| Ok(s.runtime().run(bundle.path(), &format!("c{turn}"))?.code)).collect()
}

fn a_program_that_kills_itself_at_once_has_run() -> Check {
    check_eq!(codes(libc::SIGKILL)?, [137; RUNS]);
    Ok(())
}

fn a_program_that_crashes_at_once_has_run() -> Check {
    check_eq!(codes(libc::SIGSEGV)?, [139; RUNS]);
    Ok(())
}

/// A copy of the probe whose first segment is larger than any address space.
fn damaged(probe: &[u8]) -> Vec<u8> {
    let number = |at: usize, size: usize| {
        let bytes = probe.get(at..at + size).unwrap();
        bytes.iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let load = (0..count).map(|index| table + index * size).find(|header| number(*header, 4) == 1).unwrap();
    let mut bytes = probe.to_owned();
    bytes[load + 40..load + 48].copy_from_slice(&(1u64 << 62).to_le_bytes());
    bytes
}

fn a_program_that_the_kernel_cannot_load_has_not_run() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/damaged"]))?;
    let program = bundle.rootfs().join("bin/damaged");
    fs::write(&program, damaged(&fs::read(s.probe())?))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let before = s.leaks()?;
    let output = s.runtime().run(bundle.path(), "c1")?.exits(255)?;
    check!(output.says("while the kernel loaded it") && output.says("/bin/damaged"), "{output}");
    before.assert_same()
}

fn a_filter_without_mmap_does_not_keep_the_program_from_starting() -> Check {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": ["mmap"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
    });
    let s = sandbox()?;
    for no_new_privileges in [true, false] {
        let config = Config::new(&["/bin/probe", "exit", "7"])
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", no_new_privileges);
        let bundle = s.bundle(&config)?;
        s.runtime().run(bundle.path(), "c1")?.exits(7)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests =
        tests![a_program_that_kills_itself_at_once_has_run, a_program_that_crashes_at_once_has_run,];
    tests.extend([
        oxrun_only(
            "a_program_that_the_kernel_cannot_load_has_not_run",
            "others report the signal as the program's own",
            a_program_that_the_kernel_cannot_load_has_not_run,
        ),
        oxrun_only(
            "a_filter_without_mmap_does_not_keep_the_program_from_starting",
            "others are written in languages that map memory at any time",
            a_filter_without_mmap_does_not_keep_the_program_from_starting,
        ),
    ]);
    run(tests)
}
