//! T18: a container joins the pid and the user namespace of another one, as the containers of a pod do, and the
//! caller has no rights. The neighbour may trace (a debugger's container); its processes have the same user as the new container's first process, which
//! still sees the host's files (the class of CVE-2016-9962).

use super::canary::Canary;
use super::{Attack, Caller, Control, Outcome, attack, ended};
use crate::harness::{Bundle, Config, Sandbox, User};
use crate::{Check, check};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const RUNS: usize = 10;

pub(super) fn attacks() -> Vec<Attack> {
    let name = "a neighbour in the pid namespace looks through the new container's root";
    vec![Attack { caller: Caller::User, ..attack("T18", name, peek, unseen, Control::Bad("visible")) }]
}

fn unseen(outcome: &Outcome) -> Result<(), String> {
    outcome.spared()?;
    match outcome.seen()?["text"].as_str() {
        Some(text) => Err(format!("the neighbour read {text:?} of the host")),
        None => Ok(()),
    }
}

fn rootless(sandbox: &Sandbox, config: Config) -> Check<Bundle> {
    let config = config
        .without_namespace("network")
        .without_mount("/sys")
        .without_mount("/sys/fs/cgroup")
        .remove("/linux/cgroupsPath")
        .remove("/linux/resources");
    // The group of terminals has no number there.
    let bundle = sandbox.bundle(&config.remove("/mounts/2/options/5"))?;
    User::own(bundle.path())?;
    Ok(bundle)
}

fn peek(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let secret = sandbox.make_file("mine", "a file of the caller\n")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    User::own(&secret)?;
    User::own(&sandbox.make_dir("out")?)?;
    let maps = User::single();
    let config = Config::new(&["/bin/probe", "peek", &secret.to_string_lossy(), "/tmp/report.json"])
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])
        .namespace("user", None)
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps)
        .mount("bind", &sandbox.dir().join("out"), "/tmp", &["bind", "rw"]);
    let runtime = sandbox.runtime();
    let neighbour = runtime.start_ready(rootless(sandbox, config)?.path(), "neighbour")?;
    let path = |kind: &str| format!("/proc/{neighbour}/ns/{kind}");
    let config = Config::new(&["/bin/probe", "exit", "0"])
        .namespace("pid", Some(&path("pid")))
        .namespace("user", Some(&path("user")))
        // While it runs, the first process stands still.
        .push("/hooks/createRuntime", json!({ "path": sandbox.probe(), "args": ["probe", "exit", "0"] }));
    let bundle = rootless(sandbox, config)?;
    for turn in 0..RUNS {
        // One that the neighbour has seen dies with it.
        runtime.run(bundle.path(), &format!("victim-{turn}"))?;
    }
    runtime.kill("neighbour", "TERM")?;
    check!(ended(neighbour)?, "the neighbour does not end");
    let report = serde_json::from_slice(&fs::read(sandbox.dir().join("out/report.json"))?)?;
    Ok(Outcome { report: Some(report), ..Outcome::default() })
}
