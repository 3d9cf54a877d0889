//! The list of apps: who has which id, which apps a word means, what is wanted. Pure; what is written down is this very value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sockeye_supervisor::Launch;
use sockeye_supervisor::proc::Identity;

/// Counts the forms of the file.
pub(crate) const VERSION: u32 = 1;

/// All apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registry {
    /// The form of this value.
    pub(crate) version: u32,
    /// In which boot of the system keepers were started.
    pub(crate) boot: String,
    /// The id of the next instance.
    pub(crate) next_id: u32,
    /// The key of the next app.
    pub(crate) next_key: u32,
    /// The apps, in the order of their keys.
    pub(crate) apps: Vec<App>,
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct App {
    /// Names its keeper's socket; never used again.
    pub(crate) key: u32,
    /// What it runs.
    pub(crate) launch: Launch,
    /// How many instances.
    pub(crate) instances: u32,
    /// The ids of its instances, by place.
    pub(crate) ids: BTreeMap<u32, u32>,
    /// Whether it is to run.
    pub(crate) wanted: bool,
    /// Its keeper, if it was started.
    pub(crate) keeper: Option<Identity>,
}

/// What a word means: an app, or one instance of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// The app's key.
    pub(crate) key: u32,
    /// The place, where one instance alone is meant.
    pub(crate) place: Option<u32>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { version: VERSION, boot: String::new(), next_id: 0, next_key: 0, apps: Vec::new() }
    }
}

impl Registry {
    /// Takes an app in, or tells one that is there by its name what it runs from here on. Its key.
    pub(crate) fn put(&mut self, launch: Launch, instances: u32) -> u32 {
        let key = match self.apps.iter().position(|app| app.launch.name == launch.name) {
            Some(index) => {
                self.apps[index].launch = launch;
                self.apps[index].key
            }
            None => {
                let key = self.next_key;
                self.next_key += 1;
                let ids = BTreeMap::new();
                self.apps.push(App { key, launch, instances, ids, wanted: false, keeper: None });
                key
            }
        };
        self.resize(key, instances);
        key
    }

    /// Gives each instance its id; those who remain keep theirs.
    pub(crate) fn resize(&mut self, key: u32, instances: u32) {
        let Some(app) = self.apps.iter_mut().find(|app| app.key == key) else { return };
        app.instances = instances;
        app.ids.retain(|place, _| *place < instances);
        for place in 0..instances {
            app.ids.entry(place).or_insert_with(|| {
                self.next_id += 1;
                self.next_id - 1
            });
        }
    }

    /// Forgets an app. Once none is left, ids begin anew.
    pub(crate) fn remove(&mut self, key: u32) {
        self.apps.retain(|app| app.key != key);
        if self.apps.is_empty() {
            self.next_id = 0;
        }
    }

    pub(crate) fn app(&self, key: u32) -> Option<&App> {
        self.apps.iter().find(|app| app.key == key)
    }

    pub(crate) fn app_mut(&mut self, key: u32) -> Option<&mut App> {
        self.apps.iter_mut().find(|app| app.key == key)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.launch.name == name)
    }

    /// What words mean: `all`, ids, names, namespaces; each app once.
    ///
    /// # Errors
    /// What nobody is called.
    pub(crate) fn select(&self, words: &[String]) -> Result<Vec<Target>, String> {
        let mut targets: Vec<Target> = Vec::new();
        for word in words {
            let found = self.one(word);
            if found.is_empty() && word != "all" {
                return Err(format!("there is no app, id or namespace {word}: see sockeye list"));
            }
            for target in found {
                let is_covered =
                    |other: &Target| other.key == target.key && (other.place.is_none() || *other == target);
                if !targets.iter().any(is_covered) {
                    targets.push(target);
                }
            }
        }
        let whole: BTreeSet<_> =
            targets.iter().filter(|target| target.place.is_none()).map(|target| target.key).collect();
        targets.retain(|target| target.place.is_none() || !whole.contains(&target.key));
        Ok(targets)
    }

    fn one(&self, word: &str) -> Vec<Target> {
        let whole = |app: &App| Target { key: app.key, place: None };
        if word == "all" {
            return self.apps.iter().map(whole).collect();
        }
        if let Ok(id) = word.parse::<u32>() {
            for app in &self.apps {
                if let Some((place, _)) = app.ids.iter().find(|(_, one)| **one == id) {
                    // An app of one instance is meant as a whole.
                    let place = (app.instances > 1).then_some(*place);
                    return vec![Target { key: app.key, place }];
                }
            }
        }
        let named: Vec<_> = self.apps.iter().filter(|app| app.launch.name == word).map(whole).collect();
        if !named.is_empty() {
            return named;
        }
        self.apps.iter().filter(|app| app.launch.spec.namespace == word).map(whole).collect()
    }
}

/// How many instances `4`, `+1` or `-1` means for an app that has some.
///
/// # Errors
/// What is expected.
pub(crate) fn scaled(instances: u32, word: &str) -> Result<u32, String> {
    let parse = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
    };
    let number = match (word.strip_prefix('+'), word.strip_prefix('-')) {
        (Some(more), _) => parse(more).and_then(|more| instances.checked_add(more)),
        (None, Some(less)) => parse(less).map(|less| instances.saturating_sub(less)),
        (None, None) => parse(word),
    };
    number.filter(|number| (1..=sockeye_supervisor::INSTANCES_MAX).contains(number)).ok_or_else(|| {
        format!(
            "expected 4, +1 or -1, and 1 to {} instances in the end, got {word}",
            sockeye_supervisor::INSTANCES_MAX
        )
    })
}

