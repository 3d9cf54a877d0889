//! nginx: `upstream`, `server` and `location` blocks.

use super::draft::{Answer, Draft, Listen, Server, Site, listen_address, quoted, server_address, set_key};
use super::virtual_host::{VirtualHost, place};
use crate::address;

/// A statement: its words, its line, and what is in its braces.
struct Statement {
    words: Vec<String>,
    line: usize,
    block: Vec<Self>,
}

/// How deep blocks are read.
const DEPTH_MAX: usize = 16;

pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let tokens = tokens(text);
    let (statements, _) = statements(&tokens, 0, 0);
    let mut servers = Vec::new();
    walk(&mut draft, &mut servers, &statements);
    place(&mut draft, &servers);
    draft
}

fn walk(draft: &mut Draft, servers: &mut Vec<VirtualHost>, statements: &[Statement]) {
    for statement in statements {
        match statement.words.first().map(String::as_str) {
            Some("http" | "stream") => walk(draft, servers, &statement.block),
            Some("upstream") => upstream(draft, statement),
            Some("server") => servers.push(server(draft, statement)),
            Some("worker_processes" | "worker_connections" | "events" | "worker_rlimit_nofile") => {
                draft.note(
                    statement.line,
                    format!(
                        "{} is not needed: threads and open files are as many as the machine has",
                        statement.words[0]
                    ),
                );
            }
            Some("keepalive_timeout" | "sendfile" | "include" | "default_type" | "types" | "map") | None => {}
            Some("log_format" | "access_log") => {
                draft.note(statement.line, "access logs are the table [access_log]: combined or JSON, with sid, transport and upstream");
            }
            Some(other) => draft.note(statement.line, format!("{other} has no counterpart")),
        }
    }
}

fn upstream(draft: &mut Draft, statement: &Statement) {
    let Some(name) = statement.words.get(1).cloned() else { return };
    draft.upstreams.entry(name.clone()).or_default();
    for inner in &statement.block {
        let words: Vec<&str> = inner.words.iter().map(String::as_str).collect();
        match &words[..] {
            ["server", at, options @ ..] => {
                let number =
                    |key: &str| options.iter().find_map(|option| option.strip_prefix(key)?.parse().ok());
                let state = if options.contains(&"down") {
                    Some("maintenance")
                } else {
                    options.contains(&"drain").then_some("drain")
                };
                for option in options.iter().filter(|option| {
                    option.starts_with("max_fails")
                        || option.starts_with("fail_timeout")
                        || **option == "backup"
                }) {
                    draft.note(inner.line, format!("{option} has no counterpart: a refused connection takes a server out at once, and health brings it back"));
                }
                let one = Server {
                    name: None,
                    address: server_address(at),
                    weight: number("weight="),
                    max_sessions: number("max_conns=").filter(|number| *number > 0),
                    state,
                };
                draft.upstreams.entry(name.clone()).or_default().servers.push(one);
            }
            ["ip_hash"] => draft.set(&name, "sticky = [\"sid\", \"ip_hash\"]"),
            ["hash", key, ..] if key.contains("remote_addr") => {
                draft.set(&name, "sticky = [\"sid\", \"ip\"]")
            }
            ["hash", key, ..] if key.contains("x_forwarded_for") => {
                draft.set(&name, "sticky = [\"sid\", \"xff\"]")
            }
            ["hash", key, ..] => match key.strip_prefix("$http_") {
                Some(header) => draft.set(
                    &name,
                    format!(
                        "sticky = [\"sid\", {}]",
                        quoted(&format!("header:{}", header.replace('_', "-")))
                    ),
                ),
                None => draft.note(
                    inner.line,
                    format!("hash {key} has no counterpart: sticky = \"sid\", the default, needs no key"),
                ),
            },
            ["sticky", "cookie", cookie, attributes @ ..] => {
                sticky_cookie(draft, inner.line, &name, cookie, attributes)
            }
            ["least_conn"] => draft.set(&name, "balance = \"leastconn\""),
            ["random", ..] => draft.set(&name, "balance = \"p2c\""),
            ["keepalive" | "zone", ..] => {}
            other => draft.note(inner.line, format!("{} has no counterpart", other.join(" "))),
        }
    }
}

fn sticky_cookie(draft: &mut Draft, line: usize, group: &str, name: &str, attributes: &[&str]) {
    let mut parts = vec![format!("name = {}", quoted(name))];
    for attribute in attributes {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let part = match key {
            "expires" if value != "max" => format!("expires = {}", quoted(value)),
            "domain" | "path" => format!("{key} = {}", quoted(value)),
            "httponly" => "http_only = true".to_owned(),
            "secure" => "secure = true".to_owned(),
            "samesite" => format!("same_site = {}", quoted(&value.to_ascii_lowercase())),
            _ => {
                draft.note(line, format!("{attribute} of the cookie has no counterpart"));
                continue;
            }
        };
        set_key(&mut parts, part);
    }
    draft.set(group, "sticky = [\"sid\", \"cookie\"]");
    draft.set(group, format!("cookie = {{ {} }}", parts.join(", ")));
}

