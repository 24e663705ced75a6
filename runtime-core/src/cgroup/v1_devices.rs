//! From one list of device rules to another on v1, without a moment in which a device that both allow is
//! denied.
//!
//! The kernel keeps a default and exceptions from it. A list of rules comes to such a state as the kernel
//! would bring it there; the difference of two states is what has to be written, what is allowed first. A
//! state that allows all by default hides its exceptions from `devices.list`.

use super::devices::{DeviceKind, DeviceRule};
use std::collections::BTreeMap;

const READ: u8 = 1;
const WRITE: u8 = 2;
const MKNOD: u8 = 4;

/// Kind (`b`, `c`), major, minor.
pub(crate) type Key = (char, Option<u32>, Option<u32>);

/// What a cgroup allows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Allowed {
    /// Whether everything is allowed but the exceptions, or nothing but them.
    by_default: bool,
    exceptions: BTreeMap<Key, u8>,
}

/// What leads from one state to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transition {
    /// Lines for `devices.allow` (true) and `devices.deny`, in order.
    pub(crate) lines: Vec<(bool, String)>,
    /// Another default: the kernel forgets the exceptions first, even to allow everything. Nobody may look
    /// until the last line is written.
    pub(crate) blind: bool,
}

impl Allowed {
    /// What the kernel makes of these rules, written one after the other.
    pub(crate) fn by(rules: &[DeviceRule]) -> Allowed {
        let mut state = Allowed::default();
        for rule in rules {
            let kind = match rule.kind {
                DeviceKind::Char => 'c',
                DeviceKind::Block => 'b',
                DeviceKind::All => {
                    state = Allowed { by_default: rule.allow, exceptions: BTreeMap::new() };
                    continue;
                }
            };
            let bits = [(rule.read, READ), (rule.write, WRITE), (rule.mknod, MKNOD)]
                .iter()
                .filter(|(set, _)| *set)
                .fold(0, |all, (_, bit)| all | bit);
            let key = (kind, rule.major, rule.minor);
            let there = state.exceptions.get(&key).copied().unwrap_or(0);
            // A rule against the default adds an exception, one with it takes away.
            let now = if rule.allow == state.by_default { there & !bits } else { there | bits };
            match now {
                0 => state.exceptions.remove(&key),
                _ => state.exceptions.insert(key, now),
            };
        }
        state
    }

    /// What is allowed, where that is a list: the node and the access of each entry.
    pub(crate) fn entries(&self) -> Option<Vec<(Key, String)>> {
        let entry = |(key, bits): (&Key, &u8)| (*key, access(*bits));
        (!self.by_default).then(|| self.exceptions.iter().map(entry).collect())
    }

    /// What `devices.list` says.
    pub(crate) fn listed(text: &str) -> Allowed {
        let mut state = Allowed::default();
        for line in text.lines() {
            let mut words = line.split([' ', ':']);
            let (Some(kind), major, minor, access) = (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            if kind == "a" {
                return Allowed { by_default: true, exceptions: BTreeMap::new() };
            }
            let number = |text: Option<&str>| text.and_then(|t| t.parse().ok());
            let bits = access.unwrap_or("").chars().fold(0, |bits, c| {
                bits | match c {
                    'r' => READ,
                    'w' => WRITE,
                    'm' => MKNOD,
                    _ => 0,
                }
            });
            let kind = if kind == "b" { 'b' } else { 'c' };
            state.exceptions.insert((kind, number(major), number(minor)), bits);
        }
        state
    }

    /// How to get from here to `target`.
    pub(crate) fn to(&self, target: &Allowed) -> Transition {
        let mut lines = Vec::new();
        let blind = self.by_default != target.by_default;
        if blind {
            lines.push((target.by_default, "a".to_owned()));
        }
        if target.by_default {
            lines.extend(target.exceptions.iter().map(|(k, b)| (false, line(k, *b))));
            return Transition { lines, blind };
        }
        let none = BTreeMap::new();
        let present = if blind { &none } else { &self.exceptions };
        let missing = |from: &BTreeMap<Key, u8>, to: &BTreeMap<Key, u8>, allow: bool| {
            let difference = |(key, bits): (&Key, &u8)| {
                let more = bits & !from.get(key).copied().unwrap_or(0);
                (more != 0).then(|| (allow, line(key, more)))
            };
            to.iter().filter_map(difference).collect::<Vec<_>>()
        };
        lines.extend(missing(present, &target.exceptions, true));
        lines.extend(missing(&target.exceptions, present, false));
        Transition { lines, blind }
    }
}

fn line(key: &Key, bits: u8) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    format!("{} {}:{} {}", key.0, number(key.1), number(key.2), access(bits))
}

fn access(bits: u8) -> String {
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    letters.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| *letter).collect()
}

#[cfg(test)]
mod tests {
    use super::super::devices;
    use super::*;

    const LIST: &str = "c *:* m\nb *:* m\nc 1:3 rwm\nc 1:8 rwm\nc 1:7 rwm\nc 5:0 rwm\nc 1:5 rwm\nc 1:9 rwm\n\
                        c 136:* rwm\nc 5:2 rwm\nc 10:200 rwm\n";

    fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, access: &str) -> DeviceRule {
        DeviceRule {
            allow,
            kind,
            major,
            minor: None,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        }
    }

    fn denied_first() -> Vec<DeviceRule> {
        let mut rules = vec![rule(false, DeviceKind::All, None, "rwm")];
        rules.extend(devices::defaults());
        rules
    }

    #[test]
    fn the_rules_in_force_again_need_no_write() {
        let present = Allowed::listed(LIST);
        assert_eq!(present, Allowed::by(&denied_first()));
        assert!(present.to(&Allowed::by(&denied_first())).lines.is_empty());
    }

    #[test]
    fn what_is_new_is_allowed_before_what_is_old_is_denied() {
        let mut rules = denied_first();
        rules.pop();
        rules.push(rule(true, DeviceKind::Block, Some(8), "r"));
        let transition = Allowed::listed(LIST).to(&Allowed::by(&rules));
        let lines = [(true, "b 8:* r"), (false, "c 10:200 rwm")].map(|(a, l)| (a, l.to_owned()));
        assert_eq!(transition.lines, lines);
        assert!(!transition.blind);
    }

    #[test]
    fn only_the_access_that_differs_is_written() {
        let mut rules = denied_first();
        rules.push(rule(false, DeviceKind::Char, Some(136), "m"));
        let transition = Allowed::listed(LIST).to(&Allowed::by(&rules));
        assert_eq!(transition.lines, [(false, "c 136:* m".to_owned())]);
    }

    #[test]
    fn another_default_is_written_in_one_line_that_nobody_may_see() {
        let all = Allowed::by(&[rule(true, DeviceKind::All, None, "rwm")]);
        let opening = Allowed::listed(LIST).to(&all);
        assert_eq!((opening.lines, opening.blind), (vec![(true, "a".to_owned())], true));
        let closing = Allowed::listed("a *:* rwm\n").to(&Allowed::by(&denied_first()));
        assert!(closing.blind);
        assert_eq!(closing.lines[0], (false, "a".to_owned()));
        assert_eq!(closing.lines.len(), 1 + devices::defaults().len());
        assert!(Allowed::listed("a *:* rwm\n").to(&all).lines.is_empty());
    }
}
