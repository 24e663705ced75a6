//! Gives every number of every architecture its outcome: a value, or rules that look at the
//! arguments. The ranges of a block cover all 32-bit numbers without a gap.
//!
//! On i386, and on others with these two calls, calls for sockets and System V IPC also exist behind `socketcall` and `ipc`, whose
//! first argument is the number of the wanted call. Their own arguments cannot be checked
//! there: those of `socketcall` lie in memory, which a filter does not see, and those of `ipc`
//! stand in other places. So a rule without arguments applies to both forms. A rule with
//! arguments applies to the direct form, and to the other one, whatever its arguments, only if
//! the rule is stricter than the default action. When in doubt a call is thus refused: a profile
//! that allows only some kinds of socket does not allow the other kinds through `socketcall`.
//! A rule for `socketcall` or `ipc` itself comes first, as for every other name. Only the low 16
//! bits of ipc's first argument are compared, since the kernel takes a version from the others.

use std::rc::Rc;

use super::arch::X32_BIT;
use super::profile::{ERRNO, KILL_PROCESS, KILL_THREAD, Op, Profile, ProfileRule, TRAP, Test, strictness};
use super::tables::{self, Finder};
use super::{Arch, SkippedName};

/// What to return when all tests hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) tests: Vec<Test>,
    pub(super) action: u32,
}

/// Rules that look at arguments: the first that matches counts, else the default action.
#[derive(Debug, PartialEq)]
pub(super) struct Chain {
    /// Compare all 64 bits; else the values and masks have no more than 32.
    pub(super) wide: bool,
    /// The high half of an argument comes first.
    pub(super) big_endian: bool,
    pub(super) rules: Vec<Rule>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Return(u32),
    Chain(Rc<Chain>),
}

/// Numbers with the same outcome, up to the first one of the next range.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) outcome: Outcome,
}

/// All numbers of one `AUDIT_ARCH_` value. The first range begins at 0.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) audit: u32,
    pub(super) ranges: Vec<Range>,
}

/// What a profile says about one architecture.
struct Resolved {
    /// Calls with an outcome of their own, sorted by number.
    calls: Vec<(u32, Outcome)>,
    /// Outcome of the others, by first number.
    others: Vec<(u32, u32)>,
}

/// A name of the profile, looked up once for all architectures.
struct Named<'a> {
    rule: &'a ProfileRule<'a>,
    /// Its place in the list of all names.
    place: Option<usize>,
    /// The call that it can also be reached through.
    behind: Option<(usize, u32)>,
    /// Whether an architecture of the filter has it.
    known: bool,
}

/// Resolves the names of a profile for every architecture. Also returns the names that none has.
pub(super) fn resolve(profile: &Profile<'_>, archs: &[Arch]) -> (Vec<Block>, Vec<SkippedName>) {
    let mut names = look_up(profile);
    let mut blocks: Vec<Block> = Vec::new();
    for arch in archs {
        let mut of = |arch| resolve_arch(&mut names, arch, profile.default);
        let resolved = match arch {
            Arch::X86_64 => {
                let x32 = archs.contains(&Arch::X32).then(|| of(Arch::X32));
                with_x32(of(*arch), x32)
            }
            Arch::X32 if archs.contains(&Arch::X86_64) => continue,
            // Without x86_64 its numbers kill the process, and only those of x32 are decided.
            Arch::X32 => {
                let x86_64 = Resolved { calls: Vec::new(), others: vec![(0, KILL_PROCESS)] };
                with_x32(x86_64, Some(of(*arch)))
            }
            _ => of(*arch),
        };
        blocks.push(Block { audit: arch.audit(), ranges: ranges(&resolved) });
    }
    (blocks, skipped(profile, &names))
}

