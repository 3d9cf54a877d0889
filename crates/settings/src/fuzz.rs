//! What must hold for any file: called by the fuzz targets. Each panics where a property does not hold.

use std::num::NonZeroUsize;
use std::path::Path;

use sockeye_edge::config::{Does, Serves};

use crate::import::{Kind, import};
use crate::{Facts, PREFIX, Refused, Settled, settle, unseen};

/// What is settled names only groups that there are, and each complaint names a line that there is. Behind a zero byte stand variables, a line each.
pub fn file(data: &[u8]) {
    let (text, variables) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let (text, variables) = (String::from_utf8_lossy(text), String::from_utf8_lossy(variables));
    let variables: Vec<(String, String)> = variables
        .split(['\0', '\n'])
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("{PREFIX}{name}"), value.to_owned()))
        .collect();
    match read(&text, &variables) {
        Ok(settled) => stands(&settled),
        Err(Refused(complaints)) => {
            assert!(!complaints.is_empty(), "a refusal says why");
            for complaint in complaints {
                let place = complaint.place.strip_prefix("f.toml:").and_then(|place| place.split_once(':'));
                let line = place.map(|(line, _)| line.parse::<usize>().expect("a line is a number"));
                assert!(line.is_none_or(|line| (1..=lines(&text)).contains(&line)), "{complaint}");
                assert!(line.is_some() || complaint.place.starts_with('$'), "{complaint}");
            }
        }
    }
}

/// What comes of a file of nginx is a file of ours.
pub fn nginx(data: &[u8]) {
    imports(Kind::Nginx, data);
}

/// The same of HAProxy's.
pub fn haproxy(data: &[u8]) {
    imports(Kind::HaProxy, data);
}

/// The same of Apache's.
pub fn apache(data: &[u8]) {
    imports(Kind::Apache, data);
}

/// It is TOML, and it has no key that there is not; each note names a line that there is.
fn imports(kind: Kind, data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let imported = import(kind, &text);
    for note in &imported.notes {
        assert!((1..=lines(&text)).contains(&note.line), "{note}");
    }
    if let Err(Refused(complaints)) = read(&imported.text, &[]) {
        for complaint in complaints {
            let strange = ["this is no TOML", "there is no such key"];
            assert!(
                !strange.iter().any(|word| complaint.message.starts_with(word)),
                "{complaint}\n{}",
                imported.text
            );
        }
    }
}

fn read(text: &str, variables: &[(String, String)]) -> Result<Settled, Refused> {
    let resolve = |_: &str, port| Ok(vec![([10, 0, 0, 1], port).into()]);
    let facts =
        Facts { base: Path::new("/etc/sockeye"), cores: NonZeroUsize::MIN, resolve: &resolve, look: &unseen };
    settle("f.toml", text, variables, &facts)
}

fn stands(settled: &Settled) {
    let is_there = |name: &str| settled.edge.groups.iter().any(|group| group.name == name);
    for site in &settled.edge.sites {
        match &site.does {
            Does::Relay { group } | Does::Files { group: Some(group), .. } => {
                assert!(is_there(group), "{group}");
            }
            Does::Files { group: None, .. } | Does::Redirect(_) | Does::Health { .. } => {}
        }
    }
    for listener in &settled.edge.listeners {
        match &listener.serves {
            Serves::Tcp { group, .. } => assert!(is_there(group), "{group}"),
            Serves::Http(_) => {}
        }
    }
    assert!(settled.apps.iter().all(|app| is_there(&app.name)));
}

fn lines(text: &str) -> usize {
    text.matches('\n').count() + 1
}
