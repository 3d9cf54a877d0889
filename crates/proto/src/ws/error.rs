//! How a peer can break RFC 6455.

/// The peer broke RFC 6455, or a limit of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// §5.2: no extension that was negotiated allows them here.
    #[error("reserved bits are set")]
    ReservedBits,
    /// §5.2: opcodes 3–7 and 11–15.
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// §5.1: a client masks every frame.
    #[error("a client's frame is not masked")]
    NotMasked,
    /// §5.1: a server masks no frame.
    #[error("a server's frame is masked")]
    Masked,
    /// §5.5: control frames are not fragmented.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// §5.5: control frames hold at most 125 bytes.
    #[error("a control frame is over 125 bytes long")]
    LongControl,
    /// §5.4: a continuation frame continues something.
    #[error("a continuation frame has nothing to continue")]
    NothingToContinue,
    /// §5.4: messages are not interleaved.
    #[error("a message starts within another")]
    Interleaved,
    /// §5.2: the top bit of a 64-bit length is zero.
    #[error("the top bit of a length is set")]
    LengthTopBit,
    /// §5.5.1: a close payload is empty or starts with two bytes of code.
    #[error("a close frame has one byte")]
    ShortClose,
    /// §7.4: codes that mean nothing on the wire.
    #[error("close code {0} is not for the wire")]
    CloseCode(u16),
    /// §8.1: text and close reasons are UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// RFC 7692 §7.2.2: a compressed message is DEFLATE.
    #[error("a compressed message cannot be inflated")]
    NotDeflated,
    /// Our limit on one message.
    #[error("a message is over {max} bytes long")]
    TooBig {
        /// The limit in bytes.
        max: usize,
    },
}

impl ProtocolError {
    /// The code for the close frame that answers this error: RFC 6455 §7.4.1.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            // The RFC names no code for a message that cannot be inflated; this is the official server's.
            Self::NotUtf8 | Self::NotDeflated => 1007,
            Self::TooBig { .. } => 1009,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::NotMasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NothingToContinue
            | Self::Interleaved
            | Self::LengthTopBit
            | Self::ShortClose
            | Self::CloseCode(_) => 1002,
        }
    }
}
