//! Namespaces: new ones, inherited ones and ones joined by path, each type by itself.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const REPORT: &[&str] = &["/bin/probe", "report"];

/// Names in a configuration and in `/proc/PID/ns`.
const TYPES: [(&str, &str); 6] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mnt"),
    ("network", "net"),
    ("pid", "pid"),
    ("uts", "uts"),
];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn own(file: &str) -> Check<String> {
    Ok(fs::read_link(format!("/proc/self/ns/{file}"))?.to_string_lossy().into_owned())
}

/// A process of the host that keeps namespaces alive.
struct Holder {
    child: Child,
    pid: i32,
}

impl Holder {
    fn new(s: &Sandbox, kinds: &str) -> Check<Self> {
        let mut child = Command::new(s.probe())
            .args(["hold", kinds])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipe = child.stdout.take().unwrap();
        let mut holder = Self { child, pid: 0 };
        check!(sys::readable(pipe.as_fd(), Duration::from_secs(60))?, "the holder says nothing");
        let mut line = String::new();
        BufReader::new(pipe).read_line(&mut line)?;
        holder.pid = line.trim().parse()?;
        Ok(holder)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.pid)
    }

    fn inode(&self, file: &str) -> Check<String> {
        Ok(fs::read_link(self.path(file))?.to_string_lossy().into_owned())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Ends its own child first.
        let _ = sys::kill(self.child.id().cast_signed(), libc::SIGTERM);
        let _ = self.child.wait();
    }
}

/// A configuration without anything that needs a new namespace of type `kind`.
fn plain(kind: &str) -> Config {
    let config = Config::new(REPORT).without_namespace(kind);
    match kind {
        "uts" => config.remove("/hostname"),
        // A container that sees the host's processes must not change the host's sysctls, and
        // masks need a mount namespace.
        "mount" => config.remove("/linux/maskedPaths").remove("/linux/readonlyPaths"),
        _ => config,
    }
}

fn new_namespaces_are_new() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).namespace("cgroup", None);
    let (first, second) = (s.report(&config)?, s.report(&config)?);
    for (kind, file) in TYPES {
        let seen = &first["namespaces"][file];
        check!(seen.is_string(), "no {kind} namespace in the report");
        check!(*seen != own(file)?, "the {kind} namespace is the host's");
        check!(first["namespaces"][file].is_string() && second["namespaces"][file].is_string(), "{kind}");
    }
    Ok(())
}

fn namespaces_left_out_are_inherited() -> Check {
    let s = sandbox()?;
    for kind in ["cgroup", "ipc", "network", "pid", "uts"] {
        let file = TYPES.iter().find(|(name, _)| *name == kind).unwrap().1;
        let seen = s.report(&plain(kind))?;
        check_eq!(seen["namespaces"][file], own(file)?, "{kind}");
        let other = if kind == "pid" { "net" } else { "pid" };
        check!(seen["namespaces"][other] != own(other)?, "{other} is the host's, too");
    }
    Ok(())
}

fn joins(kind: &str) -> Check {
    let s = sandbox()?;
    let file = TYPES.iter().find(|(name, _)| *name == kind).unwrap().1;
    let holder = Holder::new(&s, kind)?;
    check!(holder.inode(file)? != own(file)?, "the holder has no namespace of its own");
    let config = plain(kind).namespace(kind, Some(&holder.path(file)));
    check_eq!(s.report(&config)?["namespaces"][file], holder.inode(file)?);
    Ok(())
}

fn an_ipc_namespace_is_joined() -> Check {
    joins("ipc")
}

fn a_network_namespace_is_joined() -> Check {
    joins("network")
}

fn a_uts_namespace_is_joined() -> Check {
    joins("uts")
}

fn a_pid_namespace_is_joined() -> Check {
    joins("pid")
}

fn a_cgroup_namespace_is_joined() -> Check {
    joins("cgroup")
}

