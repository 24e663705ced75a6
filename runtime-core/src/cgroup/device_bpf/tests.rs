//! What a program decides is what the rules say, in an interpreter that takes no more than the
//! kernel's verifier would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(fuzzing, allow(dead_code))]

use super::*;
#[cfg(test)]
use crate::cgroup::devices::defaults;

const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// Runs a program. Panics where the verifier would refuse: an unknown instruction, a jump back or
/// out, a register that was never set, a verdict other than 0 and 1.
fn run(program: &[u64], kind: u32, major: u32, minor: u32, access: u8) -> bool {
    execute(program, kind, major, minor, access).0
}

/// Runs a program and counts the instructions that it took.
fn execute(program: &[u64], kind: u32, major: u32, minor: u32, access: u8) -> (bool, usize) {
    let ctx = [u32::from(access) << 16 | kind, major, minor];
    let mut regs = [None; 11];
    let mut at = 0;
    for step in 1.. {
        let [code, registers, o0, o1, i0, i1, i2, i3] = program[at].to_le_bytes();
        let (dst, src) = (usize::from(registers & 15), usize::from(registers >> 4));
        let off = i16::from_le_bytes([o0, o1]);
        let imm = i32::from_le_bytes([i0, i1, i2, i3]);
        let (wide, narrow) = (i64::from(imm) as u64, imm as u32);
        let dst_value = |regs: &[Option<u64>; 11]| regs[dst].expect("a register that was set");
        let mut jump = false;
        match code {
            0x61 => {
                assert_eq!(src, 1, "only the context is memory");
                assert_eq!(off % 4, 0);
                regs[dst] = Some(u64::from(ctx[usize::try_from(off).unwrap() / 4]));
            }
            0xb7 => regs[dst] = Some(wide),
            0xbf => regs[dst] = Some(regs[src].expect("a register that was set")),
            0x57 => regs[dst] = Some(dst_value(&regs) & wide),
            0x77 => regs[dst] = Some(dst_value(&regs) >> wide),
            0x05 => jump = true,
            0x16 => jump = dst_value(&regs) as u32 == narrow,
            0x56 => jump = dst_value(&regs) as u32 != narrow,
            0x46 => jump = dst_value(&regs) as u32 & narrow != 0,
            0x95 => match regs[0] {
                Some(verdict @ (0 | 1)) => return (verdict == 1, step),
                other => panic!("verdict {other:?}"),
            },
            code => panic!("operation {code:#x}"),
        }
        at += 1 + if jump { usize::try_from(off).expect("a jump forward") } else { 0 };
    }
    unreachable!("a program without jumps back ends")
}

/// Panics if an instruction cannot be reached, or the end can be passed.
fn assert_whole(program: &[u64]) {
    let mut reached = vec![false; program.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let [code, _, o0, o1, ..] = program[at].to_le_bytes();
        let target = at + 1 + usize::try_from(i16::from_le_bytes([o0, o1])).unwrap();
        match code {
            0x95 => {}
            0x05 => todo.push(target),
            0x16 | 0x56 | 0x46 => todo.extend([at + 1, target]),
            _ => todo.push(at + 1),
        }
    }
    assert!(reached.iter().all(|r| *r), "unreachable: {reached:?}");
}

/// The rules' meaning, word by word.
fn meaning(rules: &[DeviceRule], kind: u32, major: u32, minor: u32, access: u8) -> bool {
    [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        let decides = |rule: &&DeviceRule| {
            let all = rule.kind == DeviceKind::All && rule.major.is_none() && rule.minor.is_none();
            let bits = u8::from(rule.mknod) | u8::from(rule.read) << 1 | u8::from(rule.write) << 2;
            let bits = if all && bits == 0 { 7 } else { bits };
            let kind_matches = match rule.kind {
                DeviceKind::All => true,
                DeviceKind::Char => kind == CHAR,
                DeviceKind::Block => kind == BLOCK,
            };
            kind_matches
                && rule.major.is_none_or(|m| m == major)
                && rule.minor.is_none_or(|m| m == minor)
                && bits & bit != 0
        };
        rules.iter().rev().find(decides).is_none_or(|rule| rule.allow)
    })
}

