//! A machine of its own for a command: a Debian kernel under QEMU, the host's root below a writable
//! layer in memory, and the cgroup layout, init and user that were asked for. Nothing that runs in
//! it reaches the host but its output, its exit status and the directory given by `--out`; when the
//! command ends, however it ends, so does the machine.
//!
//! `apt` and `kernels` fetch kernels, `unpack` and `initrd` make them bootable, `machine` boots and
//! watches, `suite` runs the test programs inside. What happens inside is in `guest/*.sh`.

mod apt;
mod initrd;
mod kernels;
mod machine;
mod options;
mod suite;
mod unpack;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use machine::Stream;
use options::{Options, Task};

/// What a machine needs from the host: a program and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
];

/// What a machine with systemd needs besides.
const SYSTEMD: &[(&str, &str)] = &[
    ("/lib/systemd/systemd", "systemd"),
    ("/usr/bin/dbus-daemon", "dbus"),
    ("/usr/lib/systemd/user/dbus.socket", "dbus-user-session"),
    ("/usr/share/pam-configs/systemd", "libpam-systemd"),
    ("newuidmap", "uidmap"),
];

/// Runs `oxrun-conformance vm` with the arguments that follow the word `vm`.
pub fn run(args: &[String]) -> ExitCode {
    let done = options::parse(args).and_then(|(options, task)| match task {
        Task::Help => {
            println!("{}", options::USAGE);
            Ok(0)
        }
        Task::Packages => {
            for (_, package) in PROGRAMS.iter().chain(SYSTEMD) {
                println!("{package}");
            }
            Ok(0)
        }
        Task::ListKernels => kernels::list().map(|()| 0),
        Task::Command(words) => command(&options, &words),
        Task::Suite(names) => suite::run(options, &names),
    });
    match done {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(why) => {
            eprintln!("oxrun-conformance vm: {why}");
            ExitCode::from(125)
        }
    }
}

/// Runs one command with its output on ours.
fn command(options: &Options, words: &[String]) -> Result<i32, String> {
    machine::run(options, words, &mut |stream, bytes| {
        // A reader that is gone does not concern the machine.
        let _ = match stream {
            Stream::Out => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            Stream::Err => std::io::stderr().write_all(bytes),
        };
    })
}

/// A program of the host, or a sentence that says which package has it.
fn program(name: &str) -> Result<PathBuf, String> {
    crate::locate::program(name).map_err(|_| {
        let package = PROGRAMS.iter().chain(SYSTEMD).find(|(program, _)| *program == name);
        let package = package.map_or(name, |(_, package)| package);
        format!("{name} is missing: apt-get install --no-install-recommends {package}")
    })
}

/// Runs a program of the host to its end and returns what it printed.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|e| format!("{name}: {e}"))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let text = String::from_utf8_lossy(&done.stderr);
    Err(format!("{name} failed ({}): {}", done.status, text.trim()))
}
