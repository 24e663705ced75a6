//! Finds, and where needed builds, the binaries beside the running one. Built with the profile of
//! the running binary and into the same target directory, so that what is tested is what was built.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The directory of the profile, for example `target/x86_64-unknown-linux-gnu/debug`.
fn profile_directory() -> io::Result<PathBuf> {
    let mut directory = env::current_exe()?;
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    Ok(directory)
}

/// A call of cargo that builds with the profile and into the target directory of the running binary.
fn cargo(words: &[&str]) -> io::Result<Command> {
    let profile_directory = profile_directory()?;
    let mut target = profile_directory.clone();
    target.pop();
    if !target.join(".rustc_info.json").exists() {
        // With an explicit target there is one more level.
        target.pop();
    }
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(words)
        .args(["--quiet", "--profile", profile, "--target-dir"])
        .arg(target);
    Ok(command)
}

/// The binary `name` of package `package`, brought up to date by cargo first.
///
/// # Errors
/// If cargo fails; its output has gone to stderr.
pub(crate) fn build(package: &str, name: &str) -> io::Result<PathBuf> {
    let status = cargo(&["build", "--package", package, "--bin", name])?.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("cargo build of {name} failed: {status}")));
    }
    existing(profile_directory()?.join(name))
}

/// The test programs of this package by name, brought up to date by cargo first.
///
/// # Errors
/// If cargo fails; its output has gone to stderr.
pub(crate) fn tests() -> io::Result<Vec<(String, PathBuf)>> {
    let words =
        ["test", "--package", env!("CARGO_PKG_NAME"), "--tests", "--no-run", "--message-format", "json"];
    let done = cargo(&words)?.stderr(Stdio::inherit()).output()?;
    if !done.status.success() {
        return Err(io::Error::other(format!("cargo test --no-run failed: {}", done.status)));
    }
    let mut programs = Vec::new();
    for line in done.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: serde_json::Value = serde_json::from_slice(line)?;
        let target = &message["target"];
        if target["kind"][0] == "test"
            && let (Some(name), Some(path)) = (target["name"].as_str(), message["executable"].as_str())
        {
            programs.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    programs.sort();
    Ok(programs)
}

/// The binary `name` of this package: beside the running one, else built.
///
/// # Errors
/// If there is none and cargo fails.
pub(crate) fn sibling(name: &str) -> io::Result<PathBuf> {
    match existing(profile_directory()?.join(name)) {
        Ok(path) => Ok(path),
        Err(_) => build(env!("CARGO_PKG_NAME"), name),
    }
}

fn existing(path: PathBuf) -> io::Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display())))
}

/// A program by path, or by name in `PATH`.
pub(crate) fn program(name: &str) -> io::Result<PathBuf> {
    if name.contains('/') {
        return existing(env::current_dir()?.join(name));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} is not in PATH")))
}
