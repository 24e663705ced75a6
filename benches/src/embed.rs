//! The library in a small and in a large process: 500 MB of touched memory and 64 threads. What must
//! hold: both create the same container in one interleaved loop, through the library, and nothing of
//! what is measured is the talk with them.
//!
//! The program is also the two processes: with the word `embedding` it becomes one. It makes a container
//! for each line on stdin and answers with a line.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

use oxrun_core::{Bundle, CreateOptions, Runtime};

use crate::bundle::Change;
use crate::figures::{Figures, summary};
use crate::session::{self, Session};
use crate::table::{self, cell};
use crate::{Result, sys};

/// Of the large one.
const MEMORY: usize = 500 << 20;
const THREADS: usize = 64;
/// What is measured, in the figures, and who does it.
const LARGE: &str = "create in 500 MB";
const SMALL: &str = "oxrun in a small process";

/// Prints the table; returns the figures.
pub(crate) fn print(session: &Session, n: usize) -> Result<Figures> {
    let own =
        session::Runtime { name: "library".to_owned(), program: std::env::current_exe()?, floor: false };
    let mut processes = Vec::new();
    for (name, memory, threads) in [("small", 0, 0), ("large", MEMORY, THREADS)] {
        session.make_one(&own, name, "/bin/pause", Change::None)?;
        processes.push(Process::begin(session, &own, name, memory, threads)?);
    }
    let mut samples = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for round in 0..=n {
        for k in 0..2 {
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            let at = (round + k) % 2;
            let (wall, cpu) = processes[at].create()?;
            // The first is a warm-up.
            if round > 0 {
                samples[at].0.push(wall);
                samples[at].1.push(cpu);
            }
        }
    }
    for process in processes {
        process.end()?;
    }
    session.clear(&own);
    let [small, large] = samples;
    let mut figures = Figures::default();
    for (name, (wall, cpu)) in [(SMALL, small), ("oxrun", large)] {
        for (kind, value) in summary(wall, cpu) {
            figures.set(LARGE, name, kind, value);
        }
    }
    let kinds = ["wall_ms", "wall_p90_ms", "cpu_ms"];
    let mut lines = vec![[&["create through the library"], &kinds[..]].concat()];
    let row = |name: &str| kinds.map(|kind| cell(figures.get(LARGE, name, kind)));
    let (small, large) = (row(SMALL), row("oxrun"));
    let ratio = kinds.map(|kind| cell(figures.ratio(LARGE, "oxrun", SMALL, kind)));
    for (name, row) in
        [("in a small process", &small), ("with 500 MB and 64 threads", &large), ("ratio", &ratio)]
    {
        lines.push(std::iter::once(name).chain(row.iter().map(String::as_str)).collect());
    }
    let lines: Vec<Vec<String>> =
        lines.into_iter().map(|line| line.into_iter().map(str::to_owned).collect()).collect();
    print!("\n{}", table::aligned(&lines, 1, false));
    Ok(figures)
}

/// One of the two, seen from outside.
struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    fn begin(
        session: &Session,
        own: &session::Runtime,
        name: &str,
        memory: usize,
        threads: usize,
    ) -> Result<Process> {
        let mut command = session.bare(&own.program);
        command.arg("embedding").arg(session.state(own).join(name)).arg(session.one(own, name));
        command.args([memory.to_string(), threads.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        Ok(Process { child, to, from: BufReader::new(from) })
    }

    /// Wall and CPU milliseconds of one container.
    fn create(&mut self) -> Result<(f64, f64)> {
        writeln!(self.to, "create")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let (wall, cpu) = line.trim().split_once(' ').ok_or("the embedding process has ended")?;
        Ok((wall.parse()?, cpu.parse()?))
    }

    fn end(mut self) -> Result<()> {
        drop(self.to);
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the embedding process: {status}").into()) }
    }
}

/// What the program does as one of the two. `words`: state root, bundle, bytes, threads.
pub(crate) fn process(words: &[String]) -> Result<()> {
    let [root, bundle, memory, threads] = words else {
        return Err("embedding takes four words".into());
    };
    let mut kept = vec![0_u8; memory.parse()?];
    for page in kept.chunks_mut(4096) {
        page[0] = 1;
    }
    for _ in 0..threads.parse::<usize>()? {
        // They wait, as most threads of a daemon do, and end with the process.
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
    let runtime = Runtime::new(root);
    let bundle = Bundle::open(Path::new(bundle))?;
    for line in std::io::stdin().lines() {
        line?;
        let before = sys::cpu_of_us_and_ours()?;
        let start = Instant::now();
        let plan = runtime.plan("c", &bundle, &CreateOptions::default())?;
        let container = runtime.create(&plan, oxrun_core::Stdio::null())?;
        let wall = start.elapsed();
        let init = sys::cpu_of(i32::try_from(container.pid())?)?;
        let cpu = sys::cpu_of_us_and_ours()?.saturating_sub(before) + init;
        container.delete(true)?;
        println!("{} {}", table::ms(wall), table::ms(cpu));
    }
    let _ = fs::remove_dir(root);
    std::hint::black_box(&kept);
    Ok(())
}
