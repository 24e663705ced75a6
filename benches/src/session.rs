//! What a measurement makes on this machine: a scratch directory, one cgroup of our own in each
//! hierarchy, containers. What must hold: when the session is dropped, also after a failure or an
//! interrupt, all of it is gone, and nothing else was touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bundle::{self, Change};
use crate::process::Runner;
use crate::view::{self, Layout, View};
use crate::{Result, sys};

/// A program to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// Column in the table.
    pub(crate) name: String,
    /// The executable.
    pub(crate) program: PathBuf,
    /// `oxrun-floor` knows nothing but a run.
    pub(crate) floor: bool,
}

/// What a runtime is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    /// A container that runs /bin/true, in the foreground, removed afterwards.
    Run,
    /// A container that is to pause.
    Create,
    /// Starts it.
    Start,
    /// Prints the version.
    Version,
    /// Prints the state of the running container.
    State,
    /// Runs /bin/true in it.
    Exec,
    /// Sends no signal.
    Kill,
    /// Kills and removes it.
    Delete,
    /// Prints all containers. Measured with a thousand of them, and so not among [`Op::ALL`].
    List,
}

impl Op {
    /// Those of one container, in the order in which they are done.
    pub(crate) const ALL: [Op; 8] =
        [Op::Run, Op::Create, Op::Start, Op::Version, Op::State, Op::Exec, Op::Kill, Op::Delete];

    /// The word on the command line and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Op::Run => "run",
            Op::Create => "create",
            Op::Start => "start",
            Op::Version => "version",
            Op::State => "state",
            Op::Exec => "exec",
            Op::Kill => "kill",
            Op::Delete => "delete",
            Op::List => "list",
        }
    }
}

/// See the head of this file.
pub(crate) struct Session {
    /// Everything we write.
    pub(crate) scratch: PathBuf,
    /// Runs the commands.
    pub(crate) runner: Runner,
    /// The hierarchies that the runtimes see.
    pub(crate) layout: Layout,
    group: String,
}

