//! Texts of every kind, read as a `serde_json::Value` as well.

use super::*;
use crate::bundle::{self, shapes};
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::path::Path;

/// Numbers that do not depend on anything: `below(n)` is one below `n`.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Whether both hold the same, in the same order.
fn equal(document: &Document<'_>, value: &Value) -> bool {
    match (document, value) {
        (Document::Null, Value::Null) => true,
        (Document::Bool(a), Value::Bool(b)) => a == b,
        // Of two zeros only the texts differ.
        (Document::Number(a), Value::Number(b)) => a == b && a.to_string() == b.to_string(),
        (Document::String(a), Value::String(b)) => a == b,
        (Document::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Document::Object(a), Value::Object(b)) => {
            a.iter().len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && equal(a, b))
        }
        _ => false,
    }
}

/// Reads a text both ways: whether it is JSON.
fn same(text: &[u8]) -> bool {
    let shown = || String::from_utf8_lossy(text).chars().take(2000).collect::<String>();
    let read = (Document::read(text), serde_json::from_slice::<Value>(text));
    assert_eq!(read.0.is_ok(), read.1.is_ok(), "{read:?} of {}", shown());
    match read {
        (Ok(document), Ok(value)) => {
            assert!(equal(&document, &value), "{}\n{document:?}\n{value:?}", shown());
            true
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string(), "{}", shown());
            false
        }
        _ => false,
    }
}

/// The last eleven are none.
const NUMBERS: &str = "0 -0 -0.0 0.0 1 -1 9 10 -10 1.5 -1.5e3 1E-400 1e308 \
    18446744073709551615 18446744073709551616 9223372036854775807 9223372036854775808 -9223372036854775808 \
    -9223372036854775809 123456789012345678901234567890 1e-7 5e-324 2.5e-324 0.1 100000000000000000000000e-23 \
    1e309 -1e309 00 01 - +1 1. .5 1e 0x1 NaN";
const STRINGS: [&str; 30] = [
    "",
    "a",
    "b",
    "linux",
    "seccomp",
    "a/b~",
    "0",
    "ä",
    "\u{1f600}",
    "a\u{7f}b",
    r"\u0061",
    r"a\n",
    r"\\",
    r"\/",
    r#"\""#,
    r"\u0000",
    r"\ud83d\ude00",
    r"\ud83d",
    r"\ude00",
    r"\ud83dx",
    r"\ud83d\u0061",
    r"\u12",
    r"\x",
    r"\",
    "a\nb",
    "\u{0}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    r"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\t",
    "\u{feff}",
    r"\uFFFF",
];

/// A text that is JSON mostly. One in `fault` parts is any of the above.
fn text(random: &mut Random, depth: usize, fault: usize, out: &mut String) {
    let blank = random.one(&["", "", "", " ", "\n", "\t\r\n"]);
    let string = |random: &mut Random, out: &mut String| {
        let fine = if random.below(fault) == 0 { STRINGS.len() } else { 16 };
        out.push('"');
        out.push_str(STRINGS[random.below(fine)]);
        out.push('"');
    };
    out.push_str(blank);
    match random.below(if depth < 6 { 9 } else { 4 }) {
        0 => out.push_str(random.one(&["null", "true", "false"])),
        1 => {
            let numbers: Vec<&str> = NUMBERS.split(' ').collect();
            let wrong = if random.below(fault) == 0 { 0 } else { 11 };
            out.push_str(numbers[random.below(numbers.len() - wrong)]);
        }
        2 | 3 => string(random, out),
        list if list < 6 => {
            out.push('[');
            for n in 0..random.below(5) {
                out.push_str(if n > 0 { "," } else { "" });
                text(random, depth + 1, fault, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            let few = random.below(30) > 0;
            for n in 0..random.below(if few { 6 } else { 60 }) {
                out.push_str(if n > 0 { "," } else { "" });
                out.push_str(blank);
                string(random, out);
                out.push(':');
                text(random, if few { depth + 1 } else { 6 }, fault, out);
            }
            out.push('}');
        }
    }
    if random.below(fault * 8) == 0 {
        out.push_str(random.one(&[",", "}", "]", "nul", "\"", "1", ":", "{", "\u{b}"]));
    }
    out.push_str(blank);
}

/// The text with some bytes changed, taken out or put in.
fn damaged(random: &mut Random, text: &[u8]) -> Vec<u8> {
    const BYTES: &[u8] = b"\"\\{}[],:0-1e.untf \n\x00\x1f\x7f\x80\xc3\xed\xa0\xf4\xff";
    let mut text = text.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(text.len() + 1);
        let byte =
            if random.below(4) == 0 { random.below(256) as u8 } else { BYTES[random.below(BYTES.len())] };
        match random.below(4) {
            0 => text.insert(at, byte),
            1 => text.truncate(at),
            2 => drop(text.splice(at..(at + 1 + random.below(8)).min(text.len()), [])),
            _ => {
                if let Some(spot) = text.get_mut(at) {
                    *spot = byte;
                }
            }
        }
    }
    text
}

/// The recorded configs and other documents, by name.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/data/corpus");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a file")))
        .collect();
    files.sort();
    assert!(files.len() > 50, "{}", files.len());
    files
}

