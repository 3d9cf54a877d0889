//! Lines of a head that are written as nearly all are: `name: value`, of printable ASCII, with CRLF at their end. Whatever is written otherwise, right or wrong, is
//! a parser's to judge. Pure.

/// The first line, without its end.
pub(super) fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    // The one that is furthest above a space, or below it and so around: for that the compiler looks at many at once.
    let most = line.iter().fold(0, |most: u8, byte| most.max(byte.wrapping_sub(b' ')));
    if most > b'~' - b' ' { None } else { Some(line) }
}

/// The first line as a field: its name, its value, and how long it is with its end.
pub(super) fn field(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let line = line(bytes)?;
    let colon = line.iter().position(|byte| !IS_OF_NAME[usize::from(*byte)]).filter(|at| *at > 0)?;
    let value = line[colon..].strip_prefix(b": ")?;
    let spaced = value.first().is_none_or(|byte| *byte == b' ') || value.ends_with(b" ");
    if spaced { None } else { Some((&line[..colon], value, line.len() + 2)) }
}

/// Of what a name may hold (RFC 9110 §5.6.2) what names do hold.
const IS_OF_NAME: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        bytes[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        byte += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_fields_are_taken() {
        let (name, value, length) = field(b"X-a_1: b: c\r\nnext").unwrap();
        assert_eq!((name, value, length), (&b"X-a_1"[..], &b"b: c"[..], 13));
        for other in [
            "",
            "a: b",
            "a: b\r",
            "a: b\n",
            "a:b\r\n",
            "a:  b\r\n",
            "a: b \r\n",
            "a: \r\n",
            "a:\r\n",
            ": b\r\n",
            " a: b\r\n",
            "a : b\r\n",
            "a. b: c\r\n",
            "a\r\n",
            "a: b\rc\r\n",
            "a: b\tc\r\n",
            "a: \u{e9}\r\n",
            "a: b\0\r\n",
        ] {
            assert_eq!(field(other.as_bytes()), None, "{other:?}");
        }
    }
}
