//! A plain reading of a profile: looks at one call at a time and shares nothing with the
//! compiler but the tables of system calls.

use std::cell::RefCell;
use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use super::machine::Call;
use super::{AARCH64, ARM, I386, X86_64};
use crate::seccomp::Arch;

const KILL_PROCESS: u32 = 0x8000_0000;
const X32: u32 = 0x4000_0000;

/// Who has the two calls that others are behind, by the same numbers.
const MULTIPLEXED: [Arch; 2] = [Arch::X86, Arch::S390X];
const SOCKETCALLS: [&str; 21] = [
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
];
const IPCS: [&str; 25] = [
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
];

/// Answers what a profile says about calls.
pub(super) struct Reference<'a> {
    native: Arch,
    listed: Vec<String>,
    default: u32,
    /// Rules by name, in the order of the profile.
    rules: HashMap<&'a str, Vec<(usize, &'a LinuxSyscall)>>,
    named: RefCell<HashMap<Arch, Vec<u32>>>,
}

impl<'a> Reference<'a> {
    pub(super) fn new(profile: &'a LinuxSeccomp, native: Arch) -> Self {
        let listed = profile.architectures().iter().flatten().map(ToString::to_string);
        let mut rules: HashMap<&str, Vec<(usize, &LinuxSyscall)>> = HashMap::new();
        for (at, rule) in profile.syscalls().iter().flatten().enumerate() {
            for name in rule.names() {
                rules.entry(name).or_default().push((at, rule));
            }
        }
        let default = value(profile.default_action(), profile.default_errno_ret());
        Self { native, listed: listed.collect(), default, rules, named: RefCell::default() }
    }

    /// What becomes of a call.
    pub(super) fn decide(&self, call: &Call) -> u32 {
        let Some(arch) = self.arch_of(call) else {
            return KILL_PROCESS;
        };
        let wide = arch.wide();
        let mut own = Vec::new();
        for entry in arch.calls().filter(|entry| entry.1 == call.number) {
            own.extend(self.effective(entry.0));
        }
        own.sort_by_key(|(at, _)| *at);
        let always = own.iter().find(|(_, rule)| no_args(rule) || always_holds(rule, wide));
        if let Some((_, rule)) = always.or_else(|| own.iter().find(|(_, rule)| matches(rule, call, wide))) {
            return value(rule.action(), rule.errno_ret());
        }
        if MULTIPLEXED.contains(&arch)
            && let Some(action) = self.behind(call)
        {
            return action;
        }
        if fails(self.default) && self.newer_than_named(arch, call.number) {
            return 0x0005_0026;
        }
        self.default
    }

    /// Rules for a name that differ from the default action.
    fn effective(&self, name: &str) -> Vec<(usize, &'a LinuxSyscall)> {
        let mut rules = self.rules.get(name).cloned().unwrap_or_default();
        rules.retain(|(_, rule)| value(rule.action(), rule.errno_ret()) != self.default);
        rules
    }

    /// What becomes of a call behind socketcall or ipc.
    fn behind(&self, call: &Call) -> Option<u32> {
        let name = match call.number {
            102 => SOCKETCALLS.get(call.args[0] as u32 as usize)?,
            117 => IPCS.get((call.args[0] & 0xffff) as usize)?,
            _ => return None,
        };
        let rules = self.effective(name);
        if let Some((_, rule)) = rules.iter().find(|(_, rule)| no_args(rule)) {
            return Some(value(rule.action(), rule.errno_ret()));
        }
        let mut strictest = self.default;
        for (_, rule) in rules {
            let action = value(rule.action(), rule.errno_ret());
            if severity(action) > severity(strictest) {
                strictest = action;
            }
        }
        (strictest != self.default).then_some(strictest)
    }

    fn arch_of(&self, call: &Call) -> Option<Arch> {
        let has = |arch: Arch| arch == self.native || self.listed.iter().any(|l| l == arch.name());
        let arch = match call.arch {
            X86_64 if call.number == u32::MAX && !has(Arch::X32) => Arch::X86_64,
            X86_64 if call.number & 0xc000_0000 != 0 => Arch::X32,
            X86_64 => Arch::X86_64,
            I386 => Arch::X86,
            AARCH64 => Arch::Aarch64,
            0x8000_0016 => Arch::S390X,
            ARM => Arch::Arm,
            _ => return None,
        };
        has(arch).then_some(arch)
    }

