//! libseccomp in a process of its own. It is fetched with apt and linked into a small C program that
//! is built on the spot: nothing is installed, and the project needs no C library to be built.

use super::profile::Profile;
use oxrun_conformance::{Check, Failed, check};
use oxrun_core::seccomp::{Arch, Insn};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const HELPER: &str = include_str!("helper.c");

/// Where the newest libseccomp is.
const SUITE: &str = "sid";

/// The helper process.
pub(super) struct Libseccomp {
    /// Its version, for example `2.6.1`.
    pub(super) version: String,
    /// The Debian package and its version.
    pub(super) package: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A filter of libseccomp.
pub(super) struct Filter {
    pub(super) insns: Vec<Insn>,
    /// What libseccomp took to make it, in nanoseconds.
    pub(super) nanoseconds: u64,
}

/// Why libseccomp does not make a filter: the call that failed and its code.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl Libseccomp {
    /// Fetches, builds and starts it, below a directory that may be kept for the next time.
    pub(super) fn start(directory: &Path) -> Check<Self> {
        fs::create_dir_all(directory)?;
        let package = match kept(directory)? {
            Some(package) => package,
            None => {
                download(directory)?;
                kept(directory)?.ok_or("apt-get left no package")?
            }
        };
        let program = build(directory)?;
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut this = Self { version: String::new(), package, child, input, output };
        this.version = this.ask("version")?;
        Ok(this)
    }

    fn ask(&mut self, line: &str) -> Check<String> {
        let input = self.input.as_mut().ok_or("no input")?;
        input.write_all(line.as_bytes())?;
        input.write_all(b"\n")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        check!(answer.ends_with('\n'), "libseccomp's process ended at {line:?}");
        answer.pop();
        Ok(answer)
    }

    /// The number of a call.
    pub(super) fn number(&mut self, arch: Arch, name: &str) -> Check<Option<u32>> {
        match self.ask(&format!("number {:x} {name}", token(arch)))?.as_str() {
            "unknown" => Ok(None),
            number => Ok(Some(u32::from_str_radix(number, 16)?)),
        }
    }

    /// The calls of an architecture, one name for each number.
    pub(super) fn names(&mut self, arch: Arch) -> Check<HashMap<String, u32>> {
        let answer = self.ask(&format!("names {:x}", token(arch)))?;
        let mut names = HashMap::new();
        for entry in answer.split_whitespace() {
            let (name, number) = entry.split_once('=').ok_or("a name without a number")?;
            names.insert(name.to_owned(), u32::from_str_radix(number, 16)?);
        }
        Ok(names)
    }

    /// Compiles a profile as a runtime does: every rule by name, a rule with the default action not
    /// at all. The first architecture is the native one. `level` is libseccomp's level of optimising.
    pub(super) fn compile(
        &mut self,
        profile: &Profile,
        archs: &[Arch],
        level: u32,
    ) -> Check<Result<Filter, Refused>> {
        let mut begin = format!("begin {:x}", profile.default);
        for arch in archs {
            begin.push_str(&format!(" {:x}", token(*arch)));
        }
        let answer = self.ask(&begin)?;
        if answer != "ok" {
            return Ok(Err(Refused(answer)));
        }
        for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
            for name in &rule.names {
                for tests in rule.alternatives() {
                    let mut line = format!("rule {:x} {name}", rule.action);
                    for test in tests {
                        let words = format!(" {} {} {:x} {:x}", test.index, test.op, test.value, test.two);
                        line.push_str(&words);
                    }
                    let answer = self.ask(&line)?;
                    if answer.starts_with("error") {
                        return Ok(Err(Refused(answer)));
                    }
                }
            }
        }
        let answer = self.ask(&format!("build {level:x}"))?;
        let Some((nanoseconds, hex)) = answer.split_once(' ').filter(|(word, _)| *word != "error") else {
            return Ok(Err(Refused(answer)));
        };
        let mut insns = from_hex(hex)?;
        // It writes them in the order of bytes of the architecture.
        if archs.first().is_some_and(|arch| arch.audit() & LITTLE_ENDIAN == 0) {
            for insn in &mut insns {
                insn.code = insn.code.swap_bytes();
                // A return that it adds for the length of a jump it converts twice, which says nothing on a machine
                // of the same order as the filter.
                if insn.code != RETURN || !ACTIONS.contains(&(insn.k >> 16)) {
                    insn.k = insn.k.swap_bytes();
                }
            }
        }
        Ok(Ok(Filter { insns, nanoseconds: nanoseconds.parse()? }))
    }

    /// Loads a filter in a process of its own: what seccomp(2) takes, in nanoseconds.
    pub(super) fn load(&mut self, insns: &[Insn]) -> Check<u64> {
        let hex: String =
            insns.iter().map(|i| format!("{:04x}{:02x}{:02x}{:08x}", i.code, i.jt, i.jf, i.k)).collect();
        let answer = self.ask(&format!("load {hex}"))?;
        answer.parse().map_err(|_| Failed::from(format!("the kernel does not load the filter: {answer}")))
    }
}

