//! HAProxy: sections of lines, and what is wrong in them.

use super::duration::{HEARTBEAT_SECONDS, seconds};
use crate::report::Finding;
use crate::rule;

pub(super) fn examine(text: &str) -> Vec<Finding> {
    let sections = parse(text);
    let defaults: Vec<&Section<'_>> = sections.iter().filter(|section| section.kind == "defaults").collect();
    let mut findings = Vec::new();
    let mut missing_mode = None;
    for section in &sections {
        let proxies = matches!(section.kind, "listen" | "backend" | "frontend");
        if !proxies {
            continue;
        }
        // What a section does not say, the defaults before it do.
        let above = defaults.iter().rev().find(|defaults| defaults.line < section.line);
        let both = || section.lines.iter().chain(above.into_iter().flat_map(|above| &above.lines));
        let mode = both().find(|line| line.is("mode", &[]));
        if mode.is_none_or(|line| line.words.get(1) != Some(&"http")) {
            missing_mode.get_or_insert((
                mode.map_or(section.line, |line| line.number),
                mode.is_some(),
                section.title(),
            ));
        }
        if section.lines.iter().any(|line| line.is("server", &[])) {
            examine_servers(section, &|| Box::new(both()), &mut findings);
        }
    }
    if let Some((line, said, title)) = missing_mode {
        let seen = if said {
            format!("{title} is in mode tcp")
        } else {
            format!("{title} has no `mode`: it is tcp")
        };
        findings.push(Finding::at(rule::HAPROXY_MODE, line, seen));
    }
    examine_timeouts(&sections, &mut findings);
    findings
}

/// The lines that count for a section: its own, then those of its defaults.
type Lines<'a, 'b> = dyn Fn() -> Box<dyn Iterator<Item = &'a Line<'b>> + 'a> + 'a;

fn examine_servers<'a, 'b>(section: &'a Section<'b>, both: &Lines<'a, 'b>, findings: &mut Vec<Finding>) {
    let servers: Vec<&Line<'_>> = section.lines.iter().filter(|line| line.is("server", &[])).collect();
    let cookie = both().find(|line| line.is("cookie", &[]));
    let hashes = both()
        .any(|line| line.is("balance", &[]) && line.words.get(1).is_some_and(|how| HASHES.contains(how)));
    let sticks = both().any(|line| line.is("stick", &[]) || line.is("stick-table", &[]));
    match cookie {
        Some(cookie) => {
            let name = cookie.words.get(1).copied().unwrap_or_default();
            if cookie.has("prefix") {
                let seen = format!("cookie {name} prefix: does the server set a cookie named {name}?");
                findings.push(Finding::at(rule::HAPROXY_COOKIE_OPTION, cookie.number, seen));
                if cookie.has("indirect") {
                    findings.push(Finding::at(rule::HAPROXY_PREFIX, cookie.number, cookie.words.join(" ")));
                }
            }
            let seen = format!("sessions are held together by the cookie {name}");
            findings.push(Finding::at(rule::HAPROXY_CREDENTIALS, cookie.number, seen));
            if let Some(server) = servers.iter().find(|server| !server.has("cookie")) {
                let seen =
                    format!("{} has no cookie value", server.words[..2.min(server.words.len())].join(" "));
                findings.push(Finding::at(rule::HAPROXY_NO_AFFINITY, server.number, seen));
            }
        }
        None if servers.len() > 1 && !hashes && !sticks => {
            let seen = format!(
                "{} has {} servers and neither cookie nor balance source nor stick-table",
                section.title(),
                servers.len()
            );
            findings.push(Finding::at(rule::HAPROXY_NO_AFFINITY, section.line, seen));
        }
        None => {}
    }
    if servers.len() > 1 {
        let redispatch = both().any(|line| line.is("option", &["redispatch"]));
        if !redispatch {
            let seen = format!("{} has no `option redispatch`", section.title());
            findings.push(Finding::at(rule::HAPROXY_REDISPATCH, section.line, seen));
        }
        examine_checks(section, both, &servers, findings);
    }
}

