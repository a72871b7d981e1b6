//! The one tree that both forms become, whose nodes know where they stand.

use std::{collections::BTreeSet, fmt, ops::Range, rc::Rc};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::{ParseError, tame};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Value {
    Bool(bool),
    Integer(i128),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
    /// Of no use in any file of ours: its name for messages.
    Other(&'static str),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// A line of TOML, or the keys that lead to a value of JSON. Keys share their
/// beginnings: a list of many values under a long key must stay small.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Line(usize),
    Keys(Option<Rc<Turn>>),
}

#[derive(Debug)]
pub(super) struct Turn {
    before: Option<Rc<Turn>>,
    to: To,
}

#[derive(Debug)]
pub(super) enum To {
    Key(String),
    Index(usize),
}

impl Place {
    pub(super) fn origin(&self, file: &str) -> String {
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

pub(super) fn read_toml(text: &str, file: &str) -> Result<Node, ParseError> {
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

pub(super) fn read_json(text: &str, file: &str) -> Result<Node, ParseError> {
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
