//! The command line of `oxrun-conformance vm`: what machine is wanted and what it is to do.

use std::path::PathBuf;
use std::time::Duration;

pub(super) const USAGE: &str = "usage: oxrun-conformance vm [OPTIONS] -- COMMAND [ARG...]
       oxrun-conformance vm [OPTIONS] --suite plain|systemd [PROGRAM...]
       oxrun-conformance vm --list-kernels | --packages

Runs COMMAND in a virtual machine that has this host's files and no network. What it writes stays in
the machine's memory. The exit status is COMMAND's; 124 if the time is over, 125 without a status.

  --kernel K      5.10, 6.1, 6.12, newest, or the path of a kernel image [6.12]
  --systemd       systemd is pid 1; the command runs in a service of its own
  --user          run as an unprivileged user with subordinate ids and a delegated cgroup,
                  with --systemd in a session of its own
  --cgroup L      v2, hybrid or v1 [v2]; of Debian's kernels only 6.1 has all controllers of v1
  --timeout S     seconds that the machine may take [300]
  --env K=V       a variable for the command
  --out DIR       a host directory that is /out inside, and writable
  --memory MIB    [1024]       --cpus N  [2]
  --disk MIB      size of an empty disk, whose name is in $OXRUN_VM_DISK [64]
  --console FILE  keep what the kernel and init print
  --accel A       kvm or tcg [kvm where the processor offers it]
  --suite S       run the conformance test programs, all or those named, and sum up";

/// How the machine's cgroups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cgroups {
    V2,
    Hybrid,
    V1,
}

impl Cgroups {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::V1 => "v1",
        }
    }
}

/// The machine that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) kernel: String,
    pub(super) systemd: bool,
    pub(super) user: bool,
    pub(super) cgroups: Cgroups,
    pub(super) limit: Option<Duration>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) out: Option<PathBuf>,
    pub(super) console: Option<PathBuf>,
    pub(super) accelerator: Option<String>,
    /// MiB.
    pub(super) memory: u32,
    pub(super) cpus: u32,
    /// MiB.
    pub(super) disk: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernel: "6.12".to_owned(),
            systemd: false,
            user: false,
            cgroups: Cgroups::V2,
            limit: None,
            environment: Vec::new(),
            out: None,
            console: None,
            accelerator: None,
            memory: 1024,
            cpus: 2,
            disk: 64,
        }
    }
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    Help,
    Packages,
    ListKernels,
    Command(Vec<String>),
    Suite(Vec<String>),
}

fn number(parser: &mut lexopt::Parser) -> Result<u32, lexopt::Error> {
    use lexopt::ValueExt as _;
    parser.value()?.parse_with(|text| match text.parse() {
        Ok(0) | Err(_) => Err("not a number above zero"),
        Ok(number) => Ok(number),
    })
}

pub(super) fn parse(args: &[String]) -> Result<(Options, Task), String> {
    read(args).map_err(|e| e.to_string())
}

fn read(args: &[String]) -> Result<(Options, Task), lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut task = None;
    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("kernel") => options.kernel = parser.value()?.string()?,
            Long("systemd") => options.systemd = true,
            Long("user") => options.user = true,
            Long("cgroup") => {
                options.cgroups = match parser.value()?.string()?.as_str() {
                    "v2" => Cgroups::V2,
                    "hybrid" => Cgroups::Hybrid,
                    "v1" => Cgroups::V1,
                    other => return Err(format!("--cgroup {other}: neither v2, hybrid nor v1").into()),
                }
            }
            Long("timeout") => {
                options.limit = Some(Duration::from_secs(number(&mut parser)?.into()));
            }
            Long("env") => {
                let text = parser.value()?.string()?;
                let (name, value) = text.split_once('=').ok_or("--env wants NAME=VALUE")?;
                options.environment.push((name.to_owned(), value.to_owned()));
            }
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("console") => options.console = Some(parser.value()?.into()),
            Long("accel") => match parser.value()?.string()?.as_str() {
                one @ ("kvm" | "tcg") => options.accelerator = Some(one.to_owned()),
                other => return Err(format!("--accel {other}: neither kvm nor tcg").into()),
            },
            Long("memory") => options.memory = number(&mut parser)?,
            Long("cpus") => options.cpus = number(&mut parser)?,
            Long("disk") => options.disk = number(&mut parser)?,
            Long("list-kernels") => task = Some(Task::ListKernels),
            Long("packages") => task = Some(Task::Packages),
            Long("help") | Short('h') => task = Some(Task::Help),
            Long("suite") => {
                match parser.value()?.string()?.as_str() {
                    "plain" => {}
                    "systemd" => options.systemd = true,
                    other => return Err(format!("--suite {other}: neither plain nor systemd").into()),
                }
                task = Some(Task::Suite(Vec::new()));
            }
            // The first word of the command ends the options even without `--`.
            Value(word) => {
                words.push(word.string()?);
                words.extend(parser.raw_args()?.map(ValueExt::string).collect::<Result<Vec<_>, _>>()?);
            }
            other => return Err(other.unexpected()),
        }
    }
    let task = match task {
        Some(Task::Suite(_)) => Task::Suite(words),
        Some(task) => task,
        None if words.is_empty() => return Err(format!("no command\n{USAGE}").into()),
        None => Task::Command(words),
    };
    Ok((options, task))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<(Options, Task), String> {
        parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_may_look_like_options() {
        let (options, task) = parsed(&["--user", "--", "sh", "--systemd"]).unwrap();
        assert!(options.user && !options.systemd);
        assert_eq!(task, Task::Command(vec!["sh".into(), "--systemd".into()]));
        let (options, task) = parsed(&["sh", "--user"]).unwrap();
        assert!(!options.user);
        assert_eq!(task, Task::Command(vec!["sh".into(), "--user".into()]));
    }

    #[test]
    fn a_suite_takes_names_of_test_programs() {
        let (options, task) = parsed(&["--suite", "systemd", "cgroups", "pause"]).unwrap();
        assert!(options.systemd);
        assert_eq!(task, Task::Suite(vec!["cgroups".into(), "pause".into()]));
    }

    #[test]
    fn what_no_machine_can_be_is_refused() {
        for words in [
            &["--cgroup", "v3", "true"][..],
            &["--accel", "xen", "true"],
            &["--memory", "0", "true"],
            &["--suite", "fast"],
            &["--env", "PATH", "true"],
            &["--speed"],
            &[],
        ] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
