//! Reads a profile: every rule is valid afterwards, its action is the value the filter returns,
//! and its arguments are alternatives of comparisons that must all hold.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::SeccompError;

/// `SECCOMP_RET_KILL_PROCESS`
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_KILL_THREAD`
pub(super) const KILL_THREAD: u32 = 0;
/// `SECCOMP_RET_TRAP`
pub(super) const TRAP: u32 = 0x0003_0000;
/// `SECCOMP_RET_ERRNO`
pub(super) const ERRNO: u32 = 0x0005_0000;
/// `SECCOMP_RET_USER_NOTIF`
pub(super) const USER_NOTIF: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_TRACE`
pub(super) const TRACE: u32 = 0x7ff0_0000;
/// `SECCOMP_RET_LOG`
pub(super) const LOG: u32 = 0x7ffc_0000;
/// `SECCOMP_RET_ALLOW`
pub(super) const ALLOW: u32 = 0x7fff_0000;

const EPERM: u32 = 1;
/// The largest error number the kernel passes on.
const MAX_ERRNO: u32 = 4095;
/// A tracer gets 16 bits.
const MAX_TRACE: u32 = 0xffff;

/// How an argument, after its mask, compares with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Ge,
    Gt,
}

/// One comparison. A mask other than all bits occurs with [`Op::Eq`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) arg: u8,
    pub(super) op: Op,
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// One rule of the profile.
pub(super) struct ProfileRule<'a> {
    pub(super) names: &'a [String],
    /// The value the filter returns.
    pub(super) action: u32,
    /// The rule matches when all comparisons of one alternative hold. None: it always matches.
    pub(super) alternatives: Vec<Vec<Test>>,
}

/// A valid profile.
pub(super) struct Profile<'a> {
    /// The value the filter returns when no rule matches.
    pub(super) default: u32,
    pub(super) rules: Vec<ProfileRule<'a>>,
}

/// Reads and checks a profile.
pub(super) fn parse(profile: &LinuxSeccomp) -> Result<Profile<'_>, SeccompError> {
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(SeccompError::NotifyDefault);
    }
    let default = action(profile.default_action(), profile.default_errno_ret(), None)?;
    let rules = profile.syscalls().iter().flatten().enumerate();
    let rules = rules.map(|(at, rule)| parse_rule(at, rule)).collect::<Result<_, _>>()?;
    Ok(Profile { default, rules })
}

fn parse_rule(rule: usize, syscall: &LinuxSyscall) -> Result<ProfileRule<'_>, SeccompError> {
    let names = syscall.names();
    if names.is_empty() {
        return Err(SeccompError::NoNames { rule });
    }
    if let Some(index) = names.iter().position(String::is_empty) {
        return Err(SeccompError::EmptyName { rule, index });
    }
    if syscall.action() == LinuxSeccompAction::ScmpActNotify
        && let Some(index) = names.iter().position(|name| name == "write")
    {
        return Err(SeccompError::NotifyWrite { rule, index });
    }
    let action = action(syscall.action(), syscall.errno_ret(), Some(rule))?;
    let args = syscall.args().as_deref().unwrap_or_default();
    let tests = args.iter().enumerate().map(|(arg, spec)| parse_test(rule, arg, spec));
    let tests = tests.collect::<Result<Vec<_>, _>>()?;

    let twice = tests
        .iter()
        .enumerate()
        .any(|(at, test)| tests.iter().skip(at + 1).any(|other| other.arg == test.arg));
    let alternatives = match tests.is_empty() {
        true => Vec::new(),
        false if twice => tests.into_iter().map(|test| vec![test]).collect(),
        false => vec![tests],
    };
    Ok(ProfileRule { names, action, alternatives })
}

fn parse_test(rule: usize, arg: usize, spec: &LinuxSeccompArg) -> Result<Test, SeccompError> {
    let value = spec.index();
    let index = match u8::try_from(value) {
        Ok(index) if index < 6 => index,
        _ => return Err(SeccompError::ArgIndex { rule, arg, value }),
    };
    let (op, mask, value) = match spec.op() {
        LinuxSeccompOperator::ScmpCmpNe => (Op::Ne, u64::MAX, spec.value()),
        LinuxSeccompOperator::ScmpCmpLt => (Op::Lt, u64::MAX, spec.value()),
        LinuxSeccompOperator::ScmpCmpLe => (Op::Le, u64::MAX, spec.value()),
        LinuxSeccompOperator::ScmpCmpEq => (Op::Eq, u64::MAX, spec.value()),
        LinuxSeccompOperator::ScmpCmpGe => (Op::Ge, u64::MAX, spec.value()),
        LinuxSeccompOperator::ScmpCmpGt => (Op::Gt, u64::MAX, spec.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let mask = spec.value();
            (Op::Eq, mask, spec.value_two().unwrap_or_default() & mask)
        }
    };
    Ok(Test { arg: index, op, mask, value })
}

/// The value the filter returns for an action.
fn action(action: LinuxSeccompAction, errno: Option<u32>, rule: Option<usize>) -> Result<u32, SeccompError> {
    let with_data = |base: u32, limit: u32| match errno.unwrap_or(EPERM) {
        value if value > limit => {
            Err(SeccompError::ErrnoTooLarge { rule, action: action.to_string(), value, limit })
        }
        value => Ok(base | value),
    };
    let plain = match action {
        LinuxSeccompAction::ScmpActErrno => return with_data(ERRNO, MAX_ERRNO),
        LinuxSeccompAction::ScmpActTrace => return with_data(TRACE, MAX_TRACE),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => TRAP,
        LinuxSeccompAction::ScmpActNotify => USER_NOTIF,
        LinuxSeccompAction::ScmpActLog => LOG,
        LinuxSeccompAction::ScmpActAllow => ALLOW,
    };
    match errno {
        Some(_) => Err(SeccompError::ErrnoNotTaken { rule, action: action.to_string() }),
        None => Ok(plain),
    }
}

/// An action in words.
pub(super) fn in_words(action: LinuxSeccompAction, value: u32) -> String {
    let data = value & 0xffff;
    match action {
        LinuxSeccompAction::ScmpActErrno => format!("errno {data}"),
        LinuxSeccompAction::ScmpActTrace => format!("trace {data}"),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => "kill thread".to_owned(),
        LinuxSeccompAction::ScmpActKillProcess => "kill process".to_owned(),
        LinuxSeccompAction::ScmpActTrap => "trap".to_owned(),
        LinuxSeccompAction::ScmpActNotify => "notify".to_owned(),
        LinuxSeccompAction::ScmpActLog => "log".to_owned(),
        LinuxSeccompAction::ScmpActAllow => "allow".to_owned(),
    }
}

/// The kernel's order of actions: of two, the stricter one has the smaller value.
pub(super) fn strictness(value: u32) -> i32 {
    (value & 0xffff_0000).cast_signed()
}
