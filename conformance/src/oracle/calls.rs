//! The calls at which a mistake would show: each named number and its neighbours, each boundary of
//! each argument in both halves, every architecture.

use super::kinds::{self, MULTIPLEXERS};
use super::names::Names;
use super::profile::{OPERATORS, Profile, Rule, Test};
use oxrun_core::seccomp::{Arch, Call};
use std::collections::BTreeSet;

const X32: u32 = 0x4000_0000;

/// Where something ends for some architecture.
const ENDS: [u32; 10] =
    [0, X32, X32 + 512, X32 + 547, 0x000f_0000, 0x000f_ffff, 0x8000_0000, u32::MAX, 600, 6600];

/// The calls to compare for a profile. With `every`, the usual numbers are all among them.
pub(super) fn calls(profile: &Profile, archs: &[Arch], names: &Names, every: bool) -> Vec<Call> {
    let mut calls = Vec::new();
    let tokens: BTreeSet<u32> = archs.iter().map(|arch| arch.audit()).collect();
    for token in &tokens {
        let of: Vec<Arch> = names.archs.iter().copied().filter(|arch| arch.audit() == *token).collect();
        for number in numbers(profile, &of, names, every) {
            for args in arguments(profile, &of, names, number) {
                calls.push(Call { number, arch: *token, args });
            }
        }
    }
    let foreign = Arch::ALL.iter().map(|arch| arch.audit()).chain([0, 1, u32::MAX]);
    for token in foreign.filter(|token| !tokens.contains(token)) {
        let numbers = [0, 1, 59, 102, X32, u32::MAX];
        calls.extend(numbers.map(|number| Call { number, arch: token, args: [0; 6] }));
    }
    calls
}

fn numbers(profile: &Profile, archs: &[Arch], names: &Names, every: bool) -> BTreeSet<u32> {
    let mut centres: BTreeSet<u32> = ENDS.into_iter().collect();
    for arch in archs {
        let all = profile.rules.iter().flat_map(|rule| &rule.names);
        for name in all {
            centres.extend(names.ours(*arch, name).into_iter().chain(names.theirs(*arch, name)));
        }
        centres.extend(MULTIPLEXERS.iter().filter_map(|(call, _)| names.theirs(*arch, call)));
        if every {
            let base = if *arch == Arch::X32 { X32 } else { 0 };
            centres.extend(base..base + 600);
        }
    }
    centres.iter().flat_map(|n| [n.wrapping_sub(1), *n, n.wrapping_add(1)]).collect()
}

/// Sets of arguments that matter to the rules for a number.
fn arguments(profile: &Profile, archs: &[Arch], names: &Names, number: u32) -> BTreeSet<[u64; 6]> {
    let mut sets = BTreeSet::from([[0; 6], [u64::MAX; 6]]);
    // Those of its neighbours too, so that a filter that mixes the two up is found out.
    let near = [number.wrapping_sub(1), number, number.wrapping_add(1)];
    let is = |arch: &Arch, name: &String| {
        let numbers = [names.ours(*arch, name), names.theirs(*arch, name)];
        numbers.into_iter().flatten().any(|number| near.contains(&number))
    };
    let concerned = |rule: &&Rule| rule.names.iter().any(|name| archs.iter().any(|arch| is(arch, name)));
    let rules: Vec<&Rule> = profile.rules.iter().filter(concerned).collect();
    let tests: Vec<&Test> = rules.iter().flat_map(|rule| &rule.tests).collect();
    for base in rules.iter().map(|rule| satisfying(&rule.tests)) {
        for test in &tests {
            for value in boundaries(test) {
                let mut args = base;
                if let Some(arg) = args.get_mut(test.index) {
                    *arg = value;
                }
                sets.insert(args);
            }
        }
    }
    if archs.iter().any(|arch| kinds::multiplexed_at(names, *arch, number)) {
        let behind = (0..26).chain([0x1_0001, 0x1_0015, 1 << 32 | 1, 1 << 32 | 21, u64::MAX]);
        sets.extend(behind.flat_map(|first| [[first, 0, 0, 0, 0, 0], [first, 1, 2, 3, 4, 5]]));
    }
    sets
}

/// Arguments for which all comparisons hold, where that is possible.
fn satisfying(tests: &[Test]) -> [u64; 6] {
    let mut args = [0; 6];
    for test in tests {
        let good = boundaries(test).into_iter().find(|value| {
            let mut one = args;
            one.get_mut(test.index).is_some_and(|arg| {
                *arg = *value;
                true
            }) && test.holds(&one, true)
        });
        if let (Some(good), Some(arg)) = (good, args.get_mut(test.index)) {
            *arg = good;
        }
    }
    args
}

/// The value of a comparison with each half one less, equal and one more. For a mask also values
/// that differ in one bit, inside of the mask and outside.
fn boundaries(test: &Test) -> Vec<u64> {
    let masked = OPERATORS.get(test.op) == Some(&"MASKED_EQ");
    let centre = if masked { test.two & test.value } else { test.value };
    let halves = |half: u32| [half, half.wrapping_sub(1), half.wrapping_add(1)];
    let mut values = Vec::new();
    for high in halves((centre >> 32) as u32) {
        for low in halves(centre as u32) {
            values.push(u64::from(high) << 32 | u64::from(low));
        }
    }
    if masked {
        let (set, clear) = (test.value, !test.value);
        for mask in [set, clear, set & 0xffff_ffff, clear & 0xffff_ffff] {
            let lowest = mask & mask.wrapping_neg();
            let highest = if mask == 0 { 0 } else { 1 << (63 - mask.leading_zeros()) };
            values.extend([centre ^ lowest, centre ^ highest]);
        }
        values.extend([centre | clear, test.value, test.two]);
    }
    values
}