impl Session {
    /// Enters the view and prepares the rootfs and our cgroup.
    pub(crate) fn new(view: View) -> Result<Session> {
        let group = format!("oxrun-bench-{}-{view}", std::process::id());
        let scratch = std::env::temp_dir().join(&group);
        fs::create_dir(&scratch)?;
        let runner = Runner::new(&scratch);
        let empty = Layout { v2: None, v1: Vec::new() };
        // From here on Drop cleans up.
        let mut session = Session { scratch, runner, layout: empty, group };
        // Bundles and states of engines lie in /run, which is a tmpfs.
        sys::private_mounts()?;
        sys::mount("tmpfs", &session.scratch, "tmpfs", 0, "mode=700")?;
        session.layout = view::enter(view, &session.scratch)?;
        bundle::make_rootfs(&session.rootfs())?;
        for point in session.layout.all() {
            let dir = point.join(&session.group);
            fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                // On v1 a group without CPUs cannot be joined.
                let inherited = fs::read_to_string(point.join(file)).unwrap_or_default();
                if !inherited.trim().is_empty() && dir.join("cgroup.clone_children").exists() {
                    fs::write(dir.join(file), inherited.trim())?;
                    fs::write(dir.join("cgroup.clone_children"), "1")?;
                }
            }
        }
        Ok(session)
    }

    /// The rootfs of all containers.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.scratch.join("rootfs")
    }

    /// Writes the two bundles of a runtime.
    pub(crate) fn make_bundles(&self, runtime: &Runtime, change: Change) -> Result<()> {
        let cgroup = format!("/{}/{}", self.group, runtime.name);
        for (what, program) in [("true", "/bin/true"), ("check", "/bin/check"), ("pause", "/bin/pause")] {
            let dir = self.bundle(runtime, what);
            bundle::make(&dir, &self.rootfs(), program, &cgroup, change)?;
        }
        Ok(())
    }

    /// Writes the bundle of one container of many.
    pub(crate) fn make_one(&self, runtime: &Runtime, id: &str, program: &str, change: Change) -> Result<()> {
        let cgroup = format!("/{}/{}-{id}", self.group, runtime.name);
        bundle::make(&self.one(runtime, id), &self.rootfs(), program, &cgroup, change)
    }

    /// The bundle of one container of many.
    pub(crate) fn one(&self, runtime: &Runtime, id: &str) -> PathBuf {
        self.scratch.join(format!("{}-many", runtime.name)).join(id)
    }

    /// The command line of `op` for one container of many, whose pid file is in its bundle.
    pub(crate) fn command_of_one(&self, runtime: &Runtime, op: Op, id: &str) -> Command {
        let mut command = self.bare(&runtime.program);
        let bundle = self.one(runtime, id);
        self.words(runtime, op, &bundle, &bundle.join("pid"), id, "/bin/true", &mut command);
        command
    }

    /// Removes all containers of a runtime that are one of many, whatever their state.
    pub(crate) fn clear(&self, runtime: &Runtime) {
        kill_children();
        let prefix = format!("{}-", runtime.name);
        for point in self.layout.all() {
            for entry in fs::read_dir(point.join(&self.group)).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    remove_cgroup(&entry.path());
                }
            }
        }
        let _ = fs::remove_dir_all(self.state(runtime));
    }

    fn bundle(&self, runtime: &Runtime, what: &str) -> PathBuf {
        self.scratch.join(format!("{}-{what}", runtime.name))
    }

    /// The state root of a runtime.
    pub(crate) fn state(&self, runtime: &Runtime) -> PathBuf {
        self.scratch.join(format!("{}-state", runtime.name))
    }

    /// Where `create` writes the pid.
    pub(crate) fn pid_file(&self, runtime: &Runtime) -> PathBuf {
        self.scratch.join(format!("{}.pid", runtime.name))
    }

    /// The directories of the container's cgroup.
    pub(crate) fn cgroups(&self, runtime: &Runtime) -> Vec<PathBuf> {
        self.layout.all().map(|point| point.join(&self.group).join(&runtime.name)).collect()
    }

    /// The command line of `op`.
    pub(crate) fn command(&self, runtime: &Runtime, op: Op) -> Command {
        let mut command = self.bare(&runtime.program);
        self.arguments(runtime, op, "true", &mut command);
        command
    }

    /// The same with /bin/check in place of /bin/true: its status shows that it really ran.
    pub(crate) fn check_command(&self, runtime: &Runtime, op: Op) -> Command {
        let mut command = self.bare(&runtime.program);
        self.arguments(runtime, op, "check", &mut command);
        command
    }

    /// A command with the environment that all get.
    pub(crate) fn bare(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(&self.scratch);
        command
    }

    /// Adds the arguments of `op`; `run` and `exec` run `program` of /bin.
    pub(crate) fn arguments(&self, runtime: &Runtime, op: Op, program: &str, command: &mut Command) {
        let path = format!("/bin/{program}");
        if op == Op::Version {
            command.arg("--version");
            return;
        }
        if runtime.floor {
            let mut v1 = Vec::new();
            command.arg(self.rootfs());
            match &self.layout.v2 {
                Some(point) => command.arg(point.join(&self.group).join(&runtime.name)),
                None => command.arg("-"),
            };
            for point in &self.layout.v1 {
                v1.push(point.join(&self.group).join(&runtime.name));
            }
            command.args(v1).args(["--", &path]);
            return;
        }
        let id = format!("bench-{}", runtime.name);
        let bundle = self.bundle(runtime, if op == Op::Create { "pause" } else { program });
        self.words(runtime, op, &bundle, &self.pid_file(runtime), &id, &path, command);
    }

    #[allow(clippy::too_many_arguments)] // all that a command line can have
    fn words(
        &self,
        runtime: &Runtime,
        op: Op,
        bundle: &Path,
        pid_file: &Path,
        id: &str,
        program: &str,
        command: &mut Command,
    ) {
        command.arg("--root").arg(self.state(runtime)).arg(op.name());
        match op {
            Op::Run => command.arg("--bundle").arg(bundle).arg(id),
            Op::Create => command.arg("--bundle").arg(bundle).arg("--pid-file").arg(pid_file).arg(id),
            Op::Start | Op::State => command.arg(id),
            Op::Exec => command.args([id, program]),
            Op::Kill => command.args([id, "0"]),
            Op::Delete => command.args(["--force", id]),
            Op::List | Op::Version => command,
        };
    }

    /// What a container left behind, if anything.
    pub(crate) fn left_behind(&self, runtime: &Runtime) -> Option<String> {
        let state = self.state(runtime).join(format!("bench-{}", runtime.name));
        let mut paths = self.cgroups(runtime);
        paths.push(state);
        paths.iter().find(|path| path.exists()).map(|path| format!("left {}", path.display()))
    }

    /// Removes a container whatever its state.
    pub(crate) fn force_clean(&self, runtime: &Runtime) {
        if !runtime.floor && self.state(runtime).exists() && !sys::interrupted() {
            // Whatever it says: what it leaves is removed below.
            let _ = self.runner.run(&mut self.command(runtime, Op::Delete), None);
        }
        kill_children();
        for dir in self.cgroups(runtime) {
            remove_cgroup(&dir);
        }
        let _ = fs::remove_dir_all(self.state(runtime));
        let _ = fs::remove_file(self.pid_file(runtime));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        kill_children();
        for point in self.layout.all() {
            remove_cgroup(&point.join(&self.group));
        }
        let _ = sys::detach(&self.scratch.join("cgroup2"));
        let _ = sys::detach(&self.scratch);
        if let Err(e) = fs::remove_dir_all(&self.scratch) {
            eprintln!("{}: {e}", self.scratch.display());
        }
    }
}

/// Kills all our children. We are a subreaper: what a runtime left behind is among them, and when one
/// dies its own children come to us, hence the loop. Bounded to two seconds.
fn kill_children() {
    let start = Instant::now();
    let pid = std::process::id();
    while start.elapsed() < Duration::from_secs(2) {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children: Vec<_> = list
            .iter()
            .flat_map(|list| list.split_whitespace())
            .filter_map(|pid| sys::pidfd_open(pid.parse().ok()?).ok())
            .collect();
        if children.is_empty() {
            return;
        }
        for pidfd in &children {
            let _ = sys::kill(pidfd);
        }
        for pidfd in &children {
            let _ = sys::poll(&[pidfd], Duration::from_millis(500));
        }
        while sys::reap(-1).is_some() {}
    }
}

/// Kills what is in a cgroup of ours and below, and removes it. Bounded to two seconds.
fn remove_cgroup(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let start = Instant::now();
    loop {
        let _ = fs::write(dir.join("freezer.state"), "THAWED");
        let _ = fs::write(dir.join("cgroup.freeze"), "0");
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        let alive: Vec<_> = procs.lines().filter_map(|pid| sys::pidfd_open(pid.parse().ok()?).ok()).collect();
        for pidfd in &alive {
            let _ = sys::kill(pidfd);
            let _ = sys::poll(&[pidfd], Duration::from_millis(500));
        }
        while sys::reap(-1).is_some() {}
        match fs::remove_dir(dir) {
            Ok(()) => return,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) if start.elapsed() > Duration::from_secs(2) => {
                eprintln!("{}: {e}", dir.display());
                return;
            }
            // There is no event for "empty" on v1.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
