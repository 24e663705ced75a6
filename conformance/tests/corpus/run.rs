//! Running a staged document and gathering what can be seen of it, inside and on the host. What is gathered is
//! plain data, so that it can be compared again with a changed expectation.

use super::stage::{ID, OUTER, Stage};
use super::standin::{self, NESTED};
use oxrun_conformance::harness::{Host, Output};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// System calls that a filter may refuse, each harmless, with the arguments that filters look at.
pub(crate) const CALLS: [(&str, &str, [u64; 3]); 8] = [
    ("getcwd", "getcwd", [0; 3]),
    ("keyctl", "keyctl", [0; 3]),
    ("mkdirat", "mkdirat", [0; 3]),
    ("io_uring_setup", "io_uring_setup", [0; 3]),
    ("clone3", "clone3", [0; 3]),
    ("personality", "personality", [0x4_0000, 0, 0]),
    ("socket vsock", "socket", [40, 1, 0]),
    ("socket audit", "socket", [16, 3, 9]),
];

/// The probe's command line for a document: all places that it names are looked at.
pub(crate) fn questions(document: &Value) -> Vec<String> {
    let mut words = Vec::new();
    let mut ask = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    let linux = &document["linux"];
    for key in linux["sysctl"].as_object().into_iter().flatten().map(|(key, _)| key) {
        ask("--sysctl", key);
    }
    let mut places: BTreeSet<String> = ["/", "/dev/core"].map(String::from).into();
    places.extend(["null", "zero", "full", "random", "urandom", "tty"].map(|name| format!("/dev/{name}")));
    places.extend(["fd", "stdin", "stdout", "stderr", "ptmx", "console"].map(|name| format!("/dev/{name}")));
    for list in ["maskedPaths", "readonlyPaths"] {
        places.extend(linux[list].as_array().into_iter().flatten().map(standin::text));
    }
    places.extend(linux["devices"].as_array().into_iter().flatten().map(|d| standin::text(&d["path"])));
    for mount in document["mounts"].as_array().into_iter().flatten() {
        let destination = standin::text(&mount["destination"]);
        places.extend(["kept", NESTED].map(|name| format!("{destination}/{name}")));
        places.insert(destination);
    }
    for place in &places {
        ask("--stat", place);
    }
    for device in linux["devices"].as_array().into_iter().flatten() {
        if ["/dev/fuse", "/dev/xf"].iter().any(|name| device["path"] == *name) {
            ask("--open", &format!("{}:r", standin::text(&device["path"])));
        }
    }
    for name in ["null", "zero", "urandom"] {
        ask("--open", &format!("/dev/{name}:r"));
    }
    ask("--list", "/dev");
    words.extend(calls());
    words
}

/// The part of it that asks for system calls.
pub(crate) fn calls() -> Vec<String> {
    CALLS.iter().flat_map(|(name, ..)| ["--call", *name]).map(str::to_owned).collect()
}

/// What the probe says on the host to the same questions.
pub(crate) fn host_report(stage: &Stage, questions: &[String]) -> Check<Value> {
    let mut command = stage.host_command(stage.sandbox.probe());
    let output = command.arg("report").args(questions).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).map_err(|e| Failed::from(format!("{e}: {said}")))
}

/// Creates, starts, awaits and deletes the container, with the probe as its program.
pub(crate) fn whole_life(stage: &mut Stage) -> Check<Value> {
    let questions = questions(&stage.document);
    stage.program(&[vec!["/bin/probe".to_owned(), "report".to_owned()], questions.clone()].concat())?;
    let host = host_report(stage, &questions)?;
    let terminal = stage.document["process"]["terminal"] == true;
    let console = if terminal { Some(Console::new(&stage.sandbox.dir().join("console"))?) } else { None };
    let created = create(stage, console.as_ref())?.success()?;
    let rt = stage.sandbox.runtime();
    let state = rt.state(ID)?;
    let pid = rt.pid(ID)?;
    let limits = limits(stage)?;
    let started = rt.start(ID)?.success()?;
    let on_terminal = console.map(|console| drain(console.master()?)).transpose()?;
    check_eq!(rt.wait_for(pid)?, Some(0), "exit code of the program; it said {}", text_of(&created)?);
    let said = on_terminal.map_or_else(|| text_of(&created), Ok)?;
    let report: Value = serde_json::from_str(&said).map_err(|e| Failed::from(format!("{e} in {said:?}")))?;
    let deleted = rt.delete(ID)?.success()?;
    check!(!rt.root().join(ID).exists(), "the state directory is still there");
    check_eq!(stage.cgroups()?, Vec::<std::path::PathBuf>::new(), "cgroups after delete");
    let seen = json!({
        "report": report,
        "host": host,
        "state": state,
        "limits": limits,
        "warnings": created.stderr.lines().collect::<Vec<_>>(),
        "later warnings": started.stderr + &deleted.stderr,
        "namespaces": joined(&stage.document),
        "sources": sources(&stage.document),
        "root": inode(&stage.bundle.rootfs()),
        "hooks": hooks(stage),
        "inside a user namespace": stage.is_rootless(),
        "first id": if stage.is_rootless() { OUTER } else { 0 },
        "bundle": stage.bundle.path().to_string_lossy(),
    });
    stage.remove_parents()?;
    Ok(seen)
}

