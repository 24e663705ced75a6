//! Profiles that engines really write.

use super::machine::{Call, check_program};
use super::*;

const PROFILES: [(&str, &str); 4] = [
    ("docker 20", include_str!("../testdata/docker20-run-fg.json")),
    ("docker 28", include_str!("../testdata/docker28-run-fg.json")),
    ("podman 4.3", include_str!("../testdata/podman43-run-fg.json")),
    ("docker 20, allows by default", include_str!("../testdata/docker20-seccomp.json")),
];

/// All numbers that may matter to an architecture.
fn numbers(arch: u32) -> Vec<u32> {
    let near = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff];
    let other = match arch {
        X86_64 => 0x4000_0000..0x4000_0258,
        ARM => 0x000e_fff8..0x000f_0010,
        I386 | AARCH64 => 0x4000_0000..0x4000_0004,
        _ => return near.to_vec(),
    };
    (0..600).chain(other).chain(near).collect()
}

/// The calls whose arguments some profile here looks at.
fn looks_at_arguments(number: u32) -> bool {
    const PERSONALITY: [u32; 3] = [135, 136, 92];
    const CLONE: [u32; 3] = [56, 120, 220];
    const SOCKET: [u32; 6] = [41, 359, 198, 281, 102, 117];
    let number = number & 0xffff;
    PERSONALITY.contains(&number) || CLONE.contains(&number) || SOCKET.contains(&number)
}

/// Values at the borders of every comparison of the profile, for every argument.
fn arguments(profile: &LinuxSeccomp) -> Vec<[u64; 6]> {
    let rules = profile.syscalls().iter().flatten();
    let args = rules.flat_map(|rule| rule.args().iter().flatten());
    let mut values: Vec<u64> = args.flat_map(|arg| [arg.value(), arg.value_two().unwrap_or(0)]).collect();
    values.extend([0, 1, u64::MAX, 0xffff_ffff]);
    let around = values.iter().flat_map(|value| {
        [*value, value.wrapping_add(1), value.wrapping_sub(1), value | 1 << 32, value ^ 1 << 63]
    });
    let mut around: Vec<u64> = around.collect();
    around.sort_unstable();
    around.dedup();
    let mut all = Vec::new();
    for value in around {
        all.push([value; 6]);
        for arg in 0..3 {
            let mut args = [0; 6];
            args[arg] = value;
            all.push(args);
        }
    }
    all
}

fn with_archs(text: &str, archs: &[&str]) -> LinuxSeccomp {
    let mut value: Value = serde_json::from_str(text).unwrap();
    value["architectures"] = json!(archs);
    profile(value)
}

fn agrees_everywhere(profile: &LinuxSeccomp, native: Arch) {
    let program = compile(profile, native).unwrap();
    check_program(&program.insns);
    let reference = Reference::new(profile, native);
    let arguments = arguments(profile);
    for arch in [X86_64, I386, AARCH64, ARM, 0, 0x8000_0016] {
        for number in numbers(arch) {
            let sets = if looks_at_arguments(number) { arguments.len() } else { 2 };
            for args in arguments.iter().take(sets) {
                check(&reference, &program, &Call { number, arch, args: *args });
            }
        }
    }
}

#[test]
fn the_calls_with_checked_arguments_are_those_of_the_profiles() {
    for (name, text) in PROFILES {
        let profile = profile(serde_json::from_str(text).unwrap());
        let rules = profile.syscalls().iter().flatten();
        for rule in rules.filter(|rule| rule.args().is_some()) {
            let known = ["personality", "clone", "socket"];
            assert!(rule.names().iter().all(|n| known.contains(&n.as_str())), "{name} {rule:?}");
        }
    }
}

#[test]
fn real_profiles_decide_every_number_as_the_reference_on_x86_64() {
    for (_, text) in PROFILES {
        agrees_everywhere(&profile(serde_json::from_str(text).unwrap()), Arch::X86_64);
    }
}

#[test]
fn real_profiles_decide_every_number_as_the_reference_without_the_other_architectures() {
    for (_, text) in PROFILES {
        agrees_everywhere(&with_archs(text, &[]), Arch::X86_64);
        agrees_everywhere(&with_archs(text, &["SCMP_ARCH_X32"]), Arch::X86);
    }
}

#[test]
fn real_profiles_decide_every_number_as_the_reference_on_arm() {
    for (_, text) in PROFILES {
        agrees_everywhere(&with_archs(text, &["SCMP_ARCH_ARM"]), Arch::Aarch64);
        agrees_everywhere(&with_archs(text, &["SCMP_ARCH_X86_64"]), Arch::Arm);
    }
}

#[test]
fn real_profiles_stay_small() {
    for (name, text) in PROFILES {
        for (archs, limit) in [(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"][..], 700), (&[], 200)]
        {
            let length = compile(&with_archs(text, archs), Arch::X86_64).unwrap().insns.len();
            assert!(length <= limit, "{name}, {} architectures: {length} instructions", archs.len());
        }
    }
}

#[test]
fn every_rule_of_docker_decides_its_calls() {
    let text = PROFILES[1].1;
    let program = program(serde_json::from_str(text).unwrap());
    let on = |number, first| result_with(&program, X86_64, number, [first, 0, 0, 0, 0, 0]);
    let (read, personality, clone, clone3, socket, mount) = (0, 135, 56, 435, 41, 165);
    assert_eq!(on(read, 0), ALLOW);
    assert_eq!(on(mount, 0), EPERM);
    assert_eq!(on(clone3, 0), ENOSYS);
    assert_eq!(on(personality, 8), ALLOW);
    assert_eq!(on(personality, 0xffff_ffff), ALLOW);
    assert_eq!(on(personality, 1 << 32 | 8), EPERM);
    assert_eq!(on(personality, 7), EPERM);
    assert_eq!(on(clone, 0x11), ALLOW);
    assert_eq!(on(clone, 0x1000_0000), EPERM);
    assert_eq!(on(socket, 1), ALLOW);
    assert_eq!(on(socket, 40), EPERM);
}
