//! How far back a compressor may refer.

use std::fmt;

/// The base-2 logarithm of an LZ77 window in bytes: 8 to 15, as RFC 7692 §7.1.2 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(u8);

impl Window {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB: what holds where nothing is agreed upon.
    pub const MAX: Self = Self(15);

    /// A window of `1 << bits` bytes; `None` unless `bits` is 8 to 15.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits < Self::MIN.0 || bits > Self::MAX.0 { None } else { Some(Self(bits)) }
    }

    /// Reads a parameter's value: a decimal number without leading zeros.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let digits =
            value.len() <= 2 && !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
        value.parse().ok().filter(|_| digits).and_then(Self::new)
    }

    /// The number of bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The number of bits that the compressor is set to.
    ///
    /// zlib knows no window of 256 bytes. With one of 512 it refers at most 250 bytes back (it keeps 262 in hand), so
    /// a peer with 256 can follow.
    pub(super) const fn compressor_bits(self) -> u8 {
        if self.0 < 9 { 9 } else { self.0 }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_plain_number_from_8_to_15() {
        for bits in 8..=15 {
            assert_eq!(Window::parse(&bits.to_string()).map(Window::bits), Some(bits));
        }
        for value in ["7", "16", "", "010", "+10", "-9", "1e1", "0xa", "10 ", "٩", "256", "265"] {
            assert_eq!(Window::parse(value), None, "{value}");
        }
    }
}
