//! Where a client stands in the events of a namespace: a number, written so that it is short and sorts.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A place in the events of a namespace: the number of the last one that was met.
///
/// Written as [`Offset::LEN`] characters of `[-0-9A-Z_a-z]`, which sort as the numbers do.
///
/// ```
/// use sockeye_cluster::recovery::Offset;
///
/// let (early, late) = (Offset::new(63), Offset::new(64));
/// assert_eq!((early.to_string().as_str(), late.to_string().as_str()), ("--------z", "-------0-"));
/// assert_eq!("-------0-".parse(), Ok(late));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

/// A text that is no [`Offset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected an offset of {} characters", Offset::LEN)]
pub struct NoOffset;

impl Offset {
    /// Characters in an offset.
    pub const LEN: usize = 9;

    /// The largest number that an offset can be: 54 bits.
    pub const MAX: u64 = (1 << (6 * Self::LEN)) - 1;

    /// Makes the offset of this number; bits beyond [`Offset::MAX`] are dropped.
    pub const fn new(number: u64) -> Self {
        Self(number & Self::MAX)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The offset of the next event.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }
}

impl FromStr for Offset {
    type Err = NoOffset;

    fn from_str(text: &str) -> Result<Self, NoOffset> {
        if text.len() != Self::LEN {
            return Err(NoOffset);
        }
        let digit = |number: u64, char: u8| {
            let digit = ALPHABET.iter().position(|known| *known == char)?;
            Some(number << 6 | u64::try_from(digit).ok()?)
        };
        text.bytes().try_fold(0, digit).map(Self).ok_or(NoOffset)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in (0..Self::LEN).rev() {
            let digit = (self.0 >> (6 * at)) & 63;
            write!(f, "{}", char::from(ALPHABET[usize::try_from(digit).unwrap_or(0)]))?;
        }
        Ok(())
    }
}

/// In the order of ASCII, and none that JSON or a URL escapes.
const ALPHABET: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
