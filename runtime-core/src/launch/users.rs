//! What a launch does about user and time namespaces: maps, clocks, and clones of mounts made inside.
//!
//! What must hold: a process whose /proc files are used is a child of ours that nobody has reaped, so its pid is
//! its own. A clone is made in the mount namespace whose locks it has to carry, and gets its id map before
//! anybody else sees it.

use super::{Host, Outside, spawn_init};
use crate::cgroup::live;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::action::{ClockOffset, IdMap, IdMaps, Idmap, MapWriter};
use crate::sys::{self, MountNamespace};
use oxrun_init::encode::Writer;
use oxrun_init::script::{Header, Op};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Namespaces that a launch needs beside those of the container.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// The thread in the container's mount namespace.
    mounts: Option<MountNamespace>,
    /// User namespaces that exist only as maps of mounts.
    users: Vec<(IdMaps, OwnedFd)>,
}

impl Host<'_> {
    /// Writes the maps of init's user namespace.
    pub(super) fn map_ids(&self, maps: &IdMaps, by: &MapWriter) -> Result<()> {
        let pid = self.process.as_ref().map_or(0, |p| p.0);
        match by {
            MapWriter::Caller => write_maps(pid, maps),
            MapWriter::Own => {
                live::write(&proc(pid).join("setgroups"), "deny")?;
                write_maps(pid, maps)
            }
            MapWriter::Helpers { uid, gid } => {
                // Groups first: once the uids are mapped the process may be one that the helper refuses.
                map_by(gid, pid, &maps.gids).map_err(|e| e.at("/linux/gidMappings"))?;
                map_by(uid, pid, &maps.uids)
            }
        }
    }

    /// Compares the maps of the user namespace that init has joined with those of the config.
    pub(super) fn compare_maps(&self, maps: &IdMaps) -> Result<()> {
        let pid = self.process.as_ref().map_or(0, |p| p.0);
        for (file, wanted, field) in
            [("uid_map", &maps.uids, "/linux/uidMappings"), ("gid_map", &maps.gids, "/linux/gidMappings")]
        {
            let path = proc(pid).join(file);
            let text =
                sys::read_file(&path).map_err(|e| Error::io(format!("read({})", path.display()), &e))?;
            let words = |t: &str| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            if words(&text) != words(&lines(wanted)) {
                let there = text.lines().map(|l| words(l).join(" ")).collect::<Vec<_>>().join(", ");
                let text = "user namespaces enabled, but both namespace path and non-matching mapping \
                            specified -- you may only provide one";
                return Err(Error::config(field, text).hint(format!("the namespace has: {there}")));
            }
        }
        Ok(())
    }

    /// Sets the clocks of the time namespace that init has made and nobody has entered.
    pub(super) fn set_clocks(
        &self,
        monotonic: Option<ClockOffset>,
        boottime: Option<ClockOffset>,
    ) -> Result<()> {
        let pid = self.process.as_ref().map_or(0, |p| p.0);
        let mut text = String::new();
        for (name, offset) in [("monotonic", monotonic), ("boottime", boottime)] {
            if let Some(o) = offset {
                text.push_str(&format!("{name} {} {}\n", o.secs, o.nanosecs));
            }
        }
        live::write(&proc(pid).join("timens_offsets"), &text)
    }

    /// Clones the root in the container's mount namespace and attaches the clone where it lies.
    pub(super) fn clone_root(&mut self, path: &Path) -> Result<()> {
        let owned = path.to_owned();
        let job = move || {
            let tree = sys::clone_tree(&owned, true)?;
            sys::attach_tree(&tree, &owned)?;
            Ok(tree)
        };
        let tree = self.mounts()?.run(job);
        self.source = Some(tree.map_err(|e| Error::io(format!("open_tree({})", path.display()), &e))?);
        Ok(())
    }

    /// Clones a source for init, in the host's mount namespace or the container's.
    pub(super) fn clone_source(
        &mut self,
        source: &Path,
        recursive: bool,
        idmap: Option<&Idmap>,
        inside: bool,
    ) -> Result<()> {
        let owned = source.to_owned();
        let job = move || sys::clone_tree(&owned, recursive);
        let tree = if inside { self.mounts()?.run(job) } else { job() };
        let tree = tree.map_err(|e| Error::io(format!("open_tree({})", source.display()), &e))?;
        if let Some(map) = idmap {
            let users = self.users(map.maps.as_ref())?;
            sys::set_idmap(&tree, users, map.recursive).map_err(|e| no_idmap(&tree, source, &e))?;
        }
        self.source = Some(tree);
        Ok(())
    }

    /// The thread in the container's mount namespace.
    fn mounts(&mut self) -> Result<&MountNamespace> {
        let Some((_, process)) = &self.process else {
            return Err(Error::new(ErrorKind::Internal, "no process"));
        };
        let slot = &mut self.inside.mounts;
        match slot {
            Some(thread) => Ok(thread),
            None => Ok(slot.insert(MountNamespace::of(process).map_err(|e| Error::io("clone(thread)", &e))?)),
        }
    }

    /// A user namespace with these maps, or the container's.
    fn users(&mut self, maps: Option<&IdMaps>) -> Result<&OwnedFd> {
        let known = &mut self.inside.users;
        let wanted = maps.cloned().unwrap_or(IdMaps { uids: Vec::new(), gids: Vec::new() });
        let at = match known.iter().position(|(m, _)| *m == wanted) {
            Some(at) => at,
            None => {
                let fd = match maps {
                    Some(maps) => mapped(maps)?,
                    None => user_namespace(self.process.as_ref().map_or(0, |p| p.0))?,
                };
                known.push((wanted, fd));
                known.len() - 1
            }
        };
        known.get(at).map(|(_, fd)| fd).ok_or_else(|| Error::new(ErrorKind::Internal, "no user namespace"))
    }
}