/// How one environment differs from another: names alone, since values may be secret.
pub(crate) fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let word = |name: &&String| match (before.get(*name), after.get(*name)) {
        (None, Some(_)) => Some(format!("+{name}")),
        (Some(_), None) => Some(format!("-{name}")),
        (Some(before), Some(after)) if before != after => Some(format!("~{name}")),
        (Some(_), Some(_)) | (None, None) => None,
    };
    names.iter().filter_map(word).collect()
}

/// An order in which each comes after those it names, as far as they are among them.
///
/// # Errors
/// Who waits for each other.
pub(crate) fn in_order(mut launches: Vec<Launch>) -> Result<Vec<Launch>, String> {
    let mut ordered: Vec<Launch> = Vec::new();
    while !launches.is_empty() {
        let waits = |launch: &Launch| {
            launch.spec.after.iter().any(|name| launches.iter().any(|other| other.name == *name))
        };
        let Some(index) = launches.iter().position(|launch| !waits(launch)) else {
            let names: Vec<_> = launches.iter().map(|launch| launch.name.as_str()).collect();
            return Err(format!("after: these wait for each other: {}", names.join(", ")));
        };
        ordered.push(launches.remove(index));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_supervisor::AppSpec;

    #[test]
    fn each_instance_has_an_id_that_it_keeps() {
        let mut registry = registry();
        assert_eq!(ids(&registry, "web"), [0, 1]);
        assert_eq!(ids(&registry, "job"), [2]);
        let web = registry.named("web").unwrap().key;
        registry.resize(web, 3);
        registry.resize(web, 1);
        registry.resize(web, 2);
        assert_eq!(ids(&registry, "web"), [0, 5]);
        assert_eq!(registry.put(launch("web", "front"), 2), web);
        assert_eq!(ids(&registry, "web"), [0, 5]);
        for key in [0, 1, 2] {
            registry.remove(key);
        }
        assert_eq!((registry.next_id, registry.next_key), (0, 3));
    }

    #[test]
    fn words_mean_apps_and_instances() {
        let registry = registry();
        let whole = |key| Target { key, place: None };
        for (words, expected) in [
            (&["all"][..], &[whole(0), whole(1), whole(2)][..]),
            (&["web"], &[whole(0)]),
            (&["front"], &[whole(0), whole(2)]),
            (&["1"], &[Target { key: 0, place: Some(1) }]),
            (&["2"], &[whole(1)]),
            (&["1", "web", "web"], &[whole(0)]),
            (&["web", "0"], &[whole(0)]),
            (&["0", "1"], &[Target { key: 0, place: Some(0) }, Target { key: 0, place: Some(1) }]),
        ] {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(registry.select(&words).unwrap(), expected, "{words:?}");
        }
        let error = registry.select(&["nobody".to_owned()]).unwrap_err();
        assert_eq!(error, "there is no app, id or namespace nobody: see sockeye list");
        assert_eq!(Registry::default().select(&["all".to_owned()]), Ok(Vec::new()));
    }

    #[test]
    fn scaling_is_said_in_three_ways() {
        for (word, expected) in [
            ("4", Some(4)),
            ("+1", Some(3)),
            ("-1", Some(1)),
            ("-2", None),
            ("0", None),
            ("x", None),
            ("++1", None),
            ("1025", None),
        ] {
            assert_eq!(scaled(2, word).ok(), expected, "{word}");
        }
    }

    #[test]
    fn a_difference_names_what_changed_and_no_value() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let difference = difference(
            &map(&[("A", "1"), ("B", "1"), ("C", "1")]),
            &map(&[("B", "2"), ("C", "1"), ("D", "secret")]),
        );
        assert_eq!(difference, ["-A", "~B", "+D"]);
    }

    #[test]
    fn whoever_is_waited_for_comes_first() {
        let after = |name: &str, after: &[&str]| {
            let mut launch = launch(name, "default");
            launch.spec.after = after.iter().map(|name| (*name).to_owned()).collect();
            launch
        };
        let launches = vec![after("a", &["b", "elsewhere"]), after("b", &["c"]), after("c", &[])];
        let names: Vec<_> = in_order(launches).unwrap().into_iter().map(|launch| launch.name).collect();
        assert_eq!(names, ["c", "b", "a"]);
        let error = in_order(vec![after("a", &["b"]), after("b", &["a"])]).unwrap_err();
        assert_eq!(error, "after: these wait for each other: a, b");
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        registry.put(launch("web", "front"), 2);
        registry.put(launch("job", "default"), 1);
        registry.put(launch("page", "front"), 1);
        registry
    }

    fn launch(name: &str, namespace: &str) -> Launch {
        let spec = AppSpec { namespace: namespace.to_owned(), ..AppSpec::new("x") };
        Launch { name: name.to_owned(), spec, cwd: "/".into(), env: BTreeMap::new() }
    }

    fn ids(registry: &Registry, name: &str) -> Vec<u32> {
        registry.named(name).unwrap().ids.values().copied().collect()
    }
}
