//! Reads msgpack of unknown origin, value by value, and writes it down as JSON.
//!
//! Takes the dialects of `@msgpack/msgpack` 2.8 and `notepack.io` 2.2 and 3.0.1. Recursion is bounded, each length is
//! compared with what is left, and nothing is reserved on the word of a length.

use bytes::Bytes;

use super::error::{DEPTH_MAX, Malformed};
use crate::json::is_plain;

pub(super) struct Reader<'a> {
    source: &'a Bytes,
    at: usize,
    text: Vec<u8>,
    attachments: Vec<Bytes>,
    attachments_max: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(source: &'a Bytes, attachments_max: usize) -> Self {
        Self::at(source, 0, attachments_max)
    }

    /// Begins at a place in the source.
    pub(super) const fn at(source: &'a Bytes, at: usize, attachments_max: usize) -> Self {
        Self { source, at, text: Vec::new(), attachments: Vec::new(), attachments_max }
    }

    /// Where it has come to, the JSON text and the binary parts.
    pub(super) fn leave(self) -> (usize, Vec<u8>, Vec<Bytes>) {
        (self.at, self.text, self.attachments)
    }

    /// The JSON text and the binary parts, if the source was read to its end.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Vec<Bytes>), Malformed> {
        match self.source.len() - self.at {
            0 => Ok((self.text, self.attachments)),
            rest => Err(Malformed::Trailing(rest)),
        }
    }

    /// Reads one value that stands inside `depth` arrays and maps.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        if self.text.capacity() == 0 {
            // As long as the text will be, where it is short and has no binary parts.
            self.text.reserve((self.source.len() - self.at + 16).min(RESERVE_MAX));
        }
        let marker = self.byte()?;
        match marker {
            0x00..=0x7f => self.write_display(marker),
            0xe0..=0xff => self.write_display(marker.cast_signed()),
            0x80..=0x8f => return self.map(usize::from(marker & 0x0f), depth),
            0x90..=0x9f => return self.array(usize::from(marker & 0x0f), depth),
            0xa0..=0xbf => return self.text(usize::from(marker & 0x1f)),
            0xc0 => self.text.extend_from_slice(b"null"),
            0xc2 => self.text.extend_from_slice(b"false"),
            0xc3 => self.text.extend_from_slice(b"true"),
            0xc4..=0xc6 => {
                let length = self.length(marker - 0xc4)?;
                return self.binary(length);
            }
            0xc7..=0xc9 => {
                let length = self.length(marker - 0xc7)?;
                return self.extension(length, false);
            }
            0xca => {
                let number = f64::from(f32::from_be_bytes(self.array_of()?));
                self.float(number);
            }
            0xcb => {
                let number = f64::from_be_bytes(self.array_of()?);
                self.float(number);
            }
            0xcc..=0xd3 => {
                let number = self.integer(marker)?;
                self.write_display(number);
            }
            0xd4..=0xd8 => return self.extension(1 << (marker - 0xd4), true),
            0xd9..=0xdb => {
                let length = self.length(marker - 0xd9)?;
                return self.text(length);
            }
            0xdc | 0xdd => {
                let length = self.length(marker - 0xdc + 1)?;
                return self.array(length, depth);
            }
            0xde | 0xdf => {
                let length = self.length(marker - 0xde + 1)?;
                return self.map(length, depth);
            }
            0xc1 => return Err(Malformed::Marker(marker)),
        }
        Ok(())
    }

    fn array(&mut self, length: usize, depth: usize) -> Result<(), Malformed> {
        self.descend(length, depth)?;
        self.text.push(b'[');
        for index in 0..length {
            if index > 0 {
                self.text.push(b',');
            }
            self.value(depth + 1)?;
        }
        self.text.push(b']');
        Ok(())
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<(), Malformed> {
        // Each entry takes a byte for the key and one for the value.
        self.descend(length.saturating_mul(2), depth)?;
        self.text.push(b'{');
        let mut empty = true;
        for _ in 0..length {
            let before = self.text.len();
            if !empty {
                self.text.push(b',');
            }
            self.key()?;
            self.text.push(b':');
            // JSON.stringify leaves out what is undefined.
            if self.source[self.at..].starts_with(&UNDEFINED) {
                self.at += UNDEFINED.len();
                self.text.truncate(before);
                continue;
            }
            self.value(depth + 1)?;
            empty = false;
        }
        self.text.push(b'}');
        Ok(())
    }

    /// JavaScript's keys are text; a number becomes its digits.
    fn key(&mut self) -> Result<(), Malformed> {
        let marker = self.byte()?;
        match marker {
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f)),
            0xd9..=0xdb => {
                let length = self.length(marker - 0xd9)?;
                self.text(length)
            }
            0x00..=0x7f => {
                self.write_display(format_args!("\"{marker}\""));
                Ok(())
            }
            0xe0..=0xff => {
                self.write_display(format_args!("\"{}\"", marker.cast_signed()));
                Ok(())
            }
            0xcc..=0xd3 => {
                let number = self.integer(marker)?;
                self.write_display(format_args!("\"{number}\""));
                Ok(())
            }
            _ => Err(Malformed::Key),
        }
    }

    fn text(&mut self, length: usize) -> Result<(), Malformed> {
        let bytes = self.take(length)?;
        if let Ok(text) = std::str::from_utf8(bytes)
            && is_plain(text)
        {
            self.text.push(b'"');
            self.text.extend_from_slice(bytes);
            self.text.push(b'"');
            return Ok(());
        }
        // JavaScript writes half a surrogate pair as bytes that are no UTF-8; its decoders replace them too.
        serde_json::to_writer(&mut self.text, &*String::from_utf8_lossy(bytes))
            .expect("a vector takes every write, and text is always JSON");
        Ok(())
    }

    fn binary(&mut self, length: usize) -> Result<(), Malformed> {
        let part = self.take(length)?;
        let index = self.attachments.len();
        if index == self.attachments_max {
            return Err(Malformed::Attachments(self.attachments_max));
        }
        self.attachments.push(self.source.slice_ref(part));
        self.write_display(format_args!("{{\"_placeholder\":true,\"num\":{index}}}"));
        Ok(())
    }

    /// An extension; `fixed` when its length stood in the marker (`d4` to `d8`): by that alone notepack's `undefined` and
    /// Date differ from an ArrayBuffer of one byte or of eight.
    fn extension(&mut self, length: usize, fixed: bool) -> Result<(), Malformed> {
        let kind = self.byte()?;
        match (kind, length) {
            // notepack 2.2: `undefined`, in an array or alone.
            (0x00, 1) if fixed => {
                self.byte()?;
                self.text.extend_from_slice(b"null");
            }
            // notepack 2.2: a Date, in milliseconds.
            (0x00, 8) if fixed => {
                let milliseconds = i64::from_be_bytes(self.array_of()?);
                self.date(milliseconds);
            }
            // notepack 2.2: an ArrayBuffer or a typed array.
            (0x00, _) => return self.binary(length),
            // The timestamps of the msgpack specification.
            (0xff, 4) => {
                let seconds = u32::from_be_bytes(self.array_of()?);
                self.date(i64::from(seconds) * 1000);
            }
            (0xff, 8) => {
                let packed = u64::from_be_bytes(self.array_of()?);
                let (nanos, seconds) = (packed >> 34, packed & ((1 << 34) - 1));
                self.date((seconds * 1000 + nanos / 1_000_000).cast_signed());
            }
            (0xff, 12) => {
                let nanos = u32::from_be_bytes(self.array_of()?);
                let seconds = i64::from_be_bytes(self.array_of()?);
                self.date(seconds.saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000)));
            }
            _ => return Err(Malformed::Marker(kind)),
        }
        Ok(())
    }

    fn integer(&mut self, marker: u8) -> Result<i128, Malformed> {
        Ok(match marker {
            0xcc => i128::from(self.byte()?),
            0xcd => i128::from(u16::from_be_bytes(self.array_of()?)),
            0xce => i128::from(u32::from_be_bytes(self.array_of()?)),
            0xcf => i128::from(u64::from_be_bytes(self.array_of()?)),
            0xd0 => i128::from(i8::from_be_bytes(self.array_of()?)),
            0xd1 => i128::from(i16::from_be_bytes(self.array_of()?)),
            0xd2 => i128::from(i32::from_be_bytes(self.array_of()?)),
            0xd3 => i128::from(i64::from_be_bytes(self.array_of()?)),
            _ => return Err(Malformed::Marker(marker)),
        })
    }

    fn float(&mut self, number: f64) {
        match serde_json::Number::from_f64(number) {
            Some(number) => self.write_display(number),
            // JSON.stringify(NaN) and of the infinities.
            None => self.text.extend_from_slice(b"null"),
        }
    }

    fn date(&mut self, milliseconds: i64) {
        // ECMAScript, "Time Values": ±100,000,000 days; JSON.stringify of an invalid Date is null.
        if milliseconds.unsigned_abs() > 8_640_000_000_000_000 {
            self.text.extend_from_slice(b"null");
            return;
        }
        let (days, rest) = (milliseconds.div_euclid(86_400_000), milliseconds.rem_euclid(86_400_000));
        let (year, month, day) = civil(days);
        match year {
            0..=9999 => self.write_display(format_args!("\"{year:04}")),
            _ => self.write_display(format_args!("\"{year:+07}")),
        }
        let (seconds, millis) = (rest / 1000, rest % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        self.write_display(format_args!(
            "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\""
        ));
    }

    /// Refuses an array or a map that is too deep, or claims more values than bytes are left.
    fn descend(&self, values: usize, depth: usize) -> Result<(), Malformed> {
        if depth == DEPTH_MAX {
            return Err(Malformed::Depth);
        }
        if values > self.source.len() - self.at {
            return Err(Malformed::Truncated(self.at));
        }
        Ok(())
    }

    /// A length in 1 (`log2` 0), 2 or 4 bytes.
    fn length(&mut self, log2: u8) -> Result<usize, Malformed> {
        Ok(match log2 {
            0 => usize::from(self.byte()?),
            1 => usize::from(u16::from_be_bytes(self.array_of()?)),
            _ => usize::try_from(u32::from_be_bytes(self.array_of()?)).unwrap_or(usize::MAX),
        })
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array_of::<1>().map(|[byte]| byte)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns as many bytes as were asked for"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.source[self.at..];
        let Some(bytes) = rest.get(..length) else { return Err(Malformed::Truncated(self.at)) };
        self.at += length;
        Ok(bytes)
    }

    fn write_display(&mut self, value: impl std::fmt::Display) {
        use std::io::Write as _;
        write!(self.text, "{value}").expect("a vector takes every write");
    }
}

/// Bytes of text for which there is room at once.
const RESERVE_MAX: usize = 512;

/// notepack 2.2's `undefined`.
const UNDEFINED: [u8; 3] = [0xd4, 0x00, 0x00];

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar (Howard Hinnant's
/// `civil_from_days`): eras of 400 years that begin on the first of March.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}
