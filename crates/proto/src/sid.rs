//! The ids that route: a node's tag, and the session ids that start with it.
//!
//! Randomness is the caller's: this file only spells bits as characters and checks what others spelled.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a node: 6 characters of `[A-Za-z0-9_-]`, 36 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; Self::LEN]);

impl Tag {
    /// Characters in a tag.
    pub const LEN: usize = 6;

    /// Spells the lowest 36 bits of `bits`; the others are ignored.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(spell(u128::from(bits)))
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

/// A session id, of Engine.IO or of Socket.IO: the tag of the node that issued it, then 14 random characters.
///
/// Official tools (sticky, the sharded adapter) recognise a session id by its 20 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid([u8; Self::LEN]);

impl Sid {
    /// Characters in a session id.
    pub const LEN: usize = 20;

    /// Joins a tag and the lowest 84 bits of `random`.
    #[must_use]
    pub fn new(tag: Tag, random: u128) -> Self {
        let mut chars = [0; Self::LEN];
        let (head, tail) = chars.split_at_mut(Tag::LEN);
        head.copy_from_slice(&tag.0);
        tail.copy_from_slice(&spell::<{ Self::LEN - Tag::LEN }>(random));
        Self(chars)
    }

    /// The tag of the node that issued this id.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let mut chars = [0; Tag::LEN];
        chars.copy_from_slice(&self.0[..Tag::LEN]);
        Tag(chars)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

/// A text that is no tag or session id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} characters of [A-Za-z0-9_-]")]
pub struct IdError {
    /// The length such an id has.
    pub expected: usize,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Spells the lowest `6 * N` bits, six a character, lowest first.
fn spell<const N: usize>(mut bits: u128) -> [u8; N] {
    let mut chars = [0; N];
    for char in &mut chars {
        *char = ALPHABET[(bits & 63) as usize];
        bits >>= 6;
    }
    chars
}

fn parse<const N: usize>(text: &[u8]) -> Result<[u8; N], IdError> {
    let chars: [u8; N] = text.try_into().map_err(|_| IdError { expected: N })?;
    let known = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if chars.iter().all(known) { Ok(chars) } else { Err(IdError { expected: N }) }
}

fn ascii(chars: &[u8]) -> &str {
    std::str::from_utf8(chars).expect("every constructor admits ASCII only")
}

macro_rules! text_like {
    ($name:ident, $what:literal) => {
        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text.as_bytes()).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text).map_err(D::Error::custom)
            }
        }
    };
}

text_like!(Tag, "a node's tag");
text_like!(Sid, "a session id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_starts_with_its_tag_and_reads_back() {
        for (tag, random, text) in [
            (0, 0, "AAAAAAAAAAAAAAAAAAAA"),
            (u64::MAX, u128::MAX, "____________________"),
            (1, 2, "BAAAAACAAAAAAAAAAAAA"),
            (62, 1 << 78, "-AAAAAAAAAAAAAAAAAAB"),
        ] {
            let sid = Sid::new(Tag::from_bits(tag), random);
            assert_eq!(sid.to_string(), text);
            assert_eq!(sid.as_str(), text);
            assert_eq!(sid.tag().as_str(), &text[..6]);
            assert_eq!(text.parse(), Ok(sid));
            let json = format!("\"{text}\"");
            assert_eq!(serde_json::to_string(&sid).unwrap(), json);
            assert_eq!(serde_json::from_str::<Sid>(&json).unwrap(), sid);
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "AAAAA", "AAAAAAA", "AAAA=A", "AAAA A", "AAAAA\n", "ÄÄÄ", "AAAA/+"] {
            assert_eq!(text.parse::<Tag>(), Err(IdError { expected: 6 }), "{text}");
        }
        for text in ["", "AAAAAA", "AAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAA%"] {
            assert_eq!(text.parse::<Sid>(), Err(IdError { expected: 20 }), "{text}");
        }
        assert!(serde_json::from_str::<Tag>("7").is_err());
        assert!(serde_json::from_str::<Tag>("\"short\"").is_err());
    }
}
