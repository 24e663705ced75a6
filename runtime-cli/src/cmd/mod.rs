//! The commands: one function each, over one library function.

pub(crate) mod attempt;
pub(crate) mod bundle;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod lifecycle;
pub(crate) mod ps;
pub(crate) mod query;
pub(crate) mod update;

use crate::args::root::{RootFacts, StateRoot};
use crate::args::{CgroupManager, Global};
use crate::log::Log;
use nix::unistd::AccessFlags;
use oxrun_core::{CreateOptions, Error, ErrorKind, Runtime};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// What every command needs.
pub(crate) struct Ctx<'a> {
    /// The name the program was called by.
    pub(crate) program: &'a str,
    /// Options before the command.
    pub(crate) global: &'a Global,
    /// The log.
    pub(crate) log: &'a Log,
    /// The effective user.
    pub(crate) euid: u32,
}

/// Why a command fails: one line, and the parts for a person or a machine that wants more.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) details: Vec<(String, String)>,
    pub(crate) code: u8,
}

impl Failure {
    /// A failure in plain words, exit code 1.
    pub(crate) fn plain(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), details: Vec::new(), code: 1 }
    }

    /// The same without the field in the line: what is wrong is not in a config.json.
    pub(crate) fn fieldless(self, e: &Error, prefix: &str) -> Failure {
        Failure { message: format!("{prefix}{e}"), ..self }
    }

    /// A failure of the library, after `prefix`.
    pub(crate) fn of(prefix: &str, e: &Error) -> Failure {
        let field = match e.field() {
            // What callers take for the program's own fault stays word for word as they know it: it names its
            // argument anyway.
            Some(field) if field.starts_with('/') && e.kind() != ErrorKind::Exec => {
                format!(" ({field})")
            }
            _ => String::new(),
        };
        let mut details = Vec::new();
        let mut put = |name: &str, value: Option<String>| {
            details.extend(value.map(|v| (name.to_owned(), v)));
        };
        put("step", e.step().map(|s| format!("{} of {} ({})", s.number, s.total, s.lane)));
        put("field", e.field().map(str::to_owned));
        put("syscall", e.syscall_text().map(str::to_owned));
        put("errno", e.errno().map(|n| n.to_string()));
        put("kernel", e.fs_log().map(str::to_owned));
        put("hint", e.hint_text().map(str::to_owned));
        Failure { message: format!("{prefix}{e}{field}"), details, code: 1 }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::of("", &e)
    }
}

impl Ctx<'_> {
    /// The state root of this call.
    pub(crate) fn state_root(&self) -> Result<StateRoot, Failure> {
        let xdg = std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty());
        let user = std::env::var_os("USER");
        let euid = self.euid;
        // Only where it decides: reading it costs a file.
        let in_user_namespace = euid == 0 && xdg.is_some() && oxrun_core::in_user_namespace();
        let facts =
            RootFacts { euid, in_user_namespace, xdg_runtime_dir: xdg.as_deref(), user: user.as_deref() };
        let cwd = match &self.global.root {
            Some(root) if root.is_relative() => std::env::current_dir().map_err(|e| {
                Failure::plain(format!("getwd: {}", oxrun_core::errno_text(e.raw_os_error().unwrap_or(0))))
            })?,
            _ => "/".into(),
        };
        self.global.state_root(&facts, &cwd).map_err(Failure::plain)
    }

    /// What the options before the command say of every plan for a container.
    pub(crate) fn options(&self) -> Result<CreateOptions, Failure> {
        let cgroup_manager = match self.global.cgroup_manager {
            CgroupManager::Cgroupfs if self.does_without_cgroups()? => oxrun_core::CgroupManager::None,
            CgroupManager::Cgroupfs => oxrun_core::CgroupManager::Cgroupfs,
            CgroupManager::Disabled => oxrun_core::CgroupManager::None,
            CgroupManager::Systemd => oxrun_core::CgroupManager::Systemd,
        };
        let rootless = self.global.rootless;
        Ok(CreateOptions { cgroup_manager, rootless, ..CreateOptions::default() })
    }

    /// Makes the state root that is in the runtime directory of a user, from which services remove what is old: the sticky
    /// bit keeps them from it. Others are made as containers need them.
    pub(crate) fn make_root(&self) -> Result<(), Failure> {
        let root = self.state_root()?;
        if !root.sticky {
            return Ok(());
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o1700).create(&root.path);
        made.map_err(|e| {
            let text = oxrun_core::errno_text(e.raw_os_error().unwrap_or(0));
            Failure::plain(format!("mkdir({}): {text}", root.path.display()))
        })
    }

    /// Whether `--rootless` lets root go on without cgroups where it may make none, as in a container that sees them
    /// read-only. For others planning knows.
    fn does_without_cgroups(&self) -> Result<bool, Failure> {
        if self.global.rootless != Some(true) {
            return Ok(false);
        }
        let runtime = self.runtime()?;
        let facts = runtime.facts()?;
        let v1 = facts.cgroup.v1.iter().map(|h| &h.mount);
        let mut mounts = v1.chain(facts.cgroup.v2.iter().map(|tree| &tree.mount));
        let writable = |mount: &PathBuf| nix::unistd::access(mount, AccessFlags::W_OK).is_ok();
        Ok(facts.host_root() && !mounts.all(writable))
    }

    /// The runtime of this call.
    pub(crate) fn runtime(&self) -> Result<Runtime, Failure> {
        Ok(Runtime::in_fresh_process(self.state_root()?.path))
    }
}

/// Prints to stdout, all or an error: a reader that is gone is no panic.
pub(crate) fn print(text: &str) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(e) => Err(Failure::plain(format!(
            "write(stdout): {}",
            oxrun_core::errno_text(e.raw_os_error().unwrap_or(0))
        ))),
    }
}
