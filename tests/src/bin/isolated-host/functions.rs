//! The functions, good and bad.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    hint::black_box,
    io::Write as _,
    net::TcpStream,
    process::{abort, exit},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Something that has itself in it, as trees have.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Tree(pub(crate) Vec<Tree>);

/// What JSON has no words for.
pub(crate) type Pairs = BTreeMap<(u8, u8), u8>;

/// It writes what it does not read.
#[derive(Deserialize, Serialize)]
pub(crate) struct OneWay(#[serde(serialize_with = "as_text")] pub(crate) u8);

fn as_text<S: serde::Serializer>(_: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("seven")
}

belljar::isolated! {
    /// The sum.
    pub(crate) fn add(pair: (i64, i64)) -> i64 {
        pair.0 + pair.1
    }

    /// What came.
    pub(crate) fn echo(mut text: String) -> String {
        text.shrink_to_fit();
        text
    }

    /// Calls itself, and has threads.
    pub(crate) fn countdown(from: u32) -> u32 {
        match from {
            0 => 0,
            from => thread::spawn(move || countdown(from - 1)).join().expect("a thread") + 1,
        }
    }

    /// Prints to both streams.
    pub(crate) fn chatter(text: String) -> usize {
        println!("out {text}");
        eprintln!("err {text}");
        print!("unfinished");
        text.len()
    }

    /// Panics with these words.
    pub(crate) fn panics(words: String) -> u8 {
        panic!("{words}")
    }

    /// Panics with no words, after one that it caught.
    pub(crate) fn panics_mutely(_nothing: ()) -> u8 {
        let caught = std::panic::catch_unwind(|| panic!("caught"));
        assert!(caught.is_err());
        std::panic::panic_any(7_u8)
    }

    /// Ends itself in one way or another.
    pub(crate) fn ends(how: String) -> u8 {
        match how.as_str() {
            "exit 0" => exit(0),
            "exit 3" => exit(3),
            "abort" => abort(),
            "spin" => loop {
                black_box(());
            },
            "sleep" => thread::sleep(Duration::from_secs(600)),
            "memory" => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "output" => loop {
                println!("{how:>4096}");
            },
            other => panic!("what is {other}?"),
        }
        0
    }

    /// What a file has.
    pub(crate) fn reads(path: String) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    /// Calls an address.
    pub(crate) fn connects(address: String) -> Result<(), String> {
        TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
    }

    /// The arguments, variables and descriptors that it has.
    pub(crate) fn surroundings(_nothing: ()) -> (Vec<String>, Vec<String>, usize) {
        let variables = std::env::vars().map(|(name, _)| name).collect();
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("a directory").count();
        (std::env::args().collect(), variables, descriptors)
    }

    pub(crate) fn pairs(_nothing: ()) -> Pairs {
        Pairs::from([((1, 2), 3)])
    }

    pub(crate) fn takes_pairs(all: Pairs) -> usize {
        all.len()
    }

    pub(crate) fn one_way(value: OneWay) -> u8 {
        value.0
    }

    pub(crate) fn tree(depth: u32) -> Tree {
        (0..depth).fold(Tree(Vec::new()), |tree, _| Tree(vec![tree]))
    }

    /// Writes these bytes as its answer, behind the hello that was said, and ends so.
    pub(crate) fn forges(answer: (Vec<u8>, i32)) -> Tree {
        write_answer(&answer.0);
        exit(answer.1)
    }

    /// Answers as if all were well, and goes on.
    pub(crate) fn answers_and_stays(_nothing: ()) -> u8 {
        write_answer(&frame(1, b"1"));
        loop {
            thread::sleep(Duration::from_secs(600));
        }
    }

    /// Writes answers without end.
    pub(crate) fn floods(_nothing: ()) -> u8 {
        loop {
            write_answer(&[b' '; 65536]);
        }
    }
}

/// An answer as the library writes it.
pub(crate) fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// Finds the pipe that the answer goes by, as a hostile function would.
fn write_answer(bytes: &[u8]) {
    for number in 3..32 {
        let path = format!("/proc/self/fd/{number}");
        let is_pipe = std::fs::read_link(&path)
            .is_ok_and(|leads| leads.to_string_lossy().starts_with("pipe:"));
        if is_pipe && let Ok(mut file) = OpenOptions::new().write(true).open(&path) {
            file.write_all(bytes).expect("the answer's pipe");
            return;
        }
    }
    panic!("no pipe to forge an answer by");
}
