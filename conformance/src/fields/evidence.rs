//! The tests that a row names, looked up in their sources: each has to be there, must not be left out, and it,
//! or what it uses of its file, has to speak of the field.

use super::rows::Row;
use oxrun_conformance::{Check, Failed, check};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Sources that were read.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<PathBuf, String>);

/// A test by the name of its program, or of its file in the library, and its own.
pub(super) fn parts(test: &str) -> Check<(&str, &str)> {
    test.split_once(' ').ok_or_else(|| Failed::from(format!("{test:?} is not a program and a test")))
}

/// Whether a test is one of the library's own, which knows no runtime.
pub(super) fn is_of_library(test: &str) -> bool {
    parts(test).is_ok_and(|(program, _)| program.contains('/'))
}

impl Sources {
    fn text(&mut self, file: &Path) -> Check<&str> {
        if !self.0.contains_key(file) {
            let text =
                fs::read_to_string(file).map_err(|e| Failed::from(format!("{}: {e}", file.display())))?;
            self.0.insert(file.to_owned(), text);
        }
        Ok(self.0.get(file).map_or("", String::as_str))
    }

    /// Fails unless a test is there, is run, and speaks of the row's field.
    pub(super) fn shows(&mut self, row: &Row, test: &str) -> Check {
        let (program, name) = parts(test)?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = match program.contains('/') {
            true => root.join("../runtime-core/src").join(program),
            false => root.join("tests").join(format!("{program}.rs")),
        };
        let left_out = self.text(&root.join("src/harness/not_yet.rs"))?.contains(&format!("\"{name}\""));
        check!(!left_out, "{}: {test} is not run yet", row.field);
        let text = self.text(&file)?;
        let items = items(text);
        check!(items.contains_key(name), "{}: there is no test {test}", row.field);
        if program.contains('/') {
            let before = text.split(&format!("fn {name}(")).next().unwrap_or_default().trim_end();
            let marked = before.ends_with("#[test]");
            check!(marked, "{}: {test} is no test, or is left out", row.field);
        } else {
            let mentions = words(text).filter(|word| *word == name).count();
            check!(mentions > 1, "{}: {test} is in no list of tests", row.field);
        }
        let said = used(&items, name);
        check!(speaks(&said, row.key()), "{}: {test} does not speak of {}", row.field, row.key());
        Ok(())
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Functions, constants and types by name, each with its text up to the next one.
fn items(text: &str) -> BTreeMap<&str, String> {
    let mut items: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        // Those of a module of tests are one level further in.
        let depth = line.len() - line.trim_start().len();
        if (depth == 0 || depth == 4)
            && let Some(found) = heading(line.trim_start(), depth)
        {
            name = found;
        }
        let item = items.entry(name).or_default();
        item.push_str(line);
        item.push('\n');
    }
    items
}

/// The name that a line gives to what follows.
fn heading(line: &str, depth: usize) -> Option<&str> {
    let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
    let kinds: &[&str] = match depth {
        0 => &["fn ", "const ", "static ", "struct ", "enum ", "type "],
        _ => &["fn "],
    };
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    words(rest).next().filter(|word| !word.is_empty())
}

/// The text of an item and of all that it uses.
fn used(items: &BTreeMap<&str, String>, name: &str) -> String {
    let (mut known, mut open, mut text) = (BTreeSet::from([name]), vec![name], String::new());
    while let Some(item) = open.pop().and_then(|name| items.get(name)) {
        text.push_str(item);
        for word in words(item) {
            if let Some((name, _)) = items.get_key_value(word)
                && known.insert(name)
            {
                open.push(name);
            }
        }
    }
    text
}

/// Whether a text has a name, or its beginning and its end, as in `format!("SCHED_{policy}")`.
fn speaks(text: &str, key: &str) -> bool {
    let has = |wanted: &str| match wanted.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        true => words(text).any(|word| word == wanted),
        false => text.contains(wanted),
    };
    let split = |(at, _): (usize, &str)| {
        let (start, end) = key.split_at(at + 1);
        text.contains(&format!("{start}{{")) && has(end)
    };
    has(key) || key.match_indices('_').any(split)
}
