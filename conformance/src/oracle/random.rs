//! Random profiles: every action and default, every operator, rules that repeat and contradict each
//! other, names of every age and architecture.

use super::names::Names;
use super::profile::OPERATORS;
use oxrun_core::seccomp::Arch;
use serde_json::{Value, json};

const ACTIONS: [&str; 9] =
    ["ALLOW", "ERRNO", "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "TRACE", "LOG", "NOTIFY"];

/// Names of which something is special: they stand behind another call, or belong to few architectures.
const SPECIAL: [&str; 16] = [
    "socket",
    "accept",
    "send",
    "recvmmsg",
    "socketcall",
    "ipc",
    "shmat",
    "semop",
    "semtimedop",
    "msgrcv",
    "set_tls",
    "readv",
    "preadv2",
    "clone3",
    "personality",
    "no_such_call",
];

/// A deterministic source of numbers (splitmix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        // Smaller than `end`, which is a usize.
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A value of 64 bits: small, near a boundary, with one bit, or anything.
    fn word(&mut self) -> u64 {
        const NEAR: [u64; 6] = [1 << 31, 1 << 32, 1 << 63, 0x0123_4567_89ab_cdef, 40, 0xffff_ffff_0000_0000];
        match self.below(6) {
            0 | 1 => self.below(4) as u64,
            2 => self.pick(&NEAR).wrapping_add(self.below(3) as u64).wrapping_sub(1),
            3 => 1 << self.below(64),
            4 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }
}

fn args(numbers: &mut Numbers) -> Vec<Value> {
    let count = [0, 0, 0, 1, 1, 2, 3][numbers.below(7)];
    let mut args: Vec<Value> = Vec::new();
    for _ in 0..count {
        // Now and then an argument comes twice.
        let index = if numbers.below(4) == 0 { 0 } else { numbers.below(6) };
        let op = format!("SCMP_CMP_{}", numbers.pick(&OPERATORS));
        args.push(json!({"index": index, "value": numbers.word(), "valueTwo": numbers.word(), "op": op}));
    }
    args
}

fn rule(numbers: &mut Numbers, pool: &[&str]) -> Value {
    let action = *numbers.pick(&ACTIONS);
    let mut names: Vec<&str> = (0..1 + numbers.below(4)).map(|_| *numbers.pick(pool)).collect();
    if action == "NOTIFY" {
        names.retain(|name| *name != "write");
        names.push("mkdir");
    }
    let mut rule = json!({"names": names, "action": format!("SCMP_ACT_{action}")});
    if matches!(action, "ERRNO" | "TRACE") && numbers.below(2) == 0 {
        rule["errnoRet"] = json!(numbers.below(4));
    }
    let args = args(numbers);
    if !args.is_empty() {
        rule["args"] = json!(args);
    }
    rule
}

/// A profile.
pub(super) fn profile(numbers: &mut Numbers, names: &Names, native: Arch) -> Value {
    let pool: Vec<&str> = (0..24)
        .map(|at| if at % 3 == 0 { *numbers.pick(&SPECIAL) } else { numbers.pick(&names.all).as_str() })
        .collect();
    // A small pool makes rules meet.
    let size = [2, 4, 24][numbers.below(3)];
    let rules: Vec<Value> = (0..numbers.below(9)).map(|_| rule(numbers, &pool[..size])).collect();
    // libseccomp takes no architectures of different orders of bytes.
    let order = |arch: &Arch| arch.audit() & 0x4000_0000;
    let near: Vec<Arch> = names.archs.iter().copied().filter(|arch| order(arch) == order(&native)).collect();
    let archs: Vec<&str> = (0..numbers.below(4)).map(|_| numbers.pick(&near).name()).collect();
    let default = *numbers.pick(&ACTIONS[..8]);
    let listed = if numbers.below(4) == 0 { vec!["SCMP_ARCH_NATIVE"] } else { archs };
    let mut profile =
        json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": listed, "syscalls": rules});
    if default == "ERRNO" && numbers.below(3) == 0 {
        profile["defaultErrnoRet"] = json!(1 + numbers.below(40));
    }
    profile
}
