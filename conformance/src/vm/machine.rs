//! One machine from its boot to its end. QEMU is a child that the kernel kills when this process
//! dies; a signal, the end of the time and every error kill it too. What the command prints comes
//! through channels of their own, so that nothing of the kernel's gets between, and its status
//! through a third; a machine that ends without a status has failed.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::kernels::{self, Kernel};
use super::options::{Cgroups, Options};
use super::{SYSTEMD, initrd, program};
use crate::sys;

/// How long a machine may take if nobody says.
const LIMIT: Duration = Duration::from_secs(300);

/// The size of the filesystem for temporary files, in MiB; what is not written takes no room.
const TMP: u32 = 1024;

/// How long QEMU may take until it has opened its channels.
const READY: Duration = Duration::from_secs(30);

/// The status when the time is over, as timeout(1) has it.
const TIME_IS_OVER: i32 = 124;

/// The channels, in the order in which QEMU opens them.
const CHANNELS: [&str; 3] = ["out", "err", "status"];

/// Which of the command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Runs a command in a machine. What it prints goes to `sink` as it comes; the result is its exit
/// status, or 124 if the time was over.
pub(super) fn run(
    options: &Options,
    words: &[String],
    sink: &mut dyn FnMut(Stream, &[u8]),
) -> Result<i32, String> {
    let qemu = program("qemu-system-x86_64")?;
    if cfg!(not(target_arch = "x86_64")) {
        return Err("machines are made for x86_64 only".to_owned());
    }
    if options.systemd {
        for (name, _) in SYSTEMD {
            program(name)?;
        }
    }
    let kernel = kernels::find(&options.kernel)?;
    let signals = sys::block_signals().map_err(|e| format!("signalfd: {e}"))?;
    let scratch = Scratch::new()?;
    let initrd = initrd::make(&kernel, &job(options, &kernel, words))?;
    scratch.write("initrd", &initrd)?;
    for (name, size) in [("disk", options.disk), ("tmp", TMP)] {
        let file = fs::File::create(scratch.path(name)).map_err(|e| format!("{name}: {e}"))?;
        file.set_len(u64::from(size) << 20).map_err(|e| format!("{name}: {e}"))?;
    }
    let mut machine = Machine::boot(&qemu, options, &kernel, &scratch)?;
    let result = machine.watch(options.limit.unwrap_or(LIMIT), signals.as_fd(), sink);
    drop(machine);
    if let Some(kept) = &options.console {
        fs::copy(scratch.path("console"), kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    }
    result.map_err(|why| format!("{why}\n{}", scratch.last_words()))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// The files that tell the guest what to do.
fn job(options: &Options, kernel: &Kernel, words: &[String]) -> [(&'static str, String); 2] {
    let conf = format!(
        "SYSTEMD={} USER_SESSION={} CGROUP={} MODULES={} OUT={}\n",
        yes(options.systemd),
        yes(options.user),
        options.cgroups.name(),
        yes(kernel.modules.is_some()),
        yes(options.out.is_some()),
    );
    let mut command = String::from(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         export TMPDIR=/run/tmp TERM=dumb OXRUN_VM=yes OXRUN_VM_DISK=/dev/vda\n",
    );
    command += &format!("export HOME={}\n", if options.user { "/home/vmuser" } else { "/root" });
    if options.user {
        command += "export XDG_RUNTIME_DIR=/run/user/4242\n";
    }
    for (name, value) in &options.environment {
        command += &format!("export {name}={}\n", quoted(value));
    }
    if let Ok(here) = std::env::current_dir() {
        command += &format!("cd {} 2>/dev/null || cd /\n", quoted(&here.to_string_lossy()));
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    command += &format!("exec {}\n", words.join(" "));
    [("conf", conf), ("command.sh", command)]
}

/// Whether the processor has what KVM needs; a `/dev/kvm` without it may accept a machine and then
/// fail to run it.
fn kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
        && fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open("/dev/kvm")
            .is_ok()
}

/// The kernel's command line.
fn boot_line(options: &Options) -> String {
    let mut line =
        String::from("console=ttyS0 panic=-1 reboot=t nokaslr no_timer_check tsc=reliable quiet loglevel=4");
    if options.systemd {
        line += " systemd.unit=oxrun-vm.target systemd.show_status=0 systemd.log_level=warning";
        line += match options.cgroups {
            Cgroups::V2 => " systemd.unified_cgroup_hierarchy=1",
            Cgroups::Hybrid => " systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
            Cgroups::V1 => {
                " systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 \
                 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
            }
        };
    }
    line
}

/// The directory of one machine's files, gone with it.
struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, String> {
        let directory = std::env::temp_dir().join(format!("oxrun-vm-{}", std::process::id()));
        fs::create_dir(&directory).map_err(|e| format!("mkdir {}: {e}", directory.display()))?;
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        fs::write(self.path(name), bytes).map_err(|e| format!("{}: {e}", self.path(name).display()))
    }

    /// The end of what the console and QEMU said.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["console", "qemu"] {
            let text = fs::read(self.path(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\r', "");
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(20)..] {
                words += &format!("  {name}: {line}\n");
            }
        }
        words
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing more can be done about what does not go.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The running machine.
struct Machine {
    qemu: Child,
    channels: Vec<Option<UnixStream>>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Machine {
    fn boot(qemu: &Path, options: &Options, kernel: &Kernel, scratch: &Scratch) -> Result<Self, String> {
        let mut command = Command::new(qemu);
        let accelerator = options.accelerator.as_deref().unwrap_or(if kvm() { "kvm" } else { "tcg" });
        // One thread for all emulated processors: with several, a kernel that changes its own code
        // (static keys, which cgroup controllers turn on and off) now and then dies of half a change.
        let (accelerator, processor) =
            if accelerator == "kvm" { ("kvm", "host") } else { ("tcg,thread=single", "max") };
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"])
            .args(["-M", "q35", "-accel", accelerator, "-cpu", processor])
            .args(["-smp", &options.cpus.to_string(), "-m", &options.memory.to_string()])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(scratch.path("initrd"))
            .args(["-append", &boot_line(options)])
            .args(["-chardev", &format!("file,id=console,path={}", scratch.path("console").display())])
            .args([
                "-serial",
                "chardev:console",
                "-device",
                "virtio-serial-pci",
                "-device",
                "virtio-rng-pci",
            ]);
        share(&mut command, "root", Path::new("/"), true)?;
        if let Some(modules) = &kernel.modules {
            share(&mut command, "modules", modules, true)?;
        }
        if let Some(out) = &options.out {
            fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
            let out = fs::canonicalize(out).map_err(|e| format!("{}: {e}", out.display()))?;
            share(&mut command, "out", &out, false)?;
        }
        for name in ["disk", "tmp"] {
            let path = scratch.path(name);
            command
                .args([
                    "-drive",
                    &format!("file={},if=none,id={name},format=raw,cache=unsafe", path.display()),
                ])
                .args(["-device", &format!("virtio-blk-pci,drive={name}")]);
        }
        let mut listeners = Vec::new();
        for name in CHANNELS {
            let path = scratch.path(name);
            listeners.push(UnixListener::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?);
            command
                .args(["-chardev", &format!("socket,id={name},path={}", path.display())])
                .args(["-device", &format!("virtserialport,chardev={name},name=oxrun-vm.{name}")]);
        }
        let said = fs::File::create(scratch.path("qemu")).map_err(|e| format!("qemu's log: {e}"))?;
        let again = said.try_clone().map_err(|e| format!("qemu's log: {e}"))?;
        command.stdin(Stdio::null()).stdout(said).stderr(again);
        sys::die_with_parent(&mut command);
        let qemu = command.spawn().map_err(|e| format!("{}: {e}", qemu.display()))?;
        let mut machine = Self { qemu, channels: Vec::new() };
        for listener in listeners {
            match machine.accept(&listener) {
                Ok(stream) => machine.channels.push(Some(stream)),
                Err(why) => {
                    drop(machine);
                    return Err(format!("{why}\n{}", scratch.last_words()));
                }
            }
        }
        Ok(machine)
    }

    fn pidfd(&self) -> Result<std::os::fd::OwnedFd, String> {
        sys::pidfd(self.qemu.id().cast_signed()).map_err(|e| format!("pidfd_open: {e}"))
    }

    fn accept(&self, listener: &UnixListener) -> Result<UnixStream, String> {
        let ended = self.pidfd()?;
        let ready = sys::poll(&[listener.as_fd(), ended.as_fd()], READY).map_err(|e| format!("poll: {e}"))?;
        if !ready[0] {
            return Err(if ready[1] { "qemu ended at once" } else { "qemu does not start" }.to_owned());
        }
        listener.accept().map(|(stream, _)| stream).map_err(|e| format!("accept: {e}"))
    }

    /// Passes on what the command prints until the machine has ended.
    fn watch(
        &mut self,
        limit: Duration,
        signals: BorrowedFd<'_>,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<i32, String> {
        let ended = self.pidfd()?;
        let deadline = Instant::now() + limit;
        let mut status = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        // The channels end with QEMU, what it still holds comes before.
        while self.channels.iter().any(Option::is_some) {
            let left = deadline.saturating_duration_since(Instant::now());
            let open: Vec<usize> = (0..self.channels.len()).filter(|i| self.channels[*i].is_some()).collect();
            let mut fds = vec![signals];
            fds.extend(self.channels.iter().flatten().map(|stream| stream.as_fd()));
            let ready = sys::poll(&fds, left).map_err(|e| format!("poll: {e}"))?;
            if ready[0] {
                return Err("interrupted".to_owned());
            }
            if !ready.contains(&true) {
                eprintln!("oxrun-conformance vm: the machine's {} s are over", limit.as_secs());
                return Ok(TIME_IS_OVER);
            }
            for (index, _) in open.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                let Some(stream) = &mut self.channels[*index] else { continue };
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => self.channels[*index] = None,
                    Ok(n) => match index {
                        0 => sink(Stream::Out, &buffer[..n]),
                        1 => sink(Stream::Err, &buffer[..n]),
                        _ => status.extend_from_slice(&buffer[..n]),
                    },
                }
            }
        }
        if !sys::poll(&[ended.as_fd()], READY).map_err(|e| format!("poll: {e}"))?[0] {
            return Err("qemu does not end".to_owned());
        }
        let status = String::from_utf8_lossy(&status);
        status.trim().parse().map_err(|_| "the machine ended without a status".to_owned())
    }
}

/// Gives the machine a directory of the host under a tag.
fn share(command: &mut Command, tag: &str, path: &Path, read_only: bool) -> Result<(), String> {
    let path = path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))?;
    // A comma ends an option, two are one.
    let path = path.replace(',', ",,");
    let access = if read_only { "readonly=on" } else { "readonly=off" };
    command
        .args(["-fsdev", &format!("local,id={tag},path={path},security_model=none,{access},multidevs=remap")])
        .args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_words_reach_it_as_they_are() {
        let options = Options { environment: vec![("A".into(), "it's $HOME".into())], ..Options::default() };
        let kernel = Kernel { image: "/image".into(), release: String::new(), modules: None };
        let words = ["printf", "%s", "a b'c"].map(str::to_owned);
        let [(_, conf), (_, command)] = job(&options, &kernel, &words);
        assert_eq!(conf, "SYSTEMD=no USER_SESSION=no CGROUP=v2 MODULES=no OUT=no\n");
        assert!(command.contains("export A='it'\\''s $HOME'\n"), "{command}");
        assert!(command.ends_with("exec 'printf' '%s' 'a b'\\''c'\n"), "{command}");
    }
}
