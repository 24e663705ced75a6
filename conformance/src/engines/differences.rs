//! What the two runtimes say or do differently, each difference once, with both texts. Where a difference
//! shows, the one's text stands in its output and the other's in its own, at the same place; everything
//! else is the same. Each engine that a difference is listed for must need it.
//!
//! Texts are literal but for holes in braces: `{name}` is one word, which is the same in both texts;
//! `{name:a|b}` is one of these, and where both texts have a list for the name, it is the one at the same
//! place of both. `alike` compares with them.

use std::path::Path;

use super::engine::Engine::{self, Buildah, Containerd, Cri, Docker, DockerUserns, Podman, PodmanRootless};

/// A difference that is known and right.
#[derive(Debug)]
pub(super) struct Difference {
    /// What it is about.
    pub(super) title: &'static str,
    /// Where it may show, and does.
    pub(super) engines: &'static [Engine],
    /// The reference's text.
    pub(super) reference: &'static str,
    /// The text of the runtime under test.
    pub(super) tested: &'static str,
    /// Why, in a sentence.
    pub(super) reason: &'static str,
    /// Only hosts with cgroup v1 show it.
    pub(super) v1: bool,
}

impl Difference {
    /// Whether a run of all scenarios of `engine` must show it on this host.
    pub(super) fn must_show(&self, engine: Engine) -> bool {
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        self.engines.contains(&engine) && !(self.v1 && unified)
    }
}

/// The name of the hole for what the runtime under test adds to a message; see `alike::added`.
pub(super) const ADDED: &str = " (/FIELD), NAME=\"VALUE\" ... or the warning of an ambient capability";

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        title: "What a message says more",
        engines: &[Containerd, Docker, Podman, Buildah],
        reference: "",
        tested: "{ (/FIELD), NAME=\"VALUE\" ... or the warning of an ambient capability}",
        reason: "Behind a message stands the field of config.json that is meant, behind a record of text also the \
                 step, the system call, its errno and a hint. An ambient capability that cannot be raised is told, \
                 with newer versions of runc too.",
        v1: false,
    },
    Difference {
        title: "Masks",
        engines: &[Containerd, Docker, DockerUserns, Podman, PodmanRootless, Buildah],
        reference: "{mask:/proc/acpi|/proc/asound|/proc/interrupts|/proc/kcore|/proc/keys|/proc/latency_stats|/proc/sched_debug|/proc/scsi|/proc/timer_list|/proc/timer_stats|/sys/dev/block|/sys/dev|/sys/devices/virtual/powercap|/sys/firmware|/sys/fs/selinux} {options:ro,relatime|rw,nosuid,relatime|rw,nosuid,noexec|rw,nosuid} {peer:0|1}",
        tested: "{mask} {options:ro,nosuid,nodev,noexec,relatime|ro,nosuid,noexec,relatime|ro,nosuid,noexec,relatime|ro,nosuid,noexec,relatime} 0",
        reason: "A mask is read-only, nosuid, noexec and private. So is the host's null device where it masks a file: \
                 nobody inside changes its mode or its times.",
        v1: false,
    },
    Difference {
        title: "A read-only cgroup mount",
        engines: &[Docker, Podman, PodmanRootless, Cri],
        reference: "/sys/fs/cgroup rw,nosuid,nodev,noexec,relatime",
        tested: "/sys/fs/cgroup ro,nosuid,nodev,noexec,relatime",
        reason: "A cgroup mount that is to be read-only is so from its top on, not in the hierarchies alone.",
        v1: true,
    },
    Difference {
        title: "The system call of a mount",
        engines: &[Docker, Podman],
        reference: "mount {source}:{destination} (via /proc/self/fd/{descriptor}), flags: {flags}: ",
        tested: "move_mount({from}, \"\", {to}, \"\", {how}): ",
        reason: "It is another system call that failed. What was to be mounted and where stands before it.",
        v1: false,
    },
    Difference {
        title: "A hook that fails",
        engines: &[Podman],
        reference: "error during container init: error running hook #{number}: error running hook: exit status {code}, stdout: , stderr: ",
        tested: "error running createRuntime hook #{number}: exit status {code}: ",
        reason: "Newer versions of runc count the hooks of each kind by itself, too, and name the kind.",
        v1: false,
    },
    Difference {
        title: "When poststart runs",
        engines: &[Podman],
        reference: "createContainer\npoststart\n",
        tested: "createContainer\n",
        reason: "The hooks run when the program is started, not when the container has been created.",
        v1: false,
    },
    Difference {
        title: "Execution domains",
        engines: &[Podman],
        reference: "machine: x86_64",
        tested: "machine: i686",
        reason: "A container has the domain that it asks for; newer versions of runc set it, too.",
        v1: false,
    },
    Difference {
        title: "The mode of a tmpfs",
        engines: &[Podman],
        reference: "tmpfs {directory} tmpfs rw,nosuid,nodev,relatime 0 0",
        tested: "tmpfs {directory} tmpfs rw,nosuid,nodev,relatime,mode=755 0 0",
        reason: "The tmpfs has the mode of the directory that it covers as its option, with newer versions of runc too, \
                 and is not changed afterwards.",
        v1: false,
    },
    Difference {
        title: "A shared root",
        engines: &[Containerd],
        reference: "/ shared: 0",
        tested: "/ shared: 1",
        reason: "A root that is to be shared is so, also if the image is a mount by itself.",
        v1: false,
    },
    Difference {
        title: "The options of a bind",
        engines: &[Cri],
        reference: "/dev/shm rw,nosuid,nodev,noexec,relatime 0",
        tested: "/dev/shm rw,relatime 0",
        reason: "A bind has the options that it says, with newer versions of runc too, not those of its source.",
        v1: false,
    },
];

