//! The command line: every form that callers of OCI runtimes send has to be understood, and what is
//! not understood has to be named in one line.
//!
//! ```text
//! argv --typed--> options and words --read--> Invocation --main--> library
//!          \ both driven by table, which help prints as well
//! ```
//!
//! [`parse`] has no side effect: it reads neither environment nor file, and prints nothing.

mod commands;
pub(crate) mod help;
mod invocation;
mod problem;
mod read;
pub(crate) mod root;
pub(crate) mod table;
mod typed;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;

use lexopt::Parser;

pub(crate) use invocation::*;
use problem::Problem;
use table::{COMMANDS, CommandDef, GLOBAL, Support, Trailing};
use typed::{Stop, Typed};
pub(crate) use values::SIGNALS;

/// A command line that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// What was understood before the fault: it says where the message is logged.
    pub(crate) global: Global,
    /// One line for the log and standard error.
    pub(crate) message: String,
    /// Help that goes to standard error before the message. Not to standard output: that may be the
    /// container's.
    pub(crate) screen: Option<String>,
    /// The exit code of the program.
    pub(crate) exit_code: u8,
}

type Commands = [(&'static CommandDef, Support)];

/// A fault, and the command whose help belongs beside it; none: that of the program.
struct Fault {
    problem: Problem,
    def: Option<&'static CommandDef>,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        Fault { problem, def: None }
    }
}

/// Reads a command line, the name of the program first.
pub(crate) fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Invocation, Rejection> {
    parse_with(argv, COMMANDS)
}

fn parse_with(
    argv: impl IntoIterator<Item = OsString>,
    commands: &Commands,
) -> Result<Invocation, Rejection> {
    let mut argv = argv.into_iter().collect::<Vec<OsString>>().into_iter();
    let reader = Reader { program: program_name(argv.next()), commands };
    let mut parser = Parser::from_args(argv);
    let mut typed = Typed::default();
    let scanned = typed.scan(&mut parser, GLOBAL, Stop::AfterWord);
    let (global, readable) = read::global(&typed);
    let mut warnings = ignored(&typed);
    let command = scanned.map_err(Fault::from).and_then(|()| {
        if typed.help {
            return Ok(reader.program_help());
        }
        if typed.on("version") {
            return Ok(Command::Version);
        }
        readable?;
        match typed.word(0).as_deref() {
            None | Some("") => Ok(reader.program_help()),
            Some(name) => reader.command(name, rest(&mut parser)?, &mut warnings),
        }
    });
    match command {
        Ok(command) => Ok(Invocation { program: reader.program, global, command, warnings }),
        Err(fault) => Err(reader.reject(global, &fault)),
    }
}

/// What the reading of one line needs throughout.
struct Reader<'a> {
    program: String,
    commands: &'a Commands,
}

impl Reader<'_> {
    /// Reads what stands behind the name of a command.
    fn command(&self, name: &str, argv: Vec<OsString>, warnings: &mut Vec<String>) -> Result<Command, Fault> {
        if matches!(name, "help" | "h") {
            return self.help_command(argv);
        }
        let def = self.find(name)?;
        let within = |problem| Fault { problem, def: Some(def) };
        let mut parser = Parser::from_args(argv);
        let mut typed = Typed::default();
        let stop = match def.trailing {
            Trailing::None => Stop::AtEnd,
            Trailing::AfterId | Trailing::FromFirst => Stop::AfterWord,
        };
        typed.scan(&mut parser, def.flags, stop).map_err(within)?;
        if typed.help {
            return Ok(Command::Help(help::command(&self.program, def)));
        }
        if stop == Stop::AfterWord {
            let mut trailing = rest(&mut parser).map_err(within)?;
            if def.trailing == Trailing::AfterId && trailing.first().is_some_and(|w| w == "--") {
                trailing.remove(0);
            }
            typed.words.extend(trailing);
        }
        if let Some(objection) = def.positionals.objection(typed.words.len()) {
            let message = format!("{}: \"{}\" {objection}", self.program, def.name);
            return Err(within(Problem::count(&message)));
        }
        warnings.extend(ignored(&typed));
        (def.read)(&typed).map_err(within)
    }

    /// `help`, `help COMMAND`.
    fn help_command(&self, argv: Vec<OsString>) -> Result<Command, Fault> {
        let mut typed = Typed::default();
        typed.scan(&mut Parser::from_args(argv), &[], Stop::AtEnd)?;
        match typed.word(0) {
            Some(name) if !typed.help && !matches!(name.as_str(), "help" | "h") => {
                Ok(Command::Help(help::command(&self.program, self.find(&name)?)))
            }
            _ => Ok(self.program_help()),
        }
    }

    fn find(&self, name: &str) -> Result<&'static CommandDef, Problem> {
        match self.commands.iter().find(|(def, _)| def.name == name) {
            Some((def, Support::On)) => Ok(def),
            Some((_, Support::Refused(sentence))) => Err(Problem::value(sentence)),
            None => Err(Problem::unknown_command(name)),
        }
    }

    fn program_help(&self) -> Command {
        Command::Help(help::program(&self.program, self.commands))
    }

    fn reject(&self, global: Global, fault: &Fault) -> Rejection {
        let screen = fault.problem.headline().map(|headline| {
            let help = match fault.def {
                Some(def) => help::command(&self.program, def),
                None => help::program(&self.program, self.commands),
            };
            format!("{headline}\n\n{help}")
        });
        Rejection {
            global,
            message: fault.problem.message.clone(),
            screen,
            exit_code: fault.problem.exit_code(),
        }
    }
}

/// The words that were not looked at yet.
fn rest(parser: &mut Parser) -> Result<Vec<OsString>, Problem> {
    match parser.raw_args() {
        Ok(words) => Ok(words.collect()),
        Err(error) => Err(Problem::usage(&error.to_string())),
    }
}

/// One warning for each kind of option that was accepted without effect.
fn ignored(typed: &Typed) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for warning in typed.settings.iter().filter_map(|setting| setting.flag.ignored) {
        if !warnings.iter().any(|known| known == warning) {
            warnings.push(warning.to_owned());
        }
    }
    warnings
}

/// The file name the program was called by. Texts speak of the program by it.
fn program_name(argv0: Option<OsString>) -> String {
    let name = argv0.as_deref().map(Path::new).and_then(Path::file_name);
    match name {
        Some(name) => name.to_string_lossy().into_owned(),
        None => "oxrun".to_owned(),
    }
}
