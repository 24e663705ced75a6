//! Curves: what a command costs with more containers, with more mounts, after more further processes.
//! What must hold: all runtimes are measured at a point before any goes on to the next, in rounds that
//! rotate; a runtime that fails at a point has no further ones, and the reason is said.

use std::collections::BTreeMap;
use std::fs;

use crate::bundle::{self, Change};
use crate::figures::{CPU, Figures, WALL, summary};
use crate::process::{Init, Outcome};
use crate::session::{Op, Runtime, Session};
use crate::svg::Line;
use crate::table::{self, cell, ms};
use crate::{Result, sys};

/// Which curve, at which point, of which command of which runtime: the milliseconds of wall and of CPU.
type Points = BTreeMap<(Curve, usize, Op, usize), (Vec<f64>, Vec<f64>)>;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Curve {
    /// Containers in the state root.
    Containers,
    /// Bind mounts beside the usual mounts.
    Mounts,
    /// Further processes that the container has had.
    Execs,
}

impl Curve {
    /// In the figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Curve::Containers => "containers",
            Curve::Mounts => "mounts",
            Curve::Execs => "earlier execs",
        }
    }
}

/// How far the curves go, and how often each point is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Most containers.
    pub(crate) containers: usize,
    /// Most mounts.
    pub(crate) mounts: usize,
    /// Most further processes.
    pub(crate) execs: usize,
    /// Rounds at each point.
    pub(crate) rounds: usize,
}

/// What was measured.
pub(crate) struct Growth<'a> {
    runtimes: Vec<&'a Runtime>,
    points: Points,
    notes: Vec<String>,
}

/// Measures the curves.
pub(crate) fn measure<'a>(session: &Session, runtimes: &'a [Runtime], to: Extent) -> Result<Growth<'a>> {
    let runtimes: Vec<&Runtime> = runtimes.iter().filter(|runtime| !runtime.floor).collect();
    let mut growth = Growth { runtimes, points: Points::new(), notes: Vec::new() };
    growth.curve(session, Curve::Execs, &steps(to.execs), to.rounds)?;
    growth.curve(session, Curve::Mounts, &steps(to.mounts), to.rounds)?;
    growth.curve(session, Curve::Containers, &steps(to.containers), to.rounds)?;
    Ok(growth)
}

/// None, a tenth, a quarter, a half, all.
fn steps(most: usize) -> Vec<usize> {
    let mut steps = vec![0, most / 10, most / 4, most / 2, most];
    steps.dedup();
    steps
}

