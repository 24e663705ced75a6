//! Parts of the scenarios' lines that several engines have in common.

/// Writes a build's directory and file.
macro_rules! context {
    ($lines:literal) => {
        concat!("mkdir {data}/ctx; cp {data}/in {data}/ctx; printf '", $lines, "' >{data}/ctx/Dockerfile")
    };
}

/// A shell that prints those of the files below /sys/fs/cgroup that exist.
macro_rules! show {
    ($files:literal) => {
        concat!("sh -c 'cd /sys/fs/cgroup; for f in ", $files, "; do [ ! -e $f ] || echo $f $(cat $f); done'")
    };
}

/// A shell that waits until a command of its own succeeds, for a minute at most; `$tries` counts.
macro_rules! awaits {
    ($command:literal) => {
        concat!("for tries in $(seq 600); do ", $command, " && break; sleep 0.1; done")
    };
}

/// The beginning of a shell's line inside: waits until the first process of the pid namespace has become `sleep`. A
/// container that is started may still be on its way there.
macro_rules! asleep {
    () => {
        "until grep -q sleep /proc/1/comm; do sleep 0.05; done; "
    };
}

/// A shell that prints the terminal's size whenever it is another, until it is 33 by 99.
macro_rules! sizes {
    () => {
        "sh -c 'until [ \"$(stty size 2>/dev/null)\" = \"24 80\" ]; do sleep 0.05; done; echo begins $(stty size); until [ \"$(stty size 2>/dev/null)\" = \"33 99\" ]; do sleep 0.05; done; echo now $(stty size); exit 3'"
    };
}

pub(super) use {asleep, awaits, context, show, sizes};
