//! Control groups: what the configuration asks for is in their files, and nothing that is not the
//! container's is taken for it.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{
    Bundle, Config, Host, Sandbox, conditional, not_oxrun, oxrun_only, run, test,
};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
const EXIT: &[&str] = &["/bin/probe", "exit", "7"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// Where a controller is mounted.
fn controller(name: &str) -> PathBuf {
    let base = Path::new("/sys/fs/cgroup");
    if Host::is_pure_v2() { base.to_owned() } else { base.join(name) }
}

/// A file of a container's cgroup, without its last newline.
fn file(s: &Sandbox, bundle: &Bundle, controller_name: &str, name: &str) -> Check<String> {
    let config = Config::parse(&fs::read_to_string(bundle.path().join("config.json"))?)?;
    let path = config.get("/linux/cgroupsPath").as_str().unwrap_or_default().to_owned();
    check!(path.contains(s.cgroup_prefix()), "cgroupsPath is {path}");
    let path = controller(controller_name).join(path.trim_start_matches('/')).join(name);
    Ok(fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?
        .trim_end()
        .to_owned())
}

fn starts(resources: Value) -> Check {
    let s = sandbox()?;
    let config = resources.as_object().unwrap().iter().fold(Config::new(EXIT), |config, (key, value)| {
        config.set(&format!("/linux/resources/{key}"), value.clone())
    });
    let bundle = s.bundle(&config)?;
    s.runtime().run(bundle.path(), "c1")?.exits(7)?;
    Ok(())
}

fn a_container_of_one_process_starts() -> Check {
    starts(json!({ "pids": { "limit": 1 } }))
}

fn a_process_limit_of_zero_does_not_keep_the_program_from_starting() -> Check {
    starts(json!({ "pids": { "limit": 0 } }))
}

fn the_first_processor_alone_is_a_set_of_processors() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT).set("/linux/resources/cpu", json!({ "cpus": "0", "mems": "0" }));
    let bundle = s.bundle(&config)?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    check_eq!(file(&s, &bundle, "cpuset", "cpuset.cpus")?, "0");
    check_eq!(file(&s, &bundle, "cpuset", "cpuset.mems")?, "0");
    Ok(())
}

fn limits_are_in_the_files_of_their_controllers() -> Check {
    let s = sandbox()?;
    let config = Config::new(EXIT)
        .set("/linux/resources/memory", json!({ "limit": 64 << 20 }))
        .set("/linux/resources/pids", json!({ "limit": 33 }))
        .set("/linux/resources/cpu", json!({ "shares": 512, "quota": 20_000, "period": 50_000 }));
    let bundle = s.bundle(&config)?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let files = if Host::is_pure_v2() {
        &[("memory.max", "67108864"), ("pids.max", "33"), ("cpu.weight", "59"), ("cpu.max", "20000 50000")][..]
    } else {
        &[
            ("memory.limit_in_bytes", "67108864"),
            ("pids.max", "33"),
            ("cpu.shares", "512"),
            ("cpu.cfs_quota_us", "20000"),
            ("cpu.cfs_period_us", "50000"),
        ]
    };
    for (name, value) in files {
        let (controller, _) = name.split_once('.').unwrap();
        check_eq!(file(&s, &bundle, controller, name)?, *value, "{name}");
    }
    Ok(())
}

/// Cgroups that the test itself makes, in every hierarchy; with a process if it is asked for.
struct Own {
    directories: Vec<PathBuf>,
    process: Option<Child>,
}

