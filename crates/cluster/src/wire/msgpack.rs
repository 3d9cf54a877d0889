//! JSON with placeholders to msgpack with the binary parts inline, and back, within the limits of a cluster's messages.
//!
//! The codec is `sockeye_proto::msgpack`'s. Nothing here knows of envelopes.

use bytes::Bytes;
use sockeye_proto::msgpack::{self, push_array, push_bool, push_map, push_text, push_unsigned};

use super::error::{ATTACHMENTS_MAX, DEPTH_MAX, EncodeError, Malformed};
use super::json::{Word, flag_words};
use crate::selector::{Flags, Selector};

const _: () = assert!(DEPTH_MAX == msgpack::DEPTH_MAX);

/// Turns JSON text into msgpack; each placeholder object becomes its binary part.
///
/// An object that looks like a placeholder but names no part is the user's own and stays a map.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep, and on too many parts.
pub fn from_json(text: &[u8], attachments: &[Bytes]) -> Result<Vec<u8>, EncodeError> {
    check(attachments)?;
    Ok(msgpack::from_json(text, attachments)?)
}

/// Refuses too many parts.
pub(super) const fn check(attachments: &[Bytes]) -> Result<(), EncodeError> {
    if attachments.len() > ATTACHMENTS_MAX {
        return Err(EncodeError::Attachments(attachments.len()));
    }
    Ok(())
}

/// Writes `{"rooms":[…],"except":[…],"flags":{…}}`.
pub(super) fn opts(out: &mut Vec<u8>, selector: &Selector, flags: &Flags) {
    push_map(3, out);
    for (key, names) in [("rooms", &selector.rooms), ("except", &selector.except)] {
        push_text(key, out);
        push_array(names.len(), out);
        names.iter().for_each(|name| push_text(name, out));
    }
    push_text("flags", out);
    if *flags == Flags::default() {
        return push_map(0, out);
    }
    let words = flag_words(flags);
    push_map(words.clone().count(), out);
    for (word, value) in words {
        push_text(word, out);
        match value {
            Word::Bool(value) => push_bool(value, out),
            Word::Number(number) => push_unsigned(number, out),
            Word::Text(text) => push_text(&text, out),
        }
    }
}

/// Turns one msgpack value into JSON text and the binary parts that its placeholders stand for.
///
/// Reads like JavaScript's `JSON.stringify` of what the official decoders return: `undefined` is left out of maps and
/// null in arrays, dates are ISO text, numbers that JSON has no word for are null.
///
/// # Errors
///
/// Fails on bytes that end early or go on, nest deeper than [`DEPTH_MAX`], hold more than [`ATTACHMENTS_MAX`] parts or hold
/// what no known encoder writes. Never takes memory on the word of a length.
pub fn to_json(bytes: &Bytes) -> Result<(Vec<u8>, Vec<Bytes>), Malformed> {
    Ok(msgpack::to_json(bytes, ATTACHMENTS_MAX)?)
}

impl From<msgpack::Malformed> for Malformed {
    fn from(malformed: msgpack::Malformed) -> Self {
        match malformed {
            msgpack::Malformed::Truncated(at) => Self::Truncated(at),
            msgpack::Malformed::Trailing(rest) => Self::Trailing(rest),
            msgpack::Malformed::Depth => Self::Depth,
            msgpack::Malformed::Attachments(_) => Self::Attachments,
            msgpack::Malformed::Marker(marker) => Self::Marker(marker),
            msgpack::Malformed::Key => Self::Key,
        }
    }
}
