use belljar_policy::{
    UnixPath, data::answer::SmallestGrant, learn::Make, policy::Right, risk::Level,
};

use super::*;

fn proposal(change: Change) -> Proposal {
    Proposal {
        change,
        questions: Vec::new(),
        level: Level::Low,
        optional: false,
        keeps: false,
        reason: "x".into(),
        names: 1,
        make: None::<Make>,
        lines: SmallestGrant {
            flag: None,
            policy: vec!["x".into()],
            manifest: vec!["x".into()],
            risk: Vec::new(),
        },
    }
}

fn at(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

fn path(path: &str, place: Option<&str>, write: bool) -> Proposal {
    proposal(Change::Path {
        path: at(path),
        real: at(path),
        at: place.map(at),
        write,
    })
}

fn merged(text: &str, kind: Kind, proposals: &[Proposal]) -> String {
    let refs: Vec<&Proposal> = proposals.iter().collect();
    let text = merge(text, kind, None, Some("tool"), &refs).unwrap();
    // The same a second time changes nothing.
    assert_eq!(merge(&text, kind, None, Some("tool"), &refs).unwrap(), text);
    text
}

const PLUGIN: &str = "[plugin]\nname = \"tool\"\nversion = \"1.0.0\"\nentry = \"tool\"\n";

#[test]
fn what_is_there_keeps_its_order_and_its_comments() {
    let text = format!(
        "# First\n[filesystem]  # mine\nwrite = []\nread = [\n    \"/b\", # b\n    \"/a\"  # a\n]\n\n# Who it is\n{PLUGIN}# Last\n"
    );
    let text = merged(
        &text,
        Kind::Manifest,
        &[
            path("/c", Some("/in"), false),
            path("/a", None, false),
            path("/w", None, true),
            proposal(Change::Right(Right::Jit)),
        ],
    );
    Kind::Manifest.check(&text, "belljar.toml", None).unwrap();
    for kept in [
        "# First\n[filesystem]  # mine\n",
        "    \"/b\", # b\n",
        "\"/a\"  # a",
        "# Who it is\n[plugin]\n",
        "# Last\n",
        "write = [\"/w\"]\n",
        "{ path = \"/c\", at = \"/in\" }",
        "[process]\njit = true\n",
    ] {
        assert!(text.contains(kept), "no `{kept}` in\n{text}");
    }
    assert_eq!(text.matches("\"/a\"").count(), 1, "{text}");
}

#[test]
fn a_list_grows_as_it_is_laid_out() {
    let grow = |list: &str| {
        let text = format!("[filesystem]\nread = {list}\n");
        let text = merged(&text, Kind::Policy, &[path("/new", None, false)]);
        Kind::Policy.check(&text, "p.toml", None).unwrap();
        text
    };
    assert_eq!(grow("[]"), "[filesystem]\nread = [\"/new\"]\n");
    assert_eq!(
        grow("[\"/a\"]"),
        "[filesystem]\nread = [\"/a\", \"/new\"]\n"
    );
    assert_eq!(
        grow("[\n  \"/a\",\n  \"/b\",\n]"),
        "[filesystem]\nread = [\n  \"/a\",\n  \"/b\",\n  \"/new\",\n]\n"
    );
    // A comment stays with what it stands behind.
    assert_eq!(
        grow("[\n  \"/a\", # of a\n]"),
        "[filesystem]\nread = [\n  \"/a\", # of a\n  \"/new\",\n]\n"
    );
}

#[test]
fn an_empty_file_becomes_tables() {
    let text = merged(
        "",
        Kind::Policy,
        &[
            path("/c", Some("/in"), false),
            proposal(Change::Call("ptrace")),
            proposal(Change::Limit {
                limit: Limit::Processes,
                hard: 100,
            }),
        ],
    );
    assert_eq!(
        text,
        "[filesystem]\nread = [\"/c\"]\n\n[seccomp]\nallow = [\"ptrace\"]\n\n[limits]\nprocesses = 100\n"
    );
    Kind::Policy.check(&text, "p.toml", None).unwrap();
}

#[test]
fn a_policy_that_extends_another_is_added_to_itself() {
    let text = "# base\nextends = [\"base.toml\"]\n";
    Kind::Policy.check(text, "p.toml", None).unwrap();
    let text = merged(text, Kind::Policy, &[path("/c", None, false)]);
    assert_eq!(
        text,
        "# base\nextends = [\"base.toml\"]\n\n[filesystem]\nread = [\"/c\"]\n"
    );
    Kind::Policy.check(&text, "p.toml", None).unwrap();
    assert!(Kind::Policy.check("extends = 1\n", "p.toml", None).is_err());
}

#[test]
fn a_policy_grants_where_links_lead() {
    let one = proposal(Change::Path {
        path: at("/bin/sh"),
        real: at("/usr/bin/dash"),
        at: None,
        write: false,
    });
    let text = merged("", Kind::Policy, std::slice::from_ref(&one));
    assert_eq!(text, "[filesystem]\nread = [\"/usr/bin/dash\"]\n");
    let text = merged(PLUGIN, Kind::Manifest, &[one]);
    assert!(
        text.ends_with("\n[filesystem]\nread = [\"/bin/sh\"]\n"),
        "{text}"
    );
}

#[test]
fn limits_are_raised_and_never_lowered() {
    let memory = |hard| {
        [proposal(Change::Limit {
            limit: Limit::Memory,
            hard,
        })]
    };
    let text = "[limits]\nmemory = \"64MiB\" # little\n";
    assert_eq!(
        merged(text, Kind::Policy, &memory(128 << 20)),
        "[limits]\nmemory = \"128MiB\" # little\n"
    );
    assert_eq!(merged(text, Kind::Policy, &memory(1 << 20)), text);
    let both = "[limits]\nmemory = { soft = \"1MiB\", hard = \"64MiB\" }\n";
    assert_eq!(
        merged(both, Kind::Policy, &memory(128 << 20)),
        "[limits]\nmemory = { soft = \"1MiB\", hard = \"128MiB\" }\n"
    );
}

#[test]
fn a_policy_s_own_denial_is_left_to_its_author() {
    let text = "[process]\njit = false # never\n";
    let jit = [proposal(Change::Right(Right::Jit))];
    assert_eq!(merged(text, Kind::Policy, &jit), text);
}

#[test]
fn a_table_for_this_plugin_takes_what_it_replaces() {
    let text = "[filesystem]\nread = [\"/all\"]\n[plugins.tool.filesystem]\nread = [\"/own\"]\n[plugins.other.filesystem]\nread = []\n";
    let text = merged(
        text,
        Kind::Policy,
        &[path("/new", None, false), path("/out", None, true)],
    );
    assert!(
        text.contains("[plugins.tool.filesystem]\nread = [\"/own\", \"/new\"]\n"),
        "{text}"
    );
    // A list that it does not have holds for all.
    assert!(
        text.contains("[filesystem]\nread = [\"/all\"]\nwrite = [\"/out\"]\n"),
        "{text}"
    );
    Kind::Policy.check(&text, "p.toml", None).unwrap();
}

#[test]
fn what_cannot_be_added_to_is_told() {
    let read = [path("/new", None, false)];
    let refs: Vec<&Proposal> = read.iter().collect();
    for (text, error) in [
        ("filesystem = 3\n", "`filesystem` in it is no table"),
        (
            "[filesystem]\nread = \"/a\"\n",
            "`filesystem.read` in it is no list",
        ),
        ("[filesystem\n", "it is no TOML"),
    ] {
        let told = merge(text, Kind::Policy, None, None, &refs)
            .unwrap_err()
            .to_string();
        assert!(told.starts_with(error), "{told}");
    }
}
