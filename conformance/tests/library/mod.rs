//! Containers made through the library, from a plan that a test may change in between. Whatever a
//! changed plan does, no container of it is left when the test goes on.
#![allow(dead_code)] // each test program uses a part

use oxrun_conformance::harness::{Bundle, Config, Sandbox};
use oxrun_conformance::{Check, Failed};
use oxrun_core::plan::Step;
use oxrun_core::plan::action::Action;
use oxrun_core::{Container, CreateOptions, Error, ExitStatus, Plan, Runtime, Stdio, Stream};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;

/// Why a test of the library is left out when another runtime is to be tested.
pub(crate) const WHY: &str = "the library is oxrun's";

/// The program that does nothing.
pub(crate) const EXIT: &[&str] = &["/bin/probe", "exit", "0"];

pub(crate) fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// The library with the sandbox's state root.
pub(crate) fn runtime(s: &Sandbox) -> Runtime {
    Runtime::new(s.runtime().root())
}

/// Plans the container of a bundle.
pub(crate) fn plan(s: &Sandbox, bundle: &Bundle) -> Check<Plan> {
    let bundle = oxrun_core::Bundle::open(bundle.path())?;
    Ok(runtime(s).plan("c1", &bundle, &CreateOptions::default())?)
}

/// Plans the container of a configuration.
pub(crate) fn plan_of(s: &Sandbox, config: &Config) -> Check<Plan> {
    plan(s, &s.bundle(config)?)
}

/// A container that is deleted with its handle.
pub(crate) struct Held {
    container: Option<Container>,
    output: PathBuf,
}

impl Held {
    /// Creates the container of a plan; its output goes to a file.
    pub(crate) fn create(s: &Sandbox, plan: &Plan) -> Check<Result<Held, Error>> {
        let output = s.dir().join("output");
        let file = File::create(&output)?;
        let stdio = Stdio {
            stdin: Stream::Null,
            stdout: Stream::Fd(file.try_clone()?.into()),
            stderr: Stream::Fd(file.into()),
        };
        Ok(runtime(s).create(plan, stdio).map(|container| Held { container: Some(container), output }))
    }

    pub(crate) fn container(&self) -> Check<&Container> {
        let there = self.container.as_ref();
        there.ok_or_else(|| Failed::from("the container was deleted"))
    }

    /// The pid of its process.
    pub(crate) fn pid(&self) -> Check<u32> {
        Ok(self.container()?.pid())
    }

    /// Starts the program and waits for its end.
    pub(crate) fn run(&self) -> Check<Result<ExitStatus, Error>> {
        let container = self.container()?;
        Ok(container.start().and_then(|()| container.wait()))
    }

    /// What the program printed.
    pub(crate) fn output(&self) -> Check<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.output)?).into_owned())
    }

    /// Deletes the container.
    pub(crate) fn delete(mut self) -> Check {
        if let Some(container) = self.container.take() {
            container.delete(true)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            // What this leaves behind the sandbox reports.
            let _ = container.delete(true);
        }
    }
}

/// Creates, runs and deletes the container of a plan, which all must succeed. Returns its output.
pub(crate) fn output_of(s: &Sandbox, plan: &Plan) -> Check<String> {
    let held = Held::create(s, plan)??;
    let status = held.run()??;
    let output = held.output()?;
    held.delete()?;
    if status != ExitStatus::Exited(0) {
        return Err(Failed::from(format!("the program ended with {status:?} and said {output:?}")));
    }
    Ok(output)
}

/// The same for a program that prints a report.
pub(crate) fn report_of(s: &Sandbox, plan: &Plan) -> Check<Value> {
    let output = output_of(s, plan)?;
    serde_json::from_str(&output).map_err(|e| Failed::from(format!("no report: {e}: {output:?}")))
}

/// The error of a plan that must not lead to a created container.
pub(crate) fn refusal_of(s: &Sandbox, plan: &Plan) -> Check<Error> {
    match Held::create(s, plan)? {
        Err(error) => Ok(error),
        Ok(held) => {
            held.delete()?;
            Err(Failed::from("a container was created"))
        }
    }
}

/// Where the only step is that `is` accepts.
pub(crate) fn position(plan: &Plan, is: impl Fn(&Step) -> bool) -> Check<usize> {
    let mut all = plan.steps.iter().enumerate().filter(|(_, step)| is(step));
    match (all.next(), all.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => Err(Failed::from(format!("the plan has no such step:\n{plan}"))),
        _ => Err(Failed::from(format!("the plan has several such steps:\n{plan}"))),
    }
}

/// The action of that step, to be changed.
pub(crate) fn action(plan: &mut Plan, is: impl Fn(&Action) -> bool) -> Check<&mut Action> {
    let at = position(plan, |step| is(&step.action))?;
    Ok(&mut plan.steps[at].action)
}

/// Takes the step away.
pub(crate) fn take(plan: &mut Plan, is: impl Fn(&Action) -> bool) -> Check<Step> {
    let at = position(plan, |step| is(&step.action))?;
    Ok(plan.steps.remove(at))
}

/// Moves the step that `is` accepts to just before the one that `before` accepts.
pub(crate) fn move_before(
    plan: &mut Plan,
    is: impl Fn(&Action) -> bool,
    before: impl Fn(&Action) -> bool,
) -> Check {
    let step = take(plan, is)?;
    let at = position(plan, |step| before(&step.action))?;
    plan.steps.insert(at, step);
    Ok(())
}

/// Moves it to just after.
pub(crate) fn move_after(
    plan: &mut Plan,
    is: impl Fn(&Action) -> bool,
    after: impl Fn(&Action) -> bool,
) -> Check {
    let step = take(plan, is)?;
    let at = position(plan, |step| after(&step.action))?;
    plan.steps.insert(at + 1, step);
    Ok(())
}

/// Whether a step mounts a new filesystem at `destination`.
pub(crate) fn mounts_at(destination: &'static str) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Mount(m) if m.destination.as_os_str() == destination)
}

/// Whether a step binds a tree at `destination`.
pub(crate) fn binds_at(destination: &'static str) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Bind(b) if b.destination.as_os_str() == destination)
}
