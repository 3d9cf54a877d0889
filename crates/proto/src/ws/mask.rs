//! The masking of client frames: RFC 6455 §5.3.

/// Masks or unmasks `data` in place; `offset` is how many bytes of the same payload went before.
pub fn apply(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let word = u32::from_le_bytes(mask).rotate_right(8 * (offset & 3) as u32);
    let double = u64::from(word) << 32 | u64::from(word);
    let wide = u128::from(double) << 64 | u128::from(double);
    let (chunks, rest) = data.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_le_bytes(*chunk) ^ wide).to_le_bytes();
    }
    // Most messages are short: what is left is taken by halves.
    let (chunks, rest) = rest.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_le_bytes(*chunk) ^ double).to_le_bytes();
    }
    let (chunks, rest) = rest.as_chunks_mut::<4>();
    for chunk in chunks {
        *chunk = (u32::from_le_bytes(*chunk) ^ word).to_le_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(word.to_le_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_in_pieces_equals_masking_byte_by_byte() {
        let mask = [0xA1, 0xB2, 0xC3, 0xD4];
        for len in 0..70 {
            let data: Vec<u8> = (0..len).collect();
            let plain: Vec<u8> = data.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            for cut in 0..=data.len() {
                let mut pieces = data.clone();
                let (head, tail) = pieces.split_at_mut(cut);
                apply(head, mask, 0);
                apply(tail, mask, cut);
                assert_eq!(pieces, plain, "{len} cut at {cut}");
            }
        }
    }
}
