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
    /// It depends on who is faster, and is tried several times.
    Racy,
    /// What it finds wrong without a line is its own fault.
    Void,
}

/// A host on which something else is known of a program than on all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Layout {
    /// cgroup v2 alone.
    V2,
}

/// What is known of a program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its name.
    test: String,
    /// Where this is known; everywhere, if it does not say.
    #[serde(default)]
    on: Option<Layout>,
    pub(super) kind: Kind,
    /// What a failure of this reason writes: one of these. A race that is lost with such words is explained.
    #[serde(default)]
    says: Vec<String>,
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

/// What is known of a program on a host with cgroup v2 alone, or on another, if it is something.
pub(super) fn of<'a>(list: &'a [Entry], test: &str, pure_v2: bool) -> Option<&'a Entry> {
    let known = |on: Option<Layout>| list.iter().find(|entry| entry.test == test && entry.on == on);
    known(Some(Layout::V2)).filter(|_| pure_v2).or_else(|| known(None))
}

/// How often a program is tried: a lost race that explains itself is worth less time than one that does not.
pub(super) fn tries(entry: Option<&Entry>) -> usize {
    match entry {
        Some(Entry { kind: Kind::Racy, says, .. }) => {
            if says.is_empty() {
                10
            } else {
                3
            }
        }
        _ => 1,
    }
}

