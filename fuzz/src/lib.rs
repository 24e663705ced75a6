//! What the fuzz targets share: hosts that were recorded, documents of real engines, the mutator.

pub mod json;
#[path = "../../runtime-core/tests/plans/order.rs"]
mod order;
pub mod targets;

use oxrun_core::HostFacts;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The files below a directory of the project whose names end so.
fn files(directory: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project(directory)).expect(directory);
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.to_string_lossy().ends_with(end));
    paths.sort();
    paths
}

fn documents(directory: &str, end: &str) -> Vec<Value> {
    let read = |path: PathBuf| serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    files(directory, end).into_iter().map(read).collect()
}

/// The recorded hosts.
pub static HOSTS: LazyLock<Vec<HostFacts>> = LazyLock::new(|| {
    let documents = documents("runtime-core/tests/plans", ".facts.json");
    let facts: Vec<HostFacts> =
        documents.into_iter().map(|d| serde_json::from_value(d).expect("facts")).collect();
    assert!(!facts.is_empty());
    facts
});

/// The host that the first byte chooses, and the rest.
pub fn host(data: &[u8]) -> Option<(&'static HostFacts, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((&HOSTS[usize::from(*first) % HOSTS.len()], rest))
}

/// Documents to take parts from: the configs of engines, and one with every field.
static CONFIGS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut all = documents("conformance/data/corpus", ".config.json");
    let every: Value =
        serde_json::from_slice(&std::fs::read(project("fuzz/every-field.json")).expect("every-field.json"))
            .expect("JSON");
    // As often as all others together.
    let others = all.len();
    all.extend(std::iter::repeat_n(every, others));
    all
});

/// Mutates `data[at..size]` as JSON with parts from below `pointer` of the engines' configs; now and then, and
/// where it is no JSON, as bytes.
pub fn mutate(data: &mut [u8], size: usize, max: usize, seed: u32, at: usize, pointer: &str) -> usize {
    let mut random = json::Random::new(seed);
    if random.below(10) != 0
        && size > at
        && let Ok(mut document) = serde_json::from_slice::<Value>(&data[at..size])
    {
        let donor = &CONFIGS[random.below(CONFIGS.len())];
        json::change(&mut document, donor.pointer(pointer).unwrap_or(&Value::Null), &mut random);
        if at > 0 && random.below(8) == 0 {
            data[0] = random.below(256) as u8;
        }
        let text = document.to_string();
        if at + text.len() <= max.min(data.len()) {
            data[at..at + text.len()].copy_from_slice(text.as_bytes());
            return at + text.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max)
}
