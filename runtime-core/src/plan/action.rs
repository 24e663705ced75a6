//! What a step does: one sentence of config.json, or of what the specification implies, as data.
//!
//! An action knows everything that is needed to carry it out, so that nothing behind planning reads
//! the config again.

use super::caps::CapSets;
use super::options::{DataOption, MountOptions};
use super::ranges::Ranges;
use crate::cgroup::devices::DeviceRule;
use crate::cgroup::systemd::{Property, Unit};
use crate::rdt::{Class, Groups};
use crate::seccomp::Program;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The kinds of namespaces, in the order of the kernel's flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Time.
    Time,
    /// Mount.
    Mount,
    /// Cgroup.
    Cgroup,
    /// Host and domain name.
    Uts,
    /// System V IPC and message queues.
    Ipc,
    /// User and group ids.
    User,
    /// Process ids.
    Pid,
    /// Network.
    Network,
}

impl Namespace {
    /// Every kind.
    pub const ALL: [Namespace; 8] = [
        Namespace::Pid,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Mount,
        Namespace::Network,
        Namespace::Cgroup,
        Namespace::User,
        Namespace::Time,
    ];

    /// The flag for clone3(2), unshare(2) and setns(2).
    #[must_use]
    pub fn flag(self) -> u64 {
        match self {
            Namespace::Time => 0x80,
            Namespace::Mount => 0x2_0000,
            Namespace::Cgroup => 0x200_0000,
            Namespace::Uts => 0x400_0000,
            Namespace::Ipc => 0x800_0000,
            Namespace::User => 0x1000_0000,
            Namespace::Pid => 0x2000_0000,
            Namespace::Network => 0x4000_0000,
        }
    }

    /// The name in config.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Time => "time",
            Namespace::Mount => "mount",
            Namespace::Cgroup => "cgroup",
            Namespace::Uts => "uts",
            Namespace::Ipc => "ipc",
            Namespace::User => "user",
            Namespace::Pid => "pid",
            Namespace::Network => "network",
        }
    }
}

/// A cgroup directory to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CgroupDir {
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The cgroup in it, without leading slash.
    pub path: PathBuf,
    /// The controllers of a v1 hierarchy; none for the v2 tree.
    pub controllers: Option<Vec<String>>,
}

impl CgroupDir {
    /// The directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.mount.join(&self.path)
    }
}

/// One line of a uid_map or gid_map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// Whose ids a bind mount shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Idmap {
    /// The mount's own maps; without them those of the container's user namespace.
    pub maps: Option<IdMaps>,
    /// The mounts below it too.
    pub recursive: bool,
}

/// The maps of a user namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct IdMaps {
    /// Lines of uid_map.
    pub uids: Vec<IdMap>,
    /// Lines of gid_map.
    pub gids: Vec<IdMap>,
}

/// How the maps of a user namespace are written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MapWriter {
    /// By the caller, who has the rights.
    Caller,
    /// By the caller, who has none: a single id of its own, and setgroups(2) is denied for good.
    Own,
    /// By these set-user-id programs, newuidmap(1) and newgidmap(1).
    Helpers {
        /// newuidmap.
        uid: PathBuf,
        /// newgidmap.
        gid: PathBuf,
    },
}

/// The clocks of a new time namespace, as seconds and nanoseconds added to the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Seconds, perhaps negative.
    pub secs: i64,
    /// Nanoseconds, below a second.
    pub nanosecs: u32,
}

/// Who decides about the calls that a filter leaves to somebody else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Agent {
    /// The socket it listens on.
    pub path: PathBuf,
    /// What it is told beside the container's state.
    pub metadata: String,
}

/// A hook to run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HookAction {
    /// `prestart`, `createRuntime` ...
    pub name: String,
    /// Its place in the list, from 0.
    pub index: usize,
    /// The executable.
    pub path: PathBuf,
    /// argv with `argv[0]`; the path alone if the config gives none.
    pub args: Vec<String>,
    /// The whole environment. Without one a startContainer hook gets the program's, the others get none.
    pub env: Option<Vec<String>>,
    /// Seconds after which it is killed.
    pub timeout: Option<u64>,
}

/// A device node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Where.
    pub path: PathBuf,
    /// `c`, `b` or `p`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A new filesystem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FilesystemMount {
    /// The filesystem's name.
    pub fstype: String,
    /// What it shows as its source.
    pub source: String,
    /// Where in the container.
    pub destination: PathBuf,
    /// Flags and data.
    pub options: MountOptions,
    /// The destination must be an ordinary directory.
    pub ordinary: bool,
    /// The mode comes from the directory that is covered.
    pub inherit_mode: bool,
    /// The SELinux label of its root directory, where an option cannot say it.
    pub label: Option<String>,
}

