//! A host whose functions run in jars: `isolated-host SCENARIO [WORD]`. Each scenario asserts
//! what it claims, and ends with 0 where all of it holds. `tests/tests/isolated.rs` starts them.
//!
//! What a program may do wrong before it serves goes by the name that it is started by.
#![cfg(target_os = "linux")]

#[path = "isolated-host/functions.rs"]
mod functions;
#[path = "isolated-host/hostile.rs"]
mod hostile;
#[path = "isolated-host/scenarios.rs"]
mod scenarios;

use std::{
    io::{Read as _, Write as _},
    process::exit,
    thread,
    time::Duration,
};

fn main() {
    let own = std::env::current_exe().expect("a path");
    let in_jar = std::env::args()
        .nth(1)
        .is_some_and(|word| word == "--belljar-isolated");
    match own
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
    {
        "forgets" => {}
        "prints-first" if in_jar => {
            println!("starting up\x1b[2J");
            belljar::isolated::init();
        }
        "ends-first" if in_jar => exit(7),
        "crashes-first" if in_jar => std::process::abort(),
        "is-silent" if in_jar => thread::sleep(Duration::from_secs(600)),
        // It serves, as it says, and reads nothing.
        "is-deaf" if in_jar => {
            std::io::stdout()
                .write_all(b"belljar serves1\n")
                .expect("a pipe");
            std::io::stdout().flush().expect("a pipe");
            thread::sleep(Duration::from_secs(600));
        }
        // The same, and ends as if all were well.
        "is-deaf-and-done" if in_jar => {
            std::io::stdout()
                .write_all(b"belljar serves1\n\x01\x01\0\0\0\0\0\0\x001")
                .expect("a pipe");
        }
        // It reads a little and goes.
        "reads-little" if in_jar => {
            std::io::stdin().read_exact(&mut [0; 10]).expect("a pipe");
        }
        _ => belljar::isolated::init(),
    }
    if in_jar {
        // Whatever came of it, this is no host.
        return;
    }
    let mut words = std::env::args().skip(1);
    let scenario = words.next().expect("a scenario");
    let word = words.next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(scenarios::run(&scenario, &word));
    println!("held: {scenario}");
}
