//! What must hold after a fault: an error that says what failed, or success and a container that is as it should be;
//! nothing left behind; the id free again.

use super::ignored;
use super::operation::{Before, Bench, Operation};
use super::trace::{Fault, INIT, MAIN, Place, Trace, all_gone};
use crate::{Check, Failed};
use serde_json::Value;
use std::collections::BTreeSet;

/// The errors that are given, with the kernel's words for them.
pub(super) const ERRNOS: [(i32, &str, &str); 5] = [
    (libc::ENOSYS, "ENOSYS", "function not implemented"),
    (libc::EPERM, "EPERM", "operation not permitted"),
    (libc::EINTR, "EINTR", "interrupted system call"),
    (libc::EAGAIN, "EAGAIN", "resource temporarily unavailable"),
    (libc::ENOMEM, "ENOMEM", "cannot allocate memory"),
];

/// What a cell ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An error was told, nothing is left.
    Refused,
    /// The call went on as if nothing had happened, and the result is the same.
    Ignored,
    /// The runtime was killed; what it left was removed by the next `delete --force`.
    Killed,
    /// The call was not made this time.
    Unreached,
    /// Nobody was there who could be killed, and all went well.
    Absent,
}

/// What a program reports when all went well, and which places of it differ from run to run.
#[derive(Debug, Default)]
pub(super) struct Usual {
    report: Value,
    noise: BTreeSet<String>,
}

impl Usual {
    /// From reports of undisturbed runs.
    pub(super) fn of(reports: &[Value]) -> Self {
        let Some((first, rest)) = reports.split_first() else { return Self::default() };
        let mut noise: BTreeSet<String> = rest.iter().flat_map(|other| differences(first, other)).collect();
        // A list shows the number of a user whose name cannot be found; further processes of one container have
        // one pid after the other.
        noise.extend(["/0/owner", "/pid", "/sid"].map(str::to_owned));
        Self { report: first.clone(), noise }
    }

    fn compare(&self, report: &Value, hit: &str) -> Check {
        let different = |at: &String| !self.noise.contains(at) && !ignored::may_change(hit, at);
        let found: Vec<String> = differences(&self.report, report).into_iter().filter(different).collect();
        if found.is_empty() {
            return Ok(());
        }
        Err(Failed::from(format!("success, but the container differs at {found:?}")))
    }
}

/// The pointers at which two documents differ.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    fn go(one: &Value, other: &Value, at: &str, found: &mut Vec<String>) {
        match (one, other) {
            (Value::Object(a), Value::Object(b)) => {
                for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                    let null = &Value::Null;
                    go(a.get(key).unwrap_or(null), b.get(key).unwrap_or(null), &format!("{at}/{key}"), found);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (i, (x, y)) in a.iter().zip(b).enumerate() {
                    go(x, y, &format!("{at}/{i}"), found);
                }
            }
            // How much was used changes all the time.
            (Value::Number(_), Value::Number(_)) if at.starts_with("/data/") => {}
            // Mounts and namespaces are numbered anew in every container.
            _ if ["/id", "/parent", "/device"].iter().any(|end| at.ends_with(end)) => {}
            _ if at.starts_with("/namespaces/") => {}
            _ if one == other => {}
            _ => found.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    go(one, other, "", &mut found);
    found
}

/// One cell: prepares, calls with the fault, judges, and cleans.
///
/// # Errors
/// What does not hold.
pub(super) fn cell(
    bench: &Bench,
    operation: &Operation,
    usual: &Usual,
    place: &Place,
    fault: Fault,
) -> Check<Verdict> {
    let pid = bench.prepare(operation.before)?;
    let trace = bench.call(operation, Some((place, fault)))?;
    judge(bench, operation, usual, (place, fault), &trace, pid).map_err(|failed| {
        let words = failed.message().unwrap_or_default();
        Failed::from(format!("{words}\n    exit code {}, stderr: {}", trace.code, trace.stderr.trim_end()))
    })
}

