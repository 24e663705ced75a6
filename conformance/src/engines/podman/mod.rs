//! Podman with conmon, for root and for a user without rights. There is no daemon: the client names the
//! runtime with `--runtime`, and conmon hands the name on to what removes a container after its end.
//! Storage lies in the scratch directory, the rest in the private /run.

mod exec;
mod life;
mod limits;
mod mounts;
mod namespaces;
mod pods;
mod rights;
mod rootless;
mod terminal;
mod view;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::calls::Side;
use super::common;
use super::engine::{Account, Kit, Package};
use super::scenario::Scenario;
use super::storage::Storage;

/// The engine, started by root or by a user of the suite's own.
pub(super) struct Podman {
    pub(super) rootless: bool,
}

const ROOT: &[&[Scenario]] = &[
    common::SCENARIOS,
    life::SCENARIOS,
    terminal::SCENARIOS,
    exec::SCENARIOS,
    view::SCENARIOS,
    limits::SCENARIOS,
    rights::SCENARIOS,
    namespaces::SCENARIOS,
    mounts::SCENARIOS,
    pods::SCENARIOS,
];

const ROOTLESS: &[&[Scenario]] = &[rootless::SCENARIOS];

/// Who runs the rootless one.
const USER: Account = Account { name: "oxrun-rootless", id: 4343, subordinates: 300_000 };

impl Podman {
    fn run_dir(&self) -> PathBuf {
        if self.rootless { format!("/run/user-{}", USER.id).into() } else { "/run".into() }
    }
}

impl Kit for Podman {
    fn packages(&self) -> &'static [Package] {
        const ROOT: &[Package] = &[
            ("podman", "/usr/bin/podman"),
            ("conmon", "/usr/bin/conmon"),
            ("golang-github-containers-common", "/usr/share/containers/seccomp.json"),
            ("catatonit", "/usr/bin/catatonit"),
        ];
        const ROOTLESS: &[Package] = &[ROOT[0], ROOT[1], ROOT[2], ROOT[3], ("uidmap", "/usr/bin/newuidmap")];
        if self.rootless { ROOTLESS } else { ROOT }
    }

    fn scenarios(&self) -> &'static [&'static [Scenario]] {
        if self.rootless { ROOTLESS } else { ROOT }
    }

    fn user(&self) -> Option<u32> {
        self.rootless.then_some(USER.id)
    }

    fn teardown(&self) -> &'static [&'static str] {
        if self.rootless {
            &["rm --force --ignore --time 0 --volumes {c}-2 {c}"]
        } else {
            &["rm --force --ignore --time 0 --volumes {c}-2 {c}", "pod rm --force --ignore {c}-pod"]
        }
    }

    fn daemon(&self, scratch: &Path) -> Result<Option<Command>, String> {
        if self.rootless {
            USER.make()?;
        }
        let run = self.run_dir();
        let driver = if self.rootless { "vfs" } else { "overlay" };
        Storage { scratch, run: &run, driver, user: self.user() }.make(&settings(scratch, &run))?;
        Ok(None)
    }

    fn client(&self, scratch: &Path, side: Side) -> Command {
        let id = USER.id.to_string();
        let mut command = Command::new("/usr/bin/env");
        if self.rootless {
            command = Command::new("/usr/bin/setpriv");
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "/usr/bin/env"]);
            command.arg(format!("XDG_RUNTIME_DIR={}", self.run_dir().display()));
        }
        Storage::variables(&mut command, scratch);
        command.args(["/usr/bin/podman", "--runtime", side.name()]);
        command
    }

    fn load(&self, _: &Path, tar: &Path) -> Result<Vec<Vec<String>>, String> {
        let tar = tar.to_string_lossy();
        let import = ["import", "-c", r#"CMD ["/bin/sh"]"#, &tar, "bb:latest"];
        Ok(vec![import.map(str::to_owned).to_vec()])
    }

    fn run(&self, _: &Path, _: Side, container: &str) -> Vec<String> {
        ["--name", container].map(str::to_owned).to_vec()
    }

    fn offline(&self) -> &'static [&'static str] {
        &["--network", "none"]
    }

    fn states(&self, _: &Path) -> Vec<PathBuf> {
        vec![self.run_dir().join("runc"), self.run_dir().join("oxrun")]
    }
}

/// What podman alone reads.
fn settings(scratch: &Path, run: &Path) -> String {
    let (dir, run) = (scratch.display(), run.display());
    let [reference, tested] =
        [Side::Reference, Side::Tested].map(|s| s.wrapper(scratch).display().to_string());
    format!(
        r#"[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "reference"
runtime_supports_json = ["reference", "tested"]
conmon_path = ["/usr/bin/conmon"]
tmp_dir = "{run}/oxrun-podman"
volume_path = "{dir}/storage/volumes"
[engine.runtimes]
reference = ["{reference}"]
tested = ["{tested}"]
"#
    )
}
