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
