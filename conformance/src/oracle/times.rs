//! How long filters are and what they cost to make and to load, beside libseccomp's.

use super::libseccomp::Libseccomp;
use super::profile::Profile;
use oxrun_conformance::{Check, Failed};
use oxrun_core::seccomp::{Arch, Insn, compile};
use serde_json::{Value, json};
use std::time::Instant;

const COMPILED: usize = 201;
const LIBRARY: usize = 21;
const LOADED: usize = 51;

/// Measures a profile as it is, and for the native architecture alone.
pub(super) fn print(library: &mut Libseccomp, name: &str, text: &Value) -> Check {
    let mut alone = text.clone();
    alone["architectures"] = json!([]);
    for text in [text, &alone] {
        measure(library, name, text)?;
    }
    Ok(())
}

fn measure(library: &mut Libseccomp, name: &str, text: &Value) -> Check {
    let spec = serde_json::from_value(text.clone())?;
    let program = compile(&spec, Arch::native())?;
    let own = (0..COMPILED).map(|_| {
        let start = Instant::now();
        let program = std::hint::black_box(compile(&spec, Arch::native()));
        let took = nanoseconds(start);
        drop(program);
        took
    });
    println!("{name}, {} architectures: instructions, making, loading in ms (medians)", program.archs.len());
    let mut rows: Vec<(String, Vec<Insn>, u64)> =
        vec![("ours".to_owned(), program.insns, median(own.collect()))];
    let profile = Profile::read(text)?;
    for level in [1, 2] {
        let (mut insns, mut times) = (Vec::new(), Vec::new());
        for _ in 0..LIBRARY {
            let filter = library.compile(&profile, &program.archs, level)?.map_err(|r| Failed::from(r.0))?;
            insns = filter.insns;
            times.push(filter.nanoseconds);
        }
        rows.push((format!("libseccomp, level {level}"), insns, median(times)));
    }
    // In turn, so that all meet the same noise.
    let mut loads = vec![Vec::new(); rows.len()];
    for _ in 0..LOADED {
        for ((_, insns, _), times) in rows.iter().zip(&mut loads) {
            times.push(library.load(insns)?);
        }
    }
    for ((who, insns, made), times) in rows.iter().zip(loads) {
        println!("  {who:20} {:5} {:7.3} {:7.3}", insns.len(), ms(*made), ms(median(times)));
    }
    Ok(())
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}

fn ms(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
