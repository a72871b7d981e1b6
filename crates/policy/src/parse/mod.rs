//! Reading TOML and JSON into typed values, with errors that name the place.
//! What the values mean is decided by `manifest` and `policy`.
//!
//! Both forms become one tree whose nodes know where they stand; serde reads
//! from that, so that one set of types describes the file, its errors and its
//! JSON Schema.

use belljar_plan::Bytes;
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde::{Deserialize as _, de::DeserializeOwned};

pub(crate) use self::values::{Amount, At, Or, Wanted};
use self::{
    reader::Reader,
    tree::{Value, read_json, read_toml},
};

mod error;
mod reader;
mod tree;
mod values;

pub use self::error::ParseError;

/// The most bytes that a manifest or policy may have.
pub const MOST_BYTES: usize = 1 << 20;

/// How a manifest or policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://toml.io>
    Toml,
    /// RFC 8259, every key once.
    Json,
}

impl Format {
    /// JSON for a name that ends in `.json`, else TOML.
    #[must_use]
    pub fn of_name(file: &str) -> Self {
        if file.to_ascii_lowercase().ends_with(".json") {
            Self::Json
        } else {
            Self::Toml
        }
    }
}

/// Reads a whole file, or of it only the table with a dotted name.
pub(crate) fn read<T: DeserializeOwned>(
    text: &str,
    format: Format,
    file: &str,
    table: Option<&str>,
) -> Result<At<T>, ParseError> {
    let file = Bytes::from(file).escaped();
    if text.len() > MOST_BYTES {
        return Err(ParseError::TooLarge {
            file,
            size: text.len(),
        });
    }
    let root = match format {
        Format::Toml => read_toml(text, &file)?,
        Format::Json => read_json(text, &file)?,
    };
    let mut node = &root;
    for part in table.into_iter().flat_map(|table| table.split('.')) {
        node = match &node.value {
            Value::Table(entries) => entries.iter().find(|(key, _)| key.name == part),
            _ => None,
        }
        .map(|(_, node)| node)
        .ok_or_else(|| ParseError::NoTable {
            file: file.clone(),
            table: tame(table.unwrap_or_default()),
        })?;
    }
    At::<T>::deserialize(Reader { node, file: &file })
}

/// The JSON Schema of a file's form. serde's types say "or null" of all that may
/// be left out; files of ours leave it out.
pub(crate) fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(without_null))
        .into_generator()
        .into_root_schema_for::<T>()
}

fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(serde_json::Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if object
        .get("default")
        .is_some_and(serde_json::Value::is_null)
    {
        object.remove("default");
    }
    if let Some(serde_json::Value::Array(kinds)) = object.get_mut("anyOf") {
        kinds.retain(|kind| kind["type"] != "null");
        if let [serde_json::Value::Object(only)] = &mut kinds[..] {
            let only = std::mem::take(only);
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// The nearest of the known words, where one is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Comparing costs the product of both lengths, and the word may be a plugin's.
    if word.len() > 64 {
        return None;
    }
    let plain = |word: &str| word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&plain(word), &plain(known)),
                known,
            )
        })
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.to_owned())
}

/// A hint after an unknown word: what was meant, or else all there is.
pub(crate) fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; there are {}", known.join(", ")),
    }
}

/// A text of someone else's for a message: short, and steering no terminal.
pub(crate) fn tame(text: &str) -> String {
    const MOST: usize = 120;
    let mut short: String = text.chars().take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    Bytes::from(short).escaped()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Sample {
        #[serde(default)]
        words: Vec<At<String>>,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        named: BTreeMap<String, At<Amount>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Inner {
        memory: bool,
    }

    fn sample(text: &str, format: Format) -> Result<Sample, ParseError> {
        read::<Sample>(text, format, "f", None).map(|at| at.value)
    }

    fn says(text: &str, format: Format) -> String {
        sample(text, format).unwrap_err().to_string()
    }

    #[test]
    fn every_value_knows_its_place() {
        let toml = sample("words = [\"a\",\n \"b\"]\nnamed.x = 5\n", Format::Toml).unwrap();
        assert_eq!(toml.words[0].origin, "f line 1");
        assert_eq!(toml.words[1].origin, "f line 2");
        assert_eq!(toml.named["x"].origin, "f line 3");
        assert_eq!(toml.named["x"].value.0, "5");
        let json = sample(
            r#"{"words": ["a", "b"], "named": {"x": "5s"}}"#,
            Format::Json,
        )
        .unwrap();
        assert_eq!(json.words[1].origin, "f at words[1]");
        assert_eq!(json.named["x"].origin, "f at named.x");
    }

    #[test]
    fn an_unknown_key_is_an_error_that_guesses_what_was_meant() {
        assert_eq!(
            says("\n[inner]\nmemroy = true", Format::Toml),
            "f line 3: unknown key `memroy`; did you mean `memory`?"
        );
        assert_eq!(
            says(r#"{"inner": {"memroy": true}}"#, Format::Json),
            "f at inner.memroy: unknown key `memroy`; did you mean `memory`?"
        );
        assert_eq!(
            says("zzzzzzz = 1", Format::Toml),
            "f line 1: unknown key `zzzzzzz`; there are words, inner, named"
        );
    }

    #[test]
    fn a_wrong_kind_is_named_with_its_place() {
        assert_eq!(
            says("words = [\n5]", Format::Toml),
            "f line 2: expected a text, found a number"
        );
        assert_eq!(
            says("[inner]\nmemory = \"yes\"", Format::Toml),
            "f line 2: expected true or false, found a text"
        );
        assert_eq!(
            says("[inner]\n", Format::Toml),
            "f line 1: `memory` is missing"
        );
        assert_eq!(
            says(r#"{"inner": null}"#, Format::Json),
            "f at inner: expected a table, found null"
        );
    }

    #[test]
    fn a_key_said_twice_is_an_error_in_both_forms() {
        assert!(
            says("words = []\nwords = []", Format::Toml).starts_with("f line 2: duplicate key")
        );
        assert!(
            says(r#"{"words": [], "words": []}"#, Format::Json).contains("`words` is there twice")
        );
    }

    #[test]
    fn ten_mebibytes_are_refused_unread() {
        assert_eq!(
            says(&"[".repeat(10 << 20), Format::Toml),
            "f: 10485760 bytes are too many; at most 1048576 are read"
        );
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        for (text, format) in [
            (format!("words = {}", "[".repeat(500_000)), Format::Toml),
            ("a.".repeat(500_000), Format::Toml),
            (format!("{}b=1", "a.".repeat(500_000)), Format::Toml),
            (format!("[{}b]", "a.".repeat(500_000)), Format::Toml),
            ("[".repeat(1_000_000), Format::Json),
            ("{\"a\":".repeat(200_000), Format::Json),
        ] {
            sample(&text, format).unwrap_err();
        }
    }

    #[test]
    fn only_the_table_that_was_asked_for_is_read() {
        let host = "port = 80\n[app.security]\nwords = [\"a\"]\n";
        let read = |table| read::<Sample>(host, Format::Toml, "f", Some(table));
        assert_eq!(
            read("app.security").unwrap().value.words[0].origin,
            "f line 3"
        );
        assert_eq!(
            read("app.secrets").unwrap_err().to_string(),
            "f: there is no table `app.secrets`"
        );
        assert!(read("port").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[\\[\\]{}a-c=.,\"\\\\0-9\n -]{0,60}|.*") {
            let _ = sample(&text, Format::Toml);
            let _ = sample(&text, Format::Json);
        }
    }
}