fn examine_checks<'a, 'b>(
    section: &Section<'_>,
    both: &Lines<'a, 'b>,
    servers: &[&Line<'_>],
    findings: &mut Vec<Finding>,
) {
    let default: Vec<&str> =
        both().filter(|line| line.is("default-server", &[])).flat_map(|line| line.words.clone()).collect();
    for server in servers {
        let words: Vec<&str> = server.words.iter().copied().chain(default.iter().copied()).collect();
        let after =
            |word: &str| words.iter().position(|found| *found == word).and_then(|at| words.get(at + 1));
        if !words.contains(&"check") {
            let seen = format!("{} is not checked", server.words[..2.min(server.words.len())].join(" "));
            return findings.push(Finding::at(rule::HAPROXY_CHECKS, server.number, seen));
        }
        let fall = after("fall").and_then(|text| text.parse::<f64>().ok()).unwrap_or(3.0);
        let inter = after("inter").and_then(|text| seconds(text, 1e-3)).unwrap_or(2.0);
        let at_once = words.contains(&"observe") && words.contains(&"mark-down");
        if fall * inter > NOTICED_SECONDS && !at_once {
            let title = section.title();
            let seen = format!(
                "{title}: a dead server is noticed after fall {fall} × inter {inter} s = {} s",
                fall * inter
            );
            return findings.push(Finding::at(rule::HAPROXY_CHECKS, server.number, seen));
        }
    }
}

fn examine_timeouts(sections: &[Section<'_>], findings: &mut Vec<Finding>) {
    let serving: Vec<_> =
        sections.iter().filter(|section| matches!(section.kind, "listen" | "backend" | "frontend")).collect();
    let Some(first) = serving.first() else { return };
    let find = |name: &str| {
        sections.iter().flat_map(|section| &section.lines).find(|line| line.is("timeout", &[name]))
    };
    let missing: Vec<&str> =
        ["connect", "client", "server"].into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        let seen = format!("no `timeout {}`", missing.join("`, no `timeout "));
        findings.push(Finding::at(rule::HAPROXY_TIMEOUTS, first.line, seen));
    }
    // Once a WebSocket is open, `tunnel` takes the place of `client` and `server`.
    for name in ["tunnel", "client", "server"] {
        if let Some(line) = find(name)
            && let Some(found) = line.words.get(2).and_then(|text| seconds(text, 1e-3))
            && found <= HEARTBEAT_SECONDS
        {
            let seen =
                format!("timeout {name} {}, and pings may be {HEARTBEAT_SECONDS} s apart", line.words[2]);
            findings.push(Finding::at(rule::HAPROXY_TIMEOUTS, line.number, seen));
        }
    }
}

struct Section<'a> {
    kind: &'a str,
    name: &'a str,
    line: usize,
    lines: Vec<Line<'a>>,
}

impl Section<'_> {
    fn title(&self) -> String {
        format!("{} {}", self.kind, self.name).trim_end().to_owned()
    }
}

struct Line<'a> {
    number: usize,
    words: Vec<&'a str>,
}

impl Line<'_> {
    fn is(&self, first: &str, rest: &[&str]) -> bool {
        self.words.first() == Some(&first) && self.words[1..].starts_with(rest)
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }
}

fn parse(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if SECTIONS.contains(first) {
            let name = words.get(1).copied().unwrap_or_default();
            sections.push(Section { kind: first, name, line: index + 1, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(Line { number: index + 1, words });
        }
    }
    sections
}

const SECTIONS: [&str; 10] = [
    "global",
    "defaults",
    "listen",
    "frontend",
    "backend",
    "resolvers",
    "peers",
    "userlist",
    "cache",
    "program",
];
/// Ways to balance by something of the client that stays.
const HASHES: [&str; 5] = ["source", "hash", "url_param", "uri", "hdr"];
/// Within this a dead server is noticed soon enough for clients that wait 1 to 5 s before they come back.
const NOTICED_SECONDS: f64 = 3.0;
