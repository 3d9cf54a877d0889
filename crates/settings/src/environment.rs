//! The environment, laid over the file: `SOCKEYE_` and the key in capitals, with `__` between its levels.
//!
//! `SOCKEYE_UPSTREAM__CHAT__STICKY=ip` is `upstream.chat.sticky = "ip"`, `SOCKEYE_SITE__0__HOST` the first site's host, `SOCKEYE_LISTEN=0.0.0.0:80`
//! the whole of `listen`. A list is separated by commas, or written as in TOML. Variables with no `__` that name no section are somebody else's.

use crate::complaint::Complaint;
use crate::form::Form;
use crate::keys;
use crate::near::nearest;
use crate::place::{Place, short};
use crate::tree::{Entry, Node, Table, Value, read_variable};

/// What the variables of a file's keys begin with.
pub const PREFIX: &str = "SOCKEYE_";

/// The most elements of a list that variables may make.
const ELEMENTS_MAX: usize = 256;

/// Lays variables over what a file holds; each that makes no sense is a complaint.
pub(crate) fn overlay(table: &mut Table, variables: &[(String, String)], complaints: &mut Vec<Complaint>) {
    let mut sorted: Vec<_> = variables.iter().collect();
    sorted.sort();
    for (name, text) in sorted {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let segments: Vec<&str> = path.split("__").collect();
        let section = keys::TOP.iter().find(|section| section.eq_ignore_ascii_case(segments[0]));
        let complaint = match (section, segments.len()) {
            (None, 1) if is_known(path) => continue,
            (None, 1) => match misspelt(path) {
                Some(meant) => Some(format!("there is no such variable, did you mean {meant}?")),
                None => continue,
            },
            (None, _) => {
                let near = nearest(segments[0], keys::TOP.iter().copied());
                let fix = near.map_or_else(
                    || format!("the sections are {}", keys::TOP.join(", ")),
                    |near| format!("did you mean {PREFIX}{}__…?", near.to_ascii_uppercase()),
                );
                Some(format!("there is no section {}: {fix}", segments[0].to_ascii_lowercase()))
            }
            (Some(_), _) if segments.iter().any(|segment| segment.is_empty()) => {
                Some(format!("write {PREFIX}SECTION__KEY, with two underscores between the levels"))
            }
            (Some(_), _) => {
                let value = read_variable(name, text);
                set(table, &segments, Node { place: Place::Variable(name.clone()), value }, None, false).err()
            }
        };
        if let Some(message) = complaint {
            complaints.push(Complaint {
                place: format!("${name}"),
                key: String::new(),
                value: short(text),
                message,
            });
        }
    }
}

/// Whether a variable is one of this program that is no key.
fn is_known(path: &str) -> bool {
    OTHERS.contains(&path)
}

/// What was meant by a variable that is like a section, or like a key of one with a single underscore.
fn misspelt(path: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    if let Some(near) = nearest(&lower, keys::TOP.iter().copied()) {
        return Some(format!("{PREFIX}{}", near.to_ascii_uppercase()));
    }
    let below = |section: &&keys::Section| {
        let name = section.header.trim_matches(['[', ']']);
        let key = lower.strip_prefix(name)?.strip_prefix('_')?;
        let key = section.keys.iter().find(|known| known.name == key)?;
        Some(format!("{PREFIX}{}__{}", name.to_ascii_uppercase(), key.name.to_ascii_uppercase()))
    };
    keys::SECTIONS.iter().find_map(below)
}

/// The variables of the program, of its workers and of its tests that are no keys.
const OTHERS: [&str; 21] = [
    "LOG",
    "ADAPTER",
    "NODE_SECRET",
    "NODE_LINK",
    "NODE_LINK_CERT",
    "NODE_LINK_KEY",
    "NODE_LINK_CA",
    "RUNTIME_DIR",
    "RECOVERY",
    "THREADS",
    "WORKER",
    "LINK",
    "PLAIN_LINK",
    "KEEPER",
    "PASSED_FIRST",
    "ADMIN_TOKEN",
    "PROFILE",
    "PROFILE_NAME",
    "TEST_MARK",
    "LONG",
    "HOME",
];

/// Goes down to the last segment and puts the value there. `verbatim`: below an app's `env`, where letters count.
fn set(
    table: &mut Table,
    segments: &[&str],
    node: Node,
    form: Option<Form>,
    verbatim: bool,
) -> Result<(), String> {
    let (first, rest) = segments.split_first().expect("a path has a segment");
    let wanted = fold(first);
    let known = table.keys().find(|key| if verbatim { *key == first } else { fold(key) == wanted }).cloned();
    let key = known.unwrap_or_else(|| if verbatim { (*first).to_owned() } else { wanted.clone() });
    let place = node.place.clone();
    if rest.is_empty() {
        table.insert(key, Entry { key: place, node });
        return Ok(());
    }
    let empty = if is_number(rest[0]) { Value::List(Vec::new()) } else { Value::Table(Table::new()) };
    let entry = table
        .entry(key)
        .or_insert_with(|| Entry { key: place.clone(), node: Node { place: place.clone(), value: empty } });
    // The first level is that of the sections.
    let below = form.map_or_else(|| Form::of(&wanted), |form| form.below(&wanted));
    descend(&mut entry.node, first, rest, node, below, verbatim || wanted == "env")
}

