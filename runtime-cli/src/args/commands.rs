//! The commands and their options, one row each.

use super::read;
use super::table::{Arity, CommandDef, Flag, Trailing};

const BUNDLE: Flag = Flag::option("bundle", "DIR", "the bundle (default: the working directory)").short('b');
const CONSOLE_SOCKET: Flag =
    Flag::option("console-socket", "SOCKET", "send the terminal's master to this unix socket");
const PIDFD_SOCKET: Flag =
    Flag::option("pidfd-socket", "SOCKET", "send a pidfd of the process to this unix socket");
const PID_FILE: Flag = Flag::option("pid-file", "FILE", "write the pid of the process to FILE");
const NO_PIVOT: Flag =
    Flag::switch("no-pivot", "move the root instead of exchanging it, for a rootfs on a ramdisk");
const NO_NEW_KEYRING: Flag =
    Flag::switch("no-new-keyring", "keep the caller's session keyring in the container");
const PRESERVE_FDS: Flag = Flag::option(
    "preserve-fds",
    "N",
    "pass N more file descriptors, beside standard ones and $LISTEN_FDS (default: 0)",
);
const DETACH: Flag = Flag::switch("detach", "return once the program runs").short('d');
const NO_SUBREAPER: Flag = Flag::switch("no-subreaper", "do not become the reaper of orphans");
const FORMAT: Flag = Flag::option("format", "table|json", "how it is printed (default: table)").short('f');

const ID: &str = "<container-id>";

pub(super) const CREATE: CommandDef = CommandDef {
    name: "create",
    usage: ID,
    about: "create a container",
    details: "The container is set up completely and waits for \"start\" before its program.",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        // Some callers add these; `create` does them anyway.
        NO_SUBREAPER.hidden(),
        DETACH.hidden(),
    ],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::create,
};

pub(super) const RUN: CommandDef = CommandDef {
    name: "run",
    usage: ID,
    about: "create a container and run its program",
    details: "Without --detach the exit code is that of the program, and the container is deleted\n\
              when it ends.",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        DETACH,
        Flag::switch("keep", "do not delete the container when its program ends"),
        NO_SUBREAPER,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::run,
};

pub(super) const START: CommandDef = CommandDef {
    name: "start",
    usage: ID,
    about: "run the program of a created container",
    details: "",
    flags: &[],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::start,
};

pub(super) const STATE: CommandDef = CommandDef {
    name: "state",
    usage: ID,
    about: "print the state of a container as JSON",
    details: "",
    flags: &[],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::state,
};

pub(super) const KILL: CommandDef = CommandDef {
    name: "kill",
    usage: "<container-id> [signal]",
    about: "send a signal to the container's first process",
    details: "The signal is a number or a name such as TERM, SIGTERM or RTMIN+3 (default: TERM).",
    flags: &[Flag::switch("all", "send it to every process of the container").short('a')],
    positionals: Arity::Between(1, 2),
    trailing: Trailing::None,
    read: read::kill,
};

pub(super) const DELETE: CommandDef = CommandDef {
    name: "delete",
    usage: ID,
    about: "remove a container that has stopped or was never started",
    details: "",
    flags: &[Flag::switch("force", "kill it first; one that does not exist is no error").short('f')],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::delete,
};

pub(super) const EXEC: CommandDef = CommandDef {
    name: "exec",
    usage: "<container-id> <command> [arguments...]",
    about: "run another program in a container",
    details: "With --process the program and all that belongs to it come from a file.",
    flags: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        Flag::option("cwd", "DIR", "working directory in the container"),
        Flag::option("env", "NAME=VALUE", "add to the environment, may be repeated").short('e').repeated(),
        Flag::switch("tty", "give the program a terminal").short('t'),
        Flag::option("user", "UID[:GID]", "user of the program, in numbers").short('u'),
        Flag::option("additional-gids", "GID", "a further group, may be repeated").short('g').repeated(),
        Flag::option("process", "FILE", "read the whole process from FILE, as JSON").short('p'),
        DETACH,
        PID_FILE,
        Flag::option("process-label", "LABEL", "SELinux label of the program"),
        Flag::option("apparmor", "PROFILE", "AppArmor profile of the program"),
        Flag::switch("no-new-privs", "the program can gain no privileges"),
        Flag::option("cap", "CAPABILITY", "add a capability, may be repeated").short('c').repeated(),
        PRESERVE_FDS,
        Flag::option(
            "cgroup",
            "[CONTROLLER[,...]:]PATH",
            "an existing cgroup below the container's, may be repeated",
        )
        .repeated(),
        Flag::switch("ignore-paused", "in a paused container: wait until it is resumed"),
    ],
    positionals: Arity::AtLeast(1),
    trailing: Trailing::AfterId,
    read: read::exec,
};

