//! A JVM: the compiler, and what it compiled.

use std::path::PathBuf;

use crate::room::{Room, programs, says, system};

pub(crate) const SOURCE: &str = include_str!("sources/Work.java");

/// What each part of the source prints.
pub(crate) const THREADS: &[&str] = &["threads: 285", "parallel: 4999950000"];
pub(crate) const CHILDREN: &[&str] = &["child: through cat 0", "destroyed: 143", "handle: true"];
pub(crate) const SOCKETS: &[&str] = &["nio: over loopback"];
pub(crate) const FILES: &[&str] = &["channel: 7 100000", "lock: true", "transfer: 100000"];
pub(crate) const COMPUTE: &[&str] = &["compute: 399996"];

/// The source compiled to `classes`, and those in `work.jar`, each by a jar.
pub(crate) fn compiled() -> Room {
    let room = Room::new(&[("Work.java", SOURCE)]);
    let javac = [system("javac"), "-d".into(), "classes".into()];
    says(
        room.jar()
            .program(javac.into_iter().chain([room.path("Work.java")]))
            .end(),
        &[],
    );
    let archive = "--create --file work.jar --main-class Work -C classes .";
    let jar = [system("jar")].into_iter();
    says(
        room.jar()
            .program(jar.chain(archive.split(' ').map(PathBuf::from)))
            .end(),
        &[],
    );
    room
}

#[test]
fn java_compiles_and_runs_threads_children_sockets_and_files() {
    if !programs(&["java", "javac"]) {
        return;
    }
    let room = compiled();
    let words = ["/usr/bin/java", "-cp", "classes", "Work"];
    let parts = ["threads", "children", "sockets", "files", "compute"];
    says(
        room.jar().program(words.into_iter().chain(parts)).end(),
        &[THREADS, CHILDREN, SOCKETS, FILES, COMPUTE].concat(),
    );
}

#[test]
fn java_runs_with_each_of_its_collectors() {
    if !programs(&["java", "javac"]) {
        return;
    }
    let room = compiled();
    for collector in ["Serial", "Parallel", "G1", "Z", "Shenandoah"] {
        let choice = format!("-XX:+Use{collector}GC");
        let words = [
            "/usr/bin/java",
            &choice,
            "-cp",
            "classes",
            "Work",
            "threads",
        ];
        says(room.jar().program(words).end(), THREADS);
    }
}
