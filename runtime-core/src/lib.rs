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
//!
//! All handles can be shared by threads, and none has to be kept: [`Runtime::open`] finds a container again after the
//! program was started anew. Nothing is logged, and nothing is global but a sealed copy of init, which the first
//! container leaves for all others. With the feature `tokio` what can be waited for can be waited for in tasks.
//!
//! # What may change
//!
//! The version says so, by semantic versioning: while it is 0.x, the second number counts as the first.
//!
//! - What is public here stays until the next breaking version. The exceptions are what plans are made of and from, in
//!   [`plan::action`], [`plan::script`], [`cgroup`] and [`HostFacts`]: there are as many kinds of steps as the
//!   specification has sentences, and each version of it adds some. Who prints, compares and stores plans is not
//!   affected; a stored one is for the version that made it.
//! - What the documentation does not show, such as the writes of one kind of cgroups, is for the project's own tools and
//!   may go at any time.
//! - Enums and structs marked non-exhaustive get more values and fields in any version. So does [`CreateOptions`]: end its
//!   literal with `..Default::default()`.
//! - Texts of errors are for people and may change. [`Error::kind`], [`Error::field`] and [`Error::errno`] are for programs.
//! - The state directory of a container can be read by later versions with the same first number (the second while it is 0).
//! - [`Spec`] and what belongs to it are those of the crate oci-spec: a breaking version of it is one here.
//! - A higher least version of Rust or of the kernel (5.14 now) is no breaking change, and stands in the changelog.

#![deny(clippy::disallowed_methods)]

mod bundle;
pub mod cgroup;
mod check;
mod container;
mod error;
mod exec;
mod facts;
pub mod features;
mod filters;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hooks;
mod id;
mod launch;
mod listing;
mod netlink;
pub mod plan;
pub mod rdt;
mod runtime;
pub mod seccomp;
mod state;
mod sys;
mod template;
mod time;
#[cfg(feature = "tokio")]
mod waiting;

pub use bundle::{Bundle, MAX_CONFIG, MAX_DEPTH, Warning};
pub use cgroup::resources_from_json;
pub use cgroup::stats::Stats;
pub use cgroup::watch::{Event, Watch};
pub use check::{Finding, Report, Severity};
#[doc(hidden)]
pub use container::Unbegun;
pub use container::{Container, Status};
pub use error::{Error, ErrorKind, Lane, Result, StepRef, errno_text};
pub use exec::Exec;
pub use facts::{CgroupFacts, HostFacts, ResctrlFacts, V1Hierarchy, V2Tree, in_user_namespace};
#[doc(hidden)]
pub use launch::init_size;
pub use launch::{Stdio, Stream};
pub use listing::Listed;
pub use oci_spec::runtime::{LinuxResources, Process, Spec};
pub use plan::{CgroupManager, CreateOptions, Plan, SubCgroup};
pub use runtime::Runtime;
pub use sys::ExitStatus;
#[doc(hidden)]
pub use sys::copy_window_size;
