//! Machines that refuse a part of what a jar is made of, each made for one test of
//! a user namespace; unshare(1).

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::{belljar, is_root, output};

/// Becomes an ordinary user, where this is root, and starts a program.
fn as_user(words: &[&str]) -> Command {
    let user = [
        "setpriv",
        "--reuid=54321",
        "--regid=54321",
        "--clear-groups",
    ];
    let drop: &[&str] = if is_root() { &user } else { &[] };
    let all: Vec<&str> = drop.iter().chain(words).copied().collect();
    let mut command = Command::new(all[0]);
    command
        .args(&all[1..])
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Runs a shell's script as the root of a namespace that an ordinary user made, as
/// rootless containers do; `$BELLJAR` is the program.
#[must_use]
pub fn in_a_container(script: &str) -> Output {
    let mut command = as_user(&["unshare", "--user", "--map-root-user", "--mount"]);
    output(command.args(["sh", "-c", script]).env("BELLJAR", belljar()))
}

/// `belljar` with these words, as an ordinary user who may make no namespaces: the
/// one that is left is used up by becoming that user again.
#[must_use]
pub fn without_namespaces<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = program_without_namespaces(belljar());
    command.args(words);
    command
}

/// The same for any program.
#[must_use]
pub fn program_without_namespaces(program: &Path) -> Command {
    let mut command = as_user(&[
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        "echo 1 > /proc/sys/user/max_user_namespaces && exec unshare --user --map-user=1000 --map-group=1000 -- \"$@\"",
        "sh",
    ]);
    command.arg(program);
    command
}
