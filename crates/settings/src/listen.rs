//! `[[listen]]` and `[[tls]]`.

use std::collections::BTreeMap;

use sockeye_edge::config::{
    Certificate, Cidr, Endpoint, Http, Listener, ProxyVersion, Redirect, RedirectStatus, Serves, Tls,
};

use crate::address;
use crate::desk::{Desk, Sheet, elements, words};
use crate::facts::{Facts, Thing, is_path};
use crate::keys::{LISTEN, TLS};
use crate::place::Place;
use crate::tree::{Node, Table, Value};

/// A listener, and what was said of it that its [`Listener`] does not hold.
pub(crate) struct Opening {
    pub(crate) listener: Listener,
    pub(crate) place: Place,
    pub(crate) key: String,
    /// The group that everything goes to.
    pub(crate) upstream: Option<String>,
}

/// All listeners.
pub(crate) fn listeners(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Vec<Opening> {
    let certificates = certificates(desk, root, facts);
    let Some(entry) = root.get("listen") else {
        let (place, key) = (Place::File(0..0), "listen".to_owned());
        return vec![Opening { listener: Listener::default(), place, key, upstream: None }];
    };
    let mut found: Vec<Opening> = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let nodes = elements(&entry.node);
    for (index, node) in nodes.iter().enumerate() {
        let key = if nodes.len() == 1 { "listen".to_owned() } else { format!("listen.{index}") };
        let name = if index == 0 { "main".to_owned() } else { format!("listen-{index}") };
        let Some(one) = listener(desk, node, key, name, &certificates, facts) else { continue };
        if names.insert(one.listener.name.clone(), index).is_some() {
            let message =
                format!("there is another listener with the name {}: choose another", one.listener.name);
            desk.refuse_at(&one.place, &format!("{}.name", one.key), message);
        }
        let at = &one.listener.at;
        if found.iter().any(|other| clash(&other.listener.at, at)) {
            desk.refuse_at(
                &one.place,
                &one.key,
                format!("another listener has {at} already: choose another address"),
            );
        }
        found.push(one);
    }
    found
}

/// Whether two listeners want the same.
pub(crate) fn clash(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Tcp(one), Endpoint::Tcp(other)) if one.port() != 0 && one.port() == other.port() => {
            one.ip() == other.ip()
                || (one.is_ipv4() == other.is_ipv4()
                    && (one.ip().is_unspecified() || other.ip().is_unspecified()))
        }
        (one, other) => one == other && !matches!(one, Endpoint::Tcp(_)),
    }
}

fn listener(
    desk: &mut Desk<'_>,
    node: &Node,
    key: String,
    name: String,
    certificates: &[Certificate],
    facts: &Facts<'_>,
) -> Option<Opening> {
    let plain = Listener { name, ..Listener::default() };
    if !matches!(node.value, Value::Table(_)) {
        let at = words(node).and_then(|text| address::listen(&text));
        if at.is_none() {
            desk.refuse(&key, node, format!("expected {}, or a table", address::LISTEN_EXPECTED));
        }
        if let Some(Err(message)) = at.as_ref().map(|at| facts.takes(at)) {
            desk.refuse(&key, node, message);
        }
        return Some(Opening {
            listener: Listener { at: at?, ..plain },
            place: node.place.clone(),
            key,
            upstream: None,
        });
    }
    let sheet = desk.open(&key, node, &LISTEN)?;
    let own = certificate(desk, &sheet, facts);
    let mut wanted = sheet.flag(desk, "tls").unwrap_or(own.is_some());
    if sheet.node("certificate").is_none() && wanted && certificates.is_empty() {
        let message = "there is no certificate: add certificate and key here, or a [tls] (sockeye cert self-signed makes one)";
        desk.blame(&sheet, "tls", message);
        wanted = false;
    }
    let tls =
        wanted.then(|| Tls { certificates: own.map_or_else(|| certificates.to_vec(), |own| vec![own]) });
    let upstream = sheet.text(desk, "upstream", "the name of an upstream or an app");
    let send_proxy = sheet.choice(desk, "send_proxy", &PROXY_VERSIONS);
    let serves = if sheet.choice(desk, "mode", &[("http", false), ("tcp", true)]).unwrap_or(false) {
        redirect(desk, &sheet, Vec::new());
        for http_only in ["redirect", "http2", "websocket_over_http2", "server_names"] {
            if let Some(node) = sheet.node(http_only) {
                desk.refuse(
                    &sheet.key(http_only),
                    node,
                    "this needs mode = \"http\": a tcp listener only carries bytes",
                );
            }
        }
        if upstream.is_none() {
            desk.refuse_at(
                &sheet.place,
                &sheet.key("upstream"),
                "mode = \"tcp\" needs the name of the upstream that the bytes go to",
            );
        }
        Serves::Tcp { group: upstream.clone().unwrap_or_default(), send_proxy }
    } else {
        if let Some(node) = sheet.node("send_proxy") {
            desk.refuse(&sheet.key("send_proxy"), node, "this needs mode = \"tcp\": with http the client's address is in X-Forwarded-For, or set send_proxy of the upstream");
        }
        Serves::Http(http(desk, &sheet))
    };
    let cidr = |text: &str| text.parse::<Cidr>().ok();
    let listener = Listener {
        name: sheet.text(desk, "name", "a name").unwrap_or(plain.name),
        at: sheet.read(desk, "address", address::LISTEN_EXPECTED, address::listen).unwrap_or(plain.at),
        serves,
        tls,
        proxy_from: sheet.list(desk, "proxy_protocol_from", CIDR_EXPECTED, cidr).unwrap_or_default(),
        backlog: sheet.number(desk, "backlog", 1..=65_535).unwrap_or(plain.backlog),
        upgrades_percent_min: sheet
            .number(desk, "few_upgrades", 0..=100)
            .unwrap_or(plain.upgrades_percent_min),
    };
    if let Err(message) = facts.takes(&listener.at) {
        desk.blame(&sheet, "address", message);
    }
    Some(Opening { listener, place: sheet.place.clone(), key, upstream })
}

