//! Tests of the command line. They use the table with every command on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod forms;
mod forms_limits;
mod global;
mod refusals;
mod tables;
mod values;

use super::*;

/// All commands, those included that are off or refused for users.
fn all_on() -> Vec<(&'static CommandDef, Support)> {
    COMMANDS.iter().map(|(def, _)| (*def, Support::On)).collect()
}

/// Parses words given one by one, behind the program's name.
fn parse_words(words: &[&str]) -> Result<Invocation, Rejection> {
    let argv = ["/usr/sbin/oxrun"].iter().chain(words).map(OsString::from);
    parse_with(argv, &all_on())
}

/// Parses a line of words without blanks in them.
fn parse_line(line: &str) -> Result<Invocation, Rejection> {
    parse_words(&line.split_whitespace().collect::<Vec<_>>())
}

/// The command a line means.
fn command(line: &str) -> Command {
    match parse_line(line) {
        Ok(invocation) => invocation.command,
        Err(rejection) => panic!("{line}: {}", rejection.message),
    }
}

/// Why a line is refused.
fn refusal(line: &str) -> Rejection {
    match parse_line(line) {
        Ok(invocation) => panic!("{line}: {:?}", invocation.command),
        Err(rejection) => rejection,
    }
}
