//! A member's socket in the mesh's directory: how it comes to stand there, and that it goes with its owner.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sockeye_cluster::mesh::{board_name, tag_of_socket};
use sockeye_proto::sid::Tag;
use tokio::net::{UnixListener, UnixStream};

/// A listening socket whose file is removed when it is dropped, with its member's board.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
    board: PathBuf,
    shut: bool,
}

impl Door {
    /// Listens on `<dir>/<tag>.sock`, readable by its owner only. A file of that name that nobody listens on is replaced.
    ///
    /// The socket is made under another name and listens before it gets its own: whoever sees it can connect.
    pub(super) fn open(dir: &Path, tag: Tag) -> io::Result<Self> {
        let path = socket_path(dir, tag);
        let fresh = dir.join(format!("{tag}.new"));
        remove(&fresh)?;
        let listener = UnixListener::bind(&fresh)?;
        let named = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
            .and_then(|()| give_name(&fresh, &path));
        remove(&fresh)?;
        named?;
        Ok(Self { listener, path, board: board_path(dir, tag), shut: false })
    }

    /// Takes the next connection.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken none.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Removes the file, so that nobody comes any more, and the board beside it.
    pub(super) fn shut(&mut self) {
        if std::mem::replace(&mut self.shut, true) {
            return;
        }
        for path in [&self.path, &self.board] {
            if let Err(error) = remove(path) {
                tracing::debug!(path = %path.display(), %error, "a file of the mesh stays behind");
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut();
    }
}

/// The tags whose sockets stand in the directory.
pub(super) fn members(dir: &Path) -> io::Result<Vec<Tag>> {
    let mut tags = Vec::new();
    for entry in fs::read_dir(dir)? {
        tags.extend(entry?.file_name().to_str().and_then(tag_of_socket));
    }
    Ok(tags)
}

/// Where a member's socket stands.
pub(super) fn socket_path(dir: &Path, tag: Tag) -> PathBuf {
    dir.join(format!("{tag}.sock"))
}

/// Where a member's board stands.
pub(super) fn board_path(dir: &Path, tag: Tag) -> PathBuf {
    dir.join(board_name(tag))
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Links the socket to its name; a file that stands there gives way when it refuses.
fn give_name(fresh: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(fresh, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => return linked,
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::rename(fresh, path),
        Ok(_) | Err(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("expected no living member at {}", path.display()),
        )),
    }
}
