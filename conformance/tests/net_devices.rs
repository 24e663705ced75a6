//! Network devices of the host that a container gets (`/linux/netDevices`). The host of these tests is a network
//! namespace of its own, with pairs of veth devices made for each test.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Output, Sandbox, conditional, not_oxrun, run};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const DEVICES: &str = "/linux/netDevices";

/// A network namespace that a process keeps.
struct Net {
    child: Child,
    pid: i32,
}

impl Net {
    fn new() -> Check<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oxrun-probe"))
            .args(["hold", "network"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipe = child.stdout.take().unwrap();
        let mut net = Self { child, pid: 0 };
        check!(sys::readable(pipe.as_fd(), Duration::from_secs(60))?, "the holder says nothing");
        let mut line = String::new();
        BufReader::new(pipe).read_line(&mut line)?;
        net.pid = line.trim().parse()?;
        Ok(net)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid)
    }

    fn ip(&self, words: &str) -> Check {
        ip(&self.path(), words).map(drop)
    }

    /// A device of it as ip(8) shows it; nothing if there is none.
    fn device(&self, name: &str) -> Check<Option<Value>> {
        device(&self.path(), name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = sys::kill(self.child.id().cast_signed(), libc::SIGTERM);
        let _ = self.child.wait();
    }
}

fn ip(path: &str, words: &str) -> Check<String> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={path}")).arg("ip").args(words.split_whitespace());
    let output = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    check!(output.status.success(), "ip {words}: {}", text(&output.stderr));
    Ok(text(&output.stdout))
}

fn device(path: &str, name: &str) -> Check<Option<Value>> {
    let all: Value = serde_json::from_str(&ip(path, "-json address show")?)?;
    Ok(all.as_array().unwrap().iter().find(|device| device["ifname"] == name).cloned())
}

/// What a container has of it.
fn inside(pid: i32, name: &str) -> Check<Value> {
    let found = device(&format!("/proc/{pid}/ns/net"), name)?;
    found.ok_or_else(|| Failed::from(format!("the container has no device {name}")))
}

/// The addresses of a device that are valid everywhere and last.
fn addresses(device: &Value) -> Vec<String> {
    let all = device["addr_info"].as_array().unwrap().iter();
    let kept = all.filter(|a| a["scope"] == "global" && a["dynamic"] != true);
    let mut kept: Vec<String> = kept
        .map(|a| {
            let peer = a["address"].as_str().map_or(String::new(), |peer| format!(" peer {peer}"));
            let extra = |key: &str| a[key].as_str().map_or(String::new(), |v| format!(" {key} {v}"));
            format!("{}/{}{peer}{}", a["local"].as_str().unwrap(), a["prefixlen"], extra("broadcast"))
        })
        .collect();
    kept.sort();
    kept
}

fn is_up(device: &Value) -> bool {
    device["flags"].as_array().unwrap().contains(&json!("UP"))
}

/// A sandbox whose runtime lives in a network namespace of its own, with one pair of devices.
fn sandbox() -> Check<(Net, Sandbox)> {
    let host = Net::new()?;
    host.ip("link add ox0 type veth peer name ox0-peer")?;
    let mut s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    s.runtime_mut().wrap(&["nsenter", &format!("--net={}", host.path())]);
    Ok((host, s))
}

fn with(devices: Value) -> Config {
    Config::new(&["/bin/probe", "ls", "/sys/class/net"]).set(DEVICES, devices)
}

fn run_once(s: &Sandbox, config: &Config) -> Check<Output> {
    let bundle = s.bundle(config)?;
    s.runtime().run(bundle.path(), "c1")
}

fn a_device_keeps_what_it_is_and_is_set_up() -> Check {
    let (host, s) = sandbox()?;
    host.ip("link set ox0 mtu 1400 address 02:00:00:11:22:33")?;
    host.ip("address add 10.77.0.2/24 broadcast 10.77.0.255 dev ox0")?;
    host.ip("address add 10.77.1.2 peer 10.77.1.9/30 dev ox0")?;
    host.ip("link set ox0 up")?;
    host.ip("address add fd77::2/64 dev ox0 nodad")?;
    let before = host.device("ox0")?.unwrap();
    let pid = s.sleeper("c1", &with(json!({ "ox0": {} })))?;
    let after = inside(pid, "ox0")?;
    check_eq!(after["mtu"], 1400);
    check_eq!(after["address"], "02:00:00:11:22:33");
    check!(is_up(&after), "{after}");
    check_eq!(addresses(&after), addresses(&before));
    check_eq!(addresses(&after).len(), 3, "{after}");
    check!(host.device("ox0")?.is_none(), "the host still has it");
    Ok(())
}

