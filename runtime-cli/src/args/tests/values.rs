//! The readers of single values.

use std::time::Duration;

use super::super::values::{interval, signal, size, user};
use super::*;

#[test]
fn signals_are_read_by_number_and_by_name_in_any_case() {
    for (text, number) in [
        ("9", 9),
        ("0", 0),
        ("64", 64),
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("Kill", 9),
        ("SIGRTMIN", 34),
        ("RTMIN+0", 34),
        ("rtmin+30", 64),
        ("SIGRTMAX-30", 34),
        ("RTMAX", 64),
        ("IO", 29),
        ("CHLD", 17),
        ("", 15),
    ] {
        assert_eq!(signal(text), Ok(number), "{text}");
    }
}

#[test]
fn a_signal_that_does_not_exist_is_named() {
    for text in [
        "-1",
        "65",
        "ZORK",
        "SIG",
        "SIGSIGTERM",
        "TERM ",
        "RTMIN+31",
        "RTMAX-31",
        "RTMIN-1",
        "RTMIN+",
        "9x",
        "99999999999999999999",
    ] {
        assert_eq!(signal(text), Err(format!("unknown signal {text:?}")), "{text}");
    }
}

#[test]
fn sizes_take_units_of_powers_of_1024() {
    for (text, bytes) in [
        ("-1", -1),
        ("0", 0),
        ("33554432", 32 << 20),
        ("32M", 32 << 20),
        ("32m", 32 << 20),
        ("32MB", 32 << 20),
        ("32MiB", 32 << 20),
        ("32 mb", 32 << 20),
        ("1G", 1 << 30),
        ("4K", 4 << 10),
        ("7b", 7),
        ("1.5G", 3 << 29),
        (".5k", 512),
        ("0.0000000001p", 0),
        ("8191P", 8191 << 50),
        ("9223372036854775807", i64::MAX),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn a_size_that_is_none_or_too_large_is_refused() {
    for text in [
        "",
        "-2",
        "-1M",
        "M",
        "x",
        "1Q",
        "1ib",
        "1 ",
        "1  M",
        "1.M",
        "1.2.3M",
        "8192P",
        "9223372036854775808",
        "+1",
        "0x10",
        "1MM",
        "1é",
    ] {
        assert!(size(text).is_err(), "{text}");
    }
}

#[test]
fn intervals_are_durations_as_go_writes_them() {
    for (text, nanoseconds) in [
        ("5s", 5_000_000_000),
        ("100ms", 100_000_000),
        ("1.5s", 1_500_000_000),
        ("1m30s", 90_000_000_000),
        ("1h", 3_600_000_000_000),
        ("+2us", 2_000),
        ("2µs", 2_000),
        ("1ns", 1),
        ("1.s", 1_000_000_000),
    ] {
        assert_eq!(interval(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
    }
    for text in ["0", "0s", "-1s", "-0", "0.1ns"] {
        let reason = "duration interval must be greater than 0".to_owned();
        assert_eq!(interval(text), Err(reason), "{text}");
    }
    for text in ["", "5", "s", "1x", "1s2", ".s", "1 s", "99999999h", "--1s"] {
        let reason = "not a duration such as 5s or 100ms".to_owned();
        assert_eq!(interval(text), Err(reason), "{text}");
    }
}

#[test]
fn a_user_is_whole_numbers_and_nothing_less() {
    assert_eq!(user("1"), Ok(User { uid: 1, gid: None }));
    assert_eq!(user("0:0"), Ok(User { uid: 0, gid: Some(0) }));
    assert_eq!(user("1000:5"), Ok(User { uid: 1000, gid: Some(5) }));
    for text in [
        "",
        ":",
        "1:",
        ":1",
        "joe",
        "1x",
        "1:2:3",
        "+1",
        "-1",
        " 1",
        "4294967295",
        "4294967296",
        "1:4294967295",
    ] {
        assert!(user(text).is_err(), "{text}");
    }
}
