//! Builds init: one call of rustc, no cargo inside cargo, no dependencies, no lock file.
//!
//! The result is a static executable without libc, linked by the rust-lld that comes with the compiler
//! (for every target alike), and embedded by `launch/image.rs` through `OXRUN_INIT`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

fn main() {
    if let Err(why) = build() {
        println!("cargo::error=cannot build init: {why}");
    }
    if let Err(why) = name_compiler() {
        println!("cargo::error=cannot read the sources of the filter compiler: {why}");
    }
}

/// Names the compiler of filters by its source: what another one has compiled is not used.
fn name_compiler() -> std::io::Result<()> {
    let mut hash = DefaultHasher::new();
    let mut places: Vec<PathBuf> = ["seccomp", "bundle", "bundle.rs", "plan/execve.rs", "plan/process.rs"]
        .iter()
        .map(|name| PathBuf::from("src").join(name))
        .collect();
    while let Some(place) = places.pop() {
        println!("cargo::rerun-if-changed={}", place.display());
        if place.is_dir() {
            let mut inside: Vec<PathBuf> =
                std::fs::read_dir(&place)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
            inside.sort();
            places.extend(inside);
        } else {
            std::fs::read(&place)?.hash(&mut hash);
        }
    }
    println!("cargo::rustc-env=OXRUN_COMPILER={:016x}", hash.finish());
    Ok(())
}

fn build() -> Result<(), String> {
    let env = |name: &str| std::env::var(name).map_err(|e| format!("{name}: {e}"));
    let source = PathBuf::from(env("DEP_OXRUN_INIT_SOURCE")?);
    let out = PathBuf::from(env("OUT_DIR")?).join("oxrun-init");
    // Nothing unwinds init, and nobody asks which compiler made it.
    let layout = out.with_extension("ld");
    let discard = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.comment) } } INSERT AFTER .text;";
    std::fs::write(&layout, discard).map_err(|e| format!("{}: {e}", layout.display()))?;
    println!("cargo::rerun-if-changed={}", source.display());
    // Where pages may have 64 KiB, segments on pages of their own would mostly be padding.
    let small_pages = env("CARGO_CFG_TARGET_ARCH")? == "x86_64";
    let pages = if small_pages { "link-arg=-zseparate-code" } else { "link-arg=-znoseparate-code" };
    let mut rustc = Command::new(env("RUSTC")?);
    rustc
        .args(["--edition", "2024", "--crate-name", "oxrun_init", "--crate-type", "bin"])
        .args(["--target", &env("TARGET")?])
        // Small as with opt-level=s, and as fast as before: what is inlined is only what becomes smaller by it.
        .args(["-C", "panic=abort", "-C", "opt-level=2", "-C", "llvm-args=-inline-threshold=0"])
        .args(["-C", "lto=fat", "-C", "codegen-units=1"])
        .args(["-C", "relocation-model=static", "-C", "strip=symbols"])
        .args(["-C", "linker=rust-lld", "-C", "linker-flavor=ld.lld"])
        .args(["-C", "link-arg=-znoexecstack", "-C", "link-arg=--gc-sections"])
        // RELRO asks a loader to protect a page, and there is no loader.
        .args(["-C", "link-arg=-znorelro", "-C", "link-arg=--no-eh-frame-hdr"])
        .arg("-C")
        .arg(format!("link-arg=-T{}", layout.display()))
        .args(["-C", pages])
        .arg("-o")
        .arg(&out)
        .arg(source.join("main.rs"));
    let done = rustc.output().map_err(|e| format!("{rustc:?}: {e}"))?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).replace('\n', " | "));
    }
    println!("cargo::rustc-env=OXRUN_INIT={}", out.display());
    Ok(())
}
