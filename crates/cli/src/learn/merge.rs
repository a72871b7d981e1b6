//! Proposals merged into a manifest or a policy in TOML: what is there keeps its
//! order and its comments.

use belljar::learn::{Change, Proposal, written};
use belljar_policy::{
    Manifest, Policy,
    data::Limit,
    policy::Format,
    units::{Whose, parse_value},
};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Policy,
}

/// Why nothing can be merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("it is no TOML: line {line}: {reason}")]
    Toml { line: usize, reason: String },
    #[error("`{0}` in it is no table that something could be added to")]
    NoTable(String),
    #[error("`{0}` in it is no list that something could be added to")]
    NoList(String),
    #[error("what it would become is no manifest")]
    Manifest(#[source] belljar_policy::manifest::ManifestError),
    #[error("what it would become is no policy")]
    Policy(#[source] belljar_policy::policy::PolicyError),
}

impl Kind {
    /// A manifest says who a plugin is; a policy never does.
    pub(super) fn of(text: &str) -> Result<Self, MergeError> {
        let document: DocumentMut = parsed(text)?;
        Ok(match document.contains_key("plugin") {
            true => Self::Manifest,
            false => Self::Policy,
        })
    }

    /// Whether a proposal is for it.
    pub(super) fn takes(self, proposal: &Proposal) -> bool {
        match self {
            Self::Manifest => !proposal.lines.manifest.is_empty(),
            Self::Policy => !proposal.lines.policy.is_empty(),
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Policy => "policy",
        }
    }

    /// Sees that a text is one, or that a table of it is.
    pub(super) fn check(
        self,
        text: &str,
        file: &str,
        table: Option<&str>,
    ) -> Result<(), MergeError> {
        match self {
            Self::Manifest => Manifest::parse(text, Format::Toml, file)
                .map(drop)
                .map_err(MergeError::Manifest),
            Self::Policy => Policy::parse(&alone(text, table)?, Format::Toml, file, table)
                .map(drop)
                .map_err(MergeError::Policy),
        }
    }
}

/// Its own words for an error are a picture of several lines; these are one.
fn parsed(text: &str) -> Result<DocumentMut, MergeError> {
    text.parse::<DocumentMut>().map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().iter().take(at);
        MergeError::Toml {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            reason: error.message().to_owned(),
        }
    })
}

/// A policy without the files that it extends: those are not touched, and are read
/// where somebody runs by it.
fn alone(text: &str, table: Option<&str>) -> Result<String, MergeError> {
    let mut document: DocumentMut = parsed(text)?;
    match policy_of(&mut document, table)?.get_mut("extends") {
        Some(extends) if extends.is_array() => *extends = Item::Value(Array::new().into()),
        _ => return Ok(text.to_owned()),
    }
    Ok(document.to_string())
}

/// What a policy is in a file: all of it, or the table of this name.
fn policy_of<'a>(
    document: &'a mut DocumentMut,
    table: Option<&str>,
) -> Result<&'a mut dyn TableLike, MergeError> {
    let mut here: &mut dyn TableLike = document.as_table_mut();
    for part in table.iter().flat_map(|name| name.split('.')) {
        here = here
            .get_mut(part)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| MergeError::NoTable(part.to_owned()))?;
    }
    Ok(here)
}

/// The text with the proposals in it. In a policy that has a table for this very
/// plugin, the lists that it has are added to, since they replace those of all.
pub(super) fn merge(
    text: &str,
    kind: Kind,
    table: Option<&str>,
    plugin: Option<&str>,
    proposals: &[&Proposal],
) -> Result<String, MergeError> {
    let mut document: DocumentMut = parsed(text)?;
    let policy = policy_of(&mut document, table)?;
    for proposal in proposals {
        let (section, key) = place(&proposal.change);
        let root = root(policy, kind, plugin, section, key)?;
        add(root, kind, &proposal.change)?;
    }
    Ok(document.to_string())
}

/// The table to add to.
fn root<'a>(
    policy: &'a mut dyn TableLike,
    kind: Kind,
    plugin: Option<&str>,
    section: &str,
    key: &str,
) -> Result<&'a mut dyn TableLike, MergeError> {
    let own = plugin.filter(|plugin| {
        let table = policy
            .get("plugins")
            .and_then(|plugins| plugins.get(plugin));
        let said = table.and_then(|own| own.get(section)?.get(key));
        kind == Kind::Policy && said.is_some()
    });
    match own {
        Some(plugin) => policy
            .get_mut("plugins")
            .and_then(|plugins| plugins.get_mut(plugin)?.as_table_like_mut())
            .ok_or(MergeError::NoTable("plugins".to_owned())),
        None => Ok(policy),
    }
}

fn place(change: &Change) -> (&'static str, &'static str) {
    match change {
        Change::Path { write: false, .. } => ("filesystem", "read"),
        Change::Path { write: true, .. } => ("filesystem", "write"),
        Change::Right(right) => ("process", right.word()),
        Change::Call(_) => ("seccomp", "allow"),
        Change::Limit { limit, .. } => ("limits", limit.word()),
    }
}

