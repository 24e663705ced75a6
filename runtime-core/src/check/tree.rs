//! The root filesystem, the mounts and the program.

use super::Check;
use super::program::{self, Who, Why};
use super::view::{Lost, View};
use crate::error::errno_text;
use crate::plan::action::{Action, BindMount, FilesystemMount, HookAction};
use crate::sys;
use std::io;
use std::path::{Path, PathBuf};

/// Looks at everything that has a path.
pub(super) fn look(check: &mut Check<'_>) {
    let plan = check.plan;
    let root = plan.steps.iter().position(|s| matches!(s.action, Action::Root { .. }));
    let root = root.map_or(0, |i| i as u32 + 1);
    let why = match std::fs::metadata(&plan.rootfs) {
        Ok(meta) if meta.is_dir() => None,
        Ok(_) => Some(errno_text(libc::ENOTDIR)),
        Err(e) => Some(text(&e)),
    };
    if let Some(why) = why {
        check.error(root, "/root/path", format!("invalid rootfs: stat {}: {why}", plan.rootfs.display()));
    }
    let known = filesystems();
    for (number, step) in (1u32..).zip(&plan.steps) {
        match &step.action {
            Action::Bind(b) => source(check, number, &step.field, b),
            Action::Mount(m) => filesystem(check, number, &step.field, m, &known),
            _ => {}
        }
    }
    hooks(check);
    if let Ok(view) = View::of(plan) {
        mountpoints(check, &view);
        program(check, &view);
    }
}

fn text(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), errno_text)
}

/// The source of a bind mount.
fn source(check: &mut Check<'_>, number: u32, field: &str, b: &BindMount) {
    // The container's own cgroup is made before it is mounted.
    if check.plan.cgroups.iter().any(|dir| b.source.starts_with(dir.dir())) {
        return;
    }
    if let Err(e) = std::fs::metadata(&b.source) {
        let field = if field.starts_with("/mounts/") { format!("{field}/source") } else { field.to_owned() };
        check.error(number, field, format!("stat {}: {}", b.source.display(), text(&e)));
    }
}

/// The filesystems that this kernel has, or has a module for.
struct Filesystems {
    listed: String,
    aliases: Option<String>,
}

fn filesystems() -> Filesystems {
    let listed = sys::read_file("/proc/filesystems").unwrap_or_default();
    let aliases = format!("/lib/modules/{}/modules.alias", sys::kernel_release());
    Filesystems { listed, aliases: sys::read_file(aliases).ok() }
}

impl Filesystems {
    fn has(&self, name: &str) -> bool {
        // What stands behind a dot is the filesystem's own business (fuse.sshfs).
        let name = name.split('.').next().unwrap_or(name);
        let alias = format!("alias fs-{name} ");
        self.listed.lines().any(|line| line.split('\t').next_back() == Some(name))
            || self.aliases.as_ref().is_some_and(|text| text.lines().any(|line| line.starts_with(&alias)))
    }
}

fn filesystem(check: &mut Check<'_>, number: u32, field: &str, m: &FilesystemMount, known: &Filesystems) {
    if !known.has(&m.fstype) {
        check.error_with(
            number,
            format!("{field}/type"),
            format!("filesystem {:?} is unknown to this kernel", m.fstype),
            "neither /proc/filesystems nor the modules of this kernel have it",
        );
    }
    if m.fstype != "overlay" {
        return;
    }
    for option in &m.options.data {
        let value = option.value.as_deref().unwrap_or("");
        let paths: Vec<&str> = match option.key.as_str() {
            "lowerdir" => value.split(':').filter(|p| !p.is_empty()).collect(),
            "upperdir" | "workdir" => vec![value],
            _ => continue,
        };
        let place = option.index.map_or(format!("{field}/options"), |i| format!("{field}/options/{i}"));
        // A backslash escapes a colon in a path: such a list is left to the kernel.
        for path in paths.into_iter().filter(|_| !value.contains('\\')) {
            if let Err(e) = std::fs::metadata(path) {
                check.error(number, place.clone(), format!("{}: stat {path}: {}", option.key, text(&e)));
            }
        }
    }
}

