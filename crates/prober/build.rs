//! Tells the crate that carries the prober where its sources are.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::metadata=src={folder}");
    println!("cargo::rerun-if-changed=src");
}
