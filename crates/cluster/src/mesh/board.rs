//! The board on which a member shows which rooms somebody of its own is in: a file of which each byte stands for many rooms (`docs/mesh.md`,
//! "Interest").
//!
//! Says where a room stands on a board and counts what stands there. Files are the driver's.

use std::num::NonZeroU32;

use crate::name::Nsp;

/// Bytes of a member's board. Rooms beyond as many share bytes more and more, and then their members hear what is not for them.
pub const BOARD_BYTES: NonZeroU32 = NonZeroU32::new(65_536).expect("it is not 0");

/// The largest board of another that is looked at; a member with a larger one hears everything.
pub const BOARD_BYTES_MAX: u32 = 16 << 20;

/// Where a room of a namespace stands on a board of so many bytes; `None`: where the namespace itself stands.
///
/// FNV-1a of 32 bits, over the namespace, and for a room one zero byte and its name.
pub fn place(nsp: &Nsp, room: Option<&str>, bytes: NonZeroU32) -> u32 {
    let hash = |seed: u32, text: &[u8]| {
        text.iter().fold(seed, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    let namespace = hash(0x811c_9dc5, nsp.as_bytes());
    room.map_or(namespace, |room| hash(hash(namespace, &[0]), room.as_bytes())) % bytes
}

/// What stands on a member's own board, counted.
#[derive(Debug)]
pub struct Tally {
    counts: Box<[u32]>,
}

/// A byte that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub place: u32,
    /// Whether somebody is there.
    pub heard: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: vec![0; BOARD_BYTES.get() as usize].into() }
    }
}

impl Tally {
    /// Takes note that somebody is about to be in a room (`None`: in the namespace). To be told, and the mark written, *before* that is so.
    pub fn enter(&mut self, nsp: &Nsp, room: Option<&str>) -> Option<Mark> {
        let place = place(nsp, room, BOARD_BYTES);
        let count = &mut self.counts[place as usize];
        *count = count.saturating_add(1);
        (*count == 1).then_some(Mark { place, heard: true })
    }

    /// Takes note that somebody is in a room no more. To be told *after* that is so.
    pub fn leave(&mut self, nsp: &Nsp, room: Option<&str>) -> Option<Mark> {
        let place = place(nsp, room, BOARD_BYTES);
        let count = &mut self.counts[place as usize];
        let was = std::mem::replace(count, count.saturating_sub(1));
        (was == 1).then_some(Mark { place, heard: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_document() {
        let nsp = Nsp::new("/");
        for (room, expected) in
            [(None, 0x975e), (Some("kitchen"), 0x8b12), (Some(""), 0x48fa), (Some("ä"), 0xd3cd)]
        {
            assert_eq!(place(&nsp, room, BOARD_BYTES), expected, "{room:?}");
        }
    }

    #[test]
    fn a_byte_is_written_for_the_first_and_for_the_last() {
        let mut tally = Tally::default();
        let nsp = Nsp::new("/");
        let place = place(&nsp, Some("r"), BOARD_BYTES);
        assert_eq!(tally.enter(&nsp, Some("r")), Some(Mark { place, heard: true }));
        assert_eq!(tally.enter(&nsp, Some("r")), None);
        assert_eq!(tally.leave(&nsp, Some("r")), None);
        assert_eq!(tally.leave(&nsp, Some("r")), Some(Mark { place, heard: false }));
        assert_eq!(tally.leave(&nsp, Some("r")), None);
        assert_eq!(tally.enter(&nsp, Some("r")), Some(Mark { place, heard: true }));
    }
}
