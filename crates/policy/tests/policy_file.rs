//! A policy's file means what it says, and what it cannot mean is refused with its place.

use std::error::Error;

use belljar_plan::{Limit, Namespaces, Preset, Rule, Strength};
use belljar_policy::{
    Policy,
    manifest::Bound,
    policy::{Format, Said, schema},
};
use proptest::prelude::*;

fn parse(text: &str) -> Policy {
    Policy::parse(text, Format::Toml, "p.toml", None).unwrap()
}

fn says(text: &str) -> String {
    let error = Policy::parse(text, Format::Toml, "f", None).unwrap_err();
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(&format!(": {error}"));
        cause = error.source();
    }
    said
}

fn said<T>(value: T, line: u32) -> Said<T> {
    Said {
        value,
        origin: format!("p.toml line {line}"),
    }
}

#[test]
fn every_table_is_read_with_its_lines() {
    let policy = parse(
        r#"preset = "strict"
[filesystem]
read = ["/srv/data"]
write = []
deny = ["/srv/data/keys"]
[limits]
memory = "256MiB"
[process]
subprocesses = true
jit = false
[env]
set = ["MODE"]
pass = ["LC_*"]
deny = ["AWS_*"]
[network]
connect = ["example.com:443"]
[require]
memory = "kernel"
processes = "best-effort"
[linux]
namespaces = ["user", "pid", "mount"]
caps = { keep = ["net_raw", 10], ambient = ["CAP_NET_RAW"] }
uid_range = "3000000000-3000000099"
"#,
    );
    assert_eq!(policy.preset, Some(said(Preset::Strict, 1)));
    let file = policy.ceilings.unwrap();
    assert_eq!(file.read[0].origin, "p.toml line 3");
    assert_eq!(file.deny[0].value.as_str(), "/srv/data/keys");
    assert_eq!(
        file.limits[&Limit::Memory],
        said(
            Bound {
                soft: None,
                hard: Some(256 << 20),
                stop: false
            },
            7
        )
    );
    assert_eq!(file.subprocesses, Some(said(true, 9)));
    assert_eq!(file.jit, Some(said(false, 10)));
    assert_eq!(file.set, Some(vec![said("MODE".to_owned(), 12)]));
    assert_eq!(file.pass, [said("LC_*".to_owned(), 13)]);
    assert_eq!(file.said["filesystem.write"], "p.toml line 4");
    assert!(!file.said.contains_key("filesystem.deny"));
    assert_eq!(policy.require[&Rule::Memory], said(Strength::Kernel, 18));
    assert_eq!(policy.best_effort[&Rule::Processes], "p.toml line 19");
    assert_eq!(
        policy.linux.namespaces,
        Some(said(
            Namespaces {
                user: true,
                pid: true,
                mount: true,
                ..Namespaces::default()
            },
            21
        ))
    );
    assert_eq!(policy.linux.keep, Some(said(1 << 13 | 1 << 10, 22)));
    assert_eq!(policy.linux.ambient, Some(said(1 << 13, 22)));
    assert_eq!(policy.linux.uid_range, Some(said((3_000_000_000, 100), 23)));
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (text, expected) in [
        (
            "preset = 'strickt'",
            "f line 1: unknown preset `strickt`; did you mean `strict`?",
        ),
        (
            "[require]\nfile = 'kernel'",
            "f line 2: unknown rule `file`; did you mean `files`?",
        ),
        (
            "[require]\nfiles = 'best effort'",
            "f line 2: unknown strength `best effort`; did you mean `best-effort`?",
        ),
        (
            "[seccomp]\nallow = ['ptarce']",
            "f line 2: unknown system call `ptarce`; did you mean `ptrace`?",
        ),
        (
            "[seccomp]\nallow = ['nosuchcall']",
            "f line 2: unknown system call `nosuchcall`; docs/syscalls.md and syscalls(2) list them",
        ),
        (
            "[seccomp]\nallow = ['ptrace']\ndeny = ['ptrace']",
            "f line 2: `ptrace` can never apply: it is denied (f line 3)",
        ),
        (
            "[seccomp]\ndeny = [\n'clone',\n'write']",
            "f line 4: `write` cannot be denied: a launch itself makes that call when the filter holds already; \
             take it from the list",
        ),
        (
            "[seccomp]\nallow = ['clone3']",
            "f line 2: `clone3` cannot be allowed: every launch sees by its refusal that the filter holds; \
             take it from the list, programs do by `clone` what they cannot do by it",
        ),
        (
            "end_on = ['nestling']",
            "f line 1: unknown rule `nestling`; did you mean `nesting`?",
        ),
        (
            "[limits]\ncpu = { soft = '50%' }",
            "f line 2: `limits.cpu`: it has no soft value, since what goes beyond it is slowed; write `cpu = \"50%\"`",
        ),
        (
            "[limits]\nio_read = '5'",
            "f line 2: `limits.io_read`: `5` has no unit; write `io_read = \"10MiB/s\"`",
        ),
        (
            "[limits]\nwall = { hard = 5, optional = true }",
            "f line 2: `optional` is a manifest's word; a policy's limit always holds",
        ),
        (
            "[filesystem]\nread = ['/a/b']\ndeny = ['/a']",
            "f line 2: `/a/b` can never apply: `/a` is denied (f line 3)",
        ),
        (
            "[env]\npass = ['AWS_KEY']\ndeny = ['AWS_*']",
            "f line 2: variable `AWS_KEY` can never apply: `AWS_*` is denied (f line 3)",
        ),
        (
            "[env]\npass = ['A*B']",
            "f line 2: `A*B` is no variable's name; write it like `LANG`, or `AWS_*` for all that start so",
        ),
        (
            "[linux]\nnamespaces = ['net']",
            "f line 2: unknown namespace `net`; there are user, pid, mount, network, uts, ipc, cgroup",
        ),
        (
            "[linux]\ncaps.keep = ['net_row']",
            "f line 2: unknown Linux capability `net_row`; did you mean `CAP_NET_RAW`?",
        ),
        (
            "[linux]\ncaps.ambient = ['net_raw']",
            "f line 2: an ambient capability must be kept too; add it to `keep`",
        ),
        (
            "[linux]\nuid_range = '0-10'",
            "f line 2: `0-10` holds a uid with a meaning of its own (0, 65534, 65535 or 4294967295); write it like `2000000000-2000065535`",
        ),
        (
            "[linux]\nuid_range = '9-8'",
            "f line 2: `9-8` ends before it starts; write it like `2000000000-2000065535`",
        ),
        (
            "[plugins.a.plugins.b]\npreset = 'strict'",
            "f line 1: overrides cannot have overrides; write `[plugins.NAME]` at the top",
        ),
        (
            "[filesystem]\ndeny = ['/a']\n[plugins.x.filesystem]\nread = ['/a/b']",
            "f line 4: `/a/b` can never apply: `/a` is denied (f line 2)",
        ),
    ] {
        assert_eq!(says(text), expected, "{text}");
    }
}