/// What the page about them begins with.
const HEAD: &str = "\
# What differs from runc

Who calls oxrun in place of runc gets what runc gives: `oxrun-conformance engines` plays every scenario with Debian 12's
runc 1.1.5 and with oxrun, and exit codes and outputs must be the same but for the differences below. Each has a text of
runc's and the text that oxrun has at the same place, whatever the engine. `{name}` is one word, the same in both; of
`{name:a|b}` it is one, and of two such lists those at the same place. The runtime's name in a message, ids, times and
process ids are not compared.
";

impl Difference {
    /// Both texts and the reason, in Markdown.
    fn section(&self) -> String {
        let Self { title, engines, reference, tested, reason, .. } = self;
        let engines: Vec<String> = engines.iter().map(|e| format!("`{}`", e.name())).collect();
        let reference = if reference.is_empty() { "(nothing)" } else { reference.trim_end() };
        format!(
            "{title}\n\n{reason} Seen with {}.\n\nrunc:\n\n```text\n{reference}\n```\n\noxrun:\n\n```text\n{}\n```\n",
            engines.join(", "),
            tested.trim_end()
        )
    }
}

/// docs/differences.md.
pub(super) fn page() -> String {
    let sections = DIFFERENCES.iter().enumerate().map(|(n, d)| format!("\n## {}: {}", n + 1, d.section()));
    HEAD.to_owned() + &sections.collect::<String>()
}

/// The differences that showed, and how many scenarios showed each.
pub(super) fn told(shown: &[usize]) -> String {
    let mut out = String::new();
    for (number, d) in DIFFERENCES.iter().enumerate() {
        let times = shown.iter().filter(|n| **n == number).count();
        if times > 0 {
            let (number, title, reason) = (number + 1, d.title, d.reason);
            out += &format!("\ndifference {number}, in {times} scenarios: {title}. {reason}\n");
            for (who, text) in [("runc ", d.reference), ("oxrun", d.tested)] {
                out += &format!("  {who}  {}\n", text.trim_end().replace('\n', "\n         "));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_most_ten_and_each_has_two_texts_and_a_reason() {
        assert!(DIFFERENCES.len() <= 10);
        for d in DIFFERENCES {
            assert!(!d.engines.is_empty() && d.reference != d.tested && !d.reason.is_empty(), "{d:?}");
        }
        assert_eq!(DIFFERENCES[0].tested, format!("{{{ADDED}}}"));
    }

    #[test]
    fn the_readme_tells_how_many_scenarios_and_differences_there_are() {
        let readme = include_str!("../../../README.md");
        for &engine in Engine::ALL {
            let differences = DIFFERENCES.iter().filter(|d| d.engines.contains(&engine)).count();
            let end = format!("| {} | {differences} |", engine.scenarios().count());
            let start = format!("| `{}` |", engine.name());
            assert!(readme.lines().any(|l| l.starts_with(&start) && l.ends_with(&end)), "{start} ... {end}");
        }
        assert!(readme.contains(&format!("one of {} differences;", DIFFERENCES.len())));
    }

    #[test]
    fn the_documentation_is_this_table() {
        let page = include_str!("../../../docs/differences.md");
        assert_eq!(page, super::page(), "oxrun-conformance engines --differences >docs/differences.md");
    }
}