fn server(draft: &mut Draft, statement: &Statement) -> VirtualHost {
    let find = |name: &'static str| {
        statement.block.iter().filter(move |inner| inner.words.first().is_some_and(|word| word == name))
    };
    let mut host = VirtualHost { line: statement.line, ..VirtualHost::default() };
    for inner in find("server_name") {
        for name in inner.words[1..].iter().filter(|name| *name != "_" && !name.is_empty()) {
            if address::is_pattern(name) {
                host.hosts.push(name.clone());
            } else {
                draft.note(inner.line, format!("server_name {name} has no counterpart"));
            }
        }
    }
    let word = |name: &'static str| find(name).next().and_then(|inner| inner.words.get(1).cloned());
    let certificate = word("ssl_certificate").zip(word("ssl_certificate_key"));
    let http2 = word("http2").is_some_and(|word| word == "on");
    for inner in find("listen") {
        listen(draft, &mut host, inner, certificate.as_ref(), http2);
    }
    if find("listen").next().is_none() {
        host.listens.push(Listen { address: ":80".to_owned(), ..Listen::default() });
    }
    host.redirect = redirect(&statement.block);
    for inner in &statement.block {
        match inner.words.first().map(String::as_str) {
            Some("location") => location(draft, inner, &mut host),
            Some(
                "server_name"
                | "listen"
                | "http2"
                | "ssl_certificate"
                | "ssl_certificate_key"
                | "port_in_redirect"
                | "root",
            )
            | None => {}
            Some("return" | "rewrite") if host.redirect.is_some() => {}
            Some(_) => directive(draft, inner, None),
        }
    }
    if let Some(root) = word("root").filter(|_| host.redirect.is_none()) {
        let answer = Answer::Files(root);
        host.sites.push(Site { path: "/".to_owned(), answer, ..Site::default() });
    }
    // `location /` alone, and it redirects: everybody goes.
    if let [Site { path, answer: Answer::Redirect(to, status, _), .. }] = &host.sites[..]
        && path == "/"
    {
        host.redirect = Some((to.clone(), *status));
    }
    host
}

fn listen(
    draft: &mut Draft,
    host: &mut VirtualHost,
    inner: &Statement,
    certificate: Option<&(String, String)>,
    http2: bool,
) {
    let Some((at, options)) = inner.words.get(1..).and_then(<[String]>::split_first) else { return };
    let has = |word: &str| options.iter().any(|option| option == word);
    if has("proxy_protocol") {
        draft.note(
            inner.line,
            "proxy_protocol: set proxy_protocol_from to the addresses of the balancer before this one",
        );
    }
    let known = ["ssl", "http2", "proxy_protocol", "default_server", "default", "reuseport", "deferred"];
    for option in options.iter().filter(|option| !known.contains(&option.as_str())) {
        draft.note(inner.line, format!("{option} of listen has no counterpart"));
    }
    let address = listen_address(at);
    if has("default_server") || has("default") {
        host.default_at.push(address.clone());
    }
    host.listens.push(Listen {
        address,
        certificate: certificate.filter(|_| has("ssl")).cloned(),
        http2: has("http2") || http2 && has("ssl"),
        ..Listen::default()
    });
}

/// Where statements send everybody.
fn redirect(block: &[Statement]) -> Option<(String, u16)> {
    for inner in block {
        let words: Vec<&str> = inner.words.iter().map(String::as_str).collect();
        let (status, to) = match &words[..] {
            ["return", status, to] => (status.parse().ok()?, *to),
            ["rewrite", _, to, "permanent" | "redirect"] => (301, *to),
            _ => continue,
        };
        let Some(rest) = to.strip_prefix("https://") else { continue };
        let host = rest.split(['/', '$']).next().unwrap_or_default();
        // The path is kept, so one that is set has no counterpart.
        if !matches!(rest[host.len()..].trim_start_matches('/').chars().next(), None | Some('$')) {
            continue;
        }
        let to = if address::is_host(host) { format!("https://{host}") } else { "https".to_owned() };
        return Some((to, if status == 308 { 308 } else { 301 }));
    }
    None
}

