//! A policy as text reads back as the same policy, and says what it gives away.

use belljar_policy::{
    Policy, UnixPath,
    policy::{Format, Warning},
    risk::{Level, Surroundings},
};
use proptest::prelude::*;

fn parse(text: &str) -> Policy {
    Policy::parse(text, Format::Toml, "p", None).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Everything but the places: those of a text differ from those of its copy.
fn without_places(policy: &Policy) -> String {
    let text = format!("{policy:#?}");
    let kept = text.lines().map(|line| {
        let line = line.trim();
        let is_place = line.contains("p line ") || line.starts_with("file:");
        // What a place follows is the key of a map.
        match line.split_once(": \"p line ") {
            Some((key, _)) if is_place => key.to_owned(),
            _ if is_place => "place".to_owned(),
            _ => line.to_owned(),
        }
    });
    kept.collect::<Vec<_>>().join("\n")
}

const ALL: &str = r#"
preset = "strict"
capabilities = ["b", "a"]
end_on = ["nesting", "syscalls"]
[filesystem]
read = ["/srv/data", "toolchain:node", "/a \"quoted\" \\ path", "group:git"]
write = []
deny = ["/srv/data/secret"]
[limits]
memory = "1536KiB"
wall = { soft = "5s", hard = "90s" }
processes = { hard = 10, action = "stop" }
output = { soft = "1MB" }
[host]
memory = "2GiB"
processes = 100
cpu = "150%"
[process]
subprocesses = true
jit = false
[env]
set = []
pass = ["LANG", "LC_*"]
deny = ["AWS_*"]
[network]
connect = ["example.com:443"]
[require]
memory = "kernel"
output = "best-effort"
[seccomp]
allow = ["ptrace"]
deny = ["bpf"]
[linux]
namespaces = ["user", "pid", "mount"]
caps.keep = ["NET_RAW", 50]
caps.ambient = ["NET_RAW"]
uid_range = "5000-5099"
cpuset = "0-1,3"
[plugins.one]
limits.memory = "1GiB"
[plugins."a name"]
[plugins."ü\u0007"]
filesystem.read = ["/x"]
"#;

#[test]
fn a_policy_that_says_everything_reads_back() {
    let policy = parse(ALL);
    let text = policy.to_toml();
    assert_eq!(
        without_places(&parse(&text)),
        without_places(&policy),
        "{text}"
    );
    for line in [
        "preset = \"strict\" # p line 2",
        "read = [ # p line 6",
        "    \"toolchain:node\", # p line 6",
        "write = [] # p line 7",
        "memory = \"1536 KiB\" # p line 10",
        "wall = { soft = \"5 s\", hard = \"90 s\" } # p line 11",
        "output = \"best-effort\" # p line 29",
        "[plugins.\"a name\"]",
        "[plugins.one.limits]",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\n{text}");
    }
    assert!(!text.contains('\u{7}'));
}

#[test]
fn every_key_of_the_schema_is_printed() {
    // A key that this file does not know would be lost by `belljar policy show`.
    let schema = belljar_policy::policy::schema();
    let keys = schema.as_value()["properties"].as_object().unwrap();
    let text = parse(ALL).to_toml();
    for key in keys.keys() {
        let known = matches!(key.as_str(), "extends")
            || text.contains(&format!("\n[{key}"))
            || text
                .lines()
                .any(|line| line.starts_with(&format!("{key} = ")));
        assert!(known, "{key}");
    }
}

/// Dotted keys of a schema's table, two deep.
fn keys(schema: &serde_json::Value) -> Vec<String> {
    let properties = |table: &serde_json::Value| {
        let name = table["$ref"]
            .as_str()
            .map(|name| name.replace("#/$defs/", ""));
        let table = name.map_or(table, |name| &schema["$defs"][name]);
        table["properties"].as_object().cloned().unwrap_or_default()
    };
    let mut keys = Vec::new();
    for (key, table) in properties(schema) {
        let inner = properties(&table);
        if inner.is_empty() {
            keys.push(key);
            continue;
        }
        for (name, table) in inner {
            let deeper = properties(&table);
            keys.extend(deeper.keys().map(|last| format!("{key}.{name}.{last}")));
            if deeper.is_empty() {
                keys.push(format!("{key}.{name}"));
            }
        }
    }
    keys
}

#[test]
fn every_key_of_the_schema_is_in_docs() {
    let page = include_str!("../../../docs/policy.md");
    let schema = belljar_policy::policy::schema();
    let keys = keys(schema.as_value());
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let known = match key.split_once('.') {
            Some(("limits", _)) => page.contains("`limits.LIMIT`"),
            _ if key == "require" => page.contains("`require.RULE`"),
            _ if key == "plugins" => page.contains("`plugins.NAME.…`"),
            _ => page.contains(&format!("`{key}`")),
        };
        assert!(known, "{key} is not in docs/policy.md");
    }
}

