//! Making cgroups and setting their limits.
//!
//! What must hold: nobody else is in a cgroup that a container gets, and it does not stand still; a value goes to
//! its file in one write; what fails says which file, which value and why.

use super::devices::DeviceRule;
use super::{end, tree};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::CgroupDir;
use crate::sys;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

/// Makes the directories. Those that were not there before are to be removed again.
pub(crate) fn create(dirs: &[CgroupDir], made: &mut Vec<PathBuf>) -> Result<()> {
    let pure_v2 = dirs.iter().all(|d| d.controllers.is_none());
    for dir in dirs {
        if pure_v2 {
            let list = said(&dir.mount.join("cgroup.controllers"))?;
            let all: Vec<String> = list.split_whitespace().map(str::to_owned).collect();
            enable(dir, &all)?;
        }
        let path = dir.dir();
        if make(&path, &dir.mount)? {
            made.push(path.clone());
        } else {
            refuse_used(&path)?;
        }
        refuse_frozen(dir, &path)?;
        if dir.controllers.is_none() {
            refuse_threaded(&path)?;
        }
        if dir.controllers.iter().flatten().any(|c| c == "cpuset") {
            fill_cpuset(&path, &dir.mount)?;
        }
    }
    Ok(())
}

/// Puts a process that systemd has placed into the hierarchies that systemd does not know. All of its cgroups are the
/// container's alone: they are removed with it.
pub(crate) fn complete(dirs: &[CgroupDir], pid: u32, made: &mut Vec<PathBuf>) -> Result<()> {
    let text = said(Path::new(&format!("/proc/{pid}/cgroup")))?;
    let own = |dir: &CgroupDir| {
        let path = Path::new("/").join(&dir.path);
        text.lines().any(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (list, there) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            let same = match &dir.controllers {
                None => list.is_empty(),
                Some(all) => !list.is_empty() && list.split(',').all(|c| all.iter().any(|a| a == c)),
            };
            same && Path::new(there) == path
        })
    };
    for dir in dirs {
        let path = dir.dir();
        if dir.controllers.is_some() && !own(dir) {
            make(&path, &dir.mount)?;
            made.push(path.clone());
            if dir.controllers.iter().flatten().any(|c| c == "cpuset") {
                fill_cpuset(&path, &dir.mount)?;
            }
            write(&path.join("cgroup.procs"), &pid.to_string())?;
        } else if !path.is_dir() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("systemd made the scope, but its cgroup {} is not there", path.display()),
            )
            .hint("the cgroups that systemd uses are not those at /sys/fs/cgroup"));
        } else {
            made.push(path);
        }
    }
    Ok(())
}

/// Whether somebody was killed for the memory limit in this file of a cgroup. On v2 the limits above it have another count.
pub(crate) fn ran_out(limit: &Path) -> bool {
    let count = |file: &str, name: &str| counted(&limit.with_file_name(file), name);
    match limit.file_name().and_then(|n| n.to_str()) {
        Some("memory.limit_in_bytes") => count("memory.oom_control", "oom_kill") > 0,
        Some("memory.max") => count("memory.events", "oom") > 0 && count("memory.events", "oom_kill") > 0,
        _ => false,
    }
}

/// How many processes of a container were killed for want of memory, whoever's limit it was. `entered` is the v2 cgroup of
/// one that exists.
pub(crate) fn oom_kills(dirs: &[CgroupDir], entered: Option<&Path>) -> u64 {
    let file = |dir: &CgroupDir| {
        dir.dir().join(if dir.controllers.is_none() { "memory.events" } else { "memory.oom_control" })
    };
    let file = dir_of(dirs, "memory").map(file).or(entered.map(|dir| dir.join("memory.events")));
    file.map_or(0, |file| counted(&file, "oom_kill"))
}

