//! The kinds of calls that the compiler decides otherwise than libseccomp, on purpose. Each kind is a
//! statement about profile, call and both answers: a difference that no statement covers is a mistake.

use super::names::Names;
use super::profile::{Profile, Rule};
use oxrun_core::seccomp::{Arch, Call, Insn, evaluate};

/// A kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A call of an architecture that is not in the filter ends the process; libseccomp ends the thread.
    Foreign,
    /// A call newer than every named one returns ENOSYS where the default action fails it: what runc
    /// puts before libseccomp's filter.
    Newer,
    /// A call behind `socketcall` or `ipc` whose arguments a rule wants checked, which is impossible,
    /// is refused when in doubt. One behind `ipc` is also found with a version beside its number.
    Multiplexed,
    /// Of several sets of comparisons for one call the first one of the profile that matches counts.
    /// libseccomp puts all into one tree, in which the first branch taken may not lead to a set that
    /// matches.
    Overlap,
    /// One side does not know a name that the profile uses.
    Unknown,
    /// libseccomp's filter decides without having looked at the number. When the first call of an
    /// architecture, by libseccomp's priorities, is one that the architecture does not have, then its
    /// code is left out, and with it the only instruction that loads the number.
    Blind,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] =
        [Kind::Foreign, Kind::Newer, Kind::Multiplexed, Kind::Overlap, Kind::Unknown, Kind::Blind];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Foreign => "foreign",
            Kind::Newer => "newer",
            Kind::Multiplexed => "multiplexed",
            Kind::Overlap => "overlap",
            Kind::Unknown => "unknown",
            Kind::Blind => "blind",
        }
    }
}

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const X32: u32 = 0x4000_0000;

/// Calls that stand for others, with the others by the number in the first argument.
pub(super) const MULTIPLEXERS: [(&str, &[&str]); 2] = [
    (
        "socketcall",
        &[
            "",
            "socket",
            "bind",
            "connect",
            "listen",
            "accept",
            "getsockname",
            "getpeername",
            "socketpair",
            "send",
            "recv",
            "sendto",
            "recvfrom",
            "shutdown",
            "setsockopt",
            "getsockopt",
            "sendmsg",
            "recvmsg",
            "accept4",
            "recvmmsg",
            "sendmmsg",
        ],
    ),
    (
        "ipc",
        &[
            "",
            "semop",
            "semget",
            "semctl",
            "semtimedop",
            "",
            "",
            "",
            "",
            "",
            "",
            "msgsnd",
            "msgrcv",
            "msgget",
            "msgctl",
            "",
            "",
            "",
            "",
            "",
            "",
            "shmat",
            "shmdt",
            "shmget",
            "shmctl",
        ],
    ),
];

/// Whether a number of an architecture stands for other calls.
pub(super) fn multiplexed_at(names: &Names, arch: Arch, number: u32) -> bool {
    MULTIPLEXERS.iter().any(|(call, _)| names.theirs(arch, call) == Some(number))
}

/// Larger is stricter.
fn strictness(value: u32) -> Option<usize> {
    let order = [0x7fff, 0x7ffc, 0x7ff0, 0x7fc0, 0x0005, 0x0003, 0x0000, 0x8000];
    order.iter().position(|action| *action == value >> 16)
}

/// What the kinds are judged by.
pub(super) struct Judge<'a> {
    pub(super) profile: &'a Profile,
    pub(super) names: &'a Names,
    /// The architectures of the filter.
    pub(super) archs: &'a [Arch],
}

