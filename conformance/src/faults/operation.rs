//! The calls of the runtime that get faults, from which state of a container each starts, and where it leads.

use super::trace::{self, Fault, Place, Trace};
use crate::harness::{Bundle, Config, Leaks, Sandbox};
use crate::{Check, Failed};
use oxrun_core::plan::action::Action;
use oxrun_core::{CreateOptions, Lane};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The container of every cell.
pub(super) const ID: &str = "c";

/// In which state the container is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    None,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Before {
    /// The word of `state`, empty if there is no container.
    pub(super) fn status(self) -> &'static str {
        match self {
            Before::None => "",
            Before::Created => "created",
            Before::Running => "running",
            Before::Paused => "paused",
            Before::Stopped => "stopped",
        }
    }
}

/// What `exec` runs.
const EXEC: [&str; 2] = ["/bin/probe", "report"];

/// A call of the runtime.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) before: Before,
    /// What `state` says after it has succeeded; empty if there is no container.
    pub(super) after: &'static str,
    words: &'static [&'static str],
    /// The operation whose calls are not judged once more: of this one there are those that it alone makes.
    pub(super) like: Option<&'static str>,
    /// The program prints a report that shows whether the container is as it should be.
    pub(super) reports: bool,
}

/// `BUNDLE` stands for the bundle with the report, `FULL` for one with as much as there is: all lanes, hooks, limits.
pub(super) const ALL: &[Operation] = &[
    Operation {
        name: "create",
        before: Before::None,
        after: "created",
        words: &["create", "--bundle", "BUNDLE", ID],
        like: None,
        reports: true,
    },
    Operation {
        name: "start",
        before: Before::Created,
        after: "running",
        words: &["start", ID],
        like: None,
        reports: false,
    },
    Operation {
        name: "run",
        before: Before::None,
        after: "",
        words: &["run", "--bundle", "BUNDLE", ID],
        like: None,
        reports: true,
    },
    Operation {
        name: "run in full",
        before: Before::None,
        after: "",
        words: &["run", "--bundle", "FULL", ID],
        like: Some("run"),
        reports: true,
    },
    Operation {
        name: "exec",
        before: Before::Running,
        after: "running",
        words: &["exec", ID, EXEC[0], EXEC[1]],
        like: None,
        reports: true,
    },
    Operation {
        name: "kill",
        before: Before::Running,
        after: "stopped",
        words: &["kill", ID, "KILL"],
        like: None,
        reports: false,
    },
    Operation {
        name: "pause",
        before: Before::Running,
        after: "paused",
        words: &["pause", ID],
        like: None,
        reports: false,
    },
    Operation {
        name: "resume",
        before: Before::Paused,
        after: "running",
        words: &["resume", ID],
        like: None,
        reports: false,
    },
    Operation {
        name: "update",
        before: Before::Running,
        after: "running",
        words: &["update", "--pids-limit", "77", "--cpu-share", "512", ID],
        like: None,
        reports: false,
    },
    Operation {
        name: "state",
        before: Before::Running,
        after: "running",
        words: &["state", ID],
        like: None,
        reports: true,
    },
    Operation {
        name: "list",
        before: Before::Running,
        after: "running",
        words: &["list", "--format", "json"],
        like: None,
        reports: true,
    },
    Operation {
        name: "ps",
        before: Before::Running,
        after: "running",
        words: &["ps", "--format", "json", ID],
        like: None,
        reports: true,
    },
    Operation {
        name: "events",
        before: Before::Running,
        after: "running",
        words: &["events", "--stats", ID],
        like: None,
        reports: true,
    },
    Operation {
        name: "delete",
        before: Before::Stopped,
        after: "",
        words: &["delete", ID],
        like: None,
        reports: false,
    },
    Operation {
        name: "delete --force",
        before: Before::Running,
        after: "",
        words: &["delete", "--force", ID],
        like: None,
        reports: false,
    },
];

impl Operation {
    /// Whether the container is the same afterwards, so that the next cell may have it.
    pub(super) fn keeps(&self) -> bool {
        self.after == self.before.status()
    }

    /// Whether it removes what a container had: what remains after a fault is removed by the next call.
    pub(super) fn cleans(&self) -> bool {
        self.after.is_empty()
    }
}

/// The steps of a plan, by number.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Those that init carries out as long as the operation lasts.
    pub(super) of_init: Vec<u32>,
    /// Those of the host, each with what the name of its first call begins with, if that is known.
    pub(super) of_host: Vec<(u32, Option<String>)>,
    /// The one in which init says that it is set up, where the runtime may end then. The others come with `start`.
    pub(super) last: Option<u32>,
    /// In words, the first of them a heading.
    pub(super) words: Vec<String>,
}

