//! Seccomp profiles: each action, operator, architecture and flag of a profile answers the calls of a program in
//! a container as it says.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, conditional, run};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

/// What a container ends with when its program is killed by SIGSYS.
const KILLED: i32 = 128 + libc::SIGSYS;
/// An error number that no call gives by itself.
const OWN: i64 = 77;

/// A call: the way of a 32-bit program or not, number and arguments.
type Call = (bool, u32, [u64; 2]);

const GETPID: Call = (false, 39, [0; 2]);
const SYNC: Call = (false, 162, [0; 2]);

/// lseek(2) of a descriptor that is not open.
fn lseek(fd: u64, offset: u64) -> Call {
    (false, 8, [fd, offset])
}

/// A filter that allows everything: RET_ALLOW.
const ALLOW: [u8; 8] = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];

/// What calls give in a container with this profile, or the code with which it ended instead.
fn made(profile: &Value, calls: &[Call]) -> Check<Result<Vec<i64>, i32>> {
    made_in(&Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?, profile, calls)
}

fn made_in(s: &Sandbox, profile: &Value, calls: &[Call]) -> Check<Result<Vec<i64>, i32>> {
    let config = Config::new(&["/bin/probe", "under-filter", "/etc/allow", "/etc/calls"]);
    let bundle = s.bundle(&config.set("/linux/seccomp", profile.clone()))?;
    let line = |(compat, number, [a, b]): &Call| {
        let kind = if *compat { "compat" } else { "native" };
        format!("{kind} {number:x} {a:x} {b:x} 0 0 0 0\n")
    };
    fs::write(bundle.rootfs().join("etc/allow"), ALLOW)?;
    fs::write(bundle.rootfs().join("etc/calls"), calls.iter().map(line).collect::<String>())?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    if output.code != 0 {
        check_eq!(output.code, KILLED, "{output}");
        return Ok(Err(output.code));
    }
    let bytes = fs::read(&output.stdout_file)?;
    let results: Vec<i64> =
        bytes.chunks_exact(8).map(|bytes| i64::from_ne_bytes(bytes.try_into().unwrap())).collect();
    check_eq!(results.len(), calls.len(), "results\n{output}");
    Ok(Ok(results))
}

/// A profile that allows all but what this rule says.
fn rule(rule: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

/// The profile of an engine, which denies what it does not list, without sync(2).
fn strict() -> Check<Value> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/corpus/docker28-run-fg.config.json");
    let mut profile = Config::parse(&fs::read_to_string(corpus)?)?.get("/linux/seccomp").clone();
    for rule in profile["syscalls"].as_array_mut().unwrap() {
        rule["names"].as_array_mut().unwrap().retain(|name| name != "sync");
    }
    Ok(profile)
}

fn every_action_answers_its_calls() -> Check {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let found = made(&rule(json!({ "names": ["getpid"], "action": action })), &[GETPID])?;
        check_eq!(found, Err(KILLED), "{action}");
    }
    for (action, errno) in [("SCMP_ACT_ERRNO", libc::EPERM), ("SCMP_ACT_TRACE", libc::ENOSYS)] {
        let found = made(&rule(json!({ "names": ["getpid"], "action": action })), &[GETPID])?;
        check_eq!(found, Ok(vec![-i64::from(errno)]), "{action}");
    }
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        let mut profile = strict()?;
        profile["syscalls"].as_array_mut().unwrap().push(json!({ "names": ["sync"], "action": action }));
        check_eq!(made(&profile, &[SYNC])?, Ok(vec![0]), "{action}");
    }
    Ok(())
}

fn what_no_rule_names_gets_the_default_answer() -> Check {
    let mut profile = strict()?;
    profile["defaultAction"] = json!("SCMP_ACT_ERRNO");
    profile["defaultErrnoRet"] = json!(OWN);
    check_eq!(made(&profile, &[SYNC, GETPID])?.map(|r| (r[0], r[1] > 0)), Ok((-OWN, true)));
    Ok(())
}

