//! Plays one scenario at a time, first over the reference, then over the runtime under test. After
//! each the containers are removed, and neither state nor a cgroup of them may be left.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::calls::{Calls, Side};
use super::daemon::{CONFIG, Daemon, IMAGE};
use super::scenario::{self, ACCEPTED, Kind, NOT_YET, Outcome, Report, Scenario, Step};
use super::text::{self, Names};
use super::{Engine, Job, cgroups, containerd, docker, isolate, sys};

/// How long one command may take.
const STEP: Duration = Duration::from_secs(30);

/// How long an engine may take for what it does after it has answered.
const SETTLE: Duration = Duration::from_secs(10);

/// Pid 1 of the namespace: isolates itself, starts the engine and reports each scenario.
pub(super) fn inside(job: &Job) -> ExitCode {
    let played = isolate::enter(job)
        .and_then(|()| prepare(job))
        .and_then(|()| Daemon::start(job))
        .and_then(|daemon| all(job, &daemon));
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
        fs::create_dir(&dir).map_err(|e| format!("mkdir {}: {e}", dir.display()))?;
    }
    for (side, path) in [(Side::Reference, &job.reference), (Side::Tested, &job.runtime)] {
        if !path.is_file() {
            return Err(format!("{} cannot be seen inside", path.display()));
        }
        side.install(&job.scratch, path)?;
    }
    Ok(())
}

fn emit(report: &Report) -> Result<(), String> {
    let mut line = serde_json::to_vec(report).map_err(|e| e.to_string())?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).map_err(|e| format!("stdout: {e}"))
}

fn all(job: &Job, daemon: &Daemon) -> Result<(), String> {
    let chosen = |s: &&Scenario| job.only.is_empty() || job.only.iter().any(|n| n == s.name);
    for scenario in scenario::all(job.engine).filter(chosen) {
        let [reference, tested] = [Side::Reference, Side::Tested].map(|side| {
            let player = Player { job, daemon, scenario, side };
            player.play()
        });
        let outcome = Outcome {
            differences: differences(scenario, &reference, &tested),
            reference: reference.problems,
            tested: tested.problems,
            calls: tested.calls,
        };
        emit(&outcome.judge(
            scenario.name,
            scenario::exception(ACCEPTED, job.engine, scenario.name),
            scenario::exception(NOT_YET, job.engine, scenario.name),
        ))?;
    }
    Ok(())
}

/// What one command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    /// None if it was killed because its time was over.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// What one side came to.
#[derive(Default)]
struct Played {
    done: Vec<Done>,
    problems: Vec<String>,
    calls: usize,
}

fn differences(scenario: &Scenario, reference: &Played, tested: &Played) -> Vec<String> {
    let mut found = Vec::new();
    let pairs = reference.done.iter().zip(&tested.done);
    for (step, (a, b)) in scenario.steps.iter().zip(pairs) {
        let line = step.line;
        if a.code != b.code {
            let [a, b] = [a, b].map(|d| d.code.map_or("none".into(), |c| c.to_string()));
            found.push(format!("exit code of `{line}`: reference {a}, tested {b}"));
        }
        for (what, a, b) in [("stdout", &a.stdout, &b.stdout), ("message", &a.stderr, &b.stderr)] {
            if a != b {
                found.push(format!("{what} of `{line}`:\n{}", changed_lines(a, b)));
            }
        }
    }
    if reference.done.len() != tested.done.len() && found.is_empty() {
        found.push("one side stopped earlier".into());
    }
    found
}

