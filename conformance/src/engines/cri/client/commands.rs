//! The commands of the client: options first, then names, then a container's command line.

use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Client, STATES, log_lines, merge, socket, wait_closed};

/// What stands before a command's names.
#[derive(Default)]
struct Options {
    /// The runtime's name in the daemon's configuration.
    runtime: String,
    /// Where the pod's containers log.
    logs: PathBuf,
    /// What the pod's configuration has beside the usual.
    pod: Option<Value>,
    /// What the container's configuration has beside the usual.
    container: Option<Value>,
    /// Seconds.
    timeout: i64,
    tty: bool,
    stdin: bool,
}

impl Options {
    fn take(words: &mut VecDeque<&str>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = words.front().and_then(|w| w.strip_prefix("--")) {
            words.pop_front();
            let mut value = || words.pop_front().ok_or_else(|| format!("--{name} needs a value"));
            let json = |text: &str| serde_json::from_str(text).map_err(|e| format!("--{name}: {e}: {text}"));
            match name {
                "runtime" => options.runtime = value()?.into(),
                "logs" => options.logs = value()?.into(),
                "pod" => options.pod = Some(json(value()?)?),
                "container" => options.container = Some(json(value()?)?),
                "timeout" => options.timeout = value()?.parse().map_err(|e| format!("--{name}: {e}"))?,
                "tty" => options.tty = true,
                "stdin" => options.stdin = true,
                _ => return Err(format!("unknown option --{name}")),
            }
        }
        Ok(options)
    }
}

/// Carries out one command; its exit code.
pub(super) fn run(client: &Client, words: &[String]) -> Result<u8, String> {
    let mut words: VecDeque<&str> = words.iter().map(String::as_str).collect();
    let verb = words.pop_front().ok_or("no command")?;
    let options = Options::take(&mut words)?;
    let mut name = || words.pop_front().ok_or_else(|| format!("{verb} needs a name"));
    match verb {
        "version" => {
            println!("{}", client.call("Version", &json!({}))?);
            Ok(0)
        }
        "pods" => {
            list(&client.pods(None)?, &["ready", "notready"]);
            Ok(0)
        }
        "ps" => {
            list(&client.containers(None)?, &STATES);
            Ok(0)
        }
        "pod" => run_pod(client, &options, name()?),
        "create" => {
            let (pod, container) = (name()?, name()?);
            create(client, &options, pod, container, &Vec::from(words))
        }
        "begin" | "run" => {
            let container = name()?;
            let pod = format!("{container}-pod");
            run_pod(client, &options, &pod)?;
            create(client, &options, &pod, container, &Vec::from(words))?;
            let begun = on_container(client, "StartContainer", container)?;
            if verb == "run" { end(client, container) } else { Ok(begun) }
        }
        "start" => on_container(client, "StartContainer", name()?),
        "rm" => on_container(client, "RemoveContainer", name()?),
        "reopen-log" => on_container(client, "ReopenContainerLog", name()?),
        "stop" => {
            let request = json!({ "container_id": client.container(name()?)?, "timeout": options.timeout });
            client.call("StopContainer", &request).map(|_| 0)
        }
        "stop-pod" => on_pod(client, "StopPodSandbox", name()?),
        "rm-pod" => on_pod(client, "RemovePodSandbox", name()?),
        "status" => {
            println!("{}", summary(&client.status(name()?)?["status"]));
            Ok(0)
        }
        "wait" => {
            println!("{}", summary(&client.wait(name()?)?));
            Ok(0)
        }
        "end" => end(client, name()?),
        "logs" => logs(client, name()?),
        "pid" => pid(&client.status(name()?)?),
        "pod-pid" => {
            let request = json!({ "pod_sandbox_id": client.pod(name()?)?, "verbose": true });
            pid(&client.call("PodSandboxStatus", &request)?)
        }
        "update" => {
            let (container, resources) = (name()?, name()?);
            let resources: Value = serde_json::from_str(resources).map_err(|e| e.to_string())?;
            let request = json!({ "container_id": client.container(container)?, "linux": resources });
            client.call("UpdateContainerResources", &request).map(|_| 0)
        }
        "stats" => stats(client, name()?),
        "exec" => {
            let container = name()?;
            exec(client, &options, container, &Vec::from(words))
        }
        "probes" => {
            let (containers, count) = (name()?, name()?);
            probes(client, containers, count, &Vec::from(words))
        }
        "stream" => {
            let container = client.container(name()?)?;
            follow(client, "Exec", &options, json!({ "container_id": container, "cmd": words }))
        }
        "attach" => {
            let container = client.container(name()?)?;
            follow(client, "Attach", &options, json!({ "container_id": container }))
        }
        "cleanup" => cleanup(client, name()?),
        _ => Err(format!("unknown command {verb}")),
    }
}