/// A tree of the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BindMount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// The source was cloned in a step before and is handed to init.
    pub staged: bool,
    /// Where in the container.
    pub destination: PathBuf,
    /// With everything mounted below it.
    pub recursive: bool,
    /// Flags.
    pub options: MountOptions,
    /// The source stands for this node, and must be it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceNode>,
}

/// A scheduler and its parameters, in the kernel's numbers (sched_setattr(2)).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_...`.
    pub policy: u32,
    /// `SCHED_FLAG_...`.
    pub flags: u64,
    /// Nice value, -20 to 19.
    pub nice: i32,
    /// Static priority of `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// `SCHED_DEADLINE`: nanoseconds of running time in each period.
    pub runtime: u64,
    /// `SCHED_DEADLINE`: nanoseconds after which they must have passed.
    pub deadline: u64,
    /// `SCHED_DEADLINE`: nanoseconds of a period; 0 for the deadline.
    pub period: u64,
    /// The cgroup confines the process to some processors, which real-time schedulers do not like.
    pub cpuset: bool,
}

/// A security module that labels programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lsm {
    /// Profiles by name.
    AppArmor,
    /// Labels with a user, a role, a type and a level.
    SeLinux,
}

/// What is done in a step. The variants stand in the order in which a plan uses them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the fields are named by the variant's sentence
pub enum Action {
    /// Enable controllers of the v2 tree, down to a cgroup.
    CgroupEnable { dir: CgroupDir, controllers: Vec<String> },
    /// A property of the scope that follows.
    UnitProperty(Property),
    /// Let systemd make the container's cgroups, as a scope with these properties, and put the process into it: by its
    /// pidfd, or by its number.
    Scope { unit: Unit, dirs: Vec<CgroupDir>, by_handle: bool },
    /// Change a property of the scope.
    UnitChange { unit: Unit, property: Property },
    /// Let systemd put the process into a scope that is there, or into a cgroup below its own.
    Attach { unit: Unit, below: PathBuf },
    /// Make the container's cgroups.
    CgroupCreate { dirs: Vec<CgroupDir> },
    /// Write a value to a file of a cgroup.
    CgroupWrite { file: PathBuf, value: String },
    /// Give a v2 cgroup that is new to a user: the directory, and the files that the kernel says go with it.
    CgroupOwner { dir: PathBuf, uid: u32 },
    /// Set the device rules of a v1 cgroup.
    DevicesV1 { dir: PathBuf, rules: Vec<DeviceRule> },
    /// Set the device rules of a v2 cgroup.
    DevicesV2 { dir: PathBuf, rules: Vec<DeviceRule> },
    /// Make the class of service of Intel RDT, or look whether the one that is there is the one that is wanted.
    RdtClass(Class),
    /// Write the lines of a class of service, in the filesystem mounted at `mount`.
    RdtSchemata { mount: PathBuf, file: PathBuf, lines: Vec<String> },
    /// Make the monitoring group of the container.
    RdtMonitor { mount: PathBuf, dir: PathBuf },
    /// Put the process into these groups; a further one where they still are.
    RdtJoin { groups: Groups, further: bool },
    /// Execute init outside, with these descriptors.
    Spawn { preserve_fds: u32 },
    /// Set the OOM score.
    OomScoreAdj { value: i32 },
    /// Bind the process to some processors: at first, while it joins the cgroups, or for good.
    Affinity { cpus: Ranges, last: bool },
    /// Enter v1 cgroups.
    JoinTasks { files: Vec<PathBuf> },
    /// Enter a namespace.
    SetNs { kind: Namespace, path: PathBuf },
    /// Open the v2 cgroup of the container before its mount namespace is entered. Where it takes no
    /// process any more, the one that the container's first process is in may do, in the tree mounted at `or_init`.
    OpenCgroup { dir: PathBuf, or_init: Option<PathBuf> },
    /// Enter the namespaces of the container's process.
    Enter { kinds: Vec<Namespace> },
    /// Make a user namespace.
    NewUser,
    /// Write the maps of the user namespace.
    MapIds { maps: IdMaps, by: MapWriter },
    /// Refuse a joined user namespace whose maps are others than these.
    CompareMaps { maps: IdMaps },
    /// Become root of the user namespace, without groups where that is allowed.
    BecomeRoot { drop_groups: bool },
    /// Open a v1 `tasks` file, while the caller's rights are in force, for a later step.
    OpenTasks { file: PathBuf },
    /// Enter the cgroup that was opened.
    JoinOpened,
    /// Set the clocks of a new time namespace.
    TimeOffsets { monotonic: Option<ClockOffset>, boottime: Option<ClockOffset> },
    /// Clone the container's process into new namespaces and its v2 cgroup.
    Clone { new: Vec<Namespace>, cgroup: Option<PathBuf> },
    /// Make namespaces that must come after the clone.
    Unshare { new: Vec<Namespace> },
    /// Lead a session, with a keyring of this name.
    Session { keyring: Option<String> },
    /// Set the host name.
    Hostname { name: String },
    /// Set the domain name.
    Domainname { name: String },
    /// Set the loopback interface up.
    Loopback,
    /// Move a network device of the host into the container's network namespace. A `%d` in its name there stands for
    /// the lowest free number.
    NetDevice { name: String, inside: String },
    /// Keep mounts of the container from the host.
    Propagation { flags: u64 },
    /// Clone the root filesystem and attach the clone where it lies, and hand it to init.
    CloneRoot { path: PathBuf },
    /// Make a mount namespace for the set-up of a container without one.
    HideMounts,
    /// Go back to the caller's mount namespace, with everything that was mounted below the root in none.
    LeaveMounts,
    /// Open the root of the container's process, for a further one, and hand it to init.
    TakeRoot,
    /// Make the root that was handed over the root.
    EnterRoot,
    /// Clone the root filesystem and attach the clone where it lies, or take it from the step before. With `alone` no
    /// procfs or sysfs is left that the clone covers.
    Root {
        path: PathBuf,
        staged: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        alone: bool,
    },
    /// Make and attach a filesystem.
    Mount(FilesystemMount),
    /// Clone a source and hand it to init: in the host's mount namespace to stay its peer, in the container's to
    /// keep its locks.
    CloneSource { source: PathBuf, recursive: bool, idmap: Option<Idmap> },
    /// Attach a tree of the host.
    Bind(BindMount),
    /// Change a mount of the container.
    SetAttr { destination: PathBuf, set: u64, clear: u64, propagation: u64 },
    /// Change a mount that is there, and its filesystem too if that is said.
    Remount { destination: PathBuf, filesystem: bool, options: MountOptions },
    /// Make a device node.
    Device(DeviceNode),
    /// Make a symbolic link.
    Symlink { target: String, path: PathBuf },
    /// Run a hook: prestart and createRuntime in the host's lane; createContainer and startContainer in init's,
    /// the latter under the filter that a later step loads.
    Hook(HookAction),
    /// Open the terminal.
    Console { uid: u32, width: u32, height: u32, on_dev: bool },
    /// Take the terminal's controlling side from init.
    ReceiveConsole,
    /// Cover a path; the empty filesystem that covers directories gets this option.
    Mask { path: PathBuf, context: Option<DataOption> },
    /// Make a path read-only.
    Readonly { path: PathBuf },
    /// Make the root read-only.
    RootReadonly,
    /// Change the root; by moving it without a procfs or sysfs of the host beside it.
    Pivot { move_root: bool, propagation: u64 },
    /// Write a sysctl.
    Sysctl { key: String, value: String },
    /// Set a resource limit.
    Rlimit { name: String, resource: u32, soft: u64, hard: u64 },
    /// Forbid new privileges.
    NoNewPrivs,
    /// Set the security label of the program, from the execve on.
    ProgramLabel { lsm: Lsm, label: String },
    /// Set the scheduler.
    Scheduler(Scheduler),
    /// Set class and level of I/O priority (ioprio_set(2)).
    IoPriority { class: u32, level: u32 },
    /// Set the policy for memory nodes (set_mempolicy(2)): `MPOL_...`, `MPOL_F_...` and nodes.
    MemoryPolicy { mode: u32, flags: u32, nodes: Ranges },
    /// Set the execution domain.
    Personality { domain: u32 },
    /// Set the umask.
    Umask { mask: u32 },
    /// Go to the working directory.
    Cwd { path: PathBuf, create: bool, uid: u32, gid: u32 },
    /// Cut the bounding set.
    Bounding { keep: u64, last: u32 },
    /// Become the user.
    Identity { uid: u32, gid: u32, groups: Vec<u32>, keep_groups: bool },
    /// Set the capability sets. `waiting` is what is kept only until the filter is loaded.
    Caps { sets: CapSets, waiting: u64 },
    /// Raise the ambient set.
    Ambient { set: u64 },
    /// Find HOME.
    Home { uid: u32 },
    /// Find the program.
    Lookup { name: String, candidates: Vec<PathBuf> },
    /// The container is created: wait for start.
    Created,
    /// A further process of a container is set up.
    Ready,
    /// Hand the listener of the filter that follows to an agent.
    Listener(Agent),
    /// Load the filter.
    Seccomp(Program),
    /// Become the program.
    Exec { args: Vec<String>, env: Vec<String> },
}