fn a_rule_answers_with_its_error_number() -> Check {
    let profile = rule(json!({ "names": ["sync", "getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": OWN }));
    check_eq!(made(&profile, &[SYNC, GETPID])?, Ok(vec![-OWN, -OWN]));
    Ok(())
}

/// Which of three values of an argument a comparison meets.
fn met(index: usize, args: Value) -> Check<[bool; 3]> {
    let calls = [104, 105, 106].map(|value| match index {
        0 => lseek(value, 300),
        _ => lseek(200, value),
    });
    let profile =
        rule(json!({ "names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": OWN, "args": args }));
    let results = made(&profile, &calls)?.map_err(|code| format!("ended with {code}"))?;
    let allowed = -i64::from(libc::EBADF);
    check!(results.iter().all(|r| [allowed, -OWN].contains(r)), "{results:?}");
    Ok([0, 1, 2].map(|at| results[at] == -OWN))
}

fn every_operator_compares_arguments() -> Check {
    for (op, expected) in [
        ("SCMP_CMP_NE", [true, false, true]),
        ("SCMP_CMP_LT", [true, false, false]),
        ("SCMP_CMP_LE", [true, true, false]),
        ("SCMP_CMP_EQ", [false, true, false]),
        ("SCMP_CMP_GE", [false, true, true]),
        ("SCMP_CMP_GT", [false, false, true]),
    ] {
        for index in [0, 1] {
            let found = met(index, json!([{ "index": index, "value": 105, "op": op }]))?;
            check_eq!(found, expected, "{op} of argument {index}");
        }
    }
    // The mask is `value`, what is left has to be `valueTwo`.
    let masked = json!([{ "index": 0, "value": 0xf, "valueTwo": 0x9, "op": "SCMP_CMP_MASKED_EQ" }]);
    check_eq!(met(0, masked)?, [false, true, false], "SCMP_CMP_MASKED_EQ");
    Ok(())
}

fn calls_of_listed_architectures_alone_are_made() -> Check {
    let i386 = (true, 20, [0; 2]);
    let x32 = (false, 0x4000_0027, [0; 2]);
    let listed = |list: &[&str]| json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": list });
    for (call, name) in [(i386, "SCMP_ARCH_X86"), (x32, "SCMP_ARCH_X32")] {
        check_eq!(made(&listed(&["SCMP_ARCH_X86_64"]), &[call])?, Err(KILLED), "without {name}");
        // The kernel may not have x32; what counts is that it is asked.
        let found = made(&listed(&["SCMP_ARCH_X86_64", name]), &[call])?;
        check!(
            found.as_ref().is_ok_and(|r| r[0] > 0 || r[0] == -i64::from(libc::ENOSYS)),
            "{name}: {found:?}"
        );
    }
    Ok(())
}

/// The flags with which a filter is loaded, as strace(1) writes them.
fn flags_of(profile: &Value) -> Check<String> {
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let trace = s.dir().join("trace");
    let file = trace.to_string_lossy().into_owned();
    s.runtime_mut().wrap(&["strace", "-f", "-qq", "-o", &file, "-e", "trace=seccomp"]);
    let bundle =
        s.bundle(&Config::new(&["/bin/probe", "exit", "0"]).set("/linux/seccomp", profile.clone()))?;
    s.runtime().run(bundle.path(), "c1")?.success()?;
    let text = fs::read_to_string(trace)?;
    let loaded: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("(SECCOMP_SET_MODE_FILTER, "))
        .map(|(_, rest)| rest)
        // Not the question whether the kernel knows a flag.
        .filter(|rest| !rest.contains("NULL"))
        .collect();
    check_eq!(loaded.len(), 1, "filters loaded:\n{text}");
    Ok(loaded[0].split(", ").next().unwrap_or_default().to_owned())
}

