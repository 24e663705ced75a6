//! What a command line means.
//!
//! Values are read and in range here; whether they make sense together, and whether an id is one,
//! is for the library to say. Paths are as typed: relative ones are below the caller's working
//! directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::root::{self, RootFacts, StateRoot};
use crate::log::{Format, Level};

/// A whole command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// The file name the program was called by.
    pub(crate) program: String,
    /// Options before the command.
    pub(crate) global: Global,
    /// What is to be done.
    pub(crate) command: Command,
    /// One line for each option that was accepted but does nothing.
    pub(crate) warnings: Vec<String>,
}

/// Options before the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Global {
    /// The log file; none: standard error.
    pub(crate) log: Option<PathBuf>,
    /// The form of log records.
    pub(crate) log_format: Format,
    /// The least severe level, if it was given with `--log-level` or `--debug`.
    pub(crate) log_level: Option<Level>,
    /// The state root as typed. Ask [`Global::state_root`].
    pub(crate) root: Option<PathBuf>,
    /// Who makes cgroups.
    pub(crate) cgroup_manager: CgroupManager,
    /// Whether to go on where cgroups may not be touched. `None`: as the host demands.
    pub(crate) rootless: Option<bool>,
}

impl Global {
    /// The state root of this call.
    pub(crate) fn state_root(&self, facts: &RootFacts<'_>, cwd: &Path) -> Result<StateRoot, String> {
        root::choose(self.root.as_deref(), facts, cwd)
    }
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CgroupManager {
    /// This program, in the cgroup file system.
    #[default]
    Cgroupfs,
    /// systemd, asked over its bus.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// One command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print this text.
    Help(String),
    /// Print the version.
    Version,
    /// Make a container and stop before its program.
    Create(Create),
    /// Make a container and run its program.
    Run(Run),
    /// Let a created container run its program.
    Start(Id),
    /// Print the state.
    State(Id),
    /// Send a signal.
    Kill(Kill),
    /// Remove a container.
    Delete(Delete),
    /// Run another program in a container.
    Exec(Box<Exec>),
    /// Print all containers.
    List(List),
    /// Print the processes of a container.
    Ps(Ps),
    /// Freeze a container.
    Pause(Id),
    /// Thaw a container.
    Resume(Id),
    /// Change limits.
    Update(Box<Update>),
    /// Print what happens in a container.
    Events(Events),
    /// Write a container's processes to files.
    Checkpoint(Box<Checkpoint>),
    /// Make a container of such files.
    Restore(Box<Restore>),
    /// Write a config.json to start from.
    Spec(Spec),
    /// Print what this program can do.
    Features,
    /// Print the plan of a container.
    Explain(Explain),
    /// `check`
    Check(Check),
    /// Run a program in a container made of this host.
    Try(Try),
}

/// The container a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id {
    /// Its id, unchecked.
    pub(crate) id: String,
}

/// Arguments of `create`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Create {
    /// The new container's id, unchecked.
    pub(crate) id: String,
    /// The bundle; none: the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// Where the terminal's master is sent.
    pub(crate) console_socket: Option<PathBuf>,
    /// Where init's pidfd is sent.
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Where init's pid is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Move the root instead of exchanging it.
    pub(crate) no_pivot: bool,
    /// Keep the caller's session keyring.
    pub(crate) no_new_keyring: bool,
    /// So many descriptors from 3 on reach the process.
    pub(crate) preserve_fds: u32,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// What `create` takes as well.
    pub(crate) create: Create,
    /// Return when the program runs.
    pub(crate) detach: bool,
    /// Do not delete the container when its program ends.
    pub(crate) keep: bool,
    /// Do not become the reaper of orphans.
    pub(crate) no_subreaper: bool,
}

/// Arguments of `kill`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// 0 to 64.
    pub(crate) signal: i32,
    /// To every process of the container.
    pub(crate) all: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delete {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// Kill it first; no complaint if there is none.
    pub(crate) force: bool,
}

/// Arguments of `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exec {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// The program and its arguments; may be empty beside `process`.
    pub(crate) command: Vec<String>,
    /// A file with the whole process object. All options about the process are then ignored.
    pub(crate) process: Option<PathBuf>,
    /// Return when the program runs.
    pub(crate) detach: bool,
    /// Give it a terminal.
    pub(crate) tty: bool,
    /// Its working directory.
    pub(crate) cwd: Option<String>,
    /// Added to its environment.
    pub(crate) env: Vec<String>,
    /// Its user.
    pub(crate) user: Option<User>,
    /// Its further groups.
    pub(crate) additional_gids: Vec<u32>,
    /// Added to its bounding, effective and permitted capabilities.
    pub(crate) caps: Vec<String>,
    /// Where its pid is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Where the terminal's master is sent.
    pub(crate) console_socket: Option<PathBuf>,
    /// Where its pidfd is sent.
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Its SELinux label.
    pub(crate) process_label: Option<String>,
    /// Its AppArmor profile.
    pub(crate) apparmor: Option<String>,
    /// It and its children can gain no privileges.
    pub(crate) no_new_privs: bool,
    /// So many descriptors from 3 on reach the process.
    pub(crate) preserve_fds: u32,
    /// Existing cgroups below the container's.
    pub(crate) cgroups: Vec<SubCgroup>,
    /// Wait in a paused container instead of failing.
    pub(crate) ignore_paused: bool,
}

