//! cargo xtask: tests, benches and what they need.
fn main() {}
