//! What was typed: options and words, in order, without a meaning yet.
//!
//! The accepted grammar is the union of what callers send. Long options take one dash or two and
//! their value after `=` or as the next word, whatever that word begins with (`--memory-swap -1`).
//! A switch may be given as `--tty=false`. A second occurrence never is an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::{Arg, Parser};

use super::problem::Problem;
use super::table::{Flag, GLOBAL, HELP};
use super::values;

/// One option as given.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) flag: &'static Flag,
    pub(super) value: Value,
}

/// What was given with an option.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A switch, with what it says.
    Switch(bool),
    /// A value, unread.
    Text(OsString),
}

/// The options and words of one level of the command line: the program, or one command.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    /// Options in the order of the command line.
    pub(super) settings: Vec<Setting>,
    /// The words beside them.
    pub(super) words: Vec<OsString>,
    /// `--help` was met. Nothing behind it was read.
    pub(super) help: bool,
}

/// Where the options end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// At the end of the line.
    AtEnd,
    /// At the first word; everything behind it is left in the parser.
    AfterWord,
}

/// The next thing on the command line.
enum Item {
    /// An option, the way it was written, and the value after `=` if that was split off already.
    Option {
        flag: &'static Flag,
        written: String,
        attached: Option<OsString>,
    },
    Word(OsString),
    End,
}

impl Typed {
    /// Reads options of `flags` and words. On a fault, what was read before it stays in `self`.
    pub(super) fn scan(
        &mut self,
        parser: &mut Parser,
        flags: &'static [Flag],
        stop: Stop,
    ) -> Result<(), Problem> {
        let mut literal = false;
        loop {
            match next_item(parser, flags, &mut literal)? {
                Item::End => return Ok(()),
                Item::Word(word) => {
                    self.words.push(word);
                    if stop == Stop::AfterWord {
                        return Ok(());
                    }
                }
                Item::Option { flag, .. } if flag.long == HELP.long => {
                    self.help = true;
                    return Ok(());
                }
                Item::Option { flag, written, attached } => {
                    let value = read_value(parser, flag, &written, attached)?;
                    self.settings.push(Setting { flag, value });
                }
            }
        }
    }

    /// Whether a switch is on.
    pub(super) fn on(&self, long: &str) -> bool {
        self.last(long) == Some(&Value::Switch(true))
    }

    /// A value as a path. An empty one counts as not given.
    pub(super) fn path(&self, long: &str) -> Option<PathBuf> {
        self.raw(long).map(PathBuf::from)
    }

    /// A value as text. An empty one counts as not given.
    pub(super) fn text(&self, long: &str) -> Result<Option<String>, Problem> {
        self.raw(long).map(utf8).transpose()
    }

    /// A value read by `read`, which says what is wrong with it.
    pub(super) fn read<T>(
        &self,
        long: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(long)? else {
            return Ok(None);
        };
        match read(&text) {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(invalid(long, &text, &reason)),
        }
    }

    /// A value as a decimal number.
    pub(super) fn number<T: FromStr>(&self, long: &str) -> Result<Option<T>, Problem> {
        self.read(long, values::number)
    }

    /// All values of a repeated option.
    pub(super) fn all(&self, long: &str) -> Result<Vec<String>, Problem> {
        let given = self.settings.iter().filter(|setting| setting.flag.long == long);
        given
            .filter_map(|setting| match &setting.value {
                Value::Text(value) => Some(utf8(value)),
                Value::Switch(_) => None,
            })
            .collect()
    }

    /// A word by its place. Bytes that are not UTF-8 are replaced: an id or a signal that has
    /// some is refused by its own rules.
    pub(super) fn word(&self, index: usize) -> Option<String> {
        self.words.get(index).map(|word| word.to_string_lossy().into_owned())
    }

    /// The words from a place on.
    pub(super) fn words_from(&self, index: usize) -> Result<Vec<String>, Problem> {
        self.words.iter().skip(index).map(|word| utf8(word)).collect()
    }

    fn last(&self, long: &str) -> Option<&Value> {
        let found = self.settings.iter().rev().find(|setting| setting.flag.long == long);
        found.map(|setting| &setting.value)
    }

    fn raw(&self, long: &str) -> Option<&OsStr> {
        match self.last(long) {
            Some(Value::Text(value)) if !value.is_empty() => Some(value),
            _ => None,
        }
    }
}

