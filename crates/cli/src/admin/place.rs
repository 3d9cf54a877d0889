//! Where an operator is served: a Unix socket that only this user can open, or a TCP address with a token.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sockeye_edge::config::Endpoint;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// The parent directory of sockets.
const RUNTIME_DIR_VARIABLE: &str = "SOCKEYE_RUNTIME_DIR";

/// The Unix socket of a file that names none: the same for everybody who names that file.
pub(crate) fn default_socket(file: &Path) -> PathBuf {
    let base = std::env::var_os(RUNTIME_DIR_VARIABLE)
        .or_else(|| std::env::var_os("XDG_RUNTIME_DIR"))
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let whole = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut hasher = DefaultHasher::new();
    (whole, rustix::process::geteuid().as_raw()).hash(&mut hasher);
    base.join(format!("sockeye-admin-{:016x}.sock", hasher.finish()))
}

/// An open address.
pub(crate) enum Place {
    Tcp(TcpListener),
    Unix(UnixListener, Guard),
}

/// Removes a socket's file at the end.
pub(crate) struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Place {
    /// Opens it.
    pub(crate) fn open(at: &Endpoint) -> anyhow::Result<Self> {
        match at {
            Endpoint::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)
                    .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                    .and_then(TcpListener::from_std)
                    .with_context(|| format!("cannot listen on {address} for operators"))?;
                Ok(Self::Tcp(listener))
            }
            Endpoint::Unix(path) => {
                // A socket that nobody answers at was left by a process that was killed.
                match std::os::unix::net::UnixStream::connect(path) {
                    Ok(_) => {
                        bail!("{} is in use: this file runs already, stop that one first", path.display())
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        std::fs::remove_file(path)
                            .with_context(|| format!("cannot remove {}", path.display()))?;
                    }
                    Err(_) => {}
                }
                let told = || format!("cannot listen at {} for operators", path.display());
                let listener = UnixListener::bind(path).with_context(told)?;
                let guard = Guard(path.clone());
                // Whoever connects before this line is turned away by its user.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(told)?;
                Ok(Self::Unix(listener, guard))
            }
        }
    }

    /// Where it is.
    pub(crate) fn at(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string())
            }
            Self::Unix(_, guard) => format!("unix:{}", guard.0.display()),
        }
    }

    /// The next connection of somebody who may come.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener, _) => loop {
                let (stream, _) = listener.accept().await?;
                if stream.peer_cred().is_ok_and(|peer| is_us(peer.uid())) {
                    return Ok(Stream::Unix(stream));
                }
            },
        }
    }
}

/// A connection of an operator.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects to whoever runs a file; a Unix socket has to be of this user.
pub(crate) async fn connect(at: &Endpoint) -> anyhow::Result<Stream> {
    let told = || format!("nobody answers at {at}: is it running? sockeye up FILE starts it");
    match at {
        Endpoint::Tcp(address) => {
            let mut address: SocketAddr = *address;
            if address.ip().is_unspecified() {
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            Ok(Stream::Tcp(TcpStream::connect(address).await.with_context(told)?))
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.with_context(told)?;
            if !stream.peer_cred().is_ok_and(|peer| is_us(peer.uid())) {
                bail!("{} is another user's", path.display());
            }
            Ok(Stream::Unix(stream))
        }
    }
}

fn is_us(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw() || uid == 0
}
