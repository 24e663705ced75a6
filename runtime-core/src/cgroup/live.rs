//! Making, emptying and removing cgroups.
//!
//! What must hold: only directories that were made here are removed; a process is signalled through a
//! pidfd that was opened while it was seen in the cgroup; nothing waits but for an event of the kernel.

use super::devices::DeviceRule;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::CgroupDir;
use crate::sys;
use std::io::ErrorKind as Io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Makes the directories. Those that were not there before are to be removed again.
pub(crate) fn create(dirs: &[CgroupDir], made: &mut Vec<PathBuf>) -> Result<()> {
    let pure_v2 = dirs.iter().all(|d| d.controllers.is_none());
    for dir in dirs {
        if pure_v2 {
            let list = sys::read_file(dir.mount.join("cgroup.controllers")).unwrap_or_default();
            let all: Vec<String> = list.split_whitespace().map(str::to_owned).collect();
            enable(dir, &all)?;
        }
        let path = dir.dir();
        if make(&path, &dir.mount)? {
            made.push(path.clone());
        } else {
            refuse_used(&path)?;
        }
        if dir.controllers.iter().flatten().any(|c| c == "cpuset") {
            fill_cpuset(&path, &dir.mount)?;
        }
    }
    Ok(())
}

/// Whether somebody was killed for the memory limit in this file of a cgroup.
pub(crate) fn ran_out(limit: &Path) -> bool {
    let events = match limit.file_name().and_then(|n| n.to_str()) {
        Some("memory.limit_in_bytes") => "memory.oom_control",
        Some("memory.max") => "memory.events",
        _ => return false,
    };
    let text = sys::read_file(limit.with_file_name(events)).unwrap_or_default();
    let kills = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    kills.filter_map(|n| n.trim().parse::<u64>().ok()).any(|n| n > 0)
}

/// mkdir -p below the mount; whether the last component is new.
fn make(path: &Path, mount: &Path) -> Result<bool> {
    let io = |e: &std::io::Error| failed("mkdir", path, e);
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == Io::AlreadyExists => Ok(false),
        Err(e) if e.kind() == Io::NotFound && path != mount => {
            let parent = path.parent().filter(|p| p.starts_with(mount));
            make(parent.ok_or_else(|| io(&e))?, mount)?;
            std::fs::create_dir(path).map_err(|e| io(&e))?;
            Ok(true)
        }
        Err(e) => Err(io(&e)),
    }
}

fn failed(what: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::io(format!("{what}({})", path.display()), e)
}

/// A new v1 cpuset is empty and takes no process before it has processors and memory, which its parent must
/// have first.
fn fill_cpuset(path: &Path, mount: &Path) -> Result<()> {
    let Some(parent) = path.parent().filter(|_| path != mount) else {
        return Ok(());
    };
    let read = |dir: &Path, file: &str| {
        let path = dir.join(file);
        let text = sys::read_file(&path).map_err(|e| failed("read", &path, &e))?;
        Ok::<_, Error>(text.trim().to_owned())
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !read(path, file)?.is_empty() {
            continue;
        }
        let mut value = read(parent, file)?;
        if value.is_empty() {
            fill_cpuset(parent, mount)?;
            value = read(parent, file)?;
        }
        write(&path.join(file), &value)?;
    }
    Ok(())
}

/// Enables controllers of the v2 tree down to a cgroup, and makes the directories above it.
pub(crate) fn enable(dir: &CgroupDir, controllers: &[String]) -> Result<()> {
    let enable: String = controllers.iter().map(|c| format!("+{c} ")).collect();
    let mut at = dir.mount.clone();
    for part in dir.path.parent().into_iter().flat_map(Path::components).map(Some).chain([None]) {
        let file = at.join("cgroup.subtree_control");
        let there = sys::read_file(&file).unwrap_or_default();
        let missing = controllers.iter().any(|c| !there.split_whitespace().any(|t| t == c));
        if missing && !enable.is_empty() && write(&file, &enable).is_err() {
            // One by one: a single controller that cannot be enabled must not take the others along. A limit
            // that then has no file says so by itself.
            for one in enable.split_whitespace() {
                let _ = write(&file, one);
            }
        }
        if let Some(part) = part {
            at.push(part);
            match std::fs::create_dir(&at) {
                Ok(()) => {}
                Err(e) if e.kind() == Io::AlreadyExists => {}
                Err(e) => return Err(failed("mkdir", &at, &e)),
            }
        }
    }
    Ok(())
}