fn counted(events: &Path, name: &str) -> u64 {
    let text = sys::read_file(events).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    count.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
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

/// The controllers that a v2 cgroup gives to those below it.
const GIVEN: &str = "cgroup.subtree_control";

/// Enables controllers of the v2 tree down to a cgroup, and makes the directories above it.
pub(crate) fn enable(dir: &CgroupDir, controllers: &[String]) -> Result<()> {
    let missing = |there: &str| controllers.iter().any(|c| !there.split_whitespace().any(|t| t == c));
    // What a cgroup gives to those below it, those above give to it: nearly always nothing has to be done.
    let parent = dir.dir().parent().filter(|p| p.starts_with(&dir.mount)).map(|p| p.join(GIVEN));
    if let Some(Ok(there)) = parent.map(sys::read_record)
        && !missing(&there)
    {
        return Ok(());
    }
    let enable: String = controllers.iter().map(|c| format!("+{c} ")).collect();
    let mut at = dir.mount.clone();
    for part in dir.path.parent().into_iter().flat_map(Path::components).map(Some).chain([None]) {
        let file = at.join(GIVEN);
        let there = said(&file)?;
        let wanted = missing(&there) && !enable.is_empty() && !keeps_back(&at)?;
        if wanted && write(&file, &enable).is_err() {
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

/// Whether a v2 cgroup has processes of its own, which takes controllers from those below it. Some controllers it would
/// give away nevertheless, and turn into one of threads for that, together with all below it (cgroups(7)). The root of
/// the tree, which has no type, gives them to anybody.
pub(crate) fn keeps_back(cgroup: &Path) -> Result<bool> {
    let domain = said(&cgroup.join("cgroup.type"))?.trim() == "domain";
    Ok(domain && !said(&cgroup.join("cgroup.procs"))?.is_empty())
}

/// Below a cgroup of threads there are no others, and a process can enter none.
fn refuse_threaded(path: &Path) -> Result<()> {
    let kind = said(&path.join("cgroup.type"))?;
    match kind.trim() {
        kind @ ("domain invalid" | "threaded") => Err(Error::new(
            ErrorKind::WrongState,
            format!("cannot enter cgroupv2 {:?}: it is {kind}", path.display().to_string()),
        )
        .hint("a cgroup above it is one of threads: choose another linux.cgroupsPath")),
        _ => Ok(()),
    }
}

/// A cgroup that was there must be empty: two containers in one would be killed as one.
fn refuse_used(path: &Path) -> Result<()> {
    // Also below: what is killed with the container is the whole tree.
    let processes = end::members_of(path)?.len();
    if processes > 0 {
        return Err(Error::new(
            ErrorKind::WrongState,
            format!("container's cgroup is not empty: {processes} process(es) found"),
        ));
    }
    Ok(())
}

/// A process would stand still as soon as it is made, and its creator with it. A cgroup stands still also because
/// one above it does, which a new one shows in no other file.
fn refuse_frozen(dir: &CgroupDir, path: &Path) -> Result<()> {
    let (file, words): (_, &[&str]) = match &dir.controllers {
        None => ("cgroup.events", &["frozen 1"]),
        Some(all) if all.iter().any(|c| c == "freezer") => ("freezer.state", &["FROZEN", "FREEZING"]),
        Some(_) => return Ok(()),
    };
    if said(&path.join(file))?.lines().any(|l| words.contains(&l)) {
        return Err(Error::new(ErrorKind::WrongState, "container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

/// Gives a v2 cgroup to a user. The kernel says which of its files go with it; the limits stay whose they are.
pub(crate) fn give(dir: &Path, uid: u32) -> Result<()> {
    let mut list = said(Path::new("/sys/kernel/cgroup/delegate"))?;
    if list.is_empty() {
        // A kernel before 4.15 has no such list.
        "cgroup.procs\ncgroup.subtree_control\ncgroup.threads".clone_into(&mut list);
    }
    let place = sys::look::place(dir).map_err(|e| failed("open", dir, &e))?;
    // Names of one component, or the directory itself.
    for name in [""].into_iter().chain(list.lines().filter(|n| !n.is_empty() && !n.contains('/'))) {
        let Ok(c_name) = std::ffi::CString::new(name) else { continue };
        match sys::look::give_at(&place, &c_name, uid) {
            Ok(()) => {}
            // Files of controllers that this cgroup does not have.
            Err(e) if e.kind() == Io::NotFound => {}
            Err(e) => return Err(Error::io(format!("fchownat({}, {uid})", dir.join(name).display()), &e)),
        }
    }
    Ok(())
}

/// What a file with one value says; nothing if there is no such file, because the kernel does not have it or the cgroup is gone.
///
/// # Errors
/// If that cannot be told.
pub(crate) fn said(file: &Path) -> Result<String> {
    match sys::read_record(file) {
        Err(e) if tree::is_gone(&e) => Ok(String::new()),
        text => text.map_err(|e| failed("read", file, &e)),
    }
}

/// Writes a value to a file of a cgroup in one write.
pub(crate) fn write(file: &Path, value: &str) -> Result<()> {
    let call = || format!("write({}, {value:?})", file.display());
    let mut open = std::fs::OpenOptions::new();
    let f = open.write(true).open(file).map_err(|e| not_opened(file, value, &e))?;
    std::io::Write::write_all(&mut &f, value.as_bytes()).map_err(|e| Error::io(call(), &e))
}

/// What was to be written tells more than the call.
fn not_opened(file: &Path, value: &str, e: &std::io::Error) -> Error {
    Error::io(format!("open({}) to write {value:?}", file.display()), e)
}

/// Writes the device rules of a v1 cgroup, one write each, in order.
pub(crate) fn write_rules(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let (mut allow, mut deny) = (None, None);
    for rule in rules {
        let (file, name) =
            if rule.allow { (&mut allow, "devices.allow") } else { (&mut deny, "devices.deny") };
        let (path, text) = (dir.join(name), rule.to_string());
        if file.is_none() {
            let opened = std::fs::OpenOptions::new().write(true).open(&path);
            *file = Some(opened.map_err(|e| not_opened(&path, &text, &e))?);
        }
        if let Some(file) = file {
            std::io::Write::write_all(file, text.as_bytes())
                .map_err(|e| Error::io(format!("write({}, {text:?})", path.display()), &e))?;
        }
    }
    Ok(())
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
    let Some(dir) = file.parent() else { return e };
    let list = |dir: &Path| sys::read_file(dir.join("cgroup.controllers")).ok();
    let has = |text: &String| text.split_whitespace().any(|c| c == controller);
    match (list(dir), dir.parent()) {
        (Some(text), Some(above)) if !has(&text) => {
            let used = !sys::read_file(above.join("cgroup.procs")).unwrap_or_default().is_empty();
            if used && list(above).as_ref().is_some_and(has) {
                let above = above.display();
                return e.hint(format!(
                    "the {controller} controller cannot be enabled for it: {above} has processes of its own"
                ));
            }
            e.hint(format!(
                "the {controller} controller is not delegated to this cgroup: {} lists {:?}",
                dir.join("cgroup.controllers").display(),
                text.trim()
            ))
        }
        _ => e.hint("this kernel does not have it"),
    }
}
