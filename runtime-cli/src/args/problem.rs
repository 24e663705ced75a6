//! Why a command line is refused.
//!
//! The message is one line, because callers read it as one log record. It names the word that is
//! at fault, because callers probe for options and commands that way.

/// What kind of fault it is decides the exit code and whether the help is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Too many or too few words.
    Count,
    /// An unknown option, or an option without its value.
    Usage,
    /// The form is right, a value is not. Exits with this code.
    Value(u8),
    /// No such command.
    UnknownCommand,
}

/// A fault in the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(super) kind: Kind,
    pub(super) message: String,
}

impl Problem {
    fn new(kind: Kind, message: &str) -> Problem {
        // A word of the command line may hold anything; what is said of it stays on one line.
        let message = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Problem { kind, message }
    }

    /// Too many or too few words.
    pub(super) fn count(message: &str) -> Problem {
        Problem::new(Kind::Count, message)
    }

    /// An option that does not exist or lacks its value.
    pub(super) fn usage(message: &str) -> Problem {
        Problem::new(Kind::Usage, message)
    }

    /// A value that makes no sense.
    pub(super) fn value(message: &str) -> Problem {
        Problem::new(Kind::Value(1), message)
    }

    /// A value of `exec` that makes no sense: callers tell the failure of the runtime from the exit
    /// code of the process by 255.
    pub(super) fn exec_value(message: &str) -> Problem {
        Problem::new(Kind::Value(255), &format!("exec failed: {message}"))
    }

    /// A command that does not exist.
    pub(super) fn unknown_command(name: &str) -> Problem {
        Problem::new(Kind::UnknownCommand, &format!("No help topic for '{name}'"))
    }

    /// The exit code of the program.
    pub(super) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Count | Kind::Usage => 1,
            Kind::Value(code) => code,
            Kind::UnknownCommand => 3,
        }
    }

    /// The line above the help, if the help is to be shown.
    pub(super) fn headline(&self) -> Option<String> {
        match self.kind {
            Kind::Count => Some("Incorrect Usage.".to_owned()),
            Kind::Usage => Some(format!("Incorrect Usage: {}", self.message)),
            Kind::Value(_) | Kind::UnknownCommand => None,
        }
    }
}
