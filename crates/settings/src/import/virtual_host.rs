//! Servers that share addresses and are told apart by host, as nginx and Apache have them: the first at an address, or the
//! one that is called its default, answers every host that no other has.

use std::cmp::Reverse;

use super::draft::{Answer, Draft, Listen, Site};
use crate::address;

/// A `server` of nginx, or a `<VirtualHost>`.
#[derive(Clone, Default)]
pub(super) struct VirtualHost {
    pub(super) line: usize,
    /// Where it comes in, without what follows from the others there.
    pub(super) listens: Vec<Listen>,
    /// The addresses of which it is said to be the default.
    pub(super) default_at: Vec<String>,
    pub(super) hosts: Vec<String>,
    /// Where it sends everybody.
    pub(super) redirect: Option<(String, u16)>,
    /// What it answers, but for hosts and addresses.
    pub(super) sites: Vec<Site>,
}

impl VirtualHost {
    fn is_at(&self, address: &str) -> bool {
        self.listens.iter().any(|listen| listen.address == address)
    }

    /// What it answers, the longest path first.
    fn answers(&self) -> Vec<Site> {
        if let Some((to, status)) = &self.redirect {
            let answer = Answer::Redirect(to.clone(), *status, self.hosts.clone());
            return vec![Site { path: "/".to_owned(), answer, ..Site::default() }];
        }
        let mut sites = self.sites.clone();
        sites.sort_by_key(|site| Reverse(site.path.len()));
        sites
    }
}

/// Puts them into the draft: listeners, redirects of whole listeners, and sites.
pub(super) fn place(draft: &mut Draft, all: &[VirtualHost]) {
    for one in all {
        one.listens.iter().for_each(|listen| open(draft, one.line, listen));
    }
    for at in 0..draft.listens.len() {
        redirect(draft, at, all);
    }
    let mut last = Vec::new();
    for one in all {
        let addresses: Vec<String> = draft
            .listens
            .iter()
            .filter(|listen| listen.redirect.is_none() && one.is_at(&listen.address))
            .map(|listen| listen.address.clone())
            .collect();
        if addresses.is_empty() {
            continue;
        }
        let at = |address: &str| all.iter().filter(|other| other.is_at(address)).collect::<Vec<_>>();
        let is_default = |address: &String| {
            let there = at(address);
            let said = there.iter().find(|other| other.default_at.contains(address));
            said.or(there.first()).is_some_and(|first| std::ptr::eq(*first, one))
        };
        let defaults: Vec<String> = addresses.iter().filter(|address| is_default(address)).cloned().collect();
        let is_alone = addresses.iter().all(|address| at(address).len() == 1);
        if !is_alone && !one.hosts.is_empty() {
            let own = one.answers().into_iter();
            draft.sites.extend(own.map(|site| Site {
                hosts: one.hosts.clone(),
                listens: addresses.clone(),
                ..site
            }));
        }
        if !defaults.is_empty() {
            last.extend(one.answers().into_iter().map(|site| Site { listens: defaults.clone(), ..site }));
        } else if one.hosts.is_empty() {
            draft.note(
                one.line,
                "left out: it has no name, and another one answers every host at its addresses",
            );
        }
    }
    draft.sites.extend(last);
}

/// A listener, or what one more says of it.
fn open(draft: &mut Draft, line: usize, listen: &Listen) {
    let Some(there) = draft.listens.iter_mut().find(|other| other.address == listen.address) else {
        draft.listens.push(listen.clone());
        return;
    };
    there.http2 |= listen.http2;
    match (&there.certificate, &listen.certificate) {
        (Some(one), Some(other)) if one != other => draft.note(
            line,
            format!(
                "{} has another certificate already: set tls = true there, and list both in [[tls]]",
                listen.address
            ),
        ),
        (None, Some(_)) => there.certificate.clone_from(&listen.certificate),
        (Some(_) | None, Some(_) | None) => {}
    }
}

/// A listener redirects if all that share it send people to the same place; else each does it as a site.
fn redirect(draft: &mut Draft, at: usize, all: &[VirtualHost]) {
    let address = draft.listens[at].address.clone();
    let there: Vec<&VirtualHost> = all.iter().filter(|one| one.is_at(&address)).collect();
    let Some(to) = there.first().and_then(|first| first.redirect.clone()) else { return };
    if there.iter().any(|one| one.redirect.as_ref() != Some(&to)) {
        return;
    }
    let hosts: Vec<String> = there.iter().flat_map(|one| one.hosts.clone()).collect();
    if !to.0.contains("://") && !hosts.iter().any(|host| address::is_host(host)) {
        draft.note(there[0].line, "a redirect goes only to hosts that are known: add them as server_names");
    }
    draft.listens[at].redirect = Some(to);
    draft.listens[at].server_names = hosts;
}
