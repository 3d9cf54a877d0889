//! WebSocket frames, as far as the floor needs them: whole, masked, short of the read buffer.

/// A client's frame, found in a buffer.
pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    /// Where the payload starts, from the frame's first byte.
    pub(crate) start: usize,
    /// Where the frame ends.
    pub(crate) end: usize,
}

/// A frame the floor does not answer: fragmented, unmasked or too long.
#[derive(Debug, PartialEq)]
pub(crate) struct Unfit;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Finds the frame at the start of `bytes`; `None` when it is not whole yet.
#[inline]
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, Unfit> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x80 == 0 || second & 0x80 == 0 {
        return Err(Unfit);
    }
    let (length, at) = match second & 0x7f {
        127 => return Err(Unfit),
        126 => match *bytes {
            [_, _, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
            _ => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    let start = at + 4;
    let end = start + length;
    let Some(&[a, b, c, d]) = bytes.get(at..start) else { return Ok(None) };
    if bytes.len() < end {
        return Ok(None);
    }
    Ok(Some(Head { opcode: first & 0x0f, mask: [a, b, c, d], start, end }))
}

/// Takes the mask off a payload, eight bytes at a time.
#[inline]
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(word) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a server's frame whose payload is `parts`, one after the other.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [.., high, low] = length.to_be_bytes();
    // The read buffer bounds what came in, so nothing that goes out needs the 64-bit length.
    assert!(length <= usize::from(u16::MAX), "a frame of {length} bytes");
    if length < 126 {
        out.extend_from_slice(&[0x80 | opcode, low]);
    } else {
        out.extend_from_slice(&[0x80 | opcode, 126, high, low]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::{TEXT, Unfit, head, push, unmask};

    #[test]
    fn a_frame_is_found_only_when_whole() {
        let frame = [0x81, 0x82, 1, 2, 3, 4, b'4' ^ 1, b'0' ^ 2];
        for cut in 0..frame.len() {
            assert!(head(&frame[..cut]).unwrap().is_none(), "{cut} bytes");
        }
        let found = head(&frame).unwrap().unwrap();
        assert_eq!((found.opcode, found.start, found.end), (TEXT, 6, 8));
    }

    #[test]
    fn unmasked_fragmented_and_huge_frames_are_unfit() {
        for bytes in [[0x81, 0x02], [0x01, 0x82], [0x81, 0xff]] {
            assert_eq!(head(&bytes).err(), Some(Unfit), "{bytes:?}");
        }
    }

    #[test]
    fn unmasking_works_at_every_length() {
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).collect();
            let mut masked: Vec<u8> =
                plain.iter().zip([7, 1, 9, 4].iter().cycle()).map(|(b, m)| b ^ m).collect();
            unmask(&mut masked, [7, 1, 9, 4]);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn the_header_grows_at_126() {
        let mut out = Vec::new();
        push(&mut out, TEXT, &[&[b'a'; 100], &[b'b'; 25]]);
        assert_eq!(out[..2], [0x81, 125]);
        out.clear();
        push(&mut out, TEXT, &[&[b'a'; 100], &[b'b'; 26]]);
        assert_eq!(out[..4], [0x81, 126, 0, 126]);
    }
}