fn add(root: &mut dyn TableLike, kind: Kind, change: &Change) -> Result<(), MergeError> {
    let (section, key) = place(change);
    let table = section_of(root, section)?;
    match change {
        Change::Path { path, real, at, .. } => {
            let value = match (kind, at) {
                (Kind::Policy, _) => Value::from(real.as_str()),
                (Kind::Manifest, None) => Value::from(path.as_str()),
                (Kind::Manifest, Some(at)) => {
                    let mut table = InlineTable::new();
                    table.insert("path", path.as_str().into());
                    table.insert("at", at.as_str().into());
                    table.into()
                }
            };
            add_to_list(table, section, key, value)
        }
        Change::Call(name) => add_to_list(table, section, key, Value::from(*name)),
        Change::Right(_) => {
            // What a policy denies by its own word is for somebody to change.
            let denied = kind == Kind::Policy && table.get(key).is_some();
            if !denied {
                set(table, key, Value::from(true));
            }
            Ok(())
        }
        Change::Limit { limit, hard } => {
            raise(table, *limit, *hard);
            Ok(())
        }
    }
}

fn section_of<'a>(
    root: &'a mut dyn TableLike,
    section: &'static str,
) -> Result<&'a mut dyn TableLike, MergeError> {
    if root.get(section).is_none() {
        let mut table = Table::new();
        if !root.is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        root.insert(section, Item::Table(table));
    }
    root.get_mut(section)
        .and_then(Item::as_table_like_mut)
        .ok_or(MergeError::NoTable(section.to_owned()))
}

fn add_to_list(
    table: &mut dyn TableLike,
    section: &str,
    key: &str,
    value: Value,
) -> Result<(), MergeError> {
    if table.get(key).is_none() {
        table.insert(key, Item::Value(Array::new().into()));
    }
    let list = table
        .get_mut(key)
        .and_then(Item::as_array_mut)
        .ok_or_else(|| MergeError::NoList(format!("{section}.{key}")))?;
    if list.iter().any(|known| same(known, &value)) {
        return Ok(());
    }
    push(list, value);
    Ok(())
}

/// Adds to a list as it is laid out.
fn push(list: &mut Array, value: Value) {
    let prefix = |value: &Value| {
        let prefix = value.decor().prefix().and_then(|raw| raw.as_str());
        prefix.unwrap_or_default().to_owned()
    };
    let Some(last) = list.iter().last().map(prefix) else {
        return list.push(value);
    };
    let trailing = list.trailing().as_str().unwrap_or_default().to_owned();
    // A comment behind the last value stays with it.
    let (before, after) = match (trailing.contains('#'), trailing.rfind('\n')) {
        (true, Some(end)) => (
            format!("{}{}", &trailing[..end], lines_up(&last)),
            trailing[end..].to_owned(),
        ),
        _ if list.len() == 1 && !last.contains('\n') => (" ".to_owned(), trailing),
        _ => (last, trailing),
    };
    list.set_trailing(after);
    list.push_formatted(value.decorated(before, ""));
}

/// The line break and indentation of a value's prefix, without comments.
fn lines_up(prefix: &str) -> String {
    match prefix.rfind('\n') {
        Some(at) => prefix[at..].to_owned(),
        None => "\n    ".to_owned(),
    }
}

/// Whether two values ask for the same, whatever else they say of it.
fn same(known: &Value, new: &Value) -> bool {
    let said = |value: &Value| {
        let field = |key: &str| {
            let table = value.as_inline_table()?;
            table.get(key)?.as_str().map(str::to_owned)
        };
        match value.as_str() {
            Some(path) => (Some(path.to_owned()), None),
            None => (field("path"), field("at")),
        }
    };
    said(known) == said(new)
}

fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(Item::Value(known)) => {
            *value.decor_mut() = known.decor().clone();
            *known = value;
        }
        _ => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// Sets a limit where what is said is lower.
fn raise(table: &mut dyn TableLike, limit: Limit, hard: u64) {
    let key = limit.word();
    let new = || match limit {
        Limit::Processes | Limit::OpenFiles => Value::from(i64::try_from(hard).unwrap_or(i64::MAX)),
        _ => Value::from(written(limit, hard)),
    };
    let enough = |item: &Item| {
        let text = match item {
            Item::Value(Value::Integer(number)) => number.value().to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        parse_value(limit, &text, Whose::Flag("")).is_ok_and(|known| known >= hard)
    };
    match table.get_mut(key) {
        Some(item) if item.as_table_like().is_some() => {
            if let Some(bound) = item.as_table_like_mut()
                && !bound.get("hard").is_some_and(enough)
            {
                set(bound, "hard", new());
            }
        }
        Some(item) if enough(item) => {}
        _ => set(table, key, new()),
    }
}

#[cfg(test)]
mod tests;
