//! Cheap names: a room, a namespace, a server's uid, a request's id.
//!
//! Each is a shared string: a clone is a counter, never a copy. They are four types so that none can stand where
//! another is meant. What a name may contain is not decided here: the protocol allows any text.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Visitor};

/// How emitters sign, which are no servers.
pub const EMITTER: &str = "emitter";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Copies the text into a name of its own.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextOrNumber).map(Self)
            }
        }
    };
}

name! {
    /// A room: sockets that are spoken to together. Each socket is also alone in the room of its own id.
    Room
}

name! {
    /// The name of a namespace, with its leading slash: `/`, `/admin`.
    Nsp
}

name! {
    /// The id under which a server signs what it sends to the cluster.
    Uid
}

name! {
    /// The id that ties replies to their request.
    RequestId
}

name! {
    /// The private id of a session: whoever knows it may go on with the session.
    Pid
}

impl Uid {
    /// Whether it says nothing: the sender of a reply in a format that does not name it.
    pub fn is_nameless(&self) -> bool {
        self.is_empty()
    }
}

/// Accepts text, and whole numbers as their digits: JavaScript programs use both as the names of rooms.
struct TextOrNumber;

impl Visitor<'_> for TextOrNumber {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Arc<str>, E> {
        Ok(Arc::from(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Arc<str>, E> {
        Ok(Arc::from(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Arc<str>, E> {
        Ok(Arc::from(number.to_string()))
    }
}