fn proc(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn lines(map: &[IdMap]) -> String {
    map.iter().fold(String::new(), |t, m| format!("{t}{} {} {}\n", m.inside, m.outside, m.size))
}

fn write_maps(pid: u32, maps: &IdMaps) -> Result<()> {
    live::write(&proc(pid).join("uid_map"), &lines(&maps.uids))?;
    live::write(&proc(pid).join("gid_map"), &lines(&maps.gids)).map_err(|e| e.at("/linux/gidMappings"))
}

/// Runs newuidmap(1) or newgidmap(1).
fn map_by(program: &Path, pid: u32, map: &[IdMap]) -> Result<()> {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).arg(pid.to_string());
    for m in map {
        command.args([m.inside, m.outside, m.size].map(|n| n.to_string()));
    }
    let call = || format!("execve({})", program.display());
    let output = command.output().map_err(|e| Error::io(call(), &e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(ErrorKind::Permission, format!("{}: {}: {said}", program.display(), output.status))
        .hint("the ids must be in /etc/subuid and /etc/subgid for this user"))
}

fn user_namespace(pid: u32) -> Result<OwnedFd> {
    let path = proc(pid).join("ns/user");
    File::open(&path).map(Into::into).map_err(|e| Error::io(format!("open({})", path.display()), &e))
}

/// Makes a user namespace that nobody lives in: a process makes it and ends once a descriptor holds it.
fn mapped(maps: &IdMaps) -> Result<OwnedFd> {
    let mut script = Writer::new(Header { steps: 1, preserve: 0, dumpable: 0 });
    script.push(1, &Op::NewUser {});
    script.push(1, &Op::Barrier {});
    let null = File::open("/dev/null").map_err(|e| Error::io("open(/dev/null)", &e))?;
    let page = sys::memfd(c"oxrun-fault", 0).map(File::from).map_err(|e| Error::io("memfd_create", &e))?;
    page.set_len(oxrun_init::fault::SIZE as u64).map_err(|e| Error::io("ftruncate(fault)", &e))?;
    let null = null.as_fd();
    let outside =
        Outside { streams: [null, null, null], preserved: &[], fifo: null, fault: page.as_fd(), aside: None };
    let (pid, pidfd, control) =
        spawn_init(&script.finish(), &outside, None)?.map_err(|e| Error::io("clone3(\"oxrun-init\")", &e))?;
    let made = (|| {
        let mut buf = [0u8; 8];
        let (n, _) = sys::receive(&control, &mut buf).map_err(|e| Error::io("recvmsg", &e))?;
        if n == 0 {
            let e = Error::new(ErrorKind::Syscall, "a user namespace for a mount's ids cannot be made");
            return Err(match sys::wait_within(&pidfd, super::talk::DEATH) {
                Ok(sys::ExitStatus::Exited(errno @ 1..=133)) => {
                    e.with_call("execveat(\"oxrun-init\")".to_owned(), errno)
                }
                _ => e,
            });
        }
        write_maps(pid, maps)?;
        user_namespace(pid)
    })();
    let _ = sys::pidfd_signal(&pidfd, libc::SIGKILL);
    let _ = sys::wait(&pidfd);
    made
}

/// A filesystem that cannot show other ids answers EINVAL: name it.
fn no_idmap(tree: &OwnedFd, source: &Path, e: &std::io::Error) -> Error {
    let error = Error::io(format!("mount_setattr({}, MOUNT_ATTR_IDMAP)", source.display()), e);
    if e.raw_os_error() != Some(libc::EINVAL) {
        return error;
    }
    let device = tree.try_clone().ok().and_then(|fd| File::from(fd).metadata().ok()).map(|m| m.dev());
    let table = sys::read_file("/proc/self/mountinfo").unwrap_or_default();
    let kind = table.lines().find_map(|line| {
        let (mount, fs) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let device_of_line = libc::makedev(major.parse().ok()?, minor.parse().ok()?);
        (Some(device_of_line) == device).then(|| fs.split(' ').next().unwrap_or("").to_owned())
    });
    error.hint(format!("the filesystem {} does not support id-mapped mounts", kind.unwrap_or_default()))
}
