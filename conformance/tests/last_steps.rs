//! The order of the last steps before the program: limits, rights, the search for it, the filter.
//! Each test also puts the steps into another order and shows that it fails.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::{EXIT, Held, WHY, move_after, move_before, output_of, plan, plan_of, refusal_of, sandbox};
use oxrun_conformance::harness::{Config, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::plan::action::Action;
use oxrun_core::{ErrorKind, ExitStatus, Plan};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

/// The machine code of [`two_calls`], and the number of the machine in an ELF file.
#[cfg(target_arch = "x86_64")]
const CODE: (u16, &[u8]) = (
    62,
    &[
        0xb8, 1, 0, 0, 0, // mov eax, 1
        0xbf, 1, 0, 0, 0, // mov edi, 1
        0x48, 0x8d, 0x35, 0x15, 0, 0, 0, // lea rsi, [rip + 21]
        0xba, 3, 0, 0, 0, // mov edx, 3
        0x0f, 0x05, // syscall
        0xb8, 231, 0, 0, 0, // mov eax, 231
        0xbf, 7, 0, 0, 0, // mov edi, 7
        0x0f, 0x05, // syscall
        0x0f, 0x0b, // ud2
        b'o', b'k', b'\n',
    ],
);
#[cfg(target_arch = "aarch64")]
const CODE: (u16, &[u8]) = (
    183,
    &[
        0x20, 0x00, 0x80, 0xd2, // mov x0, #1
        0x01, 0x01, 0x00, 0x10, // adr x1, pc + 32
        0x62, 0x00, 0x80, 0xd2, // mov x2, #3
        0x08, 0x08, 0x80, 0xd2, // mov x8, #64
        0x01, 0x00, 0x00, 0xd4, // svc #0
        0xe0, 0x00, 0x80, 0xd2, // mov x0, #7
        0xc8, 0x0b, 0x80, 0xd2, // mov x8, #94
        0x01, 0x00, 0x00, 0xd4, // svc #0
        0x20, 0x00, 0x20, 0xd4, // brk #1
        b'o', b'k', b'\n',
    ],
);

/// A program that calls write(2) and exit_group(2) and nothing else: it says "ok" and ends with 7.
fn two_calls() -> Vec<u8> {
    let (machine, code) = CODE;
    let at = 0x40_0000u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    elf.resize(16, 0);
    for half in [2u16, machine] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    for word in [at + 120, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let size = 120 + code.len() as u64;
    for half in [1u32, 5] {
        elf.extend(half.to_le_bytes());
    }
    for word in [0, at, at, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// A plan for [`two_calls`] under a filter.
fn under(s: &Sandbox, filter: Value, no_new_privs: bool) -> Check<Plan> {
    let bundle = s.bundle(
        &Config::new(&["/bin/two-calls"])
            .set("/process/noNewPrivileges", no_new_privs)
            .set("/linux/seccomp", filter),
    )?;
    let program = bundle.rootfs().join("bin/two-calls");
    fs::write(&program, two_calls())?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    plan(s, &bundle)
}

/// A filter that kills whoever calls anything but these.
fn only(calls: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{ "names": calls, "action": "SCMP_ACT_ALLOW" }],
    })
}

fn without_capset() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["capset"], "action": "SCMP_ACT_KILL_PROCESS" }],
    })
}

fn runs(s: &Sandbox, plan: &Plan) -> Check {
    let held = Held::create(s, plan)??;
    check_eq!(held.run()??, ExitStatus::Exited(7), "how the program ended");
    check_eq!(held.output()?, "ok\n");
    held.delete()
}

/// The error of a plan that fails, whether to create or to start.
fn failure(s: &Sandbox, plan: &Plan) -> Check<oxrun_core::Error> {
    let held = match Held::create(s, plan)? {
        Err(error) => return Ok(error),
        Ok(held) => held,
    };
    match held.run()? {
        Err(error) => Ok(error),
        Ok(status) => Err(Failed::from(format!("it ran and ended with {status:?}"))),
    }
}

fn the_filter_is_the_last_thing_before_the_program() -> Check {
    let s = sandbox()?;
    let ordered = under(&s, only(&["execve", "exit_group", "write"]), true)?;
    runs(&s, &ordered)?;
    // Loaded before the wait, the same filter kills init.
    let mut other = ordered.clone();
    move_before(&mut other, |a| matches!(a, Action::Seccomp(_)), |a| matches!(a, Action::Created))?;
    let error = failure(&s, &other)?;
    check_eq!(error.kind(), ErrorKind::Killed, "{error}");
    Ok(())
}