/// A cgroup that was there must be empty and thawed: two containers in one would be killed as one.
fn refuse_used(path: &Path) -> Result<()> {
    // Also below: what is killed with the container is the whole tree.
    let mut all = Vec::new();
    tree(path, &mut all);
    let processes: usize = all.iter().map(|d| processes(d).len()).sum();
    if processes > 0 {
        return Err(Error::new(
            ErrorKind::WrongState,
            format!("container's cgroup is not empty: {processes} process(es) found"),
        ));
    }
    let frozen = |file: &str, value: &str| sys::read_file(path.join(file)).is_ok_and(|t| t.trim() == value);
    if frozen("cgroup.freeze", "1") || frozen("freezer.state", "FROZEN") {
        return Err(Error::new(ErrorKind::WrongState, "container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

/// Writes a value to a file of a cgroup in one write.
pub(crate) fn write(file: &Path, value: &str) -> Result<()> {
    let call = || format!("write({}, {value:?})", file.display());
    let mut open = std::fs::OpenOptions::new();
    let f = open.write(true).open(file).map_err(|e| Error::io(format!("open({})", file.display()), &e))?;
    std::io::Write::write_all(&mut &f, value.as_bytes()).map_err(|e| Error::io(call(), &e))
}

/// Writes the device rules of a v1 cgroup, one write each, in order.
pub(crate) fn write_rules(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let (mut allow, mut deny) = (None, None);
    for rule in rules {
        let (file, name) =
            if rule.allow { (&mut allow, "devices.allow") } else { (&mut deny, "devices.deny") };
        let path = dir.join(name);
        if file.is_none() {
            let opened = std::fs::OpenOptions::new().write(true).open(&path);
            *file = Some(opened.map_err(|e| failed("open", &path, &e))?);
        }
        if let Some(file) = file {
            let text = rule.to_string();
            std::io::Write::write_all(file, text.as_bytes())
                .map_err(|e| Error::io(format!("write({}, {text:?})", path.display()), &e))?;
        }
    }
    Ok(())
}

/// The pids in a cgroup, as this process sees them.
pub(crate) fn processes(dir: &Path) -> Vec<u32> {
    let text = sys::read_file(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|l| l.parse().ok()).filter(|p| *p != 0).collect()
}

/// The directory of a controller: the v2 tree's, if there is nothing else.
pub(crate) fn dir_of<'a>(dirs: &'a [CgroupDir], controller: &str) -> Option<&'a CgroupDir> {
    let pure_v2 = dirs.iter().all(|d| d.controllers.is_none());
    dirs.iter().find(|d| match &d.controllers {
        None => pure_v2,
        Some(list) => list.iter().any(|c| c == controller),
    })
}

/// Where a limit is written: the weights of block I/O have another name where BFQ makes them.
pub(crate) fn limit_file(file: &Path) -> PathBuf {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or("");
    if let Some(weight) = name.strip_prefix("blkio.weight") {
        let bfq = file.with_file_name(format!("blkio.bfq.weight{weight}"));
        if !file.exists() && bfq.exists() {
            return bfq;
        }
    }
    let bfq = file.with_file_name("io.bfq.weight");
    if name == "io.weight" && bfq.exists() {
        return bfq;
    }
    file.to_owned()
}

/// Where a limit is written, and what: BFQ's weights on v2 have the range of v1's.
pub(crate) fn limit(file: &Path, value: &str) -> (PathBuf, String) {
    let place = limit_file(file);
    let weight = value.rsplit_once(' ').and_then(|(who, n)| Some((who, n.parse().ok()?)));
    let value = match weight {
        Some((who, n)) if place != file && file.ends_with("io.weight") => {
            format!("{who} {}", super::v2::blkio_weight(n))
        }
        _ => value.to_owned(),
    };
    (place, value)
}

/// Writes a limit. Where the kernel does not count something it has nothing to be unlimited.
pub(crate) fn set_limit(file: &Path, value: &str) -> Result<()> {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let optional = match name {
        "memory.memsw.limit_in_bytes" => value == "-1",
        "memory.swap.max" => matches!(value, "max" | "0"),
        _ => name.contains(".rsvd."),
    };
    let (file, value) = limit(file, value);
    match write(&file, &value) {
        Err(e) if optional && e.errno() == Some(libc::ENOENT) => Ok(()),
        Err(e) if e.errno() == Some(libc::ENOENT) => Err(not_there(&file, e)),
        written => written,
    }
}

/// Says why a cgroup lacks a file: on v2 its controller may not be given to it.
fn not_there(file: &Path, e: Error) -> Error {
    let controller =
        file.file_name().and_then(|n| n.to_str()).and_then(|n| n.split('.').next()).unwrap_or("");
    let list = file.with_file_name("cgroup.controllers");
    match sys::read_file(&list) {
        Ok(text) if !text.split_whitespace().any(|c| c == controller) => e.hint(format!(
            "the {controller} controller is not delegated to this cgroup: {} lists {:?}",
            list.display(),
            text.trim()
        )),
        _ => e.hint("this kernel does not have it"),
    }
}

/// The cgroup and everything below it, the deepest first.
pub(crate) fn tree(dir: &Path, out: &mut Vec<PathBuf>) {
    if let Ok(list) = std::fs::read_dir(dir) {
        for entry in list.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                tree(&entry.path(), out);
            }
        }
    }
    out.push(dir.to_owned());
}

