//! One walk over the bytes of a config: how deeply it is nested, and where its seccomp profile stands.
//!
//! What must hold: whatever the bytes are, the walk ends and is right about the nesting. A profile is found only
//! where a JSON reader finds the same one: once in the document, in the one `linux`, both keys written without
//! escapes. That the text is JSON is not checked.

use super::MAX_DEPTH;
use std::ops::Range;

/// What the walk finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline {
    /// The line, from 1, at which the document is nested too deeply.
    pub(super) too_deep: Option<usize>,
    /// The bytes of the object at `/linux/seccomp`.
    pub(super) profile: Option<Range<usize>>,
}

/// Whether a byte means nothing outside of strings: on the way to the profile, and deeper.
const PLAIN: [bool; 256] = plain(b"\"{}[],:");
const PLAIN_BELOW: [bool; 256] = plain(b"\"{}[]");

const fn plain(special: &[u8]) -> [bool; 256] {
    let mut table = [true; 256];
    let mut i = 0;
    while i < special.len() {
        table[special[i] as usize] = false;
        i += 1;
    }
    table
}

/// A key on the way to the profile.
#[derive(Default, Clone, Copy)]
struct Key {
    /// Whether the value that comes or stands here is its own.
    here: bool,
    /// How often it was met.
    met: usize,
}

/// Where the walk is.
#[derive(Default)]
struct Walk {
    depth: usize,
    /// Whether a string would be a key, if this is an object.
    key: bool,
    linux: Key,
    seccomp: Key,
    /// Whether the walk is in the object of `linux`.
    inside: bool,
    start: Option<usize>,
    profile: Option<Range<usize>>,
    /// A key with an escape, which may be any.
    escaped: bool,
}

impl Outline {
    /// Walks over a whole document.
    pub(super) fn of(bytes: &[u8]) -> Outline {
        let mut walk = Walk::default();
        let mut at = 0;
        while let Some(b) = bytes.get(at).copied() {
            at += 1;
            match b {
                // What they say matters further up only. Most are in the profile, one right behind the other.
                b'"' if walk.depth > 2 => {
                    at = end_of_string(bytes, at);
                    while bytes.get(at..).is_some_and(|rest| rest.starts_with(b",\"")) {
                        at = end_of_string(bytes, at + 2);
                    }
                }
                b'"' => {
                    let from = at;
                    at = end_of_string(bytes, at);
                    walk.string(bytes.get(from..at - 1).unwrap_or_default());
                }
                b'{' | b'[' => {
                    walk.open(b);
                    if walk.depth > MAX_DEPTH {
                        let lines = bytes.iter().take(at).filter(|b| **b == b'\n').count();
                        return Outline { too_deep: Some(1 + lines), profile: None };
                    }
                }
                b'}' | b']' => walk.close(at - 1),
                b',' => walk.comma(at - 1),
                b':' => walk.colon(at),
                _ => {}
            }
            let plain = if walk.depth > 2 { &PLAIN_BELOW } else { &PLAIN };
            while bytes.get(at).is_some_and(|b| plain[usize::from(*b)]) {
                at += 1;
            }
        }
        let once = walk.linux.met == 1 && walk.seccomp.met == 1 && !walk.escaped;
        let profile = walk.profile.filter(|_| once).and_then(|profile| trimmed(bytes, profile));
        Outline { too_deep: None, profile }
    }
}

