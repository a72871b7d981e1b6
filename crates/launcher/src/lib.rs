//! The child side of a launch.
#![cfg_attr(not(test), no_std)]