pub(super) const LIST: CommandDef = CommandDef {
    name: "list",
    usage: "",
    about: "list the containers of this state root",
    details: "",
    flags: &[FORMAT, Flag::switch("quiet", "ids only").short('q')],
    positionals: Arity::Exactly(0),
    trailing: Trailing::None,
    read: read::list,
};

pub(super) const PS: CommandDef = CommandDef {
    name: "ps",
    usage: "<container-id> [ps options]",
    about: "list the processes of a container",
    details: "The table is made by the host's ps program (default options: -ef).",
    flags: &[FORMAT],
    positionals: Arity::AtLeast(1),
    trailing: Trailing::AfterId,
    read: read::ps,
};

pub(super) const PAUSE: CommandDef = CommandDef {
    name: "pause",
    usage: ID,
    about: "freeze all processes of a container",
    details: "",
    flags: &[],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::pause,
};

pub(super) const RESUME: CommandDef = CommandDef {
    name: "resume",
    usage: ID,
    about: "let the processes of a paused container go on",
    details: "",
    flags: &[],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::resume,
};

pub(super) const UPDATE: CommandDef = CommandDef {
    name: "update",
    usage: ID,
    about: "change the limits of a container",
    details: "What is not named stays as it is. Memory takes units (64M, 1G); -1 is no limit.",
    flags: &[
        Flag::option(
            "resources",
            "FILE",
            "read linux.resources from FILE, or - for standard input, and ignore the rest",
        )
        .short('r'),
        Flag::option("blkio-weight", "N", "weight of block I/O, 10 to 1000"),
        Flag::option("cpu-period", "USEC", "period of the CPU quota"),
        Flag::option("cpu-quota", "USEC", "CPU time per period"),
        Flag::option("cpu-burst", "USEC", "CPU time that may be saved up"),
        Flag::option("cpu-idle", "N", "1: run only when the CPU is idle"),
        Flag::option("cpu-share", "N", "CPU shares, relative to other containers"),
        Flag::option("cpu-rt-period", "USEC", "period of the real-time CPU time"),
        Flag::option("cpu-rt-runtime", "USEC", "real-time CPU time per period"),
        Flag::option("cpuset-cpus", "LIST", "CPUs to use"),
        Flag::option("cpuset-mems", "LIST", "memory nodes to use"),
        Flag::option("memory", "BYTES", "memory limit"),
        Flag::option("memory-reservation", "BYTES", "soft memory limit"),
        Flag::option("memory-swap", "BYTES", "limit of memory and swap together"),
        Flag::option("pids-limit", "N", "limit of tasks"),
        Flag::option("kernel-memory", "BYTES", "accepted for old callers")
            .hidden()
            .ignored("--kernel-memory is ignored: the kernel counts it with the container's memory"),
        Flag::option("kernel-memory-tcp", "BYTES", "accepted for old callers")
            .hidden()
            .ignored("--kernel-memory-tcp is ignored: the kernel counts it with the container's memory"),
        Flag::option("l3-cache-schema", "SCHEMA", "Intel RDT schema of the L3 cache"),
        Flag::option("mem-bw-schema", "SCHEMA", "Intel RDT schema of memory bandwidth"),
    ],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::update,
};

pub(super) const EVENTS: CommandDef = CommandDef {
    name: "events",
    usage: ID,
    about: "print usage figures and OOM kills of a container",
    details: "",
    flags: &[
        Flag::option("interval", "DURATION", "time between two figures (default: 5s)"),
        Flag::switch("stats", "print the figures once and end"),
    ],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::events,
};

const IMAGE_PATH: Flag = Flag::option("image-path", "DIR", "the images (default: checkpoint)");
const WORK_PATH: Flag = Flag::option("work-path", "DIR", "work files and logs");
const TCP_ESTABLISHED: Flag = Flag::switch("tcp-established", "keep TCP connections");
const EXT_UNIX_SK: Flag = Flag::switch("ext-unix-sk", "accept unix sockets to the outside");
const SHELL_JOB: Flag = Flag::switch("shell-job", "accept a job with a terminal");
const FILE_LOCKS: Flag = Flag::switch("file-locks", "keep file locks");
const LAZY_PAGES: Flag = Flag::switch("lazy-pages", "memory pages on demand");
const AUTO_DEDUP: Flag = Flag::switch("auto-dedup", "images without duplicates");
const TCP_SKIP_IN_FLIGHT: Flag =
    Flag::switch("tcp-skip-in-flight", "leave out TCP connections that are being made");
