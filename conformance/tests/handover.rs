//! Who owns the container's process, what it holds while it waits for start, and who may find it.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::{Held, WHY, plan_of, sandbox};
use oxrun_conformance::harness::{Config, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use oxrun_core::{ExitStatus, Status};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

/// Field `number` (from 1) of /proc/PID/stat.
fn stat_field(pid: u32, number: usize) -> Check<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name, ends with the last parenthesis.
    let rest = text.rsplit_once(") ").map_or("", |parts| parts.1);
    let field = rest.split_whitespace().nth(number - 3);
    field.map(str::to_owned).ok_or_else(|| format!("no field {number} in {text}").into())
}

fn child_of_this_process(pid: u32) -> Check {
    check_eq!(stat_field(pid, 4)?, std::process::id().to_string(), "the parent");
    // A parent is told of an exit by the signal that field 38 names.
    check_eq!(stat_field(pid, 38)?, libc::SIGCHLD.to_string(), "the exit signal");
    Ok(())
}

fn the_process_is_a_child_of_the_caller() -> Check {
    let s = sandbox()?;
    let held = Held::create(&s, &plan_of(&s, &Config::new(&["/bin/probe", "exit", "9"]))?)??;
    child_of_this_process(held.pid()?)?;
    check_eq!(held.run()??, ExitStatus::Exited(9), "how the program ended");
    held.delete()
}

fn after_the_runtime_the_process_belongs_to_the_subreaper() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "9"]))?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    child_of_this_process(pid.cast_unsigned())?;
    rt.start("c1")?.success()?;
    rt.wait_for_end(pid)?;
    // waitpid(2) without __WALL takes only a child whose exit signal is SIGCHLD.
    check_eq!(sys::reap(pid)?, Some((pid, 9)), "the status");
    rt.delete("c1")?.success().map(drop)
}

const IGNORED: [&str; 2] = ["env", "--ignore-signal=HUP,INT,QUIT,USR1,PIPE,CHLD,RTMIN+3"];
const BLOCKED: &str = "--block-signal=TERM,USR2,ALRM,CHLD,RTMIN+4";

fn ignored_and_blocked_signals_of_the_caller_are_reset() -> Check {
    let mut s = sandbox()?;
    let none = json!("0000000000000000");
    // The same way of calling without a runtime: the control.
    let seen = std::process::Command::new("env")
        .args([IGNORED[1], BLOCKED])
        .arg(s.probe())
        .arg("report")
        .output()?;
    let seen: Value = serde_json::from_slice(&seen.stdout)?;
    check!(seen["signals"]["ignored"] != none, "nothing is ignored: {}", seen["signals"]);
    check!(seen["signals"]["blocked"] != none, "nothing is blocked: {}", seen["signals"]);
    s.runtime_mut().wrap(&[IGNORED[0], IGNORED[1], BLOCKED]);
    let bundle = s.bundle(&Config::new(&["/bin/probe", "report"]))?;
    let rt = s.runtime();
    let created = rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    for name in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        check_eq!(line.map(str::trim), none.as_str(), "{name} of init");
    }
    rt.start("c1")?.success()?;
    rt.wait_for(pid)?;
    let report: Value = serde_json::from_str(&fs::read_to_string(&created.stdout_file)?)?;
    check_eq!(report["signals"]["blocked"], none);
    // The probe's own runtime library ignores SIGPIPE.
    check!(
        report["signals"]["ignored"] == none || report["signals"]["ignored"] == "0000000000001000",
        "ignored: {}",
        report["signals"]["ignored"]
    );
    Ok(())
}

fn long_ids_and_long_state_roots_are_no_obstacle() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "exit", "9"]))?;
    let root = s.make_dir(&format!("{}/{}", "r".repeat(120), "s".repeat(120)))?;
    let runtime = oxrun_core::Runtime::new(&root);
    for length in [103, 104, 108, 200] {
        let id = "i".repeat(length);
        let opened = oxrun_core::Bundle::open(bundle.path())?;
        let plan = runtime.plan(&id, &opened, &oxrun_core::CreateOptions::default())?;
        drop(runtime.create(&plan, oxrun_core::Stdio::null())?);
        // As another process would: by its id.
        let container = runtime.open(&id)?;
        let done = (|| -> Check {
            check_eq!(container.status()?, Status::Created);
            container.start()?;
            check_eq!(container.wait()?, ExitStatus::Exited(9));
            Ok(())
        })();
        container.delete(true)?;
        done?;
    }
    check_eq!(fs::read_dir(&root)?.count(), 0, "state directories that are left");
    Ok(())
}

fn a_handle_keeps_nobody_else_from_the_container() -> Check {
    let mut s = sandbox()?;
    // A lock that is held is waited for without end.
    s.runtime_mut().limit(Duration::from_secs(60));
    let held = Held::create(&s, &plan_of(&s, &Config::new(SLEEP))?)??;
    s.runtime().start("c1")?.success()?;
    check_eq!(held.container()?.status()?, Status::Running);
    s.runtime().kill("c1", "KILL")?.success()?;
    check_eq!(held.container()?.wait()?, ExitStatus::Signaled(libc::SIGKILL));
    s.runtime().delete("c1")?.success()?;
    Ok(())
}

