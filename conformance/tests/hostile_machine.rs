//! The attacks that depend on the host's cgroups and its AppArmor, where the machine at hand has other ones than
//! `oxrun-conformance hostile` meets elsewhere: cgroup v2 alone, or AppArmor.
#![allow(missing_docs)]

use oxrun_conformance::harness::run;
use oxrun_conformance::hostile;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let probe = Path::new(env!("CARGO_BIN_EXE_oxrun-probe"));
    let bad = Path::new(env!("CARGO_BIN_EXE_oxrun-bad"));
    run(hostile::trials(probe, bad))
}
