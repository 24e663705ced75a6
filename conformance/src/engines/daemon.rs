//! A daemon listens on a private socket below the scratch directory and knows both wrappers. It is
//! killed by its own handle when the value goes out of scope, and with its pid namespace anyway.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::calls::Side;
use super::{Engine, Job, image, sys, text};

/// Where Debian puts the engines; a `docker` elsewhere is not the one under test.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The image's name in containerd.
pub(super) const IMAGE: &str = "docker.io/library/bb:latest";

/// A bundle's config in the scratch directory.
pub(super) const CONFIG: &str = "config.json";

/// How long a daemon may take until it answers.
const READY: Duration = Duration::from_secs(60);

/// A running engine with the image loaded.
pub(super) struct Daemon {
    engine: Engine,
    child: Child,
    scratch: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts the engine and waits until it answers.
    pub(super) fn start(job: &Job) -> Result<Self, String> {
        let scratch = &job.scratch;
        let tar = image::make(scratch)?;
        let mut command = match job.engine {
            Engine::Containerd => containerd(scratch)?,
            Engine::Docker => dockerd(scratch)?,
        };
        let log = scratch.join("daemon.log");
        let out = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        environment(&mut command, scratch);
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
        let mut daemon = Self { engine: job.engine, child, scratch: scratch.clone(), log };
        daemon.wait_ready()?;
        daemon.load(&tar)?;
        Ok(daemon)
    }

    /// The engine's client, ready for its arguments.
    pub(super) fn client(&self) -> Command {
        let mut command = match self.engine {
            Engine::Containerd => Command::new("/usr/bin/ctr"),
            Engine::Docker => Command::new("/usr/bin/docker"),
        };
        match self.engine {
            Engine::Containerd => command.arg("--address").arg(socket(&self.scratch)),
            Engine::Docker => {
                let address = format!("unix://{}", socket(&self.scratch).display());
                command.args(["--host", &address])
            }
        };
        environment(&mut command, &self.scratch);
        command
    }

    /// Where the runtimes of this engine are told to keep their state.
    pub(super) fn state_root(&self) -> PathBuf {
        match self.engine {
            Engine::Containerd => "/run/containerd/runc/default".into(),
            Engine::Docker => self.scratch.join("exec/runtime-runc/moby"),
        }
    }

    /// The socket accepts, and the client gets an answer through it. A daemon gives no event for
    /// that; its end is one, and ends the waiting.
    fn wait_ready(&mut self) -> Result<(), String> {
        let ended = sys::pidfd(self.child.id()).map_err(|e| format!("pidfd_open: {e}"))?;
        let until = Instant::now() + READY;
        loop {
            let accepts = UnixStream::connect(socket(&self.scratch)).is_ok();
            if accepts && self.client_output(&["version"]).is_ok() {
                return Ok(());
            }
            let pause = Duration::from_millis(50);
            let gone = sys::poll(&[ended.as_fd()], pause).map_err(|e| format!("poll: {e}"))?[0];
            if gone || Instant::now() > until {
                let what = if gone { "ended" } else { "does not answer" };
                return Err(format!("the daemon {what}:\n{}", text::tail(&self.log)));
            }
        }
    }

    fn load(&self, tar: &Path) -> Result<(), String> {
        match self.engine {
            Engine::Containerd => {
                let config = super::containerd::config(&self.scratch.join("rootfs"));
                write(&self.scratch.join(CONFIG), &config.to_string())?;
                let oci = image::oci(&self.scratch, tar)?.to_string_lossy().into_owned();
                let base = "docker.io/library/bb";
                self.client_output(&["images", "import", "--base-name", base, &oci])
            }
            Engine::Docker => {
                let tar = tar.to_string_lossy();
                self.client_output(&["import", "-c", r#"CMD ["/bin/sh"]"#, &tar, "bb:latest"])
            }
        }
    }

    fn client_output(&self, args: &[&str]) -> Result<(), String> {
        let done = self
            .client()
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{}: {e}", self.engine.name()))?;
        if done.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&done.stderr);
        Err(format!("{}: {}", args.join(" "), text.trim()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The namespace ends right afterwards, so an error changes nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(scratch: &Path) -> PathBuf {
    scratch.join("engine.sock")
}

/// Neither the caller's variables nor its home directory reach the engine.
fn environment(command: &mut Command, scratch: &Path) {
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", scratch.join("home"))
        .env("TERM", "xterm")
        .current_dir(scratch);
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn containerd(scratch: &Path) -> Result<Command, String> {
    let dir = scratch.display();
    let config = scratch.join("config.toml");
    write(
        &config,
        &format!(
            r#"version = 2
root = "{dir}/root"
state = "{dir}/exec"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{}"
[ttrpc]
  address = "{dir}/ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
"#,
            socket(scratch).display()
        ),
    )?;
    let mut command = Command::new("/usr/bin/containerd");
    command.arg("--config").arg(config);
    Ok(command)
}

fn dockerd(scratch: &Path) -> Result<Command, String> {
    let config = scratch.join("daemon.json");
    let runtime = |side: Side| json!({ "path": side.wrapper(scratch) });
    let text = json!({
        "data-root": scratch.join("root"),
        "exec-root": scratch.join("exec"),
        "pidfile": scratch.join("pid"),
        "hosts": [format!("unix://{}", socket(scratch).display())],
        "bridge": "none", "iptables": false, "ip6tables": false,
        "ip-forward": false, "ip-masq": false,
        "storage-driver": "overlay2",
        "default-runtime": Side::Reference.name(),
        "runtimes": { "reference": runtime(Side::Reference), "tested": runtime(Side::Tested) },
    });
    write(&config, &text.to_string())?;
    let mut command = Command::new("/usr/sbin/dockerd");
    command.arg("--config-file").arg(config);
    Ok(command)
}
