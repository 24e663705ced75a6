//! The runtime: a state root and the host's facts; makes plans, containers and lists.

use crate::bundle::Bundle;
use crate::cgroup::end;
use crate::check::{self, Report};
use crate::container::Container;
use crate::error::{Error, Result};
use crate::facts::HostFacts;
use crate::filters;
use crate::launch::{self, Stdio};
use crate::listing::Listed;
use crate::plan::script::Way;
use crate::plan::{self, CgroupManager, CreateOptions, Plan};
use crate::state::StateDir;
use oci_spec::runtime::Process;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Makes containers and finds them again. Cheap: nothing is read before it is needed.
///
/// # Examples
/// ```no_run
/// # fn main() -> Result<(), oxrun_core::Error> {
/// use oxrun_core::{Bundle, CreateOptions, Runtime, Stdio};
/// let runtime = Runtime::new("/run/acme");
/// let bundle = Bundle::open("/var/lib/acme/web")?;
/// let plan = runtime.plan("web", &bundle, &CreateOptions::default())?;
/// println!("{plan}");
/// let web = runtime.create(&plan, Stdio::null())?;
/// web.start()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    facts: OnceLock<HostFacts>,
    /// The same with systemd's.
    systemd: OnceLock<HostFacts>,
    /// Whether the facts were recorded by the caller: then they are all there are.
    given: bool,
    /// Whether this process has changed nothing of its own since it was executed.
    fresh: bool,
}

impl Runtime {
    /// A runtime whose containers live in the directory `state_root`, which is made when the first container is.
    #[must_use]
    pub fn new(state_root: impl Into<PathBuf>) -> Runtime {
        let root = state_root.into();
        Runtime { root, facts: OnceLock::new(), systemd: OnceLock::new(), given: false, fresh: false }
    }

    /// The same for a small process that does nothing else, and has changed none of its ids and capabilities since it was
    /// executed.
    #[doc(hidden)]
    #[must_use]
    pub fn in_fresh_process(state_root: impl Into<PathBuf>) -> Runtime {
        Runtime { fresh: true, ..Runtime::new(state_root) }
    }

    /// The same with facts that were recorded before, here or elsewhere.
    #[must_use]
    pub fn with_facts(state_root: impl Into<PathBuf>, facts: HostFacts) -> Runtime {
        let facts = OnceLock::from(facts);
        Runtime { root: state_root.into(), facts, systemd: OnceLock::new(), given: true, fresh: false }
    }

