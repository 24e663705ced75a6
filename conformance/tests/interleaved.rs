//! Commands given at random by many processes at once: whatever meets, there is an order of the calls in which each
//! answers as the table of states says, no call hangs, and at the end nothing is left.
//!
//! `OXRUN_INTERLEAVED` says for how many seconds; without it the table and the search alone are tried. `OXRUN_SEED` is
//! for the choice of commands (not for how they meet, which the machine decides), `OXRUN_IDS` the number of containers.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "states/explain.rs"]
mod explain;
#[path = "states/table.rs"]
mod table;

use explain::{Answer, Asked, Call, explain};
use oxrun_conformance::harness::{Config, Host, Sandbox, conditional, not_oxrun, oxrun_only, run};
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use table::*;

/// How many call at the same time.
const CALLERS: usize = 16;
/// Containers whose program exits at once: every so many.
const SHORT: usize = 5;
/// Far longer than any call takes; the end of a runtime that hangs.
const LIMIT: Duration = Duration::from_secs(90);
/// When to delete a container under a call that waits, because it may be paused and nobody resumes it.
const PAUSED: Duration = Duration::from_secs(2);

fn number(name: &str, otherwise: u64) -> Check<u64> {
    Ok(std::env::var(name).map_or(Ok(otherwise), |text| text.parse())?)
}

/// The clock that orders calls: not time, but what was before what.
static CLOCK: AtomicU64 = AtomicU64::new(0);

/// A sequence that follows from its seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// Half of the calls are for a tenth of the containers: there they meet.
    fn id(&mut self, ids: usize) -> usize {
        let among = if self.below(2) == 0 { ids.div_ceil(10) } else { ids };
        self.below(among)
    }

    fn question(&mut self) -> Question {
        const WEIGHTS: [(Question, usize); 11] = [
            (Question::One(Asked::Give(Create)), 14),
            (Question::One(Asked::Give(Start)), 12),
            (Question::One(Asked::Give(Exec)), 12),
            (Question::One(Asked::Give(Kill)), 9),
            (Question::One(Asked::Give(Pause)), 8),
            (Question::One(Asked::Give(Resume)), 9),
            (Question::One(Asked::Give(Update)), 6),
            (Question::One(Asked::Give(Delete)), 8),
            (Question::One(Asked::Give(Force)), 6),
            (Question::One(Asked::Look), 14),
            (Question::All, 2),
        ];
        let mut at = self.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (question, weight) in WEIGHTS {
            if at < weight {
                return question;
            }
            at -= weight;
        }
        Question::All
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    One(Asked),
    /// `list`.
    All,
}

/// What all callers have in common.
struct Stage {
    program: PathBuf,
    root: PathBuf,
    directory: PathBuf,
    bundles: Vec<PathBuf>,
}

/// What a call of the program ended with.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// One of the processes that call; what it has called, with the container's number.
struct Caller<'a> {
    stage: &'a Stage,
    number: usize,
    calls: Vec<(usize, Call)>,
    /// The first processes of containers that it has made, which are its to reap.
    pids: Vec<i32>,
}

