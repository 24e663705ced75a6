//! Containers that systemd places: each is a scope with its limits as properties, is used like any other, and
//! leaves no unit behind. Root asks the system's systemd, a user its own.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Output, Sandbox, User, conditional, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
/// The user of the machines that the tests are run in.
const USER: u32 = 4242;
const RUNTIME_DIR: &str = "/run/user/4242";
const TOP: &str = "/sys/fs/cgroup";

/// A sandbox whose runtime is always called with `--systemd-cgroup`.
struct Scopes {
    sandbox: Sandbox,
    /// Whose systemd it is.
    user: bool,
    // Dropped last: it holds the script that calls the runtime.
    _outer: Sandbox,
}

impl Scopes {
    fn new(user: bool) -> Check<Self> {
        let probe = env!("CARGO_BIN_EXE_oxrun-probe");
        let outer = Sandbox::new(probe)?;
        let own = outer.dir().join("runtime");
        fs::copy(outer.runtime().program(), &own)?;
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755))?;
        let script =
            outer.make_script("oxrun", &format!("exec {} --systemd-cgroup \"$@\"", own.display()))?;
        let mut sandbox = Sandbox::with_runtime(probe, &script)?;
        if user {
            let id = USER.to_string();
            let state = sandbox.runtime().root();
            fs::create_dir(&state)?;
            chown(&state, Some(USER), Some(USER))?;
            let rt = sandbox.runtime_mut();
            rt.wrap(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
            rt.env("XDG_RUNTIME_DIR", RUNTIME_DIR);
        }
        Ok(Self { sandbox, user, _outer: outer })
    }

    /// The scope of this name in the test's own slice-free corner.
    fn unit(&self, name: &str) -> String {
        format!("{}-{name}.scope", self.sandbox.cgroup_prefix())
    }

    fn config(&self, name: &str) -> Config {
        let path = format!("{}:{}:{name}", self.slice(), self.sandbox.cgroup_prefix());
        let config = Config::new(SLEEP).set("/linux/cgroupsPath", path);
        if !self.user {
            return config;
        }
        let own = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
        let config = config
            .namespace("user", None)
            .without_namespace("network")
            .without_mount("/sys")
            .set("/linux/uidMappings", own.clone())
            .set("/linux/gidMappings", own);
        // The group of terminals has no id there.
        config.remove("/mounts/2/options/5")
    }

    fn slice(&self) -> &'static str {
        if self.user { "user.slice" } else { "system.slice" }
    }

    fn bundle(&self, config: &Config) -> Check<PathBuf> {
        let bundle = self.sandbox.bundle(config)?;
        if self.user {
            User::give(bundle.path(), USER)?;
        }
        Ok(bundle.path().to_owned())
    }

    fn create(&self, config: &Config, id: &str) -> Check<Output> {
        self.sandbox.runtime().create(&self.bundle(config)?, id)
    }

    /// Starts a container and waits until its program runs.
    fn sleeper(&self, config: &Config, id: &str) -> Check<i32> {
        self.sandbox.runtime().start_ready(&self.bundle(config)?, id)
    }

    fn call(&self, args: &[&str]) -> Check<Output> {
        self.sandbox.runtime().call(args)
    }

    /// A property of a unit.
    fn property(&self, unit: &str, name: &str) -> Check<String> {
        let mut text = systemctl(self.user, &["show", unit, "-p", name, "--value"])?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// The units that this test made and that are not gone.
    fn units(&self) -> Check<String> {
        let pattern = format!("{}*", self.sandbox.cgroup_prefix());
        let list = ["list-units", "--all", "--plain", "--no-legend", "--no-pager", &pattern];
        systemctl(self.user, &list)
    }

    fn nothing_is_left(&self) -> Check {
        check_eq!(self.units()?, "", "units");
        check_eq!(Host::cgroups(self.sandbox.cgroup_prefix())?, [].into(), "cgroups");
        Ok(())
    }

    fn end(&self, id: &str) -> Check {
        self.call(&["delete", "--force", id])?.success()?;
        Ok(())
    }
}

