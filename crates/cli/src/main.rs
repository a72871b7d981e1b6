//! The program `belljar`.
fn main() {}
