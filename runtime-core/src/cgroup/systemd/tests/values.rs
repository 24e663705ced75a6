//! Values as annotations write them.

use crate::cgroup::systemd::annotation::{parse, properties};
use crate::cgroup::systemd::value::Value;
use std::collections::BTreeMap;

fn said(text: &str) -> String {
    match parse(text) {
        Ok(value) => format!("{} {value}", value.signature()),
        Err(why) => format!("error: {why}"),
    }
}

#[test]
fn values_are_read_as_gvariant_text() {
    for (text, expected) in [
        ("true", "b yes"),
        (" false ", "b no"),
        ("5", "i 5"),
        ("-5", "i -5"),
        ("0x10", "i 16"),
        ("010", "i 8"),
        ("2.5", "d 2.5"),
        ("1e3", "d 1000"),
        ("uint64 18446744073709551615", "t infinity"),
        ("byte 255", "y ff"),
        ("int16 -7", "n -7"),
        ("double 3", "d 3"),
        ("@t 7", "t 7"),
        ("'inactive-or-failed'", "s inactive-or-failed"),
        (r#""a \"b\" \n\u0041""#, "s a \"b\" \nA"),
        ("objectpath '/a/b'", "o /a/b"),
        ("['a', 'b']", "as a, b"),
        ("@as []", "as "),
        ("[uint32 1, 2]", "au 1, 2"),
        ("@a(st) [('/dev/sda', 5)]", "a(st) /dev/sda 5"),
        ("('a', true)", "(sb) a yes"),
        ("(5,)", "(i) 5"),
        ("<'x'>", "v x"),
        ("b'hi'", "ay 686900"),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_value_is_refused_in_words() {
    for text in [
        "",
        " ",
        "nonsense",
        "5 6",
        "'open",
        "[",
        "[1",
        "[1 2]",
        "[]",
        "[1, 'a']",
        "(",
        "()",
        "uint32 -1",
        "byte 256",
        "int32 3000000000",
        "3000000000",
        "uint64 'a'",
        "@q",
        "@qq 5",
        "@as ['a', 1]",
        "string 5",
        "<5",
        "--5",
        "0x-5",
        "@(st) ('a',)",
        "objectpath 'a'",
        "signature '('",
        "'\\u0000'",
        "'\0'",
        "@a{sv} {}",
        "{'a': 1}",
        "true false",
    ] {
        assert!(said(text).starts_with("error: "), "{text:?} is {}", said(text));
    }
    assert!(said(&"[".repeat(5000)).contains("nested too deeply"));
    assert!(said(&format!("@{}i 5", "a".repeat(5000))).starts_with("error: "));
}

#[test]
fn no_text_is_a_panic() {
    let pieces = [
        "[", "]", "(", ")", "<", ">", "'", "\"", "\\", "b'", "@", "as", "uint32", " ", ",", "-", "0x", "9",
        "ä", "\\u00",
    ];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let _ = parse(&[a, b, c].concat());
            }
        }
    }
}

#[test]
fn annotations_become_properties() {
    let of = |key: &str, value: &str| {
        let all = BTreeMap::from([(key.to_owned(), value.to_owned()), ("other".to_owned(), "?".to_owned())]);
        match properties(&all) {
            Ok(list) => list.iter().map(|p| format!("{p} {}", p.value.signature())).collect::<String>(),
            Err(e) => format!("{}: {e}", e.field().unwrap_or("")),
        }
    };
    for (key, value, expected) in [
        ("org.systemd.property.CollectMode", "'inactive-or-failed'", "CollectMode=inactive-or-failed s"),
        ("org.systemd.property.TimeoutStopUSec", "uint64 5", "TimeoutStopUSec=5 t"),
        ("org.systemd.property.TimeoutStopSec", "uint64 5", "TimeoutStopUSec=5000000 t"),
        ("org.systemd.property.TimeoutStopSec", "2.5", "TimeoutStopUSec=2500000 t"),
        ("org.systemd.property.SomeSECSec", "5", "SomeSECSec=5 i"),
    ] {
        assert_eq!(of(key, value), expected, "{key}={value}");
    }
    for (key, value, expected) in [
        ("org.systemd.property.Ab", "1", "name incorrect"),
        ("org.systemd.property.Foo1", "1", "name incorrect"),
        ("org.systemd.property.Foo", "uint32", "value parse error"),
        ("org.systemd.property.FooSec", "'a'", "value conversion error"),
        ("org.systemd.property.FooSec", "-1", "value conversion error"),
        ("org.systemd.property.FooSec", "uint64 18446744073709551615", "value conversion error"),
    ] {
        let text = of(key, value);
        assert!(text.contains(expected) && text.starts_with(&format!("/annotations/{key}: ")), "{text}");
    }
    assert_eq!(Value::text("a").signature(), "s");
}
