//! Whether there is an order of overlapping calls that explains all answers. What must hold of a history of one
//! container: each call takes effect in steps between its beginning and its end, and each answer is the one that the
//! table of states gives at such a step.
//!
//! Some commands have more than one step, and what others see in between is named here: a container is being created
//! (its id is taken, nothing else is there), killed (it is what it was until it is gone), deleted (it ends, is gone, has
//! no state any more).

use super::table::*;
use std::collections::HashSet;

/// What a container is while calls are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// What the table knows.
    At(State),
    /// Its id is taken; who looks finds no state, who changes something waits.
    Creating,
    /// It has got SIGKILL, or its program is about to exit. It is what it was, and any moment stopped.
    Dying(State),
    /// The same, and who changes something waits: it is being deleted.
    Ending(State),
    /// It is being deleted, and its process is gone.
    Emptied,
    /// It is being deleted, and its state is gone. Its id is still taken.
    Cleared,
}
use Place::{At, Cleared, Creating, Dying, Emptied, Ending};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Give(Command),
    /// `state`, or a line of `list`.
    Look,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// To [`Asked::Look`]: the status.
    Seen(String),
    /// The further process was killed.
    Killed,
    Refused(String),
}

/// One call: what was asked and answered, and when it began and ended by a clock that all share.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) answer: Answer,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// The program exits as soon as it is started.
    pub(crate) short: bool,
}

/// Refusals that the table does not have, of calls that were let in and then overtaken by the container's end. Each says
/// what happened to whom, which "stopped" alone would not: what was to be created, or the program of the start or of the
/// further process, was on its way, and was killed there.
const OVERTAKEN: [(Command, &str); 4] = [
    (Create, "container init was ended during step"),
    (Start, "container init was killed during step"),
    (Start, "killed by signal 9 while the kernel loaded it"),
    (Exec, "container init was ended during step"),
];

/// The last step was made.
const COMPLETE: u8 = u8::MAX;

impl Place {
    /// What the container looks like.
    fn looks(self) -> State {
        match self {
            At(state) | Dying(state) | Ending(state) => state,
            Emptied => Stopped,
            Creating | Cleared => None,
        }
    }

    /// Whether its process is about to go, or gone.
    fn is_overtaken(self) -> bool {
        !matches!(self, At(Created | Running | PausedCreated | PausedRunning))
    }

    /// Whether somebody creates or deletes it, for whom commands that change something wait.
    fn is_held(self) -> bool {
        matches!(self, Creating | Ending(_) | Emptied | Cleared)
    }

    /// What happens by itself.
    fn by_itself(self) -> Option<Place> {
        match self {
            Dying(_) => Some(At(Stopped)),
            Ending(_) => Some(Emptied),
            _ => Option::None,
        }
    }
}

impl Call {
    /// Whether it changes nothing, whatever it finds.
    fn is_look(&self) -> bool {
        !matches!(
            (self.asked, &self.answer),
            (Asked::Give(Create | Start | Kill | Pause | Resume | Delete | Force), Answer::Done)
        ) && !self.has_two_steps()
    }

    /// Whether it was let in and refused later.
    fn has_two_steps(&self) -> bool {
        match (self.asked, &self.answer) {
            (Asked::Give(Exec), Answer::Killed) => true,
            (Asked::Give(command), Answer::Refused(text)) => {
                OVERTAKEN.iter().any(|(who, words)| *who == command && text.contains(words))
            }
            _ => false,
        }
    }

    /// The steps that it can make when it has made so many.
    fn steps(&self, made: u8, place: Place) -> Vec<(u8, Place)> {
        let command = match (self.asked, &self.answer) {
            (Asked::Look, Answer::Seen(seen)) => {
                let there = place.looks() != None && status(place.looks()) == seen;
                return if there { vec![(COMPLETE, place)] } else { vec![] };
            }
            (Asked::Look, Answer::Refused(text)) => {
                let gone = place.looks() == None && text.contains("does not exist");
                return if gone { vec![(COMPLETE, place)] } else { vec![] };
            }
            (Asked::Look, _) => return vec![],
            (Asked::Give(command), _) => command,
        };
        if self.has_two_steps() {
            return if command == Create {
                killed_creation(made, place)
            } else {
                self.overtaken(command, made, place)
            };
        }
        match (&self.answer, made, place) {
            (Answer::Done, 0, At(None)) if command == Create => vec![(1, Creating)],
            (Answer::Done, 1, Creating) if command == Create => vec![(COMPLETE, At(Created))],
            // Somebody has deleted what there was of it, and it begins again.
            (Answer::Done, 1, At(None)) if command == Create => vec![(1, Creating)],
            (Answer::Done, _, _) if command == Create => vec![],
            (Answer::Done, 0, Creating) if command == Force => vec![(COMPLETE, place), (COMPLETE, At(None))],
            (Answer::Done, 1, Emptied) => vec![(2, Cleared)],
            (Answer::Done, 2, Cleared) => vec![(COMPLETE, At(None))],
            (Answer::Done, 1.., _) => vec![],
            (Answer::Refused(text), 0, _) => self.refused(command, text, place).into_iter().collect(),
            (Answer::Done, 0, _) => self.done(command, place).into_iter().collect(),
            _ => vec![],
        }
    }