fn look_up<'a>(profile: &'a Profile<'_>) -> Vec<Named<'a>> {
    let mut finder = Finder::default();
    let mut all = Vec::with_capacity(profile.rules.iter().map(|rule| rule.names.len()).sum());
    for rule in &profile.rules {
        all.extend(rule.names.iter().map(|name| {
            let (place, behind) = (finder.place(name), behind_multiplexer(name));
            Named { rule, place, behind, known: false }
        }));
    }
    all
}

fn skipped(profile: &Profile<'_>, names: &[Named<'_>]) -> Vec<SkippedName> {
    let all = profile.rules.iter().enumerate().flat_map(|(rule, parsed)| {
        parsed.names.iter().enumerate().map(move |(index, name)| (rule, index, name))
    });
    let unknown = all.zip(names).filter(|(_, named)| !named.known);
    unknown.map(|((rule, index, name), _)| SkippedName { rule, index, name: name.clone() }).collect()
}

/// Resolves every name for one architecture and marks those it has as known.
fn resolve_arch(names: &mut [Named<'_>], arch: Arch, default: u32) -> Resolved {
    let table = tables::of(arch);
    let multiplexers = MULTIPLEXERS.map(|name| table.number(name));
    let special = arch.special();
    // Numbers, each with the place of its name in the profile: in this order no two are equal.
    let mut numbers: Vec<(u32, usize)> = Vec::with_capacity(names.len());
    let mut behind: Vec<((u32, u32), &ProfileRule<'_>)> = Vec::new();
    let (mut newest, mut newest_special) = (None, None);
    for (at, named) in names.iter_mut().enumerate() {
        let applies = named.rule.action != default;
        if let Some(number) = named.place.and_then(|place| table.at(place)) {
            named.known = true;
            let special = special.as_ref().is_some_and(|special| special.contains(&number));
            let newest = if special { &mut newest_special } else { &mut newest };
            *newest = (*newest).max(Some(number));
            if applies {
                numbers.push((number, at));
            }
        }
        if let Some((through, call)) = named.behind
            && let Some(number) = multiplexers.get(through).copied().flatten()
        {
            named.known = true;
            newest = newest.max(Some(number));
            if applies {
                behind.push(((number, call), named.rule));
            }
        }
    }
    let numbers = sorted(numbers);
    let rule = |at: usize| names.get(at).map(|named| named.rule);
    let mut calls: Vec<(u32, Outcome)> = numbers
        .chunk_by(|one, other| one.0 == other.0)
        .filter_map(|group| {
            Some((group.first()?.0, outcome(group.iter().filter_map(|(_, at)| rule(*at)), arch)))
        })
        .collect();
    let [_, ipc] = multiplexers;
    multiplex(&mut calls, behind, arch, ipc, default);
    Resolved { calls, others: others(arch, newest.or(newest_special), default) }
}

/// Sorts by number, and numbers that are the same by place: they lie close together, so each gets a box of its own.
fn sorted(mut numbers: Vec<(u32, usize)>) -> Vec<(u32, usize)> {
    let ends = numbers.iter().fold(None, |ends: Option<(u32, u32)>, (number, _)| {
        Some(ends.map_or((*number, *number), |(least, most)| (least.min(*number), most.max(*number))))
    });
    let Some((least, most)) = ends.filter(|(least, most)| most - least < 4096) else {
        numbers.sort_unstable();
        return numbers;
    };
    let mut count = vec![0u32; (most - least) as usize + 2];
    for (number, _) in &numbers {
        if let Some(next) = count.get_mut((number - least) as usize + 1) {
            *next += 1;
        }
    }
    let mut before = 0;
    for count in &mut count {
        before += *count;
        *count = before;
    }
    let mut all = vec![(0, 0); numbers.len()];
    for (number, at) in numbers {
        if let Some(first) = count.get_mut((number - least) as usize)
            && let Some(free) = all.get_mut(*first as usize)
        {
            *free = (number, at);
            *first += 1;
        }
    }
    all
}

/// The outcome of a call from all its rules.
fn outcome<'a>(group: impl Iterator<Item = &'a ProfileRule<'a>>, arch: Arch) -> Outcome {
    let wide = arch.wide();
    let mut rules = Vec::new();
    for rule in group {
        if rule.alternatives.is_empty() {
            return Outcome::Return(rule.action);
        }
        for tests in &rule.alternatives {
            let tests = tests.iter().map(|test| if wide { *test } else { low_half(*test) });
            // Without a bit to compare, the comparison always holds.
            let tests: Vec<Test> = tests.filter(|test| test.mask != 0).collect();
            if tests.is_empty() {
                return Outcome::Return(rule.action);
            }
            rules.push(Rule { tests, action: rule.action });
        }
    }
    Outcome::Chain(Rc::new(Chain { wide, big_endian: arch.big_endian(), rules }))
}

fn low_half(test: Test) -> Test {
    let low = u64::from(u32::MAX);
    Test { mask: test.mask & low, value: test.value & low, ..test }
}

/// Outcome of the calls that have none of their own, by first number. `newest` is the newest
/// call that the profile names.
fn others(arch: Arch, newest: Option<u32>, default: u32) -> Vec<(u32, u32)> {
    let base = if arch == Arch::X32 { X32_BIT } else { 0 };
    let enosys = ERRNO | arch.enosys();
    let mut others = vec![(base, default)];
    let fails = matches!(default & 0xffff_0000, KILL_PROCESS | KILL_THREAD | TRAP | ERRNO);
    let Some(newer) = newest.and_then(|newest| newest.checked_add(1)).filter(|_| fails) else {
        return others;
    };
    others.push((newer, enosys));
    if let Some(special) = arch.special().filter(|special| newer <= *special.start()) {
        if newer == *special.start() {
            others.pop();
        }
        others.extend([(*special.start(), default), (*special.end() + 1, enosys)]);
    }
    others
}

/// Puts x32's numbers, which begin at [`X32_BIT`], above those of x86_64. Without x32 they kill
/// the process, except -1, with which a tracer skips a call.
fn with_x32(mut x86_64: Resolved, x32: Option<Resolved>) -> Resolved {
    match x32 {
        Some(x32) => {
            x86_64.calls.extend(x32.calls);
            x86_64.others.extend(x32.others);
        }
        None => {
            let last = x86_64.others.last().map(|(_, value)| (u32::MAX, *value));
            x86_64.others.push((X32_BIT, KILL_PROCESS));
            x86_64.others.extend(last);
        }
    }
    x86_64
}

/// Ranges over all numbers.
fn ranges(resolved: &Resolved) -> Vec<Range> {
    let mut all: Vec<Range> = Vec::new();
    let mut push = |first: u32, outcome: Outcome| match all.last() {
        Some(last) if last.outcome == outcome => {}
        _ => all.push(Range { first, outcome }),
    };
    let mut calls = resolved.calls.iter().peekable();
    for (at, (first, value)) in resolved.others.iter().enumerate() {
        let end = resolved.others.get(at + 1).map(|(next, _)| *next);
        // The first number not covered yet; none above the last number.
        let mut next = Some(*first);
        let within = |number: u32| end.is_none_or(|end| number < end);
        while let Some((number, outcome)) = calls.next_if(|(number, _)| within(*number)) {
            if let Some(gap) = next.filter(|next| next < number) {
                push(gap, Outcome::Return(*value));
            }
            push(*number, outcome.clone());
            next = number.checked_add(1);
        }
        if let Some(gap) = next.filter(|next| within(*next)) {
            push(gap, Outcome::Return(*value));
        }
    }
    all
}

/// The calls that others can be reached through.
const MULTIPLEXERS: [&str; 2] = ["socketcall", "ipc"];
const SOCKETCALL: usize = 0;
const IPC: usize = 1;

/// Which of the two calls a name can be reached through, and the number behind it.
fn behind_multiplexer(name: &str) -> Option<(usize, u32)> {
    Some(match name {
        "socket" => (SOCKETCALL, 1),
        "bind" => (SOCKETCALL, 2),
        "connect" => (SOCKETCALL, 3),
        "listen" => (SOCKETCALL, 4),
        "accept" => (SOCKETCALL, 5),
        "getsockname" => (SOCKETCALL, 6),
        "getpeername" => (SOCKETCALL, 7),
        "socketpair" => (SOCKETCALL, 8),
        "send" => (SOCKETCALL, 9),
        "recv" => (SOCKETCALL, 10),
        "sendto" => (SOCKETCALL, 11),
        "recvfrom" => (SOCKETCALL, 12),
        "shutdown" => (SOCKETCALL, 13),
        "setsockopt" => (SOCKETCALL, 14),
        "getsockopt" => (SOCKETCALL, 15),
        "sendmsg" => (SOCKETCALL, 16),
        "recvmsg" => (SOCKETCALL, 17),
        "accept4" => (SOCKETCALL, 18),
        "recvmmsg" => (SOCKETCALL, 19),
        "sendmmsg" => (SOCKETCALL, 20),
        "semop" => (IPC, 1),
        "semget" => (IPC, 2),
        "semctl" => (IPC, 3),
        "semtimedop" => (IPC, 4),
        "msgsnd" => (IPC, 11),
        "msgrcv" => (IPC, 12),
        "msgget" => (IPC, 13),
        "msgctl" => (IPC, 14),
        "shmat" => (IPC, 21),
        "shmdt" => (IPC, 22),
        "shmget" => (IPC, 23),
        "shmctl" => (IPC, 24),
        _ => return None,
    })
}

/// Adds the rules for the calls behind `socketcall` and `ipc`.
fn multiplex(
    calls: &mut Vec<(u32, Outcome)>,
    mut behind: Vec<((u32, u32), &ProfileRule<'_>)>,
    arch: Arch,
    ipc: Option<u32>,
    default: u32,
) {
    behind.sort_by_key(|(call, _)| *call);
    let mut added: Vec<(u32, Vec<Rule>)> = Vec::new();
    for group in behind.chunk_by(|one, other| one.0 == other.0) {
        let Some(((number, call), _)) = group.first() else {
            continue;
        };
        let Some(action) = action_behind(group.iter().map(|(_, rule)| *rule), default) else {
            continue;
        };
        let mask = if Some(*number) == ipc { 0xffff } else { u64::from(u32::MAX) };
        let test = Test { arg: 0, op: Op::Eq, mask, value: u64::from(*call) };
        let rule = Rule { tests: vec![test], action };
        match added.last_mut() {
            Some((last, rules)) if last == number => rules.push(rule),
            _ => added.push((*number, vec![rule])),
        }
    }
    for (number, rules) in added {
        let (wide, big_endian) = (arch.wide(), arch.big_endian());
        let chain = |rules| Outcome::Chain(Rc::new(Chain { wide, big_endian, rules }));
        match calls.binary_search_by_key(&number, |(number, _)| *number) {
            Err(at) => calls.insert(at, (number, chain(rules))),
            Ok(at) => {
                if let Some((_, outcome)) = calls.get_mut(at)
                    && let Outcome::Chain(own) = outcome
                {
                    *outcome = chain(own.rules.iter().cloned().chain(rules).collect());
                }
            }
        }
    }
}

/// The action for a call whose arguments cannot be checked.
fn action_behind<'a>(rules: impl Iterator<Item = &'a ProfileRule<'a>> + Clone, default: u32) -> Option<u32> {
    if let Some(rule) = rules.clone().find(|rule| rule.alternatives.is_empty()) {
        return Some(rule.action);
    }
    let actions = rules.map(|rule| rule.action);
    let stricter = actions.filter(|action| strictness(*action) < strictness(default));
    stricter.min_by_key(|action| strictness(*action))
}