/// The pids in the container's cgroup and in those below it, as this process sees them, in order.
pub(crate) fn members(dirs: &[CgroupDir]) -> Vec<u32> {
    let mut all = Vec::new();
    if let Some(dir) = dirs.iter().find(|d| d.controllers.is_none()).or(dirs.first()) {
        tree(&dir.dir(), &mut all);
    }
    let mut pids: Vec<u32> = all.iter().flat_map(|d| processes(d)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Sends a signal to every process of a cgroup and of those below it. The v2 tree kills at once.
pub(crate) fn signal_all(dirs: &[CgroupDir], signal: i32) -> Result<()> {
    signal_everybody(dirs, signal)?;
    if signal == libc::SIGKILL {
        super::freezer::release_killed(dirs);
    }
    Ok(())
}

fn signal_everybody(dirs: &[CgroupDir], signal: i32) -> Result<()> {
    let v2 = dirs.iter().find(|d| d.controllers.is_none());
    if let Some(dir) = v2.filter(|_| signal == libc::SIGKILL)
        && write(&dir.dir().join("cgroup.kill"), "1").is_ok()
    {
        return Ok(());
    }
    match v2.or(dirs.first()) {
        Some(dir) => signal_tree(&dir.dir(), signal),
        None => Ok(()),
    }
}

fn signal_tree(dir: &Path, signal: i32) -> Result<()> {
    let mut all = Vec::new();
    tree(dir, &mut all);
    for cgroup in all {
        for pid in processes(&cgroup) {
            // Between the list and the open the pid may have gone to somebody else: it must still be in
            // the cgroup after its pidfd is open.
            let Ok(pidfd) = sys::pidfd_open(pid) else {
                continue;
            };
            if processes(&cgroup).contains(&pid) {
                match sys::pidfd_signal(&pidfd, signal) {
                    Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                        return Err(Error::io(format!("pidfd_send_signal({pid}, {signal})"), &e));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Kills what is in cgroups that a killed creator left, and removes them.
pub(crate) fn remove_remains(dirs: &[PathBuf]) -> Result<()> {
    for dir in dirs.iter().filter(|d| d.is_dir()) {
        if write(&dir.join("cgroup.kill"), "1").is_err() {
            signal_tree(dir, libc::SIGKILL)?;
        }
    }
    let there: Vec<PathBuf> = dirs.iter().filter(|d| d.is_dir()).cloned().collect();
    remove(&there)
}

/// Removes cgroups with everything below them. What still has processes is waited for: an event where the v2
/// tree has one, on a pure v1 host a bounded loop, which has no other way.
pub(crate) fn remove(made: &[PathBuf]) -> Result<()> {
    for dir in made {
        let mut all = Vec::new();
        let rmdir = |d: &Path| match std::fs::remove_dir(d) {
            Err(e) if e.kind() != Io::NotFound => Err(e),
            _ => Ok(()),
        };
        if rmdir(dir).is_ok() {
            continue;
        }
        tree(dir, &mut all);
        for d in all {
            let mut left = 100;
            while let Err(e) = rmdir(&d) {
                if e.raw_os_error() != Some(libc::EBUSY) || left == 0 {
                    return Err(still_used(&d, &e));
                }
                left -= 1;
                wait_empty(&d);
            }
        }
    }
    Ok(())
}

/// Waits until a cgroup says that it is empty, at most 10 ms.
fn wait_empty(dir: &Path) {
    match std::fs::File::open(dir.join("cgroup.events")) {
        Ok(events) => {
            let populated = std::io::read_to_string(&events).is_ok_and(|t| t.contains("populated 1"));
            if populated {
                let _ = sys::poll(&mut [(events.as_fd(), libc::POLLPRI)], Some(10));
            }
        }
        Err(_) => {
            let _ = sys::poll(&mut [], Some(10));
        }
    }
}

/// Who is in a cgroup and what the kernel waits for in each.
pub(crate) fn describe(dir: &Path) -> Vec<String> {
    processes(dir)
        .iter()
        .map(|pid| {
            let stat = sys::read_file(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|r| r.chars().next()).unwrap_or('?');
            let wchan = sys::read_file(format!("/proc/{pid}/wchan")).unwrap_or_default();
            format!("{pid} (state {state}, wchan {wchan})")
        })
        .collect()
}

fn still_used(dir: &Path, e: &std::io::Error) -> Error {
    let who = describe(dir);
    let error = failed("rmdir", dir, e);
    if who.is_empty() { error } else { error.hint(format!("still in it: {}", who.join(", "))) }
}