impl Caller<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.stage.directory.join(format!("caller-{}.{name}", self.number))
    }

    /// Calls the program. One that waits for a paused process is helped.
    fn call(&mut self, id: usize, words: &[&str], helped: bool) -> Check<Ended> {
        let (out, err) = (self.file("out"), self.file("err"));
        let mut command = Process::new(&self.stage.program);
        command.arg("--root").arg(&self.stage.root).args(words).stdin(Stdio::null());
        // A container keeps what it was created with.
        if words[0] == "create" {
            command.stdout(Stdio::null());
        } else {
            command.stdout(File::create(&out)?);
        }
        let mut child = command.stderr(File::create(&err)?).spawn()?;
        let process = sys::pidfd(child.id().cast_signed())?;
        let mut done = sys::readable(process.as_fd(), if helped { PAUSED } else { LIMIT })?;
        if !done && helped {
            let mut helper = Caller { number: self.number + CALLERS, calls: vec![], pids: vec![], ..*self };
            helper.give(id, Asked::Give(Force))?;
            self.calls.append(&mut helper.calls);
            done = sys::readable(process.as_fd(), LIMIT)?;
        }
        if !done {
            child.kill()?;
        }
        let code = child.wait()?.code();
        let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
        let stdout = if words[0] == "create" { String::new() } else { read(&out)? };
        let stderr = read(&err)?;
        check!(done, "{words:?} hangs\n  stderr: {stderr}");
        Ok(Ended { code, stdout, stderr })
    }

    fn give(&mut self, id: usize, asked: Asked) -> Check {
        let name = format!("c{id}");
        let bundle = self.stage.bundles[id].to_string_lossy().into_owned();
        let pid_file = self.file("pid");
        let pid = pid_file.to_string_lossy().into_owned();
        let words: &[&str] = match asked {
            Asked::Look => &["state", &name],
            Asked::Give(Create) => &["create", "--bundle", &bundle, "--pid-file", &pid, &name],
            Asked::Give(Start) => &["start", &name],
            Asked::Give(Exec) => &["exec", &name, "/bin/probe", "echo", "here"],
            Asked::Give(Kill) => &["kill", &name, "KILL"],
            Asked::Give(Pause) => &["pause", &name],
            Asked::Give(Resume) => &["resume", &name],
            Asked::Give(Update) => &["update", "--pids-limit", "50", &name],
            Asked::Give(Delete) => &["delete", &name],
            Asked::Give(Force) => &["delete", "--force", &name],
        };
        let begin = CLOCK.fetch_add(1, SeqCst);
        let ended = self.call(id, words, matches!(asked, Asked::Give(Exec | Start)))?;
        let end = CLOCK.fetch_add(1, SeqCst);
        if asked == Asked::Give(Create) && ended.code == Some(0) {
            self.pids.push(fs::read_to_string(&pid_file)?.trim().parse()?);
        }
        let answer = match (ended.code, asked) {
            (Some(0), Asked::Look) => {
                let said: Value = serde_json::from_str(&ended.stdout)?;
                Answer::Seen(said["status"].as_str().unwrap_or_default().to_owned())
            }
            (Some(0), Asked::Give(Exec)) if ended.stdout != "here" => {
                Answer::Refused(format!("said {:?}", ended.stdout))
            }
            (Some(0), _) => Answer::Done,
            (Some(137), Asked::Give(Exec)) if ended.stderr.is_empty() => Answer::Killed,
            (code, _) if ended.stderr.is_empty() => Answer::Refused(format!("nothing, exit code {code:?}")),
            _ => Answer::Refused(ended.stderr),
        };
        self.calls.push((id, Call { asked, answer, begin, end, short: id.is_multiple_of(SHORT) }));
        Ok(())
    }

    /// What `list` says of each is a look at each.
    fn list(&mut self) -> Check {
        let begin = CLOCK.fetch_add(1, SeqCst);
        let ended = self.call(0, &["list", "--format", "json"], false)?;
        let end = CLOCK.fetch_add(1, SeqCst);
        check!(ended.code == Some(0), "list: {:?}\n  {}", ended.code, ended.stderr);
        let said: Value = serde_json::from_str(&ended.stdout)?;
        for id in 0..self.stage.bundles.len() {
            let name = format!("c{id}");
            let row = said.as_array().and_then(|rows| rows.iter().find(|row| row["id"] == name.as_str()));
            let answer = match row {
                Some(row) => Answer::Seen(row["status"].as_str().unwrap_or_default().to_owned()),
                Option::None => Answer::Refused("it does not exist in the list".to_owned()),
            };
            self.calls
                .push((id, Call { asked: Asked::Look, answer, begin, end, short: id.is_multiple_of(SHORT) }));
        }
        Ok(())
    }

    fn reap(&mut self) {
        self.pids.retain(|pid| matches!(sys::reap(*pid), Ok(Option::None)));
    }

    /// Calls until the time is over.
    fn work(&mut self, dice: &mut Dice, until: Instant) -> Check {
        while Instant::now() < until {
            match dice.question() {
                Question::All => self.list()?,
                Question::One(asked) => self.give(dice.id(self.stage.bundles.len()), asked)?,
            }
            self.reap();
        }
        Ok(())
    }
}