#[test]
fn only_the_table_of_a_host_s_own_file_is_read() {
    let text = "port = 80\n[security]\npreset = 'minimal'\n[other]\nx = 1\n";
    let policy = Policy::parse(text, Format::Toml, "app.toml", Some("security")).unwrap();
    assert_eq!(policy.preset.unwrap().origin, "app.toml line 3");
    let json = r#"{"a": {"b": {"preset": "strict"}}, "x": 1}"#;
    let policy = Policy::parse(json, Format::Json, "app.json", Some("a.b")).unwrap();
    assert_eq!(policy.preset.unwrap().origin, "app.json at a.b.preset");
    assert_eq!(
        Policy::parse(text, Format::Toml, "app.toml", Some("secure"))
            .unwrap_err()
            .to_string(),
        "app.toml: there is no table `secure`"
    );
}

#[test]
fn ten_mebibytes_give_one_clear_error() {
    let text = "preset = 'strict'\n".repeat(600_000);
    assert_eq!(
        says(&text),
        "f: 10800000 bytes are too many; at most 1048576 are read"
    );
}

#[test]
fn an_override_replaces_what_it_mentions_and_adds_to_deny() {
    let policy = parse(
        "filesystem = { read = ['/a'], write = ['/w'], deny = ['/a/x'] }\nlimits.wall = 5\n[require]\nfiles = 'kernel'\n\
         [plugins.p]\npreset = 'minimal'\nfilesystem = { read = ['/b'], deny = ['/b/x'] }\nrequire.files = 'best-effort'\n",
    );
    let own = policy.for_plugin("p");
    let paths = |list: &[Said<belljar_policy::UnixPath>]| -> Vec<String> {
        list.iter().map(|said| said.value.to_string()).collect()
    };
    let file = own.ceilings.unwrap();
    assert_eq!(paths(&file.read), ["/b"]);
    assert_eq!(paths(&file.write), ["/w"]);
    assert_eq!(paths(&file.deny), ["/a/x", "/b/x"]);
    assert_eq!(file.limits[&Limit::Wall].value.hard, Some(5_000_000_000));
    assert_eq!(own.preset.unwrap().value, Preset::Minimal);
    assert!(own.require.is_empty() && own.best_effort.contains_key(&Rule::Files));
    let other = policy.for_plugin("q");
    assert_eq!(other.ceilings, policy.ceilings);
}

#[test]
fn the_last_word_about_a_rule_counts() {
    let policy = Policy::strict()
        .require(Rule::Memory, Strength::Kernel)
        .best_effort(Rule::Memory);
    assert!(policy.require.is_empty());
    let policy = policy.require(Rule::Memory, Strength::Kernel);
    assert!(policy.best_effort.is_empty());
}

#[test]
fn the_builder_refuses_what_cannot_be() {
    assert!(Policy::strict().allow_read("data").is_err());
    assert!(Policy::strict().deny("/a/../b").is_err());
    assert!(Policy::strict().set_env("A=B", "x").is_err());
    assert!(Policy::strict().set_env("A", "x\0").is_err());
    assert!(Policy::strict().pass_env("").is_err());
    let zero = Bound {
        hard: Some(0),
        ..Bound::default()
    };
    assert!(Policy::strict().limit(Limit::Wall, zero).is_err());
    assert_eq!(Policy::locked_down(), Policy::strict());
}

#[test]
fn the_schema_knows_every_table() {
    let schema = serde_json::to_value(schema()).unwrap();
    let tables = schema["properties"].as_object().unwrap();
    for table in [
        "preset",
        "filesystem",
        "limits",
        "process",
        "env",
        "network",
        "capabilities",
        "require",
        "seccomp",
        "end_on",
        "linux",
        "plugins",
    ] {
        assert!(tables.contains_key(table), "{table}");
    }
    assert_eq!(schema["additionalProperties"], false);
    // What may be left out is left out: the reader takes no null.
    assert!(!schema.to_string().contains("null"));
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in ".*", table in "(filesystem|limits|env|process|require|linux|plugins.a)", key in "[a-z_.\"]{1,9}", value in "[\\[\\]{}a-z0-9\"=, /-]{0,20}", at in proptest::option::of("[a-z.]{0,5}")) {
        for text in [text, format!("[{table}]\n{key} = {value}")] {
            let _ = Policy::parse(&text, Format::Toml, "f", at.as_deref());
            let _ = Policy::parse(&text, Format::Json, "f", at.as_deref());
        }
    }
}
