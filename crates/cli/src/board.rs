//! What the edge is told while apps run: what was written, with the servers of each app as they come and go.
//!
//! Absent: who serves (each app's `Front` posts it here), addresses.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sockeye_edge::Control;
use sockeye_edge::config::{Config, ConfigError, Does, Group, Members, Serves, Site};

/// The configuration in force. Shared by the apps of a house.
pub(crate) struct Board {
    control: Control,
    told: Mutex<Told>,
}

struct Told {
    /// What was written.
    config: Config,
    /// What apps say of themselves, by their names.
    parts: BTreeMap<String, Part>,
}

/// What an app says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    /// Its groups. One that was written under the same name gives way.
    pub(crate) groups: Vec<Group>,
    /// What comes in at addresses that only it asked for. They count before what was written.
    pub(crate) sites: Vec<Site>,
}

impl Board {
    /// What an edge was started with.
    pub(crate) fn new(control: Control, config: Config) -> Self {
        Self { control, told: Mutex::new(Told { config, parts: BTreeMap::new() }) }
    }

    /// The edge.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// A group as it was written.
    pub(crate) fn group(&self, name: &str) -> Option<Group> {
        self.told().config.groups.iter().find(|group| group.name == name).cloned()
    }

    /// An app says something else of itself.
    pub(crate) fn post(&self, app: &str, part: Part) -> Result<(), ConfigError> {
        let mut told = self.told();
        let before = told.parts.insert(app.to_owned(), part);
        let Config { groups, sites, .. } = told.compose(&told.config);
        let outcome = self.control.regroup(groups, sites);
        if outcome.is_err() {
            match before {
                Some(before) => told.parts.insert(app.to_owned(), before),
                None => told.parts.remove(app),
            };
        }
        outcome
    }

    /// Something else was written: it takes the place of what there was, or all is as it was.
    pub(crate) fn apply(&self, config: Config) -> Result<(), ConfigError> {
        let mut told = self.told();
        self.control.apply(told.compose(&config))?;
        told.parts.retain(|app, _| config.groups.iter().any(|group| group.name == *app));
        told.config = config;
        Ok(())
    }

    /// Nothing under this lock panics halfway.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What was written, with what apps say of themselves; an app that was not written has nothing to say.
    fn compose(&self, config: &Config) -> Config {
        let mut config = config.clone();
        let written = std::mem::take(&mut config.sites);
        let names: Vec<String> = config.groups.iter().map(|group| group.name.clone()).collect();
        for name in &names {
            let Some(part) = self.parts.get(name) else { continue };
            config.groups.retain(|group| !part.groups.iter().any(|own| own.name == group.name));
            config.groups.extend(part.groups.iter().cloned());
            config.sites.extend(part.sites.iter().cloned());
        }
        config.sites.extend(written);
        config
    }
}

/// Whether what was written leads clients to a group.
pub(crate) fn leads_to(config: &Config, name: &str) -> bool {
    let by_site = config.sites.iter().any(|site| match &site.does {
        Does::Relay { group } | Does::Files { group: Some(group), .. } => group == name,
        Does::Files { group: None, .. } | Does::Redirect(_) | Does::Health { .. } => false,
    });
    by_site
        || config.listeners.iter().any(|listener| match &listener.serves {
            Serves::Tcp { group, .. } => group == name,
            Serves::Http(_) => false,
        })
}

/// The groups whose servers a cluster's directory names, each with the address of the backplane.
pub(crate) fn directories(edge: &Config) -> impl Iterator<Item = (String, String)> {
    edge.groups.iter().filter_map(|group| match &group.members {
        Members::Directory { adapter } => Some((group.name.clone(), adapter.clone())),
        Members::Workers { .. }
        | Members::Static(_)
        | Members::Dns { .. }
        | Members::File(_)
        | Members::Registered { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_edge::Proxy;

    #[tokio::test]
    async fn what_an_app_says_takes_the_place_of_what_was_written_and_goes_with_it() {
        let group = |name: &str| Group::new(name, Members::Static(Vec::new()));
        let written = |names: &[&str]| Config {
            listeners: Vec::new(),
            groups: names.iter().copied().map(group).collect(),
            sites: names.iter().copied().map(Site::everything).collect(),
            ..Config::default()
        };
        let proxy = Proxy::bind(written(&["a", "b"])).unwrap();
        let board = Board::new(proxy.control(), written(&["a", "b"]));
        let part = Part { groups: vec![group("a"), group("a:1")], sites: vec![Site::everything("a:1")] };
        board.post("a", part).unwrap();
        let names = |board: &Board| {
            let told = board.told();
            let config = told.compose(&told.config);
            let groups: Vec<String> = config.groups.into_iter().map(|group| group.name).collect();
            (groups, config.sites.len())
        };
        assert_eq!(names(&board), (vec!["b".to_owned(), "a".to_owned(), "a:1".to_owned()], 3));
        board.post("a", Part { groups: Vec::new(), sites: vec![Site::everything("gone")] }).unwrap_err();
        assert_eq!(names(&board).1, 3, "what cannot be changes nothing");
        board.apply(written(&["b"])).unwrap();
        assert_eq!(names(&board), (vec!["b".to_owned()], 1));
        assert!(leads_to(&written(&["b"]), "b") && !leads_to(&written(&["b"]), "a"));
    }
}
