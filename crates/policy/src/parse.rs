//! Reading TOML and JSON into typed values, with errors that name the place.
//! What the values mean is decided by `manifest` and `policy`.
//!
//! Both forms become one tree whose nodes know where they stand; serde reads
//! from that, so that one set of types describes the file, its errors and its
//! JSON Schema.

use std::{borrow::Cow, collections::BTreeSet, fmt, marker::PhantomData, ops::Range, rc::Rc};

use belljar_plan::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer, StringDeserializer},
    },
};

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

/// Why a text cannot be read as what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is too long to be looked at.
    #[error("{file}: {size} bytes are too many; at most {MOST_BYTES} are read")]
    TooLarge {
        /// The file.
        file: String,
        /// Its length.
        size: usize,
    },
    /// It is no TOML or no JSON.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file and line.
        origin: String,
        /// What is the matter.
        reason: String,
    },
    /// The table that was asked for is not in it.
    #[error("{file}: there is no table `{table}`")]
    NoTable {
        /// The file.
        file: String,
        /// The table's dotted name.
        table: String,
    },
    /// A key that means nothing there.
    #[error("{origin}: unknown key `{key}`{}", hint(nearest.as_deref(), known))]
    UnknownKey {
        /// The place.
        origin: String,
        /// As it was written, shortened and escaped.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// Every key that there is.
        known: Vec<String>,
    },
    /// A value of the wrong kind, or none where one must be.
    #[error("{origin}: {reason}")]
    Shape {
        /// The place.
        origin: String,
        /// What is the matter.
        reason: String,
    },
}

/// A value and where it stands, such as `belljar.toml line 4`.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) origin: String,
}

/// A plain value, or a table that says more about it.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Or<S, T> {
    Plain(S),
    Table(T),
}

/// What a type is called in errors.
pub(crate) trait Wanted {
    const WANTED: &'static str;
}

/// An integer or a text; which of the two matters to nobody but the unit's reader.
#[derive(Clone, Debug)]
pub(crate) struct Amount(pub(crate) String);

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

#[derive(Debug)]
struct Node {
    value: Value,
    place: Place,
}

#[derive(Debug)]
enum Value {
    Bool(bool),
    Integer(i128),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
    /// Of no use in any file of ours: its name for messages.
    Other(&'static str),
}

#[derive(Debug)]
struct Key {
    name: String,
    place: Place,
}

/// A line of TOML, or the keys that lead to a value of JSON. Keys share their
/// beginnings: a list of many values under a long key must stay small.
#[derive(Clone, Debug)]
enum Place {
    Line(usize),
    Keys(Option<Rc<Turn>>),
}

#[derive(Debug)]
struct Turn {
    before: Option<Rc<Turn>>,
    to: To,
}

#[derive(Debug)]
enum To {
    Key(String),
    Index(usize),
}

impl Place {
    fn origin(&self, file: &str) -> String {
        match self {
            Self::Line(line) => format!("{file} line {line}"),
            Self::Keys(None) => file.to_owned(),
            Self::Keys(Some(turn)) => {
                let mut turns = vec![turn];
                while let Some(before) = turns.last().and_then(|turn| turn.before.as_ref()) {
                    turns.push(before);
                }
                let mut path = String::new();
                for turn in turns.into_iter().rev() {
                    match &turn.to {
                        To::Key(key) if path.is_empty() => path.push_str(key),
                        To::Key(key) => {
                            path.push('.');
                            path.push_str(key);
                        }
                        To::Index(index) => path.push_str(&format!("[{index}]")),
                    }
                }
                format!("{file} at {}", tame(&path))
            }
        }
    }
}

fn read_toml(text: &str, file: &str) -> Result<Node, ParseError> {
    let lines = Lines::new(text);
    let table = toml::de::DeTable::parse(text).map_err(|error| ParseError::Syntax {
        origin: Place::Line(lines.of(error.span().unwrap_or(0..0))).origin(file),
        reason: tame(error.message()),
    })?;
    Ok(Node {
        place: Place::Line(1),
        value: toml_table(table.into_inner(), &lines),
    })
}

fn toml_table(table: toml::de::DeTable<'_>, lines: &Lines) -> Value {
    let entries = table.into_iter().map(|(key, value)| {
        let key = Key {
            place: Place::Line(lines.of(key.span())),
            name: key.into_inner().into_owned(),
        };
        (key, toml_node(value, lines))
    });
    Value::Table(entries.collect())
}

fn toml_node(value: toml::Spanned<toml::de::DeValue<'_>>, lines: &Lines) -> Node {
    use toml::de::DeValue;
    let place = Place::Line(lines.of(value.span()));
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Integer(number) => {
            i128::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_or(Value::Other("a number without end"), Value::Integer)
        }
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(list) => Value::List(
            list.into_iter()
                .map(|node| toml_node(node, lines))
                .collect(),
        ),
        DeValue::Table(table) => toml_table(table, lines),
    };
    Node { value, place }
}

/// Where the lines of a text start.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn of(&self, span: Range<usize>) -> usize {
        1 + self.0.partition_point(|end| *end < span.start)
    }
}

fn read_json(text: &str, file: &str) -> Result<Node, ParseError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    JsonNode(None)
        .deserialize(&mut reader)
        .and_then(|node| reader.end().map(|()| node))
        .map_err(|error| ParseError::Syntax {
            origin: file.to_owned(),
            reason: tame(&error.to_string()),
        })
}

/// Builds a node from JSON, knowing where it stands.
struct JsonNode(Option<Rc<Turn>>);

impl JsonNode {
    fn below(&self, to: To) -> Self {
        Self(Some(Rc::new(Turn {
            before: self.0.clone(),
            to,
        })))
    }

