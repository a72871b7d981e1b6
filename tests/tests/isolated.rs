//! Functions of a host's own in jars. The hosts are programs of their own, since a test's
//! `main` is the harness's: `tests/src/bin/isolated-host.rs` and the example `pipeline`.
#![cfg(target_os = "linux")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use belljar_tests::{Need, need, output, pipeline};
use tempfile::TempDir;

const HOST: &str = env!("CARGO_BIN_EXE_isolated-host");

fn held(command: &mut Command, scenario: &str) {
    let output = output(command.env("ISOLATED_SECRET", "x"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with(&format!("held: {scenario}\n")),
        "{scenario}: {}: {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn holds(scenario: &str) {
    held(Command::new(HOST).arg(scenario), scenario);
}

/// The host by another name, which decides what it does wrong.
fn named(name: &str) -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join(name);
    std::fs::copy(HOST, &path).expect("a copy");
    (room, path)
}

fn held_by(name: &str, scenario: &str, word: &str) {
    let (_room, path) = named(name);
    held(Command::new(path).args([scenario, word]), scenario);
}

#[test]
fn a_function_answers_from_its_jar_with_a_report() {
    holds("answers");
}

#[test]
fn calls_of_many_threads_run_side_by_side_in_a_host_whose_locks_are_held() {
    holds("threads");
}

#[test]
fn a_call_needs_no_runtime_of_its_caller() {
    holds("any-executor");
}

#[test]
fn input_and_output_may_be_longer_than_a_pipe_holds() {
    holds("big");
}

#[test]
fn what_a_function_prints_goes_to_stderr_and_not_into_its_answer() {
    holds("prints");
}

#[test]
fn a_panic_comes_back_with_its_words_escaped_and_bounded() {
    holds("panics");
}

#[test]
fn limits_signals_and_exits_come_back_as_endings() {
    holds("endings");
}

#[test]
fn whatever_a_guest_writes_as_its_answer_is_an_answer_of_the_type_or_an_error() {
    holds("forgeries");
}

#[test]
fn an_answer_of_a_jar_that_does_not_end_is_told_as_its_limit() {
    holds("stays");
}

#[test]
fn types_that_do_not_come_through_are_errors_that_say_so() {
    holds("types");
}

#[test]
fn a_function_sees_nothing_of_its_host() {
    holds("surroundings");
}

#[test]
fn policies_hold_and_grant_as_for_any_jar() {
    holds("policy");
}

#[test]
fn a_dropped_call_destroys_its_jar() {
    holds("dropped");
}

#[test]
fn a_host_that_forgot_init_is_told_so_and_its_main_runs_in_no_jar() {
    held_by("forgets", "no-init", "");
}

#[test]
fn a_program_that_does_something_else_first_is_told_as_not_serving() {
    held_by("prints-first", "not-served", "starting up\\u{1b}[2J\\u{a}");
    held_by("ends-first", "not-served", "");
    held_by("is-silent", "not-served", "");
    held_by("reads-little", "not-served", "");
    held_by("crashes-first", "not-served", "crash");
}

#[test]
fn a_guest_that_reads_nothing_keeps_nobody_waiting_beyond_its_limits() {
    held_by("is-deaf", "deaf", "");
    held_by("is-deaf-and-done", "answers-unasked", "");
}

#[test]
fn the_jar_runs_the_program_that_runs_here_whatever_lies_at_its_path() {
    for how in ["gone", "upgraded", "before"] {
        let (_room, path) = named("host");
        held(Command::new(path).args(["replaced", how]), "replaced");
    }
}

#[test]
fn a_host_that_only_its_user_may_read_serves() {
    use std::os::unix::fs::PermissionsExt as _;
    let (room, path) = named("host");
    for path in [room.path(), path.as_path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("it is ours");
    }
    held(Command::new(path).arg("answers"), "answers");
}

#[test]
fn the_argument_alone_makes_no_program_serve_outside_of_a_jar() {
    let mut plain = Command::new(HOST);
    // As many services run.
    let mut confined = Command::new("setpriv");
    confined.args(["--no-new-privs", HOST]);
    for command in [&mut plain, &mut confined] {
        let output = output(command.arg("--belljar-isolated"));
        // It goes on, as far as a host without a scenario goes.
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        assert!(output.status.success(), "{output:?}");
    }
}

/// The files of the example, in a directory of their own.
fn documents(address: &str) -> TempDir {
    let room = tempfile::tempdir().expect("a directory");
    let documents = [
        ("calls", format!("title Call\nfetch {address}\n")),
        (
            "fine",
            "title Fine\ntext three small words\nrow 1,2,3\nsum 0,1\n".to_owned(),
        ),
        ("loops", "title Loop\nagain 0\n".to_owned()),
        ("memory", "title Much\npad 1000000\nagain 1\n".to_owned()),
        ("panics", "title Panic\nsum 4,0\n".to_owned()),
        ("reads", "include /etc/os-release\n".to_owned()),
        ("wrong", "\x1b[2J\n".to_owned()),
    ];
    for (name, text) in documents {
        std::fs::write(room.path().join(name), text).expect("a document");
    }
    room
}

fn pipeline_of(room: &Path, names: &[&str]) -> Output {
    output(Command::new(pipeline()).args(names.iter().map(|name| room.join(name))))
}

#[test]
fn the_pipeline_tells_of_each_document_what_it_is_or_how_its_jar_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let room = documents(&listener.local_addr().expect("an address").to_string());
    let names = [
        "calls", "fine", "loops", "memory", "panics", "reads", "wrong", "missing",
    ];
    let output = pipeline_of(room.path(), &names);
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}: {table}"))
    };
    let refused = "refused by the parser: \"";
    assert!(
        row("calls").contains(&format!("{refused}127.0.0.1:")),
        "{table}"
    );
    assert!(
        row("fine").ends_with("document \"Fine\": 3 words, 2 rows"),
        "{table}"
    );
    assert!(row("loops").ends_with("limit: cpu_time"), "{table}");
    assert!(row("memory").ends_with("limit: memory"), "{table}");
    assert!(
        row("panics").contains("panic: index out of bounds: the len is 0 but the index is 4"),
        "{table}"
    );
    assert!(
        row("reads").contains(&format!("{refused}/etc/os-release: No such file")),
        "{table}"
    );
    assert!(row("wrong").ends_with("what is `\\u{1b}[2J`?\""), "{table}");
    assert!(row("missing").contains("not read: "), "{table}");
    assert_eq!(table.lines().count(), names.len() + 1, "{table}");
    // Nobody called.
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err(), "a document reached the machine");
}

