//! What is expected of each test program, and whether what came of it is explained.

use super::judge::Verdict;
use crate::Check;
use serde::Deserialize;

const LIST: &str = include_str!("../../data/runtime_tools/expected.json");

/// Why a program is not judged like all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The suite asks for something else than the specification of today, or runc, does.
    Deviation,
    /// This or that host cannot carry it out.
    Environment,
    /// It can pass for nobody.
    Never,
    /// It depends on who is faster, and is tried three times.
    Racy,
    /// What it finds wrong without a line is its own fault.
    Void,
}

/// What is known of a program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its name.
    test: String,
    pub(super) kind: Kind,
    /// How many lines at most say that something is not ok.
    #[serde(default)]
    not_ok: Option<usize>,
    pub(super) why: String,
}

/// How a verdict fits to what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It passes, or is void.
    Good,
    /// It fails as it must.
    Explained,
    /// It fails, and nobody knows why; or it passes, and should not.
    Unexplained,
}

/// Reads the list.
pub(super) fn read() -> Check<Vec<Entry>> {
    Ok(serde_json::from_str(LIST)?)
}

/// What is known of a program, if it is something.
pub(super) fn of<'a>(list: &'a [Entry], test: &str) -> Option<&'a Entry> {
    list.iter().find(|entry| entry.test == test)
}

/// Compares a verdict with what is known.
pub(super) fn fit(entry: Option<&Entry>, verdict: &Verdict) -> Fit {
    let kind = entry.map(|entry| entry.kind);
    match (verdict, kind) {
        // What the specification or the kernel forbid should not pass.
        (Verdict::Ok { .. } | Verdict::Void, Some(Kind::Never)) => Fit::Unexplained,
        (Verdict::Ok { .. } | Verdict::Void, _) | (Verdict::VoidError(_), Some(Kind::Void)) => Fit::Good,
        (Verdict::VoidError(_), Some(Kind::Deviation)) => Fit::Explained,
        (Verdict::Failed { not_ok, .. }, Some(Kind::Deviation | Kind::Environment | Kind::Never)) => {
            let most = entry.and_then(|entry| entry.not_ok);
            if most.is_none_or(|most| *not_ok <= most) { Fit::Explained } else { Fit::Unexplained }
        }
        _ => Fit::Unexplained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, not_ok: Option<usize>) -> Entry {
        Entry { test: "t".to_owned(), kind, not_ok, why: "because".to_owned() }
    }

    fn failed(not_ok: usize) -> Verdict {
        Verdict::Failed { ok: 1, not_ok, why: String::new() }
    }

    #[test]
    fn the_list_can_be_read_and_has_seventeen_failures() -> Result<(), String> {
        let list = read().map_err(|e| e.message().unwrap_or_default().to_owned())?;
        let failing = [Kind::Deviation, Kind::Environment, Kind::Never];
        assert_eq!(list.iter().filter(|entry| failing.contains(&entry.kind)).count(), 17);
        assert!(list.iter().all(|entry| !entry.why.is_empty()));
        Ok(())
    }

    #[test]
    fn a_failure_without_an_entry_is_unexplained() {
        assert_eq!(fit(None, &failed(1)), Fit::Unexplained);
        assert_eq!(fit(None, &Verdict::VoidError("x".to_owned())), Fit::Unexplained);
        assert_eq!(fit(None, &Verdict::Void), Fit::Good);
    }

    #[test]
    fn a_failure_with_an_entry_is_explained_up_to_its_lines() {
        let known = entry(Kind::Deviation, Some(2));
        assert_eq!(fit(Some(&known), &failed(2)), Fit::Explained);
        assert_eq!(fit(Some(&known), &failed(3)), Fit::Unexplained);
    }

    #[test]
    fn what_can_pass_for_nobody_must_not_pass() {
        let known = entry(Kind::Never, None);
        assert_eq!(fit(Some(&known), &Verdict::Ok { lines: 1, skipped: 0 }), Fit::Unexplained);
    }

    #[test]
    fn what_fails_each_time_was_no_race() {
        assert_eq!(fit(Some(&entry(Kind::Racy, None)), &failed(1)), Fit::Unexplained);
    }

    #[test]
    fn an_error_that_is_the_suites_own_is_good() {
        assert_eq!(fit(Some(&entry(Kind::Void, None)), &Verdict::VoidError("x".to_owned())), Fit::Good);
    }
}
