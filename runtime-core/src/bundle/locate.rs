//! Where in a document's text a value stands, for messages.

use super::escape;

/// Line and column, from 1, of the value at a JSON pointer in a document that is valid JSON. Of keys that
/// are given twice the last one counts, as it does for the reader.
pub(super) fn position(text: &[u8], pointer: &str) -> Option<(usize, usize)> {
    let mut scan = Scan { text, at: 0 };
    scan.blank();
    let mut here = scan.at;
    for key in pointer.split('/').skip(1) {
        scan.at = here;
        here = scan.child(key)?;
    }
    let before = text.get(..here)?;
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
    Some((line, column))
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.byte().is_some_and(|b| b.is_ascii_whitespace() || b == b',' || b == b':') {
            self.at += 1;
        }
    }

    /// Where the member `key` of the object, or the element of this number of the list, begins.
    fn child(&mut self, key: &str) -> Option<usize> {
        let object = match self.byte()? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        self.at += 1;
        let mut found = None;
        let mut index = 0usize;
        loop {
            self.blank();
            if matches!(self.byte()?, b'}' | b']') {
                return found;
            }
            let same = if object {
                let name = self.string()?;
                self.blank();
                escape(&name) == key
            } else {
                index += 1;
                (index - 1).to_string() == key
            };
            if same {
                found = Some(self.at);
            }
            self.value()?;
        }
    }

    /// Reads a string.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.value()?;
        serde_json::from_slice(self.text.get(start..self.at)?).ok()
    }

    /// Goes behind a value.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.byte()? {
                b'"' => {
                    let mut left = self.text.get(self.at + 1..).unwrap_or_default().iter();
                    super::end_string(&mut left);
                    self.at = self.text.len() - left.len();
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                b if b.is_ascii_whitespace() => self.at += 1,
                _ => {
                    let scalar = |b: &u8| !b",:]}\"".contains(b) && !b.is_ascii_whitespace();
                    self.at += self.text.get(self.at..)?.iter().take_while(|b| scalar(b)).count();
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn a_value_is_found_by_its_pointer() {
        let text = br#"{
  "a": {"b~/": [1, {"c": "}"}, -2.5e3]},
  "a\u0062": true,
  "a": [null, "x\"]", {"d": {}}]
}"#;
        for (pointer, place) in [
            ("", Some((1, 1))),
            ("/a", Some((4, 8))),
            ("/ab", Some((3, 14))),
            ("/a/1", Some((4, 15))),
            ("/a/2/d", Some((4, 29))),
            ("/a/3", None),
            ("/b", None),
            ("/ab/c", None),
        ] {
            assert_eq!(position(text, pointer), place, "{pointer}");
        }
        assert_eq!(position(br#"{"b~/":[[]]}"#, "/b~0~1/0"), Some((1, 9)));
    }

    #[test]
    fn a_text_that_is_cut_off_anywhere_has_no_place_and_makes_no_trouble() {
        let text = br#"{"a": [1, {"b": "c\"d"}], "e": {"f": [true]}}"#;
        for end in 0..text.len() {
            for pointer in ["/a/1/b", "/e/f/0", "/x"] {
                let _ = position(&text[..end], pointer);
            }
        }
        assert_eq!(position(text, "/e/f/0"), Some((1, 39)));
    }
}
