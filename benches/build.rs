//! Compiles the seccomp profile in `data/` into the fixed cBPF program that `oxrun-floor` loads.
//!
//! What must hold: for each number of x86_64, i386 and x32 the program answers as the profile says
//! (`tests/floor_filter.rs` interprets it for all of them). The program is a binary search over
//! ranges of numbers, so that the kernel needs few steps for each number when it loads it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use serde_json::Value;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

const LD_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const JEQ_K: u16 = 0x15;
const JGE_K: u16 = 0x35;
const RET_K: u16 = 0x06;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Insn = (u16, u8, u8, u32);

/// What the filter does with one number.
#[derive(Clone, PartialEq)]
enum Action {
    Return(u32),
    /// Allowed if any of these holds.
    AllowIf(Vec<Condition>),
}

#[derive(Clone, PartialEq)]
struct Condition {
    index: u32,
    mask: u64,
    value: u64,
    equal: bool,
}

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=data");
    let data = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("data");
    let profile: Value =
        serde_json::from_str(&fs::read_to_string(data.join("containerd-default.seccomp.json"))?)?;
    let table = fs::read_to_string(data.join("syscalls-x86.csv"))?;
    let actions = actions_by_name(&profile)?;

    let (mut native, mut i386) = (BTreeMap::new(), BTreeMap::new());
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split(',').collect();
        let [name, x86_64, x86, x32] = columns.as_slice() else {
            return Err(format!("syscalls-x86.csv: {line}").into());
        };
        let Some(action) = actions.get(*name) else {
            continue;
        };
        for (column, bit) in [(x86_64, 0), (x32, X32_BIT)] {
            if !column.is_empty() {
                native.insert(column.parse::<u32>()? | bit, action.clone());
            }
        }
        if !x86.is_empty() {
            i386.insert(x86.parse()?, action.clone());
        }
    }
    let program = program(&native, &i386)?;
    let mut text = format!(
        "/// containerd's default profile. Each word is a `sock_filter`: code, jt << 16, jf << 24, k << 32.\n\
         static FILTER: [u64; {}] = [\n",
        program.len()
    );
    for (code, jt, jf, k) in &program {
        let word = u64::from(*code) | u64::from(*jt) << 16 | u64::from(*jf) << 24 | u64::from(*k) << 32;
        writeln!(text, "    {word:#018x},")?;
    }
    text.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("filter.rs"), text)?;
    Ok(())
}

/// Folds the rules of the profile into one action per name.
fn actions_by_name(profile: &Value) -> Result<BTreeMap<String, Action>> {
    let mut actions: BTreeMap<String, Action> = BTreeMap::new();
    for rule in profile["syscalls"].as_array().ok_or("no syscalls")? {
        let action = match (rule["action"].as_str(), rule["args"].as_array()) {
            (Some("SCMP_ACT_ALLOW"), None) => Action::Return(RET_ALLOW),
            (Some("SCMP_ACT_ALLOW"), Some(args)) => {
                let [arg] = args.as_slice() else {
                    return Err("one argument per rule".into());
                };
                Action::AllowIf(vec![condition(arg)?])
            }
            (Some("SCMP_ACT_ERRNO"), None) => {
                let errno = rule["errnoRet"].as_u64().unwrap_or(1);
                Action::Return(RET_ERRNO | u32::try_from(errno)?)
            }
            other => return Err(format!("rule {other:?} is not handled").into()),
        };
        for name in rule["names"].as_array().ok_or("no names")? {
            let name = name.as_str().ok_or("name")?;
            match (actions.get_mut(name), &action) {
                (Some(Action::AllowIf(all)), Action::AllowIf(more)) => all.extend(more.clone()),
                (Some(_), _) => return Err(format!("{name}: two different rules").into()),
                (None, _) => {
                    actions.insert(name.to_owned(), action.clone());
                }
            }
        }
    }
    Ok(actions)
}

