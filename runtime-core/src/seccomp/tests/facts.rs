//! What a profile means beyond its text.

use super::machine::check_program;
use super::*;
use crate::seccomp::{
    FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV, SkippedName, tables,
};

const X32: u32 = 0x4000_0000;

fn allow(names: &[&str]) -> Value {
    json!([{"names": names, "action": "SCMP_ACT_ALLOW"}])
}

fn with(mut value: Value, field: &str, content: Value) -> Value {
    value[field] = content;
    value
}

#[test]
fn tables_are_sorted_and_hold_well_known_numbers() {
    for arch in Arch::ALL {
        let calls: Vec<_> = arch.calls().collect();
        assert!(calls.is_sorted_by(|one, other| one.0 < other.0), "{arch:?}");
        assert!(calls.len() > 300, "{arch:?} has {} calls", calls.len());
    }
    let number = |arch, name| tables::of(arch).number(name);
    assert_eq!(number(Arch::X86_64, "openat2"), Some(437));
    assert_eq!(number(Arch::X86, "socketcall"), Some(102));
    assert_eq!(number(Arch::X32, "readv"), Some(X32 + 515));
    assert_eq!(number(Arch::Aarch64, "execve"), Some(221));
    assert_eq!(number(Arch::Arm, "set_tls"), Some(0x000f_0005));
    assert_eq!(number(Arch::Aarch64, "open"), None);
    // What man pages and headers say of the others.
    for (arch, call, expected) in [
        (Arch::Mips, "socketcall", 4102),
        (Arch::Mipsel64, "read", 5000),
        (Arch::Mips64N32, "openat2", 6437),
        (Arch::Ppc, "execve", 11),
        (Arch::Ppc64Le, "switch_endian", 363),
        (Arch::S390, "setuid", 23),
        (Arch::S390X, "setuid", 213),
        (Arch::Parisc64, "clone", 120),
        (Arch::Riscv64, "riscv_flush_icache", 259),
        (Arch::Loongarch64, "execve", 221),
        (Arch::M68k, "cacheflush", 123),
        (Arch::Sheb, "ipc", 117),
    ] {
        assert_eq!(number(arch, call), Some(expected), "{arch:?} {call}");
    }
}

#[test]
fn names_are_found_in_any_order() {
    for arch in Arch::ALL {
        let table: Vec<_> = arch.calls().collect();
        let of = tables::of(*arch);
        let number =
            |finder: &mut tables::Finder, name: &str| finder.place(name).and_then(|place| of.at(place));
        let mut finder = tables::Finder::default();
        let mut numbers = Numbers(5);
        for _ in 0..2000 {
            let entry = numbers.pick(&table);
            assert_eq!(number(&mut finder, entry.0), Some(entry.1));
            let unknown = format!("{}_", numbers.pick(&table).0);
            assert_eq!(number(&mut finder, &unknown), None);
        }
        let mut finder = tables::Finder::default();
        assert!(table.iter().all(|entry| number(&mut finder, entry.0) == Some(entry.1)));
    }
}

#[test]
fn architectures_have_the_names_and_numbers_of_the_specification() {
    assert_eq!(Arch::ALL.len(), 23);
    for arch in Arch::ALL {
        let spec: oci_spec::runtime::Arch = serde_json::from_value(json!(arch.name())).unwrap();
        assert_eq!(Arch::from_spec(spec, Arch::X86_64), *arch);
        assert_eq!(serde_json::to_value(arch).unwrap(), json!(arch.name()));
        if *arch != Arch::X32 {
            assert_eq!(arch.audit(), spec as u32, "{arch:?}");
        }
    }
    assert_eq!(Arch::X32.audit(), Arch::X86_64.audit());
}

#[test]
fn native_is_decided_although_not_listed_and_others_kill() {
    let value = with(denying(allow(&["read"])), "architectures", json!(["SCMP_ARCH_X86"]));
    let program = program(value);
    assert_eq!(program.archs, [Arch::X86_64, Arch::X86]);
    assert_eq!(result(&program, X86_64, 0), ALLOW);
    assert_eq!(result(&program, I386, 3), ALLOW);
    assert_eq!(result(&program, AARCH64, 63), KILL_PROCESS);
}

#[test]
fn an_architecture_that_is_not_listed_kills() {
    let list = json!(["SCMP_ARCH_S390X", "SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"]);
    let program = program(with(denying(allow(&["read"])), "architectures", list));
    assert_eq!(program.archs, [Arch::X86_64, Arch::S390X]);
    assert_eq!(result(&program, Arch::S390X.audit(), 3), ALLOW);
    assert_eq!(result(&program, Arch::S390.audit(), 3), KILL_PROCESS);
}

