//! The plan: every sentence of config.json, in the order in which it will be carried out, as data.
//!
//! What must hold: planning reads the spec, the facts and the options, and nothing else: no file, no
//! clock, no environment. What comes after planning never reads the spec. The script's bytes are a
//! function of the plan ([`script`]).
//!
//! ```text
//! host   cgroup, limits, devices, spawn [systemd: spawn, scope, limits, devices]
//! join   cgroups v1, joined namespaces, [user namespace: host writes maps], clone into the new ones
//! init   session, names, root, mounts, devices
//! host   prestart, createRuntime
//! init   createContainer
//! init   terminal, masks, read-only, pivot, sysctl, limits, identity, capabilities, lookup
//! init   created ... start ... startContainer, filter, exec
//! ```

pub mod action;
pub mod caps;
pub(crate) mod cgroups;
mod delegation;
mod display;
mod exec;
mod execve;
pub(crate) mod labels;
mod namespaces;
mod network;
pub mod options;
pub(crate) mod process;
pub mod ranges;
mod rdt;
mod rootfs;
mod scheduling;
pub mod script;
mod systemd;
pub(crate) use exec::exec;
pub(crate) use process::filter;
pub(crate) mod sysctl;
mod users;

use crate::bundle::{Bundle, Warning};
use crate::cgroup::Write;
use crate::cgroup::systemd::{Property, Unit};
use crate::error::{Error, Lane, Result, StepRef};
use crate::facts::HostFacts;
use crate::filters;
use crate::template;
use action::{Action, CgroupDir, HookAction};
use namespaces::Namespaces;
use oci_spec::runtime::{Linux, Process, Spec};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Who makes the container's cgroup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CgroupManager {
    /// This library, below the path that linux.cgroupsPath is.
    #[default]
    Cgroupfs,
    /// systemd, as a scope: linux.cgroupsPath is `slice:prefix:name`. A caller without rights on the host asks its
    /// user's own systemd.
    Systemd,
    /// Nobody: the container stays in the caller's, nothing is limited or counted for it alone.
    None,
}

/// What the caller of `create` asks for beside the config.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateOptions {
    /// Move the root mount and chroot instead of `pivot_root`.
    pub no_pivot: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who makes the cgroup.
    pub cgroup_manager: CgroupManager,
    /// How many descriptors from 3 on the program inherits.
    pub preserve_fds: u32,
    /// Variables for the first process beside those of the config, of which they replace the ones of the same name.
    pub env: Vec<String>,
    /// A directory of the host that the first process sees, read-only, at /run/notify; its environment has
    /// `NOTIFY_SOCKET=/run/notify/notify.sock` (sd_notify(3)). If it is `notify` in the container's state directory, create
    /// makes it and delete removes it.
    pub notify: Option<PathBuf>,
    /// Where the caller may make no cgroup, a container without limits runs without one. With `Some(false)` it is refused.
    pub rootless: Option<bool>,
    /// Do not prepare what further processes need: the first of them then makes it, which takes it a millisecond.
    pub no_template: bool,
    /// For a further process: existing cgroups below the container's, to run it in.
    pub sub_cgroups: Vec<SubCgroup>,
    /// For a further process: wait in a paused container until it is resumed.
    pub ignore_paused: bool,
}

/// A cgroup below the container's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubCgroup {
    /// The v1 controllers in whose hierarchies it is; none: in every hierarchy.
    pub controllers: Vec<String>,
    /// Its path from the container's cgroup. What leads above that is refused.
    pub path: String,
}

/// One step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Who carries it out.
    pub lane: Lane,
    /// The JSON pointer of the field it comes from, or words in parentheses.
    pub field: String,
    /// What is done.
    pub action: Action,
}

