//! Plays one scenario at a time, first over the reference, then over the runtime under test. After
//! each the containers are removed, and neither state nor a cgroup of them may be left.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use super::alike::alike;
use super::calls::{Calls, Side};
use super::command::{self, Done};
use super::daemon::Daemon;
use super::differences::{DIFFERENCES, Difference};
use super::engine::environment;
use super::scenario::{Compare, Kind, Outcome, Report, Scenario, Step};
use super::text::{self, Names};
use super::{Job, cgroups, containerd, isolate, soak};

/// How long an engine may take for what it does after it has answered.
const SETTLE: Duration = Duration::from_secs(60);

/// How often the reference is asked at most: for what the steps demand, and for what the runtime under test does.
const TRIES: usize = 3;

/// Pid 1 of the namespace: isolates itself, starts the engine and reports each scenario.
pub(super) fn inside(job: &Job) -> ExitCode {
    let played = isolate::enter(job).and_then(|()| prepare(job)).and_then(|()| Daemon::start(job)).and_then(
        |daemon| match job.soak {
            Some(counts) => soak::run(job, counts, &daemon),
            None => all(job, &daemon),
        },
    );
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = emit(&Report::failed("start", e));
            ExitCode::FAILURE
        }
    }
}

fn prepare(job: &Job) -> Result<(), String> {
    for dir in ["bin", "data", "home"] {
        let dir = job.scratch.join(dir);
        fs::create_dir(&dir)
            .and_then(|()| hand_over(job, &dir))
            .map_err(|e| format!("mkdir {}: {e}", dir.display()))?;
    }
    for (side, path) in [(Side::Reference, &job.reference), (Side::Tested, &job.runtime)] {
        if !path.is_file() {
            return Err(format!("{} cannot be seen inside", path.display()));
        }
        match job.engine.kit().user() {
            // The directories above it may be closed to that user.
            Some(_) => side.install(&job.scratch, &side.copy(&job.scratch, path)?)?,
            None => side.install(&job.scratch, path)?,
        }
    }
    Side::Reference.select(&job.scratch)?;
    Ok(())
}

/// Gives a directory to whoever calls the engine.
fn hand_over(job: &Job, dir: &Path) -> std::io::Result<()> {
    let user = job.engine.kit().user();
    if user.is_some() { chown(dir, user, user) } else { Ok(()) }
}

/// Hands a report to the supervisor.
pub(super) fn emit(report: &Report) -> Result<(), String> {
    let mut line = serde_json::to_vec(report).map_err(|e| e.to_string())?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).map_err(|e| format!("stdout: {e}"))
}

fn all(job: &Job, daemon: &Daemon) -> Result<(), String> {
    let listed = DIFFERENCES.iter().enumerate().filter(|(_, d)| d.engines.contains(&job.engine));
    let table: Vec<(usize, &Difference)> = listed.collect();
    let chosen = |s: &&Scenario| job.only.is_empty() || job.only.iter().any(|n| n == s.name);
    for scenario in job.engine.scenarios().filter(chosen) {
        let play = |side| Player { job, daemon, scenario, side }.play();
        let reference = demanded(|| play(Side::Reference));
        let (tested, lost) =
            kept(|| play(Side::Tested), |played| daemon.kit.forgets() && is_lost(&reference, played));
        let compare = |reference: &Played| differences(&table, scenario, reference, &tested);
        let again = || tested.problems.is_empty().then(|| play(Side::Reference));
        let (differences, shown) = any_answer(&reference, again, compare);
        let outcome = Outcome {
            differences,
            shown,
            reference: reference.problems,
            tested: tested.problems,
            calls: tested.calls,
            lost,
        };
        emit(&outcome.judge(scenario.name))?;
    }
    Ok(())
}

/// What the reference does if it does what the steps demand. A client under load loses output now and then,
/// and a reference that fails says nothing of the runtime under test: it is asked again.
fn demanded(mut play: impl FnMut() -> Played) -> Played {
    let tries = (0..TRIES).map(|_| play());
    let mut last = Played::default();
    for played in tries {
        last = played;
        if last.problems.is_empty() {
            break;
        }
    }
    last
}

/// What the runtime under test does, and how often the client lost its output before. For nothing else it is asked again.
fn kept(mut play: impl FnMut() -> Played, is_lost: impl Fn(&Played) -> bool) -> (Played, usize) {
    let mut lost = 0;
    loop {
        let played = play();
        if lost + 1 == TRIES || !is_lost(&played) {
            return (played, lost);
        }
        lost += 1;
    }
}

