//! A case: one requirement of the specification, what is configured for it, and what must then be seen.
//!
//! Most cases are data: a change of the default config with what the program inside reports, or a fault with
//! which no container may come to be. From the same data follows the broken runtime that the case has to
//! notice: one that reads the default where the change is, or that does not see the fault.

use super::broken::Broken;
use super::seen::{Fact, with_mounts};
use crate::harness::{Bundle, Config, Output, Sandbox};
use crate::{Check, Failed, check, check_eq};
use serde_json::Value;
use std::any::Any;

/// How strongly the specification asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Must,
    Should,
}

impl Level {
    /// The word of RFC 2119.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}

/// A value at a place of the config; none is no value there.
pub(super) type Change = (String, Option<Value>);

/// Something of the host that lasts as long as the case.
pub(super) type Held = Box<dyn Any>;

type Prepare = Box<dyn Fn(&Sandbox, &Bundle) -> Check>;
type Hold = Box<dyn Fn(&Sandbox) -> Check<(Held, Vec<Change>)>>;

/// What must be seen.
enum Expect {
    /// A container runs and its program reports these facts.
    Report(Vec<Fact>),
    /// `create` fails because of the fault and leaves nothing.
    Refused,
    /// The container runs to its end.
    Runs,
    /// Whatever the function asks for.
    Body(Box<dyn Fn(&Scene) -> Check>),
}

/// One case.
pub(super) struct Case {
    /// What it is called: words with slashes between, unique.
    pub(super) name: String,
    /// Document and section of the specification.
    pub(super) place: &'static str,
    pub(super) level: Level,
    /// What must hold, in a sentence.
    pub(super) rule: String,
    /// Why this host cannot show it.
    pub(super) missing: Option<String>,
    base: Config,
    changes: Vec<Change>,
    faults: Vec<Change>,
    prepare: Option<Prepare>,
    hold: Option<Hold>,
    expect: Expect,
    broken: Option<Broken>,
}

/// What a case's own function works with.
pub(super) struct Scene<'a> {
    pub(super) s: &'a Sandbox,
    case: &'a Case,
    held: Vec<Change>,
}

impl Case {
    /// A case that runs a container with the default config and expects nothing yet.
    pub(super) fn new(place: &'static str, level: Level, name: &str, rule: &str) -> Self {
        Self {
            name: name.to_owned(),
            place,
            level,
            rule: rule.to_owned(),
            missing: None,
            base: Config::new(&["/bin/probe", "report"]),
            changes: Vec::new(),
            faults: Vec::new(),
            prepare: None,
            hold: None,
            expect: Expect::Runs,
            broken: None,
        }
    }

    /// Starts from another config.
    pub(super) fn base(mut self, base: Config) -> Self {
        self.base = base;
        self
    }

    /// Adds words to the program's, which are `/bin/probe report`.
    pub(super) fn args(mut self, words: &[&str]) -> Self {
        for word in words {
            self.base = self.base.push("/process/args", *word);
        }
        self
    }

    /// Sets a value; `-` at the end of the pointer appends to an array. `{dir}` in a text is the case's
    /// directory on the host.
    pub(super) fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let pointer = self.place_of(pointer);
        self.changes.push((pointer, Some(value.into())));
        self
    }

    /// Takes a value away.
    pub(super) fn without(mut self, pointer: &str) -> Self {
        self.changes.push((pointer.to_owned(), None));
        self
    }

    /// What is wrong with the config, so that no container may come to be.
    pub(super) fn fault(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let pointer = self.place_of(pointer);
        self.faults.push((pointer, Some(value.into())));
        self.expect = Expect::Refused;
        self
    }

    /// What the config lacks, so that no container may come to be.
    pub(super) fn lacking(mut self, pointer: &str) -> Self {
        self.faults.push((pointer.to_owned(), None));
        self.expect = Expect::Refused;
        self
    }

    /// The program inside reports this.
    pub(super) fn sees(mut self, fact: Fact) -> Self {
        match &mut self.expect {
            Expect::Report(facts) => facts.push(fact),
            other => *other = Expect::Report(vec![fact]),
        }
        self
    }

    /// What must be seen is in a function.
    pub(super) fn body(mut self, body: impl Fn(&Scene) -> Check + 'static) -> Self {
        self.expect = Expect::Body(Box::new(body));
        self
    }

    /// Changes the bundle before the runtime sees it.
    pub(super) fn prepare(mut self, prepare: impl Fn(&Sandbox, &Bundle) -> Check + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Makes something on the host that lasts until the case is over, and says what the config has of it.
    pub(super) fn hold(mut self, hold: impl Fn(&Sandbox) -> Check<(Held, Vec<Change>)> + 'static) -> Self {
        self.hold = Some(Box::new(hold));
        self
    }

    /// Skips the case while there is a reason.
    pub(super) fn unless(mut self, reason: Option<String>) -> Self {
        self.missing = self.missing.or(reason);
        self
    }

    /// Names the broken runtime that has to be noticed, where the data of the case do not.
    pub(super) fn noticing(mut self, broken: Broken) -> Self {
        self.broken = Some(broken);
        self
    }

    /// The broken runtime that this case has to notice.
    pub(super) fn broken(&self) -> Option<Broken> {
        if let Some(broken) = &self.broken {
            return Some(broken.clone());
        }
        let (from, changes) = match self.expect {
            Expect::Refused => (self.good(), &self.faults),
            _ => (self.base.clone(), &self.changes),
        };
        let back = |(pointer, _): &Change| -> Change {
            let old = from.get("").pointer(pointer);
            (pointer.clone(), old.cloned())
        };
        // The last change first: what was appended last is taken away first.
        let patch: Vec<Change> = changes.iter().rev().map(back).collect();
        (!patch.is_empty()).then_some(Broken::Reads(patch))
    }

    fn place_of(&self, pointer: &str) -> String {
        let Some(list) = pointer.strip_suffix("/-") else {
            return pointer.to_owned();
        };
        let all = self.good();
        let all = self.faults.iter().fold(all, apply);
        format!("{list}/{}", all.get(list).as_array().map_or(0, Vec::len))
    }

    fn good(&self) -> Config {
        self.changes.iter().fold(self.base.clone(), apply)
    }

    /// Carries the case out.
    pub(super) fn run(&self, s: &Sandbox) -> Check {
        let (guard, held) = match &self.hold {
            Some(hold) => hold(s)?,
            None => (Box::new(()) as Held, Vec::new()),
        };
        let scene = Scene { s, case: self, held };
        let done = match &self.expect {
            Expect::Report(facts) => {
                scene.report().and_then(|report| facts.iter().try_for_each(|fact| fact.holds(&report)))
            }
            Expect::Refused => scene.refused(),
            Expect::Runs => scene.run().map(drop),
            Expect::Body(body) => body(&scene),
        };
        drop(guard);
        done
    }
}

