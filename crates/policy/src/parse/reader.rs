//! Lets serde read the tree, naming the place of what goes wrong.

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{StrDeserializer, StringDeserializer},
    },
};

use super::{
    ParseError,
    tree::{Key, Node, Value},
};

/// The name by which [`At`] asks a [`Reader`] for the place of a value.
pub(super) const AT: &str = "belljar::parse::At";

/// Lets serde read a node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) file: &'a str,
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
