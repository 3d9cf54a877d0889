//! One group of servers at run time: what it was told, and who they are.

use std::sync::Arc;

use crate::config::{self, Members};
use crate::workers::Workers;

/// A group as requests find it. A new configuration makes a new one; those who serve, and what is known of them, are shared with the one before.
pub(crate) struct Group {
    pub(crate) config: config::Group,
    pub(crate) workers: Arc<Workers>,
}

impl Group {
    /// Settles a group; `before` is the one that had its name.
    pub(crate) fn settle(config: config::Group, before: Option<&Self>, local: &Arc<Workers>) -> Self {
        let workers = match &config.members {
            Members::Workers { .. } => {
                local.settle(&config);
                Arc::clone(local)
            }
            Members::Static(_)
            | Members::Dns { .. }
            | Members::File(_)
            | Members::Registered { .. }
            | Members::Directory { .. } => match before {
                Some(before) if before.config.members == config.members => Arc::clone(&before.workers),
                Some(_) | None => Arc::new(Workers::new(&config)),
            },
        };
        Self { config, workers }
    }

    /// Whether its servers are this machine's workers, to whom whole connections can be handed.
    pub(crate) const fn is_local(&self) -> bool {
        matches!(self.config.members, Members::Workers { .. })
    }
}
