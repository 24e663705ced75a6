//! Help and version, made of the tables.
//!
//! Scripts look at the first lines: `NAME:`, then `<file name> <command>`.

use super::table::{CommandDef, Flag, GLOBAL, HELP, Support};

/// The version of the runtime specification this program follows.
pub(crate) const SPEC_VERSION: &str = "1.3.0";

/// The help of the whole program.
pub(super) fn program(name: &str, commands: &[(&CommandDef, Support)]) -> String {
    let mut rows: Vec<(String, &str)> = commands
        .iter()
        .filter(|(_, support)| *support == Support::On)
        .map(|(def, _)| (def.name.to_owned(), def.about))
        .collect();
    rows.push(("help, h".to_owned(), "show this help, or that of one command"));
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "NAME:\n   {name} - Open Container Initiative runtime\n\n\
         USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {version}\n\n\
         COMMANDS:\n"
    );
    text.push_str(&columns(&rows));
    text.push_str("\nGLOBAL OPTIONS:\n");
    text.push_str(&columns(&options(GLOBAL)));
    text
}

/// The help of one command.
pub(super) fn command(name: &str, def: &CommandDef) -> String {
    let CommandDef { name: verb, usage, about, details, flags, .. } = def;
    let mut text = format!("NAME:\n   {name} {verb} - {about}\n\nUSAGE:\n   {name} {verb}");
    if !flags.is_empty() {
        text.push_str(" [command options]");
    }
    if !usage.is_empty() {
        text.push(' ');
        text.push_str(usage);
    }
    text.push('\n');
    if !details.is_empty() {
        text.push_str("\nDESCRIPTION:\n");
        for line in details.lines() {
            text.push_str("   ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str("\nOPTIONS:\n");
    let mut rows = options(flags);
    rows.extend(options(&[HELP]));
    text.push_str(&columns(&rows));
    text
}

/// What `--version` prints. Engines read the first line up to the number, and `commit:`.
pub(crate) fn version(name: &str, commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = commit.filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    format!("{name} version {version}\ncommit: {commit}\nspec: {SPEC_VERSION}\n")
}

/// Left and right column of options.
fn options(flags: &[Flag]) -> Vec<(String, &'static str)> {
    let shown = flags.iter().filter(|flag| !flag.hidden);
    shown.map(|flag| (label(flag), flag.help)).collect()
}

fn label(flag: &Flag) -> String {
    let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
    let letter = flag.short.map(|letter| format!(", -{letter}{value}")).unwrap_or_default();
    format!("--{}{value}{letter}", flag.long)
}

fn columns(rows: &[(String, &str)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("   {left:width$}  {right}\n")).collect()
}
