//! A server that joins others of its machine by itself, without a supervisor: the mesh of a directory.

use crate::listen::Listening;
use crate::node_socket::is_ours;
use crate::private::{accept_private, bind_private};
use crate::worker::join_mesh;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// This server's door for requests that its neighbours relay.
pub(crate) struct Neighbours {
    private: UnixListener,
    path: PathBuf,
}

impl Neighbours {
    /// Joins the mesh, and waits until those who are there know this server. A directory that is not there is made, for this
    /// user alone.
    ///
    /// # Errors
    /// The directory cannot be made, or others may write in it; or a socket cannot be had.
    pub(crate) async fn join(listening: &Listening, dir: &Path) -> io::Result<Self> {
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("mesh_dir {}: {error}", dir.display()));
        DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(told)?;
        // Whoever can open a socket in it is believed.
        is_ours(dir).map_err(told)?;
        let core = &listening.site.core;
        let path = dir.join(format!("{}.http", core.tag));
        let private = bind_private(&path).map_err(told)?;
        let neighbours = Self { private, path };
        join_mesh(core, dir, Some(&neighbours.path)).map_err(told)?.settled().await;
        Ok(neighbours)
    }

    /// Takes what they relay, until it is dropped.
    pub(crate) async fn accept(&self, listening: &Listening) {
        accept_private(listening, &self.private, &mut JoinSet::new()).await;
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        // Whoever asks there afterwards is refused either way.
        drop(std::fs::remove_file(&self.path));
    }
}
