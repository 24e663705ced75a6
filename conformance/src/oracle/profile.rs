//! A profile as text says it, read without the library's help, so that a mistake there is not made
//! here too.

use oxrun_conformance::{Check, Failed, check};
use serde_json::Value;

pub(super) const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// One comparison of an argument.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) index: usize,
    /// Index into [`OPERATORS`].
    pub(super) op: usize,
    pub(super) value: u64,
    pub(super) two: u64,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    /// What the filter returns.
    pub(super) action: u32,
    pub(super) tests: Vec<Test>,
}

/// A profile.
pub(super) struct Profile {
    pub(super) default: u32,
    pub(super) rules: Vec<Rule>,
}

impl Test {
    /// Whether the comparison holds; a 32-bit architecture compares low halves.
    pub(super) fn holds(&self, args: &[u64; 6], wide: bool) -> bool {
        let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
        let (got, value) = (cut(args.get(self.index).copied().unwrap_or(0)), cut(self.value));
        match OPERATORS.get(self.op) {
            Some(&"NE") => got != value,
            Some(&"LT") => got < value,
            Some(&"LE") => got <= value,
            Some(&"EQ") => got == value,
            Some(&"GE") => got >= value,
            Some(&"GT") => got > value,
            _ => got & value == self.two & value,
        }
    }
}

impl Test {
    fn is_empty(&self, wide: bool) -> bool {
        let mask = if wide { self.value } else { self.value & 0xffff_ffff };
        OPERATORS.get(self.op) == Some(&"MASKED_EQ") && mask == 0
    }
}

impl Rule {
    /// Sets of comparisons; the rule matches when all of one set hold. Two comparisons of one
    /// argument make each comparison a set of its own.
    pub(super) fn alternatives(&self) -> Vec<&[Test]> {
        let twice = |at: usize, test: &Test| self.tests.iter().skip(at + 1).any(|t| t.index == test.index);
        if self.tests.iter().enumerate().any(|(at, test)| twice(at, test)) {
            return self.tests.chunks(1).collect();
        }
        vec![&self.tests]
    }

    /// Whether the rule looks at no bit of an argument.
    pub(super) fn always(&self, wide: bool) -> bool {
        self.alternatives().iter().any(|tests| tests.iter().all(|test| test.is_empty(wide)))
    }

    /// Whether the rule matches a call of one of its names.
    pub(super) fn matches(&self, args: &[u64; 6], wide: bool) -> bool {
        self.alternatives().iter().any(|tests| tests.iter().all(|test| test.holds(args, wide)))
    }
}

impl Profile {
    /// Reads a profile.
    pub(super) fn read(text: &Value) -> Check<Self> {
        let default = action(&text["defaultAction"], &text["defaultErrnoRet"])?;
        let rules = text["syscalls"].as_array().into_iter().flatten();
        let rules = rules.map(rule).collect::<Check<Vec<Rule>>>()?;
        Ok(Self { default, rules })
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn rule(text: &Value) -> Check<Rule> {
    let tests = text["args"].as_array().into_iter().flatten().map(test).collect::<Check<Vec<Test>>>()?;
    Ok(Rule { names: strings(&text["names"]), action: action(&text["action"], &text["errnoRet"])?, tests })
}

fn test(text: &Value) -> Check<Test> {
    let index = text["index"].as_u64().ok_or("an argument without an index")?;
    check!(index < 6, "argument {index}");
    let op = text["op"].as_str().and_then(|op| op.strip_prefix("SCMP_CMP_"));
    let op = OPERATORS.iter().position(|known| Some(*known) == op).ok_or("an unknown operator")?;
    let number = |name: &str| text[name].as_u64().unwrap_or(0);
    Ok(Test { index: usize::try_from(index)?, op, value: number("value"), two: number("valueTwo") })
}

fn action(text: &Value, errno: &Value) -> Check<u32> {
    let errno = u32::try_from(errno.as_u64().unwrap_or(1))?;
    Ok(match text.as_str().and_then(|text| text.strip_prefix("SCMP_ACT_")) {
        Some("KILL" | "KILL_THREAD") => 0,
        Some("KILL_PROCESS") => 0x8000_0000,
        Some("TRAP") => 0x0003_0000,
        Some("ERRNO") => 0x0005_0000 | errno,
        Some("NOTIFY") => 0x7fc0_0000,
        Some("TRACE") => 0x7ff0_0000 | errno,
        Some("LOG") => 0x7ffc_0000,
        Some("ALLOW") => 0x7fff_0000,
        _ => return Err(Failed::from(format!("unknown action {text}"))),
    })
}
