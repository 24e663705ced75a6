//! Tests of an OCI runtime from the outside. A runtime is a binary here: nothing of its library is
//! used, so that the same tests judge any runtime, and what they assert is what a caller sees.
//!
//! - [`faults`]: every system call of the runtime failing, and its processes killed at every step
//! - [`harness`]: scratch directories, bundles, calls of the runtime, leak checks, test reporting
//! - [`hostile`]: images and callers that attack the runtime
//! - [`diagnosis`]: what a runtime answers to a config that cannot work
//! - [`engines`]: container engines that drive the runtime
//! - [`programs`]: the programs that a suite consists of
//! - [`runtime_tools`]: the validation suite of opencontainers/runtime-tools, and what it proves
//! - [`spec`]: what the runtime specification demands
//! - [`vm`]: machines with other kernels, cgroup layouts and systemd

pub mod diagnosis;
pub mod engines;
pub mod faults;
pub mod harness;
pub mod hostile;
mod locate;
pub mod programs;
pub mod runtime_tools;
pub mod spec;
pub mod sys;
pub mod vm;

pub use libtest_mimic::Failed;

/// The result of a test or of one step of it. Every error that can be printed converts into it.
pub type Check<T = ()> = Result<T, Failed>;

/// Ends the test unless a condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failed::from(format!($($message)+)));
        }
    };
}

/// Ends the test unless two values are equal; both are shown.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if *left != *right {
                    return Err($crate::Failed::from(format!(
                        "{}\n  found:    {left:?}\n  expected: {right:?}",
                        format_args!($($message)+),
                    )));
                }
            }
        }
    };
    ($left:expr, $right:expr) => {
        $crate::check_eq!($left, $right, "{}", stringify!($left))
    };
}
