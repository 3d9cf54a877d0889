//! `[app.NAME]`: programs that are started, each a group of servers. Its keys are those of [`AppSpec`], and a few that concern the bundled ones.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde_json::{Value as Json, json};
use sockeye_edge::config::{Group, Members};
use sockeye_supervisor::{AppSpec, Instances};

use crate::desk::{Desk, Sheet, elements};
use crate::facts::{Facts, Thing};
use crate::keys::APP;
use crate::place::Place;
use crate::tree::{Node, Table, Value};
use crate::upstream::{NAME_EXPECTED, is_name};

/// A program that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name, and its group's.
    pub name: String,
    /// Which of the bundled ones it is; none: the command of `spec`.
    pub bundled: Option<Bundled>,
    /// The first of the bundled workers' own ports.
    pub worker_ports: Option<u16>,
    /// How long clients of bundled workers may be away and go on where they were.
    pub recovery: Option<Duration>,
    /// Everything else.
    pub spec: AppSpec,
    /// Whether the file says how long clients may stay.
    pub says_drain: bool,
}

/// An application that the command has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundled {
    /// The chat with its page.
    Chat,
    /// The server half of the end-to-end tests.
    Contract,
    /// The same for what the contract leaves out.
    Features,
}

/// An app and where it is written.
pub(crate) struct Written {
    pub(crate) app: App,
    pub(crate) place: Place,
}

impl App {
    /// What is served where a file names nobody.
    pub(crate) fn chat() -> Self {
        let spec = AppSpec { instances: Some(Instances::Max), ..AppSpec::default() };
        Self {
            name: Group::WORKERS.to_owned(),
            bundled: Some(Bundled::Chat),
            worker_ports: None,
            recovery: None,
            spec,
            says_drain: false,
        }
    }

    /// The group of its workers.
    ///
    /// In a cluster a sid that none of them has may be another machine's.
    pub(crate) fn group(&self, cores: NonZeroUsize, in_cluster: bool) -> Group {
        let ready_min = self.spec.instances.map_or(NonZeroU32::MIN, |instances| instances.on(cores));
        let mut group = Group::new(&self.name, Members::Workers { ready_min });
        group.foreign_sids = in_cluster;
        group
    }
}

/// All apps.
pub(crate) fn apps(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Vec<Written> {
    let Some(entry) = root.get("app") else { return Vec::new() };
    let Value::Table(tables) = &entry.node.value else {
        desk.refuse("app", &entry.node, "expected tables, such as [app.chat]");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, entry) in tables {
        let key = format!("app.{name}");
        if !is_name(name) {
            desk.refuse_at(&entry.key, &key, NAME_EXPECTED);
        }
        let Some(sheet) = desk.open(&key, &entry.node, &APP) else { continue };
        let app = app(desk, &sheet, name);
        if app.bundled.is_none()
            && let Err(fault) = (facts.look)(&Thing::App { name, spec: &app.spec })
        {
            desk.blame(&sheet, &fault.key, fault.message);
        }
        found.push(Written { app, place: entry.key.clone() });
    }
    found
}

fn app(desk: &mut Desk<'_>, sheet: &Sheet<'_>, name: &str) -> App {
    let words = [("chat", Bundled::Chat), ("contract", Bundled::Contract), ("features", Bundled::Features)];
    let bundled = sheet.choice(desk, "bundled", &words);
    let command = sheet.node("command");
    if let (Some(_), Some(node)) = (bundled, command) {
        desk.refuse(&sheet.key("command"), node, "there is bundled already: keep one of the two");
    }
    let mut written = json!({});
    for key in APP.keys.iter().filter(|key| !OWN.contains(&key.name)) {
        let Some(node) = sheet.node(key.name) else { continue };
        match spec_value(key.name, node) {
            Ok(value) => written[key.name] = value,
            Err(why) => desk.refuse(&sheet.key(key.name), node, why),
        }
    }
    let mut spec: AppSpec = serde_json::from_value(written).unwrap_or_default();
    let bundled = bundled.or(command.is_none().then_some(Bundled::Chat));
    if bundled.is_some() {
        spec.instances = spec.instances.or(Some(Instances::Max));
    }
    for (key, why) in [
        ("worker_ports", "only bundled workers have such ports"),
        ("recovery", "a program of your own sets it itself, as connection_state_recovery"),
    ] {
        if let (None, Some(node)) = (bundled, sheet.node(key)) {
            desk.refuse(&sheet.key(key), node, why);
        }
    }
    App {
        name: name.to_owned(),
        bundled,
        worker_ports: sheet.number(desk, "worker_ports", 1..=65_535),
        recovery: sheet.span(desk, "recovery", Duration::from_secs(1)..=RECOVERY_MAX),
        spec,
        says_drain: sheet.node("drain").is_some(),
    }
}

/// The value as a spec has it, tried alone so that what is wrong with it has its place.
fn spec_value(key: &str, node: &Node) -> Result<Json, String> {
    let mut why = String::new();
    for candidate in candidates(node) {
        let mut alone = json!({});
        alone[key] = candidate.clone();
        match serde_json::from_value::<AppSpec>(alone) {
            Ok(_) => return Ok(candidate),
            Err(error) if why.is_empty() => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(why)
}

/// What a value may mean: one thing in a file, several in the environment, which knows no types.
fn candidates(node: &Node) -> Vec<Json> {
    match &node.value {
        Value::Word(text) => {
            let mut all = vec![json!(text)];
            all.extend(text.parse::<i64>().ok().map(|number| json!(number)));
            all.extend(text.parse::<bool>().ok().map(|flag| json!(flag)));
            let list: Vec<Json> = elements(node).iter().map(json_of).collect();
            all.push(json!(list));
            all.push(json!(
                text.split(',').filter_map(|word| word.trim().parse::<i64>().ok()).collect::<Vec<_>>()
            ));
            all
        }
        Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Flag(_)
        | Value::Date(_)
        | Value::List(_)
        | Value::Table(_) => vec![json_of(node)],
    }
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) | Value::Word(text) | Value::Date(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::List(list) => list.iter().map(json_of).collect(),
        Value::Table(table) => table.iter().map(|(key, entry)| (key.clone(), json_of(&entry.node))).collect(),
    }
}

/// The keys that no spec has.
const OWN: [&str; 3] = ["bundled", "worker_ports", "recovery"];

/// The longest time that a client may be away.
const RECOVERY_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_field_of_a_spec_is_a_key() {
        let Json::Object(fields) = serde_json::to_value(AppSpec::default()).unwrap() else {
            panic!("an object")
        };
        let fields: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
        let keys: BTreeSet<&str> =
            APP.keys.iter().map(|key| key.name).filter(|name| !OWN.contains(name)).collect();
        assert_eq!(keys, fields);
    }
}
