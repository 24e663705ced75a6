//! The table `docs/cli.md` has every command and flag once, what it does, and tests that show it; likewise exit codes,
//! outputs, texts and variables. A row without a flag, a flag without a row, a test that is not there or never speaks
//! of what it is to show: each fails here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use oxrun_cli::docs::{Entry, entries};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One row: the section it stands in, what it is about, the tests.
struct Row {
    section: String,
    subject: String,
    tests: Vec<(String, String)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let (mut rows, mut section) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.trim_matches('`').to_owned();
        }
        // A bar in a cell is written with a backslash.
        let line = line.replace("\\|", "\u{0}");
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, subject, _, tests, _] = cells.as_slice() else { continue };
        if !subject.starts_with('`') {
            continue;
        }
        let pair = |test: &str| {
            let (program, name) = test.split_once(": ").unwrap_or_else(|| panic!("{test:?} is no test"));
            (program.to_owned(), name.to_owned())
        };
        let tests = tests.split("<br>").map(pair).collect();
        rows.push(Row { section: section.clone(), subject: subject.replace('\u{0}', "|"), tests });
    }
    rows
}

/// The words in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// How a row names an entry.
fn name(entry: &Entry) -> String {
    match (entry.flag, entry.short) {
        (None, _) => format!("`{}`", entry.command),
        (Some(flag), None) => format!("`--{flag}`"),
        (Some(flag), Some(letter)) => format!("`--{flag}`, `-{letter}`"),
    }
}

/// The section of an entry.
fn section(entry: &Entry) -> &str {
    if entry.command.is_empty() { "Before the command" } else { entry.command }
}

#[test]
fn every_command_and_flag_has_one_row_and_every_row_a_flag() {
    let rows = rows();
    let (entries, mut wrong) = (entries(), Vec::new());
    let sections: BTreeSet<&str> = entries.iter().map(section).collect();
    for entry in &entries {
        let found = rows.iter().filter(|row| row.section == section(entry) && row.subject == name(entry));
        if found.count() != 1 {
            wrong.push(format!("no single row for {} {}", section(entry), name(entry)));
        }
    }
    for row in rows.iter().filter(|row| sections.contains(row.section.as_str())) {
        if !entries.iter().any(|entry| row.section == section(entry) && row.subject == name(entry)) {
            wrong.push(format!("{} {}: no such flag", row.section, row.subject));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_named_test_is_there_and_speaks_of_its_row() {
    let (mut sources, mut wrong, mut count) = (BTreeMap::new(), Vec::new(), 0);
    for row in rows() {
        assert!(!row.tests.is_empty(), "{}", row.subject);
        for (program, test) in &row.tests {
            count += 1;
            let source = sources.entry(program.clone()).or_insert_with(|| Source::read(program));
            let words = quoted(&row.subject);
            if let Err(why) = source.shows(test, &words) {
                wrong.push(format!("{} {}: {program}: {test}: {why}", row.section, row.subject));
            }
        }
    }
    assert!(count > 150, "only {count} tests");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file of tests: what it consists of, by name.
struct Source {
    items: BTreeMap<String, String>,
    /// How often each word is in it.
    text: String,
    left_out: String,
}

impl Source {
    /// A test program of the conformance package, or with a `/` a file of this one.
    fn read(program: &str) -> Source {
        let file = match program.contains('/') {
            true => root().join("runtime-cli/src").join(program),
            false => root().join(format!("conformance/tests/{program}.rs")),
        };
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let left_out = root().join("conformance/src/harness/not_yet.rs");
        Source { items: items(&text), text, left_out: std::fs::read_to_string(left_out).unwrap() }
    }

    fn shows(&self, test: &str, subject: &[&str]) -> Result<(), &'static str> {
        if self.left_out.contains(&format!("\"{test}\"")) {
            return Err("is not run yet");
        }
        if !self.items.contains_key(test) {
            return Err("is not there");
        }
        // In the list of tests of its program, or with the attribute.
        let unit = self.text.contains(&format!("#[test]\nfn {test}("));
        if !unit && words(&self.text).filter(|word| *word == test).count() < 2 {
            return Err("is in no list of tests");
        }
        let said = self.used(test);
        // One of the names is enough: the letter is a way to write the long one.
        match subject.iter().any(|word| speaks(&said, word)) {
            true => Ok(()),
            false => Err("does not speak of it"),
        }
    }

    /// The text of a function and of all that it uses of its file.
    fn used(&self, name: &str) -> String {
        let (mut known, mut open, mut text) = (BTreeSet::from([name]), vec![name], String::new());
        while let Some(item) = open.pop().and_then(|name| self.items.get(name)) {
            text.push_str(item);
            for word in words(item) {
                if let Some((name, _)) = self.items.get_key_value(word)
                    && known.insert(name)
                {
                    open.push(name);
                }
            }
        }
        text
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Functions, constants and types of a file, each with its text up to the next one.
fn items(text: &str) -> BTreeMap<String, String> {
    let (mut items, mut name): (BTreeMap<String, String>, _) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        let rest = line.strip_prefix("pub(super) ").unwrap_or(line);
        let kinds = ["fn ", "const ", "static ", "struct ", "impl ", "macro_rules! "];
        if let Some(rest) = kinds.iter().find_map(|kind| rest.strip_prefix(kind)) {
            name = words(rest).find(|word| !word.is_empty()).unwrap_or_default().to_owned();
        }
        let item = items.entry(name.clone()).or_default();
        item.push_str(line);
        item.push('\n');
    }
    items
}

/// Whether a text has a flag, a command, or a text that is printed.
fn speaks(text: &str, subject: &str) -> bool {
    let plain = text.replace("\\\"", "\"");
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let is_flag = subject.starts_with('-');
    let is_command = subject.bytes().all(|b| b.is_ascii_lowercase());
    plain.match_indices(subject).any(|(at, _)| {
        let (before, after) = (&plain[..at], &plain[at + subject.len()..]);
        match (is_flag, is_command) {
            (true, _) => ends(after) && !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-'),
            // A word of a command line, or the method that calls it.
            (_, true) => before.ends_with(['"', '.', ' ']) && after.starts_with(['"', '(', ' ']),
            _ => true,
        }
    })
}

#[test]
fn a_mention_is_a_whole_word() {
    assert!(speaks("&[\"--memory\", \"1\"]", "--memory"));
    assert!(speaks("\"--memory=1\"", "--memory"));
    assert!(!speaks("\"--memory-swap\"", "--memory"));
    assert!(speaks("[\"-d\", \"c1\"]", "-d"));
    assert!(!speaks("\"--root-d\"", "-d"));
    assert!(speaks("rt.create(bundle)", "create"));
    assert!(!speaks("recreate(x)", "create"));
    assert!(speaks(r#"says("exec: \"x\": nope")"#, "exec: \"x\": nope"));
}

#[test]
fn a_test_that_is_no_evidence_is_told() {
    let source = Source::read("command_line");
    let why = |test: &str, word: &str| source.shows(test, &[word]).err();
    assert_eq!(why("every_command_has_its_help", "--help"), None);
    assert_eq!(why("every_command_has_its_help", "--criu"), Some("does not speak of it"));
    assert_eq!(why("no_such_test", "--help"), Some("is not there"));
    assert_eq!(why("USER", "--help"), Some("does not speak of it"));
}