impl Judge<'_> {
    /// What the profile says about a call, read word by word.
    pub(super) fn meant(&self, call: &Call) -> u32 {
        let Some(arch) = self.arch(call) else {
            return KILL_PROCESS;
        };
        let named = self.names.ours.get(&arch).into_iter().flatten().filter(|(_, n)| **n == call.number);
        let rules = self.rules(&named.map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let always = rules.iter().find(|rule| rule.always(wide(arch)));
        if let Some(rule) = always.or_else(|| rules.iter().find(|rule| rule.matches(&call.args, wide(arch))))
        {
            return rule.action;
        }
        if let Some((rules, _)) = self.behind(arch, call) {
            let action = self.unchecked(&rules);
            if action != self.profile.default {
                return action;
            }
        }
        if self.is_newer(arch, call) { ERRNO | arch.enosys() } else { self.profile.default }
    }

    /// The kind of a difference, if it is one that is meant. `filter` is theirs.
    pub(super) fn kind(&self, call: &Call, theirs: u32, filter: &[Insn]) -> Option<Kind> {
        let Some(arch) = self.arch(call) else {
            return (theirs == KILL_THREAD).then_some(Kind::Foreign);
        };
        if theirs == self.profile.default
            && self.meant(call) == ERRNO | arch.enosys()
            && self.is_newer(arch, call)
        {
            return Some(Kind::Newer);
        }
        if self.of_one_side(arch, call.number) {
            return Some(Kind::Unknown);
        }
        if !looks_at_number(filter, call) {
            return Some(Kind::Blind);
        }
        if self.multiplexed(arch, call, theirs) {
            return Some(Kind::Multiplexed);
        }
        self.overlap(arch, call, theirs).then_some(Kind::Overlap)
    }

    /// Whether the answer to an unnamed call is ENOSYS.
    fn is_newer(&self, arch: Arch, call: &Call) -> bool {
        strictness(self.profile.default) >= Some(4) && self.newer(arch, call.number)
    }

    /// Whether a number is above all that the profile names. Private numbers say nothing about the age
    /// of a call, unless the profile names nothing else.
    fn newer(&self, arch: Arch, number: u32) -> bool {
        let named = self.profile.rules.iter().flat_map(|rule| &rule.names);
        let direct = named.clone().filter_map(|name| self.names.ours(arch, name));
        let behind = named.flat_map(|name| {
            let of = MULTIPLEXERS.iter().filter(move |(_, all)| all.contains(&name.as_str()));
            of.filter_map(|(call, _)| self.names.ours(arch, call))
        });
        let numbers: Vec<u32> = direct.chain(behind).collect();
        match numbers.iter().filter(|number| !private(arch, **number)).max() {
            Some(newest) => number > *newest && !private(arch, number),
            None => numbers.iter().max().is_some_and(|newest| number > *newest),
        }
    }

    /// Whose call it is.
    pub(super) fn arch(&self, call: &Call) -> Option<Arch> {
        let of = |arch: &&Arch| arch.audit() == call.arch;
        // Number -1 is a call that a tracer skips.
        let skipped = call.number == u32::MAX && !self.archs.contains(&Arch::X32);
        let x32 = call.number >= X32 && !skipped;
        let fits = |arch: &&Arch| match **arch {
            Arch::X32 => x32,
            Arch::X86_64 => !x32,
            _ => true,
        };
        self.archs.iter().filter(of).find(fits).copied()
    }

    /// Whether a name of the profile gives this number on one side only.
    fn of_one_side(&self, arch: Arch, number: u32) -> bool {
        self.profile.rules.iter().flat_map(|rule| &rule.names).any(|name| {
            let (ours, theirs) = (self.names.ours(arch, name), self.names.theirs(arch, name));
            ours != theirs && (ours == Some(number) || theirs == Some(number))
        })
    }

    /// Rules for some names that differ from the default action.
    fn rules(&self, wanted: &[&str]) -> Vec<&Rule> {
        let named = |rule: &&Rule| rule.names.iter().any(|name| wanted.contains(&name.as_str()));
        let differs = |rule: &&Rule| rule.action != self.profile.default;
        self.profile.rules.iter().filter(named).filter(differs).collect()
    }

    /// The rules for the call that stands behind this one, and the bits beside its number.
    fn behind(&self, arch: Arch, call: &Call) -> Option<(Vec<&Rule>, usize)> {
        let is = |name: &str| self.names.theirs(arch, name) == Some(call.number);
        let (name, all) = MULTIPLEXERS.iter().find(|(name, _)| is(name))?;
        // The kernel takes the low half, of which ipc's number is the low half again.
        let bits = if *name == "ipc" { 16 } else { 32 };
        let (first, beside) = ((call.args[0] & ((1 << bits) - 1)) as usize, (call.args[0] >> bits) as usize);
        let behind = all.get(first).filter(|name| !name.is_empty())?;
        Some((self.rules(&[behind]), beside))
    }

    /// What rules lead to when no argument can be looked at: the one without arguments, or the
    /// strictest that is stricter than the default action.
    fn unchecked(&self, rules: &[&Rule]) -> u32 {
        if let Some(rule) = rules.iter().find(|rule| rule.tests.is_empty()) {
            return rule.action;
        }
        let default = self.profile.default;
        let stricter = rules.iter().map(|rule| rule.action).filter(|a| strictness(*a) > strictness(default));
        stricter.max_by_key(|action| strictness(*action)).unwrap_or(default)
    }

    /// libseccomp applies one of the rules behind, or none: it ignores those with arguments, or it
    /// compares the version as well.
    fn multiplexed(&self, arch: Arch, call: &Call, theirs: u32) -> bool {
        let default = self.profile.default;
        let Some((rules, version)) = self.behind(arch, call) else {
            return false;
        };
        if rules.iter().any(|rule| rule.tests.is_empty()) {
            return version != 0 && theirs == default;
        }
        theirs == default || rules.iter().any(|rule| rule.action == theirs)
    }

    /// The profile has several sets of comparisons for the call; libseccomp's answer is the action of
    /// one of them, or the default action.
    fn overlap(&self, arch: Arch, call: &Call, theirs: u32) -> bool {
        let numbers = self.names.theirs.get(&arch).into_iter().flatten();
        let names: Vec<&str> = numbers.filter(|(_, n)| **n == call.number).map(|(n, _)| n.as_str()).collect();
        let mut rules = self.rules(&names);
        rules.extend(self.behind(arch, call).into_iter().flat_map(|(rules, _)| rules));
        let named = theirs == self.profile.default || rules.iter().any(|rule| rule.action == theirs);
        rules.iter().map(|rule| rule.alternatives().len()).sum::<usize>() > 1 && named
    }
}

/// Numbers that say nothing about the age of a call.
fn private(arch: Arch, number: u32) -> bool {
    match arch {
        Arch::X32 => (X32 + 512..X32 + 548).contains(&number),
        Arch::Arm => number >> 16 == 0xf,
        _ => false,
    }
}

/// Whether a filter loads the number on its way to a decision.
fn looks_at_number(filter: &[Insn], call: &Call) -> bool {
    let loads = filter.iter().enumerate().filter(|(_, insn)| insn.code == 0x20 && insn.k == 0);
    // A program without the loads of the number ends at them without a decision.
    let mut without = filter.to_vec();
    for (at, _) in loads {
        without[at].code = 0;
    }
    evaluate(&without, call).is_none()
}

/// Whether arguments have 64 bits.
fn wide(arch: Arch) -> bool {
    arch.wide()
}
