//! A manifest means what it says, and what it cannot mean is refused with its place.

use std::error::Error;

use belljar_plan::Limit;
use belljar_policy::{
    Manifest, UnixPath,
    manifest::{Bound, Format, Place, Request, schema},
};
use proptest::prelude::*;

const PLUGIN: &str = "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nentry = \"run\"\n";

fn parse(rest: &str) -> Manifest {
    Manifest::parse(&format!("{PLUGIN}{rest}"), Format::Toml, "belljar.toml").unwrap()
}

/// The error with all its causes, as a person reads it.
fn says(text: &str, format: Format) -> String {
    let error = Manifest::parse(text, format, "f").unwrap_err();
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(&format!(": {error}"));
        cause = error.source();
    }
    said
}

fn toml_says(rest: &str) -> String {
    says(&format!("{PLUGIN}{rest}"), Format::Toml)
}

#[test]
fn every_table_is_read_with_the_line_of_each_request() {
    let manifest = parse(
        r#"
[limits]
memory = "64MiB"
processes = { soft = 5, hard = 10, action = "stop" }
cpu = { hard = "50%", optional = true }
[filesystem]
read = ["/data",
  { path = "/srv//x/", at = "/in", optional = true }]
write = ["/out"]
[network]
connect = ["api.example.com:443", { to = "db:5432", optional = true }]
[process]
subprocesses = true
jit = { optional = true }
[env]
set.MODE = "fast"
pass = ["LANG", { name = "TZ", optional = true }]
"#,
    );
    let at = |line: u32| format!("belljar.toml line {line}");
    assert_eq!(
        manifest.limits[&Limit::Memory],
        Request {
            value: Bound {
                soft: None,
                hard: Some(64 << 20),
                stop: false
            },
            optional: false,
            origin: at(7),
        }
    );
    assert_eq!(
        manifest.limits[&Limit::Processes].value,
        Bound {
            soft: Some(5),
            hard: Some(10),
            stop: true
        }
    );
    assert_eq!(manifest.limits[&Limit::Cpu].value.hard, Some(500));
    assert!(manifest.limits[&Limit::Cpu].optional);
    assert_eq!(
        manifest.read[1],
        Request {
            value: Place {
                path: UnixPath::new("/srv/x").unwrap(),
                at: Some(UnixPath::new("/in").unwrap()),
            },
            optional: true,
            origin: at(12),
        }
    );
    assert_eq!(manifest.read[0].origin, at(11));
    assert_eq!(manifest.write[0].value.path.as_str(), "/out");
    assert_eq!(manifest.connect[1].value, "db:5432");
    assert!(!manifest.subprocesses.as_ref().unwrap().optional);
    assert!(manifest.jit.as_ref().unwrap().optional);
    assert_eq!(manifest.set["MODE"].value, "fast");
    assert_eq!(manifest.pass[1].value, "TZ");
}

#[test]
fn capabilities_stand_at_the_top() {
    let text =
        format!("capabilities = [\"log\", {{ name = \"http\", optional = true }}]\n{PLUGIN}");
    let manifest = Manifest::parse(&text, Format::Toml, "f").unwrap();
    let names: Vec<_> = manifest
        .capabilities
        .iter()
        .map(|request| (request.value.as_str(), request.optional))
        .collect();
    assert_eq!(names, [("log", false), ("http", true)]);
}

#[test]
fn json_says_the_same_as_toml() {
    let json = r#"{
        "plugin": {"name": "p", "version": "1.0.0", "entry": "run"},
        "limits": {"wall": 5},
        "filesystem": {"read": ["/a", {"path": "/b", "optional": true}]}
    }"#;
    let json = Manifest::parse(json, Format::Json, "f").unwrap();
    let toml = parse(
        "[limits]\nwall = 5\n[filesystem]\nread = [\"/a\", { path = \"/b\", optional = true }]",
    );
    assert_eq!(
        json.limits[&Limit::Wall].value,
        toml.limits[&Limit::Wall].value
    );
    assert_eq!(json.read[1].value, toml.read[1].value);
    assert_eq!(json.read[1].origin, "f at filesystem.read[1]");
    assert_eq!(json.limits[&Limit::Wall].origin, "f at limits.wall");
}

