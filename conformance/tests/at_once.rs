//! The foreground `run`, whose program begins without anybody being asked once more.
//! What must hold: until it has, its container is there for nobody else, as its process may still be on the host's root;
//! whoever ends it or its creator in between leaves nothing behind; and why it failed is said as `create` and `start` say it.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "races/call.rs"]
#[allow(dead_code, reason = "other programs use the rest")]
mod call;

use call::Call;
use oxrun_conformance::harness::{Bundle, Config, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// A `run` whose process is at its createContainer hook, which waits until it is let go on.
struct Held<'a> {
    s: &'a Sandbox,
    call: Call,
}

impl<'a> Held<'a> {
    fn new(s: &'a Sandbox) -> Check<Self> {
        let (at, gate) = (s.dir().join("at"), s.dir().join("gate"));
        let _ = fs::remove_file(&at);
        let _ = fs::remove_file(&gate);
        let body = format!(
            "cat >/dev/null; mkfifo {gate}; touch {at}; exec cat {gate}",
            gate = gate.display(),
            at = at.display()
        );
        let hook = s.make_script("hook", &body)?;
        let entry = json!({ "path": hook.to_string_lossy(), "env": ["PATH=/usr/bin:/bin"] });
        let bundle = s.bundle(&Config::new(SLEEP).push("/hooks/createContainer", entry))?;
        let path = bundle.path().to_string_lossy();
        let mut call = Call::new(s, "run", &["run", "--bundle", &path, "c1"])?;
        call.until("its hook runs", |_| at.exists())?;
        Ok(Self { s, call })
    }

    /// Lets the hook end.
    fn go_on(&self) -> Check {
        fs::write(self.s.dir().join("gate"), "")?;
        Ok(())
    }
}

fn says(output: &oxrun_conformance::harness::Output, text: &str) -> Check {
    check!(output.code != 0 && output.stderr.contains(text), "not refused for {text:?}: {output}");
    Ok(())
}

/// Waits until the container runs.
fn until_it_runs(s: &Sandbox, call: &mut Call) -> Check {
    call.until("it runs", |_| s.runtime().has_status("c1", "running").is_ok())
}

fn until_its_program_has_begun_it_is_there_for_nobody_else() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let mut held = Held::new(&s)?;
    let rt = s.runtime();
    let calls: [&[&str]; 6] = [
        &["state", "c1"],
        &["exec", "c1", "/bin/probe", "exit", "0"],
        &["start", "c1"],
        &["kill", "c1", "KILL"],
        &["ps", "c1"],
        &["delete", "c1"],
    ];
    for call in calls {
        says(&rt.call(call)?, "does not exist")?;
    }
    held.go_on()?;
    until_it_runs(&s, &mut held.call)?;
    rt.exec("c1", &["/bin/probe", "exit", "0"])?.success()?;
    rt.kill("c1", "KILL")?.success()?;
    check_eq!(held.call.finish()?, 137, "exit code of run");
    before.assert_same()
}

fn a_deletion_by_force_before_its_program_leaves_nothing() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let held = Held::new(&s)?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    let (code, said) = held.call.end()?;
    check!(code == 1 && said.contains("killed"), "exit code {code}: {said}");
    before.assert_same()
}

fn a_run_that_is_killed_before_its_program_takes_its_container_along() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let held = Held::new(&s)?;
    let recorded = fs::read_to_string(s.runtime().root().join("c1/state.json"))?;
    let recorded: Value = serde_json::from_str(&recorded)?;
    let pid = recorded["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).ok_or("no pid")?;
    held.call.kill()?;
    s.runtime().wait_for(pid)?;
    s.runtime().has_status("c1", "stopped")?;
    s.runtime().delete("c1")?.success()?;
    before.assert_same()
}

