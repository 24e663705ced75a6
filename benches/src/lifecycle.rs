//! The interleaved loop. What must hold: in each iteration every runtime does the same commands, and
//! the order of the runtimes rotates, so that load from outside falls on all alike. A command that
//! fails is never counted as a measurement.

use std::time::{Duration, Instant};

use crate::bundle::{CHECK_STATUS, Change};
use crate::process::{Init, Outcome};
use crate::session::{Op, Runtime, Session};
use crate::table::{Sample, Samples};
use crate::{Result, sys};

/// What was measured: samples by command and runtime (index), and sentences about the rest.
#[derive(Default)]
pub(crate) struct Results {
    /// Samples of the measured iterations.
    pub(crate) samples: Samples,
    /// Commands that a runtime does not have or that failed.
    pub(crate) notes: Vec<String>,
    /// Failures after the warm-up.
    pub(crate) failures: usize,
}

/// One warm-up, which finds out what each runtime can do, then `n` iterations.
pub(crate) fn measure(session: &Session, runtimes: &[Runtime], ops: &[Op], n: usize) -> Result<Results> {
    let mut results = Results::default();
    let mut able: Vec<Vec<Op>> = Vec::new();
    for runtime in runtimes {
        session.make_bundles(runtime, Change::None)?;
        let mut can = Vec::new();
        for (op, outcome) in iteration(session, runtime, &needed(runtime, ops), true)? {
            match outcome.fault {
                None => can.push(op),
                Some(fault) => {
                    results.notes.push(format!("{} {}: left out: {fault}", runtime.name, op.name()));
                }
            }
        }
        if can.contains(&Op::Create) && !(can.contains(&Op::Start) && can.contains(&Op::Delete)) {
            can.retain(|op| matches!(op, Op::Run | Op::Version));
        }
        able.push(can);
    }
    for i in 0..n {
        for k in 0..runtimes.len() {
            let index = (i + k) % runtimes.len();
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            for (op, outcome) in iteration(session, &runtimes[index], &able[index], false)? {
                match outcome.fault {
                    Some(fault) => {
                        results.failures += 1;
                        let name = &runtimes[index].name;
                        results.notes.push(format!("{name} {}: failed: {fault}", op.name()));
                    }
                    None if ops.contains(&op) => results
                        .samples
                        .entry((op, index))
                        .or_default()
                        .push(Sample { wall: outcome.wall, cpu: outcome.cpu }),
                    None => {}
                }
            }
        }
    }
    Ok(results)
}

/// The commands that must be done so that the wanted ones can be.
fn needed(runtime: &Runtime, ops: &[Op]) -> Vec<Op> {
    if runtime.floor {
        return ops.iter().copied().filter(|op| *op == Op::Run).collect();
    }
    let hold = ops.iter().any(|op| !matches!(op, Op::Run | Op::Version));
    Op::ALL
        .into_iter()
        .filter(|op| ops.contains(op) || (hold && matches!(op, Op::Create | Op::Start | Op::Delete)))
        .collect()
}

/// All commands of one runtime, once. With `check`, also that each did what it should.
fn iteration(session: &Session, runtime: &Runtime, ops: &[Op], check: bool) -> Result<Vec<(Op, Outcome)>> {
    let mut done: Vec<(Op, Outcome)> = Vec::new();
    let mut init: Option<Init> = None;
    // CPU time of init that is already counted, and where what it used since `start` belongs.
    let (mut counted, mut started) = (Duration::ZERO, None);
    for op in Op::ALL.into_iter().filter(|op| ops.contains(op)) {
        if op == Op::Delete
            && let (Some(init), Some(index)) = (&init, started)
        {
            let now = init.cpu()?;
            let (_, outcome): &mut (Op, Outcome) = &mut done[index];
            outcome.cpu += now.saturating_sub(counted);
            counted = now;
        }
        let mut outcome = session.runner.run(&mut session.command(runtime, op), init.as_mut())?;
        match op {
            Op::Create if outcome.fault.is_none() => {
                let new = Init::from_pid_file(&session.pid_file(runtime));
                match new.and_then(|new| Ok((new.cpu()?, new))) {
                    Ok((cpu, new)) => {
                        counted = cpu;
                        outcome.cpu += cpu;
                        init = Some(new);
                    }
                    Err(e) => outcome.fault = Some(e.to_string()),
                }
            }
            Op::Start => started = Some(done.len()),
            Op::Delete if outcome.fault.is_none() => {
                if let Some(init) = init.as_mut() {
                    init.reap_soon()?;
                    match init.total {
                        Some(total) => outcome.cpu += total.saturating_sub(counted),
                        None => outcome.fault = Some("init still runs".to_owned()),
                    }
                }
            }
            _ => {}
        }
        if matches!(op, Op::Run | Op::Delete) && outcome.fault.is_none() {
            outcome.fault = session.left_behind(runtime);
        }
        if check && outcome.fault.is_none() {
            outcome.fault = check_done(session, runtime, op, init.as_mut())?;
        }
        let broken = outcome.fault.is_some();
        done.push((op, outcome));
        if broken && matches!(op, Op::Run | Op::Create | Op::Start | Op::Delete) {
            drop(init.take());
            session.force_clean(runtime);
            if op != Op::Run {
                break;
            }
        }
    }
    Ok(done)
}

/// Why `op`, which said that it succeeded, did not do what it should; None if it did.
fn check_done(
    session: &Session,
    runtime: &Runtime,
    op: Op,
    init: Option<&mut Init>,
) -> Result<Option<String>> {
    match op {
        Op::Run | Op::Exec => {
            let command = &mut session.check_command(runtime, op);
            let code = session.runner.run(command, init)?.code;
            let right = code == Some(i32::from(CHECK_STATUS));
            Ok((!right).then(|| format!("the status of /bin/check is {code:?}")))
        }
        Op::Start => {
            let Some(init) = init else { return Ok(None) };
            let path = format!("/proc/{}/comm", init.pid);
            let end = Instant::now() + Duration::from_secs(1);
            // There is no event for another process's exec.
            while std::fs::read_to_string(&path).is_ok_and(|comm| comm.trim() != "pause") {
                if Instant::now() > end {
                    return Ok(Some("/bin/pause does not run".to_owned()));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(init.cpu().err().map(|e| format!("init has ended: {e}")))
        }
        _ => Ok(None),
    }
}