/// What the name of the first call of a step on the host begins with, where no other step's has the same before.
fn first_call(action: &Action) -> Option<String> {
    let name = match action {
        Action::CgroupCreate { .. } => "mkdir CGROUP",
        Action::CgroupWrite { file, .. } => {
            return Some(format!("openat {}", file.file_name()?.to_string_lossy()));
        }
        Action::DevicesV1 { .. } => "openat devices.",
        Action::DevicesV2 { .. } => "bpf",
        Action::Spawn { .. } => "socketpair",
        // The process that is spawned, if its creator makes the container's itself.
        Action::Clone { .. } => "clone3",
        Action::MapIds { .. } => "openat uid_map",
        Action::CloneRoot { .. } | Action::CloneSource { .. } => "open_tree",
        Action::Hook(_) => "memfd_create oxrun-hook",
        Action::Rlimit { resource, .. } => return Some(format!("prlimit64 {resource}")),
        _ => return None,
    };
    Some(name.to_owned())
}

/// A config with steps in every lane, hooks of every kind, limits, and the profile of an engine.
fn full(s: &Sandbox) -> Check<Config> {
    let engine = include_str!("../../data/corpus/docker28-run-fg.config.json");
    let profile = Config::parse(engine)?.get("/linux/seccomp").clone();
    let data = s.make_dir("data")?;
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mut config = Config::new(&["/bin/probe", "report"])
        .namespace("user", None)
        .set("/linux/uidMappings", ids.clone())
        .set("/linux/gidMappings", ids)
        .set("/linux/seccomp", profile)
        .set("/linux/resources/pids", json!({ "limit": 77 }))
        .set("/linux/resources/memory", json!({ "limit": 268_435_456 }))
        .set("/linux/resources/cpu", json!({ "shares": 512 }))
        .mount("bind", &data, "/mnt", &["rbind"]);
    for name in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let inside = name == "startContainer";
        let path = if inside { Path::new("/bin/probe") } else { s.probe() };
        let hook = json!({ "path": path, "args": ["probe", "exit", "0"], "timeout": 10 });
        config = config.push(&format!("/hooks/{name}"), hook);
    }
    Ok(config)
}

/// The place where cells are tried.
pub(super) struct Bench {
    pub(super) s: Sandbox,
    sleeps: Bundle,
    reports: Bundle,
    full: Bundle,
    pub(super) nothing: Leaks,
    /// A container that is there from the cell before, and the host with it.
    kept: RefCell<Option<(i32, Leaks)>>,
}

impl Bench {
    pub(super) fn new(probe: &Path, runtime: &Path) -> Check<Self> {
        let s = Sandbox::with_runtime(probe, runtime)?;
        let sleeps = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
        let reports = s.bundle(&Config::new(&["/bin/probe", "report"]))?;
        let full = s.bundle(&full(&s)?)?;
        // The state root itself stays, and the filter of the large profile in it.
        s.runtime().create(full.path(), ID)?.success()?;
        s.runtime().call(&["delete", "--force", ID])?.success()?;
        let nothing = s.leaks()?;
        Ok(Self { s, sleeps, reports, full, nothing, kept: RefCell::new(None) })
    }

    /// Brings the container into a state; its first process.
    pub(super) fn prepare(&self, before: Before) -> Check<Option<i32>> {
        if let Some((pid, _)) = &*self.kept.borrow() {
            return Ok(Some(*pid));
        }
        let runtime = self.s.runtime();
        match before {
            Before::None => return Ok(None),
            Before::Created => drop(runtime.create(self.sleeps.path(), ID)?.success()?),
            _ => drop(runtime.start_ready(self.sleeps.path(), ID)?),
        }
        let pid = runtime.pid(ID)?;
        match before {
            Before::Paused => drop(runtime.call(&["pause", ID])?.success()?),
            Before::Stopped => {
                runtime.kill(ID, "KILL")?.success()?;
                runtime.wait_for(pid)?;
            }
            _ => {}
        }
        Ok(Some(pid))
    }

    fn command(&self, operation: &Operation) -> Command {
        let mut command = self.s.runtime().command();
        command.args(operation.words.iter().map(|word| match *word {
            "BUNDLE" => self.reports.path().as_os_str().to_owned(),
            "FULL" => self.full.path().as_os_str().to_owned(),
            word => OsString::from(word),
        }));
        command
    }