/// Whether nothing at all has come of a stream that the reference's program wrote to, and all else is the same: a runtime
/// hands a stream on, or does not, and the program's code tells that it ran.
fn is_lost(reference: &Played, tested: &Played) -> bool {
    let same_codes = reference.done.iter().zip(&tested.done).all(|(a, b)| a.code == b.code);
    let one = |a: &str, b: &str| !a.is_empty() && b.is_empty();
    let streams = |(a, b): (&Done, &Done)| one(&a.stdout, &b.stdout) || one(&a.stderr, &b.stderr);
    same_codes && reference.done.iter().zip(&tested.done).any(streams)
}

/// Where the runtime under test differs from each of the reference's answers. Which of them an engine gives may be
/// chance, such as the order of two messages: all that the reference gives are right.
fn any_answer<T>(
    first: &Played,
    mut again: impl FnMut() -> Option<Played>,
    compare: impl Fn(&Played) -> (Vec<String>, T),
) -> (Vec<String>, T) {
    let found = compare(first);
    let mut left = TRIES - 1;
    while !found.0.is_empty() && left > 0 {
        left -= 1;
        match again().map(|other| (other.problems.is_empty(), compare(&other))) {
            Some((true, other)) if other.0.is_empty() => return other,
            Some(_) => {}
            None => break,
        }
    }
    found
}

/// What one side came to.
#[derive(Default)]
struct Played {
    done: Vec<Done>,
    problems: Vec<String>,
    calls: usize,
}

/// Where two results differ, and which differences of the table showed.
fn differences(
    table: &[(usize, &Difference)],
    scenario: &Scenario,
    reference: &Played,
    tested: &Played,
) -> (Vec<String>, Vec<usize>) {
    let (mut found, mut shown) = (Vec::new(), BTreeSet::new());
    let pairs = reference.done.iter().zip(&tested.done);
    for (step, (a, b)) in scenario.steps.iter().zip(pairs) {
        let line = step.line;
        if a.code != b.code {
            let [a, b] = [a, b].map(|d| d.code.map_or("none".into(), |c| c.to_string()));
            found.push(format!("exit code of `{line}`: reference {a}, tested {b}"));
        }
        for (what, a, b) in [("stdout", &a.stdout, &b.stdout), ("message", &a.stderr, &b.stderr)] {
            if step.compare == Compare::Nothing {
                continue;
            }
            match alike(table, a, b) {
                Some(numbers) => shown.extend(numbers),
                None => found.push(format!("{what} of `{line}`:\n{}", changed_lines(a, b))),
            }
        }
    }
    if reference.done.len() != tested.done.len() && found.is_empty() {
        found.push("one side stopped earlier".into());
    }
    (found, shown.into_iter().collect())
}

/// The lines of both between those that both begin and end with.
fn changed_lines(a: &str, b: &str) -> String {
    let [a, b] = [a, b].map(|text| text.split('\n').collect::<Vec<_>>());
    let first = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let [a, b] = [a, b].map(|lines| lines[first..].to_vec());
    let last = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let only = |mark: &str, lines: Vec<&str>| -> Vec<String> {
        let lines = &lines[..lines.len() - last];
        lines.iter().map(|l| format!("{mark} {l}")).collect()
    };
    [only("-", a), only("+", b)].concat().join("\n")
}

struct Player<'a> {
    job: &'a Job,
    daemon: &'a Daemon,
    scenario: &'static Scenario,
    side: Side,
}

