//! Apache httpd: balancers of mod_proxy, and what sends requests to them.

use super::draft::{Answer, Draft, Listen, Server, Site, listen_address, quoted, server_address};
use super::virtual_host::{VirtualHost, place};
use crate::address;

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
    /// Addresses of `Listen`.
    listens: Vec<String>,
    /// What stands outside of all virtual hosts.
    main: Scope,
    /// The virtual host whose block this is.
    inner: Option<Scope>,
    hosts: Vec<Scope>,
    cookie_path: Option<String>,
    /// Lines, balancers and their cookies.
    sticky: Vec<(usize, String, String)>,
}

/// A virtual host, or what stands outside of them.
#[derive(Default)]
struct Scope {
    host: VirtualHost,
    /// `*:443` and the like.
    at: Vec<String>,
    certificate: (Option<String>, Option<String>),
    ssl: Option<bool>,
    http2: bool,
    /// The redirect is of those without TLS.
    redirects_plain: bool,
    /// What the conditions before the next rule ask.
    conditions: Vec<Condition>,
}

/// What a `RewriteCond` asks.
#[derive(Clone, Copy, PartialEq)]
enum Condition {
    Upgrade,
    Plain,
    Strange,
}

impl Scope {
    /// Whether it is at an address to listen on.
    fn is_at(&self, address: &str) -> bool {
        let port = |text: &str| text.rsplit(':').next().unwrap_or_default().to_owned();
        self.at.iter().any(|at| {
            let own = port(at);
            own == port(address) || own == "*" || own.parse::<u16>().is_err()
        })
    }

    /// Its certificate, where TLS ends here.
    fn tls(&self, main: &Self) -> Option<(String, String)> {
        let own = self.certificate.0.clone().zip(self.certificate.1.clone());
        let on = self.ssl.unwrap_or_else(|| own.is_some() || main.ssl == Some(true));
        own.or_else(|| main.certificate.0.clone().zip(main.certificate.1.clone())).filter(|_| on)
    }

    /// Where it comes in, and what it answers.
    fn settle(mut self, addresses: &[String], main: &Self) -> VirtualHost {
        let certificate = self.tls(main);
        if self.redirects_plain && certificate.is_some() {
            self.host.redirect = None;
        }
        // What a virtual host does not say is as outside.
        for site in &main.host.sites {
            if !self.host.sites.iter().any(|own| own.path == site.path) {
                self.host.sites.push(site.clone());
            }
        }
        self.host.listens = addresses
            .iter()
            .map(|address| Listen {
                address: address.clone(),
                http2: (self.http2 || main.http2) && certificate.is_some(),
                certificate: certificate.clone(),
                ..Listen::default()
            })
            .collect();
        self.host
    }
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

    /// Where lines belong.
    fn scope(&mut self) -> &mut Scope {
        self.inner.as_mut().unwrap_or(&mut self.main)
    }

    fn site(&mut self, path: &str, answer: Answer) {
        self.scope().host.sites.push(Site { path: path.to_owned(), answer, ..Site::default() });
    }

    /// A line that is no balancer's.
    fn other(&mut self, number: usize, plain: &[&str]) {
        match plain {
            [] => {}
            ["<VirtualHost", at @ ..] => {
                let at = at.iter().map(|at| at.trim_end_matches('>').to_owned());
                let at = at.filter(|at| !at.is_empty()).collect();
                let host = VirtualHost { line: number, ..VirtualHost::default() };
                self.hosts.extend(self.inner.replace(Scope { at, host, ..Scope::default() }));
            }
            ["</VirtualHost>"] => self.hosts.extend(self.inner.take()),
            ["RewriteRule", _, to, ..] | ["ProxyPass", _, to, ..] if to.starts_with("balancer://") => {
                let name = to.trim_start_matches("balancer://").split('/').next().unwrap_or_default();
                let path = if plain[0] == "ProxyPass" { plain[1] } else { "/" };
                self.scope().conditions.clear();
                self.site(path, Answer::Upstream(name.to_owned()));
            }
            ["ProxyPass" | "ProxyPassMatch", path, to, ..] if to.starts_with("http://") => {
                let at = to.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
                let own = self.draft.upstreams.entry(at.clone()).or_default();
                if own.servers.is_empty() {
                    own.servers.push(Server { address: server_address(&at), ..Server::default() });
                }
                self.site(path, Answer::Upstream(at));
            }
            ["Listen", at, ..] => self.listens.push(listen_address(at)),
            ["ServerName" | "ServerAlias", names @ ..] => {
                for name in names {
                    let (scheme, rest) = name.split_once("://").unwrap_or(("", name));
                    let host = rest.split(':').next().unwrap_or_default();
                    if scheme.contains('/') || !address::is_pattern(host) {
                        self.draft.note(number, format!("the name {name} has no counterpart"));
                    } else {
                        self.scope().host.hosts.push(host.to_owned());
                    }
                }
            }
            ["SSLCertificateFile", path] => self.scope().certificate.0 = Some((*path).to_owned()),
            ["SSLCertificateKeyFile", path] => self.scope().certificate.1 = Some((*path).to_owned()),
            ["SSLEngine", word, ..] => self.scope().ssl = Some(word.eq_ignore_ascii_case("on")),
            ["Protocols", names @ ..] => self.scope().http2 = names.contains(&"h2"),
            ["DocumentRoot", root] => self.site("/", Answer::Files((*root).to_owned())),
            ["ProxyTimeout" | "Timeout", ..] => self.draft.note(
                number,
                format!("{} is left out: a WebSocket outlives the heartbeat by itself", plain.join(" ")),
            ),
            [
                "LoadModule" | "RewriteEngine" | "ProxyPassReverse" | "ProxyRequests" | "ProxyPreserveHost"
                | "ServerRoot" | "PidFile" | "ErrorLog",
                ..,
            ] => {}
            [tag, ..] if tag.starts_with('<') => {}
            _ => self.redirect(number, plain),
        }
    }

