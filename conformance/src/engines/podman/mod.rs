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

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::calls::Side;
use super::engine::{Account, Kit, Package, write};
use super::scenario::Scenario;

/// The engine, started by root or by a user of the suite's own.
pub(super) struct Podman {
    pub(super) rootless: bool,
}

const ROOT: &[&[Scenario]] = &[
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
        let storage = scratch.join("storage");
        let run = self.run_dir();
        let mut made = vec![storage.clone(), scratch.join("tmp")];
        if self.rootless {
            USER.make()?;
            made.push(run.clone());
        }
        for dir in made {
            let fail = |e: std::io::Error| format!("mkdir {}: {e}", dir.display());
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(fail)?;
            chown(&dir, self.user(), self.user()).map_err(fail)?;
        }
        let driver = if self.rootless { "vfs" } else { "overlay" };
        write(
            &scratch.join("storage.conf"),
            &format!(
                "[storage]\ndriver = \"{driver}\"\ngraphroot = \"{}\"\nrunroot = \"{}/oxrun-storage\"\n",
                storage.display(),
                run.display()
            ),
        )?;
        write(&scratch.join("containers.conf"), &settings(scratch, &run))?;
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
        for (name, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("TMPDIR", "tmp"),
        ] {
            command.arg(format!("{name}={}", scratch.join(file).display()));
        }
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

/// The limits of processes and files are within every caller's rights: the built-in ones may not be.
fn settings(scratch: &Path, run: &Path) -> String {
    let (dir, run) = (scratch.display(), run.display());
    let [reference, tested] =
        [Side::Reference, Side::Tested].map(|s| s.wrapper(scratch).display().to_string());
    format!(
        r#"[containers]
netns = "none"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
seccomp_profile = "/usr/share/containers/seccomp.json"
[engine]
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
