//! Memory that runs out next door: in the container by a further process, or in a cgroup above by a sibling, with and
//! without `memory.oom.group`. Each call says what happened, the neighbours go on, and nothing is left.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "races/call.rs"]
#[allow(dead_code, reason = "other programs use the rest")]
mod call;

use call::Call;
use libtest_mimic::Trial;
use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, not_oxrun, run};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
/// More than anybody here may have, in MiB.
const TOO_MUCH: &str = "128";
/// In bytes. What is small is soon full, also in an emulated machine.
const LIMIT: u64 = 24 << 20;

fn sandbox() -> Check<Sandbox> {
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    s.runtime_mut().limit(Duration::from_secs(120));
    Ok(s)
}

/// A cgroup with a limit, for a container and its neighbour.
struct House(PathBuf);

impl House {
    fn new(s: &Sandbox, together: bool) -> Check<Self> {
        let house = Self(Path::new("/sys/fs/cgroup").join(format!("{}house", s.cgroup_prefix())));
        fs::create_dir(&house.0)?;
        fs::create_dir(house.0.join("neighbour"))?;
        fs::write(house.0.join("memory.max"), LIMIT.to_string())?;
        fs::write(house.0.join("memory.oom.group"), if together { "1" } else { "0" })?;
        Ok(house)
    }

    /// A container in it.
    fn config(&self) -> Config {
        let name = self.0.file_name().unwrap().to_string_lossy().into_owned();
        Config::new(SLEEP).set("/linux/cgroupsPath", format!("/{name}/c1"))
    }

    /// What a shell has to do for the neighbour to take too much.
    fn greed(&self, s: &Sandbox) -> String {
        let procs = self.0.join("neighbour/cgroup.procs");
        format!("(echo 0 >{}; exec {} alloc {TOO_MUCH})", procs.display(), s.probe().display())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for name in ["c1", "neighbour", ""] {
            let _ = fs::remove_dir(self.0.join(name));
        }
    }
}

/// The neighbour takes too much; its death is waited for.
fn greedy(s: &Sandbox, house: &House) -> Check {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{}; :", house.greed(s))]).stdin(Stdio::null()).stderr(Stdio::null());
    check!(shell.stdout(Stdio::null()).status()?.success(), "the shell failed");
    let events = fs::read_to_string(house.0.join("memory.events"))?;
    check!(!events.contains("\noom_kill 0\n"), "nobody was killed: {events}");
    Ok(())
}

/// The neighbour takes too much while a hook of create runs: init is killed with it.
fn a_creation_that_a_neighbours_oom_ends_says_so() -> Check {
    let s = sandbox()?;
    let house = House::new(&s, true)?;
    let hook = s.make_script("hook", &format!("cat >/dev/null; {}; exit 0", house.greed(&s)))?;
    let config = house.config().push("/hooks/createRuntime", json!({ "path": hook.to_string_lossy() }));
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let refused = s.runtime().create(bundle.path(), "c1")?.exits(1)?;
    check!(refused.says("container init was OOM-killed during step"), "{refused}");
    check!(refused.says("a memory limit above its cgroup"), "{refused}");
    check!(!house.0.join("c1").exists(), "its cgroup is left");
    before.assert_same()
}

/// The further process stands still in the cgroup, as the container is paused, when the neighbour takes too much.
fn a_further_process_that_a_neighbours_oom_ends_says_so() -> Check {
    let s = sandbox()?;
    let house = House::new(&s, true)?;
    let bundle = s.bundle(&house.config())?;
    let before = s.leaks()?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    rt.call(&["pause", "c1"])?.success()?;
    let mut exec = Call::new(&s, "exec", &["exec", "--ignore-paused", "c1", "/bin/probe", "echo", "here"])?;
    let procs = house.0.join("c1/cgroup.procs");
    let two = |_: i32| fs::read_to_string(&procs).is_ok_and(|text| text.lines().count() == 2);
    exec.until("it is in the cgroup", two)?;
    greedy(&s, &house)?;
    let (code, said) = exec.end()?;
    check_eq!(code, 255, "{said}");
    check!(
        said.contains("cannot exec in a stopped container") && said.contains("OOM-killed so far"),
        "{said}"
    );
    rt.wait_for(pid)?;
    rt.delete("c1")?.success()?;
    before.assert_same()
}

