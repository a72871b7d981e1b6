//! Every hostile guest, in a jar and without one.
//!
//! In a jar, under both presets of untrusted programs, the guest itself says
//! that its attack failed, and the test sees from outside that nothing changed.
//! Without a jar, where it can do no harm, the same attack comes through.
#![cfg(target_os = "linux")]

#[path = "attacks/descriptors.rs"]
mod descriptors;
#[path = "attacks/files.rs"]
mod files;
#[path = "attacks/ipc.rs"]
mod ipc;
#[path = "attacks/outside.rs"]
mod outside;
#[path = "attacks/privileges.rs"]
mod privileges;
#[path = "attacks/resources.rs"]
mod resources;
#[path = "attacks/siblings.rs"]
mod siblings;
#[path = "attacks/tasks.rs"]
mod tasks;

macro_rules! each_guest_has_its_test {
    ($($room:ident :: $guest:ident => $test:ident),+ $(,)?) => {
        const _: &[fn()] = &[$($room::$test as fn()),+];
    };
}
belljar_attacks::guests!(each_guest_has_its_test);