/// The process id that a status has among its details.
fn pid(status: &Value) -> Result<u8, String> {
    let info = status["info"]["info"].as_str().unwrap_or_default();
    let info: Value = serde_json::from_str(info).map_err(|e| format!("info: {e}"))?;
    println!("{}", info["pid"]);
    Ok(0)
}

fn on_container(client: &Client, method: &str, name: &str) -> Result<u8, String> {
    client.call(method, &json!({ "container_id": client.container(name)? })).map(|_| 0)
}

fn on_pod(client: &Client, method: &str, name: &str) -> Result<u8, String> {
    client.call(method, &json!({ "pod_sandbox_id": client.pod(name)? })).map(|_| 0)
}

/// A pod in the host's network, if nothing else is said.
fn pod_config(options: &Options, name: &str) -> Value {
    let mut config = json!({
        "metadata": { "name": name, "uid": name, "namespace": "default" },
        "labels": { "name": name },
        "log_directory": options.logs,
        "linux": { "security_context": { "namespace_options": { "network": 2 } } },
    });
    if let Some(more) = &options.pod {
        merge(&mut config, more.clone());
    }
    config
}

fn run_pod(client: &Client, options: &Options, name: &str) -> Result<u8, String> {
    let request = json!({ "config": pod_config(options, name), "runtime_handler": options.runtime });
    client.call("RunPodSandbox", &request).map(|_| 0)
}

fn create(client: &Client, options: &Options, pod: &str, name: &str, args: &[&str]) -> Result<u8, String> {
    let mut config = json!({
        "metadata": { "name": name },
        "image": { "image": super::super::IMAGE },
        "command": args,
        "labels": { "name": name },
        "log_path": format!("{name}.log"),
        "linux": { "security_context": { "namespace_options": { "network": 2, "pid": 1 } } },
    });
    if let Some(more) = &options.container {
        merge(&mut config, more.clone());
    }
    let request = json!({
        "pod_sandbox_id": client.pod(pod)?,
        "config": config,
        "sandbox_config": pod_config(options, pod),
    });
    client.call("CreateContainer", &request).map(|_| 0)
}

/// Waits for the end, prints what was logged, and ends alike.
fn end(client: &Client, name: &str) -> Result<u8, String> {
    let status = client.wait(name)?;
    wait_closed(status["log_path"].as_str().unwrap_or_default().as_ref())?;
    logs(client, name)?;
    Ok(status["exit_code"].as_i64().unwrap_or(0) as u8)
}

fn logs(client: &Client, name: &str) -> Result<u8, String> {
    let status = client.status(name)?;
    for (is_error, text) in log_lines(status["status"]["log_path"].as_str().unwrap_or_default().as_ref())? {
        if is_error {
            eprint!("{text}");
        } else {
            print!("{text}");
        }
    }
    Ok(0)
}

fn list(all: &[Value], states: &[&str]) {
    let mut lines: Vec<String> = all
        .iter()
        .map(|one| {
            let state = states.get(one["state"].as_i64().unwrap_or(0) as usize).unwrap_or(&"?");
            format!("{} {state}", one["metadata"]["name"].as_str().unwrap_or_default())
        })
        .collect();
    lines.sort();
    lines.iter().for_each(|line| println!("{line}"));
}

