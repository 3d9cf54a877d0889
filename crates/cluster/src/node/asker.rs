//! Who waits for an answer: the address that a question carries, to be handed back with the answer.

use crate::name::{Nsp, RequestId, Uid};

/// Who waits for an answer, and to what. Where one answer is all there may be, handing it in gives this away.
#[derive(Debug, PartialEq, Eq)]
pub struct Asker {
    pub(super) uid: Uid,
    pub(super) nsp: Nsp,
    pub(super) request_id: RequestId,
    pub(super) here: bool,
}

impl Asker {
    /// Whether it is this server: a driver may then hand in nothing and add what it has here to the outcome by itself.
    pub const fn is_here(&self) -> bool {
        self.here
    }
}
