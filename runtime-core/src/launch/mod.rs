//! Launch: walking a plan together with init.
//!
//! ```text
//! host steps -> hello (descriptors) -> spawn -> ... init's steps ...
//!      Clone:    <- pid, pidfd        the process outside exits, init goes on; read when the next message comes
//!      barrier:  <- reached N         host steps, go ->
//!      Created:  <- reached N         state is written, go ->
//! ```
//!
//! Of a program that begins at once, and from the clone on needs nobody, the state is written and "go" is said as soon as
//! its process exists: init finds that when it comes to `Created`, says nothing, and goes on. Neither waits for the other.
//!
//! What must hold: both sides walk the same list, so there is no message to misunderstand: a
//! message is the number of a step. The end of the stream is never success: the fault
//! page and the exit status say what happened. On failure everything that was made is undone.

pub(crate) mod agent;
mod executing;
mod image;
mod join;
mod mounting;
mod network;
mod report;
mod spawn;
mod stdio;
mod steps;
mod talk;
mod triage;
mod users;

pub use image::size as init_size;
pub(crate) use join::{Joined, join};
use spawn::{Outside, open_dir, spawn_init};
use stdio::Streams;
pub use stdio::{Stdio, Stream};
pub(crate) use talk::{PATIENCE, patience, poll_watched, silent};

use crate::bundle::{Warning, last_key};
use crate::cgroup::systemd::{self, Property, Unit};
use crate::cgroup::{end, freezer};
use crate::error::{Error, ErrorKind, Lane, Result};
use crate::plan::action::{Action, CgroupDir, Namespace};
use crate::plan::script::{self, Way};
use crate::plan::{Plan, sysctl};
use crate::rdt;
use crate::state::{State, StateDir};
use crate::sys::{self, Birth};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use talk::Message;

/// As many descriptors as one message carries, less the six that init may always get.
const MAX_PRESERVED: u32 = MOST_PRESERVED as u32;
const MOST_PRESERVED: usize = 247;

/// A process that was set up and waits for start.
pub(crate) struct Launched {
    pub(crate) state: State,
    pub(crate) pidfd: OwnedFd,
    pub(crate) console: Option<OwnedFd>,
    /// The control socket and the fault page, if the program begins at once.
    pub(crate) begun: Option<(OwnedFd, File)>,
}

/// Where a process is launched.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// In a new container with this state directory.
    New(&'a StateDir),
    /// In the container of this process with this pid.
    In(BorrowedFd<'a>, u32),
}

/// The host's side of a launch.
struct Host<'a> {
    plan: &'a Plan,
    place: Place<'a>,
    fault: File,
    control: Option<OwnedFd>,
    /// Where the clone's pid and pidfd will be told, and where they are once init has come to the clone, until somebody
    /// asks for them.
    aside: (Option<OwnedFd>, Option<OwnedFd>),
    /// The process that was spawned or cloned last, and its pid.
    process: Option<(u32, OwnedFd)>,
    /// The process that cloned it, until it is reaped.
    outside: Option<OwnedFd>,
    console: Option<OwnedFd>,
    /// Messages that came before the one that was waited for.
    early: Vec<Message>,
    /// A cloned source for the next "go".
    source: Option<OwnedFd>,
    inside: users::Inside,
    network: Option<network::Network>,
    made: Vec<PathBuf>,
    /// What stays when the container goes, and goes if it is not created.
    lasting: Vec<PathBuf>,
    /// What is said of the scope before it is made.
    properties: Vec<Property>,
    /// The scope that was made.
    unit: Option<Unit>,
    state: Option<State>,
    way: Way,
    /// The v2 cgroup that was opened last, and its path.
    cgroup: Option<(PathBuf, File)>,
}

