//! An engine runs where it can leave nothing behind: pid, mount, network, ipc, uts and cgroup
//! namespaces of its own, /run empty, /dev a copy, /etc writable only as a layer in the scratch
//! directory.
//!
//! Three processes see to it. The command itself turns a signal into the end of a pipe. The
//! supervisor stays on the host, reads that pipe, kills pid 1 of the new pid namespace and so
//! everything in it, and then removes the cgroups and the scratch directory; the end of the
//! command, however it comes, is the end of the pipe too. Pid 1 runs the scenarios.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::cgroups::{self, Hierarchy};
use super::{Job, sys};

/// Far longer than any run; only bounds a poll.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The supervisor: everything is gone from the host when it returns.
pub(super) fn supervise(job: &Job) -> ExitCode {
    let result = make_and_watch(job);
    let cleaned = clean(job);
    for e in [result.as_ref().err(), cleaned.as_ref().err()].into_iter().flatten() {
        eprintln!("oxrun-conformance engines: {e}");
    }
    if result.is_ok_and(|good| good) && cleaned.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Removes the cgroups and the scratch directory. What is gone already is no error.
pub(super) fn clean(job: &Job) -> Result<(), String> {
    let groups = cgroups::remove(&job.hierarchies);
    if job.keep || !job.scratch.exists() {
        return groups;
    }
    let scratch = fs::remove_dir_all(&job.scratch);
    groups.and(scratch.map_err(|e| format!("removing {}: {e}", job.scratch.display())))
}

fn make_and_watch(job: &Job) -> Result<bool, String> {
    fs::create_dir(&job.scratch).map_err(|e| format!("mkdir {}: {e}", job.scratch.display()))?;
    cgroups::create(&job.hierarchies)?;
    sys::unshare(libc::CLONE_NEWPID).map_err(|e| format!("new pid namespace: {e}"))?;
    let mut inside = job
        .command("--inside")?
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| format!("starting the inner process: {e}"))?;
    let ended = sys::pidfd(inside.id()).map_err(|e| format!("pidfd_open: {e}"));
    let watched = ended.and_then(|ended| {
        let stdin = std::io::stdin();
        sys::poll(&[ended.as_fd(), stdin.as_fd()], DAY).map_err(|e| format!("poll: {e}"))
    });
    // The pipe has ended or something is wrong: pid 1 goes, and with it the namespace.
    if !watched.as_ref().is_ok_and(|w| w[0]) {
        inside.kill().map_err(|e| format!("kill: {e}"))?;
    }
    // The parent sees pid 1 end only after all others of the namespace have ended.
    let status = inside.wait().map_err(|e| format!("wait: {e}"))?;
    watched.map(|_| status.success())
}