fn judge(
    bench: &Bench,
    operation: &Operation,
    usual: &Usual,
    (place, fault): (&Place, Fault),
    trace: &Trace,
    pid: Option<i32>,
) -> Check<Verdict> {
    if trace.hung {
        return Err(Failed::from("it hangs"));
    }
    if trace.stderr.contains("panicked") {
        return Err(Failed::from("a panic"));
    }
    if trace.hit.is_none() || trace.absent {
        // The first cell behind one that left something would fail before it comes to its place.
        success(bench, operation, Some(usual), trace, pid)?;
        return Ok(if trace.absent { Verdict::Absent } else { Verdict::Unreached });
    }
    if trace.code == 0 {
        // A list goes on without a container that it cannot read, and says so.
        let warned = trace.stderr.contains("level=warning") && says(fault, trace);
        let usual = if warned { None } else { Some(usual) };
        success(bench, operation, usual, trace, pid)?;
        return Ok(if warned { Verdict::Refused } else { Verdict::Ignored });
    }
    // A signal to one of its threads is one to all of it.
    let of_main = place.task == MAIN || place.task.starts_with("thread");
    if fault == Fault::KillOther(MAIN) || fault == Fault::Kill && of_main {
        killed(bench, operation, trace)?;
        return Ok(Verdict::Killed);
    }
    // Who is killed in the call for its program is not told from who has become it.
    let begins = operation.name.starts_with("run") && place.task == INIT && place.name.starts_with("execve ");
    if matches!(fault, Fault::Kill | Fault::KillOther(INIT)) && begins && trace.code == 128 + libc::SIGKILL {
        killed(bench, operation, trace)?;
        return Ok(Verdict::Killed);
    }
    refused(bench, operation, fault, trace, pid)?;
    Ok(Verdict::Refused)
}

fn success(
    bench: &Bench,
    operation: &Operation,
    usual: Option<&Usual>,
    trace: &Trace,
    pid: Option<i32>,
) -> Check {
    if trace.code != 0 {
        return Err(Failed::from("it fails without a fault"));
    }
    if operation.after == "stopped" {
        bench.s.runtime().wait_for(pid.unwrap_or(0))?;
    }
    let status = bench.status()?;
    if status != operation.after {
        return Err(Failed::from(format!("success, but the container is {status:?}")));
    }
    if let Some(usual) = usual.filter(|_| operation.reports) {
        let report = if operation.name == "create" {
            bench.start_and_report()?
        } else {
            bench.document(&trace.stdout)?
        };
        usual.compare(&report, trace.hit.as_deref().unwrap_or_default())?;
    }
    bench.end(operation, pid)
}

/// Whether what was said has the kernel's words for the fault. An init that has nothing to write an errno to names the
/// call.
fn says(fault: Fault, trace: &Trace) -> bool {
    let call = trace.hit.as_deref().and_then(|hit| hit.split(' ').next()).map(|call| format!("{call} of"));
    call.is_some_and(|call| trace.stderr.contains(&call))
        || ERRNOS
            .iter()
            .all(|(errno, _, words)| fault != Fault::Errno(*errno) || trace.stderr.contains(words))
}

fn refused(bench: &Bench, operation: &Operation, fault: Fault, trace: &Trace, pid: Option<i32>) -> Check {
    if trace.code >= 128 && trace.code != 255 {
        return Err(Failed::from("the runtime died"));
    }
    let said = trace.stderr.lines().filter(|line| !line.is_empty()).count();
    if said != 1 {
        return Err(Failed::from(format!("{said} lines on stderr")));
    }
    if !says(fault, trace) {
        return Err(Failed::from("the error does not name the errno"));
    }
    all_gone(&trace.others)?;
    while let Ok(Some(_)) = crate::sys::reap(-1) {}
    if operation.before == Before::None && !operation.cleans() {
        bench.nothing.assert_same()?;
    }
    let status = bench.status()?;
    if status != operation.before.status() && status != operation.after && !operation.cleans() {
        return Err(Failed::from(format!("an error, and the container is {status:?}")));
    }
    bench.end(operation, pid)
}

fn killed(bench: &Bench, operation: &Operation, trace: &Trace) -> Check {
    let status = bench.status()?;
    bench.settle()?;
    // An init whose creator is gone ends by itself, as a further process or its program does.
    if operation.before != Before::None || (status != "created" && status != "running") {
        all_gone(&trace.others)?;
    }
    bench.clean()
}