/// Compares a verdict, and what was written, with what is known.
pub(super) fn fit(entry: Option<&Entry>, verdict: &Verdict, said: &str) -> Fit {
    let kind = entry.map(|entry| entry.kind);
    let says = entry.map_or(&[][..], |entry| &entry.says);
    let said_so = says.iter().any(|words| said.contains(words));
    match (verdict, kind) {
        // What the specification or the kernel forbid should not pass.
        (Verdict::Ok { .. } | Verdict::Void, Some(Kind::Never)) => Fit::Unexplained,
        (Verdict::Ok { .. } | Verdict::Void, _) | (Verdict::VoidError(_), Some(Kind::Void)) => Fit::Good,
        (_, Some(Kind::Racy)) if said_so => Fit::Explained,
        _ if !says.is_empty() && !said_so => Fit::Unexplained,
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
    use super::super::judge::judge;
    use super::*;

    fn entry(kind: Kind, not_ok: Option<usize>) -> Entry {
        Entry { test: "t".to_owned(), on: None, kind, says: Vec::new(), not_ok, why: "because".to_owned() }
    }

    fn failed(not_ok: usize) -> Verdict {
        Verdict::Failed { ok: 1, not_ok, why: String::new() }
    }

    const PASSED: Verdict = Verdict::Ok { lines: 1, skipped: 0 };

    /// The list that is checked in.
    fn list() -> Vec<Entry> {
        read().unwrap_or_default()
    }

    #[test]
    fn the_list_can_be_read_and_has_seventeen_failures() {
        let list = list();
        let failing = [Kind::Deviation, Kind::Environment, Kind::Never];
        let everywhere = list.iter().filter(|entry| entry.on.is_none());
        assert_eq!(everywhere.filter(|entry| failing.contains(&entry.kind)).count(), 17);
        assert!(list.iter().all(|entry| !entry.why.is_empty()));
    }

    #[test]
    fn no_test_is_known_twice_in_one_place() {
        let list = list();
        for (index, one) in list.iter().enumerate() {
            let again = |other: &&Entry| other.test == one.test && other.on == one.on;
            assert!(!list[..index].iter().any(|other| again(&other)), "{}", one.test);
        }
    }

    #[test]
    fn a_failure_without_an_entry_is_unexplained() {
        assert_eq!(fit(None, &failed(1), ""), Fit::Unexplained);
        assert_eq!(fit(None, &Verdict::VoidError("x".to_owned()), ""), Fit::Unexplained);
        assert_eq!(fit(None, &Verdict::Void, ""), Fit::Good);
    }

    #[test]
    fn a_failure_with_an_entry_is_explained_up_to_its_lines() {
        let known = entry(Kind::Deviation, Some(2));
        assert_eq!(fit(Some(&known), &failed(2), ""), Fit::Explained);
        assert_eq!(fit(Some(&known), &failed(3), ""), Fit::Unexplained);
    }

    #[test]
    fn a_failure_that_does_not_say_what_it_should_is_unexplained() {
        let says = vec!["this".to_owned(), "that".to_owned()];
        for kind in [Kind::Deviation, Kind::Environment, Kind::Never, Kind::Racy] {
            let known = Entry { says: says.clone(), ..entry(kind, None) };
            assert_eq!(fit(Some(&known), &failed(1), "it was that"), Fit::Explained, "{kind:?}");
            assert_eq!(fit(Some(&known), &failed(1), "it was another"), Fit::Unexplained, "{kind:?}");
        }
    }

    #[test]
    fn what_can_pass_for_nobody_must_not_pass() {
        assert_eq!(fit(Some(&entry(Kind::Never, None)), &PASSED, ""), Fit::Unexplained);
    }

    #[test]
    fn what_fails_each_time_was_no_race() {
        assert_eq!(fit(Some(&entry(Kind::Racy, None)), &failed(1), ""), Fit::Unexplained);
    }

    #[test]
    fn an_error_that_is_the_suites_own_is_good() {
        let error = Verdict::VoidError("x".to_owned());
        assert_eq!(fit(Some(&entry(Kind::Void, None)), &error, ""), Fit::Good);
    }

    #[test]
    fn on_v2_alone_another_reason_may_hold() {
        let v2 = Entry { on: Some(Layout::V2), why: "v2".to_owned(), ..entry(Kind::Environment, None) };
        for list in [[v2.clone(), entry(Kind::Never, None)], [entry(Kind::Never, None), v2.clone()]] {
            assert_eq!(of(&list, "t", true).map(|entry| entry.why.as_str()), Some("v2"));
            assert_eq!(of(&list, "t", false).map(|entry| entry.why.as_str()), Some("because"));
        }
        assert!(of(&[v2], "t", false).is_none());
    }

    /// What programs wrote about oxrun: name, whether on cgroup v2 alone, exit code, output.
    const RECORDED: [(&str, bool, i32, &str, Fit); 14] = {
        use Fit::{Explained, Good, Unexplained};
        [
            ("pidfile", false, 0, include_str!("../../data/runtime_tools/pidfile-lost.tap"), Explained),
            (
                "pidfile",
                false,
                0,
                "TAP version 13\nok 1 - create with '--pid-file' option works\n1..1\n",
                Good,
            ),
            ("pidfile", true, 0, include_str!("../../data/runtime_tools/pidfile-wrong.tap"), Unexplained),
            ("poststart", true, 0, include_str!("../../data/runtime_tools/poststart-lost.tap"), Explained),
            ("poststart", true, 0, "TAP version 13\n1..0\n", Good),
            ("poststart", true, 0, include_str!("../../data/runtime_tools/poststart-wrong.tap"), Unexplained),
            (
                "delete_resources",
                true,
                0,
                include_str!("../../data/runtime_tools/delete_resources-v2.tap"),
                Explained,
            ),
            (
                "delete_resources",
                false,
                0,
                include_str!("../../data/runtime_tools/delete_resources-v2.tap"),
                Unexplained,
            ),
            (
                "linux_cgroups_cpus",
                true,
                0,
                include_str!("../../data/runtime_tools/linux_cgroups_cpus-v2.tap"),
                Explained,
            ),
            (
                "linux_cgroups_devices",
                true,
                0,
                "TAP version 13\nnot ok 1 - find devices\n1..1\n",
                Unexplained,
            ),
            (
                "linux_cgroups_hugetlb",
                true,
                1,
                "TAP version 13\n1..0\ncgroupv2 is not supported yet\n",
                Explained,
            ),
            (
                "linux_cgroups_blkio",
                true,
                1,
                include_str!("../../data/runtime_tools/linux_cgroups_blkio-v2.tap"),
                Explained,
            ),
            (
                "delete_only_create_resources",
                true,
                1,
                "TAP version 13\nopen /sys/fs/cgroup/pids/cgrouptest/tasks: no such file or directory\n",
                Explained,
            ),
            ("delete_only_create_resources", true, 1, "TAP version 13\nexit status 1\n", Unexplained),
        ]
    };

    #[test]
    fn what_programs_wrote_is_explained_only_where_its_reason_holds() {
        let list = list();
        for (name, pure_v2, code, text, expected) in RECORDED {
            let verdict = judge(text, Some(code));
            assert_eq!(fit(of(&list, name, pure_v2), &verdict, text), expected, "{name}: {verdict}");
        }
    }
}
