//! Limits that a host of the library changes while a jar runs, and such that all of its
//! jars have together.
#![cfg(target_os = "linux")]

#[path = "limits/obedient.rs"]
mod obedient;
#[path = "limits/together.rs"]
mod together;
#[path = "limits/update.rs"]
mod update;