/// Compares program and meaning for both kinds, every access, every number of the rules and one
/// that no rule has. Returns how many requests were allowed and denied.
pub(crate) fn compare(rules: &[DeviceRule]) -> (usize, usize) {
    let program = compile(rules).unwrap();
    assert!(program.len() <= LIMIT);
    assert_whole(&program);
    let numbers = |get: fn(&DeviceRule) -> Option<u32>| {
        let mut all: Vec<u32> = rules.iter().filter_map(get).collect();
        all.push((0..).find(|n| !all.contains(n)).unwrap());
        all.sort_unstable();
        all.dedup();
        all
    };
    let mut count = (0, 0);
    for kind in [BLOCK, CHAR] {
        for &major in &numbers(|r| r.major) {
            for &minor in &numbers(|r| r.minor) {
                for access in 0..8 {
                    let said = run(&program, kind, major, minor, access);
                    let meant = meaning(rules, kind, major, minor, access);
                    assert_eq!(said, meant, "{kind} {major}:{minor} {access} of {rules:#?}");
                    *(if said { &mut count.0 } else { &mut count.1 }) += 1;
                }
            }
        }
    }
    count
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }

    /// A number out of a few, so that rules meet; also the ends of the range.
    fn number(&mut self, any_in: u64) -> Option<u32> {
        const NUMBERS: [u32; 6] = [0, 1, 5, 136, 0x8000_0000, u32::MAX];
        (self.below(any_in) != 0).then(|| NUMBERS[self.below(6) as usize])
    }

    fn rule(&mut self, any_in: u64) -> DeviceRule {
        let kind = match self.below(9) {
            0 => DeviceKind::All,
            1..5 => DeviceKind::Block,
            _ => DeviceKind::Char,
        };
        let (major, minor) = (self.number(any_in), self.number(any_in));
        let access = self.below(8);
        let [read, write, mknod] = [1, 2, 4].map(|bit| access & bit != 0);
        DeviceRule { allow: self.below(2) == 0, kind, major, minor, read, write, mknod }
    }
}

/// One rule as the v1 files write it, `+` or `-` before it.
fn rule(text: &str) -> DeviceRule {
    let fields: Vec<&str> = text[1..].split([' ', ':']).collect();
    let &[kind, major, minor, access] = fields.as_slice() else { panic!("{text}") };
    DeviceRule {
        allow: text.starts_with('+'),
        kind: match kind {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Char,
            _ => panic!("{text}"),
        },
        major: (major != "*").then(|| major.parse().unwrap()),
        minor: (minor != "*").then(|| minor.parse().unwrap()),
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    }
}

fn rules(texts: &[&str]) -> Vec<DeviceRule> {
    texts.iter().map(|text| rule(text)).collect()
}

const DOCKER: [&str; 8] = [
    "-a *:* rwm",
    "+c 1:5 rwm",
    "+c 1:3 rwm",
    "+c 1:9 rwm",
    "+c 1:8 rwm",
    "+c 5:0 rwm",
    "+c 5:1 rwm",
    "-c 10:229 rwm",
];

const CONTAINERD: [&str; 11] = [
    "-a *:* rwm",
    "+c 1:3 rwm",
    "+c 1:8 rwm",
    "+c 1:7 rwm",
    "+c 5:0 rwm",
    "+c 1:5 rwm",
    "+c 1:9 rwm",
    "+c 5:1 rwm",
    "+c 136:* rwm",
    "+c 5:2 rwm",
    "+c 10:229 rwm",
];

/// What the engines pass, by name.
fn engines() -> Vec<(&'static str, Vec<DeviceRule>)> {
    let docker = rules(&DOCKER);
    let privileged = rules(&["+a *:* rwm"]);
    vec![
        ("docker 20", docker.clone()),
        ("docker 28, which says it twice", [docker.clone(), docker.clone()].concat()),
        ("docker 20 and CRI, privileged", privileged.clone()),
        ("docker 28, privileged", [docker, privileged].concat()),
        ("containerd", rules(&CONTAINERD[..10])),
        ("containerd with a device", rules(&CONTAINERD)),
        ("CRI", rules(&["-a *:* rwm", "+c 10:229 rw"])),
        ("podman, buildah, buildkit", rules(&["-a *:* rwm"])),
        ("podman with a device", rules(&["-a *:* rwm", "+c 10:229 rw", "+c 42:* rmw"])),
        ("podman without root", vec![]),
    ]
}

