//! containerd through its CRI plugin, as a kubelet calls it. The runtimes are two runtime handlers of
//! one daemon. A pod's sandbox runs the image's `pause`, its containers join the sandbox's namespaces.
//!
//! The client is our own (`client`): Debian has none. Most pods are in the host's network, which is the
//! private one of the suite; a pair of devices connects the others with it.

mod client;
mod life;
mod rights;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::json;

use super::calls::Side;
use super::containerd::{IMAGE, settings};
use super::engine::{Kit, Package, environment, socket, write};
use super::image;
use super::scenario::Scenario;

/// The daemon with its CRI part.
pub(super) struct Cri;

/// The word of the command line behind which the client's words stand.
pub(super) const CLIENT: &str = "--cri";

/// The client, in a process of its own.
pub(super) fn client(words: &[String]) -> ExitCode {
    client::run(words)
}

impl Kit for Cri {
    fn packages(&self) -> &'static [Package] {
        &[("containerd", "/usr/bin/containerd"), ("containernetworking-plugins", "/usr/lib/cni/loopback")]
    }

    fn scenarios(&self) -> &'static [&'static [Scenario]] {
        &[life::SCENARIOS, rights::SCENARIOS]
    }

    fn teardown(&self) -> &'static [&'static str] {
        &["cleanup {c}"]
    }

    fn daemon(&self, scratch: &Path) -> Result<Option<Command>, String> {
        // The streaming server listens on the loopback device.
        let up = Command::new("/bin/busybox").args(["ip", "link", "set", "lo", "up"]).status();
        if !up.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("ip link set lo up: {up:?}"));
        }
        let networks = scratch.join("cni");
        std::fs::create_dir(&networks).map_err(|e| format!("mkdir {}: {e}", networks.display()))?;
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{
                "type": "ptp",
                "ipam": { "type": "host-local", "subnet": "10.88.0.0/24", "dataDir": scratch.join("addresses") },
            }],
        });
        write(&networks.join("10-pods.conflist"), &network.to_string())?;
        let config = scratch.join("config.toml");
        write(&config, &settings(scratch, "", &plugin(scratch)))?;
        let mut command = Command::new("/usr/bin/containerd");
        command.arg("--config").arg(config);
        Ok(Some(command))
    }

    fn client(&self, scratch: &Path, _: Side) -> Command {
        // The path of a running program can be read.
        let mut command = Command::new(std::env::current_exe().unwrap_or_default());
        command.args(["engines", CLIENT]).arg(socket(scratch));
        command
    }

    fn load(&self, scratch: &Path, tar: &Path) -> Result<Vec<Vec<String>>, String> {
        let oci = image::oci(scratch, tar)?;
        let mut import = Command::new("/usr/bin/ctr");
        import.arg("--address").arg(socket(scratch));
        import.args(["--namespace", "k8s.io", "images", "import", "--base-name", image::NAME]).arg(oci);
        environment(&mut import, scratch);
        let done = import.output().map_err(|e| format!("ctr: {e}"))?;
        if done.status.success() {
            return Ok(Vec::new());
        }
        Err(format!("ctr images import: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }

    fn run(&self, scratch: &Path, side: Side, _: &str) -> Vec<String> {
        let logs = side.data(scratch).to_string_lossy().into_owned();
        vec!["--runtime".into(), side.name().into(), "--logs".into(), logs]
    }

    fn states(&self, _: &Path) -> Vec<PathBuf> {
        vec!["/run/containerd/runc/k8s.io".into()]
    }
}

/// The CRI plugin's part of the configuration. A score below the daemon's own may be refused by the host.
fn plugin(scratch: &Path) -> String {
    let dir = scratch.display();
    let mut out = format!(
        r#"[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{}:pause"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "reference"
"#,
        image::NAME
    );
    for side in [Side::Reference, Side::Tested] {
        let name = side.name();
        out += &format!(
            r#"[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
  runtime_type = "io.containerd.runc.v2"
  privileged_without_host_devices = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
  BinaryName = "{}"
"#,
            side.wrapper(scratch).display()
        );
    }
    out
}
