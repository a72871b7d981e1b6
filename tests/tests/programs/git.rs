//! git, in a directory that is granted for writing.

use crate::room::{Room, programs, says};

#[test]
fn git_commits_merges_collects_and_clones() {
    if !programs(&["git"]) {
        return;
    }
    let room = Room::new(&[("git.sh", include_str!("sources/git.sh"))]);
    let mut jar = room.jar();
    for who in ["AUTHOR", "COMMITTER"] {
        jar = jar
            .flags(["--env", &format!("GIT_{who}_NAME=A")])
            .flags(["--env", &format!("GIT_{who}_EMAIL=a@example.com")]);
    }
    says(
        jar.program(["/bin/sh", "git.sh"]).end(),
        &[
            "Merge branch 'side'",
            "on main",
            "on the side",
            "second",
            "first",
            " 1 file changed, 1 insertion(+)",
            "## main...origin/main",
            "file:1",
        ],
    );
    // What it made is the operator's, in a tree and in a clone of its own.
    assert_eq!(room.read("copy/folder/link"), "one\ntwo\n");
    assert_eq!(room.read("tree/side"), "side\n");
    let packs = std::fs::read_dir(room.path("origin/.git/objects/pack"));
    assert!(packs.expect("git gc made it").count() > 0);
}
