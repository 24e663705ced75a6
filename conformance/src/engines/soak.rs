//! Many containers, many execs, and many exec probes at once, through a real engine with the runtime
//! under test alone. Not one of them may fail, and afterwards there are as many processes, mounts,
//! cgroups and open descriptors of the daemons and shims as before, and hardly more of their memory.
//!
//! Daemons keep a few connections and a heap that breathes: what is measured first is measured after
//! some rounds of the same, and the bounds below are far from what a leak in each round would make.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::calls::Side;
use super::command::{self, Done};
use super::daemon::Daemon;
use super::engine::Engine;
use super::play::emit;
use super::scenario::{Report, Verdict};
use super::{Job, cgroups, text};

/// How often each is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Counts {
    /// `docker run --rm`.
    pub(super) runs: u32,
    /// `docker exec`.
    pub(super) execs: u32,
    /// Pods with a container each.
    pub(super) pods: u32,
    /// Exec probes at once, spread over the pods.
    pub(super) probes: u32,
}

impl Default for Counts {
    fn default() -> Self {
        Self { runs: 500, execs: 2000, pods: 20, probes: 100 }
    }
}

/// Longest time for what an engine does behind its answers.
const SETTLE: Duration = Duration::from_secs(30);

/// How many clients call at the same time.
const CLIENTS: usize = 2;

/// How often the probes are sent.
const ROUNDS: u32 = 10;

/// More open descriptors than before: connections of clients are closed seconds after their end.
const MORE_DESCRIPTORS: usize = 16;

/// More memory than before, in KiB, and as a part of what was there before: what heaps of Go may grow.
const MORE_MEMORY: (u64, u64) = (16 * 1024, 2);

/// Those whose descriptors and memory are watched.
const WATCHED: [&str; 3] = ["dockerd", "containerd", "containerd-shim"];

/// Everything that the engine's soak consists of; reported like scenarios.
pub(super) fn run(job: &Job, counts: Counts, daemon: &Daemon) -> Result<(), String> {
    let soak = Soak { job, daemon };
    match job.engine {
        Engine::Docker => {
            soak.phase("soak-run", 10, counts.runs, "run --rm --runtime tested --network none bb true")?;
            soak.must("run --detach --runtime tested --network none --name soak bb sleep 100000")?;
            soak.phase("soak-exec", 20, counts.execs, "exec soak true")?;
            soak.must("rm --force soak")
        }
        Engine::Cri => {
            let names: Vec<String> = (0..counts.pods).map(|n| format!("soak-{n}")).collect();
            for name in &names {
                let logs = job.scratch.display();
                soak.must(&format!("begin --runtime tested --logs {logs} {name} sleep 100000"))?;
            }
            let line = format!("probes {} {} true", names.join(","), counts.probes);
            soak.phase("soak-probes", 2, ROUNDS, &line)?;
            soak.must("cleanup soak")
        }
        other => Err(format!("{} has no soak, only docker and cri have", other.name())),
    }
}

struct Soak<'a> {
    job: &'a Job,
    daemon: &'a Daemon,
}

impl Soak<'_> {
    fn client(&self, line: &str) -> Result<Done, String> {
        let mut client = self.daemon.client(Side::Tested);
        client.args(text::split(line));
        command::run(client, "")
    }

    fn must(&self, line: &str) -> Result<(), String> {
        failure(&self.client(line)).map_or(Ok(()), |e| Err(format!("`{line}`: {e}")))
    }

    /// The same command so many times, after some that do not count.
    fn phase(&self, name: &str, warm: u32, count: u32, line: &str) -> Result<(), String> {
        let _ = self.repeat(warm, line);
        let before = settled(None)?;
        let (_, offset) = Side::Tested.calls(&self.job.scratch, usize::MAX);
        let began = Instant::now();
        let errors = self.repeat(count, line);
        let took = began.elapsed();
        let after = settled(Some(&before))?;
        let (calls, _) = Side::Tested.calls(&self.job.scratch, offset);
        let mut notes: Vec<String> = errors.iter().take(3).cloned().collect();
        let grown = before.grown(&after);
        let called = calls.lines >= count as usize;
        if !called {
            notes.push(format!("{} calls of the runtime", calls.lines));
        }
        notes.extend(grown.iter().map(|what| format!("grown: {what}")));
        notes.push(format!("{count} times in {:.1} s, {} errors", took.as_secs_f32(), errors.len()));
        notes.push(before.beside(&after));
        let good = errors.is_empty() && grown.is_empty() && called;
        let verdict = if good { Verdict::Passed } else { Verdict::Failed };
        emit(&Report { name: name.into(), verdict, calls: calls.lines, notes, shown: vec![] })
    }

    fn repeat(&self, count: u32, line: &str) -> Vec<String> {
        let (next, errors) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        let work = || {
            while next.fetch_add(1, Relaxed) < count {
                if let Some(e) = failure(&self.client(line)) {
                    errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(e);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(work);
            }
        });
        errors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn failure(done: &Result<Done, String>) -> Option<String> {
    match done {
        Ok(done) if done.code == Some(0) => None,
        Ok(done) => Some(format!("exit code {:?}: {}", done.code, done.stderr.trim())),
        Err(e) => Some(e.clone()),
    }
}

/// What there is at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figures {
    processes: usize,
    mounts: usize,
    groups: usize,
    /// For each name that is watched: how many processes, their open descriptors, their memory in KiB.
    watched: BTreeMap<&'static str, (usize, usize, u64)>,
}

