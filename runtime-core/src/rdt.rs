//! Intel Resource Director Technology: which writes to a resctrl filesystem a config asks for, and making them.
//!
//! What must hold: without `linux.intelRdt` nothing in a resctrl filesystem is touched; a class of service that is
//! named with a cache or bandwidth schema and exists is never changed by it; the container's end takes away only what
//! is the container's alone, its monitoring group and a class of its own (config-linux.md, IntelRdt).

use crate::cgroup::end;
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::facts::ResctrlFacts;
use crate::sys;
use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The field of the config.
pub(crate) const FIELD: &str = "/linux/intelRdt";

/// What to do if a class of service is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It is an error: it should have been prepared.
    Refuse,
    /// It is made, and stays.
    Make,
    /// It is made, and removed with the container.
    MakeOwn,
}

/// The class of service of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Class {
    /// Where the filesystem is mounted.
    pub mount: PathBuf,
    /// The directory of the class.
    pub dir: PathBuf,
    /// What to do without it.
    pub missing: Missing,
    /// Lines that a class that is there must have.
    pub matching: Vec<String>,
}

/// Where the processes of a container are counted: kept for further ones, updates and the container's end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Groups {
    /// Where the filesystem is mounted.
    pub mount: PathBuf,
    /// The class of service.
    pub class: PathBuf,
    /// The monitoring group.
    pub monitor: Option<PathBuf>,
}

/// Everything that a config asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) class: Class,
    pub(crate) groups: Groups,
    /// Lines for the class's `schemata`, in the order in which they are written.
    pub(crate) schemata: Vec<String>,
}

/// What a config asks for, of a host.
pub(crate) fn wanted(rdt: &LinuxIntelRdt, id: &str, facts: Option<&ResctrlFacts>) -> Result<Wanted> {
    let facts = facts.ok_or_else(|| {
        Error::config(FIELD, "intelRdt is specified in config, but Intel RDT is not enabled")
            .of_kind(ErrorKind::Unsupported)
            .hint("Intel RDT not available: no resctrl filesystem is mounted")
    })?;
    let given = rdt.clos_id().as_deref().filter(|id| !id.is_empty());
    let dir = match given {
        None => facts.mount.join(id),
        Some("/") => facts.mount.clone(),
        Some(id) if id == "." || id == ".." || id.contains(['/', '\0', '\n']) => {
            return Err(Error::config(format!("{FIELD}/closID"), format!("invalid intelRdt.ClosID {id:?}")));
        }
        Some(id) => facts.mount.join(id),
    };
    let old = old_schemas(rdt, facts)?;
    let mut schemata = old.clone();
    for (i, line) in rdt.schemata().iter().flatten().enumerate() {
        one_line(&format!("{FIELD}/schemata/{i}"), line)?;
        schemata.extend((!line.is_empty()).then(|| line.clone()));
    }
    let missing = match given {
        None => Missing::MakeOwn,
        Some(_) if schemata.is_empty() => Missing::Refuse,
        Some(_) => Missing::Make,
    };
    let monitor = (*rdt.enable_monitoring() == Some(true)).then(|| dir.join("mon_groups").join(id));
    Ok(Wanted {
        groups: Groups { mount: facts.mount.clone(), class: dir.clone(), monitor },
        class: Class {
            mount: facts.mount.clone(),
            dir,
            missing,
            matching: if given.is_some() { old } else { Vec::new() },
        },
        schemata,
    })
}

