//! Docker through its client. `{new}` names the runtime, the container and the missing network. A
//! build cannot name a runtime: it uses the default one, which is the link that a scenario's side sets.

mod build;
mod compose;
mod exec;
mod life;
mod limits;
mod mounts;
mod namespaces;
mod rights;
mod terminal;
mod userns;
mod view;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::calls::Side;
use super::common;
use super::engine::{Account, Kit, Package, socket, write};
use super::scenario::Scenario;

/// The daemon, as it is or with a user namespace for every container.
pub(super) struct Docker {
    pub(super) userns: bool,
}

const PLAIN: &[&[Scenario]] = &[
    common::SCENARIOS,
    life::SCENARIOS,
    terminal::SCENARIOS,
    exec::SCENARIOS,
    view::SCENARIOS,
    limits::SCENARIOS,
    rights::SCENARIOS,
    namespaces::SCENARIOS,
    mounts::SCENARIOS,
    build::SCENARIOS,
    compose::SCENARIOS,
];

const USERNS: &[&[Scenario]] = &[userns::SCENARIOS, build::USERNS];

/// Whom the containers' root is with user namespaces.
const REMAPPED: Account = Account { name: "oxrun-remap", id: 4242, subordinates: 200_000 };

impl Kit for Docker {
    fn packages(&self) -> &'static [Package] {
        &[("docker.io", "/usr/bin/docker"), ("docker-compose", "/usr/bin/docker-compose")]
    }

    fn scenarios(&self) -> &'static [&'static [Scenario]] {
        if self.userns { USERNS } else { PLAIN }
    }

    fn teardown(&self) -> &'static [&'static str] {
        &["rm --force --volumes {c} {c}-2"]
    }

    fn daemon(&self, scratch: &Path) -> Result<Option<Command>, String> {
        let config = scratch.join("daemon.json");
        let runtime = |path: PathBuf| json!({ "path": path });
        let mut settings = json!({
            "data-root": scratch.join("root"),
            "exec-root": scratch.join("exec"),
            "pidfile": scratch.join("pid"),
            "hosts": [format!("unix://{}", socket(scratch).display())],
            "bridge": "none", "iptables": false, "ip6tables": false,
            "ip-forward": false, "ip-masq": false,
            "storage-driver": "overlay2",
            "default-runtime": "default",
            "runtimes": {
                "default": runtime(Side::link(scratch)),
                "reference": runtime(Side::Reference.wrapper(scratch)),
                "tested": runtime(Side::Tested.wrapper(scratch)),
            },
        });
        if self.userns {
            REMAPPED.make()?;
            settings["userns-remap"] = json!(REMAPPED.name);
        }
        write(&config, &settings.to_string())?;
        let mut command = Command::new("/usr/sbin/dockerd");
        command.arg("--config-file").arg(config);
        Ok(Some(command))
    }

    fn client(&self, scratch: &Path, _: Side) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.args(["--host", &format!("unix://{}", socket(scratch).display())]);
        command
    }

    fn load(&self, _: &Path, tar: &Path) -> Result<Vec<Vec<String>>, String> {
        let tar = tar.to_string_lossy();
        let import = ["import", "-c", r#"CMD ["/bin/sh"]"#, &tar, "bb:latest"];
        Ok(vec![import.map(str::to_owned).to_vec()])
    }

    fn run(&self, _: &Path, side: Side, container: &str) -> Vec<String> {
        ["--runtime", side.name(), "--name", container].map(str::to_owned).to_vec()
    }

    fn offline(&self) -> &'static [&'static str] {
        &["--network", "none"]
    }

    fn states(&self, scratch: &Path) -> Vec<PathBuf> {
        // BuildKit names no directory.
        vec![scratch.join("exec/runtime-runc/moby"), "/run/runc".into(), "/run/oxrun".into()]
    }
}
