//! Where clients come in: `bind`, `redirect`, `use_backend` and `default_backend` of a section.

use super::condition::{Acls, Term, Wanted};
use crate::address;
use crate::import::draft::{Answer, Draft, Listen, Site, listen_address};

/// What was read of a section; its lines mean the same in any order.
#[derive(Default)]
pub(super) struct Front {
    /// Where in the draft its listeners are, and whether TLS ends there.
    listens: Vec<(usize, bool)>,
    pub(super) tcp: bool,
    pub(super) default: Option<String>,
    acls: Acls,
    /// Lines and their words.
    redirects: Vec<(usize, Vec<String>)>,
    uses: Vec<(usize, Vec<String>)>,
}

impl Front {
    /// Takes a line that is about clients; says whether it was one.
    pub(super) fn take(&mut self, draft: &mut Draft, line: usize, words: &[&str]) -> bool {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match words {
            ["bind", at, options @ ..] => self.bind(draft, line, at, options),
            ["default_backend", name] => self.default = Some((*name).to_owned()),
            ["mode", mode] => self.tcp = *mode == "tcp",
            ["acl", name, test @ ..] => {
                if !self.acls.add(name, test) {
                    draft.note(line, format!("{} has no counterpart", words.join(" ")));
                }
            }
            ["redirect", rest @ ..] | ["http-request", "redirect", rest @ ..] => {
                self.redirects.push((line, owned(rest)));
            }
            ["use_backend", rest @ ..] => self.uses.push((line, owned(rest))),
            ["maxconn", number] => draft.note(
                line,
                format!("maxconn {number} of one section is left out: limits.connections counts for all listeners, max_sessions for a server"),
            ),
            _ => return false,
        }
        true
    }

    fn bind(&mut self, draft: &mut Draft, line: usize, at: &str, options: &[&str]) {
        let after = |key: &str| options.iter().skip_while(|option| **option != key).nth(1).copied();
        // One file of HAProxy holds both.
        let certificate = after("crt").map(|pem| (pem.to_owned(), pem.to_owned()));
        let tls = options.contains(&"ssl") || certificate.is_some();
        if tls && certificate.is_none() {
            draft.note(line, "ssl without crt: set certificate and key");
        }
        if options.contains(&"accept-proxy") {
            draft.note(
                line,
                "accept-proxy: set proxy_protocol_from to the addresses of the balancer before this one",
            );
        }
        let http2 = after("alpn").is_some_and(|names| names.split(',').any(|name| name == "h2"));
        for at in at.split(',') {
            self.listens.push((draft.listens.len(), tls));
            draft.listens.push(Listen {
                address: listen_address(at),
                certificate: certificate.clone(),
                http2,
                ..Listen::default()
            });
        }
    }

    /// Writes into the draft what the section says of its listeners.
    pub(super) fn finish(self, draft: &mut Draft) {
        let first_site = draft.sites.len();
        let mut default = self.default.clone();
        for (line, words) in &self.uses {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match &words[..] {
                // What comes after it is never asked.
                [name] => {
                    default = Some((*name).to_owned());
                    break;
                }
                [name, "if", condition @ ..] if self.lead(draft, *line, name, condition) => {}
                _ => draft.note(
                    *line,
                    format!("use_backend {} is left out: its condition has no counterpart", words.join(" ")),
                ),
            }
        }
        for (at, _) in &self.listens {
            draft.listens[*at].upstream.clone_from(&default);
            draft.listens[*at].tcp = self.tcp;
        }
        let hosts = draft.sites[first_site..].iter().flat_map(|site| site.hosts.clone()).collect();
        for (line, words) in &self.redirects {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if !self.redirect(draft, *line, &words, &hosts) {
                draft.note(
                    *line,
                    format!(
                        "redirect {} is left out: a listener sends away everybody or nobody, and knows of conditions only ssl_fc",
                        words.join(" ")
                    ),
                );
            }
        }
    }