/// The two schemas that have fields of their own.
fn old_schemas(rdt: &LinuxIntelRdt, facts: &ResctrlFacts) -> Result<Vec<String>> {
    let list = [
        ("l3CacheSchema", rdt.l3_cache_schema(), facts.cache, "L3:", "Intel RDT/CAT"),
        ("memBwSchema", rdt.mem_bw_schema(), facts.bandwidth, "MB:", "Intel RDT/MBA"),
    ];
    let mut lines = Vec::new();
    for (name, schema, there, head, what) in list {
        let Some(schema) = schema.as_deref().filter(|s| !s.is_empty()) else {
            continue;
        };
        let field = format!("{FIELD}/{name}");
        one_line(&field, schema)?;
        if name == "memBwSchema" && !schema.starts_with(head) {
            return Err(Error::config(field, format!("{name} {schema:?} must start with {head:?}")));
        }
        if !there {
            let text = format!("intelRdt.{name} is specified in config, but {what} is not enabled");
            return Err(Error::config(field, text).of_kind(ErrorKind::Unsupported));
        }
        lines.push(schema.to_owned());
    }
    Ok(lines)
}

fn one_line(field: &str, line: &str) -> Result<()> {
    if line.contains(['\n', '\0']) {
        return Err(Error::config(field, "a schema must not contain newlines"));
    }
    Ok(())
}

/// A resctrl filesystem: the kernel's, or a model of it.
pub(crate) trait Files {
    /// Makes a directory; whether it is new.
    fn make(&mut self, dir: &Path) -> io::Result<bool>;
    /// Whether there is a directory.
    fn has(&self, dir: &Path) -> io::Result<()>;
    /// The text of a file.
    fn read(&self, file: &Path) -> io::Result<String>;
    /// Writes to a file that is there.
    fn write(&mut self, file: &Path, text: &str) -> io::Result<()>;
}

/// The kernel's.
pub(crate) struct Kernel;

impl Files for Kernel {
    fn make(&mut self, dir: &Path) -> io::Result<bool> {
        match std::fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    }
    fn has(&self, dir: &Path) -> io::Result<()> {
        std::fs::metadata(dir).map(drop)
    }
    fn read(&self, file: &Path) -> io::Result<String> {
        sys::read_file(file)
    }
    fn write(&mut self, file: &Path, text: &str) -> io::Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(file)?;
        io::Write::write_all(&mut &file, text.as_bytes())
    }
}

/// A failed call, with what the filesystem says of it.
fn failed(fs: &impl Files, mount: &Path, what: &str, call: String, e: &io::Error) -> Error {
    let errno = e.raw_os_error().unwrap_or(libc::EIO);
    let said = fs.read(&mount.join("info/last_cmd_status")).unwrap_or_default();
    let said = match said.trim() {
        "" | "ok" => String::new(),
        text => format!(", last_cmd_status: {text}"),
    };
    Error::syscall(call.clone(), errno).saying(format!("{what}: {call}: {}{said}", errno_text(errno)))
}

const APPLY: &str = "unable to apply Intel RDT configuration";

/// Makes the class of service, or looks at the one that is there; whether it is new.
pub(crate) fn enter_class(fs: &mut impl Files, class: &Class) -> Result<bool> {
    let Class { mount, dir, missing, matching } = class;
    let shown = dir.display();
    if *missing == Missing::Refuse {
        return match fs.has(dir) {
            Ok(()) => Ok(false),
            Err(e) => {
                let what = "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and \
                            memBwSchema are empty)";
                let e = failed(fs, mount, &format!("{APPLY}: {what}"), format!("stat({shown})"), &e);
                Err(e.at(format!("{FIELD}/closID")))
            }
        };
    }
    let made = fs.make(dir).map_err(|e| failed(fs, mount, APPLY, format!("mkdir({shown})"), &e))?;
    if !made && !matching.is_empty() {
        let file = dir.join("schemata");
        let call = format!("read({})", file.display());
        let there = fs.read(&file).map_err(|e| failed(fs, mount, APPLY, call, &e))?;
        for line in matching {
            compare(line, &there, dir)?;
        }
    }
    Ok(made)
}

/// Whether a line says what a class has already.
fn compare(line: &str, there: &str, dir: &Path) -> Result<()> {
    let (resource, wanted) = values(line);
    let has = there.lines().map(values).find(|(name, _)| *name == resource).map(|(_, has)| has);
    let same = has.is_some_and(|has| wanted.iter().all(|(id, value)| has.get(id) == Some(value)));
    if same {
        return Ok(());
    }
    let name = if resource == "MB" { "memBwSchema" } else { "l3CacheSchema" };
    let there = there.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ");
    Err(Error::config(
        format!("{FIELD}/{name}"),
        format!("{name} {line:?} does not match the schemata of the existing class {}", dir.display()),
    )
    .hint(format!("it has: {there}")))
}