    fn newer_than_named(&self, arch: Arch, number: u32) -> bool {
        let special = |number: u32| match arch {
            Arch::X32 => (X32 + 512..X32 + 548).contains(&number),
            Arch::Arm => number >> 16 == 0xf,
            _ => false,
        };
        let mut known = self.named.borrow_mut();
        let numbers = known.entry(arch).or_insert_with(|| self.named_numbers(arch));
        match numbers.iter().filter(|number| !special(**number)).max() {
            Some(newest) => number > *newest && !special(number),
            None => numbers.iter().max().is_some_and(|newest| number > *newest),
        }
    }

    /// Every number that the profile names on an architecture with a table, and its neighbours.
    #[cfg(fuzzing)]
    pub(super) fn near(&self) -> Vec<u32> {
        let archs = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];
        let named = archs.into_iter().flat_map(|arch| self.named_numbers(arch)).chain([
            0,
            511,
            0x4000_0000,
            u32::MAX,
        ]);
        let mut all: Vec<u32> = named.flat_map(|n| [n.wrapping_sub(1), n, n.wrapping_add(1)]).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(300);
        all
    }

    /// Every number that the profile names.
    fn named_numbers(&self, arch: Arch) -> Vec<u32> {
        let named = |name: &str| MULTIPLEXED.contains(&arch) && self.rules.contains_key(name);
        let table = arch.calls();
        let table = table.filter(|entry| self.rules.contains_key(entry.0)).map(|entry| entry.1);
        let sockets = SOCKETCALLS.iter().filter(|name| named(name)).map(|_| 102);
        let ipcs = IPCS.iter().filter(|name| named(name)).map(|_| 117);
        table.chain(sockets).chain(ipcs).collect()
    }
}

fn no_args(rule: &LinuxSyscall) -> bool {
    rule.args().as_ref().is_none_or(Vec::is_empty)
}

/// Whether the comparisons look at no bit.
fn always_holds(rule: &LinuxSyscall, wide: bool) -> bool {
    let args = rule.args().as_deref().unwrap_or_default();
    let empty = |arg: &LinuxSeccompArg| {
        let mask = if wide { arg.value() } else { arg.value() & 0xffff_ffff };
        arg.op() == Operator::ScmpCmpMaskedEq && mask == 0
    };
    let twice = args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|a| a.index() == arg.index()));
    if twice { args.iter().any(empty) } else { args.iter().all(empty) }
}

fn matches(rule: &LinuxSyscall, call: &Call, wide: bool) -> bool {
    let args = rule.args().as_ref().unwrap();
    let mut seen = [0; 6];
    args.iter().for_each(|arg| seen[arg.index()] += 1);
    if seen.iter().any(|times| *times > 1) {
        return args.iter().any(|arg| holds(arg, call, wide));
    }
    args.iter().all(|arg| holds(arg, call, wide))
}

fn holds(arg: &LinuxSeccompArg, call: &Call, wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let (got, value) = (cut(call.args[arg.index()]), cut(arg.value()));
    match arg.op() {
        Operator::ScmpCmpNe => got != value,
        Operator::ScmpCmpLt => got < value,
        Operator::ScmpCmpLe => got <= value,
        Operator::ScmpCmpEq => got == value,
        Operator::ScmpCmpGe => got >= value,
        Operator::ScmpCmpGt => got > value,
        Operator::ScmpCmpMaskedEq => got & value == arg.value_two().unwrap_or(0) & value,
    }
}

fn value(action: Action, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(1);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => KILL_PROCESS,
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActErrno => 0x0005_0000 + errno,
        Action::ScmpActNotify => 0x7fc0_0000,
        Action::ScmpActTrace => 0x7ff0_0000 + errno,
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActAllow => 0x7fff_0000,
    }
}

/// Larger is stricter.
fn severity(value: u32) -> u32 {
    let order = [0x7fff, 0x7ffc, 0x7ff0, 0x7fc0, 0x0005, 0x0003, 0x0000, 0x8000];
    order.iter().position(|action| *action == value >> 16).unwrap() as u32
}

fn fails(default: u32) -> bool {
    severity(default) >= 4
}