impl Drop for Libseccomp {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;
/// The high halves of `SECCOMP_RET_` values but the one of nothing, which is what it is in both orders.
const ACTIONS: [u32; 7] = [0x7fff, 0x7ffc, 0x7ff0, 0x7fc0, 0x0005, 0x0003, 0x8000];

/// `__AUDIT_ARCH_LE`
const LITTLE_ENDIAN: u32 = 0x4000_0000;

/// libseccomp's own number of an architecture: the kernel's, except that x32 has one.
fn token(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => 0x4000_003e,
        other => other.audit(),
    }
}

fn from_hex(hex: &str) -> Check<Vec<Insn>> {
    let mut insns = Vec::new();
    for at in (0..hex.len()).step_by(16) {
        let part = |from: usize, to: usize| {
            let digits = hex.get(at + from..at + to).ok_or("a part of an instruction")?;
            Ok::<u32, Failed>(u32::from_str_radix(digits, 16)?)
        };
        insns.push(Insn {
            code: part(0, 4)?.try_into()?,
            jt: part(4, 6)?.try_into()?,
            jf: part(6, 8)?.try_into()?,
            k: part(8, 16)?,
        });
    }
    Ok(insns)
}

fn run(command: &mut Command) -> Check<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    check!(output.status.success(), "{:?} failed: {}", command.get_program(), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The package found in a directory.
fn kept(directory: &Path) -> Check<Option<String>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("libseccomp-dev_") && name.ends_with(".deb") {
            let version = run(Command::new("dpkg-deb").arg("-f").arg(&path).arg("Version"))?;
            run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(directory.join("root")))?;
            return Ok(Some(format!("libseccomp-dev {version}")));
        }
    }
    Ok(None)
}

/// The Debian archive that apt's own sources name.
fn archive() -> Check<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(more) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(more.flatten().map(|entry| entry.path()));
    }
    for file in files {
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            let words = line.strip_prefix("URIs:").or_else(|| line.strip_prefix("deb "));
            let uri = words.and_then(|words| words.split_whitespace().find(|word| word.contains("://")));
            if let Some(uri) = uri.filter(|uri| uri.trim_end_matches('/').ends_with("/debian")) {
                return Ok(uri.to_owned());
            }
        }
    }
    Err("no archive in the apt sources of this machine".into())
}

/// Downloads the package through lists of its own, so that apt's are neither used nor changed.
fn download(directory: &Path) -> Check {
    for sub in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(directory.join(sub))?;
    }
    let shown = directory.display();
    fs::write(directory.join("status"), "")?;
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={key}] {} {SUITE} main\n", archive()?);
    fs::write(directory.join("sources.list"), source)?;
    let configuration = format!(
        "Dir::Etc::sourcelist \"{shown}/sources.list\"; Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State \"{shown}/state\"; Dir::State::status \"{shown}/status\";\n\
         Dir::Cache \"{shown}/cache\"; APT::Sandbox::User \"root\";\n"
    );
    let file = directory.join("apt.conf");
    fs::write(&file, configuration)?;
    let apt = |words: &[&str]| {
        run(Command::new("apt-get").args(words).arg("-qq").env("APT_CONFIG", &file).current_dir(directory))
    };
    apt(&["update"])?;
    apt(&["download", "libseccomp-dev"])?;
    Ok(())
}

/// Builds the helper.
fn build(directory: &Path) -> Check<PathBuf> {
    let (source, program) = (directory.join("helper.c"), directory.join("helper"));
    fs::write(&source, HELPER)?;
    let triple = run(Command::new("gcc").arg("-print-multiarch"))?;
    let root = directory.join("root/usr");
    run(Command::new("gcc")
        .args(["-O2", "-Wall", "-I"])
        .arg(root.join("include"))
        .arg(&source)
        .arg(root.join("lib").join(triple).join("libseccomp.a"))
        .arg("-o")
        .arg(&program))?;
    Ok(program)
}