fn any_interleaving_of_commands_is_explained_by_the_table() -> Check {
    let seconds = number("OXRUN_INTERLEAVED", 15)?;
    let ids = usize::try_from(number("OXRUN_IDS", 50)?)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let seed = number("OXRUN_SEED", now as u64 % 1_000_000)?;
    println!("seed {seed}");
    let s = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
    let mut bundles = Vec::new();
    for id in 0..ids {
        let words: &[&str] =
            if id.is_multiple_of(SHORT) { &["/bin/probe", "exit", "0"] } else { &["/bin/probe", "sleep"] };
        bundles.push(s.bundle(&Config::new(words))?.path().to_owned());
    }
    let stage = Stage {
        program: s.runtime().program().to_owned(),
        root: s.runtime().root(),
        directory: s.dir().to_owned(),
        bundles,
    };
    // A list before the first container is refused otherwise.
    fs::create_dir_all(&stage.root)?;
    let (before, children) = (s.leaks()?, Host::children()?);
    let until = Instant::now() + Duration::from_secs(seconds);
    let new = |number| Caller { stage: &stage, number, calls: vec![], pids: vec![] };
    let done: Vec<(Caller<'_>, Check)> = std::thread::scope(|scope| {
        let work = |number: usize| {
            let mut caller = new(number);
            let mut dice = Dice(seed.wrapping_add((number as u64) << 32));
            let done = caller.work(&mut dice, until);
            (caller, done)
        };
        let callers: Vec<_> = (0..CALLERS).map(|number| scope.spawn(move || work(number))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let mut last = new(2 * CALLERS);
    let ended = (0..ids).try_for_each(|id| last.give(id, Asked::Give(Force)));
    let mut histories: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
    let mut failed = ended.err().map(|e| e.message().unwrap_or_default().to_owned());
    for (caller, done) in done {
        histories = gather(histories, caller.calls);
        failed = failed.or(done.err().map(|e| e.message().unwrap_or_default().to_owned()));
    }
    histories = gather(histories, last.calls);
    print_summary(&histories);
    let wrong: Vec<String> = histories
        .iter()
        .filter_map(|(id, calls)| Some(unexplained(*id, calls, explain(calls).err()?)))
        .collect();
    check!(
        wrong.is_empty(),
        "seed {seed}: {} of {ids} are not explained\n{}",
        wrong.len(),
        wrong[..wrong.len().min(6)].join("\n")
    );
    check!(failed.is_none(), "seed {seed}: {}", failed.unwrap_or_default());
    for pid in Host::children()?.difference(&children) {
        s.runtime().wait_for(*pid)?;
    }
    before.assert_same()
}

fn gather(
    mut histories: BTreeMap<usize, Vec<Call>>,
    calls: Vec<(usize, Call)>,
) -> BTreeMap<usize, Vec<Call>> {
    for (id, call) in calls {
        histories.entry(id).or_default().push(call);
    }
    histories
}

/// A call that no order explains, with those before it and beside it.
fn unexplained(id: usize, calls: &[Call], (n, before): (usize, String)) -> String {
    let end = calls[n].end;
    let mut near: Vec<&Call> = calls.iter().filter(|call| call.begin <= end).collect();
    near.sort_by_key(|call| call.end);
    let mut text = format!("c{id}: {before}, which does not explain the call that ended at {end}:");
    for call in near.iter().rev().take(14).rev() {
        let _ = write!(text, "\n  {:>8} - {:>8} {:?}: {:?}", call.begin, call.end, call.asked, call.answer);
    }
    text
}

/// How often what was answered, and how many pairs of commands have met.
fn print_summary(histories: &BTreeMap<usize, Vec<Call>>) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut met: BTreeSet<(String, String)> = BTreeSet::new();
    let mut meetings = 0;
    let name = |call: &Call| format!("{:?}", call.asked).replace("Give(", "").replace(')', "");
    for calls in histories.values() {
        let mut sorted: Vec<&Call> = calls.iter().collect();
        sorted.sort_by_key(|call| call.begin);
        for (n, call) in sorted.iter().enumerate() {
            let what = match &call.answer {
                Answer::Refused(_) => "refused".to_owned(),
                other => format!("{other:?}").to_lowercase(),
            };
            *counts.entry(format!("{} {what}", name(call))).or_default() += 1;
            for other in sorted[n + 1..].iter().take_while(|other| other.begin < call.end) {
                meetings += 1;
                met.insert((name(call), name(other)));
            }
        }
    }
    let calls: usize = histories.values().map(Vec::len).sum();
    println!("{calls} answers; {meetings} times two calls met, {} of {} ordered pairs", met.len(), 10 * 10);
    for (what, count) in counts {
        println!("  {what}: {count}");
    }
}

/// A history in which each call ends before the next one begins.
fn one_by_one(calls: &[(Command, Answer)]) -> Vec<Call> {
    let one = |(n, (command, answer)): (usize, &(Command, Answer))| {
        let begin = 2 * n as u64;
        Call { asked: Asked::Give(*command), answer: answer.clone(), begin, end: begin + 1, short: false }
    };
    calls.iter().enumerate().map(one).collect()
}

/// Every pair of commands in every state, with the table's answers, and with each other answer of the table.
fn answers_of_the_table_are_explained_and_no_others() -> Check {
    let ways: [&[Command]; 6] =
        [&[], &[Create], &[Create, Start], &[Create, Pause], &[Create, Start, Pause], &[Create, Kill]];
    let mut answers: Vec<Answer> = COMMANDS
        .iter()
        .flat_map(|command| {
            [None, Created, Running, PausedRunning, Stopped].map(|state| table(state, *command).err())
        })
        .flatten()
        .map(|words| Answer::Refused(words.to_owned()))
        .collect();
    answers.push(Answer::Done);
    let (mut right, mut wrong) = (0, 0);
    for way in ways {
        for (first, second) in COMMANDS.iter().flat_map(|first| COMMANDS.map(|second| (*first, second))) {
            let mut state = None;
            let mut calls = Vec::new();
            for command in way.iter().copied().chain([first, second]) {
                let answer = table(state, command);
                state = answer.unwrap_or(state);
                let answer = answer.map_or_else(|words| Answer::Refused(words.to_owned()), |_| Answer::Done);
                calls.push((command, answer));
            }
            if let Err((n, before)) = explain(&one_by_one(&calls)) {
                return Err(Failed::from(format!("{calls:?}: number {n}: {before}")));
            }
            right += 1;
            let true_answer = calls.pop().unwrap().1;
            for answer in answers.iter().filter(|answer| **answer != true_answer) {
                // Who was killed may be seen alive for a moment: then there are two answers.
                let killed =
                    calls.iter().any(|(command, answer)| *command == Kill && *answer == Answer::Done);
                calls.push((second, answer.clone()));
                if !killed {
                    check!(explain(&one_by_one(&calls)).is_err(), "this is explained: {calls:?}");
                    wrong += 1;
                }
                calls.pop();
            }
        }
    }
    check!(right == 6 * 81 && wrong > 2000, "{right} right and {wrong} wrong histories");
    Ok(())
}

fn call(asked: Asked, answer: Answer, begin: u64, end: u64) -> Call {
    Call { asked, answer, begin, end, short: false }
}

/// The same calls are explained where they overlap and not where they do not.
fn only_calls_that_overlap_may_have_been_in_another_order() -> Check {
    let seen = |status: &str| Answer::Seen(status.to_owned());
    let refused = |words: &str| Answer::Refused(words.to_owned());
    let give = |command, answer, begin, end| call(Asked::Give(command), answer, begin, end);
    let look = |answer, begin, end| call(Asked::Look, answer, begin, end);
    let exists = || refused("already exists");
    let gone = || refused("does not exist");
    // What happened, with moments that let it; the same with moments that do not.
    let both: [(Vec<Call>, Vec<Call>); 5] = [
        (
            vec![give(Create, Answer::Done, 0, 3), give(Create, exists(), 1, 2)],
            vec![give(Create, exists(), 0, 1), give(Create, Answer::Done, 2, 3)],
        ),
        (
            vec![give(Create, Answer::Done, 0, 5), give(Create, exists(), 1, 2), look(gone(), 3, 4)],
            vec![give(Create, Answer::Done, 0, 1), give(Create, exists(), 2, 3), look(gone(), 4, 5)],
        ),
        (
            vec![
                give(Create, Answer::Done, 0, 1),
                give(Start, Answer::Done, 2, 5),
                look(seen("created"), 3, 4),
            ],
            vec![
                give(Create, Answer::Done, 0, 1),
                give(Start, Answer::Done, 2, 3),
                look(seen("created"), 4, 5),
            ],
        ),
        (
            vec![
                give(Create, Answer::Done, 0, 1),
                give(Force, Answer::Done, 2, 9),
                look(seen("stopped"), 3, 4),
                look(gone(), 5, 6),
                give(Create, exists(), 7, 8),
            ],
            vec![
                give(Create, Answer::Done, 0, 1),
                give(Force, Answer::Done, 2, 9),
                look(gone(), 3, 4),
                look(seen("stopped"), 5, 6),
                give(Create, exists(), 7, 8),
            ],
        ),
        (
            vec![
                give(Create, Answer::Done, 0, 1),
                give(Exec, Answer::Killed, 2, 5),
                give(Kill, Answer::Done, 3, 4),
            ],
            vec![
                give(Create, Answer::Done, 0, 1),
                give(Exec, Answer::Killed, 2, 3),
                give(Kill, Answer::Done, 4, 5),
            ],
        ),
    ];
    for (lets, lets_not) in both {
        if let Err((n, before)) = explain(&lets) {
            return Err(Failed::from(format!("{lets:#?}\nnumber {n}: {before}")));
        }
        check!(explain(&lets_not).is_err(), "this is explained: {lets_not:#?}");
    }
    check_eq!(explain(&[]).is_ok(), true);
    Ok(())
}

fn main() -> ExitCode {
    let only = |name, body| oxrun_only(name, "others answer otherwise", body);
    run(vec![
        only(
            "answers_of_the_table_are_explained_and_no_others",
            answers_of_the_table_are_explained_and_no_others,
        ),
        only(
            "only_calls_that_overlap_may_have_been_in_another_order",
            only_calls_that_overlap_may_have_been_in_another_order,
        ),
        conditional(
            "any_interleaving_of_commands_is_explained_by_the_table",
            || {
                let seconds = std::env::var_os("OXRUN_INTERLEAVED");
                let unasked =
                    seconds.is_none().then(|| "set OXRUN_INTERLEAVED to a number of seconds".to_owned());
                unasked.or_else(|| not_oxrun("others answer otherwise"))
            },
            any_interleaving_of_commands_is_explained_by_the_table,
        ),
    ])
}