/// The library as it was built for this test, in the test's own directory.
fn library() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let deps = own.parent().expect("a directory");
    let built = std::fs::read_dir(deps).expect("a directory").flatten();
    let library = built
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libbelljar-") && name.ends_with(".rlib")
        })
        .max_by_key(|entry| entry.metadata().and_then(|about| about.modified()).ok());
    library.expect("the library was built").path()
}

fn compiler_says(source: &str) -> String {
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("host.rs");
    std::fs::write(&file, source).expect("a source");
    let library = library();
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "--emit", "metadata", "--out-dir"])
        .arg(room.path())
        .arg("-L")
        .arg(format!(
            "dependency={}",
            library.parent().expect("a directory").display()
        ))
        .arg("--extern")
        .arg(format!("belljar={}", library.display()))
        .arg(&file);
    String::from_utf8_lossy(&output(&mut rustc).stderr).into_owned()
}

#[test]
fn the_compiler_says_why_a_closure_that_captures_cannot_be_called() {
    if !need(Need::Rust) {
        return;
    }
    let host = |call: &str| {
        format!(
            "#![forbid(unsafe_code)]\n\
             belljar::isolated! {{ fn double(a: usize) -> usize {{ 2 * a }} }}\n\
             pub async fn work(threshold: usize) {{\n\
                 let _ = belljar::Jar::isolated().call({call}, threshold).await;\n\
             }}\n\
             fn main() {{}}\n"
        )
    };
    assert_eq!(compiler_says(&host("double")), "", "the control");
    for call in [
        "move |count: usize| count > threshold",
        "|count: usize| count",
        "usize::is_power_of_two",
    ] {
        let said = compiler_says(&host(call));
        for words in [
            "error[E0277]: a jar cannot run `",
            "`: it is not declared by `belljar::isolated!`",
            "note: the function runs in another process, where nothing is that a closure captures or a pointer leads to: \
             all it needs comes with its input",
            "note: write `belljar::isolated! { fn name(input: In) -> Out { … } }` and give `name`",
        ] {
            assert!(said.contains(words), "{call}: no {words:?} in {said}");
        }
    }
    let said = compiler_says("belljar::isolated! { fn any<T>(a: T) -> T { a } }\nfn main() {}\n");
    assert!(
        said.contains("error: isolated! takes functions of the form `fn name(input: In) -> Out"),
        "{said}"
    );
}
