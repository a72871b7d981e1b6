//! Named groups in flags, policies and manifests: what is granted, to whom, and by whose word.

mod world;

use belljar_plan::Preset;
use belljar_policy::{
    Policy, UnixPath, Verified,
    effective::Grant,
    group::Group,
    manifest::ManifestError,
    policy::{Format, PolicyError},
    verified::{FileKind, Found},
};
use proptest::{prelude::*, sample::select};
use world::{decide, invalid, path, plugin, policy, program, unmet};

/// The same launch on a machine with git's files, rust in the home, and more.
fn at_home(mut verified: Verified) -> Verified {
    verified.caller.environment = vec![
        ("HOME".into(), "/home/me".into()),
        ("LANG".into(), "de_DE.UTF-8".into()),
        ("RUSTUP_TOOLCHAIN".into(), "stable".into()),
    ];
    verified.caller.homes = vec![path("/home/me")];
    for (from, to) in [
        ("/home/me/.gitconfig", "/home/me/dotfiles/gitconfig"),
        ("/home/me/.git-credentials", "/home/me/.git-credentials"),
        ("/etc/gitconfig", "/etc/gitconfig"),
        ("/home/me", "/home/me"),
        ("/usr", "/usr"),
        ("/usr/lib", "/usr/lib"),
        ("/usr/share/git-core", "/usr/share/git-core"),
        ("/home/me/.rustup", "/home/me/.rustup"),
        ("/home/me/.cargo/bin", "/home/me/.cargo/bin"),
        ("/usr/share/zoneinfo", "/usr/share/zoneinfo"),
        ("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin"),
        ("/home/me/.config/git/config", "/home/me/.git-credentials"),
    ] {
        let found = Found {
            path: path(to),
            kind: FileKind::Directory,
            device: 1,
            inode: 1,
            uid: 0,
            gid: 0,
            mode: 0o755,
            idmap: true,
        };
        verified.survey.0.insert(path(from), Ok(found));
    }
    verified
}

fn with(groups: &[Group]) -> Policy {
    let mut policy = Policy::default();
    policy.flags.groups = groups.to_vec();
    policy
}

fn grant(from: &str, at: Option<&str>, origin: &str) -> Grant {
    Grant {
        path: path(from),
        at: at.map(path),
        write: false,
        optional: false,
        origin: origin.to_owned(),
    }
}

fn paths(grants: &[Grant]) -> Vec<&str> {
    grants.iter().map(|grant| grant.path.as_str()).collect()
}

#[test]
fn a_flag_grants_what_of_a_group_is_there_and_names_it() {
    let got = decide(&at_home(program()), &with(&[Group::Git]));
    let origin = "group:git (--read)";
    assert_eq!(
        got.grants,
        [
            grant(
                "/home/me/.gitconfig",
                Some("/home/plugin/.gitconfig"),
                origin
            ),
            grant("/etc/gitconfig", None, origin),
        ]
    );
    // standard shows the rest; strict does not.
    let mut strict = with(&[Group::Git]);
    strict.flags.preset = Some(Preset::Strict);
    let got = decide(&at_home(program()), &strict);
    assert_eq!(
        paths(&got.grants),
        [
            "/home/me/.gitconfig",
            "/etc/gitconfig",
            "/usr/share/git-core",
            "/usr/lib"
        ]
    );
}

#[test]
fn what_lies_in_a_home_goes_where_the_guest_looks_for_it() {
    let at = |policy: &Policy| decide(&at_home(program()), policy).grants[0].at.clone();
    let mut minimal = with(&[Group::Git]);
    minimal.flags.preset = Some(Preset::Minimal);
    assert_eq!(at(&minimal), None);
    let mut passed = with(&[Group::Git]);
    passed.flags.pass = vec!["HOME".into()];
    assert_eq!(at(&passed), None);
    let mut set = with(&[Group::Git]);
    set.flags.set = vec![("HOME".into(), "/tmp/h".into())];
    assert_eq!(at(&set), Some(path("/tmp/h/.gitconfig")));
}

#[test]
fn a_link_of_a_group_that_leads_to_a_secret_is_left_out_and_told() {
    let got = decide(&at_home(program()), &with(&[Group::Git]));
    assert!(!paths(&got.grants).contains(&"/home/me/.config/git/config"));
    let dropped: Vec<_> = got
        .dropped
        .iter()
        .map(|dropped| dropped.request.as_str())
        .collect();
    assert_eq!(
        dropped,
        ["filesystem.read group:git: /home/me/.config/git/config"]
    );
    assert!(
        got.dropped[0].reason.contains("passwords of repositories"),
        "{:?}",
        got.dropped
    );
}

