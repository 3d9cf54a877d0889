//! What holds for any text: no panic, every complaint has a place in the text, and what is settled names only groups that exist.

mod common;

use proptest::prelude::*;
use sockeye_edge::config::{Does, Serves};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_settled_or_refused(text in "\\PC{0,200}") {
        holds(&text, &[]);
    }

    #[test]
    fn any_lines_of_keys_are_settled_or_refused(lines in prop::collection::vec(line(), 0..12), variable in "[A-Z_0-9]{0,20}", value in "\\PC{0,20}") {
        let name = format!("SOCKEYE_{variable}");
        holds(&lines.join("\n"), &[(name.as_str(), value.as_str())]);
    }
}

fn line() -> impl Strategy<Value = String> {
    let header = prop::sample::select(vec![
        "[listen]",
        "[[listen]]",
        "[upstream.a]",
        "[upstream.b]",
        "[[upstream.a.servers]]",
        "[[site]]",
        "[app.chat]",
        "[admin]",
        "[limits]",
        "[upstream.a.cookie]",
        "[upstream.a.health]",
        "[tls]",
        "[cluster]",
    ]);
    let names: Vec<&str> = sockeye_settings::SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(|key| key.name))
        .collect();
    let value = prop::sample::select(vec![
        "1",
        "0",
        "-1",
        "99999999999999999999",
        "1.5",
        "true",
        "'a'",
        "'a:1'",
        "':80'",
        "'10s'",
        "'unix:/a'",
        "[]",
        "['10.0.0.1:1']",
        "{}",
        "{ address = ':1' }",
        "2026-11-30",
        "'https'",
        "'cookie'",
        "'tcp'",
        "nan",
        "[[1]]",
        "''",
        "'\\u0000'",
        "'HEAD /health'",
    ]);
    prop_oneof![
        1 => header.prop_map(str::to_owned),
        3 => (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}")),
    ]
}

fn holds(text: &str, variables: &[(&str, &str)]) {
    match common::with(text, variables) {
        Ok(settled) => {
            let groups: Vec<&str> = settled.edge.groups.iter().map(|group| group.name.as_str()).collect();
            for site in &settled.edge.sites {
                if let Does::Relay { group } | Does::Files { group: Some(group), .. } = &site.does {
                    assert!(groups.contains(&group.as_str()), "{group} of {groups:?}");
                }
            }
            for listener in &settled.edge.listeners {
                if let Serves::Tcp { group, .. } = &listener.serves {
                    assert!(groups.contains(&group.as_str()), "{group} of {groups:?}");
                }
            }
        }
        Err(told) => {
            let lines = text.lines().count() + 1;
            for complaint in told.lines() {
                let mut parts = complaint.splitn(4, ':');
                let file = parts.next().unwrap_or_default();
                if file == "f.toml" {
                    let line: usize =
                        parts.next().unwrap_or_default().parse().unwrap_or_else(|_| panic!("{complaint}"));
                    assert!((1..=lines).contains(&line), "{complaint}");
                }
            }
        }
    }
}
