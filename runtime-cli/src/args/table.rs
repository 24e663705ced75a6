//! The command line as data: parsing and help read the same rows, so that an option which parses
//! is an option which is documented.
//!
//! A flag is a row of [`Flag`], a command a [`CommandDef`]. [`COMMANDS`] says which of them this
//! program has; turning a command on or off is a change of one word there.

use super::commands;
use super::invocation::Command;
use super::problem::Problem;
use super::typed::Typed;

/// One option: `--long`, `-short`, and what it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Name after the two dashes; one dash is accepted as well.
    pub(crate) long: &'static str,
    /// Letter after one dash.
    pub(crate) short: Option<char>,
    /// What the help calls the value, `a|b` if it is one of these. `None`: a switch, which takes a value only as
    /// `--long=bool`.
    pub(crate) value: Option<&'static str>,
    /// Every occurrence counts. Otherwise the last one wins.
    pub(crate) repeat: bool,
    /// Left out of the help.
    pub(crate) hidden: bool,
    /// Said once when the option is given: it is accepted for old callers but does nothing.
    pub(crate) ignored: Option<&'static str>,
    /// One line for the help.
    pub(crate) help: &'static str,
}

impl Flag {
    /// A flag without a value.
    pub(super) const fn switch(long: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: None, repeat: false, hidden: false, ignored: None, help }
    }

    /// A flag that takes a value.
    pub(super) const fn option(long: &'static str, value: &'static str, help: &'static str) -> Flag {
        let mut flag = Flag::switch(long, help);
        flag.value = Some(value);
        flag
    }

    /// The same flag with a letter.
    pub(super) const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }

    /// The same flag, of which every occurrence counts.
    pub(super) const fn repeated(mut self) -> Flag {
        self.repeat = true;
        self
    }

    /// The same flag, left out of the help.
    pub(super) const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }

    /// The same flag, accepted without effect but not without a word.
    pub(super) const fn ignored(mut self, warning: &'static str) -> Flag {
        self.ignored = Some(warning);
        self
    }
}

/// How many words stand beside the options.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arity {
    /// Neither more nor fewer.
    Exactly(usize),
    /// From the first number to the second.
    Between(usize, usize),
    /// This many or more.
    AtLeast(usize),
}

impl Arity {
    /// `None` if `count` words are right, otherwise what the command requires.
    pub(super) fn objection(self, count: usize) -> Option<String> {
        match self {
            Arity::Exactly(n) if count != n => Some(format!("requires exactly {n} argument(s)")),
            Arity::Between(low, _) | Arity::AtLeast(low) if count < low => {
                Some(format!("requires a minimum of {low} argument(s)"))
            }
            Arity::Between(_, high) if count > high => {
                Some(format!("requires a maximum of {high} argument(s)"))
            }
            _ => None,
        }
    }
}

/// Where the words of another program begin. From there on nothing is an option of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailing {
    /// Nowhere.
    None,
    /// Behind the first word, the id. A `--` right behind it is dropped.
    AfterId,
    /// At the first word.
    FromFirst,
}

/// One command.
#[derive(Debug)]
pub(crate) struct CommandDef {
    /// The word that calls it.
    pub(crate) name: &'static str,
    /// What follows the name in the usage line.
    pub(crate) usage: &'static str,
    /// Half a sentence for the list of commands.
    pub(crate) about: &'static str,
    /// A paragraph for the command's own help, may be empty.
    pub(crate) details: &'static str,
    /// Its options.
    pub(crate) flags: &'static [Flag],
    /// The words beside the options.
    pub(crate) positionals: Arity,
    /// Words that belong to another program.
    pub(crate) trailing: Trailing,
    /// Gives the typed words their meaning.
    pub(crate) read: fn(&Typed) -> Result<Command, Problem>,
}

/// Whether this program has a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// It works.
    On,
    /// It is known, and every call of it, `--help` included, fails with this sentence. Engines
    /// take a successful `checkpoint --help` for support.
    Refused(&'static str),
}

const NO_CRIU: &str = "checkpoint and restore are not supported: this runtime cannot drive CRIU";

/// All commands, in the order of the help.
pub(crate) const COMMANDS: &[(&CommandDef, Support)] = &[
    (&commands::CREATE, Support::On),
    (&commands::RUN, Support::On),
    (&commands::START, Support::On),
    (&commands::STATE, Support::On),
    (&commands::KILL, Support::On),
    (&commands::DELETE, Support::On),
    (&commands::EXEC, Support::On),
    (&commands::LIST, Support::On),
    (&commands::PS, Support::On),
    (&commands::PAUSE, Support::On),
    (&commands::RESUME, Support::On),
    (&commands::UPDATE, Support::On),
    (&commands::EVENTS, Support::On),
    (&commands::CHECKPOINT, Support::Refused(NO_CRIU)),
    (&commands::RESTORE, Support::Refused(NO_CRIU)),
    (&commands::SPEC, Support::On),
    (&commands::FEATURES, Support::On),
    (&commands::EXPLAIN, Support::On),
    (&commands::CHECK, Support::On),
    (&commands::TRY, Support::On),
];

/// Shown last among the options of every command.
pub(crate) const HELP: Flag = Flag::switch("help", "show this help").short('h');

/// Options that stand before the command.
pub(crate) const GLOBAL: &[Flag] = &[
    Flag::switch("debug", "write debug records to the log"),
    Flag::option("log", "FILE", "append log records to FILE (default: standard error)"),
    Flag::option("log-format", "text|json", "form of log records (default: text)"),
    Flag::option(
        "log-level",
        "error|warning|info|debug",
        "least severe record (default: warning, error in a file)",
    ),
    Flag::option(
        "root",
        "DIR",
        "where the state of containers is kept, best on a tmpfs (default: /run/oxrun, \
         or $XDG_RUNTIME_DIR/oxrun without root)",
    ),
    Flag::switch("systemd-cgroup", "let systemd make the cgroups; cgroupsPath is then \"slice:prefix:name\""),
    Flag::option("cgroup-manager", "cgroupfs|systemd|disabled", "who makes the cgroups (default: cgroupfs)"),
    Flag::option(
        "rootless",
        "true|false|auto",
        "go on without the cgroups one may not touch (default: auto)",
    ),
    Flag::option("criu", "PATH", "accepted for old callers")
        .hidden()
        .ignored("--criu is ignored: checkpoint and restore are not supported"),
    HELP,
    Flag::switch("version", "print the version").short('v'),
];
