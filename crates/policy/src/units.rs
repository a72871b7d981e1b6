//! Sizes, durations and counts as people write them.
