//! The parts of a NATS address: scheme, login, servers, parameters. Says what is wrong without the login.

/// What is wrong with an address.
#[derive(Debug)]
pub(crate) struct NoUrl(pub(crate) String);

/// An address in its parts, percent-decoded.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) servers: Vec<String>,
    pub(crate) parameters: Vec<(String, String)>,
}

/// Takes an address apart: `nats://user:password@host:port,host:port/?name=value&…`.
pub(crate) fn parts(url: &str) -> Result<Parts, NoUrl> {
    let wrong = |what: &str| NoUrl(what.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("there is no ://"))?;
    let tls = match scheme {
        "nats" => false,
        "tls" => true,
        _ => return Err(wrong("another scheme was given")),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.strip_suffix('/').unwrap_or(place);
    // A login holds no bare `@`, but people write them.
    let (login, hosts) = match place.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, place),
    };
    let (user, password) =
        match login.map(|login| login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)))) {
            Some((user, password)) => (Some(decoded(user)?), password.map(decoded).transpose()?),
            None => (None, None),
        };
    let mut servers = Vec::new();
    for host in hosts.split(',') {
        // Each may have the scheme again, as the official clients write it.
        let host = host.strip_prefix("nats://").or_else(|| host.strip_prefix("tls://")).unwrap_or(host);
        if host.is_empty() || host.contains(['/', ' ', '@']) {
            return Err(wrong(&format!("{host:?} is no host:port")));
        }
        servers.push(host.to_owned());
    }
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.push((decoded(name)?, decoded(value)?));
    }
    Ok(Parts { tls, user, password, servers, parameters })
}

fn decoded(text: &str) -> Result<String, NoUrl> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            decoded.push(byte);
            at += 1;
            continue;
        }
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(value.ok_or_else(|| NoUrl("a % is not followed by two digits of hex".into()))?);
        at += 3;
    }
    String::from_utf8(decoded).map_err(|_| NoUrl("its percent-encoding is no UTF-8".into()))
}
