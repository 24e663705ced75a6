//! The cgroups: whether they can be made, and have the files that limits are written to.

use super::Check;
use crate::cgroup::live;
use crate::plan::action::{Action, CgroupDir};
use crate::sys;
use std::path::{Path, PathBuf};

/// Looks at the cgroups of a plan.
pub(super) fn look(check: &mut Check<'_>) {
    let plan = check.plan;
    let v2 = plan.cgroups.iter().all(|d| d.controllers.is_none());
    for (number, step) in (1u32..).zip(&plan.steps) {
        match &step.action {
            Action::CgroupCreate { dirs } => {
                dirs.iter().for_each(|dir| directory(check, number, &step.field, dir));
            }
            // systemd enables what its units need.
            Action::CgroupWrite { file, .. } if v2 && plan.unit().is_none() => {
                controller(check, number, &step.field, file)
            }
            _ => {}
        }
    }
}

/// The nearest directory that exists.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|p| p.is_dir()).map(Path::to_owned)
}

fn directory(check: &mut Check<'_>, number: u32, field: &str, dir: &CgroupDir) {
    let path = dir.dir();
    if path.is_dir() {
        let procs = sys::read_file(path.join("cgroup.procs")).unwrap_or_default();
        if procs.lines().next().is_some() {
            let inside = procs.lines().count();
            check.error(
                number,
                field,
                format!("container's cgroup is not empty: {inside} process(es) found in {}", path.display()),
            );
        }
        return;
    }
    let above = path.parent().and_then(nearest);
    if let Some(above) = above.filter(|above| !sys::look::writable(above)) {
        check.error_with(
            number,
            field,
            format!("{} cannot be made: {} may not be written", path.display(), above.display()),
            "a cgroup below one that was delegated to this user can be",
        );
    }
}

/// Whether the controller of a v2 file is to be had where the cgroup will be.
fn controller(check: &mut Check<'_>, number: u32, field: &str, file: &Path) {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let (Some(controller), Some(above)) = (name.split('.').next(), file.parent().and_then(nearest)) else {
        return;
    };
    if controller == "cgroup" {
        return;
    }
    let list = above.join("cgroup.controllers");
    let Ok(text) = sys::read_file(&list) else { return };
    if !text.split_whitespace().any(|c| c == controller) {
        check.error(
            number,
            field,
            format!(
                "cannot set {name}: the {controller} controller is not delegated: {} lists {:?}",
                list.display(),
                text.trim()
            ),
        );
    } else if file.parent() != Some(&above) && live::keeps_back(&above).unwrap_or(false) {
        let above = above.display();
        check.error(
            number,
            field,
            format!(
                "cannot set {name}: the {controller} controller cannot be enabled: {above} has processes of its own"
            ),
        );
    }
}