fn descend(
    into: &mut Node,
    name: &str,
    rest: &[&str],
    node: Node,
    form: Form,
    verbatim: bool,
) -> Result<(), String> {
    let name = name.to_ascii_lowercase();
    form.unfold(into, is_number(rest[0]));
    match &mut into.value {
        Value::Table(table) => set(table, rest, node, Some(form), verbatim),
        Value::List(list) => {
            let (index, below) = rest.split_first().expect("there is a segment below");
            let index: usize = index.parse().map_err(|_| {
                format!(
                    "{name} is a list: say which of its elements, such as {}__0",
                    name.to_ascii_uppercase()
                )
            })?;
            if index > list.len() || index >= ELEMENTS_MAX {
                return Err(format!(
                    "{name} has {} elements: the next one is number {}",
                    list.len(),
                    list.len()
                ));
            }
            if index == list.len() {
                list.push(Node { place: node.place.clone(), value: Value::Table(Table::new()) });
            }
            if below.is_empty() {
                list[index] = node;
                return Ok(());
            }
            descend(&mut list[index], &name, below, node, form.element(), verbatim)
        }
        Value::Text(_)
        | Value::Word(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Flag(_)
        | Value::Date(_) => {
            Err(format!("{name} is {} where it is set, with nothing below it", into.value.kind()))
        }
    }
}

fn is_number(segment: &str) -> bool {
    segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// Keys are compared like this: variables have neither small letters nor hyphens.
fn fold(key: &str) -> String {
    key.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Source;
    use crate::tree::read;

    #[test]
    fn a_variable_sets_what_its_name_says() {
        for (text, variable, value, key) in [
            ("", "SOCKEYE_LISTEN", "0.0.0.0:80", "listen"),
            ("", "SOCKEYE_LISTEN__ADDRESS", "0.0.0.0:80", "listen.address"),
            ("[upstream.my-Chat]", "SOCKEYE_UPSTREAM__MY_CHAT__STICKY", "ip", "upstream.my-Chat.sticky"),
            ("", "SOCKEYE_SITE__0__HOST", "a.b", "site.0.host"),
            ("", "SOCKEYE_APP__CHAT__ENV__NODE_ENV", "production", "app.chat.env.NODE_ENV"),
        ] {
            let mut table = read(Source { name: "a", text }).unwrap();
            let mut complaints = Vec::new();
            overlay(&mut table, &[(variable.to_owned(), value.to_owned())], &mut complaints);
            assert_eq!(complaints, []);
            assert_eq!(at(&table, key), Some(&Value::Word(value.to_owned())), "{variable}");
        }
    }

    #[test]
    fn what_is_no_key_of_ours_is_left_alone_or_told() {
        for (text, variable, told) in [
            ("", "SOCKEYE_LOG", None),
            ("", "SOCKEYE_LINK", None),
            ("", "SOCKEYE_ADMIN_TOKEN", None),
            ("", "SOCKEYE_SERVICE_HOST", None),
            ("", "SOCKEYE_UPSTREEM", Some("did you mean SOCKEYE_UPSTREAM?")),
            ("", "SOCKEYE_LISTN", Some("did you mean SOCKEYE_LISTEN?")),
            ("", "SOCKEYE_ACCESS_LOG_PATH", Some("did you mean SOCKEYE_ACCESS_LOG__PATH?")),
            ("", "SOCKEYE_RUNTIME_DIR", None),
            ("", "HOME", None),
            ("", "SOCKEYE_UPSTREM__A__STICKY", Some("did you mean SOCKEYE_UPSTREAM__…?")),
            ("", "SOCKEYE_NOTHING__A", Some("the sections are")),
            ("[limits]\nreturned = 7", "SOCKEYE_LIMITS__RETURNED__A", Some("returned is a number")),
            ("[[listen]]", "SOCKEYE_LISTEN__TLS", Some("say which of its elements, such as LISTEN__0")),
            ("", "SOCKEYE_SITE__7__HOST", Some("the next one is number 0")),
            ("", "SOCKEYE_LISTEN__", Some("two underscores")),
        ] {
            let mut table = read(Source { name: "a", text }).unwrap();
            let mut complaints = Vec::new();
            overlay(&mut table, &[(variable.to_owned(), "x".to_owned())], &mut complaints);
            match told {
                None => assert_eq!(complaints, [], "{variable}"),
                Some(told) => assert!(complaints[0].message.contains(told), "{}", complaints[0]),
            }
        }
    }

    fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let value = &table.get(first)?.node.value;
        match (rest, value) {
            (None, value) => Some(value),
            (Some(rest), Value::Table(table)) => at(table, rest),
            (Some(rest), Value::List(list)) => {
                let (index, rest) = rest.split_once('.')?;
                let Value::Table(table) = &list.get(index.parse::<usize>().ok()?)?.value else { return None };
                at(table, rest)
            }
            (Some(_), _) => None,
        }
    }
}