fn a_filter_is_loaded_with_its_flags() -> Check {
    let profile = |flags: &[&str]| {
        let mut profile = rule(json!({ "names": ["sync"], "action": "SCMP_ACT_ERRNO" }));
        profile["flags"] = json!(flags);
        profile
    };
    for flag in ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"] {
        check_eq!(flags_of(&profile(&[flag]))?, flag, "flags");
    }
    // One thread loads the filter: there is none to follow it.
    check_eq!(flags_of(&profile(&["SECCOMP_FILTER_FLAG_TSYNC"]))?, "0", "SECCOMP_FILTER_FLAG_TSYNC");
    check_eq!(flags_of(&profile(&[]))?, "0", "no flags");
    // The agent is told of the filter, and is never asked.
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let path = s.dir().join("agent.sock");
    let agent = UnixListener::bind(&path)?;
    let told = std::thread::spawn(move || agent.accept().and_then(|(mut peer, _)| peer.read(&mut [0; 8192])));
    let mut asking = rule(json!({ "names": ["swapon"], "action": "SCMP_ACT_NOTIFY" }));
    asking["listenerPath"] = json!(path);
    asking["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    let flags = flags_of(&asking)?;
    check!(told.join().is_ok_and(|read| read.is_ok_and(|length| length > 0)), "the agent was told nothing");
    check_eq!(flags, "SECCOMP_FILTER_FLAG_NEW_LISTENER|SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    let absent = rule(json!({ "names": ["sync"], "action": "SCMP_ACT_ERRNO" }));
    check_eq!(flags_of(&absent)?, "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "without the field");
    Ok(())
}

/// The filter of a large profile is kept in the state root; as a control it is really taken from there.
fn the_next_containers_with_a_profile_get_the_same_filter() -> Check {
    let mut profile = strict()?;
    profile["defaultAction"] = json!("SCMP_ACT_ERRNO");
    profile["defaultErrnoRet"] = json!(OWN);
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let sync = |profile: &Value| -> Check<Result<i64, i32>> {
        Ok(made_in(&s, profile, &[GETPID, SYNC])?.map(|results| results[1]))
    };
    for _ in 0..3 {
        check_eq!(sync(&profile)?, Ok(-OWN));
    }
    let root = s.runtime().root();
    let files: Vec<_> = fs::read_dir(&root)?.collect::<Result<_, _>>()?;
    check_eq!(files.len(), 1, "{files:?}");
    let kept = files[0].path();
    check!(kept.file_name().unwrap().to_string_lossy().starts_with("seccomp@"), "{}", kept.display());
    let mut bytes = fs::read(&kept)?;
    // The instructions are at the end.
    let denials =
        bytes.rchunks_exact_mut(8).take(100).filter(|insn| **insn == [6, 0, 0, 0, OWN as u8, 0, 5, 0]);
    check!(denials.map(|insn| insn.copy_from_slice(&ALLOW)).count() > 0, "no instruction denies");
    fs::write(&kept, bytes)?;
    check_eq!(sync(&profile)?, Ok(0), "from the file at first");
    // With another byte it is another profile, and a file that others may write is not used.
    profile["defaultErrnoRet"] = json!(OWN + 2);
    check_eq!(sync(&profile)?, Ok(-OWN - 2));
    check_eq!(fs::read_dir(&root)?.count(), 2, "both have a place of their own");
    profile["defaultErrnoRet"] = json!(OWN);
    check_eq!(sync(&profile)?, Ok(0), "from the file again");
    fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o620))?;
    check_eq!(sync(&profile)?, Ok(-OWN));
    fs::read_dir(&root)?.try_for_each(|file| fs::remove_file(file?.path()))?;
    Ok(())
}

fn main() -> ExitCode {
    fn missing() -> Option<String> {
        (!cfg!(target_arch = "x86_64")).then(|| "the calls are those of x86_64".to_owned())
    }
    fn needs_strace() -> Option<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|directory| directory.join("strace").exists());
        (!found).then(|| "strace is not installed".to_owned())
    }
    macro_rules! tests {
        ($missing:ident: $($name:ident),* $(,)?) => { vec![$(conditional(stringify!($name), $missing, $name)),*] };
    }
    let mut tests = tests![missing:
        every_action_answers_its_calls,
        what_no_rule_names_gets_the_default_answer,
        a_rule_answers_with_its_error_number,
        every_operator_compares_arguments,
        calls_of_listed_architectures_alone_are_made,
        the_next_containers_with_a_profile_get_the_same_filter,
    ];
    tests.extend(tests![needs_strace: a_filter_is_loaded_with_its_flags]);
    run(tests)
}
