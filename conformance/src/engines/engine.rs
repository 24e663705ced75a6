//! What is particular to one engine stands behind one trait: how it is started and called, where its
//! runtimes keep their state, and what is played with it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::calls::Side;
use super::scenario::Scenario;
use super::{buildah, containerd, cri, docker, podman};

/// Where Debian puts the engines; a `docker` elsewhere is not the one under test.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The engines of the suite, by the names of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Engine {
    Containerd,
    Docker,
    DockerUserns,
    Podman,
    PodmanRootless,
    Buildah,
    Cri,
}

impl Engine {
    /// In the order in which they are listed.
    pub(super) const ALL: &[Self] = &[
        Self::Containerd,
        Self::Docker,
        Self::DockerUserns,
        Self::Podman,
        Self::PodmanRootless,
        Self::Buildah,
        Self::Cri,
    ];

    /// What the command line calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::DockerUserns => "docker-userns",
            Self::Podman => "podman",
            Self::PodmanRootless => "podman-rootless",
            Self::Buildah => "buildah",
            Self::Cri => "cri",
        }
    }

    /// The engine of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|e| e.name() == name)
    }

    /// What is particular to it.
    pub(super) fn kit(self) -> &'static dyn Kit {
        match self {
            Self::Containerd => &containerd::Containerd,
            Self::Docker => &docker::Docker { userns: false },
            Self::DockerUserns => &docker::Docker { userns: true },
            Self::Podman => &podman::Podman { rootless: false },
            Self::PodmanRootless => &podman::Podman { rootless: true },
            Self::Buildah => &buildah::Buildah,
            Self::Cri => &cri::Cri,
        }
    }

    /// All its scenarios, in the order in which they are played.
    pub(super) fn scenarios(self) -> impl Iterator<Item = &'static Scenario> {
        self.kit().scenarios().iter().flat_map(|t| t.iter())
    }
}

/// A Debian package and a file of it.
pub(super) type Package = (&'static str, &'static str);

/// What an engine is. All that it makes lies below the scratch directory or in the private /run.
pub(super) trait Kit: Sync {
    /// The packages that it needs beside the image's.
    fn packages(&self) -> &'static [Package];

    /// Who calls the engine, if not root: that user's runtimes must be able to log their calls, and
    /// containers to write what the host hands them.
    fn user(&self) -> Option<u32> {
        None
    }

    /// Tables of scenarios.
    fn scenarios(&self) -> &'static [&'static [Scenario]];

    /// Client commands that remove whatever a scenario may have left, also after a failure in its
    /// middle; the same words in braces as in a step.
    fn teardown(&self) -> &'static [&'static str];

    /// Writes the configuration; the daemon's command if there is a daemon.
    fn daemon(&self, scratch: &Path) -> Result<Option<Command>, String>;

    /// The client, with everything that precedes a command. Neither environment nor directory are set.
    fn client(&self, scratch: &Path, side: Side) -> Command;

    /// The client commands that load the image, given as a tar file of its root filesystem.
    fn load(&self, scratch: &Path, tar: &Path) -> Result<Vec<Vec<String>>, String>;

    /// What `{run}` means: this side's runtime and the container's name, as far as options say it.
    fn run(&self, scratch: &Path, side: Side, container: &str) -> Vec<String>;

    /// What `{new}` means beside `{run}`: no network.
    fn offline(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the client may give away a program's output: then a stream that has nothing at all may be asked for again.
    fn forgets(&self) -> bool {
        false
    }

    /// Where the runtimes keep their state: nothing may be left in it.
    fn states(&self, scratch: &Path) -> Vec<PathBuf>;
}

/// Neither the caller's variables nor its home directory reach the engine.
pub(super) fn environment(command: &mut Command, scratch: &Path) {
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", scratch.join("home"))
        .env("TERM", "xterm")
        .current_dir(scratch);
}

/// A user of the suite's own, in the private copy of /etc.
pub(super) struct Account {
    pub(super) name: &'static str,
    /// User id and group id.
    pub(super) id: u32,
    /// The first of 65536 ids that it may give to user namespaces.
    pub(super) subordinates: u32,
}

impl Account {
    /// Adds it to the files that list users and what ids they may use.
    pub(super) fn make(&self) -> Result<(), String> {
        let Self { name, id, subordinates } = self;
        for (file, line) in [
            ("/etc/passwd", format!("x:{id}:{id}::/:/bin/false")),
            ("/etc/group", format!("x:{id}:")),
            ("/etc/subuid", format!("{subordinates}:65536")),
            ("/etc/subgid", format!("{subordinates}:65536")),
        ] {
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(file)
                .and_then(|mut f| writeln!(f, "{name}:{line}"))
                .map_err(|e| format!("{file}: {e}"))?;
        }
        Ok(())
    }
}

/// Where a daemon of ours listens.
pub(super) fn socket(scratch: &Path) -> PathBuf {
    scratch.join("engine.sock")
}

/// Writes a file, with an error that names it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
