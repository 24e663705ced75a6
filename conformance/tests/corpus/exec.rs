//! Recorded processes, each executed in a running container of the same engine.

use super::compare::{Difference, process_differences};
use super::run::{self, Console};
use super::stage::{ID, Stage};
use super::standin;
use super::{documents, is_rootless};
use oxrun_conformance::harness::Output;
use oxrun_conformance::{Check, Failed, check_eq};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The config of the container in which a process is executed.
const CONTAINERS: [(&str, &str); 7] = [
    ("containerd16", "containerd16-run-fg"),
    ("cri16", "cri16-container"),
    ("docker20-usernsremap", "docker20-usernsremap-run"),
    ("docker20", "docker20-run-fg"),
    ("docker28", "docker28-run-fg"),
    ("podman43-rootless", "podman43-rootless-run"),
    ("podman43", "podman43-run-fg"),
];

/// The config for a process.
pub(crate) fn container(name: &str) -> String {
    let found = CONTAINERS.iter().find(|(engine, _)| name.starts_with(engine));
    format!("{}.config.json", found.map_or("", |(_, config)| config))
}

/// A running container for a recorded process.
pub(crate) struct Running {
    stage: Stage,
    pid: i32,
    process: Value,
}

impl Running {
    pub(crate) fn for_process(name: &str) -> Check<Self> {
        let config = container(name);
        let mut stage = Stage::new(&documents::read(&config)?, is_rootless(&config))?;
        stage.program(&["/bin/probe", "sleep"].map(str::to_owned))?;
        let pid = stage.sandbox.runtime().start_ready(stage.bundle.path(), ID)?;
        Ok(Self { stage, pid, process: documents::read(name)? })
    }

    /// `exec` as engines call it. Returns its output and the pid if it succeeded.
    fn exec(&self, console: Option<&Console>) -> Check<(Output, Option<i32>)> {
        let rt = self.stage.sandbox.runtime();
        let file = self.stage.sandbox.make_file("process.json", &self.process.to_string())?;
        let pid_file = self.stage.sandbox.dir().join("exec.pid");
        let (file, at) = (file.to_string_lossy(), pid_file.to_string_lossy());
        let mut words = vec!["exec", "--process", &file, "--detach", "--pid-file", &at];
        if let Some(console) = console {
            words.extend(["--console-socket", &console.path]);
        }
        words.push(ID);
        let output = rt.call(&words)?;
        let pid = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
        Ok((output, pid))
    }

    /// Executes the process with the probe as its program. Returns the document that it is compared with, and
    /// what was seen.
    fn report(&mut self) -> Check<(Value, Value)> {
        let questions = run::calls();
        let words = [vec!["/bin/probe".to_owned(), "report".to_owned()], questions.clone()].concat();
        self.process["args"] = json!(words);
        let terminal = self.process["terminal"] == true;
        let console =
            if terminal { Some(Console::new(&self.stage.sandbox.dir().join("console"))?) } else { None };
        let (output, pid) = self.exec(console.as_ref())?;
        let output = output.success()?;
        let on_terminal = console.map(|console| run::drain(console.master()?)).transpose()?;
        let pid = pid.ok_or("no pid in the file")?;
        check_eq!(self.stage.sandbox.runtime().wait_for(pid)?, Some(0), "exit code of the program");
        let said =
            on_terminal.map_or_else(|| fs::read_to_string(&output.stdout_file).map_err(Failed::from), Ok)?;
        let report: Value =
            serde_json::from_str(&said).map_err(|e| Failed::from(format!("{e} in {said:?}")))?;
        let document = json!({ "process": self.process, "linux": self.stage.document["linux"] });
        let seen = json!({
            "report": report,
            "host": run::host_report(&self.stage, &questions)?,
            "warnings": output.stderr.lines().collect::<Vec<_>>(),
            "inside a user namespace": self.stage.is_rootless(),
        });
        Ok((document, seen))
    }

    /// The namespaces and the cgroups of the container's first process, as the kernel shows them.
    fn first_process(&self) -> Check<Value> {
        let directory = Path::new("/proc").join(self.pid.to_string());
        let mut namespaces = Map::new();
        for entry in fs::read_dir(directory.join("ns"))? {
            let entry = entry?;
            let link = fs::read_link(entry.path())?.to_string_lossy().into_owned();
            namespaces.insert(entry.file_name().to_string_lossy().into_owned(), json!(link));
        }
        let cgroup = fs::read_to_string(directory.join("cgroup"))?;
        Ok(json!([namespaces, cgroup.lines().collect::<Vec<_>>()]))
    }
}

/// What differs of a process that runs.
pub(crate) fn differences(name: &str, change: impl FnOnce(&mut Value)) -> Check<Vec<Difference>> {
    let mut running = Running::for_process(name)?;
    let (mut document, seen) = running.report()?;
    let report = &seen["report"];
    let found = json!([report["namespaces"], report["cgroup"]]);
    check_eq!(found, running.first_process()?, "namespaces and cgroups");
    change(&mut document);
    Ok(process_differences(&document, &seen))
}

/// A process whose program is not there, or whose directory: exit code 255 and the words that engines look for.
pub(crate) fn refused(name: &str) -> Check {
    let mut running = Running::for_process(name)?;
    let words = if name.contains("badwd") {
        running.process["args"] = json!(["/bin/probe", "exit", "0"]);
        let directory = standin::text(&running.process["cwd"]);
        format!("chdir to cwd ({directory:?}) set in config.json failed: no such file or directory")
    } else {
        let program = standin::text(&running.process["args"][0]);
        format!("exec: {program:?}: executable file not found in $PATH")
    };
    let (output, _) = running.exec(None)?;
    let output = output.exits(255)?;
    if output.says(&words) && output.says("exec failed: ") {
        return Ok(());
    }
    Err(Failed::from(format!("{output}\n  expected on stderr: {words:?}")))
}
