//! HAProxy: `frontend`, `listen` and `backend` sections.

use super::draft::{Draft, Listen, Server, quoted, server_address};

pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let mut section = ("", String::new());
    let mut here: Vec<usize> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        match &words[..] {
            [] => {}
            [kind @ ("frontend" | "listen" | "backend"), name, ..] => {
                section = (kind, (*name).to_owned());
                here.clear();
            }
            [kind @ ("global" | "defaults" | "resolvers" | "userlist" | "peers"), ..] => {
                section = (kind, String::new())
            }
            _ if matches!(section.0, "global" | "defaults") => default(&mut draft, line_number, &words),
            ["bind", at, options @ ..] => {
                let pem = options.iter().skip_while(|option| **option != "crt").nth(1);
                let own = (section.0 == "listen").then(|| section.1.clone());
                here.push(draft.listens.len());
                draft.listens.push(Listen {
                    address: super::draft::listen_address(at),
                    // One file of HAProxy holds both.
                    certificate: pem.map(|pem| ((*pem).to_owned(), (*pem).to_owned())),
                    upstream: own,
                    ..Listen::default()
                });
                if options.contains(&"accept-proxy") {
                    draft.note(line_number, "accept-proxy: set proxy_protocol_from to the addresses of the balancer before this one");
                }
            }
            ["default_backend", name] => {
                here.iter().for_each(|&at| draft.listens[at].upstream = Some((*name).to_owned()))
            }
            ["mode", mode] => here.iter().for_each(|&at| draft.listens[at].tcp = *mode == "tcp"),
            ["redirect" | "http-request", rest @ ..] if rest.contains(&"https") => {
                here.iter().for_each(|&at| draft.listens[at].redirect = Some(("https".to_owned(), 301)));
                draft.note(
                    line_number,
                    "a redirect goes only to hosts that are known: add them as server_names",
                );
            }
            _ => backend(&mut draft, line_number, &section.1, &words),
        }
    }
    draft
}

fn default(draft: &mut Draft, line: usize, words: &[&str]) {
    match words {
        ["mode" | "log" | "maxconn" | "daemon" | "option" | "retries" | "user" | "group" | "nbthread" | "stats", ..] => {}
        ["timeout", ..] => draft.note(line, format!("{} is left out: the edge's own times are in [limits], and a WebSocket outlives the heartbeat by itself", words.join(" "))),
        other => draft.note(line, format!("{} has no counterpart", other.join(" "))),
    }
}

fn backend(draft: &mut Draft, line: usize, group: &str, words: &[&str]) {
    match words {
        ["balance", "source"] => draft.set(group, "sticky = [\"sid\", \"ip\"]"),
        ["balance", "url_param", "sid", ..] => draft.set(group, "sticky = \"sid\""),
        ["balance", header, ..] if header.starts_with("hdr(") => {
            let name = header.trim_start_matches("hdr(").trim_end_matches(')').to_ascii_lowercase();
            let sticky = if name == "x-forwarded-for" { "xff".to_owned() } else { format!("header:{name}") };
            draft.set(group, format!("sticky = [\"sid\", {}]", quoted(&sticky)));
        }
        ["balance", algorithm @ ("roundrobin" | "leastconn" | "random"), ..] => {
            draft.set(group, format!("balance = \"{algorithm}\""))
        }
        ["balance", "static-rr"] => draft.set(group, "balance = \"roundrobin\""),
        ["option", "httpchk", method, path, ..] => {
            draft.set(group, format!("health.check = {}", quoted(&format!("{method} {path}"))))
        }
        ["option", "httpchk", path] => {
            draft.set(group, format!("health.check = {}", quoted(&format!("OPTIONS {path}"))))
        }
        ["http-check", "expect", "status", status] => {
            draft.set(group, format!("health.status = {}", quoted(status)))
        }
        ["cookie", name, options @ ..] => cookie(draft, line, group, name, options),
        ["server", name, at, options @ ..] => {
            let after = |key: &str| options.iter().skip_while(|option| **option != key).nth(1).copied();
            // What the cookie says of a server is its name.
            let name = after("cookie").unwrap_or(name);
            let weight = after("weight").and_then(|weight| weight.parse().ok());
            for (key, ours) in
                [("inter", "health.interval"), ("rise", "health.rise"), ("fall", "health.fall")]
            {
                let Some(value) = after(key) else { continue };
                let unit =
                    if value.bytes().all(|byte| byte.is_ascii_digit()) && key == "inter" { "ms" } else { "" };
                match (key, value.parse::<u32>()) {
                    ("inter", _) => {
                        draft.set(group, format!("{ours} = {}", quoted(&format!("{value}{unit}"))));
                    }
                    (_, Ok(number)) => draft.set(group, format!("{ours} = {number}")),
                    (_, Err(_)) => draft.note(line, format!("{key} {value}: expected a number")),
                }
            }
            let own = match (options.contains(&"send-proxy"), options.contains(&"send-proxy-v2")) {
                (true, _) => Some("send_proxy = \"v1\""),
                (_, true) => Some("send_proxy = \"v2\""),
                (false, false) => None,
            };
            if let Some(line) = own {
                draft.set(group, line);
            }
            if options.contains(&"disabled") || options.contains(&"backup") {
                draft.note(
                    line,
                    format!("{name}: disabled is state = \"maintenance\"; backup has no counterpart"),
                );
            }
            let one =
                Server { name: Some(name.to_owned()), address: server_address(at), weight, state: None };
            draft.upstreams.entry(group.to_owned()).or_default().servers.push(one);
        }
        ["option", "forwardfor" | "httpclose" | "http-server-close" | "redispatch", ..] => {}
        ["timeout", "tunnel", ..] | ["timeout", ..] => {
            draft.note(
                line,
                format!("{} is left out: a WebSocket outlives the heartbeat by itself", words.join(" ")),
            );
        }
        other => draft.note(line, format!("{} has no counterpart", other.join(" "))),
    }
}

fn cookie(draft: &mut Draft, line: usize, group: &str, name: &str, options: &[&str]) {
    let mode =
        ["prefix", "rewrite", "insert"].into_iter().find(|mode| options.contains(mode)).unwrap_or("insert");
    draft.set(group, "sticky = [\"sid\", \"cookie\"]");
    let secure = if options.contains(&"secure") { ", secure = true" } else { "" };
    draft.set(group, format!("cookie = {{ name = {}, mode = \"{mode}\"{secure} }}", quoted(name)));
    if mode != "insert" {
        draft.note(line, format!("the servers have to set the cookie {name} themselves: those of Socket.IO 4 do it only with the option cookie"));
    }
    if mode == "prefix" && options.contains(&"indirect") {
        draft.note(
            line,
            "prefix with indirect hides what the servers change in the cookie; here it is passed on",
        );
    }
}
