//! Decisions of libseccomp in a file, for a test that has no libseccomp. A line is a profile, or an
//! architecture, a decision, and all calls with that decision:
//!
//!     profile NATIVE JSON|NAME
//!     ARCH DECISION[>OURS:KIND] NUMBER[-LAST][:ARG,...] ...
//!
//! Numbers are hexadecimal; arguments left out are zero, `*` is all ones; NAME is a file beside the
//! vectors, without its `.json`. KIND is the intended kind of difference, with our decision.

use super::kinds::Kind;
use super::libseccomp::Libseccomp;
use super::random::Numbers;
use oxrun_conformance::Check;
use oxrun_core::seccomp::{Arch, Call};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How many random profiles are kept, and how many calls of each.
const PROFILES: usize = 120;
const CALLS: usize = 12;

/// One decision.
pub(super) struct Decision {
    pub(super) call: Call,
    pub(super) theirs: u32,
    /// Our decision, where it differs on purpose.
    pub(super) ours: Option<(Kind, u32)>,
}

fn is_foreign(decision: &Decision) -> bool {
    matches!(decision.ours, Some((Kind::Foreign, _)))
}

impl Decision {
    fn head(&self) -> String {
        let head = format!("{:x} {:x}", self.call.arch, self.theirs);
        match self.ours {
            Some((kind, ours)) => format!("{head}>{ours:x}:{}", kind.name()),
            None => head,
        }
    }

    /// The call, or those up to the last one.
    fn call_text(&self, last: u32) -> String {
        let Call { number, args, .. } = self.call;
        let mut text = format!(" {number:x}");
        if last != number {
            text.push_str(&format!("-{last:x}"));
        }
        if let Some(end) = args.iter().rposition(|arg| *arg != 0) {
            let word = |arg: &u64| if *arg == u64::MAX { "*".to_owned() } else { format!("{arg:x}") };
            let args: Vec<String> = args.iter().take(end + 1).map(word).collect();
            text.push_str(&format!(":{}", args.join(",")));
        }
        text
    }
}

/// What is written so far.
#[derive(Default)]
pub(super) struct Vectors {
    text: String,
    profiles: usize,
}

impl Vectors {
    /// Keeps the decisions about a profile that lies in a file of this name. Of the calls of other
    /// architectures, which are all alike, two say enough.
    pub(super) fn all(&mut self, native: Arch, name: &str, decisions: &[Decision]) {
        let _ = writeln!(self.text, "profile {} {name}", native.name());
        let (foreign, own): (Vec<_>, Vec<_>) = decisions.iter().partition(|decision| is_foreign(decision));
        // All ones say nothing more about a call whose arguments do not matter.
        let kept = own.into_iter().filter(|decision| decision.call.args != [u64::MAX; 6]);
        self.lines(kept.chain(foreign.into_iter().step_by(31).take(2)).collect());
    }

    /// Keeps some decisions about a random profile: one of each sort first.
    pub(super) fn some(&mut self, native: Arch, text: &Value, decisions: &[Decision], numbers: &mut Numbers) {
        if self.profiles == PROFILES || decisions.is_empty() {
            return;
        }
        self.profiles += 1;
        let _ = writeln!(self.text, "profile {} {text}", native.name());
        let mut mixed: Vec<&Decision> = decisions.iter().filter(|decision| !is_foreign(decision)).collect();
        for at in (1..mixed.len()).rev() {
            mixed.swap(at, numbers.below(at + 1));
        }
        let mut sorts = BTreeSet::new();
        let sort = |d: &Decision| (d.call.arch, d.theirs, d.ours);
        let (mut kept, rest): (Vec<&Decision>, Vec<&Decision>) =
            mixed.iter().partition(|d| sorts.insert(sort(d)));
        kept.extend(rest);
        kept.truncate(CALLS);
        self.lines(kept);
    }

    fn lines(&mut self, mut decisions: Vec<&Decision>) {
        decisions.sort_by_key(|d| (d.call.arch, d.theirs, d.ours, d.call.number, d.call.args));
        for alike in decisions.chunk_by(|one, other| one.head() == other.head()) {
            if let Some(first) = alike.first() {
                self.text.push_str(&first.head());
            }
            let follows = |one: &&Decision, other: &&Decision| {
                one.call.args == [0; 6]
                    && other.call.args == [0; 6]
                    && one.call.number.checked_add(1) == Some(other.call.number)
            };
            for run in alike.chunk_by(follows) {
                if let (Some(first), Some(last)) = (run.first(), run.last()) {
                    self.text.push_str(&first.call_text(last.call.number));
                }
            }
            self.text.push('\n');
        }
    }

    /// Writes the file.
    pub(super) fn write(&self, file: &Path, library: &Libseccomp, date: &str) -> Check {
        let head = format!(
            "# Decisions of libseccomp {} (Debian's {}), recorded on {date}.\n\
             # Written by `oxrun-conformance oracle seccomp --record`; do not edit.\n",
            library.version, library.package
        );
        fs::write(file, head + &self.text)?;
        println!("recorded: {} lines, {} bytes", self.text.lines().count(), self.text.len());
        Ok(())
    }
}