fn a_mount_namespace_is_joined() -> Check {
    joins("mount")
}

fn several_namespaces_of_one_process_are_joined() -> Check {
    let s = sandbox()?;
    let holder = Holder::new(&s, "ipc,network,uts")?;
    let config = plain("uts")
        .namespace("ipc", Some(&holder.path("ipc")))
        .namespace("network", Some(&holder.path("net")))
        .namespace("uts", Some(&holder.path("uts")));
    let seen = s.report(&config)?;
    for file in ["ipc", "net", "uts"] {
        check_eq!(seen["namespaces"][file], holder.inode(file)?, "{file}");
    }
    Ok(())
}

fn namespaces_of_another_container_are_joined() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("pod", &Config::new(REPORT))?;
    let path = |file: &str| format!("/proc/{pid}/ns/{file}");
    let config = plain("uts")
        .namespace("ipc", Some(&path("ipc")))
        .namespace("network", Some(&path("net")))
        .namespace("pid", Some(&path("pid")))
        .namespace("uts", Some(&path("uts")));
    let seen = s.report(&config)?;
    check_eq!(seen["hostname"], "oxrun-test");
    for file in ["ipc", "net", "pid", "uts"] {
        let expected = fs::read_link(path(file))?.to_string_lossy().into_owned();
        check_eq!(seen["namespaces"][file], expected, "{file}");
    }
    check!(seen["pid"].as_u64() > Some(1), "pid 1 is the other container's");
    Ok(())
}

fn a_namespace_kept_by_a_bind_mount_is_joined() -> Check {
    let s = sandbox()?;
    let pin = s.make_file("netns", "")?;
    let holder = Holder::new(&s, "network")?;
    sys::mount(Path::new(&holder.path("net")), &pin, "", libc::MS_BIND)?;
    let inode = holder.inode("net")?;
    drop(holder);
    let config = Config::new(REPORT).namespace("network", Some(&pin.to_string_lossy()));
    let seen = s.report(&config);
    sys::unmount(&pin)?;
    check_eq!(seen?["namespaces"]["net"], inode);
    Ok(())
}

fn refused(config: &Config, text: &str) -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(config)?;
    let before = s.leaks()?;
    s.runtime().create(bundle.path(), "c1")?.refused(text)?;
    before.assert_same()
}

fn a_namespace_of_another_type_is_refused() -> Check {
    let s = sandbox()?;
    for (kind, file) in [("network", "uts"), ("ipc", "net"), ("uts", "ipc"), ("pid", "net")] {
        let path = format!("/proc/self/ns/{file}");
        let config = plain(kind).namespace(kind, Some(&path));
        let before = s.leaks()?;
        let output = s.runtime().create(s.bundle(&config)?.path(), "c1")?.exits(1)?;
        check!(!output.stderr.is_empty(), "{kind} by {path} is refused without a word");
        before.assert_same()?;
    }
    Ok(())
}

fn a_namespace_path_that_is_missing_is_refused() -> Check {
    refused(&Config::new(REPORT).namespace("network", Some("/no/ns")), "/no/ns: no such file or directory")
}

fn a_namespace_path_that_is_a_fifo_is_not_waited_for() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().limit(Duration::from_secs(60));
    let fifo = s.dir().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status()?;
    check!(made.success(), "mkfifo failed");
    for kind in ["network", "ipc", "uts", "pid", "cgroup"] {
        let config = plain(kind).namespace(kind, Some(&fifo.to_string_lossy()));
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        let output = s.runtime().create(bundle.path(), "c1")?.exits(1)?;
        check!(!output.stderr.is_empty(), "{kind} by a FIFO is refused without a word");
        before.assert_same()?;
    }
    Ok(())
}

fn a_repeated_namespace_is_refused() -> Check {
    refused(&Config::new(REPORT).push("/linux/namespaces", json!({ "type": "ipc" })), "ipc")
}

