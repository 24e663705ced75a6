//! What a call of the runtime ended with, and the usual questions about it. A failed answer shows
//! the whole call: which one it was, its exit code and both streams.

use crate::{Check, Failed};
use serde_json::Value;
use std::path::PathBuf;

/// What one call of the runtime ended with.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; 128 and the number if the runtime itself was killed by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The call, for messages.
    pub call: String,
    /// The file that receives the container's standard output after a `create`.
    pub stdout_file: PathBuf,
}

impl Output {
    /// Fails unless the exit code is 0.
    ///
    /// # Errors
    /// The call with its code and output.
    pub fn success(self) -> Check<Self> {
        self.exits(0)
    }

    /// Fails unless the exit code is `code`.
    ///
    /// # Errors
    /// The call with its code and output.
    pub fn exits(self, code: i32) -> Check<Self> {
        if self.code == code {
            return Ok(self);
        }
        Err(Failed::from(format!("{self}\n  expected: exit code {code}")))
    }

    /// Fails unless the call failed with exit code 1 and stderr contains `text`.
    ///
    /// # Errors
    /// The call with its code and output.
    pub fn refused(self, text: &str) -> Check<Self> {
        let output = self.exits(1)?;
        if output.says(text) {
            return Ok(output);
        }
        Err(Failed::from(format!("{output}\n  expected on stderr: {text:?}")))
    }

    /// Whether stderr contains `text`, as it is or quoted in a log record.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.stderr.contains(text) || self.stderr.replace("\\\"", "\"").contains(text)
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Check<Value> {
        serde_json::from_str(&self.stdout)
            .map_err(|error| Failed::from(format!("{self}\n  stdout is not JSON: {error}")))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n  exit code {}\n  stdout: {}\n  stderr: {}",
            self.call,
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}
