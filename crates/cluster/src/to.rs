//! To whom a server speaks.

use crate::name::Uid;

/// Who is to get a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Every other server.
    All,
    /// The one that signs with this uid. Where nobody of that name can be reached, it is dropped; where a bus cannot
    /// address one, all may get it.
    One(Uid),
}
