//! Tests of the log.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and its files are its own"
)]

use super::*;
use std::time::Duration;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2026-11-22T01:44:39Z
const NOW: u64 = 1_795_311_879;

fn log(sink: Sink, format: Format, level: Option<Level>) -> Log {
    let default = if matches!(sink, Sink::File(_)) { Level::Error } else { Level::Warning };
    Log { sink: sink.into(), format, least: level.unwrap_or(default) }
}

fn null() -> Sink {
    Sink::File(File::options().write(true).open("/dev/null").unwrap())
}

#[test]
fn times_are_rfc3339_in_utc_over_leap_years_and_centuries() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (86_399, "1970-01-01T23:59:59Z"),
        (68_169_599, "1972-02-28T23:59:59Z"),
        (68_169_600, "1972-02-29T00:00:00Z"),
        (68_256_000, "1972-03-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (978_307_199, "2000-12-31T23:59:59Z"),
        (1_709_210_096, "2024-02-29T12:34:56Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_735_689_600, "2025-01-01T00:00:00Z"),
        (NOW, "2026-11-22T01:44:39Z"),
        (2_147_483_648, "2038-01-19T03:14:08Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(rfc3339(at(seconds)), expected);
    }
    assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
}

#[test]
fn dates_follow_each_other_without_gap_for_eight_centuries() {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..292_194 {
        assert_eq!(civil_date(days), (year, month, day));
        let length = match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (year, month, day) = match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            _ if day == length => (year, month + 1, 1),
            _ => (year, month, day + 1),
        };
    }
}

#[test]
fn an_error_in_a_file_is_one_record_there_and_the_bare_message_on_stderr() {
    let lines = log(null(), Format::Json, None).lines(Level::Error, "container not running", &[], at(NOW));
    let record = r#"{"level":"error","msg":"container not running","time":"2026-11-22T01:44:39Z"}"#;
    assert_eq!(lines.file, Some(format!("{record}\n")));
    assert_eq!(lines.stderr, Some("container not running\n".to_owned()));
}

#[test]
fn an_error_on_stderr_is_one_record_and_nothing_else() {
    let lines = |format| log(Sink::Stderr, format, None).lines(Level::Error, "exec: \"x\": no", &[], at(NOW));
    let text = "time=\"2026-11-22T01:44:39Z\" level=error msg=\"exec: \\\"x\\\": no\"\n";
    assert_eq!(lines(Format::Text), Lines { file: None, stderr: Some(text.to_owned()) });
    let json = concat!(r#"{"level":"error","msg":"exec: \"x\": no","time":"2026-11-22T01:44:39Z"}"#, "\n");
    assert_eq!(lines(Format::Json), Lines { file: None, stderr: Some(json.to_owned()) });
}

#[test]
fn people_at_a_terminal_get_plain_lines_with_the_details_below() {
    let lines = log(Sink::Terminal, Format::Text, None).lines(
        Level::Error,
        "no mount",
        &[("step", "14 of 31")],
        at(NOW),
    );
    assert_eq!(lines.stderr.as_deref(), Some("error: no mount\n  step: 14 of 31\n"));
}

#[test]
fn warnings_are_told_on_stderr_but_reach_a_file_only_when_asked_for() {
    let silent = Lines::default();
    let warn = |sink, level| log(sink, Format::Text, level).lines(Level::Warning, "w", &[], at(NOW));
    let record = Some("time=\"2026-11-22T01:44:39Z\" level=warning msg=\"w\"\n".to_owned());
    assert_eq!(warn(null(), None), silent);
    assert_eq!(warn(Sink::Stderr, Some(Level::Error)), silent);
    assert_eq!(warn(Sink::Stderr, None), Lines { file: None, stderr: record.clone() });
    for level in [Level::Warning, Level::Debug] {
        let expected = Lines { file: record.clone(), stderr: None };
        assert_eq!(warn(null(), Some(level)), expected);
    }
}

#[test]
fn debug_records_go_where_the_log_is_and_nowhere_else() {
    let debug = |sink, level| log(sink, Format::Json, level).lines(Level::Debug, "d", &[], at(NOW));
    assert_eq!(debug(Sink::Stderr, None), Lines::default());
    let record = "{\"level\":\"debug\",\"msg\":\"d\",\"time\":\"2026-11-22T01:44:39Z\"}\n";
    let record = Some(record.to_owned());
    let on_stderr = Lines { file: None, stderr: record.clone() };
    assert_eq!(debug(Sink::Stderr, Some(Level::Debug)), on_stderr);
    assert_eq!(debug(null(), Some(Level::Debug)), Lines { file: record, stderr: None });
}

#[test]
fn a_record_is_one_line_and_its_json_decodes_whatever_the_message() {
    for message in ["", "a\nb\r\n", "tab\t\u{7}\u{0}\u{7f}", "\"\\", "héé", "\u{2028}\u{202e}"] {
        let details = [("step", "mount \"x\"\n")];
        let json = json_record(Level::Error, message, &details, at(NOW));
        let text = text_record(Level::Error, message, &details, at(NOW));
        for record in [&json, &text] {
            assert_eq!(record.matches('\n').count(), 1, "{record}");
            assert!(record.ends_with('\n'), "{record}");
        }
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], message);
        assert_eq!(value["time"], "2026-11-22T01:44:39Z");
        assert_eq!(value["step"], "mount \"x\"\n");
    }
}

#[test]
fn text_is_quoted_as_go_quotes_it() {
    for (text, expected) in [
        ("", r#""""#),
        ("plain", r#""plain""#),
        ("a\"b\\c", r#""a\"b\\c""#),
        ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
        ("\u{0}\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
        ("ü → 漢", "\"ü → 漢\""),
        ("\u{85}\u{200b}\u{2028}", r#""\u0085\u200b\u2028""#),
        ("\u{e0001}", r#""\U000e0001""#),
    ] {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn a_log_file_is_made_readable_for_all_and_appended_to() {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(format!("oxrun-log-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("log.json");
    for message in ["one", "two"] {
        let log = Log::open(Some(&file), Format::Json, Some(Level::Debug)).unwrap();
        log.debug(message);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    let missing = Log::open(Some(&dir.join("no/log")), Format::Json, None).unwrap_err();
    std::fs::remove_dir_all(&dir).unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["msg"], &records[1]["msg"]), (&"one".into(), &"two".into()));
    assert_eq!(mode & 0o600, 0o600);
    assert_eq!(mode & 0o133, 0, "{mode:o}");
    let expected = format!("open {}: no such file or directory", dir.join("no/log").display());
    assert_eq!(missing, expected);
}

#[test]
fn levels_are_known_by_the_names_callers_use() {
    for (name, level) in [
        ("error", Level::Error),
        ("WARN", Level::Warning),
        ("warning", Level::Warning),
        ("Info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Debug),
    ] {
        assert_eq!(Level::from_name(name), Some(level));
    }
    assert_eq!(Level::from_name("loud"), None);
}
