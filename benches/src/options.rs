//! The command line, and the runtimes that are there. What must hold: a runtime that is left out is
//! said, with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::Result;
use crate::growth::Extent;
use crate::session::{Op, Runtime};
use crate::view::View;

/// What can be asked for, in the order in which `all` does it.
pub(crate) const PARTS: [&str; 5] = ["lifecycle", "growth", "parallel", "library", "facts"];

/// What is asked for by itself only.
pub(crate) const ORDER: &str = "order";

/// The text of --help.
pub(crate) const HELP: &str = "\
usage: oxrun-benches lifecycle [options] [run create start version state exec kill delete]
       oxrun-benches growth | parallel | library | facts | all [options]
       oxrun-benches order --oxrun PATH > runtime-cli/order.ld

  --n N             measured iterations (50)
  --oxrun PATH      default: the newest build in this workspace
  --runc PATH       default: runc in PATH      (\"none\" leaves a runtime out)
  --crun PATH       default: crun in PATH
  --peer NAME=PATH  a further runtime, repeatable
  --floor PATH      default: beside this program, built if it is not there
  --view VIEW       host, v2 (default) or v1: the cgroup hierarchies that all see
  --out DIR         the figures as CSV and the pictures as SVG as well
  --containers N, --mounts N, --execs N   how far the curves of growth go (1000, 500, 500)
  --rounds N        rounds at each point of growth (10), and of parallel (3 at most)
";

/// What the command line says.
pub(crate) struct Options {
    /// What is to be measured.
    pub(crate) parts: Vec<&'static str>,
    /// Iterations.
    pub(crate) n: usize,
    /// Those that are there.
    pub(crate) runtimes: Vec<Runtime>,
    /// What they see.
    pub(crate) view: View,
    /// Where the figures go, besides stdout.
    pub(crate) out: Option<PathBuf>,
    /// Commands of `lifecycle`.
    pub(crate) ops: Vec<Op>,
    /// Of the curves.
    pub(crate) extent: Extent,
}

/// Reads the command line. None if it asks for help.
pub(crate) fn parse() -> Result<Option<Options>> {
    let mut parser = lexopt::Parser::from_env();
    let mut words: Vec<String> = Vec::new();
    let (mut n, mut view, mut out) = (50, View::V2, None);
    let (mut floor, mut oxrun, mut runc, mut crun) = (None, None, None, None);
    let mut peers = Vec::new();
    let mut extent = Extent { containers: 1000, mounts: 500, execs: 500, rounds: 10 };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("n") => n = parser.value()?.parse()?,
            Long("view") => view = parser.value()?.parse()?,
            Long("out") => out = Some(PathBuf::from(parser.value()?)),
            Long("containers") => extent.containers = parser.value()?.parse()?,
            Long("mounts") => extent.mounts = parser.value()?.parse()?,
            Long("execs") => extent.execs = parser.value()?.parse()?,
            Long("rounds") => extent.rounds = parser.value()?.parse()?,
            Long("floor") => floor = Some(PathBuf::from(parser.value()?)),
            Long("oxrun") => oxrun = Some(PathBuf::from(parser.value()?)),
            Long("runc") => runc = Some(PathBuf::from(parser.value()?)),
            Long("crun") => crun = Some(PathBuf::from(parser.value()?)),
            Long("peer") => {
                let text = parser.value()?.string()?;
                let (name, path) = text.split_once('=').ok_or("--peer takes NAME=PATH")?;
                peers.push((name.to_owned(), PathBuf::from(path)));
            }
            Long("help") | Short('h') => return Ok(None),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(command) = (!words.is_empty()).then(|| words.remove(0)) else {
        return Ok(None);
    };
    let mut parts: Vec<&str> =
        PARTS.into_iter().filter(|part| command == "all" || command == *part).collect();
    if command == ORDER {
        parts.push(ORDER);
    }
    if parts.is_empty() {
        return Err(format!("{command:?} is not a command: all, {}", PARTS.join(", ")).into());
    }
    let mut ops = Vec::new();
    for word in &words {
        let op = Op::ALL.into_iter().find(|op| op.name() == word);
        ops.push(op.ok_or_else(|| format!("{word:?} is not something to measure"))?);
    }
    if ops.is_empty() {
        ops = Op::ALL.to_vec();
    }
    let floor = floor.map_or_else(find_floor, Ok)?;
    let mut list = vec![("floor".to_owned(), Some(floor))];
    list.push(("oxrun".to_owned(), oxrun.or_else(find_oxrun)));
    list.push(("crun".to_owned(), crun.or_else(|| in_path("crun"))));
    list.push(("runc".to_owned(), runc.or_else(|| in_path("runc"))));
    list.extend(peers.into_iter().map(|(name, path)| (name, Some(path))));
    Ok(Some(Options { parts, n: n.max(1), runtimes: existing(list)?, view, out, ops, extent }))
}

/// Leaves out what is not wanted or not there, saying so.
fn existing(list: Vec<(String, Option<PathBuf>)>) -> Result<Vec<Runtime>> {
    let mut runtimes = Vec::new();
    for (name, path) in list {
        match path {
            None => println!("{name}: left out: not found"),
            Some(path) if path == Path::new("none") => {}
            Some(path) => {
                let program = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
                let floor = name == "floor";
                runtimes.push(Runtime { name, program, floor });
            }
        }
    }
    Ok(runtimes)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The newest release build: beside this program, or in the workspace's own target directory.
fn find_oxrun() -> Option<PathBuf> {
    let mut candidates = Vec::new();
    candidates.extend(std::env::current_exe().ok().map(|exe| exe.with_file_name("oxrun")));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    for entry in std::fs::read_dir(target).ok().into_iter().flatten().flatten() {
        candidates.push(entry.path().join("release/oxrun"));
    }
    let time = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    candidates.into_iter().filter(|path| path.is_file()).max_by_key(time)
}

/// `cargo run` builds one program only, so the floor is built here.
fn find_floor() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let path = exe.with_file_name("oxrun-floor");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    if exe.parent().is_some_and(|dir| dir.ends_with("release")) && manifest.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--bin", "oxrun-floor", "--manifest-path"])
            .arg(&manifest)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        if !status.success() {
            return Err("cannot build oxrun-floor".into());
        }
    }
    if !path.exists() {
        return Err(format!("{} is missing: cargo build --release -p oxrun-benches", path.display()).into());
    }
    Ok(path)
}
