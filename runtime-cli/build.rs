//! Tells the linker to put the functions that the usual commands execute side by side: `order.ld`.
//!
//! What must hold: a linker that may not know such a script is not given it. The order is speed and nothing else.

use std::env::{var, var_os};
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=order.ld");
    println!("cargo:rerun-if-env-changed=OXRUN_UNORDERED");
    let is = |name: &str, value: &str| var(name).is_ok_and(|v| v == value);
    // Debug builds have neither these functions nor the need. GNU ld and lld know the script; who has chosen another
    // linker may have one that does not.
    let chosen = var_os("OXRUN_UNORDERED").is_some()
        || var_os("RUSTC_LINKER").is_some()
        || var("CARGO_ENCODED_RUSTFLAGS")
            .is_ok_and(|flags| flags.contains("link") || flags.contains("-fuse-ld"));
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && !chosen {
        let script = PathBuf::from(var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("order.ld");
        println!("cargo:rustc-link-arg-bins=-T");
        println!("cargo:rustc-link-arg-bins={}", script.display());
    }
}
