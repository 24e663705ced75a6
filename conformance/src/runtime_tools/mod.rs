//! `runtime-tools` runs the validation suite of opencontainers/runtime-tools, built in a directory, and judges
//! what each of its programs says. They run one at a time, each in a mount namespace, with a state root and a
//! directory of its own, since they leave mounts, containers and cgroups with fixed names behind. A failure is
//! explained by a list with reasons, or it is a failure.

mod expected;
mod judge;

use crate::harness::{Host, Runtime, first_version_line, isolate};
use crate::{Check, Failed, check, locate, sys};
use expected::{Entry, Fit};
use judge::{Verdict, judge};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: oxrun-conformance runtime-tools DIR [--runtime PATH] [NAME ...]

DIR is a checkout of opencontainers/runtime-tools in which `make runtimetest validation-executables` has
been run, at its last revision for version 1.1.0 of the specification. Runs the tests of these names, or
all, and fails if one fails without a reason that is known.";

/// How long one program may take: some wait ten seconds several times.
const LIMIT: Duration = Duration::from_secs(150);
/// Names of cgroups that the suite has written down, longest first.
const CGROUPS: [&str; 5] =
    ["testdir/cgrouptest/container", "testdir/cgrouptest", "testdir", "pids/cgrouptest", "cgrouptest"];