/// Everything that will be done to create a container, and in which order.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), oxrun_core::Error> {
/// # // Who is not root needs newuidmap for this.
/// # if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) { return Ok(()); }
/// use oxrun_core::{Bundle, CreateOptions, Runtime};
/// let config = br#"{
///     "ociVersion": "1.2.0",
///     "root": { "path": "/srv/root" },
///     "process": { "args": ["sh"], "cwd": "/tmp", "user": { "uid": 0, "gid": 0 } },
///     "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] }
/// }"#;
/// let runtime = Runtime::new("/run/acme");
/// let plan = runtime.plan("job", &Bundle::from_json(config)?, &CreateOptions::default())?;
/// // Nothing was done. It prints as `oxrun explain` does, one step a line.
/// assert!(plan.to_string().contains("/srv/root"));
/// let step = plan.steps.iter().find(|step| step.field == "/process/cwd");
/// assert!(step.is_some());
/// // It is data: two plans of one config are equal.
/// let again = runtime.plan("job", &Bundle::from_json(config)?, &CreateOptions::default())?;
/// assert_eq!(plan, again);
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root filesystem's directory on the host.
    pub rootfs: PathBuf,
    /// The facts it was made for, in a line.
    pub host: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// What does not stop the container.
    pub warnings: Vec<Warning>,
    /// The config's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// The cgroups of the container.
    pub cgroups: Vec<CgroupDir>,
    /// Hooks that run after create: startContainer, which is a step of the plan too, poststart and poststop.
    pub later_hooks: Vec<HookAction>,
    /// Whether init must stay traceable by its user while it sets up; until it joins a namespace that others are in.
    pub dumpable: bool,
    /// Whether it may stand still for as long as the container is paused.
    pub patient: bool,
    /// The part of the filter that keeps the program from being executed, if one certainly does.
    pub denies_execve: Option<Warning>,
    /// The config's bytes, for the private copy.
    #[serde(skip)]
    pub config: Arc<[u8]>,
    /// What is kept for further processes, see [`template`]. Empty in a plan of one.
    #[serde(skip)]
    pub(crate) template: template::Kept,
}

impl Plan {
    /// What does not stop the container.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Names in the seccomp profile that no architecture of the filter has: pointer and name. They are skipped;
    /// the profiles of engines have many.
    pub fn skipped_calls(&self) -> impl Iterator<Item = (String, &str)> {
        let filters = self.steps.iter().filter_map(|s| match &s.action {
            Action::Seccomp(program) => Some(&program.skipped),
            _ => None,
        });
        filters.flatten().map(|name| (name.field(), name.name.as_str()))
    }

    /// The agent that gets the filter's listener.
    pub(crate) fn agent(&self) -> Option<&action::Agent> {
        self.steps.iter().find_map(|s| match &s.action {
            Action::Listener(agent) => Some(agent),
            _ => None,
        })
    }

    /// The scope that systemd makes for it.
    pub(crate) fn unit(&self) -> Option<&Unit> {
        self.steps.iter().find_map(|s| match &s.action {
            Action::Scope { unit, .. } => Some(unit),
            _ => None,
        })
    }

    /// The directory that is seen at /run/notify, see [`CreateOptions::notify`].
    pub(crate) fn notify(&self) -> Option<&Path> {
        self.steps.iter().find_map(|s| match &s.action {
            Action::Bind(bind) if s.field == rootfs::NOTIFY => Some(bind.source.as_path()),
            _ => None,
        })
    }

    /// A reference to step `number`, from 1, for errors.
    #[must_use]
    pub(crate) fn step_ref(&self, number: u32) -> StepRef {
        let step = (number as usize).checked_sub(1).and_then(|i| self.steps.get(i));
        StepRef { number, total: self.steps.len() as u32, lane: step.map_or(Lane::Init, |s| s.lane) }
    }

    /// How many descriptors from 3 on the program inherits.
    #[must_use]
    pub fn preserve_fds(&self) -> u32 {
        self.steps
            .iter()
            .find_map(|s| match s.action {
                Action::Spawn { preserve_fds } => Some(preserve_fds),
                _ => None,
            })
            .unwrap_or(0)
    }
}

/// What the parts of planning share.
pub(crate) struct Builder<'a> {
    spec: &'a Spec,
    facts: &'a HostFacts,
    options: &'a CreateOptions,
    id: &'a str,
    bundle: &'a Path,
    steps: Vec<Step>,
    warnings: Vec<Warning>,
    namespaces: Namespaces,
    rootfs: PathBuf,
    cgroups: Vec<CgroupDir>,
    /// The scope, if systemd makes the cgroups.
    unit: Option<Unit>,
    /// A limit that comes after the clone, as property and as files.
    late: Option<(Property, Vec<Write>)>,
    filter: process::Filter<'a>,
}

