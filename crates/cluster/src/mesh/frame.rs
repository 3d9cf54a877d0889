//! Mesh frames: a length of 4 bytes, big-endian, then as many bytes (`docs/mesh.md`, "Frames").

use bytes::Bytes;
use thiserror::Error;

/// The longest payload of a frame, in bytes. A longer one is not sent; a member that announces one is cut off.
///
/// Far above what a client may send (1 MB by default) and what servers emit; low enough that one member cannot
/// exhaust the memory of another.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A frame longer than [`FRAME_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a frame of at most {FRAME_BYTES_MAX} bytes, got {0}")]
pub struct FrameTooLong(pub usize);

/// Writes what goes before a payload of this length.
///
/// # Errors
///
/// Fails when the payload is longer than [`FRAME_BYTES_MAX`].
pub fn frame_header(length: usize) -> Result<[u8; 4], FrameTooLong> {
    match u32::try_from(length) {
        Ok(short) if length <= FRAME_BYTES_MAX => Ok(short.to_be_bytes()),
        _ => Err(FrameTooLong(length)),
    }
}

/// Cuts a stream of bytes into payloads; between frames it holds no memory.
///
/// ```
/// use sockeye_cluster::mesh::FrameDecoder;
///
/// let mut decoder = FrameDecoder::default();
/// let mut input = &b"\0\0\0\x02{}\0\0\0\x03{"[..];
/// assert_eq!(decoder.decode(&mut input)?.as_deref(), Some(&b"{}"[..]));
/// assert_eq!(decoder.decode(&mut input)?, None); // and the input is empty: read more
/// let mut input = &b" }"[..];
/// assert_eq!(decoder.decode(&mut input)?.as_deref(), Some(&b"{ }"[..]));
/// # Ok::<(), sockeye_cluster::mesh::FrameTooLong>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameDecoder {
    header: [u8; 4],
    header_len: usize,
    body: Vec<u8>,
}

impl FrameDecoder {
    /// Takes from `input` what the next frame needs and returns its payload once it is whole.
    ///
    /// `None` means that the input is used up. Memory is taken as bytes arrive, not on the word of the header.
    ///
    /// # Errors
    ///
    /// Fails when the header announces more than [`FRAME_BYTES_MAX`]; the stream is of no further use.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, FrameTooLong> {
        let taken = input.len().min(self.header.len() - self.header_len);
        self.header[self.header_len..self.header_len + taken].copy_from_slice(&input[..taken]);
        self.header_len += taken;
        *input = &input[taken..];
        if self.header_len < self.header.len() {
            return Ok(None);
        }
        let length = usize::try_from(u32::from_be_bytes(self.header)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FrameTooLong(length));
        }
        let (body, rest) = input.split_at(input.len().min(length - self.body.len()));
        *input = rest;
        if self.body.is_empty() && body.len() == length {
            self.header_len = 0;
            return Ok(Some(Bytes::copy_from_slice(body)));
        }
        self.body.extend_from_slice(body);
        if self.body.len() < length {
            return Ok(None);
        }
        self.header_len = 0;
        Ok(Some(Bytes::from(std::mem::take(&mut self.body))))
    }

    /// Whether the stream stands between two frames, where it may end.
    pub const fn is_idle(&self) -> bool {
        self.header_len == 0
    }
}