impl Player<'_> {
    fn play(&self) -> Played {
        let mut played = Played::default();
        let scratch = &self.job.scratch;
        let data = self.side.data(scratch);
        let made = fs::create_dir_all(&data)
            .and_then(|()| hand_over(self.job, &data))
            .and_then(|()| fs::write(data.join("in"), "given\n"))
            .map_err(|e| format!("{}: {e}", data.display()));
        if let Err(e) = made.and_then(|()| self.side.select(scratch)) {
            played.problems.push(e);
            return played;
        }
        let (_, offset) = self.side.calls(scratch, usize::MAX);
        for step in self.scenario.steps {
            match self.step(step) {
                Ok(done) => {
                    let wrong = unexpected(step, &done);
                    played.done.push(done);
                    if let Some(wrong) = wrong {
                        played.problems.push(wrong);
                        break;
                    }
                }
                Err(e) => {
                    played.problems.push(format!("`{}`: {e}", step.line));
                    break;
                }
            }
        }
        for line in self.daemon.kit.teardown() {
            // Most of it is gone already in most scenarios.
            let _ = command::run(self.client(line), "");
        }
        let (calls, _) = self.side.calls(scratch, offset);
        played.calls = calls.count;
        played.problems.extend(self.left_behind(&calls));
        let _ = fs::remove_dir_all(&data);
        played
    }

    fn step(&self, step: &Step) -> Result<Done, String> {
        let done = match step.kind {
            Kind::Engine(input) => command::run(self.client(step.line), input),
            Kind::Terminal(turns) => command::on_terminal(&self.client(step.line), turns),
            Kind::Until => return self.until(step),
            Kind::Host => command::run(self.shell(step.line), ""),
        }?;
        let mut done = self.normalise(step, done);
        if matches!(step.kind, Kind::Terminal(_)) {
            // The echo of a typed line may or may not come before the end.
            let full: Vec<&str> = done.stdout.lines().filter(|l| !l.is_empty()).collect();
            done.stdout = full.join("\n");
        }
        Ok(done)
    }

    fn normalise(&self, step: &Step, done: Done) -> Done {
        let names = Names::new(self.job, self.side);
        let no_numbers = step.compare == Compare::NoNumbers;
        Done {
            stdout: names.normalise(&done.stdout, no_numbers),
            stderr: names.normalise(&done.stderr, no_numbers),
            ..done
        }
    }

    fn until(&self, step: &Step) -> Result<Done, String> {
        let until = Instant::now() + SETTLE;
        loop {
            let done = self.normalise(step, command::run(self.client(step.line), "")?);
            if unexpected(step, &done).is_none() || Instant::now() > until {
                return Ok(done);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn client(&self, line: &str) -> Command {
        let kit = self.daemon.kit;
        let mut command = self.daemon.client(self.side);
        for word in text::split(line) {
            match word.as_str() {
                "{new}" => command.args(self.run()).args(kit.offline()),
                "{run}" => command.args(self.run()),
                _ => command.arg(self.fill(&word)),
            };
        }
        command
    }

    fn run(&self) -> Vec<String> {
        self.daemon.kit.run(&self.job.scratch, self.side, &self.container())
    }

    /// A shell beside the engine; `{client}` is the engine's client there.
    fn shell(&self, line: &str) -> Command {
        let client = self.daemon.client(self.side);
        let words = std::iter::once(client.get_program()).chain(client.get_args());
        let words: Vec<String> = words.map(|w| format!("'{}'", w.to_string_lossy())).collect();
        let mut shell = Command::new("/bin/sh");
        let line =
            self.fill(line).replace("{client}", &words.join(" ")).replace("{run}", &self.run().join(" "));
        shell.arg("-c").arg(line);
        environment(&mut shell, &self.job.scratch);
        shell
    }

    fn container(&self) -> String {
        format!("t-{}", self.scenario.name)
    }

    /// `{c}` is the scenario's container, `{side}` its runtime's name, `{data}` a host directory,
    /// `{scratch}` the directory of the run; `{image}` is what ctr can start a container from.
    fn fill(&self, text: &str) -> String {
        let scratch = &self.job.scratch;
        text.replace("{c}", &self.container())
            .replace("{side}", self.side.name())
            .replace("{image}", containerd::IMAGE)
            .replace("{data}", &self.side.data(scratch).to_string_lossy())
            .replace("{scratch}", &scratch.to_string_lossy())
    }

    /// What still exists of the containers once the engine has had time to clean up.
    fn left_behind(&self, calls: &Calls) -> Option<String> {
        let until = Instant::now() + SETTLE;
        loop {
            let states = self.daemon.kit.states(&self.job.scratch);
            let states = states.iter().flat_map(|dir| cgroups::subgroups(dir));
            let mut left: Vec<String> = states.map(|p| p.display().to_string()).collect();
            groups_of(&calls.ids, Path::new("/sys/fs/cgroup"), &mut left);
            if left.is_empty() {
                return None;
            }
            if Instant::now() > until {
                return Some(format!("left behind: {}", left.join(" ")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn groups_of(ids: &[String], below: &Path, found: &mut Vec<String>) {
    for group in cgroups::subgroups(below) {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        // By itself, behind an engine's prefix, or as systemd would have it.
        let plain = name.strip_suffix(".scope").unwrap_or(&name);
        let of = |id: &String| plain == *id || plain.ends_with(&format!("-{id}"));
        if ids.iter().any(of) {
            found.push(group.display().to_string());
        } else {
            groups_of(ids, &group, found);
        }
    }
}

/// What is wrong with a step's result, whatever the other side says.
fn unexpected(step: &Step, done: &Done) -> Option<String> {
    let all = format!("{}\n{}", done.stdout, done.stderr);
    let shown = all.trim();
    if done.code != Some(step.code) {
        let code = done.code.map_or("no exit code, its time was over".into(), |c| {
            format!("exit code {c}, not {}", step.code)
        });
        return Some(format!("`{}`: {code}: {shown}", step.line));
    }
    let missing = !all.contains(step.has);
    missing.then(|| format!("`{}`: no {:?} in: {shown}", step.line, step.has))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::scenario;
    use super::*;

    fn done(code: i32, stdout: &str) -> Done {
        Done { code: Some(code), stdout: stdout.into(), stderr: String::new() }
    }

    fn played(done: Vec<Done>) -> Played {
        Played { done, ..Played::default() }
    }

    const TWO: Scenario =
        Scenario { name: "two", steps: &[scenario::cli(0, "", "a"), scenario::cli(0, "", "b")] };

    #[test]
    fn a_reference_that_fails_is_asked_again_and_one_that_keeps_failing_is_reported() {
        let mut left = vec![vec!["lost".to_owned()], vec![]];
        let played = demanded(|| Played { problems: left.remove(0), ..Played::default() });
        assert!(played.problems.is_empty() && left.is_empty());
        let mut times = 0;
        let played = demanded(|| {
            times += 1;
            Played { problems: vec!["lost".to_owned()], ..Played::default() }
        });
        assert_eq!((times, played.problems.len()), (3, 1));
    }

    #[test]
    fn only_a_stream_that_is_lost_as_a_whole_makes_the_runtime_under_test_be_asked_again() {
        let reference = played(vec![done(0, "a"), done(3, "b")]);
        let ask = |answers: &[Done]| {
            let mut left = answers.iter();
            kept(|| played(vec![done(0, "a"), left.next().unwrap().clone()]), |p| is_lost(&reference, p))
        };
        let times = |answers: &[Done]| ask(answers).1;
        assert_eq!(times(&[done(3, "b")]), 0);
        assert_eq!(times(&[done(3, "other")]), 0);
        assert_eq!(times(&[done(1, "")]), 0, "the code is another");
        assert_eq!(times(&[done(3, ""), done(3, "b")]), 1);
        let (last, lost) = ask(&[done(3, ""), done(3, ""), done(3, "")]);
        assert_eq!((last.done[1].stdout.as_str(), lost), ("", TRIES - 1), "it stays lost");
    }

    #[test]
    fn a_difference_is_one_from_all_answers_that_the_reference_gives() {
        let compare = |with: &Played| differences(&[], &TWO, with, &played(vec![done(0, "b")]));
        let ask = |more: &[&str]| {
            let mut more: Vec<&str> = more.to_vec();
            let again = || (!more.is_empty()).then(|| played(vec![done(0, more.remove(0))]));
            any_answer(&played(vec![done(0, "a")]), again, compare).0.len()
        };
        assert_eq!(ask(&[]), 1);
        assert_eq!(ask(&["a", "b"]), 0);
        assert_eq!(ask(&["a", "a", "b"]), 1, "it is not asked for ever");
        let failed = || Some(Played { problems: vec!["lost".into()], ..played(vec![done(0, "b")]) });
        assert_eq!(any_answer(&played(vec![done(0, "a")]), failed, compare).0.len(), 1);
    }

    #[test]
    fn codes_texts_and_missing_steps_are_differences() {
        let diff = |a, b| differences(&[], &TWO, &played(a), &played(b)).0;
        assert!(diff(vec![done(0, "x")], vec![done(0, "x")]).is_empty());
        assert!(diff(vec![done(0, "x")], vec![done(1, "x")])[0].contains("exit code of `a`"));
        assert!(diff(vec![done(0, "x\ny")], vec![done(0, "x\nz")])[0].ends_with("- y\n+ z"));
        assert_eq!(diff(vec![done(0, "")], vec![]).len(), 1);
    }

    #[test]
    fn a_listed_difference_is_noted_and_never_one_of_codes() {
        let difference = &DIFFERENCES[6];
        let (a, b) = (difference.reference, difference.tested);
        let diff = |code, b| {
            differences(&[(6, difference)], &TWO, &played(vec![done(0, a)]), &played(vec![done(code, b)]))
        };
        assert_eq!(diff(0, b), (vec![], vec![6]));
        assert_eq!(diff(1, b).0.len(), 1);
        assert_eq!(diff(0, "machine: other").0.len(), 1);
    }

    #[test]
    fn expectations_hold_for_code_and_text() {
        let step = scenario::cli(3, "hello", "x");
        assert!(unexpected(&step, &done(3, "say hello")).is_none());
        assert!(unexpected(&step, &done(0, "say hello")).is_some());
        assert!(unexpected(&step, &done(3, "silence")).is_some());
    }
}