/// One rule for the first argument of getuid, on a machine of an architecture.
fn on(arch: Arch, op: &str, value: u64, given: u64) -> u32 {
    let rule = json!([{"names": ["getuid"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 1, "value": value, "op": op}]}]);
    let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rule});
    let program = compile(&profile(document), arch).unwrap();
    check_program(&program.insns);
    let number = arch.calls().find(|(name, _)| *name == "getuid").unwrap().1;
    result_with(&program, arch.audit(), number, [0, given, 0, 0, 0, 0])
}

#[test]
fn arguments_are_compared_in_the_halves_and_order_of_each_architecture() {
    let (low, high) = (7, 7 | 1 << 40);
    for arch in Arch::ALL.iter().filter(|arch| **arch != Arch::X32) {
        assert_eq!(on(*arch, "SCMP_CMP_EQ", low, low), ALLOW, "{arch:?}");
        assert_eq!(on(*arch, "SCMP_CMP_EQ", low, 8), EPERM, "{arch:?}");
        let (equal, above) = if arch.wide() { (EPERM, ALLOW) } else { (ALLOW, EPERM) };
        assert_eq!(on(*arch, "SCMP_CMP_EQ", low, high), equal, "{arch:?}");
        assert_eq!(on(*arch, "SCMP_CMP_GT", low, high), above, "{arch:?}");
    }
    let wide: Vec<&str> = Arch::ALL.iter().filter(|arch| arch.wide()).map(|arch| arch.name()).collect();
    let names = "X86_64 AARCH64 MIPS64 MIPSEL64 PPC64 PPC64LE S390X PARISC64 RISCV64 LOONGARCH64";
    assert_eq!(wide, names.split(' ').map(|name| format!("SCMP_ARCH_{name}")).collect::<Vec<_>>());
}

#[test]
fn newer_calls_return_the_number_that_enosys_has_on_each_architecture() {
    let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": allow(&["read"])});
    for arch in Arch::ALL.iter().filter(|arch| **arch != Arch::X32) {
        let program = compile(&profile(document.clone()), *arch).unwrap();
        let expected = match arch.name() {
            name if name.contains("MIPS") => 89,
            name if name.contains("PARISC") => 251,
            _ => 38,
        };
        assert_eq!(result(&program, arch.audit(), 0x7777), 0x0005_0000 | expected, "{arch:?}");
    }
}

#[test]
fn calls_behind_others_are_found_where_an_architecture_has_those() {
    let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": allow(&["socket", "msgget"])});
    let mut with = Vec::new();
    for arch in Arch::ALL.iter().filter(|arch| **arch != Arch::X32) {
        let program = compile(&profile(document.clone()), *arch).unwrap();
        let number = |name: &str| arch.calls().find(|(call, _)| *call == name).map(|(_, number)| number);
        if let (Some(sockets), Some(ipc)) = (number("socketcall"), number("ipc")) {
            with.push(arch.name().trim_start_matches("SCMP_ARCH_"));
            let of = |number, first| result_with(&program, arch.audit(), number, [first, 0, 0, 0, 0, 0]);
            assert_eq!((of(sockets, 1), of(sockets, 2)), (ALLOW, EPERM), "{arch:?}");
            assert_eq!((of(ipc, 13), of(ipc, 0x1_000d), of(ipc, 14)), (ALLOW, ALLOW, EPERM), "{arch:?}");
        }
    }
    let expected = "X86 MIPS MIPSEL PPC PPC64 PPC64LE S390 S390X M68K SH SHEB";
    assert_eq!(with, expected.split(' ').collect::<Vec<_>>());
}

#[test]
fn x32_calls_kill_unless_listed_but_a_skipped_call_does_not() {
    let value = denying(allow(&["read", "readv", "openat2"]));
    let listed = program(value.clone());
    assert_eq!(result(&listed, X86_64, X32), ALLOW);
    assert_eq!(result(&listed, X86_64, X32 + 515), ALLOW);
    assert_eq!(result(&listed, X86_64, X32 + 19), EPERM, "the number of x86_64's readv");
    assert_eq!(result(&listed, X86_64, X32 + 516), EPERM);

    let unlisted = program(with(value, "architectures", json!([])));
    for number in [X32, X32 + 515, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe] {
        assert_eq!(result(&unlisted, X86_64, number), KILL_PROCESS);
    }
    assert_eq!(result(&unlisted, X86_64, u32::MAX), ENOSYS);
}

