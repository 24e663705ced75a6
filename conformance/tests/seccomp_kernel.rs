//! Filters in the kernel: calls are really made, as a 64-bit and as a 32-bit program makes them, and
//! each answer is the one that the library predicts without loading the filter. No containers.
#![allow(missing_docs, clippy::unwrap_used)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::{conditional, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::seccomp::{Arch, Call, Insn, Program, compile, evaluate};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const RETURN: u16 = 0x06;

/// uretprobe and uprobe. The kernel asks no filter about them (since 6.14), and kills who calls them from
/// elsewhere than its own trampoline.
const UNFILTERED: [u32; 2] = [335, 336];

/// A directory of this test alone, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Check<Self> {
        let path = std::env::temp_dir().join(format!("oxrun-{}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the calls in a process of their own, under the filter.
fn make(scratch: &Scratch, insns: &[Insn], calls: &[Call]) -> Check<Output> {
    let (filter, list) = (scratch.0.join("filter"), scratch.0.join("calls"));
    let bytes = |i: &Insn| [&i.code.to_ne_bytes()[..], &[i.jt, i.jf], &i.k.to_ne_bytes()].concat();
    fs::write(&filter, insns.iter().flat_map(bytes).collect::<Vec<u8>>())?;
    let line = |call: &Call| {
        let kind = if call.arch == I386 { "compat" } else { "native" };
        let args: String = call.args.iter().map(|arg| format!(" {arg:x}")).collect();
        format!("{kind} {:x}{args}\n", call.number)
    };
    fs::write(&list, calls.iter().map(line).collect::<String>())?;
    let mut probe = Command::new(env!("CARGO_BIN_EXE_oxrun-probe"));
    Ok(probe.arg("under-filter").arg(filter).arg(list).output()?)
}

fn results(output: &Output) -> Check<Vec<i64>> {
    let said = String::from_utf8_lossy(&output.stderr);
    check!(output.status.success(), "the calls were not made: {} {said}", output.status);
    Ok(output.stdout.chunks_exact(8).map(|bytes| i64::from_ne_bytes(bytes.try_into().unwrap())).collect())
}

/// The filter with an error number of its own for each value that it returns, so that no call is
/// carried out and each decision can be told.
fn told_apart(insns: &[Insn]) -> Vec<Insn> {
    let mut numbers = BTreeMap::new();
    let mut insns = insns.to_vec();
    for insn in insns.iter_mut().filter(|insn| insn.code == RETURN) {
        let next = 1000 + numbers.len() as u32;
        insn.k = 0x0005_0000 | *numbers.entry(insn.k).or_insert(next);
    }
    insns
}

/// Makes the calls and compares each answer with the predicted one. Returns how many there were, of
/// 64-bit and of 32-bit programs.
fn compare(scratch: &Scratch, program: &Program, calls: &[Call]) -> Check<[usize; 2]> {
    let insns = told_apart(&program.insns);
    let results = results(&make(scratch, &insns, calls)?)?;
    check_eq!(results.len(), calls.len(), "results");
    for (call, result) in calls.iter().zip(results) {
        let predicted = evaluate(&insns, call).ok_or("no prediction")?;
        check_eq!(result, -i64::from(predicted & 0xffff), "{call:x?}");
    }
    let compat = calls.iter().filter(|call| call.arch == I386).count();
    Ok([calls.len() - compat, compat])
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-core/src/seccomp/testdata").join(name)
}

fn hex(word: &str) -> Check<u64> {
    Ok(if word == "*" { u64::MAX } else { u64::from_str_radix(word, 16)? })
}

/// The profiles for x86_64 of the recorded vectors with their calls, those this machine can make.
fn recorded() -> Check<Vec<(Program, Vec<Call>)>> {
    let mut all: Vec<(Program, Vec<Call>)> = Vec::new();
    let mut native = false;
    let text = fs::read_to_string(testdata("libseccomp.txt"))?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(profile) = line.strip_prefix("profile ") {
            let (arch, profile) = profile.split_once(' ').ok_or("a profile without a text")?;
            native = arch == Arch::X86_64.name();
            let text = match profile.starts_with('{') {
                true => profile.to_owned(),
                false => fs::read_to_string(testdata(&format!("{profile}.json")))?,
            };
            if native {
                all.push((compile(&serde_json::from_str(&text)?, Arch::X86_64)?, Vec::new()));
            }
            continue;
        }
        let mut words = line.split(' ');
        let arch = u32::try_from(hex(words.next().ok_or("no architecture")?)?)?;
        if !native || ![X86_64, I386].contains(&arch) {
            continue;
        }
        let calls = &mut all.last_mut().ok_or("a call before a profile")?.1;
        for word in words.skip(1) {
            let (numbers, list) = word.split_once(':').unwrap_or((word, ""));
            let mut args = [0; 6];
            for (arg, word) in args.iter_mut().zip(list.split(',').filter(|word| !word.is_empty())) {
                // A 32-bit program has no high halves.
                *arg = hex(word)? & if arch == I386 { 0xffff_ffff } else { u64::MAX };
            }
            let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
            let numbers = u32::try_from(hex(first)?)?..=u32::try_from(hex(last)?)?;
            let numbers = numbers.filter(|number| arch != X86_64 || !UNFILTERED.contains(number));
            calls.extend(numbers.map(|number| Call { number, arch, args }));
        }
    }
    Ok(all)
}

fn calls_are_answered_as_predicted() -> Check {
    let scratch = Scratch::new("predicted")?;
    let mut made = [0, 0];
    for (program, calls) in recorded()? {
        let more = compare(&scratch, &program, &calls)?;
        made = [made[0] + more[0], made[1] + more[1]];
    }
    check!(made.iter().all(|made| *made >= 2000), "only {made:?} calls");
    Ok(())
}

/// A filter with one action for one call, in the direct and in the 32-bit form.
fn one_action(action: &str) -> Check<Program> {
    let profile: Value = json!({
        "defaultAction": if action == "SCMP_ACT_ALLOW" { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" },
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["getpid"], "action": action}],
    });
    Ok(compile(&serde_json::from_value(profile)?, Arch::X86_64)?)
}