fn systemctl(user: bool, args: &[&str]) -> Check<String> {
    let mut command = Command::new("systemctl");
    if user {
        let id = USER.to_string();
        command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "systemctl", "--user"]);
        command.env("XDG_RUNTIME_DIR", RUNTIME_DIR);
    }
    let output = command.args(args).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Failed::from(format!("systemctl {args:?}: {}", text(&output.stderr))))
}

/// The directory of a process's v2 cgroup.
fn cgroup(pid: i32) -> Check<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::/"));
    let top = if Host::is_pure_v2() { TOP } else { "/sys/fs/cgroup/unified" };
    Ok(Path::new(top).join(path.ok_or("no v2 cgroup")?))
}

fn file(dir: &Path, name: &str) -> Check<String> {
    Ok(fs::read_to_string(dir.join(name))?.trim().to_owned())
}

fn limits() -> serde_json::Value {
    json!({
        "memory": {"limit": 67_108_864, "reservation": 33_554_432},
        "cpu": {"shares": 512, "quota": 12_345, "period": 100_000},
        "pids": {"limit": 20},
        "unified": {"memory.high": "50331648", "cpu.max.burst": "1000"},
    })
}

fn a_container_is_a_scope_with_its_limits(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let unit = s.unit("c1");
    let pid = s.sleeper(&s.config("c1").set("/linux/resources", limits()), "c1")?;
    for (name, expected) in [
        ("ActiveState", "active"),
        ("Slice", s.slice()),
        ("Description", "oxrun container c1"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemoryHigh", "50331648"),
        ("TasksMax", "20"),
        ("CPUWeight", "59"),
        // systemd counts in hundredths of a second.
        ("CPUQuotaPerSecUSec", "130ms"),
    ] {
        check_eq!(s.property(&unit, name)?, expected, "{name}");
    }
    let dir = cgroup(pid)?;
    check_eq!(
        dir,
        Path::new(&format!("{TOP}{}", s.property(&unit, "ControlGroup")?)),
        "the container's cgroup"
    );
    for (name, expected) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("pids.max", "20"),
        ("cpu.weight", "59"),
        ("cpu.max", "12345 100000"),
        ("cpu.max.burst", "1000"),
    ] {
        check_eq!(file(&dir, name)?, expected, "{name}");
    }
    check_eq!(file(&dir, "cgroup.procs")?, pid.to_string(), "processes in the scope");
    s.end("c1")?;
    s.nothing_is_left()
}

fn a_container_in_a_scope_is_used_like_any_other(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let pid = s.sleeper(&s.config("c1"), "c1")?;
    let inside = format!("0::/{}\n", cgroup(pid)?.strip_prefix(TOP)?.display());
    let output = s.call(&["exec", "c1", "/bin/probe", "cat", "/proc/self/cgroup"])?.success()?;
    check_eq!(output.stdout, inside, "the cgroup of a further process");
    check_eq!(s.call(&["ps", "-f", "json", "c1"])?.success()?.stdout.trim(), format!("[{pid}]"), "ps");
    let stats = s.call(&["events", "--stats", "c1"])?.success()?.json()?;
    check!(stats["data"]["pids"]["current"] == 1, "events say {stats}");
    s.call(&["pause", "c1"])?.success()?;
    s.sandbox.runtime().has_status("c1", "paused")?;
    s.call(&["resume", "c1"])?.success()?;
    s.sandbox.runtime().has_status("c1", "running")?;
    s.call(&["kill", "c1", "TERM"])?.success()?;
    s.sandbox.runtime().wait_for(pid)?;
    s.sandbox.runtime().delete("c1")?.success()?;
    s.nothing_is_left()
}

