//! What is written and never comes to pass: a group that nobody leads to, a site behind one that takes all of its requests.
//!
//! These can be, so they are warnings; and they are hardly what was meant.

use sockeye_edge::config::{Does, Serves, Site};

use crate::desk::Desk;
use crate::listen::Opening;
use crate::place::Place;
use crate::site::Written;

/// Warns of sites, and of listeners' own groups, to which nothing is left.
pub(crate) fn sites(desk: &mut Desk<'_>, written: &[Written], openings: &[Opening]) {
    for (index, later) in written.iter().enumerate() {
        if let Some(first) = written[..index].iter().find(|first| covers(&first.site, &later.site)) {
            let message = format!(
                "nothing comes here, as {} before it takes the same and more: put this one before it, or leave it out",
                first.key
            );
            desk.warn(&later.place, (&later.key, false), message);
        }
    }
    for opening in openings.iter().filter(|opening| matches!(opening.listener.serves, Serves::Http(_))) {
        let Some(group) = &opening.upstream else { continue };
        let own = Site { listeners: vec![opening.listener.name.clone()], ..Site::everything(group) };
        if let Some(first) = written.iter().find(|first| covers(&first.site, &own)) {
            let message = format!(
                "nothing comes to {group} by this, as sites count first and {} takes everything: leave one of the two out",
                first.key
            );
            desk.warn(&opening.place, (&format!("{}.upstream", opening.key), false), message);
        }
    }
}

/// Warns of groups, of these, that no site and no listener names.
pub(crate) fn groups(desk: &mut Desk<'_>, sites: &[Site], openings: &[Opening], of: &[(String, Place)]) {
    let by_site = |name: &str| {
        sites.iter().any(|site| match &site.does {
            Does::Relay { group } | Does::Files { group: Some(group), .. } => group == name,
            Does::Files { group: None, .. } | Does::Redirect(_) | Does::Health { .. } => false,
        })
    };
    let by_listener = |name: &str| {
        openings.iter().any(|opening| opening.upstream.as_deref().is_some_and(|group| group == name))
    };
    for (name, place) in of.iter().filter(|(name, _)| !by_site(name) && !by_listener(name)) {
        let message = "nobody leads here: name it as upstream of a [[site]] or a [[listen]], or leave it out";
        desk.warn(place, (&format!("upstream.{name}"), false), message);
    }
}

/// Whether each request that one takes would have been taken by an earlier one.
fn covers(first: &Site, later: &Site) -> bool {
    let all_of = |first: &[String], later: &[String], takes: &dyn Fn(&str, &str) -> bool| {
        first.is_empty()
            || !later.is_empty() && later.iter().all(|name| first.iter().any(|pattern| takes(pattern, name)))
    };
    !matches!(first.does, Does::Health { .. })
        && all_of(&first.listeners, &later.listeners, &|one, other| one == other)
        && all_of(&first.hosts, &later.hosts, &|pattern, host| {
            pattern == host
                || pattern.strip_prefix('*').is_some_and(|end| host.ends_with(end) && !host.starts_with('*'))
        })
        && (first.upgrade.is_none() || first.upgrade == later.upgrade)
        && is_below(&first.path, &later.path)
}

/// Whether a path is another, or lies below it.
fn is_below(top: &str, path: &str) -> bool {
    let top = top.trim_end_matches('/');
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_takes_what_lies_within_it() {
        let site = |host: &str, path: &str, upgrade: Option<bool>| Site {
            hosts: if host.is_empty() { Vec::new() } else { vec![host.to_owned()] },
            path: path.to_owned(),
            upgrade,
            ..Site::everything("a")
        };
        for (first, later, expected) in [
            (site("", "/", None), site("a.b", "/x", Some(true)), true),
            (site("*.b", "/", None), site("a.b", "/", None), true),
            (site("", "/app", None), site("", "/app/x", None), true),
            (site("", "/app/", None), site("", "/app", None), true),
            (site("", "/app", None), site("", "/apple", None), false),
            (site("", "/app", None), site("", "/", None), false),
            (site("a.b", "/", None), site("", "/", None), false),
            (site("a.b", "/", None), site("*.b", "/", None), false),
            (site("", "/", Some(true)), site("", "/", None), false),
            (site("", "/", Some(true)), site("", "/", Some(true)), true),
        ] {
            assert_eq!(covers(&first, &later), expected, "{first:?} {later:?}");
        }
    }
}
