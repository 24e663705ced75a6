//! The limits that engines ask for, as writes for v1 and for v2: `data/limits.txt` has every one of them. Needs no
//! root. With OXRUN_WRITE_LIMITS set the file is written anew, to be looked at before it is kept.
#![allow(clippy::unwrap_used, missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, Failed, check, check_eq};
use oxrun_core::cgroup::{Write, v1, v2};
use oxrun_core::{Bundle, LinuxResources, resources_from_json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// The resources of every document that has some, by its file's name.
fn requests() -> Check<Vec<(String, LinuxResources)>> {
    let failed = |name: &str, e: oxrun_core::Error| Failed::from(format!("{name}: {e}"));
    let mut all = Vec::new();
    for entry in fs::read_dir(data("corpus"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path)?;
        if name.ends_with(".config.json") {
            let bundle = Bundle::from_json(&bytes).map_err(|e| failed(&name, e))?;
            let resources = bundle.spec().linux().as_ref().and_then(|l| l.resources().clone());
            all.extend(resources.map(|r| (name, r)));
        } else if name.ends_with(".update.json") {
            let (resources, _) = resources_from_json(&bytes).map_err(|e| failed(&name, e))?;
            all.push((name, resources));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

fn lines(name: &str, version: &str, writes: oxrun_core::Result<Vec<Write>>, out: &mut String) {
    match writes {
        Ok(writes) => {
            for w in writes {
                out.push_str(&format!("{name} {version} {} = {}  {}\n", w.file, w.value, w.field));
            }
        }
        Err(e) => out.push_str(&format!("{name} {version} refused: {e}\n")),
    }
}

fn the_limits_of_every_document_become_these_writes() -> Check {
    let requests = requests()?;
    check!(requests.len() > 50, "only {} documents have resources", requests.len());
    let mut text = String::new();
    for (name, resources) in &requests {
        lines(name, "v1", v1::writes(resources), &mut text);
        lines(name, "v2", v2::writes(resources), &mut text);
    }
    let path = data("limits.txt");
    if std::env::var_os("OXRUN_WRITE_LIMITS").is_some() {
        return Ok(fs::write(path, text)?);
    }
    let known = fs::read_to_string(path)?;
    for (n, (found, expected)) in text.lines().zip(known.lines()).enumerate() {
        check_eq!(found, expected, "line {} of limits.txt", n + 1);
    }
    check_eq!(text.lines().count(), known.lines().count(), "lines of limits.txt");
    Ok(())
}

fn main() -> ExitCode {
    run(vec![Trial::test("the_limits_of_every_document_become_these_writes", || {
        the_limits_of_every_document_become_these_writes()
    })])
}
