//! The conformance test programs inside a machine, one after the other, and their sum. A program
//! that does not come to its end, or says nothing of its tests, has failed: a machine that breaks
//! off in the middle passes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::machine::{self, Stream};
use super::options::Options;
use crate::locate;

/// Seconds that one test program may take in an emulated machine.
const EACH: u32 = 900;

/// What begins the lines that the loop inside adds to the programs' own.
const MARK: &str = "oxrun-vm suite:";

/// Runs the test programs of these names, or all, and prints what fails and the sums.
pub(super) fn run(mut options: Options, names: &[String]) -> Result<i32, String> {
    let all = locate::tests().map_err(|e| e.to_string())?;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|(known, _)| known == *name)) {
        return Err(format!("there is no test program {unknown:?}"));
    }
    let runtime = match std::env::var("OXRUN_RUNTIME") {
        Ok(name) if !name.is_empty() => locate::program(&name),
        _ => locate::build("oxrun", "oxrun"),
    };
    let runtime = runtime.map_err(|e| format!("no runtime to test: {e}"))?;
    let chosen: Vec<&(String, PathBuf)> =
        all.iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect();
    options.environment.push(("OXRUN_RUNTIME".to_owned(), runtime.to_string_lossy().into_owned()));
    // What a real machine does in seconds takes an emulated one a quarter of an hour.
    if options.environment.iter().all(|(name, _)| name != "OXRUN_STORM") {
        options.environment.push(("OXRUN_STORM".to_owned(), "20".to_owned()));
    }
    options.limit.get_or_insert(Duration::from_secs(3600));
    let mut tally = Tally::default();
    let words = ["/bin/sh", "-c", &script(&chosen)].map(str::to_owned);
    let status = machine::run(&options, &words, &mut |stream, bytes| match stream {
        Stream::Out => tally.read(bytes),
        Stream::Err => {
            // A reader that is gone does not concern the machine.
            let _ = std::io::stderr().write_all(bytes);
        }
    })?;
    let (sums, good) = tally.sums(chosen.iter().map(|(name, _)| name.as_str()));
    print!("{sums}");
    Ok(if status != 0 { status } else { i32::from(!good) })
}

/// The loop inside: each program's output between two marked lines.
fn script(programs: &[&(String, PathBuf)]) -> String {
    let mut text = String::from("exec 2>&1\n");
    for (name, path) in programs {
        let path = path.display();
        let _ = writeln!(
            text,
            "read up _ </proc/uptime\necho '{MARK} begin {name}'\n\
             timeout -k 5 {EACH} '{path}' --color never\n\
             status=$?\nread now _ </proc/uptime\necho \"{MARK} end $status ${{up%.*}} ${{now%.*}}\""
        );
    }
    text
}

/// What one program has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// The exit status; `None` if the machine ended first.
    status: Option<i32>,
    passed: u32,
    failed: u32,
    ignored: u32,
    seconds: u64,
}

impl Outcome {
    fn good(self) -> bool {
        // A program whose tests are all ignored has run; one without any test has not.
        self.status == Some(0) && self.failed == 0 && self.passed + self.ignored > 0
    }
}

/// Reads the output of the loop.
#[derive(Debug, Default)]
struct Tally {
    pending: Vec<u8>,
    current: Option<(String, Outcome, String)>,
    outcomes: BTreeMap<String, Outcome>,
}