/// State, exit code, reason and message.
fn summary(status: &Value) -> String {
    let state = STATES.get(status["state"].as_i64().unwrap_or(0) as usize).unwrap_or(&"?");
    let code = status["exit_code"].as_i64().unwrap_or(0);
    let [reason, message] = ["reason", "message"].map(|field| status[field].as_str().unwrap_or_default());
    format!("{state} {code} {reason} {message}").trim_end().to_owned()
}

/// That there are figures, not which.
fn stats(client: &Client, name: &str) -> Result<u8, String> {
    let answer = client.call("ContainerStats", &json!({ "container_id": client.container(name)? }))?;
    let stats = &answer["stats"];
    let positive = |value: &Value| value["value"].as_i64().unwrap_or(0) > 0;
    println!(
        "{} cpu {} memory {}",
        stats["attributes"]["metadata"]["name"].as_str().unwrap_or_default(),
        positive(&stats["cpu"]["usage_core_nano_seconds"]),
        positive(&stats["memory"]["working_set_bytes"])
    );
    Ok(0)
}

fn exec(client: &Client, options: &Options, name: &str, args: &[&str]) -> Result<u8, String> {
    let request = json!({ "container_id": client.container(name)?, "cmd": args, "timeout": options.timeout });
    let answer = client.call("ExecSync", &request)?;
    print!("{}", answer["stdout"].as_str().unwrap_or_default());
    eprint!("{}", answer["stderr"].as_str().unwrap_or_default());
    Ok(answer["exit_code"].as_i64().unwrap_or(0) as u8)
}

/// So many of the same at once, in turn in one of the containers after the other; how many of them
/// exited with 0.
fn probes(client: &Client, names: &str, count: &str, args: &[&str]) -> Result<u8, String> {
    let count: usize = count.parse().map_err(|e| format!("{count}: {e}"))?;
    let containers: Vec<String> = names.split(',').map(|n| client.container(n)).collect::<Result<_, _>>()?;
    let one = |container: &str| {
        let request = json!({ "container_id": container, "cmd": args, "timeout": 60 });
        match client.call("ExecSync", &request) {
            Ok(answer) if answer["exit_code"].as_i64().unwrap_or(0) == 0 => Ok(()),
            Ok(answer) => Err(answer.to_string()),
            Err(e) => Err(e),
        }
    };
    let ended: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let chosen = containers.iter().cycle().take(count);
        let all: Vec<_> = chosen.map(|container| scope.spawn(|| one(container))).collect();
        all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("panicked".into()))).collect()
    });
    let failed: Vec<&String> = ended.iter().filter_map(|one| one.as_ref().err()).collect();
    println!("{} of {count}", count - failed.len());
    failed.first().map_or(Ok(0), |e| Err((*e).clone()))
}

/// A process through the streaming server. On a terminal the size is 33 by 99.
fn follow(client: &Client, method: &str, options: &Options, mut request: Value) -> Result<u8, String> {
    let streams = json!({
        "tty": options.tty, "stdin": options.stdin, "stdout": true, "stderr": !options.tty,
    });
    merge(&mut request, streams);
    let answer = client.call(method, &request)?;
    let mut input = Vec::new();
    if options.stdin {
        std::io::stdin().read_to_end(&mut input).map_err(|e| format!("stdin: {e}"))?;
    }
    let url = answer["url"].as_str().unwrap_or_default();
    let size = options.tty.then_some((33, 99));
    let code = socket::stream(url, &input, size, std::io::stdout(), std::io::stderr())?;
    Ok(code.unwrap_or(0) as u8)
}

/// Removes the pods of a scenario with all that is in them.
fn cleanup(client: &Client, name: &str) -> Result<u8, String> {
    let mut failed = Ok(0);
    for pod in client.pods(None)? {
        let called = pod["metadata"]["name"].as_str().unwrap_or_default();
        if called != name && !called.starts_with(&format!("{name}-")) {
            continue;
        }
        let request = json!({ "pod_sandbox_id": pod["id"] });
        let removed =
            client.call("StopPodSandbox", &request).and_then(|_| client.call("RemovePodSandbox", &request));
        failed = failed.and(removed.map(|_| 0));
    }
    failed
}
