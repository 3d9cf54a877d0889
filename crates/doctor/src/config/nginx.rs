//! nginx: a tree of directives, and what is wrong in it.

use super::duration::{HEARTBEAT_SECONDS, seconds};
use crate::report::Finding;
use crate::rule;

pub(super) fn examine(text: &str) -> Vec<Finding> {
    let tree = parse(text);
    let mut findings = Vec::new();
    let trusts = tree.iter().any(|directive| directive.anywhere("set_real_ip_from").next().is_some());
    let maps_connection = tree.iter().any(|directive| {
        directive.anywhere("map").any(|map| map.args.first().is_some_and(|from| from == "$http_upgrade"))
    });
    for upstream in tree.iter().flat_map(|directive| directive.anywhere("upstream")) {
        examine_upstream(upstream, trusts, &mut findings);
    }
    for root in &tree {
        examine_places(root, &[], &mut findings);
    }
    // Where one place passes upgrades on, the others serve something else.
    let places = tree.iter().flat_map(|root| root.anywhere("proxy_pass")).count();
    if findings.iter().filter(|finding| finding.rule == rule::NGINX_UPGRADE).count() < places {
        findings.retain(|finding| finding.rule != rule::NGINX_UPGRADE);
    }
    // Where Connection is set by a map, the map says what plain requests get.
    if maps_connection {
        findings.retain(|finding| finding.rule != rule::NGINX_CONNECTION || !finding.seen.contains('$'));
    }
    findings
}

fn examine_upstream(upstream: &Directive, trusts: bool, findings: &mut Vec<Finding>) {
    let name = upstream.args.first().map_or("", String::as_str);
    let servers = upstream.children.iter().filter(|child| child.name == "server").count();
    let mut holds = false;
    for child in &upstream.children {
        match child.name.as_str() {
            "ip_hash" => {
                holds = true;
                findings.push(Finding::at(rule::NGINX_IP_HASH, child.line, "ip_hash"));
            }
            "hash" => {
                holds = true;
                let key = child.args.first().map_or("", String::as_str);
                let address = matches!(key, "$remote_addr" | "$binary_remote_addr");
                if address && !trusts {
                    let seen = format!(
                        "hash {key} without set_real_ip_from: right only if nothing stands before nginx"
                    );
                    findings.push(Finding::at(rule::NGINX_HASH_ADDRESS, child.line, seen));
                }
            }
            "sticky" => {
                holds = true;
                findings.push(Finding::at(
                    rule::NGINX_STICKY,
                    child.line,
                    format!("sticky {}", child.args.join(" ")),
                ));
            }
            _ => {}
        }
    }
    if servers > 1 && !holds {
        let seen = format!("upstream {name} has {servers} servers and neither hash nor sticky");
        findings.push(Finding::at(rule::NGINX_NO_AFFINITY, upstream.line, seen));
    }
}

/// Looks at every place that passes requests on, with what it inherits.
fn examine_places(directive: &Directive, above: &[&Directive], findings: &mut Vec<Finding>) {
    let path: Vec<&Directive> = above.iter().copied().chain([directive]).collect();
    if let Some(pass) = directive.children.iter().find(|child| child.name == "proxy_pass") {
        examine_pass(pass, &path, findings);
    }
    for child in &directive.children {
        examine_places(child, &path, findings);
    }
}

