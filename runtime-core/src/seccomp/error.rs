//! Why a profile cannot be compiled. Each error is one sentence and points at one field of the
//! configuration.

/// Why a profile cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// The default action asks an agent, so the agent would be asked for its own start too.
    #[error("SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyDefault,
    /// The runtime writes after the filter is loaded and before an agent can answer.
    #[error("SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyWrite {
        /// Index of the rule.
        rule: usize,
        /// Index of the name in the rule.
        index: usize,
    },
    /// An error number stands beside an action that has none.
    #[error("the action {action} takes no error number, yet one is given")]
    ErrnoNotTaken {
        /// The rule, or none for the default action.
        rule: Option<usize>,
        /// The action.
        action: String,
    },
    /// The error number does not fit.
    #[error("the error number {value} is larger than {limit}, the largest one for {action}")]
    ErrnoTooLarge {
        /// The rule, or none for the default action.
        rule: Option<usize>,
        /// The action.
        action: String,
        /// The number given.
        value: u32,
        /// The largest number allowed.
        limit: u32,
    },
    /// A rule names no system call.
    #[error("the rule names no system call; it must name at least one")]
    NoNames {
        /// Index of the rule.
        rule: usize,
    },
    /// A name is empty.
    #[error("an empty string is not the name of a system call")]
    EmptyName {
        /// Index of the rule.
        rule: usize,
        /// Index of the name in the rule.
        index: usize,
    },
    /// A system call has six arguments.
    #[error("there is no argument {value}: the arguments of a system call are 0 to 5")]
    ArgIndex {
        /// Index of the rule.
        rule: usize,
        /// Index of the comparison in the rule.
        arg: usize,
        /// The index given.
        value: usize,
    },
    /// The kernel takes no longer filter.
    #[error("the filter needs {count} instructions; the kernel takes {limit} at most", limit = super::MAX_INSNS)]
    TooLong {
        /// Instructions of the filter.
        count: usize,
    },
    /// A rule asks an agent, and no agent is named.
    #[error("seccomp listenerPath is not set")]
    NoListenerPath,
    /// Metadata for an agent, and no agent is named.
    #[error("seccomp listenerMetadata is set, but listenerPath is not")]
    MetadataWithoutPath,
}

impl SeccompError {
    /// The field at fault, as a JSON pointer into the configuration.
    pub fn field(&self) -> String {
        let errno = |rule: &Option<usize>| match rule {
            Some(rule) => format!("/linux/seccomp/syscalls/{rule}/errnoRet"),
            None => "/linux/seccomp/defaultErrnoRet".to_owned(),
        };
        match self {
            Self::NotifyDefault => "/linux/seccomp/defaultAction".to_owned(),
            Self::NotifyWrite { rule, index } | Self::EmptyName { rule, index } => {
                format!("/linux/seccomp/syscalls/{rule}/names/{index}")
            }
            Self::ErrnoNotTaken { rule, .. } | Self::ErrnoTooLarge { rule, .. } => errno(rule),
            Self::NoNames { rule } => format!("/linux/seccomp/syscalls/{rule}/names"),
            Self::ArgIndex { rule, arg, .. } => {
                format!("/linux/seccomp/syscalls/{rule}/args/{arg}/index")
            }
            Self::TooLong { .. } => "/linux/seccomp/syscalls".to_owned(),
            Self::NoListenerPath => "/linux/seccomp/listenerPath".to_owned(),
            Self::MetadataWithoutPath => "/linux/seccomp/listenerMetadata".to_owned(),
        }
    }
}
