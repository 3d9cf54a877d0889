//! What a request is, as far as the choice of its server goes.

use crate::member::MemberId;
use crate::pool::Key;

/// What a request is, as far as the choice of its server goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intent {
    /// It makes a session, which is counted.
    pub(crate) session: bool,
    /// It is of a session whose server nobody knows.
    pub(crate) of_session: bool,
    /// Who it should be, the first that fits.
    pub(crate) hints: Vec<Suggestion>,
}

/// Who a request's server should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suggestion {
    /// This one.
    Server(MemberId),
    /// Whom the key chooses.
    Key(Key),
}

impl Intent {
    /// Anybody.
    pub(crate) const fn anybody(session: bool) -> Self {
        Self { session, of_session: false, hints: Vec::new() }
    }
}