fn a_host_name_without_a_uts_namespace_is_refused() -> Check {
    refused(
        &Config::new(REPORT).without_namespace("uts"),
        "unable to set hostname without a private UTS namespace",
    )
}

fn the_host_name_is_set() -> Check {
    let s = sandbox()?;
    let seen = s.report(&Config::new(REPORT).set("/hostname", "a-name"))?;
    check_eq!(seen["hostname"], "a-name");
    Ok(())
}

fn the_domain_name_is_set() -> Check {
    let s = sandbox()?;
    let seen = s.report(&Config::new(REPORT).set("/domainname", "a.domain"))?;
    check_eq!(seen["domainname"], "a.domain");
    Ok(())
}

fn loopback_is_up_in_a_new_network_namespace() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let output = s.runtime().exec("c1", &["/bin/probe", "cat", "/sys/class/net/lo/flags"])?;
    let flags = output.success()?.stdout;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16)?;
    check!(flags & 1 == 1, "flags of lo are {flags:#x}");
    Ok(())
}

fn sysctls_are_set_in_their_namespaces() -> Check {
    let config = Config::new(&[
        "/bin/probe",
        "report",
        "--sysctl",
        "net.ipv4.ip_forward",
        "--sysctl",
        "kernel.msgmax",
    ]);
    let config = config.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "12345" }));
    let seen = sandbox()?.report(&config)?;
    check_eq!(seen["sysctl"]["net.ipv4.ip_forward"], "1");
    check_eq!(seen["sysctl"]["kernel.msgmax"], "12345");
    Ok(())
}

fn a_sysctl_of_the_host_is_refused() -> Check {
    refused(&Config::new(REPORT).set("/linux/sysctl", json!({ "vm.swappiness": "1" })), "vm.swappiness")?;
    let config = plain("network").set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
    refused(&config, "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace")
}

fn a_sysctl_of_the_hosts_network_is_refused_when_that_is_joined() -> Check {
    let value = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl")?;
    let own = format!("/proc/{}/ns/net", std::process::id());
    for path in ["/proc/self/ns/net", &own] {
        // The value it has: even a runtime that is wrong changes nothing.
        let config = Config::new(REPORT)
            .namespace("network", Some(path))
            .set("/linux/sysctl", json!({ "net.ipv4.ip_default_ttl": value.trim() }));
        refused(&config, "sysctl \"net.ipv4.ip_default_ttl\" not allowed in host network namespace")?;
    }
    Ok(())
}

fn a_new_cgroup_namespace_hides_the_path() -> Check {
    let s = sandbox()?;
    let seen = s.report(&Config::new(REPORT).namespace("cgroup", None))?;
    for line in seen["cgroup"].as_array().unwrap() {
        let line = line.as_str().unwrap_or_default();
        check!(!line.contains("oxrun-test"), "the path shows: {line}");
    }
    Ok(())
}

fn the_program_is_in_the_configured_cgroup_of_every_hierarchy() -> Check {
    let s = sandbox()?;
    let seen = s.report(&Config::new(REPORT))?;
    for line in seen["cgroup"].as_array().unwrap() {
        let line = line.as_str().unwrap_or_default();
        check!(line.contains(s.cgroup_prefix()), "not in the container's cgroup: {line}");
    }
    Ok(())
}

fn a_user_namespace(config: Config) -> Config {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    config.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

fn a_new_user_namespace_has_its_mappings() -> Check {
    let s = sandbox()?;
    let gids = json!([{ "containerID": 0, "hostID": 100_000, "size": 5000 }]);
    for (file, expected) in [("uid_map", ["0", "100000", "65536"]), ("gid_map", ["0", "100000", "5000"])] {
        let config = a_user_namespace(Config::new(&["/bin/probe", "cat", &format!("/proc/self/{file}")]));
        let config = config.set("/linux/gidMappings", gids.clone());
        let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
        check_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), expected, "{file}");
    }
    let seen = s.report(&a_user_namespace(Config::new(REPORT)))?;
    check_eq!(seen["uid"], 0);
    check!(seen["namespaces"]["user"] != own("user")?, "the user namespace is the host's");
    Ok(())
}

