//! The state directory `<root>/<id>/`: what outlives the process that created a container.
//!
//! What must hold: it is written before init can outlive its creator; it holds no status, which is
//! derived; that of a program that begins at once counts when init has come to it; a pid in it is only a hint until the pidfd's identity agrees. The directory is the lock: it is
//! flocked for create, start and delete.
//!
//! Files: `state.json` (this module), `config.json` (the private copy), `start` (a fifo), `listener` (a socket), `fault` (the page
//! that init leaves, and behind it the cgroups about to be made), `exec` ([`crate::template`]), and `notify/notify.sock`, if the
//! program is to tell somebody that it is ready.

pub(crate) mod brief;

use crate::bundle::Warning;
use crate::cgroup::systemd::Unit;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::{Action, Agent, CgroupDir, HookAction, Namespace};
use crate::plan::{Plan, Step};
use crate::rdt::Groups;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind as Io, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The format's version.
const VERSION: u32 = 1;

/// That of a container whose program begins at once: it is there for others only when it has.
const AT_ONCE: u32 = 2;

/// What is recorded of a container.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) pid: u32,
    /// The pidfd's inode, where pidfds have one; else 0.
    pub(crate) pidfd_inode: u64,
    /// Start time of the process in clock ticks, where pidfds have no inode.
    pub(crate) start_time: u64,
    /// Creation time, RFC 3339 in UTC with nanoseconds.
    pub(crate) created: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) owner: u32,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) cgroups: Vec<CgroupDir>,
    /// The cgroups that create made and delete removes.
    pub(crate) made: Vec<PathBuf>,
    /// Whether its mounts are in no mount namespace, and reached only through its process's root.
    #[serde(default)]
    pub(crate) own_mounts: bool,
    /// Where Intel RDT counts and limits it.
    #[serde(default)]
    pub(crate) rdt: Option<Groups>,
    /// The namespaces that it does not share with its creator, new and joined.
    pub(crate) namespaces: Vec<Namespace>,
    /// Its session keyring.
    pub(crate) keyring: Option<String>,
    /// Whether the container has a pid namespace of its own: then its init takes all others along.
    pub(crate) own_pids: bool,
    pub(crate) hooks: Vec<HookAction>,
    /// Number of the plan's last step, for messages about it.
    pub(crate) exec_step: u32,
    /// Number of the first step that is a startContainer hook, for messages about them.
    pub(crate) first_start_hook: u32,
    /// The program, for messages.
    pub(crate) program: String,
    /// What the filter answers to its execve, if it does not let it pass.
    #[serde(default)]
    pub(crate) denies_execve: Option<Warning>,
    /// Who gets the listener of its filter.
    #[serde(default)]
    pub(crate) agent: Option<Agent>,
    /// The scope that systemd made for it.
    #[serde(default)]
    pub(crate) unit: Option<Unit>,
    /// Whether its program began without waiting for `start`. It was recorded before it was set up.
    #[serde(default)]
    pub(crate) at_once: bool,
}

/// What is in the state directory of a container that was started and entered by nobody.
const USUAL: [&str; 3] = ["state.json", "config.json", "fault"];

/// What else is ever made there.
const OTHERS: [&str; 5] = [".state.json", "start", "listener", "exec", ".exec"];

/// The directory of the socket for sd_notify(3).
const NOTIFY: &str = "notify";

/// The fifo that init waits at.
#[derive(Debug)]
pub(crate) enum Fifo {
    /// Init holds it: this is its writing end.
    Held(OwnedFd),
    /// It is there, and init does not hold it any more: it has just been started, or it ends.
    Left,
    /// `start` took it away, or it went with the directory.
    Gone,
}

/// An open state directory.
#[derive(Debug)]
pub(crate) struct StateDir {
    pub(crate) path: PathBuf,
    pub(crate) dir: File,
}

