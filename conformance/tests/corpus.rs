//! Documents that container engines wrote, each carried out as it was recorded: what the probe sees inside and
//! what the host shows is compared with the document, field by field.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "corpus/mod.rs"]
mod corpus;

use corpus::{compare, controls, documents, exec, lacking, observed, update};
use oxrun_conformance::harness::{conditional, run, test};
use oxrun_conformance::{Check, Failed, check_eq};
use std::process::ExitCode;

/// The update whose control is here.
const UPDATE: &str = "docker28-shares.update.json";

/// One document from create to delete.
fn config(name: &str) -> Check {
    let (document, seen) = observed(name)?;
    controls::lines(&compare::differences(&document, &seen))
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
    let found = update::differences(UPDATE, |document| {
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
        tests.push(lacking::conditional_on(&name, &name, config));
    }
    for name in documents::names("process").unwrap() {
        tests.push(lacking::conditional_on(&name, &exec::container(&name), process));
    }
    for name in documents::names("update").unwrap() {
        tests.push(lacking::conditional_on(&name, &update::container(&name), change));
    }
    tests.push(test("control_of_a_further_process", control_of_a_further_process));
    tests.push(conditional("control_of_an_update", || lacking::of_update(UPDATE), control_of_an_update));
    for control in controls::all() {
        let title = format!("control_of_{}", control.name.replace([' ', '-'], "_"));
        let name = control.name;
        tests.push(conditional(&title, move || control.lacking(), move || controls::run(name)));
    }
    tests.push(test("every_comparison_has_a_control", controls::every_comparison_has_one));
    run(tests)
}