    /// `use_backend NAME if …`, as sites.
    fn lead(&self, draft: &mut Draft, line: usize, group: &str, condition: &[&str]) -> bool {
        let alternatives = self.acls.read(condition).filter(|_| !self.tcp && !self.listens.is_empty());
        let Some(parts) =
            alternatives.and_then(|all| all.iter().map(|one| part(one)).collect::<Option<Vec<_>>>())
        else {
            return false;
        };
        for part in parts {
            if part.upgrade == Some(true) {
                draft.beside.push(group.to_owned());
            }
            if !part.paths.is_empty() {
                draft.note(line, "path_beg /x is /x and /x/y here, but not /xy");
            }
            let fits = |tls: bool| part.tls.is_none_or(|wanted| wanted == tls);
            let listens: Vec<String> = self
                .listens
                .iter()
                .filter(|(_, tls)| fits(*tls))
                .map(|(at, _)| draft.listens[*at].address.clone())
                .collect();
            let paths = if part.paths.is_empty() { vec!["/".to_owned()] } else { part.paths };
            for path in paths.into_iter().filter(|_| !listens.is_empty()) {
                draft.sites.push(Site {
                    hosts: part.hosts.clone(),
                    path,
                    upgrade: part.upgrade,
                    listens: listens.clone(),
                    answer: Answer::Upstream(group.to_owned()),
                });
            }
        }
        true
    }

    /// `redirect …` of the listeners that it is about; says whether that can be said here.
    fn redirect(&self, draft: &mut Draft, line: usize, words: &[&str], hosts: &Vec<String>) -> bool {
        let at = words.iter().position(|word| matches!(*word, "if" | "unless")).unwrap_or(words.len());
        let (what, condition) = words.split_at(at);
        let tls = match condition {
            [] => None,
            [word, condition @ ..] => match self.acls.read(condition).as_deref() {
                Some([one]) => match &one[..] {
                    [(holds, Term::Tls)] => Some(*holds == (*word == "if")),
                    _ => return false,
                },
                _ => return false,
            },
        };
        let to = match what {
            ["scheme", scheme @ ("http" | "https"), ..] => (*scheme).to_owned(),
            ["prefix" | "location", to, ..] if has_host(to) => to.trim_end_matches('/').to_owned(),
            _ => return false,
        };
        if self.tcp || self.listens.is_empty() {
            return false;
        }
        let code = what.iter().skip_while(|word| **word != "code").nth(1);
        let status = if matches!(code, Some(&("307" | "308"))) { 308 } else { 301 };
        // Who came by TLS would be sent in circles.
        let circles = |listener_tls: bool| tls.is_none() && to == "https" && listener_tls;
        for (at, listener_tls) in &self.listens {
            if circles(*listener_tls) || tls.is_some_and(|tls| tls != *listener_tls) {
                continue;
            }
            draft.listens[*at].redirect = Some((to.clone(), status));
            draft.listens[*at].server_names.clone_from(hosts);
        }
        if self.listens.iter().any(|(_, listener_tls)| circles(*listener_tls)) {
            draft.note(line, "only the listeners without TLS redirect: the others would lead in circles");
        }
        if !to.contains("://") && hosts.iter().all(|host| !address::is_host(host)) {
            draft.note(line, "a redirect goes only to hosts that are known: add them as server_names");
        }
        true
    }
}

/// What has to hold together, as a site says it.
#[derive(Default)]
struct Part {
    hosts: Vec<String>,
    paths: Vec<String>,
    upgrade: Option<bool>,
    tls: Option<bool>,
}

/// None for what a site cannot say: that a host or a path is another one, or is two at once.
fn part(terms: &[Wanted]) -> Option<Part> {
    let mut part = Part::default();
    for (holds, term) in terms {
        match term {
            Term::Hosts(hosts) if *holds && part.hosts.is_empty() => part.hosts.clone_from(hosts),
            Term::Paths(paths) if *holds && part.paths.is_empty() => part.paths.clone_from(paths),
            Term::Upgrade if part.upgrade.is_none_or(|before| before == *holds) => {
                part.upgrade = Some(*holds)
            }
            Term::Tls if part.tls.is_none_or(|before| before == *holds) => part.tls = Some(*holds),
            Term::Hosts(_) | Term::Paths(_) | Term::Upgrade | Term::Tls => return None,
        }
    }
    Some(part)
}

/// `https://io.example.com`, with nothing behind the host.
fn has_host(to: &str) -> bool {
    let rest = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"));
    rest.is_some_and(|rest| address::is_host(rest.trim_end_matches('/')))
}