fn condition(arg: &Value) -> Result<Condition> {
    let index = u32::try_from(arg["index"].as_u64().ok_or("index")?)?;
    let value = arg["value"].as_u64().ok_or("value")?;
    let two = arg["valueTwo"].as_u64().unwrap_or(0);
    Ok(match arg["op"].as_str() {
        Some("SCMP_CMP_EQ") => Condition { index, mask: u64::MAX, value, equal: true },
        Some("SCMP_CMP_NE") => Condition { index, mask: u64::MAX, value, equal: false },
        Some("SCMP_CMP_MASKED_EQ") => Condition { index, mask: value, value: two, equal: true },
        other => return Err(format!("operator {other:?} is not handled").into()),
    })
}

fn program(native: &BTreeMap<u32, Action>, i386: &BTreeMap<u32, Action>) -> Result<Vec<Insn>> {
    let mut out = vec![(LD_ABS, 0, 0, 4)];
    let body = branch(native)?;
    out.push((JEQ_K, 1, 0, AUDIT_ARCH_X86_64));
    out.push((JA, 0, 0, u32::try_from(body.len())?));
    out.extend(body);
    // The accumulator still holds the architecture: nothing was loaded on this way.
    out.push((JEQ_K, 1, 0, AUDIT_ARCH_I386));
    out.push((RET_K, 0, 0, RET_KILL_PROCESS));
    out.extend(branch(i386)?);
    Ok(out)
}

/// Loads the number and searches it.
fn branch(map: &BTreeMap<u32, Action>) -> Result<Vec<Insn>> {
    let mut ranges: Vec<(u32, Action)> = Vec::new();
    let mut add = |start: u32, action: &Action| match ranges.last_mut() {
        Some((_, last)) if last == action => {}
        Some((last_start, last)) if *last_start == start => *last = action.clone(),
        _ => ranges.push((start, action.clone())),
    };
    let denied = Action::Return(RET_ERRNO | 1);
    add(0, &denied);
    for (number, action) in map {
        add(*number, action);
        if !map.contains_key(&(number + 1)) {
            add(number + 1, &denied);
        }
    }
    let mut out = vec![(LD_ABS, 0, 0, 0)];
    out.extend(tree(&ranges)?);
    Ok(out)
}

fn tree(ranges: &[(u32, Action)]) -> Result<Vec<Insn>> {
    if let [(_, action)] = ranges {
        return leaf(action);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (left, right) = (tree(low)?, tree(high)?);
    let mut out = match u8::try_from(left.len()) {
        Ok(jump) => vec![(JGE_K, jump, 0, high[0].0)],
        Err(_) => vec![(JGE_K, 0, 1, high[0].0), (JA, 0, 0, u32::try_from(left.len())?)],
    };
    out.extend(left);
    out.extend(right);
    Ok(out)
}

fn leaf(action: &Action) -> Result<Vec<Insn>> {
    let conditions = match action {
        Action::Return(value) => return Ok(vec![(RET_K, 0, 0, *value)]),
        Action::AllowIf(conditions) => conditions,
    };
    let mut out = Vec::new();
    for condition in conditions {
        // Two tests of 32 bits; `allow` is the last of this group, what follows it is "try the next".
        let (low, high) = ((condition.value & 0xffff_ffff) as u32, (condition.value >> 32) as u32);
        let (mask_low, mask_high) = ((condition.mask & 0xffff_ffff) as u32, (condition.mask >> 32) as u32);
        let mut low_half = vec![(LD_ABS, 0, 0, 16 + 8 * condition.index)];
        if mask_low != u32::MAX {
            low_half.push((AND_K, 0, 0, mask_low));
        }
        low_half.push(if condition.equal { (JEQ_K, 0, 1, low) } else { (JEQ_K, 1, 0, low) });
        low_half.push((RET_K, 0, 0, RET_ALLOW));
        if mask_high != 0 {
            out.push((LD_ABS, 0, 0, 20 + 8 * condition.index));
            if mask_high != u32::MAX {
                out.push((AND_K, 0, 0, mask_high));
            }
            let rest = u8::try_from(low_half.len())?;
            // A high half that differs decides alone: "equal" fails, "not equal" holds.
            out.push((JEQ_K, 0, if condition.equal { rest } else { rest - 1 }, high));
        }
        out.extend(low_half);
    }
    out.push((RET_K, 0, 0, RET_ERRNO | 1));
    Ok(out)
}