/// `oxrun-conformance runtime-tools`.
pub fn run(args: &[String]) -> ExitCode {
    let done = options(args).and_then(|options| match options {
        None => {
            println!("{USAGE}");
            Ok(true)
        }
        Some(options) => suite(&options),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("oxrun-conformance runtime-tools: {}", failed.message().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

struct Options {
    directory: PathBuf,
    runtime: Option<PathBuf>,
    names: Vec<String>,
}

fn options(args: &[String]) -> Check<Option<Options>> {
    use lexopt::prelude::*;
    let (mut directory, mut runtime, mut names) = (None, None, Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => runtime = Some(locate::program(&parser.value()?.string()?)?),
            Long("help") | Short('h') => return Ok(None),
            Value(word) if directory.is_none() => directory = Some(fs::canonicalize(word)?),
            Value(word) => names.push(word.string()?),
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    match directory {
        Some(directory) => Ok(Some(Options { directory, runtime, names })),
        None => Err(Failed::from(format!("no directory\n{USAGE}"))),
    }
}

fn suite(options: &Options) -> Check<bool> {
    check!(sys::is_root(), "needs root");
    isolate()?;
    let runtime = match &options.runtime {
        Some(path) => path.clone(),
        None => Runtime::under_test()?,
    };
    let mut names = programs(&options.directory)?;
    names.retain(|name| options.names.is_empty() || options.names.contains(name));
    check!(!names.is_empty(), "no test programs below {}/validation", options.directory.display());
    println!("{}", first_version_line(&runtime));
    let list = expected::read()?;
    let (mut good, mut explained, mut unexplained) = (0, 0, 0);
    for name in &names {
        let entry = expected::of(&list, name, Host::is_pure_v2());
        let (verdict, tries, said) = tried(&options.directory, &runtime, name, entry)?;
        let fit = expected::fit(entry, &verdict, &said);
        let again = if tries > 1 { format!(" (at the {tries}. try)") } else { String::new() };
        let why = entry.map_or("", |entry| entry.why.as_str());
        match fit {
            Fit::Good => println!("{name}: {verdict}{again}"),
            Fit::Explained => println!("{name}: EXPECTED: {verdict}{again}\n    {why}"),
            Fit::Unexplained => println!("{name}: UNEXPLAINED: {verdict}{again}\n{}", faults(&said)),
        }
        match fit {
            Fit::Good => good += 1,
            Fit::Explained => explained += 1,
            Fit::Unexplained => unexplained += 1,
        }
    }
    println!(
        "{good} of {} pass or are void, {explained} fail as expected, {unexplained} unexplained",
        names.len()
    );
    Ok(unexplained == 0)
}

/// What was written, without the lines that say ok and beyond what anybody reads.
fn faults(said: &str) -> String {
    let lines = said.lines().filter(|line| !line.starts_with("ok ")).take(60);
    lines.map(|line| format!("    {}\n", line.chars().take(300).collect::<String>())).collect()
}

fn programs(directory: &Path) -> Check<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.join("validation"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join(format!("{name}.t")).is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Runs a test, one that is racy until it passes, and returns the verdict, the tries and what was written.
fn tried(
    directory: &Path,
    runtime: &Path,
    name: &str,
    entry: Option<&Entry>,
) -> Check<(Verdict, usize, String)> {
    for number in 1.. {
        let run = Run::new(runtime)?;
        let (verdict, said) = run.program(directory, name)?;
        if number >= expected::tries(entry) || expected::fit(entry, &verdict, &said) == Fit::Good {
            return Ok((verdict, number, said));
        }
    }
    Err("no try".into())
}

/// The directory of one run, cleaned when it goes.
struct Run {
    place: PathBuf,
    runtime: PathBuf,
    mounts: BTreeSet<String>,
    cgroups: Vec<PathBuf>,
}

impl Run {
    fn new(runtime: &Path) -> Check<Self> {
        let place =
            fs::canonicalize(std::env::temp_dir())?.join(format!("oxrun-tools-{}", std::process::id()));
        fs::create_dir(&place)?;
        fs::create_dir(place.join("tmp"))?;
        // The suite calls a runtime without options; each call is noted for its id.
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{0}/calls\nexec {1} --root {0}/state \"$@\"\n",
            place.display(),
            runtime.display()
        );
        fs::write(place.join("runtime"), script)?;
        fs::set_permissions(place.join("runtime"), fs::Permissions::from_mode(0o755))?;
        let mounts = Host::mounts()?.into_iter().collect();
        // What has such a name already is somebody else's.
        let cgroups = named()?.into_iter().filter(|path| !path.exists()).collect();
        Ok(Self { place, runtime: runtime.to_owned(), mounts, cgroups })
    }

    fn program(&self, directory: &Path, name: &str) -> Check<(Verdict, String)> {
        let (out, err) = (self.place.join("out"), self.place.join("err"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.arg(directory.join("validation").join(name).join(format!("{name}.t")));
        command.current_dir(directory).env("RUNTIME", self.place.join("runtime"));
        command.env("TMPDIR", self.place.join("tmp"));
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let mut child = command.spawn()?;
        let ended = sys::readable(sys::pidfd(child.id().cast_signed())?.as_fd(), LIMIT)?;
        if !ended {
            child.kill()?;
        }
        let status = child.wait()?;
        let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (out, err) = (read(&out)?, read(&err)?);
        let code = if ended { status.code() } else { None };
        Ok((judge(&out, code), format!("{out}{err}")))
    }

    /// Ends and removes what the program has left: containers, processes, mounts, cgroups, files.
    fn clean(&self) -> Check {
        let calls = fs::read_to_string(self.place.join("calls")).unwrap_or_default();
        let create = |line: &&str| line.starts_with("create ");
        let ids: BTreeSet<&str> =
            calls.lines().filter(create).filter_map(|l| l.split(' ').next_back()).collect();
        for id in &ids {
            let mut command = Command::new(&self.runtime);
            command.arg("--root").arg(self.place.join("state")).args(["delete", "--force", id]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        }
        self.reap()?;
        for target in Host::mounts_below(&self.place)? {
            sys::unmount(&target)?;
        }
        let new: Vec<String> =
            Host::mounts()?.into_iter().filter(|line| !self.mounts.contains(line)).collect();
        check!(new.is_empty(), "mounts left: {new:?}");
        for path in self.cgroups.iter().filter(|path| path.is_dir()) {
            let _ = fs::remove_dir(path);
        }
        for root in Host::cgroup_roots()? {
            ids.iter().for_each(|id| drop(fs::remove_dir(root.join(id))));
        }
        Ok(fs::remove_dir_all(&self.place)?)
    }

    /// Kills what has become our child, and waits for it.
    fn reap(&self) -> Check {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            while let Ok(Some(_)) = sys::reap(-1) {}
            let Some(pid) = Host::children()?.into_iter().next() else { return Ok(()) };
            check!(Instant::now() < end, "process {pid} does not end");
            if let Ok(fd) = sys::pidfd(pid) {
                let _ = sys::kill(pid, libc::SIGKILL);
                sys::readable(fd.as_fd(), Duration::from_secs(5))?;
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Err(failed) = self.clean() {
            eprintln!("{}: {}", self.place.display(), failed.message().unwrap_or_default());
        }
    }
}

/// Where the cgroups of the suite may be: below each hierarchy's root, and below the caller's own.
fn named() -> Check<Vec<PathBuf>> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own: BTreeSet<&str> = own
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .map(|path| path.trim_matches('/'))
        .collect();
    let mut all = Vec::new();
    for root in Host::cgroup_roots()? {
        for above in own.iter().copied().chain([""]) {
            all.extend(CGROUPS.iter().map(|name| root.join(above).join(name)));
        }
    }
    all.sort();
    all.dedup();
    // What is inside comes first.
    all.reverse();
    Ok(all)
}