/// The resource of a line of `schemata` and its values by domain. Masks are hexadecimal, bandwidth is decimal.
fn values(line: &str) -> (&str, BTreeMap<&str, Option<u64>>) {
    let (resource, list) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
    let radix = if resource == "MB" { 10 } else { 16 };
    let pairs = list.split(';').filter_map(|pair| pair.trim().split_once('='));
    let number = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), radix).ok();
    let pairs = pairs.map(|(id, value)| {
        let id = id.trim().trim_start_matches('0');
        (if id.is_empty() { "0" } else { id }, number(value))
    });
    (resource.trim(), pairs.collect())
}

/// Writes the lines of a class, at once: the kernel takes all or none.
pub(crate) fn set_schemata(fs: &mut impl Files, mount: &Path, file: &Path, lines: &[String]) -> Result<()> {
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    fs.write(file, &text).map_err(|e| {
        let what = format!("intelrdt: unable to write {text:?}");
        failed(fs, mount, &what, format!("write({})", file.display()), &e)
    })
}

/// Makes the monitoring group; whether it is new.
pub(crate) fn make_monitor(fs: &mut impl Files, mount: &Path, dir: &Path) -> Result<bool> {
    fs.make(dir).map_err(|e| failed(fs, mount, APPLY, format!("mkdir({})", dir.display()), &e))
}

/// Puts a process into the groups. A further one goes only where there still is one, as in runc.
pub(crate) fn add(fs: &mut impl Files, groups: &Groups, pid: u32, further: bool) -> Result<()> {
    for dir in [Some(&groups.class), groups.monitor.as_ref()].into_iter().flatten() {
        let file = dir.join("tasks");
        match fs.write(&file, &pid.to_string()) {
            Err(e) if further && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                let what = format!("{APPLY}: intelrdt: unable to add pid {pid}");
                return Err(failed(fs, &groups.mount, &what, format!("write({})", file.display()), &e));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Changes the schemas of a container's class: what they were, for taking the change back.
pub(crate) fn change(
    fs: &mut impl Files,
    groups: &Groups,
    cache: Option<&str>,
    bandwidth: Option<&str>,
) -> Result<Vec<String>> {
    let enabled = |what: &str| fs.has(&groups.mount.join("info").join(what)).is_ok();
    if cache.is_some() && !enabled("L3") {
        return Err(Error::new(ErrorKind::Unsupported, "Intel RDT/CAT: l3 cache schema is not enabled"));
    }
    if bandwidth.is_some() && !enabled("MB") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "Intel RDT/MBA: memory bandwidth schema is not enabled",
        ));
    }
    let lines: Vec<String> = [cache, bandwidth].into_iter().flatten().map(str::to_owned).collect();
    for line in &lines {
        one_line(FIELD, line)?;
    }
    let file = groups.class.join("schemata");
    let before = fs.read(&file).unwrap_or_default();
    let named = |line: &&str| lines.iter().any(|l| values(l).0 == values(line).0);
    let before = before.lines().map(str::trim).filter(named).map(str::to_owned).collect();
    set_schemata(fs, &groups.mount, &file, &lines)?;
    Ok(before)
}

/// Takes a change back, as far as that is possible.
pub(crate) fn restore(groups: &Groups, before: &[String]) {
    // The failure that is being reported is the one that matters.
    let _ = set_schemata(&mut Kernel, &groups.mount, &groups.class.join("schemata"), before);
}

/// Removes directories that were made for a creation that failed.
pub(crate) fn remove(made: &[PathBuf]) {
    // The same.
    let _ = end::remove(made);
}

#[cfg(test)]
mod tests;