impl Growth<'_> {
    fn curve(&mut self, session: &Session, curve: Curve, steps: &[usize], rounds: usize) -> Result<()> {
        let mut able = vec![true; self.runtimes.len()];
        for (step, at) in steps.iter().enumerate() {
            let before = step.checked_sub(1).and_then(|step| steps.get(step));
            for (index, able) in able.iter_mut().enumerate().filter(|(_, able)| **able) {
                let prepared = prepare(session, self.runtimes[index], curve, before.copied(), *at, rounds);
                *able = self.noted(prepared, curve, *at, index)?.is_some();
            }
            for round in 0..rounds {
                for k in 0..able.len() {
                    let index = (round + k) % able.len();
                    if !able[index] {
                        continue;
                    }
                    let done = once(session, self.runtimes[index], curve);
                    let Some(done) = self.noted(done, curve, *at, index)? else {
                        able[index] = false;
                        continue;
                    };
                    for (op, outcome) in done {
                        let (wall, cpu) = self.points.entry((curve, *at, op, index)).or_default();
                        wall.push(ms(outcome.wall));
                        cpu.push(ms(outcome.cpu));
                    }
                }
            }
        }
        for runtime in &self.runtimes {
            session.clear(runtime);
        }
        Ok(())
    }

    /// The value, or None and a note.
    fn noted<T>(&mut self, value: Result<T>, curve: Curve, at: usize, index: usize) -> Result<Option<T>> {
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        value.map(Some).or_else(|e| {
            let name = &self.runtimes[index].name;
            self.notes.push(format!("{name} with {at} {}: left out from here on: {e}", curve.name()));
            Ok(None)
        })
    }

    /// The figures, named like `list 1000` and `run 500 mounts`.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for ((curve, at, op, index), (wall, cpu)) in &self.points {
            let what = match curve {
                Curve::Containers => format!("{} {at}", op.name()),
                _ => format!("{} {at} {}", op.name(), curve.name()),
            };
            for (kind, value) in summary(wall.clone(), cpu.clone()) {
                figures.set(&what, &self.runtimes[*index].name, kind, value);
            }
        }
        figures
    }

    /// One line for each point.
    pub(crate) fn csv(&self) -> String {
        let mut out = "curve,at,command,runtime,n,wall_ms,cpu_ms\n".to_owned();
        for ((curve, at, op, index), (wall, cpu)) in &self.points {
            let [wall_ms, .., cpu_ms, _] = summary(wall.clone(), cpu.clone());
            let (name, n) = (&self.runtimes[*index].name, wall.len());
            let (wall_ms, cpu_ms) = (wall_ms.1, cpu_ms.1);
            out.push_str(&format!(
                "{},{at},{},{name},{n},{wall_ms:.3},{cpu_ms:.3}\n",
                curve.name(),
                op.name()
            ));
        }
        out
    }

    /// The curves with their CPU milliseconds: a title, and for each runtime its name and points.
    pub(crate) fn lines(&self) -> Vec<(String, Vec<Line>)> {
        let mut curves: BTreeMap<(Curve, Op), BTreeMap<usize, Line>> = BTreeMap::new();
        for ((curve, at, op, index), (wall, cpu)) in &self.points {
            let [.., (_, cpu_ms), _] = summary(wall.clone(), cpu.clone());
            let lines = curves.entry((*curve, *op)).or_default();
            let name = || (self.runtimes[*index].name.clone(), Vec::new());
            lines.entry(*index).or_insert_with(name).1.push((*at as f64, cpu_ms));
        }
        curves
            .into_iter()
            .map(|((curve, op), lines)| {
                (format!("{}, by {}", op.name(), curve.name()), lines.into_values().collect())
            })
            .collect()
    }

    /// Prints a table for each curve.
    pub(crate) fn print(&self) {
        let figures = self.figures();
        let mut rows: Vec<(Curve, Op, usize)> = self.points.keys().map(|k| (k.0, k.2, k.1)).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut lines = vec![vec!["command".to_owned(), "with".to_owned()]];
        for runtime in &self.runtimes {
            for kind in ["wall", "cpu"] {
                lines[0].push(format!("{} {kind}", runtime.name));
            }
        }
        for (curve, op, at) in rows {
            let what = match curve {
                Curve::Containers => format!("{} {at}", op.name()),
                _ => format!("{} {at} {}", op.name(), curve.name()),
            };
            let mut line = vec![op.name().to_owned(), format!("{at} {}", curve.name())];
            for runtime in &self.runtimes {
                line.extend([WALL, CPU].map(|kind| cell(figures.get(&what, &runtime.name, kind))));
            }
            lines.push(line);
        }
        println!("\nmilliseconds: wall (median) and CPU (mean)");
        print!("{}", table::aligned(&lines, 2, true));
        for note in &self.notes {
            println!("{note}");
        }
    }
}

/// The container whose further processes are counted.
const EXECS: &str = "execs";
/// The container that comes and goes among many.
const ONE: &str = "one";
/// The bundle with many mounts.
const MOUNTS: &str = "mounts";

