//! Running the cases one after the other, and what came of each.

use super::case::{Case, Level};
use super::deviations::Deviations;
use crate::Check;
use crate::harness::{Sandbox, guarded};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long one call of a runtime may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The same of one that breaks a rule, which often waits for what never comes.
const LIMIT_BROKEN: Duration = Duration::from_secs(2);

/// What came of a case.
#[derive(Debug)]
pub(super) enum Verdict {
    Passed,
    /// What was seen instead.
    Failed(String),
    /// Why it was not run.
    Skipped(String),
    /// It failed, and why that is expected.
    Deviates(String),
    /// It passed, and why that was not expected.
    Unlisted(String),
}

/// What came of a runtime that breaks the rule of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    Yes,
    No,
}

/// A case that was run.
pub(super) struct Ran {
    pub(super) name: String,
    pub(super) place: &'static str,
    pub(super) level: Level,
    pub(super) rule: String,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
    /// What the broken runtime does, and whether it was noticed.
    pub(super) broken: Option<(String, Noticed)>,
}

impl Ran {
    /// Whether nothing is to be done about it.
    pub(super) fn is_good(&self) -> bool {
        let missed = matches!(self.broken, Some((_, Noticed::No)));
        !missed && !matches!(self.verdict, Verdict::Failed(_) | Verdict::Unlisted(_))
    }
}

/// What it takes to run cases.
pub(super) struct Suite {
    /// The program inside.
    pub(super) probe: PathBuf,
    /// The runtime under test.
    pub(super) program: PathBuf,
    /// The program that breaks rules, if the cases have to notice that.
    pub(super) bad: Option<PathBuf>,
    pub(super) listed: Deviations,
}

impl Suite {
    /// Runs the cases in their order.
    pub(super) fn run(&self, cases: &[Case]) -> Vec<Ran> {
        let mut progress = Progress::new(cases.len());
        let mut done = Vec::new();
        for case in cases {
            progress.at(&case.name);
            let ran = self.judge(case);
            progress.saw(&ran);
            done.push(ran);
        }
        progress.end();
        done
    }

    fn judge(&self, case: &Case) -> Ran {
        let begin = Instant::now();
        let verdict = self.verdict(case);
        let took = begin.elapsed();
        let broken = match &verdict {
            Verdict::Passed => self.broken(case),
            _ => None,
        };
        let Case { name, place, level, rule, .. } = case;
        Ran { name: name.clone(), place, level: *level, rule: rule.clone(), verdict, took, broken }
    }

    fn verdict(&self, case: &Case) -> Verdict {
        if let Some(reason) = &case.missing {
            return Verdict::Skipped(reason.clone());
        }
        let result = guarded(|| {
            let mut s = Sandbox::with_runtime(&self.probe, &self.program)?;
            s.runtime_mut().limit(LIMIT);
            case.run(&s)
        });
        match (result, self.listed.why(&case.name)) {
            (Ok(()), None) => Verdict::Passed,
            (Ok(()), Some(why)) => Verdict::Unlisted(why.to_owned()),
            (Err(_), Some(why)) => Verdict::Deviates(why.to_owned()),
            (Err(failed), None) => Verdict::Failed(failed.message().unwrap_or_default().to_owned()),
        }
    }

    fn broken(&self, case: &Case) -> Option<(String, Noticed)> {
        let (bad, broken) = (self.bad.as_ref()?, case.broken()?);
        let says = broken.says();
        let result: Check = guarded(|| {
            let mut s = Sandbox::with_runtime(&self.probe, bad)?;
            s.runtime_mut().limit(LIMIT_BROKEN);
            broken.into(&mut s, &self.program);
            case.run(&s)
        });
        Some((says, if result.is_err() { Noticed::Yes } else { Noticed::No }))
    }
}

/// One line on a terminal; nothing elsewhere.
struct Progress {
    all: usize,
    done: usize,
    failed: usize,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        Self { all, done: 0, failed: 0, shown: std::io::stderr().is_terminal() }
    }

    fn at(&mut self, name: &str) {
        self.done += 1;
        if self.shown {
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K{}/{}, {} failed: {name}",
                self.done,
                self.all,
                self.failed
            );
        }
    }

    fn saw(&mut self, ran: &Ran) {
        self.failed += usize::from(!ran.is_good());
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