#[test]
fn the_policies_in_docs_are_policies() {
    let page = include_str!("../../../docs/policy.md");
    let block: Vec<&str> = page
        .lines()
        .skip_while(|line| *line != "```toml")
        .skip(1)
        .take_while(|line| *line != "```")
        .collect();
    let policy = parse(&block.join("\n"));
    assert!(policy.plugins.contains_key("thumbnailer"));
}

fn words() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        proptest::sample::select(vec![
            "preset = 'minimal'",
            "capabilities = []",
            "end_on = ['tasks']",
            "filesystem.read = ['/a', 'group:gpu', '/b']",
            "filesystem.write = ['/c']",
            "filesystem.deny = ['/a/x', '/d']",
            "limits.cpu_time = '1500ms'",
            "limits.open_files = { soft = 5, hard = 64 }",
            "process.jit = true",
            "env.set = ['A']",
            "env.pass = []",
            "env.deny = ['X*']",
            "require.files = 'none'",
            "require.tasks = 'best-effort'",
            "seccomp.allow = ['bpf']",
            "linux.namespaces = []",
            "linux.uid_range = '7-7'",
            "plugins.p.filesystem.read = []",
            "plugins.q.preset = 'strict'",
        ]),
        0..12,
    )
    .prop_map(|mut lines| {
        lines.sort_unstable();
        lines.dedup();
        lines.join("\n")
    })
}

proptest! {
    #[test]
    fn any_policy_reads_back(text in words()) {
        let policy = parse(&text);
        let copy = parse(&policy.to_toml());
        prop_assert_eq!(without_places(&copy), without_places(&policy));
        // And what is printed of the copy is the same but for its places.
        prop_assert_eq!(copy.lines().len(), policy.lines().len());
    }
}

fn around() -> Surroundings {
    Surroundings {
        homes: vec![UnixPath::new("/home/me").unwrap()],
        path_directories: vec![UnixPath::new("/usr/local/bin").unwrap()],
    }
}

fn warnings(text: &str) -> Vec<Warning> {
    let links = |path: &UnixPath| {
        let leads = match path.as_str() {
            "/srv/link" => "/home/me/.ssh",
            path => path,
        };
        UnixPath::new(leads).ok()
    };
    parse(text).warnings(&around(), &links)
}

#[test]
fn each_dangerous_line_is_told_with_its_place() {
    let found = warnings(
        "filesystem.read = ['/srv', '/srv/link', 'group:git']\nfilesystem.write = ['/usr/local/bin', '/run/docker.sock', '/home/me/.bashrc', '/srv/out']\n\
         env.pass = ['LANG', 'AWS_*']\nrequire.files = 'best-effort'\nseccomp.allow = ['mount']\nprocess.jit = true\n\
         [linux]\ncaps.keep = ['SYS_ADMIN']\nnamespaces = ['user', 'pid', 'mount']\n[plugins.p]\nfilesystem.write = ['/home/me']\n",
    );
    let short: Vec<(&str, &str, Level)> = found
        .iter()
        .map(|warning| {
            (
                warning.origin.as_str(),
                warning.line.as_str(),
                warning.risk.level,
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("p line 1", "filesystem.read /srv/link", Level::Critical),
            ("p line 1", "filesystem.read group:git", Level::Low),
            (
                "p line 2",
                "filesystem.write /usr/local/bin",
                Level::Critical
            ),
            (
                "p line 2",
                "filesystem.write /run/docker.sock",
                Level::Critical
            ),
            (
                "p line 2",
                "filesystem.write /home/me/.bashrc",
                Level::Critical
            ),
            ("p line 6", "process.jit", Level::Low),
            ("p line 3", "env.pass AWS_*", Level::High),
            ("p line 4", "require.files best-effort", Level::Critical),
            ("p line 5", "seccomp.allow mount", Level::Critical),
            ("p line 9", "linux.namespaces", Level::High),
            ("p line 8", "linux.caps.keep", Level::Critical),
            ("p line 11", "filesystem.write /home/me", Level::Critical),
        ]
    );
    assert_eq!(
        found[0].risk.words,
        "it leads to /home/me/.ssh, and it holds private SSH keys (`~/.ssh`)"
    );
    assert_eq!(found[11].plugin.as_deref(), Some("p"));
    assert_eq!(
        warnings("preset = 'strict'\nfilesystem.read = ['/srv']\nenv.pass = ['LANG']"),
        []
    );
}
