//! Tells dependent build scripts where the program's source lies.

fn main() {
    println!("cargo::rerun-if-changed=src");
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::metadata=source={dir}/src");
}
