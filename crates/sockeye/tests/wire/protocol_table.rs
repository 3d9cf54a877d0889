//! The documents' list of what the official server offers names tests that are there.

use std::fs;
use std::path::Path;

const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");

#[test]
fn every_test_that_the_list_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for row in PROTOCOL.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row.trim_matches('|').rsplit(" | ").next().unwrap();
        for test in shown_by.split('`').skip(1).step_by(2) {
            if let Some((file, test)) = test.split_once("::") {
                let source =
                    fs::read_to_string(root.join(format!("tests/wire/{file}.rs"))).unwrap_or_default();
                assert!(source.contains(&format!("fn {test}()")), "{file}::{test} is not there");
            } else {
                assert!(root.join("../../tests/e2e").join(test).is_file(), "{test} is not there");
            }
            named += 1;
        }
    }
    assert!(named > 60, "only {named} tests were found in the list");
}