fn update_changes_property_and_file_and_leaves_the_others(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let unit = s.unit("c1");
    let pid = s.sleeper(&s.config("c1").set("/linux/resources", limits()), "c1")?;
    let dir = cgroup(pid)?;
    for (option, value, property, expected, name, text) in [
        ("--pids-limit", "30", "TasksMax", "30", "pids.max", "30"),
        ("--memory", "100M", "MemoryMax", "104857600", "memory.max", "104857600"),
        ("--cpu-share", "1024", "CPUWeight", "100", "cpu.weight", "100"),
        ("--cpu-quota", "23456", "CPUQuotaPerSecUSec", "240ms", "cpu.max", "23456 100000"),
        ("--cpu-share", "512", "CPUQuotaPerSecUSec", "240ms", "cpu.max", "23456 100000"),
        ("--pids-limit", "-1", "TasksMax", "infinity", "pids.max", "max"),
    ] {
        s.call(&["update", option, value, "c1"])?.success()?;
        check_eq!(s.property(&unit, property)?, expected, "{property} after {option} {value}");
        check_eq!(file(&dir, name)?, text, "{name} after {option} {value}");
    }
    check_eq!(file(&dir, "memory.high")?, "50331648", "memory.high, which nobody changed");
    // systemd writes what it knows again.
    systemctl(user, &["daemon-reload"])?;
    check_eq!(file(&dir, "memory.max")?, "104857600", "memory.max after daemon-reload");
    check_eq!(file(&dir, "pids.max")?, "max", "pids.max after daemon-reload");
    s.end("c1")?;
    s.nothing_is_left()
}

fn a_limit_of_one_process_leaves_room_to_make_it(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let pid = s.sleeper(&s.config("c1").set("/linux/resources/pids/limit", 1), "c1")?;
    check_eq!(s.property(&s.unit("c1"), "TasksMax")?, "1", "TasksMax");
    check_eq!(file(&cgroup(pid)?, "pids.max")?, "1", "pids.max");
    s.end("c1")?;
    s.nothing_is_left()
}

fn annotations_are_properties_of_the_scope(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let config = s
        .config("c1")
        .set("/annotations/org.systemd.property.TimeoutStopSec", "uint64 5")
        .set("/annotations/org.systemd.property.CollectMode", "'inactive-or-failed'")
        .set("/annotations/org.systemd.property.Documentation", "['https://a.example']");
    s.create(&config, "c1")?.success()?;
    let unit = s.unit("c1");
    check_eq!(s.property(&unit, "TimeoutStopUSec")?, "5s", "TimeoutStopUSec");
    check_eq!(s.property(&unit, "CollectMode")?, "inactive-or-failed", "CollectMode");
    check_eq!(s.property(&unit, "Documentation")?, "https://a.example", "Documentation");
    s.end("c1")?;
    let nothing = s.config("c2").set("/annotations/org.systemd.property.NoSuchThing", "true");
    let output = s.create(&nothing, "c2")?.refused("NoSuchThing")?;
    check!(output.says(&s.unit("c2")), "{output}\n  does not name the unit");
    s.nothing_is_left()
}

/// A scope that systemd ended for its time, which counts as a failure.
fn fail(s: &Scopes, id: &str) -> Check {
    let config = s
        .config("c1")
        .set("/annotations/org.systemd.property.RuntimeMaxUSec", "uint64 3000000")
        .set("/annotations/org.systemd.property.TimeoutStopUSec", "uint64 100000");
    s.create(&config, id)?.success()?;
    let unit = s.unit("c1");
    let mut asked = 0;
    while s.property(&unit, "ActiveState")? != "failed" {
        asked += 1;
        check!(asked < 200, "the unit has not failed: {}", s.units()?);
    }
    Ok(())
}

fn delete_forgets_that_the_scope_failed(user: bool) -> Check {
    let s = Scopes::new(user)?;
    fail(&s, "c1")?;
    s.sandbox.runtime().delete("c1")?.success()?;
    s.nothing_is_left()
}

fn a_failed_scope_of_before_makes_room_for_a_new_one(user: bool) -> Check {
    let s = Scopes::new(user)?;
    fail(&s, "old")?;
    // Its owner forgot it.
    fs::remove_dir_all(s.sandbox.runtime().root().join("old"))?;
    s.create(&s.config("c1"), "c1")?.success()?;
    check_eq!(s.property(&s.unit("c1"), "ActiveState")?, "active", "ActiveState");
    s.end("c1")?;
    s.nothing_is_left()
}