    /// The steps of the operation's plan.
    pub(super) fn steps(&self, operation: &Operation) -> Check<Steps> {
        let runtime = oxrun_core::Runtime::new(self.s.runtime().root());
        let plan = match operation.name {
            "create" | "run" | "run in full" => {
                let full = operation.words.contains(&"FULL");
                let bundle = if full { &self.full } else { &self.reports };
                let bundle = oxrun_core::Bundle::open(bundle.path())?;
                runtime.plan(ID, &bundle, &CreateOptions::default())?
            }
            "exec" => {
                self.prepare(operation.before)?;
                let container = runtime.open(ID)?;
                let mut process = runtime.process_of(&container)?;
                process.set_args(Some(EXEC.map(str::to_owned).to_vec()));
                let plan = runtime.plan_exec(&container, &process, &CreateOptions::default())?;
                self.clean()?;
                plan
            }
            _ => return Ok(Steps::default()),
        };
        let created = plan.steps.iter().position(|step| step.action == Action::Created);
        let created = created.filter(|_| operation.name == "create");
        let mut steps =
            Steps { last: created.map(|at| u32::try_from(at + 1)).transpose()?, ..Steps::default() };
        steps.words = plan.to_string().lines().map(str::to_owned).collect();
        // The root that the host has cloned was received with what came before: nothing is called for it.
        let cloned = plan.steps.iter().any(|step| matches!(step.action, Action::CloneRoot { .. }));
        for (step, number) in plan.steps.iter().take(created.unwrap_or(plan.steps.len())).zip(1..) {
            match step.lane {
                _ if cloned && matches!(step.action, Action::Root { .. }) => {}
                _ if matches!(step.action, Action::Clone { .. }) => {
                    steps.of_host.push((number, first_call(&step.action)));
                }
                Lane::Join | Lane::Init => steps.of_init.push(number),
                _ => steps.of_host.push((number, first_call(&step.action))),
            }
        }
        Ok(steps)
    }

    /// Calls the runtime once, with a fault or without.
    pub(super) fn call(&self, operation: &Operation, fault: Option<(&Place, Fault)>) -> Check<Trace> {
        trace::run(self.command(operation), self.s.dir(), fault)
    }

    /// What `state` says; empty if there is no container.
    pub(super) fn status(&self) -> Check<String> {
        let output = self.s.runtime().call(&["state", ID])?;
        if output.code == 0 {
            return Ok(output.json()?["status"].as_str().unwrap_or_default().to_owned());
        }
        if output.says("does not exist") {
            return Ok(String::new());
        }
        Err(Failed::from(format!("{output}\n  expected a state, or none")))
    }

    /// Starts a created container and returns what its program reports.
    pub(super) fn start_and_report(&self) -> Check<Value> {
        let pid = self.s.runtime().pid(ID)?;
        self.s.runtime().start(ID)?.success()?;
        self.s.runtime().wait_for(pid)?;
        let text = std::fs::read_to_string(self.s.dir().join("followed.out"))?;
        self.document(&text)
    }

    /// What was printed, with one name for the place of every bench.
    pub(super) fn document(&self, text: &str) -> Check<Value> {
        let text = text.replace(self.s.cgroup_prefix(), "NAME.");
        serde_json::from_str(&text).map_err(|e| Failed::from(format!("no report: {e}: {text:?}")))
    }

    /// Behind a cell: lets an operation that keeps its container have the same again, else removes it.
    pub(super) fn end(&self, operation: &Operation, pid: Option<i32>) -> Check {
        while let Ok(Some(_)) = crate::sys::reap(-1) {}
        match (pid, operation.keeps()) {
            (Some(pid), true) => {
                let with = self.s.leaks()?;
                let before = self.kept.replace(Some((pid, with)));
                before.map_or(Ok(()), |(_, leaks)| leaks.assert_same())
            }
            _ => self.clean(),
        }
    }

    /// Waits until nobody is left in the container's cgroups but its first process. Who was made when the runtime was
    /// killed may be unknown, and ends by itself as soon as it is rid of the stop that every followed task begins with.
    pub(super) fn settle(&self) -> Check {
        for _ in 0..1000 {
            while let Ok(Some(_)) = crate::sys::reap(-1) {}
            let left = crate::harness::Host::processes_in(self.s.cgroup_prefix())?;
            if left.len() <= 1 {
                return Ok(());
            }
            for pid in left {
                let _ = crate::sys::kill(pid, libc::SIGCONT);
            }
            crate::sys::poll(&[], Duration::from_millis(5))?;
        }
        Err(Failed::from("a task of the runtime lives on"))
    }

    /// Removes the container, whatever it is, without a fault; then nothing may be left.
    pub(super) fn clean(&self) -> Check {
        self.kept.replace(None);
        // A zombie of exec keeps its pid namespace, and thereby the container, alive.
        while let Ok(Some(_)) = crate::sys::reap(-1) {}
        self.s.runtime().call(&["delete", "--force", ID])?.success()?;
        while let Ok(Some(_)) = crate::sys::reap(-1) {}
        self.nothing.assert_same()
    }
}
