//! A client for the CRI: one command is one or a few calls of `RuntimeService`, and what comes back is
//! printed in a form that two runtimes can be compared by.
//!
//! Debian 12 has no client, and what a client needs of gRPC is small: `http2` makes a call, `message`
//! and `schema` know the messages, `socket` follows a streamed process. Pods and containers are found
//! by their label `name`, so that nothing is kept between two commands.

mod commands;
mod hpack;
mod http2;
mod message;
mod schema;
mod socket;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How often an answer is asked for that no call waits for.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a container may run that is waited for.
const END: Duration = Duration::from_secs(60);

/// What a container's state means.
const STATES: [&str; 4] = ["created", "running", "exited", "unknown"];

/// Runs one command: the socket, then its words. A failed call exits with 1.
pub(in super::super) fn run(words: &[String]) -> ExitCode {
    let Some((socket, words)) = words.split_first() else {
        return ExitCode::from(2);
    };
    match commands::run(&Client { socket: PathBuf::from(socket) }, words) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

struct Client {
    socket: PathBuf,
}

impl Client {
    /// Calls a method by its name.
    fn call(&self, name: &str, request: &Value) -> Result<Value, String> {
        let found = schema::METHODS.iter().find(|m| m.name == name);
        let method = found.ok_or_else(|| format!("no method {name}"))?;
        let bytes = message::encode(method.takes, request).map_err(|e| format!("{name}: {e}"))?;
        let answer = http2::call(&self.socket, &format!("/runtime.v1.RuntimeService/{name}"), &bytes)
            .map_err(|e| format!("{name}: {e}"))?;
        message::decode(method.gives, &answer).ok_or_else(|| format!("{name}: the answer is cut off"))
    }

    fn listed(&self, method: &str, list: &str, name: Option<&str>) -> Result<Vec<Value>, String> {
        let filter = name.map_or_else(|| json!({}), |n| json!({ "label_selector": { "name": n } }));
        let mut answer = self.call(method, &json!({ "filter": filter }))?;
        Ok(answer[list].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The pods, or those of one name.
    fn pods(&self, name: Option<&str>) -> Result<Vec<Value>, String> {
        self.listed("ListPodSandbox", "items", name)
    }

    /// The containers, or those of one name.
    fn containers(&self, name: Option<&str>) -> Result<Vec<Value>, String> {
        self.listed("ListContainers", "containers", name)
    }

    fn pod(&self, name: &str) -> Result<String, String> {
        id(&self.pods(Some(name))?).ok_or_else(|| format!("no pod is called {name}"))
    }

    fn container(&self, name: &str) -> Result<String, String> {
        id(&self.containers(Some(name))?).ok_or_else(|| format!("no container is called {name}"))
    }

    fn status(&self, name: &str) -> Result<Value, String> {
        let request = json!({ "container_id": self.container(name)?, "verbose": true });
        self.call("ContainerStatus", &request)
    }

    /// The status of a container that has ended.
    fn wait(&self, name: &str) -> Result<Value, String> {
        let until = Instant::now() + END;
        loop {
            let mut status = self.status(name)?;
            if status["status"]["state"] == 2 {
                return Ok(status["status"].take());
            }
            if Instant::now() > until {
                return Err(format!("{name} does not end"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn id(list: &[Value]) -> Option<String> {
    list.first().and_then(|one| one["id"].as_str()).map(str::to_owned)
}

/// Puts `more` into `object`: objects are joined, everything else is replaced.
fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more,
    }
}

/// Waits until nobody has the log open: containerd writes it out after it has called the container ended.
fn wait_closed(path: &Path) -> Result<(), String> {
    let links = |process: std::fs::DirEntry| {
        let descriptors = std::fs::read_dir(process.path().join("fd")).ok()?;
        Some(descriptors.flatten().any(|d| std::fs::read_link(d.path()).is_ok_and(|link| link == path)))
    };
    let until = Instant::now() + END;
    loop {
        let mut processes = std::fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten();
        if !processes.any(|process| links(process).unwrap_or(false)) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{} stays open", path.display()));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The lines of a container's log: what came through which of its outputs.
fn log_lines(path: &Path) -> Result<Vec<(bool, String)>, String> {
    let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| {
        // Time, stream, F or P for a line that goes on, text.
        let mut parts = line.splitn(4, ' ').skip(1);
        let (stream, tag, text) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
        Some((stream == "stderr", format!("{text}{}", if tag == "F" { "\n" } else { "" })))
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_joined_and_all_else_is_replaced() {
        let mut a = json!({ "x": { "y": 1, "z": [1] }, "k": 1 });
        merge(&mut a, json!({ "x": { "z": [2] }, "n": {} }));
        assert_eq!(a, json!({ "x": { "y": 1, "z": [2] }, "k": 1, "n": {} }));
    }
}
