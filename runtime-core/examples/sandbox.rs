//! Runs a command that nobody trusts and says as JSON what became of it: no network, no rights, a read-only root, few
//! system calls, little memory, little time.
//!
//! ```text
//! cargo run -p oxrun-core --example sandbox -- /srv/rootfs /bin/sh -c 'id; ls /'
//! {"outcome":"exited","status":0,"stderr":"","stdout":"uid=65534 gid=65534\n..."}
//! ```

use oxrun_core::{Bundle, Container, CreateOptions, Event, ExitStatus, Runtime, Stdio, Stream};
use serde_json::{Value, json};
use std::io::{PipeReader, Read as _, pipe};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(10);
const MEMORY: i64 = 64 << 20;
const OUTPUT: u64 = 64 << 10;
const SIGKILL: i32 = 9;
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let rootfs = args.next().ok_or("usage: sandbox ROOTFS COMMAND [ARG...]")?;
    let bundle = Bundle::from_json(config(&rootfs, &args.collect::<Vec<_>>()).to_string().as_bytes())?;
    let id = format!("sandbox-{}", std::process::id());
    let runtime = Runtime::new("/run/sandbox");
    let plan = runtime.plan(&id, &bundle, &CreateOptions::default())?;
    let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
    let stdio = Stdio { stdin: Stream::Null, stdout: Stream::from(stdout), stderr: Stream::from(stderr) };
    let container = runtime.create(&plan, stdio)?;
    let (out, err) = (collect(out), collect(err));
    let outcome = supervise(&container);
    // Whatever happened: nothing of it stays. That also ends who still holds the pipes.
    container.delete(true)?;
    let mut report = outcome?;
    report["stdout"] = out.join().unwrap_or_default().into();
    report["stderr"] = err.join().unwrap_or_default().into();
    println!("{report}");
    Ok(())
}

/// Lets it run, no longer than it may.
fn supervise(container: &Container) -> Outcome<Value> {
    let mut watch = container.watch()?;
    container.start()?;
    let end = Instant::now() + TIME;
    let mut killed = None;
    loop {
        match watch.next(Some(end.saturating_duration_since(Instant::now())))? {
            Event::Ended => break,
            Event::Oom => killed = Some("out of memory"),
            _ if killed != Some("out of time") => {
                killed = Some("out of time");
                container.kill(SIGKILL, true)?;
            }
            _ => {}
        }
    }
    Ok(match (killed, container.wait()?) {
        (Some(why), _) => json!({ "outcome": why }),
        (None, ExitStatus::Exited(code)) => json!({ "outcome": "exited", "status": code }),
        (None, ExitStatus::Signaled(signal)) => json!({ "outcome": "signaled", "signal": signal }),
        (None, ExitStatus::Unknown) => json!({ "outcome": "unknown" }),
    })
}

/// Reads the first part of an output and throws the rest away, so that nobody is blocked by it.
fn collect(mut from: PipeReader) -> JoinHandle<String> {
    spawn(move || {
        let mut bytes = Vec::new();
        let _ = (&mut from).take(OUTPUT).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn config(rootfs: &str, args: &[String]) -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    // What untrusted programs have no business with; everything else fails as if the kernel did not have it.
    let allowed = "access arch_prctl brk chdir clock_gettime clone clone3 close close_range dup dup2 dup3 epoll_create1 \
        epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group faccessat faccessat2 fadvise64 fchdir fcntl \
        fork fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups getpgrp getpid getppid \
        getrandom getrlimit getrusage gettid gettimeofday getuid ioctl kill lseek lstat madvise mmap mprotect mremap \
        munmap nanosleep newfstatat open openat pipe pipe2 poll ppoll pread64 prlimit64 pwrite64 read readlink \
        readlinkat readv rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_getaffinity \
        sched_yield select set_robust_list set_tid_address setitimer sigaltstack stat statfs statx sysinfo tgkill \
        time times umask uname vfork wait4 waitid write writev";
    json!({
        "ociVersion": "1.3.0",
        "hostname": "sandbox",
        "root": { "path": rootfs, "readonly": true },
        "process": {
            "args": args,
            "cwd": "/",
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"],
            "user": { "uid": 65534, "gid": 65534 },
            "noNewPrivileges": true,
            "capabilities": {},
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 256, "hard": 256 }],
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"] },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "nodev", "noexec", "mode=1777", "size=16m"] },
        ],
        "linux": {
            "namespaces": namespaces,
            "resources": { "memory": { "limit": MEMORY, "swap": MEMORY }, "pids": { "limit": 32 } },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
                "syscalls": [{
                    "names": allowed.split_whitespace().collect::<Vec<_>>(),
                    "action": "SCMP_ACT_ALLOW",
                }],
            },
        },
    })
}