impl StateDir {
    /// Makes the directory of a new container and locks it. With it comes the file for [`StateDir::fill_fault`].
    ///
    /// Until it is locked it looks like what a killed creator left, and whoever cleans up takes it away; another creator
    /// may then have made one in its place. Whose it is says the file, which one of them makes.
    pub(crate) fn create(root: &Path, id: &str) -> Result<(StateDir, File)> {
        let path = root.join(id);
        let make = || std::fs::DirBuilder::new().mode(0o700).create(&path);
        let taken = || {
            let text = format!("container with given ID already exists: {id}");
            Error::new(ErrorKind::AlreadyExists, text)
        };
        loop {
            let made = match make() {
                // For the first container there is no root, and whatever is wrong with one is said of it.
                Err(e) if matches!(e.kind(), Io::NotFound | Io::NotADirectory) => {
                    make_root(root).map(|()| make())?
                }
                made => made,
            };
            made.map_err(|e| match e.kind() {
                Io::AlreadyExists => taken(),
                _ => Error::io(format!("mkdir({})", path.display()), &e),
            })?;
            let locked = StateDir::open_path(path.clone()).and_then(|dir| dir.lock().map(|()| dir));
            match locked {
                Ok(dir) => match dir.new_file(c"fault") {
                    Ok(fault) => return Ok((dir, fault)),
                    Err(e) if e.errno() == Some(libc::EEXIST) => return Err(taken()),
                    Err(e) => {
                        // The failure that is told is the one that matters.
                        let _ = dir.remove();
                        return Err(e);
                    }
                },
                Err(e) if e.kind() == ErrorKind::NotFound || e.errno() == Some(libc::ENOENT) => {}
                Err(e) => {
                    // Nobody knows of it yet. The failure to open it is the one that is told.
                    let _ = std::fs::remove_dir(path);
                    return Err(e);
                }
            }
        }
    }

    /// Opens the directory of an existing container.
    pub(crate) fn open(root: &Path, id: &str) -> Result<StateDir> {
        crate::id::check(id)?;
        StateDir::open_path(root.join(id)).map_err(|e| match e.errno() {
            Some(libc::ENOENT | libc::ENOTDIR) => {
                Error::new(ErrorKind::NotFound, format!("container does not exist: {id}"))
            }
            _ => e,
        })
    }

    fn open_path(path: PathBuf) -> Result<StateDir> {
        let mut options = std::fs::OpenOptions::new();
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let dir = options
            .read(true)
            .custom_flags(flags)
            .open(&path)
            .map_err(|e| Error::io(format!("open({})", path.display()), &e))?;
        Ok(StateDir { path, dir })
    }