fn without_no_new_privileges_only_capset_follows_the_filter() -> Check {
    let s = sandbox()?;
    let ordered = under(&s, only(&["capset", "execve", "exit_group", "write"]), false)?;
    runs(&s, &ordered)?;
    // The filter cannot be loaded without CAP_SYS_ADMIN, which the last capset drops.
    let mut other = ordered.clone();
    let at = other.steps.iter().position(|step| matches!(step.action, Action::Seccomp(_)));
    let at = at.ok_or("no filter")?;
    other.steps.swap(at, at + 1);
    let error = failure(&s, &other)?;
    check_eq!(error.errno(), Some(libc::EACCES), "{error}");
    Ok(())
}

fn a_filter_that_denies_capset_does_no_harm_with_no_new_privileges() -> Check {
    let s = sandbox()?;
    runs(&s, &under(&s, without_capset(), true)?)?;
    // Without, it does: that is the call which such a filter meets.
    let held = Held::create(&s, &under(&s, without_capset(), false)?)??;
    let ended = held.run()?;
    check!(ended != Ok(ExitStatus::Exited(7)), "the program ran");
    held.delete()
}

/// Many mounts under a limit of descriptors.
fn crowded(s: &Sandbox, limit: u64) -> Check<Plan> {
    let source = s.make_dir("source")?;
    let mut config = Config::new(EXIT)
        .set("/process/rlimits/0", json!({ "type": "RLIMIT_NOFILE", "soft": limit, "hard": limit }));
    for number in 0..40 {
        config = config.mount("bind", &source, &format!("/tmp/bind-{number}"), &["bind"]).mount(
            "tmpfs",
            Path::new("tmpfs"),
            &format!("/tmp/new-{number}"),
            &[],
        );
    }
    plan_of(s, &config)
}

fn a_small_limit_of_descriptors_does_not_hinder_many_mounts() -> Check {
    let s = sandbox()?;
    for limit in [20, 8] {
        output_of(&s, &crowded(&s, limit)?)?;
    }
    // Set first, the smaller limit leaves too few descriptors for a mount.
    let mut other = crowded(&s, 8)?;
    move_before(&mut other, |a| matches!(a, Action::Rlimit { .. }), |a| matches!(a, Action::Root { .. }))?;
    let error = refusal_of(&s, &other)?;
    check_eq!(error.errno(), Some(libc::EMFILE), "{error}");
    Ok(())
}

fn the_bounding_set_is_cut_before_the_rights_to_do_so_go() -> Check {
    let s = sandbox()?;
    let ordered = plan_of(&s, &Config::new(EXIT).set("/process/user", json!({ "uid": 1000, "gid": 1000 })))?;
    output_of(&s, &ordered)?;
    let mut other = ordered.clone();
    move_after(&mut other, |a| matches!(a, Action::Bounding { .. }), |a| matches!(a, Action::Caps { .. }))?;
    let error = refusal_of(&s, &other)?;
    check_eq!(error.errno(), Some(libc::EPERM), "{error}");
    Ok(())
}

fn the_program_is_looked_for_as_the_user() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = s.bundle(&config)?;
    // A copy: the other one is a hard link that all bundles share.
    let program = bundle.rootfs().join("bin/probe");
    fs::remove_file(&program)?;
    fs::copy(s.probe(), &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    let ordered = plan(&s, &bundle)?;
    let error = refusal_of(&s, &ordered)?;
    check!(error.to_string().contains("permission denied"), "{error}");
    // Looked for as root it is found, and fails only when it is too late for create.
    let mut other = ordered.clone();
    move_before(
        &mut other,
        |a| matches!(a, Action::Lookup { .. }),
        |a| matches!(a, Action::Bounding { .. }),
    )?;
    let held = Held::create(&s, &other)??;
    check!(held.run()?.is_err(), "it ran");
    held.delete()
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($new:expr; $($name:ident),* $(,)?) => { vec![$($new(stringify!($name), $name)),*] };
    }
    let plain = |name: &str, body| oxrun_only(name, WHY, body);
    run(tests![plain;
        the_filter_is_the_last_thing_before_the_program,
        without_no_new_privileges_only_capset_follows_the_filter,
        a_filter_that_denies_capset_does_no_harm_with_no_new_privileges,
        a_small_limit_of_descriptors_does_not_hinder_many_mounts,
        the_bounding_set_is_cut_before_the_rights_to_do_so_go,
        the_program_is_looked_for_as_the_user,
    ])
}