/// Creates the container of a plan in a new state directory, which is locked. `fault` is its file for the page. Of the
/// `ways` those are taken that this plan allows.
pub(crate) fn launch(plan: &Plan, dir: &StateDir, fault: File, stdio: Stdio, ways: Way) -> Result<Launched> {
    let errno = match std::fs::metadata(&plan.rootfs) {
        Ok(meta) if meta.is_dir() => None,
        Ok(_) => Some(libc::ENOTDIR),
        Err(e) => Some(e.raw_os_error().unwrap_or(libc::EINVAL)),
    };
    if let Some(errno) = errno {
        let path = plan.rootfs.display();
        return Err(Error::syscall(format!("stat {path}"), errno)
            .context("invalid rootfs")
            .of_kind(ErrorKind::InvalidConfig)
            .at("/root/path"));
    }
    preserved(plan)?;
    refuse_own_network(plan)?;
    let way = Way {
        at_once: ways.at_once && script::may_begin_at_once(plan),
        cloned: ways.cloned && script::may_be_cloned_by_creator(plan),
    };
    let script = script::encode_for(plan, way)?;
    // Not what is there already: others' processes may be in it, and what is recorded is killed.
    let groups = plan.steps.iter().filter_map(|s| match &s.action {
        Action::RdtMonitor { dir, .. } => Some(dir.clone()),
        Action::RdtClass(class) if class.missing == rdt::Missing::MakeOwn => Some(class.dir.clone()),
        _ => None,
    });
    let groups: Vec<PathBuf> = groups.collect();
    // A monitoring group is removed before its class.
    let mut dirs = Vec::new();
    for path in plan.cgroups.iter().map(CgroupDir::dir).chain(groups.into_iter().rev()) {
        if !path.try_exists().map_err(|e| Error::io(format!("stat({})", path.display()), &e))? {
            dirs.push(path);
        }
    }
    let fault = dir.fill_fault(fault, &dirs)?;
    let host = Host { way, ..Host::new(plan, Place::New(dir), fault) };
    let host = host.carry_out(&script, &Streams::open(stdio)?)?;
    let (Some(state), Some((_, pidfd))) = (host.state, host.process) else {
        return Err(Error::new(ErrorKind::Internal, "the plan has no step `created`"));
    };
    Ok(Launched {
        state,
        pidfd,
        console: host.console,
        begun: host.control.zip(Some(host.fault)).filter(|_| way.at_once),
    })
}

/// A fault page as it is now.
pub(crate) fn page(file: &File) -> Result<Vec<u8>> {
    let mut page = vec![0; oxrun_init::fault::SIZE];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut page, 0)
        .map_err(|e| Error::io("cannot tell what became of the container's init: pread(fault)", &e))?;
    Ok(page)
}

impl<'a> Host<'a> {
    fn new(plan: &'a Plan, place: Place<'a>, fault: File) -> Host<'a> {
        Host {
            plan,
            place,
            fault,
            control: None,
            aside: (None, None),
            process: None,
            outside: None,
            console: None,
            early: Vec::new(),
            source: None,
            inside: users::Inside::default(),
            network: None,
            made: Vec::new(),
            lasting: Vec::new(),
            properties: Vec::new(),
            unit: None,
            state: None,
            way: Way::default(),
            cgroup: None,
        }
    }

    /// Walks the plan, and undoes what was made if that fails.
    fn carry_out(mut self, script: &[u8], streams: &Streams) -> Result<Host<'a>> {
        match self.walk(script, streams) {
            Ok(()) => {
                // Nothing of it is needed once the container is created.
                self.inside = users::Inside::default();
                self.network = None;
                Ok(self)
            }
            Err(e) => {
                let lost = self.undo();
                if lost.is_empty() {
                    return Err(e);
                }
                let hint =
                    format!("a network device could not be brought back to the host: {}", lost.join(", "));
                let hint = e.hint_text().map_or_else(|| hint.clone(), |first| format!("{first}; {hint}"));
                Err(e.hint(hint))
            }
        }
    }
}

