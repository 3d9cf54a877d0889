//! How an adapter is called before people.

use crate::server::Server;

/// Scheme and addresses, without user and password.
pub(crate) fn place(scheme: &str, server: &Server) -> String {
    let scheme = if server.tls.is_some() { scheme.replacen("redis", "rediss", 1) } else { scheme.to_owned() };
    let addresses: Vec<_> = server.addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    format!("{scheme}://{}", addresses.join(","))
}