/// Makes what the curve needs at this point, after what it had `before`.
fn prepare(
    session: &Session,
    runtime: &Runtime,
    curve: Curve,
    before: Option<usize>,
    at: usize,
    rounds: usize,
) -> Result<()> {
    match curve {
        Curve::Mounts => {
            let source = session.scratch.join("source");
            fs::create_dir_all(&source)?;
            bundle::make_mountpoints(&session.rootfs(), at)?;
            session.make_one(runtime, MOUNTS, "/bin/true", Change::Binds(at, &source))
        }
        Curve::Execs => {
            let Some(before) = before else {
                session.make_one(runtime, EXECS, "/bin/pause", Change::None)?;
                good(session, runtime, Op::Create, EXECS)?;
                return good(session, runtime, Op::Start, EXECS).map(drop);
            };
            // The rounds at the point before were some of them.
            for _ in before + rounds..at {
                good(session, runtime, Op::Exec, EXECS)?;
            }
            Ok(())
        }
        Curve::Containers => {
            if before.is_none() {
                session.make_one(runtime, ONE, "/bin/pause", Change::Small)?;
                // Without a state root some have nothing to list.
                good(session, runtime, Op::Create, ONE)?;
                good(session, runtime, Op::Delete, ONE)?;
            }
            for number in before.unwrap_or(0)..at {
                let id = format!("c{number}");
                session.make_one(runtime, &id, "/bin/pause", Change::Small)?;
                good(session, runtime, Op::Create, &id)?;
                if number == 0 {
                    room_for(session, runtime, &id)?;
                }
            }
            let listed = session.runner.output(&mut session.command_of_one(runtime, Op::List, ONE))?;
            let (found, wanted) = (listed.lines().count(), at + 1);
            // A line for each, and the heading.
            if at > 0 && found != wanted {
                return Err(format!("list has {found} lines, and {wanted} were expected").into());
            }
            Ok(())
        }
    }
}

/// Whether a thousand of these have room in memory, as far as the first one tells.
fn room_for(session: &Session, runtime: &Runtime, id: &str) -> Result<()> {
    let init = Init::from_pid_file(&session.one(runtime, id).join("pid"))?;
    let kib = |file: String, name: &str| -> Result<u64> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?)
    };
    let each = kib(format!("/proc/{}/smaps_rollup", init.pid), "Private_Dirty")?;
    let free = kib("/proc/meminfo".to_owned(), "MemAvailable")?;
    // The kernel's share of a process with namespaces of its own is some 300 KiB.
    if (each + 300) * 1000 > free / 2 {
        return Err(format!("a thousand with {each} KiB each do not fit into {free} KiB").into());
    }
    Ok(())
}

/// Runs a command that must succeed.
fn good(session: &Session, runtime: &Runtime, op: Op, id: &str) -> Result<Outcome> {
    if sys::interrupted() {
        return Err("interrupted".into());
    }
    let outcome = session.runner.run(&mut session.command_of_one(runtime, op, id), None)?;
    match outcome.fault {
        Some(fault) => Err(format!("{}: {fault}", op.name()).into()),
        None => Ok(outcome),
    }
}

/// The commands of one round.
fn once(session: &Session, runtime: &Runtime, curve: Curve) -> Result<Vec<(Op, Outcome)>> {
    match curve {
        Curve::Mounts => Ok(vec![(Op::Run, good(session, runtime, Op::Run, MOUNTS)?)]),
        Curve::Execs => Ok(vec![(Op::Exec, good(session, runtime, Op::Exec, EXECS)?)]),
        Curve::Containers => {
            let list = good(session, runtime, Op::List, ONE)?;
            let mut create = good(session, runtime, Op::Create, ONE)?;
            let mut init = Init::from_pid_file(&session.one(runtime, ONE).join("pid"))?;
            let made = init.cpu()?;
            create.cpu += made;
            let state = good(session, runtime, Op::State, ONE)?;
            let command = &mut session.command_of_one(runtime, Op::Delete, ONE);
            let mut delete = session.runner.run(command, Some(&mut init))?;
            if let Some(fault) = delete.fault {
                return Err(format!("delete: {fault}").into());
            }
            init.reap_soon()?;
            delete.cpu += init.total.ok_or("init still runs after delete")?.saturating_sub(made);
            Ok(vec![(Op::List, list), (Op::Create, create), (Op::State, state), (Op::Delete, delete)])
        }
    }
}