impl Host<'_> {
    /// Every step in order: the host's own are carried out, the others are waited for where they say
    /// something.
    fn walk(&mut self, script: &[u8], streams: &Streams) -> Result<()> {
        let mut held = false;
        let mut steps = self.plan.steps.iter().zip(1u32..).peekable();
        while let Some((step, number)) = steps.next() {
            let in_step = |e: Error| e.or_at(&step.field).in_step(self.plan.step_ref(number));
            match (&step.lane, &step.action) {
                (Lane::Host, Action::Spawn { .. }) => {
                    self.spawn(script, streams).map_err(in_step)?;
                }
                (Lane::Host | Lane::Mntns, _) => {
                    if self.control.is_some() && !held {
                        self.reached(number)?;
                        held = true;
                    }
                    self.host_step(step).map_err(in_step)?;
                    let more = steps.peek().is_some_and(|(next, _)| next.lane.is_outside());
                    if held && !more {
                        self.go()?;
                        held = false;
                    }
                }
                (_, Action::Clone { .. }) => {
                    if !self.way.cloned {
                        self.cloned(number)?;
                    } else if script::is_alone(self.plan) {
                        // While init goes on.
                        self.prepare().map_err(in_step)?;
                    }
                    if self.way.at_once {
                        self.record().map_err(in_step)?;
                        self.go()?;
                        self.reap_outside();
                        return Ok(());
                    }
                }
                (_, Action::Created) => {
                    self.reached(number)?;
                    if let (Some(_), Place::New(dir)) = (self.plan.agent(), self.place) {
                        self.source = Some(dir.new_listener().map_err(in_step)?);
                    }
                    self.record().map_err(in_step)?;
                    self.go()?;
                    return Ok(());
                }
                (_, Action::Ready) => return self.reached(number),
                _ => {}
            }
        }
        Ok(())
    }

    /// Executes init outside and hands it its descriptors.
    fn spawn(&mut self, script: &[u8], streams: &Streams) -> Result<()> {
        let fifo = match self.place {
            // Any descriptor that the program does not inherit.
            Place::New(_) if self.way.at_once => None,
            Place::New(dir) => Some(dir.new_fifo()?),
            Place::In(init, _) => Some(init.try_clone_to_owned().map_err(|e| Error::io("dup", &e))?),
        };
        let preserved = preserved(self.plan)?;
        // One that begins at once says nothing else.
        let apart = script::shares_memory(self.plan) && !self.way.cloned && !self.way.at_once;
        let (aside, theirs) = match apart && preserved.len() < MOST_PRESERVED {
            true => sys::socketpair().map(|(a, b)| (Some(a), Some(b))),
            false => Ok((None, None)),
        }
        .map_err(|e| Error::io("socketpair", &e))?;
        self.aside.0 = aside;
        let outside = Outside {
            streams: streams.get(),
            preserved: &preserved,
            fifo: fifo.as_ref().map_or(self.fault.as_fd(), AsFd::as_fd),
            fault: self.fault.as_fd(),
            aside: theirs.as_ref().map(AsFd::as_fd),
        };
        let opened = self.cgroup.take();
        let (pid, pidfd, control) = match self.clone_step() {
            Some((number, new, cgroup)) => {
                let opened = opened.filter(|(path, _)| Some(path.as_path()) == cgroup);
                let cgroup = match (opened, cgroup) {
                    (Some((_, dir)), _) => Some(dir),
                    (None, Some(path)) => {
                        Some(open_dir(path).map_err(|e| e.in_step(self.plan.step_ref(number)))?)
                    }
                    (None, None) => None,
                };
                let namespaces = new.iter().fold(0, |flags, kind| flags | kind.flag());
                let into = Birth { namespaces, cgroup: cgroup.as_ref().map(AsFd::as_fd) };
                spawn_init(script, &outside, Some(&into))?
                    .map_err(|e| report::not_cloned(self.plan, number, &e))
            }
            None => spawn_init(script, &outside, None)?.map_err(|e| Error::io("clone3(\"oxrun-init\")", &e)),
        }?;
        self.process = Some((pid, pidfd));
        self.control = Some(control);
        Ok(())
    }

    /// The step that clones the container's process, if its creator does that: its number, namespaces and cgroup.
    fn clone_step(&self) -> Option<(u32, &[Namespace], Option<&Path>)> {
        let mut steps = self.plan.steps.iter().zip(1u32..).filter(|_| self.way.cloned);
        steps.find_map(|(step, number)| match &step.action {
            Action::Clone { new, cgroup } => Some((number, new.as_slice(), cgroup.as_deref())),
            _ => None,
        })
    }

    /// The state as far as it is known before the container is created.
    fn preliminary(&self) -> Result<State> {
        let (pid, pidfd) =
            self.process.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "no process"))?;
        State::new(self.plan, (*pid, pidfd), self.made.clone(), self.way.at_once)
    }

    /// Writes what will be the state.
    fn prepare(&mut self) -> Result<()> {
        let state = self.preliminary()?;
        let dir = self.dir()?;
        let mut copy = dir.new_file(c"config.json")?;
        copy.write_all(&self.plan.config).map_err(|e| Error::io("write(config.json)", &e))?;
        // Without it the first exec makes it.
        let template = &self.plan.template.file;
        if !template.is_empty()
            && let Ok(mut file) = dir.new_file(c"exec")
        {
            let _ = file.write_all(template);
        }
        dir.write(&state)?;
        self.state = Some(state);
        Ok(())
    }

    /// Puts the state in its place, and writes it before if nobody has. From here on the container outlives this process,
    /// if none of its hooks is running, which waits for nobody's end but ends with its creator.
    fn record(&mut self) -> Result<()> {
        if self.state.is_none() {
            self.prepare()?;
        }
        self.dir()?.put_in_place()
    }

    /// The directory of a new container.
    fn dir(&self) -> Result<&StateDir> {
        match self.place {
            Place::New(dir) => Ok(dir),
            Place::In(..) => Err(Error::new(ErrorKind::Internal, "`created` in a container that is there")),
        }
    }

    /// Leaves nothing behind: the network devices that could not be brought back.
    fn undo(&mut self) -> Vec<String> {
        self.collect_now();
        self.control = None;
        if let Some((_, pidfd)) = self.process.take() {
            let _ = sys::pidfd_signal(&pidfd, libc::SIGKILL);
            if matches!(self.place, Place::New(_)) {
                freezer::release_killed(&self.plan.cgroups);
            }
            let _ = sys::wait_within(&pidfd, talk::DEATH);
        }
        self.reap_outside();
        let lost = self.network.take().map_or_else(Vec::new, network::Network::bring_back);
        // The failure that is being reported is the one that matters.
        if let Some(unit) = &self.unit {
            let _ = systemd::stop(unit);
        }
        let _ = end::remove(&self.made);
        rdt::remove(&self.lasting);
        if let Place::New(dir) = self.place {
            let _ = dir.remove();
        }
        lost
    }
}

