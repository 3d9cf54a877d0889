//! The sockets by which servers of one machine and one user carry requests to each other, with nothing to set.
//!
//! They lie in one directory that is this user's alone. Beside them a file holds a random text: servers that read the same one see
//! the same sockets, whatever containers they run in.

use crate::listen::Listening;
use crate::node_sockets::NodeSockets;
use crate::private::{accept_private, bind_private};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// The file that names the directory.
const NAME: &str = "name";

/// The socket of this server.
pub(crate) struct NodeSocket {
    listener: UnixListener,
    pub(crate) path: PathBuf,
    /// What the directory is called: the same for all who see its sockets.
    pub(crate) place: Box<str>,
}

/// Makes this server's socket, if it is to have one.
///
/// # Errors
/// The directory that was set cannot be made, or is not this user's alone.
pub(crate) fn bind(sockets: &NodeSockets) -> io::Result<Option<NodeSocket>> {
    match sockets {
        NodeSockets::Off => Ok(None),
        NodeSockets::In(dir) => NodeSocket::bind(dir)
            .map(Some)
            .map_err(|error| io::Error::new(error.kind(), format!("node_sockets {}: {error}", dir.display()))),
        NodeSockets::User => Ok(user_dir().and_then(|dir| NodeSocket::bind(&dir)).map_or_else(
            |error| {
                tracing::warn!(%error, "no socket for other servers of this machine: sessions have to be sticky, or Config::node_sockets set");
                None
            },
            Some,
        )),
    }
}

/// What the directory of sockets is called, for who has none there: none where there is no such directory.
///
/// # Errors
/// The directory that was set cannot be made, or is not this user's alone.
pub(crate) fn place_of(sockets: &NodeSockets) -> io::Result<Option<Box<str>>> {
    let prepare = |dir: PathBuf| {
        DirBuilder::new().mode(0o700).recursive(true).create(&dir)?;
        is_ours(&dir)?;
        place(&dir)
    };
    match sockets {
        NodeSockets::Off => Ok(None),
        NodeSockets::In(dir) => prepare(dir.clone()).map(Some),
        NodeSockets::User => Ok(user_dir().and_then(prepare).ok()),
    }
}

impl NodeSocket {
    fn bind(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
        is_ours(dir)?;
        sweep(dir);
        let place = place(dir)?;
        let path = dir.join(format!("{:016x}.sock", rand::random::<u64>()));
        // Under another name until it listens: whoever sees it can connect.
        let early = path.with_extension("new");
        let listener = bind_private(&early)?;
        fs::rename(&early, &path)?;
        Ok(Self { listener, path, place })
    }

    /// Takes what others carry here, until it is dropped. Who can open the socket is trusted.
    pub(crate) async fn accept(&self, listening: &Listening) {
        accept_private(listening, &self.listener, &mut JoinSet::new()).await;
    }
}

impl Drop for NodeSocket {
    fn drop(&mut self) {
        // Whoever asks there afterwards is refused either way.
        drop(fs::remove_file(&self.path));
    }
}

fn user_dir() -> io::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        return Ok(Path::new(&dir).join("sockeye-nodes"));
    }
    Ok(std::env::temp_dir().join(format!("sockeye-nodes-{}", user()?)))
}

/// The user that this process acts as.
fn user() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

/// Others may have made it first, or a link of its name.
pub(crate) fn is_ours(dir: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(dir)?;
    let (mode, owner) = (found.mode() & 0o777, found.uid());
    if found.is_dir() && mode & 0o077 == 0 && owner == user()? {
        return Ok(());
    }
    let words =
        format!("expected a directory of this user alone (mode 700), got mode {mode:o} of user {owner}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, words))
}

/// Reads the directory's name, or gives it one.
fn place(dir: &Path) -> io::Result<Box<str>> {
    let file = dir.join(NAME);
    let own = dir.join(format!("{:016x}.tmp", rand::random::<u64>()));
    fs::write(&own, format!("{:032x}", rand::random::<u128>()))?;
    // A link is made by one of several servers that begin at the same time, and whole.
    let linked = fs::hard_link(&own, &file);
    fs::remove_file(&own)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(fs::read_to_string(&file)?.into()),
    }
}

/// Removes the sockets of servers that died.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_socket = path.extension().is_some_and(|extension| extension == "sock");
        if is_socket
            && UnixStream::connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            // What cannot be removed is refused again.
            drop(fs::remove_file(&path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn servers_of_one_directory_call_it_by_one_name() {
        let root = tempfile::tempdir().unwrap();
        let (here, there) = (root.path().join("here"), root.path().join("there"));
        let socket = |dir: &Path| bind(&NodeSockets::In(dir.to_owned())).unwrap().unwrap();
        let (one, two, other) = (socket(&here), socket(&here), socket(&there));
        assert_eq!(one.place, two.place);
        assert_ne!(one.place, other.place);
        assert!(UnixStream::connect(&one.path).is_ok());
        let path = one.path.clone();
        drop(one);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_server_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("nodes");
        let sockets = NodeSockets::In(dir.clone());
        let first = bind(&sockets).unwrap().unwrap();
        let dead = dir.join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let second = bind(&sockets).unwrap().unwrap();
        assert!(!dead.exists() && first.path.exists() && second.path.exists());
    }

    #[tokio::test]
    async fn a_directory_that_others_may_enter_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let error = bind(&NodeSockets::In(root.path().to_owned())).err().unwrap().to_string();
        assert!(error.contains("node_sockets") && error.contains("mode 755"), "{error}");
        assert!(bind(&NodeSockets::Off).unwrap().is_none());
    }
}
