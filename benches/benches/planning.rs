//! What happens before anything happens: reading a config, planning, compiling a filter, explaining. What
//! must hold: nothing here touches the machine, so that the figures are those of the code alone.
#![allow(clippy::unwrap_used, missing_docs)]

// The bundle that the runtimes are compared with.
#[allow(dead_code, unused_imports)]
#[path = "../src/bundle.rs"]
mod bundle;
#[allow(dead_code, unused_imports)]
#[path = "../src/elf.rs"]
mod elf;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oxrun_core::seccomp::{self, Arch};
use oxrun_core::{Bundle, CreateOptions, Runtime, plan};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn planning(c: &mut Criterion) {
    let dir = std::env::temp_dir().join(format!("oxrun-bench-planning-{}", std::process::id()));
    bundle::make(&dir, dir.as_path(), "/bin/true", "/bench", bundle::Change::None).unwrap();
    let json = std::fs::read(dir.join("config.json")).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let bundle = Bundle::from_json(&json).unwrap();
    let profile = bundle.spec().linux().as_ref().unwrap().seccomp().clone().unwrap();
    // The facts are recorded once, as by a daemon.
    let (runtime, options) = (Runtime::new(dir), CreateOptions::default());
    let made = runtime.plan("bench", &bundle, &options).unwrap();

    let mut group = c.benchmark_group("config");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("load", |b| b.iter(|| Bundle::from_json(black_box(&json)).unwrap()));
    group.finish();
    c.bench_function("seccomp compile", |b| {
        b.iter(|| seccomp::compile(black_box(&profile), Arch::X86_64).unwrap());
    });
    c.bench_function("plan", |b| b.iter(|| runtime.plan("bench", black_box(&bundle), &options).unwrap()));
    c.bench_function("script", |b| b.iter(|| plan::script::encode(black_box(&made)).unwrap()));
    c.bench_function("explain", |b| b.iter(|| black_box(&made).to_string()));
}

criterion_group!(benches, planning);
criterion_main!(benches);
