//! containerd through ctr. `{new}` names the runtime; ctr's own container id is the scenario's name.

mod exec;
mod options;
mod scenarios;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::calls::Side;
use super::engine::{Kit, Package, socket, write};
use super::image;
use super::scenario::Scenario;

/// The daemon without its CRI part.
pub(super) struct Containerd;

/// The image's name.
pub(super) const IMAGE: &str = "docker.io/library/bb:latest";

/// A bundle's config in the scratch directory.
const CONFIG: &str = "config.json";

impl Kit for Containerd {
    fn packages(&self) -> &'static [Package] {
        &[("containerd", "/usr/bin/containerd")]
    }

    fn scenarios(&self) -> &'static [&'static [Scenario]] {
        &[scenarios::SCENARIOS, options::SCENARIOS, exec::SCENARIOS]
    }

    fn teardown(&self) -> &'static [&'static str] {
        scenarios::TEARDOWN
    }

    fn daemon(&self, scratch: &Path) -> Result<Option<Command>, String> {
        let config = scratch.join("config.toml");
        write(&config, &settings(scratch, "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n", ""))?;
        let mut command = Command::new("/usr/bin/containerd");
        command.arg("--config").arg(config);
        Ok(Some(command))
    }

    fn client(&self, scratch: &Path, _: Side) -> Command {
        let mut command = Command::new("/usr/bin/ctr");
        command.arg("--address").arg(socket(scratch));
        command
    }

    fn load(&self, scratch: &Path, tar: &Path) -> Result<Vec<Vec<String>>, String> {
        let config = scenarios::config(&scratch.join("rootfs"));
        write(&scratch.join(CONFIG), &config.to_string())?;
        let oci = image::oci(scratch, tar)?.to_string_lossy().into_owned();
        let import = ["images", "import", "--base-name", image::NAME, &oci];
        Ok(vec![import.map(str::to_owned).to_vec()])
    }

    fn run(&self, scratch: &Path, side: Side, _: &str) -> Vec<String> {
        vec!["--runc-binary".into(), side.wrapper(scratch).to_string_lossy().into_owned()]
    }

    /// ctr lets go of a FIFO that it has not come to open when the program has ended.
    fn forgets(&self) -> bool {
        true
    }

    fn states(&self, _: &Path) -> Vec<PathBuf> {
        vec!["/run/containerd/runc/default".into()]
    }
}

/// The daemon's configuration: `top` are lines without a section, `sections` come behind all others.
pub(super) fn settings(scratch: &Path, top: &str, sections: &str) -> String {
    let dir = scratch.display();
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/exec"
oom_score = 0
{top}[grpc]
  address = "{}"
[ttrpc]
  address = "{dir}/ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
{sections}"#,
        socket(scratch).display()
    )
}