    /// A line that sends people elsewhere, or one that has no counterpart.
    fn redirect(&mut self, number: usize, plain: &[&str]) {
        match plain {
            [] => {}
            ["RewriteRule", pattern, to, flags @ ..] if to.starts_with("http") => {
                if !self.rewrites(pattern, to, flags) {
                    self.draft.note(number, format!("{} has no counterpart", plain.join(" ")));
                }
            }
            ["RewriteCond", test, value, ..] => {
                let condition = match *test {
                    "%{HTTP:Upgrade}" | "%{HTTP:Connection}" => Condition::Upgrade,
                    "%{HTTPS}" if ["off", "!on", "!=on", "=off"].contains(value) => Condition::Plain,
                    _ => Condition::Strange,
                };
                if condition == Condition::Strange {
                    self.draft.note(number, format!("{} has no counterpart", plain.join(" ")));
                }
                self.scope().conditions.push(condition);
            }
            ["Redirect", "permanent" | "301", "/", to] | ["RedirectPermanent", "/", to]
                if origin(to).is_some() =>
            {
                self.scope().host.redirect = origin(to).map(|to| (to, 301));
            }
            ["Redirect", "temp" | "302" | "303" | "307" | "308" | "seeother", "/", to]
            | ["Redirect" | "RedirectTemp", "/", to]
                if origin(to).is_some() =>
            {
                let status = if matches!(plain[1], "307" | "308") { 308 } else { 301 };
                self.scope().host.redirect = origin(to).map(|to| (to, status));
                if plain[1] != "308" {
                    self.draft.note(
                        number,
                        format!("the redirect is for good here, by {status}: it was for a time"),
                    );
                }
            }
            [other, ..] => self.draft.note(number, format!("{other} has no counterpart")),
        }
    }

    /// `RewriteRule` that sends everybody elsewhere; says whether it was one.
    fn rewrites(&mut self, pattern: &str, to: &str, flags: &[&str]) -> bool {
        let scope = self.scope();
        let conditions = std::mem::take(&mut scope.conditions);
        let is_all = pattern.trim_matches(['^', '$', '(', ')', '.', '*', '/', '?']).is_empty();
        let redirects = flags.iter().any(|flags| {
            flags.trim_matches(['[', ']']).split(',').any(|flag| flag == "R" || flag.starts_with("R="))
        });
        let Some((scheme, rest)) = to.split_once("://") else { return false };
        let named = ["%{HTTP_HOST}", "%{SERVER_NAME}"].iter().find_map(|name| rest.strip_prefix(name));
        let (to, path) = match named {
            Some(path) => (scheme.to_owned(), path),
            None => {
                let end = rest.find(['/', '%', '$']).unwrap_or(rest.len());
                let Some(to) = origin(&format!("{scheme}://{}", &rest[..end])) else { return false };
                (to, &rest[end..])
            }
        };
        let keeps = ["", "/", "$1", "/$1", "%{REQUEST_URI}"].contains(&path);
        let plain = match conditions[..] {
            [] => false,
            [Condition::Plain] => true,
            _ => return false,
        };
        if !(is_all && redirects && keeps && matches!(scheme, "http" | "https")) {
            return false;
        }
        let status = if flags.iter().any(|flags| flags.contains("R=308")) { 308 } else { 301 };
        scope.host.redirect = Some((to, status));
        scope.redirects_plain = plain;
        true
    }

    fn finish(mut self) -> Draft {
        self.hosts.extend(self.inner.take());
        let Self { mut draft, mut listens, mut main, hosts, cookie_path, sticky, .. } = self;
        if listens.is_empty() {
            // The addresses stand in another file then.
            let ports = hosts.iter().flat_map(|scope| scope.at.iter());
            let ports =
                ports.filter(|at| at.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()));
            listens.extend(ports.map(|at| listen_address(&at.replace("_default_", "*"))));
        }
        main.host.line = 1;
        let mut all = Vec::new();
        for scope in hosts {
            let there: Vec<String> = listens.iter().filter(|at| scope.is_at(at)).cloned().collect();
            all.push(scope.settle(&there, &main));
        }
        let free =
            |at: &&String| !all.iter().any(|one| one.listens.iter().any(|listen| listen.address == **at));
        let rest: Vec<String> = listens.iter().filter(free).cloned().collect();
        if listens.is_empty() {
            draft.sites.append(&mut main.host.sites);
        } else if !rest.is_empty() {
            let nothing = Scope { ssl: main.ssl, ..Scope::default() };
            all.push(main.settle(&rest, &nothing));
        }
        place(&mut draft, &all);
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
        draft
    }
}

/// `https://io.example.com`, with a port or without; none where there is a path behind it.
fn origin(to: &str) -> Option<String> {
    let to = to.trim_end_matches('/');
    let rest = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"))?;
    let (host, port) = rest.split_once(':').unwrap_or((rest, "1"));
    (address::is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| to.to_owned())
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
