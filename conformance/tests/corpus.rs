//! Documents that container engines wrote, each carried out as it was recorded: what the probe sees inside and
//! what the host shows is compared with the document, field by field.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "corpus/mod.rs"]
mod corpus;

use corpus::{compare, controls, documents, exec, observed, update};
use oxrun_conformance::harness::{Host, conditional, run, test};
use oxrun_conformance::{Check, Failed, check_eq};
use std::process::ExitCode;

/// One document from create to delete.
fn config(name: &str) -> Check {
    let (document, seen) = observed(name)?;
    controls::lines(&compare::differences(&document, &seen))
}

/// Whether a cgroup can be given a share of real time.
fn no_real_time() -> Option<String> {
    let roots = Host::cgroup_roots().unwrap_or_default();
    let share = roots.iter().find_map(|root| std::fs::read_to_string(root.join("cpu.rt_runtime_us")).ok());
    match share.as_deref().map(str::trim) {
        None => Some("this kernel has no group scheduling of real-time processes".to_owned()),
        Some("0") => Some("no real time is left for cgroups".to_owned()),
        Some(_) => None,
    }
}

/// One process in a running container.
fn process(name: &str) -> Check {
    if name.contains("notfound") || name.contains("badwd") {
        return exec::refused(name);
    }
    controls::lines(&exec::differences(name, |_| {})?)
}

/// One change of limits.
fn change(name: &str) -> Check {
    controls::lines(&update::differences(name, |_| {})?)
}

fn control_of_a_further_process() -> Check {
    let found = exec::differences("docker20-exec-user-wd-env.process.json", |document| {
        document["process"]["cwd"] = "/".into();
    })?;
    let fields: Vec<String> = found.into_iter().map(|d| d.field).collect();
    check_eq!(fields, ["/process/cwd"], "fields reported");
    Ok(())
}

fn control_of_an_update() -> Check {
    let found = update::differences("docker28-shares.update.json", |document| {
        document["linux"]["resources"]["cpu"]["shares"] = 301.into();
    })?;
    let fields: Vec<String> = found.into_iter().map(|d| d.field).collect();
    check_eq!(fields, ["/linux/resources/cpu/shares"], "fields reported");
    Ok(())
}

fn every_document_is_there() -> Check {
    let count = |kind: &str| Ok::<_, Failed>(documents::names(kind)?.len());
    check_eq!([count("config")?, count("process")?, count("update")?], [48, 15, 4], "documents");
    Ok(())
}

fn main() -> ExitCode {
    let mut tests = vec![test("every_document_is_there", every_document_is_there)];
    for name in documents::names("config").unwrap() {
        let reason = if name == "docker20-rt.config.json" { no_real_time } else { || None };
        tests.push(conditional(&name.clone(), reason, move || config(&name)));
    }
    for name in documents::names("process").unwrap() {
        tests.push(test(&name.clone(), move || process(&name)));
    }
    for name in documents::names("update").unwrap() {
        tests.push(test(&name.clone(), move || change(&name)));
    }
    tests.push(test("control_of_a_further_process", control_of_a_further_process));
    tests.push(test("control_of_an_update", control_of_an_update));
    for name in controls::names() {
        let title = format!("control_of_{}", name.replace([' ', '-'], "_"));
        let reason = if name == "real time" { no_real_time } else { || None };
        tests.push(conditional(&title, reason, move || controls::run(name)));
    }
    tests.push(test("every_comparison_has_a_control", controls::every_comparison_has_one));
    run(tests)
}
