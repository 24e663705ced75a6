//! Network devices of the runtime's namespace that the container gets (config-linux.md, Network Devices). The
//! runtime is called in a network namespace of its own, where a pair of devices is made for the case.

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Scene, fails};
use super::must;
use crate::harness::{Config, Output};
use crate::{Check, check, check_eq, locate};
use serde_json::json;
use std::process::{Command, Stdio};

const PLACE: &str = "config-linux.md, Network Devices";
const DEVICES: &str = "/linux/netDevices";

/// What the namespace has before the runtime is called.
const MADE: &str =
    "ip link add v0 type veth peer name v1 && ip link set v0 mtu 1400 && ip address add 10.99.1.2/24 dev v0";

/// Calls `run` where the devices are.
fn run(scene: &Scene) -> Check<Output> {
    let rt = scene.s.runtime();
    let (bundle, inner) = (scene.bundle()?, rt.command());
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &format!("{MADE} || exit 99; exec \"$@\""), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.args(["run", "--bundle"]).arg(bundle.path()).arg("c1");
    command.current_dir(scene.s.dir()).stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = rt.finish(command)?;
    check!(output.code != 99, "no devices could be made: {output}");
    Ok(output)
}

/// A case whose program shows a file.
fn shows(name: &str, rule: &str, file: &str, judge: fn(&str) -> bool) -> Case {
    must(PLACE, &format!("net-devices/{name}"), rule)
        .base(Config::new(&["/bin/probe", "cat", file]))
        .with(DEVICES, json!({ "v0": {} }))
        .body(move |scene| {
            let said = run(scene)?.success()?.stdout;
            check!(judge(said.trim()), "{said}");
            Ok(())
        })
}

/// A case whose container must not come to be.
fn refused(name: &str, rule: &str, key: &str, inside: &str) -> Case {
    must(PLACE, &format!("net-devices/{name}"), rule)
        .with(DEVICES, json!({ key: { "name": inside } }))
        .noticing(Broken::Reads(vec![gone(DEVICES)]))
        .body(|scene| fails(&run(scene)?))
}

/// The devices that the container then has, besides its loopback.
fn devices(scene: &Scene, wanted: &str) -> Check {
    let said = run(scene)?.success()?.stdout;
    let all: Vec<&str> = said.lines().filter(|name| *name != "lo").collect();
    check_eq!(all, [wanted]);
    Ok(())
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let named = |name: &str, rule: &str, inside: &str, wanted: &'static str| {
        let entry = if inside.is_empty() { json!({}) } else { json!({ "name": inside }) };
        must(PLACE, &format!("net-devices/{name}"), rule)
            .base(Config::new(&["/bin/probe", "ls", "/sys/class/net"]))
            .with(DEVICES, json!({ "v0": entry }))
            .body(move |scene| devices(scene, wanted))
    };
    let all = vec![
        named("moved", "the device is in the container, by its name without another", "", "v0"),
        named("renamed", "the device has the name of the config", "spec7", "spec7")
            .noticing(Broken::Reads(vec![to(DEVICES, json!({ "v0": {} }))])),
        named("template", "a name with %d gets a number that is free", "spec%d", "spec0")
            .noticing(Broken::Reads(vec![to(DEVICES, json!({ "v0": {} }))])),
        shows("up", "the device is up", "/sys/class/net/v0/flags", |flags| {
            u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 == 1)
        }),
        shows("mtu", "the device keeps its attributes: the MTU", "/sys/class/net/v0/mtu", |mtu| {
            mtu == "1400"
        }),
        shows("address", "the device keeps its permanent addresses", "/proc/net/fib_trie", |text| {
            text.contains("10.99.1.2")
        }),
        refused("missing", "a device that is not there is an error", "v9", "v9"),
        refused("name-taken", "a name that is taken in the container is an error", "v0", "lo"),
    ];
    let missing = locate::program("ip").is_err().then(|| "there is no ip to make devices with".to_owned());
    all.into_iter().map(|case| case.unless(missing.clone())).collect()
}
