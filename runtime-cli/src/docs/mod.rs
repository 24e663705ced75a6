//! What is made of the table of commands and flags beside the program: the manual page, completions for shells, the list
//! of all there is.
//!
//! What must hold: no command, flag or default stands here a second time, so nothing here can differ from what is parsed;
//! nothing of the program uses this, so it is not in the program.

mod bash;
mod fish;
mod man;
mod zsh;

use crate::args::table::{COMMANDS, CommandDef, Flag, GLOBAL, HELP, Support};

/// A command or a flag, by its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The command; empty: the options before the command.
    pub command: &'static str,
    /// The flag without dashes; `None`: the command itself.
    pub flag: Option<&'static str>,
    /// The letter of the flag.
    pub short: Option<char>,
    /// Whether the flag takes a value.
    pub takes_value: bool,
    /// Whether the help leaves it out.
    pub hidden: bool,
    /// Whether it is known but refused.
    pub refused: bool,
}

/// Every command and flag, hidden and refused ones included, in the order of the table.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let flag = |command: &'static str, flag: &Flag, refused: bool| Entry {
        command,
        flag: Some(flag.long),
        short: flag.short,
        takes_value: flag.value.is_some(),
        hidden: flag.hidden,
        refused,
    };
    let mut all: Vec<Entry> = GLOBAL.iter().map(|it| flag("", it, false)).collect();
    for (def, support) in COMMANDS {
        let refused = *support != Support::On;
        let command = def.name;
        all.push(Entry { command, flag: None, short: None, takes_value: false, hidden: refused, refused });
        all.extend(def.flags.iter().map(|it| flag(command, it, refused)));
    }
    all
}

/// Every file: its path below `docs`, and its text.
#[must_use]
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("oxrun.8", man::page()),
        ("completions/oxrun.bash", bash::script()),
        ("completions/_oxrun", zsh::script()),
        ("completions/oxrun.fish", fish::script()),
    ]
}

/// The commands that work.
fn commands() -> impl Iterator<Item = &'static CommandDef> {
    COMMANDS.iter().filter(|(_, support)| *support == Support::On).map(|(def, _)| *def)
}

/// The flags of a command, or those before it, that the help shows.
fn flags(def: Option<&'static CommandDef>) -> impl Iterator<Item = &'static Flag> {
    let (own, help): (&[Flag], Option<&Flag>) = match def {
        Some(def) => (def.flags, Some(&HELP)),
        // There it is one of them.
        None => (GLOBAL, None),
    };
    own.iter().filter(|flag| !flag.hidden).chain(help)
}

/// What a shell can offer for a value or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// One of these, separated by `|`.
    Choice(&'static str),
    Directory,
    File,
    /// A container that exists.
    Id,
    Nothing,
}

/// What to offer for the value of a flag.
fn value_of(flag: &Flag) -> Offer {
    match flag.value {
        Some(value) if value.contains('|') && !value.contains(['[', '<']) => Offer::Choice(value),
        Some("DIR") if flag.long != "cwd" => Offer::Directory,
        Some("FILE" | "SOCKET" | "PATH") => Offer::File,
        _ => Offer::Nothing,
    }
}

/// What to offer for the first word behind a command.
fn first_word(def: &CommandDef) -> Offer {
    match def.name {
        // These make a new one.
        "create" | "run" => Offer::Nothing,
        "check" => Offer::Directory,
        _ if def.usage.starts_with("<container-id>") => Offer::Id,
        _ => Offer::Nothing,
    }
}

/// A text in single quotes, for a shell where `'\''` is a quote between them.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What stands at the head of each file.
const NOTE: &str =
    "Made of oxrun's table of commands and flags by `cargo run --package oxrun --example docs`.";
