use std::collections::BTreeSet;

use super::*;
use crate::{
    risk::{Surroundings, of_read, of_write},
    verified::Found,
};

fn path(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

fn caller(home: &str) -> Caller {
    Caller {
        environment: vec![("HOME".into(), home.into())],
        workdir: None,
        homes: vec![path("/home/me"), path("/home/you")],
    }
}

fn survey(paths: &[(&str, FileKind)]) -> Survey {
    let found = |at: &str, kind| Found {
        path: path(at),
        kind,
        device: 1,
        inode: 1,
        uid: 0,
        gid: 0,
        mode: 0o755,
        idmap: true,
    };
    let all = paths.iter();
    Survey(
        all.map(|(at, kind)| (path(at), Ok(found(at, *kind))))
            .collect(),
    )
}

const DIRECTORY: FileKind = FileKind::Directory;
const DEVICE: FileKind = FileKind::CharacterDevice {
    major: 226,
    minor: 128,
};

/// Each item and each program's directory as one path: what `*` stands for is `x`.
fn places(group: Group) -> impl Iterator<Item = UnixPath> {
    let patterns = group.patterns(&caller("/home/me")).into_iter();
    patterns.map(|pattern| path(&pattern.replace('*', "x")))
}

#[test]
fn no_path_of_a_group_holds_a_known_secret_nor_lies_in_one() {
    let around = Surroundings::of(&caller("/home/me"));
    for group in Group::ALL {
        for place in places(group) {
            let risk = of_read(&place, &around);
            let harmless = risk.as_ref().is_none_or(|risk| risk.level <= Level::Low);
            assert!(harmless, "{group}: {place}: {risk:?}");
        }
    }
}

#[test]
fn only_devices_of_graphics_cards_may_be_written() {
    let around = Surroundings::of(&caller("/home/me"));
    for group in Group::ALL {
        for item in group.about().items {
            if item.kind == ItemKind::Device {
                assert_eq!(group, Group::Gpu);
                let place = path(&item.path.replace('*', "x"));
                assert!(item.path.starts_with("/dev/"), "{place}");
                let risk = of_write(&place, &around);
                assert!(risk.is_none_or(|risk| risk.level <= Level::Low), "{place}");
            }
        }
    }
}

#[test]
fn names_are_distinct_and_are_read_back() {
    let words: BTreeSet<&str> = Group::ALL.iter().map(|group| group.word()).collect();
    assert_eq!(words.len(), Group::ALL.len());
    for group in Group::ALL {
        assert_eq!(Group::read(group.word()), Ok(Some(group)));
    }
    assert_eq!(Group::read("/group:git"), Ok(None));
    for text in [
        "group:",
        "toolchain:",
        "group:node",
        "toolchain:git",
        "group:git:/at",
    ] {
        assert!(Group::read(text).is_err(), "{text}");
    }
}

#[test]
fn programs_lie_in_what_is_granted() {
    for group in Group::ALL {
        let items: Vec<&str> = group.about().items.iter().map(|item| item.path).collect();
        for program in group.about().programs {
            let covered = |item: &&str| {
                let (wanted, given) = (item.split('/'), program.split('/').collect::<Vec<_>>());
                let wanted: Vec<&str> = wanted.collect();
                wanted.len() <= given.len() && wanted.iter().zip(&given).all(|(w, g)| w == g)
            };
            assert!(items.iter().any(covered), "{group}: {program}");
        }
    }
}

#[test]
fn a_group_is_what_is_there_in_the_callers_own_home() {
    let there = survey(&[
        ("/home/me/.gitconfig", FileKind::File),
        ("/home/you/.gitconfig", FileKind::File),
        ("/home/me/.git-credentials", FileKind::File),
        ("/etc/gitconfig", FileKind::File),
        ("/usr/lib", DIRECTORY),
    ]);
    let member = |of: &'static str, at: &str, at_home: Option<&str>, counts| Member {
        of,
        path: path(at),
        at_home: at_home.map(str::to_owned),
        write: false,
        counts,
        secret: None,
    };
    assert_eq!(
        Group::Git.expand(&caller("/home/me"), &there),
        [
            member(
                "~/.gitconfig",
                "/home/me/.gitconfig",
                Some("/.gitconfig"),
                true
            ),
            member("/etc/gitconfig", "/etc/gitconfig", None, true),
            member("/usr/lib", "/usr/lib", None, false),
        ]
    );
    // No home that means something: only the system's.
    for home in ["", "/", "relative"] {
        let members = Group::Git.expand(&caller(home), &there);
        assert_eq!(members.len(), 2, "{home}");
    }
}