/// The lines that only one of the two has; both in full if they differ in order alone.
fn changed_lines(a: &str, b: &str) -> String {
    let only = |mark: &str, a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|l| !b.lines().any(|o| o == *l)).map(|l| format!("{mark} {l}")).collect()
    };
    let lines = [only("-", a, b), only("+", b, a)].concat();
    if lines.is_empty() { format!("- {a:?}\n+ {b:?}") } else { lines.join("\n") }
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
        let data = self.side.data(&self.job.scratch);
        let made = fs::create_dir_all(&data).and_then(|()| fs::write(data.join("in"), "given\n"));
        if let Err(e) = made {
            played.problems.push(format!("{}: {e}", data.display()));
            return played;
        }
        let (_, offset) = self.side.calls(&self.job.scratch, usize::MAX);
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
        for line in self.teardown() {
            // Most of it is gone already in most scenarios.
            let _ = self.client(line).and_then(|c| finish(c, None));
        }
        let (calls, _) = self.side.calls(&self.job.scratch, offset);
        played.calls = calls.count;
        played.problems.extend(self.left_behind(&calls));
        let _ = fs::remove_dir_all(&data);
        played
    }

    fn teardown(&self) -> &'static [&'static str] {
        match self.job.engine {
            Engine::Containerd => containerd::TEARDOWN,
            Engine::Docker => docker::TEARDOWN,
        }
    }

    fn step(&self, step: &Step) -> Result<Done, String> {
        let done = match step.kind {
            Kind::Engine => finish(self.client(step.line)?, None),
            Kind::Terminal | Kind::Dialogue => self.on_terminal(step),
            Kind::Until => return self.until(step),
            Kind::Host => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(self.fill(step.line));
                finish(shell, None)
            }
        }?;
        let mut done = self.normalise(step, done);
        if matches!(step.kind, Kind::Terminal | Kind::Dialogue) {
            // The echo of a typed line may or may not come before the end.
            let full: Vec<&str> = done.stdout.lines().filter(|l| !l.is_empty()).collect();
            done.stdout = full.join("\n");
        }
        Ok(done)
    }

    fn normalise(&self, step: &Step, done: Done) -> Done {
        let names = Names::new(self.job, self.side);
        Done {
            stdout: names.normalise(&done.stdout, step.digits),
            stderr: names.normalise(&done.stderr, step.digits),
            ..done
        }
    }

    fn on_terminal(&self, step: &Step) -> Result<Done, String> {
        let (ours, theirs) = sys::terminal().map_err(|e| format!("openpty: {e}"))?;
        let copy = || theirs.try_clone().map_err(|e| e.to_string());
        let mut command = self.client(step.line)?;
        command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
        drop(theirs);
        let prompt = (step.kind == Kind::Dialogue).then_some(step.has);
        finish(command, Some((ours.into(), prompt)))
    }

    fn until(&self, step: &Step) -> Result<Done, String> {
        let until = Instant::now() + SETTLE;
        loop {
            let done = self.normalise(step, finish(self.client(step.line)?, None)?);
            if done.stdout.contains(step.has) || Instant::now() > until {
                return Ok(done);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn client(&self, line: &str) -> Result<Command, String> {
        let mut command = self.daemon.client();
        for word in text::split(line) {
            match word.as_str() {
                "{new}" => command.args(self.words()),
                _ => command.arg(self.fill(&word)),
            };
        }
        Ok(command)
    }

    /// What `{new}` means: this side's runtime, and a container without network.
    fn words(&self) -> Vec<String> {
        let wrapper = self.side.wrapper(&self.job.scratch);
        let words: &[&str] = match self.job.engine {
            Engine::Containerd => &["--runc-binary", &wrapper.to_string_lossy()],
            Engine::Docker => {
                &["--runtime", self.side.name(), "--network", "none", "--name", &self.container()]
            }
        };
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn container(&self) -> String {
        format!("t-{}", self.scenario.name)
    }

    /// `{c}` is the scenario's container, `{side}` its runtime's name, `{data}` a host directory;
    /// `{image}` and `{config}` are what ctr can start a container from.
    fn fill(&self, text: &str) -> String {
        let scratch = &self.job.scratch;
        text.replace("{c}", &self.container())
            .replace("{side}", self.side.name())
            .replace("{image}", IMAGE)
            .replace("{config}", &scratch.join(CONFIG).to_string_lossy())
            .replace("{data}", &self.side.data(scratch).to_string_lossy())
    }

    /// What still exists of the containers once the engine has had time to clean up.
    fn left_behind(&self, calls: &Calls) -> Option<String> {
        let until = Instant::now() + SETTLE;
        loop {
            let mut left: Vec<String> = cgroups::subgroups(&self.daemon.state_root())
                .iter()
                .map(|p| p.display().to_string())
                .collect();
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
        // By itself, or as systemd would have it.
        let of = |id: &String| name == *id || name.ends_with(&format!("-{id}.scope"));
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

/// Our end of a command's terminal, and the text after which an empty line is typed.
type Terminal = (fs::File, Option<&'static str>);

/// Runs a command to its end, within bounds. With a terminal that is where its output comes from.
fn finish(mut command: Command, terminal: Option<Terminal>) -> Result<Done, String> {
    let on_terminal = terminal.is_some();
    if !on_terminal {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child =
        command.spawn().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    // The terminal's other end must be closed here, or reading would never end.
    drop(command);
    let stdout = match (terminal, child.stdout.take()) {
        (Some((file, prompt)), _) => Some(std::thread::spawn(move || converse(file, prompt))),
        (None, out) => out.map(collect),
    };
    let stderr = child.stderr.take().map(collect);
    let ended = sys::pidfd(child.id()).map_err(|e| format!("pidfd_open: {e}"))?;
    let in_time = sys::poll(&[ended.as_fd()], STEP).map_err(|e| format!("poll: {e}"))?[0];
    if !in_time {
        child.kill().map_err(|e| format!("kill: {e}"))?;
    }
    let status = child.wait().map_err(|e| format!("wait: {e}"))?;
    let text = |t: Option<JoinHandle<Vec<u8>>>| {
        let bytes = t.and_then(|t| t.join().ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Done { code: status.code().filter(|_| in_time), stdout: text(stdout), stderr: text(stderr) })
}

/// Reads to the end in a thread of its own.
fn collect(mut source: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // What was read before an error is still worth comparing.
        let _ = source.read_to_end(&mut all);
        all
    })
}

/// Reads a terminal to its end, which is an error, and answers the prompt once.
fn converse(mut terminal: fs::File, mut prompt: Option<&str>) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = terminal.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
        if prompt.is_some_and(|p| String::from_utf8_lossy(&all).contains(p)) {
            prompt = None;
            // If it is gone already, the exit code tells.
            let _ = terminal.write_all(b"\n");
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
    fn codes_texts_and_missing_steps_are_differences() {
        let diff = |a, b| differences(&TWO, &played(a), &played(b));
        assert!(diff(vec![done(0, "x")], vec![done(0, "x")]).is_empty());
        assert!(diff(vec![done(0, "x")], vec![done(1, "x")])[0].contains("exit code of `a`"));
        assert!(diff(vec![done(0, "x\ny")], vec![done(0, "x\nz")])[0].ends_with("- y\n+ z"));
        assert_eq!(diff(vec![done(0, "")], vec![]).len(), 1);
    }

    #[test]
    fn a_command_that_ends_is_collected_with_code_and_both_outputs() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        let done = finish(shell, None);
        let want = Done { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() };
        assert_eq!(done, Ok(want));
    }

    #[test]
    fn a_prompt_on_a_terminal_is_answered() {
        let (ours, theirs) = sys::terminal().unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo ready; read x && exit 6"]);
        shell.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        let done = finish(shell, Some((ours.into(), Some("ready")))).unwrap();
        assert_eq!(done.code, Some(6));
        assert!(done.stdout.starts_with("ready"), "{done:?}");
    }

    #[test]
    fn expectations_hold_for_code_and_text() {
        let step = scenario::cli(3, "hello", "x");
        assert!(unexpected(&step, &done(3, "say hello")).is_none());
        assert!(unexpected(&step, &done(0, "say hello")).is_some());
        assert!(unexpected(&step, &done(3, "silence")).is_some());
    }
}
