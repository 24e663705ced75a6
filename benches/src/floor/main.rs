//! The floor: the isolation of the benchmark's bundle, made with as few syscalls as we know how, then
//! the program. What must hold: it isolates no less than the bundle asks of a runtime, else the floor
//! is no floor; and it does nothing that the bundle does not ask for.
//!
//! It reads no configuration and checks nothing beforehand: all is known when it is compiled.
//!
//!     oxrun-floor ROOTFS CGROUP2-DIR|- V1-DIR... -- PROGRAM
//!
//! The directories are made, joined, and removed after the program. It is not for use as a runtime.

#![cfg_attr(target_arch = "x86_64", no_main)]

#[cfg(target_arch = "x86_64")]
mod device;
#[cfg(target_arch = "x86_64")]
mod isolation;
#[cfg(target_arch = "x86_64")]
mod linux;

/// The workspace builds on every architecture; the filter and the clone are written for one.
#[cfg(not(target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    eprintln!("oxrun-floor: written for x86_64 only");
    std::process::ExitCode::FAILURE
}