/// The descriptors that the caller's caller hands to the program.
fn preserved(plan: &Plan) -> Result<Vec<BorrowedFd<'static>>> {
    let count = plan.preserve_fds();
    let mut fds = Vec::new();
    for n in 0..count {
        let fd = 3i32.saturating_add_unsigned(n);
        fds.push(sys::inherited(fd).ok_or_else(|| {
            Error::syscall(format!("unable to stat preserved-fd {fd} (of {count})"), libc::EBADF)
        })?);
    }
    if count > MAX_PRESERVED {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("at most {MAX_PRESERVED} descriptors can be preserved"),
        ));
    }
    Ok(fds)
}

/// A joined network namespace that is the caller's own is the host's: its sysctls are not the container's to set, and
/// its devices are where they are.
fn refuse_own_network(plan: &Plan) -> Result<()> {
    let network = plan.steps.iter().find_map(|s| match &s.action {
        Action::SetNs { kind: Namespace::Network, path } => Some(path),
        _ => None,
    });
    let concerned = plan.steps.iter().find_map(|s| match &s.action {
        Action::Sysctl { key, .. } if key.starts_with("net/") => {
            Some((s, sysctl::in_host_network(&last_key(&s.field))))
        }
        Action::NetDevice { .. } => {
            Some((s, "the network namespace of the container is the host's".to_owned()))
        }
        _ => None,
    });
    let (Some(path), Some((step, text))) = (network, concerned) else {
        return Ok(());
    };
    let id = |p: &std::path::Path| match std::fs::metadata(p) {
        Ok(there) => Ok(Some((there.dev(), there.ino()))),
        // Joining it tells that it is not there.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("stat({})", p.display()), &e)),
    };
    let joined = id(path)?;
    if joined.is_some() && joined == id("/proc/self/ns/net".as_ref())? {
        return Err(Error::config(step.field.clone(), text));
    }
    Ok(())
}

/// How far a started container came.
pub(crate) enum Started {
    /// It ended before its program.
    Failed(Error),
    /// The last execve was called, after so many page faults.
    Executing { faults: u64 },
}

/// What the fault page says of a container that was told to start.
pub(crate) fn started(page: &[u8], state: &State) -> Started {
    let denied = state.denies_execve.as_ref();
    report::started(page, state.exec_step, &state.rootfs, denied, |n| state.start_hook(n))
}

/// Whether init has not come past `created` yet.
pub(crate) fn is_unfinished(plan: &Plan, page: &[u8]) -> bool {
    let created = plan.steps.iter().zip(1u32..).find(|(step, _)| step.action == Action::Created);
    created.is_some_and(|(_, created)| report::step_of(page) <= created)
}

/// Why init, which ends, did not come past `created`.
pub(crate) fn unfinished(plan: &Plan, page: &[u8], pidfd: &OwnedFd) -> Error {
    let status = sys::wait_within(pidfd, talk::DEATH).unwrap_or(sys::ExitStatus::Unknown);
    report::failure(plan, page, status)
}

/// The error of a program that the kernel killed while it loaded it.
pub(crate) fn unloadable(program: &str, signal: i32, denied: Option<&Warning>) -> Error {
    let e = Error::new(
        ErrorKind::Exec,
        format!("exec {program}: killed by signal {signal} while the kernel loaded it"),
    )
    .at("/process/args/0");
    match denied {
        Some(denied) if signal == libc::SIGSYS => e.at(denied.field.clone()).hint(denied.message.clone()),
        _ => e.hint("a damaged ELF file, RLIMIT_AS or RLIMIT_STACK too small for it, or somebody's SIGKILL"),
    }
}
