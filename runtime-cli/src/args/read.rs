//! From what was typed to what it means, one function per command.
//!
//! A flag that is in a command's table is read here; a test holds the two together.

use std::path::PathBuf;
use std::time::Duration;

use super::invocation::{
    CgroupManager, CgroupsMode, Check, Checkpoint, Command, Create, Criu, Delete, Events, Exec, Explain,
    Global, Id, Kill, List, ListFormat, Ps, Resources, Restore, Run, Spec, Try, Update,
};
use super::problem::Problem;
use super::typed::{Typed, Value, invalid};
use super::values;
use crate::log::{Format, Level};

type Outcome = Result<Command, Problem>;

/// Reads the options before the command. On a fault the rest is read all the same: the fault
/// itself has to reach the log that was asked for.
pub(super) fn global(typed: &Typed) -> (Global, Result<(), Problem>) {
    let mut global = Global { log: log_file(typed), root: typed.path("root"), ..Global::default() };
    let mut fault = Ok(());
    if let Err(problem) = log_format(typed, &mut global) {
        fault = Err(problem);
    }
    if let Err(problem) = log_level(typed, &mut global) {
        fault = fault.and(Err(problem));
    }
    if let Err(problem) = manager(typed, &mut global) {
        fault = fault.and(Err(problem));
    }
    if let Err(problem) = rootless(typed, &mut global) {
        fault = fault.and(Err(problem));
    }
    (global, fault)
}

/// `--log` takes crun's targets too. The journal and syslog are not spoken to: their records go
/// to standard error, which an engine keeps as well.
fn log_file(typed: &Typed) -> Option<PathBuf> {
    let path = typed.path("log")?;
    match path.to_str() {
        Some("/dev/stderr") => None,
        Some(text) if text.starts_with("journald:") || text.starts_with("syslog:") => None,
        Some(text) => Some(PathBuf::from(text.strip_prefix("file:").unwrap_or(text))),
        None => Some(path),
    }
}

fn log_format(typed: &Typed, global: &mut Global) -> Result<(), Problem> {
    global.log_format = match typed.text("log-format")?.as_deref() {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(other) => return Err(Problem::value(&format!("invalid log-format: {other}"))),
    };
    Ok(())
}

fn log_level(typed: &Typed, global: &mut Global) -> Result<(), Problem> {
    if typed.on("debug") {
        global.log_level = Some(Level::Debug);
    }
    if let Some(name) = typed.text("log-level")? {
        let level = Level::from_name(&name);
        global.log_level = Some(level.ok_or_else(|| Problem::value(&format!("invalid log-level: {name}")))?);
    }
    Ok(())
}

/// Two options speak of one thing; the last one wins.
fn manager(typed: &Typed, global: &mut Global) -> Result<(), Problem> {
    for setting in &typed.settings {
        global.cgroup_manager = match (setting.flag.long, &setting.value) {
            ("systemd-cgroup", Value::Switch(true)) => CgroupManager::Systemd,
            ("systemd-cgroup", _) => CgroupManager::Cgroupfs,
            ("cgroup-manager", Value::Text(name)) => match name.to_str() {
                Some("cgroupfs" | "") => CgroupManager::Cgroupfs,
                Some("systemd") => CgroupManager::Systemd,
                Some("disabled") => CgroupManager::Disabled,
                _ => {
                    let reason = "must be cgroupfs, systemd or disabled";
                    return Err(invalid("cgroup-manager", &name.to_string_lossy(), reason));
                }
            },
            _ => continue,
        };
    }
    Ok(())
}

fn rootless(typed: &Typed, global: &mut Global) -> Result<(), Problem> {
    let said = typed.read("rootless", |text| match text {
        "auto" => Ok(None),
        _ => match values::boolean(text) {
            Some(on) => Ok(Some(on)),
            None => Err("must be true, false or auto".to_owned()),
        },
    })?;
    global.rootless = said.flatten();
    Ok(())
}

fn id(typed: &Typed) -> String {
    typed.word(0).unwrap_or_default()
}

fn only_id(typed: &Typed) -> Id {
    Id { id: id(typed) }
}

fn creation(typed: &Typed) -> Result<Create, Problem> {
    Ok(Create {
        id: id(typed),
        bundle: typed.path("bundle"),
        console_socket: typed.path("console-socket"),
        pidfd_socket: typed.path("pidfd-socket"),
        pid_file: typed.path("pid-file"),
        no_pivot: typed.on("no-pivot"),
        no_new_keyring: typed.on("no-new-keyring"),
        preserve_fds: typed.number("preserve-fds")?.unwrap_or(0),
    })
}