fn addresses_that_do_not_last_or_are_local_stay_behind() -> Check {
    let (host, s) = sandbox()?;
    host.ip("address add 10.77.0.2/24 dev ox0")?;
    host.ip("address add 169.254.7.7/16 scope link dev ox0")?;
    host.ip("address add 10.77.3.2/24 valid_lft 600 preferred_lft 600 dev ox0")?;
    let pid = s.sleeper("c1", &with(json!({ "ox0": {} })))?;
    let after = inside(pid, "ox0")?;
    let v4 = after["addr_info"].as_array().unwrap().iter().filter(|a| a["family"] == "inet");
    let v4: Vec<&Value> = v4.map(|a| &a["local"]).collect();
    check_eq!(v4, ["10.77.0.2"]);
    Ok(())
}

fn a_device_gets_another_name() -> Check {
    let (host, s) = sandbox()?;
    host.ip("address add 10.77.0.2/24 dev ox0")?;
    // The pointer /linux/netDevices/ox0/name.
    let pid = s.sleeper("c1", &with(json!({ "ox0": { "name": "eth7" } })))?;
    let after = inside(pid, "eth7")?;
    check!(is_up(&after), "{after}");
    check_eq!(addresses(&after), ["10.77.0.2/24"]);
    check!(device(&format!("/proc/{pid}/ns/net"), "ox0")?.is_none(), "it is there twice");
    Ok(())
}

fn a_device_takes_a_new_name_where_its_own_is_taken() -> Check {
    let (host, s) = sandbox()?;
    let other = Net::new()?;
    other.ip("link add ox0 type veth peer name other-peer")?;
    let config = with(json!({ "ox0": { "name": "eth7" } }))
        .namespace("network", Some(&other.path()))
        .remove("/linux/sysctl");
    s.sleeper("c1", &config)?;
    check!(other.device("eth7")?.is_some() && other.device("ox0")?.is_some(), "names");
    check!(host.device("ox0")?.is_none(), "the host still has it");
    Ok(())
}

fn a_template_takes_the_first_free_number() -> Check {
    let (host, s) = sandbox()?;
    let other = Net::new()?;
    other.ip("link add eth0 type veth peer name eth1")?;
    host.ip("link add ox1 type veth peer name ox1-peer")?;
    let devices = json!({ "ox0": { "name": "eth%d" }, "ox1": { "name": "eth%d" } });
    s.sleeper("c1", &with(devices).namespace("network", Some(&other.path())))?;
    for name in ["eth2", "eth3"] {
        let found = other.device(name)?.ok_or_else(|| Failed::from(format!("no {name}")))?;
        check!(is_up(&found), "{found}");
    }
    Ok(())
}

fn a_name_that_is_taken_is_refused_and_nothing_moves() -> Check {
    let (host, s) = sandbox()?;
    let other = Net::new()?;
    other.ip("link add eth7 type veth peer name other-peer")?;
    host.ip("address add 10.77.0.2/24 dev ox0")?;
    let config = with(json!({ "ox0": { "name": "eth7" } })).namespace("network", Some(&other.path()));
    let output = run_once(&s, &config)?.refused("file exists")?;
    check!(output.says("/linux/netDevices/ox0") && output.says("move netDevice ox0"), "{output}");
    check_eq!(addresses(&host.device("ox0")?.unwrap()), ["10.77.0.2/24"]);
    Ok(())
}

fn a_joined_namespace_keeps_the_device_after_delete() -> Check {
    let (host, s) = sandbox()?;
    let other = Net::new()?;
    s.sleeper("c1", &with(json!({ "ox0": {} })).namespace("network", Some(&other.path())))?;
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    check!(other.device("ox0")?.is_some(), "it is gone from the namespace");
    check!(host.device("ox0")?.is_none(), "it is back on the host");
    Ok(())
}

fn a_user_namespace_is_no_hindrance() -> Check {
    let (host, s) = sandbox()?;
    host.ip("address add 10.77.0.2/24 dev ox0")?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let config = with(json!({ "ox0": { "name": "eth7" } }))
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let pid = s.sleeper("c1", &config)?;
    check_eq!(addresses(&inside(pid, "eth7")?), ["10.77.0.2/24"]);
    Ok(())
}

fn a_failure_brings_the_devices_back() -> Check {
    let (host, s) = sandbox()?;
    host.ip("link add ox1 type veth peer name ox1-peer")?;
    host.ip("address add 10.77.0.2/24 dev ox0")?;
    host.ip("link set ox0 up")?;
    let before = [host.device("ox0")?.unwrap(), host.device("ox1")?.unwrap()];
    let seen = s.dir().join("seen");
    let hook = s.make_script("hook", &format!("cat >/dev/null; ip -o link > {}; exit 3", seen.display()))?;
    let config = with(json!({ "ox0": { "name": "eth7" }, "ox1": {} }))
        .push("/hooks/createRuntime", json!({ "path": hook, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] }));
    run_once(&s, &config)?.refused("exit status 3")?;
    let links = std::fs::read_to_string(seen)?;
    check!(!links.contains("ox0@") && !links.contains("ox1@"), "they had not been moved: {links}");
    let after = [host.device("ox0")?.unwrap(), host.device("ox1")?.unwrap()];
    for (before, after) in before.iter().zip(&after) {
        check_eq!(after["ifindex"], before["ifindex"]);
        check_eq!((is_up(after), addresses(after)), (is_up(before), addresses(before)));
    }
    Ok(())
}