fn every_action_does_what_its_name_says() -> Check {
    let scratch = Scratch::new("actions")?;
    for call in [(39, X86_64), (20, I386)].map(|(number, arch)| Call { number, arch, args: [0; 6] }) {
        let made = |action: &str| make(&scratch, &one_action(action)?.insns, &[call]);
        for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
            let results = results(&made(action)?)?;
            check!(results.iter().all(|pid| *pid > 1), "{action}: {results:?}");
        }
        for (action, errno) in [("SCMP_ACT_ERRNO", libc::EPERM), ("SCMP_ACT_TRACE", libc::ENOSYS)] {
            check_eq!(results(&made(action)?)?, [-i64::from(errno)], "{action}");
        }
        for action in ["SCMP_ACT_TRAP", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS"] {
            check_eq!(made(action)?.status.signal(), Some(libc::SIGSYS), "{action}");
        }
    }
    Ok(())
}

/// What the machine cannot do.
fn missing() -> Option<String> {
    (!cfg!(target_arch = "x86_64")).then(|| "the vectors' calls are those of x86_64".to_owned())
}

fn an_unlisted_architecture_is_killed() -> Check {
    let scratch = Scratch::new("unlisted")?;
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    let program = compile(&serde_json::from_value(profile)?, Arch::X86_64)?;
    let killed = |call: Call| -> Check {
        let status = make(&scratch, &program.insns, &[call])?.status;
        if status.signal() == Some(libc::SIGSYS) {
            Ok(())
        } else {
            Err(Failed::from(format!("{call:x?}: {status}")))
        }
    };
    killed(Call { number: 20, arch: I386, args: [0; 6] })?;
    killed(Call { number: 0x4000_0027, arch: X86_64, args: [0; 6] })
}

fn main() -> ExitCode {
    let test = |name, body: fn() -> Check| -> Trial { conditional(name, missing, body) };
    run(vec![
        test("calls_are_answered_as_predicted", calls_are_answered_as_predicted),
        test("every_action_does_what_its_name_says", every_action_does_what_its_name_says),
        test("an_unlisted_architecture_is_killed", an_unlisted_architecture_is_killed),
    ])
}