/// The sentence about a value that does not fit.
pub(super) fn invalid(long: &str, text: &str, reason: &str) -> Problem {
    Problem::value(&format!("invalid value {text:?} for flag -{long}: {reason}"))
}

fn utf8(value: &OsStr) -> Result<String, Problem> {
    match value.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Problem::value(&format!("argument is not valid UTF-8: {value:?}"))),
    }
}

fn next_item(parser: &mut Parser, flags: &'static [Flag], literal: &mut bool) -> Result<Item, Problem> {
    // To lexopt one dash begins a bundle of letters, and `-bundel x` would be `-b undel`. Callers
    // send no bundles but long options with one dash, so these words are read here.
    if !*literal && let Some(mut rest) = parser.try_raw_args() {
        let word = rest.peek().unwrap_or_default();
        if word == "--" {
            *literal = true;
        } else if let Some(item) = single_dash(word, flags)? {
            let _ = rest.next();
            return Ok(item);
        }
    }
    let argument = match parser.next() {
        Ok(Some(argument)) => argument,
        Ok(None) => return Ok(Item::End),
        Err(error) => return Err(Problem::usage(&error.to_string())),
    };
    let (flag, written) = match argument {
        Arg::Value(word) => return Ok(Item::Word(word)),
        Arg::Long(name) => (find(flags, name), format!("--{name}")),
        Arg::Short(letter) => (find_letter(flags, letter), format!("-{letter}")),
    };
    match flag {
        Some(flag) => Ok(Item::Option { flag, written, attached: None }),
        None => Err(undefined(&written)),
    }
}

/// `-name`, `-name=value`, `-n` and `-n=value`. `None` if the word is not of that form.
fn single_dash(word: &OsStr, flags: &'static [Flag]) -> Result<Option<Item>, Problem> {
    let Some(body) = word.as_bytes().strip_prefix(b"-") else {
        return Ok(None);
    };
    if body.is_empty() || body.starts_with(b"-") {
        return Ok(None);
    }
    let mut halves = body.splitn(2, |byte| *byte == b'=');
    let name = String::from_utf8_lossy(halves.next().unwrap_or_default());
    let attached = halves.next().map(|value| OsStr::from_bytes(value).to_owned());
    let written = format!("-{name}");
    let mut letters = name.chars();
    let flag = match (letters.next(), letters.next()) {
        (Some(letter), None) => find_letter(flags, letter),
        _ => find(flags, &name),
    };
    match flag {
        Some(flag) => Ok(Some(Item::Option { flag, written, attached })),
        None => Err(undefined(&written)),
    }
}

fn find(flags: &'static [Flag], name: &str) -> Option<&'static Flag> {
    flags.iter().chain([&HELP]).find(|flag| flag.long == name)
}

fn find_letter(flags: &'static [Flag], letter: char) -> Option<&'static Flag> {
    flags.iter().chain([&HELP]).find(|flag| flag.short == Some(letter))
}

fn read_value(
    parser: &mut Parser,
    flag: &'static Flag,
    written: &str,
    attached: Option<OsString>,
) -> Result<Value, Problem> {
    if flag.value.is_some() {
        let value = attached.map_or_else(|| parser.value(), Ok);
        return match value {
            Ok(value) => Ok(Value::Text(value)),
            Err(_) => Err(Problem::usage(&format!("flag needs an argument: {}", dashed(written)))),
        };
    }
    let Some(said) = attached.or_else(|| parser.optional_value()) else {
        return Ok(Value::Switch(true));
    };
    match said.to_str().and_then(values::boolean) {
        Some(on) => Ok(Value::Switch(on)),
        None => Err(Problem::usage(&format!(
            "invalid boolean value {said:?} for {}: parse error",
            dashed(written)
        ))),
    }
}

/// A flag with one dash, as runc names all of them.
fn dashed(written: &str) -> String {
    format!("-{}", written.trim_start_matches('-'))
}

fn undefined(written: &str) -> Problem {
    let name = written.trim_start_matches('-');
    let hint = match find(GLOBAL, name) {
        Some(_) => " (a global option: it stands before the command)",
        None => "",
    };
    Problem::usage(&format!("flag provided but not defined: -{name}{hint}"))
}
