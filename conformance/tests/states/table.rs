//! What a container is, what each command leads to, and the words with which it is refused: for one command at a time
//! (`state_table`), and for many at once (`explain`).

/// What a container is. A paused one becomes again what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    None,
    Created,
    Running,
    PausedCreated,
    PausedRunning,
    Stopped,
}
pub(crate) use State::{Created, None, PausedCreated, PausedRunning, Running, Stopped};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    Create,
    Start,
    Exec,
    Kill,
    Pause,
    Resume,
    Update,
    Delete,
    Force,
}
pub(crate) use Command::{Create, Delete, Exec, Force, Kill, Pause, Resume, Start, Update};

pub(crate) const COMMANDS: [Command; 9] = [Create, Start, Exec, Kill, Pause, Resume, Update, Delete, Force];

/// What a command leads to, or the words with which it is refused.
pub(crate) fn table(state: State, command: Command) -> Result<State, &'static str> {
    match (state, command) {
        (None, Create) => Ok(Created),
        (_, Create) => Err("already exists"),
        (_, Force) => Ok(None),
        (None, _) => Err("does not exist"),

        (Created, Start) => Ok(Running),
        (Running, Start) => Err("cannot start an already running container"),
        (PausedCreated | PausedRunning, Start) => Err("cannot start a container in the paused state"),
        (Stopped, Start) => Err("cannot start a container that has stopped"),

        (Created | Running, Exec | Update) => Ok(state),
        (PausedCreated | PausedRunning, Exec) => Err("cannot exec in a paused container"),
        (PausedCreated | PausedRunning, Update) => Ok(state),
        (Stopped, Exec) => Err("cannot exec in a stopped container"),
        (Stopped, Update | Kill | Pause) => Err("container not running"),

        (_, Kill) => Ok(Stopped),

        (Created, Pause) => Ok(PausedCreated),
        (Running, Pause) => Ok(PausedRunning),
        (PausedCreated | PausedRunning, Pause) => Err("container not running"),
        (PausedCreated, Resume) => Ok(Created),
        (PausedRunning, Resume) => Ok(Running),
        (_, Resume) => Err("container not paused"),

        (Created | Stopped, Delete) => Ok(None),
        (_, Delete) => Err("that is not stopped"),
    }
}

pub(crate) fn status(state: State) -> &'static str {
    match state {
        None => "",
        Created => "created",
        Running => "running",
        PausedCreated | PausedRunning => "paused",
        Stopped => "stopped",
    }
}