#[test]
fn a_group_of_which_nothing_is_there_is_an_error_with_a_remedy() {
    let reason = invalid(&at_home(program()), &with(&[Group::Java]));
    // Libraries of the system are there; they are not java.
    assert!(
        reason.starts_with("--read toolchain:java: nothing of it is on this machine"),
        "{reason}"
    );
    assert!(
        reason.contains("`belljar policy groups toolchain:java`"),
        "{reason}"
    );

    let asks = at_home(plugin("[filesystem]\nread = ['toolchain:java']\n"));
    let refused = unmet(&asks, &policy("filesystem.read = ['toolchain:java']"));
    assert!(
        refused[0]
            .0
            .contains("`filesystem.read toolchain:java` (m line 6) nothing of it"),
        "{refused:?}"
    );
    assert!(refused[0].1.contains("optional = true"), "{refused:?}");

    let asks = at_home(plugin(
        "[filesystem]\nread = [{ path = 'toolchain:java', optional = true }]\n",
    ));
    let got = decide(&asks, &policy("filesystem.read = ['toolchain:java']"));
    assert_eq!(got.dropped[0].request, "filesystem.read toolchain:java");
}

#[test]
fn a_plugin_gets_a_group_by_the_policys_word_or_a_flags() {
    let asks = at_home(plugin("[filesystem]\nread = ['group:git']\n"));
    let refused = unmet(&asks, &Policy::default());
    assert_eq!(
        refused,
        [(
            "`filesystem.read group:git` (m line 6) is not granted by preset strict".to_owned(),
            "grant it for this run by `--read group:git`, or for every run by `read = [\"group:git\"]` under `[filesystem]` in a policy file".to_owned()
        )]
    );
    let got = decide(&asks, &policy("filesystem.read = ['group:git']"));
    assert_eq!(
        got.grants[0],
        grant(
            "/home/me/.gitconfig",
            Some("/home/plugin/.gitconfig"),
            "group:git (m line 6)"
        )
    );
    // Paths that hold all of it do as well; some of them do not.
    let wide = policy("filesystem.read = ['/home/me', '/etc', '/usr']");
    assert_eq!(decide(&asks, &wide).grants.len(), 4);
    let narrow = policy("filesystem.read = ['/etc', '/usr']");
    let refused = unmet(&asks, &narrow);
    assert!(
        refused[0]
            .0
            .contains("/home/me/dotfiles/gitconfig is part of it"),
        "{refused:?}"
    );
    assert!(
        refused[0].1.contains("`\"group:git\"` in `read`"),
        "{refused:?}"
    );
    // By a flag for the same group.
    assert_eq!(
        decide(&asks, &with(&[Group::Git])).grants[0].path,
        path("/home/me/.gitconfig")
    );
}

#[test]
fn a_policys_group_is_a_ceiling_for_paths_in_it_and_no_more() {
    let asks = at_home(plugin("[filesystem]\nread = ['/home/me/.gitconfig']\n"));
    let got = decide(&asks, &policy("filesystem.read = ['group:git']"));
    assert_eq!(got.grants, [grant("/home/me/.gitconfig", None, "m line 6")]);
    let asks = at_home(plugin(
        "[filesystem]\nread = ['/home/me/.git-credentials']\n",
    ));
    assert_eq!(
        unmet(&asks, &policy("filesystem.read = ['group:git']")).len(),
        1
    );
    let asks = at_home(plugin("[filesystem]\nwrite = ['/home/me/.gitconfig']\n"));
    assert_eq!(
        unmet(&asks, &policy("filesystem.read = ['group:git']")).len(),
        1
    );
    // A bare program gets nothing by a ceiling.
    assert!(
        decide(
            &at_home(program()),
            &policy("filesystem.read = ['group:git']")
        )
        .grants
        .is_empty()
    );
}

#[test]
fn what_minimal_hides_with_its_directory_is_left_out_and_told() {
    let mut minimal = with(&[Group::Rust]);
    minimal.flags.preset = Some(Preset::Minimal);
    let got = decide(&at_home(program()), &minimal);
    assert_eq!(paths(&got.grants), ["/home/me/.rustup"]);
    let reasons: Vec<&str> = got
        .dropped
        .iter()
        .map(|dropped| dropped.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        ["it lies in /home/me/.cargo, which preset minimal hides as a whole"]
    );
}

