//! The word to systemd that this program is ready, where it was started so.

use std::os::unix::net::UnixDatagram;

/// Says `READY=1` on `NOTIFY_SOCKET`, if there is one.
pub(crate) fn ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let said = UnixDatagram::unbound().and_then(|socket| {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        match path.as_bytes().strip_prefix(b"@") {
            Some(name) => {
                socket.send_to_addr(b"READY=1", &std::os::unix::net::SocketAddr::from_abstract_name(name)?)
            }
            None => socket.send_to(b"READY=1", &path),
        }
    });
    if let Err(error) = said {
        tracing::warn!(%error, "systemd does not hear that this is ready");
    }
}