/// The place behind the string's closing quotation mark; behind the end of the text if there is none.
#[inline(always)] // called for each string, twice as fast in its place
pub(super) fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(text) = bytes.get(at..) {
        // Eight bytes at a time: where the first quotation mark or backslash among them is.
        let place = match text.first_chunk::<8>() {
            Some(word) => {
                let word = u64::from_le_bytes(*word);
                let found = marks(word, b'"') | marks(word, b'\\');
                (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
            }
            None => text.iter().position(|b| matches!(b, b'"' | b'\\')),
        };
        let Some(place) = place else {
            at += 8;
            continue;
        };
        at += place;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    // As if it were closed behind the end.
    bytes.len() + 1
}

/// Sets the highest bit of the first byte that is `byte`, and perhaps of some after it; 0 if none is.
fn marks(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & (ONES << 7)
}

/// The object in these bytes, if there is nothing else but blanks.
fn trimmed(bytes: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let text = bytes.get(range.clone())?;
    let blanks = text.len() - text.trim_ascii_start().len();
    let start = range.start + blanks;
    let text = text.trim_ascii();
    (text.starts_with(b"{") && text.ends_with(b"}")).then(|| start..start + text.len())
}

impl Walk {
    fn string(&mut self, text: &[u8]) {
        if !std::mem::replace(&mut self.key, false) {
            return;
        }
        let (place, name): (&mut Key, &[u8]) = match self.depth {
            1 => (&mut self.linux, b"linux"),
            2 if self.inside => (&mut self.seccomp, b"seccomp"),
            _ => return,
        };
        self.escaped |= text.contains(&b'\\');
        place.here = text == name;
        place.met += usize::from(place.here);
    }

    fn open(&mut self, bracket: u8) {
        self.depth += 1;
        self.key = bracket == b'{';
        if self.depth == 2 {
            self.inside = self.linux.here && self.key;
        }
    }

    fn close(&mut self, at: usize) {
        self.end_value(at);
        if self.depth == 2 {
            self.inside = false;
        }
        self.depth = self.depth.saturating_sub(1);
        self.key = false;
    }

    fn comma(&mut self, at: usize) {
        self.end_value(at);
        self.key = true;
        match self.depth {
            1 => self.linux.here = false,
            2 => self.seccomp.here = false,
            _ => {}
        }
    }

    fn colon(&mut self, at: usize) {
        self.key = false;
        if self.depth == 2 && self.inside && self.seccomp.here {
            self.start = Some(at);
        }
    }

    fn end_value(&mut self, at: usize) {
        if self.depth == 2
            && let Some(start) = self.start.take()
        {
            self.profile = Some(start..at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Option<&str> {
        Outline::of(text.as_bytes()).profile.map(|range| &text[range])
    }

    #[test]
    fn a_profile_is_found_where_it_stands() {
        for (text, found) in [
            (r#"{"linux":{"seccomp":{}}}"#, "{}"),
            (
                r#" { "a" : [1, {"linux": 2}] , "linux" : { "x":"}" , "seccomp" : {"a":[{}, "}"]} , "y":1 } } "#,
                r#"{"a":[{}, "}"]}"#,
            ),
            (
                r#"{"linux":{"seccomp":{"seccomp":{"linux":{"seccomp":1}}}},"x":{"seccomp":{}}}"#,
                r#"{"seccomp":{"linux":{"seccomp":1}}}"#,
            ),
            (
                r#"{"x":"\"","linux":{"m":["seccomp","linux"],"seccomp":{"n":"\\"}},"y":["linux",{"linux":{}}]}"#,
                r#"{"n":"\\"}"#,
            ),
        ] {
            assert_eq!(profile(text), Some(found), "{text}");
        }
    }

    #[test]
    fn what_a_reader_may_understand_otherwise_is_no_profile() {
        for text in [
            "",
            "{}",
            r#"{"linux":{"seccomp":null}}"#,
            r#"{"linux":{"seccomp":[]}}"#,
            r#"{"linux":[{"seccomp":{}}]}"#,
            r#"[{"linux":{"seccomp":{}}}]"#,
            r#"{"x":{"linux":{"seccomp":{}}}}"#,
            r#"{"linux":{"seccomp":{},"seccomp":{}}}"#,
            r#"{"linux":{"seccomp":{}},"linux":{}}"#,
            r#"{"linux":{"seccomp":{}},"\u006cinux":{}}"#,
            r#"{"linux":{"seccomp":{},"\u0073eccomp":{}}}"#,
            r#"{"linux":{"seccomp" {}}}"#,
            r#"{"linux":{"seccomp":{} 1}}"#,
            r#"{"linux":{"seccomp":{"#,
            r#"{"linux":{"seccomp":"{}"#,
            r#""linux""#,
            r#"{"linux":{"seccomp":"#,
        ] {
            assert_eq!(profile(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_is_told_with_its_line() {
        let deep = |n: usize| format!("{{\"a\":\n\"[[[\",\"b\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(Outline::of(deep(63).as_bytes()).too_deep, None);
        assert_eq!(Outline::of(deep(64).as_bytes()).too_deep, Some(2));
    }

    /// A document of keys and texts that may mislead; `next(n)` is a number below `n`.
    fn value(next: &mut impl FnMut(usize) -> usize, depth: usize) -> String {
        let blank = ["", " ", "\n\t"][next(3)];
        let kind = if depth < 2 { 1 } else { next(6) };
        let inside =
            (0..if depth < 5 { next(4) } else { 0 }).map(|_| value(next, depth + 1)).collect::<Vec<_>>();
        let text = match kind {
            0 if depth < 5 => format!("[{}]", inside.join(",")),
            1 | 2 if depth < 5 => {
                let keys = ["\"linux\"", "\"seccomp\"", "\"a\"", "\"se\\u0063comp\"", "\"}\\\"{\\\\\""];
                let members = inside.iter().map(|v| format!("{}{blank}:{v}", keys[next(keys.len())]));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            _ => ["\"linux\"", "\"\\\"seccomp\"", "1e5", "null", "\"[{]}:,\"", "\"\""][next(6)].to_owned(),
        };
        format!("{blank}{text}{blank}")
    }

    #[test]
    fn a_profile_that_is_found_is_the_one_that_a_json_reader_finds() {
        let mut random = 1u64;
        let mut next = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % n
        };
        let mut found = 0;
        for _ in 0..30_000 {
            let text = value(&mut next, 0);
            let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let read = document.pointer("/linux/seccomp").filter(|profile| profile.is_object());
            match profile(&text) {
                Some(text_found) => {
                    found += 1;
                    assert_eq!(read, serde_json::from_str(text_found).ok().as_ref(), "{text}");
                }
                None => {
                    let twice = text.matches("linux\"").count() > 1 || text.matches("seccomp\"").count() > 1;
                    assert!(read.is_none() || twice || text.contains('\\'), "{text}");
                }
            }
            // Cut anywhere it is not JSON any more, and no walk fails.
            let _ = Outline::of(&text.as_bytes()[..next(text.len() + 1)]);
        }
        assert!(found > 100, "{found}");
    }
}