impl Builder<'_> {
    fn push(&mut self, lane: Lane, field: impl Into<String>, action: Action) {
        self.steps.push(Step { lane, field: field.into(), action });
    }

    fn host(&mut self, field: impl Into<String>, action: Action) {
        self.push(Lane::Host, field, action);
    }

    fn mntns(&mut self, field: impl Into<String>, action: Action) {
        self.push(Lane::Mntns, field, action);
    }

    fn join(&mut self, field: impl Into<String>, action: Action) {
        self.push(Lane::Join, field, action);
    }

    fn init(&mut self, field: impl Into<String>, action: Action) {
        self.push(Lane::Init, field, action);
    }

    fn warn(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Warning { field: field.into(), message: message.into() });
    }

    fn linux(&self) -> Option<&Linux> {
        self.spec.linux().as_ref()
    }

    /// A path of the config, relative ones to the bundle.
    fn on_host(&self, path: &Path) -> PathBuf {
        clean(&self.bundle.join(path))
    }
}

/// Plans a container.
///
/// # Errors
/// [`crate::ErrorKind::InvalidConfig`] with the pointer of the field that cannot be carried out;
/// [`crate::ErrorKind::Unsupported`] for what this host or runtime lacks.
pub fn plan(id: &str, bundle: &Bundle, facts: &HostFacts, options: &CreateOptions) -> Result<Plan> {
    crate::id::check(id)?;
    let spec = &bundle.spec;
    let root = spec.root().as_ref().ok_or_else(|| Error::config("/root", "root must be specified"))?;
    if root.path().as_os_str().is_empty() {
        return Err(Error::config(
            "/root/path",
            "root.path must be specified: the root filesystem's directory",
        ));
    }
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| Error::config("/process", "process property must not be empty"))?;
    let mut b = Builder {
        spec,
        facts,
        options,
        id,
        bundle: bundle.dir(),
        steps: Vec::with_capacity(80),
        warnings: bundle.warnings.clone(),
        namespaces: Namespaces::of(spec, facts)?,
        rootfs: clean(&bundle.dir().join(root.path())),
        cgroups: Vec::new(),
        unit: None,
        late: None,
        filter: match &bundle.filter {
            Some(program) => process::Filter::Compiled(Some(program)),
            None => process::Filter::OfConfig,
        },
    };
    check_process(process)?;
    // Of further processes only; a wrong one is to be known now.
    scheduling::affinity(process)?;
    cgroups::create(&mut b)?;
    let rdt = rdt::class(&mut b)?;
    b.host("(lifecycle)", Action::Spawn { preserve_fds: options.preserve_fds });
    systemd::scope(&mut b)?;
    namespaces::join(&mut b)?;
    if let Some(groups) = rdt {
        b.host(crate::rdt::FIELD, Action::RdtJoin { groups, further: false });
    }
    namespaces::names(&mut b)?;
    rootfs::mounts(&mut b)?;
    rootfs::notify(&mut b)?;
    create_hooks(&mut b)?;
    rootfs::finish(&mut b)?;
    process::process(&mut b, &with_variables(process, options), process::Kind::First)?;
    Ok(finish(b, process, bundle))
}

/// The process with the variables that the caller adds.
fn with_variables<'a>(process: &'a Process, options: &CreateOptions) -> Cow<'a, Process> {
    let notify = options.notify.as_ref().map(|_| rootfs::NOTIFY_VARIABLE.to_owned());
    if options.env.is_empty() && notify.is_none() {
        return Cow::Borrowed(process);
    }
    let mut process = process.clone();
    let own = process.env().clone().unwrap_or_default();
    process.set_env(Some(own.into_iter().chain(options.env.iter().cloned()).chain(notify).collect()));
    Cow::Owned(process)
}

fn finish(b: Builder<'_>, process: &Process, bundle: &Bundle) -> Plan {
    let mut later_hooks = Vec::new();
    if let Some(hooks) = b.spec.hooks() {
        for (name, list) in [
            ("startContainer", hooks.start_container()),
            ("poststart", hooks.poststart()),
            ("poststop", hooks.poststop()),
        ] {
            later_hooks.extend(hook_actions(name, list.as_deref()));
        }
    }
    let denies_execve = b.linux().and_then(|l| l.seccomp().as_ref()).and_then(execve::denied);
    let filter = b.steps.iter().find_map(|s| match &s.action {
        Action::Seccomp(program) => Some(program),
        _ => None,
    });
    let file = match b.options.no_template {
        true => Vec::new(),
        false => template::file(&template::rest(&bundle.less_profile()), filter, b.facts),
    };
    let mut plan = Plan {
        id: b.id.to_owned(),
        bundle: b.bundle.to_owned(),
        rootfs: b.rootfs,
        host: format!("linux {}, cgroup {}", b.facts.kernel, b.facts.cgroup.layout()),
        steps: b.steps,
        warnings: b.warnings,
        annotations: b.spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        terminal: process.terminal().unwrap_or(false),
        cgroups: b.cgroups,
        later_hooks,
        dumpable: b.facts.euid != 0,
        patient: false,
        denies_execve,
        config: bundle.bytes.clone(),
        template: template::Kept { file, filter: None },
    };
    // What was found there needs not be kept again.
    let profile = bundle.profile.clone().filter(|_| bundle.filter.is_none());
    plan.template.filter = profile.and_then(|profile| filters::entry(&plan, profile));
    plan
}

