//! JSON as it came: short texts need no allocation, long ones are shared.

use bytes::Bytes;
use std::ops::Deref;

/// Bytes of a text that stands in place.
const SHORT: usize = 46;

/// A piece of JSON that nobody has looked into.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

const _: () = assert!(size_of::<Raw>() == 48);

impl From<&[u8]> for Raw {
    fn from(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text);
                Self::Short { length, bytes }
            }
            _ => Self::Long(Bytes::copy_from_slice(text)),
        }
    }
}

impl From<Vec<u8>> for Raw {
    fn from(text: Vec<u8>) -> Self {
        if text.len() <= SHORT { text.as_slice().into() } else { Self::Long(text.into()) }
    }
}

impl Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Raw {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_stay_what_they_are() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 300, 70_000] {
            let text = vec![b'x'; length];
            assert_eq!(*Raw::from(text.as_slice()), *text);
            assert_eq!(Raw::from(text.clone()), Raw::from(text.as_slice()));
        }
        assert_ne!(Raw::from(&b"1"[..]), Raw::from(&b"2"[..]));
    }
}
