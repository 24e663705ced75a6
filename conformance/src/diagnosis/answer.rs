//! One runtime's answer to one case.

use super::case::{Case, End};
use crate::harness::{Output, Sandbox};
use crate::{Check, check};
use serde_json::Value;
use std::ffi::OsStr;

/// One record of the log.
#[derive(Clone, Debug)]
pub struct Said {
    /// `error`, `warning` ...
    pub level: String,
    /// The sentence.
    pub message: String,
    /// The JSON pointer.
    pub field: String,
    /// What to do about it.
    pub hint: String,
}

/// How a runtime ended, and what it said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The call.
    pub output: Output,
    /// The records of its log, in order.
    pub said: Vec<Said>,
    /// What it left behind.
    pub left: Vec<String>,
}

/// Runs a case in the foreground, with the log in a file.
///
/// # Errors
/// If the bundle cannot be made or the runtime cannot be started.
pub fn ask(s: &Sandbox, case: &Case, options: &[&str]) -> Check<Answer> {
    let bundle = (case.make)(s)?;
    let log = s.dir().join("log.json");
    let before = s.leaks()?;
    let mut command = s.runtime().command();
    command.arg("--log").arg(&log).args(["--log-format", "json"]).args(options);
    command.args([OsStr::new("run"), "--bundle".as_ref(), bundle.path().as_ref(), "case".as_ref()]);
    let output = s.runtime().finish(command)?;
    let left = before.differences()?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let mut said = records(&text);
    if said.is_empty() {
        // The container's process may have nothing but standard error any more.
        said = records(&output.stderr);
    }
    Ok(Answer { output, said, left })
}

/// The records of a log. Some spread one over several lines.
fn records(text: &str) -> Vec<Said> {
    let records = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    records.map_while(Result::ok).filter(Value::is_object).map(|r| record(&r)).collect()
}

fn record(record: &Value) -> Said {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    Said { level: text("level"), message: text("msg"), field: text("field"), hint: text("hint") }
}

impl Answer {
    /// The last record of a level.
    #[must_use]
    pub fn last(&self, level: &str) -> Option<&Said> {
        self.said.iter().rfind(|said| said.level == level)
    }

    /// Fails unless the answer is what the case asks for.
    ///
    /// # Errors
    /// What is missing in the answer.
    pub fn is_good(&self, case: &Case) -> Check {
        let Answer { output, said, left } = self;
        check!(left.is_empty(), "{output}\n  left behind: {left:?}");
        let expected = match case.end {
            End::Fails(code) => code,
            End::Warns | End::Runs => 0,
        };
        check!(output.code == expected, "{output}\n  expected: exit code {expected}");
        let errors = said.iter().filter(|said| said.level == "error").count();
        let wrong = if expected == 0 { errors != 0 } else { errors != 1 };
        check!(!wrong, "{output}\n  {errors} errors in the log: {said:?}");
        let level = match case.end {
            End::Fails(_) => "error",
            End::Warns => "warning",
            End::Runs => return Ok(()),
        };
        let Some(said) = self.last(level) else {
            return Err(format!("{output}\n  no {level} in the log").into());
        };
        check!(said.field == case.pointer, "{said:?}\n  expected the field {}", case.pointer);
        let whole = format!("{} {}", said.message, said.hint);
        for cause in case.cause {
            check!(whole.contains(cause), "{said:?}\n  expected: {cause:?}");
        }
        for text in case.runc {
            check!(said.message.contains(text), "{said:?}\n  expected in the message: {text:?}");
        }
        // On standard error the same sentence stands alone, for callers that read it there.
        if level == "error" {
            check!(output.stderr.trim_end() == said.message, "{output}\n  expected: {}", said.message);
        }
        Ok(())
    }
}
