//! A value of whatever kind a client sent, bytes included, for a program that passes it on and knows nothing of it.

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sockeye::Args;

/// A value with its bytes in their places.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Any {
    /// Something without bytes inside.
    Plain(Value),
    /// A binary attachment.
    Bytes(Bytes),
    /// A list with bytes somewhere inside.
    List(Vec<Self>),
    /// A map with bytes somewhere inside.
    Map(Fields),
}

/// The fields of a map, in their order.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, Any)>);

impl Any {
    /// All arguments, as a list.
    pub(crate) fn list(args: &Args) -> Vec<Self> {
        let array = [b"[", args.json(), b"]"].concat();
        let values: Vec<Value> = serde_json::from_slice(&array).unwrap_or_default();
        values.into_iter().map(|value| Self::resolve(value, args.attachments())).collect()
    }

    /// The first argument, or null.
    pub(crate) fn first(args: &Args) -> Self {
        Self::list(args).into_iter().next().unwrap_or(Self::Plain(Value::Null))
    }

    /// Puts attachments where their placeholders stand.
    fn resolve(value: Value, attachments: &[Bytes]) -> Self {
        if attachments.is_empty() {
            return Self::Plain(value);
        }
        match value {
            Value::Array(items) => {
                Self::List(items.into_iter().map(|item| Self::resolve(item, attachments)).collect())
            }
            Value::Object(map) => {
                let number = map
                    .get("num")
                    .and_then(Value::as_u64)
                    .filter(|_| map.get("_placeholder") == Some(&true.into()));
                match number.and_then(|number| attachments.get(usize::try_from(number).ok()?)) {
                    Some(bytes) => Self::Bytes(bytes.clone()),
                    None => Self::Map(Fields(
                        map.into_iter()
                            .map(|(key, value)| (key, Self::resolve(value, attachments)))
                            .collect(),
                    )),
                }
            }
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Self::Plain(plain)
            }
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
