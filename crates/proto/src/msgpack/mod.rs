//! msgpack as JavaScript's libraries write it, and JSON with placeholders: the one turned into the other.
//!
//! Binary parts stand inline in msgpack; in JSON a placeholder, `{"_placeholder":true,"num":k}`, stands for each. Written
//! as `@msgpack/msgpack` and `notepack.io` write (shortest integers, every other number a float64), read in all their
//! dialects. Nothing here knows of packets.
//!
//! ```
//! use bytes::Bytes;
//! use sockeye_proto::msgpack;
//!
//! let (json, parts) = msgpack::to_json(&Bytes::from_static(b"\x92\xc4\x02hi\x07"), 10)?;
//! assert_eq!(json, br#"[{"_placeholder":true,"num":0},7]"#);
//! assert_eq!(msgpack::from_json(&json, &parts).unwrap(), b"\x92\xc4\x02hi\x07");
//! # Ok::<(), msgpack::Malformed>(())
//! ```

mod cursor;
mod error;
mod reader;
mod swift;
mod writer;

use bytes::Bytes;

pub use cursor::Cursor;
pub use error::{DEPTH_MAX, Malformed};
pub use writer::{push_array, push_bool, push_map, push_text, push_unsigned};

use reader::Reader;

/// Turns JSON text into msgpack; each placeholder object becomes its binary part.
///
/// An object that looks like a placeholder but names no part is the user's own and stays a map.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep.
pub fn from_json(text: &[u8], attachments: &[Bytes]) -> Result<Vec<u8>, serde_json::Error> {
    let binary: usize = attachments.iter().map(|part| part.len() + 5).sum();
    let mut out = Vec::with_capacity(text.len() + binary);
    push_json(text, attachments, &mut out)?;
    Ok(out)
}

/// Appends JSON text as msgpack; each placeholder object becomes its binary part.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep; then nothing is appended.
pub fn push_json(text: &[u8], attachments: &[Bytes], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if attachments.is_empty() && swift::push_json(text, out).is_some() {
        return Ok(());
    }
    writer::push_json(text, attachments, out)
}

/// Turns one msgpack value into JSON text and the binary parts that its placeholders stand for.
///
/// Reads like JavaScript's `JSON.stringify` of what the official decoders return: `undefined` is left out of maps and
/// null in arrays, dates are ISO text, numbers that JSON has no word for are null.
///
/// # Errors
///
/// Fails on bytes that end early or go on, nest deeper than [`DEPTH_MAX`], hold more than `attachments_max` binary parts
/// or hold what no known encoder writes. Never takes memory on the word of a length.
pub fn to_json(bytes: &Bytes, attachments_max: usize) -> Result<(Vec<u8>, Vec<Bytes>), Malformed> {
    let mut reader = Reader::new(bytes, attachments_max);
    reader.value(0)?;
    reader.finish()
}