#[test]
fn a_flag_above_a_policys_list_is_refused_with_both_named() {
    let mut file = policy("filesystem.read = ['/srv']");
    file.flags.groups = vec![Group::Git];
    let reason = invalid(&at_home(program()), &file);
    assert!(reason.starts_with("--read group:git: /home/me/dotfiles/gitconfig of it is more than `filesystem.read` allows (p line 1)"), "{reason}");
    let mut file = policy("filesystem.read = ['/srv', 'group:git']");
    file.flags.groups = vec![Group::Git];
    assert_eq!(decide(&at_home(program()), &file).grants.len(), 2);
}

#[test]
fn deny_beats_groups_path_by_path() {
    let mut file = policy("filesystem.deny = ['/home/me/.gitconfig']");
    file.flags.groups = vec![Group::Git];
    let got = decide(&at_home(program()), &file);
    assert_eq!(paths(&got.grants), ["/etc/gitconfig"]);
    assert!(
        got.dropped.iter().any(|dropped| dropped
            .reason
            .contains("`/home/me/.gitconfig` is denied (p line 1)")),
        "{:?}",
        got.dropped
    );
    // By where it leads, too.
    let mut file = policy("filesystem.deny = ['/home/me/dotfiles', '/etc/gitconfig', '/usr']");
    file.flags.groups = vec![Group::Git];
    let reason = invalid(&at_home(program()), &file);
    assert!(
        reason.contains("nothing of it is left: `/home/me/dotfiles` is denied (p line 1)"),
        "{reason}"
    );
}

#[test]
fn variables_and_programs_come_with_a_toolchain_and_lose_against_every_word() {
    let got = decide(&at_home(program()), &with(&[Group::Rust, Group::Locale]));
    let text = |name: &str| String::from_utf8(got.set[name].0.clone()).unwrap();
    assert_eq!(text("RUSTUP_HOME"), "/home/me/.rustup");
    assert_eq!(text("RUSTUP_TOOLCHAIN"), "stable");
    assert_eq!(text("LANG"), "de_DE.UTF-8");
    assert_eq!(got.programs, [path("/home/me/.cargo/bin")]);

    let mut said = with(&[Group::Rust, Group::Locale]);
    said.flags.set = vec![("RUSTUP_HOME".into(), "/x".into())];
    said.flags.pass = vec!["LANG".into()];
    let got = decide(&at_home(program()), &said);
    assert_eq!(got.set["RUSTUP_HOME"].0, b"/x");
    assert!(!got.set.contains_key("LANG"));

    let mut denied = policy("env.deny = ['LANG', 'RUSTUP_*']");
    denied.flags.groups = vec![Group::Rust, Group::Locale];
    assert!(decide(&at_home(program()), &denied).set.is_empty());
    // A policy that lists variables bounds those of a group that it does not name.
    let mut bounded = policy("env.pass = ['TZ']");
    bounded.flags.groups = vec![Group::Locale];
    assert!(decide(&at_home(program()), &bounded).set.is_empty());
    let mut named = policy("env.pass = ['TZ']\nfilesystem.read = ['group:locale']");
    named.flags.groups = vec![Group::Locale];
    assert_eq!(decide(&at_home(program()), &named).set.len(), 1);
}

#[test]
fn a_groups_directories_of_programs_are_told_once() {
    let mut verified = at_home(program());
    let there = verified.survey.0[&path("/home/me/.cargo/bin")].clone();
    verified
        .survey
        .0
        .insert(path("/usr/local/cargo/bin"), there);
    let got = decide(&verified, &with(&[Group::Rust, Group::Rust]));
    assert_eq!(
        got.programs,
        [path("/home/me/.cargo/bin"), path("/usr/local/cargo/bin")]
    );
    // What a link leads to is one place, granted once, with both names.
    assert_eq!(
        got.grants
            .iter()
            .filter(|grant| grant.path == path("/home/me/.cargo/bin"))
            .count(),
        1
    );
}