    fn refused(&self, command: Command, text: &str, place: Place) -> Option<(u8, Place)> {
        let words = match command {
            Create if place != At(None) => "already exists",
            // Such a place is seen only by who does not wait.
            _ if place.is_held() && place.looks() != None && !matches!(command, Exec | Kill) => {
                return Option::None;
            }
            Exec if place.is_overtaken()
                && place.looks() != None
                && text.contains("cannot exec in a stopped container") =>
            {
                return Some((COMPLETE, place));
            }
            _ => table(place.looks(), command).err()?,
        };
        text.contains(words).then_some((COMPLETE, place))
    }

    fn done(&self, command: Command, place: Place) -> Option<(u8, Place)> {
        if place.is_held() && !matches!(command, Exec | Kill) {
            return Option::None;
        }
        let next = table(place.looks(), command).ok()?;
        Some(match (command, place) {
            (Force, At(None)) => (COMPLETE, place),
            (Delete | Force, At(Stopped)) => (1, Emptied),
            (Delete | Force, At(state) | Dying(state)) => (1, Ending(state)),
            (Kill, At(state)) => (COMPLETE, Dying(state)),
            (Kill, _) => (COMPLETE, place),
            (Start, At(_)) if self.short => (COMPLETE, Dying(next)),
            (_, At(_)) => (COMPLETE, At(next)),
            (_, Dying(_)) => (COMPLETE, Dying(next)),
            (_, Ending(_)) => (COMPLETE, place),
            _ => return Option::None,
        })
    }

    /// Let in, and then the container ended.
    fn overtaken(&self, command: Command, made: u8, place: Place) -> Vec<(u8, Place)> {
        match made {
            0 => {
                let let_in = Call { answer: Answer::Done, ..self.clone() };
                let_in.done(command, place).map(|(_, place)| (1, place)).into_iter().collect()
            }
            1 if place.is_overtaken() => vec![(COMPLETE, place)],
            _ => vec![],
        }
    }
}

/// A container is seen by who kills it before its creator knows that it is created. Then the creator takes it away.
fn killed_creation(made: u8, place: Place) -> Vec<(u8, Place)> {
    match (made, place) {
        (0, At(None)) => vec![(1, Creating)],
        (1, Creating) => vec![(2, At(Created))],
        (2, At(Stopped)) => vec![(3, Emptied)],
        (3, Emptied) => vec![(4, Cleared)],
        (4, Cleared) => vec![(COMPLETE, At(None))],
        _ => vec![],
    }
}

/// What may be the case: the place, and how many steps each call under way has made.
type Case = (Place, Vec<u8>);

/// Everything that may come of these cases before another call begins or ends.
fn follow(cases: HashSet<Case>, under_way: &[&Call]) -> HashSet<Case> {
    let mut all = HashSet::new();
    let mut open: Vec<Case> = cases.into_iter().collect();
    while let Some((place, mut made)) = open.pop() {
        // Who changes nothing looks as soon as it sees what it has seen.
        for (call, made) in under_way.iter().zip(&mut made) {
            if *made == 0 && call.is_look() && !call.steps(0, place).is_empty() {
                *made = COMPLETE;
            }
        }
        if !all.insert((place, made.clone())) {
            continue;
        }
        open.extend(place.by_itself().map(|next| (next, made.clone())));
        for (n, call) in under_way.iter().enumerate() {
            if made[n] == COMPLETE {
                continue;
            }
            for (step, next) in call.steps(made[n], place) {
                let mut made = made.clone();
                made[n] = step;
                open.push((next, made));
            }
        }
    }
    all
}

/// Looks for an order that explains all answers, from no container at the beginning to none at the end.
///
/// # Errors
/// The first call that no order explains, by its number, and what may have been the case before.
pub(crate) fn explain(calls: &[Call]) -> Result<(), (usize, String)> {
    let mut moments: Vec<(u64, usize, bool)> = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        moments.extend([(call.begin, n, true), (call.end, n, false)]);
    }
    moments.sort_unstable();
    let mut under_way: Vec<usize> = Vec::new();
    let mut cases: HashSet<Case> = HashSet::from([(At(None), Vec::new())]);
    for (_, n, begins) in moments {
        if begins {
            under_way.push(n);
            cases = cases.into_iter().map(|(place, made)| (place, [made, vec![0]].concat())).collect();
            continue;
        }
        let at = under_way.iter().position(|other| *other == n).unwrap();
        let those: Vec<&Call> = under_way.iter().map(|n| &calls[*n]).collect();
        let before: HashSet<Place> = cases.iter().map(|(place, _)| *place).collect();
        let met = follow(cases, &those).into_iter().filter(|(_, made)| made[at] == COMPLETE);
        cases = met
            .map(|(place, mut made)| {
                made.remove(at);
                (place, made)
            })
            .collect();
        if cases.is_empty() {
            return Err((n, format!("it may have been {before:?}")));
        }
        under_way.remove(at);
    }
    Ok(())
}
