//! A server that only visits the others: it speaks to their clients and asks for them, and has none of its own.
//!
//! In a mesh it is a member that says so, and nobody waits for its handlers. On a backplane it is nobody: what it says is published as by an
//! emitter, and only while it asks something it is counted among the servers of that namespace.

use crate::handle::Handle;
use crate::listen::Listening;
use crate::mesh::Mesh;
use crate::worker::join_mesh;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;

/// A visit to the other servers. When it is dropped, the guest is gone; what it said last may be lost then: [`leave`](Self::leave).
pub struct Guest {
    listening: Listening,
}

impl Guest {
    pub(crate) async fn join(listening: Listening) -> io::Result<Self> {
        let core = &listening.site.core;
        core.is_guest.store(true, Ordering::Relaxed);
        match (&core.config.adapter, &core.config.mesh_dir) {
            (Some(_), _) => {}
            (None, Some(dir)) => {
                let told = |error: io::Error| {
                    io::Error::new(error.kind(), format!("mesh_dir {}: {error}", dir.display()))
                };
                join_mesh(core, dir, None).map_err(told)?.settled().await;
            }
            (None, None) => {
                let text = "a guest needs mesh_dir or adapter: there is nobody to visit";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        Ok(Self { listening })
    }

    /// A handle to it, for [`admin::Service`](crate::admin::Service) and for numbers.
    pub fn handle(&self) -> Handle {
        self.listening.handle.clone()
    }

    /// Whether anybody is there to be spoken to; of a backplane that is not known, so it is `true`.
    pub fn has_company(&self) -> bool {
        match self.listening.site.core.mesh.get() {
            Some(mesh) => mesh.has_peers(),
            None => true,
        }
    }

    /// Leaves; what was said before is sent, for as long as a second.
    pub async fn leave(self) {
        if let Some(mesh) = self.listening.site.core.mesh.get() {
            Mesh::leave(mesh).await;
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("has_company", &self.has_company()).finish_non_exhaustive()
    }
}
