//! Integration tests: the contract line by line, attacks and faults.