fn running(typed: &Typed) -> Result<Run, Problem> {
    Ok(Run {
        create: creation(typed)?,
        detach: typed.on("detach"),
        keep: typed.on("keep"),
        no_subreaper: typed.on("no-subreaper"),
    })
}

pub(super) fn create(typed: &Typed) -> Outcome {
    Ok(Command::Create(creation(typed)?))
}

pub(super) fn run(typed: &Typed) -> Outcome {
    Ok(Command::Run(running(typed)?))
}

pub(super) fn start(typed: &Typed) -> Outcome {
    Ok(Command::Start(only_id(typed)))
}

pub(super) fn state(typed: &Typed) -> Outcome {
    Ok(Command::State(only_id(typed)))
}

pub(super) fn pause(typed: &Typed) -> Outcome {
    Ok(Command::Pause(only_id(typed)))
}

pub(super) fn resume(typed: &Typed) -> Outcome {
    Ok(Command::Resume(only_id(typed)))
}

pub(super) fn features(_: &Typed) -> Outcome {
    Ok(Command::Features)
}

pub(super) fn kill(typed: &Typed) -> Outcome {
    let signal =
        values::signal(&typed.word(1).unwrap_or_default()).map_err(|reason| Problem::value(&reason))?;
    Ok(Command::Kill(Kill { id: id(typed), signal, all: typed.on("all") }))
}

pub(super) fn delete(typed: &Typed) -> Outcome {
    Ok(Command::Delete(Delete { id: id(typed), force: typed.on("force") }))
}

pub(super) fn exec(typed: &Typed) -> Outcome {
    let user = match typed.text("user")? {
        Some(text) => Some(values::user(&text).map_err(|e| Problem::exec_value(&e))?),
        None => None,
    };
    let mut additional_gids = Vec::new();
    for text in typed.all("additional-gids")? {
        let gid = values::number(&text);
        additional_gids.push(gid.map_err(|reason| invalid("additional-gids", &text, &reason))?);
    }
    let cgroups = values::sub_cgroups(&typed.all("cgroup")?);
    Ok(Command::Exec(Box::new(Exec {
        id: id(typed),
        command: typed.words_from(1)?,
        process: typed.path("process"),
        detach: typed.on("detach"),
        tty: typed.on("tty"),
        cwd: typed.text("cwd")?,
        env: typed.all("env")?,
        user,
        additional_gids,
        caps: typed.all("cap")?,
        pid_file: typed.path("pid-file"),
        console_socket: typed.path("console-socket"),
        pidfd_socket: typed.path("pidfd-socket"),
        process_label: typed.text("process-label")?,
        apparmor: typed.text("apparmor")?,
        no_new_privs: typed.on("no-new-privs"),
        preserve_fds: typed.number("preserve-fds")?.unwrap_or(0),
        cgroups: cgroups.map_err(|e| Problem::exec_value(&e))?,
        ignore_paused: typed.on("ignore-paused"),
    })))
}

fn format(typed: &Typed) -> Result<ListFormat, Problem> {
    match typed.text("format")?.as_deref() {
        None | Some("table") => Ok(ListFormat::Table),
        Some("json") => Ok(ListFormat::Json),
        Some(other) => Err(Problem::value(&format!("invalid format option: {other:?}"))),
    }
}

pub(super) fn list(typed: &Typed) -> Outcome {
    Ok(Command::List(List { format: format(typed)?, quiet: typed.on("quiet") }))
}

pub(super) fn ps(typed: &Typed) -> Outcome {
    let ps_args = typed.words_from(1)?;
    Ok(Command::Ps(Ps { id: id(typed), format: format(typed)?, ps_args }))
}

