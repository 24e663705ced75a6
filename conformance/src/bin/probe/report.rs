//! The report is one JSON object; a fact that cannot be had (no `/proc`, a denied call) is null,
//! never a guess. Keys stay the same whatever the container looks like.

use crate::sys;
use serde_json::{Map, Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

const RLIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// Prints the report on stdout, or into the file given with `--out`.
pub(crate) fn print(args: &[String]) -> Result<(), String> {
    let asked = Asked::parse(args)?;
    let mut report = facts();
    let extra = [
        ("sysctl", asked.each(&asked.sysctls, sysctl)),
        ("stat", asked.each(&asked.stats, |path| stat(Path::new(path)))),
        ("open", asked.each(&asked.opens, open)),
        ("change", asked.each(&asked.changes, change)),
        ("call", asked.each(&asked.calls, |name| outcome(sys::call(name)))),
        ("list", asked.each(&asked.lists, |path| json!(listing(path)))),
    ];
    for (key, value) in extra {
        report.insert(key.to_owned(), value);
    }
    let line = format!("{}\n", Value::Object(report));
    match asked.out {
        Some(file) => fs::write(file, line),
        None => io::Write::write_all(&mut io::stdout(), line.as_bytes()),
    }
    .map_err(|error| error.to_string())
}

/// Writes into `file` what a hook is given: arguments, environment, namespaces, and the state on stdin.
pub(crate) fn hook(file: &str) -> Result<(), String> {
    let state: Value = serde_json::from_reader(io::stdin()).map_err(|error| error.to_string())?;
    let said = json!({
        "argv": arguments(), "env": environment(), "state": state, "namespaces": namespaces(),
    });
    fs::write(file, said.to_string()).map_err(|error| error.to_string())
}

fn arguments() -> Vec<String> {
    std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect()
}

fn environment() -> Vec<String> {
    std::env::vars_os().map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect()
}

#[derive(Default)]
struct Asked {
    sysctls: Vec<String>,
    stats: Vec<String>,
    opens: Vec<String>,
    changes: Vec<String>,
    calls: Vec<String>,
    lists: Vec<String>,
    out: Option<String>,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut asked = Self::default();
        for pair in args.chunks(2) {
            let [option, value] = pair else {
                return Err(format!("{} needs a value", pair[0]));
            };
            let value = value.clone();
            match option.as_str() {
                "--sysctl" => asked.sysctls.push(value),
                "--stat" => asked.stats.push(value),
                "--open" => asked.opens.push(value),
                "--change" => asked.changes.push(value),
                "--call" => asked.calls.push(value),
                "--list" => asked.lists.push(value),
                "--out" => asked.out = Some(value),
                _ => return Err(format!("unknown option {option}")),
            }
        }
        Ok(asked)
    }

    fn each(&self, names: &[String], look: impl Fn(&str) -> Value) -> Value {
        names.iter().map(|name| (name.clone(), look(name))).collect::<Map<_, _>>().into()
    }
}

fn facts() -> Map<String, Value> {
    // First of all: later steps of the report open files of their own.
    let fds = fds();
    let status = fs::read_to_string("/proc/self/status").ok();
    let field = |name: &str| status_field(status.as_deref(), name);
    let names = sys::names().ok();
    let value = json!({
        "fds": fds,
        "uid": sys::uids()[0],
        "uids": sys::uids(),
        "gid": sys::gids()[0],
        "gids": sys::gids(),
        "groups": sys::groups().ok(),
        "umask": sys::umask(),
        "cwd": std::env::current_dir().ok().map(|p| p.to_string_lossy().into_owned()),
        "env": environment(),
        "argv": arguments(),
        "capabilities": {
            "inheritable": field("CapInh"),
            "permitted": field("CapPrm"),
            "effective": field("CapEff"),
            "bounding": field("CapBnd"),
            "ambient": field("CapAmb"),
        },
        "no_new_privs": sys::no_new_privs(),
        "seccomp": field("Seccomp").as_str().and_then(|mode| mode.parse::<u8>().ok()),
        "signals": {
            "pending": field("SigPnd"),
            "blocked": field("SigBlk"),
            "ignored": field("SigIgn"),
            "caught": field("SigCgt"),
        },
        "rlimits": rlimits(),
        "oom_score_adj": line("/proc/self/oom_score_adj").and_then(|l| l.parse::<i32>().ok()),
        "hostname": names.as_ref().map(|n| &n.0),
        "domainname": names.as_ref().map(|n| &n.1),
        "namespaces": namespaces(),
        "mounts": mounts(),
        "cgroup": lines("/proc/self/cgroup"),
        "tty": [terminal(0), terminal(1), terminal(2)],
        "sid": sys::session(),
        "pid": std::process::id(),
        "ppid": sys::parent(),
        "keyring": sys::keyring().ok(),
        "personality": sys::personality().ok(),
        "cpus": sys::affinity().ok(),
        "scheduler": scheduler(),
        "io_priority": sys::io_priority().ok().map(|p| [p >> 13, p & 7]),
        "memory_policy": sys::memory_policy().ok().map(|(mode, nodes)| json!({ "mode": mode, "nodes": nodes })),
        "exe": link("/proc/self/exe"),
        "root": listing("/"),
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn status_field(status: Option<&str>, name: &str) -> Value {
    let found = status.into_iter().flat_map(str::lines).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().to_owned())
    });
    json!(found)
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

fn lines(path: &str) -> Option<Vec<String>> {
    line(path).map(|text| text.lines().map(str::to_owned).collect())
}

fn link(path: impl AsRef<Path>) -> Option<String> {
    fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned())
}

