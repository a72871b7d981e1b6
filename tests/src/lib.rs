//! Integration tests: the contract line by line, attacks and faults.

mod need;

pub use need::{Need, need};