/// A numeric user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    /// The uid.
    pub(crate) uid: u32,
    /// The gid, if given.
    pub(crate) gid: Option<u32>,
}

/// A cgroup below the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubCgroup {
    /// Of these hierarchies; empty: of all.
    pub(crate) controllers: Vec<String>,
    /// Its path below the container's cgroup.
    pub(crate) path: String,
}

/// How something is listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ListFormat {
    /// Columns for people.
    #[default]
    Table,
    /// One line of JSON.
    Json,
}

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// The form.
    pub(crate) format: ListFormat,
    /// Ids only.
    pub(crate) quiet: bool,
}

/// Arguments of `ps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ps {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// The form.
    pub(crate) format: ListFormat,
    /// Arguments of the `ps` program; empty: its default.
    pub(crate) ps_args: Vec<String>,
}

/// Where new limits are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resources {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// Arguments of `update`. What is `None` is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Update {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// A document with all limits. The options below are then ignored.
    pub(crate) resources: Option<Resources>,
    /// `--blkio-weight`.
    pub(crate) blkio_weight: Option<u16>,
    /// `--cpu-period`, microseconds.
    pub(crate) cpu_period: Option<u64>,
    /// `--cpu-quota`, microseconds; -1: none.
    pub(crate) cpu_quota: Option<i64>,
    /// `--cpu-burst`, microseconds.
    pub(crate) cpu_burst: Option<u64>,
    /// `--cpu-idle`.
    pub(crate) cpu_idle: Option<i64>,
    /// `--cpu-share`.
    pub(crate) cpu_share: Option<u64>,
    /// `--cpu-rt-period`, microseconds.
    pub(crate) cpu_rt_period: Option<u64>,
    /// `--cpu-rt-runtime`, microseconds.
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// `--cpuset-cpus`.
    pub(crate) cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub(crate) cpuset_mems: Option<String>,
    /// `--memory`, bytes; -1: no limit.
    pub(crate) memory: Option<i64>,
    /// `--memory-reservation`, bytes; -1: none.
    pub(crate) memory_reservation: Option<i64>,
    /// `--memory-swap`, memory and swap together in bytes; -1: no limit.
    pub(crate) memory_swap: Option<i64>,
    /// `--pids-limit`; -1: no limit.
    pub(crate) pids_limit: Option<i64>,
    /// `--l3-cache-schema`.
    pub(crate) l3_cache_schema: Option<String>,
    /// `--mem-bw-schema`.
    pub(crate) mem_bw_schema: Option<String>,
}

/// Arguments of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Events {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// Time between two lots of figures, more than zero.
    pub(crate) interval: Duration,
    /// Print the figures once and end.
    pub(crate) stats: bool,
}

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Criu {
    /// The container's id, unchecked.
    pub(crate) id: String,
    /// Where the images are.
    pub(crate) image_path: PathBuf,
    /// Where work files and logs go.
    pub(crate) work_path: Option<PathBuf>,
    /// Keep TCP connections.
    pub(crate) tcp_established: bool,
    /// Leave out connections that are being made.
    pub(crate) tcp_skip_in_flight: bool,
    /// Accept unix sockets to the outside.
    pub(crate) ext_unix_sk: bool,
    /// Accept a job with a terminal.
    pub(crate) shell_job: bool,
    /// Keep file locks.
    pub(crate) file_locks: bool,
    /// Keep deleted files by links.
    pub(crate) link_remap: bool,
    /// Memory pages on demand.
    pub(crate) lazy_pages: bool,
    /// Images without duplicates.
    pub(crate) auto_dedup: bool,
    /// What to do with cgroups.
    pub(crate) manage_cgroups_mode: CgroupsMode,
    /// Namespaces made empty.
    pub(crate) empty_ns: Vec<String>,
}

/// What CRIU does with cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CgroupsMode {
    /// Restore properties of cgroups it made.
    #[default]
    Soft,
    /// Restore all.
    Full,
    /// Fail if they exist.
    Strict,
    /// Leave them alone.
    Ignore,
}

/// Arguments of `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// What `restore` takes as well.
    pub(crate) criu: Criu,
    /// The container goes on.
    pub(crate) leave_running: bool,
    /// Images of an earlier `--pre-dump`, relative to the image path.
    pub(crate) parent_path: Option<PathBuf>,
    /// Memory only.
    pub(crate) pre_dump: bool,
    /// Where readiness of lazy pages is told; none: nowhere.
    pub(crate) status_fd: Option<i32>,
    /// ADDRESS:PORT of a page server.
    pub(crate) page_server: Option<String>,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restore {
    /// What `checkpoint` takes as well.
    pub(crate) criu: Criu,
    /// What `run` takes as well.
    pub(crate) run: Run,
    /// TYPE:NAME of an LSM profile.
    pub(crate) lsm_profile: Option<String>,
    /// The LSM context of mounts.
    pub(crate) lsm_mount_context: Option<String>,
    /// Restore TCP connections as closed.
    pub(crate) tcp_close: bool,
}

/// Arguments of `spec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Where to write; none: the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// For a caller without root.
    pub(crate) rootless: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explain {
    /// The id the container would have, unchecked; none: the name of the bundle's directory.
    pub(crate) id: Option<String>,
    /// The bundle; none: the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// As JSON.
    pub(crate) json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The bundle; none: the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// As JSON.
    pub(crate) json: bool,
}

/// Arguments of `try`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Try {
    /// The program and its arguments, never empty.
    pub(crate) command: Vec<String>,
}
