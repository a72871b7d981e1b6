//! Every hostile guest, in a jar and without one.
//!
//! In a jar, under both presets of untrusted programs, the guest itself says
//! that its attack failed, and the test sees from outside that nothing changed.
//! Without a jar, where it can do no harm, the same attack comes through.
#![cfg(target_os = "linux")]

#[path = "attacks/abi.rs"]
mod abi;
#[path = "attacks/alike.rs"]
mod alike;
#[path = "attacks/calls.rs"]
mod calls;
#[path = "attacks/descriptors.rs"]
mod descriptors;
#[path = "attacks/files.rs"]
mod files;
#[path = "attacks/filters.rs"]
mod filters;
#[path = "attacks/first.rs"]
mod first;
#[path = "attacks/ipc.rs"]
mod ipc;
#[path = "attacks/jars.rs"]
mod jars;
#[path = "attacks/machine.rs"]
mod machine;
#[path = "attacks/memory.rs"]
mod memory;
#[path = "attacks/mounts.rs"]
mod mounts;
#[path = "attacks/names.rs"]
mod names;
#[path = "attacks/namespaces.rs"]
mod namespaces;
#[path = "attacks/outside.rs"]
mod outside;
#[path = "attacks/privileges.rs"]
mod privileges;
#[path = "attacks/programs.rs"]
mod programs;
#[path = "attacks/races.rs"]
mod races;
#[path = "attacks/resources.rs"]
mod resources;
#[path = "attacks/ring.rs"]
mod ring;
#[path = "attacks/siblings.rs"]
mod siblings;
#[path = "attacks/sockets.rs"]
mod sockets;
#[path = "attacks/system.rs"]
mod system;
#[path = "attacks/tasks.rs"]
mod tasks;
#[path = "attacks/terminal.rs"]
mod terminal;
#[path = "attacks/time.rs"]
mod time;
#[path = "attacks/tracing.rs"]
mod tracing;
#[path = "attacks/unix.rs"]
mod unix;

macro_rules! each_guest_has_its_test {
    ($(
        #[doc = $tries:literal]
        $room:ident :: $guest:ident => $test:ident : $layer:literal, $event:ident $(in $only:ident)?;
    )+) => {
        const _: &[fn()] = &[$($room::$test as fn()),+];
    };
}
belljar_attacks::guests!(each_guest_has_its_test);