fn a_scope_in_use_is_left_alone(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let pid = s.sleeper(&s.config("c1"), "c1")?;
    let output = s.create(&s.config("c1"), "c2")?.refused(&s.unit("c1"))?;
    check!(output.says("UnitExists"), "{output}");
    check_eq!(file(&cgroup(pid)?, "cgroup.procs")?, pid.to_string(), "processes of the first container");
    s.sandbox.runtime().has_status("c1", "running")?;
    s.end("c1")?;
    s.nothing_is_left()
}

/// The id is the container's, the slices are nested.
fn names_follow_from_the_path() -> Check {
    let s = Scopes::new(false)?;
    let id = format!("{}d", s.sandbox.cgroup_prefix());
    s.create(&s.config("x").set("/linux/cgroupsPath", ""), &id)?.success()?;
    let dir = cgroup(s.sandbox.runtime().pid(&id)?)?;
    check_eq!(dir, Path::new(TOP).join(format!("system.slice/oxrun-{id}.scope")), "cgroup without a path");
    s.end(&id)?;
    let prefix = s.sandbox.cgroup_prefix();
    s.create(&s.config("x").set("/linux/cgroupsPath", format!("oxt-a-b.slice:{prefix}:x")), "c1")?
        .success()?;
    let dir = cgroup(s.sandbox.runtime().pid("c1")?)?;
    let expected = format!("oxt.slice/oxt-a.slice/oxt-a-b.slice/{prefix}-x.scope");
    check_eq!(dir, Path::new(TOP).join(expected), "cgroup in nested slices");
    s.end("c1")?;
    systemctl(false, &["stop", "oxt.slice"])?;
    let output = s.create(&s.config("x").set("/linux/cgroupsPath", "/a/path"), "c2")?;
    output.refused("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups")?;
    s.nothing_is_left()
}

/// What is denied is denied by systemd's program and by ours; both change together.
fn device_rules_are_in_force_and_change() -> Check {
    let s = Scopes::new(false)?;
    // A device without driver: it can be opened no further than the rules let it be.
    let node = json!({"path": "/dev/thing", "type": "c", "major": 240, "minor": 77, "fileMode": 0o666});
    let rule = |allow| json!({"allow": allow, "type": "c", "major": 240, "minor": 77, "access": "rw"});
    let deny = json!({"allow": false, "access": "rwm"});
    for (before, word) in [(false, "allowed"), (true, "denied")] {
        let config = s
            .config("c1")
            .args(&["/bin/probe", "open-until", "/dev/thing", word])
            .set("/linux/devices", json!([node]))
            .set("/linux/resources/devices", json!([deny, rule(before)]));
        let pid = s.sandbox.runtime().start_ready(&s.bundle(&config)?, "c1")?;
        let unit = s.unit("c1");
        let listed = || Ok::<_, Failed>(s.property(&unit, "DeviceAllow")?.contains("/dev/char/240:77 rw"));
        check_eq!(s.property(&unit, "DevicePolicy")?, "strict", "DevicePolicy");
        check_eq!(listed()?, before, "whether systemd's list has it");
        let rules = json!({"devices": [deny, rule(!before)]});
        let path = s.sandbox.make_file("rules.json", &rules.to_string())?;
        s.call(&["update", "--resources", &path.to_string_lossy(), "c1"])?.success()?;
        check_eq!(s.sandbox.runtime().wait_for(pid)?, Some(0), "until {word}");
        s.end("c1")?;
    }
    s.nothing_is_left()
}

fn a_creator_that_fails_later_leaves_no_unit(user: bool) -> Check {
    let s = Scopes::new(user)?;
    let config = s.config("c1").set("/process/args", json!(["/bin/nothing"]));
    s.create(&config, "c1")?.refused("/bin/nothing")?;
    s.nothing_is_left()
}

