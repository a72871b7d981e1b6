//! What a guest may not leave behind, take along or move away: each of these
//! was a way out once.
//!
//! Needs what a jar needs, as `jar.rs` says.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use belljar::{
    Jar, LaunchError, Policy,
    policy::{UnixPath, manifest::Place, policy::Format},
};
use tempfile::TempDir;

fn on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Jars can be launched here. Where not, and nobody said so, a test has nothing to test.
fn jars() -> bool {
    match on(Jar::program("true").output()) {
        Ok(_) => true,
        Err(error) => {
            let said = std::env::var("BELLJAR_TEST_HAS").unwrap_or_default();
            assert!(!said.split(',').any(|word| word == "userns"), "{error:?}");
            eprintln!("skipped: {error}");
            false
        }
    }
}

/// A directory to grant, by its real path, as the caller owns it.
fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = directory.path().canonicalize().unwrap();
    (directory, path)
}

fn place(path: &Path) -> Place {
    Place {
        path: UnixPath::new(path.to_str().unwrap()).unwrap(),
        at: None,
    }
}

fn writes(path: &Path) -> Policy {
    let mut policy = Policy::default();
    policy.flags.write.push(place(path));
    policy
}

/// What a shell script says in a jar.
fn sh(script: &str, policy: Policy) -> String {
    let jar = Jar::program("/bin/sh").args(["-c", script]).policy(policy);
    let output = on(jar.output()).unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn no_set_id_file_is_left_in_a_granted_directory() {
    if !jars() {
        return;
    }
    let (_kept, path) = directory();
    let script = format!(
        "cd {}; cp /bin/sh evil; chmod 4755 evil; chmod 2755 evil; chmod u+s,g+s evil
         install -m 6755 /bin/sh second; chmod 755 evil && echo usual modes are free",
        path.display()
    );
    let said = sh(&script, writes(&path));
    assert!(said.contains("usual modes are free"), "{said}");
    for name in ["evil", "second"] {
        if let Ok(found) = fs::metadata(path.join(name)) {
            assert_eq!(found.permissions().mode() & 0o6000, 0, "{name}: {said}");
        }
    }
}

/// With a user namespace of its own a guest could store file capabilities, and
/// an idmapped grant stored them as the machine's.
#[test]
fn a_guest_makes_no_user_namespace_to_gain_capabilities_in() {
    if !jars() {
        return;
    }
    let said = sh("unshare --user true || echo refused", Policy::default());
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn what_is_denied_in_a_writable_directory_cannot_be_moved_away_with_its_parents() {
    if !jars() {
        return;
    }
    let (_kept, path) = directory();
    let (deep, at) = (path.join("a/b"), path.display());
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("secret"), "the secret").unwrap();
    let text = format!("[filesystem]\nwrite = [\"{at}\"]\ndeny = [\"{at}/a/b/secret\"]\n");
    let mut policy = Policy::parse(&text, Format::Toml, "test", None).unwrap();
    policy.flags.write.push(place(&path));
    let script =
        format!("cd {at}; mv a x; mv a/b a/y; mv a/b/secret z; cat a/b/secret; echo 1 > a/b/new");
    let said = sh(&script, policy);
    assert!(!said.contains("the secret"), "{said}");
    let kept = fs::read_to_string(deep.join("secret"));
    assert_eq!(kept.ok().as_deref(), Some("the secret"), "{said}");
    assert!(deep.join("new").exists(), "the rest can be written: {said}");
}

#[test]
fn what_may_only_be_read_in_a_writable_directory_stays_where_it_is() {
    if !jars() {
        return;
    }
    let (_kept, path) = directory();
    fs::create_dir_all(path.join("a/fixed")).unwrap();
    let mut policy = writes(&path);
    policy.flags.read.push(place(&path.join("a/fixed")));
    let script = format!(
        "cd {}; mv a x; touch a/fixed/new; touch a/free",
        path.display()
    );
    let said = sh(&script, policy);
    assert!(path.join("a/free").exists(), "{said}");
    assert!(!path.join("a/fixed/new").exists(), "{said}");
}

/// The guest of an earlier run swapped the granted path for a link.
#[test]
fn a_link_that_a_guest_could_have_made_opens_nothing_outside() {
    if !jars() {
        return;
    }
    let ((_kept, path), (_other, secret)) = (directory(), directory());
    fs::write(secret.join("secret"), "the secret").unwrap();
    symlink(&secret, path.join("part")).unwrap();
    let mut policy = writes(&path);
    policy.flags.read.push(place(&path.join("part")));
    let script = format!("cat {}/part/secret", path.display());
    let jar = Jar::program("/bin/sh").args(["-c", &script]).policy(policy);
    match on(jar.output()) {
        Err(LaunchError::Invalid { reason }) => {
            assert!(reason.contains("symbolic link"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

/// With its limits pid 1 could be made to end, and the jar's own end to be
/// told as `lost`.
#[test]
fn pid_1_is_out_of_the_guest_s_reach() {
    if !jars() {
        return;
    }
    let said = sh(
        "prlimit --pid 1 --nofile=0:0; renice 19 -p 1; chrt -i -p 0 1; taskset -p 1 1
         (sleep 0.1 &) ; sleep 0.3; renice -n 19 -p $$ >/dev/null && prlimit --pid $$ --nofile=9:9 && echo own is free",
        Policy::default(),
    );
    assert!(said.contains("own is free"), "{said}");
    assert_eq!(said.matches("not permitted").count(), 4, "{said}");
}

/// A guest inherits its scheduling from the host through the launcher.
#[test]
fn a_guest_has_no_priority_over_the_machine() {
    if !jars() || !is_root() {
        return;
    }
    let run = |before: &[&str]| {
        let output = std::process::Command::new(before[0])
            .args(&before[1..])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tells_its_guest_s_priority",
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = run(&["nice", "-n", "-30"]);
    assert!(said.contains("nice=0"), "{said}");
    let said = run(&["chrt", "-f", "10"]);
    assert!(said.contains("SCHED_OTHER"), "{said}");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn tells_its_guest_s_priority() {
    print!("{}", sh("echo nice=$(nice); chrt -p $$", Policy::default()));
}
