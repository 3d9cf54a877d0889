//! A namespace as it is spoken to by its name alone, from outside of the program: one of this server's, or one that lives elsewhere only.

use crate::backplane::Branch;
use crate::core::{Application, Core};
use crate::delivery::Hub;
use crate::handler::Handlers;
use crate::orders;
use crate::realms::Realm;
use sockeye_cluster::adapter::{Adapter, AdapterError};
use sockeye_cluster::{Nsp, Outcome, Request};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The way to a namespace.
pub(crate) enum Reach {
    /// By its hub.
    Hub(Arc<Hub>),
    /// By a backplane that this server is not on for this namespace.
    Backplane(Visit),
}

/// A namespace that lives elsewhere.
pub(crate) struct Visit {
    /// The backplane.
    pub(crate) adapter: Arc<dyn Adapter>,
    /// The namespace.
    pub(crate) nsp: Nsp,
    core: Arc<Core>,
}

impl Core {
    /// Finds the way to a namespace. `None`: this server is alone, and has none of that name.
    pub(crate) fn reach(self: &Arc<Self>, nsp: &str) -> Option<Reach> {
        if matches!(self.application, Application::Engine(_)) {
            return None;
        }
        let visits = self.is_guest.load(Ordering::Relaxed);
        match (self.realm(nsp), &self.config.adapter) {
            (Some(realm), None) => Some(Reach::Hub(Arc::clone(&realm.hub))),
            (Some(realm), Some(_)) if !visits => Some(Reach::Hub(Arc::clone(&realm.hub))),
            (Some(_) | None, Some(adapter)) => Some(Reach::Backplane(Visit {
                adapter: Arc::clone(adapter),
                nsp: Nsp::new(nsp),
                core: Arc::clone(self),
            })),
            (None, None) => self.mesh.get().map(|_| Reach::Hub(Arc::new(self.hub_of(Nsp::new(nsp))))),
        }
    }

    /// The names of the namespaces that live here.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let Application::SocketIo(realms) = &self.application else { return Vec::new() };
        let mut names: Vec<_> = realms.all().iter().map(|realm| realm.hub.nsp().to_string()).collect();
        names.sort();
        names
    }

    /// A hub for a namespace without sockets here.
    fn hub_of(&self, nsp: Nsp) -> Hub {
        Hub::new(nsp, 1, Arc::clone(&self.mesh), self.config.attachments_max, self.config.parser)
    }
}

impl Visit {
    /// Asks the servers of the namespace. For as long as that takes this one is counted among them.
    ///
    /// # Errors
    /// The backplane cannot be reached, or too much is asked at a time.
    pub(crate) async fn ask(&self, request: Request) -> Result<Outcome, String> {
        let bytes_max = usize::try_from(self.core.config.backplane_bytes_max).unwrap_or(usize::MAX);
        let branch = Branch::new(Arc::clone(&self.adapter), self.nsp.clone(), false, bytes_max);
        let hub = Arc::new(self.core.hub_of(self.nsp.clone()).on_backplane(Some(branch)));
        let realm = Realm::new(Arc::clone(&hub), Arc::new(Handlers::default()));
        if let Some(opened) = orders::open(&realm, None, true) {
            let opened = opened.await.unwrap_or_else(|_| Err(AdapterError::Unreachable("it closed".into())));
            opened.map_err(|error| error.to_string())?;
        }
        let outcome = hub.ask(request).await.map_err(|unanswered| format!("{unanswered:?}"));
        if let Some(branch) = hub.branch() {
            branch.leave().await;
        }
        outcome
    }
}
