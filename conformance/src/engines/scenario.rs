//! A scenario is a list of commands with what must come out of each, whatever the runtime, so that
//! two runtimes which fail alike do not pass. On top of that both sides' results are compared.

use serde::{Deserialize, Serialize};

use super::command::{Act, Turn};

/// One thing that a user does with the engine.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) steps: &'static [Step],
}

impl Scenario {
    /// An entry of the tables.
    pub(super) const fn named(name: &'static str, steps: &'static [Step]) -> Self {
        Self { name, steps }
    }
}

/// How a step is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The engine's command line without a terminal, with this on stdin.
    Engine(&'static str),
    /// The engine's command line on a pseudo terminal, and what the user does there.
    Terminal(&'static [Turn]),
    /// The engine's command line, again until it succeeds and the text appears.
    Until,
    /// A shell command beside the engine.
    Host,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// The expected exit code.
    pub(super) code: i32,
    /// Text that stdout or stderr must contain.
    pub(super) has: &'static str,
    /// The arguments; see `play::Player::fill` for what stands in braces.
    pub(super) line: &'static str,
    pub(super) compare: Compare,
}

/// How much of two outputs is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    All,
    /// Numbers differ from run to run.
    NoNumbers,
    /// The text differs from run to run, whatever the runtime.
    Nothing,
}

impl Step {
    /// The same step with all numbers left out of the comparison.
    pub(super) const fn any_number(self) -> Self {
        Self { compare: Compare::NoNumbers, ..self }
    }

    /// The same step with nothing but the expectations of its own.
    pub(super) const fn any_text(self) -> Self {
        Self { compare: Compare::Nothing, ..self }
    }
}

const fn step(kind: Kind, code: i32, has: &'static str, line: &'static str) -> Step {
    Step { kind, code, has, line, compare: Compare::All }
}

/// The engine's command line must exit with `code` and print `has`.
pub(super) const fn cli(code: i32, has: &'static str, line: &'static str) -> Step {
    step(Kind::Engine(""), code, has, line)
}

/// The same with text on stdin.
pub(super) const fn given(input: &'static str, code: i32, has: &'static str, line: &'static str) -> Step {
    step(Kind::Engine(input), code, has, line)
}

/// On a pseudo terminal that nobody types on.
pub(super) const fn tty(code: i32, has: &'static str, line: &'static str) -> Step {
    step(Kind::Terminal(&[]), code, has, line)
}

/// On a pseudo terminal with a user. A container that waits for a line before its end has all its
/// output read: ctr can lose the last output of a terminal whose container has ended.
pub(super) const fn talk(turns: &'static [Turn], code: i32, has: &'static str, line: &'static str) -> Step {
    step(Kind::Terminal(turns), code, has, line)
}

/// Types `text` when `after` has come.
pub(super) const fn types(after: &'static str, text: &'static str) -> Turn {
    Turn { after, act: Act::Type(text) }
}

/// Gives the terminal another size when `after` has come.
pub(super) const fn resizes(after: &'static str, rows: u16, columns: u16) -> Turn {
    Turn { after, act: Act::Resize(rows, columns) }
}

/// Ends a program that has printed `ready` and reads a line.
pub(super) const ENTER: &[Turn] = &[types("ready", "\n")];

/// The command is repeated until it succeeds and prints `has`.
pub(super) const fn until(has: &'static str, line: &'static str) -> Step {
    step(Kind::Until, 0, has, line)
}

/// A shell command must succeed and print `has`.
pub(super) const fn host(has: &'static str, line: &'static str) -> Step {
    step(Kind::Host, 0, has, line)
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    Passed,
    Failed,
}

/// What is printed of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) verdict: Verdict,
    /// Calls of the runtime under test.
    pub(super) calls: usize,
    /// Lines below the scenario's own.
    pub(super) notes: Vec<String>,
    /// The differences of the table that showed.
    pub(super) shown: Vec<usize>,
}

impl Report {
    /// A failure outside the comparison.
    pub(super) fn failed(name: &str, note: String) -> Self {
        Self { name: name.into(), verdict: Verdict::Failed, calls: 0, notes: vec![note], shown: vec![] }
    }
}

/// What both sides came to; decides the verdict.
pub(super) struct Outcome {
    /// What went wrong with the reference: then nothing can be said of the other.
    pub(super) reference: Vec<String>,
    /// What went wrong with the runtime under test.
    pub(super) tested: Vec<String>,
    /// Where the two differ, beside what the table lists.
    pub(super) differences: Vec<String>,
    /// The differences of the table that showed.
    pub(super) shown: Vec<usize>,
    /// Calls of the runtime under test.
    pub(super) calls: usize,
    /// How often the client lost its output before.
    pub(super) lost: usize,
}

impl Outcome {
    /// The verdict, with its reasons.
    pub(super) fn judge(self, name: &str) -> Report {
        let Self { reference, tested, differences, shown, calls, lost } = self;
        let mut notes: Vec<String> =
            reference.into_iter().map(|n| format!("with the reference: {n}")).collect();
        notes.extend(tested);
        if calls == 0 {
            notes.push("the runtime under test was not called".into());
        }
        notes.extend(differences);
        let verdict = if notes.is_empty() { Verdict::Passed } else { Verdict::Failed };
        if lost > 0 {
            notes.push(format!("asked again: the client lost the output {lost} times"));
        }
        if !shown.is_empty() {
            let numbers: Vec<String> = shown.iter().map(|n| (n + 1).to_string()).collect();
            notes.push(format!("shows difference {}", numbers.join(", ")));
        }
        Report { name: name.into(), verdict, calls, notes, shown }
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine::Engine;
    use super::*;

    fn outcome() -> Outcome {
        Outcome { reference: vec![], tested: vec![], differences: vec![], shown: vec![], calls: 2, lost: 0 }
    }

    #[test]
    fn a_runtime_that_was_not_called_fails() {
        let never = Outcome { calls: 0, ..outcome() };
        assert_eq!(never.judge("x").verdict, Verdict::Failed);
        assert_eq!(outcome().judge("x").verdict, Verdict::Passed);
    }

    #[test]
    fn a_listed_difference_excuses_nothing_else() {
        let listed = || Outcome { shown: vec![1], ..outcome() };
        assert_eq!(listed().judge("x").verdict, Verdict::Passed);
        let other = Outcome { differences: vec!["d".into()], ..listed() };
        assert_eq!(other.judge("x").verdict, Verdict::Failed);
        let broken = Outcome { tested: vec!["exit code 1".into()], ..listed() };
        assert_eq!(broken.judge("x").verdict, Verdict::Failed);
    }

    #[test]
    fn a_failing_reference_fails_the_scenario() {
        let broken = Outcome { reference: vec!["r".into()], ..outcome() };
        assert_eq!(broken.judge("x").verdict, Verdict::Failed);
    }

    #[test]
    fn the_names_of_an_engines_scenarios_are_unique() {
        for engine in Engine::ALL {
            let mut names: Vec<&str> = engine.scenarios().map(|s| s.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