#[test]
fn random_rules_mean_in_the_program_what_they_mean() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut allowed, mut denied) = (0, 0);
    for round in 0..1000 {
        let any_in = 2 + random.below(5);
        let count = random.below(if round % 10 == 0 { 60 } else { 12 });
        let mut list: Vec<_> = (0..count).map(|_| random.rule(any_in)).collect();
        if random.below(2) == 0 {
            list.insert(0, rule("-a *:* rwm"));
        }
        let (a, d) = compare(&list);
        (allowed, denied) = (allowed + a, denied + d);
    }
    assert!(allowed > 50_000 && denied > 50_000, "{allowed} {denied}");
}

#[test]
fn lists_of_engines_mean_in_the_program_what_they_mean() {
    for (name, list) in engines() {
        for list in [list.clone(), [list, defaults()].concat()] {
            let (allowed, _) = compare(&list);
            assert!(allowed > 0, "{name}");
        }
    }
}

#[test]
fn docker_with_the_defaults_takes_29_instructions() {
    let list = [rules(&DOCKER), defaults()].concat();
    let program = compile(&list).unwrap();
    let asks = |kind, major, minor, access| run(&program, kind, major, minor, access);
    assert_eq!(program.len(), 29);
    for (major, minor) in [(1, 3), (1, 7), (5, 2), (10, 200), (136, 0), (136, 77)] {
        assert!(asks(CHAR, major, minor, ALL), "{major}:{minor}");
        assert!(!asks(BLOCK, major, minor, READ), "{major}:{minor}");
    }
    for (major, minor) in [(1, 1), (1, 2), (4, 0), (5, 3), (10, 229), (137, 0)] {
        assert!(asks(CHAR, major, minor, MKNOD), "{major}:{minor}");
        assert!(!asks(CHAR, major, minor, MKNOD | READ), "{major}:{minor}");
        assert!(!asks(CHAR, major, minor, WRITE), "{major}:{minor}");
    }
    assert!(asks(BLOCK, 8, 0, MKNOD));
}

#[test]
fn saying_a_list_twice_makes_the_same_program() {
    let docker = rules(&DOCKER);
    assert_eq!(compile(&[docker.clone(), docker.clone()].concat()), compile(&docker));
}

#[test]
fn where_nothing_is_denied_the_program_is_a_constant() {
    for list in [vec![], defaults(), rules(&["-a *:* rwm", "-c 1:3 r", "+a *:* rwm"])] {
        assert_eq!(compile(&list).unwrap().len(), 2);
        assert!(run(&compile(&list).unwrap(), BLOCK, 8, 0, ALL));
    }
}

#[test]
fn what_the_default_says_takes_no_instruction() {
    let length = |texts: &[&str]| compile(&rules(texts)).unwrap().len();
    let deny_all = length(&["-a *:* rwm"]);
    assert_eq!(deny_all, 6);
    assert_eq!(length(&["-a *:* rwm", "-c 1:3 rwm", "-c *:7 r", "-b 8:* w"]), deny_all);
    for kind in ["b", "c"] {
        let wide = format!("+{kind} 8:* r");
        assert_eq!(length(&["-a *:* rwm", &wide]), 15, "{kind}");
    }
}

#[test]
fn a_major_number_that_matched_is_the_last_one_compared() {
    let list = (1..100).map(|n| DeviceRule { major: Some(n), minor: Some(n), ..rule("-c 1:1 rwm") });
    let program = compile(&list.collect::<Vec<_>>()).unwrap();
    let (allowed, steps) = execute(&program, CHAR, 1, 2, READ);
    assert!(allowed);
    assert!(steps < 20, "{steps}");
    assert!(execute(&program, CHAR, 100, 2, READ).1 > 100);
}

#[test]
fn a_bit_that_no_rule_decides_is_allowed() {
    let program = compile(&rules(&["-b 8:* w", "+c 1:3 r"])).unwrap();
    assert!(run(&program, CHAR, 4, 4, ALL));
    assert!(run(&program, BLOCK, 8, 1, READ | MKNOD));
    assert!(!run(&program, BLOCK, 8, 1, READ | WRITE));
}

