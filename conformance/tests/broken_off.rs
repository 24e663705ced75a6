//! A creator, a container's process or its program that ends at the wrong moment: nothing stays
//! behind, and whoever asks next is told what happened.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::{EXIT, WHY, sandbox};
use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use oxrun_core::plan::action::Action;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SLEEP: &[&str] = &["/bin/probe", "sleep"];

/// A `create` that stands in its prestart hook, which waits for a FIFO.
struct Blocked {
    creator: Child,
    init: i32,
    hook: i32,
    gate: PathBuf,
}

impl Blocked {
    fn new(s: &Sandbox, bundle: &Bundle) -> Check<Self> {
        let mut command = s.runtime().command();
        command.arg("create").arg("--bundle").arg(bundle.path()).arg("c1");
        command.stdout(File::create(s.dir().join("creator.out"))?);
        command.stderr(File::create(s.dir().join("creator.err"))?);
        let ready = OpenOptions::new().read(true).write(true).open(s.dir().join("ready"))?;
        let creator = command.spawn()?;
        // Guards the creator from here on.
        let mut blocked = Self { creator, init: 0, hook: 0, gate: s.dir().join("gate") };
        if !sys::readable(ready.as_fd(), LIMIT)? {
            return Err(Failed::from("the hook did not run"));
        }
        let text = fs::read_to_string(s.dir().join("pids"))?;
        let mut pids = text.split_whitespace().filter_map(|word| word.parse().ok());
        blocked.init = pids.next().ok_or("no pid of init")?;
        blocked.hook = pids.next().ok_or("no pid of the hook")?;
        Ok(blocked)
    }

    /// Lets the hook go on.
    fn release(&self) -> Check {
        let mut gate = OpenOptions::new().read(true).write(true).open(&self.gate)?;
        gate.write_all(b"go\n")?;
        // The FIFO's content lives as long as somebody holds it.
        wait_for(self.hook)
    }

    /// Waits for the creator's end: its exit code.
    fn finish(&mut self) -> Check<Option<i32>> {
        wait_for(self.creator.id().cast_signed())?;
        Ok(self.creator.wait()?.code())
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        for pid in [self.creator.id().cast_signed(), self.hook, self.init] {
            if is_ours(pid) {
                let _ = sys::kill(pid, libc::SIGKILL);
            }
        }
        let _ = self.creator.wait();
    }
}

/// The parent of a process.
fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it ends with the last parenthesis.
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Whether a process is a child of this one, or a child's child.
fn is_ours(pid: i32) -> bool {
    let own = std::process::id().cast_signed();
    let parents = [parent(pid), parent(pid).and_then(parent)];
    pid > 1 && parents.contains(&Some(own))
}

