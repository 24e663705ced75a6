//! Readers of single values: booleans, numbers, sizes, durations, signals, users, sub-cgroups.
//!
//! Each is total: any text gives a value or a reason, never a panic, and no number wraps.

use std::str::FromStr;
use std::time::Duration;

use super::invocation::{SubCgroup, User};

/// The booleans of Go's flag package, which callers were written for.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A decimal number that fits its type.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "not a number in range".to_owned())
}

/// Bytes: `-1`, or a number with a unit of powers of 1024 (`32M`, `1.5GiB`, `64 kb`).
pub(super) fn size(text: &str) -> Result<i64, String> {
    let reason = || "not a size such as 64M, or -1".to_owned();
    if text == "-1" {
        return Ok(-1);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').filter(|unit| !unit.is_empty()).unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(reason()),
    };
    let factor = 1_i64 << shift;
    let bytes = match amount.split_once('.') {
        None => amount.parse::<i64>().ok().and_then(|whole| whole.checked_mul(factor)),
        Some((whole, part)) => fraction(whole, part, factor),
    };
    bytes.ok_or_else(reason)
}

/// `whole.part` times `factor`, rounded down.
fn fraction(whole: &str, part: &str, factor: i64) -> Option<i64> {
    // Nine digits are finer than any unit needs, and their product with 2^50 fits an i128.
    let part = part.get(..part.len().min(9))?;
    if part.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
    let digits = u32::try_from(part.len()).ok()?;
    let part = i128::from(part.parse::<i64>().ok()?) * i128::from(factor) / 10_i128.pow(digits);
    whole.checked_mul(factor)?.checked_add(i64::try_from(part).ok()?)
}

/// A duration as Go writes it: `5s`, `100ms`, `1m30s`, `1.5h`. Zero and less are refused.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let reason = || "not a duration such as 5s or 100ms".to_owned();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut total: i64 = 0;
    if rest != "0" {
        if rest.is_empty() {
            return Err(reason());
        }
        while !rest.is_empty() {
            let (nanoseconds, tail) = duration_term(rest).ok_or_else(reason)?;
            total = total.checked_add(nanoseconds).ok_or_else(reason)?;
            rest = tail;
        }
    }
    match u64::try_from(total) {
        Ok(nanoseconds) if nanoseconds > 0 && !negative => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err("duration interval must be greater than 0".to_owned()),
    }
}

/// One number with its unit, in nanoseconds, and what follows.
fn duration_term(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (amount, tail) = text.split_at(end);
    let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(end);
    let factor = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let nanoseconds = match amount.split_once('.') {
        None => amount.parse::<i64>().ok()?.checked_mul(factor)?,
        Some((whole, "")) => whole.parse::<i64>().ok()?.checked_mul(factor)?,
        Some((whole, part)) => fraction(whole, part, factor)?,
    };
    Some((nanoseconds, tail))
}

/// Highest real-time signal of Linux.
const SIGRTMAX: i32 = 64;
/// Lowest real-time signal a program may use; glibc keeps the two below it.
const SIGRTMIN: i32 = 34;

/// Names of the signals, without `SIG`. The numbers are those of every architecture but alpha,
/// mips, parisc and sparc, on which this program does not run.
pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", SIGRTMIN),
    ("RTMAX", SIGRTMAX),
];

/// A signal by number, or by name in any case, with or without `SIG`: `9`, `kill`, `SIGRTMIN+3`.
/// An empty text is SIGTERM.
pub(super) fn signal(text: &str) -> Result<i32, String> {
    let unknown = || format!("unknown signal {text:?}");
    let number = match text.parse::<i32>() {
        Ok(number) => number,
        Err(_) if text.is_empty() => 15,
        Err(_) => named_signal(&text.to_ascii_uppercase()).ok_or_else(unknown)?,
    };
    if (0..=SIGRTMAX).contains(&number) { Ok(number) } else { Err(unknown()) }
}

fn named_signal(upper: &str) -> Option<i32> {
    let name = upper.strip_prefix("SIG").unwrap_or(upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let number = if let Some(offset) = name.strip_prefix("RTMIN+") {
        SIGRTMIN.checked_add(offset.parse::<u8>().ok()?.into())?
    } else {
        SIGRTMAX.checked_sub(name.strip_prefix("RTMAX-")?.parse::<u8>().ok()?.into())?
    };
    (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number)
}

/// `UID` or `UID:GID`, both whole numbers: a name or half a number must not become 0.
pub(super) fn user(text: &str) -> Result<User, String> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (id(uid), Some(id(gid))),
        None => (id(text), None),
    };
    match (uid, gid) {
        (Some(uid), None) => Ok(User { uid, gid: None }),
        (Some(uid), Some(Some(gid))) => Ok(User { uid, gid: Some(gid) }),
        _ => Err(format!("invalid user {text:?}: must be UID or UID:GID in numbers")),
    }
}

/// A uid or gid. 2^32-1 means "no change" to the kernel and is not an id; `+5` is not one either.
fn id(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// `[controller[,controller]:]path`, repeated.
pub(super) fn sub_cgroups(given: &[String]) -> Result<Vec<SubCgroup>, String> {
    let mut found: Vec<SubCgroup> = Vec::new();
    for text in given {
        let parts: Vec<&str> = text.split(':').collect();
        let (controllers, path) = match parts.as_slice() {
            [path] if given.len() == 1 => (Vec::new(), *path),
            [_] => {
                return Err(format!(
                    "invalid --cgroup argument {text:?}: of several, each needs its controller"
                ));
            }
            [names, path] => (names.split(',').map(str::to_owned).collect(), *path),
            _ => {
                return Err(format!("invalid --cgroup argument {text:?}: more than one colon"));
            }
        };
        for name in &controllers {
            if found.iter().any(|other| other.controllers.contains(name)) {
                return Err(format!("invalid --cgroup argument {text:?}: {name} given twice"));
            }
        }
        found.push(SubCgroup { controllers, path: path.to_owned() });
    }
    Ok(found)
}