impl Tally {
    fn read(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end());
        }
    }

    fn line(&mut self, line: &str) {
        // A test may have left half a line.
        let mark = line.find(MARK).map(|at| line[at + MARK.len()..].split_whitespace().collect::<Vec<_>>());
        match (mark.as_deref(), &mut self.current) {
            (Some(["begin", name]), _) => {
                self.current = Some(((*name).to_owned(), Outcome::default(), String::new()));
            }
            (Some(["end", status, begin, end]), current) => {
                let Some((name, mut outcome, text)) = current.take() else { return };
                outcome.status = status.parse().ok();
                let seconds = |text: &str| text.parse::<u64>().unwrap_or_default();
                outcome.seconds = seconds(end).saturating_sub(seconds(begin));
                if !outcome.good() {
                    println!("== {name}\n{text}");
                }
                println!("{}", sentence(&name, outcome));
                self.outcomes.insert(name, outcome);
            }
            (_, Some((_, outcome, text))) => {
                count(line, outcome);
                text.push_str(line);
                text.push('\n');
            }
            (_, None) => println!("{line}"),
        }
    }

    /// The sums over the programs `expected`, and whether all of them are good.
    fn sums<'a>(mut self, expected: impl Iterator<Item = &'a str>) -> (String, bool) {
        let mut text = String::new();
        if let Some((name, _, held)) = self.current.take() {
            let _ = writeln!(text, "== {name}\n{held}");
        }
        let (mut passed, mut failed, mut ignored, mut bad) = (0, 0, 0, 0);
        for name in expected {
            let outcome = self.outcomes.get(name).copied().unwrap_or_default();
            passed += outcome.passed;
            failed += outcome.failed;
            ignored += outcome.ignored;
            if !outcome.good() {
                bad += 1;
                let _ = writeln!(text, "{}", sentence(name, outcome));
            }
        }
        let _ = writeln!(
            text,
            "{passed} passed, {failed} failed, {ignored} ignored; {bad} of the programs failed"
        );
        (text, bad == 0)
    }
}

/// Reads the sum that a test program prints at its end.
fn count(line: &str, outcome: &mut Outcome) {
    let Some(sums) = line.strip_prefix("test result: ") else { return };
    for part in sums.split([';', '.']) {
        let mut words = part.split_whitespace();
        if let (Some(number), Some(what)) = (words.next().and_then(|n| n.parse().ok()), words.next()) {
            match what {
                "passed" => outcome.passed = number,
                "failed" => outcome.failed = number,
                "ignored" => outcome.ignored = number,
                _ => {}
            }
        }
    }
}

fn sentence(name: &str, outcome: Outcome) -> String {
    let Outcome { status, passed, failed, ignored, seconds } = outcome;
    let counts = format!("{passed} passed, {failed} failed, {ignored} ignored, {seconds} s");
    match status {
        Some(0) if outcome.good() => format!("ok      {name}: {counts}"),
        Some(124 | 137) => format!("FAILED  {name}: time is over; {counts}"),
        Some(status) => format!("FAILED  {name}: status {status}; {counts}"),
        None => format!("FAILED  {name}: did not come to its end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "oxrun-vm suite: begin pause\n\nrunning 3 tests\ntest a ... ok\n\n\
        test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
        half a lineoxrun-vm suite: end 0 10 15\n";

    fn tally(text: &str, names: &[&str]) -> (String, bool) {
        let mut tally = Tally::default();
        for byte in text.as_bytes() {
            tally.read(&[*byte]);
        }
        tally.sums(names.iter().copied())
    }

    #[test]
    fn sums_are_those_of_the_programs() {
        let (text, good) = tally(GOOD, &["pause"]);
        assert!(good, "{text}");
        assert_eq!(text, "2 passed, 0 failed, 1 ignored; 0 of the programs failed\n");
    }

    #[test]
    fn a_program_that_is_missing_breaks_off_or_tests_nothing_has_failed() {
        for text in [
            GOOD.to_owned(),
            format!("{GOOD}oxrun-vm suite: begin ps\ntest b ... "),
            format!("{GOOD}oxrun-vm suite: begin ps\noxrun-vm suite: end 0 15 16\n"),
            format!(
                "{GOOD}oxrun-vm suite: begin ps\ntest result: ok. 1 passed; 0 failed; 0 ignored\noxrun-vm suite: end 1 15 16\n"
            ),
        ] {
            let (sums, good) = tally(&text, &["pause", "ps"]);
            assert!(!good, "{text}");
            assert!(sums.contains("FAILED  ps: "), "{sums}");
        }
    }
}