    /// The directory of the containers' state.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        &self.root
    }

    /// The host's facts, recorded at the first use.
    ///
    /// # Errors
    /// As [`HostFacts::record`].
    pub fn facts(&self) -> Result<&HostFacts> {
        if let Some(facts) = self.facts.get() {
            return Ok(facts);
        }
        let facts = HostFacts::record_in(self.fresh)?;
        Ok(self.facts.get_or_init(|| facts))
    }

    /// The facts that a plan with these options needs.
    fn facts_for(&self, options: &CreateOptions) -> Result<&HostFacts> {
        let facts = self.facts()?;
        if options.cgroup_manager != CgroupManager::Systemd || self.given {
            return Ok(facts);
        }
        if let Some(facts) = self.systemd.get() {
            return Ok(facts);
        }
        let facts = facts.clone().with_systemd()?;
        Ok(self.systemd.get_or_init(|| facts))
    }

    /// Opens the bundle in the directory `dir`, as [`Bundle::open`] does. If a container with the same seccomp profile
    /// was created here before, the profile is not read and compiled again: in the state root are the filters of the
    /// profiles that came last.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn bundle(&self, dir: impl AsRef<Path>) -> Result<Bundle> {
        Bundle::open_knowing(dir.as_ref(), Some(&|profile| filters::find(&self.root, profile)))
    }

    /// Plans a container. Has no effect.
    ///
    /// # Errors
    /// As [`plan::plan`].
    pub fn plan(&self, id: &str, bundle: &Bundle, options: &CreateOptions) -> Result<Plan> {
        plan::plan(id, bundle, self.facts_for(options)?, options)
    }

    /// Looks at the bundle in the directory `dir` and at everything its container would meet on this host: the plan's warnings,
    /// the program and its interpreter, sources of mounts, filesystems, namespaces, limits, hooks. Has no effect.
    ///
    /// # Errors
    /// If checking itself fails. A config that is wrong is a finding.
    pub fn check(&self, id: &str, dir: impl AsRef<Path>, options: &CreateOptions) -> Result<Report> {
        check::check_dir(id, dir.as_ref(), self.facts_for(options)?, options)
    }

    /// Creates a container: afterwards its process exists, set up, and waits for [`Container::start`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::AlreadyExists`] if the id is taken; otherwise why a step failed, in which case everything that
    /// was made is gone again.
    pub fn create(&self, plan: &Plan, stdio: Stdio) -> Result<Container> {
        self.make(plan, stdio, false)
    }

    /// The same for a container that is started in any case: if nobody else has a part in that, its program begins at
    /// once, which [`Container::begins_at_once`] says; otherwise [`Container::start`] has to follow.
    ///
    /// # Errors
    /// As [`Runtime::create`]. Of a program that begins at once some are told by [`Container::began`].
    #[doc(hidden)]
    pub fn create_to_start(&self, plan: &Plan, stdio: Stdio) -> Result<Container> {
        self.make(plan, stdio, true)
    }

    fn make(&self, plan: &Plan, stdio: Stdio, at_once: bool) -> Result<Container> {
        // A process that does nothing else is small.
        let ways = Way { at_once, cloned: self.fresh };
        let (dir, fault) = StateDir::create(&self.root, &plan.id)?;
        let ready = match plan.notify() {
            Some(place) if place.parent() == Some(&dir.path) => dir.make_notify(),
            _ => Ok(()),
        };
        let launched = ready.and_then(|()| launch::launch(plan, &dir, fault, stdio, ways));
        match launched {
            Ok(l) => {
                if let Some(filter) = &plan.template.filter {
                    filters::keep(&self.root, filter);
                }
                Ok(Container::created(dir, l))
            }
            Err(e) => {
                // The error that is returned is the one that matters. What is gone already may be there again, as
                // somebody else's.
                if dir.is_gone().is_ok_and(|gone| !gone) {
                    let _ = dir.remove();
                }
                Err(e)
            }
        }
    }

    /// Plans a further process in a container. Has no effect.
    ///
    /// # Errors
    /// As [`plan::plan`]; [`crate::ErrorKind::WrongState`] if the container is stopped, or paused and
    /// [`CreateOptions::ignore_paused`] is not set.
    pub fn plan_exec(
        &self,
        container: &Container,
        process: &Process,
        options: &CreateOptions,
    ) -> Result<Plan> {
        let wrong = |text: &str| Err(Error::new(crate::ErrorKind::WrongState, text));
        match container.status()? {
            crate::Status::Stopped => return wrong("cannot exec in a stopped container"),
            crate::Status::Paused if !options.ignore_paused => {
                return wrong("cannot exec in a paused container (use --ignore-paused to override)");
            }
            _ => {}
        }
        let template = container.template()?;
        let facts = match self.facts.get() {
            Some(facts) => facts,
            None => &template.facts.of_this_process(self.fresh)?,
        };
        plan::exec(container.state(), template, process, facts, options)
    }

    /// The process of a container's config, to start a further one from.
    ///
    /// # Errors
    /// If the private copy of the config cannot be read.
    pub fn process_of(&self, container: &Container) -> Result<Process> {
        Ok(container.template()?.config.spec().process().clone().unwrap_or_default())
    }

    /// Finds an existing container.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is none of this id.
    pub fn open(&self, id: &str) -> Result<Container> {
        Container::open(StateDir::open(&self.root, id)?)
    }

    /// Every container, by id, each with its state or why it cannot be read. No state root, no containers. Each handle has
    /// two descriptors: where there may be many containers, go through [`Runtime::each`].
    ///
    /// # Errors
    /// If the state root cannot be read.
    pub fn list(&self) -> Result<Vec<(String, Result<Container>)>> {
        let opened = |id: String| {
            let container = self.open(&id);
            (id, container)
        };
        Ok(self.ids()?.into_iter().map(opened).collect())
    }

    /// Shows every container to `see`, in the order of their ids, each with what a list says of it or why it cannot be read;
    /// goes on until `see` fails. No state root, no containers. Takes a fraction of what handles of them would take
    /// ([`Runtime::open`]), and no more descriptors for many containers than for one.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> Result<(), oxrun_core::Error> {
    /// let runtime = oxrun_core::Runtime::new("/run/acme");
    /// runtime.each(|id, container| {
    ///     println!("{id}: {}", container?.status()?);
    ///     Ok::<(), oxrun_core::Error>(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the state root cannot be read; what `see` returns.
    pub fn each<E: From<Error>>(
        &self,
        see: impl FnMut(&str, Result<Listed<'_>>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        crate::listing::each(self, see)
    }

    /// The ids of all containers, in order. No state root, no containers. One of them may be gone when it is opened.
    ///
    /// # Errors
    /// If the state root cannot be read.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(format!("open({})", self.root.display()), &e)),
        };
        let unreadable = |e: std::io::Error| Error::io(format!("read({})", self.root.display()), &e);
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let is_dir = match entry.file_type() {
                // A container that was deleted meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
                kind => kind.map_err(unreadable)?.is_dir(),
            };
            let id = entry.file_name().into_string().ok().filter(|id| crate::id::check(id).is_ok());
            ids.extend(id.filter(|_| is_dir));
        }
        ids.sort();
        Ok(ids)
    }

    /// Removes what is left of a container that was never finished: a state directory without a state.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_remains(&self, id: &str) -> Result<()> {
        let dir = StateDir::open(&self.root, id)?;
        dir.lock()?;
        // While we waited for the lock its creator may have finished; what it recorded may be on its way still.
        if let Ok(container) = Container::open_unfinished(StateDir::open(&self.root, id)?) {
            drop(dir);
            return match container.is_there()? {
                true => container.delete(true).map(drop),
                false => container.discard(),
            };
        }
        end::remove(&dir.recorded_cgroups())?;
        dir.remove()
    }
}
