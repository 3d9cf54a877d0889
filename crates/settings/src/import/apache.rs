//! Apache httpd: balancers of mod_proxy, and what sends requests to them.

use super::draft::{Answer, Draft, Listen, Server, Site, listen_address, quoted, server_address};

pub(super) fn read(text: &str) -> Draft {
    let mut reading = Reading::default();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<String> = words(line);
        let plain: Vec<&str> = words.iter().map(String::as_str).collect();
        reading.balancer(index + 1, &plain);
    }
    reading.finish()
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    draft: Draft,
    /// The balancer whose block this is.
    balancer: Option<String>,
    hosts: Vec<String>,
    certificate: (Option<String>, Option<String>),
    cookie_path: Option<String>,
    /// Lines, balancers and their cookies.
    sticky: Vec<(usize, String, String)>,
}

impl Reading {
    /// A line of a balancer, or another.
    fn balancer(&mut self, number: usize, plain: &[&str]) {
        match plain {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["<Proxy", name, ..] if name.starts_with("balancer://") => {
                self.balancer =
                    Some(name.trim_start_matches("balancer://").trim_end_matches(['>', '/']).to_owned());
            }
            ["</Proxy>"] => self.balancer = None,
            ["BalancerMember", at, options @ ..] => {
                let Some(name) = &self.balancer else { return };
                let after = |key: &str| options.iter().find_map(|option| option.strip_prefix(key));
                let one = Server {
                    name: after("route=").map(str::to_owned),
                    address: server_address(at),
                    weight: after("loadfactor=").and_then(|weight| weight.parse().ok()),
                    max_sessions: None,
                    state: None,
                };
                self.draft.upstreams.entry(name.clone()).or_default().servers.push(one);
            }
            ["ProxySet", options @ ..] => {
                for option in options {
                    match (option.split_once('='), &self.balancer) {
                        (Some(("stickysession", cookie)), Some(name)) => {
                            self.sticky.push((number, name.clone(), cookie.to_owned()))
                        }
                        (Some(("lbmethod", method)), Some(name)) => {
                            let balance = if method == "bybusyness" { "leastconn" } else { "roundrobin" };
                            self.draft.set(name, format!("balance = \"{balance}\""));
                        }
                        _ => self.draft.note(number, format!("{option} has no counterpart")),
                    }
                }
            }
            ["Header", "add" | "set", "Set-Cookie", value, ..] => {
                self.cookie_path =
                    value.split("path=").nth(1).map(|path| path.split(';').next().unwrap_or("/").to_owned());
                if !value.contains("ecure") {
                    self.draft.note(number, "the cookie was set without Secure and SameSite: with same_site = \"none\" it is sent from pages of other sites too");
                }
            }
            _ => self.other(number, plain),
        }
    }

    /// A line that is no balancer's.
    fn other(&mut self, number: usize, plain: &[&str]) {
        match plain {
            [] => {}
            ["RewriteRule", _, to, ..] | ["ProxyPass", _, to, ..] if to.starts_with("balancer://") => {
                let name =
                    to.trim_start_matches("balancer://").split('/').next().unwrap_or_default().to_owned();
                let path = if plain[0] == "ProxyPass" { plain[1].to_owned() } else { "/".to_owned() };
                self.draft.sites.push(Site {
                    hosts: self.hosts.clone(),
                    upgrade: None,
                    listens: Vec::new(),
                    path,
                    answer: Answer::Upstream(name),
                });
            }
            ["ProxyPass" | "ProxyPassMatch", path, to, ..] if to.starts_with("http://") => {
                let at = to.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
                let own = self.draft.upstreams.entry(at.clone()).or_default();
                if own.servers.is_empty() {
                    own.servers.push(Server { address: server_address(&at), ..Server::default() });
                }
                self.draft.sites.push(Site {
                    hosts: self.hosts.clone(),
                    upgrade: None,
                    listens: Vec::new(),
                    path: (*path).to_owned(),
                    answer: Answer::Upstream(at),
                });
            }
            ["Listen", at, ..] => {
                self.draft.listens.push(Listen { address: listen_address(at), ..Listen::default() })
            }
            ["ServerName" | "ServerAlias", names @ ..] => {
                self.hosts =
                    names.iter().map(|name| name.split(':').next().unwrap_or_default().to_owned()).collect();
            }
            ["SSLCertificateFile", path] => self.certificate.0 = Some((*path).to_owned()),
            ["SSLCertificateKeyFile", path] => self.certificate.1 = Some((*path).to_owned()),
            ["DocumentRoot", root] => {
                self.draft.sites.push(Site {
                    hosts: self.hosts.clone(),
                    upgrade: None,
                    listens: Vec::new(),
                    path: "/".to_owned(),
                    answer: Answer::Files((*root).to_owned()),
                });
            }
            ["ProxyTimeout" | "Timeout", ..] => self.draft.note(
                number,
                format!("{} is left out: a WebSocket outlives the heartbeat by itself", plain.join(" ")),
            ),
            [
                "LoadModule" | "RewriteEngine" | "RewriteCond" | "ProxyPassReverse" | "ProxyRequests"
                | "ProxyPreserveHost" | "SSLEngine" | "ServerRoot" | "PidFile" | "ErrorLog",
                ..,
            ] => {}
            [tag, ..] if tag.starts_with('<') => {}
            [other, ..] => self.draft.note(number, format!("{other} has no counterpart")),
        }
    }

    fn finish(self) -> Draft {
        let Self { mut draft, certificate, cookie_path, sticky, .. } = self;
        let renamed = draft.merge(&|_| true);
        for (line, name, cookie) in sticky {
            let name = renamed.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to.clone());
            let path =
                cookie_path.as_ref().map_or_else(String::new, |path| format!(", path = {}", quoted(path)));
            draft.set(&name, "sticky = [\"sid\", \"cookie\"]");
            draft.set(&name, format!("cookie = {{ name = {}{path} }}", quoted(&cookie)));
            draft.note(
                line,
                "cookies that Apache set (sticky.NAME) and those of the edge (NAME) name the same servers",
            );
        }
        if let (Some(certificate), Some(key)) = certificate {
            draft
                .listens
                .iter_mut()
                .for_each(|listen| listen.certificate = Some((certificate.clone(), key.clone())));
        }
        draft
    }
}

/// The words of a line; quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut in_quotes = false;
    for c in line.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            c if c.is_whitespace() && !in_quotes => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