#[test]
fn calls_newer_than_the_newest_named_return_enosys() {
    // preadv2 has an old number on x32, though a high one.
    let program = program(denying(allow(&["read", "openat2", "preadv2"])));
    for (arch, base) in [(X86_64, 0), (X86_64, X32), (I386, 0)] {
        assert_eq!(result(&program, arch, base + 437), ALLOW);
        assert_eq!(result(&program, arch, base + 436), EPERM);
        assert_eq!(result(&program, arch, base + 438), ENOSYS);
    }
    assert_eq!(result(&program, X86_64, X32 + 511), ENOSYS);
    assert_eq!(result(&program, X86_64, X32 + 512), EPERM);
    assert_eq!(result(&program, X86_64, X32 + 546), ALLOW);
    assert_eq!(result(&program, X86_64, X32 + 548), ENOSYS);
}

#[test]
fn calls_named_by_a_dropped_rule_count_as_known() {
    let rules = json!([
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["openat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    ]);
    let program = program(denying(rules));
    assert_eq!(result(&program, X86_64, 437), EPERM);
    assert_eq!(result(&program, X86_64, 438), ENOSYS);
}

#[test]
fn private_calls_of_arm_say_nothing_about_age() {
    let value = with(denying(allow(&["openat2", "set_tls"])), "architectures", json!([]));
    let program = compile(&profile(value), Arch::Arm).unwrap();
    assert_eq!(result(&program, ARM, 438), ENOSYS);
    assert_eq!(result(&program, ARM, 0x000f_0005), ALLOW);
    assert_eq!(result(&program, ARM, 0x000f_0006), EPERM);
    assert_eq!(result(&program, ARM, 0x0010_0000), ENOSYS);
}

#[test]
fn only_default_actions_that_fail_the_call_have_the_enosys_answer() {
    let newer = |default: &str| {
        let rules = json!([{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]);
        let program = program(json!({"defaultAction": default, "syscalls": rules}));
        result(&program, X86_64, 500)
    };
    for default in ["ERRNO", "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        assert_eq!(newer(&format!("SCMP_ACT_{default}")), ENOSYS, "{default}");
    }
    assert_eq!(newer("SCMP_ACT_ALLOW"), ALLOW);
    assert_eq!(newer("SCMP_ACT_LOG"), LOG);
    assert_eq!(newer("SCMP_ACT_TRACE"), TRACE | 1);
}

#[test]
fn a_profile_that_names_nothing_of_an_architecture_has_no_newest_call() {
    let program = program(json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    assert_eq!(result(&program, X86_64, 0), EPERM);
    assert_eq!(result(&program, X86_64, 600), EPERM);
    check_program(&program.insns);
}

#[test]
fn every_action_returns_its_value() {
    let of = |action: &str| {
        let rules = json!([{"names": ["read"], "action": action}]);
        result(&program(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})), X86_64, 0)
    };
    assert_eq!(of("SCMP_ACT_KILL"), KILL_THREAD);
    assert_eq!(of("SCMP_ACT_KILL_THREAD"), KILL_THREAD);
    assert_eq!(of("SCMP_ACT_KILL_PROCESS"), KILL_PROCESS);
    assert_eq!(of("SCMP_ACT_TRAP"), TRAP);
    assert_eq!(of("SCMP_ACT_ERRNO"), EPERM);
    assert_eq!(of("SCMP_ACT_NOTIFY"), NOTIFY);
    assert_eq!(of("SCMP_ACT_TRACE"), TRACE | 1);
    assert_eq!(of("SCMP_ACT_LOG"), LOG);
    assert_eq!(of("SCMP_ACT_ALLOW"), ALLOW);
}

#[test]
fn error_numbers_are_those_of_the_profile() {
    let rules = json!([{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0},
        {"names": ["openat2"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}]);
    let program = program(with(denying(rules), "defaultErrnoRet", json!(13)));
    assert_eq!(result(&program, X86_64, 0), 0x0005_0000);
    assert_eq!(result(&program, X86_64, 1), 0x0005_000d);
    assert_eq!(result(&program, X86_64, 437), TRACE | 7);
    assert_eq!(program.default_action, "errno 13");
}

#[test]
fn a_rule_without_arguments_beats_those_with_arguments() {
    let only = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let rules = json!([
        {"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS", "args": only},
        {"names": ["read"], "action": "SCMP_ACT_LOG"},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
    ]);
    let program = program(denying(rules));
    assert_eq!(result_with(&program, X86_64, 0, [1, 0, 0, 0, 0, 0]), LOG);
}

#[test]
fn a_rule_with_the_default_result_is_dropped() {
    let only = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let rules = json!([
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": only},
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    ]);
    let program = program(denying(rules));
    assert_eq!(result_with(&program, X86_64, 0, [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(result(&program, X86_64, 0), EPERM);
}

#[test]
fn names_no_architecture_of_the_filter_has_are_skipped_and_reported() {
    let names = ["read", "no_such_call", "_llseek", "set_tls", "send"];
    let program = program(denying(allow(&names)));
    let skipped = |index: usize, name: &str| SkippedName { rule: 0, index, name: name.to_owned() };
    assert_eq!(program.skipped, [skipped(1, "no_such_call"), skipped(3, "set_tls")]);
    assert_eq!(program.skipped[0].field(), "/linux/seccomp/syscalls/0/names/1");
}

#[test]
fn socketcall_and_ipc_follow_rules_without_arguments() {
    let program = program(denying(allow(&["socket", "send", "shmat", "openat2"])));
    let on = |number, first| result_with(&program, I386, number, [first, 0, 0, 0, 0, 0]);
    assert_eq!(on(359, 0), ALLOW, "socket itself");
    assert_eq!([on(102, 1), on(102, 9), on(117, 21)], [ALLOW; 3]);
    assert_eq!([on(102, 2), on(102, 0), on(117, 22)], [EPERM; 3]);
    assert_eq!(on(117, 0x1_0015), ALLOW, "the kernel takes the high bits as a version");
    assert_eq!(result_with(&program, X86_64, 102, [1, 0, 0, 0, 0, 0]), EPERM, "getuid");
}

#[test]
fn socketcall_is_refused_when_arguments_cannot_be_checked() {
    let only = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]);
    let program = program(denying(json!([{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": only}])));
    assert_eq!(result_with(&program, I386, 359, [2, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(result_with(&program, I386, 359, [40, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(result_with(&program, I386, 102, [1, 2, 0, 0, 0, 0]), EPERM);
}

#[test]
fn socketcall_follows_the_strictest_rule_with_arguments_of_a_permissive_profile() {
    let only = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]);
    let rules = json!([
        {"names": ["socket"], "action": "SCMP_ACT_LOG", "args": only},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": only},
    ]);
    let program = program(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86"], "syscalls": rules}));
    assert_eq!(result_with(&program, I386, 102, [1, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(result_with(&program, I386, 102, [2, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn another_error_number_is_not_stricter_than_the_default_one() {
    let only = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]);
    let rules = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
        "args": only}]);
    let program = program(denying(rules));
    assert_eq!(result_with(&program, I386, 359, [40, 0, 0, 0, 0, 0]), ENOSYS);
    assert_eq!(result_with(&program, I386, 102, [1, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn a_rule_for_socketcall_itself_decides_all_calls_behind_it() {
    let rules = json!([
        {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS"},
    ]);
    let program = program(denying(rules));
    assert_eq!(result_with(&program, I386, 102, [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(result(&program, I386, 359), KILL_PROCESS);
}

#[test]
fn flags_default_to_spec_allow_and_an_empty_list_means_none() {
    let flags = |value: Value| program(value).flags;
    let base = denying(allow(&["read"]));
    let listed = |list: Value| flags(with(denying(allow(&["read"])), "flags", list));
    assert_eq!(flags(base), FLAG_SPEC_ALLOW);
    assert_eq!(listed(json!([])), 0);
    assert_eq!(listed(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), 0);
    assert_eq!(listed(json!(["SECCOMP_FILTER_FLAG_LOG"])), FLAG_LOG);
    let both = json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
    assert_eq!(listed(both), FLAG_LOG | FLAG_SPEC_ALLOW);
    assert_eq!(listed(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])), 0);
}

#[test]
fn a_rule_that_asks_an_agent_opens_a_listener() {
    let base = denying(json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]));
    let asking = program(base.clone());
    assert!(asking.notify);
    assert_eq!(asking.flags, FLAG_NEW_LISTENER | FLAG_SPEC_ALLOW);
    let killable = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    let killable = program(with(base, "flags", killable));
    assert_eq!(killable.flags, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV);
    assert!(!program(denying(allow(&["mkdir"]))).notify);
}

#[test]
fn a_program_survives_storage() {
    let program = program(denying(allow(&["read", "no_such_call"])));
    let text = serde_json::to_string(&program).unwrap();
    assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
}