/// Waits until a process has ended.
fn wait_for(pid: i32) -> Check {
    match sys::pidfd(pid) {
        Ok(fd) if sys::readable(fd.as_fd(), LIMIT)? => Ok(()),
        Ok(_) => Err(Failed::from(format!("process {pid} did not end in {LIMIT:?}"))),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A bundle with that hook, and the FIFOs.
fn blocking(s: &Sandbox) -> Check<Bundle> {
    let place = s.dir().display();
    let made =
        std::process::Command::new("mkfifo").args([s.dir().join("ready"), s.dir().join("gate")]).status()?;
    check!(made.success(), "mkfifo failed");
    let hook = s.make_script(
        "hook",
        &format!(
            "state=$(cat); pid=${{state#*\\\"pid\\\":}}; pid=${{pid%%[!0-9]*}}; \
         echo $pid $$ > {place}/pids; echo ready > {place}/ready; read word < {place}/gate"
        ),
    )?;
    let entry = json!({ "path": hook, "env": ["PATH=/usr/bin:/bin"] });
    s.bundle(&Config::new(SLEEP).push("/hooks/prestart", entry))
}

/// A killed creator: its init must end by itself. Returns what `delete --force` leaves behind.
fn kill_the_creator(s: &Sandbox) -> Check {
    let bundle = blocking(s)?;
    let mut blocked = Blocked::new(s, &bundle)?;
    check!(Path::new(&format!("/proc/{}", blocked.init)).exists(), "init is gone too early");
    sys::kill(blocked.creator.id().cast_signed(), libc::SIGKILL)?;
    check_eq!(blocked.finish()?, None, "the creator's exit code");
    // The hook is still running: nothing but the end of the stream tells init.
    wait_for(blocked.init)?;
    blocked.release()?;
    while let Ok(Some(_)) = sys::reap(-1) {}
    Ok(())
}

fn a_killed_creator_leaves_no_init_behind() -> Check {
    let s = sandbox()?;
    kill_the_creator(&s)?;
    // Cleans up behind this test, whatever delete can do about cgroups: that is the next one.
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    check!(!s.runtime().root().join("c1").exists(), "the state directory is still there");
    for cgroup in Host::cgroups(s.cgroup_prefix())? {
        let _ = fs::remove_dir(cgroup);
    }
    Ok(())
}

fn delete_force_removes_everything_of_a_container_whose_creator_was_killed() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    kill_the_creator(&s)?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    before.assert_same()
}

fn an_init_that_is_killed_in_a_hook_is_reported_with_its_step() -> Check {
    let s = sandbox()?;
    let bundle = blocking(&s)?;
    let plan = library::plan(&s, &bundle)?;
    let number = library::position(&plan, |step| matches!(step.action, Action::Hook(_)))? + 1;
    let before = s.leaks()?;
    let mut blocked = Blocked::new(&s, &bundle)?;
    sys::kill(blocked.init, libc::SIGKILL)?;
    wait_for(blocked.init)?;
    blocked.release()?;
    check_eq!(blocked.finish()?, Some(1), "the creator's exit code");
    let said = fs::read_to_string(s.dir().join("creator.err"))?;
    let expected = format!("during step {number} of {}: killed by signal 9", plan.steps.len());
    check!(said.contains(&expected), "said: {said}\n  expected: {expected}");
    check!(said.contains("/hooks/prestart/0"), "the field is missing: {said}");
    before.assert_same()
}

/// A bundle whose program is these bytes.
fn program(s: &Sandbox, bytes: &[u8]) -> Check<Bundle> {
    let bundle = s.bundle(&Config::new(&["/bin/program"]))?;
    let path = bundle.rootfs().join("bin/program");
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(bundle)
}

fn start_and_run_tell_that_the_interpreter_is_missing() -> Check {
    let s = sandbox()?;
    let bundle = program(&s, b"#!/no/such/interpreter\n")?;
    let rt = s.runtime();
    let text = "exec /bin/program: no such file or directory";
    rt.create(bundle.path(), "c1")?.success()?;
    let output = rt.start("c1")?;
    check!(output.code != 0 && output.says(text), "{output}\n  expected: {text}");
    rt.has_status("c1", "stopped")?;
    rt.delete("c1")?.success()?;
    let output = rt.run(bundle.path(), "c2")?.exits(255)?;
    check!(output.says(text), "{output}\n  expected: {text}");
    Ok(())
}

/// An executable for this machine with one segment that is larger than an address space.
fn too_large() -> Check<Vec<u8>> {
    let own = fs::read("/proc/self/exe")?;
    let mut elf = own.get(..64).ok_or("a short executable")?.to_vec();
    let put = |elf: &mut Vec<u8>, at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(&mut elf, 16, &2u16.to_le_bytes()); // ET_EXEC
    put(&mut elf, 24, &0x40_0078u64.to_le_bytes()); // entry
    put(&mut elf, 32, &64u64.to_le_bytes()); // program headers
    put(&mut elf, 40, &[0; 8]);
    put(&mut elf, 52, &[64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for word in [1u32, 5] {
        elf.extend(word.to_le_bytes()); // PT_LOAD, readable and executable
    }
    for word in [0u64, 0x40_0000, 0x40_0000, 120, u64::MAX / 2, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    Ok(elf)
}

fn start_tells_that_the_kernel_killed_the_program_while_loading_it() -> Check {
    let s = sandbox()?;
    let bundle = program(&s, &too_large()?)?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let output = rt.start("c1")?;
    check!(output.code != 0, "{output}\n  expected a failure");
    check!(output.says("exec /bin/program: killed by signal"), "{output}");
    rt.has_status("c1", "stopped")
}

fn start_tells_that_init_was_killed_between_its_call_and_the_program() -> Check {
    let s = sandbox()?;
    // Without noNewPrivileges a capset follows the filter.
    let config = Config::new(EXIT).set("/process/noNewPrivileges", false).set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["capset"], "action": "SCMP_ACT_KILL_PROCESS" }],
        }),
    );
    let bundle = s.bundle(&config)?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let output = rt.start("c1")?;
    check!(output.code != 0, "{output}\n  expected a failure: the program never ran");
    Ok(())
}

fn start_of_a_container_whose_process_died_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    sys::kill(pid, libc::SIGKILL)?;
    rt.wait_for_end(pid)?;
    rt.start("c1")?.exits(1)?;
    rt.has_status("c1", "stopped")
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), WHY, $name)),*] };
    }
    let mut tests = tests![
        a_killed_creator_leaves_no_init_behind,
        delete_force_removes_everything_of_a_container_whose_creator_was_killed,
        an_init_that_is_killed_in_a_hook_is_reported_with_its_step,
        start_and_run_tell_that_the_interpreter_is_missing,
        start_tells_that_the_kernel_killed_the_program_while_loading_it,
        start_tells_that_init_was_killed_between_its_call_and_the_program,
    ];
    tests.push(test(
        "start_of_a_container_whose_process_died_is_refused",
        start_of_a_container_whose_process_died_is_refused,
    ));
    run(tests)
}
