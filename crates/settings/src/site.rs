//! `[[site]]`: what is asked for, and who answers.

use sockeye_edge::config::{Does, Site};

use crate::address;
use crate::desk::{Desk, Sheet, elements};
use crate::facts::{Facts, Thing, is_path};
use crate::keys::SITE;
use crate::listen::redirect;
use crate::place::Place;
use crate::tree::Table;

/// A site and where it is written.
pub(crate) struct Written {
    pub(crate) site: Site,
    pub(crate) place: Place,
    pub(crate) key: String,
}

/// All sites, in the order of the file.
pub(crate) fn sites(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Vec<Written> {
    let Some(entry) = root.get("site") else { return Vec::new() };
    let nodes = elements(&entry.node);
    let mut found = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let key = if nodes.len() == 1 { "site".to_owned() } else { format!("site.{index}") };
        let Some(sheet) = desk.open(&key, node, &SITE) else { continue };
        let host = |text: &str| address::is_pattern(text).then(|| text.to_ascii_lowercase());
        let hosts = sheet.list(
            desk,
            "host",
            "a host such as \"io.example.com\" or \"*.example.com\", without a port",
            host,
        );
        let hosts = hosts.unwrap_or_default();
        let path = |text: &str| text.starts_with('/').then(|| text.to_owned());
        // All is read, whatever is wrong: one error hides no other.
        let does = does(desk, &sheet, &hosts, facts);
        let site = Site {
            listeners: sheet
                .list(desk, "listen", "a listener's name", |text| Some(text.to_owned()))
                .unwrap_or_default(),
            hosts,
            path: sheet
                .read(desk, "path", "a path that begins with a slash", path)
                .unwrap_or_else(|| "/".to_owned()),
            upgrade: sheet.flag(desk, "websocket"),
            does: Does::Health { ready: false },
        };
        let Some(does) = does else { continue };
        let site = Site { does, ..site };
        found.push(Written { site, place: sheet.place.clone(), key });
    }
    found
}

fn does(desk: &mut Desk<'_>, sheet: &Sheet<'_>, hosts: &[String], facts: &Facts<'_>) -> Option<Does> {
    let names = hosts.iter().filter(|host| !host.starts_with("*.")).cloned().collect();
    let group = sheet.text(desk, "upstream", "the name of an upstream or an app");
    let root = sheet.read(desk, "files", "a directory", is_path).map(|root| facts.path(&root));
    if let Some(Err(fault)) = root.as_deref().map(|root| (facts.look)(&Thing::Directory(root))) {
        desk.blame(sheet, "files", fault.message);
    }
    let redirect = redirect(desk, sheet, names);
    let ready = sheet.choice(desk, "health", &[("live", false), ("ready", true)]);
    let ways = ["upstream", "files", "redirect", "health"].map(|key| sheet.node(key).is_some());
    match ways {
        [true, false, false, false] => Some(Does::Relay { group: group? }),
        [_, true, false, false] => Some(Does::Files { root: root?, group }),
        [false, false, true, false] => Some(Does::Redirect(redirect?)),
        [false, false, false, true] => Some(Does::Health { ready: ready? }),
        [false, false, false, false] => {
            desk.refuse_at(
                &sheet.place,
                &sheet.path,
                "nobody answers: expected upstream, files, redirect or health",
            );
            None
        }
        _ => {
            desk.refuse_at(&sheet.place, &sheet.path, "expected one of upstream, files, redirect and health; files may have an upstream for what is no file");
            None
        }
    }
}
