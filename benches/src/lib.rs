//! Measurements of Belljar with their peers.
