//! The documents' tables of limits and settings say what the code does.

use sockeye::{Config, Limit, Server};
use std::collections::BTreeSet;

const LIBRARY: &str = include_str!("../../../../docs/library.md");

#[test]
fn every_field_of_the_settings_stands_in_one_table_with_its_default() {
    let fields = fields();
    let mut named = BTreeSet::new();
    for [name, default, ..] in limits().iter().chain(&settings()) {
        let name = name.trim_matches('`');
        if let Some((_, value)) = fields.iter().find(|(field, _)| field == name) {
            assert!(named.insert(name.to_owned()), "{name} stands there twice");
            // Structures, and what depends on the machine, are told in words.
            if !["cookie", "transports", "http_compression", "client_dir", "threads"].contains(&name) {
                assert_eq!(plain(default), value.to_lowercase(), "{name}");
            }
        } else {
            let elsewhere = ["Socket::expire_at", "not settable"];
            assert!(elsewhere.contains(&name), "{name} is no field of Config");
        }
    }
    let fields: BTreeSet<_> = fields.into_iter().map(|(name, _)| name).collect();
    assert_eq!(fields.difference(&named).collect::<Vec<_>>(), [""; 0], "fields that no table has");
}

#[test]
fn every_counter_stands_in_the_table_of_limits_and_every_counter_there_is_told() {
    let server = Server::new(Config::default());
    let handle = server.handle();
    let metrics = handle.metrics_text();
    let mut told = BTreeSet::new();
    for row in limits() {
        let [name, .., outcome, counter] = &row;
        assert!(!outcome.is_empty(), "{name} has no outcome");
        let counters: Vec<_> = counter.split('`').skip(1).step_by(2).collect();
        assert!(!counters.is_empty(), "{name} has no counter");
        for counter in counters {
            match Limit::ALL.into_iter().find(|limit| limit.as_str() == counter) {
                Some(limit) => assert!(told.insert(limit), "{limit} stands there twice"),
                None => assert!(metrics.contains(&format!("\nsockeye_{counter}_total ")), "{counter}"),
            }
        }
        // A limit that is a field is counted under its own name.
        let name = name.trim_matches('`');
        let named = Limit::ALL.into_iter().find(|limit| limit.as_str() == name);
        assert!(named.is_none_or(|limit| told.contains(&limit)), "{name} is counted under another name");
    }
    let all = BTreeSet::from(Limit::ALL);
    assert_eq!(all.difference(&told).collect::<Vec<_>>(), [&Limit::MaxPayload; 0], "limits in no row");
}

/// The fields of `Config`, with their defaults as `Debug` writes them.
fn fields() -> Vec<(String, String)> {
    let debug = format!("{:#?}", Config::default());
    let lines = debug.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let fields = lines.filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn limits() -> Vec<[String; 5]> {
    rows("| name | default | unit | at the limit | counter |")
}

fn settings() -> Vec<[String; 5]> {
    rows("| name | default | what |")
}

/// The rows of the table with that head; what is missing on the right is empty.
fn rows(head: &str) -> Vec<[String; 5]> {
    let (_, table) = LIBRARY.split_once(head).unwrap();
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = lines
        .map(|line| {
            let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        })
        .collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

/// A default of the table as `Debug` would write it, in lower case.
fn plain(default: &str) -> String {
    let default = default.replace([',', '`'], "");
    let bytes = |number: &str, shift: u32| (number.parse::<u64>().unwrap() << shift).to_string();
    match default.split_once(' ') {
        Some((number, "MiB")) => bytes(number, 20),
        Some((number, "KiB")) => bytes(number, 10),
        Some((number, "s")) => format!("{number}s"),
        _ if default.starts_with('/') => format!("\"{default}\""),
        _ => default.to_lowercase(),
    }
}
