//! Reads msgpack whose form is known, piece by piece, without turning it into JSON first.
//!
//! It says `None` to whatever else stands there, and then means nothing any more: the bytes are for [`to_json`](super::to_json), which takes all
//! dialects.

use bytes::Bytes;

use super::reader::Reader;

/// A place in msgpack bytes.
#[derive(Debug)]
pub struct Cursor<'a> {
    source: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Begins at the first byte.
    pub const fn new(source: &'a Bytes) -> Self {
        Self { source, at: 0 }
    }

    /// Enters an array of up to 15 values; how many there are.
    pub fn array(&mut self) -> Option<usize> {
        self.short(0x90)
    }

    /// Enters a map of up to 15 entries; how many there are.
    pub fn map(&mut self) -> Option<usize> {
        self.short(0x80)
    }

    /// Takes text of less than 256 bytes.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => usize::from(self.byte()?),
            _ => return None,
        };
        let bytes = self.source.get(self.at..self.at + length)?;
        self.at += length;
        std::str::from_utf8(bytes).ok()
    }

    /// Takes a number of up to 127.
    pub fn small(&mut self) -> Option<u8> {
        self.byte().filter(|byte| *byte < 0x80)
    }

    /// Takes true, false, or nothing.
    pub fn flag(&mut self) -> Option<Option<bool>> {
        match self.byte()? {
            0xc0 => Some(None),
            0xc2 => Some(Some(false)),
            0xc3 => Some(Some(true)),
            _ => None,
        }
    }

    /// Takes an array that stands inside of `depth` arrays and maps, as JSON text with its binary parts.
    pub fn array_as_json(&mut self, depth: usize, attachments_max: usize) -> Option<(Vec<u8>, Vec<Bytes>)> {
        if !matches!(self.source.get(self.at)?, 0x90..=0x9f | 0xdc | 0xdd) {
            return None;
        }
        let mut reader = Reader::at(self.source, self.at, attachments_max);
        reader.value(depth).ok()?;
        let (at, text, attachments) = reader.leave();
        self.at = at;
        Some((text, attachments))
    }

    /// Whether nothing is left.
    pub const fn is_at_end(&self) -> bool {
        self.at == self.source.len()
    }

    fn short(&mut self, kind: u8) -> Option<usize> {
        self.byte().filter(|marker| marker & 0xf0 == kind).map(|marker| usize::from(marker & 0x0f))
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.source.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}
