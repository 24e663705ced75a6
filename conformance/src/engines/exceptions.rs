//! What may differ between the two runtimes, and what cannot be asked for yet: each with its reason.

use super::engine::Engine::{self, Buildah, Containerd, Cri, Docker, DockerUserns, Podman, PodmanRootless};

/// A difference that is known and right, or a scenario that cannot be asked for yet.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) engine: Engine,
    /// None for all of them.
    pub(super) scenario: Option<&'static str>,
    /// Why, as it is printed.
    pub(super) reason: &'static str,
}

const fn because(engine: Engine, scenario: &'static str, reason: &'static str) -> Exception {
    Exception { engine, scenario: Some(scenario), reason }
}

const MASKS: &str = "masks are nosuid and noexec too, and a read-only cgroup mount is read-only";
const INTERNALS: &str = "the reference's message names its own descriptors and flags";
const WORDING: &str = "the message says in other words what was refused, and names the field of config.json";

/// Scenarios whose results may differ. What the steps themselves demand still holds.
pub(super) const ACCEPTED: &[Exception] = &[
    because(Containerd, "mounts", MASKS),
    because(DockerUserns, "userns-mounts", "a mask is private"),
    because(Docker, "mounts", MASKS),
    because(Docker, "bind-dir-on-file", INTERNALS),
    because(Docker, "sysctl-missing", WORDING),
    because(Docker, "network-host", WORDING),
    because(Docker, "buildkit-view", MASKS),
    because(Containerd, "bind-missing", INTERNALS),
    because(Containerd, "namespace-missing", WORDING),
    because(Containerd, "cwd-file", WORDING),
    because(
        Containerd,
        "rootfs-propagation",
        "the reference leaves a shared root private if the image is a mount by itself",
    ),
    because(Podman, "mounts", MASKS),
    because(PodmanRootless, "mounts", MASKS),
    because(Podman, "cgroup-view", MASKS),
    because(PodmanRootless, "cgroup-view", MASKS),
    because(Buildah, "mounts", MASKS),
    because(
        Cri,
        "mounts",
        "a bind that says rw has the rights that it says, as with runc from 1.2 on; a read-only cgroup mount is read-only",
    ),
    because(Podman, "bind-dir-on-file", INTERNALS),
    because(Podman, "tmpfs", "the mode of what a tmpfs covers is an option of the mount, not set afterwards"),
    because(Podman, "sysctl-missing", WORDING),
    because(Podman, "hook-fails", WORDING),
    because(Podman, "hooks", "the reference runs poststart in create, before the process is started"),
    because(Podman, "personality", "the reference of Debian 12 ignores the personality"),
];

/// Scenarios that are played and shown, but do not count.
pub(super) const NOT_YET: &[Exception] = &[];

/// The reason of the entry for a scenario, if there is one.
pub(super) fn exception(table: &'static [Exception], engine: Engine, scenario: &str) -> Option<&'static str> {
    let meant = |e: &&Exception| e.engine == engine && e.scenario.is_none_or(|s| s == scenario);
    table.iter().find(meant).map(|e| e.reason)
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Scenario;
    use super::*;

    #[test]
    fn every_exception_names_a_scenario() {
        for e in ACCEPTED.iter().chain(NOT_YET) {
            let named = |s: &Scenario| e.scenario.is_none_or(|name| name == s.name);
            assert!(e.engine.scenarios().any(named), "{e:?}");
        }
    }

    #[test]
    fn the_readme_tells_how_many_scenarios_and_differences_there_are() {
        let readme = include_str!("../../../README.md");
        for &engine in Engine::ALL {
            let differences = ACCEPTED.iter().filter(|e| e.engine == engine).count();
            let end = format!("| {} | {differences} |", engine.scenarios().count());
            let start = format!("| `{}` |", engine.name());
            assert!(readme.lines().any(|l| l.starts_with(&start) && l.ends_with(&end)), "{start} ... {end}");
        }
    }
}
