//! A policy as lines: each key with its value and where it was said, and the
//! whole as a file that reads back as the same policy.

use std::fmt::Write as _;

use belljar_plan::{Bytes, Limit, Namespaces};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Ceilings, LinuxPolicy, Policy, Said, caps};
use crate::{manifest::Bound, units::format_value};

/// One line of a policy: a key with its value, or one entry of a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Line {
    /// For which plugin alone; none for all.
    pub plugin: Option<String>,
    /// Dotted, such as `filesystem.read`.
    pub key: String,
    /// It is one entry of a list. The list itself has a line too, with no value.
    pub entry: bool,
    /// As in a policy's file; none for a list's own line.
    pub value: Option<Value>,
    /// Where it was said, such as `policy.toml line 4`.
    pub origin: String,
}

impl Policy {
    /// Every line of this policy, in the order of a file. Flags are none of it.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Lines::default();
        lines.policy(self);
        for (name, own) in &self.plugins {
            lines.plugin = Some(name.clone());
            // The table is there even where it says nothing.
            lines.list("", String::new(), Vec::new());
            lines.policy(own);
        }
        lines.list
    }

    /// This policy as a file of TOML, each line with its place in a comment.
    /// What is read from it means the same.
    ///
    /// ```
    /// use belljar_policy::policy::{Format, Policy};
    /// let policy = Policy::parse("limits.wall = \"90s\"", Format::Toml, "app.toml", None)?;
    /// assert_eq!(policy.to_toml(), "\n[limits]\nwall = \"90 s\" # app.toml line 1\n");
    /// # Ok::<(), belljar_policy::policy::PolicyError>(())
    /// ```
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml_of(&self.lines())
    }
}

#[derive(Default)]
struct Lines {
    plugin: Option<String>,
    list: Vec<Line>,
}

impl Lines {
    fn one(&mut self, key: &str, value: Value, origin: &str) {
        self.list.push(Line {
            plugin: self.plugin.clone(),
            key: key.to_owned(),
            entry: false,
            value: Some(value),
            origin: origin.to_owned(),
        });
    }

    fn list(&mut self, key: &str, origin: String, entries: Vec<(Value, String)>) {
        let line = |entry, value, origin| Line {
            plugin: self.plugin.clone(),
            key: key.to_owned(),
            entry,
            value,
            origin,
        };
        let mut lines = vec![line(false, None, origin)];
        lines.extend(
            entries
                .into_iter()
                .map(|(value, origin)| line(true, Some(value), origin)),
        );
        self.list.append(&mut lines);
    }

    /// A list that is only there where something is in it.
    fn filled<T>(&mut self, key: &str, list: &[Said<T>], text: impl Fn(&T) -> String) {
        if !list.is_empty() {
            self.list(key, String::new(), entries(list, text));
        }
    }

    fn policy(&mut self, policy: &Policy) {
        if let Some(said) = &policy.preset {
            self.one("preset", json!(said.value.word()), &said.origin);
        }
        let file = policy.ceilings.as_ref();
        if let Some(names) = file.and_then(|file| file.capabilities.as_ref()) {
            let names = names.iter().map(|name| (json!(name), String::new()));
            self.list("capabilities", String::new(), names.collect());
        }
        if !policy.end_on.is_empty() {
            let rules = policy.end_on.iter();
            let rules = rules.map(|(rule, origin)| (json!(rule.word()), origin.clone()));
            self.list("end_on", String::new(), rules.collect());
        }
        if let Some(file) = file {
            self.ceilings(file);
        }
        for (limit, said) in &policy.host {
            let value = json!(format_value(*limit, said.value));
            self.one(&format!("host.{limit}"), value, &said.origin);
        }
        let mut demands: Vec<(&str, &str, &str)> = policy
            .require
            .iter()
            .map(|(rule, said)| (rule.word(), said.value.word(), said.origin.as_str()))
            .chain(
                policy
                    .best_effort
                    .iter()
                    .map(|(rule, origin)| (rule.word(), "best-effort", origin.as_str())),
            )
            .collect();
        demands.sort_unstable();
        for (rule, demand, origin) in demands {
            self.one(&format!("require.{rule}"), json!(demand), origin);
        }
        self.filled("seccomp.allow", &policy.seccomp.allow, String::clone);
        self.filled("seccomp.deny", &policy.seccomp.deny, String::clone);
        self.linux(&policy.linux);
    }

