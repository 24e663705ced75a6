//! The OCI runtime-spec lifecycle as a library: plan, create, start, kill, delete on a prepared bundle.
//!
//! A config becomes a [`Plan`]: data that can be printed, compared and stored. The plan is carried out by
//! the caller and by init, a tiny program of its own that is executed from a sealed memfd: no code
//! of the caller ever runs in a copy of its address space, and nothing of the calling process is changed
//! (cwd, umask, environment, limits, signal handling, descriptors).
//!
//! ```no_run
//! # fn main() -> Result<(), oxrun_core::Error> {
//! use oxrun_core::{Bundle, CreateOptions, Runtime, Stdio};
//! let runtime = Runtime::new("/run/acme");
//! let bundle = Bundle::open("/var/lib/acme/job")?;
//! let plan = runtime.plan("job", &bundle, &CreateOptions::default())?;
//! let job = runtime.create(&plan, Stdio::inherit())?;
//! job.start()?;
//! let status = job.wait()?;
//! job.delete(false)?;
//! # let _ = status; Ok(()) }
//! ```

#![deny(clippy::disallowed_methods)]

mod bundle;
pub mod cgroup;
mod check;
mod container;
mod error;
mod facts;
pub mod features;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hooks;
mod id;
mod launch;
mod netlink;
pub mod plan;
pub mod rdt;
mod runtime;
pub mod seccomp;
mod state;
mod sys;
mod template;
pub mod time;
#[cfg(feature = "tokio")]
mod waiting;

pub use bundle::{Bundle, MAX_CONFIG, MAX_DEPTH, Warning};
pub use cgroup::resources_from_json;
pub use cgroup::stats::Stats;
pub use cgroup::watch::{Event, Watch};
pub use check::{Finding, Report, Severity};
pub use container::{Container, Exec, Status};
pub use error::{Error, ErrorKind, Lane, Result, StepRef, errno_text};
pub use facts::{CgroupFacts, HostFacts, ResctrlFacts, V1Hierarchy, V2Tree, in_user_namespace};
pub use launch::{Stdio, Stream, init_size};
pub use oci_spec::runtime::{LinuxResources, Process, Spec};
pub use plan::{CgroupManager, CreateOptions, Plan, SubCgroup};
pub use runtime::Runtime;
pub use sys::{ExitStatus, copy_window_size};