fn apply(config: Config, (pointer, value): &Change) -> Config {
    match value {
        Some(value) => config.set(pointer, value.clone()),
        None => config.remove(pointer),
    }
}

impl Scene<'_> {
    /// The config of the case, without the fault.
    pub(super) fn config(&self) -> Config {
        self.held.iter().fold(self.case.good(), apply)
    }

    /// A bundle with a config, prepared as the case says.
    pub(super) fn bundle_of(&self, config: &Config) -> Check<Bundle> {
        let text = config.text().replace("{dir}", &self.s.dir().to_string_lossy());
        let bundle = self.s.bundle(&Config::parse(&text)?)?;
        if let Some(prepare) = &self.case.prepare {
            prepare(self.s, &bundle)?;
        }
        Ok(bundle)
    }

    /// The bundle of the case.
    pub(super) fn bundle(&self) -> Check<Bundle> {
        self.bundle_of(&self.config())
    }

    /// The same with another program.
    pub(super) fn bundle_with(&self, args: &[&str]) -> Check<Bundle> {
        self.bundle_of(&self.config().args(args))
    }

    /// Runs the container to its end, which must be 0.
    pub(super) fn run(&self) -> Check<Output> {
        self.s.runtime().run(self.bundle()?.path(), "c1")?.success()
    }

    /// What the program reports.
    pub(super) fn report(&self) -> Check<Value> {
        Ok(with_mounts(self.run()?.json()?))
    }

    /// Makes the container `c1` and waits for its program, which then sleeps. Returns its pid.
    pub(super) fn sleeper(&self) -> Check<i32> {
        self.s.runtime().start_ready(self.bundle_with(&["/bin/probe", "sleep"])?.path(), "c1")
    }

    /// Without the fault a container comes to be; with it none does, and nothing is left of the attempt.
    fn refused(&self) -> Check {
        let rt = self.s.runtime();
        rt.create(self.bundle()?.path(), "good")?.success()?;
        rt.call(&["delete", "--force", "good"])?.success()?;
        let bad = self.case.faults.iter().fold(self.config(), apply);
        fails(&rt.create(self.bundle_of(&bad)?.path(), "bad")?)?;
        let before = rt.call(&["state", "bad"])?;
        check!(before.code != 0, "there is a container:\n{before}");
        Ok(())
    }
}

/// The runtime has ended with an error of its own.
pub(super) fn fails(output: &Output) -> Check {
    check!(output.code != 0, "no error:\n{output}");
    check!(output.code < 128 || output.code == 255, "the runtime was killed:\n{output}");
    check!(!output.stderr.trim().is_empty(), "an error without a word:\n{output}");
    Ok(())
}

/// Fails unless a container has this status; a text, since the runtime may be anybody's.
pub(super) fn status(s: &Sandbox, id: &str, wanted: &str) -> Check {
    let state = s.runtime().state(id)?;
    check_eq!(state["status"], wanted, "status of {id}");
    Ok(())
}

/// An error for something that a runtime should have said.
pub(super) fn lacks(what: &str, value: &Value) -> Failed {
    Failed::from(format!("no {what} in {value:#}"))
}