    fn node(self, value: Value) -> Node {
        Node {
            value,
            place: Place::Keys(self.0),
        }
    }
}

impl<'de> DeserializeSeed<'de> for JsonNode {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(Value::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(Value::Integer(value.into())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(self.node(Value::Other("a fraction")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(self.node(Value::Text(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Other("null")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element_seed(self.below(To::Index(list.len())))? {
            list.push(node);
        }
        Ok(self.node(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut seen = BTreeSet::new();
        let mut table = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            // Two readers of one file must not be able to see two different values.
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom(format_args!(
                    "key `{}` is there twice",
                    tame(&name)
                )));
            }
            let below = self.below(To::Key(name.clone()));
            let place = Place::Keys(below.0.clone());
            table.push((Key { name, place }, map.next_value_seed(below)?));
        }
        Ok(self.node(Value::Table(table)))
    }
}

/// The name by which [`At`] asks a [`Reader`] for the place of a value.
const AT: &str = "belljar::parse::At";

/// Lets serde read a node.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    file: &'a str,
}

impl<'de> Reader<'_> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i128(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::Other(what) => Err(de::Error::invalid_type(Unexpected::Other(what), &visitor)),
            Value::List(list) => visitor.visit_seq(Items {
                rest: list.iter(),
                file: self.file,
            }),
            Value::Table(table) => visitor.visit_map(Entries {
                rest: table.iter(),
                at: None,
                file: self.file,
            }),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ParseError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        self.visit(visitor)
            .map_err(|error| error.placed(|| self.node.place.origin(self.file)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParseError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParseError> {
        if name == AT {
            visitor.visit_seq(Placed(Some(self), false))
        } else {
            self.deserialize_any(visitor)
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Items<'a> {
    rest: std::slice::Iter<'a, Node>,
    file: &'a str,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ParseError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ParseError> {
        let file = self.file;
        self.rest
            .next()
            .map(|node| seed.deserialize(Reader { node, file }))
            .transpose()
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, (Key, Node)>,
    at: Option<&'a Node>,
    file: &'a str,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ParseError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ParseError> {
        let Some((key, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.at = Some(node);
        seed.deserialize(StrDeserializer::<ParseError>::new(&key.name))
            .map(Some)
            .map_err(|error| error.placed(|| key.place.origin(self.file)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ParseError> {
        let node = self
            .at
            .take()
            .ok_or_else(|| de::Error::custom("a value was read before its key"))?;
        seed.deserialize(Reader {
            node,
            file: self.file,
        })
    }
}

/// Hands out a node's place, then the node.
struct Placed<'a>(Option<Reader<'a>>, bool);

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = ParseError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ParseError> {
        let Some(reader) = self.0 else {
            return Ok(None);
        };
        if !std::mem::replace(&mut self.1, true) {
            let origin = reader.node.place.origin(reader.file);
            return seed
                .deserialize(StringDeserializer::<ParseError>::new(origin))
                .map(Some);
        }
        self.0 = None;
        seed.deserialize(reader).map(Some)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pair<T> {
            type Value = At<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<At<T>, A::Error> {
                let missing = || de::Error::custom("a value without its place");
                Ok(At {
                    origin: seq.next_element()?.ok_or_else(missing)?,
                    value: seq.next_element()?.ok_or_else(missing)?,
                })
            }
        }
        deserializer.deserialize_struct(AT, &["origin", "value"], Pair(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<'de, S: Deserialize<'de>, T: Deserialize<'de> + Wanted> Deserialize<'de> for Or<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<S, T>(PhantomData<(S, T)>);
        impl<'de, S: Deserialize<'de>, T: Deserialize<'de> + Wanted> Visitor<'de> for Either<S, T> {
            type Value = Or<S, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::WANTED)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Or<S, T>, E> {
                S::deserialize(value.into_deserializer()).map(Or::Plain)
            }

            fn visit_i128<E: de::Error>(self, value: i128) -> Result<Or<S, T>, E> {
                S::deserialize(de::value::I128Deserializer::new(value)).map(Or::Plain)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Or<S, T>, E> {
                S::deserialize(value.into_deserializer()).map(Or::Plain)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Or<S, T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Or::Table)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value such as \"64MiB\", \"5s\" or 50")
            }

            fn visit_i128<E>(self, value: i128) -> Result<Amount, E> {
                Ok(Amount(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Amount, E> {
                Ok(Amount(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": ["string", "integer"], "minimum": 1 })
    }
}

impl ParseError {
    /// Names the place, where none is named yet.
    fn placed(mut self, place: impl FnOnce() -> String) -> Self {
        if let Self::UnknownKey { origin, .. } | Self::Shape { origin, .. } = &mut self
            && origin.is_empty()
        {
            *origin = place();
        }
        self
    }

    fn shape(reason: String) -> Self {
        Self::Shape {
            origin: String::new(),
            reason,
        }
    }
}

impl de::Error for ParseError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::shape(tame(&message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
            Unexpected::Str(_) => "a text",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            Unexpected::Other(what) if !what.starts_with("integer") => what,
            _ => "a number",
        };
        Self::shape(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::shape(format!("`{field}` is missing"))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey {
            origin: String::new(),
            key: tame(field),
            nearest: nearest(field, known.iter().copied()),
            known: known.iter().map(|known| (*known).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
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
            "f line 2: expected a string, found a number"
        );
        assert_eq!(
            says("[inner]\nmemory = \"yes\"", Format::Toml),
            "f line 2: expected a boolean, found a text"
        );
        assert_eq!(
            says("[inner]\n", Format::Toml),
            "f line 1: `memory` is missing"
        );
        assert_eq!(
            says(r#"{"inner": null}"#, Format::Json),
            "f at inner: expected struct Inner, found null"
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