fn http(desk: &mut Desk<'_>, sheet: &Sheet<'_>) -> Http {
    let websocket_over_http2 = sheet.flag(desk, "websocket_over_http2").unwrap_or(false);
    let http2 = sheet.flag(desk, "http2").unwrap_or(false);
    if websocket_over_http2
        && !http2
        && let Some(node) = sheet.node("websocket_over_http2")
    {
        desk.refuse(&sheet.key("websocket_over_http2"), node, "this needs http2 = true");
    }
    Http { http2, websocket_over_http2, redirect: redirect(desk, sheet, Vec::new()) }
}

/// The redirect of a listener or a site.
pub(crate) fn redirect(desk: &mut Desk<'_>, sheet: &Sheet<'_>, hosts: Vec<String>) -> Option<Redirect> {
    let host = |text: &str| address::is_host(text).then(|| text.to_ascii_lowercase());
    let server_names =
        sheet.list(desk, "server_names", "a host such as \"io.example.com\", without a port", host);
    let status = sheet.choice(
        desk,
        "redirect_status",
        &[("301", RedirectStatus::Moved), ("308", RedirectStatus::Permanent)],
    );
    let port = sheet.number(desk, "redirect_port", 1..=65_535);
    let expected = "\"https\", \"http\", or an address such as \"https://io.example.com\"";
    let target = sheet.read(desk, "redirect", expected, target)?;
    let (scheme, host, own_port) = target;
    let server_names = server_names.unwrap_or(hosts);
    let status = status.unwrap_or_default();
    if host.is_none()
        && server_names.is_empty()
        && let Some(node) = sheet.node("redirect")
    {
        let message = "each request gets a 400, as nobody said to which hosts clients may be sent: set server_names, or name the host, such as \"https://io.example.com\"";
        desk.warn(&node.place, (&sheet.key("redirect"), true), message);
    }
    Some(Redirect { status, scheme, host, server_names, port: port.or(own_port) })
}

/// The scheme, host and port of `https` or `https://host:port`.
fn target(text: &str) -> Option<(String, Option<String>, Option<u16>)> {
    let (scheme, rest) = text.split_once("://").map_or((text, None), |(scheme, rest)| (scheme, Some(rest)));
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let Some(rest) = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else {
        return Some((scheme.to_owned(), None, None));
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (rest, None),
    };
    address::is_host(host).then(|| (scheme.to_owned(), Some(host.to_ascii_lowercase()), port))
}

/// The certificates of `[tls]`.
fn certificates(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Vec<Certificate> {
    let Some(entry) = root.get("tls") else { return Vec::new() };
    let nodes = elements(&entry.node);
    let mut found = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let key = if nodes.len() == 1 { "tls".to_owned() } else { format!("tls.{index}") };
        let Some(sheet) = desk.open(&key, node, &TLS) else { continue };
        if sheet.node("certificate").is_none() {
            desk.refuse_at(&sheet.place, &sheet.key("certificate"), "expected the path of a PEM file");
        }
        found.extend(certificate(desk, &sheet, facts));
    }
    found
}

fn certificate(desk: &mut Desk<'_>, sheet: &Sheet<'_>, facts: &Facts<'_>) -> Option<Certificate> {
    let mut path =
        |key| sheet.read(desk, key, "the path of a PEM file", is_path).map(|text| facts.path(&text));
    let (certificate, key, chain) = (path("certificate"), path("key"), path("chain"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let certificate = Certificate { certificate, chain, key };
            if let Err(fault) = (facts.look)(&Thing::Certificate(&certificate)) {
                desk.blame(sheet, &fault.key, fault.message);
            }
            Some(certificate)
        }
        (Some(_), None) if sheet.node("key").is_none() => {
            desk.refuse_at(
                &sheet.place,
                &sheet.key("key"),
                "expected the path of the certificate's key, a PEM file",
            );
            None
        }
        (None, Some(_)) if sheet.node("certificate").is_none() => {
            desk.refuse_at(
                &sheet.place,
                &sheet.key("certificate"),
                "expected the path of the key's certificate, a PEM file",
            );
            None
        }
        (Some(_) | None, None) | (None, Some(_)) => None,
    }
}

/// What a key that takes ranges expects.
pub(crate) const CIDR_EXPECTED: &str = "an address or a range, such as \"10.0.0.0/8\" or \"::1\"";

/// The words for versions of the PROXY protocol.
pub(crate) const PROXY_VERSIONS: [(&str, ProxyVersion); 2] =
    [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
