//! Who makes the cgroups: this program, nobody, or systemd, where there is one; and which existing ones are refused.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, not_oxrun, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn disabled_leaves_the_container_in_the_callers_cgroups() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "cat", "/proc/self/cgroup"])
        .set("/linux/resources/pids/limit", 7)
        .set("/linux/cgroupsPath", format!("/{}none", s.cgroup_prefix()));
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let bundle = bundle.path().to_str().unwrap();
    let output = s.runtime().call(&["--cgroup-manager", "disabled", "run", "--bundle", bundle, "c1"])?;
    let output = output.success()?;
    check_eq!(output.stdout, fs::read_to_string("/proc/self/cgroup")?, "cgroups inside");
    check!(output.says("/linux/resources"), "{output}\n  does not warn of the limit");
    before.assert_same()
}

fn a_container_without_cgroups_can_be_killed_and_deleted() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP).without_namespace("pid"))?;
    let before = s.leaks()?;
    let rt = s.runtime();
    let path = bundle.path().to_str().unwrap();
    rt.call(&["--cgroup-manager=disabled", "create", "--bundle", path, "c1"])?.success()?;
    let pid = rt.pid("c1")?;
    check!(Host::cgroups(s.cgroup_prefix())?.is_empty(), "a cgroup was made");
    rt.start("c1")?.success()?;
    rt.call(&["pause", "c1"])?.refused("no cgroup")?;
    rt.kill("c1", "KILL")?.success()?;
    check_eq!(rt.wait_for(pid)?, Some(137), "how init ended");
    rt.delete("c1")?.success()?;
    before.assert_same()
}

fn without_systemd_its_driver_is_refused_and_nothing_is_made() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP).set("/linux/cgroupsPath", "system.slice:oxrun:c1"))?;
    let before = s.leaks()?;
    let path = bundle.path().to_str().unwrap();
    let text = "systemd not running on this host, cannot use systemd cgroups manager";
    for option in ["--systemd-cgroup", "--cgroup-manager=systemd"] {
        for command in ["create", "run"] {
            let output = s.runtime().call(&[option, command, "--bundle", path, "c1"])?.refused(text)?;
            check!(output.says("--systemd-cgroup"), "{output}\n  does not name the option");
        }
        s.runtime().call(&[option, "explain", "--bundle", path])?.refused(text)?;
        // Engines give the option with every command; those on no cgroup need no driver.
        s.runtime().call(&[option, "delete", "--force", "c1"])?.success()?;
    }
    before.assert_same()
}

/// A cgroup in one hierarchy, frozen by one of its files; thawed and removed with its children.
struct Frozen(PathBuf, &'static str);

impl Drop for Frozen {
    fn drop(&mut self) {
        let value = if self.1 == "cgroup.freeze" { "0" } else { "THAWED" };
        let _ = fs::write(self.0.join(self.1), value);
        let _ = fs::remove_dir(self.0.join("child"));
        let _ = fs::remove_dir(&self.0);
    }
}

fn a_frozen_cgroup_is_refused() -> Check {
    let mut tried = 0;
    for (file, value, root) in [
        ("freezer.state", "FROZEN", "/sys/fs/cgroup/freezer"),
        ("cgroup.freeze", "1", "/sys/fs/cgroup/unified"),
        ("cgroup.freeze", "1", "/sys/fs/cgroup"),
    ] {
        let s = sandbox()?;
        let frozen = Frozen(Path::new(root).join(format!("{}frozen", s.cgroup_prefix())), file);
        if !Host::cgroup_roots()?.contains(Path::new(root)) {
            continue;
        }
        tried += 1;
        fs::create_dir(&frozen.0)?;
        fs::write(frozen.0.join(file), value)?;
        let name = frozen.0.file_name().unwrap().to_str().unwrap();
        // The cgroup itself, and a new one below it.
        for path in [format!("/{name}"), format!("/{name}/child")] {
            let bundle = s.bundle(&Config::new(SLEEP).set("/linux/cgroupsPath", path.as_str()))?;
            let output = s.runtime().create(bundle.path(), "c1")?;
            output.refused("container's cgroup unexpectedly frozen")?;
            check!(!frozen.0.join("child").exists(), "{root}: the new cgroup is left");
            // The other hierarchies' parents are nobody's.
            for cgroup in Host::cgroups(name)? {
                if cgroup != frozen.0 {
                    fs::remove_dir(cgroup)?;
                }
            }
        }
    }
    check!(tried > 0, "no hierarchy can freeze");
    Ok(())
}

/// A bus that says this to whoever connects, and closes.
fn a_bus_that_is_none_is_named_and_nothing_is_made() -> Check {
    let mut s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP).set("/linux/cgroupsPath", "system.slice:oxrun:c1"))?;
    let socket = s.dir().join("bus");
    let listener = UnixListener::bind(&socket)?;
    s.runtime_mut().env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", socket.display()));
    let before = s.leaks()?;
    for (says, text) in [
        ("", "it closed the connection"),
        ("REJECTED EXTERNAL\r\n", "it does not take the caller for who it is"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "it does not take the caller for who it is"),
        ("DATA\r\nOK 0\r\nAGREE_UNIX_FD\r\n", "it closed the connection"),
        ("DATA\r\nOK 0\r\nAGREE_UNIX_FD\r\nnot a message at all", "malformed D-Bus message"),
    ] {
        let bus = listener.try_clone()?;
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = bus.accept()?;
            stream.write_all(says.as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            // What is not read would be a reset.
            std::io::copy(&mut stream, &mut std::io::sink())
        });
        let path = bundle.path().to_str().unwrap();
        s.runtime().call(&["--systemd-cgroup", "create", "--bundle", path, "c1"])?.refused(text)?;
        let _ = thread.join();
    }
    before.assert_same()
}

fn main() -> ExitCode {
    run(vec![
        test(
            "disabled_leaves_the_container_in_the_callers_cgroups",
            disabled_leaves_the_container_in_the_callers_cgroups,
        ),
        test(
            "a_container_without_cgroups_can_be_killed_and_deleted",
            a_container_without_cgroups_can_be_killed_and_deleted,
        ),
        conditional(
            "without_systemd_its_driver_is_refused_and_nothing_is_made",
            || {
                let there = Path::new("/run/systemd/private").exists().then(|| "systemd is here".to_owned());
                there.or_else(|| not_oxrun("others have other words"))
            },
            without_systemd_its_driver_is_refused_and_nothing_is_made,
        ),
        oxrun_only(
            "a_bus_that_is_none_is_named_and_nothing_is_made",
            "others have other words",
            a_bus_that_is_none_is_named_and_nothing_is_made,
        ),
        test("a_frozen_cgroup_is_refused", a_frozen_cgroup_is_refused),
    ])
}
