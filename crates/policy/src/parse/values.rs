//! Kinds of values that files of ours have: placed ones, plain-or-table ones, amounts.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::MapAccessDeserializer,
    },
};

use super::reader::AT;

/// A value and where it stands, such as `belljar.toml line 4`.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) origin: String,
}

/// A plain value, or a table that says more about it.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
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
                S::deserialize(value.into_deserializer())
                    .map(Or::Plain)
                    .map_err(|_: E| E::invalid_type(Unexpected::Bool(value), &self))
            }

            fn visit_i128<E: de::Error>(self, value: i128) -> Result<Or<S, T>, E> {
                S::deserialize(de::value::I128Deserializer::new(value))
                    .map(Or::Plain)
                    .map_err(|_: E| E::invalid_type(Unexpected::Signed(0), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Or<S, T>, E> {
                S::deserialize(value.into_deserializer())
                    .map(Or::Plain)
                    .map_err(|_: E| E::invalid_type(Unexpected::Str(value), &self))
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
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}
