//! The library's `confine`, which is one-way: every test is a process of its own, this
//! program once more, that first does a harmless thing, then confines itself, then fails to
//! do it. So the control stands in each test. No harness of threads: most need one thread.

#[cfg(target_os = "linux")]
#[path = "confine/acts.rs"]
mod acts;
#[cfg(target_os = "linux")]
#[path = "confine/own.rs"]
mod own;
#[cfg(target_os = "linux")]
#[path = "confine/refused.rs"]
mod refused;

#[cfg(not(target_os = "linux"))]
fn main() {}

/// What a test is called, and what it does in its process.
#[cfg(target_os = "linux")]
type Test = (&'static str, fn());

/// The same command line and the same words as a harness of the toolchain's.
#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::process::{Command, ExitCode};

    let all: Vec<Test> = [own::TESTS, refused::TESTS].concat();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name] = words.as_slice()
        && word == "--in-this-process"
    {
        let (_, test) = all.iter().find(|(known, _)| known == name).expect("a test");
        test();
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let ignored = words.iter().any(|word| word == "--ignored");
    let chosen = all.iter().filter(|(name, _)| {
        !ignored && (filters.is_empty() || filters.iter().any(|part| name.contains(*part)))
    });
    if words.iter().any(|word| word == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let own = std::env::current_exe().expect("a test has a path");
    let (mut passed, mut failed) = (0, 0);
    for (name, _) in chosen {
        // It may not be able to remove what it made, once it is confined.
        let room = tempfile::tempdir().expect("a directory");
        let out = Command::new(&own)
            .args(["--in-this-process", name])
            .env("TMPDIR", room.path())
            .output()
            .expect("this program starts again");
        if out.status.success() {
            passed += 1;
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED: {}", out.status);
            println!("{}", String::from_utf8_lossy(&out.stdout));
            println!("{}", String::from_utf8_lossy(&out.stderr));
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out",
        all.len() - passed - failed
    );
    ExitCode::from(u8::from(failed != 0))
}