/// What a created container's process has open.
fn a_created_container_has_the_capability_sets_of_the_config() -> Check {
    let s = sandbox()?;
    // CHOWN 0, KILL 5, NET_BIND_SERVICE 10, NET_RAW 13. An execve makes other sets of them.
    let capabilities = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_NET_BIND_SERVICE"],
    });
    let config = Config::new(SLEEP)
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/process/capabilities", capabilities);
    s.runtime().create(s.bundle(&config)?.path(), "c1")?.success()?;
    let status = fs::read_to_string(format!("/proc/{}/status", s.runtime().pid("c1")?))?;
    for (set, bits) in [
        ("CapBnd", 1 << 0 | 1 << 5 | 1 << 10 | 1 << 13),
        ("CapPrm", 1 << 0 | 1 << 5 | 1 << 10),
        ("CapEff", 1 << 5),
        ("CapInh", 1 << 10),
        ("CapAmb", 1 << 10),
    ] {
        let line = format!("{set}:\t{bits:016x}");
        check!(status.lines().any(|found| found == line), "no line {line:?} in\n{status}");
    }
    Ok(())
}

fn descriptors(pid: i32) -> Check<Vec<(i32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        found.push((number.ok_or("no number")?, path));
    }
    found.sort();
    Ok(found)
}

fn a_created_container_holds_its_streams_and_the_start_fifo() -> Check {
    let s = sandbox()?;
    // Something to be leaked: mounts, a hook, a terminal's worth of steps.
    let source = s.make_dir("source")?;
    let config = Config::new(SLEEP).mount("bind", &source, "/tmp", &["rbind", "rshared"]);
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    let leaked = [17, 18].map(|number| sys::Inherited::open(&source, number));
    rt.create(bundle.path(), "c1")?.success()?;
    drop(leaked);
    let pid = rt.pid("c1")?;
    // It closes what it had for setting up while `create` ends.
    let mut open = descriptors(pid)?;
    for _ in 0..6000 {
        if open.len() <= 4 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        open = descriptors(pid)?;
    }
    let numbers: Vec<i32> = open.iter().map(|(number, _)| *number).collect();
    check_eq!(numbers, [0, 1, 2, 3], "descriptors: {open:?}");
    check!(fs::metadata(&open[3].1)?.file_type().is_fifo(), "descriptor 3 is no FIFO");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let fault = rt.root().join("c1/fault");
    for line in maps.lines() {
        let name = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
        let known = name.is_empty()
            || name.starts_with('[')
            || name.starts_with("/memfd:oxrun-")
            || Path::new(name) == fault;
        check!(known, "init maps {name:?}");
    }
    Ok(())
}

fn the_executable_of_init_is_no_file_of_the_host_and_cannot_be_written() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    let exe = format!("/proc/{pid}/exe");
    let name = fs::read_link(&exe)?.to_string_lossy().into_owned();
    check!(name.starts_with("/memfd:"), "{name}");
    let (seen, own) = (fs::metadata(&exe)?, fs::metadata(rt.program())?);
    check!((seen.dev(), seen.ino()) != (own.dev(), own.ino()), "it is the runtime");
    check_eq!(seen.len(), oxrun_core::init_size() as u64, "its size");
    // Kept open beyond the process: a running program cannot be written anyway.
    let kept = File::open(&exe)?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    let again = format!("/proc/self/fd/{}", kept.as_raw_fd());
    let mut file = OpenOptions::new().write(true).open(&again)?;
    let errno = |result: std::io::Result<()>| result.err().and_then(|e| e.raw_os_error());
    check_eq!(errno(file.write_all(b"x")), Some(libc::EPERM), "a write");
    check_eq!(errno(file.set_len(1)), Some(libc::EPERM), "a truncation");
    check_eq!(errno(file.set_len(1 << 20)), Some(libc::EPERM), "an extension");
    Ok(())
}

fn a_created_container_of_a_user_cannot_be_traced_by_that_user() -> Check {
    let s = sandbox()?;
    let config = Config::new(SLEEP).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    // The files of an undumpable process are root's, whoever it runs as.
    check_eq!(fs::metadata(format!("/proc/{pid}/mem"))?.uid(), 0, "owner of its files while created");
    rt.call(&["delete", "--force", "c1"])?.success()?;
    let pid = s.sleeper("c2", &config)?;
    check_eq!(fs::metadata(format!("/proc/{pid}/mem"))?.uid(), 1000, "owner of the program's files");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), WHY, $name)),*] };
    }
    let mut tests = tests![
        the_process_is_a_child_of_the_caller,
        long_ids_and_long_state_roots_are_no_obstacle,
        a_handle_keeps_nobody_else_from_the_container,
        a_created_container_holds_its_streams_and_the_start_fifo,
        the_executable_of_init_is_no_file_of_the_host_and_cannot_be_written,
        a_created_container_of_a_user_cannot_be_traced_by_that_user,
        a_created_container_has_the_capability_sets_of_the_config,
    ];
    tests.extend([
        test(
            "after_the_runtime_the_process_belongs_to_the_subreaper",
            after_the_runtime_the_process_belongs_to_the_subreaper,
        ),
        test(
            "ignored_and_blocked_signals_of_the_caller_are_reset",
            ignored_and_blocked_signals_of_the_caller_are_reset,
        ),
    ]);
    run(tests)
}