fn text_of(created: &Output) -> Check<String> {
    Ok(fs::read_to_string(&created.stdout_file)?)
}

pub(crate) fn create(stage: &Stage, console: Option<&Console>) -> Check<Output> {
    let bundle = stage.bundle.path().to_string_lossy();
    match console {
        None => stage.sandbox.runtime().create(stage.bundle.path(), ID),
        Some(console) => {
            let words = ["create", "--bundle", &bundle, "--console-socket", &console.path, ID];
            stage.sandbox.runtime().call(&words)
        }
    }
}

/// The values of all limits, before anything runs, and those of a cgroup beside it that nobody has touched.
pub(crate) fn limits(stage: &Stage) -> Check<Value> {
    let mut files = Map::new();
    for directory in stage.cgroups()? {
        let fresh = directory.with_file_name(format!("{}fresh", stage.sandbox.cgroup_prefix()));
        fs::create_dir(&fresh)?;
        let result = values(&directory).and_then(|own| Ok((own, values(&fresh)?)));
        fs::remove_dir(&fresh)?;
        let (own, mut untouched) = result?;
        for (name, value) in own {
            let untouched = untouched.remove(&name);
            files.insert(name, json!({ "own": value, "untouched": untouched }));
        }
    }
    Ok(files.into())
}

/// The small files of a cgroup that are limits.
pub(crate) fn values(directory: &Path) -> Check<Map<String, Value>> {
    const OTHER: [&str; 6] = ["tasks", "cgroup.procs", "cgroup.threads", "stat", "usage", "pressure"];
    let mut files = Map::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What cannot be read is no limit.
        if !OTHER.iter().any(|other| name.contains(other))
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.insert(name, json!(text.trim_end()));
        }
    }
    Ok(files)
}

/// What each joined namespace is.
fn joined(document: &Value) -> Value {
    let list = document["linux"]["namespaces"].as_array().into_iter().flatten();
    let paths = list.filter_map(|entry| entry["path"].as_str());
    let link = |path: &str| {
        let kind = Path::new(path).file_name()?.to_str()?.to_owned();
        match fs::read_link(path) {
            Ok(link) => Some(link.to_string_lossy().into_owned()),
            // A bound file has the namespace's inode.
            Err(_) => Some(format!("{kind}:[{}]", inode(Path::new(path))["inode"])),
        }
    };
    paths.map(|path| (path.to_owned(), json!(link(path)))).collect::<Map<_, _>>().into()
}

fn inode(path: &Path) -> Value {
    use std::os::unix::fs::MetadataExt as _;
    match fs::metadata(path) {
        Ok(meta) => json!({
            "dev": format!("{}:{}", libc::major(meta.dev()), libc::minor(meta.dev())),
            "inode": meta.ino(),
        }),
        Err(_) => Value::Null,
    }
}

/// What the sources of bind mounts are: inode, options and propagation of the mount where they lie.
fn sources(document: &Value) -> Value {
    let mounts = Host::mounts().unwrap_or_default();
    let mut found = Map::new();
    for mount in document["mounts"].as_array().into_iter().flatten().filter(|m| standin::is_bind(m)) {
        let source = standin::text(&mount["source"]);
        let under = mounts.iter().filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let target = *words.get(4)?;
            Path::new(&source).starts_with(target).then_some((target.len(), words))
        });
        let Some((_, words)) = under.max_by_key(|(length, _)| *length) else { continue };
        let mut entry = inode(Path::new(&source));
        entry["options"] = json!(words.get(5).map(|o| o.split(',').collect::<Vec<_>>()));
        entry["shared"] = json!(words.iter().take_while(|w| **w != "-").any(|w| w.starts_with("shared:")));
        entry["directory"] = json!(Path::new(&source).join(NESTED).is_dir());
        found.insert(source, entry);
    }
    found.into()
}

/// What the hooks were given.
fn hooks(stage: &Stage) -> Value {
    let read = |file: &Path| fs::read_to_string(file).ok().and_then(|t| serde_json::from_str(&t).ok());
    let files = stage.hook_files().into_iter();
    let said = files.map(|(kind, index, file)| (format!("{kind}/{index}"), read(&file).unwrap_or_default()));
    said.collect::<Map<_, _>>().into()
}

/// The socket on which a caller receives the master of a pseudo terminal.
pub(crate) struct Console {
    listener: UnixListener,
    pub(crate) path: String,
}

impl Console {
    pub(crate) fn new(path: &Path) -> Check<Self> {
        Ok(Self { listener: UnixListener::bind(path)?, path: path.to_string_lossy().into_owned() })
    }

    pub(crate) fn master(&self) -> Check<File> {
        check!(sys::readable(self.listener.as_fd(), Duration::from_secs(60))?, "nobody connects");
        let (stream, _) = self.listener.accept()?;
        let (_, fds) = sys::receive(stream.as_fd())?;
        check_eq!(fds.len(), 1, "descriptors in the message");
        Ok(File::from(fds.into_iter().next().ok_or("no descriptor")?))
    }
}

/// Reads a master until its other end has been closed by everybody.
pub(crate) fn drain(mut master: File) -> Check<String> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        check!(sys::readable(master.as_fd(), Duration::from_secs(60))?, "the terminal is silent");
        match master.read(&mut part) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
