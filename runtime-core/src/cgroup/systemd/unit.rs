//! The names of scopes and slices, and where their cgroups lie (systemd.slice(5), systemd.unit(5)).

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const FIELD: &str = "/linux/cgroupsPath";

/// What stands before the container's id if the config names no unit.
const PREFIX: &str = "oxrun";

/// The longest name of a unit.
const MAX_NAME: usize = 255;

/// A scope, by whom it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unit {
    /// The scope's name.
    pub name: String,
    /// The slice it is in.
    pub slice: String,
    /// Whether it is the user's own systemd that keeps it, not the system's.
    pub user: bool,
}

impl Unit {
    /// The unit that linux.cgroupsPath names, as `slice:prefix:name`; without one it is the default of the container.
    ///
    /// # Errors
    /// If it has not three parts, or they make no names of units.
    pub fn of(path: Option<&str>, id: &str, user: bool) -> Result<Unit> {
        let path = path.unwrap_or("");
        let (slice, prefix, name) = match path.split(':').collect::<Vec<_>>().as_slice() {
            _ if path.is_empty() => ("", PREFIX, id),
            [slice, prefix, name] => (*slice, *prefix, *name),
            _ => {
                return Err(Error::config(
                    FIELD,
                    format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                    ),
                )
                .hint("\"system.slice:oxrun:web\" is the scope oxrun-web.scope; a path needs the driver cgroupfs"));
            }
        };
        if name.ends_with(".slice") {
            return Err(Error::config(FIELD, format!("a container cannot be a slice, which {name:?} names"))
                .hint("slices have no processes of their own: leave out \".slice\" in the last part"));
        }
        let slice = match (slice, user) {
            ("", false) => "system.slice",
            ("", true) => "user.slice",
            (slice, _) => slice,
        };
        let unit = Unit { name: format!("{prefix}-{name}.scope"), slice: slice.to_owned(), user };
        unit.below()?;
        match is_name(&unit.name) {
            true => Ok(unit),
            false => Err(Error::config(FIELD, format!("invalid unit name: {}", unit.name))
                .hint("a unit's name has at most 255 letters, digits and :_.-@\\")),
        }
    }

    /// The slice's directory and the unit's in it: `a-b.slice` lies in `a.slice`.
    ///
    /// # Errors
    /// If the slice's name is none.
    pub fn below(&self) -> Result<PathBuf> {
        let slice = &self.slice;
        let wrong = || {
            Error::config(FIELD, format!("invalid slice name: {slice}"))
                .hint("a slice's name ends with \".slice\", and each - in it leads one slice down")
        };
        let parts =
            slice.strip_suffix(".slice").filter(|s| !s.is_empty() && is_name(slice)).ok_or_else(wrong)?;
        let mut path = PathBuf::new();
        // The root slice, in which all others are.
        if parts != "-" {
            for (end, _) in parts.match_indices('-').chain([(parts.len(), "")]) {
                let outer = parts.get(..end).unwrap_or(parts);
                if outer.is_empty() || outer.ends_with('-') {
                    return Err(wrong());
                }
                path.push(format!("{outer}.slice"));
            }
        }
        Ok(path.join(&self.name))
    }
}

fn is_name(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b":_.\\-@".contains(&b);
    name.len() <= MAX_NAME && name.bytes().all(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> String {
        match Unit::of(Some(text), "c1", false).and_then(|u| u.below()) {
            Ok(path) => path.display().to_string(),
            Err(e) => format!("{:?}: {e}", e.field()),
        }
    }

    #[test]
    fn the_three_parts_are_a_slice_and_a_scope() {
        for (text, expected) in [
            ("", "system.slice/oxrun-c1.scope"),
            ("system.slice:docker:abc", "system.slice/docker-abc.scope"),
            (":libpod:abc", "system.slice/libpod-abc.scope"),
            ("-.slice:crio:x", "crio-x.scope"),
            (
                "kubepods-burstable-pod1_2.slice:cri-containerd:9f",
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-9f.scope",
            ),
            ("a.slice::x", "a.slice/-x.scope"),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }

    #[test]
    fn a_users_scopes_are_in_its_own_slice() {
        let unit = Unit::of(None, "c1", true).unwrap();
        assert_eq!((unit.name.as_str(), unit.slice.as_str()), ("oxrun-c1.scope", "user.slice"));
    }

    #[test]
    fn what_names_no_unit_is_refused_in_the_words_that_users_know() {
        let format =
            "expected cgroupsPath to be of format \\\"slice:prefix:name\\\" for systemd cgroups, got";
        let format = format.replace("\\\"", "\"");
        for text in ["/a/b", "a.slice:b", "a:b:c:d", "system.slice"] {
            assert!(path(text).contains(&format), "{}", path(text));
        }
        for text in [
            "a:b:c",
            ".slice:b:c",
            "a--b.slice:b:c",
            "-a.slice:b:c",
            "a-.slice:b:c",
            "a/b.slice:b:c",
            "ä.slice:b:c",
        ] {
            assert!(path(text).contains("invalid slice name: "), "{}", path(text));
        }
        for text in
            ["a.slice:b:c d", "a.slice:b/c:d", "a.slice:b:\0", &format!("a.slice:b:{}", "c".repeat(250))]
        {
            assert!(path(text).contains("invalid unit name: "), "{}", path(text));
        }
        assert!(path("a.slice:b:c.slice").contains("cannot be a slice"));
    }
}
