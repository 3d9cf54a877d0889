//! Conditions of HAProxy: `acl NAME …`, `{ … }`, `!`, and what of them a site or a listener of ours can say.

use std::collections::BTreeMap;

use crate::address;

/// What a condition asks of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Hosts(Vec<String>),
    Paths(Vec<String>),
    Upgrade,
    Tls,
}

/// A term, and whether it has to hold or must not.
pub(super) type Wanted = (bool, Term);

/// The conditions that have names; none for what is understood by nobody here.
#[derive(Default)]
pub(super) struct Acls(BTreeMap<String, Option<Term>>);

impl Acls {
    /// Takes a line `acl NAME …`; lines of one name are alternatives. Says whether it was understood.
    pub(super) fn add(&mut self, name: &str, words: &[&str]) -> bool {
        let read = term(words);
        let is_understood = read.is_some();
        let joined = match (self.0.remove(name), read) {
            (None, read) => read,
            (Some(Some(Term::Hosts(one))), Some(Term::Hosts(other))) => {
                Some(Term::Hosts([one, other].concat()))
            }
            (Some(Some(Term::Paths(one))), Some(Term::Paths(other))) => {
                Some(Term::Paths([one, other].concat()))
            }
            (Some(Some(one)), Some(other)) if one == other => Some(one),
            (Some(_), _) => None,
        };
        self.0.insert(name.to_owned(), joined);
        is_understood
    }

    /// The alternatives of a condition, each a list of what has to hold together; none if any of it is not understood.
    pub(super) fn read(&self, words: &[&str]) -> Option<Vec<Vec<Wanted>>> {
        let mut all = vec![Vec::new()];
        let mut holds = true;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let word = match word.strip_prefix('!') {
                Some(rest) => {
                    holds = !holds;
                    rest
                }
                None => word,
            };
            let term = match word {
                "" => continue,
                "||" | "or" => {
                    all.push(Vec::new());
                    continue;
                }
                "{" => {
                    let inner: Vec<&str> = words.by_ref().copied().take_while(|word| *word != "}").collect();
                    term(&inner)?
                }
                name => self.0.get(name).cloned().flatten()?,
            };
            all.last_mut()?.push((holds, term));
            holds = true;
        }
        all.iter().all(|one| !one.is_empty()).then_some(all)
    }
}

/// What a test such as `hdr(host) -i io.example.com` asks.
fn term(words: &[&str]) -> Option<Term> {
    let (fetch, rest) = words.split_first()?;
    let flags = rest.iter().take_while(|word| word.starts_with('-')).count();
    let (flags, values) = rest.split_at(flags);
    let ignores_case = flags.contains(&"-i");
    if flags.iter().any(|flag| !matches!(*flag, "-i" | "--")) {
        return None;
    }
    let fetch = fetch.to_ascii_lowercase();
    let is_only = |word: &str| matches!(values, [value] if value.eq_ignore_ascii_case(word));
    let hosts = |read: &dyn Fn(&str) -> String| {
        let hosts: Vec<String> = values.iter().map(|value| read(&value.to_ascii_lowercase())).collect();
        let fit = !hosts.is_empty() && hosts.iter().all(|host| address::is_pattern(host));
        fit.then_some(Term::Hosts(hosts))
    };
    match fetch.strip_prefix("req.").unwrap_or(&fetch) {
        "ssl_fc" if values.is_empty() => Some(Term::Tls),
        "hdr(host)" => hosts(&str::to_owned),
        "hdr_end(host)" if values.iter().all(|value| value.starts_with('.')) => {
            hosts(&|value| format!("*{value}"))
        }
        "hdr(upgrade)" if is_only("websocket") => Some(Term::Upgrade),
        "hdr(connection)" if is_only("upgrade") => Some(Term::Upgrade),
        "path_beg"
            if !ignores_case && !values.is_empty() && values.iter().all(|value| value.starts_with('/')) =>
        {
            Some(Term::Paths(values.iter().map(|value| (*value).to_owned()).collect()))
        }
        _ => None,
    }
}