fn a_user_namespace_without_mappings_is_refused() -> Check {
    let config = Config::new(REPORT).namespace("user", None);
    let s = sandbox()?;
    let bundle = s.bundle(&config)?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?.exits(1)?;
    let text = output.stderr.to_lowercase();
    check!(text.contains("user namespaces enabled, but no uid mappings found"), "{output}");
    before.assert_same()
}

fn a_new_time_namespace_has_its_offsets() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe", "cat", "/proc/self/timens_offsets"])
        .namespace("time", None)
        .set(
            "/linux/timeOffsets",
            json!({ "boottime": { "secs": 1234, "nanosecs": 5 }, "monotonic": { "secs": 77, "nanosecs": 9 } }),
        );
    let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    for expected in [["boottime", "1234", "5"], ["monotonic", "77", "9"]] {
        let line = output.stdout.lines().find(|line| line.starts_with(expected[0])).unwrap_or_default();
        check_eq!(line.split_whitespace().collect::<Vec<_>>(), expected);
    }
    Ok(())
}

fn a_time_namespace_is_joined() -> Check {
    let s = sandbox()?;
    let holder = Holder::new(&s, "time")?;
    let config = Config::new(REPORT).namespace("time", Some(&holder.path("time")));
    check_eq!(s.report(&config)?["namespaces"]["time"], holder.inode("time")?);
    Ok(())
}

fn exec_enters_every_namespace() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).namespace("cgroup", None);
    let pid = s.sleeper("c1", &config)?;
    let seen = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    let namespaces: &Value = &seen["namespaces"];
    for (kind, file) in TYPES {
        let expected = fs::read_link(format!("/proc/{pid}/ns/{file}"))?;
        check_eq!(namespaces[file], json!(expected.to_string_lossy()), "{kind}");
    }
    for line in seen["cgroup"].as_array().unwrap() {
        let line = line.as_str().unwrap_or_default();
        check!(line.ends_with(":/"), "exec is outside the container's cgroup: {line}");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        new_namespaces_are_new,
        namespaces_left_out_are_inherited,
        an_ipc_namespace_is_joined,
        a_network_namespace_is_joined,
        a_uts_namespace_is_joined,
        a_pid_namespace_is_joined,
        a_cgroup_namespace_is_joined,
        a_mount_namespace_is_joined,
        several_namespaces_of_one_process_are_joined,
        namespaces_of_another_container_are_joined,
        a_namespace_kept_by_a_bind_mount_is_joined,
        a_namespace_of_another_type_is_refused,
        a_namespace_path_that_is_missing_is_refused,
        a_namespace_path_that_is_a_fifo_is_not_waited_for,
        a_repeated_namespace_is_refused,
        a_host_name_without_a_uts_namespace_is_refused,
        the_host_name_is_set,
        the_domain_name_is_set,
        loopback_is_up_in_a_new_network_namespace,
        sysctls_are_set_in_their_namespaces,
        a_sysctl_of_the_host_is_refused,
        a_sysctl_of_the_hosts_network_is_refused_when_that_is_joined,
        a_new_cgroup_namespace_hides_the_path,
        a_new_user_namespace_has_its_mappings,
        a_user_namespace_without_mappings_is_refused,
        a_new_time_namespace_has_its_offsets,
        a_time_namespace_is_joined,
        exec_enters_every_namespace,
    ];
    tests.push(conditional(
        "the_program_is_in_the_configured_cgroup_of_every_hierarchy",
        || Host::is_pure_v2().then(|| "the cgroup namespace hides the path".to_owned()),
        the_program_is_in_the_configured_cgroup_of_every_hierarchy,
    ));
    run(tests)
}