/// Whether each source fits on what is there.
fn mountpoints(check: &mut Check<'_>, view: &View) {
    let plan = check.plan;
    for (number, step) in (1u32..).zip(&plan.steps) {
        let (destination, is_dir) = match &step.action {
            Action::Bind(b) => match std::fs::metadata(&b.source) {
                Ok(meta) => (&b.destination, meta.is_dir()),
                Err(_) => continue,
            },
            Action::Mount(m) => (&m.destination, true),
            _ => continue,
        };
        let Some(there) = view.under(&step.field, destination) else { continue };
        if there.is_dir() != is_dir {
            let word = |dir: bool| if dir { "a directory" } else { "a file" };
            let field = format!("{}/destination", step.field);
            let (target, source) = (word(there.is_dir()), word(is_dir));
            let message =
                format!("not a directory: {} is {target}, the source is {source}", destination.display());
            check.error(number, field, message);
        }
    }
}

/// The programs of all hooks: those of the host where they lie, those of startContainer in the container.
fn hooks(check: &mut Check<'_>) {
    let plan = check.plan;
    let Ok(host) = View::bare(Path::new("/")) else { return };
    let inside = View::of(plan).ok();
    let who = if check.facts.euid == 0 { Who::root() } else { Who::user(check.facts.euid, check.facts.egid) };
    let number = |hook: &HookAction| {
        let same = |s: &crate::plan::Step| matches!(&s.action, Action::Hook(h) if h == hook);
        plan.steps.iter().position(same).map_or(plan.steps.len() as u32, |i| i as u32 + 1)
    };
    let mut all: Vec<&HookAction> = plan.later_hooks.iter().collect();
    all.extend(plan.steps.iter().filter_map(|s| match &s.action {
        Action::Hook(hook) if !plan.later_hooks.contains(hook) => Some(hook),
        _ => None,
    }));
    for hook in all {
        let found = match (&inside, hook.name.as_str()) {
            (Some(view), "startContainer") => program::executable(view, &Who::of(plan), &hook.path),
            (None, "startContainer") => continue,
            _ => program::executable(&host, &who, &hook.path),
        };
        let path = hook.path.display();
        let why = match found {
            Ok(()) | Err(Why::Unknown) => continue,
            Err(Why::Missing) => format!("{path}: {}", errno_text(libc::ENOENT)),
            Err(Why::Denied(why)) => format!("{path}: {}: {why}", errno_text(libc::EACCES)),
            Err(Why::Unloadable(why)) => why,
        };
        let field = format!("/hooks/{}/{}/path", hook.name, hook.index);
        check.error(number(hook), field, format!("{} hook #{}: {why}", hook.name, hook.index));
    }
}

/// The working directory and the program, as its user.
fn program(check: &mut Check<'_>, view: &View) {
    let plan = check.plan;
    let who = Who::of(plan);
    let mut cwd = PathBuf::from("/");
    for (number, step) in (1u32..).zip(&plan.steps) {
        match &step.action {
            Action::Cwd { path, create, .. } => {
                cwd.clone_from(path);
                directory(check, view, number, path, *create);
            }
            Action::Lookup { name, candidates } => {
                let candidates: Vec<PathBuf> = candidates.iter().map(|c| cwd.join(c)).collect();
                lookup(check, view, &who, number, name, &candidates);
            }
            _ => {}
        }
    }
}

fn directory(check: &mut Check<'_>, view: &View, number: u32, path: &Path, create: bool) {
    let field = "/process/cwd";
    let name = path.display();
    match view.find(path, &mut |_, _| Ok(())) {
        Ok(found) if !found.meta.is_dir() => check.error(number, field, format!("{name} is not a directory")),
        Err(Lost::Missing) if create => {
            check.warning(number, field, format!("{name} does not exist; it will be made"));
        }
        Err(Lost::Missing) => check.error(number, field, format!("{name} does not exist")),
        Ok(_) | Err(Lost::Unknown) => {}
    }
}

fn lookup(check: &mut Check<'_>, view: &View, who: &Who, number: u32, name: &str, candidates: &[PathBuf]) {
    let field = "/process/args/0";
    let mut denied = None;
    for path in candidates {
        match program::reach(view, who, path) {
            // The first that may be executed is taken, whether it can be or not.
            Ok(_) => {
                if let Err(Why::Unloadable(why)) = program::executable(view, who, path) {
                    check.error(number, field, format!("exec {}: {why}", path.display()));
                }
                return;
            }
            Err(Why::Denied(why)) => denied = denied.or(Some(why)),
            Err(Why::Unknown) => return,
            Err(_) => {}
        }
    }
    let message = match denied {
        Some(why) => format!("exec: {name:?}: permission denied: {why}"),
        None if name.contains('/') => format!("exec: {name:?}: stat {name}: no such file or directory"),
        None => format!("exec: {name:?}: executable file not found in $PATH"),
    };
    check.error(number, field, message);
}