pub(super) fn update(typed: &Typed) -> Outcome {
    let resources = typed.path("resources").map(|path| match path.to_str() {
        Some("-") => Resources::Stdin,
        _ => Resources::File(path),
    });
    Ok(Command::Update(Box::new(Update {
        id: id(typed),
        resources,
        blkio_weight: typed.number("blkio-weight")?,
        cpu_period: typed.number("cpu-period")?,
        cpu_quota: typed.number("cpu-quota")?,
        cpu_burst: typed.number("cpu-burst")?,
        cpu_idle: typed.number("cpu-idle")?,
        cpu_share: typed.number("cpu-share")?,
        cpu_rt_period: typed.number("cpu-rt-period")?,
        cpu_rt_runtime: typed.number("cpu-rt-runtime")?,
        cpuset_cpus: typed.text("cpuset-cpus")?,
        cpuset_mems: typed.text("cpuset-mems")?,
        memory: typed.read("memory", values::size)?,
        memory_reservation: typed.read("memory-reservation", values::size)?,
        memory_swap: typed.read("memory-swap", values::size)?,
        pids_limit: typed.number("pids-limit")?,
        l3_cache_schema: typed.text("l3-cache-schema")?,
        mem_bw_schema: typed.text("mem-bw-schema")?,
    })))
}

pub(super) fn events(typed: &Typed) -> Outcome {
    let interval = typed.read("interval", values::interval)?;
    Ok(Command::Events(Events {
        id: id(typed),
        interval: interval.unwrap_or(Duration::from_secs(5)),
        stats: typed.on("stats"),
    }))
}

fn criu(typed: &Typed) -> Result<Criu, Problem> {
    let mode = match typed.text("manage-cgroups-mode")?.as_deref() {
        None | Some("soft") => CgroupsMode::Soft,
        Some("full") => CgroupsMode::Full,
        Some("strict") => CgroupsMode::Strict,
        Some("ignore") => CgroupsMode::Ignore,
        Some(other) => {
            return Err(Problem::value(&format!("invalid manage-cgroups-mode value {other:?}")));
        }
    };
    Ok(Criu {
        id: id(typed),
        image_path: typed.path("image-path").unwrap_or_else(|| PathBuf::from("checkpoint")),
        work_path: typed.path("work-path"),
        tcp_established: typed.on("tcp-established"),
        tcp_skip_in_flight: typed.on("tcp-skip-in-flight"),
        ext_unix_sk: typed.on("ext-unix-sk"),
        shell_job: typed.on("shell-job"),
        file_locks: typed.on("file-locks"),
        link_remap: typed.on("link-remap"),
        lazy_pages: typed.on("lazy-pages"),
        auto_dedup: typed.on("auto-dedup"),
        manage_cgroups_mode: mode,
        empty_ns: typed.all("empty-ns")?,
    })
}

pub(super) fn checkpoint(typed: &Typed) -> Outcome {
    let parent_path = typed.path("parent-path");
    if parent_path.as_ref().is_some_and(|path| path.is_absolute()) {
        return Err(Problem::value("--parent-path must be relative"));
    }
    Ok(Command::Checkpoint(Box::new(Checkpoint {
        criu: criu(typed)?,
        leave_running: typed.on("leave-running"),
        parent_path,
        pre_dump: typed.on("pre-dump"),
        status_fd: typed.number("status-fd")?.filter(|fd| *fd >= 0),
        page_server: typed.text("page-server")?,
    })))
}

pub(super) fn restore(typed: &Typed) -> Outcome {
    Ok(Command::Restore(Box::new(Restore {
        criu: criu(typed)?,
        run: running(typed)?,
        lsm_profile: typed.text("lsm-profile")?,
        lsm_mount_context: typed.text("lsm-mount-context")?,
        tcp_close: typed.on("tcp-close"),
    })))
}

pub(super) fn spec(typed: &Typed) -> Outcome {
    Ok(Command::Spec(Spec { bundle: typed.path("bundle"), rootless: typed.on("rootless") }))
}

pub(super) fn explain(typed: &Typed) -> Outcome {
    Ok(Command::Explain(Explain { id: typed.word(0), bundle: typed.path("bundle"), json: typed.on("json") }))
}

pub(super) fn check(typed: &Typed) -> Outcome {
    let json = match typed.text("format")?.as_deref() {
        None | Some("" | "text") => false,
        Some("json") => true,
        Some(other) => return Err(Problem::value(&format!("invalid format option: {other}"))),
    };
    let bundle = typed.path("bundle").or_else(|| typed.word(0).map(PathBuf::from));
    Ok(Command::Check(Check { bundle, json }))
}

pub(super) fn try_command(typed: &Typed) -> Outcome {
    let mut command = typed.words_from(0)?;
    if command.is_empty() {
        command.push("sh".to_owned());
    }
    Ok(Command::Try(Try { command }))
}