const LINK_REMAP: Flag = Flag::switch("link-remap", "keep deleted files by links");
const CGROUPS_MODE: Flag =
    Flag::option("manage-cgroups-mode", "soft|full|strict|ignore", "what to do with cgroups (default: soft)");
const EMPTY_NS: Flag =
    Flag::option("empty-ns", "NAMESPACE", "a namespace made empty, may be repeated").repeated();

pub(super) const CHECKPOINT: CommandDef = CommandDef {
    name: "checkpoint",
    usage: ID,
    about: "write the processes of a container to files",
    details: "",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::option("parent-path", "DIR", "images of an earlier --pre-dump"),
        Flag::switch("leave-running", "let the container go on"),
        TCP_ESTABLISHED,
        TCP_SKIP_IN_FLIGHT,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        LINK_REMAP,
        LAZY_PAGES,
        AUTO_DEDUP,
        Flag::option("status-fd", "FD", "told when lazy pages are ready (default: -1)"),
        Flag::option("page-server", "ADDRESS:PORT", "page server"),
        Flag::switch("pre-dump", "memory only, let the container go on"),
        CGROUPS_MODE,
        EMPTY_NS,
    ],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::checkpoint,
};

pub(super) const RESTORE: CommandDef = CommandDef {
    name: "restore",
    usage: ID,
    about: "make a container of files written by checkpoint",
    details: "",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PID_FILE,
        DETACH,
        NO_SUBREAPER,
        NO_PIVOT,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        TCP_SKIP_IN_FLIGHT,
        Flag::switch("tcp-close", "restore TCP connections as closed"),
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        LINK_REMAP,
        LAZY_PAGES,
        AUTO_DEDUP,
        CGROUPS_MODE,
        EMPTY_NS,
        Flag::option("lsm-profile", "TYPE:NAME", "LSM profile"),
        Flag::option("lsm-mount-context", "CONTEXT", "LSM context of mounts"),
    ],
    positionals: Arity::Exactly(1),
    trailing: Trailing::None,
    read: read::restore,
};

pub(super) const SPEC: CommandDef = CommandDef {
    name: "spec",
    usage: "",
    about: "write a config.json to start from",
    details: "A config.json that exists is not touched.",
    flags: &[
        Flag::option("bundle", "DIR", "where to write it (default: the working directory)").short('b'),
        Flag::switch("rootless", "for a caller without root"),
    ],
    positionals: Arity::Exactly(0),
    trailing: Trailing::None,
    read: read::spec,
};

pub(super) const FEATURES: CommandDef = CommandDef {
    name: "features",
    usage: "",
    about: "print what this runtime can do as JSON",
    details: "",
    flags: &[],
    positionals: Arity::Exactly(0),
    trailing: Trailing::None,
    read: read::features,
};

pub(super) const EXPLAIN: CommandDef = CommandDef {
    name: "explain",
    usage: "[container-id]",
    about: "print what create would do, without doing it",
    details: "",
    flags: &[BUNDLE, Flag::switch("json", "print it as JSON")],
    positionals: Arity::Between(0, 1),
    trailing: Trailing::None,
    read: read::explain,
};

pub(super) const CHECK: CommandDef = CommandDef {
    name: "check",
    usage: "[bundle]",
    about: "look for what would make a container fail, without creating it",
    details: "Plans the container as \"explain\" does and looks at what it would meet on this host: the\n\
              program and its interpreter in the root filesystem, sources of mounts, filesystems, cgroup\n\
              controllers, namespaces, limits, hooks. Nothing is changed.\n\
              Exits with 0 if nothing was found, with 1 for errors and warnings, with 255 if the bundle\n\
              cannot be looked at. Notes change nothing about that.",
    flags: &[BUNDLE, Flag::option("format", "text|json", "how it is printed (default: text)").short('f')],
    positionals: Arity::Between(0, 1),
    trailing: Trailing::None,
    read: read::check,
};

pub(super) const TRY: CommandDef = CommandDef {
    name: "try",
    usage: "[command] [arguments...]",
    about: "run a program in a container made of this host's files (default: sh)",
    details: "",
    flags: &[],
    positionals: Arity::AtLeast(0),
    trailing: Trailing::FromFirst,
    read: read::try_command,
};