fn examine_pass(pass: &Directive, path: &[&Directive], findings: &mut Vec<Finding>) {
    // nginx: headers of the innermost level that sets any count, and only those.
    let sets = |level: &&&Directive| level.children.iter().any(|child| child.name == "proxy_set_header");
    let level = path.iter().rev().find(sets);
    let header = |name: &str| {
        let set = |child: &&Directive| {
            child.name == "proxy_set_header"
                && child.args.first().is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        level.and_then(|level| level.children.iter().find(set))
    };
    let value =
        |directive: Option<&Directive>| directive.and_then(|directive| directive.args.get(1)).cloned();
    let inherited = |name: &str| {
        path.iter().rev().find_map(|level| level.children.iter().find(|child| child.name == name))
    };
    let upgrade = value(header("upgrade"));
    let version = inherited("proxy_http_version").and_then(|directive| directive.args.first());
    let target = pass.args.join(" ");
    if upgrade.is_none() {
        let seen = format!("proxy_pass {target} without proxy_set_header Upgrade");
        findings.push(Finding::at(rule::NGINX_UPGRADE, pass.line, seen));
    } else if version.is_none_or(|version| version == "1.0") {
        let seen = format!("proxy_pass {target} without proxy_http_version 1.1");
        findings.push(Finding::at(rule::NGINX_UPGRADE, pass.line, seen));
    } else if header("connection").is_none() {
        let seen = format!("proxy_pass {target} sets Upgrade, but not Connection");
        findings.push(Finding::at(rule::NGINX_UPGRADE, pass.line, seen));
    }
    if let Some(connection) = header("connection")
        && value(Some(connection)).is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    {
        let seen = "proxy_set_header Connection \"upgrade\", on every request";
        findings.push(Finding::at(rule::NGINX_CONNECTION, connection.line, seen));
    }
    if let Some(timeout) = inherited("proxy_read_timeout")
        && let Some(found) = timeout.args.first().and_then(|text| seconds(text, 1.0))
        && found <= HEARTBEAT_SECONDS
    {
        let seen =
            format!("proxy_read_timeout {}, and pings may be {HEARTBEAT_SECONDS} s apart", timeout.args[0]);
        findings.push(Finding::at(rule::NGINX_TIMEOUT, timeout.line, seen));
    }
}

/// One directive, with what stands in its braces.
#[derive(Debug, Default)]
struct Directive {
    name: String,
    args: Vec<String>,
    line: usize,
    children: Vec<Self>,
}

impl Directive {
    /// This one and all below of a name.
    fn anywhere<'a>(&'a self, name: &'a str) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        let below = self.children.iter().flat_map(move |child| child.anywhere(name));
        Box::new(Some(self).into_iter().filter(move |directive| directive.name == name).chain(below))
    }
}

/// Reads a file; braces beyond [`DEPTH_MAX`] are read as if they were not there.
fn parse(text: &str) -> Vec<Directive> {
    let mut stack = vec![Directive::default()];
    let mut words: Vec<String> = Vec::new();
    let mut first_line = 0;
    for (token, line) in tokens(text) {
        match token.as_str() {
            ";" | "{" => {
                let mut all = std::mem::take(&mut words).into_iter();
                let name = all.next().unwrap_or_default();
                let directive =
                    Directive { name, args: all.collect(), line: first_line, children: Vec::new() };
                if token == "{" && stack.len() < DEPTH_MAX {
                    stack.push(directive);
                } else if let Some(top) = stack.last_mut() {
                    top.children.push(directive);
                }
            }
            "}" => {
                words.clear();
                if stack.len() > 1
                    && let Some(done) = stack.pop()
                    && let Some(top) = stack.last_mut()
                {
                    top.children.push(done);
                }
            }
            _ => {
                if words.is_empty() {
                    first_line = line;
                }
                words.push(token.trim_start_matches(QUOTED).to_owned());
            }
        }
    }
    while stack.len() > 1 {
        if let Some(done) = stack.pop()
            && let Some(top) = stack.last_mut()
        {
            top.children.push(done);
        }
    }
    // The root itself, so that what stands in no block has a level of its own.
    stack
}

/// Words, `;`, `{` and `}`, with their lines. A quoted word begins with [`QUOTED`], so that it is none of these.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut line = 1;
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        match (quote, c) {
            (Some(open), _) if c == open => {
                quote = None;
                tokens.push((std::mem::take(&mut word), line));
            }
            (Some(_), _) => word.push(c),
            (None, '"' | '\'') if word.is_empty() => {
                quote = Some(c);
                word.push(QUOTED);
            }
            (None, '#') if word.is_empty() => while chars.next_if(|c| *c != '\n').is_some() {},
            // `${name}` is one word.
            (None, '{') if word.ends_with('$') => {
                word.push(c);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
                    word.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            (None, ';' | '{' | '}') => {
                if !word.is_empty() {
                    tokens.push((std::mem::take(&mut word), line));
                }
                tokens.push((c.to_string(), line));
            }
            (None, _) if c.is_whitespace() => {
                if !word.is_empty() {
                    tokens.push((std::mem::take(&mut word), line - usize::from(c == '\n')));
                }
            }
            (None, _) => word.push(c),
        }
    }
    if !word.is_empty() {
        tokens.push((word, line));
    }
    tokens
}

const QUOTED: char = '\u{0}';
const DEPTH_MAX: usize = 64;
