//! `extends`: one policy's file over others.

use std::{collections::BTreeMap, error::Error};

use belljar_plan::{Limit, Preset, Rule, Strength};
use belljar_policy::{
    Policy,
    group::Group,
    policy::{PolicyError, ReadError, Source},
};
use proptest::prelude::*;

/// Files by name; a name that starts with `=` is another name of the file behind it.
struct Files(BTreeMap<String, String>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let owned = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Self(owned.collect())
    }

    fn read(&self, name: &str) -> Result<Source, ReadError> {
        let parts: Vec<&str> = name.split('/').collect();
        // As a kernel would, where nothing is a link.
        let mut real: Vec<&str> = Vec::new();
        for part in parts {
            match part {
                ".." => drop(real.pop()),
                "." => {}
                part => real.push(part),
            }
        }
        let identity = real.join("/");
        match self.0.get(&identity) {
            Some(text) => Ok(Source {
                text: text.clone(),
                identity,
            }),
            None => Err(ReadError::System("there is no such file".into())),
        }
    }

    fn load(&self, name: &str) -> Result<Policy, PolicyError> {
        let (file, table) = match name.split_once('#') {
            Some((file, table)) => (file, Some(table)),
            None => (name, None),
        };
        let top = self.read(file).unwrap();
        Policy::load(top, file, table, &mut |name| self.read(name))
    }

    fn says(&self, name: &str) -> String {
        let error = self.load(name).unwrap_err();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

fn load(files: &[(&str, &str)]) -> Policy {
    Files::new(files).load(files[0].0).unwrap()
}

fn says(files: &[(&str, &str)]) -> String {
    Files::new(files).says(files[0].0)
}

fn read(policy: &Policy) -> Vec<(String, String)> {
    let file = policy.ceilings.as_ref().unwrap();
    let paths = file
        .read
        .iter()
        .map(|said| (said.value.to_string(), said.origin.clone()));
    paths.collect()
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn grants_are_added_and_each_line_keeps_its_place() {
    let policy = load(&[
        (
            "a.toml",
            "extends = ['one.toml', 'sub/two.json']\nfilesystem.read = ['/a', 'group:git']\n",
        ),
        ("one.toml", "filesystem.read = ['/one', '/a']"),
        (
            "sub/two.json",
            r#"{"extends": ["three.toml"], "filesystem": {"read": ["/two"], "write": ["/w"]}}"#,
        ),
        ("sub/three.toml", "filesystem.read = ['/three']"),
    ]);
    assert_eq!(
        read(&policy),
        [
            pair("/one", "one.toml line 1, extended at a.toml line 1"),
            // Who said it first is remembered.
            pair("/a", "one.toml line 1, extended at a.toml line 1"),
            pair(
                "/three",
                "sub/three.toml line 1, extended at sub/two.json at extends[0], a.toml line 1"
            ),
            pair(
                "/two",
                "sub/two.json at filesystem.read[0], extended at a.toml line 1"
            ),
        ]
    );
    let file = policy.ceilings.unwrap();
    assert_eq!(file.groups[0].value, Group::Git);
    assert_eq!(file.groups[0].origin, "a.toml line 2");
    assert_eq!(file.write[0].value.as_str(), "/w");
    assert_eq!(file.said["filesystem.read"], "a.toml line 2");
    assert_eq!(
        file.said["filesystem.write"],
        "sub/two.json at filesystem.write, extended at a.toml line 1"
    );
}

#[test]
fn where_only_one_can_be_right_the_upper_word_counts() {
    let policy = load(&[
        (
            "a.toml",
            "extends = ['b.toml', 'c.toml']\nlimits.wall = '9s'\nrequire.memory = 'best-effort'\nrequire.output = 'kernel'\nprocess.jit = false",
        ),
        (
            "b.toml",
            "preset = 'minimal'\nlimits.memory = '1GiB'\nlimits.wall = '5s'\nrequire.memory = 'kernel'\nrequire.output = 'best-effort'\nprocess.jit = true\nprocess.subprocesses = true\nlinux.uid_range = '5000-6000'",
        ),
        (
            "c.toml",
            "preset = 'strict'\nlimits.memory = '2GiB'\nend_on = ['nesting']",
        ),
    ]);
    let said = policy.preset.as_ref().unwrap();
    assert_eq!(
        (said.value, said.origin.as_str()),
        (Preset::Strict, "c.toml line 1, extended at a.toml line 1")
    );
    let file = policy.ceilings.as_ref().unwrap();
    assert_eq!(file.limits[&Limit::Memory].value.hard, Some(2 << 30));
    assert_eq!(file.limits[&Limit::Wall].origin, "a.toml line 2");
    assert!(!policy.require.contains_key(&Rule::Memory));
    assert_eq!(policy.best_effort[&Rule::Memory], "a.toml line 3");
    assert_eq!(policy.require[&Rule::Output].value, Strength::Kernel);
    assert!(!policy.best_effort.contains_key(&Rule::Output));
    assert!(!file.jit.as_ref().unwrap().value && file.subprocesses.as_ref().unwrap().value);
    assert!(policy.end_on.contains_key(&Rule::Nesting));
    assert!(policy.linux.uid_range.is_some());
}

#[test]
fn nobody_takes_a_denial_back() {
    let policy = load(&[
        (
            "a.toml",
            "extends = ['b.toml']\nfilesystem.deny = ['/y']\nseccomp.deny = ['ptrace']\nenv.deny = ['B']",
        ),
        (
            "b.toml",
            "filesystem.deny = ['/x']\nseccomp.deny = ['bpf']\nenv.deny = ['A']",
        ),
    ]);
    let file = policy.ceilings.unwrap();
    let denied: Vec<&str> = file.deny.iter().map(|said| said.value.as_str()).collect();
    assert_eq!(denied, ["/x", "/y"]);
    assert_eq!(file.deny_env.len(), 2);
    assert_eq!(policy.seccomp.deny.len(), 2);
    for (own, wanted) in [
        (
            "filesystem.read = ['/x/in']",
            "a.toml line 2: `/x/in` can never apply: `/x` is denied (b.toml line 1, extended at a.toml line 1)",
        ),
        (
            "[plugins.p]\nfilesystem.write = ['/x']",
            "a.toml line 3: `/x` can never apply",
        ),
        (
            "seccomp.allow = ['bpf']",
            "a.toml line 2: `bpf` can never apply: it is denied (b.toml line 2, extended",
        ),
        (
            "env.pass = ['A']",
            "a.toml line 2: variable `A` can never apply",
        ),
    ] {
        let text = says(&[
            ("a.toml", &format!("extends = ['b.toml']\n{own}")),
            (
                "b.toml",
                "filesystem.deny = ['/x']\nseccomp.deny = ['bpf']\nenv.deny = ['A']",
            ),
        ]);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn a_denial_above_takes_out_what_was_granted_below() {
    let policy = load(&[
        (
            "a.toml",
            "extends = ['b.toml']\nfilesystem.deny = ['/x']\nseccomp.deny = ['bpf']\nenv.deny = ['A*']\n[plugins.q]\nfilesystem.deny = ['/q']",
        ),
        (
            "b.toml",
            "filesystem.read = ['/x/in', '/y']\nseccomp.allow = ['bpf']\nenv.pass = ['AB', 'B']\n[plugins.p]\nfilesystem.write = ['/x']\n[plugins.q]\nfilesystem.read = ['/q/in', '/y']",
        ),
    ]);
    assert_eq!(read(&policy).len(), 1);
    assert!(policy.seccomp.allow.is_empty());
    let file = policy.ceilings.as_ref().unwrap();
    assert_eq!(file.pass[0].value, "B");
    // The list was said, and still bounds every flag.
    assert!(
        policy.plugins["p"]
            .ceilings
            .as_ref()
            .unwrap()
            .said
            .contains_key("filesystem.write")
    );
    assert!(
        policy.plugins["p"]
            .ceilings
            .as_ref()
            .unwrap()
            .write
            .is_empty()
    );
    assert_eq!(read(&policy.plugins["q"]).len(), 1);
}

#[test]
fn overrides_of_one_plugin_are_merged_like_files() {
    let policy = load(&[
        (
            "a.toml",
            "extends = ['b.toml']\n[plugins.p]\nfilesystem.read = ['/a']\n[plugins.q]\npreset = 'minimal'",
        ),
        (
            "b.toml",
            "[plugins.p]\nfilesystem.read = ['/b']\npreset = 'standard'",
        ),
    ]);
    assert_eq!(
        read(&policy.for_plugin("p")),
        [
            pair("/b", "b.toml line 2, extended at a.toml line 1"),
            pair("/a", "a.toml line 3")
        ]
    );
    assert_eq!(
        policy.for_plugin("p").preset.unwrap().value,
        Preset::Standard
    );
    assert_eq!(
        policy.for_plugin("q").preset.unwrap().value,
        Preset::Minimal
    );
}

#[test]
fn a_circle_is_an_error_with_the_path_of_includes() {
    assert_eq!(
        says(&[
            ("a.toml", "extends = ['b.toml']"),
            ("b.toml", "\nextends = ['a.toml']")
        ]),
        "b.toml line 2: cannot extend `a.toml`: it would extend itself: a.toml -> b.toml -> a.toml"
    );
    // Whatever it is called on the way.
    assert_eq!(
        says(&[
            ("a.toml", "extends = ['sub/b.toml']"),
            ("sub/b.toml", "extends = ['../sub/../a.toml']")
        ]),
        "sub/b.toml line 1: cannot extend `sub/../sub/../a.toml`: it would extend itself: \
         a.toml -> sub/b.toml -> sub/../sub/../a.toml"
    );
    assert!(says(&[("a.toml", "extends = ['a.toml']")]).ends_with("a.toml -> a.toml"));
    // Another table of the same file is no circle, and itself is one.
    let policy = Files::new(&[(
        "a.toml",
        "[base]\nfilesystem.read = ['/x']\n[app]\nextends = ['a.toml#base']",
    )]);
    assert_eq!(read(&policy.load("a.toml#app").unwrap()).len(), 1);
    let circle = Files::new(&[("a.toml", "[app]\nextends = ['a.toml#app']")]);
    assert!(
        circle
            .says("a.toml#app")
            .ends_with("a.toml#app -> a.toml#app")
    );
}

#[test]
fn a_file_may_be_extended_twice_but_not_without_end() {
    let policy = load(&[
        ("a.toml", "extends = ['b.toml', 'c.toml']"),
        ("b.toml", "extends = ['d.toml']"),
        ("c.toml", "extends = ['d.toml']"),
        ("d.toml", "filesystem.read = ['/d']"),
    ]);
    assert_eq!(read(&policy).len(), 1);

    let deep: Vec<(String, String)> = (0..12)
        .map(|at| {
            (
                format!("{at}.toml"),
                format!("extends = ['{}.toml']", at + 1),
            )
        })
        .collect();
    let deep: Vec<(&str, &str)> = deep
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert!(says(&deep).contains("more than 8 files are under one another: 0.toml -> 1.toml"));

    // Each file twice under the next: 2^20 readings, if nobody counted.
    let wide: Vec<(String, String)> = (0..7)
        .map(|at| {
            (
                format!("{at}.toml"),
                format!("extends = ['{0}.toml', '{0}.toml', '{0}.toml']", at + 1),
            )
        })
        .chain([("7.toml".to_owned(), String::new())])
        .collect();
    let wide: Vec<(&str, &str)> = wide
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert!(says(&wide).contains("made of more than 32 files"));
}

#[test]
fn what_is_wrong_in_a_file_below_is_told_with_both_places() {
    assert_eq!(
        says(&[("etc/a.toml", "preset = 'strict'\nextends = ['none.toml']")]),
        "etc/a.toml line 2: cannot extend `etc/none.toml`: there is no such file"
    );
    assert_eq!(
        says(&[
            ("a.toml", "extends = ['b.toml']"),
            ("b.toml", "\npresets = 1")
        ]),
        "in b.toml, extended at a.toml line 1: b.toml line 2: unknown key `presets`; did you mean `preset`?"
    );
    assert_eq!(
        says(&[("a.toml", "extends = ['b.toml#x']"), ("b.toml", "")]),
        "in b.toml#x, extended at a.toml line 1: b.toml: there is no table `x`"
    );
    // And with all that lead there.
    let way = [
        ("x.toml", "extends = ['y.toml']"),
        ("y.toml", "extends = ['z.toml']"),
    ];
    assert_eq!(
        says(&[way[0], way[1], ("z.toml", "\npresets = 1")]),
        "in z.toml, extended at y.toml line 1, extended at x.toml line 1: z.toml line 2: unknown key `presets`; did you \
         mean `preset`?"
    );
    assert_eq!(
        says(&way),
        "y.toml line 1, extended at x.toml line 1: cannot extend `z.toml`: there is no such file"
    );
    for name in ["", "#x"] {
        assert!(
            says(&[("a.toml", &format!("extends = ['{name}']"))]).ends_with("it names no file")
        );
    }
    assert!(
        says(&[("a.toml", "[plugins.p]\nextends = ['b.toml']")])
            .contains("an override cannot extend a file")
    );
    // Where nothing can be read, nothing is silently left out.
    let alone = Policy::parse(
        "extends = ['b.toml']",
        belljar_policy::policy::Format::Toml,
        "a",
        None,
    );
    assert!(
        alone
            .unwrap_err()
            .to_string()
            .contains("a line 1: it extends another file")
    );
    // A name steers no terminal.
    let text = says(&[("a.toml", "extends = [\"\\u001b[2J\"]")]);
    assert!(!text.contains('\u{1b}'), "{text}");
}

/// A small policy's text.
fn any_policy() -> impl Strategy<Value = String> {
    let paths = || {
        proptest::collection::vec(
            proptest::sample::select(vec!["/a", "/a/b", "/c", "/d"]),
            0..3,
        )
    };
    let preset = proptest::option::of(proptest::sample::select(vec!["minimal", "strict"]));
    (
        paths(),
        paths(),
        paths(),
        preset,
        proptest::option::of(1..9_u64),
    )
        .prop_map(|(read, write, deny, preset, most)| {
            let list = |paths: &[&str]| {
                let quoted: Vec<String> = paths.iter().map(|path| format!("'{path}'")).collect();
                quoted.join(", ")
            };
            let mut text = String::new();
            if let Some(preset) = preset {
                text.push_str(&format!("preset = '{preset}'\n"));
            }
            if let Some(most) = most {
                text.push_str(&format!("limits.processes = {most}\n"));
            }
            text.push_str(&format!(
                "filesystem.read = [{}]\nfilesystem.write = [{}]\nfilesystem.deny = [{}]\n",
                list(&read),
                list(&write),
                list(&deny)
            ));
            text
        })
}

/// A policy without its places and with sorted lists: what it means.
fn meaning(policy: &Policy) -> String {
    let sorted = |list: Vec<&str>| {
        let mut list = list;
        list.sort_unstable();
        list.dedup();
        list.join(" ")
    };
    let file = policy.ceilings.clone().unwrap_or_default();
    let texts = |list: &[belljar_policy::policy::Said<belljar_policy::UnixPath>]| {
        sorted(list.iter().map(|said| said.value.as_str()).collect())
    };
    format!(
        "{:?} {:?} r {} w {} d {}",
        policy.preset.as_ref().map(|said| said.value),
        file.limits.get(&Limit::Processes).map(|said| said.value),
        texts(&file.read),
        texts(&file.write),
        texts(&file.deny)
    )
}

proptest! {
    #[test]
    fn a_chain_means_the_same_however_it_is_cut(a in any_policy(), b in any_policy(), c in any_policy()) {
        // c over b over a, as a chain and as a list.
        let chain = Files::new(&[
            ("c", &format!("extends = ['b']\n{c}")),
            ("b", &format!("extends = ['a']\n{b}")),
            ("a", &a),
        ]).load("c");
        let list = Files::new(&[
            ("c", &format!("extends = ['a', 'b']\n{c}")),
            ("b", &b),
            ("a", &a),
        ]).load("c");
        match (chain, list) {
            (Ok(chain), Ok(list)) => prop_assert_eq!(meaning(&chain), meaning(&list)),
            (Err(_), Err(_)) => {}
            (chain, list) => prop_assert!(false, "{chain:?}\n{list:?}"),
        }
    }

    #[test]
    fn an_empty_file_over_another_changes_nothing(a in any_policy()) {
        let alone = Files::new(&[("a", &a)]).load("a");
        let under = Files::new(&[("b", "extends = ['a']"), ("a", &a)]).load("b");
        match (alone, under) {
            (Ok(alone), Ok(under)) => prop_assert_eq!(meaning(&alone), meaning(&under)),
            (alone, under) => prop_assert!(alone.is_err() && under.is_err()),
        }
    }

    #[test]
    fn what_a_file_below_denies_is_denied(a in any_policy(), b in any_policy()) {
        let files = Files::new(&[("b", &format!("extends = ['a']\n{b}")), ("a", &a)]);
        if let (Ok(below), Ok(both)) = (files.load("a"), files.load("b")) {
            let (below, both) = (below.ceilings.unwrap(), both.ceilings.unwrap());
            for deny in below.deny {
                prop_assert!(both.deny.iter().any(|said| said.value == deny.value));
                prop_assert!(!both.read.iter().chain(&both.write).any(|said| said.value.is_within(&deny.value)));
            }
        }
    }
}