/// The supervisor's process: stdin is the pipe whose end stops it, stdout carries the events.
/// It has a process group of its own, so that a terminal's signal reaches only the command.
pub(super) fn supervisor(job: &Job) -> Result<Command, String> {
    let mut command = job.command("--supervise")?;
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// Makes the calling process, pid 1 of its namespace, see only its own system.
pub(super) fn enter(job: &Job) -> Result<(), String> {
    sys::die_with_parent().map_err(|e| format!("prctl: {e}"))?;
    sys::reset_signals();
    cgroups::join(&job.hierarchies)?;
    sys::unshare(
        libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP,
    )
    .map_err(|e| format!("new namespaces: {e}"))?;
    let mount = |source: &str, target: &str, fstype: &str, flags, data: &str| {
        sys::mount(source, target, fstype, flags, data)
            .map_err(|e| format!("mounting {fstype} {data} on {target}: {e}"))
    };
    mount("", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    let plain = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount("proc", "/proc", "proc", plain, "")?;
    mount("sysfs", "/sys", "sysfs", plain, "")?;
    mount_cgroups(&job.hierarchies, &mount)?;
    mount("tmpfs", "/run", "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "mode=755")?;
    let layers = ["upper", "work"].map(|d| job.scratch.join("etc").join(d));
    for layer in &layers {
        fs::create_dir_all(layer).map_err(|e| format!("mkdir {}: {e}", layer.display()))?;
    }
    let data = format!("lowerdir=/etc,upperdir={},workdir={}", layers[0].display(), layers[1].display());
    mount("overlay", "/etc", "overlay", 0, &data)
        .map_err(|e| format!("{e} (does TMPDIR lie on a filesystem that overlay accepts?)"))?;
    private_dev(job, &mount)?;
    for place in ["bin", "sbin", "libexec"] {
        let usr = Path::new("/usr").join(place);
        let other = job.engine_dir.as_ref().map(|dir| dir.join(place)).filter(|dir| dir.is_dir());
        if let Some(other) = other.filter(|_| usr.is_dir()) {
            let data = format!("lowerdir={}:{}", other.display(), usr.display());
            mount("overlay", &usr.to_string_lossy(), "overlay", 0, &data)?;
        }
    }
    // Engines want to be able to give containers a slave of the host's tree.
    mount("", "/", "", libc::MS_REC | libc::MS_SHARED, "")
}

type Mount<'a> = dyn Fn(&str, &str, &str, libc::c_ulong, &str) -> Result<(), String> + 'a;

fn mount_cgroups(all: &[Hierarchy], mount: &Mount<'_>) -> Result<(), String> {
    let plain = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let top = Path::new("/sys/fs/cgroup");
    if let [only] = all
        && only.v2()
        && only.mount_point == top
    {
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2", plain, "")?;
        return delegate(top);
    }
    mount("tmpfs", "/sys/fs/cgroup", "tmpfs", plain, "mode=755")?;
    for h in all {
        let point = &h.mount_point;
        fs::create_dir_all(point).map_err(|e| format!("mkdir {}: {e}", point.display()))?;
        let target = point.to_string_lossy();
        if h.v2() {
            mount("cgroup2", &target, "cgroup2", plain, "")?;
            continue;
        }
        let data = match h.key.strip_prefix("name=") {
            Some(_) => format!("none,{}", h.key),
            None => h.key.clone(),
        };
        mount("cgroup", &target, "cgroup", plain, &data)?;
        // cpu and cpuacct point to cpu,cpuacct where they are mounted together.
        for one in h.key.split(',').filter(|_| h.key.contains(',')) {
            let link = top.join(one);
            if let Some(name) = point.file_name().filter(|_| !link.exists()) {
                std::os::unix::fs::symlink(name, &link)
                    .map_err(|e| format!("symlink {}: {e}", link.display()))?;
            }
        }
    }
    Ok(())
}

/// A copy of /dev: what a runtime does to an owner or a mode there is not done to the host's.
fn private_dev(job: &Job, mount: &Mount<'_>) -> Result<(), String> {
    let copy = job.scratch.join("dev");
    fs::create_dir(&copy).map_err(|e| format!("mkdir {}: {e}", copy.display()))?;
    let target = copy.to_string_lossy();
    mount("tmpfs", &target, "tmpfs", libc::MS_NOSUID, "mode=755")?;
    // Nothing of the filesystems mounted below: only what is on /dev itself.
    let copied = Command::new("cp").args(["-ax", "/dev/."]).arg(&copy).status();
    if !copied.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(format!("copying /dev: {copied:?}"));
    }
    for dir in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(copy.join(dir)).map_err(|e| format!("mkdir /dev/{dir}: {e}"))?;
    }
    mount(&target, "/dev", "", libc::MS_MOVE, "")?;
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        libc::MS_NOSUID | libc::MS_NOEXEC,
        "newinstance,mode=620,gid=5,ptmxmode=666",
    )?;
    mount("tmpfs", "/dev/shm", "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "mode=1777")?;
    mount("mqueue", "/dev/mqueue", "mqueue", libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC, "")?;
    let ptmx = Path::new("/dev/ptmx");
    fs::remove_file(ptmx)
        .and_then(|()| std::os::unix::fs::symlink("pts/ptmx", ptmx))
        .map_err(|e| format!("/dev/ptmx: {e}"))
}

/// On v2 only a group without processes hands controllers on to its children.
fn delegate(top: &Path) -> Result<(), String> {
    let init = top.join("init");
    fs::create_dir(&init).map_err(|e| format!("mkdir {}: {e}", init.display()))?;
    fs::write(init.join("cgroup.procs"), "0").map_err(|e| format!("entering init: {e}"))?;
    let controllers =
        fs::read_to_string(top.join("cgroup.controllers")).map_err(|e| format!("cgroup.controllers: {e}"))?;
    for controller in controllers.split_whitespace() {
        fs::write(top.join("cgroup.subtree_control"), format!("+{controller}"))
            .map_err(|e| format!("delegating {controller}: {e}"))?;
    }
    Ok(())
}
