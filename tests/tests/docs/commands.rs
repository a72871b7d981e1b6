//! The commands of the pages do what they say. A line before a block tells what
//! the block is:
//!
//! - `<!-- run -->`: commands that are run, with belljar on the path. Those of one
//!   page are run one after the other, in one directory that is empty at the start.
//! - `<!-- file NAME -->`: a file that the next commands find there.
//! - `<!-- says -->`: what the commands before it have written; `…` stands for
//!   what differs from one run to the next.
//! - `<!-- shown -->`: commands that only some machines can run.

use std::{fs, process::Command};

use belljar_tests::{belljar, source_tree};

use crate::page::{self, Block};

/// Where the commands of one page are run.
struct Place {
    room: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let room = tempfile::tempdir().expect("a directory");
        for name in ["tools", "home", "work"] {
            fs::create_dir(room.path().join(name)).expect("a directory");
        }
        // Found as `belljar`, whatever is beside it in its own directory.
        let link = room.path().join("tools/belljar");
        std::os::unix::fs::symlink(belljar(), link).expect("a link");
        Self { room }
    }

    fn work(&self) -> std::path::PathBuf {
        self.room.path().join("work")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("it lies in one")).expect("a directory");
        fs::write(path, format!("{text}\n")).expect("a file");
    }

    /// What the commands write, on both streams.
    fn run(&self, block: &Block, page: &str) -> String {
        let commands = format!("exec 2>&1\n{}", block.text);
        let tools = self.room.path().join("tools");
        let output = belljar_tests::output(
            Command::new("sh")
                .args(["-e", "-c", &commands])
                .current_dir(self.work())
                .env("HOME", self.room.path().join("home"))
                .env_remove("XDG_STATE_HOME")
                .env("LC_ALL", "C.UTF-8")
                .env(
                    "PATH",
                    format!("{}:/usr/local/bin:/usr/bin:/bin", tools.display()),
                ),
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{page} line {}: {}\n{}\nsaid:\n{said}",
            block.line,
            output.status,
            block.text
        );
        said
    }
}

/// A line that was written is the one that a page shows, `…` standing for anything.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}

/// Each shown line was written. The order is not compared: what a jar writes on
/// its two streams is relayed by each.
fn compare(said: &str, shown: &Block, page: &str) {
    let mut lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    for expected in shown.text.lines().filter(|line| !line.is_empty()) {
        match lines.iter().position(|line| is_like(line, expected)) {
            Some(at) => drop(lines.remove(at)),
            None => panic!(
                "{page} line {}: not said: {expected}\nsaid:\n{said}",
                shown.line
            ),
        }
    }
}

fn run_page(page: &str) -> Vec<String> {
    let place = Place::new();
    let mut all = Vec::new();
    for block in page::blocks(&page::read(page)) {
        match block.mark.as_deref() {
            Some("<!-- run -->") => {
                assert_eq!(block.language, "sh", "{page} line {}", block.line);
                all.push(place.run(&block, page));
            }
            Some("<!-- says -->") => {
                let said = all.last().expect("commands come before what they say");
                compare(said, &block, page);
            }
            Some("<!-- shown -->") => {}
            Some(mark) if mark.starts_with("<!-- file ") => {
                let name = mark["<!-- file ".len()..].trim_end_matches("-->").trim();
                place.write(name, &block.text);
            }
            _ => assert!(
                block.language != "sh" || page == "README.md",
                "{page} line {}: is it run or only shown?",
                block.line
            ),
        }
    }
    assert!(!all.is_empty(), "{page} has no commands");
    all
}

#[test]
fn the_readme_s_commands_run() {
    let all = run_page("README.md");
    let first = &all[0];
    assert!(first.starts_with("2\n"), "{first}");
    assert!(first.contains("ended with 124"), "{first}");
}

#[test]
fn the_commands_of_getting_started_run_and_say_what_is_shown() {
    run_page("docs/getting-started.md");
}

#[test]
fn the_operators_commands_run_and_say_what_is_shown() {
    run_page("docs/operators.md");
}

#[test]
fn the_plugin_authors_commands_run_and_say_what_is_shown() {
    run_page("docs/plugin-authors.md");
}

#[test]
fn the_commands_of_what_is_learnt_run_and_say_what_is_shown() {
    run_page("docs/learn.md");
}

#[test]
fn the_commands_of_policy_files_run_and_say_what_is_shown() {
    run_page("docs/policy.md");
}

#[test]
fn the_commands_of_what_prove_tries_run_and_say_what_is_shown() {
    run_page("docs/prove.md");
}

#[test]
fn the_commands_of_groups_run_and_say_what_is_shown() {
    run_page("docs/groups.md");
}

#[test]
fn what_is_shown_is_compared_line_by_line() {
    assert!(is_like("took 3 ms", "took … ms"));
    assert!(is_like("took 3 ms", "took …"));
    assert!(!is_like("took 3 ms", "took … s"));
    assert!(!is_like("took 3 ms more", "took … ms"));
    assert!(!is_like("it took 3 ms", "took … ms"));
}

#[test]
fn example_plugin_counts_the_readme() {
    let readme = source_tree().join("README.md");
    let text = fs::read(&readme).expect("the README");
    let output = belljar_tests::output(
        Command::new(belljar())
            .arg("run")
            .arg(source_tree().join("examples/wordcount"))
            .stdin(fs::File::open(&readme).expect("the README")),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let bytes = said.split(' ').nth(4).expect("a count of bytes");
    assert_eq!(bytes.parse(), Ok(text.len()), "{said}");
}