#[test]
fn errors_name_the_place_and_show_what_is_right() {
    for (rest, expected) in [
        (
            "[limits]\nmemroy = \"1MiB\"",
            "f line 6: unknown key `memroy`; did you mean `memory`?",
        ),
        (
            "[limit]\n",
            "f line 5: unknown key `limit`; did you mean `limits`?",
        ),
        (
            "[limits]\nmemory = 64",
            "f line 6: `limits.memory`: `64` has no unit; write `memory = \"128MiB\"`",
        ),
        (
            "[limits]\nwall = \"none\"",
            "f line 6: `limits.wall`: `none` is a value only for a flag; write `wall = \"5m\"`",
        ),
        (
            "[limits]\nwall = 0",
            "f line 6: `limits.wall`: a limit of zero leaves nothing to run with; write `wall = \"5m\"`",
        ),
        (
            "[limits]\nwall = { soft = 9, hard = 5 }",
            "f line 6: `limits.wall`: soft 9 s is above hard 5 s; nothing would ever reach it",
        ),
        (
            "[limits]\nwall = {}",
            "f line 6: `limits.wall` needs `soft`, `hard` or both",
        ),
        (
            "[limits]\nopen_files = { hard = 9, action = \"stop\" }",
            "f line 6: `action = \"stop\"` cannot apply to `open_files`: the system refuses the call and tells nobody",
        ),
        (
            "[limits]\nwall = { hard = 9, action = \"stopp\" }",
            "f line 6: unknown action `stopp`, did you mean `stop`?; there is `stop`",
        ),
        (
            "[filesystem]\nread = [\"data\"]",
            "f line 6: path `data` is not absolute; write it from `/`",
        ),
        (
            "[filesystem]\nread = [\"/a/../b\"]",
            "f line 6: path `/a/../b` contains `..`; write the path that you mean",
        ),
        (
            "[filesystem]\nread = [5]",
            "f line 6: expected a path, or { path = \"/…\", at = \"/place/in/the/jar\", optional = true }, found a number",
        ),
        (
            "[filesystem]\nread = [{ at = \"/x\" }]",
            "f line 6: `path` is missing",
        ),
        (
            "[env]\nset.\"A=B\" = \"x\"",
            "f line 6: `A=B` cannot be a variable's name: it must not be empty nor contain `=` or NUL",
        ),
        (
            "[env]\nset.A = \"x\\u0000\"",
            "f line 6: the value of `A` cannot contain a NUL byte",
        ),
        ("[plugin]\n", "f line 5: duplicate key"),
    ] {
        assert_eq!(toml_says(rest), expected, "{rest}");
    }
}

#[test]
fn who_it_is_is_checked() {
    let plugin = |name: &str, version: &str, entry: &str, more: &str| {
        says(
            &format!("[plugin]\nname = '{name}'\nversion = '{version}'\nentry = '{entry}'\n{more}"),
            Format::Toml,
        )
    };
    for name in ["", ".hidden", "a b", "a/b", "-x", "ä", &"a".repeat(129)] {
        assert!(
            plugin(name, "1.0.0", "run", "").contains("must be 1 to 128 letters"),
            "{name}"
        );
    }
    assert!(plugin("p", "1", "run", "").starts_with("f line 3: `1` is no semantic version"));
    for (entry, reason) in [
        ("/bin/sh", "must be relative"),
        ("../x", "must not leave"),
        ("a/../../x", "must not leave"),
        ("", "names no file"),
        (".", "names no file"),
    ] {
        assert!(plugin("p", "1.0.0", entry, "").contains(reason), "{entry}");
    }
    assert_eq!(
        plugin("p", "1.0.0", "run", "runtime = 'wasm'"),
        "f line 5: runtime `wasm` is unsupported in this version"
    );
    assert!(plugin("p", "1.0.0", "run", "args = [\"a\\u0000\"]").contains("NUL"));
}

#[test]
fn the_entry_has_one_form() {
    let text = PLUGIN.replace("\"run\"", "\"./bin//run.sh\"");
    let manifest = Manifest::parse(&text, Format::Toml, "f").unwrap();
    assert_eq!(manifest.plugin.entry, "bin/run.sh");
}

#[test]
fn a_plugin_s_words_steer_no_terminal() {
    for text in [
        "[plugin]\n\"\\u001b[2J\" = 1".to_owned(),
        format!(
            "[plugin]\nname = \"\\u001b[2J{}\"\nversion='1.0.0'\nentry='x'",
            "a".repeat(5000)
        ),
        "[plugin]\nname = 'p'\nversion = \"\\u001b[2J\"\nentry = 'x'".to_owned(),
        "[plugin]\nname = 'p'\nversion = '1.0.0'\nentry = \"../\\u001b[2J\"".to_owned(),
        format!("{PLUGIN}[filesystem]\nread = [\"\\u001b[2J\"]"),
    ] {
        let said = says(&text, Format::Toml);
        assert!(!said.contains('\x1b') && said.len() < 1000, "{said:?}");
    }
}

#[test]
fn a_manifest_too_long_is_refused_in_one_sentence() {
    let text = "#".repeat(2 << 20);
    assert_eq!(
        says(&text, Format::Toml),
        "f: 2097152 bytes are too many; at most 1048576 are read"
    );
}

#[test]
fn many_values_under_a_long_key_cost_no_more_than_their_length() {
    let text = format!(
        "{{\"{}\": [{}0]}}",
        "k".repeat(500_000),
        "0,".repeat(200_000)
    );
    assert!(says(&text, Format::Json).contains("unknown key"));
}

#[test]
fn the_schema_knows_every_table() {
    let schema = serde_json::to_value(schema()).unwrap();
    let tables = schema["properties"].as_object().unwrap();
    for table in [
        "plugin",
        "capabilities",
        "limits",
        "filesystem",
        "network",
        "process",
        "env",
    ] {
        assert!(tables.contains_key(table), "{table}");
    }
    assert_eq!(schema["additionalProperties"], false);
    // What may be left out is left out: the reader takes no null.
    assert!(!schema.to_string().contains("null"));
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in ".*", table in "(plugin|limits|filesystem|env|process|network)", key in "[a-z_.\"]{1,9}", value in "[\\[\\]{}a-z0-9\"=, /]{0,20}") {
        for text in [text, format!("{PLUGIN}[{table}]\n{key} = {value}")] {
            let _ = Manifest::parse(&text, Format::Toml, "f");
            let _ = Manifest::parse(&text, Format::Json, "f");
        }
    }
}
