//! Runtimes that are told of their memory: each says itself what it takes for it.

use std::path::PathBuf;

use belljar_tests::Ended;

use crate::room::{Room, programs, system};

const MIB: u64 = 1 << 20;

fn number(ended: &Ended) -> u64 {
    let text = ended.stdout.trim();
    text.parse().unwrap_or_else(|_| panic!("{ended:?}"))
}

fn jar(room: &Room, words: &[PathBuf]) -> Ended {
    room.jar()
        .flags(["--memory", "600MiB"])
        .program(words)
        .end()
}

#[test]
fn node_takes_less_than_its_jar_has_and_what_it_is_told_by_others_stays() {
    if !programs(&["node"]) {
        return;
    }
    let source = "console.log(require('v8').getHeapStatistics().heap_size_limit)";
    let room = Room::new(&[("limit.js", source)]);
    let words = [system("node"), room.path("limit.js")];
    let told = number(&jar(&room, &words));
    assert!((400 * MIB..600 * MIB).contains(&told), "{told}");
    let own = room
        .jar()
        .flags(["--memory", "600MiB"])
        .flags(["--env", "NODE_OPTIONS=--max-old-space-size=100"])
        .program(&words)
        .end();
    assert!(number(&own) < 200 * MIB, "{own:?}");
}

#[test]
fn java_takes_a_part_of_what_its_jar_has_and_ends_by_itself() {
    if !programs(&["java", "javac"]) {
        return;
    }
    let source = "public class Most { public static void main(String[] words) { \
                  System.out.println(Runtime.getRuntime().maxMemory()); } }";
    let room = Room::new(&[("Most.java", source)]);
    let javac = [system("javac"), "-d".into(), "classes".into()];
    jar(&room, &[&javac[..], &[room.path("Most.java")]].concat());
    let words = [
        system("java"),
        "-cp".into(),
        "classes".into(),
        "Most".into(),
    ];
    let told = number(&jar(&room, &words));
    assert!((50 * MIB..301 * MIB).contains(&told), "{told}");
}

#[test]
fn a_program_of_go_collects_before_its_jar_is_full() {
    if !programs(&["go"]) {
        return;
    }
    let source = "package main\nimport (\"fmt\"; \"runtime/debug\")\nfunc main() { fmt.Println(debug.SetMemoryLimit(-1)) }\n";
    let room = Room::new(&[("limit.go", source)]);
    let built = room
        .jar()
        .flags(["--env", "GOCACHE=/tmp/cache"])
        .flags(["--env", "GO111MODULE=off"])
        .program(["/usr/bin/go", "build", "-o", "limit", "limit.go"])
        .end();
    assert!(built.status.success(), "{built:?}");
    let told = number(&jar(&room, &[room.path("limit")]));
    assert_eq!(told, 540 * MIB);
}
