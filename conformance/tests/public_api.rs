//! The public surface of the library is what `runtime-core/public-api.txt` says: whoever changes it sees it, and
//! decides whether it is a breaking change. `OXRUN_REGENERATE=1` writes it anew.
//!
//! It is read from what rustdoc says as JSON, which is not stable: the reader knows the format of one Rust. The test
//! program is also the rustdoc that cargo calls, so that only this one call is told that it may.
#![allow(clippy::unwrap_used, missing_docs)]

use libtest_mimic::{Completion, Trial};
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, Failed, check};
use oxrun_core::{Bundle, Container, Error, Event, ExitStatus, Plan, Runtime, Stats, Stdio, Watch};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The Rust whose format the reader knows.
const RUST: &str = "rustc 1.95.";
/// Names the rustdoc that this program stands for.
const STANDS_FOR: &str = "OXRUN_TEST_RUSTDOC";
const SNAPSHOT: &str = "../runtime-core/public-api.txt";

/// A program beside cargo.
fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO")).with_file_name(name)
}

fn another_rust() -> Option<String> {
    let output = Command::new(tool("rustc")).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!version.starts_with(RUST))
        .then(|| format!("the reader knows what {RUST}* writes, and this is {version}"))
}

/// What rustdoc says of the library with all its features.
fn described() -> Check<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .env("RUSTC", tool("rustc"))
        .env("RUSTDOC", std::env::current_exe()?)
        .env(STANDS_FOR, tool("rustdoc"))
        .args([
            "rustdoc",
            "--offline",
            "--locked",
            "--quiet",
            "--package",
            "oxrun-core",
            "--lib",
            "--all-features",
        ])
        .args(["--", "-Zunstable-options", "--output-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    check!(output.status.success(), "rustdoc: {}", String::from_utf8_lossy(&output.stderr));
    // Beside the directory of the programs.
    let programs = Path::new(env!("CARGO_BIN_EXE_oxrun-probe")).parent();
    let path = programs.and_then(Path::parent).map(|dir| dir.join("doc/oxrun_core.json"));
    path.filter(|path| path.exists()).ok_or_else(|| Failed::from("rustdoc wrote no JSON"))
}

/// One line for each item.
fn surface() -> Check<String> {
    let api = public_api::Builder::from_rustdoc_json(described()?)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

/// Lines of one text that the other does not have.
fn missing<'a>(from: &'a str, other: &str) -> Vec<&'a str> {
    let other: BTreeSet<&str> = other.lines().collect();
    from.lines().filter(|line| !other.contains(line)).collect()
}

fn the_public_surface_is_what_is_recorded() -> Check {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SNAPSHOT);
    let (now, recorded) = (surface()?, fs::read_to_string(&path).unwrap_or_default());
    for name in ["pub struct oxrun_core::Runtime", "pub fn oxrun_core::Container::start("] {
        check!(now.contains(name), "{name} is not read");
    }
    if std::env::var_os("OXRUN_REGENERATE").is_some() {
        return Ok(fs::write(path, now)?);
    }
    let (gone, new) = (missing(&recorded, &now), missing(&now, &recorded));
    check!(
        now == recorded,
        "the public surface has changed.\ngone:\n  {}\nnew:\n  {}\nIf that is meant: OXRUN_REGENERATE=1 cargo test -p \
         oxrun-conformance --test public_api, and CHANGELOG.md says so",
        gone.join("\n  "),
        new.join("\n  ")
    );
    Ok(())
}

/// Fails to compile if a handle cannot be shared by threads.
fn handles_can_be_shared_by_threads() -> Check {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Runtime>();
    shared::<Bundle>();
    shared::<Plan>();
    shared::<Container>();
    shared::<oxrun_core::Exec>();
    shared::<Error>();
    shared::<Stdio>();
    shared::<Watch>();
    shared::<(Event, ExitStatus, Stats)>();
    Ok(())
}

fn main() -> ExitCode {
    if let Some(rustdoc) = std::env::var_os(STANDS_FOR) {
        let error =
            Command::new(rustdoc).env("RUSTC_BOOTSTRAP", "1").args(std::env::args_os().skip(1)).exec();
        eprintln!("rustdoc: {error}");
        return ExitCode::FAILURE;
    }
    run(vec![
        Trial::ignorable_test("the_public_surface_is_what_is_recorded", || match another_rust() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => the_public_surface_is_what_is_recorded().map(|()| Completion::Completed),
        }),
        Trial::test("handles_can_be_shared_by_threads", handles_can_be_shared_by_threads),
    ])
}