fn listing(path: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(path)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Some(names)
}

/// Open descriptors, without the one through which the directory is read.
fn fds() -> Map<String, Value> {
    let mut open = Map::new();
    let Ok(directory) = fs::read_dir("/proc/self/fd") else {
        for fd in (0..1024).filter(|fd| sys::is_open(*fd)) {
            open.insert(fd.to_string(), Value::Null);
        }
        return open;
    };
    let own = format!("/proc/{}/fd", std::process::id());
    for entry in directory.flatten() {
        let target = link(entry.path());
        if target.as_deref() != Some(&own) {
            open.insert(entry.file_name().to_string_lossy().into_owned(), json!(target));
        }
    }
    open
}

fn rlimits() -> Map<String, Value> {
    (0u32..)
        .zip(RLIMITS)
        .map(|(number, name)| (format!("RLIMIT_{name}"), json!(sys::rlimit(number).ok())))
        .collect()
}

fn namespaces() -> Option<Map<String, Value>> {
    let entries = fs::read_dir("/proc/self/ns").ok()?;
    let pairs = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), json!(link(entry.path()))));
    Some(pairs.collect())
}

fn mounts() -> Option<Vec<Value>> {
    Some(lines("/proc/self/mountinfo")?.iter().filter_map(|line| mount(line)).collect())
}

/// One line of mountinfo; its optional fields end with a single dash.
fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.splitn(3, ' ').collect();
    let [id, parent, device, root, target, options, tags @ ..] = left.as_slice() else {
        return None;
    };
    Some(json!({
        "id": id.parse::<u64>().ok(),
        "parent": parent.parse::<u64>().ok(),
        "device": device,
        "root": root,
        "target": target,
        "options": options.split(',').collect::<Vec<_>>(),
        "tags": tags,
        "type": right.first(),
        "source": right.get(1),
        "super": right.get(2).map(|s| s.split(',').collect::<Vec<_>>()),
    }))
}

fn scheduler() -> Option<Value> {
    let attr = sys::scheduler().ok()?;
    Some(json!({
        "policy": attr.sched_policy,
        "flags": attr.sched_flags,
        "nice": attr.sched_nice,
        "priority": attr.sched_priority,
        "times": [attr.sched_runtime, attr.sched_deadline, attr.sched_period],
    }))
}

fn terminal(fd: i32) -> Value {
    json!({
        "isatty": sys::isatty(fd),
        "name": link(format!("/proc/self/fd/{fd}")),
        "window": sys::window(fd).ok(),
        "onlcr": sys::output_flags(fd).ok().map(|flags| flags & libc::ONLCR != 0),
        "opost": sys::output_flags(fd).ok().map(|flags| flags & libc::OPOST != 0),
    })
}

fn sysctl(name: &str) -> Value {
    json!(line(&format!("/proc/sys/{}", name.replace('.', "/"))))
}

fn outcome(result: io::Result<()>) -> Value {
    match result {
        Ok(()) => json!("ok"),
        Err(error) => json!(error.raw_os_error()),
    }
}

/// `PATH:MODE` with MODE one of r, w, rw, c (create): "ok" or the errno.
fn open(word: &str) -> Value {
    let Some((path, mode)) = word.rsplit_once(':') else {
        return Value::Null;
    };
    let flags = match mode {
        "r" => libc::O_RDONLY,
        "w" => libc::O_WRONLY,
        "rw" => libc::O_RDWR,
        "c" => libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
        _ => return Value::Null,
    };
    outcome(sys::try_open(Path::new(path), flags | libc::O_NONBLOCK | libc::O_NOCTTY))
}

/// `PATH:CHANGE` of the mount at PATH, as an attacker would: `umount`, or a remount with only these flags: `rw`,
/// `ro`; or `mkdir` of PATH itself. "ok" or the errno.
fn change(word: &str) -> Value {
    let Some((path, what)) = word.rsplit_once(':') else {
        return Value::Null;
    };
    match what {
        "umount" => outcome(sys::unmount(Path::new(path))),
        "rw" => outcome(sys::remount(Path::new(path), 0)),
        "ro" => outcome(sys::remount(Path::new(path), libc::MS_RDONLY)),
        "mkdir" => outcome(fs::create_dir(path)),
        _ => Value::Null,
    }
}

/// What lies at `path` itself; a symlink is not followed. `{"errno": N}` if nothing can be seen.
fn stat(path: &Path) -> Value {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => return json!({ "errno": error.raw_os_error() }),
    };
    let kind = meta.file_type();
    let name = match () {
        () if kind.is_dir() => "dir",
        () if kind.is_symlink() => "link",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "file",
    };
    let entries = kind.is_dir().then(|| listing(&path.to_string_lossy()).map(|list| list.len()));
    json!({
        "type": name,
        "mode": format!("{:04o}", meta.mode() & 0o7777),
        "rdev": format!("{}:{}", libc::major(meta.rdev()), libc::minor(meta.rdev())),
        "dev": format!("{}:{}", libc::major(meta.dev()), libc::minor(meta.dev())),
        "inode": meta.ino(),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "link": link(path),
        "entries": entries.flatten(),
        "readonly": sys::read_only(path).ok(),
    })
}
