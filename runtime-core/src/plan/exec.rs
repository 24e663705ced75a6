//! A further process in a container: join what the first one has, then the same steps as for the first.
//!
//! The v1 cgroups and the directory of the v2 one are taken while the host's paths are in reach; the
//! namespaces are entered by one setns(2) of the first process's pidfd. The cgroup namespace comes after the
//! clone: seen from inside it, the clone's source would lie outside of what may be moved.

use super::action::{Action, Namespace};
use super::namespaces::Namespaces;
use super::process::{self, Filter, Kind};
use super::{Builder, CreateOptions, Plan, scheduling};
use crate::error::Result;
use crate::facts::HostFacts;
use crate::state::State;
use crate::template::{Kept, Template};
use oci_spec::runtime::Process;

/// Plans a further process.
pub(crate) fn exec(
    state: &State,
    template: &Template,
    p: &Process,
    facts: &HostFacts,
    options: &CreateOptions,
) -> Result<Plan> {
    let config = &template.config;
    let p = &completed(p, config.spec().process().as_ref());
    super::check_process(p)?;
    let dirs = super::cgroups::below(&state.cgroups, &options.sub_cgroups)?;
    let mut b = Builder {
        spec: config.spec(),
        facts,
        options,
        id: &state.id,
        bundle: &state.bundle,
        steps: Vec::with_capacity(32),
        warnings: Vec::new(),
        namespaces: Namespaces { new: state.namespaces.clone(), joined: Vec::new() },
        rootfs: state.rootfs.clone(),
        cgroups: dirs,
        unit: None,
        late: None,
        filter: Filter::Compiled(template.filter.as_ref()),
    };
    b.host("(lifecycle)", Action::Spawn { preserve_fds: options.preserve_fds });
    join(&mut b, state, p)?;
    if let Some(groups) = state.rdt.clone() {
        b.host(crate::rdt::FIELD, Action::RdtJoin { groups, further: true });
    }
    b.init("(lifecycle)", Action::Session { keyring: state.keyring.clone() });
    if p.terminal() == Some(true) {
        let (width, height) = p.console_size().map_or((0, 0), |s| (s.width() as u32, s.height() as u32));
        let uid = p.user().uid();
        b.init("/process/terminal", Action::Console { uid, width, height, on_dev: false });
        b.host("/process/terminal", Action::ReceiveConsole);
    }
    process::process(&mut b, p, Kind::Further)?;
    Ok(Plan {
        id: b.id.to_owned(),
        bundle: state.bundle.clone(),
        rootfs: state.rootfs.clone(),
        host: format!("linux {}, cgroup {}", facts.kernel, facts.cgroup.layout()),
        steps: b.steps,
        warnings: b.warnings,
        annotations: state.annotations.clone(),
        terminal: p.terminal().unwrap_or(false),
        cgroups: Vec::new(),
        later_hooks: Vec::new(),
        dumpable: facts.euid != 0,
        patient: options.ignore_paused,
        // The template does not have the rules any more.
        denies_execve: state.denies_execve.clone(),
        config: config.bytes.clone(),
        template: Kept::default(),
    })
}

/// The process with what the container's first one has where it says nothing itself, as in runc.
fn completed(p: &Process, first: Option<&Process>) -> Process {
    let mut p = p.clone();
    let Some(first) = first else {
        return p;
    };
    macro_rules! inherit {
        ($($get:ident $set:ident $is_unset:expr),* $(,)?) => {$(
            if $is_unset(p.$get()) {
                p.$set(first.$get().clone());
            }
        )*};
    }
    inherit! {
        capabilities set_capabilities Option::is_none,
        rlimits set_rlimits |l: &Option<Vec<_>>| l.as_ref().is_none_or(Vec::is_empty),
        apparmor_profile set_apparmor_profile |s: &Option<String>| s.as_ref().is_none_or(String::is_empty),
        selinux_label set_selinux_label |s: &Option<String>| s.as_ref().is_none_or(String::is_empty),
        scheduler set_scheduler Option::is_none,
        io_priority set_io_priority Option::is_none,
        exec_cpu_affinity set_exec_cpu_affinity Option::is_none,
    }
    if p.oom_score_adj().is_none() {
        p.set_oom_score_adj(first.oom_score_adj());
    }
    if p.user().umask().is_none() {
        let mask = first.user().umask();
        p.user_mut().set_umask(mask);
    }
    p
}

fn join(b: &mut Builder<'_>, state: &State, p: &Process) -> Result<()> {
    let user = state.namespaces.contains(&Namespace::User);
    let affinity = scheduling::affinity(p)?;
    if let Some(cpus) = affinity.initial {
        b.join("/process/execCPUAffinity/initial", Action::Affinity { cpus, last: false });
    }
    let chosen = !b.options.sub_cgroups.is_empty();
    let field = if chosen { "(sub-cgroup)" } else { "/linux/cgroupsPath" };
    let files: Vec<_> =
        b.cgroups.iter().filter(|d| d.controllers.is_some()).map(|d| d.dir().join("tasks")).collect();
    if !files.is_empty() {
        b.join(field, Action::JoinTasks { files });
    }
    if let Some(unit) = state.unit.as_ref().filter(|u| u.user) {
        super::systemd::attach(b, unit, &state.cgroups);
    } else if let Some(tree) = b.cgroups.iter().find(|d| d.controllers.is_none()) {
        let (dir, or_init) = (tree.dir(), (!chosen).then(|| tree.mount.clone()));
        b.join(field, Action::OpenCgroup { dir, or_init });
        if user {
            // From inside the user namespace the host's cgroup could not be entered.
            b.join(field, Action::Clone { new: Vec::new(), cgroup: None });
        }
    }
    if let Some(value) = p.oom_score_adj() {
        b.join("/process/oomScoreAdj", Action::OomScoreAdj { value });
    }
    let (late, kinds): (Vec<_>, Vec<_>) =
        state.namespaces.iter().copied().partition(|n| *n == Namespace::Cgroup && !user);
    if !kinds.is_empty() {
        b.join("/linux/namespaces", Action::Enter { kinds });
    }
    if user {
        b.join("/linux/namespaces", Action::BecomeRoot { drop_groups: b.facts.euid == 0 });
    }
    b.join("(lifecycle)", Action::Clone { new: Vec::new(), cgroup: None });
    if let Some(cpus) = affinity.last {
        b.init("/process/execCPUAffinity/final", Action::Affinity { cpus, last: true });
    }
    if !late.is_empty() {
        b.init("/linux/namespaces", Action::Enter { kinds: late });
    }
    if state.own_mounts {
        b.host("(no mount namespace)", Action::TakeRoot);
        b.init("(no mount namespace)", Action::EnterRoot);
    }
    Ok(())
}