    fn ceilings(&mut self, file: &Ceilings) {
        if let Some(origin) = file.said.get("filesystem.read") {
            let mut read = entries(&file.read, |path| path.as_str().to_owned());
            read.extend(entries(&file.groups, |group| group.word().to_owned()));
            self.list("filesystem.read", origin.clone(), read);
        }
        if let Some(origin) = file.said.get("filesystem.write") {
            let write = entries(&file.write, |path| path.as_str().to_owned());
            self.list("filesystem.write", origin.clone(), write);
        }
        self.filled("filesystem.deny", &file.deny, |path| {
            path.as_str().to_owned()
        });
        for (limit, said) in &file.limits {
            let value = limit_value(*limit, &said.value);
            self.one(&format!("limits.{limit}"), value, &said.origin);
        }
        for (key, said) in [
            ("process.subprocesses", &file.subprocesses),
            ("process.jit", &file.jit),
        ] {
            if let Some(said) = said {
                self.one(key, json!(said.value), &said.origin);
            }
        }
        if let Some(set) = &file.set {
            let origin = file.said.get("env.set").cloned().unwrap_or_default();
            self.list("env.set", origin, entries(set, String::clone));
        }
        if let Some(origin) = file.said.get("env.pass") {
            self.list(
                "env.pass",
                origin.clone(),
                entries(&file.pass, String::clone),
            );
        }
        self.filled("env.deny", &file.deny_env, String::clone);
        self.filled("network.connect", &file.connect, String::clone);
    }

    fn linux(&mut self, linux: &LinuxPolicy) {
        if let Some(said) = &linux.namespaces {
            let words = namespaces(&said.value).map(|word| (json!(word), String::new()));
            self.list("linux.namespaces", said.origin.clone(), words.collect());
        }
        if let Some(said) = &linux.uid_range {
            let (first, count) = said.value;
            let range = format!("{first}-{}", first + (count - 1));
            self.one("linux.uid_range", json!(range), &said.origin);
        }
        if let Some(said) = &linux.cpuset {
            self.one("linux.cpuset", json!(said.value.to_string()), &said.origin);
        }
        // A table of its own: nothing of `[linux]` may come after it.
        for (key, said) in [
            ("linux.caps.keep", &linux.keep),
            ("linux.caps.ambient", &linux.ambient),
        ] {
            if let Some(said) = said {
                let names = caps::names(said.value).into_iter();
                let names = names.map(|name| (json!(name), String::new()));
                self.list(key, said.origin.clone(), names.collect());
            }
        }
    }
}

fn entries<T>(list: &[Said<T>], text: impl Fn(&T) -> String) -> Vec<(Value, String)> {
    list.iter()
        .map(|said| (json!(text(&said.value)), said.origin.clone()))
        .collect()
}

/// A limit as a policy writes it.
pub(super) fn limit_value(limit: Limit, bound: &Bound) -> Value {
    let text = |value| json!(format_value(limit, value));
    match (bound.soft, bound.hard, bound.stop) {
        (None, Some(hard), false) => text(hard),
        (soft, hard, stop) => {
            let mut table = serde_json::Map::new();
            for (key, edge) in [("soft", soft), ("hard", hard)] {
                if let Some(value) = edge {
                    table.insert(key.to_owned(), text(value));
                }
            }
            if stop {
                table.insert("action".to_owned(), json!("stop"));
            }
            Value::Object(table)
        }
    }
}

fn namespaces(own: &Namespaces) -> impl Iterator<Item = &'static str> {
    [
        (own.user, "user"),
        (own.pid, "pid"),
        (own.mount, "mount"),
        (own.network, "network"),
        (own.uts, "uts"),
        (own.ipc, "ipc"),
        (own.cgroup, "cgroup"),
    ]
    .into_iter()
    .filter_map(|(made, word)| made.then_some(word))
}

fn toml_of(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut table = String::new();
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        let entries = after.iter().take_while(|line| line.entry).count();
        let (entries, next) = after.split_at(entries);
        rest = next;
        let (of_key, key) = line.key.rsplit_once('.').unwrap_or(("", &line.key));
        let mut names = Vec::new();
        if let Some(plugin) = &line.plugin {
            names.extend(["plugins".to_owned(), quoted_key(plugin)]);
        }
        names.extend(
            of_key
                .split('.')
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        );
        let wanted = names.join(".");
        if wanted != table {
            let _ = writeln!(text, "\n[{wanted}]");
            table = wanted;
        }
        let said = comment(&line.origin);
        match &line.value {
            _ if key.is_empty() => {}
            Some(value) => {
                let _ = writeln!(text, "{key} = {}{said}", toml_value(value));
            }
            None if entries.is_empty() => {
                let _ = writeln!(text, "{key} = []{said}");
            }
            None => {
                let _ = writeln!(text, "{key} = [{said}");
                for entry in entries {
                    let value = entry.value.as_ref().map(toml_value).unwrap_or_default();
                    let _ = writeln!(text, "    {value},{}", comment(&entry.origin));
                }
                text.push_str("]\n");
            }
        }
    }
    text
}

/// No line of a comment can end it, or steer a terminal.
fn comment(origin: &str) -> String {
    match origin {
        "" => String::new(),
        origin => format!(" # {}", Bytes::from(origin).escaped()),
    }
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Object(table) => {
            // The one table of a policy's that stands on a line: a limit.
            let pairs: Vec<String> = ["soft", "hard", "action"]
                .iter()
                .filter_map(|key| Some((key, table.get(*key)?)))
                .map(|(key, value)| format!("{key} = {}", toml_value(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // A truth or a number is written alike.
        other => other.to_string(),
    }
}

fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