#[test]
fn a_narrow_deny_takes_only_its_bits_from_a_wide_allow() {
    let program = compile(&rules(&["-a *:* rwm", "+b 8:* rwm", "-b 8:1 w"])).unwrap();
    assert!(run(&program, BLOCK, 8, 0, ALL));
    assert!(run(&program, BLOCK, 8, 1, READ | MKNOD));
    assert!(!run(&program, BLOCK, 8, 1, WRITE));
}

#[test]
fn kind_a_without_access_bits_has_all_and_with_numbers_has_only_these() {
    let program = compile(&rules(&["-a *:* ", "+a 7:0 r"])).unwrap();
    for kind in [BLOCK, CHAR] {
        assert!(run(&program, kind, 7, 0, READ));
        assert!(!run(&program, kind, 7, 0, WRITE));
        assert!(!run(&program, kind, 7, 1, READ));
    }
}

#[test]
fn a_thousand_rules_fit() {
    let apart = |n: u32| {
        if n.is_multiple_of(2) { DeviceKind::Char } else { DeviceKind::Block }
    };
    let (deny, base) = (rule("-a *:* rwm"), rule("+c 0:0 rwm"));
    let devices = (1..1000).map(|n| DeviceRule {
        kind: apart(n),
        major: Some(n),
        minor: Some(n * 3),
        write: n.is_multiple_of(3),
        ..base
    });
    let list: Vec<_> = [deny].into_iter().chain(devices).collect();
    let program = compile(&list).unwrap();
    assert_whole(&program);
    assert!(program.len() < 3100, "{}", program.len());
    for n in 1..1000_u32 {
        let kind = if n.is_multiple_of(2) { CHAR } else { BLOCK };
        assert!(run(&program, kind, n, n * 3, READ));
        assert_eq!(run(&program, kind, n, n * 3, READ | WRITE), n.is_multiple_of(3));
        assert!(!run(&program, kind, n, n * 3 + 1, READ));
        assert!(!run(&program, 3 - kind, n, n * 3, READ));
    }
}

#[test]
fn random_thousands_fit() {
    let mut random = Random(42);
    for _ in 0..2 {
        let mut list = vec![rule("-a *:* rwm")];
        while list.len() < 1000 {
            let major = Some(random.below(4096) as u32);
            let minor = (random.below(8) != 0).then(|| random.below(1 << 20) as u32);
            list.push(DeviceRule { major, minor, ..random.rule(1) });
        }
        let program = compile(&list).unwrap();
        assert_whole(&program);
        for asked in &list {
            for access in 0..8 {
                let (major, minor) = (asked.major.unwrap_or(0), asked.minor.unwrap_or(0));
                let said = run(&program, CHAR, major, minor, access);
                assert_eq!(said, meaning(&list, CHAR, major, minor, access), "{asked}");
            }
        }
    }
}

#[test]
fn more_rules_than_fit_are_an_error() {
    let base = rule("+c 0:0 rwm");
    let many = |count, make: fn(u32) -> (Option<u32>, Option<u32>)| -> Vec<DeviceRule> {
        let rules = (0..count).map(|n| DeviceRule { major: make(n).0, minor: make(n).1, ..base });
        [rule("-a *:* rwm")].into_iter().chain(rules).collect()
    };
    let fits = many(4060, |n| (Some(0), Some(n)));
    assert!(compile(&fits).unwrap().len() > 4060);
    let one_major = many(4100, |n| (Some(0), Some(n)));
    assert_eq!(compile(&one_major), Err(TooManyRules));
    assert!(program(&one_major).is_empty());
    let majors = many(40_000, |n| (Some(n), Some(n)));
    assert_eq!(compile(&majors), Err(TooManyRules));
    // Every major number forbids what its minor numbers allow in general, and the other way.
    let mut crossed = many(200, |n| (None, Some(n)));
    crossed.extend((0..200).map(|n| DeviceRule { major: Some(n), minor: None, write: false, ..base }));
    assert_eq!(compile(&crossed), Err(TooManyRules));
    let mut wide = many(100_000, |n| (None, Some(n)));
    wide.extend((0..100_000).map(|n| DeviceRule { major: Some(n), minor: None, ..base }));
    assert_eq!(compile(&wide), Err(TooManyRules));
}