fn location(draft: &mut Draft, statement: &Statement, host: &mut VirtualHost) {
    let path = match &statement.words[1..] {
        [path] if path.starts_with('/') => path.clone(),
        [sign, path] if matches!(sign.as_str(), "^~" | "=") => path.clone(),
        _ => {
            draft.note(
                statement.line,
                "a location by a pattern has no counterpart: sites are matched by the beginning of the path",
            );
            return;
        }
    };
    let own_redirect = redirect(&statement.block);
    if let Some((to, status)) = own_redirect.clone() {
        let answer = Answer::Redirect(to, status, host.hosts.clone());
        host.sites.push(Site { path: path.clone(), answer, ..Site::default() });
    }
    let mut group = None;
    for inner in &statement.block {
        match inner.words.first().map(String::as_str) {
            Some("proxy_pass") => {
                let Some(to) = inner.words.get(1) else { continue };
                let plain = to.trim_start_matches("http://").trim_end_matches('/').to_owned();
                let name = plain.split('/').next().unwrap_or_default().to_owned();
                if plain.contains('/') {
                    draft.note(
                        inner.line,
                        format!("{to} rewrites the path, which has no counterpart: the path is kept"),
                    );
                }
                let own = draft.upstreams.entry(name.clone()).or_default();
                if own.servers.is_empty() && name.contains(':') {
                    own.servers.push(Server { address: server_address(&name), ..Server::default() });
                }
                group = Some(name);
            }
            Some("root") => {
                if let Some(root) = inner.words.get(1) {
                    let answer = Answer::Files(root.clone());
                    host.sites.push(Site { path: path.clone(), answer, ..Site::default() });
                }
            }
            Some("return" | "rewrite") if own_redirect.is_some() => {}
            Some(_) => directive(draft, inner, group.as_deref()),
            None => {}
        }
    }
    if let Some(group) = group {
        host.sites.push(Site { path, answer: Answer::Upstream(group), ..Site::default() });
    }
}

/// What is the same in a server and a location.
fn directive(draft: &mut Draft, inner: &Statement, group: Option<&str>) {
    let words: Vec<&str> = inner.words.iter().map(String::as_str).collect();
    match &words[..] {
        [
            "proxy_http_version" | "proxy_buffering" | "proxy_redirect" | "keepalive_timeout" | "access_log"
            | "error_log",
            ..,
        ] => {}
        ["proxy_set_header", "Upgrade", ..] => {}
        ["proxy_set_header", "Connection", value] if value.contains("pgrade") && !value.starts_with('$') => {
            draft.note(
                inner.line,
                "Connection \"upgrade\" was forced on every request; here it is sent with upgrades alone",
            );
        }
        [
            "proxy_set_header",
            "Connection" | "Host" | "X-Real-IP" | "X-Forwarded-For" | "X-Forwarded-Proto"
            | "X-Forwarded-Host" | "X-Forwarded-Port",
            ..,
        ] => {}
        ["proxy_read_timeout" | "proxy_send_timeout", time] => {
            let seconds = time.trim_end_matches('s').parse::<u64>().unwrap_or(60);
            match group {
                Some(group) if seconds > 45 => draft.set(group, format!("tunnel_timeout = \"{seconds}s\"")),
                _ => draft.note(
                    inner.line,
                    format!(
                        "{} is left out: a WebSocket may be silent for longer than the heartbeat by itself",
                        words.join(" ")
                    ),
                ),
            }
        }
        other => draft.note(inner.line, format!("{} has no counterpart", other.join(" "))),
    }
}

fn statements(tokens: &[(String, usize)], mut at: usize, depth: usize) -> (Vec<Statement>, usize) {
    let mut all = Vec::new();
    let mut current = Statement { words: Vec::new(), line: 0, block: Vec::new() };
    while let Some((token, line)) = tokens.get(at) {
        at += 1;
        match token.as_str() {
            ";" | "{" => {
                let mut done = std::mem::replace(
                    &mut current,
                    Statement { words: Vec::new(), line: 0, block: Vec::new() },
                );
                if token == "{" && depth < DEPTH_MAX {
                    (done.block, at) = statements(tokens, at, depth + 1);
                }
                // A sign without words before it says nothing.
                if !done.words.is_empty() {
                    all.push(done);
                }
            }
            "}" => {
                if depth > 0 {
                    break;
                }
            }
            word => {
                if current.words.is_empty() {
                    current.line = *line;
                }
                current.words.push(word.trim_start_matches('\u{1}').to_owned());
            }
        }
    }
    (all, at)
}

/// Words, and the signs that end statements; a quoted word is marked, so that it is no sign.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut word = String::new();
        let mut quote = None;
        for c in line.chars() {
            match (quote, c) {
                (Some(mark), c) if c == mark => quote = None,
                (Some(_), c) => word.push(c),
                (None, '"' | '\'') => {
                    quote = Some(c);
                    word.push('\u{1}');
                }
                (None, '#') if word.is_empty() => break,
                (None, c) if c.is_whitespace() => take(&mut tokens, &mut word, index),
                (None, ';' | '{' | '}') => {
                    take(&mut tokens, &mut word, index);
                    tokens.push((c.to_string(), index + 1));
                }
                (None, c) => word.push(c),
            }
        }
        take(&mut tokens, &mut word, index);
    }
    tokens
}

fn take(tokens: &mut Vec<(String, usize)>, word: &mut String, index: usize) {
    if !word.is_empty() {
        tokens.push((std::mem::take(word), index + 1));
    }
}
