//! Where the state of containers is kept.
//!
//! Every call about one container must come to the same directory, so the rule is a pure function
//! of the caller's identity and environment. Under an engine in a user namespace the uid is 0:
//! "not root" cannot be told from the uid alone.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// Where the state is kept if nothing speaks for another place.
pub(crate) const DEFAULT: &str = "/run/oxrun";

/// What the rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RootFacts<'a> {
    /// Effective uid of the caller, in its own user namespace.
    pub(crate) euid: u32,
    /// The caller is not in the first user namespace.
    pub(crate) in_user_namespace: bool,
    /// `$XDG_RUNTIME_DIR`; empty counts as unset.
    pub(crate) xdg_runtime_dir: Option<&'a OsStr>,
    /// `$USER`.
    pub(crate) user: Option<&'a OsStr>,
}

/// The directory that holds one directory per container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateRoot {
    /// Where it is, absolute.
    pub(crate) path: PathBuf,
    /// It is in the caller's runtime directory, which services prune of old files: the sticky bit
    /// keeps them away.
    pub(crate) sticky: bool,
    /// The caller named it. One that is missing is then an error, not an empty list.
    pub(crate) given: bool,
}

/// The root of a caller that gave none.
pub(crate) fn default_root(facts: &RootFacts<'_>) -> StateRoot {
    let not_really_root =
        facts.euid != 0 || facts.in_user_namespace && facts.user.is_none_or(|user| user != "root");
    match facts.xdg_runtime_dir {
        Some(dir) if !dir.is_empty() && not_really_root => {
            StateRoot { path: Path::new(dir).join("oxrun"), sticky: true, given: false }
        }
        _ => StateRoot { path: PathBuf::from(DEFAULT), sticky: false, given: false },
    }
}

/// The root for one call: `given` with `--root`, or the default. Relative paths are below `cwd`.
pub(super) fn choose(given: Option<&Path>, facts: &RootFacts<'_>, cwd: &Path) -> Result<StateRoot, String> {
    let mut root = match given {
        Some(path) => StateRoot { path: path.to_owned(), sticky: false, given: true },
        None => default_root(facts),
    };
    root.path = cwd.join(&root.path);
    if is_slash(&root.path) {
        return Err("Option --root argument should not be set to /".to_owned());
    }
    Ok(root)
}

/// Whether a path, read without looking at the file system, is `/`.
fn is_slash(path: &Path) -> bool {
    let mut depth: usize = 0;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.saturating_sub(1),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    depth == 0
}
