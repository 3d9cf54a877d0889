//! Why there is no answer at all.

use sockeye_cluster::Refused;

/// Why there is no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nobody was asked.
    Refused(Refused),
    /// Nobody was asked: the hub stands for many namespaces.
    ManyNamespaces,
    /// The server ends while it asks.
    Gone,
}

impl From<Refused> for Unanswered {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
