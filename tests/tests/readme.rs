//! The README's commands do what it says: each `sh` block behind a line
//! `<!-- run -->` is run in an empty directory, with belljar on the path.
#![cfg(target_os = "linux")]

use std::{fs, path::Path, process::Command};

use belljar_tests::{belljar, source_tree};

/// The blocks that are to be run.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "<!-- run -->" {
            continue;
        }
        let fence = lines.next().unwrap_or_default();
        assert_eq!(fence, "```sh", "what follows `<!-- run -->`");
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

fn run(block: &str, place: &Path) -> String {
    // Found as `belljar`, whatever is beside it in its own directory.
    let tools = place.join("tools");
    fs::create_dir(&tools).expect("a directory");
    std::os::unix::fs::symlink(belljar(), tools.join("belljar")).expect("a link");
    let work = place.join("work");
    fs::create_dir(&work).expect("a directory");
    let output = belljar_tests::output(
        Command::new("sh")
            .args(["-e", "-c", block])
            .current_dir(&work)
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", tools.display()),
            ),
    );
    assert!(output.status.success(), "{block}\n{output:#?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_block_of_the_readme_runs() {
    let text = fs::read_to_string(source_tree().join("README.md")).expect("the README");
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "a README without commands");
    for block in blocks {
        let room = tempfile::tempdir().expect("a directory");
        let said = run(&block, room.path());
        if block.contains("wc -w") {
            assert!(said.starts_with("2\n"), "{said}");
            assert!(said.contains("ended with 124"), "{said}");
        }
    }
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
