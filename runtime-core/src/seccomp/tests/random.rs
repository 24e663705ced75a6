//! Random profiles: every action, every default, every mix of rules for the same names.

use super::machine::{Call, check_program};
use super::*;

const NAMES: [&str; 18] = [
    "read",
    "personality",
    "clone",
    "clone3",
    "socket",
    "accept",
    "send",
    "recvmmsg",
    "socketcall",
    "ipc",
    "shmat",
    "semop",
    "semtimedop",
    "set_tls",
    "preadv2",
    "listns",
    "statx",
    "no_such_call",
];
const ACTIONS: [&str; 8] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
const ARCHS: [&str; 6] = [
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_S390X",
];

fn rule(numbers: &mut Numbers) -> Value {
    let action = *numbers.pick(&ACTIONS);
    let names: Vec<&str> = (0..1 + numbers.below(4)).map(|_| *numbers.pick(&NAMES)).collect();
    let mut rule = json!({"names": names, "action": action});
    if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && numbers.below(2) == 0 {
        rule["errnoRet"] = json!(numbers.below(4));
    }
    let args: Vec<Value> = (0..numbers.below(4))
        .map(|_| {
            let value = if numbers.below(2) == 0 { numbers.below(4) as u64 } else { numbers.word() };
            json!({"index": numbers.below(3), "value": value, "valueTwo": numbers.below(8),
                "op": numbers.pick(&OPERATORS)})
        })
        .collect();
    if !args.is_empty() {
        rule["args"] = json!(args);
    }
    rule
}

fn random_profile(numbers: &mut Numbers) -> Value {
    let rules: Vec<Value> = (0..numbers.below(9)).map(|_| rule(numbers)).collect();
    let archs: Vec<&str> = (0..numbers.below(6)).map(|_| *numbers.pick(&ARCHS)).collect();
    let default = *numbers.pick(&ACTIONS[..7]);
    json!({"defaultAction": default, "architectures": archs, "syscalls": rules})
}

/// Every number that one of the names has, its neighbours, and the ends of the ranges.
fn numbers_that_matter() -> Vec<u32> {
    let archs = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];
    let tables = archs.iter().flat_map(|arch| arch.calls());
    let named = tables.filter(|entry| NAMES.contains(&entry.0)).map(|entry| entry.1);
    let ends = [0, 511, 0x000f_0000, 0x000f_ffff, 0x4000_0000, 0x4000_0000 + 511, 0x4000_0000 + 547];
    let ends = ends.into_iter().chain([0x8000_0000, u32::MAX]);
    let around =
        named.chain(ends).flat_map(|number| [number.wrapping_sub(1), number, number.wrapping_add(1)]);
    let mut around: Vec<u32> = around.collect();
    around.sort_unstable();
    around.dedup();
    around
}

#[test]
fn random_profiles_decide_as_the_reference() {
    let mut numbers = Numbers(3);
    let matter = numbers_that_matter();
    for round in 0..250 {
        let profile = profile(random_profile(&mut numbers));
        let native = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm][round % 4];
        let program = compile(&profile, native).unwrap();
        check_program(&program.insns);
        let reference = Reference::new(&profile, native);
        for arch in [X86_64, I386, AARCH64, ARM, 0x8000_0016] {
            for number in &matter {
                for _ in 0..4 {
                    let small = numbers.below(2) == 0;
                    let args =
                        [0; 6].map(|_: u64| if small { numbers.below(26) as u64 } else { numbers.word() });
                    check(&reference, &program, &Call { number: *number, arch, args });
                }
            }
        }
    }
}

#[test]
fn chains_farther_away_than_a_jump_reaches_are_found() {
    let rules: Vec<Value> = Arch::X86_64
        .calls()
        .take(200)
        .map(|(name, number)| {
            let (value, other) = ((u64::from(number) << 32) + 77, u64::from(number) + 1000);
            json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": number,
                "args": [{"index": 1, "value": value, "op": "SCMP_CMP_GT"},
                    {"index": 2, "value": other, "op": "SCMP_CMP_NE"}]})
        })
        .collect();
    let value = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X32"],
        "syscalls": rules});
    let profile = profile(value);
    let program = compile(&profile, Arch::X86_64).unwrap();
    assert!(program.insns.len() > 2500, "{} instructions", program.insns.len());
    check_program(&program.insns);
    let reference = Reference::new(&profile, Arch::X86_64);
    let mut numbers = Numbers(4);
    for number in (0..600).chain(0x4000_0000..0x4000_0258) {
        for _ in 0..16 {
            let call = u64::from(number & 0xfff);
            let first = (call << 32).wrapping_add(76 + numbers.below(3) as u64);
            let second = call + 1000 + numbers.below(2) as u64;
            let args = [0, first, second, 0, 0, 0];
            check(&reference, &program, &Call { number, arch: X86_64, args });
        }
    }
}