#[test]
fn a_text_is_what_a_value_is() {
    let mut random = Random(1);
    let (mut right, mut wrong) = (0, 0);
    for round in 0..20_000 {
        let mut one = String::new();
        text(&mut random, 0, if round % 2 == 0 { 1 << 20 } else { 40 }, &mut one);
        let mut count = |text: &[u8]| *if same(text) { &mut right } else { &mut wrong } += 1;
        count(one.as_bytes());
        count(&damaged(&mut random, one.as_bytes()));
    }
    assert!(right > 10_000 && wrong > 10_000, "{right} {wrong}");
}

#[test]
fn each_string_and_number_is_read_or_refused_in_the_same_way() {
    let whole = |text: &str| {
        for text in [text, &format!("[{text}]"), &format!("{{\"a\":{text}}}")] {
            same(text.as_bytes());
        }
    };
    for number in NUMBERS.split(' ') {
        whole(number);
    }
    for string in STRINGS {
        whole(&format!("\"{string}\""));
        same(format!("{{\"{string}\":1,\"{string}\":2,\"a\":3}}").as_bytes());
        same(format!("{{\"a\":1}}\"{string}\"").as_bytes());
    }
    for depth in [126, 127, 128, 129, 1000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            same((open.repeat(depth) + "1" + &close.repeat(depth)).as_bytes());
        }
    }
    for text in
        [&b""[..], b" ", b"\xef\xbb\xbf{}", b"\"\xff\"", b"{\"\xc3\x28\":1}", b"\xff", b"[1,\x80]", b"{}\xff"]
    {
        assert!(!same(text));
    }
}

#[test]
fn recorded_documents_and_damaged_ones_are_what_values_are() {
    let mut random = Random(2);
    for (name, text) in corpus() {
        assert!(same(&text), "{name}");
        for _ in 0..30 {
            same(&damaged(&mut random, &text));
        }
    }
}

#[test]
fn of_a_key_that_is_given_twice_the_last_one_counts() {
    let text = br#"{"b":1,"a":1,"b":{},"\u0061":2,"a":3,"b":null,"":0}"#;
    assert!(same(text));
    let document = Document::read(text).expect("JSON");
    assert_eq!(document.get("a"), Some(&Document::Number(3.into())));
    assert_eq!(document.at("/b"), Some(&Document::Null));
    assert_eq!(document.as_object().map(|object| object.iter().len()), Some(3));
}

/// Work that grows with the square of it would take hours.
#[test]
fn very_many_keys_are_read() {
    const MANY: usize = 300_000;
    let mut random = Random(3);
    let keys: [&mut dyn FnMut(usize) -> usize; 4] =
        [&mut |n| n, &mut |n| MANY - n, &mut |_| 7, &mut |_| random.below(MANY / 2)];
    for key in keys {
        let members: Vec<String> = (0..MANY).map(|n| format!("\"{}\":{n}", key(n))).collect();
        assert!(same(format!("{{{}}}", members.join(",")).as_bytes()));
    }
}

/// Reads the model from the text, and from the value as its own deserializer does.
fn same_model(text: &[u8]) -> bool {
    let document = Document::read(text).expect("JSON");
    let read = bundle::model(&document, "config", &mut Vec::new());
    let expected = serde_json::from_value::<Spec>(serde_json::from_slice(text).expect("JSON"));
    assert_eq!(read.is_ok(), expected.is_ok(), "{}", String::from_utf8_lossy(text));
    match (read, expected) {
        (Ok(one), Ok(other)) => {
            assert!(*one == other, "{}", String::from_utf8_lossy(text));
            true
        }
        (Err(one), Err(other)) => {
            assert!(one.to_string().ends_with(&other.to_string()), "{one}, not {other}");
            false
        }
        _ => false,
    }
}

#[test]
fn a_model_is_what_its_own_deserializer_makes() {
    for (name, text) in corpus() {
        if name.ends_with(".config.json") {
            assert!(same_model(&text), "{name}");
        }
    }
    let whole = shapes::full();
    let mut places = Vec::new();
    shapes::pointers(&whole, "", &mut places);
    let (mut right, mut wrong) = (0, 0);
    for place in &places {
        // A list is no object here, as it would be there.
        for shape in shapes::shapes().into_iter().filter(|shape| !shape.is_array()) {
            let mut changed = whole.clone();
            *changed.pointer_mut(place).expect("a place") = shape;
            *if same_model(changed.to_string().as_bytes()) { &mut right } else { &mut wrong } += 1;
        }
    }
    assert!(right > 200 && wrong > 800, "{right} {wrong}");
}