impl Own {
    /// Makes these paths, of which the first is the parent of the others, everywhere.
    fn new(paths: &[String]) -> Check<Self> {
        let mut own = Self { directories: Vec::new(), process: None };
        for root in Host::cgroup_roots()? {
            for path in paths {
                let directory = root.join(path);
                match fs::create_dir(&directory) {
                    Ok(()) => own.directories.push(directory),
                    // Two controllers of one hierarchy show it twice.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(own)
    }

    /// Puts a process into one cgroup.
    fn occupy(&mut self, s: &Sandbox, directory: &Path) -> Check<u32> {
        let child =
            Command::new(s.probe()).arg("sleep").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let pid = child.id();
        self.process = Some(child);
        fs::write(directory.join("cgroup.procs"), pid.to_string())?;
        Ok(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn an_empty_set_of_processors_of_the_parent_is_filled() -> Check {
    let s = sandbox()?;
    let parent = format!("{}parent", s.cgroup_prefix());
    let own = Own::new(std::slice::from_ref(&parent))?;
    let cpus = controller("cpuset").join(&parent).join("cpuset.cpus");
    check_eq!(fs::read_to_string(&cpus)?, "\n", "processors of a new parent");
    let config = Config::new(EXIT).set("/linux/cgroupsPath", format!("/{parent}/child"));
    let bundle = s.bundle(&config)?;
    s.runtime().run(bundle.path(), "c1")?.exits(7)?;
    let host = fs::read_to_string(controller("cpuset").join("cpuset.cpus"))?;
    check_eq!(fs::read_to_string(&cpus)?, host, "processors of the parent");
    drop(own);
    Ok(())
}

fn a_cgroup_with_a_process_below_it_is_refused() -> Check {
    let s = sandbox()?;
    let name = format!("{}used", s.cgroup_prefix());
    let below = format!("{name}/below");
    let mut own = Own::new(&[name.clone(), below.clone()])?;
    let directory = controller("pids").join(&below);
    let pid = own.occupy(&s, &directory)?;
    let config = Config::new(SLEEP).set("/linux/cgroupsPath", format!("/{name}"));
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused("container's cgroup is not empty")?;
    // It lives, and where it lived.
    let inside = fs::read_to_string(directory.join("cgroup.procs"))?;
    check_eq!(inside.trim(), pid.to_string(), "the process in the cgroup");
    before.assert_same()
}

fn a_controller_that_processes_above_keep_back_is_named() -> Check {
    let s = sandbox()?;
    let name = format!("{}used", s.cgroup_prefix());
    let mut own = Own::new(std::slice::from_ref(&name))?;
    own.occupy(&s, &controller("").join(&name))?;
    let config = Config::new(SLEEP).set("/linux/cgroupsPath", format!("/{name}/child"));
    let before = s.leaks()?;
    let bundle = s.bundle(&config.clone().set("/linux/resources/pids", json!({ "limit": 5 })))?;
    let output = s.runtime().create(bundle.path(), "c1")?.refused("/linux/resources/pids/limit")?;
    let above = controller("").join(&name);
    let expected =
        format!("the pids controller cannot be enabled for it: {} has processes of its own", above.display());
    check!(output.says(&expected), "{output}\n  does not say {expected}");
    let path = bundle.path().to_string_lossy().into_owned();
    let output = s.runtime().call(&["check", "--bundle", &path])?;
    let known = format!("{} has processes of its own", above.display());
    check!(output.code != 0 && (output.says(&known) || output.stdout.contains(&known)), "check: {output}");
    check!(!above.join("child").exists(), "the cgroup is left");
    // Without a limit it needs no controller.
    let bundle = s.bundle(&config.args(EXIT))?;
    s.runtime().run(bundle.path(), "c2")?.exits(7)?;
    check_eq!(fs::read_to_string(above.join("cgroup.type"))?.trim(), "domain", "type of the cgroup above");
    before.assert_same()
}

fn a_cgroup_below_one_of_threads_is_refused() -> Check {
    let s = sandbox()?;
    let name = format!("{}threads", s.cgroup_prefix());
    let mut own = Own::new(std::slice::from_ref(&name))?;
    let above = controller("").join(&name);
    own.occupy(&s, &above)?;
    fs::write(above.join("cgroup.subtree_control"), "+pids")?;
    let before = s.leaks()?;
    let bundle = s.bundle(&Config::new(SLEEP).set("/linux/cgroupsPath", format!("/{name}/child")))?;
    let output = s.runtime().create(bundle.path(), "c1")?.refused("it is domain invalid")?;
    check!(output.says("/linux/cgroupsPath"), "{output}\n  does not say where it was chosen");
    check!(!above.join("child").exists(), "the cgroup is left");
    before.assert_same()
}

fn a_limit_without_any_hierarchy_is_refused() -> Check {
    for resources in [
        json!({ "pids": { "limit": 5 } }),
        json!({ "memory": { "limit": 64 << 20 } }),
        json!({ "devices": [{ "allow": false, "access": "rwm" }] }),
    ] {
        let mut s = sandbox()?;
        s.runtime_mut().wrap(&[
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"",
            "sh",
        ]);
        let config = Config::new(EXIT).without_mount("/sys/fs/cgroup").set("/linux/resources", resources);
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        let output = s.runtime().create(bundle.path(), "c1")?;
        let output = output.refused("/linux/resources")?;
        check!(output.says("no cgroup hierarchy was found"), "{output}\n  does not say why");
        before.assert_same()?;
    }
    Ok(())
}

/// The device rules that the kernel has for a container with these.
fn device_rules(rules: Value) -> Check<String> {
    let s = sandbox()?;
    let config = Config::new(EXIT).set("/linux/resources/devices", rules);
    let bundle = s.bundle(&config)?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    file(&s, &bundle, "devices", "devices.list")
}

fn a_device_rule_of_both_kinds_opens_no_more_than_it_says() -> Check {
    for (rule, expected) in [
        (json!({ "allow": true, "type": "a", "access": "m" }), ["c *:* m", "b *:* m"]),
        (
            json!({ "allow": true, "type": "a", "major": 10, "minor": 200, "access": "rwm" }),
            ["c 10:200 rwm", "b 10:200 rwm"],
        ),
        (json!({ "allow": true, "major": 10, "access": "r" }), ["c 10:* r", "b 10:* r"]),
    ] {
        let list = device_rules(json!([{ "allow": false, "access": "rwm" }, rule]))?;
        check!(!list.lines().any(|line| line.starts_with('a')), "{rule} opens everything:\n{list}");
        for line in expected {
            check!(list.lines().any(|found| found == line), "{rule} gives no {line:?}:\n{list}");
        }
    }
    Ok(())
}

fn a_device_rule_opens_nodes_of_its_type() -> Check {
    for (kind, expected) in [("c", "c 10:77 r"), ("u", "c 10:77 r"), ("b", "b 10:77 r")] {
        let rule = json!({ "allow": true, "type": kind, "major": 10, "minor": 77, "access": "r" });
        let list = device_rules(json!([{ "allow": false, "access": "rwm" }, rule]))?;
        let found: Vec<&str> = list.lines().filter(|line| line.contains("10:77")).collect();
        check_eq!(found, [expected], "type {kind}");
    }
    Ok(())
}

fn a_device_rule_for_everything_opens_everything() -> Check {
    let list = device_rules(json!([{ "allow": true, "type": "a", "access": "rwm" }]))?;
    check_eq!(list, "a *:* rwm");
    Ok(())
}

/// What opening a node of the image, /dev/zero's twin, gives in a container.
fn open_of_a_node(resources: Option<Value>) -> Check<Value> {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "report", "--open", "/etc/node:r"]).remove("/linux/resources");
    let config = match resources {
        Some(resources) => config.set("/linux/resources", resources),
        None => config,
    };
    let bundle = s.bundle(&config)?;
    // The random number generator of a machine, which no default list has: c 10:183; any node of
    // misc will do, as the cgroup is asked before the driver.
    let made =
        Command::new("mknod").arg(bundle.rootfs().join("etc/node")).args(["c", "10", "183"]).status()?;
    check!(made.success(), "mknod failed");
    let report = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    Ok(report["open"]["/etc/node:r"].clone())
}

fn a_device_that_nobody_allows_is_denied() -> Check {
    let allow = json!({
        "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm",
    });
    for resources in
        [None, Some(json!({})), Some(json!({ "devices": [] })), Some(json!({ "devices": [allow] }))]
    {
        let seen = open_of_a_node(resources.clone())?;
        check_eq!(seen, libc::EPERM, "open with resources {resources:?}");
    }
    let allow = json!({
        "allow": true, "type": "c", "major": 10, "minor": 183, "access": "r",
    });
    let seen = open_of_a_node(Some(json!({ "devices": [allow] })))?;
    check!(seen != libc::EPERM, "it is denied although it is allowed");
    Ok(())
}

fn main() -> ExitCode {
    /// Tests that read files of v1 controllers that v2 does not have.
    fn without_v1() -> Option<String> {
        Host::is_pure_v2().then(|| "there are no v1 controllers".to_owned())
    }
    fn without_v2() -> Option<String> {
        (!Host::is_pure_v2())
            .then(|| "there is no v2 tree alone".to_owned())
            .or_else(without_controllers)
            .or_else(|| not_oxrun("others make it one of threads"))
    }
    /// A tree without controllers is not what these tests are about.
    fn without_controllers() -> Option<String> {
        let listed = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").ok()?;
        let missing = ["cpu", "cpuset", "memory", "pids"]
            .into_iter()
            .find(|c| !listed.split_whitespace().any(|l| l == *c));
        missing.map(|name| format!("there is no {name} controller"))
    }
    macro_rules! where_possible {
        ($reason:ident: $($name:ident),* $(,)?) => {
            vec![$(conditional(stringify!($name), $reason, $name)),*]
        };
    }
    let mut tests = where_possible![
        without_v1:
        an_empty_set_of_processors_of_the_parent_is_filled,
        a_device_rule_for_everything_opens_everything,
        a_device_rule_of_both_kinds_opens_no_more_than_it_says,
        a_device_rule_opens_nodes_of_its_type,
    ];
    tests.extend(where_possible![
        without_controllers:
        the_first_processor_alone_is_a_set_of_processors,
        limits_are_in_the_files_of_their_controllers,
        a_container_of_one_process_starts,
        a_process_limit_of_zero_does_not_keep_the_program_from_starting,
    ]);
    tests.extend(where_possible![
        without_v2:
        a_controller_that_processes_above_keep_back_is_named,
        a_cgroup_below_one_of_threads_is_refused,
    ]);
    tests.extend([
        test("a_device_that_nobody_allows_is_denied", a_device_that_nobody_allows_is_denied),
        test("a_cgroup_with_a_process_below_it_is_refused", a_cgroup_with_a_process_below_it_is_refused),
        oxrun_only(
            "a_limit_without_any_hierarchy_is_refused",
            "others say it in other words",
            a_limit_without_any_hierarchy_is_refused,
        ),
    ]);
    run(tests)
}
