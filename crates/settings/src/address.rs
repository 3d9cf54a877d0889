//! Addresses as people write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use sockeye_edge::config::Endpoint;

/// What a key that takes an address to listen on expects.
pub(crate) const LISTEN_EXPECTED: &str = "an address to listen on, such as \"0.0.0.0:80\", \":80\" for all addresses, \"127.0.0.1:3000\" or \"unix:/run/app.sock\"";

/// What a key that takes a server's address expects.
pub(crate) const SERVER_EXPECTED: &str =
    "a server's address, such as \"10.0.0.5:3000\", \"app01:3000\" or \"unix:/run/app.sock\"";

/// Where to listen: `0.0.0.0:80`, `:80` (all addresses), `80` (loopback), `localhost:80`, `unix:/path`.
pub(crate) fn listen(text: &str) -> Option<Endpoint> {
    if let Some(path) = unix(text) {
        return path;
    }
    if let Ok(port) = text.parse() {
        return Some(Endpoint::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip = match host {
        "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => bare(host).parse().ok()?,
    };
    Some(Endpoint::Tcp(SocketAddr::new(ip, port)))
}

/// A server, by address or by a name that somebody has to resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    At(Endpoint),
    Named(String, u16),
}

/// Where a server listens: `10.0.0.5:3000`, `app01:3000`, `http://app01:3000`, `unix:/path`.
pub(crate) fn server(text: &str) -> Option<Remote> {
    if let Some(path) = unix(text) {
        return path.map(Remote::At);
    }
    let plain = text.strip_prefix("http://").unwrap_or(text);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    let (host, port) = named(plain)?;
    if host == "localhost" {
        return Some(Remote::At(Endpoint::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))));
    }
    Some(match bare(&host).parse() {
        Ok(ip) => Remote::At(Endpoint::Tcp(SocketAddr::new(ip, port))),
        Err(_) => Remote::Named(host, port),
    })
}

/// Where a server listens, if the text is an address and no name.
#[must_use]
pub fn server_endpoint(text: &str) -> Option<Endpoint> {
    match server(text)? {
        Remote::At(at) => Some(at),
        Remote::Named(..) => None,
    }
}

/// `NAME:PORT`, with a port that is not 0.
pub(crate) fn named(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (is_host(host) || bare(host).parse::<IpAddr>().is_ok()).then(|| (host.to_owned(), port))
}

/// Whether a text can be the name of a host.
pub(crate) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// A host, or `*.` and a host.
pub(crate) fn is_pattern(text: &str) -> bool {
    is_host(text.strip_prefix("*.").unwrap_or(text)) || bare(text).parse::<IpAddr>().is_ok()
}

fn unix(text: &str) -> Option<Option<Endpoint>> {
    let path = text.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let fits = (2..=UNIX_PATH_MAX).contains(&path.len()) && path.starts_with('/') && !path.contains('\0');
    Some(fits.then(|| Endpoint::Unix(PathBuf::from(path))))
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// What the kernel takes (`sun_path`), less the byte at its end.
const UNIX_PATH_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, address) in [
            (":80", Some("0.0.0.0:80")),
            ("*:80", Some("0.0.0.0:80")),
            ("80", Some("127.0.0.1:80")),
            ("localhost:0", Some("127.0.0.1:0")),
            ("[::]:443", Some("[::]:443")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("unix:///run/a.sock", Some("unix:/run/a.sock")),
            ("unix:run/a.sock", None),
            ("unix:", None),
            ("app01:80", None),
            ("65536", None),
            ("0.0.0.0", None),
            ("", None),
        ] {
            assert_eq!(listen(text).map(|at| at.to_string()).as_deref(), address, "{text}");
        }
    }

    #[test]
    fn a_server_has_an_address_or_a_name() {
        let at = |text: &str| Some(Remote::At(listen(text).unwrap()));
        for (text, remote) in [
            ("10.0.0.5:3000", at("10.0.0.5:3000")),
            ("http://10.0.0.5:3000/", at("10.0.0.5:3000")),
            ("localhost:3000", at("127.0.0.1:3000")),
            ("[::1]:3000", at("[::1]:3000")),
            ("unix:/a", at("unix:/a")),
            ("app01:3000", Some(Remote::Named("app01".into(), 3000))),
            ("app01", None),
            ("app01:0", None),
            ("https://app01:3000", None),
            ("a b:3000", None),
            (":3000", None),
        ] {
            assert_eq!(server(text), remote, "{text}");
        }
    }
}
