//! The masking of client frames: RFC 6455 §5.3.

/// Masks or unmasks `data` in place; `offset` is how many bytes of the same payload went before.
pub fn apply(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset & 3);
    let wide = u128::from_ne_bytes(std::array::from_fn(|i| mask[i & 3]));
    let (chunks, rest) = data.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
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
