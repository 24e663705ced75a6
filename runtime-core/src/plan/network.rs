//! The network: loopback, and devices of the host that the container gets.
//!
//! What must hold: a device goes only into a network namespace that is not the caller's, under a name that the
//! kernel takes, and no two of them under one name. What becomes of it at the container's end is the kernel's
//! matter (config-linux.md, Network Devices).

use super::Builder;
use super::action::{Action, Namespace};
use crate::bundle::escape;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The longest name of a network device in bytes, `IFNAMSIZ` less the NUL.
const LONGEST: usize = 15;

/// The steps behind those of the names of the host.
pub(super) fn network(b: &mut Builder<'_>) -> Result<()> {
    if b.namespaces.is_new(Namespace::Network) {
        b.init("/linux/namespaces", Action::Loopback);
    }
    devices(b)
}

/// In the order of their names: the map of the config has none.
fn devices(b: &mut Builder<'_>) -> Result<()> {
    const FIELD: &str = "/linux/netDevices";
    let given = b.linux().and_then(|l| l.net_devices().as_ref()).into_iter().flatten();
    let given: BTreeMap<String, Option<String>> = given
        .map(|(name, device)| (name.clone(), device.name().clone().filter(|to| !to.is_empty())))
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    if !b.namespaces.has(Namespace::Network) {
        return Err(Error::config(FIELD, "unable to move network devices without a NET namespace"));
    }
    if b.facts.rootless() {
        return Err(Error::config(FIELD, "network devices are not supported for rootless containers"));
    }
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for (name, to) in given {
        let field = format!("{FIELD}/{}", escape(&name));
        if !valid(&name, false) {
            return Err(invalid(&field, &name));
        }
        if let Some(to) = &to
            && !valid(to, true)
        {
            return Err(invalid(&format!("{field}/name"), to));
        }
        let inside = to.clone().unwrap_or_else(|| name.clone());
        if inside == "lo" && name != "lo" {
            return Err(Error::config(
                format!("{field}/name"),
                "every network namespace has a device named \"lo\" already",
            ));
        }
        if !inside.contains('%')
            && let Some(other) = taken.insert(inside.clone(), name.clone())
        {
            return Err(Error::config(
                field,
                format!("network devices {other:?} and {name:?} would both be named {inside:?}"),
            ));
        }
        b.host(field, Action::NetDevice { name, inside });
    }
    Ok(())
}

fn invalid(field: &str, name: &str) -> Error {
    Error::config(field, format!("invalid network device name {name:?}"))
        .hint("1 to 15 bytes without blanks, '/' and ':'; %d once, in a new name, stands for a free number")
}

/// What the kernel takes as a name (dev_valid_name, and for a template dev_prep_valid_name).
fn valid(name: &str, template: bool) -> bool {
    let plain = match name.split_once('%') {
        None => true,
        Some((_, rest)) => template && rest.starts_with('d') && !rest.contains('%'),
    };
    // The kernel's isspace knows the no-break space of Latin-1, a byte that UTF-8 has inside characters.
    let blank = |b: u8| matches!(b, 9..=13 | b' ' | 0xa0);
    (1..=LONGEST).contains(&name.len())
        && name != "."
        && name != ".."
        && plain
        && !name.bytes().any(|b| matches!(b, b'/' | b':' | 0) || blank(b))
}

#[cfg(test)]
mod tests {
    use super::valid;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for name in ["e", "eth0", "abcdefghijklmno", "a.b", "ä"] {
            assert!(valid(name, false) && valid(name, true), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a:1", "a b", "a\tb", "abcdefghijklmnop", "a\0", "à\u{a0}"] {
            assert!(!valid(name, true), "{name}");
        }
    }

    #[test]
    fn a_template_has_one_number() {
        for name in ["net%d", "%d", "a%db"] {
            assert!(valid(name, true) && !valid(name, false), "{name}");
        }
        for name in ["net%", "net%s", "net%d%d", "%%d"] {
            assert!(!valid(name, true), "{name}");
        }
    }
}