/// One whose own memory runs out: with it ends its first process, or only who took too much.
fn a_further_process_takes_too_much(together: bool) -> Check {
    let s = sandbox()?;
    let limits = json!({
        "memory": { "limit": LIMIT },
        "unified": { "memory.oom.group": if together { "1" } else { "0" } },
    });
    let config = Config::new(SLEEP).set("/linux/resources", limits);
    let (bundle, next) = (s.bundle(&config)?, s.bundle(&Config::new(SLEEP))?);
    let before = s.leaks()?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    let greedy = Call::new(&s, "greedy", &["exec", "c1", "/bin/probe", "alloc", TOO_MUCH])?;
    // Meanwhile the neighbour is made, used and deleted.
    for _ in 0..3 {
        rt.create(next.path(), "c2")?.success()?;
        let neighbour = rt.pid("c2")?;
        rt.start("c2")?.success()?;
        check_eq!(rt.exec("c2", &["/bin/probe", "echo", "here"])?.success()?.stdout, "here\n");
        rt.call(&["delete", "--force", "c2"])?.success()?;
        rt.wait_for(neighbour)?;
    }
    let (code, said) = greedy.end()?;
    check_eq!(code, 137, "{said}");
    if together {
        rt.wait_for(pid)?;
        rt.has_status("c1", "stopped")?;
        let refused = rt.exec("c1", &["/bin/probe", "echo", "here"])?.exits(255)?;
        check!(refused.says("cannot exec in a stopped container"), "{refused}");
        rt.delete("c1")?.success()?;
    } else {
        check_eq!(rt.exec("c1", &["/bin/probe", "echo", "here"])?.success()?.stdout, "here\n");
        rt.call(&["delete", "--force", "c1"])?.success()?;
        rt.wait_for(pid)?;
    }
    before.assert_same()
}

fn a_further_process_that_takes_too_much_takes_a_group_along() -> Check {
    a_further_process_takes_too_much(true)
}

fn a_further_process_that_takes_too_much_dies_alone_without_a_group() -> Check {
    a_further_process_takes_too_much(false)
}

/// Without a group the kernel kills the greedy one alone.
fn a_container_outlives_the_oom_of_its_neighbour() -> Check {
    let s = sandbox()?;
    let house = House::new(&s, false)?;
    let bundle = s.bundle(&house.config())?;
    let before = s.leaks()?;
    let rt = s.runtime();
    rt.create(bundle.path(), "c1")?.success()?;
    let pid = rt.pid("c1")?;
    greedy(&s, &house)?;
    rt.has_status("c1", "created")?;
    rt.start("c1")?.success()?;
    check_eq!(rt.exec("c1", &["/bin/probe", "echo", "here"])?.success()?.stdout, "here\n");
    rt.call(&["delete", "--force", "c1"])?.success()?;
    rt.wait_for(pid)?;
    check!(sys::pidfd(pid).is_err() || Host::process_state(pid).is_none(), "it is still there");
    before.assert_same()
}

fn main() -> ExitCode {
    let needed = || {
        let there = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let missing = !there.split_whitespace().any(|controller| controller == "memory");
        let missing = missing.then(|| "there is no cgroup v2 with the memory controller".to_owned());
        missing.or_else(|| not_oxrun("others say otherwise what ended a call"))
    };
    let on_v2 = |name: &'static str, body: fn() -> Check| -> Trial { conditional(name, needed, body) };
    run(vec![
        on_v2("a_creation_that_a_neighbours_oom_ends_says_so", a_creation_that_a_neighbours_oom_ends_says_so),
        on_v2(
            "a_further_process_that_a_neighbours_oom_ends_says_so",
            a_further_process_that_a_neighbours_oom_ends_says_so,
        ),
        on_v2(
            "a_further_process_that_takes_too_much_takes_a_group_along",
            a_further_process_that_takes_too_much_takes_a_group_along,
        ),
        on_v2(
            "a_further_process_that_takes_too_much_dies_alone_without_a_group",
            a_further_process_that_takes_too_much_dies_alone_without_a_group,
        ),
        on_v2("a_container_outlives_the_oom_of_its_neighbour", a_container_outlives_the_oom_of_its_neighbour),
    ])
}