/// One after the other, with the same unit each time.
fn fifty_containers_one_after_another_leave_no_unit() -> Check {
    let s = Scopes::new(false)?;
    let bundle = s.bundle(&s.config("c1").args(&["/bin/probe", "echo", "hello"]))?;
    for n in 0..50 {
        let output = s.sandbox.runtime().run(&bundle, "c1")?;
        check!(output.code == 0 && output.stdout == "hello\n", "container {n}: {output}");
    }
    s.nothing_is_left()
}

fn eight_containers_at_a_time_leave_no_unit() -> Check {
    let s = Scopes::new(false)?;
    for round in 0..3 {
        let bundles: Vec<PathBuf> = (0..8)
            .map(|n| s.bundle(&s.config(&format!("p{n}")).args(&["/bin/probe", "echo", "hello"])))
            .collect::<Check<_>>()?;
        let mut running = Vec::new();
        for (n, bundle) in bundles.iter().enumerate() {
            let mut command = s.sandbox.runtime().command();
            command.arg("run").arg("--bundle").arg(bundle).arg(format!("p{n}"));
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            running.push(command.spawn()?);
        }
        for (n, child) in running.into_iter().enumerate() {
            let output = child.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            check!(
                output.status.success() && output.stdout == b"hello\n",
                "round {round}, container {n}: {text}"
            );
        }
    }
    s.nothing_is_left()
}

fn main() -> ExitCode {
    let no_systemd = || {
        let there = Path::new("/run/systemd/private").exists();
        (!there).then(|| "systemd is not pid 1 here: conformance vm --suite systemd".to_owned())
    };
    let no_user = move || {
        let vm = std::env::var_os("OXRUN_VM").is_some() && Host::is_pure_v2();
        no_systemd()
            .or_else(|| (!vm).then(|| "no machine of its own for a user's systemd on cgroup v2".to_owned()))
    };
    // Before the tests have a mount namespace of their own, in which the user's directory would be missing.
    if no_user().is_none()
        && let Err(e) = systemctl(false, &["start", &format!("user@{USER}.service")])
    {
        eprintln!("the user has no systemd: {}", e.message().unwrap_or_default());
    }
    let mut tests = Vec::new();
    for (name, body) in [
        ("names_follow_from_the_path", names_follow_from_the_path as fn() -> Check),
        ("device_rules_are_in_force_and_change", device_rules_are_in_force_and_change),
        (
            "fifty_containers_one_after_another_leave_no_unit",
            fifty_containers_one_after_another_leave_no_unit,
        ),
        ("eight_containers_at_a_time_leave_no_unit", eight_containers_at_a_time_leave_no_unit),
    ] {
        tests.push(conditional(name, no_systemd, body));
    }
    for (name, body) in [
        (
            "a_container_is_a_scope_with_its_limits",
            a_container_is_a_scope_with_its_limits as fn(bool) -> Check,
        ),
        ("a_container_in_a_scope_is_used_like_any_other", a_container_in_a_scope_is_used_like_any_other),
        (
            "update_changes_property_and_file_and_leaves_the_others",
            update_changes_property_and_file_and_leaves_the_others,
        ),
        ("a_limit_of_one_process_leaves_room_to_make_it", a_limit_of_one_process_leaves_room_to_make_it),
        ("annotations_are_properties_of_the_scope", annotations_are_properties_of_the_scope),
        ("delete_forgets_that_the_scope_failed", delete_forgets_that_the_scope_failed),
        (
            "a_failed_scope_of_before_makes_room_for_a_new_one",
            a_failed_scope_of_before_makes_room_for_a_new_one,
        ),
        ("a_scope_in_use_is_left_alone", a_scope_in_use_is_left_alone),
        ("a_creator_that_fails_later_leaves_no_unit", a_creator_that_fails_later_leaves_no_unit),
    ] {
        tests.push(conditional(&format!("root/{name}"), no_systemd, move || body(false)));
        tests.push(conditional(&format!("user/{name}"), no_user, move || body(true)));
    }
    run(tests)
}
