//! Many containers at once. What must hold: each runtime makes and starts the same number of containers
//! from the same number of threads, in rounds that rotate, and every container is there at the end of
//! its round.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bundle::Change;
use crate::figures::{CPU, Figures, RATE, rank};
use crate::process::{Init, TIMEOUT};
use crate::session::{Op, Runtime, Session};
use crate::table::{self, cell, ms};
use crate::{Result, sys};

/// Containers of a round.
const TOTAL: usize = 200;
/// How many are made at a time.
const WIDTH: usize = 8;
/// What is measured, in the figures.
const WHAT: &str = "200, 8 at a time";

/// Prints the table; returns the figures.
pub(crate) fn print(session: &Session, runtimes: &[Runtime], rounds: usize) -> Result<Figures> {
    let able: Vec<&Runtime> = runtimes.iter().filter(|runtime| !runtime.floor).collect();
    let mut done: Vec<Result<Vec<(f64, f64)>>> = able.iter().map(|_| Ok(Vec::new())).collect();
    for runtime in &able {
        for at in 0..TOTAL {
            session.make_one(runtime, &format!("p{at}"), "/bin/pause", Change::None)?;
        }
    }
    for round in 0..rounds {
        for k in 0..able.len() {
            let at = (round + k) % able.len();
            let Ok(list) = &mut done[at] else { continue };
            let outcome = one_round(session, able[at]);
            session.clear(able[at]);
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            match outcome {
                Ok(figures) => list.push(figures),
                Err(e) => done[at] = Err(e),
            }
            // Network namespaces end in a thread of the kernel, some time after their processes, and
            // nothing tells when: the next round is not to pay for it.
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let mut figures = Figures::default();
    let mut notes = Vec::new();
    for (runtime, done) in able.iter().zip(done) {
        match done {
            Ok(list) if !list.is_empty() => {
                let middle = |of: fn(&(f64, f64)) -> f64| {
                    let mut values: Vec<f64> = list.iter().map(of).collect();
                    values.sort_by(f64::total_cmp);
                    rank(&values, 0.5)
                };
                figures.set(WHAT, &runtime.name, RATE, middle(|f| f.0));
                figures.set(WHAT, &runtime.name, CPU, middle(|f| f.1));
            }
            Ok(_) => {}
            Err(e) => notes.push(format!("{} {WHAT}: left out: {e}", runtime.name)),
        }
    }
    let mut lines =
        vec![["runtime", "per_second", "cpu_ms", "/crun", "cpu/crun"].map(str::to_owned).to_vec()];
    for runtime in able {
        let name = &runtime.name;
        let mut line = vec![name.clone()];
        line.extend([RATE, CPU].map(|kind| cell(figures.get(WHAT, name, kind))));
        line.extend([RATE, CPU].map(|kind| cell(figures.ratio(WHAT, name, "crun", kind))));
        lines.push(line);
    }
    println!("\n{TOTAL} containers created and started, {WIDTH} at a time; median of {rounds} rounds");
    print!("{}", table::aligned(&lines, 1, false));
    for note in notes {
        println!("{note}");
    }
    Ok(figures)
}

/// Containers per second, and CPU time of one in milliseconds.
fn one_round(session: &Session, runtime: &Runtime) -> Result<(f64, f64)> {
    let (next, spent) = (AtomicUsize::new(0), Mutex::new(Ok::<_, String>(Duration::ZERO)));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WIDTH {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let good = spent.lock().is_ok_and(|spent| spent.is_ok());
                    if at >= TOTAL || !good || sys::interrupted() {
                        return;
                    }
                    let cpu = create_and_start(session, runtime, &format!("p{at}"));
                    let Ok(mut spent) = spent.lock() else { return };
                    *spent = match (&*spent, cpu) {
                        (Ok(sum), Ok(cpu)) => Ok(*sum + cpu),
                        (Err(e), _) => Err(e.clone()),
                        (_, Err(e)) => Err(e.to_string()),
                    };
                }
            });
        }
    });
    let wall = start.elapsed();
    let mut spent = spent.into_inner().map_err(|_| "a thread panicked")??;
    if sys::interrupted() {
        return Err("interrupted".into());
    }
    for at in 0..TOTAL {
        let init = Init::from_pid_file(&session.one(runtime, &format!("p{at}")).join("pid"))?;
        spent += init.cpu()?;
    }
    Ok((TOTAL as f64 / wall.as_secs_f64(), ms(spent) / TOTAL as f64))
}

/// The CPU time of both commands.
fn create_and_start(session: &Session, runtime: &Runtime, id: &str) -> Result<Duration> {
    let mut cpu = Duration::ZERO;
    for op in [Op::Create, Op::Start] {
        let mut command = session.command_of_one(runtime, op, id);
        // Init keeps what it inherits: a pipe would never end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It is reaped below, as the only one, with its CPU time.
        let pid = i32::try_from(command.spawn()?.id())?;
        let pidfd = sys::pidfd_open(pid)?;
        let end = Instant::now() + TIMEOUT;
        let reaped = loop {
            if let Some(reaped) = sys::reap(pid) {
                break reaped;
            }
            match sys::poll(&[&pidfd], end.saturating_duration_since(Instant::now())) {
                Ok(ready) if ready.first() == Some(&false) => sys::kill(&pidfd)?,
                Err(e) if e.kind() != std::io::ErrorKind::Interrupted => return Err(e.into()),
                _ => {}
            }
        };
        if reaped.status != 0 {
            return Err(format!("{} {id}: status {:#x}", op.name(), reaped.status).into());
        }
        cpu += reaped.cpu;
    }
    Ok(cpu)
}
