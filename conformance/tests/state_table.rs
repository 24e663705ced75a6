//! The table of states: every sequence of commands on one container answers as the state it has led to says, and leads
//! to the next one. `OXRUN_SEQUENCES` sets how long sequences are.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "states/table.rs"]
mod table;

use oxrun_conformance::harness::{Bundle, Config, Leaks, Sandbox, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use std::process::ExitCode;
use table::*;

const ID: &str = "c1";

/// One container, and what the table says that it is.
struct Model {
    s: Sandbox,
    bundle: Bundle,
    nothing: Leaks,
    state: State,
    pid: i32,
    calls: usize,
}

impl Model {
    fn new() -> Check<Self> {
        let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]))?;
        let nothing = s.leaks()?;
        Ok(Self { s, bundle, nothing, state: None, pid: 0, calls: 0 })
    }

    /// Gives a command and holds the answer and what `state` says against the table.
    fn give(&mut self, command: Command) -> Check {
        let rt = self.s.runtime();
        let output = match command {
            Create => rt.create(self.bundle.path(), ID)?,
            Start => rt.start(ID)?,
            Exec => rt.exec(ID, &["/bin/probe", "echo", "here"])?,
            Kill => rt.kill(ID, "KILL")?,
            Pause => rt.call(&["pause", ID])?,
            Resume => rt.call(&["resume", ID])?,
            Update => rt.call(&["update", "--pids-limit", "50", ID])?,
            Delete => rt.delete(ID)?,
            Force => rt.call(&["delete", "--force", ID])?,
        };
        self.calls += 1;
        let next = match table(self.state, command) {
            Ok(next) => {
                let output = output.success()?;
                if command == Exec {
                    check_eq!(output.stdout, "here\n", "output of exec");
                }
                next
            }
            Err(words) => {
                check!(output.code != 0 && output.says(words), "{output}\n  expected on stderr: {words:?}");
                self.state
            }
        };
        if command == Create && self.state == None {
            self.pid = rt.pid(ID)?;
        }
        if !matches!(self.state, Stopped | None) && matches!(next, Stopped | None) {
            rt.wait_for(self.pid)?;
        }
        self.state = next;
        self.look()
    }

    /// Whether `state` says what the table does; of no container nothing is left.
    fn look(&self) -> Check {
        let rt = self.s.runtime();
        if self.state == None {
            rt.call(&["state", ID])?.refused("does not exist")?;
            return self.nothing.assert_same();
        }
        let said = rt.state(ID)?;
        check_eq!(said["status"], status(self.state), "status");
        let pid = if self.state == Stopped { 0 } else { self.pid };
        check_eq!(said["pid"], pid, "pid");
        Ok(())
    }
}

/// Gives each command behind those that led here. A command that changes nothing leaves the container for the next one;
/// behind one that does, the way is gone again.
fn each(model: &mut Model, way: &mut Vec<Command>, length: usize) -> Check {
    let here = model.state;
    for command in COMMANDS {
        if model.state != here {
            again(model, way)?;
        }
        way.push(command);
        model.give(command).map_err(|failed| {
            let words = failed.message().unwrap_or_default();
            Failed::from(format!("{way:?}, the last one when it was {here:?}: {words}"))
        })?;
        if way.len() < length {
            each(model, way, length)?;
        }
        way.pop();
    }
    if model.state != here {
        again(model, way)?;
    }
    Ok(())
}

fn again(model: &mut Model, way: &[Command]) -> Check {
    if model.state != None {
        model.give(Force)?;
    }
    way.iter().try_for_each(|command| model.give(*command))
}

fn every_sequence_of_commands_does_what_the_table_says() -> Check {
    let length = std::env::var("OXRUN_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut model = Model::new()?;
    each(&mut model, &mut Vec::new(), length)?;
    println!("sequences of {length}: {} calls", model.calls);
    Ok(())
}

fn main() -> ExitCode {
    run(vec![oxrun_only(
        "every_sequence_of_commands_does_what_the_table_says",
        "others pause, kill and delete in other states",
        every_sequence_of_commands_does_what_the_table_says,
    )])
}
