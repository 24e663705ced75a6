//! The examples do what they say, and tasks of tokio wait as threads do. Needs root, busybox, and the examples built:
//!
//! ```text
//! cargo build -p oxrun-core --features tokio --examples && cargo test -p oxrun-core --features tokio --test examples
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use oxrun_core::{Bundle, CreateOptions, Event, ExitStatus, Runtime, Stdio};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

/// A directory with a root that has busybox; whatever a test leaves in its state root ends with it.
struct Scene {
    dir: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let dir = std::env::temp_dir().join(format!("oxrun-examples-{}-{name}", std::process::id()));
        for part in ["root/bin", "root/proc", "root/dev", "root/tmp"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        let busybox = dir.join("root/bin/busybox");
        fs::copy("/bin/busybox", &busybox).expect("busybox-static is installed");
        for name in ["sh", "sleep", "cat", "id", "ping", "dd"] {
            std::os::unix::fs::symlink("busybox", dir.join("root/bin").join(name)).unwrap();
        }
        Scene { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn runtime(&self) -> Runtime {
        Runtime::new(self.dir.join("state"))
    }

    /// A config whose program is this script.
    fn config(&self, script: &str) -> Value {
        let kinds = ["pid", "network", "ipc", "uts", "mount"];
        json!({
            "ociVersion": "1.3.0",
            "root": { "path": self.root() },
            "process": { "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"] },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": { "namespaces": kinds.map(|kind| json!({ "type": kind })) },
        })
    }

    fn bundle(&self, name: &str, script: &str) -> PathBuf {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.json"), self.config(script).to_string()).unwrap();
        dir
    }

    fn create(&self, config: &Value) -> oxrun_core::Container {
        let bundle = Bundle::from_json(config.to_string().as_bytes()).unwrap();
        let id = self.dir.file_name().unwrap().to_string_lossy().into_owned();
        let runtime = self.runtime();
        runtime
            .create(&runtime.plan(&id, &bundle, &CreateOptions::default()).unwrap(), Stdio::null())
            .unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for (_, container) in self.runtime().list().unwrap_or_default() {
            let _ = container.and_then(|c| c.delete(true));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A child that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn example(name: &str) -> Command {
    // target/TRIPLE/debug/deps/examples-HASH
    let here = std::env::current_exe().unwrap();
    let path = here.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built", path.display());
    Command::new(path)
}

fn sandbox(scene: &Scene, script: &str) -> Value {
    let Output { status, stdout, stderr } =
        example("sandbox").arg(scene.root()).args(["/bin/sh", "-c", script]).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

#[test]
fn the_sandbox_tells_what_became_of_the_command() {
    let scene = Scene::new("sandbox");
    let report = sandbox(&scene, "echo out; echo err >&2; exit 3");
    assert_eq!(report, json!({ "outcome": "exited", "status": 3, "stdout": "out\n", "stderr": "err\n" }));
    let report = sandbox(&scene, "dd if=/dev/zero of=/dev/null bs=200M count=1; exit 0");
    assert_eq!(report["outcome"], "out of memory");
}

#[test]
fn the_sandbox_takes_rights_and_the_network_away() {
    let scene = Scene::new("confined");
    let report = sandbox(&scene, "id -u; echo x >/file; cat /proc/net/dev");
    assert!(report["stdout"].as_str().unwrap().starts_with("65534\n"), "{report}");
    let refused = report["stderr"].as_str().unwrap();
    assert!(refused.contains("Read-only file system"), "{report}");
    let devices = report["stdout"].as_str().unwrap().lines().filter(|line| line.contains(": ")).count();
    assert_eq!(devices, 1, "lo alone: {report}");
    let report = sandbox(&scene, "cat /proc/self/status");
    assert_ne!(report["stdout"].as_str().unwrap().find("Seccomp:\t2"), None, "{report}");
    assert_ne!(report["stdout"].as_str().unwrap().find("CapEff:\t0000000000000000"), None, "{report}");
}

#[test]
fn the_exec_server_executes_in_a_running_container() {
    let scene = Scene::new("server");
    let container = scene.create(&scene.config("exec sleep 1000"));
    container.start().unwrap();
    let socket = scene.dir.join("socket");
    let _server = Server(example("exec_server").arg(scene.dir.join("state")).arg(&socket).spawn().unwrap());
    let mut stream = connect(&socket);
    let request = json!({ "container": container.id(), "args": ["sh", "-c", "echo inside; exit 5"] });
    writeln!(stream, "{request}").unwrap();
    let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["inside", r#"{"status":5}"#]);
    let mut stream = connect(&socket);
    writeln!(stream, "{}", json!({ "container": "nobody", "args": ["sh"] })).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.contains("container does not exist: nobody"), "{line}");
}

/// Connects as soon as somebody listens.
fn connect(socket: &Path) -> UnixStream {
    for _ in 0..2000 {
        if let Ok(stream) = UnixStream::connect(socket) {
            return stream;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody listens");
}

#[test]
fn the_supervisor_starts_again_what_fails_and_ends_all_at_a_signal() {
    let scene = Scene::new("supervisor");
    let (fails, stays) =
        (scene.bundle("fails", "exit 7"), scene.bundle("stays", "trap 'exit 0' TERM; sleep 1000 & wait"));
    let mut child = example("supervisor")
        .arg(scene.dir.join("state"))
        .args([&fails, &stays])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..3 {
        assert_eq!(lines.next().unwrap(), "fails: Exited(7)");
    }
    assert!(scene.runtime().open("stays").is_ok());
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let last = lines.next().unwrap();
    assert!(last.starts_with("stays: "), "{last}");
    assert!(child.wait().unwrap().success());
    assert!(scene.runtime().list().unwrap().is_empty());
}

#[tokio::test]
async fn a_task_learns_of_the_end_and_of_memory_that_ran_out() {
    let scene = Scene::new("task");
    let mut config = scene.config("sleep 0; dd if=/dev/zero of=/dev/null bs=200M count=1; exit 4");
    config["linux"]["resources"] = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
    let container = scene.create(&config);
    let mut watch = container.watch().unwrap();
    container.start().unwrap();
    if watch.sees_oom() {
        assert_eq!(watch.next_async().await.unwrap(), Event::Oom);
    }
    while watch.next_async().await.unwrap() != Event::Ended {}
    assert!(matches!(
        container.wait_async().await.unwrap(),
        ExitStatus::Exited(4 | 137) | ExitStatus::Signaled(9)
    ));
    container.delete(false).unwrap();
}

#[tokio::test]
async fn a_wait_that_is_given_up_can_be_begun_again() {
    let scene = Scene::new("again");
    let container = scene.create(&scene.config("exec sleep 1000"));
    container.start().unwrap();
    let early = tokio::time::timeout(Duration::from_millis(20), container.wait_async()).await;
    assert!(early.is_err());
    container.kill(15, false).unwrap();
    container.kill(9, false).unwrap();
    assert!(matches!(container.wait_async().await.unwrap(), ExitStatus::Signaled(_)));
    container.delete(false).unwrap();
}

#[test]
fn how_somebody_elses_child_ended_is_known() {
    let scene = Scene::new("other");
    // The supervisor's child, not this program's.
    let bundle = scene.bundle("job", "trap 'exit 9' TERM; sleep 1000 & wait");
    let _daemon = Server(example("supervisor").arg(scene.dir.join("state")).arg(&bundle).spawn().unwrap());
    let job = loop {
        match scene.runtime().open("job") {
            Ok(job) if job.status().is_ok_and(|s| s == oxrun_core::Status::Running) => break job,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let waiting = std::thread::spawn(move || job.wait().unwrap());
    let job = scene.runtime().open("job").unwrap();
    job.kill(9, false).unwrap();
    let status = waiting.join().unwrap();
    assert!(status == ExitStatus::Signaled(9) || status == ExitStatus::Unknown, "{status:?}");
    if kernel_remembers() {
        assert_eq!(status, ExitStatus::Signaled(9));
    }
}

/// Whether the kernel remembers how processes ended (Linux 6.15).
fn kernel_remembers() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}
