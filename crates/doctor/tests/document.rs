//! `docs/doctor.md` and the rules say the same.

use sockeye_doctor::{Rule, Weight};

/// The faults of the recipes as they are commonly printed: each is found by a rule, or by several.
const RECIPES: [&str; 22] = [
    "HAProxy: no `mode http`",
    "HAProxy: no timeouts",
    "HAProxy: v4 servers set no `io` cookie",
    "HAProxy: client must send credentials",
    "HAProxy: `prefix` with `indirect`",
    "HAProxy: no redispatch",
    "HAProxy: `fall 3 inter 2s`",
    "nginx: `hash` on the address behind another proxy",
    "nginx: `ip_hash` puts a whole /24 on one node",
    "nginx: `Connection \"upgrade\"` forced",
    "nginx: \"sticky\" no longer commercial",
    "Apache: separate health state per balancer",
    "Apache: route cookie without Secure/SameSite",
    "Apache: needs 11 modules",
    "Traefik: file-provider example puts `rule` under a service",
    "Traefik: cookie not `Secure`/`SameSite=None`",
    "ingress-nginx: snippet annotation disabled by default",
    "ingress-nginx: takes the first entry",
    "Node cluster: burst imbalance",
    "pm2: one port, all apps mixed",
    "Sails on Elastic Beanstalk: port appended to `location.host`",
    "Sails on Elastic Beanstalk: 1111 (means 11111)",
];

#[test]
fn the_document_lists_the_rules_in_their_order() {
    let listed: Vec<(String, bool)> = rows()
        .map(|row| {
            let name = row.split('`').nth(1).unwrap().to_owned();
            (name, row.split('|').nth(1).unwrap().contains("(hint)"))
        })
        .collect();
    let rules: Vec<(String, bool)> =
        Rule::all().iter().map(|rule| (rule.id().to_owned(), rule.weight() == Weight::Hint)).collect();
    assert_eq!(listed, rules);
}

#[test]
fn every_fault_of_the_recipes_is_found_by_a_rule() {
    for recipe in RECIPES {
        assert!(rows().any(|row| row.contains(recipe)), "{recipe}");
    }
}

#[test]
fn every_rule_says_why_and_what_to_do() {
    for rule in Rule::all() {
        assert!(!rule.why().is_empty() && !rule.fix().is_empty(), "{}", rule.id());
    }
}

fn rows() -> impl Iterator<Item = &'static str> {
    let document = include_str!("../../../docs/doctor.md");
    let table = document.split("## The rules").nth(1).expect("the table of rules");
    table.lines().filter(|line| line.starts_with("| `"))
}