impl Figures {
    fn now() -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let mut figures = Self {
            processes: 0,
            mounts: read("/proc/self/mountinfo")?.lines().count(),
            groups: count_groups(Path::new("/sys/fs/cgroup")),
            watched: WATCHED.map(|name| (name, (0, 0, 0))).into(),
        };
        for process in fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten() {
            let dir = process.path();
            // What has ended in between is not counted.
            let Ok(status) = fs::read_to_string(dir.join("status")) else {
                continue;
            };
            let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("").trim();
            // Pid 1 here collects no children of others.
            if field("State:").starts_with('Z') && field("PPid:") == "1" {
                continue;
            }
            figures.processes += 1;
            // The kernel keeps fifteen characters of a name.
            let name = field("Name:").trim_end_matches('-');
            let Some((_, sums)) = figures.watched.iter_mut().find(|(watched, _)| **watched == name) else {
                continue;
            };
            let memory = field("RssAnon:").split(' ').next().and_then(|n| n.parse::<u64>().ok());
            sums.0 += 1;
            sums.1 += fs::read_dir(dir.join("fd")).map_or(0, Iterator::count);
            sums.2 += memory.unwrap_or(0);
        }
        Ok(figures)
    }

    /// What there is more of afterwards than may be.
    fn grown(&self, after: &Self) -> Vec<String> {
        let mut grown = Vec::new();
        for (what, before, after) in [
            ("processes", self.processes, after.processes),
            ("mounts", self.mounts, after.mounts),
            ("cgroups", self.groups, after.groups),
        ] {
            if after > before {
                grown.push(format!("{what}: {before}, then {after}"));
            }
        }
        for (name, (_, descriptors, memory)) in &self.watched {
            let (_, descriptors_after, memory_after) = after.watched.get(name).copied().unwrap_or_default();
            if descriptors_after > descriptors + MORE_DESCRIPTORS {
                grown.push(format!("descriptors of {name}: {descriptors}, then {descriptors_after}"));
            }
            if memory_after > memory + memory / MORE_MEMORY.1 + MORE_MEMORY.0 {
                grown.push(format!("memory of {name}: {memory} KiB, then {memory_after}"));
            }
        }
        grown
    }

    fn beside(&self, after: &Self) -> String {
        let mut out = format!(
            "before and after: processes {} {}, mounts {} {}, cgroups {} {}",
            self.processes, after.processes, self.mounts, after.mounts, self.groups, after.groups
        );
        for (name, (count, descriptors, memory)) in &self.watched {
            let (count_after, descriptors_after, memory_after) =
                after.watched.get(name).copied().unwrap_or_default();
            if count + count_after > 0 {
                // Writing to a string cannot fail.
                let _ = write!(
                    out,
                    "\n{name}: {count} {count_after}, descriptors {descriptors} {descriptors_after}, KiB {memory} {memory_after}"
                );
            }
        }
        out
    }
}

/// The figures once they have stayed the same for a moment, or are no more than before.
fn settled(before: Option<&Figures>) -> Result<Figures, String> {
    let until = Instant::now() + SETTLE;
    let mut last = Figures::now()?;
    loop {
        // Daemons give no event for having cleaned up.
        std::thread::sleep(Duration::from_millis(500));
        let now = Figures::now()?;
        let steady = |f: &Figures| {
            let descriptors: usize = f.watched.values().map(|(_, descriptors, _)| descriptors).sum();
            (f.processes, f.mounts, f.groups, descriptors)
        };
        let same = steady(&now) == steady(&last);
        let good = before.map_or(same, |before| before.grown(&now).is_empty());
        if good || Instant::now() > until {
            return Ok(now);
        }
        last = now;
    }
}

fn count_groups(below: &Path) -> usize {
    cgroups::subgroups(below).iter().map(|group| 1 + count_groups(group)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(processes: usize, descriptors: usize, memory: u64) -> Figures {
        let watched = [("dockerd", (1, descriptors, memory))].into();
        Figures { processes, mounts: 3, groups: 4, watched }
    }

    #[test]
    fn a_process_or_a_descriptor_in_each_round_is_growth_and_a_breathing_heap_is_not() {
        let before = figures(5, 20, 40_000);
        assert!(before.grown(&figures(5, 22, 50_000)).is_empty());
        assert!(before.grown(&figures(4, 10, 10_000)).is_empty());
        assert!(before.grown(&figures(6, 20, 40_000))[0].starts_with("processes"));
        assert!(before.grown(&figures(5, 520, 40_000))[0].contains("descriptors of dockerd"));
        assert!(before.grown(&figures(5, 20, 90_000))[0].contains("memory of dockerd"));
    }
}
