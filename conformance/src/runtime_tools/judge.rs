//! What a test program of runtime-tools has said. Its exit code alone proves nothing: a program may print that
//! all is well and fail, or find a fault and say so only in a diagnostic block. So all of these are read: the
//! lines, the plans, the blocks and the exit code.

/// What came of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// So many lines, all of which say ok; that many of them because something was not looked at.
    Ok { lines: usize, skipped: usize },
    /// Nothing was looked at that has a line, and nothing was found.
    Void,
    /// The same, with an error in a block: what was looked at without a line was not right.
    VoidError(String),
    /// Lines that say ok, those that do not, and why it is no success.
    Failed { ok: usize, not_ok: usize, why: String },
}

/// Reads what a program has written, which may be several TAP documents one after the other.
pub(super) fn judge(output: &str, code: Option<i32>) -> Verdict {
    let (mut ok, mut skipped, mut failed, mut planned, mut error) = (0, 0, Vec::new(), None, None);
    for line in output.lines() {
        if let Some(rest) = line.strip_prefix("not ok ") {
            failed.push(rest.to_owned());
        } else if let Some(rest) = line.strip_prefix("ok ") {
            ok += 1;
            skipped += usize::from(rest.contains("# SKIP"));
        } else if let Some(count) =
            line.strip_prefix("1..").and_then(|count| count.trim().parse::<usize>().ok())
        {
            planned = Some(planned.unwrap_or(0) + count);
        } else if let Some(text) = line.trim_start().strip_prefix("\"error\":") {
            error = error.or_else(|| Some(text.trim().trim_matches(['"', ',']).to_owned()));
        }
    }
    let not_ok = failed.len();
    let fail = |why: String| Verdict::Failed { ok, not_ok, why };
    match (code, failed.first()) {
        (None, _) => fail("it was killed, or took too long".to_owned()),
        (_, Some(first)) => fail(first.clone()),
        (Some(0), None) => match (ok, planned, error) {
            (0, Some(1..), _) => fail("it planned lines and printed none".to_owned()),
            (0, _, Some(error)) => Verdict::VoidError(error),
            (0, _, None) => Verdict::Void,
            (lines, planned, _) if planned.is_none_or(|planned| planned == lines) => {
                Verdict::Ok { lines, skipped }
            }
            (_, planned, _) => fail(format!("it planned {} lines", planned.unwrap_or(0))),
        },
        (Some(code), None) => fail(format!("exit code {code}: {}", error.unwrap_or_default())),
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok { lines, skipped: 0 } => write!(f, "ok {lines}"),
            Self::Ok { lines, skipped } => write!(f, "ok {lines}, {skipped} of them skipped"),
            Self::Void => write!(f, "void"),
            Self::VoidError(error) => write!(f, "void, with an error: {error}"),
            Self::Failed { ok, not_ok, why } => write!(f, "ok {ok}, not ok {not_ok}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(ok: usize, not_ok: usize, why: &str) -> Verdict {
        Verdict::Failed { ok, not_ok, why: why.to_owned() }
    }

    #[test]
    fn lines_that_all_say_ok_are_counted() {
        let text = "TAP version 13\nok 1 - the first\nok 2 # SKIP no such thing here\n1..2\n";
        assert_eq!(judge(text, Some(0)), Verdict::Ok { lines: 2, skipped: 1 });
    }

    #[test]
    fn lines_inside_of_blocks_do_not_count() {
        let text = "TAP version 13\n  ---\n  {\n    \"stdout\": \"TAP version 13\\nnot ok 1 - inside\\n\"\n  }\n  ...\nok 1 - outside\n1..1\n";
        assert_eq!(judge(text, Some(0)), Verdict::Ok { lines: 1, skipped: 0 });
    }

    #[test]
    fn an_expected_error_beside_a_line_is_none() {
        let text = "TAP version 13\nok 1 - it fails without an id\n  ---\n  {\n    \"error\": \"exit status 1\"\n  }\n  ...\n1..1\n";
        assert_eq!(judge(text, Some(0)), Verdict::Ok { lines: 1, skipped: 0 });
    }

    #[test]
    fn one_line_that_says_not_ok_fails_whatever_the_exit_code() {
        let text = "TAP version 13\nok 1 - one\nnot ok 2 - two\nok 3 - three\n1..3\n";
        assert_eq!(judge(text, Some(0)), failed(2, 1, "2 - two"));
    }

    #[test]
    fn an_exit_code_fails_though_all_lines_say_ok() {
        let text = "TAP version 13\nok 1 - one\n1..1\n";
        assert_eq!(judge(text, Some(1)), failed(1, 0, "exit code 1: "));
    }

    #[test]
    fn two_documents_have_the_sum_of_their_plans() {
        let text = "TAP version 13\nok 1 - a\nok 2 - b\n1..2\nTAP version 13\nok 1 - c\n1..1\n";
        assert_eq!(judge(text, Some(0)), Verdict::Ok { lines: 3, skipped: 0 });
    }

    #[test]
    fn a_line_less_than_planned_is_a_failure() {
        assert_eq!(judge("TAP version 13\nok 1 - a\n1..2\n", Some(0)), failed(1, 0, "it planned 2 lines"));
        let none = "TAP version 13\n1..2\n";
        assert_eq!(judge(none, Some(0)), failed(0, 0, "it planned lines and printed none"));
    }

    #[test]
    fn nothing_at_all_is_void() {
        assert_eq!(judge("", Some(0)), Verdict::Void);
        assert_eq!(judge("TAP version 13\n1..0\n", Some(0)), Verdict::Void);
    }

    #[test]
    fn nothing_but_an_error_in_a_block_is_an_error() {
        let text = "TAP version 13\n  ---\n  {\n    \"error\": \"the order was another\"\n  }\n  ...\n1..0\n";
        assert_eq!(judge(text, Some(0)), Verdict::VoidError("the order was another".to_owned()));
    }

    #[test]
    fn what_was_killed_has_failed() {
        let text = "TAP version 13\nok 1 - one\n";
        assert_eq!(judge(text, None), failed(1, 0, "it was killed, or took too long"));
    }
}
