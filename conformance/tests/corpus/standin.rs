//! What stands in for things of the machine on which a document was recorded. Each goes with its value.

use oxrun_conformance::{Check, Failed, sys};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A string, empty if it is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn has_option(mount: &Value, name: &str) -> bool {
    mount["options"].as_array().into_iter().flatten().any(|option| option == name)
}

pub(crate) fn is_bind(mount: &Value) -> bool {
    mount["type"] == "bind" || has_option(mount, "bind") || has_option(mount, "rbind")
}

/// Whether engines bind a file here, and not a directory.
pub(crate) fn is_file(destination: &str) -> bool {
    destination.starts_with("/etc/") || destination.ends_with("/.containerenv")
}

pub(crate) fn below_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Changes the owner of everything below a path, links themselves included.
pub(crate) fn give(path: &Path, uid: u32, gid: u32) -> Check {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    Ok(())
}

/// Mounts of the test itself.
#[derive(Default)]
pub(crate) struct Mounted(Vec<PathBuf>);

impl Mounted {
    pub(crate) fn bind(&mut self, source: &Path, target: PathBuf) -> Check<PathBuf> {
        sys::mount(source, &target, "", libc::MS_BIND)?;
        self.0.push(target.clone());
        Ok(target)
    }

    fn tmpfs(&mut self, target: PathBuf) -> Check {
        sys::mount(Path::new("tmpfs"), &target, "tmpfs", 0)?;
        self.0.push(target);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for target in self.0.iter().rev() {
            // What stays is reported as left behind.
            let _ = sys::unmount(target);
        }
    }
}

/// Sources of bind mounts, on a filesystem of their own that is shared: a mount that is not made private shows it. Each
/// directory may have a filesystem of its own below: a recursive mount shows that.
pub(crate) struct Sources<'a> {
    directory: PathBuf,
    mounted: &'a mut Mounted,
    made: BTreeMap<String, String>,
}

/// What a source is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    File,
    /// With or without a filesystem of its own below.
    Directory {
        nested: bool,
    },
}

/// The name of the directory with a filesystem of its own.
pub(crate) const NESTED: &str = "nested";

impl<'a> Sources<'a> {
    pub(crate) fn new(directory: PathBuf, mounted: &'a mut Mounted) -> Check<Self> {
        mounted.tmpfs(directory.clone())?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        sys::propagation(&directory, libc::MS_SHARED)?;
        Ok(Self { directory, mounted, made: BTreeMap::new() })
    }

    /// The path itself if it is here, else a new file or directory, the same for the same path.
    pub(crate) fn instead_of(&mut self, path: &str, kind: Kind) -> Check<String> {
        if Path::new(path).exists() {
            return Ok(path.to_owned());
        }
        if let Some(made) = self.made.get(path) {
            return Ok(made.clone());
        }
        let source = self.directory.join(format!("{}", self.made.len()));
        match kind {
            Kind::File => fs::write(&source, path)?,
            Kind::Directory { nested: false } => fs::create_dir(&source)?,
            Kind::Directory { nested: true } => {
                fs::create_dir_all(source.join(NESTED))?;
                self.mounted.tmpfs(source.join(NESTED))?;
            }
        }
        let source = source.to_string_lossy().into_owned();
        self.made.insert(path.to_owned(), source.clone());
        Ok(source)
    }
}

/// A process with namespaces of its own.
pub(crate) struct Holder {
    child: Child,
    pid: i32,
}

impl Holder {
    /// Names as in a document, with commas between them.
    pub(crate) fn new(probe: &Path, names: &str) -> Check<Self> {
        let mut command = Command::new(probe);
        command.args(["hold", names]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = Self { child: command.spawn()?, pid: 0 };
        let pipe = holder.child.stdout.take().ok_or("no pipe for stdout")?;
        let mut line = String::new();
        if sys::readable(pipe.as_fd(), Duration::from_secs(60))? {
            BufReader::new(pipe).read_line(&mut line)?;
        }
        holder.pid =
            line.trim().parse().map_err(|_| Failed::from(format!("no process holds {names}: {line:?}")))?;
        Ok(holder)
    }

    /// Gives a new user namespace its ids, the first of which is `first` outside.
    pub(crate) fn map(&self, first: u32, size: u32) -> Check {
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", self.pid), format!("0 {first} {size}"))?;
        }
        Ok(())
    }

    /// The words that run a program in its user and mount namespace, as root.
    pub(crate) fn enter(&self) -> Vec<String> {
        let pid = self.pid.to_string();
        ["nsenter", "--target", &pid, "--user", "--mount"].map(str::to_owned).into()
    }

    /// The file that stands for one of them.
    pub(crate) fn path(&self, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{}", self.pid, namespace_file(kind)))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends its own child, if it has one.
        let _ = sys::kill(self.child.id().cast_signed(), libc::SIGTERM);
        let _ = self.child.wait();
    }
}

/// The name in `/proc/PID/ns` of a type of namespace.
pub(crate) fn namespace_file(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}
