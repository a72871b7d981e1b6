//! Runs plugins that nobody should have to trust.
