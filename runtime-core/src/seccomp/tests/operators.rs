//! Comparisons of arguments, with random values of 64 bits.

use super::machine::{Call, check_program};
use super::*;

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
const PERSONALITY: [(u32, u32); 4] = [(X86_64, 135), (X86_64, 0x4000_0000 + 135), (I386, 136), (AARCH64, 92)];

fn one_rule(args: Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
            "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args}],
    })
}

fn agrees(value: Value, numbers: &mut Numbers, near: &[u64]) {
    let profile = profile(value);
    let program = compile(&profile, Arch::X86_64).unwrap();
    check_program(&program.insns);
    let reference = Reference::new(&profile, Arch::X86_64);
    for round in 0..24 {
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = match round % 3 {
                0 => numbers.word(),
                1 => numbers.pick(near).wrapping_add(numbers.below(3) as u64).wrapping_sub(1),
                _ => numbers.pick(near) ^ (1 << numbers.below(64)),
            };
        }
        for (arch, number) in PERSONALITY {
            check(&reference, &program, &Call { number, arch, args });
        }
    }
}

#[test]
fn each_operator_compares_all_bits_of_any_argument() {
    let mut numbers = Numbers(1);
    for operator in OPERATORS {
        for _ in 0..120 {
            let (value, two) = (numbers.word(), numbers.word());
            let args = json!([{"index": numbers.below(6), "value": value, "valueTwo": two,
                "op": operator}]);
            agrees(one_rule(args), &mut numbers, &[value, two, value & two]);
        }
    }
}

#[test]
fn comparisons_of_several_arguments_must_all_hold() {
    let mut numbers = Numbers(2);
    for _ in 0..300 {
        let mut near = Vec::new();
        let mut args = Vec::new();
        for index in 0..1 + numbers.below(6) {
            let (value, two) = (numbers.word(), numbers.word());
            near.extend([value, two & value]);
            args.push(json!({"index": index, "value": value, "valueTwo": two,
                "op": numbers.pick(&OPERATORS)}));
        }
        agrees(one_rule(json!(args)), &mut numbers, &near);
    }
}

#[test]
fn of_two_comparisons_of_one_argument_either_is_enough() {
    let args = json!([
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"},
    ]);
    let program = program(one_rule(args));
    let on = |first, second| result_with(&program, X86_64, 135, [first, second, 0, 0, 0, 0]);
    assert_eq!([on(1, 0), on(2, 0), on(3, 7)], [ALLOW; 3]);
    assert_eq!(on(3, 0), EPERM);
}

#[test]
fn every_operator_decides_at_its_border() {
    // Results for one below, equal, one above.
    let table = [
        ("SCMP_CMP_NE", [ALLOW, EPERM, ALLOW]),
        ("SCMP_CMP_LT", [ALLOW, EPERM, EPERM]),
        ("SCMP_CMP_LE", [ALLOW, ALLOW, EPERM]),
        ("SCMP_CMP_EQ", [EPERM, ALLOW, EPERM]),
        ("SCMP_CMP_GE", [EPERM, ALLOW, ALLOW]),
        ("SCMP_CMP_GT", [EPERM, EPERM, ALLOW]),
    ];
    for border in [1_u64 << 32, 0x8000_0000_0000_0000, 0x0000_0007_ffff_ffff, 5] {
        for (operator, wanted) in table {
            let args = json!([{"index": 2, "value": border, "op": operator}]);
            let program = program(one_rule(args));
            let got = [border - 1, border, border + 1]
                .map(|value| result_with(&program, X86_64, 135, [0, 0, value, 0, 0, 0]));
            assert_eq!(got, wanted, "{operator} {border:#x}");
        }
    }
}

#[test]
fn masked_equality_takes_the_mask_from_value_and_the_wanted_bits_from_value_two() {
    let args = json!([{"index": 0, "value": 0xf000_0000_0000_00f0_u64, "valueTwo": 0x30,
        "op": "SCMP_CMP_MASKED_EQ"}]);
    let program = program(one_rule(args));
    let on = |first| result_with(&program, X86_64, 135, [first, 0, 0, 0, 0, 0]);
    assert_eq!(on(0x3f), ALLOW);
    assert_eq!(on(0x0fff_0000_0000_0030), ALLOW);
    assert_eq!(on(0x1000_0000_0000_0030), EPERM);
    assert_eq!(on(0x40), EPERM);
}

#[test]
fn thirty_two_bit_architectures_compare_low_halves() {
    let args = json!([{"index": 0, "value": 0xffff_ffff_ffff_ff9c_u64, "op": "SCMP_CMP_EQ"}]);
    let program = program(one_rule(args));
    let on = |arch, number| result_with(&program, arch, number, [0xffff_ff9c, 0, 0, 0, 0, 0]);
    assert_eq!(on(I386, 136), ALLOW);
    assert_eq!(on(X86_64, 0x4000_0000 + 135), ALLOW);
    assert_eq!(on(X86_64, 135), EPERM);
}