/// The same with a pid file, which is written when the program has begun, and detached, where it is created and started.
fn why_it_failed_is_said_as_create_and_start_say_it() -> Check {
    let s = sandbox()?;
    let hook = |name: &str, body: &str| s.make_script(name, &format!("cat >/dev/null; {body}"));
    let fails = hook("fails", "echo the reason >&2; exit 3")?;
    let config = || Config::new(SLEEP);
    let deny = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_ERRNO" }] });
    let configs = [
        ("no program", Config::new(&["/no/program"])),
        ("no program in PATH", Config::new(&["program"])),
        ("a directory", Config::new(&["/proc"])),
        ("a mount", config().mount("bind", "/no/source".as_ref(), "/x", &["bind"])),
        ("a hook", config().push("/hooks/createContainer", json!({ "path": fails.to_string_lossy() }))),
        (
            "a limit",
            config().set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 8 }])),
        ),
        ("a filter", config().set("/linux/seccomp", deny)),
        ("a working directory", config().set("/process/cwd", "/proc/version")),
    ];
    for (what, config) in configs {
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        let said = |bundle: &Bundle, more: &[&str]| {
            let path = bundle.path().to_string_lossy();
            let words = [&["run", "--bundle", &path], more, &["c1"]].concat();
            let output = s.runtime().call(&words)?;
            // All but the time.
            let said = output.stderr.split_once(" level=").map(|s| s.1.to_owned()).ok_or(output.stderr)?;
            Ok::<_, Failed>((output.code, said))
        };
        let at_once = said(&bundle, &[])?;
        check!(at_once.0 != 0 && !at_once.1.is_empty(), "{what} did not fail: {at_once:?}");
        check_eq!(at_once, said(&bundle, &["--pid-file", "/dev/shm/no-pid"])?, "{what}, with a pid file");
        check_eq!(at_once, said(&bundle, &["--detach"])?, "{what}, detached");
        before.assert_same()?;
    }
    Ok(())
}

/// What was never created never ended, whoever removes what there is of it.
fn of_what_was_never_created_no_poststop_hook_is_told() -> Check {
    let s = sandbox()?;
    let told = s.dir().join("told");
    let hook = s.make_script("poststop", &format!("cat >/dev/null; touch {}", told.display()))?;
    let entry = json!({ "path": hook.to_string_lossy(), "env": ["PATH=/usr/bin:/bin"] });
    // The second is found, and then not executed: its container was created.
    let cases: [(&[&str], i32, bool); 3] = [
        (&["/no/program"], 1, false),
        (&["/bin/garbage"], 255, true),
        (&["/bin/probe", "exit", "7"], 7, true),
    ];
    for (args, code, expected) in cases {
        let bundle = s.bundle(&Config::new(args).push("/hooks/poststop", entry.clone()))?;
        let garbage = bundle.rootfs().join("bin/garbage");
        fs::write(&garbage, "garbage")?;
        fs::set_permissions(&garbage, fs::Permissions::from_mode(0o755))?;
        let output = s.runtime().run(bundle.path(), "c1")?;
        check_eq!(output.code, code, "{output}");
        check_eq!(told.exists(), expected, "whether the hook was told of {args:?}");
        let _ = fs::remove_file(&told);
    }
    Ok(())
}

/// A static ELF file with one page of code.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const START: u64 = 64 + 56;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [2, machine] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    // Entry, program headers, section headers.
    for word in [AT + START, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    file.extend(1u32.to_le_bytes());
    file.extend(5u32.to_le_bytes());
    let size = START + code.len() as u64;
    for word in [0, AT, AT, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// What the kernel cannot load it ends with the same signal; there is hardly anything that tells one from the other.
fn the_smallest_program_that_crashes_at_once_has_begun() -> Check {
    let s = sandbox()?;
    let program = match std::env::consts::ARCH {
        // xor eax, eax; mov rax, [rax]
        "x86_64" => elf(62, &[0x31, 0xc0, 0x48, 0x8b, 0x00]),
        // mov x0, #0; ldr x0, [x0]
        _ => elf(183, &[0x00, 0x00, 0x80, 0xd2, 0x00, 0x00, 0x40, 0xf9]),
    };
    let bundle = s.bundle(&Config::new(&["/bin/crashes"]))?;
    let path = bundle.rootfs().join("bin/crashes");
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    for _ in 0..10 {
        let output = s.runtime().run(bundle.path(), "c1")?;
        check_eq!((output.code, output.stderr.as_str()), (128 + libc::SIGSEGV, ""), "{output}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let ours = |name, body| oxrun_only(name, "others ask once more", body);
    run(vec![
        ours(
            "until_its_program_has_begun_it_is_there_for_nobody_else",
            until_its_program_has_begun_it_is_there_for_nobody_else,
        ),
        ours(
            "a_deletion_by_force_before_its_program_leaves_nothing",
            a_deletion_by_force_before_its_program_leaves_nothing,
        ),
        ours(
            "a_run_that_is_killed_before_its_program_takes_its_container_along",
            a_run_that_is_killed_before_its_program_takes_its_container_along,
        ),
        ours(
            "of_what_was_never_created_no_poststop_hook_is_told",
            of_what_was_never_created_no_poststop_hook_is_told,
        ),
        ours(
            "the_smallest_program_that_crashes_at_once_has_begun",
            the_smallest_program_that_crashes_at_once_has_begun,
        ),
        ours(
            "why_it_failed_is_said_as_create_and_start_say_it",
            why_it_failed_is_said_as_create_and_start_say_it,
        ),
    ])
}