fn check_process(process: &Process) -> Result<()> {
    let cwd = process.cwd();
    if cwd.as_os_str().is_empty() {
        return Err(Error::config("/process/cwd", "Cwd property must not be empty"));
    }
    if !cwd.is_absolute() {
        return Err(Error::config("/process/cwd", "Cwd must be an absolute path"));
    }
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(Error::config("/process/args", "args must not be empty"));
    }
    Ok(())
}

/// The hooks of create run after the mounts and before pivot_root: prestart and createRuntime on the host,
/// createContainer in init, which still sees the host's files. Those that run later are checked.
fn create_hooks(b: &mut Builder<'_>) -> Result<()> {
    let Some(hooks) = b.spec.hooks() else {
        return Ok(());
    };
    #[allow(deprecated)] // prestart is deprecated and every docker 20.10 container has one
    let prestart = hooks.prestart();
    for (lane, name, list) in [
        (Lane::Host, "prestart", prestart),
        (Lane::Host, "createRuntime", hooks.create_runtime()),
        (Lane::Init, "createContainer", hooks.create_container()),
    ] {
        run_hooks(b, lane, name, list.as_deref())?;
    }
    for (name, list) in [("poststart", hooks.poststart()), ("poststop", hooks.poststop())] {
        for hook in hook_actions(name, list.as_deref()) {
            check_hook(&format!("/hooks/{name}/{}", hook.index), &hook)?;
        }
    }
    Ok(())
}

/// startContainer runs when everything but the filter is as the program will find it.
fn start_hooks(b: &mut Builder<'_>) -> Result<()> {
    match b.spec.hooks() {
        Some(hooks) => {
            let list = hooks.start_container();
            run_hooks(b, Lane::Init, "startContainer", list.as_deref())
        }
        None => Ok(()),
    }
}

fn run_hooks(
    b: &mut Builder<'_>,
    lane: Lane,
    name: &str,
    list: Option<&[oci_spec::runtime::Hook]>,
) -> Result<()> {
    for hook in hook_actions(name, list) {
        let field = format!("/hooks/{name}/{}", hook.index);
        check_hook(&field, &hook)?;
        b.push(lane, field, Action::Hook(hook));
    }
    Ok(())
}

fn hook_actions(name: &str, list: Option<&[oci_spec::runtime::Hook]>) -> Vec<HookAction> {
    let one = |(index, h): (usize, &oci_spec::runtime::Hook)| HookAction {
        name: name.to_owned(),
        index,
        path: h.path().clone(),
        args: h
            .args()
            .clone()
            .filter(|a| !a.is_empty())
            .unwrap_or_else(|| vec![h.path().display().to_string()]),
        env: h.env().clone(),
        // What is below 0 is refused as 0 is.
        timeout: h.timeout().map(|t| u64::try_from(t).unwrap_or(0)),
    };
    list.unwrap_or(&[]).iter().enumerate().map(one).collect()
}

fn check_hook(field: &str, hook: &HookAction) -> Result<()> {
    if !hook.path.is_absolute() {
        return Err(Error::config(
            format!("{field}/path"),
            format!("path of {} hook #{} must be absolute: {:?}", hook.name, hook.index, hook.path),
        ));
    }
    if hook.timeout == Some(0) {
        return Err(Error::config(
            format!("{field}/timeout"),
            format!("timeout of {} hook #{} must be greater than zero", hook.name, hook.index),
        ));
    }
    Ok(())
}

/// Removes `.`, `..` and doubled slashes without looking at the filesystem; `..` ends at the root.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}