#[test]
fn a_group_stands_only_where_something_is_read() {
    for (text, wanted) in [
        (
            "filesystem.write = ['group:git']",
            "can only stand in `read`",
        ),
        (
            "filesystem.deny = ['group:git']",
            "can only stand in `read`",
        ),
        (
            "filesystem.read = ['group:gti']",
            "there is no group `group:gti`; did you mean `group:git`?",
        ),
        (
            "filesystem.read = ['toolchain:fortran-2023']",
            "there is no group `toolchain:fortran-2023`; there are group:git, ",
        ),
    ] {
        match Policy::parse(text, Format::Toml, "p", None) {
            Err(PolicyError::Value { origin, reason }) => {
                assert_eq!(origin, "p line 1");
                assert!(reason.contains(wanted), "{reason}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let head = "[plugin]\nname = 'p'\nversion = '1.0.0'\nentry = 'run'\n[filesystem]\n";
    for (line, wanted) in [
        (
            "write = ['group:git']",
            "`group:git` can only be granted by `read`",
        ),
        (
            "read = [{ path = 'group:git', at = '/x' }]",
            "leave `at` out",
        ),
        ("read = ['group:gti']", "did you mean `group:git`?"),
    ] {
        match belljar_policy::Manifest::parse(&format!("{head}{line}"), Format::Toml, "m") {
            Err(ManifestError::Value { origin, reason }) => {
                assert_eq!(origin, "m line 6");
                assert!(reason.contains(wanted), "{reason}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn an_override_that_reads_replaces_groups_too() {
    let file = policy("filesystem.read = ['group:git']\n[plugins.p]\nfilesystem.read = ['/srv']\n");
    let asks = at_home(plugin("[filesystem]\nread = ['group:git']\n"));
    assert_eq!(unmet(&asks, &file).len(), 1);
}

/// What files, flags and a manifest may say about groups and paths in them.
fn any_words() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec![
        "group:git",
        "toolchain:rust",
        "group:locale",
        "toolchain:java",
        "/etc",
        "/home/me/.gitconfig",
        "/home/me/.git-credentials",
        "/usr/lib",
        "/home/me/.cargo/bin",
        "/data",
    ];
    proptest::collection::vec(select(all), 0..4)
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    quoted.join(", ")
}

/// Where a word's paths really lead.
fn reach(verified: &Verified, word: &str) -> Vec<UnixPath> {
    let real = |path: &UnixPath| {
        verified
            .survey
            .find(path)
            .ok()
            .map(|found| found.path.clone())
    };
    match Group::read(word).unwrap() {
        None => real(&path(word)).into_iter().collect(),
        Some(group) => {
            let members = group.expand(&verified.caller, &verified.survey);
            let open = members.iter().filter(|member| member.secret.is_none());
            open.filter_map(|member| real(&member.path)).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn groups_give_no_more_than_words_and_never_what_is_denied(
        asked in any_words(), file in any_words(), deny in any_words(), flags in any_words(), strict in any::<bool>(),
    ) {
        let denied: Vec<&str> = deny.into_iter().filter(|word| word.starts_with('/')).collect();
        let wanted: Vec<String> = asked.iter().map(|word| format!("{{ path = '{word}', optional = true }}")).collect();
        let verified = at_home(plugin(&format!("[filesystem]\nread = [{}]\n", wanted.join(", "))));
        let text = format!("filesystem.read = [{}]\nfilesystem.deny = [{}]\n", quoted(&file), quoted(&denied));
        // One that contradicts itself is refused.
        let Ok(mut policy) = Policy::parse(&text, Format::Toml, "p", None) else { return Ok(()) };
        for word in &flags {
            policy = policy.allow_read(word).unwrap();
        }
        if !strict {
            policy.flags.preset = Some(Preset::Standard);
        }
        let Ok(got) = belljar_policy::effective::effective(&verified, &policy) else { return Ok(()) };
        let may: Vec<UnixPath> = file.iter().chain(&flags).flat_map(|word| reach(&verified, word)).collect();
        for grant in &got.grants {
            let real = verified.survey.find(&grant.path).unwrap().path.clone();
            let by_preset = !strict && real.is_within(&path("/usr"));
            prop_assert!(by_preset || may.iter().any(|over| real.is_within(over)), "{grant:?}");
            for deny in &denied {
                let deny = path(deny);
                let hidden = verified.survey.find(&deny).map_or(deny.clone(), |found| found.path.clone());
                prop_assert!(!real.is_within(&hidden) && !grant.path.is_within(&deny), "{grant:?} {deny}");
            }
            // No word of a group leads to a secret; a path that names it does.
            if grant.origin.starts_with("group:") || grant.origin.starts_with("toolchain:") {
                prop_assert_ne!(real.as_str(), "/home/me/.git-credentials");
            }
        }
    }
}