    /// Waits until nobody else changes this container.
    pub(crate) fn lock(&self) -> Result<()> {
        sys::lock(&self.dir).map_err(|e| self.failed("flock", "", &e))?;
        if self.is_gone()? {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("container does not exist: {}", self.path.display()),
            ));
        }
        Ok(())
    }

    /// Lets others go on.
    pub(crate) fn unlock(&self) {
        // Closing would do it too; there is nothing to report.
        let _ = sys::unlock(&self.dir);
    }

    fn failed(&self, call: &str, name: &str, e: &std::io::Error) -> Error {
        Error::io(format!("{call}({})", self.path.join(name).display()), e)
    }

    /// Makes a file of the directory that was not there.
    pub(crate) fn new_file(&self, name: &std::ffi::CStr) -> Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        sys::open_at(&self.dir, name, flags, 0o600)
            .map(File::from)
            .map_err(|e| self.failed("open", &name.to_string_lossy(), &e))
    }

    /// Makes the fifo, open for reading and writing.
    pub(crate) fn new_fifo(&self) -> Result<OwnedFd> {
        sys::mkfifo(&self.dir, c"start", 0o600).map_err(|e| self.failed("mkfifo", "start", &e))?;
        sys::open_at(&self.dir, c"start", libc::O_RDWR, 0).map_err(|e| self.failed("open", "start", &e))
    }

    /// Makes the socket through which init, which listens there, sends the listeners of filters. Who may enter this
    /// directory is its caller.
    pub(crate) fn new_listener(&self) -> Result<OwnedFd> {
        sys::agent::listen(&self.dir, "listener").map_err(|e| self.failed("bind", "listener", &e))
    }

    /// A connection to init; none if it is gone.
    pub(crate) fn listener(&self) -> Result<Option<OwnedFd>> {
        match sys::agent::connect_to(&self.dir, "listener") {
            Err(e) if e.raw_os_error() == Some(libc::ECONNREFUSED) => Ok(None),
            r => r.map(Some).map_err(|e| self.failed("connect", "listener", &e)),
        }
    }

    /// Makes the directory that the program finds its socket in, whoever it is there.
    pub(crate) fn make_notify(&self) -> Result<()> {
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(self.path.join(NOTIFY))
            .map_err(|e| self.failed("mkdir", NOTIFY, &e))
    }

    /// Tells init, which holds the fifo, to go on, and takes the fifo away: from now on nobody else can start the
    /// container.
    ///
    /// # Errors
    /// EPIPE if init is gone.
    pub(crate) fn begin(&self, fifo: &OwnedFd) -> Result<()> {
        sys::write_byte(fifo, b's').map_err(|e| Error::io("write(start)", &e))?;
        // If it stays, a second start finds a container that does not wait any more.
        let _ = std::fs::remove_file(self.path.join("start"));
        Ok(())
    }

    /// The fifo's writing end, if init holds it.
    pub(crate) fn fifo(&self) -> Result<Fifo> {
        match sys::open_at(&self.dir, c"start", libc::O_WRONLY | libc::O_NONBLOCK, 0) {
            Ok(fd) => Ok(Fifo::Held(fd)),
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(Fifo::Left),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Fifo::Gone),
            Err(e) => Err(self.failed("open", "start", &e)),
        }
    }

    /// The first bytes of a file of this very directory, at most so many: its name may be that of another container's by
    /// now.
    fn head(&self, name: &std::ffi::CStr, most: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = sys::open_at(&self.dir, name, libc::O_RDONLY, 0)?;
        sys::read_all(file, &mut bytes, most.min(16 << 10), most)?;
        Ok(bytes)
    }

    fn whole(&self, name: &std::ffi::CStr) -> std::io::Result<Vec<u8>> {
        self.head(name, usize::MAX)
    }

    /// The bytes of the fault page.
    /// Nothing if the container was deleted meanwhile.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn fault(&self) -> Result<Vec<u8>> {
        match self.head(c"fault", oxrun_init::fault::SIZE) {
            Err(e) if e.kind() == Io::NotFound => Ok(Vec::new()),
            page => page.map_err(|e| self.failed("read", "fault", &e)),
        }
    }

    /// Writes the state, which counts when it is put in its place.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let json =
            serde_json::to_vec(state).map_err(|e| Error::new(ErrorKind::Internal, format!("state: {e}")))?;
        let mut file = self.new_file(c".state.json")?;
        file.write_all(&json).map_err(|e| self.failed("write", ".state.json", &e))
    }

    /// Puts the state that was written in its place: the whole of it is there, or nothing.
    pub(crate) fn put_in_place(&self) -> Result<()> {
        std::fs::rename(self.path.join(".state.json"), self.path.join("state.json"))
            .map_err(|e| self.failed("rename", "state.json", &e))
    }

    /// The private copy of the config.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        self.whole(c"config.json").map_err(|e| self.failed("open", "config.json", &e))
    }

    /// The error of a container that is not yet there.
    pub(crate) fn unfinished(&self) -> Error {
        Error::new(
            ErrorKind::NotFound,
            format!("container does not exist: {} has no state yet", self.path.display()),
        )
        .hint("it is being created, or its creator was killed: delete --force cleans up")
    }

    /// Reads the state.
    pub(crate) fn read(&self) -> Result<State> {
        let path = self.path.join("state.json");
        let bytes = self.whole(c"state.json").map_err(|e| match e.kind() {
            Io::NotFound => self.unfinished(),
            _ => self.failed("open", "state.json", &e),
        })?;
        let state = State::parse(&bytes)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("{}: {e}", path.display())))?;
        if state.version != if state.at_once { AT_ONCE } else { VERSION } {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{}: version {} of the state is unknown to this runtime",
                    path.display(),
                    state.version
                ),
            ));
        }
        Ok(state)
    }

    /// Removes the directory with the files that are made in it, and nothing else: the name may be that of a
    /// directory that never was a container's.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_files(&USUAL)?;
        if self.remove_empty()? {
            return Ok(());
        }
        self.remove_files(&OTHERS)?;
        if self.remove_empty()? { Ok(()) } else { self.remove_with_notify() }
    }

    fn remove_files(&self, names: &[&str]) -> Result<()> {
        for name in names {
            match std::fs::remove_file(self.path.join(name)) {
                Err(e) if e.kind() != Io::NotFound => return Err(self.failed("unlink", name, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the directory is gone; if not, something is left in it.
    fn remove_empty(&self) -> Result<bool> {
        match std::fs::remove_dir(&self.path) {
            Err(e) if e.kind() == Io::DirectoryNotEmpty => Ok(false),
            Err(e) if e.kind() != Io::NotFound => Err(self.failed("rmdir", "", &e)),
            _ => Ok(true),
        }
    }

    /// Few containers have it, so it is looked for only when something is left.
    fn remove_with_notify(&self) -> Result<()> {
        let place = self.path.join(NOTIFY);
        match std::fs::remove_file(place.join("notify.sock")) {
            Err(e) if e.kind() != Io::NotFound => {
                return Err(self.failed("unlink", "notify/notify.sock", &e));
            }
            _ => {}
        }
        match std::fs::remove_dir(place) {
            Err(e) if e.kind() != Io::NotFound => return Err(self.failed("rmdir", NOTIFY, &e)),
            _ => {}
        }
        std::fs::remove_dir(&self.path).map_err(|e| self.failed("rmdir", "", &e))
    }

    /// Fills the file of init's fault page. Behind the page it notes the cgroups that are about to be made, for whoever
    /// cleans up after a creator that was killed.
    pub(crate) fn fill_fault(&self, mut file: File, dirs: &[PathBuf]) -> Result<File> {
        // Written, so that there is room for it: a page that cannot be had later is a SIGBUS for init.
        let mut bytes = vec![0; oxrun_init::fault::SIZE];
        serde_json::to_writer(&mut bytes, dirs)
            .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        file.write_all(&bytes).map_err(|e| self.failed("write", "fault", &e))?;
        Ok(file)
    }

    /// The cgroups that a creator that never finished may have left.
    pub(crate) fn recorded_cgroups(&self) -> Vec<PathBuf> {
        let bytes = self.whole(c"fault").unwrap_or_default();
        let noted = bytes.get(oxrun_init::fault::SIZE..).unwrap_or_default();
        serde_json::from_slice(noted).unwrap_or_default()
    }

    /// Whether this directory is gone from its place: it was deleted while this handle waited for the lock.
    pub(crate) fn is_gone(&self) -> Result<bool> {
        self.dir.metadata().map(|m| m.nlink() == 0).map_err(|e| self.failed("stat", "", &e))
    }
}

/// Makes the state root, private to this user.
fn make_root(root: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    match builder.recursive(true).mode(0o700).create(root) {
        Ok(()) => Ok(()),
        // Something is there, and std could not tell that it is a directory.
        Err(e) if e.kind() == Io::AlreadyExists => match std::fs::metadata(root) {
            Ok(there) if there.is_dir() => Ok(()),
            Ok(_) => Err(Error::io(format!("mkdir({})", root.display()), &e)),
            Err(e) => Err(Error::io(format!("stat({})", root.display()), &e)),
        },
        Err(e) => Err(Error::io(format!("mkdir({})", root.display()), &e)),
    }
}

impl State {
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<State> {
        serde_json::from_slice(bytes)
    }

    /// The state of a container whose process was just made.
    ///
    /// # Errors
    /// If the process cannot be told from later ones with its pid.
    pub(crate) fn new(
        plan: &Plan,
        (pid, pidfd): (u32, &OwnedFd),
        made: Vec<PathBuf>,
        at_once: bool,
    ) -> Result<State> {
        let inode = sys::pidfd_inode(pidfd).map_err(|e| Error::io(format!("fstat of pidfd({pid})"), &e))?;
        let start_time = if inode.is_none() { start_time(pid)? } else { None };
        let own_pids = plan
            .steps
            .iter()
            .any(|s| matches!(&s.action, Action::Clone { new, .. } if new.contains(&Namespace::Pid)));
        let mut namespaces = Vec::new();
        let (mut keyring, mut rdt) = (None, None);
        for step in &plan.steps {
            match &step.action {
                Action::Clone { new, .. } | Action::Unshare { new } => namespaces.extend(new),
                Action::SetNs { kind, .. } => namespaces.push(*kind),
                Action::NewUser => namespaces.push(Namespace::User),
                Action::RdtJoin { groups, .. } => rdt = Some(groups.clone()),
                Action::Session { keyring: name } => keyring.clone_from(name),
                _ => {}
            }
        }
        let program = plan.steps.iter().find_map(|s| match &s.action {
            Action::Lookup { name, .. } => Some(name.clone()),
            _ => None,
        });
        let start = |s: &Step| matches!(&s.action, Action::Hook(h) if h.name == "startContainer");
        let first_start_hook = plan.steps.iter().position(start).map_or(0, |i| i as u32 + 1);
        Ok(State {
            version: if at_once { AT_ONCE } else { VERSION },
            id: plan.id.clone(),
            pid,
            pidfd_inode: inode.unwrap_or(0),
            start_time: start_time.unwrap_or(0),
            created: crate::time::rfc3339(std::time::SystemTime::now()),
            bundle: plan.bundle.clone(),
            rootfs: plan.rootfs.clone(),
            owner: sys::effective_user(),
            annotations: plan.annotations.clone(),
            cgroups: plan.cgroups.clone(),
            made,
            rdt,
            own_mounts: plan.steps.iter().any(|s| matches!(s.action, Action::LeaveMounts)),
            namespaces,
            keyring,
            own_pids,
            hooks: plan.later_hooks.clone(),
            exec_step: plan.steps.len() as u32,
            first_start_hook,
            program: program.unwrap_or_default(),
            denies_execve: plan.denies_execve.clone(),
            agent: plan.agent().cloned(),
            unit: plan.unit().cloned(),
            at_once,
        })
    }

    /// A pidfd of the container's process, if it is alive.
    ///
    /// # Errors
    /// As [`process`].
    pub(crate) fn process(&self) -> Result<Option<OwnedFd>> {
        process(self.pid, self.pidfd_inode, self.start_time)
    }

    /// The state that the specification describes, as hooks and `state` get it.
    pub(crate) fn document(&self, status: &str, pid: u32) -> String {
        let (before, after) = document(&self.id, status, &self.bundle, &self.annotations);
        format!("{before}{pid}{after}")
    }

    /// The startContainer hook that is step `number`.
    pub(crate) fn start_hook(&self, number: u32) -> Option<&HookAction> {
        let index = number.checked_sub(self.first_start_hook)? as usize;
        let mut hooks = self.hooks.iter().filter(|h| h.name == "startContainer");
        hooks.nth(index)
    }
}

/// What the state says before and after the pid.
pub(crate) fn document(
    id: &str,
    status: &str,
    bundle: &Path,
    annotations: &BTreeMap<String, String>,
) -> (String, String) {
    let text = |s: &str| serde_json::Value::from(s).to_string();
    let before =
        format!("{{\"ociVersion\":\"1.3.0\",\"id\":{},\"status\":{},\"pid\":", text(id), text(status),);
    let mut after = format!(",\"bundle\":{}", text(&bundle.to_string_lossy()));
    if !annotations.is_empty()
        && let Ok(json) = serde_json::to_string(annotations)
    {
        after.push_str(",\"annotations\":");
        after.push_str(&json);
    }
    after.push('}');
    (before, after)
}

/// A pidfd of a container's process, if it is alive. What its state says of it tells it from a later one with its pid.
///
/// # Errors
/// If that cannot be told: a container is not stopped because its caller has no descriptor left.
pub(crate) fn process(pid: u32, inode: u64, start: u64) -> Result<Option<OwnedFd>> {
    let io = |call: &str, e: &std::io::Error| Error::io(format!("{call}({pid})"), e);
    let pidfd = match sys::pidfd_open(pid) {
        Ok(pidfd) => pidfd,
        // EINVAL: the pid has become that of a thread, 0 that of a state nobody wrote.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => return Ok(None),
        Err(e) => return Err(io("pidfd_open", &e)),
    };
    let same = match sys::pidfd_inode(&pidfd).map_err(|e| io("fstat of pidfd", &e))? {
        Some(own) => own == inode,
        None => start_time(pid)? == Some(start),
    };
    let exited = sys::poll_exit(pidfd.as_fd(), Some(0)).map_err(|e| io("poll of pidfd", &e))?;
    Ok((same && !exited).then_some(pidfd))
}

/// Field 22 of /proc/PID/stat: when the process began, in clock ticks since boot. None if it is gone.
fn start_time(pid: u32) -> Result<Option<u64>> {
    let file = format!("/proc/{pid}/stat");
    let stat = match sys::read_record(&file) {
        Ok(stat) => stat,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(None),
        Err(e) => return Err(Error::io(format!("read({file})"), &e)),
    };
    // The name may contain blanks and parentheses: the last one ends it.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    Ok(rest.split(' ').nth(19).and_then(|field| field.parse().ok()))
}
