//! Byte strings as Unix has them, with a JSON form that loses nothing.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A byte string without NUL, as in a path, an argument or a variable.
///
/// In JSON it is a string where it is UTF-8, else `{"hex": "…"}`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The string for people: anything that is not printable is escaped, so
    /// that a plugin's words cannot steer a terminal or forge a line.
    #[must_use]
    pub fn escaped(&self) -> String {
        String::from_utf8_lossy(&self.0)
            .chars()
            .flat_map(|c| {
                let escape = c.is_control() || unseen(c);
                let plain = (!escape).then_some(c);
                plain
                    .into_iter()
                    .chain(escape.then(|| c.escape_unicode()).into_iter().flatten())
            })
            .collect()
    }
}

/// What separates lines, changes the direction of text or joins it, and is not
/// seen itself.
const fn unseen(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Json<'a> {
    Text(std::borrow::Cow<'a, str>),
    Raw { hex: String },
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Json::Text(text.into()),
            Err(_) => Json::Raw { hex: hex(&self.0) },
        }
        .serialize(serializer)
    }
}

/// Two digits a byte. A filter has thousands, and every launch digests it.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(DIGITS[usize::from(half)].into());
        }
    }
    text
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Json::Raw { hex } => (0..hex.len())
                .step_by(2)
                .map(|at| {
                    hex.get(at..at + 2)
                        .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                })
                .collect::<Option<Vec<u8>>>()
                .map(Self)
                .ok_or_else(|| D::Error::custom("hex must be pairs of hexadecimal digits")),
        }
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A byte string: text where it is UTF-8, else its bytes in hexadecimal.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "hex": { "type": "string", "pattern": "^([0-9a-f]{2})*$" } },
                    "required": ["hex"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_loses_no_byte() {
        for bytes in [b"plain".to_vec(), vec![0xff, 0x01, b'a'], Vec::new()] {
            let json = serde_json::to_string(&Bytes(bytes.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), Bytes(bytes));
        }
    }

    #[test]
    fn escaped_text_carries_no_control_character() {
        let hostile = Bytes(b"a\x1b[2Jb\nbelljar: fine\xe2\x80\xae".to_vec());
        assert!(
            hostile
                .escaped()
                .chars()
                .all(|c| !c.is_control() && c != '\u{202e}')
        );
        assert!(hostile.escaped().starts_with("a\\u{1b}[2Jb\\u{a}"));
    }
}