fn the_first_device_comes_back_if_the_second_is_missing() -> Check {
    let (host, s) = sandbox()?;
    let output = run_once(&s, &with(json!({ "ox0": {}, "ox9": {} })))?;
    let output = output.refused("link not found for interface ox9 on runtime namespace")?;
    check!(output.says("/linux/netDevices/ox9"), "{output}");
    check!(host.device("ox0")?.is_some(), "ox0 is lost");
    Ok(())
}

fn the_loopback_device_is_not_given_away() -> Check {
    let (_host, s) = sandbox()?;
    run_once(&s, &with(json!({ "lo": { "name": "lo7" } })))?.refused("move netDevice lo")?;
    Ok(())
}

fn the_network_namespace_of_the_host_is_refused() -> Check {
    let (host, s) = sandbox()?;
    let devices = json!({ "ox0": { "name": "eth7" } });
    let config = with(devices.clone()).namespace("network", Some(&host.path()));
    run_once(&s, &config)?.refused("is the host's")?;
    check!(host.device("ox0")?.is_some(), "renamed on the host");
    let config = with(devices).without_namespace("network");
    run_once(&s, &config)?.refused("unable to move network devices without a NET namespace")?;
    Ok(())
}

fn names_that_no_device_has_are_refused() -> Check {
    let (_host, s) = sandbox()?;
    for (devices, text) in [
        (json!({ "a b": {} }), "invalid network device name \"a b\""),
        (json!({ "ox0": { "name": "a/b" } }), "(/linux/netDevices/ox0/name)"),
        (json!({ "ox0": { "name": "eth%d%d" } }), "invalid network device name"),
        (json!({ "ox%d": {} }), "invalid network device name"),
        (json!({ "ox0": { "name": "x" }, "ox1": { "name": "x" } }), "would both be named \"x\""),
        (json!({ "ox0": { "name": "lo" } }), "has a device named \"lo\" already"),
    ] {
        run_once(&s, &with(devices))?.refused(text)?;
    }
    Ok(())
}

fn nobody_without_the_rights_of_the_host_gives_devices_away() -> Check {
    let (host, mut s) = sandbox()?;
    let enter = format!("--net={}", host.path());
    s.runtime_mut().wrap(&["nsenter", &enter, "unshare", "--user", "--map-root-user"]);
    // A path that the caller may not make would be refused first.
    let config = with(json!({ "ox0": {} })).remove("/linux/cgroupsPath");
    run_once(&s, &config)?.refused("network devices are not supported for rootless")?;
    Ok(())
}

fn the_plan_says_which_device_goes_where() -> Check {
    let (_host, s) = sandbox()?;
    let bundle = s.bundle(&with(json!({ "ox0": { "name": "eth7" } })))?;
    let output = s.runtime().call(&["explain", "--bundle", &bundle.path().to_string_lossy()])?.success()?;
    let line = output.stdout.lines().find(|line| line.contains(DEVICES));
    let line = line.ok_or_else(|| Failed::from(output.to_string()))?;
    check!(line.contains("host network") && line.contains("ox0 of the host as eth7"), "{line}");
    Ok(())
}

/// Why these tests cannot be run here.
fn lacking() -> Option<String> {
    let there = |name: &str| {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|d| Path::new(d).join(name).exists())
    };
    let missing = ["ip", "nsenter"].into_iter().find(|name| !there(name))?;
    Some(format!("{missing} is not installed"))
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => {
            vec![$(conditional(
                stringify!($name),
                || lacking().or_else(|| not_oxrun("others lose devices, or word it otherwise")),
                $name,
            )),*]
        };
    }
    run(tests![
        a_device_keeps_what_it_is_and_is_set_up,
        addresses_that_do_not_last_or_are_local_stay_behind,
        a_device_gets_another_name,
        a_device_takes_a_new_name_where_its_own_is_taken,
        a_template_takes_the_first_free_number,
        a_name_that_is_taken_is_refused_and_nothing_moves,
        a_joined_namespace_keeps_the_device_after_delete,
        a_user_namespace_is_no_hindrance,
        a_failure_brings_the_devices_back,
        the_first_device_comes_back_if_the_second_is_missing,
        the_loopback_device_is_not_given_away,
        the_network_namespace_of_the_host_is_refused,
        names_that_no_device_has_are_refused,
        nobody_without_the_rights_of_the_host_gives_devices_away,
        the_plan_says_which_device_goes_where,
    ])
}