#[test]
fn stars_stand_for_one_name_and_devices_are_devices() {
    let there = survey(&[
        ("/dev/dri/renderD128", DEVICE),
        ("/dev/dri/renderD129", FileKind::File),
        ("/dev/dri/renderD130/x", DEVICE),
        ("/dev/dri/card0", DEVICE),
        ("/usr/lib/x86_64-linux-gnu/gconv", DIRECTORY),
        ("/usr/lib/a/b/gconv", DIRECTORY),
    ]);
    let paths = |group: Group| -> Vec<String> {
        let members = group.expand(&caller("/home/me"), &there);
        members
            .iter()
            .map(|member| member.path.to_string())
            .collect()
    };
    assert_eq!(paths(Group::Gpu), ["/dev/dri/renderD128"]);
    assert_eq!(paths(Group::Locale), ["/usr/lib/x86_64-linux-gnu/gconv"]);
}

#[test]
fn a_variable_says_where_a_toolchain_is_but_opens_no_home() {
    let there = survey(&[
        ("/opt/pyenv", DIRECTORY),
        ("/opt/pyenv/shims", DIRECTORY),
        ("/home/me", DIRECTORY),
        ("/home/me/.ssh", DIRECTORY),
        ("/etc", DIRECTORY),
        ("/", DIRECTORY),
    ]);
    let at = |root: &str| {
        let mut caller = caller("/home/me");
        caller.environment.push(("PYENV_ROOT".into(), root.into()));
        let members = Group::Python.expand(&caller, &there);
        let open = members.iter().filter(|member| member.secret.is_none());
        let paths: Vec<String> = open.map(|member| member.path.to_string()).collect();
        (paths, Group::Python.programs(&caller, &there))
    };
    let (paths, programs) = at("/opt/pyenv");
    assert_eq!(paths, ["/opt/pyenv"]);
    assert_eq!(programs, [path("/opt/pyenv/shims")]);
    for root in [
        "/home/me",
        "/home/me/.ssh",
        "/etc",
        "/",
        "",
        "relative",
        "/opt/*",
        "/opt/../opt",
    ] {
        assert_eq!(at(root).0, [""; 0], "{root}");
    }
}

#[test]
fn a_path_is_told_of_which_groups_it_is() {
    let caller = caller("/home/me");
    let of = |text: &str| Group::holding(&path(text), &caller);
    assert_eq!(
        of("/home/me/.nvm/versions/node/v20/bin/node"),
        [Group::Node]
    );
    assert_eq!(
        of("/usr/lib/x86_64-linux-gnu/gconv/UTF-16.so"),
        [Group::Locale]
    );
    assert_eq!(
        of("/etc/ssl/certs/java/cacerts"),
        [Group::TlsRoots, Group::Java]
    );
    assert_eq!(of("/usr/bin/python3.11"), [Group::Python]);
    for text in [
        "/usr/lib/libc.so",
        "/home/you/.gitconfig",
        "/home/me",
        "/home/me/.cargo/credentials.toml",
        "/",
    ] {
        assert_eq!(of(text), [], "{text}");
    }
}

#[test]
fn of_several_versions_the_last_comes_first() {
    let there = survey(&[
        ("/home/me/.nvm/versions/node/v18.1.0/bin", DIRECTORY),
        ("/home/me/.nvm/versions/node/v20.1.0/bin", DIRECTORY),
    ]);
    let programs = Group::Node.programs(&caller("/home/me"), &there);
    assert_eq!(programs[0], path("/home/me/.nvm/versions/node/v20.1.0/bin"));
}

#[test]
fn a_variable_leads_to_what_is_granted_or_is_not_set() {
    let mut caller = caller("/home/me");
    let granted = [path("/home/me/.rustup"), path("/srv/rustup/toolchains")];
    let value = |caller: &Caller, granted: &[UnixPath]| {
        let all = Group::Rust.variables(caller, granted);
        let home = all.into_iter().find(|(name, _)| name == "RUSTUP_HOME");
        home.map(|(_, value)| String::from_utf8(value.0).unwrap())
    };
    assert_eq!(value(&caller, &[]), None);
    assert_eq!(value(&caller, &granted).unwrap(), "/home/me/.rustup");
    // The caller's own goes first where it leads to what is granted.
    caller
        .environment
        .push(("RUSTUP_HOME".into(), "/srv/rustup".into()));
    assert_eq!(value(&caller, &granted).unwrap(), "/srv/rustup");
    caller.environment.pop();
    caller
        .environment
        .push(("RUSTUP_HOME".into(), "/elsewhere".into()));
    assert_eq!(value(&caller, &granted).unwrap(), "/home/me/.rustup");
    caller
        .environment
        .push(("RUSTUP_TOOLCHAIN".into(), "nightly".into()));
    let all = Group::Rust.variables(&caller, &granted);
    assert!(all.contains(&("RUSTUP_TOOLCHAIN".into(), "nightly".into())));
}

#[test]
fn the_page_in_docs_is_that_of_the_list() {
    let written = include_str!("../../../../docs/groups.md");
    assert!(
        written == page(),
        "docs/groups.md is not current: `cargo xtask schema` writes it anew"
    );
}
